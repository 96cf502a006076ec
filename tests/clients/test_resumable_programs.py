"""Unmodified tus clients without a browser: tus-js-client in Node, and tuspy. Lines break, processes and servers die.

The server is reached through a gate. The gate holds bytes in the middle of a file for as long as a test needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from ..support.gated_server import DESTINATIONS, GatedServer, settings_of
from ..support.resumable_files import KIB, MIB, creations, file_of, text
from .samples import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
CHUNK_BYTES = 4 * 2**20
"""What the documentation recommends."""
SECONDS = 120
"""How long a client may take."""
SMALL_CHUNK_BYTES = MIB
"""For files of 3 MB, so that they have a middle."""
SIZES = [pytest.param(20 * KIB, id="20 KB"), pytest.param(3 * MIB, id="3 MB"), pytest.param(60 * MIB, id="60 MB")]
SIZE = 3 * MIB
HELD_BYTES = SIZE // 2


@dataclass(frozen=True)
class Program:
    """A client.

    :param name: of the client, and of the protocol if it is not tus.
    :param major: the version of tus-js-client; ``None`` for tuspy.
    :param more: further options of tus-js-client.
    """

    name: str
    major: int | None = None
    more: tuple[tuple[str, object], ...] = ()

    def command(self, **options: object) -> list[str]:
        """Return the command that uploads a file with these options."""
        if self.major is None:
            return [sys.executable, str(PROGRAMS / "tuspy_upload.py"), json.dumps(options)]
        return ["node", "tus.mjs", json.dumps({"major": self.major, "more": dict(self.more), **options})]


PROGRAMS_OF_CLIENTS = [
    Program("tus-js-client 4", 4),
    Program("tus-js-client 5", 5),
    Program("tus-js-client 5, with the IETF draft", 5, (("protocol", "ietf-draft-05"),)),
    Program("tuspy"),
]
VARIANTS = [
    Program("tus-js-client 4, with the IETF draft", 4, (("protocol", "ietf-draft-05"),)),
    Program("tus-js-client 5, with bytes in the creation", 5, (("uploadDataDuringCreation", True),)),
    Program("tus-js-client 5, with a deferred length", 5, (("uploadLengthDeferred", True),)),
    Program("tus-js-client 4, without PATCH", 4, (("overridePatchMethod", True),)),
    Program("tus-js-client 5, with the IETF draft and bytes in the creation", 5,
            (("protocol", "ietf-draft-05"), ("uploadDataDuringCreation", True))),
]  # fmt: skip


@dataclass
class Sender:
    """Runs a client in a folder of its own.

    :param folder: with the file, and with the URLs that the client remembers.
    """

    program: Program
    server: GatedServer
    folder: Path
    name: str = "notes.txt"
    chunk_bytes: int = SMALL_CHUNK_BYTES

    def start(self, content: bytes | None = None) -> subprocess.Popen[str]:
        """Start the client.

        :param content: of the file; ``None`` to send the file of the last call, of which the client has notes.
        """
        path = self.folder / self.name
        if content is not None:
            path.write_bytes(content)
        command = self.program.command(
            endpoint=self.server.endpoint, path=str(path), name=self.name, urls=str(self.folder / "urls.json"),
            chunkSize=self.chunk_bytes,
        )  # fmt: skip
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)

    def result(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for the end of the client, and return what it printed."""
        output, _ = process.communicate(timeout=SECONDS)
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def upload(self, content: bytes) -> dict[str, Any]:
        return self.result(self.start(content))


@pytest.fixture(scope="module", params=DESTINATIONS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatedServer]:
    server = GatedServer(settings_of(request.param, tmp_path_factory.mktemp("uploads")))
    server.start()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _forget(server: GatedServer) -> None:
    """Forget the requests of earlier tests."""
    server.gate.requests.clear()


@pytest.fixture(params=PROGRAMS_OF_CLIENTS, ids=[program.name for program in PROGRAMS_OF_CLIENTS])
def program(request: pytest.FixtureRequest) -> Program:
    program: Program = request.param
    return program


@pytest.fixture
def make_sender(server: GatedServer, tmp_path: Path) -> Callable[[Program], Sender]:
    """Makes a sender, and skips the test if the client is not installed."""

    def make(program: Program) -> Sender:
        if program.major is None:
            if importlib.util.find_spec("tusclient") is None:
                pytest.skip("tuspy is not installed; make clients brings it")
        else:
            packages = ROOT / ".npm" / "clients" / "node_modules"
            if not (packages / "tus-js-client-5").is_dir() or not shutil.which("node"):
                pytest.skip("node or tus-js-client is missing; make clients brings it with npm")
            # Node looks for packages in the folders above a module.
            (tmp_path / "node_modules").symlink_to(packages)
            shutil.copy(PROGRAMS / "tus.mjs", tmp_path)
        return Sender(program, server, tmp_path)

    return make


@pytest.fixture
def sender(program: Program, make_sender: Callable[[Program], Sender]) -> Sender:
    return make_sender(program)


def check_stored(sender: Sender, result: dict[str, Any], content: bytes) -> None:
    """Check that the client succeeded, and that exactly its file is at the URL in the status of the upload."""
    assert "error" not in result, result
    status = requests.get(result["url"], timeout=60)
    assert status.status_code in (200, 201), status.text
    entry = file_of(status.json())
    assert entry["name"] == sender.name
    assert entry["size"] == len(content)
    stored = requests.get(entry["url"], timeout=60)
    assert stored.status_code == 200
    assert hashlib.sha256(stored.content).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("size", SIZES)
def test_client_uploads_a_file(sender: Sender, size: int) -> None:
    sender.chunk_bytes = CHUNK_BYTES
    content = text(size)
    check_stored(sender, sender.upload(content), content)
    assert creations(sender.server) == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=[program.name for program in VARIANTS])
def test_client_uploads_a_file_with_other_options(make_sender: Callable[[Program], Sender], variant: Program) -> None:
    sender = make_sender(variant)
    content = text(SIZE)
    check_stored(sender, sender.upload(content), content)


def test_cut_line_is_resumed(sender: Sender) -> None:
    content = text(SIZE)
    sender.server.gate.hold_after(HELD_BYTES)
    process = sender.start(content)
    sender.server.gate.wait()
    sender.server.gate.cut()
    check_stored(sender, sender.result(process), content)
    assert creations(sender.server) == 1
    assert "HEAD" in [method for method, _ in sender.server.gate.requests]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_lost_response_to_a_piece_is_no_fault(sender: Sender, number: int) -> None:
    """The last of three pieces stores the file. Its client asks, and learns that all bytes are there."""
    content = text(SIZE)
    sender.server.gate.hold_after((number - 1) * SMALL_CHUNK_BYTES + SMALL_CHUNK_BYTES // 2)
    process = sender.start(content)
    sender.server.gate.wait()
    sender.server.gate.lose_response()
    sender.server.gate.release()
    check_stored(sender, sender.result(process), content)
    assert creations(sender.server) == 1


def test_killed_client_resumes_where_it_was(sender: Sender) -> None:
    content = text(SIZE)
    sender.server.gate.hold_after(HELD_BYTES)
    process = sender.start(content)
    sender.server.gate.wait()
    process.kill()
    process.communicate()
    sender.server.gate.cut()
    check_stored(sender, sender.result(sender.start()), content)
    assert creations(sender.server) == 1


def test_restarted_server_resumes_where_it_was(sender: Sender) -> None:
    content = text(SIZE)
    sender.server.gate.hold_after(HELD_BYTES)
    process = sender.start(content)
    sender.server.gate.wait()
    sender.server.kill()
    sender.server.start()
    check_stored(sender, sender.result(process), content)
    assert creations(sender.server) == 1


def test_refused_content_shows_our_sentence(sender: Sender) -> None:
    response = requests.post(sender.server.endpoint, files={"file": ("photo.png", PAGE)}, timeout=60)
    sender.name = "photo.png"
    result = sender.upload(PAGE)
    assert result["status"] == response.status_code
    assert json.loads(result["body"])["detail"] == response.json()["detail"]


def test_refused_type_shows_our_sentence(sender: Sender) -> None:
    response = requests.post(sender.server.endpoint, files={"file": ("setup.exe", b"MZ")}, timeout=60)
    sender.name = "setup.exe"
    result = sender.upload(b"MZ")
    assert response.json()["detail"] in json.loads(result["body"])["detail"]


def test_two_processes_that_send_one_upload_store_one_file(sender: Sender) -> None:
    """Both continue the upload that a third process began. Each of their pieces is taken once."""
    content = text(SIZE)
    sender.server.gate.hold_after(SMALL_CHUNK_BYTES + SMALL_CHUNK_BYTES // 2)
    first = sender.start(content)
    sender.server.gate.wait()
    first.kill()
    first.communicate()
    sender.server.gate.cut()
    processes = [sender.start(), sender.start()]
    results = [sender.result(process) for process in processes]
    assert any("error" not in result for result in results), results
    for result in results:
        if "error" not in result:
            check_stored(sender, result, content)
    assert creations(sender.server) == 1


def test_stale_writer_changes_nothing(sender: Sender) -> None:
    """A piece that was held up arrives after another process has sent the rest of the file."""
    content = text(SIZE)
    sender.server.gate.hold_after(HELD_BYTES)
    stale = sender.start(content)
    sender.server.gate.wait()
    stale.kill()  # its bytes are under way
    stale.communicate()
    result = sender.result(sender.start())
    sender.server.gate.release()
    check_stored(sender, result, content)
    path = urlsplit(result["url"]).path
    response = requests.head(f"{sender.server.gate.url}{path}", headers={"Tus-Resumable": "1.0.0"}, timeout=60)
    assert response.headers["Upload-Offset"] == str(SIZE)
    check_stored(sender, result, content)

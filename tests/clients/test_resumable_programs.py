"""Unmodified tus clients without a browser: tus-js-client in Node, and tuspy. Lines break, processes and servers die.

The server is reached through a gate. The gate holds bytes in the middle of a file for as long as a test needs.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from ..support import gated_server
from ..support.gated_server import DESTINATIONS, GatedServer
from ..support.resumable_files import KIB, MIB, creations, text
from ..support.resumable_programs import CHUNK_BYTES, SMALL_CHUNK_BYTES, Program, Sender, check_stored, make_ready
from .samples import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.clients

SIZES = [pytest.param(20 * KIB, id="20 KB"), pytest.param(3 * MIB, id="3 MB"), pytest.param(60 * MIB, id="60 MB")]
SIZE = 3 * MIB
HELD_BYTES = SIZE // 2


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


@pytest.fixture(scope="module", params=DESTINATIONS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatedServer]:
    with gated_server.serve(request.param, tmp_path_factory.mktemp("uploads")) as server:
        yield server


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
    return lambda program: make_ready(program, server.endpoint, tmp_path)


@pytest.fixture
def sender(program: Program, make_sender: Callable[[Program], Sender]) -> Sender:
    return make_sender(program)


@pytest.mark.parametrize("size", SIZES)
def test_client_uploads_a_file(sender: Sender, server: GatedServer, size: int) -> None:
    sender.chunk_bytes = CHUNK_BYTES
    content = text(size)
    check_stored(sender, sender.upload(content), content)
    assert creations(server) == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=[program.name for program in VARIANTS])
def test_client_uploads_a_file_with_other_options(make_sender: Callable[[Program], Sender], variant: Program) -> None:
    sender = make_sender(variant)
    content = text(SIZE)
    check_stored(sender, sender.upload(content), content)


def test_cut_line_is_resumed(sender: Sender, server: GatedServer) -> None:
    gate = server.gate
    content = text(SIZE)
    gate.hold_after(HELD_BYTES)
    process = sender.start(content)
    gate.wait()
    gate.cut()
    check_stored(sender, sender.result(process), content)
    assert creations(server) == 1
    assert "HEAD" in [method for method, _ in gate.requests]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_lost_response_to_a_piece_logs_no_fault(sender: Sender, server: GatedServer, number: int) -> None:
    """The last of three pieces stores the file. Its client asks, and learns that all bytes are there."""
    gate = server.gate
    content = text(SIZE)
    gate.hold_after((number - 1) * SMALL_CHUNK_BYTES + SMALL_CHUNK_BYTES // 2)
    process = sender.start(content)
    gate.wait()
    gate.lose_response()
    gate.release()
    check_stored(sender, sender.result(process), content)
    assert creations(server) == 1


def test_killed_client_resumes_where_it_was(sender: Sender, server: GatedServer) -> None:
    gate = server.gate
    content = text(SIZE)
    gate.hold_after(HELD_BYTES)
    process = sender.start(content)
    gate.wait()
    process.kill()
    process.communicate()
    gate.cut()
    check_stored(sender, sender.result(sender.start()), content)
    assert creations(server) == 1


def test_restarted_server_resumes_where_it_was(sender: Sender, server: GatedServer) -> None:
    gate = server.gate
    content = text(SIZE)
    gate.hold_after(HELD_BYTES)
    process = sender.start(content)
    gate.wait()
    server.kill()
    server.start()
    check_stored(sender, sender.result(process), content)
    assert creations(server) == 1


def test_refused_content_shows_our_sentence(sender: Sender) -> None:
    response = requests.post(sender.endpoint, files={"file": ("photo.png", PAGE)}, timeout=60)
    sender.name, sender.retries = "photo.png", 0
    result = sender.upload(PAGE)
    assert result["status"] == response.status_code
    assert json.loads(result["body"])["detail"] == response.json()["detail"]


def test_refused_type_shows_our_sentence(sender: Sender) -> None:
    response = requests.post(sender.endpoint, files={"file": ("setup.exe", b"MZ")}, timeout=60)
    sender.name = "setup.exe"
    result = sender.upload(b"MZ")
    assert response.json()["detail"] in json.loads(result["body"])["detail"]


def test_two_processes_that_send_one_upload_store_one_file(sender: Sender, server: GatedServer) -> None:
    """Both continue the upload that a third process began. Each of their pieces is taken once."""
    gate = server.gate
    content = text(SIZE)
    gate.hold_after(SMALL_CHUNK_BYTES + SMALL_CHUNK_BYTES // 2)
    first = sender.start(content)
    gate.wait()
    first.kill()
    first.communicate()
    gate.cut()
    # Notes of its own for each: tus-js-client empties the file while it writes.
    shutil.copy(sender.folder / "urls.json", sender.folder / "more.json")
    processes = [sender.start(), sender.start(urls="more.json")]
    results = [sender.result(process) for process in processes]
    assert any("error" not in result for result in results), results
    for result in results:
        if "error" not in result:
            check_stored(sender, result, content)
    assert creations(server) == 1


def test_stale_writer_changes_nothing(sender: Sender, server: GatedServer) -> None:
    """A piece that was held up arrives after another process has sent the rest of the file."""
    gate = server.gate
    content = text(SIZE)
    gate.hold_after(HELD_BYTES)
    stale = sender.start(content)
    gate.wait()
    stale.kill()  # its bytes are under way
    stale.communicate()
    result = sender.result(sender.start())
    gate.release()
    check_stored(sender, result, content)
    path = urlsplit(result["url"]).path
    response = requests.head(f"{gate.url}{path}", headers={"Tus-Resumable": "1.0.0"}, timeout=60)
    assert response.headers["Upload-Offset"] == str(SIZE)
    check_stored(sender, result, content)

"""tus clients as programs of their own: tus-js-client in Node, and tuspy."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from .resumable_files import MIB, file_of

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "clients" / "programs"
PACKAGES = ROOT / ".npm" / "clients" / "node_modules"
CHUNK_BYTES = 4 * 2**20
"""The chunk size in the documentation."""
SMALL_CHUNK_BYTES = MIB
"""For files of 3 MB, so that they have a middle."""
SECONDS = 120
"""How long a client may take."""


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


@dataclass
class Sender:
    """Runs a client in a folder of its own.

    :param folder: with the file, and with the URLs that the client remembers.
    """

    program: Program
    endpoint: str
    folder: Path
    name: str = "notes.txt"
    chunk_bytes: int = SMALL_CHUNK_BYTES
    retries: int = 5
    """For tuspy. tus-js-client does not try again after a refusal."""

    def start(self, content: bytes | None = None, *, urls: str = "urls.json") -> subprocess.Popen[str]:
        """Start the client.

        :param content: of the file; ``None`` to send the file of the last call, of which the client has notes.
        :param urls: the name of the file with these notes.
        """
        path = self.folder / self.name
        if content is not None:
            path.write_bytes(content)
        command = self.program.command(
            endpoint=self.endpoint, path=str(path), name=self.name, urls=str(self.folder / urls),
            chunkSize=self.chunk_bytes, retries=self.retries,
        )  # fmt: skip
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)

    def result(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for the end of the client, and return its output."""
        output, _ = process.communicate(timeout=SECONDS)
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def upload(self, content: bytes) -> dict[str, Any]:
        return self.result(self.start(content))


def make_ready(program: Program, endpoint: str, folder: Path) -> Sender:
    """Return a sender, or skip the test if the client is not installed.

    :param folder: an empty folder.
    """
    if program.major is None:
        if importlib.util.find_spec("tusclient") is None:
            pytest.skip("tuspy is not installed; make clients brings it")
    elif not (PACKAGES / "tus-js-client-5").is_dir() or not shutil.which("node"):
        pytest.skip("node or tus-js-client is missing; make clients brings it with npm")
    else:
        (folder / "node_modules").symlink_to(PACKAGES)  # Node looks for packages in the folders above a module
        shutil.copy(PROGRAMS / "tus.mjs", folder)
    return Sender(program, endpoint, folder)


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

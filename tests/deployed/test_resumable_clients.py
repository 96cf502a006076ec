"""Unmodified tus clients upload to the deployed stack, through Lambda.

In the emulated AWS, no name of a host leads to the API. So the clients send to a relay on loopback.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import requests

from ..support.resumable_files import KIB, MIB, file_of, text
from ..support.resumable_programs import CHUNK_BYTES, Program, Sender, make_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Deployed

pytestmark = [pytest.mark.deployed, pytest.mark.clients]

PROGRAMS = [
    Program("tus-js-client 4", 4),
    Program("tus-js-client 5, with the IETF draft", 5, (("protocol", "ietf-draft-05"),)),
    Program("tuspy"),
]
LEFT_OUT = {"connection", "content-encoding", "content-length", "host", "transfer-encoding"}
"""The header fields that belong to one hop, in lower case."""


@pytest.fixture
def relay(deployed: Deployed) -> Iterator[str]:
    """The URL of the endpoint, as the clients on this machine reach it."""

    class Relay(BaseHTTPRequestHandler):
        """Passes each request on to the deployed API, with the token."""

        def pass_on(self) -> None:
            body = self.content()
            sent = {name: value for name, value in self.headers.items() if name.lower() not in LEFT_OUT}
            path = self.path.removeprefix("/")
            response = deployed.send(self.command, deployed.root + path, headers=sent, data=body)
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                if name.lower() not in LEFT_OUT:
                    self.send_header(name, value.replace(deployed.root, f"http://{self.headers['Host']}/"))
            if self.command != "HEAD" and response.status_code != 204:
                self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.content)

        def content(self) -> bytes:
            """Return the body. tus-js-client 5 sends it in the chunks of HTTP/1.1."""
            if "Transfer-Encoding" not in self.headers:
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):  # the methods of HTTP
                return self.pass_on
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/upload"
        server.shutdown()


@pytest.fixture(params=PROGRAMS, ids=[program.name for program in PROGRAMS])
def sender(request: pytest.FixtureRequest, relay: str, tmp_path: Path) -> Sender:
    sender = make_ready(request.param, relay, tmp_path)
    sender.chunk_bytes = CHUNK_BYTES
    return sender


@pytest.mark.parametrize("size", [pytest.param(20 * KIB, id="20 KB"), pytest.param(9 * MIB, id="9 MB")])
def test_client_uploads_a_file_through_lambda(sender: Sender, deployed: Deployed, size: int) -> None:
    content = text(size)
    result = sender.upload(content)
    assert "error" not in result, result
    entry = file_of(requests.get(result["url"], timeout=60).json())
    assert entry["size"] == size
    redirect = deployed.send("GET", entry["url"])
    assert redirect.status_code == 302
    assert deployed.send("GET", redirect.headers["Location"]).content == content


def test_refused_content_shows_our_sentence_through_lambda(sender: Sender, deployed: Deployed) -> None:
    page = b"<!doctype html><script>alert(1)</script>"
    plain = deployed.send("PUT", f"{deployed.endpoint}/photo.png", data=page)
    sender.name, sender.retries = "photo.png", 0
    result = sender.upload(page)
    assert result["status"] == plain.status_code
    assert plain.json()["detail"] in result["body"]

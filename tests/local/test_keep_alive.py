"""Several requests on one connection of the local server, and when the connection ends."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from handler.app import create_app
from handler.local import server as server_module
from handler.local.response import Response
from handler.local.server import Server
from handler.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

    from _typeshed.wsgi import WSGIApplication

HOST = b"Host: localhost\r\n"
PUT = b"PUT /upload/a.txt HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
CHUNKS = b"PUT /upload/a.txt HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
FORM_BODY = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\nan epilogue'
FORM = b"POST /upload HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data; boundary=x\r\n"
FORM += b"Content-Length: %d\r\n\r\n" % len(FORM_BODY) + FORM_BODY
HEALTH = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"


@contextmanager
def serving(app: WSGIApplication) -> Iterator[Server]:
    server = Server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.stopping = True
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))) as it:
        yield it


class Connection:
    """A connection on which a test sends requests and reads responses."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.socket = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        self.responses: BufferedReader = stack.enter_context(self.socket.makefile("rb"))

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        self.socket.sendall(request)
        return self.response(has_content=not request.startswith(b"HEAD "))

    def response(self, *, has_content: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Read one response, and no byte after it."""
        status = int(self.responses.readline().split()[1])
        fields: dict[str, str] = {}
        while (line := self.responses.readline()) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        length = int(fields.get("content-length", 0)) if has_content else 0
        return status, fields, self.responses.read(length)

    def is_closed(self) -> bool:
        return self.responses.read(1) == b""


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], Connection]]:
    with ExitStack() as stack:
        yield lambda: Connection(server, stack)


@pytest.mark.parametrize("request_", [PUT, CHUNKS, FORM, HEALTH], ids=["length", "chunks", "form", "no body"])
def test_connection_serves_one_request_after_the_other(connect: Callable[[], Connection], request_: bytes) -> None:
    connection = connect()
    for _ in range(3):
        status, fields, _ = connection.ask(request_)
        assert status in (200, 201)
        assert (fields["connection"], fields["keep-alive"]) == ("keep-alive", "timeout=5")
        assert connection.ask(HEALTH)[0] == 200


def test_requests_sent_at_once_are_answered_in_turn(connect: Callable[[], Connection]) -> None:
    connection = connect()
    connection.socket.sendall(PUT + HEALTH + CHUNKS + HEALTH)
    assert [connection.response()[0] for _ in range(4)] == [201, 200, 201, 200]


def test_other_methods_keep_the_connection(connect: Callable[[], Connection]) -> None:
    connection = connect()
    status, fields, _ = connection.ask(b"HEAD /health HTTP/1.1\r\n" + HOST + b"\r\n")
    assert status == 200
    assert int(fields["content-length"]) > 0, "the length of the content that GET has"
    for method in (b"OPTIONS", b"DELETE", b"PATCH", b"FOO"):
        status, _, _ = connection.ask(method + b" /health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status in (200, 204, 405)
    assert connection.ask(HEALTH)[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: foo, Close\r\n\r\n", 200),
        (b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
        (b"PUT /upload/a.exe HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 415),
        (b"PUT /upload/a.exe HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", 415),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 200),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (PUT.replace(b"Content-Length: 5", b"Content-Length: +5"), 400),
        (CHUNKS.replace(b"\r\n0\r\n", b"\r\nx\r\n"), 400),
    ],
    ids=["close", "1.0", "unread", "expects 100", "unread GET", "unread chunks", "malformed", "length", "bad chunk"],
)
def test_connection_ends_where_the_next_request_could_be_read_wrongly(
    connect: Callable[[], Connection], request_: bytes, status: int
) -> None:
    connection = connect()
    connection.socket.sendall(request_ + HEALTH)
    answered, fields, _ = connection.response()
    assert (answered, fields["connection"]) == (status, "close")
    assert "keep-alive" not in fields
    assert connection.is_closed(), "the second request is not answered"


def test_idle_connection_is_closed(connect: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "IDLE_SECONDS", 0.05)
    connection = connect()
    assert connection.ask(HEALTH)[0] == 200
    assert connection.is_closed()


def test_idle_connection_ends_silently_when_the_server_stops(
    server: Server, connect: Callable[[], Connection], capfd: pytest.CaptureFixture[str]
) -> None:
    monotonic = time.monotonic()
    connection = connect()
    assert connection.ask(HEALTH)[0] == 200
    server.stopping = True
    assert connection.is_closed()
    assert time.monotonic() - monotonic < server_module.IDLE_SECONDS, "the connection did not wait for its time"
    assert capfd.readouterr().out.count("\n") == 1, "one request is logged"


def test_connections_close_when_places_are_short(
    server: Server, connect: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_max_connections", 4)
    connection = connect()
    assert connection.ask(HEALTH)[1]["connection"] == "keep-alive"
    connect(), connect()  # each takes a place, without a request
    while len(server._requests) < 3:
        time.sleep(0.01)
    assert connection.ask(HEALTH)[1]["connection"] == "close"
    assert connection.is_closed()


def test_request_after_the_first_has_its_own_values(connect: Callable[[], Connection]) -> None:
    """Nothing of one request must reach the next: no header field, method, body or refusal."""
    connection = connect()
    assert connection.ask(PUT.replace(b"\r\n\r\n", b"\r\nContent-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n\r\n"))[0] == 201
    assert connection.ask(PUT.replace(b"hello", b"other"))[0] == 201
    assert connection.ask(HEALTH)[0] == 200
    assert connection.ask(b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n")[0] == 404
    assert connection.ask(HEALTH)[0] == 200


# The response.


@pytest.mark.parametrize(
    ("method", "status", "headers", "sent"),
    [
        ("GET", "200 OK", [("Content-Length", "2")], b"o|k"),
        ("GET", "200 OK", [], b"o|k"),
        ("HEAD", "200 OK", [("Content-Length", "2")], b""),
        ("GET", "204 No Content", [("content-length", "2")], b""),
        ("PATCH", "304 Not Modified", [("Content-Length", "2")], b""),
    ],
)
def test_response_has_content_only_where_the_client_reads_it(
    method: str, status: str, headers: list[tuple[str, str]], sent: bytes
) -> None:
    written: list[bytes] = []
    response = Response(method=method, write=written.append, begin=lambda _: [("Server", "x")])
    response.start(status, headers)
    response.send([b"o", b"k"])
    head, _, first = written[0].partition(b"\r\n\r\n")
    assert b"|".join([first, *written[1:]]) == sent
    assert head.startswith(b"HTTP/1.1 " + status.encode())
    assert (b"ength: 2" in head) is (headers != [] and not status.startswith("204"))


@pytest.mark.parametrize(
    ("method", "status", "headers", "has_end"),
    [
        ("GET", "200 OK", [("content-length", "2")], True),
        ("GET", "200 OK", [], False),
        ("HEAD", "200 OK", [], True),
        ("PATCH", "204 No Content", [], True),
    ],
)
def test_response_without_a_length_ends_with_the_connection(
    method: str, status: str, headers: list[tuple[str, str]], has_end: bool
) -> None:
    began: list[bool] = []

    def begin(ends: bool) -> list[tuple[str, str]]:
        began.append(ends)
        return []

    Response(method=method, write=lambda _: None, begin=begin).start(status, headers)
    assert began == [has_end]


@pytest.mark.parametrize(("content", "complete"), [([b"ok"], True), ([b"o"], False), ([b"o", b"k!"], False)])
def test_response_of_another_length_than_announced_ends_the_connection(content: list[bytes], complete: bool) -> None:
    response = Response(method="GET", write=lambda _: None, begin=lambda _: [])
    response.start("200 OK", [("Content-Length", "2")])
    response.send(content)
    assert response.is_complete is complete

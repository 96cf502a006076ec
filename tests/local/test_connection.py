"""The bytes of a connection, and the interim responses to a request, as an app sees them."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import get_input_stream

from handler.local.connection import READ_BYTES, Reader
from handler.local.server import Server
from handler.problems import MalformedRequest
from handler.web.hooks import SEND_INTERIM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MIB = 1024 * 1024
PATCH = b"PATCH /upload/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"


class Pair:
    """Two ends of a connection, the second of which a server reads that never stops."""

    stopping = False

    def __init__(self, stack: ExitStack) -> None:
        self.client, self.server = map(stack.enter_context, socket.socketpair())
        self.wakes_at_stop, self._other = map(stack.enter_context, socket.socketpair())
        self.reader = Reader(self.server, self)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack)


def test_lines_and_bytes_are_read_in_turn(pair: Pair) -> None:
    pair.client.sendall(b"one\ntwo\nthree" + b"x" * 100)
    assert pair.reader.readline(100) == b"one\n"
    assert pair.reader.readline(2) == b"tw"
    assert pair.reader.readline(2) == b"o\n"
    buffer = bytearray(5)
    assert (pair.reader.readinto1(buffer), bytes(buffer)) == (5, b"three")
    assert pair.reader.readline(7) == b"x" * 7
    pair.client.close()
    assert pair.reader.readline(READ_BYTES) == b"x" * 93
    assert pair.reader.readline(READ_BYTES) == b""
    assert pair.reader.readinto1(buffer) == 0


def test_line_that_arrives_in_pieces_is_joined(pair: Pair) -> None:
    pair.client.sendall(b"he")
    thread = threading.Timer(0.05, pair.client.sendall, [b"llo\nworld\n"])
    thread.start()
    assert pair.reader.readline(100) == b"hello\n"
    assert pair.reader.readline(100) == b"world\n"
    thread.join()


def test_read_returns_the_bytes_that_have_arrived(pair: Pair) -> None:
    pair.client.sendall(b"line\nhello")
    assert pair.reader.readline(100) == b"line\n"
    buffer = bytearray(MIB)
    assert (pair.reader.readinto1(buffer), bytes(buffer[:5])) == (5, b"hello")
    pair.client.sendall(b"world")
    assert (pair.reader.readinto1(buffer), bytes(buffer[:5])) == (5, b"world")


@contextmanager
def serving(app: Callable[[WSGIEnvironment, StartResponse], list[bytes]]) -> Iterator[Callable[[], socket.socket]]:
    """Serve an app in a thread, and yield a function that connects to it."""
    server = Server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(setattr, server, "stopping", True)
        yield lambda: stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))


def read_to_the_end(environ: WSGIEnvironment, kept: SimpleQueue[Any]) -> None:
    """Read a body as the app does, and put its pieces and then the exception into a queue."""
    stream = get_input_stream(environ, max_content_length=1 << 30)
    try:
        while data := stream.read(256 * 1024):
            kept.put(data)
        kept.put(None)
    except (ClientDisconnected, MalformedRequest) as error:
        kept.put(error)


def reset(connection: socket.socket) -> None:
    """Break a connection: the other end gets an error, instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("fields", "frame"),
    [(b"Content-Length: 1000000\r\n", b"%b"), (b"Transfer-Encoding: chunked\r\n", b"5\r\n%b\r\n")],
    ids=["length", "chunks"],
)
def test_bytes_before_a_break_reach_the_app(
    fields: bytes, frame: bytes, end: Callable[[socket.socket], object]
) -> None:
    kept: SimpleQueue[Any] = SimpleQueue()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        read_to_the_end(environ, kept)
        start_response("400 Bad Request", [("Content-Length", "0")])
        return []

    with serving(app) as connect:
        connection = connect()
        connection.sendall(b"PATCH /upload/a HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n" + frame % b"hello")
        assert kept.get(timeout=20) == b"hello", "before the buffer is full, and before the break"
        connection.sendall(frame % b"world")
        assert kept.get(timeout=20) == b"world"
        end(connection)
        assert isinstance(kept.get(timeout=20), Exception)


def test_interim_responses_precede_the_final_response() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        send_interim = environ[SEND_INTERIM]
        send_interim(104, [("Upload-Offset", "0")])
        assert environ["wsgi.input"].read(5) == b"hello"
        send_interim(104, [("Upload-Offset", "5")])
        with pytest.raises(ValueError, match="not a header field"):
            send_interim(104, [("Upload-Offset", "5\r\n\r\nHTTP/1.1 200 OK")])
        start_response("200 OK", [("Content-Length", "2")])
        send_interim(104, [("Upload-Offset", "9")])  # too late: dropped
        return [b"ok"]

    with serving(app) as connect:
        connection = connect()
        connection.sendall(PATCH + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        answers = connection.makefile("rb")
        first = [answers.readline() for _ in range(5)]
        assert first == [
            b"HTTP/1.1 104 Upload Resumption Supported\r\n",
            b"Upload-Offset: 0\r\n",
            b"\r\n",
            b"HTTP/1.1 100 Continue\r\n",
            b"\r\n",
        ], "a 104 does not replace the 100"
        connection.sendall(b"hello")
        rest = answers.read()
        assert rest.startswith(
            b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 5\r\n\r\nHTTP/1.1 200 OK\r\n"
        )
        assert rest.endswith(b"\r\n\r\nok")
        assert rest.count(b"HTTP/1.1 ") == 2


def test_client_that_cannot_take_interim_responses_gets_none() -> None:
    keys: SimpleQueue[bool] = SimpleQueue()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        keys.put(SEND_INTERIM in environ)
        start_response("204 No Content", [])
        return []

    with serving(app) as connect:
        for request in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):  # the second one has no Host
            connection = connect()
            connection.sendall(request)
            assert connection.makefile("rb").readline() == b"HTTP/1.1 204 No Content\r\n"
            assert keys.get(timeout=20) is False


def test_interim_response_to_a_client_that_has_left_raises_nothing() -> None:
    left, done = threading.Event(), threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        left.wait(20)
        for _ in range(3):
            environ[SEND_INTERIM](104, [])
        done.set()
        start_response("204 No Content", [])
        return []

    with serving(app) as connect:
        connection = connect()
        connection.sendall(PATCH + b"\r\n")
        reset(connection)
        left.set()
        assert done.wait(20)


def test_client_that_does_not_read_delays_no_request() -> None:
    sent: SimpleQueue[int] = SimpleQueue()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        for offset in range(100_000):  # more than the buffers of the system hold
            environ[SEND_INTERIM](104, [("Upload-Offset", str(offset)), ("X", "x" * 100)])
        sent.put(environ["wsgi.input"].read(5) == b"hello")
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with serving(app) as connect:
        connection = connect()
        connection.sendall(PATCH + b"\r\nhello")
        assert sent.get(timeout=20)
        received = connection.makefile("rb").read()
        *interim, final = received.split(b"HTTP/1.1 ")[1:]
        assert all(response.endswith(b"x" * 100 + b"\r\n\r\n") for response in interim), "none is cut off"
        assert 0 < len(interim) < 100_000
        assert final.startswith(b"200 OK\r\n")
        assert final.endswith(b"\r\n\r\nok")

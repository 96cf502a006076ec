"""A real HTTP server that receives webhooks and verifies them with the official package."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_bmV3IHNlY3JldCBmb3IgdGhlIHdlYmhvb2tzIG9mIHRlc3Rz"


@dataclass
class Received:
    """A request that the receiver got.

    :param event: the verified body.
    """

    path: str
    headers: dict[str, str]
    body: bytes
    event: Any

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Behaviour = Callable[[BaseHTTPRequestHandler, Received], None]


def respond(status: int, *, headers: dict[str, str] | None = None, body: bytes = b"") -> Behaviour:
    """Return a behaviour: this response."""

    def behave(handler: BaseHTTPRequestHandler, _received: Received) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


@dataclass
class Receiver:
    """The receiver, while it runs.

    :param behaviour: its response. A test may replace it.
    :param received: all requests with a valid signature, also those with an error as their response.
    :param accepted: the events whose response was 2xx, in order.
    :param failures: the reasons why requests were not valid.
    """

    port: int = 0
    scheme: str = "http"
    secret: str = SECRET
    behaviour: Behaviour = field(default_factory=lambda: respond(204))
    received: list[Received] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?key=not-for-the-log"

    def wait_for(self, condition: Callable[[list[Received]], bool], *, seconds: float = 20) -> list[Received]:
        """Wait until the received requests fulfil a condition, and return them."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.received), seconds), (self.received, self.failures)
            return list(self.received)


@contextmanager
def receiving(*, certificate: Path | None = None, path: Path | None = None, secret: str = SECRET) -> Iterator[Receiver]:
    """Run a receiver on this machine.

    :param certificate: a file with a certificate and its key, for https.
    :param path: a Unix socket to listen at, instead of a port.
    """
    receiver = Receiver(secret=secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                event = Webhook(receiver.secret).verify(body, headers)
            except Exception as error:
                receiver.failures.append(repr(error))
                respond(401)(self, Received(self.path, headers, body, None))
                return
            received = Received(self.path, headers, body, event)
            assert json.loads(body) == event
            with receiver.changed:
                receiver.received.append(received)
                receiver.changed.notify_all()
            receiver.behaviour(self, received)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            pass  # a client that no longer waits

    class UnixServer(ThreadingMixIn, UnixStreamServer):
        daemon_threads = True
        block_on_close = False

    server: UnixServer | Server
    if path:
        server = UnixServer(str(path), Handler)
    else:
        server = Server(("127.0.0.1", 0), Handler)
        receiver.port = server.server_port
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        receiver.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

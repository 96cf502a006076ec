"""A relay to the strict S3 that lets one conditional write in at a time.

LocalStack compares ``If-None-Match`` before it reads the body. Of two writes at once, both succeed (seen in 19 of 20
tries). On AWS exactly one succeeds, and resumable uploads rely on that.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOP_BY_HOP = {"connection", "content-length", "expect", "keep-alive", "transfer-encoding"}
"""The header fields that the relay makes itself, in lower case."""


@contextmanager
def serve(url: str) -> Iterator[str]:
    """Relay requests to the S3 at this URL, and yield the URL of the relay."""
    target = urlsplit(url).netloc
    lock = threading.Lock()

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if "If-None-Match" in self.headers and self.command != "GET":
                with lock:
                    status, headers, content = self.ask(body)
            else:
                status, headers, content = self.ask(body)
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(content)

        def ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            """Send the request to S3 with the Host that the client signed."""
            connection = http.client.HTTPConnection(target, timeout=60)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        connection.putheader(name, value)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
                response = connection.getresponse()
                return response.status, response.getheaders(), response.read()
            finally:
                connection.close()

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):  # the methods of HTTP
                return self.pass_on
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()

"""A web site on loopback, whose pages upload to an endpoint of another origin."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


class PageHandler(BaseHTTPRequestHandler):
    """Answers GET requests, and logs nothing."""

    def do_GET(self) -> None:
        self.answer(unquote(urlsplit(self.path).path))

    def answer(self, path: str) -> None:
        """Answer the request for a path, which is decoded and has no query."""
        raise NotImplementedError

    def send(self, media_type: str, content: bytes) -> None:
        """Send a response of status 200."""
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(handler: type[PageHandler]) -> Iterator[str]:
    """Serve pages, and yield their origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()

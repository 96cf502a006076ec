"""A proxy between a client and a server that loses some of the answers: the server has done the work."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LossyProxy:
    """Passes requests on, and closes the connection instead of the answer for a share of them.

    :param port: of the server, on this machine.
    :param share: of the lost answers, from 0 to 1.
    """

    def __init__(self, port: int, *, share: float) -> None:
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._port = port
        self._share = share
        self.lost = 0

    def forward(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        upstream = HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
        upstream.request(handler.command, handler.path, body, headers)
        response = upstream.getresponse()
        answer = response.read()
        upstream.close()
        if self._loses():
            return
        handler.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _loses(self) -> bool:
        with self._lock:
            lost = self._random.random() < self._share
            self.lost += lost
            return lost


@contextmanager
def lossy_proxy(port: int, *, share: float) -> Iterator[tuple[str, LossyProxy]]:
    """Run a proxy, and yield its URL and itself."""
    proxy = LossyProxy(port, share=share)

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            proxy.forward(self)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", proxy
        finally:
            server.shutdown()
            thread.join()

"""A stand-in for S3 on loopback, over TLS: it takes what is PUT and keeps nothing.

TLS, since over plain HTTP botocore hashes the body for its signature, which on AWS it need not. It is a process of its
own, so that what it costs is counted for nobody.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BYTES = 64 * 1024


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            received = sum(self._skip(size) for size in iter(self._chunk_size, 0))
            while self.rfile.readline().strip():  # the trailer: botocore's own checksum
                pass
        else:
            received = self._skip(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", f'"{received}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _chunk_size(self) -> int:
        line = self.rfile.readline().strip() or self.rfile.readline()  # what ends a chunk, or what begins one
        return int(line, 16)

    def _skip(self, size: int) -> int:
        left = size
        while left:
            left -= len(self.rfile.read(min(left, READ_BYTES)))
        return size

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run the sink.

    :param folder: where its certificate goes.
    :return: the environment for what is to speak with it.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "1", "-subj", "/CN=sink"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    server = subprocess.Popen([sys.executable, __file__, certificate, key], stdout=subprocess.PIPE, text=True)
    try:
        if server.stdout is None:
            raise RuntimeError("the sink has no output")
        port = json.loads(server.stdout.readline())
        yield {
            "AWS_ENDPOINT_URL_S3": f"https://127.0.0.1:{port}",
            "AWS_CA_BUNDLE": str(certificate),
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            # Nobody's own configuration.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    finally:
        server.terminate()
        server.wait()


def main(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print(server.server_port, flush=True)
        with suppress(socket.error):
            server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

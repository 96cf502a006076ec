"""A server on the loopback interface that fails as S3 may fail. moto never fails."""

from __future__ import annotations

import base64
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<html><title>Sign in to use this network</title></html>"


@dataclass
class FakeS3:
    """The requests so far, and a behaviour for each request to come. After these all responses are good."""

    url: str = ""
    behaviours: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    objects: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict)
    ignores_conditions: bool = False
    """Whether a write replaces an object although ``If-None-Match: *`` forbids it."""
    bucket_settings: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """The response to a GET of each setting of the bucket, such as ``versioning``."""
    allowed_origin: str = ""
    """The origin that a preflight permits."""


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FakeS3

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):  # ValueError: the connection was closed on purpose
            self.close_connection = True

    def do_PUT(self) -> None:
        behaviour = self._begin()
        if behaviour == "reset in the middle":
            self.rfile.read(10)
            self._reset()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stores = behaviour.startswith("store, then ")
        if not stores and self._misbehaved(behaviour):
            return
        exists = self.path in self.state.objects and not self.state.ignores_conditions
        if not exists:
            self.state.objects[self.path] = (self._headers(), body)
        if stores and self._misbehaved(behaviour.removeprefix("store, then ")):
            return
        if exists:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        else:
            self._answer(200, headers={"ETag": '"e"'})

    def do_HEAD(self) -> None:
        if self._misbehaved(self._begin()):
            return
        if self.path.count("/") == 1:  # HeadBucket
            self._answer(200)
            return
        if self.path not in self.state.objects:
            self._answer(404)
            return
        kept, body = self.state.objects[self.path]
        names = ("content-type", "x-amz-checksum-sha256")
        headers = {name: kept[name] for name in kept if name in names or name.startswith("x-amz-meta-")}
        self._answer(200, headers=headers | {"Content-Length": str(len(body))})

    def do_GET(self) -> None:
        """GetBucketVersioning and GetBucketCors."""
        setting = self.path.partition("?")[2]
        if not self._misbehaved(self._begin()):
            self._answer(*self.state.bucket_settings[setting])

    def do_OPTIONS(self) -> None:
        if not self._misbehaved(self._begin()):
            self._answer(200, headers={"Access-Control-Allow-Origin": self.state.allowed_origin})

    def do_DELETE(self) -> None:
        if self._misbehaved(self._begin()):
            return
        self.state.objects.pop(self.path, None)
        self._answer(204)

    def do_POST(self) -> None:
        """DeleteObjects: the only POST that is asked of it."""
        behaviour = self._begin()
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self._misbehaved(behaviour):
            return
        for key in re.findall(r"<Key>(.*?)</Key>", body):
            self.state.objects.pop(f"{self.path}/{key}", None)
        self._answer(200, b"<DeleteResult/>")

    def _begin(self) -> str:
        self.path = self.path.partition("?")[0]
        self.state.requests.append((self.command, self.path, self._headers()))
        return self.state.behaviours.pop(0) if self.state.behaviours else "good"

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _misbehaved(self, behaviour: str) -> bool:
        match behaviour:
            case "throttle":
                self._answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>")
            case "error":
                self._answer(500, b"<Error><Code>InternalError</Code></Error>")
            case "forbid":
                self._answer(403, b"<Error><Code>AccessDenied</Code><Message>arn:aws:iam::1:role/x</Message></Error>")
            case "not found":
                self._answer(404)
            case "conflict":
                self._answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
            case "page":
                self._answer(200, PAGE)
            case "page with an ETag":
                self._answer(200, PAGE, headers={"Content-Type": "text/html; charset=utf-8", "ETag": '"e"'})
            case "garbage":
                self._answer(200, b"\x00<<<not xml")
            case "garbage as an error":
                self._answer(400, b"\x00<<<not xml")
            case "no http":
                self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
                self._reset()
            case "reset":
                self._reset()
            case _:
                return False
        return True

    def _reset(self) -> None:
        """Cut the connection off: with no time to linger the system sends a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for stream in (self.rfile, self.wfile, self.connection):  # it stays open for as long as one of them is
            stream.close()
        self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", *, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[FakeS3]:
    state = FakeS3()
    handler = type("RequestHandler", (_RequestHandler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def checksum(headers: dict[str, str]) -> str:
    """The SHA-256 that the client declared, in hexadecimal."""
    return base64.b64decode(headers["x-amz-checksum-sha256"]).hex()

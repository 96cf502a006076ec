"""``python -m handler``, as a process of its own that is talked to over HTTP."""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from handler.app import create_app
from handler.local import server as server_module
from handler.local.server import RequestHandler
from handler.local.server import Server as LocalServer
from handler.settings import Settings

from ..support import contract, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


class Server(NamedTuple):
    process: subprocess.Popen[str]
    folder: Path
    port: int
    greeting: list[str]

    def request(self, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)  # type: ignore[arg-type]
        response = connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        connection.close()
        return response

    def talk(self, data: bytes) -> bytes:
        """Send these bytes and nothing more, and return the response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()

    def next_log_entry(self) -> dict[str, Any]:
        assert self.process.stdout
        entry: dict[str, Any] = json.loads(self.process.stdout.readline())
        return entry

    def leftovers(self) -> list[Path]:
        """All that it keeps, finished or not."""
        return [path for folder in self.folder.iterdir() for path in folder.iterdir()]

    def peak_memory(self) -> int:
        """The most that the process ever held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    processes = []

    def start(*arguments: str, max_files: int | None = None, nohup: bool = False, **environ: str) -> Server:
        def prepare() -> None:
            _set_signals(nohup=nohup)
            if max_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))

        folder = tmp_path / "uploads"
        command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(folder), *arguments]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environ,
            preexec_fn=prepare,  # noqa: PLW1509  (the tests have no threads at that moment)
        )
        processes.append(process)
        assert process.stdout
        greeting = [process.stdout.readline()]
        while greeting[-1] and not greeting[-1].startswith("Try:"):
            greeting.append(process.stdout.readline())
        port = re.search(r":(\d+),", greeting[0])
        assert port, greeting[0] + process.communicate()[0]
        return Server(process, folder, int(port[1]), greeting)

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _set_signals(*, nohup: bool) -> None:
    """Give a new process the signals of a process in a terminal, or of a process started with nohup.

    A process inherits the ignored signals. A shell has a process in the background ignore Ctrl-C, and the tests may run
    under nohup themselves.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)


def test_banner_has_the_settings_and_a_file_is_stored(start: Callable[..., Server]) -> None:
    server = start(ALLOWED_EXTENSIONS="jpg", MAX_FILE_BYTES="2000000", MAX_CONTENT_LENGTH="3000000")
    url = f"http://127.0.0.1:{server.port}"
    assert server.greeting == [
        f"Serving {url}, keeping files in {server.folder}. Stop with Ctrl-C.\n",
        "Types:   jpg\n",
        "Limit:   1.9 MiB per file, 2.8 MiB per request\n",
        "Access:  programs and browsers on this machine, without a token\n",
        f"Page:    {url}/\n",
        f"Try:     curl -F file=@photo.jpg {url}/upload\n",
    ]
    response = server.request("PUT", "/upload/photo.jpg", samples.JPEG)
    assert response.status == 201
    answer = json.loads(response.body)  # type: ignore[attr-defined]
    assert (server.folder / "files" / answer["files"][0]["id"] / "photo.jpg").read_bytes() == samples.JPEG
    back = server.request("GET", answer["url"].partition(str(server.port))[2])
    assert back.body == samples.JPEG  # type: ignore[attr-defined]
    assert back.headers["Content-Disposition"] == 'attachment; filename="photo.jpg"'


@pytest.mark.parametrize("target", ["/upload/Grüße.txt", "/upload?filename=Grüße.txt"])
def test_name_in_raw_utf_8_is_read(start: Callable[..., Server], target: str) -> None:
    """curl sends an address as it was typed."""
    request_ = f"PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
    status, _, body = parse(start().talk(request_.encode()))
    assert status == 201
    assert [file["original_name"] for file in json.loads(body)["files"]] == ["Grüße.txt"]


def test_ctrl_c_stops_the_server_silently(start: Callable[..., Server]) -> None:
    server = start()
    server.process.send_signal(signal.SIGINT)
    assert server.process.communicate(timeout=10)[0].strip() == ""
    assert server.process.returncode == 0


@pytest.mark.parametrize("way", ["PUT", "chunked PUT", "POST"])
def test_large_upload_is_streamed_to_disk(start: Callable[..., Server], way: str) -> None:
    server = start()
    server.request("PUT", "/upload/warm-up.png", samples.png(MIB))
    before = server.peak_memory()
    size = 128 * MIB
    head = samples.png()
    content = [head, bytes(size - len(head))]
    if way == "POST":
        start_of_part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.png"\r\n\r\n'
        content = [start_of_part, *content, b"\r\n--x--\r\n"]
        length = str(sum(map(len, content)))
        headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": length}
        response = server.request("POST", "/upload", iter(content), **headers)
    else:
        headers = {"Content-Length": str(size)} if way == "PUT" else {}
        response = server.request("PUT", "/upload/big.png", iter(content), **headers)
    assert response.status == 201
    assert json.loads(response.body)["files"][0]["size"] == size  # type: ignore[attr-defined]
    assert server.peak_memory() - before < 16 * MIB


def test_disconnected_client_leaves_nothing(start: Callable[..., Server]) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"PUT /upload/a.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhello")
    entry = server.next_log_entry()
    assert (entry["status"], entry["problem"]) == (400, "urn:problem-type:upload:malformed-request")
    assert server.leftovers() == []


def test_client_disconnected_in_a_huge_chunk_leaves_nothing(start: Callable[..., Server]) -> None:
    server = start()
    response = server.talk(
        b"PUT /upload/a.txt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\nhello"
    )
    status, headers, body = parse(response)
    assert status == 400
    assert "The connection ended before the last chunk" in json.loads(body)["detail"]
    contract.check_refusal(status, headers, body)
    assert server.leftovers() == []


REQUEST = b"PUT /upload/a.txt HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "slug"),
    [
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed-request"),
        (b"GET /\r\n\r\n", 400, "malformed-request"),
        (b"GET / HTTP/x\r\n\r\n", 400, "malformed-request"),
        (b"\x16\x03\x01\x00\r\n", 400, "malformed-request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        (REQUEST + b"Content-Length: +5\r\n\r\nhello", 400, "malformed-request"),
        (REQUEST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "malformed-request"),
        (REQUEST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed-request"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400, "malformed-request"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "uri-too-long"),
        (REQUEST + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431, "header-too-large"),
        (REQUEST + b"X: a\r\n" * 20_000 + b"\r\n", 431, "header-too-large"),
        (REQUEST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "transfer-coding-not-supported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-not-supported"),
    ],
    ids=lambda value: value[:50].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_malformed_request_gets_an_ordinary_problem(
    start: Callable[..., Server], request_: bytes, status: int, slug: str
) -> None:
    server = start()
    answered, headers, body = parse(server.talk(request_))
    assert answered == status
    assert json.loads(body)["type"] == f"urn:problem-type:upload:{slug}"
    contract.check_refusal(status, headers, body)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert headers["Connection"] == "close"
    server.process.send_signal(signal.SIGINT)
    (line,) = server.process.communicate(timeout=60)[0].splitlines()
    entry = json.loads(line)
    assert (entry["status"], entry["request_id"]) == (status, headers["X-Request-Id"])
    assert server.leftovers() == []


def test_response_to_a_refused_head_request_has_no_body(start: Callable[..., Server]) -> None:
    status, _, body = parse(start().talk(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"))
    assert (status, body) == (400, b"")


def test_connection_without_a_request_is_not_logged(start: Callable[..., Server]) -> None:
    server = start()
    assert server.talk(b"") == b""
    server.process.send_signal(signal.SIGINT)
    assert server.process.communicate(timeout=60)[0] == ""


def parse(response: bytes) -> tuple[int, Message, bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    return int(line.split()[1]), message_from_bytes(fields), body


def test_response_has_one_date(start: Callable[..., Server]) -> None:
    server = start()
    stored = server.request("PUT", "/upload/a.txt", b"hello")
    path = "/" + json.loads(stored.body)["url"].split("/", 3)[3]  # type: ignore[attr-defined]
    for response in (stored, server.request("GET", path), server.request("GET", path, Range="bytes=1-")):
        assert response.status in (200, 201, 206)
        assert len(response.headers.get_all("Date", [])) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "start_of_body",
    [b"Content-Length: 1073741824\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n40000000\r\n"],
    ids=["length", "chunks"],
)
@pytest.mark.parametrize("sends_on", [False, True], ids=["waiting", "sending"])
def test_stopped_server_responds_503_and_deletes_the_unfinished_upload(
    start: Callable[..., Server], number: signal.Signals, start_of_body: bytes, sends_on: bool
) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(REQUEST + start_of_body + b"x" * 100_000)  # more than is kept in memory
        for _ in range(1000):
            if server.leftovers():
                break
            time.sleep(0.01)
        else:
            pytest.fail("the upload does not begin")
        server.process.send_signal(number)
        if sends_on:
            with suppress(OSError):
                while server.process.poll() is None:
                    connection.send(b"x" * MIB)
        else:
            status, headers, body = parse(connection.makefile("rb").read())
            assert (status, headers["Retry-After"]) == (503, "5")
            assert json.loads(body)["type"] == "urn:problem-type:upload:server-unavailable"
            contract.check_refusal(status, headers, body)
        output = server.process.communicate(timeout=60)[0]
    assert server.process.returncode == 0
    assert [json.loads(line)["status"] for line in output.splitlines()] == [503]
    assert server.leftovers() == []


def test_request_with_an_unfinished_header_gets_503_at_the_stop(start: Callable[..., Server]) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(REQUEST)
        assert server.request("GET", "/health").status == 200  # which came later, and is answered
        server.process.send_signal(signal.SIGTERM)
        assert parse(connection.makefile("rb").read())[0] == 503


def test_stopping_twice_waits_once_for_a_client_that_does_not_read(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waited = 1000.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)

    class Stuck(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            nonlocal now
            waited.append(timeout)
            now += timeout or 0

    server._requests.add(Stuck())
    server.stop()
    server.stop()
    assert waited == [server_module.STOP_SECONDS, 0]
    server._requests.clear()


def test_server_started_with_nohup_ignores_sighup(start: Callable[..., Server]) -> None:
    server = start(nohup=True)
    server.process.send_signal(signal.SIGHUP)
    assert server.request("GET", "/health").status == 200


def test_client_that_sends_the_whole_body_first_receives_the_refusal(start: Callable[..., Server]) -> None:
    server = start(MAX_CONTENT_LENGTH="1000")
    response = server.request("PUT", "/upload/a.txt", b"x" * 20 * MIB)
    assert response.status == 413
    assert json.loads(response.body)["max_bytes"] == 1000  # type: ignore[attr-defined]


REFUSED_EARLY = b"PUT /upload/a.exe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"


@pytest.mark.parametrize("fields", [b"", b"Expect: 100-continue\r\n"], ids=["plain", "expects 100"])
def test_early_refusal_is_complete_while_the_client_still_sends(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, fields: bytes
) -> None:
    monkeypatch.setattr(server_module, "DRAIN_SILENT_SECONDS", 60)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(REFUSED_EARLY + fields + b"\r\n" + (b"" if fields else b"MZ"))
        server.handle_request()
        response = connection.makefile("rb").read()  # to the end, which the client waits for
        assert response.startswith(b"HTTP/1.1 415 ")  # and not with 100, for which the body would be sent
        assert b"\r\nConnection: close\r\n" in response
        connection.sendall(b"x" * MIB)  # the server still reads


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_DRAIN_BYTES", MIB), ("DRAIN_SECONDS", 0.1), ("DRAIN_SILENT_SECONDS", 0.1)]
)
def test_refused_body_is_read_up_to_a_limit(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(server_module, limit, value)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(REFUSED_EARLY + b"\r\n")
        server.handle_request()
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 415 ")
        if limit != "DRAIN_SILENT_SECONDS":
            with suppress(ConnectionError):
                while True:
                    connection.sendall(b"x" * MIB)
        for thread in server._requests.copy():
            thread.join(20)
        assert server._requests == set()


def test_php_receives_an_early_refusal(start: Callable[..., Server]) -> None:
    """PHP's ``http://`` wrapper reads until the server closes the connection."""
    php = shutil.which("php")
    if not php:
        pytest.skip("there is no php on the PATH")
    url = f"http://127.0.0.1:{start().port}/upload/a.exe"
    script = f"""
        $http = ["method" => "PUT", "content" => str_repeat("x", 1000000), "ignore_errors" => true, "timeout" => 60];
        echo file_get_contents("{url}", false, stream_context_create(["http" => $http]));
    """
    shown = subprocess.run([php, "-r", script], capture_output=True, text=True, timeout=20, check=True).stdout
    assert json.loads(shown)["status"] == 415


@pytest.mark.parametrize(
    ("fields", "body"),
    [(b"Content-Length: 5\r\n", b"hello"), (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")],
    ids=["length", "chunks"],
)
def test_client_that_expects_100_continue_gets_one(start: Callable[..., Server], fields: bytes, body: bytes) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(REQUEST + fields + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.makefile("rb").readline() == b"HTTP/1.1 201 CREATED\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"PUT /upload/a.txt HTTP/1.0\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n",
    ],
    ids=["HTTP/1.0", "no body"],
)
def test_request_that_needs_no_100_continue_gets_none(start: Callable[..., Server], request_: bytes) -> None:
    assert start().talk(request_).startswith(b"HTTP/1.1 20")


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        (["--folder", "/dev/null/x"], {}, "handler: UPLOAD_FOLDER is '/dev/null/x': files cannot be written there"),
        (["--host", "192.0.2.1"], {"ACCESS": "public"}, "handler: cannot listen on 192.0.2.1 port 0: "),
        (["--host", "0.0.0.0"], {}, "handler: 0.0.0.0 can be reached from elsewhere: set TOKEN_SECRET"),
        (["--host", "::"], {}, "handler: :: can be reached from elsewhere: set TOKEN_SECRET"),
        (["token", "--expires", "1h"], {}, "handler: TOKEN_SECRET is not set: set it to the secret of the endpoint"),
        (["--port", "70000"], {}, "handler: cannot listen on 127.0.0.1 port 70000: "),
        ([], {"ALLOWED_EXTENSIONS": "xyz"}, "handler: ALLOWED_EXTENSIONS is 'xyz': 'xyz' is not one of"),
    ],
)
def test_impossible_options_are_reported_in_one_line(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], message: str
) -> None:
    assert _fails(tmp_path, *arguments, **environ).startswith(message)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    """A server in this process. It serves when a test calls it."""
    server = LocalServer("127.0.0.1", 0, create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)})))
    yield server
    server.stop()


def ask_for_health(server: LocalServer) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        server.handle_request()
        return connection.makefile("rb").read()


def test_connection_to_a_stopping_server_is_not_read(server: LocalServer) -> None:
    assert ask_for_health(server).startswith(b"HTTP/1.1 200 ")
    server.stopping = True
    assert ask_for_health(server) == b""


def test_burst_of_connections_waits_in_the_queue(server: LocalServer) -> None:
    maximum = Path("/proc/sys/net/core/somaxconn")
    if not maximum.exists() or int(maximum.read_text()) < server_module.BACKLOG:
        pytest.skip("this system lets fewer connections wait")
    with ExitStack() as stack:
        for _ in range(300):  # none of them is accepted yet
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))


def test_connection_over_the_limit_gets_503(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ROOM_SECONDS", 0)
    monkeypatch.setattr(server, "_room", threading.Semaphore(2))
    monkeypatch.setattr(server, "_room_seconds", 0)
    with ExitStack() as stack:

        def connect() -> socket.socket:
            address = ("127.0.0.1", server.port)
            connection = stack.enter_context(socket.create_connection(address, timeout=20))
            server.handle_request()
            return connection

        idle = [connect(), connect()]
        for _ in range(2 * server_module.MAX_TURNED_AWAY):
            status, headers, body = parse(connect().makefile("rb").read())
            assert (status, headers["Retry-After"], headers["Connection"]) == (503, "5", "close")
            assert json.loads(body)["type"] == "urn:problem-type:upload:server-unavailable"
            contract.check_refusal(status, headers, body)
        assert len(server._turned_away) == server_module.MAX_TURNED_AWAY
        (thread, *_) = server._requests
        for connection in idle:
            connection.close()
        thread.join(20)
    assert ask_for_health(server).startswith(b"HTTP/1.1 200 ")


def test_connection_without_a_free_thread_gets_503(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        assert ask_for_health(server).startswith(b"HTTP/1.1 503 ")
    assert server._requests == set()
    assert ask_for_health(server).startswith(b"HTTP/1.1 200 ")


def test_refused_connection_is_closed(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_room", threading.Semaphore(0))
    monkeypatch.setattr(server, "_room_seconds", 0)
    monkeypatch.setattr(server_module, "TURNED_AWAY_SECONDS", 60)
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            server.handle_request()
            assert connection.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
            assert len(server._turned_away) == 1  # the first one is closed, since its client has closed it
    monkeypatch.setattr(server_module, "TURNED_AWAY_SECONDS", -1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        server.handle_request()
        assert len(server._turned_away) == 0


@pytest.mark.parametrize(
    ("files", "connections"),
    [(256, 52), (64, 4), (10, 1), (1 << 20, server_module.MAX_CONNECTIONS), (resource.RLIM_INFINITY, 2048)],
)
def test_connections_stay_below_the_limit_of_open_files(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert server_module.max_connections() == connections


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((256, resource.RLIM_INFINITY), (8240, resource.RLIM_INFINITY)),
        ((1024, 4096), (4096, 4096)),
        ((1024, 1 << 20), (8240, 1 << 20)),
        ((20_000, 20_000), None),
        ((64, 64), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_limit_of_open_files_is_raised_as_far_as_allowed(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int] | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    server_module.raise_file_limit()
    assert set_to == ([after] if after else [])


def test_server_with_few_open_files_responds_to_every_connection(start: Callable[..., Server]) -> None:
    server = start(max_files=64)
    with ExitStack() as stack:
        statuses = []
        for number in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            if number >= 4:
                statuses.append(connection.makefile("rb").readline())
        assert statuses == [b"HTTP/1.1 503 SERVICE UNAVAILABLE\r\n"] * 96
    while server.request("PUT", "/upload/a.txt", b"hello").status != 201:  # when it has seen that they have gone
        pass


def test_server_pauses_when_the_system_has_no_open_files_left(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    accept = server.socket.accept

    class Exhausted:
        """A listening socket for which there is no further open file, once."""

        def __getattr__(self, name: str) -> Any:
            return getattr(listening, name)

        def accept(self) -> Any:
            if not pauses:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return accept()

    listening = server.socket
    monkeypatch.setattr(server, "socket", Exhausted())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.handle_request()
        assert pauses == [server_module.ACCEPT_PAUSE_SECONDS]
        server.handle_request()
        assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    monkeypatch.undo()


def test_connections_are_kept_alive_by_the_system(server: LocalServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20):
        accepted, _ = server.get_request()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_fault_of_the_server_is_logged_in_one_line(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RequestHandler, "handle_one_request", lambda _: 1 // 0)
    assert ask_for_health(server) == b""
    out, err = capfd.readouterr()
    assert err == ""
    (line,) = out.splitlines()
    assert "ZeroDivisionError" in json.loads(line)["exception"]


def test_make_run_takes_options_from_the_command_line_only() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environ |= {"HOST": "x86_64-conda-linux-gnu", "PORT": "80", "FOLDER": "/"}

    def line(*arguments: str) -> str:
        command = ["make", "--dry-run", "--always-make", "run", *arguments]
        shown = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout
        return " ".join(shown.splitlines()[-1].split()).removeprefix("exec ")

    assert line() == ".venv/bin/python -m handler"
    assert line("PORT=9000", "FOLDER=a b") == '.venv/bin/python -m handler --port "9000" --folder "a b"'
    assert line("HOST=::1", "PORT=") == '.venv/bin/python -m handler --host "::1"'


def test_folder_on_the_command_line_overrides_a_bucket(start: Callable[..., Server]) -> None:
    server = start(UPLOAD_BUCKET="some-bucket")
    assert str(server.folder) in server.greeting[0]
    assert server.request("PUT", "/upload/a.txt", b"hello").status == 201
    assert [path.name for path in server.folder.rglob("a.txt")] == ["a.txt"]


def test_server_listens_on_ipv6(start: Callable[..., Server]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = start("--host", "::1")
    assert f"Serving http://[::1]:{server.port}, " in server.greeting[0]
    assert f" http://[::1]:{server.port}/upload" in server.greeting[-1]
    connection = http.client.HTTPConnection("::1", server.port, timeout=60)
    connection.request("PUT", "/upload/a.txt", b"hello")
    response = connection.getresponse()
    assert response.status == 201
    assert json.loads(response.read())["url"].startswith(f"http://[::1]:{server.port}/files/")
    connection.close()


def test_folder_that_the_terminal_cannot_show_is_escaped(tmp_path: Path, start: Callable[..., Server]) -> None:
    server = start("--folder", str(tmp_path / "Grüße"), PYTHONIOENCODING="ascii")
    assert "Gr\\xfc\\xdfe" in server.greeting[0]


def test_unread_log_blocks_no_request_and_loses_no_line(start: Callable[..., Server]) -> None:
    server = start()
    assert server.process.stdout
    requests = 2 * fcntl.fcntl(server.process.stdout, fcntl.F_GETPIPE_SZ) // 300  # twice as much as the pipe holds
    for _ in range(requests):
        assert server.request("GET", "/health").status == 200
    server.process.send_signal(signal.SIGTERM)
    lines = server.process.communicate(timeout=60)[0].splitlines()
    assert [json.loads(line)["status"] for line in lines] == [200] * requests


def test_log_without_a_reader_blocks_no_request(start: Callable[..., Server]) -> None:
    server = start()
    assert server.process.stdout
    server.process.stdout.close()
    for _ in range(3):
        assert server.request("GET", "/health").status == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0


@pytest.mark.parametrize("arguments", [[], ["token", "--expires", "1h"]])
def test_full_standard_output_at_the_start_is_reported_in_one_line(tmp_path: Path, arguments: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(tmp_path), *arguments]
    environ = os.environ | {"TOKEN_SECRET": "no secret but long enough to pass for one"}
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environ, timeout=30, check=False
        )
    assert result.returncode == 2
    reason = "No space left on device. Make room, or send it elsewhere."
    assert result.stderr == f"handler: standard output cannot be written: {reason}\n"


def test_busy_port_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        line = _fails(tmp_path, "--port", str(port))
    assert line.startswith(f"handler: cannot listen on 127.0.0.1 port {port}: Address already in use.")


def _fails(folder: Path, *arguments: str, **environ: str) -> str:
    """Start it where it cannot, and return the one line that it says."""
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environ, timeout=30, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert ".." not in line
    return line


def test_minted_token_is_accepted_by_a_server_on_all_addresses(start: Callable[..., Server]) -> None:
    secret = {"TOKEN_SECRET": "no secret but long enough to pass for one"}
    server = start("--host", "0.0.0.0", **secret)
    assert "-H 'Authorization: Bearer TOKEN'" in server.greeting[-1]
    command = [
        sys.executable,
        "-m",
        "handler",
        "token",
        "--expires",
        "1h",
        "--max-bytes",
        "10",
        "--extensions",
        "txt,png",
    ]
    token = subprocess.run(command, capture_output=True, text=True, env=os.environ | secret, check=True).stdout.strip()
    authorization = {"Authorization": f"Bearer {token}"}
    assert server.request("PUT", "/upload/a.txt", b"hello").status == 401
    assert server.request("PUT", "/upload/a.txt", b"hello", **authorization).status == 201
    assert server.request("PUT", "/upload/a.txt", b"hello world", **authorization).status == 413
    assert server.request("PUT", "/upload/a.jpg", samples.JPEG, **authorization).status == 415

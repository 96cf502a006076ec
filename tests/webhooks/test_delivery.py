"""One try to deliver an event, to real servers that behave and misbehave."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handler.webhooks import delivery
from handler.webhooks.delivery import NotDelivered, Receiver, is_public
from handler.webhooks.signing import decode_secret

from ..support.webhook_receiver import OTHER_SECRET, SECRET, receiving, respond

EVENT_ID = "file_0123456789abcdef0123456789abcdef"
BODY = json.dumps({"type": "file.stored", "timestamp": "2026-11-27T12:00:00Z", "data": {"id": "ü"}}).encode()


def receiver(url: str, *secrets: str, allow_private: bool = True) -> Receiver:
    keys = [decode_secret(secret) for secret in secrets or (SECRET,)]
    return Receiver(url, keys=keys, allow_private=allow_private)


def failure(url: str, **more: Any) -> NotDelivered:
    with pytest.raises(NotDelivered) as caught:
        receiver(url, **more).deliver(EVENT_ID, BODY)
    return caught.value


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that handles one connection, byte by byte, and yield its URL."""

    def run() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            with suppress(OSError):  # the client has closed
                serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join()


def wait(closed: threading.Event) -> None:
    """Send nothing until the client has given up."""
    assert closed.wait(60)


@pytest.fixture
def short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "TOTAL_SECONDS", 0.5)


def test_receiver_gets_the_signed_event() -> None:
    with receiving() as there:
        assert receiver(there.url).deliver(EVENT_ID, BODY) == 204
    (received,) = there.received
    assert (received.path, received.id, received.body) == ("/hook?key=not-for-the-log", EVENT_ID, BODY)
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == f"127.0.0.1:{there.port}"


def test_either_secret_verifies_while_one_is_replaced() -> None:
    for known in (SECRET, OTHER_SECRET):
        with receiving(secret=known) as there:
            assert receiver(there.url, SECRET, OTHER_SECRET).deliver(EVENT_ID, BODY) == 204


def test_receiver_with_another_secret_does_not_confirm() -> None:
    with receiving(secret=OTHER_SECRET) as there:
        assert failure(there.url).status == 401
    assert "No matching signature" in there.failures[0]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_success_confirms(status: int) -> None:
    with receiving() as there:
        there.behaviour = respond(status)
        assert receiver(there.url).deliver(EVENT_ID, BODY) == status


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 410, 429, 500, 502, 503, 504, 600])
def test_other_status_is_a_failure(status: int) -> None:
    with receiving() as there:
        there.behaviour = respond(status)
        error = failure(there.url)
    assert error.status == status
    assert str(status) in error.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(status: int) -> None:
    with receiving() as elsewhere, receiving() as there:
        there.behaviour = respond(status, headers={"Location": elsewhere.url})
        assert failure(there.url).status == status
        assert not elsewhere.received


def test_huge_body_is_not_read() -> None:
    """The server could never send all of this: the client would have to read it."""
    sent = []

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    with raw_server(serve) as url:
        assert receiver(url).deliver(EVENT_ID, BODY) == 200
    assert sum(sent) < 50_000_000


@pytest.mark.usefixtures("short_time")
def test_receiver_that_does_not_respond_is_a_failure() -> None:
    closed = threading.Event()
    with raw_server(lambda _: wait(closed)) as url:
        assert failure(url).reason == "the receiver did not respond in time"
        closed.set()


@pytest.mark.usefixtures("short_time")
@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n"])
def test_slow_drip_cannot_exceed_the_total_time(beginning: bytes) -> None:
    """Each byte comes long before any time-out of the socket."""
    stopped = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while not stopped.wait(0.01):
            connection.sendall(b"H")

    with raw_server(serve) as url:
        assert failure(url).reason == "the receiver did not respond in time"
        stopped.set()


@pytest.mark.usefixtures("short_time")
def test_endless_interim_responses_cannot_exceed_the_total_time() -> None:
    stopped = threading.Event()

    def serve(connection: socket.socket) -> None:
        while not stopped.is_set():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with raw_server(serve) as url:
        assert failure(url).reason == "the receiver did not respond in time"
        stopped.set()


def test_interim_response_is_skipped() -> None:
    response = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n"
    with raw_server(lambda connection: connection.sendall(response)) as url:
        assert receiver(url).deliver(EVENT_ID, BODY) == 202


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 2xx OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"\x00\xff" * 1000,
    ],
    ids=range(8),
)
def test_response_that_is_not_http_is_a_failure(response: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(response)) as url:
        error = failure(url)
    assert error.status is None
    assert "OpenSSH" not in error.reason


def test_reset_connection_is_a_failure() -> None:
    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with raw_server(serve) as url:
        assert "reset" in failure(url).reason.lower()


def test_port_without_a_server_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "refused" in failure(f"http://127.0.0.1:{port}/").reason.lower()


def test_unknown_host_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert failure("https://receiver.example/").reason == "the receiver's host name cannot be resolved"


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
def test_host_name_that_dns_cannot_hold_is_a_failure(host: str) -> None:
    """The encoding of the name raises a UnicodeError, which would end the thread of the sender."""
    assert failure(f"https://{host}/").reason == "the receiver's host name cannot be resolved"


# Addresses.

PRIVATE = [
    "127.0.0.1",
    "127.255.0.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.100.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_recognised(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_address_is_recognised(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "2130706433", "127.1", "0.0.0.0"])
def test_private_receiver_is_refused_without_a_connection(host: str) -> None:
    with receiving() as there:
        error = failure(f"http://{host}:{there.port}/", allow_private=False)
        assert "WEBHOOK_ALLOW_PRIVATE=on" in error.reason or "resolved" in error.reason
    assert not there.received
    assert not there.failures


def test_name_is_resolved_once_and_only_checked_addresses_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that first returns a public address cannot lead the connection to a private one."""
    responses = [["93.184.215.14", "127.0.0.1"], ["127.0.0.1"]]
    connected: list[str] = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[Any]:
        assert host == "receiver.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in responses.pop(0)]

    def connect(_: socket.socket, address: tuple[str, int]) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    assert "refused" in failure("http://receiver.example/", allow_private=False).reason
    assert connected == ["93.184.215.14"]
    assert len(responses) == 1


def test_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as there:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, there.port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert receiver(f"http://receiver.example:{there.port}/").deliver(EVENT_ID, BODY) == 204
    assert there.received[0].headers["host"] == f"receiver.example:{there.port}"


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def test_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    with receiving(certificate=certificate) as there:
        assert "certificate is invalid" in failure(there.url).reason
    assert not there.received
    assert not there.failures


def test_trusted_certificate_is_accepted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(certificate=certificate) as there:
        assert receiver(there.url).deliver(EVENT_ID, BODY) == 204


def test_certificate_of_another_host_is_refused(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiving(certificate=certificate) as there:
        assert "certificate is invalid" in failure(there.url.replace("127.0.0.1", "localhost")).reason
    assert not there.received


@pytest.mark.usefixtures("short_time")
def test_handshake_cannot_exceed_the_total_time() -> None:
    closed = threading.Event()
    with raw_server(lambda _: wait(closed)) as url:
        assert failure(url.replace("http:", "https:")).reason == "the receiver did not respond in time"
        closed.set()


def test_reason_holds_neither_url_nor_secret() -> None:
    with receiving() as there:
        there.behaviour = respond(500, body=b"not-for-the-log")
        error = failure(there.url)
    assert "not-for-the-log" not in error.reason
    assert SECRET not in error.reason

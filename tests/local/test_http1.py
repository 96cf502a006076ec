"""Requests as the server receives them: valid requests, the end of their bodies, and malformed requests."""

from __future__ import annotations

import io
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.local import http1
from handler.local.http1 import ChunkedBody
from handler.local.problems import HeaderTooLarge, TransferCodingNotSupported, UriTooLong, VersionNotSupported
from handler.problems import MalformedRequest, Problem


def source(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))


def header(*fields: tuple[str, str]) -> Message:
    message = Message()
    for name, value in fields:
        message[name] = value
    return message


# The first line.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", ("GET", "/", "HTTP/1.1")),
        (b"\r\nPUT /upload/a.txt HTTP/1.0\r\n", ("PUT", "/upload/a.txt", "HTTP/1.0")),
        (b"OPTIONS * HTTP/1.2\r\n", ("OPTIONS", "*", "HTTP/1.2")),
        (b"GET http://localhost/a?b HTTP/1.1\r\n", ("GET", "http://localhost/a?b", "HTTP/1.1")),
        (b"PUT /upload/\xc3\xbc%41.txt?\xe9=+ HTTP/1.1\r\n", ("PUT", "/upload/%C3%BC%41.txt?%E9=+", "HTTP/1.1")),
        (b"", None),
        (b"\r\n", None),
    ],
)
def test_request_line_is_parsed(line: bytes, expected: tuple[str, str, str] | None) -> None:
    assert http1.read_line(source(line)) == expected


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"GET / HTTP/1.1", MalformedRequest),  # cut off
        (b"GET / HTTP/1.1\n", MalformedRequest),
        (b"GET /\r\n", MalformedRequest),  # HTTP/0.9
        (b"GET / a HTTP/1.1\r\n", MalformedRequest),
        (b"GET  / HTTP/1.1\r\n", MalformedRequest),
        (b" GET / HTTP/1.1\r\n", MalformedRequest),
        (b"GET\t/\tHTTP/1.1\r\n", MalformedRequest),
        (b"GET / http/1.1\r\n", MalformedRequest),
        (b"GET / HTTP/1.1.1\r\n", MalformedRequest),
        (b"GET / HTTP/1.\xb2\r\n", MalformedRequest),
        (b"G(T / HTTP/1.1\r\n", MalformedRequest),
        (b"GET /\0 HTTP/1.1\r\n", MalformedRequest),
        (b"PUT upload/a.txt HTTP/1.1\r\n", MalformedRequest),
        (b"GET *a HTTP/1.1\r\n", MalformedRequest),
        (b"CONNECT localhost:443 HTTP/1.1\r\n", MalformedRequest),
        (b"GET http://[ HTTP/1.1\r\n", MalformedRequest),
        (b"GET //[ HTTP/1.1\r\n", MalformedRequest),
        (b"\x16\x03\x01\x02\x00\x01\n", MalformedRequest),  # TLS
        (b"\r\n\r\nGET / HTTP/1.1\r\n", MalformedRequest),
        (b"PRI * HTTP/2.0\r\n", VersionNotSupported),
        (b"GET / HTTP/0.9\r\n", VersionNotSupported),
        (b"GET /" + b"a" * http1.MAX_LINE_BYTES + b" HTTP/1.1\r\n", UriTooLong),
    ],
)
def test_malformed_request_line_is_rejected(line: bytes, problem: type[Problem]) -> None:
    with pytest.raises(problem):
        http1.read_line(source(line))


def test_request_line_has_a_limit() -> None:
    target = "/" + "a" * (http1.MAX_LINE_BYTES - len("GET / HTTP/1.1\r\n"))
    assert http1.read_line(source(f"GET {target} HTTP/1.1\r\n".encode())) == ("GET", target, "HTTP/1.1")


# The header.


def test_header_is_parsed() -> None:
    stream = source(b"Host: localhost\r\nX-A:\t b c \t\r\nx-a:\r\nx_b: \xe9\r\n\r\nbody")
    fields = http1.read_header(stream, version="HTTP/1.1")
    assert fields.items() == [("Host", "localhost"), ("X-A", "b c"), ("x-a", ""), ("x_b", "\xe9")]
    assert stream.read() == b"body"


@pytest.mark.parametrize(
    "fields",
    [
        b"X: a",  # cut off
        b"X: a\r\n",
        b"X: a\n\r\n",
        b"X: a\rY: b\r\n\r\n",
        b"X: a\0\r\n\r\n",
        b"X : a\r\n\r\n",  # RFC 9112, section 5.1
        b"X: a\r\n b\r\n\r\n",  # section 5.2
        b" X: a\r\n\r\n",
        b"X\r\n\r\n",
        b": a\r\n\r\n",
        b"X(: a\r\n\r\n",
        b"Host: b\r\n\r\n",  # a second one
        b"Content-Type: a/b\r\ncontent-type: a/c\r\n\r\n",
    ],
)
def test_malformed_header_is_rejected(fields: bytes) -> None:
    with pytest.raises(MalformedRequest):
        http1.read_header(source(b"Host: localhost\r\n" + fields), version="HTTP/1.1")


def test_repeated_content_type_is_accepted() -> None:
    twice = b"Host: localhost\r\nContent-Type: a/b\r\ncontent-type: a/b\r\n\r\n"
    assert http1.read_header(source(twice), version="HTTP/1.1")["Content-Type"] == "a/b"


def test_host_is_required_since_http_1_1() -> None:
    with pytest.raises(MalformedRequest, match="Host"):
        http1.read_header(source(b"\r\n"), version="HTTP/1.1")
    assert http1.read_header(source(b"\r\n"), version="HTTP/1.0").items() == []


@pytest.mark.parametrize("fields", [b"X: " + b"a" * http1.MAX_HEADER_BYTES, b"X: a\r\n" * 20_000], ids=["long", "many"])
def test_header_has_a_limit(fields: bytes) -> None:
    with pytest.raises(HeaderTooLarge):
        http1.read_header(source(b"Host: localhost\r\n" + fields + b"\r\n\r\n"), version="HTTP/1.1")


# Where the body ends.


@pytest.mark.parametrize(
    ("fields", "chunked"),
    [
        ([], False),
        ([("Content-Length", "0")], False),
        ([("Content-Length", "9" * 19)], False),
        ([("Transfer-Encoding", "chunked")], True),
        ([("transfer-encoding", "Chunked")], True),
    ],
)
def test_body_is_chunked_only_with_a_transfer_encoding(fields: list[tuple[str, str]], chunked: bool) -> None:
    assert http1.is_chunked(header(*fields), version="HTTP/1.1") is chunked


@pytest.mark.parametrize("length", ["", "+5", "-5", "1_0", "\xb2", "\u0665", "0x5", "5.0", "5 5", "5, 5", "9" * 20])
def test_malformed_content_length_is_rejected(length: str) -> None:
    with pytest.raises(MalformedRequest, match="Content-Length"):
        http1.is_chunked(header(("Content-Length", length)), version="HTTP/1.1")


@pytest.mark.parametrize("second", ["5", "6"])
def test_repeated_content_length_is_rejected(second: str) -> None:
    with pytest.raises(MalformedRequest, match="Content-Length"):
        http1.is_chunked(header(("Content-Length", "5"), ("Content-Length", second)), version="HTTP/1.1")


@pytest.mark.parametrize(
    ("codings", "problem"),
    [
        (["gzip, chunked"], TransferCodingNotSupported),
        (["gzip", "chunked"], TransferCodingNotSupported),
        (["identity, chunked"], TransferCodingNotSupported),
        ([""], MalformedRequest),
        (["gzip"], MalformedRequest),
        (["identity"], MalformedRequest),
        (["chunked, gzip"], MalformedRequest),
        (["chunked, chunked"], MalformedRequest),
        (["chunked", "chunked"], MalformedRequest),
        (["chunked,"], MalformedRequest),
        (["chunked;a=b"], MalformedRequest),
        (["xchunked"], MalformedRequest),
        (["\x0bchunked"], MalformedRequest),
    ],
)
def test_other_transfer_coding_than_chunked_is_rejected(codings: list[str], problem: type[Problem]) -> None:
    with pytest.raises(problem):
        http1.is_chunked(header(*(("Transfer-Encoding", coding) for coding in codings)), version="HTTP/1.1")


def test_content_length_with_chunks_is_rejected() -> None:
    fields = header(("Content-Length", "5"), ("Transfer-Encoding", "chunked"))
    with pytest.raises(MalformedRequest, match="only one"):
        http1.is_chunked(fields, version="HTTP/1.1")


def test_chunks_in_http_1_0_are_rejected() -> None:
    with pytest.raises(MalformedRequest, match=r"HTTP/1\.0"):
        http1.is_chunked(header(("Transfer-Encoding", "chunked")), version="HTTP/1.0")


# Chunks.

CHUNKS = b'5\r\nhello\r\n00F \t;a=b;c="d"\r\n, chunked world\r\n1;\r\n!\r\n0;e\r\nX-Trailer: a\r\nY:\r\n\r\n'


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_chunks_are_joined(size: int) -> None:
    stream = source(CHUNKS + b"next")
    body = ChunkedBody(stream)
    assert b"".join(iter(lambda: body.read(size) or b"", b"")) == b"hello, chunked world!"
    assert body.read(1) == b"", "the end stays the end"
    assert stream.read() == b"next"


@pytest.mark.parametrize("length", range(len(CHUNKS)))
def test_truncated_chunks_are_rejected(length: int) -> None:
    with pytest.raises(MalformedRequest, match="connection ended"):
        ChunkedBody(source(CHUNKS[:length])).readall()


def test_truncated_huge_chunk_is_rejected_after_its_bytes() -> None:
    body = ChunkedBody(source(b"40000000\r\nhello"))
    assert body.read(5) == b"hello"
    with pytest.raises(MalformedRequest, match="connection ended"):
        body.read(1)


@pytest.mark.parametrize(
    "chunks",
    [
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"1_0\r\nhello, chunked w\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5 a\r\nhello\r\n",
        b"\r\nhello\r\n",
        b";a\r\nhello\r\n",
        b"\xb2\r\nhi\r\n",
        b"1" * 17 + b"\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;" + b"a" * http1.MAX_CHUNK_LINE_BYTES + b"\r\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\r\r\n",
        b"5\r\nhello\n\r\n",
        b"0\r\n\n",
        b"0\r\nX: a\n",
        b"0\r\nX : a\r\n",
        b"0\r\n X\r\n",
        b"0\r\nX: " + b"a" * http1.MAX_TRAILER_BYTES + b"\r\n",
        b"0\r\n" + b"X: a\r\n" * http1.MAX_TRAILER_BYTES,
    ],
)
def test_malformed_chunks_are_rejected(chunks: bytes) -> None:
    with pytest.raises(MalformedRequest) as caught:
        ChunkedBody(source(chunks + b"0\r\n\r\n")).readall()
    assert "connection ended" not in caught.value.detail


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 60))
def test_any_chunks_are_joined(parts: list[bytes], size: int) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    body = ChunkedBody(source(chunks))
    assert b"".join(iter(lambda: body.read(size) or b"", b"")) == b"".join(parts)


@given(st.lists(st.sampled_from([b"\r\n", b"\n", b"0", b"5", b"f", b";", b"hello", b"X: a", b" ", b"\0"]), max_size=30))
def test_any_bytes_are_a_body_or_a_problem(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    try:
        body = ChunkedBody(source(data)).readall()
    except MalformedRequest:
        return
    assert len(body) < len(data), "nothing comes out that did not come in"


# Interim responses.


def test_interim_response_has_its_fields() -> None:
    assert http1.interim_response(104, [("Upload-Offset", "5"), ("Location", "/upload/a")]) == (
        b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 5\r\nLocation: /upload/a\r\n\r\n"
    )
    assert http1.interim_response(199, []) == b"HTTP/1.1 199 Interim Response\r\n\r\n"


@pytest.mark.parametrize("status", [99, 101, 200, 204])
def test_other_status_than_interim_is_rejected(status: int) -> None:
    with pytest.raises(ValueError, match="not the status of an interim response"):
        http1.interim_response(status, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("A", "1\r\nB: 2"),
        ("A", "1\n"),
        ("A", "\0"),
        ("A", "\u0100"),
        ("A\r\nB", "1"),
        ("A:", "1"),
        ("A ", "1"),
        ("", "1"),
        ("\xc4", "1"),
    ],
)
def test_injected_header_field_is_rejected(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="not a header field"):
        http1.interim_response(104, [(name, value)])

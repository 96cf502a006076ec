"""A request as it comes over the wire: its line, its header, and the end of its body (RFC 9112).

The parser is as strict as the RFC permits. Two readers of one connection, such as a proxy and this server, must find
the same end of a request. So every request that they could cut at different places is rejected.
"""

from __future__ import annotations

import io
import re
import string
from collections.abc import Iterable
from email.message import Message
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote_from_bytes, urlsplit

from ..problems import MalformedRequest
from ..units import KIB
from .problems import HeaderTooLarge, TransferCodingNotSupported, UriTooLong, VersionNotSupported

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES = 64 * KIB
"""The maximum length of the request line, which is nearly all address."""
MAX_HEADER_BYTES = 64 * KIB
"""The maximum length of all fields together."""
MAX_CHUNK_LINE_BYTES = 4 * KIB
"""The maximum length of the line before a chunk: its size, and extensions, which no client sends."""
MAX_TRAILER_BYTES = 16 * KIB
"""The maximum length of all trailers, which follow the last chunk."""
INTERIM_PHRASES = {100: "Continue", 103: "Early Hints", 104: "Upload Resumption Supported"}
"""The reason phrases of interim responses (RFC 9110, RFC 8297, draft-ietf-httpbis-resumable-upload)."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2
_TEXT = rb"[\t -~\x80-\xff]*"  # RFC 9110, section 5.5
_TARGET = rb"\*|(?:/|[A-Za-z][A-Za-z0-9+.-]*://)[!-~\x80-\xff]*"  # section 3.2; there is no tunnel to CONNECT to
_REQUEST_LINE = re.compile(rb"(%s) (%s) HTTP/([0-9])\.([0-9])\r\n" % (_TOKEN, _TARGET))  # section 3
_FIELD = re.compile(rb"(%s):(%s)\r\n" % (_TOKEN, _TEXT))  # section 5
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;%s)?\r\n" % _TEXT)  # section 7.1
_VALUE = re.compile(r"[ -~\x80-\xff]*")  # RFC 9110, section 5.5, without tabs
_NAME = re.compile(_TOKEN.decode("ascii"))
_LENGTH = re.compile(r"[0-9]{1,19}")  # RFC 9110, section 8.6; int() takes signs, underscores and other digits as well


class Source(Protocol):
    """The bytes of a connection, such as :class:`.connection.Reader` or ``io.BufferedReader``."""

    def readline(self, limit: int, /) -> bytes:
        """Return the bytes up to the next LF, or fewer at the limit and at the end of the connection."""

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with bytes that have arrived, and wait only for the first byte. Return 0 at the end."""


class Body(Protocol):
    """The body of a request."""

    @property
    def ended(self) -> bool:
        """Whether the whole body was read, so that the next byte of the connection begins the next request."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with content that has arrived, and wait only for the first byte. Return 0 at the end."""


class RequestLine(NamedTuple):
    """The first line of a request.

    :param target: in ASCII. Each byte that the client left raw is percent-encoded (RFC 3986, section 2.1). curl sends
        an address in UTF-8 as the user typed it, and Werkzeug would read each byte as one character.
    """

    method: str
    target: str
    version: str


def read_line(source: Source) -> RequestLine | None:
    """Read the first line.

    :param source: the connection, at its beginning.
    :returns: ``None`` if the connection ended before the first byte.
    :raises Problem: the line is not a request's first line, is too long, or names another version of HTTP.
    """
    line = source.readline(MAX_LINE_BYTES)
    if line == b"\r\n":  # section 2.2
        line = source.readline(MAX_LINE_BYTES)
    if not line:
        return None
    if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
        raise UriTooLong(f"The address is longer than {MAX_LINE_BYTES:,} bytes. Shorten it.")
    parts = _REQUEST_LINE.fullmatch(line)
    if not parts:
        raise MalformedRequest("The request does not begin like an HTTP/1.1 request. Use an HTTP client.")
    method, major, minor = (parts[group].decode("ascii") for group in (1, 3, 4))
    target = quote_from_bytes(parts[2], safe=string.punctuation)
    if major != "1":
        raise VersionNotSupported("The request has another version than HTTP/1.0 and HTTP/1.1. Use HTTP/1.1.")
    try:
        urlsplit(target)
    except ValueError:
        raise MalformedRequest("The address of the request is not valid. Percent-encode it.") from None
    return RequestLine(method, target, f"HTTP/1.{minor}")


def read_header(source: Source, *, version: str) -> Message:
    """Read the fields, up to the body.

    :param source: the connection, after the first line.
    :param version: the version in the first line, such as ``HTTP/1.1``.
    :raises Problem: a line is not a field, the header is too long, or a field is missing or ambiguous.
    """
    fields = Message()
    allowed = MAX_HEADER_BYTES
    while (line := source.readline(allowed)) != b"\r\n":
        allowed -= len(line)
        if not allowed:
            raise HeaderTooLarge(f"The header is longer than {MAX_HEADER_BYTES:,} bytes. Send fewer or shorter fields.")
        field = _FIELD.fullmatch(line)
        # Section 5.2: a field over several lines is not one. Section 5.1: nor is a field with a space before its colon.
        if not field:
            raise MalformedRequest(
                "A line of the header is not like 'Name: value' with CRLF at its end. Use an HTTP client."
            )
        fields[field[1].decode("ascii")] = field[2].decode("latin-1").strip(" \t")
    if version != "HTTP/1.0" and len(fields.get_all("Host", [])) != 1:  # section 3.2
        raise MalformedRequest("The request does not have exactly one Host field. Send one.")
    if len(set(fields.get_all("Content-Type", []))) > 1:  # RFC 9110, section 5.3: readers could differ
        raise MalformedRequest("The request has two different Content-Type fields. Send only one.")
    return fields


def is_chunked(fields: Message, *, version: str) -> bool:
    """Return whether the body comes in chunks. Otherwise it has a ``Content-Length``, or the request has no body.

    :raises Problem: the end of the body is ambiguous, or the body has another coding than chunks.
    """
    lengths = fields.get_all("Content-Length", [])
    if "Transfer-Encoding" not in fields:
        # A server may accept the same length twice, or reject it (RFC 9110, section 8.6).
        if len(lengths) > 1 or any(not _LENGTH.fullmatch(length) for length in lengths):
            raise MalformedRequest(
                "The Content-Length is not a single number in digits. Send one, such as 'Content-Length: 5'."
            )
        return False
    if lengths:  # section 6.1: the client may try to smuggle a request
        raise MalformedRequest("The request has a Content-Length and a Transfer-Encoding. Send only one of them.")
    if version == "HTTP/1.0":  # section 6.1: a proxy that passed the request on cannot have understood the field
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding. Send a Content-Length.")
    _check_transfer_codings(",".join(fields.get_all("Transfer-Encoding", [])))
    return True


def _check_transfer_codings(value: str) -> None:
    """Check that ``chunked`` is the only transfer coding of a body.

    :param value: of ``Transfer-Encoding``. The values of several fields have a comma between them.
    :raises MalformedRequest: the last coding is not ``chunked``, or ``chunked`` comes twice.
    :raises TransferCodingNotSupported: there is another coding too.
    """
    codings = [coding.strip(" \t").lower() for coding in value.split(",")]
    if codings[-1] != "chunked" or "chunked" in codings[:-1]:  # section 6.3, item 4
        raise MalformedRequest(
            "The Transfer-Encoding does not end in one 'chunked', so the length is unknown. Send a Content-Length."
        )
    if len(codings) > 1:  # section 6.1
        raise TransferCodingNotSupported("The body has a transfer coding that is not supported. Use only 'chunked'.")


def closes(fields: Message) -> bool:
    """Return whether the client wants the connection closed after the response (section 9.6)."""
    options = ",".join(fields.get_all("Connection", [])).split(",")
    return any(option.strip(" \t").lower() == "close" for option in options)


def interim_response(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return an interim response (RFC 9110, section 15.2).

    :param status: 100, or 102 to 199. 101 would end HTTP on this connection.
    :param headers: the header fields.
    :raises ValueError: the status is another one, or a field could not be read as one field.
    """
    if not 100 <= status < 200 or status == 101:
        raise ValueError(f"{status} is not the status of an interim response")
    lines = [f"HTTP/1.1 {status} {INTERIM_PHRASES.get(status, 'Interim Response')}"]
    for name, value in headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise ValueError(f"{name!r}: {value!r} is not a header field")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class SizedBody:
    """A body with a ``Content-Length``.

    :param source: the connection, at the beginning of the body.
    :param length: the length, in bytes.
    """

    def __init__(self, source: Source, length: int) -> None:
        self._source = source
        self._left = length

    @property
    def ended(self) -> bool:
        return not self._left

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if not self._left:
            return 0
        count = self._source.readinto1(memoryview(buffer)[: self._left])
        self._left -= count
        return count


class ChunkedBody(io.RawIOBase):
    """The content of all chunks, one after the other. Extensions and trailers are ignored, as section 7.1 allows.

    :param source: the connection, at the line of the first chunk.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        self._begun = False
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with content that has arrived, and wait only for the first byte.

        So the content before an error has been returned when the error is raised.

        :raises MalformedRequest: the bytes are not chunks, or the connection ended before the last chunk.
        """
        if not self._has_more():
            return 0
        count = self._source.readinto1(memoryview(buffer)[: self._left])
        if not count:
            raise _cut_off()
        self._left -= count
        return count

    def _has_more(self) -> bool:
        """Return whether there are more bytes. The source is then in the middle of a chunk."""
        if self._left or self.ended:
            return not self.ended
        if self._begun and self._line(2) != b"\r\n":
            raise MalformedRequest(
                "A chunk of the body is longer than its size, or does not end in CRLF. Use an HTTP client."
            )
        self._begun = True
        size = _CHUNK_LINE.fullmatch(self._line(MAX_CHUNK_LINE_BYTES))
        if not size:
            raise MalformedRequest(
                "A chunk of the body does not begin with its size in hexadecimal digits and CRLF. Use an HTTP client."
            )
        self._left = int(size[1], 16)
        if not self._left:
            self._read_trailers()
            self.ended = True
        return not self.ended

    def _read_trailers(self) -> None:
        allowed = MAX_TRAILER_BYTES
        while (line := self._line(allowed)) != b"\r\n":
            allowed -= len(line)
            if not (allowed and _FIELD.fullmatch(line)):
                raise MalformedRequest(
                    "The last chunk is followed by lines that are not header fields, or by more than "
                    f"{MAX_TRAILER_BYTES:,} bytes. Send nothing there."
                )

    def _line(self, maximum: int) -> bytes:
        """Return the next line, or its first bytes.

        :param maximum: the number of bytes to read.
        """
        line = self._source.readline(maximum)
        if not line.endswith(b"\n") and len(line) < maximum:
            raise _cut_off()
        return line


def _cut_off() -> MalformedRequest:
    return MalformedRequest("The connection ended before the last chunk of the body. Send it again.")

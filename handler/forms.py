"""multipart/form-data (RFC 7578), read as it arrives: no part is held longer than it takes to hand it on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from .problems import MalformedRequest, NoFile, TooManyParts

MEDIA_TYPE = "multipart/form-data"
READ_BYTES = 256 * 1024
"""How much is read at once: larger costs more memory and, in Werkzeug's decoder, more time."""
MAX_BUFFER_BYTES = 2 * READ_BYTES
"""What the decoder may hold: two reads, so that the headers of a part have at least one read's length."""
MAX_PARTS = 100
MAX_FIELD_BYTES = 64 * 1024
"""What a part that is no file may hold."""
MAX_BOUNDARY_CHARS = 200
"""RFC 2046 (section 5.1.1) says 70; some clients, Werkzeug's own test client among them, make longer ones."""
AROUND_FILE_BYTES = 8 * 1024
"""What a form of one file has room for besides the file: the longest boundary, three times; the longest token, as a
field; and a name of 255 characters, which is what file systems take, three bytes each in UTF-8 or where escaped."""

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_FILE_NAME = re.compile(r"\bfilename[*0-9\s]*=", re.IGNORECASE)
_AFTER_END = re.compile(rb"[^\S\r\n]*(?:[\r\n]|\Z)")
"""What may follow the last boundary (RFC 2046, section 5.1.1). Where something else does, it is the last one to some
parsers, and content to others."""

_UNFINISHED = re.compile(rb"-|[^\S\n\r]*\r?")
"""What may follow a boundary that the rest of its line still makes one."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``Content-Type`` header names.

    :raises NoFile: it is not the type of a form.
    :raises MalformedRequest: it has no boundary, or none that could be one.
    """
    media_type, options = parse_options_header(content_type)
    if media_type.lower() != MEDIA_TYPE:  # RFC 9110, section 8.3.1
        raise NoFile(
            "Send the file as multipart/form-data in a part called 'file', as curl -F file=@photo.jpg does, "
            "or PUT it to /upload/photo.jpg."
        )
    boundary = options.get("boundary", "")
    if not (boundary.isascii() and 1 <= len(boundary) <= MAX_BOUNDARY_CHARS):
        raise MalformedRequest(
            "The Content-Type names no boundary in ASCII. Leave the header to your HTTP client: it knows the boundary."
        )
    return boundary.encode("ascii")


def _check_headers(headers: Headers) -> None:
    """Refuse a part that two readers could take for two different things.

    :raises MalformedRequest: it has two names, is a form of its own (RFC 7578 ended that, section 4.3), or is encoded.
    """
    dispositions = headers.getlist("Content-Disposition")
    if len(dispositions) > 1 or len(_FILE_NAME.findall(_QUOTED.sub("", dispositions[0]))) > 1:
        raise MalformedRequest("A part of the form has more than one name. Send one filename for each file.")
    if headers.get("Content-Type", "").strip().lower().startswith("multipart/"):
        raise MalformedRequest("A part of the form is itself multipart. Send each file as a part of its own.")
    encoding = headers.get("Content-Transfer-Encoding", "binary").strip().lower()
    if encoding not in ("7bit", "8bit", "binary"):
        raise MalformedRequest("A part of the form has a Content-Transfer-Encoding. Send the file as it is.")


class Part(NamedTuple):
    """What the header of a part says.

    :param name: of the field; empty if there is none.
    :param file_name: what the file is called: empty if nothing was chosen, ``None`` if the part is text.
    """

    name: str
    file_name: str | None


def parts(stream: Readable, boundary: bytes) -> Iterator[tuple[Part, Iterator[bytes]]]:
    """The parts of a form, each with its content, which can be read until the next part is asked for.

    :param stream: the body, limited to its length; it is read to its end.
    :raises MalformedRequest: it is not such a form, or ends before its last boundary.
    :raises TooManyParts: it has more than :data:`MAX_PARTS`.
    """
    events = _events(stream, boundary)
    for event in events:
        if isinstance(event, (Field, File)):
            _check_headers(event.headers)
            content = _content(events)
            yield Part(event.name or "", event.filename if isinstance(event, File) else None), content
            for _ in content:  # what nobody wanted to read
                pass


def _content(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, Data):
            yield event.data
            if not event.more_data:
                return


def text(content: Iterator[bytes]) -> str:
    """The value of a field.

    :raises MalformedRequest: it is longer than :data:`MAX_FIELD_BYTES`.
    """
    value = b""
    for data in content:
        value += data
        if len(value) > MAX_FIELD_BYTES:
            raise MalformedRequest(f"A field of the form is longer than {MAX_FIELD_BYTES:,} bytes.")
    return value.decode("utf-8", "replace")


class _Decoder(MultipartDecoder):
    """Werkzeug's, but for what it takes for the line of a boundary."""

    def __init__(self, boundary: bytes) -> None:
        super().__init__(boundary, max_form_memory_size=MAX_BUFFER_BYTES, max_parts=MAX_PARTS)
        # Werkzeug takes a bare LF or CR for a line's end as well. A boundary stands between CRLFs (RFC 2046, 5.1.1):
        # what one parser takes for content and the next for a boundary is how files are smuggled past checks.
        end = rb"--%s(--|[^\S\n\r]*\r\n)" % re.escape(boundary)
        self.preamble_re = re.compile(rb"(?:\A|\r\n)" + end)
        self.boundary_re = re.compile(rb"\r\n" + end)

    def _last_partial_boundary_index(self, data: bytes | bytearray) -> int:
        """Where the data end in what may become the line of a boundary, and is no content as long as it may. Werkzeug's
        own forgets what follows the boundary itself: where a read ended between the CR and the LF of its line, the next
        part became content of the one before it."""
        start = b"\r\n--" + self.boundary
        at = data.rfind(b"\r", 0, len(data) - 1)  # the last byte may be the CR at the end of that line
        if at >= 0:
            line = data[at:]
            if start.startswith(line) or (line.startswith(start) and _UNFINISHED.fullmatch(line, len(start))):
                return at
        return len(data) - data.endswith(b"\r")


def _events(stream: Readable, boundary: bytes) -> Iterator[Event]:
    """For each part a ``Field`` or a ``File``, then ``Data`` until one has no ``more_data``."""
    decoder = _Decoder(boundary)
    while True:
        try:
            event = decoder.next_event()
        except RequestEntityTooLarge:
            raise TooManyParts(f"A form may have {MAX_PARTS} parts. Send fewer files at once.") from None
        except ValueError:
            raise MalformedRequest(
                "The body is not the multipart/form-data that its Content-Type announces, or it was cut off."
            ) from None
        if isinstance(event, Epilogue):
            if not _AFTER_END.match(event.data):
                raise MalformedRequest("Something stands on the line of the form's last boundary.")
            return
        if not isinstance(event, NeedData):
            yield event
            continue
        data = stream.read(READ_BYTES)  # not under the try: it has errors of its own
        try:
            decoder.receive_data(data or None)
        except RequestEntityTooLarge:
            raise MalformedRequest(
                f"What precedes, follows or introduces a part of the form is longer than {READ_BYTES:,} bytes."
            ) from None

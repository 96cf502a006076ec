"""multipart/form-data (RFC 7578), read as it arrives: no part is held longer than it takes to hand it on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from .problems import MalformedRequest, NoFile, TooManyParts

__all__ = ["MEDIA_TYPE", "Data", "Event", "Field", "File", "boundary_of", "events"]

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
_FILE_NAME = re.compile(r"\bfilename[*0-9]*\s*=", re.IGNORECASE)


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


def events(stream: Readable, boundary: bytes) -> Iterator[Event]:
    """The parts of a form: for each a ``Field`` or a ``File``, then ``Data`` until one has no ``more_data``.

    :param stream: the body, limited to its length.
    :raises MalformedRequest: it is not such a form, or ends before its last boundary.
    :raises TooManyParts: it has more than :data:`MAX_PARTS`.
    """
    decoder = MultipartDecoder(boundary, max_form_memory_size=MAX_BUFFER_BYTES, max_parts=MAX_PARTS)
    # Werkzeug takes a bare LF or CR for a line's end as well. A boundary stands between CRLFs (RFC 2046, 5.1.1):
    # what one parser takes for content and the next for a boundary is how files are smuggled past checks.
    end = rb"--%s(--[^\S\n\r]*(?:\r\n)?|[^\S\n\r]*\r\n)" % re.escape(boundary)
    decoder.preamble_re = re.compile(rb"(?:\A|\r\n)" + end)
    decoder.boundary_re = re.compile(rb"\r\n" + end)
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
            return
        if isinstance(event, (Field, File)):
            _check_headers(event.headers)
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

"""PDF."""

from __future__ import annotations

import re

from ...units import KIB
from . import Dimensions, File, Mismatch, Steps, Unsafe, active
from .archives import refuse_appended

FIRST_OBJECT_BYTES = 64 * KIB
"""The size of the beginning of a file that is searched for the first object, and for a page or a script before it."""
_WHITE_SPACE = rb"\x00\t\n\f\r "  # ISO 32000-2, section 7.2.3
_MARK = b"%PDF-"
_HEADER = re.compile(rb"(?:\xef\xbb\xbf|[%b])*+%%PDF-[12]\.[0-9\r\n]" % _WHITE_SPACE)
# "1 0 obj" at the beginning of a line (section 7.3.10), because there it is not in a comment.
_OBJECT = re.compile(rb"[\r\n][\x00\t\f ]*+[0-9]{1,10}+[%b]++[0-9]{1,5}+[%b]++obj\b" % (_WHITE_SPACE, _WHITE_SPACE))


def pdf(file: File) -> Steps[Dimensions | None]:
    """Check the header, and the bytes between the header and the first object (ISO 32000-2, sections 7.5.2 and 7.5.3).

    Only white space and a byte order mark may stand before the header. Readers look for the header in the first
    kilobyte, but text before the header could be a page, or a script that goes on behind the PDF. Only comments may
    stand between the header and the first object, so a page or a script there is refused as well.
    """
    head = yield from file.head()
    if not _HEADER.match(head):
        advice = "Save the document as PDF again: something else stands before the header." if _MARK in head else None
        raise Mismatch("it does not begin with a PDF header", advice=advice)
    first_object = _OBJECT.search(head)
    if not first_object:
        head = yield from file.read(0, FIRST_OBJECT_BYTES)
        first_object = _OBJECT.search(head)
    before = head[: first_object.start()] if first_object else head
    if active.inside(before):
        raise Unsafe(f"it has {active.EMBEDDED}")
    yield from refuse_appended(file)
    return None

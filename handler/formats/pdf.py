"""PDF. Pure."""

from __future__ import annotations

import re

from . import Dimensions, File, Mismatch, Steps, active
from .archives import refuse_appended

_HEADER = re.compile(rb"%PDF-[12]\.[0-9]")


def pdf(file: File) -> Steps[Dimensions | None]:
    """The header, in the first line as ISO 32000-2 (section 7.5.2) has it.

    Readers look for it in the first kilobyte, and what precedes it there may be a web page: so nothing may. Nor may
    one stand between the header and the first object, where nothing but a comment has a place.
    """
    head = yield from file.head()
    if not _HEADER.match(head):
        raise Mismatch("it does not begin with a PDF header")
    if found := active.inside(head.partition(b" obj")[0]):
        raise Mismatch(f"it has {found}")
    yield from refuse_appended(file)
    return None

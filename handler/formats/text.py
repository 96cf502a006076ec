"""Text: plain, comma-separated, Markdown, JSON. An ordinary one is looked at whole, a large one at both ends. Pure."""

from __future__ import annotations

import codecs
import re

from . import Dimensions, File, Mismatch, Steps, active

_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\v\f\r\x1b") | {0x7F})
"""No text has them. ESC stays, since ISO-2022-JP switches with it, and VT, since PowerPoint breaks lines with it."""
START_BYTES = 512 * 1024
"""How much of a text's beginning is searched for what no text has; its last 4 KiB are, too."""
_UTF_8_TAILS = bytes(range(0x80, 0xC0))
"""Bytes that never begin a character in UTF-8."""
_PAGE_DESCRIPTION = (b"%PDF-", b"%!PS")

# RFC 8259, section 2: how a text begins. A name or "}" follows "{", a value or "]" follows "[".
_JSON_SCALAR = rb'(?:"|-?[0-9]|(?:true|false|null)\b)'
_JSON = re.compile(rb'\s*(?:%b|\{\s*["}]|\[\s*(?:%b|[{\[\]]))' % (_JSON_SCALAR, _JSON_SCALAR))
_JSON_END = {b"{": b"}", b"[": b"]", b'"': b'"'}


def plain(file: File) -> Steps[Dimensions | None]:
    """``.txt`` and ``.csv``: text that nothing would run or render."""
    yield from _check(file)
    return None


def markdown(file: File) -> Steps[Dimensions | None]:
    """``.md``: may begin with a piece of HTML, as README files do (CommonMark, section 4.6), but not with a page."""
    yield from _check(file, fragments=True)
    return None


def json(file: File) -> Steps[Dimensions | None]:
    """``.json``: UTF-8 (RFC 8259, section 8.1) that begins and ends as JSON does; between, nothing is parsed.

    A byte order mark is let pass, as that section allows: Windows writes one.
    """
    head = yield from _check(file)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or not _is_utf_8(head):
        raise Mismatch("JSON is UTF-8")
    text = head.removeprefix(codecs.BOM_UTF8)
    if not _JSON.match(text):
        raise Mismatch("it does not begin as JSON does")
    end = (yield from file.tail()).rstrip(b" \t\r\n")[-1:]
    if end != _JSON_END.get(text.lstrip()[:1], end):
        raise Mismatch("it does not end as JSON does")
    return None


def _check(file: File, *, fragments: bool = False) -> Steps[bytes]:
    """Look for what no text has; returns the head.

    :raises Mismatch: there is some, or the text is one that would be run or rendered.
    """
    head = yield from file.head()
    if found := active.in_text(head, fragments=fragments):
        raise Mismatch(f"it is {found}")
    if head.startswith(_PAGE_DESCRIPTION):
        raise Mismatch("it is PDF or PostScript")
    start = yield from file.read(0, START_BYTES)
    tail = yield from file.tail()
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16-le" if head.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
        if file.size % 2:
            raise Mismatch("it ends in the middle of a character")
        text = _decoded(start, encoding), _decoded(tail[len(tail) % 2 :], encoding, begins_inside=True)
        if any(char.encode("utf-8") in _CONTROLS for part in text for char in set(part) if char.isascii()):
            raise Mismatch("it has control characters")
        return head
    if _has_controls(start) or _has_controls(tail):
        raise Mismatch("it has control characters")
    # Without a mark it is UTF-8, or one of the older 8-bit encodings in which spreadsheets write CSV to this day. In
    # those every byte is a character, so nothing is left to check.
    if head.startswith(codecs.BOM_UTF8) and not (_is_utf_8(start) and _is_utf_8(tail.lstrip(_UTF_8_TAILS))):
        raise Mismatch("it is not the UTF-8 that it begins as")
    return head


def _has_controls(data: bytes) -> bool:
    return len(data.translate(None, _CONTROLS)) != len(data)


def _is_utf_8(data: bytes) -> bool:
    try:
        # Incremental, and not final: the piece may end in the middle of a character.
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(data: bytes, encoding: str, *, begins_inside: bool = False) -> str:
    """A piece of a text in UTF-16, which may begin or end in the middle of a character of two units."""
    high = 1 if encoding == "utf-16-le" else 0
    if begins_inside and len(data) > 1 and 0xDC <= data[high] <= 0xDF:
        data = data[2:]
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        raise Mismatch("it is not the UTF-16 that it begins as") from None

"""Text: plain, comma-separated, Markdown, JSON. An ordinary one is looked at whole, a large one at both ends. Pure."""

from __future__ import annotations

import codecs
import re

from . import Damaged, Dimensions, File, Mismatch, Steps, active

_CONTROLS = bytes(set(range(0x1C)) - set(b"\t\n\v\f\r") | {0x7F})
"""Characters that no text has, except where :data:`_CONTROL` says. PowerPoint breaks lines with VT, old programs pages
with FF. Exports separate groups, records and fields with 0x1C to 0x1F."""
# ISO-2022-JP switches between character sets with ESC and one of these two (RFC 1468). Any other ESC is for a terminal.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x7f]|\x1b(?![($])")
_UTF_16_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_END_OF_FILE = "\x1a\t\n\r "
"""A text may end with these: DOS marks its end with Ctrl-Z, and CP/M fills a block with it."""
START_BYTES = 512 * 1024
"""How much of a text's beginning is searched for what no text has; its last 4 KiB are, too."""
_REMOVE = "Remove it, or send the file with the extension of its real type."
_SAVE_AS_UTF_8 = "Save it as UTF-8."
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

    A byte order mark may stand before it, as that section allows: Windows writes one.
    """
    head = yield from _check(file)
    if active.utf_16_encoding(head) or not _is_utf_8(head):
        raise Mismatch("it is not in UTF-8, as JSON must be", advice=_SAVE_AS_UTF_8)
    text = head.removeprefix(codecs.BOM_UTF8)
    if not _JSON.match(text):
        raise Mismatch("it does not begin as JSON does")
    end = (yield from file.tail()).rstrip(_END_OF_FILE.encode())[-1:]
    if end != _JSON_END.get(text.lstrip()[:1], end):
        raise Mismatch("it does not end as JSON does")
    return None


def _check(file: File, *, fragments: bool = False) -> Steps[bytes]:
    """Look for anything that no text has, in the beginning and the end of the file; returns the head.

    :raises Mismatch: the file has some, or it is a text that would be run or rendered.
    """
    head = yield from file.head()
    if found := active.in_text(head, fragments=fragments):
        raise Mismatch(f"it is {found}")
    if head.startswith(_PAGE_DESCRIPTION):
        raise Mismatch("it is PDF or PostScript")
    if active.is_utf_32(head):
        raise Mismatch("it is in UTF-32", advice=_SAVE_AS_UTF_8)
    start = yield from file.read(0, START_BYTES)
    tail = yield from file.tail()
    tail_at = file.size - len(tail)
    encoding = active.utf_16_encoding(head)
    if encoding and file.size % 2:
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Damaged("it is text in UTF-16 that ends in the middle of a character")
        encoding = None  # so that the sentence is about the NULs
    if encoding:
        _refuse_utf_16_controls(start, 0, encoding, is_last=len(start) == file.size)
        _refuse_utf_16_controls(tail, tail_at, encoding, is_last=True)
        return head
    _refuse_controls(start, 0, is_last=len(start) == file.size)
    _refuse_controls(tail, tail_at, is_last=True)
    # Without a mark it is UTF-8, or one of the older 8-bit encodings in which spreadsheets write CSV to this day. In
    # those every byte is a character, so nothing is left to check.
    if head.startswith(codecs.BOM_UTF8) and not (_is_utf_8(start) and _is_utf_8(tail.lstrip(_UTF_8_TAILS))):
        raise Mismatch("it is not the UTF-8 that it begins as")
    return head


def _refuse_controls(piece: bytes, offset: int, *, is_last: bool) -> None:
    """Refuse a piece of a text in UTF-8 or an 8-bit encoding that has a control character.

    :param offset: of the piece in the file.
    :param is_last: whether the file ends with the piece. A piece that does not can end inside an escape sequence.
    """
    piece = piece.rstrip(_END_OF_FILE.encode()) if is_last else piece.removesuffix(b"\x1b")
    if len(piece.translate(None, _CONTROLS)) == len(piece):  # ten times as fast as the expression
        return
    if found := _CONTROL.search(piece):
        line = None if offset else piece.count(b"\n", 0, found.start()) + 1
        advice = "If it is text in UTF-16, save it as UTF-8." if 0 in piece else _REMOVE
        raise Mismatch(_has_control(piece[found.start()], offset + found.start(), line), advice=advice)


def _refuse_utf_16_controls(piece: bytes, offset: int, encoding: str, *, is_last: bool) -> None:
    """The same for UTF-16, of which a piece may begin or end in the middle of a character of two units."""
    high = 1 if encoding == "utf-16-le" else 0
    if offset and 0xDC <= piece[high] <= 0xDF:
        piece, offset = piece[2:], offset + 2
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(piece)
    except UnicodeDecodeError:
        raise Mismatch("it is not the UTF-16 that it begins as") from None
    if found := _UTF_16_CONTROL.search(text.rstrip(_END_OF_FILE) if is_last else text):
        before = text[: found.start()]
        line = None if offset else before.count("\n") + 1
        raise Mismatch(_has_control(ord(found[0]), offset + len(before.encode(encoding)), line), advice=_REMOVE)


def _has_control(code: int, offset: int, line: int | None) -> str:
    return f"it has the control character 0x{code:02X} at byte {offset + 1:,}" + (f", in line {line:,}" if line else "")


def _is_utf_8(data: bytes) -> bool:
    try:
        # Incremental, and not final: the piece may end in the middle of a character.
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True

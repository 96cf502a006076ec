"""Text: plain, comma-separated, Markdown, JSON.

Text of up to 512 KiB is checked whole. Of larger text the first 512 KiB and the last 4 KiB are checked.
"""

from __future__ import annotations

import codecs
import re

from ...units import KIB
from . import Damaged, Dimensions, File, Mismatch, Steps, active

_CONTROLS = bytes(set(range(0x1C)) - set(b"\t\n\v\f\r") | {0x7F})
"""Characters that text does not have, except as :data:`_CONTROL` says.

PowerPoint breaks lines with VT, and old programs break pages with FF. Exports separate groups, records and fields with
0x1C to 0x1F."""
# ISO-2022-JP switches between character sets with ESC and one of these two (RFC 1468). Any other ESC is for a terminal.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x7f]|\x1b(?![($])")
_UTF_16_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_END_OF_FILE = "\x1a\t\n\r "
"""Characters that may end a text: DOS marks the end with Ctrl-Z, and CP/M fills a block with Ctrl-Z."""
START_BYTES = 512 * KIB
"""The size of the beginning of a text that is searched for control characters. The last 4 KiB are searched, too."""
_REMOVE = "Remove it, or send the file with the extension of its real type."
_SAVE_AS_UTF_8 = "Save it as UTF-8."
_UTF_8_TAILS = bytes(range(0x80, 0xC0))
"""Bytes that never begin a character in UTF-8."""
_PAGE_DESCRIPTION = (b"%PDF-", b"%!PS")

# RFC 8259, section 2: the beginning of a JSON text. A name or "}" follows "{", a value or "]" follows "[".
_JSON_SCALAR = rb'(?:"|-?[0-9]|(?:true|false|null)\b)'
_JSON = re.compile(rb'\s*(?:%b|\{\s*["}]|\[\s*(?:%b|[{\[\]]))' % (_JSON_SCALAR, _JSON_SCALAR))
_JSON_END = {b"{": b"}", b"[": b"]", b'"': b'"'}


def plain(file: File) -> Steps[Dimensions | None]:
    """Check ``.txt`` and ``.csv``: text that no program runs or renders."""
    yield from _check(file)
    return None


def markdown(file: File) -> Steps[Dimensions | None]:
    """Check ``.md``: text that may begin with a piece of HTML, as README files do (CommonMark, section 4.6).

    The text must not begin with a whole page.
    """
    yield from _check(file, fragments=True)
    return None


def json(file: File) -> Steps[Dimensions | None]:
    """Check ``.json``: UTF-8 (RFC 8259, section 8.1) that begins and ends like JSON. The content between is not parsed.

    A byte order mark may stand first, as section 8.1 allows, because Windows writes the mark.
    """
    head = yield from _check(file)
    if active.utf_16_encoding(head) or not _is_utf_8(head):
        raise Mismatch("it is not in UTF-8, as JSON must be", advice=_SAVE_AS_UTF_8)
    text = head.removeprefix(codecs.BOM_UTF8)
    if not _JSON.match(text):
        raise Mismatch("it does not begin like JSON")
    end = (yield from file.tail()).rstrip(_END_OF_FILE.encode())[-1:]
    if end != _JSON_END.get(text.lstrip()[:1], end):
        raise Mismatch("it does not end like JSON")
    return None


def _check(file: File, *, fragments: bool = False) -> Steps[bytes]:
    """Check the beginning and the end of any text.

    :param fragments: whether the text may begin with a piece of HTML.
    :returns: the first bytes of the file.
    :raises Mismatch: the file is not text, or is text that a program would run or render.
    """
    head = yield from file.head()
    if kind := active.in_text(head, fragments=fragments):
        raise Mismatch(f"it is {kind}")
    if head.startswith(_PAGE_DESCRIPTION):
        raise Mismatch("it is PDF or PostScript")
    if active.is_utf_32(head):
        raise Mismatch("it is in UTF-32", advice=_SAVE_AS_UTF_8)
    if encoding := _utf_16_encoding(head, file.size):
        yield from _check_utf_16(file, encoding)
    else:
        yield from _check_bytes(file)
    return head


def _utf_16_encoding(head: bytes, size: int) -> str | None:
    """Return the codec of a text in UTF-16; ``None`` for any other file.

    A text of an odd length is not UTF-16. If it begins with the byte order mark, it was cut off. If not, it is checked
    as bytes, so that the refusal names its NULs.

    :param size: the size of the whole file, in bytes.
    :raises Damaged: the file has the byte order mark and an odd length.
    """
    encoding = active.utf_16_encoding(head)
    if size % 2 == 0:
        return encoding
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Damaged("it is text in UTF-16 that ends in the middle of a character")
    return None


def _check_utf_16(file: File, encoding: str) -> Steps[None]:
    """Search the beginning and the end of a text in UTF-16 for control characters.

    :raises Mismatch: the text has a control character, or is not valid UTF-16.
    """
    start = yield from file.read(0, START_BYTES)
    _refuse_utf_16_controls(start, 0, encoding, is_last=len(start) == file.size)
    tail = yield from file.tail()
    _refuse_utf_16_controls(tail, file.size - len(tail), encoding, is_last=True)


def _check_bytes(file: File) -> Steps[None]:
    """Search the beginning and the end of a text of single bytes for control characters.

    A text without the byte order mark is UTF-8, or in one of the older 8-bit encodings in which spreadsheets still
    write CSV. There every byte is a character, so nothing else can be checked.

    :raises Mismatch: the text has a control character, or the byte order mark of UTF-8 and then other bytes.
    """
    start = yield from file.read(0, START_BYTES)
    _refuse_controls(start, 0, is_last=len(start) == file.size)
    tail = yield from file.tail()
    _refuse_controls(tail, file.size - len(tail), is_last=True)
    if start.startswith(codecs.BOM_UTF8) and not (_is_utf_8(start) and _is_utf_8(tail.lstrip(_UTF_8_TAILS))):
        raise Mismatch("it has the byte order mark of UTF-8, but it is not valid UTF-8")


def _refuse_controls(piece: bytes, offset: int, *, is_last: bool) -> None:
    """Refuse a piece of a text in UTF-8 or an 8-bit encoding that has a control character.

    :param offset: the position of the piece in the file.
    :param is_last: whether the file ends with the piece. Any other piece can end inside an escape sequence.
    """
    piece = piece.rstrip(_END_OF_FILE.encode()) if is_last else piece.removesuffix(b"\x1b")
    if len(piece.translate(None, _CONTROLS)) == len(piece):  # ten times as fast as the expression
        return
    if control := _CONTROL.search(piece):
        at = control.start()
        line = None if offset else piece.count(b"\n", 0, at) + 1
        advice = "If it is text in UTF-16, save it as UTF-8." if 0 in piece else _REMOVE
        raise Mismatch(_has_control(piece[at], offset + at, line), advice=advice)


def _refuse_utf_16_controls(piece: bytes, offset: int, encoding: str, *, is_last: bool) -> None:
    """Refuse a piece of a text in UTF-16 that has a control character.

    The piece may begin or end in the middle of a character of two units.

    :param offset: the position of the piece in the file.
    :param is_last: whether the file ends with the piece.
    """
    high = 1 if encoding == "utf-16-le" else 0
    if offset and 0xDC <= piece[high] <= 0xDF:
        piece, offset = piece[2:], offset + 2
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(piece)
    except UnicodeDecodeError:
        raise Mismatch("it begins like UTF-16, but it is not valid UTF-16") from None
    if control := _UTF_16_CONTROL.search(text.rstrip(_END_OF_FILE) if is_last else text):
        before = text[: control.start()]
        line = None if offset else before.count("\n") + 1
        raise Mismatch(_has_control(ord(control[0]), offset + len(before.encode(encoding)), line), advice=_REMOVE)


def _has_control(code: int, offset: int, line: int | None) -> str:
    return f"it has the control character 0x{code:02X} at byte {offset + 1:,}" + (f", in line {line:,}" if line else "")


def _is_utf_8(data: bytes) -> bool:
    """Return whether the bytes are UTF-8. They may end in the middle of a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True

"""Zip and gzip, and the documents that are zip files. A zip is read by its directory; nothing is unpacked. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from . import Check, Dimensions, File, Mismatch, Steps

_ENTRY = b"PK\x01\x02"
_LOCATOR = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_END = b"PK\x05\x06"
_END_BYTES = 22
_MAX_COMMENT_BYTES = 0xFFFF
END_SEARCH_BYTES = 65 * 1024
"""How far from the end of a file a program looks for a zip: Go 66,560 bytes, Info-ZIP's unzip 66,000, Java 65,663,
PHP and Python 65,557."""
_MAX_END_RECORDS = 8
"""The number of end records with possible values that :func:`refuse_appended` follows. Random data has none."""
MAX_DIRECTORY_BYTES = 896 * 1024
"""What the directory of a zip may hold: ten thousand files or so. Without all of it a symbolic link or a macro could
be missed; with the rest that is read of a zip, it is within :data:`~handler.formats.MAX_BYTES`."""
MAX_UNPACKED_RATIO = 100
MIN_UNPACKED_BYTES = 128 * 1024 * 1024
"""What a zip or a gzip may say it unpacks to: a hundred times its size (as Apache POI has it, for documents), and for
the small ones, which are sheets of zeros now and then, what harms nobody."""
_SYMBOLIC_LINK = 0o120000  # in the mode that Unix keeps in the upper half of the external attributes
_FILE_FORMAT = 0o170000
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # extra fields (APPNOTE, sections 4.5.3 and 4.6.9)
# A path that would leave the folder that it is unpacked to.
_ESCAPES = re.compile(rb"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:")
# Where Office keeps macros, and LibreOffice.
_MACROS = re.compile(rb"(?:^|/)vba(?:project\.bin|data\.xml)$|^xl/macrosheets/|^basic/|^scripts/", re.IGNORECASE)


class _Directory(NamedTuple):
    """Where a zip has its central directory, and how many entries."""

    offset: int
    length: int
    entries: int


def zip_(file: File) -> Steps[Dimensions | None]:
    """A zip (APPNOTE 6.3.10) whose entries all stay in their folder and none of which is a symbolic link."""
    yield from _names(file)
    return None


def office(folder: bytes) -> Check:
    """An Office document (ECMA-376, part 2): a zip with the parts of every package, and the folder of its kind.

    :param folder: ``b"word/"`` and so on.
    """

    def check(file: File) -> Steps[Dimensions | None]:
        names = yield from _names(file)
        if b"[Content_Types].xml" not in names or b"_rels/.rels" not in names:
            raise Mismatch("it is not an Office document")
        if not any(name.startswith(folder) for name in names):
            raise Mismatch("it is an Office document of another kind")
        _refuse_macros(names)
        return None

    return check


def open_document(media_type: bytes) -> Check:
    """An OpenDocument file: a zip whose first entry, ``mimetype``, is stored and says so (OpenDocument 1.3, part 2,
    section 3.3)."""

    def check(file: File) -> Steps[Dimensions | None]:
        names = yield from _names(file)
        method, name_length, extra_length = struct.unpack("<8xH16xHH", (yield from file.need(0, 30)))
        if method or name_length != 8 or (yield from file.need(30, 8)) != b"mimetype":
            raise Mismatch("its first entry does not say what it is")
        content = yield from file.need(38 + extra_length, len(media_type) + 2)
        if content != media_type + b"PK":  # up to the next entry
            raise Mismatch("its first entry says that it is something else")
        if b"META-INF/manifest.xml" not in names:
            raise Mismatch("it has no manifest")
        _refuse_macros(names)
        return None

    return check


def gzip(file: File) -> Steps[Dimensions | None]:
    """The header of the first member (RFC 1952, section 2.3)."""
    head = yield from file.need(0, 18)  # with the shortest body and the trailer
    if not head.startswith(b"\x1f\x8b\x08") or head[3] & 0xE0:
        raise Mismatch("it has no gzip header")
    # What the last member says, modulo 4 GiB: with several, or a false one, more may be in it.
    _check_unpacked(file, int.from_bytes((yield from file.tail(4)), "little"))
    return None


def refuse_appended(file: File) -> Steps[None]:
    """Refuse a file that is also a zip archive, such as an image that ``java -jar`` would run.

    A program finds a zip from the end record in the last bytes of the file. An end record counts if its comment ends
    where the file ends, if a Zip64 locator stands before the record, or if an entry begins where the central directory
    must be. The directory stands either at the offset in the record, or directly before the record: all programs
    accept other data before the archive, most accept other data behind it.

    Zip is the only format that programs find at the end of another file and run (Java, Python, PHP). A 7-Zip, RAR or
    cabinet archive must be unpacked by a person first.

    :param file: a file that is not an archive.
    :raises Mismatch: there is a zip archive at its end.
    """
    tail = yield from file.tail(END_SEARCH_BYTES)
    followed = 0
    for at in _end_records(tail):
        end = file.size - len(tail) + at
        length, offset, comment_length = struct.unpack_from("<12xIIH", tail, at)
        if at + _END_BYTES + comment_length == len(tail) or tail.startswith(_LOCATOR, max(0, at - _LOCATOR_BYTES)):
            raise Mismatch("a zip archive is appended to it")
        possible = [start for start in {end - length, offset} if 0 <= start <= end - len(_ENTRY)]
        if not possible:
            continue
        followed += 1
        if followed > _MAX_END_RECORDS:
            raise Mismatch("it has many end records of zip archives")
        for start in possible:
            if (yield from file.read(start, len(_ENTRY))) == _ENTRY:
                raise Mismatch("a zip archive is appended to it")


def _check_unpacked(file: File, size: int) -> None:
    if size > max(MIN_UNPACKED_BYTES, MAX_UNPACKED_RATIO * file.size):
        raise Mismatch(f"it unpacks to more than {MAX_UNPACKED_RATIO} times its size")


def _refuse_macros(names: set[bytes]) -> None:
    if any(_MACROS.search(name) for name in names):
        raise Mismatch("it has macros")


def _names(file: File) -> Steps[set[bytes]]:
    """The names of the entries, as the directory has them."""
    head = yield from file.need(0, _END_BYTES)
    if not head.startswith((b"PK\x03\x04", _END)):
        raise Mismatch("it does not begin as a zip does")
    directory = yield from _directory(file)
    if directory.length > MAX_DIRECTORY_BYTES:
        raise Mismatch("it has more entries than are looked at")
    names: set[bytes] = set()
    unpacked = 0
    for found, mode, size in _entries((yield from file.need(directory.offset, directory.length)), directory.entries):
        if any(_ESCAPES.search(name) for name in found):
            raise Mismatch("it has an entry that would be unpacked elsewhere")
        if mode & _FILE_FORMAT == _SYMBOLIC_LINK:
            raise Mismatch("it has a symbolic link")
        names.update(found)
        unpacked += size
    _check_unpacked(file, unpacked)
    return names


def _entries(directory: bytes, count: int) -> Iterator[tuple[list[bytes], int, int]]:
    """Names, Unix modes and sizes when unpacked (APPNOTE, section 4.3.12). An entry that has its name in UTF-8, too,
    has two: what unpacks it may take either."""
    at = 0
    for _ in range(count):
        if len(directory) - at < 46 or not directory.startswith(b"PK\x01\x02", at):
            raise Mismatch("its zip directory is damaged")
        size, name_length, extra_length, comment_length, attributes = struct.unpack_from("<24xIHHH4xI", directory, at)
        extra_at = at + 46 + name_length
        extra = directory[extra_at : extra_at + extra_length]
        names = [directory[at + 46 : extra_at]]
        if unicode_path := _extra_field(extra, _UNICODE_PATH):
            names.append(unicode_path[5:])  # behind a version and a checksum
        zip64 = _extra_field(extra, _ZIP64) if size == 0xFFFFFFFF else b""
        if len(zip64) >= 8:  # it is the first there of what does not fit into 32 bits
            size = int.from_bytes(zip64[:8], "little")
        yield names, attributes >> 16, size
        at = extra_at + extra_length + comment_length
    if at != len(directory):
        raise Mismatch("its zip directory is damaged")


def _extra_field(extra: bytes, wanted: int) -> bytes:
    """The content of the first field of that kind (APPNOTE, section 4.5.1); empty if there is none."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def _directory(file: File) -> Steps[_Directory]:
    """Found from the record at the end of the file (APPNOTE, sections 4.3.14 to 4.3.16)."""
    tail = yield from file.tail()
    found = _end_at(tail)
    if found is None:
        tail = yield from file.tail(_END_BYTES + _MAX_COMMENT_BYTES)
        found = _end_at(tail)
    if found is None:
        raise Mismatch("it has no zip directory at its end")
    end = file.size - len(tail) + found
    disk, first_disk, _, entries, length, offset = struct.unpack_from("<4xHHHHII", tail, found)
    if 0xFFFF in (disk, entries) or 0xFFFFFFFF in (length, offset):
        if end < 76:  # what the records of a Zip64 take
            raise Mismatch("its zip directory is damaged")
        locator = yield from file.need(end - 20, 20)
        (end,) = struct.unpack("<8xQ4x", locator)
        record = yield from file.need(end, 56)
        if not locator.startswith(b"PK\x06\x07") or not record.startswith(b"PK\x06\x06"):
            raise Mismatch("its zip directory is damaged")
        disk, first_disk, entries, length, offset = struct.unpack("<16xII8xQQQ", record)
    if disk or first_disk or offset + length != end:
        raise Mismatch("its zip directory is damaged, or something precedes it")
    return _Directory(offset, length, entries)


def _end_records(tail: bytes) -> Iterator[int]:
    """The positions in the end of a file where an end record can begin, the last first (APPNOTE, section 4.3.16)."""
    at = tail.rfind(_END, 0, max(0, len(tail) - _END_BYTES + len(_END)))
    while at >= 0:
        yield at
        at = tail.rfind(_END, 0, at)


def _end_at(tail: bytes) -> int | None:
    """Where in the end of a file the last record of a zip begins: its comment reaches exactly to the end."""
    for at in _end_records(tail):
        if at + _END_BYTES + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            return at
    return None

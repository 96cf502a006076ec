"""Zip and gzip archives.

A zip is read by its directory. Only a gzip file of at most 1 MiB is unpacked, to find its end. :func:`unpack` is for
:mod:`.office`, which reads two entries of a document at most.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...units import KIB, MIB
from . import Damaged, Dimensions, File, Mismatch, Steps, Unsafe

_HEADER = b"PK\x03\x04"
_HEADER_BYTES = 30
_ENTRY = b"PK\x01\x02"
_ENTRY_BYTES = 46
_LOCATOR = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_ZIP64_END = b"PK\x06\x06"
_ZIP64_END_BYTES = 56
_END = b"PK\x05\x06"
_END_BYTES = 22
END_SEARCH_BYTES = 65 * KIB
"""The distance from the end of a file in which programs search for a zip: Go 66,560 bytes, Info-ZIP's unzip 66,000,
Java 65,663, PHP and Python 65,557."""
_PADDING = b"\x00\t\n\v\f\r "
"""Bytes that may follow a zip: tapes and streams are filled with NULs, mail and editors add white space."""
_MAX_END_RECORDS = 8
"""The number of end records with possible values that :func:`refuse_appended` follows. Random data has none."""

MAX_DIRECTORY_BYTES = 4 * MIB
"""The largest directory of a zip: about forty thousand files. A symbolic link or a macro can be anywhere in it."""
MAX_HEADER_RANGES = 40
_MAX_WINDOW_BYTES = MIB
_MAX_WINDOW_GAP = 512 * KIB
"""To compare the header of each entry with the directory, the check reads at most 40 ranges of up to 1 MiB.

Two headers share a range if at most 512 KiB stand between them. The check therefore compares all headers of a zip of up
to 20 MiB, and of a zip of up to 40 entries. In a larger zip the headers behind the last range are not compared: to read
the ten thousand headers of an archive of photos from a bucket takes minutes."""
_MAX_GAP_READ = 64 * KIB
"""The number of bytes before a header that are read together with the header."""
_MAX_EXTRA_BYTES = 1024
"""The number of bytes of extra fields that are read together with a header. Only aligned content has more."""
MAX_GAP_BYTES = MIB
"""The limit of all bytes between the entries of a zip that belong to no entry."""
MAX_UNPACKED_RATIO = 100
MIN_UNPACKED_BYTES = 128 * MIB
"""The limit of the unpacked size that a zip or a gzip names: a hundred times its own size, as in Apache POI.

A small archive may always unpack to 128 MiB, because sheets of zeros are common."""
MAX_GZIP_BYTES = MIB
MAX_GUNZIPPED_BYTES = 16 * MIB
"""A gzip file of at most :data:`MAX_GZIP_BYTES` is unpacked up to this size, to find the end of each member."""
_MAX_GZIP_MEMBERS = 4096

_ENCRYPTED, _DESCRIPTOR = 1, 8  # bits of an entry's flags (APPNOTE, section 4.4.4)
_STORED, _DEFLATED = 0, 8  # compression methods (APPNOTE, section 4.4.5)
_DESCRIPTOR_BYTES = (12, 16, 20, 24)  # with and without a signature, of 32 and of 64 bits (APPNOTE, section 4.3.9)
_SYMBOLIC_LINK = 0o120000  # in the mode that Unix keeps in the upper half of the external attributes
_FILE_FORMAT = 0o170000
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # extra fields (APPNOTE, sections 4.5.3 and 4.6.9)
_UNKNOWN = 0xFFFF_FFFF  # the value is in a Zip64 field
# A path that leaves the folder where the archive is unpacked.
_ESCAPES = re.compile(rb"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:")
_ESCAPING_ENTRY = "it has an entry whose path leaves the folder where the archive is unpacked"
_DAMAGED_DIRECTORY = "its zip directory is damaged"
_OVERLAP = "its entries overlap"
_SEVERAL_DIRECTORIES = "it has several zip directories"
_APPENDED = "a zip archive is appended to it"
LOCKED = "it has a password, so it cannot be checked"
UNLOCK = "Remove the password, and send the file again."


class _Directory(NamedTuple):
    """The central directory of a zip: its position, its length in bytes, and the number of entries."""

    offset: int
    length: int
    entries: int


class Entry(NamedTuple):
    """One entry of the directory (APPNOTE, section 4.3.12).

    :param names: the name in the directory, then each name in UTF-8 from an extra field. Programs take either.
    :param mode: the mode of Unix, or 0.
    :param packed: the size in the archive, in bytes.
    :param size: the unpacked size, in bytes.
    :param offset: the position of the entry's local header.
    """

    names: tuple[bytes, ...]
    mode: int
    flags: int
    method: int
    packed: int
    size: int
    offset: int

    @property
    def name(self) -> bytes:
        return self.names[0]

    @property
    def header_end(self) -> int:
        """The end of the part of the local header that must agree with the directory."""
        return self.offset + _HEADER_BYTES + len(self.name)


class _Window(NamedTuple):
    """A range of the file that is read at once, and the entries whose headers are in the range."""

    start: int
    end: int
    entries: list[Entry]


def zip_(file: File) -> Steps[Dimensions | None]:
    """Check a zip (APPNOTE 6.3.10): no entry leaves the folder where the archive is unpacked.

    A program that reads the directory and a program that reads a stream must find the same entries.
    """
    yield from read_entries(file)
    return None


def gzip(file: File) -> Steps[Dimensions | None]:
    """Check the header of the first member, and the unpacked size in the last trailer (RFC 1952, section 2.3).

    NULs may follow the last member, as on tapes, because gzip ignores them. A file of up to :data:`MAX_GZIP_BYTES` is
    unpacked, so other bytes behind its last member are found. In a larger file only the last bytes are checked.
    """
    yield from file.begins_with(b"\x1f\x8b\x08", otherwise="it has no gzip header")
    head = yield from file.need(0, 18)  # with the shortest body and the trailer
    if head[3] & 0xE0:
        raise Mismatch("it has no gzip header")
    if file.size <= MAX_GZIP_BYTES and _gzip_end((yield from file.need(0, file.size))) is not None:
        return None
    size = _last_gzip_size((yield from file.tail()))
    if _unpacks_to_too_much(file, size):
        raise Unsafe(
            f"its last bytes say that it unpacks to more than {MAX_UNPACKED_RATIO} times its size, or they do not "
            "belong to it"
        )
    return None


def _last_gzip_size(tail: bytes) -> int:
    """Return the unpacked size of the last member, modulo 4 GiB. Several members, or a false size, can hold more.

    Up to four bytes of the size can be NULs, and NULs are also the padding. The padding therefore begins up to four
    bytes behind the last other byte. The smallest size that these places give is returned.

    :param tail: the end of the file.
    """
    data_end = len(tail.rstrip(b"\x00"))
    ends = range(max(data_end, 4), min(data_end + 4, len(tail)) + 1)
    return min(int.from_bytes(tail[end - 4 : end], "little") for end in ends)


def _gzip_end(data: bytes) -> int | None:
    """Return the position behind the last member of a whole gzip file; ``None`` if the search takes too much work.

    :raises Mismatch: a member is damaged or cut off, or bytes other than NULs follow the last member.
    """
    at, unpacked = 0, 0
    for _ in range(_MAX_GZIP_MEMBERS):
        member = _gzip_member(data, at, MAX_GUNZIPPED_BYTES - unpacked)
        if member is None:
            return None
        at, size = member
        unpacked += size
        if data.startswith(b"\x1f\x8b", at):
            continue
        if extra := len(data[at:].rstrip(b"\x00")):
            raise Unsafe(f"it has {extra:,} bytes behind its end that do not belong to it")
        return at
    return None


def _gzip_member(data: bytes, at: int, limit: int) -> tuple[int, int] | None:
    """Return the position behind the member at ``at`` and the member's unpacked size; ``None`` if it exceeds ``limit``.

    :raises Mismatch: the member is damaged or cut off.
    """
    view = memoryview(data)
    member = zlib.decompressobj(wbits=31)
    piece: bytes | memoryview = b""
    unpacked = 0
    while not member.eof:
        if not piece:
            piece = view[at : at + 4096]
            at += len(piece)
        try:
            output = member.decompress(piece, 64 * KIB)
        except zlib.error:
            raise Damaged("it is damaged") from None
        unpacked += len(output)
        if unpacked > limit:
            return None
        if not (piece or output or member.eof):
            raise Damaged("it ends too early")
        piece = member.unconsumed_tail
    return at - len(member.unused_data), unpacked


def refuse_appended(file: File) -> Steps[None]:
    """Refuse a file that is also a zip archive, such as an image that ``java -jar`` would run.

    A program finds a zip by the end record in the last bytes of the file. An end record counts in three cases: its
    comment ends where the file ends, a Zip64 locator stands before the record, or an entry begins where the central
    directory must be. The directory stands either at the offset in the record, or directly before the record. All
    programs accept other data before the archive, and most programs accept other data behind the archive.

    Zip is the only format that programs find at the end of another file and run (Java, Python, PHP). A person must
    first unpack a 7-Zip, RAR or cabinet archive.

    :param file: a file that is not an archive.
    :raises Mismatch: a zip archive stands at the end of the file.
    """
    tail = yield from file.tail(END_SEARCH_BYTES)
    followed = 0
    for at in _end_records(tail):
        end = file.size - len(tail) + at
        length, offset, comment_length = struct.unpack_from("<12xIIH", tail, at)
        if at + _END_BYTES + comment_length == len(tail) or tail.startswith(_LOCATOR, max(0, at - _LOCATOR_BYTES)):
            raise Unsafe(_APPENDED)
        possible = [start for start in {end - length, offset} if 0 <= start <= end - len(_ENTRY)]
        if not possible:
            continue
        followed += 1
        if followed > _MAX_END_RECORDS:
            raise Unsafe("it has many end records of zip archives")
        for start in possible:
            if (yield from file.read(start, len(_ENTRY))) == _ENTRY:
                raise Unsafe(_APPENDED)


def _unpacks_to_too_much(file: File, size: int) -> bool:
    return size > max(MIN_UNPACKED_BYTES, MAX_UNPACKED_RATIO * file.size)


def unpack(file: File, entry: Entry, limit: int, label: str) -> Steps[bytes]:
    """Return the content of an entry.

    :param limit: the largest size of the content in bytes, packed and unpacked.
    :param label: the name of the entry in a sentence. The entry's own name can be 64 KiB of any bytes.
    :raises Mismatch: the entry is larger, damaged, encrypted, or packed by a method that Office and LibreOffice do not
        know.
    """
    if entry.flags & _ENCRYPTED:
        raise Unsafe(LOCKED, advice=UNLOCK)
    if max(entry.packed, entry.size) > limit:
        raise Unsafe(f"its entry '{label}' is larger than {limit:,} bytes, so it is not checked")
    (extra_length,) = struct.unpack("<H", (yield from file.need(entry.offset + 28, 2)))
    packed = yield from file.need(entry.header_end + extra_length, entry.packed)
    if entry.method == _STORED:
        return packed
    if entry.method != _DEFLATED:
        raise Unsafe(f"its entry '{label}' is packed by a method that documents do not use")
    stream = zlib.decompressobj(wbits=-15)
    try:
        content = stream.decompress(packed, limit + 1)
    except zlib.error:
        raise Damaged(f"its entry '{label}' is damaged") from None
    if not stream.eof or len(content) > limit:
        raise Damaged(f"its entry '{label}' is damaged")
    return content


def read_entries(file: File) -> Steps[list[Entry]]:
    """Return the entries of a zip in the order in which they stand in the file, after every check of a zip.

    :raises Mismatch: the file is not a zip, another program would find another archive in it, or to unpack it does
        harm.
    """
    yield from file.begins_with(_HEADER, _END, otherwise="it does not begin like a zip")
    yield from file.need(0, _END_BYTES)
    directory = yield from _find_directory(file)
    if directory.length > MAX_DIRECTORY_BYTES:
        raise Unsafe(f"it has too many entries: its directory is larger than {MAX_DIRECTORY_BYTES:,} bytes")
    content = yield from file.read(directory.offset, directory.length)
    entries = sorted(_directory_entries(content, directory.entries), key=lambda entry: entry.offset)
    for entry in entries:
        if any(_ESCAPES.search(name) for name in entry.names):
            raise Unsafe(_ESCAPING_ENTRY)
        if entry.mode & _FILE_FORMAT == _SYMBOLIC_LINK:
            raise Unsafe("it has a symbolic link")
    if _unpacks_to_too_much(file, sum(entry.size for entry in entries)):
        raise Unsafe(f"it unpacks to more than {MAX_UNPACKED_RATIO} times its size")
    yield from _compare_headers(file, entries, directory.offset)
    return entries


def _compare_headers(file: File, entries: Sequence[Entry], end: int) -> Steps[None]:
    """Compare the header of each entry with the directory: programs that unpack a stream know only the headers.

    :param entries: in the order in which they stand in the file.
    :param end: the position of the directory.
    :raises Mismatch: entries overlap, a header differs, or an entry between them is missing from the directory.
    """
    ends = [*(entry.offset for entry in entries[1:]), end]
    if any(entry.header_end + entry.packed > entry_end for entry, entry_end in zip(entries, ends, strict=False)):
        raise Unsafe(_OVERLAP)
    at, gap_bytes, compared, ranges = 0, 0, 0, 0
    for window in _windows(entries):
        ranges += 1
        if ranges > MAX_HEADER_RANGES:
            return
        yield from file.read(window.start, window.end - window.start)
        for entry in window.entries:
            gap_bytes += yield from _refuse_hidden_entry(file, at, entry.offset, MAX_GAP_BYTES - gap_bytes)
            at = yield from _compare_header(file, entry, ends[compared])
            compared += 1
            if at - entry.header_end - entry.packed > _MAX_EXTRA_BYTES:  # the extra fields took a range of their own
                ranges += 1
    yield from _refuse_hidden_entry(file, at, end, MAX_GAP_BYTES - gap_bytes)


def _windows(entries: Sequence[Entry]) -> Iterator[_Window]:
    """Yield the ranges that hold the headers, and the bytes between the entries."""
    start = end = before = 0  # "before": the end of the entry before, if that has no extra fields
    inside: list[Entry] = []
    for entry in entries:
        entry_start = before if entry.offset - before <= _MAX_GAP_READ else entry.offset
        header_end = entry.header_end
        entry_end = header_end + _MAX_EXTRA_BYTES
        if inside and (entry_start - end > _MAX_WINDOW_GAP or entry_end - start > _MAX_WINDOW_BYTES):
            yield _Window(start, end, inside)
            inside = []
        if not inside:
            start = end = entry_start
        end = max(end, entry_end)
        inside.append(entry)
        before = header_end + entry.packed
    if inside:
        yield _Window(start, end, inside)


def _compare_header(file: File, entry: Entry, entry_end: int) -> Steps[int]:
    """Compare the header of an entry with the directory (APPNOTE, section 4.3.7).

    :param entry_end: the position of the next entry, or of the directory.
    :returns: the position behind the entry's content and its data descriptor.
    :raises Mismatch: the header differs from the directory.
    """
    name, header_end = entry.name, entry.header_end
    header = yield from file.need(entry.offset, header_end - entry.offset)
    signature, flags, packed, size, name_length, extra_length = struct.unpack_from("<4s2xH10xIIHH", header)
    if signature != _HEADER or name_length != len(name) or header[_HEADER_BYTES:] != name:
        raise Unsafe("it has an entry whose own header has another name than the directory")
    extra = (yield from file.need(header_end, extra_length)) if extra_length else b""
    if extra and any(_ESCAPES.search(path[5:]) for path in _extra_fields(extra, _UNICODE_PATH)):
        raise Unsafe(_ESCAPING_ENTRY)
    if _UNKNOWN in (packed, size):
        size, packed = _zip64_values(extra, size, packed)
    # A program that wrote a stream did not know the length yet, and put it behind the content.
    if packed != entry.packed and not flags & _DESCRIPTOR:
        raise Unsafe("it has an entry whose own header has another length than the directory")
    at: int = header_end + extra_length + entry.packed
    if flags & _DESCRIPTOR and entry_end - at in _DESCRIPTOR_BYTES:
        return entry_end
    return at


def _refuse_hidden_entry(file: File, start: int, end: int, limit: int) -> Steps[int]:
    """Search the bytes between two entries. Tools that delete or align entries leave some bytes there.

    :returns: the number of these bytes.
    :raises Mismatch: an entry can begin there, there are more bytes than ``limit``, or ``end`` is before ``start``.
    """
    if end < start:
        raise Unsafe(_OVERLAP)
    if end - start > limit:
        raise Unsafe(f"it has more than {MAX_GAP_BYTES:,} bytes between its entries that belong to none")
    if end > start and _HEADER in (yield from file.read(start, end - start)):
        raise Unsafe("it has an entry that is not in its directory")
    return end - start


def _directory_entries(directory: bytes, count: int) -> Iterator[Entry]:
    """Yield the entries in the order of the directory (APPNOTE, section 4.3.12).

    :raises Mismatch: the directory does not consist of ``count`` entries.
    """
    at = 0
    for _ in range(count):
        if len(directory) - at < _ENTRY_BYTES or not directory.startswith(_ENTRY, at):
            raise Damaged(_DAMAGED_DIRECTORY)
        flags, method, packed, size, name_length, extra_length, comment_length, attributes, offset = struct.unpack_from(
            "<8xHH8xIIHHH4xII", directory, at
        )
        extra_at = at + _ENTRY_BYTES + name_length
        extra = directory[extra_at : extra_at + extra_length]
        # In the extra field, the other name stands behind a version and a checksum.
        names = [directory[at + _ENTRY_BYTES : extra_at], *(path[5:] for path in _extra_fields(extra, _UNICODE_PATH))]
        if _UNKNOWN in (size, packed, offset):
            size, packed, offset = _zip64_values(extra, size, packed, offset)
        yield Entry(tuple(names), attributes >> 16, flags, method, packed, size, offset)
        at = extra_at + extra_length + comment_length
    if at != len(directory):
        raise Damaged(_DAMAGED_DIRECTORY)


def _zip64_values(extra: bytes, *values: int) -> list[int]:
    """Return the values, with those that do not fit into 32 bits taken from the Zip64 field (APPNOTE, section 4.5.3).

    The field has these values in the same order.

    :raises Mismatch: there are several such fields.
    """
    fields = _extra_fields(extra, _ZIP64)
    if len(fields) > 1:
        raise Damaged(_DAMAGED_DIRECTORY)
    large = list(struct.unpack_from(f"<{len(fields[0]) // 8}Q", fields[0])) if fields else []
    return [large.pop(0) if value == _UNKNOWN and large else value for value in values]


def _extra_fields(extra: bytes, wanted: int) -> list[bytes]:
    """Return the contents of the extra fields of the wanted kind (APPNOTE, section 4.5.1)."""
    fields = []
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            fields.append(extra[at + 4 : at + 4 + length])
        at += 4 + length
    return fields


def _find_directory(file: File) -> Steps[_Directory]:
    """Find the directory by the records at the end of the file (APPNOTE, sections 4.3.14 to 4.3.16).

    White space and NULs may follow the last record. If a Zip64 locator stands before the record, a program may follow
    either of the two, so both must name the same directory.

    :raises Mismatch: the records are damaged, or do not name one directory.
    """
    tail = yield from file.tail(END_SEARCH_BYTES)
    tail_at = file.size - len(tail)
    end = tail_at + _last_end_record(tail, tail_at)
    disk, first_disk, _, entries, length, offset = struct.unpack_from("<4xHHHHII", tail, end - tail_at)
    if end >= _LOCATOR_BYTES:
        locator = yield from file.need(end - _LOCATOR_BYTES, _LOCATOR_BYTES)
        if locator.startswith(_LOCATOR):
            short = (entries, length, offset)
            end, disk, first_disk, *long = yield from _zip64_end(file, end - _LOCATOR_BYTES, locator)
            entries, length, offset = long
            unknown = (0xFFFF, _UNKNOWN, _UNKNOWN)
            if any(value not in possible for value, *possible in zip(short, long, unknown, strict=True)):
                raise Unsafe(_SEVERAL_DIRECTORIES)
    if disk or first_disk:
        raise Unsafe("it is one part of an archive that was split")
    if offset + length != end:
        raise Unsafe("its zip directory is damaged, or other data stands before it")
    return _Directory(offset, length, entries)


def _zip64_end(file: File, locator_at: int, locator: bytes) -> Steps[tuple[int, int, int, int, int, int]]:
    """Return the position of the Zip64 end record that the locator names, and the fields of the record.

    :returns: the position, two numbers of disks, the number of entries, the length of the directory and its offset.
    :raises Mismatch: the locator names no such record.
    """
    (at,) = struct.unpack("<8xQ4x", locator)
    if at + _ZIP64_END_BYTES > locator_at:
        raise Damaged(_DAMAGED_DIRECTORY)
    record = yield from file.need(at, _ZIP64_END_BYTES)
    signature, rest, disk, first_disk, entries, length, offset = struct.unpack("<4sQ4xII8xQQQ", record)
    if signature != _ZIP64_END or at + 12 + rest != locator_at:
        raise Damaged(_DAMAGED_DIRECTORY)
    return at, disk, first_disk, entries, length, offset


def _last_end_record(tail: bytes, tail_at: int) -> int:
    """Return the position of the end record in the end of a zip: only white space and NULs follow its comment.

    :param tail: the end of the file.
    :param tail_at: the position of this end in the file.
    :raises Mismatch: there is no end record, or the comment holds another one, which some programs would take.
    """
    records = list(_end_records(tail))
    ends = [at + _END_BYTES + int.from_bytes(tail[at + 20 : at + 22], "little") for at in records]
    padding_at = len(tail.rstrip(_PADDING))
    last = [at for at, end in zip(records, ends, strict=True) if padding_at <= end <= len(tail)]
    if not last:
        for at, end in zip(records, ends, strict=True):
            if end < padding_at and sum(struct.unpack_from("<12xII", tail, at)) == tail_at + at:
                raise Unsafe(f"it has {len(tail) - end:,} bytes behind its end that do not belong to it")
        raise Damaged("it has no zip directory at its end, so it is damaged or not complete")
    if last != records[:1]:
        raise Unsafe(_SEVERAL_DIRECTORIES)
    return last[0]


def _end_records(tail: bytes) -> Iterator[int]:
    """Yield each position in the end of a file where an end record can begin, from the last to the first (APPNOTE,
    section 4.3.16)."""
    at = tail.rfind(_END, 0, max(0, len(tail) - _END_BYTES + len(_END)))
    while at >= 0:
        yield at
        at = tail.rfind(_END, 0, at)

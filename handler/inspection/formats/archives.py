"""Zip and gzip, and the documents that are zip files. Pure.

A zip is read by its directory. Only these are unpacked, each up to a limit: the media type or the manifest of an
OpenDocument file, the list of content types of an Office document, and a gzip file of at most 1 MiB, to find its end.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from . import Check, Damaged, Dimensions, File, Mismatch, Steps, Unsafe

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
END_SEARCH_BYTES = 65 * 1024
"""How far from the end of a file a program looks for a zip: Go 66,560 bytes, Info-ZIP's unzip 66,000, Java 65,663,
PHP and Python 65,557."""
_PADDING = b"\x00\t\n\v\f\r "
"""Bytes that may follow a zip: tapes and streams are filled with NULs, mail and editors add white space."""
_MAX_END_RECORDS = 8
"""The number of end records with possible values that :func:`refuse_appended` follows. Random data has none."""

MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
"""The limit of a zip's directory: some forty thousand files. A symbolic link or a macro can be anywhere in it."""
MAX_HEADER_RANGES = 40
_MAX_WINDOW_BYTES = 1024 * 1024
_MAX_WINDOW_GAP = 512 * 1024
"""To compare the header of each entry with the directory, the check reads at most 40 ranges of up to 1 MiB. Two headers
share a range if at most 512 KiB stand between them. So all headers are compared in a zip of up to 20 MiB, and in a zip
of up to 40 entries. In a larger one the headers behind the last range are not compared: a check that reads the ten
thousand headers of an archive of photos from a bucket takes minutes."""
_MAX_GAP_READ = 64 * 1024  # of the bytes before a header that are read with it
_MAX_EXTRA_BYTES = 1024  # of the extra fields that are read with a header: all, except where content is aligned
MAX_GAP_BYTES = 1024 * 1024
"""The limit of all bytes that stand between the entries of a zip and belong to none."""
MAX_UNPACKED_RATIO = 100
MIN_UNPACKED_BYTES = 128 * 1024 * 1024
"""The limit of what a zip or a gzip says it unpacks to: a hundred times its size (as Apache POI has it, for documents),
and 128 MiB for a small one, since sheets of zeros are not rare."""
MAX_CONTENT_TYPES_BYTES = 1024 * 1024
"""The limit of an Office document's list of content types, packed and unpacked: eight thousand parts or so."""
_MAX_MEDIA_TYPE_BYTES = 256
MAX_GZIP_BYTES = 1024 * 1024
MAX_GUNZIPPED_BYTES = 16 * 1024 * 1024
"""A gzip file of at most the first size is unpacked up to the second, to see where its members end."""
_MAX_GZIP_MEMBERS = 4096

_ENCRYPTED, _DESCRIPTOR = 1, 8  # bits of an entry's flags (APPNOTE, section 4.4.4)
_STORED, _DEFLATED = 0, 8  # compression methods (APPNOTE, section 4.4.5)
_DESCRIPTOR_BYTES = (12, 16, 20, 24)  # with and without a signature, of 32 and of 64 bits (APPNOTE, section 4.3.9)
_SYMBOLIC_LINK = 0o120000  # in the mode that Unix keeps in the upper half of the external attributes
_FILE_FORMAT = 0o170000
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # extra fields (APPNOTE, sections 4.5.3 and 4.6.9)
_UNKNOWN = 0xFFFF_FFFF  # the value is in a Zip64 field
# A path that would leave the folder that it is unpacked to.
_ESCAPES = re.compile(rb"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:")
# Where Office keeps macros, and LibreOffice, in the form of :func:`_normal`.
_MACRO_NAME = re.compile(rb"(?:^|/)vba(?:project|data)[^/]*$|^xl/macrosheets/|^(?:object [^/]*/)?(?:basic|scripts)/")
# The content types of Office's macros, and of the documents that may hold them (MS-OFFMACRO2, MS-XLSB).
_MACRO_TYPE = re.compile(r"macroenabled|vbaproject|vbadata|macrosheet", re.IGNORECASE)
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OFFICE_KINDS = {b"word/": "wordprocessingml", b"xl/": "spreadsheetml", b"ppt/": "presentationml"}
_MANIFEST = b"meta-inf/manifest.xml"
_LOCKED = "it has a password, so nobody can check it"
_UNLOCK = "Remove the password, and send the file again."


class _Directory(NamedTuple):
    """The central directory of a zip: its position, its length in bytes, and the number of entries."""

    offset: int
    length: int
    entries: int


class _Entry(NamedTuple):
    """One entry of the directory (APPNOTE, section 4.3.12).

    :param names: the name, and the one in UTF-8 that may be in an extra field: programs take either.
    :param mode: of Unix, or 0.
    :param packed: bytes in the archive.
    :param size: bytes when unpacked.
    :param offset: of its local header.
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
        """Where the part of its local header ends that the directory must agree with."""
        return self.offset + _HEADER_BYTES + len(self.name)


class _Window(NamedTuple):
    """A range of the file that is read at once, and the entries whose headers are in it."""

    start: int
    end: int
    entries: list[_Entry]


def zip_(file: File) -> Steps[Dimensions | None]:
    """A zip (APPNOTE 6.3.10) whose entries stay in their folder. Programs that read its directory and programs that
    read it as a stream must find the same entries."""
    yield from _entries(file)
    return None


def office(folder: bytes) -> Check:
    """An Office document (ECMA-376, part 2): a zip with the parts of every package, those of its kind, and no macros.

    Macros show by the names of their parts and by the content types that the document gives to its parts, which is
    where Office looks. Names are compared without regard to case (part 2, section 6.3.2.3), and a backslash is a slash.

    :param folder: a key of :data:`_OFFICE_KINDS`. The parts stand there, or the content type of one of them tells.
    """
    main_type = re.compile(
        rf"application/vnd\.openxmlformats-officedocument\.{_OFFICE_KINDS[folder]}\.[a-z]+\.main\+xml", re.IGNORECASE
    )

    def check(file: File) -> Steps[Dimensions | None]:
        yield from _refuse_compound_file(file)
        entries = yield from _entries(file)
        names = {_normal(name) for entry in entries for name in entry.names}
        xml = yield from _only(file, entries, b"[content_types].xml", MAX_CONTENT_TYPES_BYTES)
        if xml is None or b"_rels/.rels" not in names:
            raise Mismatch("it is not an Office document")
        content_types = _content_types(xml, names)
        if not any(map(main_type.fullmatch, content_types)) and not any(name.startswith(folder) for name in names):
            raise Mismatch("it is an Office document of another kind")
        if any(map(_MACRO_NAME.search, names)) or any(map(_MACRO_TYPE.search, content_types)):
            raise Unsafe("it has macros")
        return None

    return check


def open_document(media_type: bytes) -> Check:
    """An OpenDocument file: a zip with a manifest, an entry ``mimetype`` that says what it is, and no macros
    (OpenDocument 1.3, part 2, sections 3.2 and 3.3).

    The entry should be the first and stored. Programs that pack a document again do not know that. Where there is no
    such entry, the manifest says what the document is. LibreOffice reads all these.
    """

    def check(file: File) -> Steps[Dimensions | None]:
        yield from _refuse_compound_file(file)
        entries = yield from _entries(file)
        names = {_normal(name) for entry in entries for name in entry.names}
        if _MANIFEST not in names:
            raise Mismatch("it has no manifest")
        content = yield from _only(file, entries, b"mimetype", _MAX_MEDIA_TYPE_BYTES)
        if content is None:
            manifest = yield from _only(file, entries, _MANIFEST, MAX_CONTENT_TYPES_BYTES)
            content = _manifest_media_type(manifest or b"")
        if content.strip() != media_type:
            raise Mismatch("it says that it is something else")
        if b"encrypted-package" in names:  # LibreOffice packs a document with a password so: nothing else is readable
            raise Unsafe(_LOCKED, advice=_UNLOCK)
        if any(map(_MACRO_NAME.search, names)):
            raise Unsafe("it has macros")
        return None

    return check


def gzip(file: File) -> Steps[Dimensions | None]:
    """The header of the first member, and the size unpacked in the trailer of the last (RFC 1952, section 2.3).

    NULs may follow the last member, as they do on tapes; gzip ignores them. A file of up to :data:`MAX_GZIP_BYTES` is
    looked through, so anything else behind its last member is seen. In a larger file only the last bytes are seen.
    """
    yield from file.begins_with(b"\x1f\x8b\x08", otherwise="it has no gzip header")
    head = yield from file.need(0, 18)  # with the shortest body and the trailer
    if head[3] & 0xE0:
        raise Mismatch("it has no gzip header")
    if file.size <= MAX_GZIP_BYTES and _gzip_end((yield from file.need(0, file.size))) is not None:
        return None
    tail = yield from file.tail()
    data_end = len(tail.rstrip(b"\x00"))
    # Up to four bytes of the size can be NULs, too: the padding begins up to four bytes behind the last other byte.
    ends = range(max(data_end, 4), min(data_end + 4, len(tail)) + 1)
    # This is the size of the last member, modulo 4 GiB. Several members, or a false size, can hold more.
    size = min(int.from_bytes(tail[end - 4 : end], "little") for end in ends)
    if _unpacks_to_too_much(file, size):
        raise Unsafe(
            f"its last bytes say that it unpacks to more than {MAX_UNPACKED_RATIO} times its size, or they do not "
            "belong to it"
        )
    return None


def _gzip_end(data: bytes) -> int | None:
    """The position behind the last member of a whole gzip file; ``None`` if that takes too much work to find.

    :raises Mismatch: a member is damaged or cut off, or something other than NULs follows the last one.
    """
    view = memoryview(data)
    at, unpacked = 0, 0
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(wbits=31)
        piece: bytes | memoryview = b""
        while not member.eof:
            if not piece:
                piece = view[at : at + 4096]
                at += len(piece)
            try:
                output = member.decompress(piece, 64 * 1024)
            except zlib.error:
                raise Damaged("it is damaged") from None
            unpacked += len(output)
            if unpacked > MAX_GUNZIPPED_BYTES:
                return None
            if not (piece or output or member.eof):
                raise Damaged("it ends too early")
            piece = member.unconsumed_tail
        at -= len(member.unused_data)
        if data.startswith(b"\x1f\x8b", at):
            continue
        if extra := len(data[at:].rstrip(b"\x00")):
            raise Unsafe(f"it has {extra:,} bytes behind its end that do not belong to it")
        return at
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
            raise Unsafe("a zip archive is appended to it")
        possible = [start for start in {end - length, offset} if 0 <= start <= end - len(_ENTRY)]
        if not possible:
            continue
        followed += 1
        if followed > _MAX_END_RECORDS:
            raise Unsafe("it has many end records of zip archives")
        for start in possible:
            if (yield from file.read(start, len(_ENTRY))) == _ENTRY:
                raise Unsafe("a zip archive is appended to it")


def _unpacks_to_too_much(file: File, size: int) -> bool:
    return size > max(MIN_UNPACKED_BYTES, MAX_UNPACKED_RATIO * file.size)


def _normal(name: bytes) -> bytes:
    """The name of a part as Office compares it: some programs write backslashes, and case makes no difference."""
    return name.replace(b"\\", b"/").lower()


def _refuse_compound_file(file: File) -> Steps[None]:
    """Refuse a compound file (MS-CFB) with the right reason. Office packs documents with a password into one
    (MS-OFFCRYPTO, section 2.3.4), and wrote all documents as one before 2007."""
    head = yield from file.head()
    if not head.startswith(_COMPOUND_FILE):
        return
    directory = b""
    if len(head) >= 76:
        shift, first_sector = struct.unpack_from("<30xH16xI", head)
        directory = yield from file.read((first_sector + 1) << min(shift, 12), 4096)
    if any("EncryptedPackage".encode("utf-16-le") in data for data in (head, directory, (yield from file.tail()))):
        raise Unsafe(_LOCKED, advice=_UNLOCK)
    raise Mismatch(
        "it is in the format of Office before 2007, or it has a password",
        advice="Save it in the current format, without a password.",
    )


def _content_types(xml: bytes, names: set[bytes]) -> set[str]:
    """The content types that a document gives to its parts (ECMA-376, part 2, section 7.2.3).

    The type of an extension counts if a part has that extension and no type of its own: some programs declare types for
    extensions that no part has, also those of macros.

    :param names: of the parts, in the form of :func:`_normal`.
    """
    elements = _elements(xml, ("Override", "Default"), "its list of content types")
    own_names = {attributes.get("PartName", "").lower().encode() for attributes in elements}
    extensions = {unquote_to_bytes(name).rpartition(b".")[2] for name in names if b"/" + name not in own_names}
    return {
        attributes.get("ContentType", "")
        for attributes in elements
        if "PartName" in attributes or attributes.get("Extension", "").lower().encode() in extensions
    }


def _manifest_media_type(xml: bytes) -> bytes:
    """The media type that the manifest of an OpenDocument file gives to the whole of it."""
    for attributes in _elements(xml, ("file-entry",), "its manifest"):
        if attributes.get("full-path") == "/":
            return attributes.get("media-type", "").encode()
    return b""


def _elements(xml: bytes, wanted: Sequence[str], label: str) -> list[dict[str, str]]:
    """The attributes of the elements of those names in an XML document. All names are without their prefix.

    :param label: the document's name in a sentence.
    :raises Mismatch: it is not XML, or it declares entities, which none of these documents needs.
    """
    from xml.parsers import expat  # noqa: PLC0415  (only documents need it)

    elements: list[dict[str, str]] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] in wanted:
            elements.append({key.rpartition(":")[2]: value for key, value in attributes.items()})

    def refuse(*_declaration: object) -> None:
        raise Unsafe(f"{label} declares entities")

    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, LookupError, ValueError):  # the latter two for an encoding that it names
        raise Damaged(f"{label} is damaged") from None
    return elements


def _only(file: File, entries: Sequence[_Entry], name: bytes, limit: int) -> Steps[bytes | None]:
    """The content of the one entry of that (normal) name; ``None`` if there is none.

    :raises Mismatch: there are several, or it cannot be unpacked.
    """
    found = [entry for entry in entries if any(_normal(other) == name for other in entry.names)]
    if not found:
        return None
    if len(found) > 1:
        raise Unsafe(f"it has several entries named '{name.decode()}'")
    return (yield from _unpacked(file, found[0], limit, name.decode()))


def _unpacked(file: File, entry: _Entry, limit: int, label: str) -> Steps[bytes]:
    """The content of an entry.

    :param limit: of its bytes, packed and unpacked.
    :param label: its name in a sentence. Its own one can be 64 KiB of anything.
    :raises Mismatch: it is longer, damaged, encrypted, or packed by a method that Office and LibreOffice do not know.
    """
    if entry.flags & _ENCRYPTED:
        raise Unsafe(_LOCKED, advice=_UNLOCK)
    if max(entry.packed, entry.size) > limit:
        raise Unsafe(f"its entry '{label}' is larger than {limit:,} bytes, so it is not looked at")
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


def _entries(file: File) -> Steps[list[_Entry]]:
    """The entries of a zip, in the order in which they stand in the file, after all that is checked of every zip.

    :raises Mismatch: it is not a zip, it would be another archive to another program, or unpacking it does harm.
    """
    yield from file.begins_with(_HEADER, _END, otherwise="it does not begin as a zip does")
    yield from file.need(0, _END_BYTES)
    directory = yield from _directory(file)
    if directory.length > MAX_DIRECTORY_BYTES:
        raise Unsafe(f"it has too many entries: its directory is larger than {MAX_DIRECTORY_BYTES:,} bytes")
    content = yield from file.read(directory.offset, directory.length)
    entries = sorted(_directory_entries(content, directory.entries), key=lambda entry: entry.offset)
    for entry in entries:
        if any(_ESCAPES.search(name) for name in entry.names):
            raise Unsafe("it has an entry that would be unpacked elsewhere")
        if entry.mode & _FILE_FORMAT == _SYMBOLIC_LINK:
            raise Unsafe("it has a symbolic link")
    if _unpacks_to_too_much(file, sum(entry.size for entry in entries)):
        raise Unsafe(f"it unpacks to more than {MAX_UNPACKED_RATIO} times its size")
    yield from _compare_headers(file, entries, directory.offset)
    return entries


def _compare_headers(file: File, entries: Sequence[_Entry], end: int) -> Steps[None]:
    """Compare the header of each entry with the directory: programs that unpack a stream know only the headers.

    :param entries: in the order in which they stand in the file.
    :param end: the position of the directory.
    :raises Mismatch: entries overlap, a header differs, or an entry stands between them that is not in the directory.
    """
    ends = [*(entry.offset for entry in entries[1:]), end]
    if any(entry.header_end + entry.packed > entry_end for entry, entry_end in zip(entries, ends, strict=False)):
        raise Unsafe("its entries overlap")
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
            if at - entry.header_end - entry.packed > _MAX_EXTRA_BYTES:  # they took a range of their own
                ranges += 1
    yield from _refuse_hidden_entry(file, at, end, MAX_GAP_BYTES - gap_bytes)


def _windows(entries: Sequence[_Entry]) -> Iterator[_Window]:
    """The ranges that hold the headers, and the bytes between their entries."""
    start = end = before = 0  # the last: where the entry before ends, or a little later than there (its extra fields)
    inside: list[_Entry] = []
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


def _compare_header(file: File, entry: _Entry, entry_end: int) -> Steps[int]:
    """Compare the header of an entry with the directory (APPNOTE, section 4.3.7).

    :param entry_end: where the next entry begins, or the directory.
    :returns: the position behind the entry's content and its data descriptor.
    """
    name, header_end = entry.name, entry.header_end
    header = yield from file.need(entry.offset, header_end - entry.offset)
    signature, flags, packed, size, name_length, extra_length = struct.unpack_from("<4s2xH10xIIHH", header)
    if signature != _HEADER or name_length != len(name) or header[_HEADER_BYTES:] != name:
        raise Unsafe("it has an entry whose own header has another name than the directory")
    extra = (yield from file.need(header_end, extra_length)) if extra_length else b""
    if extra and any(_ESCAPES.search(path[5:]) for path in _extra_fields(extra, _UNICODE_PATH)):
        raise Unsafe("it has an entry that would be unpacked elsewhere")
    if _UNKNOWN in (packed, size):
        size, packed = _zip64_values(extra, size, packed)
    # A program that wrote a stream did not know the length yet: it stands behind the content.
    if packed != entry.packed and not flags & _DESCRIPTOR:
        raise Unsafe("it has an entry whose own header has another length than the directory")
    at: int = header_end + extra_length + entry.packed
    if flags & _DESCRIPTOR and entry_end - at in _DESCRIPTOR_BYTES:
        return entry_end
    return at


def _refuse_hidden_entry(file: File, start: int, end: int, limit: int) -> Steps[int]:
    """Look at the bytes between two entries. Tools that delete or align entries leave some.

    :returns: their number.
    :raises Mismatch: an entry can begin there, the bytes are more than ``limit``, or ``end`` is before ``start``.
    """
    if end < start:
        raise Unsafe("its entries overlap")
    if end - start > limit:
        raise Unsafe(f"it has more than {MAX_GAP_BYTES:,} bytes between its entries that belong to none")
    if end > start and _HEADER in (yield from file.read(start, end - start)):
        raise Unsafe("it has an entry that is not in its directory")
    return end - start


def _directory_entries(directory: bytes, count: int) -> Iterator[_Entry]:
    """The entries in the order of the directory (APPNOTE, section 4.3.12)."""
    at = 0
    for _ in range(count):
        if len(directory) - at < _ENTRY_BYTES or not directory.startswith(_ENTRY, at):
            raise Damaged("its zip directory is damaged")
        flags, method, packed, size, name_length, extra_length, comment_length, attributes, offset = struct.unpack_from(
            "<8xHH8xIIHHH4xII", directory, at
        )
        extra_at = at + _ENTRY_BYTES + name_length
        extra = directory[extra_at : extra_at + extra_length]
        # The other name is behind a version and a checksum.
        names = [directory[at + _ENTRY_BYTES : extra_at], *(path[5:] for path in _extra_fields(extra, _UNICODE_PATH))]
        if _UNKNOWN in (size, packed, offset):
            size, packed, offset = _zip64_values(extra, size, packed, offset)
        yield _Entry(tuple(names), attributes >> 16, flags, method, packed, size, offset)
        at = extra_at + extra_length + comment_length
    if at != len(directory):
        raise Damaged("its zip directory is damaged")


def _zip64_values(extra: bytes, *values: int) -> list[int]:
    """The values, those that do not fit into 32 bits taken from the Zip64 field, which has them in the same order
    (APPNOTE, section 4.5.3).

    :raises Mismatch: there are several such fields.
    """
    fields = _extra_fields(extra, _ZIP64)
    if len(fields) > 1:
        raise Damaged("its zip directory is damaged")
    large = list(struct.unpack_from(f"<{len(fields[0]) // 8}Q", fields[0])) if fields else []
    return [large.pop(0) if value == _UNKNOWN and large else value for value in values]


def _extra_fields(extra: bytes, wanted: int) -> list[bytes]:
    """The contents of the fields of that kind (APPNOTE, section 4.5.1)."""
    fields = []
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            fields.append(extra[at + 4 : at + 4 + length])
        at += 4 + length
    return fields


def _directory(file: File) -> Steps[_Directory]:
    """Find the directory from the records at the end of the file (APPNOTE, sections 4.3.14 to 4.3.16).

    White space and NULs may follow the last record. If a Zip64 locator stands before that record, a program may follow
    either, so both must name the same directory.
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
                raise Unsafe("it has several zip directories")
    if disk or first_disk:
        raise Unsafe("it is one part of an archive that was split")
    if offset + length != end:
        raise Unsafe("its zip directory is damaged, or something precedes it")
    return _Directory(offset, length, entries)


def _zip64_end(file: File, locator_at: int, locator: bytes) -> Steps[tuple[int, int, int, int, int, int]]:
    """Where the Zip64 end record stands that the locator points to, and its fields: two numbers of disks, the number of
    entries, the length of the directory and its offset."""
    (at,) = struct.unpack("<8xQ4x", locator)
    if at + _ZIP64_END_BYTES > locator_at:
        raise Damaged("its zip directory is damaged")
    record = yield from file.need(at, _ZIP64_END_BYTES)
    signature, rest, disk, first_disk, entries, length, offset = struct.unpack("<4sQ4xII8xQQQ", record)
    if signature != _ZIP64_END or at + 12 + rest != locator_at:
        raise Damaged("its zip directory is damaged")
    return at, disk, first_disk, entries, length, offset


def _last_end_record(tail: bytes, tail_at: int) -> int:
    """The position in the end of a zip of its end record: only white space and NULs follow the record's comment.

    :param tail: the end of the file.
    :param tail_at: where it begins.
    :raises Mismatch: there is none, or another one in the comment, which some programs would take.
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
        raise Unsafe("it has several zip directories")
    return last[0]


def _end_records(tail: bytes) -> Iterator[int]:
    """The positions in the end of a file where an end record can begin, the last first (APPNOTE, section 4.3.16)."""
    at = tail.rfind(_END, 0, max(0, len(tail) - _END_BYTES + len(_END)))
    while at >= 0:
        yield at
        at = tail.rfind(_END, 0, at)

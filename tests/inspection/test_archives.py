"""Zip, gzip and the documents that are zip files: real forms are taken, and two archives in one file are not."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping

import pytest

from handler.inspection.formats.archives import (
    END_SEARCH_BYTES,
    MAX_GUNZIPPED_BYTES,
    MAX_GZIP_BYTES,
)
from handler.inspection.formats.office import MAX_CONTENT_TYPES_BYTES

from ..support import filetype_samples as made
from ..support.filetype_samples import BY_EXTENSION, ODF
from .test_filetypes import inspect, refusal

ZIP = BY_EXTENSION["zip"]
NOT_ARCHIVES = ["png", "jpg", "gif", "webp", "bmp", "tif", "heic", "mp3", "wav", "webm", "pdf"]
APPENDED = "a zip archive is appended to it"


# An archive behind something else.


def end_record(*, entries: int = 1, length: int = 0, offset: int = 0, comment_length: int = 0) -> bytes:
    return struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, entries, entries, length, offset, comment_length)


@pytest.mark.parametrize("extension", NOT_ARCHIVES)
@pytest.mark.parametrize(
    "appended",
    {
        "alone": ZIP,
        "with a long comment": made.make_zip({"a.txt": b"hello"}, comment=b"c" * 0xFFFF),
        "with a byte behind it": ZIP + b"x",
        "with a line end behind it": ZIP + b"\n",
        "with 60,000 bytes behind it": ZIP + bytes(60_000),
        "with false end records behind it": ZIP + end_record(length=0xFFFF_FFFF) * 1000,
        "with a comment that is too long": ZIP[:-2] + b"\xff\xff",
    }.items(),
    ids=lambda item: item[0],
)
def test_appended_archive_is_refused(extension: str, appended: tuple[str, bytes]) -> None:
    content = BY_EXTENSION[extension] + bytes(70_000)
    inspect(extension, content)
    assert refusal(extension, content + appended[1]) in (APPENDED, "it has a page or a script inside")


def test_appended_archive_with_offsets_of_the_whole_file_is_refused() -> None:
    before = BY_EXTENSION["png"] + bytes(70_000)
    directory = ZIP.find(b"PK\x01\x02")
    end = ZIP.rfind(b"PK\x05\x06")
    # The length is false, the offset is right: unzip and libarchive then take the offset.
    record = end_record(entries=2, length=5, offset=len(before) + directory)
    assert refusal("png", before + ZIP[:end] + record + b"x") == APPENDED


def test_appended_zip64_archive_is_refused() -> None:
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 100, 1)
    record = end_record(entries=0xFFFF, length=0xFFFF_FFFF, offset=0xFFFF_FFFF)
    assert refusal("png", BY_EXTENSION["png"] + bytes(70_000) + locator + record + b"x") == APPENDED


def test_archive_that_no_program_finds_is_not_looked_for() -> None:
    inspect("png", BY_EXTENSION["png"] + ZIP + bytes(END_SEARCH_BYTES))


@pytest.mark.parametrize("extension", ["png", "jpg", "pdf"])
def test_end_record_without_a_directory_is_accepted(extension: str) -> None:
    """Four bytes can stand anywhere by chance: a photo is not refused for them."""
    record = end_record(length=46, offset=1000)
    inspect(extension, BY_EXTENSION[extension] + bytes(70_000) + record + bytes(1000))
    inspect(extension, BY_EXTENSION[extension] + random.Random(1).randbytes(100_000) + b"PK\x05\x06")


def test_many_end_records_are_refused_after_few_reads() -> None:
    content = BY_EXTENSION["png"] + bytes(200_000) + b"".join(end_record(offset=5000 * n) for n in range(1, 30))
    assert refusal("png", content + b"x") == "it has many end records of zip archives"


# The records at the end of a zip.


def entry(
    name: bytes, content: bytes = b"x", *, flags: int = 0, extra: bytes = b"", own_name: bytes | None = None
) -> tuple[bytes, bytes]:
    """The header with the content, and the directory's entry without the offset at its end."""
    sums = struct.pack("<3I", zlib.crc32(content), len(content), len(content))
    own = name if own_name is None else own_name
    header = struct.pack("<4s5H", b"PK\x03\x04", 20, flags, 0, 0, 33) + sums
    listed = struct.pack("<4s6H", b"PK\x01\x02", 20, 20, flags, 0, 0, 33) + sums
    return (
        header + struct.pack("<HH", len(own), len(extra)) + own + extra + content,
        listed + struct.pack("<5HI", len(name), 0, 0, 0, 0, 0),
    )


def archive(*entries: tuple[bytes, bytes], names: list[bytes], comments: Mapping[int, bytes] | None = None) -> bytes:
    """A zip of these entries.

    :param names: as the directory has them.
    :param comments: of entries, by their number.
    """
    headers, directory, offset = [], b"", 0
    for number, ((header, listed), name) in enumerate(zip(entries, names, strict=True)):
        comment = (comments or {}).get(number, b"")
        fields = listed[:32] + struct.pack("<H", len(comment)) + listed[34:]
        directory += fields + struct.pack("<I", offset) + name + comment
        headers.append(header)
        offset += len(header)
    record = end_record(entries=len(entries), length=len(directory), offset=offset)
    return b"".join(headers) + directory + record


def zip64_end(*, entries: int, length: int, offset: int, more: bytes = b"", at: int | None = None) -> bytes:
    """The Zip64 end record, and the locator that points to it."""
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44 + len(more), 45, 45, 0, 0, entries, entries, length, offset)
    position = offset + length if at is None else at
    return record + more + struct.pack("<4sIQI", b"PK\x06\x07", 0, position, 1)


def with_zip64(content: bytes, **values: int | bytes) -> bytes:
    """That zip with Zip64 records before its end record, which keeps its own values."""
    at = content.rfind(b"PK\x05\x06")
    entries, length, offset = struct.unpack_from("<HII", content, at + 10)
    fields = {"entries": entries, "length": length, "offset": offset} | values
    return content[:at] + zip64_end(**fields) + content[at:]


def test_zip64_records_without_sentinels_are_accepted() -> None:
    """``printf x | zip a.zip -``, ``bsdtar --options zip:zip64`` and libzip write both records with all values."""
    inspect("zip", with_zip64(ZIP))
    inspect("zip", with_zip64(ZIP, more=b"more"))
    inspect("docx", with_zip64(BY_EXTENSION["docx"]))


@pytest.mark.parametrize("values", [{"entries": 1}, {"length": 47}, {"offset": 1}, {"offset": 0}])
def test_zip64_record_that_disagrees_with_the_end_record_is_refused(values: dict[str, int]) -> None:
    at = ZIP.find(b"PK\x01\x02"), ZIP.rfind(b"PK\x05\x06")
    content = with_zip64(ZIP, at=at[1], **values)
    assert refusal("zip", content) == "it has several zip directories"


def test_second_directory_in_a_comment_behind_a_locator_is_refused() -> None:
    """The first directory is what the end record says. The second one is what programs see that follow a locator."""
    good, evil = entry(b"good.txt"), entry(b"evil.txt")
    size = sum(len(header) for header, _ in (good, evil))
    hidden = evil[1] + struct.pack("<I", len(good[0])) + b"evil.txt"
    # The hidden directory stands in the comment of the last entry of the visible one.
    hidden_at = size + 2 * (46 + len(b"good.txt"))
    second = hidden + zip64_end(entries=1, length=len(hidden), offset=hidden_at)
    content = archive(good, evil, names=[b"good.txt", b"evil.txt"], comments={1: second})
    with zipfile.ZipFile(io.BytesIO(content)) as seen_by_python:
        assert seen_by_python.namelist() == ["evil.txt"]
    assert refusal("zip", content) == "it has several zip directories"


def test_locator_that_points_nowhere_is_refused() -> None:
    for at in (0, len(ZIP), 2**40):
        assert refusal("zip", with_zip64(ZIP, at=at)) == "its zip directory is damaged"


@pytest.mark.parametrize("extension", ["zip", "docx", "odt"])
@pytest.mark.parametrize("padding", [b"\n", b"\r\n", b" \t\n", bytes(10), bytes(60_000)], ids=len)
def test_white_space_and_nuls_behind_an_archive_are_accepted(extension: str, padding: bytes) -> None:
    inspect(extension, BY_EXTENSION[extension] + padding)


def test_padding_that_no_program_looks_through_is_refused() -> None:
    assert "no zip directory" in refusal("zip", ZIP + bytes(END_SEARCH_BYTES))


def test_other_bytes_behind_an_archive_are_refused() -> None:
    assert refusal("zip", ZIP + b"x" * 1234) == "it has 1,234 bytes behind its end that do not belong to it"


def test_archive_that_was_cut_off_behind_an_inner_one_is_not_said_to_have_more() -> None:
    content = made.make_zip({"inner.zip": ZIP, "b": b"b" * 100}, stored=["inner.zip", "b"])
    assert "not complete" in refusal("zip", content[: content.find(b"b" * 100) + 50])


def test_comment_that_ends_in_white_space_is_accepted() -> None:
    inspect("zip", made.make_zip(["a"], comment=b"hi\r\n\0"))


@pytest.mark.parametrize("comment_length", [0, 3, 100])
def test_second_end_record_in_the_comment_is_refused(comment_length: int) -> None:
    content = made.make_zip(["a"], comment=end_record(comment_length=comment_length) + b"\n\n\n")
    assert refusal("zip", content) == "it has several zip directories"


def test_end_record_of_a_stored_archive_inside_is_no_second_one() -> None:
    inspect("zip", made.make_zip({"inner.zip": made.make_zip(["a"], comment=b"c")}, stored=["inner.zip"]))


# The headers of the entries.


def test_header_with_another_name_is_refused() -> None:
    """bsdtar, busybox and Java's ZipInputStream unpack a stream by the headers only."""
    for own_name in (b"../../x", b"good.tx", b"good.exe"):
        content = archive(entry(b"good.txt", own_name=own_name), names=[b"good.txt"])
        assert refusal("zip", content) in (
            "it has an entry whose own header has another name than the directory",
            "its entries overlap",
        )


def test_header_with_another_length_is_refused() -> None:
    """A stream then goes on inside the content, which can hold another header."""
    content = archive(entry(b"a", b"x" * 100), names=[b"a"])
    content = content[:18] + bytes(4) + content[22:]
    assert refusal("zip", content) == "it has an entry whose own header has another length than the directory"


def test_other_name_in_the_extra_field_of_a_header_counts() -> None:
    """libarchive takes it when it reads a stream."""
    path = b"\x01" + struct.pack("<I", zlib.crc32(b"a")) + b"../../x"
    for padding in (b"", struct.pack("<HH", 0x9999, 5000) + bytes(5000)):
        extra = padding + struct.pack("<HH", 0x7075, len(path)) + path
        content = archive(entry(b"a", extra=extra), names=[b"a"])
        assert refusal("zip", content) == "it has an entry whose path leaves the folder where the archive is unpacked"


def test_long_extra_fields_are_accepted() -> None:
    """zipalign fills them, so that content begins at a multiple of 16 KiB."""
    names = [b"lib%d.so" % number for number in range(50)]
    extra = struct.pack("<HH", 0xD935, 16_000) + bytes(16_000)
    entries = [entry(name, b"x" * 600_000, extra=extra) for name in names]
    assert len(inspect("zip", archive(*entries, names=names)).ranges) <= 45


def test_entry_that_is_not_in_the_directory_is_refused() -> None:
    a, hidden, b = entry(b"a"), entry(b"../../hidden"), entry(b"b")
    reason = "it has an entry that is not in its directory"
    for first, second in ((a, b), (b, a)):
        names = [b"a", b"b"] if first is a else [b"b", b"a"]
        between = archive((first[0] + hidden[0], first[1]), second, names=names)
        behind = archive(first, (second[0] + hidden[0], second[1]), names=names)
        assert refusal("zip", between) == reason
        assert refusal("zip", behind) == reason
    before = hidden[0] + a[0]
    directory = a[1] + struct.pack("<I", len(hidden[0])) + b"a"
    content = before + directory + end_record(length=len(directory), offset=len(before))
    assert refusal("zip", content) == reason


def test_unused_bytes_between_entries_are_accepted() -> None:
    a, b = entry(b"a"), entry(b"b")
    inspect("zip", archive((a[0] + bytes(5000), a[1]), b, names=[b"a", b"b"]))
    too_many = archive((a[0] + bytes(2**20), a[1]), (b[0] + b"x", b[1]), names=[b"a", b"b"])
    assert "belong to none" in refusal("zip", too_many)


def test_entries_that_overlap_are_refused() -> None:
    """As in a bomb of which all entries are the same bytes."""
    header, listed = entry(b"a", b"x" * 1000)
    directory = b"".join(listed + struct.pack("<I", 0) + b"a" for _ in range(10))
    content = header + directory + end_record(entries=10, length=len(directory), offset=len(header))
    assert refusal("zip", content) == "its entries overlap"
    extra = entry(b"a", b"x", extra=bytes(100))
    content = archive(extra, entry(b"b"), names=[b"a", b"b"])
    second = len(extra[0])
    at = content.rfind(b"b" + b"PK\x05\x06") - 4
    moved = content[:at] + struct.pack("<I", second - 50) + content[at + 4 :]
    assert refusal("zip", moved) in ("its entries overlap", "it has an entry that is not in its directory")


class Stream(io.RawIOBase):
    """A file that cannot be sought in, as a pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.content += bytes(data)  # type: ignore[call-overload]
        return len(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("zip64", [False, True])
def test_archive_that_was_written_as_a_stream_is_accepted(method: int, zip64: bool) -> None:
    """The lengths stand behind each content, in a data descriptor."""
    stream = Stream()
    with zipfile.ZipFile(stream, "w", method) as made_archive:
        for name in ("a", "b/c", "d"):
            with made_archive.open(name, "w", force_zip64=zip64) as part:
                part.write(b"hello" * 100)
    inspect("zip", stream.content)


def test_entries_of_zip64_are_accepted() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made_archive:
        for name in ("a", "b"):
            with made_archive.open(name, "w", force_zip64=True) as part:
                part.write(b"hello")
    inspect("zip", buffer.getvalue())


def test_headers_of_a_large_archive_are_compared_in_few_reads() -> None:
    names = [f"photo{number}.jpg" for number in range(300)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made_archive:
        for name in names:
            made_archive.writestr(name, bytes(50_000))
    content = buffer.getvalue()
    assert len(inspect("zip", content).ranges) <= 20
    at = content.find(b"photo299.jpg")
    changed = content[:at] + b"../../9a.jpg" + content[at + 12 :]
    assert "another name" in refusal("zip", changed)


def test_larger_archive_is_accepted_although_not_all_headers_are_compared() -> None:
    """The documented limit: 40 ranges of up to 1 MiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made_archive:
        for number in range(60):
            made_archive.writestr(f"film{number:02}.mp4", bytes(600_000))
    content = buffer.getvalue()
    assert len(inspect("zip", content).ranges) <= 45
    at = content.find(b"film39.mp4")
    assert "another name" in refusal("zip", content[:at] + b"../../9.mp" + content[at + 10 :])


# Office.

CONTENT_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def content_types(*elements: str, encoding: str = "utf-8") -> bytes:
    text = f'<?xml version="1.0" encoding="{encoding}"?><Types xmlns="{CONTENT_TYPES}">{"".join(elements)}</Types>'
    return text.encode(encoding)


def override(part: str, content_type: str) -> str:
    return f'<Override PartName="{part}" ContentType="{content_type}"/>'


def default(extension: str, content_type: str) -> str:
    return f'<Default Extension="{extension}" ContentType="{content_type}"/>'


def document(types: bytes, *more: str, stored: bool = False) -> bytes:
    parts = {"[Content_Types].xml": types, "_rels/.rels": b"<x/>", "word/document.xml": b"<x/>"}
    return made.make_zip(parts | dict.fromkeys(more, b"x"), stored=list(parts) if stored else [])


def test_ordinary_document_is_accepted() -> None:
    types = content_types(default("xml", "application/xml"), override("/word/document.xml", MAIN))
    inspect("docx", document(types))
    inspect("docx", document(types, stored=True))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.ms-word.document.macroEnabled.main+xml",
        "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
        "application/vnd.ms-office.vbaProject",
        "application/vnd.ms-office.vbaProjectSignature",
        "application/vnd.ms-word.vbaData+xml",
        "application/vnd.ms-excel.macrosheet+xml",
        "application/vnd.ms-excel.intlmacrosheet+xml",
        "APPLICATION/VND.MS-OFFICE.VBAPROJECT",
        "application/vnd.ms-office.vba&#80;roject",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_macros_under_any_part_name_are_refused(content_type: str, encoding: str) -> None:
    types = content_types(
        override("/word/document.xml", MAIN), override("/word/x.bin", content_type), encoding=encoding
    )
    assert refusal("docx", document(types, "word/x.bin")) == "it has macros"
    assert refusal("docx", document(types, "word/x.bin", stored=True)) == "it has macros"
    types = content_types(override("/word/document.xml", MAIN), default("BIN", content_type), encoding=encoding)
    assert refusal("docx", document(types, "word/x.bin")) == "it has macros"
    assert refusal("docx", document(types, "word/x%2Ebin")) == "it has macros"


def test_type_of_an_extension_that_no_part_has_is_accepted() -> None:
    """SheetJS declares the type of binary workbooks in each workbook that it writes."""
    types = content_types(
        default("bin", "application/vnd.ms-excel.sheet.binary.macroEnabled.main"),
        override("/word/document.xml", MAIN),
        override("/word/printer.bin", "application/vnd.openxmlformats-officedocument.wordprocessingml.printerSettings"),
    )
    inspect("docx", document(types, "word/printer.bin"))


@pytest.mark.parametrize(
    "name", [r"word\vbaProject.bin", "word/vbaproject.BIN", "WORD/vbaData.xml", "word/vbaProjectSignature.bin"]
)
def test_macros_under_the_usual_part_name_are_refused(name: str) -> None:
    assert refusal("docx", document(content_types(), name)) == "it has macros"


def test_content_types_are_looked_at_to_their_end() -> None:
    padding = "<!--" + "x" * 100_000 + "-->"
    inspect("docx", document(content_types(padding)))
    types = content_types(padding, override("/word/x", "application/vnd.ms-office.vbaProject"))
    assert refusal("docx", document(types, "word/x")) == "it has macros"
    long = content_types("<!--" + "x" * MAX_CONTENT_TYPES_BYTES + "-->")
    assert "larger than 1,048,576 bytes" in refusal("docx", document(long))


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        (b"", "damaged"),
        (b"<x", "damaged"),
        (b'<?xml version="1.0" encoding="none"?><x/>', "damaged"),
        (b'<?xml version="1.0" encoding="gb18030"?><x/>', "damaged"),
        (b"\x00\x01", "damaged"),
        (b'<!DOCTYPE x [<!ENTITY a "application/vnd.ms-office.vbaProject">]><x/>', "declares entities"),
    ],
)
def test_unreadable_content_types_are_refused(types: bytes, reason: str) -> None:
    assert refusal("docx", document(types)) == "its list of content types " + ("is " * (reason == "damaged")) + reason


def test_two_lists_of_content_types_are_refused() -> None:
    parts = ["[Content_Types].xml", "[content_types].XML", "_rels/.rels", "word/document.xml"]
    assert refusal("docx", made.make_zip(parts)) == "it has several entries named '[content_types].xml'"


def test_content_types_that_are_longer_than_they_say_are_refused() -> None:
    content = document(content_types("<!--" + "x" * 2 * MAX_CONTENT_TYPES_BYTES + "-->"))
    at = content.find(b"PK\x01\x02")
    lying = content[: at + 24] + struct.pack("<I", 100) + content[at + 28 :]
    assert refusal("docx", lying) == "its entry '[content_types].xml' is damaged"


def test_content_types_packed_in_another_way_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as made_archive:
        for name in ("[Content_Types].xml", "_rels/.rels", "word/document.xml"):
            made_archive.writestr(name, content_types())
    assert "packed by a method that documents do not use" in refusal("docx", buffer.getvalue())


@pytest.mark.parametrize(
    "names",
    [
        ["[Content_Types].xml", r"_rels\.rels", r"word\document.xml"],
        ["[content_types].xml", "_RELS/.RELS", "Word/Document.xml"],
        [r"_rels\.rels", r"WORD\document.xml", "[CONTENT_TYPES].XML"],
    ],
)
def test_part_names_with_backslashes_or_in_other_case_are_accepted(names: list[str]) -> None:
    inspect("docx", made.make_zip(names))


def test_document_in_another_folder_is_known_by_its_content_type() -> None:
    types = content_types(override("/wtf/document.xml", MAIN))
    content = made.make_zip({"[Content_Types].xml": types, "_rels/.rels": b"<x/>", "wtf/document.xml": b"<x/>"})
    inspect("docx", content)
    assert refusal("xlsx", content) == "it is an Office document of another kind"


def compound_file(*names: str, at: int = 512) -> bytes:
    """The header of a compound file and the names in its directory (MS-CFB, sections 2.2 and 2.6)."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(30, b"\x00") + struct.pack("<H", 9)
    header = header.ljust(48, b"\x00") + struct.pack("<I", at // 512 - 1)
    directory = b"".join(name.encode("utf-16-le").ljust(128, b"\x00") for name in names)
    return header.ljust(at, b"\x00") + directory + bytes(10_000)


@pytest.mark.parametrize("extension", ["docx", "xlsx", "pptx", "odt"])
@pytest.mark.parametrize("at", [512, 100 * 512])
def test_document_with_a_password_is_refused_with_that_reason(extension: str, at: int) -> None:
    content = compound_file("Root Entry", "EncryptionInfo", "EncryptedPackage", at=at)
    assert refusal(extension, content) == "it has a password, so it cannot be checked"


def test_document_of_before_2007_is_refused_with_that_reason() -> None:
    assert "Office before 2007" in refusal("docx", compound_file("Root Entry", "WordDocument"))
    assert "Office before 2007" in refusal("docx", compound_file()[:60])


def test_document_with_an_encrypted_part_is_refused() -> None:
    content = bytearray(document(content_types()))
    content[content.find(b"PK\x01\x02") + 8] |= 1
    assert refusal("docx", bytes(content)).startswith("it has a password")


# OpenDocument.

OTHER_TYPE = "its 'mimetype' entry or its manifest does not name this type"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_mimetype_may_stand_anywhere_and_be_compressed(compressed: bool, end: bytes) -> None:
    parts = {"content.xml": b"<x/>", "META-INF/manifest.xml": b"<x/>", "mimetype": (ODF + "text").encode() + end}
    content = made.make_zip(parts, stored=[] if compressed else ["mimetype"])
    inspect("odt", content)
    assert refusal("ods", content) == OTHER_TYPE


def test_manifest_counts_where_there_is_no_mimetype() -> None:
    manifest = f"""<!DOCTYPE manifest:manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" "Manifest.dtd">
        <manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">
        <manifest:file-entry manifest:media-type="text/xml" manifest:full-path="content.xml"/>
        <manifest:file-entry manifest:media-type="{ODF}text" manifest:full-path="/"/></manifest:manifest>"""
    content = made.make_zip({"content.xml": b"<x/>", "META-INF/manifest.xml": manifest.encode()})
    inspect("odt", content)
    assert refusal("ods", content) == OTHER_TYPE
    assert refusal("odt", made.make_zip(["META-INF/manifest.xml"])) == OTHER_TYPE


def test_two_mimetypes_are_refused() -> None:
    content = made.open_document(ODF + "text", "MIMETYPE")
    assert refusal("odt", content) == "it has several entries named 'mimetype'"


@pytest.mark.parametrize(
    "name", [r"Basic\Standard\Module1.xml", "Object 1/Basic/Standard/M.xml", "Scripts/python/a.py"]
)
def test_macros_in_an_open_document_are_refused(name: str) -> None:
    assert refusal("odt", made.open_document(ODF + "text", name)) == "it has macros"


def test_open_document_packed_in_one_with_a_password_is_refused() -> None:
    assert refusal("odt", made.open_document(ODF + "text", "encrypted-package")).startswith("it has a password")


# Gzip.

GZ = gzip.compress(b"hello" * 1000, mtime=0)


@pytest.mark.parametrize("padding", [0, 1, 3, 512, 10_000])
def test_nuls_behind_a_gzip_are_accepted(padding: int) -> None:
    inspect("gz", GZ + bytes(padding))
    large = gzip.compress(random.Random(1).randbytes(MAX_GZIP_BYTES), mtime=0)
    inspect("gz", large + bytes(padding))


@pytest.mark.parametrize("garbage", [b"x", b"\n", b"\0\0x", b"<script>", b"\xff" * 100])
def test_other_bytes_behind_a_gzip_are_refused_for_what_they_are(garbage: bytes) -> None:
    assert refusal("gz", GZ + garbage) == f"it has {len(garbage):,} bytes behind its end that do not belong to it"


def test_gzip_of_several_members_is_accepted() -> None:
    inspect("gz", GZ * 50)
    inspect("gz", gzip.compress(b"", mtime=0) * 5000)  # too many to follow
    inspect("gz", GZ + gzip.compress(b"", mtime=0))  # as bgzip ends
    assert "2 bytes behind its end" in refusal("gz", GZ * 50 + b"xy")


def test_small_gzip_that_is_cut_off_or_damaged_is_refused() -> None:
    for length in range(18, len(GZ)):
        assert refusal("gz", GZ[:length]) == "it ends too early"
    damaged = bytearray(GZ)
    damaged[-6] ^= 1
    assert refusal("gz", bytes(damaged)) == "it is damaged"


def test_gzip_that_unpacks_to_too_much_is_refused() -> None:
    bomb = gzip.compress(bytes(130 * 1024 * 1024), mtime=0)
    assert len(bomb) < MAX_GZIP_BYTES
    assert "unpacks to more than 100 times its size" in refusal("gz", bomb)
    inspect("gz", gzip.compress(bytes(MAX_GUNZIPPED_BYTES + 1), mtime=0) + bytes(100))


def test_larger_gzip_may_unpack_to_more() -> None:
    body = b"\x1f\x8b\x08" + bytes(2 * MAX_GZIP_BYTES)
    most = 100 * (len(body) + 4)
    inspect("gz", body + struct.pack("<I", most))
    assert "do not belong to it" in refusal("gz", body + struct.pack("<I", most + 1))

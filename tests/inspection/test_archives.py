"""Zip and gzip: real forms are accepted, and two archives in one file are refused."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Mapping

import pytest

from handler.inspection.formats import archives
from handler.inspection.formats.archives import (
    END_SEARCH_BYTES,
    MAX_GUNZIPPED_BYTES,
    MAX_GZIP_BYTES,
)

from ..support import filetype_samples as made
from ..support.checks import inspect, refusal, with_
from ..support.filetype_samples import BY_EXTENSION

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


def test_archive_that_no_program_finds_is_ignored() -> None:
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
    """The end record names the first directory. Programs that follow a locator find the second directory."""
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


def test_padding_longer_than_any_program_searches_is_refused() -> None:
    assert "no zip directory" in refusal("zip", ZIP + bytes(END_SEARCH_BYTES))


def test_other_bytes_behind_an_archive_are_refused() -> None:
    assert refusal("zip", ZIP + b"x" * 1234) == "it has 1,234 bytes behind its end that do not belong to it"


def test_archive_cut_off_behind_an_inner_archive_is_called_incomplete() -> None:
    content = made.make_zip({"inner.zip": ZIP, "b": b"b" * 100}, stored=["inner.zip", "b"])
    assert "not complete" in refusal("zip", content[: content.find(b"b" * 100) + 50])


def test_comment_that_ends_in_white_space_is_accepted() -> None:
    inspect("zip", made.make_zip(["a"], comment=b"hi\r\n\0"))


@pytest.mark.parametrize("comment_length", [0, 3, 100])
def test_second_end_record_in_the_comment_is_refused(comment_length: int) -> None:
    content = made.make_zip(["a"], comment=end_record(comment_length=comment_length) + b"\n\n\n")
    assert refusal("zip", content) == "it has several zip directories"


def test_end_record_of_an_inner_archive_is_ignored() -> None:
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


def test_second_name_in_a_header_is_checked() -> None:
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


# Limits.


def many_files(count: int) -> bytes:
    """A zip whose directory takes 146 bytes for each, and with the longest comment there can be."""
    names = [b"%0100d" % number for number in range(count)]
    headers = b"".join(
        struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 100, 0) + name for name in names
    )
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 130 * number) + name
        for number, name in enumerate(names)
    )
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(headers), 0xFFFF)
    return headers + directory + end + bytes(0xFFFF)


def test_zip_with_a_too_large_directory_is_refused() -> None:
    inspect("zip", many_files(archives.MAX_DIRECTORY_BYTES // 146))
    content = many_files(archives.MAX_DIRECTORY_BYTES // 146 + 1)
    assert refusal("zip", content) == "it has too many entries: its directory is larger than 4,194,304 bytes"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"../evil", "it has an entry whose path leaves the folder where the archive is unpacked"),
        (b"word/vbaProject.bin", "it has macros"),
    ],
)
def test_second_name_of_an_entry_is_checked(name: bytes, reason: str) -> None:
    """Info-ZIP and 7-Zip take the one in the extra field, which need not be the one in the directory."""
    other = b"\x01" + struct.pack("<I", zlib.crc32(b"harmless")) + name
    entry = zipfile.ZipInfo("harmless")
    entry.extra = struct.pack("<HHI", 0x9999, 4, 0) + struct.pack("<HH", 0x7075, len(other)) + other
    buffer = io.BytesIO(made.office("word"))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry, b"x")
    assert refusal("docx", buffer.getvalue()) == reason


def zip64(*, entries: int = 1, damaged: bool = False) -> bytes:
    """A zip as it is beyond 4 GiB: the last record points to another that has room for the numbers."""
    content = made.make_zip(["a"])
    at = content.rfind(b"PK\x05\x06")
    length, offset = struct.unpack("<II", content[at + 12 : at + 20])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, length, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x08" if damaged else b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[:at] + record + locator + end


def test_zip64_is_accepted() -> None:
    inspect("zip", zip64())
    assert "damaged" in refusal("zip", zip64(entries=2**63))
    assert "damaged" in refusal("zip", zip64(damaged=True))


def test_zip_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = made.make_zip({**dict.fromkeys(made.OOXML, b"<x/>"), "word/document.xml": bytes(50_000_000)})
    assert len(bomb) < 100_000
    unpacked: list[int] = []

    class Stream:
        def __init__(self, wbits: int) -> None:
            self._stream = zlib_stream(wbits)

        def decompress(self, data: bytes, max_length: int) -> bytes:
            content = self._stream.decompress(data, max_length)
            unpacked.append(len(content))
            return content

        def __getattr__(self, name: str) -> object:
            return getattr(self._stream, name)

    zlib_stream = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Stream)
    inspect("zip", bomb)
    inspect("png", made.png(1000, 1000))
    assert unpacked == []
    inspect("docx", bomb)
    assert unpacked == [len(b"<x/>")]  # the list of content types, and nothing else


def unpacking_to(size: int, *, extra: bytes = b"") -> bytes:
    """A zip of one file, small as it is, whose directory says how large it is when unpacked."""
    content = made.make_zip(["a"])
    at = content.rfind(b"PK\x01\x02")
    end = content.rfind(b"PK\x05\x06")
    entry = with_(with_(content[at:end], 24, struct.pack("<I", size)), 30, struct.pack("<H", len(extra))) + extra
    return content[:at] + entry + with_(content[end:], 12, struct.pack("<I", len(entry)))


def test_archive_with_a_too_large_unpacked_size_is_refused() -> None:
    reason = "it unpacks to more than 100 times its size"
    inspect("zip", unpacking_to(archives.MIN_UNPACKED_BYTES))
    assert refusal("zip", unpacking_to(archives.MIN_UNPACKED_BYTES + 1)) == reason
    assert refusal("zip", unpacking_to(0xFFFFFFFF)) == reason
    other_field = b"\x02\x00\x00\x00"
    inspect("zip", unpacking_to(0xFFFFFFFF, extra=other_field + struct.pack("<HHQ", 1, 8, 1000)))
    assert refusal("zip", unpacking_to(0xFFFFFFFF, extra=other_field + struct.pack("<HHQ", 1, 8, 2**63))) == reason
    half = bytes(archives.MIN_UNPACKED_BYTES // 2 + 1)
    document = {**dict.fromkeys(made.OOXML, b""), "word/a": half, "word/b": half}
    assert refusal("docx", made.make_zip(document)) == reason


# Gzip.

GZ = gzip.compress(b"hello" * 1000, mtime=0)


@pytest.mark.parametrize("padding", [0, 1, 3, 512, 10_000])
def test_nuls_behind_a_gzip_are_accepted(padding: int) -> None:
    inspect("gz", GZ + bytes(padding))
    large = gzip.compress(random.Random(1).randbytes(MAX_GZIP_BYTES), mtime=0)
    inspect("gz", large + bytes(padding))


@pytest.mark.parametrize("garbage", [b"x", b"\n", b"\0\0x", b"<script>", b"\xff" * 100])
def test_other_bytes_behind_a_gzip_are_refused_with_their_number(garbage: bytes) -> None:
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
    maximum = 100 * (len(body) + 4)
    inspect("gz", body + struct.pack("<I", maximum))
    assert "do not belong to it" in refusal("gz", body + struct.pack("<I", maximum + 1))

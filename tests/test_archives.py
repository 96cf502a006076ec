"""Zip, gzip and the documents that are zip files: real forms are taken, and two archives in one file are not."""

from __future__ import annotations

import random
import struct

import pytest

from handler.formats.archives import END_SEARCH_BYTES

from . import filetype_samples as made
from .filetype_samples import BY_EXTENSION
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

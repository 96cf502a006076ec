"""The ranges of a file that a check reads: each one is a request to S3."""

from __future__ import annotations

import pytest

from handler.inspection import formats, policy

from ..support import filetype_samples as made
from ..support.checks import Reader, inspect, refusal
from ..support.filetype_samples import BY_EXTENSION

WAV = BY_EXTENSION["wav"]


@pytest.mark.parametrize("extension", sorted(BY_EXTENSION))
def test_small_file_is_read_once(extension: str) -> None:
    content = BY_EXTENSION[extension]
    assert len(content) <= 4096
    assert inspect(extension, content).ranges == [(0, len(content))]


MIB = 1024 * 1024
READS = {
    "a PNG of 20 KB": ("png", made.png(chunks=made.png_chunk(b"eXIf", bytes(20_000))), 2),
    "a GIF of 280 KB in small pieces": ("gif", made.gif(extensions=made.gif_comment(b"x" * 100) * 2500), 2),
    "a GIF of 9 MB in small pieces": ("gif", made.gif(extensions=made.gif_comment(b"x" * 2550) * 3500), 4),
    "a JPEG of a telephone": ("jpg", made.jpeg(segments=made.jpeg_segment(0xE1, bytes(60_000))) + bytes(3 * MIB), 2),
    "a JPEG of 12 MB": ("jpg", made.jpeg()[:-2] + b"\x55" * (12 * MIB) + b"\xff\xd9", 4),
    "a JPEG with 8 MB of metadata": ("jpg", made.jpeg(segments=made.jpeg_segment(0xE1, bytes(65_533)) * 130), 4),
    "a PNG of 5 MB in small pieces": ("png", made.png(chunks=made.png_chunk(b"IDAT", bytes(8192)) * 600), 3),
    "a WebP of 5 MB": ("webp", made.webp_vp8() + bytes(5 * MIB), 3),
    "a HEIC of 5 MB": ("heic", made.heif_image() + made.box(b"mdat", bytes(5 * MIB)), 3),
    "an AVIF of 9 MB": ("avif", made.heif_image(brands=(b"avif",)) + made.box(b"mdat", bytes(9 * MIB)), 4),
    "a TIFF of 5 MB": ("tif", made.tiff((1000, 1000)) + bytes(5 * MIB), 3),
    "a BMP of 5 MB": ("bmp", made.bmp(1000, 1700) + bytes(5 * MIB), 5),
    "an MP3 with a cover": ("mp3", made.id3(3_000_000) + made.mp3_frames(2000), 4),
    "an MP3 of 12 MB": ("mp3", made.mp3_frames(30_000), 3),
    "a WAV of 30 MB": ("wav", made.wav() + bytes(30 * MIB), 2),
    "an MP4 of 30 MB, its index last": ("mp4", made.film(b"mp42", before=made.box(b"mdat", bytes(30 * MIB))), 3),
    "a WebM of 30 MB": ("webm", made.webm() + bytes(30 * MIB), 2),
    "an Ogg of 30 MB": ("ogg", made.ogg() + bytes(30 * MIB), 2),
}
"""The number of reads of each file. In S3, each read is one GetObject."""


@pytest.mark.parametrize("sample", READS)
def test_check_reads_a_file_in_few_ranges(sample: str) -> None:
    extension, content, reads = READS[sample]
    ranges = inspect(extension, content).ranges
    assert len(ranges) == reads, ranges
    assert max(length for _, length in ranges) <= formats.PIECE_BYTES
    assert sum(length for _, length in ranges) <= len(content) + 2 * MIB


def test_sequential_check_reads_a_larger_range_each_time() -> None:
    """A sound in many small chunks: 64 KiB, then twice as much each time, up to 1 MiB."""
    content = WAV[:12] + (b"note\x64\x00\x00\x00" + bytes(100)) * 90_000 + WAV[12:]
    lengths = [length for _, length in inspect("wav", content).ranges]
    assert lengths[:7] == [4096, 64 * 1024, 128 * 1024, 256 * 1024, 512 * 1024, MIB, MIB]
    assert len(lengths) <= 5 + len(content) // MIB + 3


def test_check_that_jumps_too_often_is_stopped() -> None:
    content = made.film(b"mp42", before=made.box(b"mdat", bytes(2 * MIB)) * (formats.MAX_RANGES // 2))
    inspect("mp4", content)
    content = made.film(b"mp42", before=made.box(b"mdat", bytes(100_000)) * (formats.MAX_RANGES + 1))
    assert refusal("mp4", content) == "the parts that show its type are too large, or too far apart, to be checked"


def test_check_keeps_the_last_ranges() -> None:
    """And no more than four pieces: a check may not fill the memory."""
    content = bytes(range(256)) * (7 * formats.PIECE_BYTES // 256)
    held = []

    def steps(file: formats.File) -> formats.Steps[None]:
        for at in range(0, len(content), formats.PIECE_BYTES):
            start, data = yield from file.piece(at)
            assert data == content[start : start + len(data)]
            assert (yield from file.read(at, 300)) == content[at : at + 300]
            assert (yield from file.read(0, 9)) == content[:9]
            held.append(sum(len(piece) for _, piece in file._ranges))
        assert (yield from file.read(len(content) - 5, 100)) == content[-5:]
        assert (yield from file.read(len(content), 100)) == b""

    reader = Reader(content)
    file = formats.File(len(content), read_ahead=formats.PIECE_BYTES)
    policy.run(file.head(), reader)
    policy.run(steps(file), reader)
    assert len(reader.ranges) <= 9
    assert max(held) <= 4 * formats.PIECE_BYTES + formats.HEAD_BYTES


@pytest.mark.parametrize("part", [b"!\xfe\x00", b"!\xfe\x01x\x00"])
def test_file_of_many_tiny_parts_is_refused(part: bytes) -> None:
    assert "more parts than are checked" in refusal("gif", made.gif(extensions=part * (formats.MAX_PARTS + 1)))


def test_large_text_is_read_at_both_ends() -> None:
    content = b"text\n" * 2_000_000
    assert inspect("txt", content).ranges == [(0, 4096), (0, 512 * 1024), (len(content) - 4096, 4096)]


@pytest.mark.parametrize("extension", ["png", "jpg", "wav", "mp4"])
def test_file_that_is_searched_whole_is_read_as_one_range(extension: str) -> None:
    """A storage that has it in memory hands out the whole of it without a copy, but no part of it."""
    content = BY_EXTENSION[extension] + bytes(3_000_000)
    ranges = inspect(extension, content).ranges
    assert ranges[0] == (0, 4096)
    assert (0, len(content)) in ranges[1:]

"""MP3: frames, ID3 tags, and the search for the first frame."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from handler.inspection.formats import media

from ..support import filetype_samples as made
from ..support.checks import inspect, refusal, with_

# ISO/IEC 11172-3 and 13818-3, section 2.4.2.3, of Layer III: bits a second by bitrate_index, samples a second by
# sampling_frequency, of MPEG 1 and MPEG 2. MPEG 2.5, which is Fraunhofer's, halves the latter once more.
MPEG_1_BITRATES = dict(enumerate((32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320), start=1))
MPEG_2_BITRATES = dict(enumerate((8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160), start=1))
BITRATES = {0b11: MPEG_1_BITRATES, 0b10: MPEG_2_BITRATES, 0b00: MPEG_2_BITRATES}
SAMPLE_RATES = {
    0b11: {0: 44_100, 1: 48_000, 2: 32_000},
    0b10: {0: 22_050, 1: 24_000, 2: 16_000},
    0b00: {0: 11_025, 1: 12_000, 2: 8_000},
}
FRAME_SAMPLES = {0b11: 1152, 0b10: 576, 0b00: 576}
LAYER_3 = 0b01


def mp3_header(version: int, layer: int, bitrate: int, rate: int, padding: int) -> bytes:
    word = 0x7FF << 21 | version << 19 | layer << 17 | 1 << 16 | bitrate << 12 | rate << 10 | padding << 9
    return word.to_bytes(4, "big")


def test_frame_length_follows_from_the_rates() -> None:
    """Every header there can be: one with values that do not exist begins no frame."""
    frames = 0
    for header in itertools.product(range(4), range(4), range(16), range(4), range(2)):
        version, layer, bitrate, rate, padding = header
        expected = None
        if layer == LAYER_3 and bitrate in BITRATES.get(version, ()) and rate in SAMPLE_RATES[version]:
            hertz = SAMPLE_RATES[version][rate]
            seconds = Fraction(FRAME_SAMPLES[version], hertz)
            length = math.floor(seconds * BITRATES[version][bitrate] * 1000 / 8) + padding
            expected = (version, hertz, length)
            frames += 1
        assert media.mp3_frame(mp3_header(*header)) == expected, header
    assert frames == 3 * 14 * 3 * 2


@pytest.mark.parametrize(
    ("header", "length"),
    [("fffb9000", 417), ("fffb9200", 418), ("fffbe400", 960), ("fffbe800", 1440), ("fff38000", 208), ("ffe31800", 72)],
)
def test_well_known_frame_lengths_are_right(header: str, length: int) -> None:
    frame = media.mp3_frame(bytes.fromhex(header))
    assert frame
    assert frame.length == length


@pytest.mark.parametrize("header", ["7ffb9000", "ff7b9000", "ffdb9000", "00000000"])
def test_frame_must_begin_with_eleven_ones(header: str) -> None:
    assert media.mp3_frame(bytes.fromhex(header)) is None


@pytest.mark.parametrize("version", BITRATES)
@pytest.mark.parametrize("padding", [0, 1])
def test_second_frame_must_begin_where_the_first_ends(version: int, padding: int) -> None:
    header = mp3_header(version, LAYER_3, 9, 0, padding)
    frame = media.mp3_frame(header)
    assert frame
    inspect("mp3", header + bytes(frame.length - 4) + header)
    for length in (frame.length - 1, frame.length + 1):
        assert "second" in refusal("mp3", header + bytes(length - 4) + header + bytes(4))


def test_frames_must_have_one_version_and_one_rate() -> None:
    header = mp3_header(0b11, LAYER_3, 9, 0, 0)
    first = header + bytes(417 - 4)
    inspect("mp3", first + mp3_header(0b11, LAYER_3, 14, 0, 1))  # the bit rate varies in many
    assert "second" in refusal("mp3", first + mp3_header(0b11, LAYER_3, 9, 1, 0))
    assert "second" in refusal("mp3", first + mp3_header(0b10, LAYER_3, 9, 0, 0))


@pytest.mark.parametrize("header", ["ffeb9000", "fffd9000", "fff99000", "fffbf000", "fffb0000", "fffb9c00", "fedb9000"])
def test_frame_with_values_that_do_not_exist_is_refused(header: str) -> None:
    assert refusal("mp3", bytes.fromhex(header) + bytes(413) + b"\xff\xfb\x90\x00") == "it has no MP3 frame"


LOUD = (b"\xff\xfb\x90\x00" + b"\x55" * 413) * 2
"""Frames without a zero, which would be taken for padding behind a tag that is thought to be longer."""


@pytest.mark.parametrize(
    ("at", "value"), [(3, b"\xff"), (4, b"\xff"), (6, b"\x80"), (7, b"\x80"), (8, b"\x80"), (9, b"\x80")]
)
def test_damaged_id3_tag_is_refused(at: int, value: bytes) -> None:
    assert refusal("mp3", with_(made.id3() + LOUD, at, value)) == "its ID3 tag is damaged"


@pytest.mark.parametrize(
    "tag",
    [
        made.id3(127),  # the largest that a byte of the size may be
        made.id3(flags=0xEF),  # every flag but the one for a footer
        made.id3(flags=0x10) + b"3DI" + b"\x55" * 7,
        with_(made.id3(), 3, b"\xfe\xfe"),
        with_(made.id3(), 10, b"\xff"),
        made.id3() + bytes(4096),
    ],
)
def test_valid_id3_tag_is_accepted(tag: bytes) -> None:
    inspect("mp3", tag + LOUD)


def test_search_for_the_first_frame_has_a_limit() -> None:
    padding = media.MP3_SEARCH_BYTES
    inspect("mp3", made.id3() + bytes(padding - 1) + LOUD)
    assert refusal("mp3", made.id3() + bytes(padding) + LOUD) == "it has no MP3 frame"


@pytest.mark.parametrize("begin", [b"<html><body>" + b"x" * 500, b"<?php system(1); ?>", b"MZ\x90\x00" + bytes(500)])
def test_page_or_program_before_the_frames_is_refused(begin: bytes) -> None:
    assert refusal("mp3", begin + made.mp3_frames())


def test_frames_in_free_format_must_have_one_length() -> None:
    frame = made.free_mp3_frames(2)[:1000]
    inspect("mp3", frame * 3)
    assert refusal("mp3", frame + frame + b"\x55" * 9000) == "it has no MP3 frame"
    assert refusal("mp3", frame) == "it has no MP3 frame"
    other_rate = with_(frame, 2, b"\x04")
    assert refusal("mp3", frame + other_rate) == "it has no MP3 frame"

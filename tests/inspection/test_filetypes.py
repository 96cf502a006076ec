"""The table of file types: what is of a type, what is not, and how little of a file is looked at."""

from __future__ import annotations

import io
import itertools
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from handler.app import create_app
from handler.inspection import filetypes, formats
from handler.inspection import policy as inspection
from handler.inspection.formats import archives, media
from handler.problems import ContentMismatch, EmptyFile, ImageTooLarge
from handler.settings import DEFAULT_MAX_IMAGE_PIXELS, Settings

from ..support import filetype_samples as made
from ..support.filetype_samples import BY_EXTENSION, SYNONYMS, VARIANTS, box
from ..support.policies import make_policy


class Reader:
    """A file that remembers which of it was read, and insists on the rules for reading."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length > 0
        assert offset + length <= len(self.content), "a range beyond the end is an error in S3"
        self.ranges.append((offset, length))
        assert len(self.ranges) <= formats.MAX_RANGES
        assert sum(length for _, length in self.ranges) <= formats.MAX_BYTES
        assert self.ranges[0] == (0, min(len(self.content), 4096))
        return self.content[offset : offset + length]


def inspect(extension: str, content: bytes, *, max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS) -> Reader:
    """Have it inspected under that extension.

    :raises Problem: it is refused.
    """
    policy = make_policy(max_image_pixels=max_image_pixels)
    reader = Reader(content)
    policy.inspect_content(policy.inspect_name(f"a.{extension}"), size=len(content), read=reader)
    return reader


def sentences(extension: str, content: bytes) -> str:
    """The whole refusal."""
    with pytest.raises(ContentMismatch) as caught:
        inspect(extension, content)
    return caught.value.detail


def refusal(extension: str, content: bytes) -> str:
    """The reason that its check gives, with which the second sentence of the refusal begins in upper case. The advice
    follows."""
    detail = sentences(extension, content)
    found = re.fullmatch(
        r"'a\.\w+' (?:is not an? .*?|cannot be accepted)\. (.*?)\. (?:Send|Save|Remove|It may be|If it is) .*",
        detail,
    )
    assert found, detail
    return found[1] if found[1].startswith("JSON") else found[1][0].lower() + found[1][1:]


@pytest.mark.parametrize(
    ("file_type", "noun"),
    [
        (filetypes.KNOWN["png"], "a PNG image"),
        (filetypes.KNOWN["pdf"], "a PDF document"),
        (filetypes.declared("jfif", "image/jpeg"), "a JPEG image"),
        (filetypes.declared("log", "text/plain"), "a text file"),
        (filetypes.declared("png2", "image/x-png2"), "a file of the type image/x-png2"),
    ],
)
def test_a_refusal_begins_with_the_name_and_what_the_file_is_not(file_type: filetypes.FileType, noun: str) -> None:
    name = inspection.FileName(original="photo.x", safe="photo.x", file_type=file_type)
    content = b"MZ\0\0" + bytes(range(32)) * 32
    with pytest.raises(ContentMismatch) as caught:
        make_policy().inspect_content(
            name, size=len(content), read=lambda offset, length: content[offset : offset + length]
        )
    assert caught.value.detail.startswith(f"'photo.x' is not {noun}. ")
    assert next(iter(caught.value.as_dict())) == "detail"


def test_every_known_type_has_a_noun() -> None:
    assert {each.media_type for each in filetypes.KNOWN.values()} == set(filetypes.NOUNS)


def test_every_known_type_has_a_sample() -> None:
    assert sorted(filetypes.KNOWN) == sorted([*BY_EXTENSION, *SYNONYMS])


@pytest.mark.parametrize("extension", sorted(filetypes.KNOWN))
def test_a_sample_of_a_type_is_of_it(extension: str) -> None:
    inspect(extension, BY_EXTENSION[SYNONYMS.get(extension, extension)])


@pytest.mark.parametrize(("extension", "content"), VARIANTS.values(), ids=list(VARIANTS))
def test_an_unusual_file_is_of_its_type(extension: str, content: bytes) -> None:
    inspect(extension, content)


ALSO = {
    **{text: {"txt", "csv", "md"} for text in ("txt", "csv", "md", "json")},
    **{document: {"zip"} for document in ("docx", "xlsx", "pptx", "odt", "ods", "odp")},  # they are zip files
    "heic": {"heif"},  # the family's name
    "m4a": {"mp4"},  # one format under two names
    "mp4": {"m4a"},
}
"""What else the sample of a type honestly is."""


@pytest.mark.parametrize("extension", sorted(filetypes.KNOWN))
@pytest.mark.parametrize("made_as", sorted(BY_EXTENSION))
def test_a_sample_of_a_type_is_of_no_other(made_as: str, extension: str) -> None:
    of = SYNONYMS.get(extension, extension)
    if of == made_as or of in ALSO.get(made_as, ()):
        inspect(extension, BY_EXTENSION[made_as])
    else:
        assert refusal(extension, BY_EXTENSION[made_as])


SHORT = {"txt", "csv", "md"}
"""Types of which every beginning is one, too."""


@pytest.mark.parametrize("extension", sorted(set(BY_EXTENSION) - SHORT))
def test_a_file_that_was_cut_off_in_its_header_is_refused(extension: str) -> None:
    content = BY_EXTENSION[extension]
    for length in range(1, min(len(content), 17)):
        if extension != "pdf" or length < len("%PDF-1.7"):
            refusal(extension, content[:length])


@pytest.mark.parametrize(
    "extension", ["docx", "xlsx", "odt", "zip", "json", "mp4", "mov", "m4a", "heic", "avif", "webp", "gif"]
)
def test_a_file_that_was_cut_off_anywhere_is_refused_where_its_structure_shows_it(extension: str) -> None:
    content = BY_EXTENSION[extension]
    enough = {"heic": content.find(b"mdat") - 4, "avif": content.find(b"mdat") - 4, "gif": len(content) - 5}
    for length in range(1, enough.get(extension, len(content) - 1)):
        refusal(extension, content[:length])


def with_(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def checked(content: bytes) -> bytes:
    """A PNG whose IHDR has its right checksum again."""
    return with_(content, 29, struct.pack(">I", zlib.crc32(content[12:29])))


def link_zip(mode: int) -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = mode << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    return buffer.getvalue()


PNG, JPEG, GIF, WEBP, TIFF, BMP = (BY_EXTENSION[name] for name in ("png", "jpg", "gif", "webp", "tif", "bmp"))
ZIP, MP3, WAV, WEBM, MP4 = (BY_EXTENSION[name] for name in ("zip", "mp3", "wav", "webm", "mp4"))


@pytest.mark.parametrize(
    ("extension", "content", "reason"),
    [
        ("png", PNG[:8] + PNG[33:], "no PNG header"),
        ("png", with_(PNG, 20, b"\xff"), "damaged"),
        ("png", checked(with_(PNG, 16, bytes(4))), "no size"),
        ("png", checked(with_(PNG, 20, bytes(4))), "no size"),
        ("png", checked(with_(PNG, 16, b"\x80")), "no size"),
        ("png", checked(with_(PNG, 24, b"\x03")), "do not exist"),
        ("png", checked(with_(PNG, 24, b"\x04")), "do not exist"),  # a depth that another colour type has
        ("png", checked(with_(PNG, 25, b"\x05")), "do not exist"),
        ("png", checked(with_(PNG, 26, b"\x01")), "do not exist"),
        ("png", checked(with_(PNG, 27, b"\x01")), "do not exist"),
        ("png", checked(with_(PNG, 28, b"\x02")), "do not exist"),
        ("jpg", b"\xff\xd8\xff\xd9", "no JPEG frame header"),
        ("jpg", b"\xff\xd8" + made.JFIF, "too early"),
        ("jpg", b"\xff\xd8" + made.JFIF + b"\xff\xda\x00\x0c" + bytes(100), "no JPEG frame header"),
        ("jpg", b"\xff\xd8" + made.JFIF + b"\xff\xd0" + bytes(100), "no JPEG frame header"),
        ("jpg", b"\xff\xd8" + made.JFIF + b"<script>", "no JPEG frame header"),
        ("jpg", b"\xff\xd8\xff\xe0\xff\xff" + bytes(100), "too early"),
        ("jpg", b"\xff\xd8\xff\xe0\x00\x01" + bytes(100), "no length"),
        ("jpg", made.jpeg(width=0), "no size"),
        ("jpg", made.jpeg(height=0), "no size"),
        ("jpg", made.jpeg(components=5), "do not exist"),
        ("jpg", with_(made.jpeg(), 6, b"\x01"), "do not exist"),
        ("jpg", with_(made.jpeg(), 6, b"\x11"), "do not exist"),
        ("jpg", with_(made.jpeg(), 5, b"\x12"), "do not exist"),
        ("jpg", made.jpeg(frame=0xCC), "no JPEG"),
        ("jpg", made.jpeg(frame=0xC8), "no JPEG frame header"),
        ("gif", b"GIF88a" + GIF[6:], "no GIF header"),
        ("gif", b"GIF89a<?php system($_GET['c']); ?>", "no image where"),
        ("gif", GIF[:19] + b";", "no image where"),
        ("gif", made.gif(0, 5, screen=(9, 9)), "no size"),
        ("gif", with_(GIF, 29, b"\x00"), "do not exist"),
        ("webp", with_(WEBP, 0, b"RIFX"), "no WebP header"),
        ("webp", with_(WEBP, 8, b"WEBQ"), "no WebP header"),
        ("webp", with_(WEBP, 12, b"VP9 "), "no WebP image"),
        ("webp", with_(WEBP, 20, b"\x31"), "no WebP image"),
        ("webp", with_(WEBP, 23, b"\x9e"), "no WebP image"),
        ("webp", made.webp_vp8(0, 5), "no size"),
        ("webp", with_(made.webp_vp8l(), 20, b"\x2e"), "no WebP image"),
        ("webp", with_(made.webp_vp8l(), 24, b"\xff"), "no WebP image"),
        ("webp", with_(made.webp_vp8x(), 16, b"\x0b"), "no WebP image"),
        ("webp", with_(WEBP, 4, b"\xff\xff"), "too early"),
        ("tif", with_(TIFF, 2, b"\x2c"), "no TIFF header"),
        ("tif", TIFF[:4] + bytes(4) + TIFF[8:], "no image"),
        ("tif", TIFF[:4] + b"\xff\xff\xff\xff" + TIFF[8:], "too early"),
        ("tif", with_(TIFF, 8, b"\xff\xff"), "too early"),
        ("tif", with_(TIFF, 10, b"\x02"), "no size"),
        ("tif", with_(TIFF, 12, b"\x02"), "no size"),
        ("tif", made.tiff((0, 4)), "no size"),
        ("bmp", with_(BMP, 0, b"BN"), "no BMP header"),
        ("bmp", with_(BMP, 26, b"\x00"), "do not exist"),
        ("bmp", with_(BMP, 30, b"\x05"), "do not exist"),
        ("bmp", with_(BMP, 14, b"\x29"), "no BMP header"),
        ("bmp", with_(BMP, 10, b"\xff\xff"), "no BMP header"),
        ("bmp", with_(BMP, 10, b"\x10"), "no BMP header"),
        ("bmp", with_(BMP, 26, b"\x02"), "do not exist"),
        ("bmp", with_(BMP, 28, b"\x07"), "do not exist"),
        ("bmp", with_(BMP, 30, b"\x04"), "do not exist"),
        ("bmp", made.bmp(-16, 16), "no size"),
        ("heic", made.heif_image(handler=b"vide"), "not those of an image"),
        ("heic", made.heif_image((0, 16)), "no size"),
        ("heic", made.ftyp(b"heic", b"mif1") + box(b"mdat", b"x"), "no meta box"),
        ("heic", made.ftyp(b"heic") + box(b"meta", bytes(4)), "no hdlr box"),
        ("heic", made.ftyp(b"heic", b"mif") + BY_EXTENSION["heic"][20:], "damaged"),
        ("heic", made.heif_image(brands=(b"jp2 ", b"jp2 ")), "names other formats"),
        ("heif", BY_EXTENSION["avif"], "it is AVIF"),
        ("mp4", made.ftyp(b"isom", b"mp41"), "no moov box"),
        ("mp4", made.ftyp(b"isom", b"mp41") + box(b"mdat", b"x"), "no moov box"),
        ("mp4", MP4[:-1], "do not fit"),
        ("mp4", made.ftyp(b"isom") + b"\x00\x00\x00\x07moov", "do not fit"),
        ("mp4", made.ftyp(b"isom") + b"\x00\x00\x00\x01moov" + b"\xff" * 8, "do not fit"),
        ("mp4", made.ftyp(b"isom") + b"\x00\x00\x00\x00mdat" + bytes(50), "no moov box"),
        ("mp4", box(b"moov") + made.ftyp(b"isom"), "no file type box"),
        ("mp4", made.film(b"avis", b"iso8", b"mp41"), "another format"),
        ("mp4", made.film(b"jp2 ", b"jp2 "), "another format"),
        ("mov", box(b"evil") + box(b"moov"), "no QuickTime header"),
        ("zip", ZIP + b"x", "1 bytes behind its end"),
        ("zip", b"x" + ZIP, "does not begin"),
        ("zip", b"PK\x03\x04" + ZIP, "something precedes"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 10, b"\x03"), "damaged"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 10, b"\x01"), "damaged"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 4, b"\x01"), "one part of an archive that was split"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 10, b"\xff\xff"), "damaged"),
        ("zip", made.make_zip(["a/../../b"]), "elsewhere"),
        ("zip", made.make_zip([r"a\..\b"]), "elsewhere"),
        ("zip", made.make_zip(["/etc/passwd"]), "elsewhere"),
        ("zip", made.make_zip(["C:/a"]), "elsewhere"),
        ("zip", link_zip(0o120777), "symbolic link"),
        ("docx", made.make_zip(["[Content_Types].xml", "word/document.xml"]), "not an Office document"),
        ("docx", made.make_zip(["_rels/.rels", "word/document.xml"]), "not an Office document"),
        ("docx", BY_EXTENSION["xlsx"], "of another kind"),
        ("docx", made.office("word", "word/vbaProject.bin"), "macros"),
        ("docx", made.office("word", "word/VBAPROJECT.BIN"), "macros"),
        ("xlsx", made.office("xl", "xl/vbaProject.bin"), "macros"),
        ("xlsx", made.office("xl", "xl/macrosheets/sheet1.xml"), "macros"),
        ("pptx", made.office("ppt", "ppt/vbaProject.bin"), "macros"),
        ("odt", made.open_document(made.ODF + "text", "Basic/Standard/Module1.xml"), "macros"),
        ("odt", made.open_document(made.ODF + "text", first="mimetypo"), "something else"),
        ("odt", BY_EXTENSION["ods"], "something else"),
        ("odt", made.open_document(made.ODF + "text-master"), "something else"),
        ("odt", made.make_zip({"mimetype": (made.ODF + "text").encode()}, stored=["mimetype"]), "no manifest"),
        ("gz", with_(BY_EXTENSION["gz"], 3, b"\xe0"), "no gzip header"),
        ("gz", with_(BY_EXTENSION["gz"], 2, b"\x07"), "no gzip header"),
        ("mp3", made.id3() + b"<script>alert(1)</script>" * 9, "no MP3 frame"),
        ("mp3", made.id3(), "too early"),
        ("mp3", made.mp3_frames(1), "too early"),
        ("mp3", made.mp3_frames(1) + bytes(417), "no second"),
        ("mp3", with_(MP3, 6, b"\x80"), "damaged"),
        ("mp3", made.id3() * 9 + made.mp3_frames(), "no MP3 frame"),
        ("wav", with_(WAV, 8, b"WAVX"), "no WAVE header"),
        ("wav", with_(WAV, 12, b"data"), "no WAVE format"),
        ("wav", with_(WAV, 12, b"junk"), "no WAVE format"),
        ("wav", with_(WAV, 16, b"\x02"), "do not exist"),
        ("wav", with_(WAV, 22, b"\x00"), "do not exist"),
        ("webm", made.webm(b"mka"), "does not say WebM"),
        ("webm", made.webm(after=b"\xec\x81\x00" * 9), "no segment"),
        ("webm", made.webm(after=b"\x18\x53\x80\x00"), "no segment"),
        ("webm", with_(WEBM, 0, b"\x1b"), "no EBML header"),
        ("webm", with_(WEBM, 4, b"\x00"), "damaged"),
        ("webm", with_(WEBM, 4, b"\x4f\xff"), "too long"),
        ("webm", b"\x1a\x45\xdf\xa3\x84\x42\x82\x00\x00", "damaged"),
        ("ogg", with_(made.ogg(), 0, b"OggT"), "no Ogg page"),
        ("ogg", with_(made.ogg(), 5, b"\x01"), "no Ogg page"),
        ("ogg", made.ogg(b"\x80theora" + bytes(30)), "no sound"),
        ("ogg", with_(made.ogg(), 5, b"\x00"), "no Ogg page"),
        ("txt", b"%PDF-1.7\n", "PDF or PostScript"),
        ("txt", b"%!PS-Adobe-3.0\n", "PDF or PostScript"),
        ("pdf", b"%PDF-x.y\n", "PDF header"),
        ("pdf", b"x\n" + BY_EXTENSION["pdf"], "PDF header"),
        ("json", b"hello", "begin"),
        ("json", b"{a: 1}", "begin"),
        ("json", b"[, 1]", "begin"),
        ("json", b"nullify", "begin"),
        ("json", b'{"a": 1', "end"),
        ("json", b'{"a": 1]', "end"),
        ("json", b'{"a": "\xfc"}', "UTF-8"),
        ("json", '{"a": 1}'.encode("utf-16"), "UTF-8"),
        ("json", b'{"a": "\x01"}', "control"),
        ("txt", b"a\x00b", "control"),
        ("csv", b"a\x1ab", "control"),
        ("txt", b"\xef\xbb\xbfa\xfcb", "UTF-8"),
        ("txt", b"\xef\xbb\xbf" + b"a" * 9000 + b"\xff\xff", "UTF-8"),
        ("txt", b"a" * 9000 + b"\x00", "control"),
        ("txt", b"\xff\xfea\x00b", "middle"),
        ("txt", b"\xff\xfea\x00\x00\xd8b\x00", "UTF-16"),
        ("txt", "a\0b".encode("utf-16"), "control"),
        ("txt", "a".encode("utf-32"), "UTF-32"),
        ("txt", "a".encode("utf-16") * 3 + "\x07".encode("utf-16-le") * 9000, "control"),
    ],
)
def test_a_broken_file_is_refused_for_the_right_reason(extension: str, content: bytes, reason: str) -> None:
    assert re.search(reason, refusal(extension, content))


@pytest.mark.parametrize("color", range(8))
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 32])
def test_a_png_has_a_depth_that_its_colour_type_has(color: int, depth: int) -> None:
    exists = (color, depth) in {
        *((0, depth) for depth in (1, 2, 4, 8, 16)),
        *((3, depth) for depth in (1, 2, 4, 8)),
        *((color, depth) for color in (2, 4, 6) for depth in (8, 16)),
    }
    content = made.png(depth=depth, color=color)
    if exists:
        inspect("png", content)
    else:
        assert "do not exist" in refusal("png", content)


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


def test_an_mp3_frame_is_as_long_as_its_rates_say() -> None:
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
def test_frames_whose_length_everybody_knows(header: str, length: int) -> None:
    frame = media.mp3_frame(bytes.fromhex(header))
    assert frame
    assert frame.length == length


@pytest.mark.parametrize("header", ["7ffb9000", "ff7b9000", "ffdb9000", "00000000"])
def test_an_mp3_frame_begins_with_eleven_ones(header: str) -> None:
    assert media.mp3_frame(bytes.fromhex(header)) is None


@pytest.mark.parametrize("version", BITRATES)
@pytest.mark.parametrize("padding", [0, 1])
def test_an_mp3_has_its_second_frame_where_the_first_ends(version: int, padding: int) -> None:
    header = mp3_header(version, LAYER_3, 9, 0, padding)
    frame = media.mp3_frame(header)
    assert frame
    inspect("mp3", header + bytes(frame.length - 4) + header)
    for length in (frame.length - 1, frame.length + 1):
        assert "second" in refusal("mp3", header + bytes(length - 4) + header + bytes(4))


def test_the_frames_of_an_mp3_are_of_one_version_and_one_rate() -> None:
    header = mp3_header(0b11, LAYER_3, 9, 0, 0)
    first = header + bytes(417 - 4)
    inspect("mp3", first + mp3_header(0b11, LAYER_3, 14, 0, 1))  # the bit rate varies in many
    assert "second" in refusal("mp3", first + mp3_header(0b11, LAYER_3, 9, 1, 0))
    assert "second" in refusal("mp3", first + mp3_header(0b10, LAYER_3, 9, 0, 0))


@pytest.mark.parametrize("header", ["ffeb9000", "fffd9000", "fff99000", "fffbf000", "fffb0000", "fffb9c00", "fedb9000"])
def test_an_mp3_frame_has_values_that_exist(header: str) -> None:
    assert refusal("mp3", bytes.fromhex(header) + bytes(413) + b"\xff\xfb\x90\x00") == "it has no MP3 frame"


LOUD = (b"\xff\xfb\x90\x00" + b"\x55" * 413) * 2
"""Frames without a zero, which would be taken for padding behind a tag that is thought to be longer."""


@pytest.mark.parametrize(
    ("at", "value"), [(3, b"\xff"), (4, b"\xff"), (6, b"\x80"), (7, b"\x80"), (8, b"\x80"), (9, b"\x80")]
)
def test_an_id3_tag_that_is_damaged(at: int, value: bytes) -> None:
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
def test_an_id3_tag_that_is_sound(tag: bytes) -> None:
    inspect("mp3", tag + LOUD)


def test_the_search_for_the_first_frame_of_an_mp3_has_an_end() -> None:
    padding = media.MP3_SEARCH_BYTES
    inspect("mp3", made.id3() + bytes(padding - 1) + LOUD)
    assert refusal("mp3", made.id3() + bytes(padding) + LOUD) == "it has no MP3 frame"


@pytest.mark.parametrize("begin", [b"<html><body>" + b"x" * 500, b"<?php system(1); ?>", b"MZ\x90\x00" + bytes(500)])
def test_a_page_or_a_program_before_the_frames_of_an_mp3_is_refused(begin: bytes) -> None:
    assert refusal("mp3", begin + made.mp3_frames())


def test_frames_in_free_format_have_one_length() -> None:
    frame = made.free_mp3_frames(2)[:1000]
    inspect("mp3", frame * 3)
    assert refusal("mp3", frame + frame + b"\x55" * 9000) == "it has no MP3 frame"
    assert refusal("mp3", frame) == "it has no MP3 frame"
    other_rate = with_(frame, 2, b"\x04")
    assert refusal("mp3", frame + other_rate) == "it has no MP3 frame"


def test_an_empty_file_is_refused() -> None:
    for extension in filetypes.KNOWN:
        with pytest.raises(EmptyFile):
            inspect(extension, b"")


# Two things at once.


@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp", "tif", "heic", "mp3", "wav", "webm", "pdf"])
@pytest.mark.parametrize("padding", [0, 100_000])
def test_an_archive_behind_something_else_is_refused(extension: str, padding: int) -> None:
    content = BY_EXTENSION[extension] + bytes(padding)
    inspect(extension, content)
    assert refusal(extension, content + ZIP) == "a zip archive is appended to it"


@pytest.mark.parametrize(
    "script", [b"<?php system($_GET[0]) ?>", b"<SCRIPT>alert(1)</SCRIPT>", b"<!doctype html>", b"<svg/onload=alert(1)>"]
)
def test_a_page_or_a_script_in_a_comment_is_refused(script: bytes) -> None:
    for extension, content in (
        ("png", made.png(chunks=made.png_chunk(b"tEXt", b"Comment\x00" + script))),
        ("jpg", made.jpeg(segments=made.jpeg_segment(0xFE, script))),
        ("gif", made.gif(extensions=made.gif_comment(script))),
        ("webp", made.webp_vp8() + script),
        ("pdf", b"%PDF-1.7\n%" + script + b"\n1 0 obj"),
    ):
        assert refusal(extension, content) == "it has a page or a script inside"


@pytest.mark.parametrize("script", [b"<?php system($_GET[0]) ?>", b"<script>alert(1)</script>"])
@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp", "tif", "heic", "mp3", "wav", "webm"])
def test_a_script_behind_something_else_is_refused(extension: str, script: bytes) -> None:
    """What is appended to a picture runs as well as what is in it, wherever a server takes the file for a program."""
    content = BY_EXTENSION[extension] + bytes(100_000)
    inspect(extension, content)
    assert refusal(extension, content + script + b"\n") == "it has a page or a script inside"


# Pixels.

IMAGES: dict[str, tuple[str, Callable[[int, int], bytes]]] = {
    "png": ("png", made.png),
    "jpg": ("jpg", made.jpeg),
    "gif": ("gif", made.gif),
    "gif's screen": ("gif", lambda width, height: made.gif(1, 1, screen=(width, height))),
    "gif's image": ("gif", lambda width, height: made.gif(width, height, screen=(1, 1))),
    "webp, lossy": ("webp", made.webp_vp8),
    "webp, lossless": ("webp", made.webp_vp8l),
    "webp, extended": ("webp", made.webp_vp8x),
    "bmp": ("bmp", made.bmp),
    "bmp from the top": ("bmp", lambda width, height: made.bmp(width, -height)),
    "bmp of OS/2": ("bmp", made.bmp_core),
    "tiff": ("tif", lambda width, height: made.tiff((width, height))),
    "tiff in shorts": ("tif", lambda width, height: made.tiff((width, height), order=">", short=True)),
    "tiff, third page": ("tif", lambda width, height: made.tiff((1, 1), (1, 1), (width, height), (1, 1))),
    "heic": ("heic", lambda width, height: made.heif_image((width, height))),
    "big tiff": ("tif", made.big_tiff),
    "big tiff of Motorola": ("tif", lambda width, height: made.big_tiff(width, height, order=">")),
    "bmp of OS/2, 16 bytes": ("bmp", made.bmp_os2),
    "gif, second image": ("gif", lambda width, height: made.gif(1, 1)[:-1] + made.gif(width, height)[19:]),
    "webp film": ("webp", made.webp_film),
    "jpg, counted lines": ("jpg", lambda width, height: made.jpeg(width, 1)[:-2] + made.lines(height) + b"\xff\xd9"),
    "avif, track": ("avif", lambda width, height: made.image_sequence(track=(width, height))),
    "avif, samples": ("avif", lambda width, height: made.image_sequence(sample=(width, height), image=(1, 1))),
    "avif, no still image": ("avif", lambda width, height: made.image_sequence(sample=(width, height), image=None)),
    "heic, second properties": (
        "heic",
        lambda width, height: made.heif_image((1, 1), more=made.properties((width, height))),
    ),
    "heic, samples": (
        "heic",
        lambda width, height: made.image_sequence(sample=(width, height), brands=(b"msf1", b"hevc"), version=1),
    ),
    "heic with tiles": ("heic", lambda width, height: made.heif_image((1, 1), (width, height), (1, 1))),
    "avif": ("avif", lambda width, height: made.heif_image((width, height), brands=(b"avif",))),
}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_may_have_as_many_pixels_as_the_limit_and_no_more(image: str) -> None:
    extension, make = IMAGES[image]
    content = make(300, 200)
    inspect(extension, content, max_image_pixels=60_000)
    with pytest.raises(ImageTooLarge, match=r"300 by 200 pixels\. It may have 59,999 in all") as caught:
        inspect(extension, content, max_image_pixels=59_999)
    problem = caught.value
    assert problem.status == 422
    assert problem.type == "urn:problem-type:upload:image-too-large"
    assert problem.extensions == {"width": 300, "height": 200, "max_pixels": 59_999}


SECOND_HEADER = made.png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(
    ("extension", "content", "reason"),
    [
        ("png", made.png(chunks=SECOND_HEADER), "it has two PNG headers"),
        ("png", made.png(chunks=made.png_chunk(b"tEXt", b"a\0b") * 9 + SECOND_HEADER), "it has two PNG headers"),
        ("png", made.png()[:-12] + SECOND_HEADER + made.png()[-12:], "it has two PNG headers"),
        ("jpg", made.jpeg(segments=made.jpeg(60_000, 60_000)[2:21]), "it has two JPEG frame headers"),
        ("jpg", made.jpeg()[:-2] + made.jpeg(60_000, 60_000)[2:], "it has two JPEG frame headers"),
        ("tif", made.tiff(more=((256, 60_000),)), "it has the size of an image twice"),
        ("tif", made.tiff(more=((257, 60_000),)), "it has the size of an image twice"),
        ("webp", made.webp_vp8x(16, 16, frame=(60, 16)), "its WebP frame is larger than its canvas"),
        ("webp", made.webp_vp8x(16, 16, frame=(16, 60)), "its WebP frame is larger than its canvas"),
        ("webp", made.webp_film(16, 16, frame=(60, 16)), "its WebP frame is larger than its canvas"),
        ("webp", made.webp_film(16, 16, left=2, frame=(16, 16)), "its WebP frame is larger than its canvas"),
        ("heic", BY_EXTENSION["heic"] + made.heif_image((60_000, 60_000))[24:], "it describes its images twice"),
        ("avif", made.image_sequence() + made.image_sequence(image=None)[28:], "it describes its images twice"),
    ],
)
def test_an_image_with_two_sizes_is_refused(extension: str, content: bytes, reason: str) -> None:
    """Decoders differ in which of them they take."""
    assert refusal(extension, content) == reason


def test_a_tile_counts_as_an_image() -> None:
    content = made.tiff(more=((322, 60_000), (323, 60_000)))
    with pytest.raises(ImageTooLarge):
        inspect("tif", content)


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        ("png", made.png(2**31 - 1, 2**31 - 1)),
        ("jpg", made.jpeg(65535, 65535)),
        ("gif", made.gif(65535, 65535)),
        ("webp", made.webp_vp8(16383, 16383)),
        ("webp", made.webp_vp8l(16384, 16384)),
        ("webp", made.webp_vp8x(2**24, 2**24)),
        ("bmp", made.bmp(2**31 - 1, -(2**31))),
        ("tif", made.tiff((2**32 - 1, 2**32 - 1))),
        ("heic", made.heif_image((2**32 - 1, 2**32 - 1))),
    ],
)
def test_the_largest_that_a_header_can_say_is_refused_by_default(extension: str, content: bytes) -> None:
    with pytest.raises(ImageTooLarge):
        inspect(extension, content)


def test_the_photos_of_todays_cameras_pass_by_default() -> None:
    for width, height in ((12000, 9000), (11648, 8736), (8192, 6144)):
        inspect("jpg", made.jpeg(width, height))


# How much is read.


@pytest.mark.parametrize("extension", sorted(BY_EXTENSION))
def test_a_small_file_is_read_once(extension: str) -> None:
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
"""What each costs in S3: one GetObject for each read."""


@pytest.mark.parametrize("sample", READS)
def test_a_check_reads_a_file_in_few_ranges(sample: str) -> None:
    extension, content, reads = READS[sample]
    ranges = inspect(extension, content).ranges
    assert len(ranges) == reads, ranges
    assert max(length for _, length in ranges) <= formats.PIECE_BYTES
    assert sum(length for _, length in ranges) <= len(content) + 2 * MIB


def test_a_check_that_goes_on_gets_more_each_time() -> None:
    """A sound in many small chunks: 64 KiB, then twice as much each time, up to 1 MiB."""
    content = WAV[:12] + (b"note\x64\x00\x00\x00" + bytes(100)) * 90_000 + WAV[12:]
    lengths = [length for _, length in inspect("wav", content).ranges]
    assert lengths[:7] == [4096, 64 * 1024, 128 * 1024, 256 * 1024, 512 * 1024, MIB, MIB]
    assert len(lengths) <= 5 + len(content) // MIB + 3


def test_a_check_that_jumps_has_few_jumps() -> None:
    content = made.film(b"mp42", before=made.box(b"mdat", bytes(2 * MIB)) * (formats.MAX_RANGES // 2))
    inspect("mp4", content)
    content = made.film(b"mp42", before=made.box(b"mdat", bytes(100_000)) * (formats.MAX_RANGES + 1))
    assert refusal("mp4", content) == "the parts that show its type are too large, or too far apart, to be looked at"


def test_a_file_keeps_the_ranges_that_it_got_last() -> None:
    """And no more than four pieces: a check may not fill the memory."""
    content = bytes(range(256)) * (7 * formats.PIECE_BYTES // 256)
    held = []

    def steps(file: formats.File) -> formats.Steps[None]:
        for at in range(0, len(content), formats.PIECE_BYTES):
            start, data = yield from file.piece(at)
            assert data == content[start : start + len(data)]
            assert (yield from file.read(at, 300)) == content[at : at + 300]
            assert (yield from file.read(0, 9)) == content[:9]
            held.append(sum(len(each) for _, each in file._ranges))
        assert (yield from file.read(len(content) - 5, 100)) == content[-5:]
        assert (yield from file.read(len(content), 100)) == b""

    reader = Reader(content)
    file = formats.File(len(content), read_ahead=formats.PIECE_BYTES)
    inspection.run(file.head(), reader)
    inspection.run(steps(file), reader)
    assert len(reader.ranges) <= 9
    assert max(held) <= 4 * formats.PIECE_BYTES + formats.HEAD_BYTES


@pytest.mark.parametrize("part", [b"!\xfe\x00", b"!\xfe\x01x\x00"])
def test_a_file_of_tiny_parts_is_refused(part: bytes) -> None:
    assert "more parts than are looked at" in refusal("gif", made.gif(extensions=part * (formats.MAX_PARTS + 1)))


def test_of_a_large_text_more_is_read() -> None:
    content = b"text\n" * 2_000_000
    assert inspect("txt", content).ranges == [(0, 4096), (0, 512 * 1024), (len(content) - 4096, 4096)]


@pytest.mark.parametrize("extension", ["png", "jpg", "wav", "mp4"])
def test_file_that_is_searched_whole_is_asked_for_whole(extension: str) -> None:
    """A storage that has it in memory hands out the whole of it without a copy, but no part of it."""
    content = BY_EXTENSION[extension] + bytes(3_000_000)
    ranges = inspect(extension, content).ranges
    assert ranges[0] == (0, 4096)
    assert (0, len(content)) in ranges[1:]


@pytest.mark.parametrize("size", [10_000, 400_000])
@pytest.mark.parametrize("extension", ["txt", "csv", "md"])
def test_a_control_character_in_the_middle_of_a_text_is_seen(extension: str, size: int) -> None:
    content = b"x" * (size // 2) + b"\0" + b"x" * (size // 2)
    inspect(extension, b"x" * size)
    with pytest.raises(ContentMismatch, match="control character 0x00"):
        inspect(extension, content)


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


def test_a_zip_of_more_files_than_can_be_looked_at_is_refused() -> None:
    inspect("zip", many_files(archives.MAX_DIRECTORY_BYTES // 146))
    content = many_files(archives.MAX_DIRECTORY_BYTES // 146 + 1)
    assert refusal("zip", content) == "it has too many entries: its directory is larger than 4,194,304 bytes"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"../evil", "it has an entry that would be unpacked elsewhere"),
        (b"word/vbaProject.bin", "it has macros"),
    ],
)
def test_the_other_name_of_an_entry_counts_as_well(name: bytes, reason: str) -> None:
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


def test_a_zip_may_be_a_zip64() -> None:
    inspect("zip", zip64())
    assert "damaged" in refusal("zip", zip64(entries=2**63))
    assert "damaged" in refusal("zip", zip64(damaged=True))


def test_a_zip_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_archive_that_says_it_unpacks_to_too_much_is_refused() -> None:
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


@pytest.mark.parametrize("extension", sorted(BY_EXTENSION.keys() - {"txt", "csv", "md", "json"}))
@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"%!PS\n", JPEG[:60], PNG[:40], b"hello " * 1000])
def test_another_format_is_not_said_to_be_damaged(extension: str, content: bytes) -> None:
    if not content.startswith(BY_EXTENSION[extension][:2]):
        assert "damaged" not in sentences(extension, content)


def test_a_storage_that_has_less_than_it_said_is_no_fault() -> None:
    policy = make_policy()
    with pytest.raises(ContentMismatch, match="ends too early"):
        policy.inspect_content(policy.inspect_name("a.png"), size=1000, read=lambda _offset, _length: b"")


# The whole way.


def test_what_is_uploaded_is_inspected(tmp_path: Path) -> None:
    environ = {"UPLOAD_FOLDER": str(tmp_path), "ALLOWED_EXTENSIONS": "png docx", "MAX_IMAGE_PIXELS": "255"}
    client = create_app(Settings.from_environ(environ)).test_client()
    document = made.office("word", *(f"word/media/image{n}.png" for n in range(300)))  # more than its head is needed
    assert client.put("/upload/a.docx", data=document).status_code == 201
    refused = client.put("/upload/a.png", data=PNG)
    assert (refused.status_code, refused.get_json()["type"]) == (422, "urn:problem-type:upload:image-too-large")
    assert [file.name for file in tmp_path.glob("files/*/*")] == ["a.docx"]

"""A page, a script or a program in an image or behind its end is refused. The things that cameras put there pass."""

from __future__ import annotations

import itertools
import random
import re
import struct
import zlib
from collections.abc import Callable

import pytest

from handler.inspection import formats
from handler.inspection.formats import active, hidden
from handler.problems import ContentMismatch

from ..support import filetype_samples as made
from ..support.cases import failures
from ..support.filetype_samples import BY_EXTENSION, VARIANTS
from ..support.policies import make_policy

IMAGES = ("png", "jpg", "gif", "webp", "bmp", "tif", "heic", "heif", "avif")
SOUND_AND_FILM = ("mp3", "wav", "ogg", "m4a", "mp4", "mov", "webm")
IN = "it has a page or a script inside"


class Reads:
    """A file that counts how it is read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.lengths: list[int] = []

    def __call__(self, offset: int, length: int) -> bytes:
        assert 0 <= offset < offset + length <= len(self.content)
        self.lengths.append(length)
        return self.content[offset : offset + length]


def inspect(extension: str, content: bytes) -> Reads:
    """Check the file under that extension.

    :raises ContentMismatch: it is refused.
    """
    policy = make_policy()
    reads = Reads(content)
    policy.inspect_content(policy.inspect_name(f"a.{extension}"), size=len(content), read=reads)
    assert sum(reads.lengths) <= formats.MAX_BYTES
    return reads


def refusal(extension: str, content: bytes) -> str:
    with pytest.raises(ContentMismatch) as caught:
        inspect(extension, content)
    return caught.value.detail.replace(". It ", ". it ")


CODE = {
    "PHP": b"<?php system($_GET[0]); ?>",
    "PHP, large letters": b"<?PHP\nphpinfo();",
    "PHP echo": b"<?=`$_GET[0]`?>",
    "PHP echo, a call": b"<?=system($_GET[0])?>",
    "PHP echo, blanks": b"<?=   $a($b) ?>",
    "PHP echo, a number": b"<?=7*7?>",
    "PHP echo, a string": b'<?="x"?>',
    "PHP echo, @": b"<?=@eval($_POST[1]);",
    "PHP echo, a variable": b"<?=$a;",
    "PHP echo, a call without arguments": b"<?=phpinfo()?>",
    "PHP echo, brackets": b"<?=(1)?>",
    "PHP echo, a heredoc": b"<?=<<<A\nx\nA?>",
    "PHP short, no blank": b"<?/**/system('id');",
    "PHP short, a call without arguments": b"<?\nphpinfo();",
    "PHP short": b"<? system('id'); ?>",
    "PHP short, a line": b"<?\necho 1;",
    "PHP short, a comment": b"<? /* harmless */ eval($_POST[1]);",
    "ASP": b"<% Response.Write(1) %>",
    "ASP, eval": b'<%eval request("x")%>',
    "ASP, a short call": b'<%out.print("<b>");%>',
    "ASP, an expression": b"<%$ AppSettings:x %>",
    "ASP, a binding": b"<%#x%>",
    "ASP, echo": b"<%= 7*7 %>",
    "JSP page": b'<%@ page import="java.util.*" %>',
    "JSP declaration": b"<%! int a = 1; %>",
    "JSP code": b'<% Runtime.getRuntime().exec(request.getParameter("c")); %>',
    "JSP in XML": b"<jsp:scriptlet>Runtime.getRuntime();</jsp:scriptlet>",
    "ColdFusion": b"<cfexecute name='id'>",
    "server side include": b'<!--#exec cmd="id" -->',
    "script": b"<script>alert(1)</script>",
    "script with a source": b"<SCRIPT src=//example.org/x.js>",
    "script for ASP.NET": b"<script runat=server language=C#>",
    "body": b"<body onload=alert(1)>",
    "image": b"<img src=x onerror=alert(1)>",
    "image, quotes": b'<img alt=">" src="x" ONERROR = "alert(1)">',
    "image, a < in quotes": b"<img alt='1 < 2, <3' src=x onerror=alert(1)>",
    "image, slashes": b"<img/src=x/onerror=alert(1)>",
    "image, far away": b"<img alt='" + b"x" * 600 + b"' onerror=alert(1)>",
    "style": b"<style onload=alert(1)>",
    "details": b"<details open ontoggle=alert(1)>",
    "svg": b"<svg/onload=alert(1)>",
    "svg, a drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
    "page": b"<!DOCTYPE html><title>x</title><p>hello",
    "page without a doctype": b"<html><p>hello",
    "frame": b"<iframe src=//example.org></iframe>",
}


def tiff_with_text(text: bytes) -> bytes:
    content = made.tiff()
    entry = struct.pack("<HHII", 270, 2, len(text), len(content) + 12)
    at = 8 + 2 + 4 * 12
    return content[:8] + b"\x05\x00" + content[10:at] + entry + content[at:] + text


def avif_with_text(text: bytes) -> bytes:
    return made.box(b"ftyp", b"avif\x00\x00\x00\x00avif") + made.heif_image(more=made.box(b"idat", text))[24:]


FAR = bytes(range(1, 32)) * 500
"""So many bytes that the code behind them is neither in the first nor in the last 4 KiB, which are always searched."""
PLACES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "PNG text": ("png", lambda code: made.png(chunks=made.png_chunk(b"tEXt", b"Comment\x00" + code))),
    "PNG text, far": (
        "png",
        lambda code: made.png(
            chunks=made.png_chunk(b"eXIf", FAR) + made.png_chunk(b"iTXt", code) + made.png_chunk(b"eXIf", FAR)
        ),
    ),
    "PNG text behind the image": (
        "png",
        lambda code: (
            made.png()[:-12]
            + made.png_chunk(b"eXIf", FAR)
            + made.png_chunk(b"tEXt", b"Comment\x00" + code)
            + made.png_chunk(b"eXIf", FAR)
            + made.png()[-12:]
        ),
    ),
    "JPEG comment": ("jpg", lambda code: made.jpeg(segments=made.jpeg_segment(0xFE, code))),
    "JPEG Exif": (
        "jpg",
        lambda code: made.jpeg(
            segments=b"".join(made.jpeg_segment(0xE1, b"Exif\x00\x00" + part) for part in (FAR, code, FAR))
        ),
    ),
    "JPEG between segments": ("jpg", lambda code: made.jpeg(segments=made.JFIF + code)),
    "GIF comment": ("gif", lambda code: made.gif(extensions=made.gif_comment(code))),
    "WebP XMP": ("webp", lambda code: made.webp_vp8x(more=((b"EXIF", FAR), (b"XMP ", code), (b"EXIF", FAR)))),
    "TIFF description": ("tif", lambda code: tiff_with_text(code + FAR) + FAR),
    "BMP before the pixels": ("bmp", lambda code: made.bmp(gap=code)),
    "AVIF metadata": ("avif", avif_with_text),
}


def test_code_in_metadata_is_refused() -> None:
    def check(part: str, code: str) -> None:
        extension, make = PLACES[part]
        assert IN in refusal(extension, make(CODE[code]))

    for extension, make in PLACES.values():
        inspect(extension, make(b"a harmless text"))
    assert not failures(check, itertools.product(PLACES, CODE))


EVENTS = "load error click mouseover mousedown pointerdown pointerover focus focusin focusout toggle begin animationend"


def test_every_event_handler_is_found_in_pixels() -> None:
    """In pixels there is no general pattern, as there is for metadata."""

    def check(event: str) -> None:
        for end in ("=x>", " =x>", "\n= x>"):
            assert active.inside_pixels(b"\0" * 9 + f"<b title=x on{event}{end}".encode())

    assert not failures(check, ((event,) for event in EVENTS.split()))


KEYWORDS = "echo print include require return eval exit die if for foreach while function class namespace use"


def test_every_keyword_of_php_is_found_in_metadata() -> None:
    def check(keyword: str) -> None:
        assert active.inside(f"<? {keyword} xy".encode())
        assert active.inside(f'<?={keyword.upper()}\t"'.encode())
        assert not active.inside(f"<? {keyword}_x y".encode()), "another word"
        assert not active.inside(f"<? {keyword} \x01".encode()), "no text behind it"

    assert not failures(check, ((keyword,) for keyword in KEYWORDS.split()))


def test_code_in_metadata_may_have_line_ends_and_tabs() -> None:
    def check(_name: str, code: bytes) -> None:
        assert active.inside(code)
        assert not active.inside(code.replace(white, b"\x01"))

    for white in (b"\t", b"\n", b"\r"):
        codes = (b"<html " + white + b"x", b"<?=$a" + white * 4, b"<%=" + white + b"a%>", b"<?= # " + white * 7)
        assert not failures(check, ((repr(code), code) for code in codes))


AROUND = {"nothing": (b"", b""), "NULs": (b"\0" * 5000, b""), "white space": (b" \r\n" * 5000, b" " * 15_000)}
"""The bytes before and behind the code."""


def test_code_behind_an_image_is_refused() -> None:
    def check(extension: str, around: str, code: str) -> None:
        before, behind = AROUND[around]
        assert IN in refusal(extension, BY_EXTENSION[extension] + before + CODE[code] + behind)

    extensions = ("png", "jpg", "gif", "webp")
    for extension, (before, behind) in itertools.product(extensions, AROUND.values()):
        inspect(extension, BY_EXTENSION[extension] + before + behind)
    assert not failures(check, itertools.product(extensions, AROUND, CODE))


ENDS = {"bmp": made.bmp(), "strip": made.tiff_with_pixels(), "tile": made.tiff_with_pixels(tiles=True)}


@pytest.mark.parametrize("image", ENDS)
def test_code_behind_uncompressed_pixels_is_refused(image: str) -> None:
    extension = "bmp" if image == "bmp" else "tif"

    def check(code: str) -> None:
        assert IN in refusal(extension, ENDS[image] + b" " * 5000 + CODE[code] + b" " * 5000)

    inspect(extension, ENDS[image] + b" " * 10_000)
    assert "a script behind its end" in refusal(extension, ENDS[image] + b" " * 5000 + b"#!/bin/sh\nid\n")
    assert not failures(check, ((code,) for code in CODE))


@pytest.mark.parametrize("around", [5000, 100_000, 9_000_000])
def test_page_at_any_place_behind_an_image_is_refused(around: int) -> None:
    def check(extension: str, code: str) -> None:
        page = CODE[code] + b"<p>some text</p>\n" * 1000
        assert IN in refusal(extension, BY_EXTENSION[extension] + b" " * around + page + b"\n" * around)

    assert not failures(check, itertools.product(IMAGES, ("PHP", "script", "body", "page")))


@pytest.mark.parametrize("extension", SOUND_AND_FILM)
@pytest.mark.parametrize("code", [CODE["PHP"], CODE["script"], CODE["page"]])
def test_page_behind_a_sound_or_a_film_is_refused(extension: str, code: bytes) -> None:
    content = BY_EXTENSION[extension]
    assert IN in refusal(extension, content + bytes(5000) + code + bytes(5000))
    far = content + bytes(10_000_000) + code + bytes(formats.HEAD_BYTES)
    assert IN in refusal(extension, far)


@pytest.mark.parametrize("split", range(1, 12))
@pytest.mark.parametrize("extension", ["jpg", "mp3"])
def test_code_across_two_ranges_is_refused(extension: str, split: int) -> None:
    content = BY_EXTENSION[extension].ljust(formats.HEAD_BYTES - split, b"\x00")
    assert IN in refusal(extension, content + CODE["script"] + bytes(20_000))
    piece = content.ljust(formats.HEAD_BYTES + formats.PIECE_BYTES - split, b"\x00")
    if extension == "jpg":
        assert IN in refusal(extension, piece + CODE["script"] + bytes(2_000_000))


@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp", "heic", "avif"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#!/bin/sh\nid\n", "a script"),
        (b"<div onclick=x>", "a page or a script inside"),
        (b"<p>hello</p>", "HTML or XML"),
        (b"<table><tr><td>", "HTML or XML"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(56), "ELF"),
        (b"MZ\x90\x00\x03\x00\x00\x00" + bytes(56), "Windows"),
        (b"dex\n035\x00" + bytes(100), "Android"),
        (b"\xca\xfe\xba\xbe\x00\x00\x00\x41" + bytes(40), "Java"),
    ],
)
def test_program_behind_an_image_is_refused(extension: str, content: bytes, reason: str) -> None:
    image = BY_EXTENSION[extension]
    assert reason in refusal(extension, image + content)
    assert reason in refusal(extension, image + bytes(5000) + b"  \n" + content + bytes(5000))


CHANCE = random.Random(11)
FILM = made.film(b"mp42", b"mp42", before=made.box(b"mdat", CHANCE.randbytes(300_000)))


def samsung(*entries: tuple[bytes, bytes]) -> bytes:
    """Samsung's trailer: the entries, a directory of them, and the length of that."""
    blocks = [b"\x00\x00\x30\x0a" + struct.pack("<I", len(name)) + name + content for name, content in entries]
    directory, rest = b"SEFH" + struct.pack("<II", 107, len(blocks)), sum(map(len, blocks))
    for block in blocks:
        directory += b"\x00\x00\x30\x0a" + struct.pack("<II", rest, len(block))
        rest -= len(block)
    return b"".join(blocks) + directory + struct.pack("<I", len(directory)) + b"SEFT"


XMP = (
    b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.1">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
    crs:ToneCurveName2012="Linear" hdrgm:Version="1.0" xmp:CreatorTool="Camera 5 &lt;b&gt;">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">5 &lt; 6, 100 % only = once</rdf:li></rdf:Alt></dc:title>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
    + b" " * 2000
    + b'<?xpacket end="w"?>'
)
TRAILERS = {
    "padding": bytes(100_000),
    "white space": b"\r\n" * 20,
    "Samsung": samsung((b"Image_UTC_Data", b"1679400000000"), (b"MotionPhoto_Data", FILM), (b"Color_Display_P3", b"")),
    "Motion Photo": FILM,
    "a further image (MPF)": made.jpeg(segments=made.JFIF),
    "padding, then two": bytes(100) + made.jpeg() + bytes(30) + made.jpeg(),
    "a gain map (Ultra HDR)": made.jpeg(segments=made.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + XMP)),
    "XMP": XMP,
    "vivo": b'vivo{"version":"2.0","mode":"portrait"}\x00\x00\x00\x27cameraalbum\x00\x01',
    "Photo Mechanic": bytes(CHANCE.randbytes(3000)) + struct.pack(">I", 3000) + b"cbipcbbl",
    "Canon": b"CANON OPTIONAL DATA\x00\x00\x01\x00\x00"
    + CHANCE.randbytes(2000)
    + b"CANON OPTIONAL DATA\x00"
    + bytes(12),
    "AFCP": b"AXS!\x01\x00\x00\x02" + CHANCE.randbytes(500) + b"AXS!\x00\x00\x00\x00\x00\x00\x00\x00",
    "some text": b"Taken with a camera, 5 < 6, and 100 %.",
    "something": CHANCE.randbytes(200_000),
}


def test_trailer_of_a_real_file_is_accepted() -> None:
    def check(extension: str, trailer: str) -> None:
        inspect(extension, BY_EXTENSION[extension] + TRAILERS[trailer])

    assert not failures(check, itertools.product(IMAGES, TRAILERS))


@pytest.mark.parametrize("trailer", ["Samsung", "Motion Photo", "a further image (MPF)", "something"])
@pytest.mark.parametrize("code", [CODE["PHP"], CODE["page"], CODE["body"]])
def test_code_in_a_trailer_is_refused(trailer: str, code: bytes) -> None:
    content = TRAILERS[trailer]
    middle = len(content) // 2
    assert IN in refusal("jpg", BY_EXTENSION["jpg"] + content[:middle] + code + content[middle:])


def test_unknown_trailer_that_is_too_long_is_refused() -> None:
    image = BY_EXTENSION["jpg"]
    noise = CHANCE.randbytes(1_000_000) * (hidden.MAX_IMAGE_BYTES // 1_000_000 + 1)
    assert "more bytes behind its end than are checked" in refusal("jpg", image + noise)
    assert "more bytes behind its end than are checked" in refusal("jpg", image + bytes(len(noise)) + b"x")
    inspect("jpg", image + made.film(b"mp42", b"mp42", before=made.box(b"mdat", noise)))
    inspect("jpg", image + samsung((b"MotionPhoto_Data", noise)))


def test_image_larger_than_the_searched_size_is_accepted() -> None:
    noise = zlib.compress(CHANCE.randbytes(1_000_000), 0) * (hidden.MAX_IMAGE_BYTES // 1_000_000 + 9)
    photo = made.jpeg()[:-2] + noise.replace(b"\xff", b"\xff\x00") + b"\xff\xd9"
    reads = inspect("jpg", photo)
    assert sum(reads.lengths) <= hidden.MAX_IMAGE_BYTES + formats.PIECE_BYTES
    assert len(reads.lengths) <= 4 + hidden.MAX_IMAGE_BYTES // formats.PIECE_BYTES
    inspect("png", made.png()[:-12] + made.png_chunk(b"IDAT", noise) + made.png()[-12:])
    assert IN in refusal("jpg", photo + bytes(1_000_000) + CODE["PHP"] + bytes(1_000_000))


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have 48 kB of an image searched: the first 40 kB and the last 8 kB."""
    for name, size in (("MAX_IMAGE_BYTES", 48_000), ("MAX_IMAGE_HEAD_BYTES", 40_000), ("IMAGE_TAIL_BYTES", 8_000)):
        monkeypatch.setattr(hidden, name, size)
    for module in (hidden, formats):
        monkeypatch.setattr(module, "PIECE_BYTES", 2_000)


def photo_of(size: int) -> bytes:
    """Return a JPEG of this size."""
    return made.jpeg()[:-2].ljust(size - 2, b"\x01") + b"\xff\xd9"


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(("image_bytes", "trailer_bytes"), [(1_000, 47_000), (40_001, 8_000), (60_000, 8_000)])
def test_trailer_longer_than_the_searched_part_is_refused(image_bytes: int, trailer_bytes: int) -> None:
    image = photo_of(image_bytes)
    inspect("jpg", image + b"\x01" * trailer_bytes)
    reason = "more bytes behind its end than are checked"
    assert reason in refusal("jpg", image + b"\x01" * (trailer_bytes + 1))
    for padding in (b"\0", b" "):
        inspect("jpg", image + padding * (trailer_bytes - 1))
        assert IN in refusal("jpg", image + padding * (trailer_bytes - 8) + b"<script>")


@pytest.mark.usefixtures("small_limits")
def test_both_ends_of_a_large_image_are_searched() -> None:
    size, code = 100_000, b"<script>"
    for at in (40_000 - len(code), size - 8_000, size - 10):
        content = photo_of(size)
        assert IN in refusal("jpg", content[:at] + code + content[at + len(code) :])


@pytest.mark.usefixtures("small_limits")
def test_every_byte_of_a_smaller_image_is_searched() -> None:
    size, code = 48_000, b"<script>"
    for at in range(1_000, size - 100, 997):
        content = photo_of(size)
        assert IN in refusal("jpg", content[:at] + code + content[at + len(code) :])


LARGE = bytes(hidden.MAX_IMAGE_BYTES)


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        ("bmp", made.bmp(5000, 5000)[:54] + bytes(75_000_000)),
        ("webp", made.riff(b"WEBP", (b"VP8L", made.vp8l(16, 16) + LARGE))),
        ("heic", made.heif_image() + made.box(b"mdat", LARGE)),
        ("avif", made.ftyp(b"avif") + made.box(b"mdat", LARGE) + made.heif_image()[24:]),
        ("png", made.png()[:-12] + made.png_chunk(b"IDAT", LARGE) + made.png()[-12:]),
        ("gif", made.gif()[:-2] + (b"\xff" + bytes(255)) * (len(LARGE) // 256) + b"\0;"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_short_trailer_of_a_large_image_is_searched(extension: str, content: bytes) -> None:
    inspect(extension, content)
    inspect(extension, content + b"\0\0")
    inspect(extension, content + b"\0\1" * 500)
    assert IN in refusal(extension, content + bytes(1_000_000) + CODE["page"] + bytes(1_000_000))
    if extension in ("bmp", "webp", "heic", "avif"):
        assert "a script behind its end" in refusal(extension, content + bytes(5000) + b"#!/bin/sh\nid\n")


@pytest.mark.parametrize(
    "make",
    [
        lambda: made.jpeg(segments=made.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + XMP)),
        lambda: made.jpeg(segments=made.jpeg_segment(0xE1, b"Exif\x00\x00" + CHANCE.randbytes(60_000))),
        lambda: made.jpeg(
            segments=made.jpeg_segment(0xDB, b"\x00" + b"89988:::989:;><;:;<<<?=<;<=>>==>>>>>=>>>>>?>>>?>>")
        ),
        lambda: made.jpeg(segments=made.jpeg_segment(0xE2, b"ICC_PROFILE\x00" + bytes(range(256)) * 200)),
        lambda: made.jpeg(segments=made.jpeg_segment(0xFE, b"<?xml version='1.0'?><camera on='1'><p>5 <% of 6</p>")),
    ],
)
def test_harmless_metadata_is_accepted(make: Callable[[], bytes]) -> None:
    inspect("jpg", make())


def test_xmp_is_accepted_in_every_image() -> None:
    inspect("png", made.png(chunks=made.png_chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + XMP)))
    inspect("webp", made.webp_vp8x(more=((b"XMP ", XMP),)))
    inspect("gif", made.gif(extensions=b"!\xff\x0bXMP DataXMP" + made.gif_comment(XMP)[2:]))
    inspect("tif", tiff_with_text(XMP))
    inspect("avif", avif_with_text(XMP))


# By chance.


def chance_of(bytes_: int, *sets: float) -> float:
    """That a place of so many random bytes begins with one of each of these sets, given as how many bytes each has."""
    probability = float(bytes_)
    for size in sets:
        probability *= size / 256
    return probability


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_random_data_is_not_taken_for_code(size: int) -> None:
    """Half a gigabyte of random bytes; test_no_pattern_matches_by_chance computes the rest."""
    chance = random.Random(size)
    for _ in range(30):
        assert not active.inside_pixels(chance.randbytes(size))


def test_smooth_pixels_are_not_taken_for_code() -> None:
    """Pixels that are not compressed: neighbours are alike, and all in the range of ASCII."""
    chance = random.Random(3)
    for low, high in ((0x20, 0x40), (0x30, 0x7A), (0x38, 0x42), (0x3B, 0x40)):
        pixels = bytes(chance.randrange(low, high) for _ in range(300_000))
        assert not active.inside_pixels(pixels)
        smooth, value = bytearray(), (low + high) // 2
        for _ in range(300_000):
            value = min(high, max(low, value + chance.randrange(-2, 3)))
            smooth.append(value)
        assert not active.inside(bytes(smooth))


PHOTO, METADATA = 4 * 1024 * 1024, 64 * 1024
TEXT, NAME, WHITE = 98, 53, 6
EVENT_WORDS = 11
ANYWHERE = {
    "<?php and a blank": chance_of(PHOTO, 1, 1, 2, 2, 2, WHITE),
    "<html": chance_of(PHOTO, 1, 2, 2, 2, 2, WHITE + 2, TEXT, TEXT),
    "<script": chance_of(PHOTO, 1, 2, 2, 2, 2, 2, 2, WHITE + 2),
    "<svg and xmlns": chance_of(PHOTO, 1, 2, 2, 2, WHITE + 1, 2, 2, 2, 2, 2) * 200,
    "<svg and an event": chance_of(PHOTO, 1, 2, 2, 2, WHITE + 1, 2, 2, *[NAME] * 4, 1) * 200 * 1.3,
    "<svg> and a tag": chance_of(PHOTO, 1, 2, 2, 2, 1, 1),
    "<!--#exec": chance_of(PHOTO, 1, 1, 1, 1, 1, 2, 2, 2, 2, WHITE),
    "<jsp:": chance_of(PHOTO, 1, 2, 2, 2, 1, *[NAME] * 6),
    "an event": chance_of(PHOTO, 1, NAME, 10, 2, 2, 2, 2, 2, 2, 1) * 9 * EVENT_WORDS,
}
"""In a photo of 4 MiB of random bytes; the factors are how many places the end of the pattern may have."""
IN_METADATA = {
    "<?php": chance_of(METADATA, 1, 1, 2, 2, 2),
    "<?= and a variable": chance_of(METADATA, 1, 1, 1 + WHITE, 1, NAME, *[TEXT] * 4),
    "<?= and a variable that ends": chance_of(METADATA, 1, 1, 1 + WHITE, 1, NAME, 1, 1) * 1.3
    + chance_of(METADATA, 1, 1, 1 + WHITE, 1, NAME, 1) * 1.3,
    "<?= and a command": chance_of(METADATA, 1, 1, 1 + WHITE, 1, 1) * 1.6,
    "<?= and a string": chance_of(METADATA, 1, 1, 1 + WHITE, 2, 1, 3) * 1.6,
    "<?= and a comment": chance_of(METADATA, 1, 1, 1 + WHITE, 1, *[TEXT] * 8),
    "<?= and a call": chance_of(METADATA, 1, 1, 1 + WHITE, NAME, 1, *[TEXT] * 4) * 1.4,
    "<?= and a call without arguments": chance_of(METADATA, 1, 1, 1 + WHITE, NAME, 1, 1) * 1.4,
    "<?= and a heredoc": chance_of(METADATA, 1, 1, 1 + WHITE, 1, 1, 1, NAME, 2) * 1.4,
    "<? and a comment": chance_of(METADATA, 1, 1, 1, 2, *[TEXT] * 8),
    "<?= and a number": chance_of(METADATA, 1, 1, 1 + WHITE, 63, 1, 1) * 1.5,
    "<%= and its end": chance_of(METADATA, 1, 1, 6 + WHITE, 1, 1) * 1.6,
    "<% and a name and its end": chance_of(METADATA, 1, 1, NAME, 64, 1, 1) * 2,
    "<% and a call": chance_of(METADATA, 1, 1, NAME, 64, 3, *[TEXT] * 12) * 1.4,
    "<% and a short call": chance_of(METADATA, 1, 1, NAME, 64, 3, 1, 1) * 1.4 * 1.6,
    "<svg": chance_of(METADATA, 1, 2, 2, 2, WHITE + 2, TEXT, TEXT, TEXT),
    "an event": chance_of(METADATA, 1, NAME, 10, 2, 2, 52, 52, 52, 1, *[TEXT] * 4) * 9 * 1.3,
}
"""In metadata of 64 KiB of random bytes."""


@pytest.mark.parametrize("pattern", [*ANYWHERE.items(), *IN_METADATA.items()], ids=lambda item: item[0])
def test_no_pattern_matches_by_chance_in_a_million_photos(pattern: tuple[str, float]) -> None:
    assert pattern[1] < 2e-6


def test_all_patterns_together_match_by_chance_in_less_than_ten_of_a_million_photos() -> None:
    assert sum(ANYWHERE.values()) + sum(IN_METADATA.values()) < 1e-5


def test_samples_are_complete() -> None:
    assert {extension for extension, _ in VARIANTS.values()} >= {*IMAGES, *SOUND_AND_FILM} - {"m4a", "heif"}
    assert re.fullmatch(r"(\w+ )*\w+", " ".join(IMAGES))

"""The table of file types: the files that are of a type, and the files that are not."""

from __future__ import annotations

import io
import itertools
import re
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from handler.app import create_app
from handler.inspection import filetypes
from handler.inspection import policy as inspection
from handler.problems import ContentMismatch, EmptyFile
from handler.settings import Settings

from ..support import filetype_samples as made
from ..support.cases import failures
from ..support.checks import inspect, refusal, sentences, with_
from ..support.filetype_samples import BY_EXTENSION, SYNONYMS, VARIANTS, box
from ..support.policies import make_policy


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
def test_refusal_begins_with_file_name_and_type(file_type: filetypes.FileType, noun: str) -> None:
    name = inspection.FileName(original="photo.x", safe="photo.x", file_type=file_type)
    content = b"MZ\0\0" + bytes(range(32)) * 32
    with pytest.raises(ContentMismatch) as caught:
        make_policy().inspect_content(
            name, size=len(content), read=lambda offset, length: content[offset : offset + length]
        )
    assert caught.value.detail.startswith(f"'photo.x' is not {noun}. ")
    assert next(iter(caught.value.as_dict())) == "detail"


def test_every_known_type_has_a_noun() -> None:
    assert {file_type.media_type for file_type in filetypes.KNOWN.values()} == set(filetypes.NOUNS)


def test_every_known_type_has_a_sample() -> None:
    assert sorted(filetypes.KNOWN) == sorted([*BY_EXTENSION, *SYNONYMS])


@pytest.mark.parametrize("extension", sorted(filetypes.KNOWN))
def test_sample_is_accepted_as_its_type(extension: str) -> None:
    inspect(extension, BY_EXTENSION[SYNONYMS.get(extension, extension)])


@pytest.mark.parametrize(("extension", "content"), VARIANTS.values(), ids=list(VARIANTS))
def test_unusual_file_is_accepted_as_its_type(extension: str, content: bytes) -> None:
    inspect(extension, content)


ALSO = {
    **{text: {"txt", "csv", "md"} for text in ("txt", "csv", "md", "json")},
    **{document: {"zip"} for document in ("docx", "xlsx", "pptx", "odt", "ods", "odp")},  # they are zip files
    "heic": {"heif"},  # the family's name
    "m4a": {"mp4"},  # one format under two names
    "mp4": {"m4a"},
}
"""The other types of which the sample of a type is a valid file."""


def test_sample_is_refused_as_any_other_type() -> None:
    def check(made_as: str, extension: str) -> None:
        of = SYNONYMS.get(extension, extension)
        if of == made_as or of in ALSO.get(made_as, ()):
            inspect(extension, BY_EXTENSION[made_as])
        else:
            assert refusal(extension, BY_EXTENSION[made_as])

    assert not failures(check, itertools.product(sorted(BY_EXTENSION), sorted(filetypes.KNOWN)))


SHORT = {"txt", "csv", "md"}
"""Types of which every beginning is a valid file."""


@pytest.mark.parametrize("extension", sorted(set(BY_EXTENSION) - SHORT))
def test_file_cut_off_in_its_header_is_refused(extension: str) -> None:
    content = BY_EXTENSION[extension]
    for length in range(1, min(len(content), 17)):
        if extension != "pdf" or length < len("%PDF-1.7"):
            refusal(extension, content[:length])


@pytest.mark.parametrize(
    "extension", ["docx", "xlsx", "odt", "zip", "json", "mp4", "mov", "m4a", "heic", "avif", "webp", "gif"]
)
def test_file_cut_off_anywhere_is_refused_if_its_structure_has_an_end(extension: str) -> None:
    content = BY_EXTENSION[extension]
    enough = {"heic": content.find(b"mdat") - 4, "avif": content.find(b"mdat") - 4, "gif": len(content) - 5}
    for length in range(1, enough.get(extension, len(content) - 1)):
        refusal(extension, content[:length])


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
        ("mp4", made.film(b"avis", b"iso8", b"mp41"), "another format of the MP4 family"),
        ("mp4", made.film(b"jp2 ", b"jp2 "), "another format of the MP4 family"),
        ("mov", box(b"evil") + box(b"moov"), "no QuickTime header"),
        ("zip", ZIP + b"x", "1 bytes behind its end"),
        ("zip", b"x" + ZIP, "does not begin"),
        ("zip", b"PK\x03\x04" + ZIP, "stands before it"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 10, b"\x03"), "damaged"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 10, b"\x01"), "damaged"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 4, b"\x01"), "one part of an archive that was split"),
        ("zip", ZIP[:-22] + with_(ZIP[-22:], 10, b"\xff\xff"), "damaged"),
        ("zip", made.make_zip(["a/../../b"]), "leaves the folder"),
        ("zip", made.make_zip([r"a\..\b"]), "leaves the folder"),
        ("zip", made.make_zip(["/etc/passwd"]), "leaves the folder"),
        ("zip", made.make_zip(["C:/a"]), "leaves the folder"),
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
        ("odt", made.open_document(made.ODF + "text", first="mimetypo"), "does not name this type"),
        ("odt", BY_EXTENSION["ods"], "does not name this type"),
        ("odt", made.open_document(made.ODF + "text-master"), "does not name this type"),
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
        ("webm", made.webm(b"mka"), "does not name WebM"),
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
def test_broken_file_is_refused_with_the_right_reason(extension: str, content: bytes, reason: str) -> None:
    assert re.search(reason, refusal(extension, content))


def test_empty_file_is_refused() -> None:
    for extension in filetypes.KNOWN:
        with pytest.raises(EmptyFile):
            inspect(extension, b"")


# Two things at once.


@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp", "tif", "heic", "mp3", "wav", "webm", "pdf"])
@pytest.mark.parametrize("padding", [0, 100_000])
def test_archive_behind_another_file_is_refused(extension: str, padding: int) -> None:
    content = BY_EXTENSION[extension] + bytes(padding)
    inspect(extension, content)
    assert refusal(extension, content + ZIP) == "a zip archive is appended to it"


@pytest.mark.parametrize(
    "script", [b"<?php system($_GET[0]) ?>", b"<SCRIPT>alert(1)</SCRIPT>", b"<!doctype html>", b"<svg/onload=alert(1)>"]
)
def test_page_or_script_in_a_comment_is_refused(script: bytes) -> None:
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
def test_script_behind_another_file_is_refused(extension: str, script: bytes) -> None:
    """A server that takes the file for a program runs appended code as well as code inside the image."""
    content = BY_EXTENSION[extension] + bytes(100_000)
    inspect(extension, content)
    assert refusal(extension, content + script + b"\n") == "it has a page or a script inside"


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"%!PS\n", JPEG[:60], PNG[:40], b"hello " * 1000])
def test_file_of_another_format_is_not_called_damaged(content: bytes) -> None:
    def check(extension: str) -> None:
        assert "damaged" not in sentences(extension, content)

    extensions = BY_EXTENSION.keys() - {"txt", "csv", "md", "json"}
    others = [extension for extension in extensions if not content.startswith(BY_EXTENSION[extension][:2])]
    assert not failures(check, ((extension,) for extension in sorted(others)))


def test_missing_bytes_in_the_storage_cause_a_refusal() -> None:
    policy = make_policy()
    with pytest.raises(ContentMismatch, match="ends too early"):
        policy.inspect_content(policy.inspect_name("a.png"), size=1000, read=lambda _offset, _length: b"")


# The whole way.


def test_uploaded_file_is_inspected(tmp_path: Path) -> None:
    environ = {"UPLOAD_FOLDER": str(tmp_path), "ALLOWED_EXTENSIONS": "png docx", "MAX_IMAGE_PIXELS": "255"}
    client = create_app(Settings.from_environ(environ)).test_client()
    document = made.office("word", *(f"word/media/image{n}.png" for n in range(300)))  # more than its head is needed
    assert client.put("/upload/a.docx", data=document).status_code == 201
    refused = client.put("/upload/a.png", data=PNG)
    assert (refused.status_code, refused.get_json()["type"]) == (422, "urn:problem-type:upload:image-too-large")
    assert [file.name for file in tmp_path.glob("files/*/*")] == ["a.docx"]

"""HTML, scripts and programs under an allowed name are refused; honest files that look a little like them are not."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from handler.inspection import filetypes
from handler.problems import ContentMismatch
from handler.settings import DEFAULT_EXTENSIONS, Settings, SettingsError

from ..support import filetype_samples as made
from ..support import samples
from ..support.cases import failures
from ..support.policies import make_policy

DECLARED = "bin=application/octet-stream log=text/x-log jfif=image/jpeg ico=image/x-icon gpx=application/octet-stream"


def declared_types() -> Mapping[str, filetypes.FileType]:
    return Settings.from_environ({"ALLOWED_EXTENSIONS": f"{DEFAULT_EXTENSIONS} md json mp3 {DECLARED}"}).file_types


def inspect(name: str, content: bytes, *, file_types: Mapping[str, filetypes.FileType] | None = None) -> None:
    policy = make_policy(file_types=file_types or declared_types(), max_image_pixels=10**6)
    policy.inspect_content(
        policy.inspect_name(name), size=len(content), read=lambda offset, length: content[offset : offset + length]
    )


PAGES = [
    b"<!DOCTYPE html><title>x</title>",
    b"<html>",
    b"<HTML lang=en>",
    b"<head>",
    b"<body onload=alert(1)>",
    b"<script>alert(1)</script>",
    b"<SCRIPT SRC=//example.org/x.js></SCRIPT>",
    b"<script\n>alert(1)</script>",
    b"<script/x>alert(1)</script>",
    b"<iframe src=javascript:alert(1)>",
    b"<style>*{}</style>",
    b"<svg onload=alert(1)>",
    b"<svg/onload=alert(1)>",
    b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    b"<math><mtext></mtext></math>",
    b"<object data=x>",
    b"<embed src=x>",
    b"<meta http-equiv=refresh content=0>",
    b"<link rel=stylesheet href=x>",
    b"<base href=//example.org>",
    b"<form action=//example.org>",
    b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>",
    b"<?php system($_GET['c']); ?>",
    b"<?= `id` ?>",
    b"<jsp:include page='x'/>",
    b"<cfexecute name='id'>",
    b"<% Response.Write(1) %>",
    b"#!/bin/sh\nid\n",
    b"#! /usr/bin/env python3\n",
]
"""Texts that are a page or a script under any name."""
FRAGMENTS = [
    b"<!-- x --><script>alert(1)</script>",
    b"<img src=x onerror=alert(1)>",
    b"<p>hello",
    b"<a href=javascript:alert(1)>x</a>",
    b"<b>x</b>",
    b"<br>",
    b"<div>x</div>",
    b"<table><tr><td>",
    b"<h1>x</h1>",
    b"<font size=7>",
    b"<video src=x onerror=alert(1)>",
    b"<details open ontoggle=alert(1)>",
]
"""Texts that a browser takes for HTML without a media type (WHATWG MIME Sniffing, section 7.1), or runs there."""
XML = b'<?xml version="1.0"?>\n'
BEFORE = [b"", b"\n\n", b" \t\r\n\f", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"]


def assert_all_are_refused(names: list[str], contents: list[bytes]) -> None:
    """Have each content refused under each name, with everything in :data:`BEFORE` in front."""
    file_types = declared_types()

    def check(name: str, _shown: str, content: bytes) -> None:
        with pytest.raises(ContentMismatch):
            inspect(name, content, file_types=file_types)

    assert not failures(
        check,
        (
            (name, repr(before + content), before + content)
            for name in names
            for content in contents
            for before in BEFORE
        ),
    )


def test_page_or_script_is_refused_as_text() -> None:
    svg = XML + b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    assert_all_are_refused(["a.txt", "a.csv", "a.md", "a.json", "a.bin", "a.log"], [*PAGES, svg])


DOCUMENT_ELEMENTS = """
    html head body title base meta link style script noscript template frameset frame iframe object embed applet form
    svg math xml xsl stylesheet transform cfscript cfexecute cfinclude
    """
FRAGMENT_ELEMENTS = """
    h1 h6 div font table a b br p center span img picture video audio input button details marquee select textarea ul
    ol pre
    """


def test_element_is_refused_as_text_however_its_name_ends() -> None:
    def check(name: str, text: str) -> None:
        with pytest.raises(ContentMismatch):
            inspect(name, text.encode(), file_types=file_types)

    file_types = declared_types()
    ends = (">", " x>", "\t", "\n", "/>", "")
    documents = [*DOCUMENT_ELEMENTS.split(), "jsp:page", "x:html", "svg:svg"]
    assert not failures(check, ((name, f"<{e}{end}") for name in ("a.txt", "a.md") for e in documents for end in ends))
    assert not failures(check, (("a.txt", f"<{e}{end}") for e in FRAGMENT_ELEMENTS.split() for end in ends))


def test_longer_name_than_that_of_an_element_is_accepted() -> None:
    file_types = declared_types()
    for element in (*DOCUMENT_ELEMENTS.split(), *FRAGMENT_ELEMENTS.split()):
        inspect("a.txt", f"<{element}-x> and more".encode(), file_types=file_types)


def test_piece_of_html_is_refused_as_text() -> None:
    assert_all_are_refused(["a.txt", "a.csv", "a.json", "a.bin", "a.log"], FRAGMENTS)


@pytest.mark.parametrize("before", [*BEFORE, b"<!-- a -->\n"])
@pytest.mark.parametrize(
    "content",
    [
        b"<img src=x onerror=alert(1)>",
        b"<IMG\nSRC=x\nONERROR = alert(1)>",
        b"<img/src=x/onerror=alert(1)>",
        b"<img alt='>' src=x onerror=alert(1)>",
        b'<img alt=">" title="" src=x onerror=alert(1)>',
        b"<img alt='' src=x onerror=alert(1)>",
        b"<img alt = '>' src=x onerror=alert(1)>",
        b'<img alt=a"b src=x onerror=alert(1)>',
        b"<img it's src=x onerror=alert(1)>",
        b"<img < src=x onerror=alert(1)>",
        b"<details open ontoggle=alert(1)>",
        b"<a href=x onclick=alert(1)>x</a>",
    ],
)
def test_element_with_an_event_handler_is_refused_in_markdown(content: bytes, before: bytes) -> None:
    with pytest.raises(ContentMismatch):
        inspect("a.md", before + content)


def test_event_handler_has_3_to_30_letters_behind_on() -> None:
    for letters in (3, 30):
        with pytest.raises(ContentMismatch):
            inspect("a.md", b"<b on" + b"x" * letters + b"=1>")
    for letters in (2, 31):
        inspect("a.md", b"<b on" + b"x" * letters + b"=1>")


@pytest.mark.parametrize(
    "content",
    [
        b'<b title=" onload=x">',
        b"<b title=' onload=x'>",
        b"<b> onload=x",
        b"<b <onload=x",
        b'<b title = "> onload=x">',
        b"<b title= \n'> onload=x'>",
        b'<b title="x> onload=y',
        b"<b title='x> onload=y",
        b"<b xonload=x>",
        b"<1 onload=x>",
    ],
)
def test_event_handler_outside_an_element_is_accepted_in_markdown(content: bytes) -> None:
    inspect("a.md", content)


@pytest.mark.parametrize("content", [b"<:html>", b"<jsp:>", b"%PDF is the sign of a PDF", b"%!Perl"])
def test_text_that_resembles_an_active_beginning_is_accepted(content: bytes) -> None:
    inspect("a.txt", content)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.md", "a.json", "a.bin"])
def test_page_in_utf_16_is_refused_as_text(name: str, encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    with pytest.raises(ContentMismatch):
        inspect(name, mark + "  <html><script>alert('ü')</script>".encode(encoding))


@pytest.mark.parametrize("name", ["a.md", "a.txt"])
def test_script_behind_comments_is_refused_in_markdown(name: str) -> None:
    around = [b"<!-- a -->" + white for white in (b"", b"\t", b"\n", b"\v", b"\f", b"\r", b" ")]
    for comments in (*around, b"<!---->", b"<!-- a -->\n<!--\n<p>\n-->\n"):
        with pytest.raises(ContentMismatch):
            inspect(name, comments + b"<script>alert(1)</script>")


@pytest.mark.parametrize("comment", [b"<!-->", b"<!--->", b"<!-- a --!>", b"<!--a-->"])
def test_comment_ends_where_a_browser_ends_it(comment: bytes) -> None:
    """A longer comment would hide the script (WHATWG HTML, "comment start state" and "comment end bang state")."""
    with pytest.raises(ContentMismatch):
        inspect("a.md", comment + b"<script>alert(1)</script>\n-->")
    inspect("a.md", comment + b"text\n-->")


PE = b"MZ\x90\x00\x03\x00\x00\x00" + bytes(52) + b"\x80\x00\x00\x00" + bytes(64) + b"PE\x00\x00" + bytes(200)
PROGRAMS = {
    "Windows": PE,
    "DOS": b"MZ" + struct.pack("<13H", 1, 1, 0, 2, 0, 0xFFFF, 0, 0, 0, 0, 0, 28, 0) + bytes(100),
    "ELF": b"\x7fELF\x02\x01\x01\x00" + bytes(56),
    "Mach-O, 32 bits": b"\xfe\xed\xfa\xce" + bytes(24),
    "Mach-O, 32 bits, little-endian": b"\xce\xfa\xed\xfe" + bytes(24),
    "Mach-O, 64 bits, big-endian": b"\xfe\xed\xfa\xcf" + bytes(24),
    "Mach-O, 64 bits": b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(24),
    "Mach-O, universal, 64 bits": b"\xca\xfe\xba\xbf\x00\x00\x00\x02" + bytes(40),
    "Java pack": b"\xca\xfe\xd0\x0d" + bytes(40),
    "Flash, not compressed": b"FWS\x0a\x00\x01\x00\x00" + bytes(20),
    "Flash, LZMA": b"ZWS\x0d\x00\x01\x00\x00" + bytes(20),
    "Mach-O, universal": b"\xca\xfe\xba\xbe\x00\x00\x00\x02" + bytes(40),
    "Java class": b"\xca\xfe\xba\xbe\x00\x00\x00\x41" + bytes(40),
    "WebAssembly": b"\x00asm\x01\x00\x00\x00",
    "Dalvik": b"dex\n035\x00" + bytes(100),
    "shortcut": b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(68),
    "Flash": b"CWS\x0a\x00\x01\x00\x00" + bytes(20),
    "compiled help": b"ITSF\x03\x00\x00\x00" + bytes(40),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_program_is_refused_under_any_name(program: bytes) -> None:
    file_types = {**filetypes.KNOWN, "bin": filetypes.declared("bin", "application/octet-stream")}
    policy = make_policy(file_types=file_types, max_image_pixels=10**6)
    for extension in file_types:
        name = policy.inspect_name(f"a.{extension}")
        with pytest.raises(ContentMismatch):
            policy.inspect_content(
                name, size=len(program), read=lambda offset, length: program[offset : offset + length]
            )


MAGIC_NUMBERS = [
    b"MZ",
    b"\x7fELF",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"\xca\xfe\xd0\x0d",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\x00asm",
    b"dex\n0",
    b"L\x00\x00\x00\x01\x14\x02\x00",
    b"FWS",
    b"CWS",
    b"ZWS",
    b"ITSF",
]


def test_every_byte_of_a_magic_number_is_compared() -> None:
    def check(_shown: str, magic: bytes) -> None:
        with pytest.raises(ContentMismatch, match=r"a program|a Windows shortcut|a Flash program|a Windows help file"):
            inspect("a.bin", magic + bytes(60), file_types=file_types)
        for at in range(len(magic)):
            other = magic[:at] + bytes([magic[at] ^ 0x80]) + magic[at + 1 :]
            inspect("a.bin", other + bytes(60), file_types=file_types)

    file_types = declared_types()
    assert not failures(check, ((repr(magic), magic) for magic in MAGIC_NUMBERS))


@pytest.mark.parametrize("letters", [b"MZ", b"FWS", b"CWS", b"ZWS", b"ITSF"])
def test_magic_number_of_letters_needs_a_control_character(letters: bytes) -> None:
    for code in range(256):
        content = letters + b" is text " + bytes([code])
        if code in {*range(9), *range(0x0E, 0x1B), *range(0x1C, 0x20)}:
            with pytest.raises(ContentMismatch):
                inspect("a.bin", content)
        else:
            inspect("a.bin", content)


README = b"""<!-- badges -->
<p align="center">
  <img src="logo.png" width="300" alt="Logo"><br>
  <a href="https://example.org"><b>Docs</b></a>
</p>

# Title

Put `<script src="x.js"></script>` into your page, or `<?php echo 1 ?>`.

```html
<!DOCTYPE html>
<html></html>
```
"""
HONEST = {
    "README.md": README,
    "div.md": b'<div align="center">\n\n# Title\n\n</div>\n',
    "h1.md": b'<h1 align="center">Title</h1>\n',
    "details.md": b"<details><summary>More</summary>\n\nText\n</details>\n",
    "turned-on.md": b'<p align="center">\n<b>Set onload = x</b>, <i class="on">on=1</i>\n</p>\n',
    "front.md": b"---\ntitle: x\n---\n\n<script>\n",
    "autolink.md": b"<https://example.org> is a link\n",
    "open-comment.md": b"<!-- " + b"x" * 5000 + b" -->\n",
    "umlauts.csv": "Name;Größe\r\nMüller;<5 €\r\n".encode("cp1252"),
    "angle.csv": b'"<5","<b>x</b>",">7"\r\n<3,4,5\r\n',
    "excel.csv": "Name\tGröße\r\nMüller\t1,5\r\n".encode("utf-16"),
    "excel-marked.csv": "Name;Größe\r\n".encode("utf-8-sig"),
    "russian.csv": "имя;размер\r\n".encode("cp1251"),
    "japanese.txt": "こんにちは\r\n".encode("shift_jis"),
    "mail.txt": "こんにちは\r\n".encode("iso2022_jp"),
    "chinese.txt": "你好\n".encode("gb18030"),
    "dos.txt": "Größe\r\n".encode("cp850"),
    "mac.txt": "Größe\r".encode("mac_roman"),
    "blank-first-line.txt": b"\n\n   \nhello\n",
    "blank.txt": b" ",
    "quote.txt": b"<ada@example.org> wrote:\n> hello\n",
    "less.txt": b"<5 apples\n",
    "stdin.txt": b"<stdin>:1: warning\n",
    "heart.txt": b"<3\n",
    "parts.txt": b"MZ-01 is a part number; so is FWS-2\n",
    "pk.txt": b"PK is the sign of a zip\n",
    "id3.txt": b"ID3 tags explained\n",
    "hash.txt": b"# a comment\n#hashtag!\n",
    "page-break.txt": b"one\x0ctwo\n",
    "slide.txt": b"title\x0bsubtitle\n",
    "tutorial.txt": b"Write <html> first, then <script>.\n",
    "cut-emoji-1.txt": b"x" * 4095 + "😀".encode() * 2000,
    "cut-emoji-2.txt": b"x" * 4094 + "😀".encode() * 2001,
    "cut-emoji-3.txt": b"x" * 4093 + "😀".encode() * 2002 + b"x",
    "cut-marked.txt": b"\xef\xbb\xbf" + "😀".encode() * 3000 + b"xx",
    "cut-utf-16.txt": ("x" + "😀" * 5000).encode("utf-16"),
    "cut-utf-16-be.txt": b"\xfe\xff" + ("x" + "😀" * 5000 + "y").encode("utf-16-be"),
    "tag.json": b'{"html": "<script>alert(1)</script>"}',
    "track.gpx": XML + b'<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><name>p</name></gpx>',
    "solid.bin": b"solid cube\n facet normal 0 0 1\n",
    "archive.bin": made.BY_EXTENSION["zip"],
    "parts.bin": b"MZ-01 is a part number",
    "icon.ico": b"\x00\x00\x01\x00\x01\x00\x10\x10" + bytes(50),
    "a.log": b"12:00 <html> was sent\n",
    "a.jfif": samples.JPEG,
}


@pytest.mark.parametrize("name", HONEST)
def test_harmless_file_is_accepted(name: str) -> None:
    inspect(name, HONEST[name])


@pytest.mark.parametrize(
    "content",
    [
        XML + b"<!-- c --><html xmlns='http://www.w3.org/1999/xhtml'/>",
        XML + b"<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
        XML + b"<a-b.c_d:script>alert(1)</a-b.c_d:script>",
        XML + b"<gpx xmlns:h='http://www.w3.org/2000/svg'/>",
        XML + b"<gpx xmlns:h='http://www.w3.org/1999/XSL/Transform'/>",
        XML + b"<gpx xmlns:h='http://www.w3.org/1999/xhtml'><h:body/></gpx>",
        XML + b"<?xml-stylesheet href='x.xsl'?><gpx/>",
        b"\xef\xbb\xbf" + XML + b"<svg/>",
    ],
)
def test_page_in_xml_of_an_unknown_type_is_refused(content: bytes) -> None:
    with pytest.raises(ContentMismatch, match="XML that a browser runs"):
        inspect("a.gpx", content)


def test_active_element_of_any_prefix_is_refused_in_xml() -> None:
    def check(start: str, element: str, end: str) -> None:
        with pytest.raises(ContentMismatch, match="XML that a browser runs"):
            inspect("a.gpx", XML + f"<gpx>{start}{element}{end}".encode(), file_types=file_types)

    file_types = declared_types()
    ends = (">", " x='1'>", "\n>", "/>")
    assert not failures(
        check, ((s, e, end) for s in ("<", "<x:", "<a-b.c_d:") for e in ("html", "svg", "script") for end in ends)
    )
    for harmless in ("<:svg>", "<htmlx>", "<svg:x>", "<scripts/>"):
        inspect("a.gpx", XML + f"<gpx>{harmless}".encode(), file_types=file_types)


def test_declared_extension_is_checked_as_its_media_type() -> None:
    for name, content in (("a.jfif", b"GIF89a"), ("a.log", b"a\0b"), ("a.ico", b"\0\0\1\0<?php system(1)")):
        with pytest.raises(ContentMismatch):
            inspect(name, content)


RUN = """
    html htm xhtml shtml svg svgz xml xsl php php5 phtml phar asp aspx jsp js mjs hta exe dll com bat cmd scr ps1 vbs
    sh py pl jar class msi lnk url swf htaccess docm xlsm pptm so apk mhtml
    """


@pytest.mark.parametrize("extension", RUN.split())
def test_active_extension_cannot_be_declared(extension: str) -> None:
    with pytest.raises(SettingsError, match=f"'{extension}' is not accepted as an extension"):
        Settings.from_environ({"ALLOWED_EXTENSIONS": f"pdf {extension}=application/octet-stream"})


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "application/gpx+xml",
        "text/xsl",
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "text/ecmascript",
        "text/vbscript",
        "application/postscript",
        "application/x-httpd-php",
        "application/x-php",
        "text/x-php",
        "application/x-sh",
        "text/x-python",
        "application/x-msdownload",
        "application/vnd.microsoft.portable-executable",
        "application/java-archive",
        "application/x-shockwave-flash",
        "application/hta",
        "application/wasm",
        "text/cache-manifest",
        "multipart/related",
        "message/rfc822",
        "application/vnd.ms-word.document.macroenabled.12",
    ],
)
def test_active_media_type_cannot_be_declared(media_type: str) -> None:
    with pytest.raises(SettingsError, match="is not accepted as a media type") as caught:
        Settings.from_environ({"ALLOWED_EXTENSIONS": f"foo={media_type.upper()}"})
    assert repr(media_type) in str(caught.value)


@pytest.mark.parametrize(
    "declaration",
    [
        "stl=model/stl",
        "ico=image/x-icon",
        "epub=application/epub+zip",
        "rtf=application/rtf",
        "ics=text/calendar",
        "log=text/plain",
        "ts=video/mp2t",
        "cer=application/pkix-cert",
        "bin=application/octet-stream",
        "gpx=application/octet-stream",
        "shp=application/x-shapefile",
        "psd=image/vnd.adobe.photoshop",
    ],
)
def test_harmless_type_can_be_declared(declaration: str) -> None:
    extension, media_type = declaration.split("=")
    file_type = Settings.from_environ({"ALLOWED_EXTENSIONS": declaration}).file_types[extension]
    assert (file_type.extension, file_type.media_type) == (extension, media_type)

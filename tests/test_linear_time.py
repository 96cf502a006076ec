"""Every pattern and parser that sees client input takes time in proportion to its input.

:data:`TABLE` lists them, each with inputs that are made to be slow. ``handler/`` is searched for patterns, for parsers
and for checks of file types: one without a row fails, and so does a row without one. A new method of a known pattern
needs a row of its own, because ``[ ]*;`` is linear for ``match`` and quadratic for ``search``.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from handler import gateway, idempotency
from handler.app import create_app
from handler.direct import declaration, upload_ids
from handler.inspection import filetypes
from handler.inspection import policy as inspection
from handler.inspection.formats import File, Mismatch
from handler.local import http1
from handler.problems import Problem
from handler.resumable import fields as resumable_fields
from handler.resumable import tus
from handler.settings import Settings
from handler.web import digests, forms, part_headers, tokens

from .support import filetype_samples as made
from .support.gateway_behaviours import Context
from .support.gateway_events import rest_event

if TYPE_CHECKING:
    from flask import Flask

HANDLER = Path(__file__).parents[1] / "handler"
METHODS = {"finditer", "findall", "fullmatch", "match", "search", "split", "sub", "subn"}
PARSERS = (
    "web.digests", "web.forms", "web.part_headers", "web.tokens", "direct.upload_ids", "local.http1", "resumable.fields"
)  # fmt: skip
"""The modules whose public functions each have a row."""

MAX_GROWTH = 6
"""How much more work four times the input may be. Linear work is 4 times as much, quadratic work 16 times."""
NOTHING_SECONDS = 0.01
"""Less CPU time than this passes without a look at its growth: it is too short to measure on a busy machine. Quadratic
work on the inputs below takes far longer."""
ENOUGH_SECONDS = 0.3
"""A measurement of more than this is not repeated."""
TRIES = 5
"""How often too large a growth is measured before it counts: other processes can cause one."""
SECRET = "a" * 40
STRUCTURED = (";", "; ", ";a", ";a=", ";a=1", ';a="', ';a="\\', ";a=:", ";a=a", " ")
"""Pieces of the parameters of a structured field (RFC 9651)."""

Input = str | bytes
Build = Callable[[int], Any]


@dataclass(frozen=True)
class Row:
    """A pattern or a parser.

    :param builds: functions that each make a slow input of about ``size`` characters.
    :param run: does the work on such an input. A pattern needs none, because its key names the method; without one, it
        is ``search``.
    :param size: of the smaller input; the larger one has four times as many.
    """

    builds: tuple[Build, ...]
    run: Callable[[Any], object] | None = None
    size: int = 8_000


def on(*builds: Build, run: Callable[[Any], object] | None = None, size: int = 8_000) -> Row:
    return Row(builds, run, size)


def repeated(piece: Input, *, start: Input | None = None, end: Input | None = None) -> Build:
    """Make an input of that piece again and again, between a start and an end."""
    nothing = piece[:0]
    return lambda size: (start or nothing) + piece * (size // len(piece)) + (end or nothing)  # type: ignore[operator]


@dataclass(frozen=True)
class Trusted:
    """A pattern or parser that no client reaches, and why."""

    reason: str


DEPLOYER = Trusted("reads the settings or the command line of the deployer")
AWS = Trusted("reads values that AWS itself puts into an event")
POLICY = inspection.Policy(file_types=filetypes.KNOWN, max_file_bytes=10**9, max_image_pixels=10**9)
OURS = Trusted("writes texts that we sign ourselves")
COMPARED = Trusted("compares the short values of a verified token and of a verified upload id")


# Work that takes more than a call.


def form(header: Build) -> Build:
    """Make a form of parts that each have the longest header."""

    def build(size: int) -> bytes:
        block: bytes = b'Content-Disposition: form-data; name="x"; filename="' + header(forms.MAX_PART_HEADER_BYTES)
        part = b"--x\r\n" + block[: forms.MAX_PART_HEADER_BYTES] + b"\r\n\r\n\r\n"
        return part * min(size // len(part), forms.MAX_PARTS) + b"--x--\r\n"

    return build


def content(middle: Build) -> Build:
    """Make a form of one file with that content."""
    head, end = b"--x\r\nContent-Disposition: form-data; name=file; filename=a.txt\r\n\r\n", b"\r\n--x--\r\n"

    return lambda size: head + middle(size) + end


def read_form(body: bytes) -> None:
    for _ in forms.parts(io.BytesIO(body), b"x"):
        pass


def read_chunks(body: bytes) -> None:
    chunked = http1.ChunkedBody(io.BufferedReader(cast("io.RawIOBase", io.BytesIO(body))))
    buffer = bytearray(64 * 1024)
    while chunked.readinto(buffer):
        pass


def check(extension: str) -> Callable[[bytes], object]:
    file_type = filetypes.KNOWN.get(extension) or filetypes.declared(extension, f"application/x-{extension}")
    return lambda file: inspection.run(
        file_type.check(File(len(file))), lambda offset, length: file[offset : offset + length]
    )


def file_of(extension: str, *more: Build) -> Row:
    """A row for the check of a file type: a good file with too much in or after it, and the files of ``more``."""
    sample = made.BY_EXTENSION[made.SYNONYMS.get(extension, extension)]
    tail = len(sample) - 8
    return on(
        repeated(b"\0", start=sample),
        repeated(b"\xff", start=sample),
        repeated(b"PK\x05\x06", start=sample),
        repeated(b"<", start=sample),
        repeated(b" ", start=b"", end=sample),
        repeated(sample),
        repeated(sample[8:tail] or sample, start=sample[:8], end=sample[tail:]),
        *(lambda size, length=length: sample[:length] * max(1, size // length) for length in (2, 4, 12, 16)),
        *more,
        run=check(extension),
        size=50_000,
    )


def with_many_entries(size: int) -> bytes:
    return made.make_zip([f"{number}" for number in range(size // 100)])


def with_extra_fields(size: int) -> bytes:
    """Make a zip of eight entries, each with extra fields that hold nothing: up to 50 KB of them."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(8):
            entry = zipfile.ZipInfo(str(number))
            entry.extra = b"\xfe\xca\0\0" * min(size // 16, 16_000)
            file.writestr(entry, b"")
    return archive.getvalue()


def headers(**values: str) -> Headers:
    return Headers([(name.replace("_", "-"), value) for name, value in values.items()])


def header(name: str, value: str) -> Message:
    fields = Message()
    fields[name] = value
    return fields


class _Served:
    """The app that requests go to, and the paths of things that it has. A fixture fills them in."""

    app: Flask
    paths: dict[str, str]


def call(method: str, path: str, **variables: str) -> Callable[[str], object]:
    """Return work that sends a request.

    :param path: with ``{}`` where the input goes, or ``{file}`` or ``{static}`` for a file of the app.
    :param variables: more of the WSGI environment, with ``{}`` where the input goes.
    """

    def run(text: str) -> None:
        environ = EnvironBuilder(method=method, data=b"hello").get_environ()
        environ |= {"REMOTE_ADDR": "127.0.0.1", "PATH_INFO": _Served.paths.get(path, path).replace("{}", text)}
        environ |= {name: value.replace("{}", text) for name, value in variables.items()}
        body, status, _ = run_wsgi_app(_Served.app, environ, buffered=True)
        assert status < "5", status
        for _ in body:
            pass

    return run


def field(name: str, *pieces: str, start: str = "", method: str = "GET", path: str = "/nothing") -> Row:
    """A row for a header field that Werkzeug, Flask or we parse."""
    variable = name if name.startswith("CONTENT_T") else f"HTTP_{name}"
    builds = [repeated(piece, start=start, end=end) for piece in pieces for end in ("", "b")]
    return on(*builds, run=call(method, path, **{variable: "{}"}), size=5_000)


def read_key(value: str) -> None:
    with suppress(Problem):
        idempotency.parse_key(value)


LISTS = (" ", "\t", ",", ";", "=", '"', "a,", "a;", "a=", 'a="', '",', "a ", ";q=0.5,", "a/b,", 'W/"', "a, ")
SPACES = repeated(" ", start="a", end="b")
BYTES_SPACES = repeated(b" ", start=b"a", end=b"b")


TABLE: dict[str, Row | Trusted] = {
    # Patterns.
    "local.cli._PREFIX.fullmatch": DEPLOYER,
    "local.cli._duration.fullmatch": DEPLOYER,
    "direct.declaration._NUMBER.fullmatch": on(repeated("1")),
    "direct.declaration._SHA256.fullmatch": on(repeated("a")),
    "web.digests._MEMBER.fullmatch": on(
        repeated("a"), repeated("a=:"), repeated("A", start="a=:"), repeated("=", start="a=:")
    ),
    "idempotency._QUOTED.fullmatch": on(
        repeated("a", start='"'),
        repeated(r"\\", start='"'),
        repeated(r"\"", start='"'),
        repeated("\\", start='"'),
        repeated('"'),
    ),
    "idempotency._BARE.fullmatch": on(repeated("a"), repeated("a", end=" "), repeated("-")),
    "idempotency.parse_key.sub": on(
        repeated(r"\\", start='"', end='"'), repeated('"'), repeated("a"), run=read_key, size=500
    ),
    "routes.direct._PART_NUMBER.fullmatch": on(repeated("1")),
    "routes.files._LIMIT.fullmatch": on(repeated("1")),
    "inspection.formats.active._EMBEDDED_ANYWHERE": on(
        *(repeated(piece) for piece in (b"<", b"<?", b"<a", b"<body ", b"<script ", b"<img ", b"<!doctype ", b"<a:")),
        *(repeated(piece, start=b"<body") for piece in (b" ", b" a=", b"a", b"<", b'"<', b" <on")),
    ),
    "inspection.formats.active._EMBEDDED_IN_METADATA": on(
        *(
            repeated(piece)
            for piece in (b"<", b"<?", b"<a", b"<body ", b"<script ", b"<img ", b"<!doctype ", b"<%", b"<style ")
        ),
        *(repeated(piece, start=b"<body") for piece in (b" ", b" a=", b"a", b"<", b'"<', b" <on")),
    ),
    "inspection.formats.hidden._NO_PADDING.search": on(repeated(b"\0"), repeated(b" ")),
    "inspection.formats.images._JPEG_MARKER": on(repeated(b"\xff"), repeated(b"\0"), repeated(b"\xff\0")),
    "inspection.formats.images._JPEG_MARKER_BETWEEN_SCANS": on(
        repeated(b"\xff"), repeated(b"\0"), repeated(b"\xff\xd0")
    ),
    "inspection.formats.media._MP3_SYNC.finditer": on(repeated(b"\xff\xfb"), repeated(b"\xff")),
    "inspection.formats.media._free_mp3_frames_follow.compile": on(
        *(repeated(piece) for piece in (b"\xff\xfb\0\0", b"\xff\xfb\0", b"\xff\xfb\2\0\0")),
        run=check("mp3"),
        size=50_000,
    ),
    "inspection.formats.office._MACRO_NAME.search": on(
        repeated(b"/vbadata"),
        repeated(b"a", start=b"/vbadata"),
        repeated(b"object "),
        repeated(b"/"),
        repeated(b"/vba"),
    ),
    "inspection.formats.office._MACRO_TYPE.search": on(repeated("macro"), repeated("vba")),
    "inspection.formats.office.office.compile": on(
        lambda size: made.make_zip({"[Content_Types].xml": b'ContentType="application/vnd' + b".a" * size, "a": b""}),
        run=check("docx"),
    ),
    "inspection.formats.pdf._OBJECT.search": on(
        repeated(b"\n"),
        repeated(b"\n "),
        repeated(b"\n1"),
        repeated(b"\n1 1 "),
        repeated(b" ", start=b"\n1"),
        repeated(b"1", start=b"\n"),
    ),
    "inspection.formats.runnable._PHP.fullmatch": DEPLOYER,
    "inspection.formats.text._CONTROL.search": on(repeated(b"a"), repeated(b"\x1b(")),
    "inspection.formats.text._UTF_16_CONTROL.search": on(repeated("a")),
    "inspection.policy._INVISIBLE.sub": on(repeated("\u3164"), repeated("a")),
    "web.cors._FIELD_NAME.fullmatch": on(repeated("a")),
    "web.hooks._EXTENSION.fullmatch": on(repeated("a")),
    "Access-Control-Request-Headers": field("ACCESS_CONTROL_REQUEST_HEADERS", *LISTS, method="OPTIONS", path="/upload"),
    "inspection.formats.active._ACTIVE_XML.search": on(
        repeated(b"<"), repeated(b"<a"), repeated(b"a", start=b"<"), repeated(b"//www.")
    ),
    "inspection.formats.active._COMMENT.match": on(
        repeated(b"<!--"),
        repeated(b"-", start=b"<!--"),
        repeated(b"--", start=b"<!--"),
        repeated(b"--!", start=b"<!--"),
        repeated(b" ", start=b"<!-->"),
    ),
    "inspection.formats.active._CONTROL.search": on(repeated(b"a")),
    "inspection.formats.active._DOCUMENT.match": on(
        repeated(b"<"), repeated(b"a", start=b"<"), repeated(b"a:", start=b"<")
    ),
    "inspection.formats.active._HANDLER.match": on(
        *(repeated(piece, start=b"<a") for piece in (b" ", b"a", b" on", b" onload", b'""', b'"', b"/", b" on='")),
        *(repeated(piece, start=b"<a") for piece in (b"=", b"= ", b'=""', b'="', b"='", b"=a'", b"= on")),
    ),
    "inspection.formats.active._FRAGMENT.match": on(repeated(b"<"), repeated(b"a", start=b"<")),
    "inspection.formats.active.is_active_media_type.fullmatch": DEPLOYER,
    "inspection.formats.archives._ESCAPES.search": on(
        repeated(b"."), repeated(b"/"), repeated(b"/.."), repeated(b"..", start=b"a")
    ),
    "inspection.formats.isobmff._MP4.fullmatch": on(repeated(b"a"), repeated(b"3g")),
    "inspection.formats.pdf._HEADER.match": on(repeated(b"%PDF-1.7")),
    "inspection.formats.text._JSON.match": on(
        repeated(b" "), repeated(b" ", start=b"{"), repeated(b"["), repeated(b"[ "), repeated(b"1")
    ),
    "web.forms._AFTER_END.match": on(repeated(b" "), repeated(b" ", end=b"x")),
    "web.forms._BOUNDARY.fullmatch": on(repeated(" "), repeated("a"), repeated("a", end="\xe9")),
    "web.forms._Body.__init__.compile": on(
        content(repeated(b"\r\n--x")),
        content(repeated(b"\r\n--x ")),
        content(repeated(b"\r\n--x" + b" " * 4000)),
        content(repeated(b"\r")),
        content(repeated(b"\r\n")),
        content(repeated(b"-")),
        run=read_form,
        size=500_000,
    ),
    "web.forms._UNFINISHED_LINE.fullmatch": on(
        repeated(b" "), repeated(b" ", end=b"x"), repeated(b"-"), repeated(b"\r")
    ),
    "gateway.route_path.sub": AWS,
    "inspection.policy._ACTIVE.search": on(repeated("a"), repeated("x-"), repeated("xml"), repeated("scrip")),
    "inspection.policy._DEVICE.fullmatch": on(repeated("con"), repeated("com1")),
    "inspection.policy.clean_name.split": on(
        repeated("/"), repeated("."), repeated("a."), repeated("\u202e"), run=inspection.clean_name
    ),
    "lambda_function._INCOMING_KEY.fullmatch": AWS,
    "logs._FILE_KEY.sub": on(
        repeated("files/"),
        repeated("a"),
        repeated("files/" + "0" * 32 + "/"),
        repeated("a", start="files/" + "0" * 32 + "/"),
        repeated("files/a/"),
        repeated("a", start="files/"),
        repeated("/" + "a" * 64, start="files"),
    ),
    "resumable.fields._BOOLEAN.fullmatch": on(*(repeated(piece, start="?1") for piece in STRUCTURED), SPACES),
    "resumable.fields._INTEGER.fullmatch": on(*(repeated(piece, start="1") for piece in STRUCTURED), repeated("1")),
    "resumable.fields._CHECKSUM.fullmatch": on(repeated("a"), repeated("a", start="sha1 "), repeated("=", start="a a")),
    "web.part_headers._ENCODED_WORD.match": on(
        repeated("=?"), repeated("a", start="=?"), repeated("=", start="=?utf-8?q?"), repeated(" ", start="=?a?q?a?=")
    ),
    "web.part_headers._FOLD.sub": on(repeated("\r\n"), repeated("\r\n "), repeated(" ", start="\r\n"), repeated(" ")),
    "web.part_headers._IN_QUOTES.finditer": on(
        repeated('"'),
        repeated('\\"'),
        repeated("\\"),
        repeated('" '),
        repeated(" ", start='"', end="a"),
        repeated('";'),
    ),
    "web.part_headers._PARAMETER.match": on(
        repeated(";"), repeated(" "), repeated("a"), SPACES, repeated(" ", start="a=", end="b")
    ),
    "web.part_headers._TOKEN.fullmatch": on(repeated("a"), repeated("a", end=" ")),
    "settings._BUCKET.fullmatch": DEPLOYER,
    "settings._URL_TEXT.fullmatch": DEPLOYER,
    "settings._EXTENSION.fullmatch": DEPLOYER,
    "settings._MEDIA_TYPE.fullmatch": DEPLOYER,
    "settings._ORIGIN.fullmatch": DEPLOYER,
    "settings._NUMBER.fullmatch": DEPLOYER,
    "settings._SIZE.fullmatch": DEPLOYER,
    "settings._trusted_proxies.fullmatch": DEPLOYER,
    "storage._FOLDER.fullmatch": on(repeated("a"), repeated("-")),
    "storage._ID.fullmatch": on(repeated("a")),
    "storage._NAME.fullmatch": on(repeated("a"), repeated(".")),
    "storage.folder.incoming._PART.fullmatch": Trusted("reads the names of files that we wrote"),
    "local.http1._CHUNK_LINE.fullmatch": on(
        repeated(b"1"), repeated(b" ", start=b"1"), repeated(b";", start=b"1"), repeated(b"a", start=b"1;")
    ),
    "local.http1._FIELD.fullmatch": on(
        repeated(b"a"), repeated(b"a", start=b"a:"), repeated(b" ", start=b"a:"), repeated(b":")
    ),
    "local.http1._LENGTH.fullmatch": on(repeated("1")),
    "local.http1._NAME.fullmatch": on(repeated("a")),
    "local.http1._VALUE.fullmatch": on(repeated("a"), repeated(" ")),
    "local.http1._REQUEST_LINE.fullmatch": on(
        repeated(b"a"), repeated(b"/", start=b"GET "), repeated(b"a", start=b"GET a:"), repeated(b" ")
    ),
    # Parsers.
    "web.digests.expected_digests": on(
        *map(repeated, (",", "sha-256=:", "sha-256=::,", "a=::,", "a=::;", "=", "A")),
        run=lambda text: digests.expected_digests(headers(Repr_Digest=text)),
    ),
    "web.forms.boundary_of": on(
        *(
            repeated(piece, start="multipart/form-data; boundary=")
            for piece in ("a", " ", ";", '"', '\\"', "a=;", '="')
        ),
        run=forms.boundary_of,
    ),
    "web.forms.parts": on(
        *(
            form(repeated(piece, end=b"a"))
            for piece in (b'\\"', b'"', b"\\", b'" ', b";", b"a=;", b"%41", b"%C3%BC", b"=?")
        ),
        *(form(repeated(piece, start=b'"\r\nX:')) for piece in (b"\r\nX:", b"\r\n ", b":")),
        run=read_form,
        size=100_000,
    ),
    "web.forms.text": on(lambda size: [b"=\r\n"] * (size // 4), run=lambda data: forms.text(data, "quoted-printable")),
    "web.part_headers.decoded": on(
        *map(repeated, ("%", "%41", "%C3%BC", "%22", "\xff", "\xc3\xbc", "=?utf-8?q?a?=", "=?utf-8?q?a?= ")),
        repeated("=41", start="=?utf-8?q?", end="?="),
        repeated("=1B$B=1B(B", start="=?iso-2022-jp?q?", end="?="),
        repeated("QQ==", start="=?utf-8?b?", end="?="),
        run=part_headers.decoded,
    ),
    "resumable.fields.boolean": on(*map(repeated, ("?", ";", " ")), run=resumable_fields.boolean),
    "resumable.fields.integer": on(*map(repeated, ("1", ";", " ")), run=resumable_fields.integer),
    "resumable.fields.checksum": on(
        *map(repeated, ("a", "=", " ")), run=lambda text: resumable_fields.checksum(text, algorithms=tus.ALGORITHMS)
    ),
    "resumable.fields.metadata": on(
        *map(repeated, (",", " ", "a", "a,", "=", "a YQ==,")), repeated("YQ", start="a "), run=resumable_fields.metadata
    ),
    "web.part_headers.file_name_in": on(
        *(repeated(piece, start='inline; filename="') for piece in ('"', '\\"', ";", "a=;", "%41", " ")),
        run=part_headers.file_name_in,
    ),
    "web.part_headers.parameters": on(
        *(repeated(piece, start='form-data; name="') for piece in ('"', '\\"', "\\", '" ', '";', ";", "a=;", " ")),
        *(repeated(piece, start="form-data;") for piece in (" ", ";", "; ", "=", "a", "a;", "a=;", 'a="";')),
        run=lambda text: list(part_headers.parameters(text)),
    ),
    "web.part_headers.parse": on(
        *(
            repeated(piece, start=b"Content-Disposition: form-data; filename*=")
            for piece in (b"'", b"%", b"%C3%BC", b"UTF-8''")
        ),
        *map(repeated, (b"a:\r\n", b":", b"\r\n ", b"\r", b"Content-Type:multipart/\r\n", b"X:a\r\n")),
        run=part_headers.parse,
    ),
    "web.tokens.mint": OURS,
    "web.tokens.verify": on(
        *map(repeated, (".", "a", "a.", "{", "=")),
        repeated("A", start="eyJhbGciOiJIUzI1NiJ9.", end=".A"),
        run=lambda text: tokens.verify(text, secrets=[SECRET]),
    ),
    "direct.upload_ids.sign": OURS,
    "direct.upload_ids.check_folder": COMPARED,
    "direct.upload_ids.check_owner": COMPARED,
    "direct.upload_ids.subject_hash": on(*map(repeated, "aä"), run=upload_ids.subject_hash),
    "direct.upload_ids.verify": on(
        *map(repeated, (".", "a", "a.", "=", ".A")), run=lambda text: upload_ids.verify(text, secret=SECRET.encode())
    ),
    "local.http1.closes": on(
        *map(repeated, (",", "close,", " ", "a")), run=lambda text: http1.closes(header("Connection", text))
    ),
    "local.http1.SizedBody": Trusted("counts the bytes, and looks at none of them"),
    "local.http1.interim_response": on(
        repeated("a"),
        repeated(" "),
        run=lambda text: http1.interim_response(104, [("Upload-Draft-Interop-Version", text)]),
    ),
    "local.http1.is_chunked": on(
        *map(repeated, (",", "chunked,", " ", "a ", "1")),
        run=lambda text: http1.is_chunked(header("Transfer-Encoding", text), version="HTTP/1.1"),
    ),
    "local.http1.read_header": on(
        *map(repeated, (b"a:\r\n", b"Host:a\r\n", b"a", b":", b"a: \r\n", b"\r")),
        repeated(b" ", start=b"a:"),
        run=lambda data: http1.read_header(io.BytesIO(data), version="HTTP/1.1"),
    ),
    "local.http1.read_line": on(
        *(repeated(piece, start=b"GET /") for piece in (b"/", b"a", b"[", b"@", b"?", b"#", b"%", b"\xff")),
        run=lambda data: http1.read_line(io.BytesIO(data + b" HTTP/1.1\r\n")),
    ),
    "local.http1.ChunkedBody": on(
        *map(repeated, (b"1\r\na\r\n", b"1;a=b\r\na\r\n")),
        repeated(b"a:b\r\n", start=b"0\r\n"),
        run=read_chunks,
    ),
    "inspection.policy.Policy.inspect_name": on(
        *(
            repeated(piece, end=".txt")
            for piece in ("a", ".", "/", " ", "_", "\xe9", "\uff0e", "\u202e", "ﷺ", "a\u0301")
        ),
        run=POLICY.inspect_name,
    ),
    "direct.declaration.read_query": on(
        lambda size: {f"metadata[{number}]": "" for number in range(size // 8)},
        lambda size: {"filename": "a.txt", "type": "x" * size},
        run=lambda query: declaration.read_query(query, policy=POLICY),
    ),
    "gateway.make_handler": on(
        *(repeated(piece, start="/") for piece in ("/", "a/", "%", "%2F", "{", "{a}")),
        run=lambda text: gateway.make_handler(_Served.app)(
            rest_event(path=text, query=text, headers=[("X", text)]), Context()
        ),
    ),
    # Every field of a request that Werkzeug, Flask or this app parses.
    "Accept": field("ACCEPT", *LISTS, start="a"),
    "Accept-Encoding": field("ACCEPT_ENCODING", *LISTS, path="{static}"),
    "Authorization": field("AUTHORIZATION", *LISTS, ".", "A", start="Bearer ", method="DELETE", path="{file}"),
    "Content-Type": field(
        "CONTENT_TYPE", *LISTS, "a*0=b;", start="multipart/form-data; boundary=", method="POST", path="/upload"
    ),
    "Cookie": field("COOKIE", *LISTS, path="{file}"),
    "Host": field("HOST", "a", ".", ":", "[", "@", "a.", "1", path="/upload"),
    "If-Match": field("IF_MATCH", *LISTS, path="{file}"),
    "If-Modified-Since": field("IF_MODIFIED_SINCE", *LISTS, "Mon, ", ":", "1 ", "(", path="{file}"),
    "If-None-Match": field("IF_NONE_MATCH", *LISTS, path="{file}"),
    "If-Range": field("IF_RANGE", *LISTS, path="{file}"),
    "If-Unmodified-Since": field("IF_UNMODIFIED_SINCE", *LISTS, "Mon, ", ":", "1 ", "(", path="{file}"),
    "Origin": field("ORIGIN", "a", "/", ":", " ", path="/upload"),
    "Range": field("RANGE", *LISTS, "0-1,", "1", "-", start="bytes=", path="{file}"),
    "the path": on(*map(repeated, ("/", "a/", "%", ".", " ", "é")), run=call("GET", "/{}")),
    "the path of a file": on(*map(repeated, ("/", "a/", "%", ".", " ", "é")), run=call("GET", "/files/{}")),
    "the name in a path": on(*map(repeated, ("a", "a.", "%", ".", " ", "é")), run=call("PUT", "/upload/{}")),
    "the query": on(
        *map(repeated, ("&", "a&", "=", "a=b&", "%", "%41", "+", "metadata[a]=1&", "\xe9", ";")),
        run=call("GET", "/upload/s3/params", QUERY_STRING="{}"),
    ),
    "a JSON body": on(
        *map(repeated, ("[", '{"a":', "1", "9", '"', "\\", " ", "1e", "-")),
        run=lambda text: _Served.app.test_client().post("/upload/s3/multipart", data='{"x":' + text),
    ),
    # The checks of file types: each has the general inputs, and some have their own.
    **{f"check {extension}": file_of(extension) for extension in filetypes.KNOWN},
    "check gif": file_of("gif", lambda size: made.gif(extensions=made.gif_comment(b"a") * (size // 6))),
    "check jpg": file_of("jpg", lambda size: made.jpeg(segments=made.jpeg_segment(0xE1, b"") * (size // 4))),
    "check mp3": file_of("mp3", repeated(made.id3(), end=made.mp3_frames())),
    "check mp4": file_of("mp4", repeated(made.box(b"free"), start=made.ftyp(b"isom"))),
    "check png": file_of("png", lambda size: made.png(chunks=made.png_chunk(b"tEXt", b"a") * (size // 13))),
    "check tif": file_of("tif", lambda size: made.tiff(*[(9, 9)] * (size // 50))),
    "check zip": file_of("zip", with_many_entries, with_extra_fields),
}


# The search for patterns and parsers that must be in the table.


class _Uses(ast.NodeVisitor):
    """The uses of patterns in a module."""

    def __init__(self, module: str) -> None:
        self._scope = [module]
        self._in_function = 0
        self.patterns: dict[str, str] = {}
        """The full name of each pattern of the module, by its own name."""
        self.named: list[tuple[str, str]] = []
        """Each name with a method of patterns behind it, and that method."""
        self.inline: set[str] = set()
        """The functions that use a pattern which has no name of its own."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._in_function += 1
        self.visit_ClassDef(cast("ast.ClassDef", node))
        self._in_function -= 1

    def visit_Assign(self, node: ast.Assign) -> None:
        match node.targets, node.value:
            case [ast.Name(name)], ast.Call(ast.Attribute(ast.Name("re"), "compile")) if not self._in_function:
                self.patterns[name] = ".".join([*self._scope, name])
            case _:
                self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.module != "re", "import re as a whole, so that its uses are found here"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        match node:
            case ast.Attribute(ast.Name("re"), function) if function in METHODS | {"compile"}:
                self.inline.add(".".join([*self._scope, function]))
            case ast.Attribute(ast.Name(name) | ast.Attribute(_, name), method) if method in METHODS:
                self.named.append((name, method))
        self.generic_visit(node)


def modules() -> dict[str, ast.Module]:
    """Return the source of each module of the package, by its name below the package."""
    return {
        ".".join(path.relative_to(HANDLER).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
        for path in HANDLER.rglob("*.py")
    }


def uses_of_patterns() -> set[str]:
    """Return the uses of patterns in ``handler/``, such as ``forms._AFTER_END.match``. A pattern that is only handed to
    a function stands there by its own name."""
    inline_patterns: set[str] = set()
    visitors = []
    for module, tree in modules().items():
        visitor = _Uses(module)
        visitor.visit(tree)
        visitors.append(visitor)
        inline_patterns |= visitor.inline
    patterns: dict[str, str] = {}
    for visitor in visitors:
        patterns |= visitor.patterns
    used = set()
    for visitor in visitors:
        for name, method in visitor.named:
            if pattern := visitor.patterns.get(name) or patterns.get(name):
                used.add(pattern)
                inline_patterns.add(f"{pattern}.{method}")
    return inline_patterns | (set(patterns.values()) - used)


def public_functions() -> set[str]:
    """Return the functions of the modules that parse, such as ``forms.parts``."""
    return {
        f"{module}.{node.name}"
        for module, tree in modules().items()
        if module in PARSERS
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def test_every_pattern_and_parser_has_a_row() -> None:
    needed = uses_of_patterns() | public_functions() | {f"check {extension}" for extension in filetypes.KNOWN}
    missing = sorted(needed - set(TABLE))
    assert not missing, f"Give each a row, with an input that is made to be slow: {', '.join(missing)}"


def test_every_row_names_existing_code() -> None:
    of_patterns = {key for key, row in TABLE.items() if isinstance(row, Row) and row.run is None}
    of_patterns |= {key for key in TABLE if key.rpartition(".")[2] in METHODS | {"compile"}}
    gone = sorted(of_patterns - uses_of_patterns())
    assert not gone, f"Remove the rows of patterns that are gone, or used in another way: {', '.join(gone)}"


# The measurement.


def seconds(run: Callable[[Any], object], text: Any) -> float:
    """Return the CPU time of this thread for that work: the best of three, or the first where that is long enough."""
    best = float("inf")
    for _ in range(3):
        began = time.thread_time()
        with suppress(Problem, Mismatch):
            run(text)
        best = min(best, time.thread_time() - began)
        if best > ENOUGH_SECONDS:
            break
    return best


def growth(run: Callable[[Any], object], build: Build, size: int) -> float:
    """Return how many times more work four times the input is. On a busy machine a measurement can be too large, so one
    that is small enough decides."""
    small, large = build(size), build(4 * size)
    if seconds(run, large) < NOTHING_SECONDS:
        return 0
    least = float("inf")
    for _ in range(TRIES):
        least = min(least, seconds(run, large) / max(seconds(run, small), 1e-6))
        if least <= MAX_GROWTH:
            break
    return least


def work_of(key: str, row: Row) -> Callable[[Any], object]:
    if row.run:
        return row.run
    name, _, method = key.rpartition(".") if key.rpartition(".")[2] in METHODS else (key, "", "search")
    module, _, pattern = name.rpartition(".")
    compiled: re.Pattern[Any] = getattr(importlib.import_module(f"handler.{module}"), pattern)
    if method == "sub":
        return lambda text: compiled.sub(text[:0], text)
    if method == "finditer":
        return compiled.findall
    return cast("Callable[[Any], object]", getattr(compiled, method))


@pytest.fixture(scope="module", autouse=True)
def _app(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("linear")
    environ = {"UPLOAD_FOLDER": str(folder), "ACCESS": "public", "TOKEN_SECRET": SECRET}
    _Served.app = create_app(Settings.from_environ(environ))
    client = _Served.app.test_client()
    stored = client.put("/upload/a.txt", data=b"hello").get_json()
    script = re.search(r'src="([^"]+/page\.js)"', client.get("/").text)
    assert script
    _Served.paths = {"{file}": urlsplit(stored["url"]).path, "{static}": script[1]}
    for path in _Served.paths.values():
        assert client.get(path, buffered=True).status_code == 200


@pytest.mark.parametrize("key", [key for key, row in TABLE.items() if isinstance(row, Row)])
def test_four_times_the_input_is_at_most_six_times_the_work(key: str) -> None:
    row = cast("Row", TABLE[key])
    run = work_of(key, row)
    for number, build in enumerate(row.builds):
        assert growth(run, build, row.size) <= MAX_GROWTH, f"input {number} of {key}"


def _cut_from_the_front(data: bytes) -> None:
    while data:
        data = data[4:]


@pytest.mark.parametrize(
    ("run", "build", "size"),
    [
        (re.compile(r'"(?:\\.|[^"\\])*"').search, repeated('\\"'), 800),
        (re.compile(r"[ ]*;").search, repeated(" "), 2_000),
        (_cut_from_the_front, bytes, 40_000),
    ],
    ids=["a pattern", "a pattern with another method", "slices"],
)
def test_quadratic_work_is_noticed(run: Callable[[Any], object], build: Build, size: int) -> None:
    assert growth(run, build, size) > MAX_GROWTH

"""The promises of SECURITY.md, through the app and over both storages."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest
import requests
from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header

from handler.inspection.formats import archives

from .support import filetype_samples as made
from .support import samples
from .support.http_client import download, json_of, post, post_raw, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

KEY = re.compile(r"files/[0-9a-f]{32}/[A-Za-z0-9_-]{1,80}\.[a-z]+|metadata/[0-9a-f]{32}\.json")


def headers_of(client: FlaskClient, url: str) -> Headers:
    """Return the header fields of a download, from the app or from S3."""
    response = client.get(urlsplit(url).path)
    if response.status_code == 302:
        return Headers(list(requests.get(response.headers["Location"], timeout=10).headers.items()))
    return response.headers


# Names.


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/a.txt",
        "..\\..\\a.txt",
        "%2e%2e%2fa.txt",
        "%252e%252e%252fa.txt",
        "..%c0%afa.txt",
        "/etc/passwd/a.txt",
        "file:///etc/a.txt",
        "http://169.254.169.254/a.txt",
        "a.php\x00.txt",
        "a.php.txt",
        "a.txt;.txt",
        ".htaccess.txt",
        "con.txt",
        "a\u202etxt.exe.txt",
        "$(id)`id`|id.txt",
        "x" * 5000 + ".txt",
    ],
)
def test_client_name_cannot_leave_the_folder(
    client: FlaskClient, stored_keys: Callable[[], list[str]], name: str
) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').encode()
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + escaped + b'"\r\n\r\nhello\r\n--x--\r\n'
    assert post_raw(client, part).status_code == 201
    base = name.replace("\\", "/").rpartition("/")[2]
    assert client.put("/upload/" + quote(base, safe=""), data=b"hello").status_code == 201
    keys = stored_keys()
    assert len([key for key in keys if key.startswith("files/")]) == 2
    assert [key for key in keys if not KEY.fullmatch(key)] == []


@pytest.mark.parametrize("name", ["../a.txt", "../../a.txt", "..", "a/../../b.txt", "%2e%2e/a.txt"])
def test_path_in_the_url_cannot_leave_the_folder(
    client: FlaskClient, stored_keys: Callable[[], list[str]], name: str
) -> None:
    response = client.put("/upload/" + quote(name, safe=""), data=b"hello")
    assert response.status_code in (201, 404, 405, 415)
    assert [key for key in stored_keys() if not KEY.fullmatch(key)] == []


def test_names_that_some_file_systems_equate_are_two_files(client: FlaskClient) -> None:
    names = ["A.txt", "a.txt", "caf\u00e9.txt", "cafe\u0301.txt", "a.txt"]
    contents = [f"the file number {number}".encode() for number in range(len(names))]
    files = json_of(post(client, *zip(contents, names, strict=True)))["files"]
    assert len({file["id"].lower() for file in files}) == len(names)
    assert [download(client, file["url"]) for file in files] == contents


@pytest.mark.parametrize(
    "name",
    [
        'a"; filename="b.exe.txt',
        "a\r\nSet-Cookie: a=b.txt",
        "a;b,c=d.txt",
        "a%22b.txt",
        "<script>.txt",
        "\u2028é'*.txt",
    ],
)
def test_name_cannot_break_out_of_the_header_of_a_download(client: FlaskClient, name: str) -> None:
    file = json_of(client.put("/upload/" + quote(name, safe=""), data=b"hello"))["files"][0]
    headers = headers_of(client, file["url"])
    assert "Set-Cookie" not in headers
    assert headers["Content-Disposition"].isascii()
    disposition, parameters = parse_options_header(headers["Content-Disposition"])
    assert disposition == "attachment"
    assert parameters == {"filename": re.sub("[\r\n\u2028]", "", name)}


# Types.


def test_declared_media_type_is_ignored(client: FlaskClient) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: text/html\r\n\r\n'
    stored = json_of(post_raw(client, part + samples.png() + b"\r\n--x--\r\n"))
    assert stored["files"][0]["type"] == "image/png"
    assert headers_of(client, stored["url"])["Content-Type"] == "image/png"
    lie = part.replace(b"text/html", b"image/png")
    problem(post_raw(client, lie + b"<script>alert(1)</script>\r\n--x--\r\n"), 422, "content-mismatch")
    stored = json_of(client.put("/upload/a.png", data=samples.png(), content_type="text/html"))
    assert headers_of(client, stored["url"])["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><script>alert(1)</script>",
        b"\xef\xbb\xbf<svg onload=alert(1)>",
        b"<?php system($_GET[0]); ?>",
        b"#!/bin/sh\nid\n",
        b"MZ\x90\x00\x03\x00\x00\x00",
        b"\x7fELF\x02\x01\x01\x00",
    ],
)
def test_page_script_and_program_are_rejected_under_every_name(
    client: FlaskClient, stored_keys: Callable[[], list[str]], content: bytes
) -> None:
    for extension in samples.BY_EXTENSION:
        problem(post(client, (content, f"a.{extension}")), 422, "content-mismatch")
        problem(client.put(f"/upload/a.{extension}", data=content), 422, "content-mismatch")
    assert stored_keys() == []


def symbolic_link() -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("link.zip", symbolic_link()),
        ("slip.zip", made.make_zip(["../../../etc/cron.d/a"])),
        ("slip.zip", made.make_zip(["/etc/cron.d/a"])),
        ("slip.docx", made.office("word", "..\\..\\a")),
        ("bomb.zip", made.make_zip({"a": bytes(archives.MIN_UNPACKED_BYTES + 1)})),
        ("macro.docx", made.office("word", "word/vbaProject.bin")),
        ("other.docx", made.office("xl")),
    ],
)
def test_harmful_archive_is_refused(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]], name: str, content: bytes
) -> None:
    client = make_app(ALLOWED_EXTENSIONS="zip docx").test_client()
    problem(client.put(f"/upload/{name}", data=content), 422, "content-mismatch")
    assert stored_keys() == []


def test_image_of_too_many_pixels_is_refused(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    client = make_app(MAX_IMAGE_PIXELS="10000").test_client()
    for extension, image in (("png", made.png), ("jpg", made.jpeg), ("gif", made.gif), ("webp", made.webp_vp8)):
        assert client.put(f"/upload/a.{extension}", data=image(100, 100)).status_code == 201
        before = stored_keys()
        body = problem(client.put(f"/upload/a.{extension}", data=image(100, 101)), 422, "image-too-large")
        assert (body["width"], body["height"], body["max_pixels"]) == (100, 101, 10_000)
        assert stored_keys() == before


# Keeping and giving back.


def test_stored_file_is_never_run_or_rendered(client: FlaskClient, kind: str, tmp_path: Path) -> None:
    files = json_of(post(client, *[(content, f"a.{name}") for name, content in samples.BY_EXTENSION.items()]))["files"]
    for file in files:
        headers = headers_of(client, file["url"])
        assert headers["Content-Disposition"].startswith("attachment;")
        assert headers["Content-Type"].split(";")[0] == file["type"]
        if kind == "folder":
            assert headers["X-Content-Type-Options"] == "nosniff"
            for fields in (headers, client.options(file["url"]).headers):
                assert fields["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
            assert not (tmp_path / "uploads/files" / file["id"] / file["name"]).stat().st_mode & 0o111


def test_stored_files_cannot_be_listed(make_app: Callable[..., Flask]) -> None:
    client = make_app(ACCESS="public", TOKEN_SECRET="s" * 32).test_client()
    file = json_of(post(client, (samples.TEXT, "a.txt")))["files"][0]
    for path in ("/files", "/files/", "/files?cursor=", "/files?limit=1"):
        problem(client.get(path), 401, "token-required")
    for path in (f"/files/{file['id']}", f"/files/{file['id']}/", "/uploads/", "/static/"):
        problem(client.get(path), 404, "not-found")


# Access.


def test_other_web_site_cannot_upload_or_delete(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    before = stored_keys()
    for origin in ("https://example.org", "null", "http://localhost.example.org"):
        problem(post(client, (samples.TEXT, "a.txt"), Origin=origin), 403, "forbidden")
        problem(client.put("/upload/a.txt", data=b"x", headers={"Origin": origin}), 403, "forbidden")
        problem(client.delete(path, headers={"Origin": origin}), 403, "forbidden")
    problem(client.put("/upload/a.txt", data=b"x", headers={"Host": "rebound.example.org"}), 403, "forbidden")
    assert stored_keys() == before


def test_upload_and_delete_need_a_token(make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]) -> None:
    client = make_app(TOKEN_SECRET="s" * 32).test_client()
    problem(post(client, (samples.TEXT, "a.txt")), 401, "token-required")
    problem(client.put("/upload/a.txt", data=b"x"), 401, "token-required")
    problem(client.put("/upload/a.txt", data=b"x", headers={"Authorization": "Bearer a.b.c"}), 401, "invalid-token")
    problem(client.delete(f"/files/{'0' * 32}/a.txt"), 401, "token-required")
    assert stored_keys() == []


# Libraries.


def test_every_shipped_library_is_pinned() -> None:
    lines = (Path(__file__).parent.parent / "handler" / "requirements.txt").read_text().splitlines()
    libraries = [line for line in lines if line and not line.startswith("#")]
    assert libraries
    assert [line for line in libraries if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", line)] == []

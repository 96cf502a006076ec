"""Uploads in forms and raw bodies: accepted, or rejected for their type or content, over both storages."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING

import pytest

from handler.routes.page import rounded_down
from handler.web import forms
from handler.web.tokens import mint

from ..support import samples
from ..support.http_client import BROWSER, PART, TYPE, download, form_of, json_of, post, post_raw, problem, put_raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient


# Accepted.


def test_form_response_describes_the_stored_file(client: FlaskClient) -> None:
    response = post(client, (samples.JPEG, "my photo.jpg"))
    assert response.status_code == 201
    assert response.mimetype == "application/json"
    (file,) = json_of(response)["files"]
    url = f"http://localhost/files/{file['id']}/my_photo.jpg"
    assert json_of(response) == {
        "message": "Stored my_photo.jpg.",
        "files": [
            {
                "id": file["id"],
                "name": "my_photo.jpg",
                "original_name": "my photo.jpg",
                "size": len(samples.JPEG),
                "type": "image/jpeg",
                "sha256": hashlib.sha256(samples.JPEG).hexdigest(),
                "stored": file["stored"],
                "url": url,
                "location": url,
            }
        ],
        "url": url,
        "location": url,
    }
    assert response.headers["Location"] == url
    assert len(file["id"]) == 32
    assert download(client, url) == samples.JPEG


def test_body_is_stored_under_the_name_in_the_url(client: FlaskClient) -> None:
    response = client.put("/upload/%E6%97%A5%E6%9C%AC.png", data=samples.png(5000))
    assert response.status_code == 201
    assert json_of(response)["files"][0]["name"] == "file.png"
    assert json_of(response)["url"] == response.headers["Location"]
    assert download(client, json_of(response)["url"]) == samples.png(5000)


@pytest.mark.parametrize("extension", sorted(samples.BY_EXTENSION))
def test_each_allowed_type_is_stored_byte_for_byte(client: FlaskClient, extension: str) -> None:
    content = samples.BY_EXTENSION[extension]
    response = post(client, (content, f"a.{extension}"))
    assert response.status_code == 201, response.text
    assert download(client, json_of(response)["url"]) == content


def test_several_files_of_one_request_are_stored(client: FlaskClient) -> None:
    response = post(client, (samples.TEXT, "a.txt"), (samples.png(), "b.png"), (samples.TEXT, "a.txt"))
    assert response.status_code == 201
    assert json_of(response)["message"] == "Stored 3 files."
    assert [file["name"] for file in json_of(response)["files"]] == ["a.txt", "b.png", "a.txt"]
    assert "url" not in json_of(response)
    assert [download(client, file["url"]) for file in json_of(response)["files"]] == [
        samples.TEXT,
        samples.png(),
        samples.TEXT,
    ]


def test_empty_file_input_is_ignored(client: FlaskClient) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n'
        b'--x\r\nContent-Disposition: form-data; name="comment"\r\n\r\nhello\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    )
    response = post_raw(client, body)
    assert response.status_code == 201
    assert [file["name"] for file in json_of(response)["files"]] == ["a.txt"]


def test_field_length_is_counted_per_field(client: FlaskClient) -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="comment"\r\n\r\n' + b"a" * 65_536 + b"\r\n"
    nameless = PART.replace(b"a.txt", b"") + b"\r\n"
    response = post_raw(client, field + field + nameless + PART + b"\r\n--x--\r\n")
    assert response.status_code == 201, response.text


@pytest.mark.parametrize("name", ['a\\"; filename=\\"b.txt', "filename=b.txt", "filename*=b.txt", "a;filename=.txt"])
def test_name_that_contains_filename_is_one_name(client: FlaskClient, name: str) -> None:
    response = post_raw(client, PART.replace(b"a.txt", name.encode()) + b"\r\n--x--\r\n")
    assert response.status_code == 201, response.text
    assert len(json_of(response)["files"]) == 1


def test_preamble_and_epilogue_of_a_form_are_ignored(client: FlaskClient) -> None:
    for end in (b"", b"\r\n", b" \t\r\nepilogue", b"\nepilogue"):
        response = post_raw(client, b"preamble\r\n" + PART + b"\r\n--x--" + end)
        assert response.status_code == 201, response.text


def test_content_that_looks_like_a_boundary_is_content(client: FlaskClient) -> None:
    content = b"\r\n--xx\r\n--\r\n-- x--\r\n" * 50_000
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + content + b"\r\n--x--\r\n"
    response = post_raw(client, body)
    assert response.status_code == 201
    assert download(client, json_of(response)["url"]) == content


@pytest.mark.parametrize("behind", [b"", b"\r", b"\r\n", b"-", b"--"])
def test_boundary_at_the_end_of_a_read_is_found(client: FlaskClient, behind: bytes) -> None:
    line = b"\r\n--x" + behind
    last = behind.startswith(b"-")
    before = PART.removesuffix(b"hello")
    content = b"a" * (forms.READ_BYTES - len(before) - len(line))
    body = before + content + b"\r\n" + (b"--x--\r\n" if last else PART + b"\r\n--x--\r\n")
    assert body[: forms.READ_BYTES].endswith(line)
    files = json_of(post_raw(client, body))["files"]
    assert [download(client, file["url"]) for file in files] == ([content] if last else [content, b"hello"])


def test_twenty_uploads_of_one_name_at_once_are_twenty_files(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    app = make_app()
    contents = [samples.png(50_000, seed=seed) for seed in range(20)]
    urls: dict[int, str] = {}
    start = threading.Barrier(len(contents))

    def upload(number: int) -> None:
        client = app.test_client()
        start.wait()
        urls[number] = json_of(post(client, (contents[number], "photo.png")))["url"]

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(urls.values())) == 20
    assert all(download(app.test_client(), urls[number]) == contents[number] for number in range(20))
    assert len([key for key in stored_keys() if key.startswith("files/") and key.endswith("/photo.png")]) == 20


# Rejected.


@pytest.mark.parametrize("name", ["shell.php", "page.html", "photo.jpg.exe", "...", "noextension"])
def test_type_that_is_not_allowed_is_rejected(
    client: FlaskClient, stored_keys: Callable[[], list[str]], name: str
) -> None:
    for response in (post(client, (b"<?php", name)), client.put(f"/upload/{name}", data=b"<?php")):
        body = problem(response, 415, "type-not-allowed")
        assert body["allowed"] == ["txt", "csv", "pdf", "docx", "png", "jpg", "jpeg", "gif", "webp", "heic"]
        assert body["errors"][0]["name"] == name
    assert stored_keys() == []


def test_content_of_another_type_is_rejected(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    for extension, content in samples.BY_EXTENSION.items():
        wrong = samples.PDF if content is not samples.PDF and extension not in ("txt", "csv") else samples.png()
        response = post(client, (wrong, f"a.{extension}"))
        assert problem(response, 422, "content-mismatch")["errors"][0]["name"] == f"a.{extension}"
    assert stored_keys() == []


def test_empty_file_is_rejected(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    problem(post(client, (b"", "a.txt")), 422, "empty-file")
    problem(put_raw(client, b"", CONTENT_LENGTH="0"), 422, "empty-file")
    assert stored_keys() == []


def test_one_refusal_stores_no_file_and_each_refusal_is_named(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    response = post(client, (samples.TEXT, "a.txt"), (b"MZ", "b.exe"), (b"<p>", "c.png"), (samples.TEXT, "d.txt"))
    body = problem(response, 422, "files-refused")
    assert [(error["name"], error["status"], error["type"]) for error in body["errors"]] == [
        ("b.exe", 415, TYPE + "type-not-allowed"),
        ("c.png", 422, TYPE + "content-mismatch"),
    ]
    assert "b.exe" in body["error"]
    assert "c.png" in body["error"]
    assert stored_keys() == []


@pytest.mark.parametrize(("filler_bytes", "named"), [(256 * 1024, True), (256 * 1024 + 1, False)])
def test_form_is_read_for_256_kib_after_a_refusal(client: FlaskClient, filler_bytes: int, named: bool) -> None:
    form = form_of((b"", "a.exe"), (b"x" * filler_bytes, "b.txt"), (b"", "c.exe"))
    body = problem(post_raw(client, form), 415, "files-refused" if named else "type-not-allowed")
    assert [error["name"] for error in body["errors"]] == (["a.exe", "c.exe"] if named else ["a.exe"])


def test_truncated_file_is_not_checked(make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]) -> None:
    client = make_app(ALLOWED_EXTENSIONS="json png").test_client()
    whole = json.dumps(["x" * 5 * 1024 * 1024]).encode()  # sound, but not its first part
    form = form_of((b"MZ", "a.exe"), (b"<p>", "b.png"), (whole, "c.json"), (b"MZ", "d.exe"))
    body = problem(post_raw(client, form), 422, "files-refused")
    assert [error["name"] for error in body["errors"]] == ["a.exe", "b.png"]
    assert stored_keys() == []


def test_several_refusals_for_one_reason_have_its_status(client: FlaskClient) -> None:
    response = post(client, (b"MZ", "a.exe"), (b"MZ", "b.exe"))
    assert len(problem(response, 415, "files-refused")["errors"]) == 2


def test_single_refusal_among_several_files_keeps_its_type(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    for sent in ([(samples.TEXT, "a.txt"), (b"MZ", "b.exe")], [(b"MZ", "b.exe"), (samples.TEXT, "a.txt")]):
        body = problem(post(client, *sent, (samples.TEXT, "c.txt")), 415, "type-not-allowed")
        (error,) = body["errors"]
        assert error["name"] == "b.exe"
        assert body["detail"] == f"{error['detail']} None of the files was stored."
    assert stored_keys() == []


def test_refusal_of_the_only_file_mentions_no_others(client: FlaskClient) -> None:
    body = problem(post(client, (b"MZ", "b.exe")), 415, "type-not-allowed")
    assert body["detail"] == body["errors"][0]["detail"]


def test_page_says_that_no_file_was_stored(client: FlaskClient) -> None:
    response = post(client, (samples.TEXT, "a.txt"), (b"MZ", "b.exe"), (samples.TEXT, "c.txt"), Accept=BROWSER)
    assert (response.status_code, response.mimetype) == (415, "text/html")
    assert "None of the files was stored." in response.text
    assert "b.exe" in response.text


def test_problem_begins_with_its_sentence(client: FlaskClient) -> None:
    """Guzzle shows 120 characters of an error response."""
    for response in (
        post(client, (b"<p>", "photo.png")),
        client.get("/nothing"),
        client.delete("/upload"),
        post(client, (b"MZ", "a.exe"), (b"MZ", "b.exe")),
    ):
        assert response.text.startswith('{"detail": "')
        assert list(json_of(response))[:5] == ["detail", "error", "type", "title", "status"]
    assert post(client, (b"<p>", "photo.png")).text[:120].count("'photo.png' is not a PNG image.") == 1


def test_limits_name_the_scopes_of_the_client(make_app: Callable[..., Flask]) -> None:
    def scopes(client: FlaskClient, token: str | None = None, path: str = "/upload") -> object:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return json_of(client.get(path, headers=headers))["scopes"]

    secret = "a secret of at least thirty-two bytes"
    both = mint(secret, expires_seconds=600, scopes=["upload", "delete"])
    upload = mint(secret, expires_seconds=600)
    private = make_app(TOKEN_SECRET=secret).test_client()
    assert scopes(private) == []
    assert scopes(private, both) == ["delete", "upload"]
    assert scopes(private, upload) == ["upload"]
    assert scopes(private, path=f"/upload/t/{upload}") == ["upload"]
    assert scopes(private, mint(secret, expires_seconds=600, scopes=["delete"])) == ["delete"]
    assert private.get("/upload", headers={"Authorization": "Bearer x"}).status_code == 401
    public = make_app(ACCESS="public", TOKEN_SECRET=secret).test_client()
    assert scopes(public) == ["upload"]
    assert scopes(public, both) == ["delete", "upload"]
    assert scopes(make_app(ACCESS="public").test_client()) == ["upload"]
    assert scopes(make_app(AWS_LAMBDA_FUNCTION_NAME="f", AWS_SAM_LOCAL="true").test_client()) == []


# The page without scripts.


def test_form_of_the_page_can_be_sent(make_app: Callable[..., Flask]) -> None:
    page = make_app(MAX_FILE_BYTES=str(5 * 1024 * 1024)).test_client().get("/").text
    assert 'action="/upload" method="post" enctype="multipart/form-data"' in page
    assert 'name="file"' in page
    assert 'accept=".txt,.csv,.pdf,.docx,.png,.jpg,.jpeg,.gif,.webp,.heic"' in page
    assert "at most 5.0 MiB at once" in page


@pytest.mark.parametrize(
    ("max_content_length", "told"),
    [(8192, "0 bytes"), (9215, "1023 bytes"), (9216, "1.0 KiB"), (4 * 1024 * 1024, "3.9 MiB")],
)
def test_page_shows_the_limit_of_a_form(make_app: Callable[..., Flask], max_content_length: int, told: str) -> None:
    page = make_app(MAX_CONTENT_LENGTH=str(max_content_length)).test_client().get("/").text
    assert f"at most {told} at once" in page


def test_largest_limit_has_a_unit() -> None:
    assert rounded_down(5 * 2**40) == "5.0 TiB"
    assert rounded_down(2**50) == "1024.0 TiB"

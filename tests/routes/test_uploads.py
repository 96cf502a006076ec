"""The HTTP contract, over both storages."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app
from werkzeug.wrappers import Request

from handler.intake import STORED_AT_ONCE
from handler.problems import StorageUnavailable
from handler.routes import files
from handler.routes.page import rounded_down
from handler.storage.folder.files import LocalStorage, LocalWriter
from handler.storage.s3.files import S3Writer
from handler.web import forms
from handler.web.tokens import MAX_TOKEN_CHARS, mint

from ..storage.test_storage import content_of, fetch, put
from ..support import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

    from handler.storage import Storage, StoredFile

TYPE = "urn:problem-type:upload:"
NO_SUCH_FILE = f"/files/{'0' * 32}/a.txt"


def post(client: FlaskClient, *files: tuple[bytes, str], field: str = "file", **headers: str) -> TestResponse:
    data = {field: [(io.BytesIO(content), name) for content, name in files]}
    return client.post("/upload", data=data, headers={key.replace("_", "-"): value for key, value in headers.items()})


def post_raw(client: FlaskClient, body: bytes, *, boundary: str = "x") -> TestResponse:
    return client.post("/upload", data=body, content_type=f"multipart/form-data; boundary={boundary}")


def form_of(*files: tuple[bytes, str]) -> bytes:
    """The body of a form for :func:`post_raw`: werkzeug.test leaves the file open in which it keeps a large one."""
    head = '--x\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\n\r\n'
    return b"".join(head.format(name).encode() + content + b"\r\n" for content, name in files) + b"--x--\r\n"


def put_raw(client: FlaskClient, body: bytes, **environ: str) -> TestResponse:
    """A PUT as a server hands it on that knows no more than this: werkzeug.test would fill in what is missing."""
    environment = EnvironBuilder("/upload/a.txt", method="PUT", input_stream=io.BytesIO(body)).get_environ()
    del environment["CONTENT_LENGTH"]
    environment["REMOTE_ADDR"] = "127.0.0.1"
    request = Request(environment | environ)
    return TestResponse(*run_wsgi_app(client.application, environment | environ, buffered=True), request=request)


def json_of(response: TestResponse) -> Any:
    return response.json


def problem(response: TestResponse, status: int, slug: str) -> dict[str, Any]:
    """What every error answer has, asserted; and its body."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = json_of(response)
    assert body["type"] == TYPE + slug
    assert body["status"] == status
    assert body["error"] == body["detail"]
    assert body["title"]
    assert body["request_id"] == response.headers["X-Request-Id"]
    return body


def download(client: FlaskClient, url: str) -> bytes:
    response = client.get(urlsplit(url).path)
    if response.status_code == 302:
        return fetch(response.headers["Location"])
    assert response.status_code == 200
    data: bytes = response.data
    return data


# Taking files in.


def test_a_form_is_answered_with_what_was_stored(client: FlaskClient) -> None:
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


def test_a_body_is_stored_under_the_name_in_the_url(client: FlaskClient) -> None:
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


def test_several_files_of_one_request(client: FlaskClient) -> None:
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


def test_an_input_in_which_nothing_was_chosen_is_passed_over(client: FlaskClient) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n'
        b'--x\r\nContent-Disposition: form-data; name="comment"\r\n\r\nhello\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    )
    response = post_raw(client, body)
    assert response.status_code == 201
    assert [file["name"] for file in json_of(response)["files"]] == ["a.txt"]


def test_the_length_of_a_field_is_its_own(client: FlaskClient) -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="comment"\r\n\r\n' + b"a" * 65_536 + b"\r\n"
    nameless = PART.replace(b"a.txt", b"") + b"\r\n"
    response = post_raw(client, field + field + nameless + PART + b"\r\n--x--\r\n")
    assert response.status_code == 201, response.text


@pytest.mark.parametrize("name", ['a\\"; filename=\\"b.txt', "filename=b.txt", "filename*=b.txt", "a;filename=.txt"])
def test_a_name_that_looks_like_two_is_one(client: FlaskClient, name: str) -> None:
    response = post_raw(client, PART.replace(b"a.txt", name.encode()) + b"\r\n--x--\r\n")
    assert response.status_code == 201, response.text
    assert len(json_of(response)["files"]) == 1


def test_a_form_with_a_preamble_and_an_epilogue(client: FlaskClient) -> None:
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
def test_a_boundary_at_the_end_of_a_read_is_one(client: FlaskClient, behind: bytes) -> None:
    line = b"\r\n--x" + behind
    last = behind.startswith(b"-")
    before = PART.removesuffix(b"hello")
    content = b"a" * (forms.READ_BYTES - len(before) - len(line))
    body = before + content + b"\r\n" + (b"--x--\r\n" if last else PART + b"\r\n--x--\r\n")
    assert body[: forms.READ_BYTES].endswith(line)
    files = json_of(post_raw(client, body))["files"]
    assert [download(client, file["url"]) for file in files] == ([content] if last else [content, b"hello"])


def test_twenty_uploads_of_one_name_at_one_moment(
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


# Refusing.


@pytest.mark.parametrize("name", ["shell.php", "page.html", "photo.jpg.exe", "...", "noextension"])
def test_a_type_that_is_not_allowed(client: FlaskClient, stored_keys: Callable[[], list[str]], name: str) -> None:
    for response in (post(client, (b"<?php", name)), client.put(f"/upload/{name}", data=b"<?php")):
        body = problem(response, 415, "type-not-allowed")
        assert body["allowed"] == ["txt", "csv", "pdf", "png", "jpg", "jpeg", "gif", "webp"]
        assert body["errors"][0]["name"] == name
    assert stored_keys() == []


def test_content_that_is_not_what_the_name_says(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    for extension, content in samples.BY_EXTENSION.items():
        wrong = samples.PDF if content is not samples.PDF and extension not in ("txt", "csv") else samples.png()
        response = post(client, (wrong, f"a.{extension}"))
        assert problem(response, 422, "content-mismatch")["errors"][0]["name"] == f"a.{extension}"
    assert stored_keys() == []


def test_an_empty_file(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    problem(post(client, (b"", "a.txt")), 422, "empty-file")
    problem(put_raw(client, b"", CONTENT_LENGTH="0"), 422, "empty-file")
    assert stored_keys() == []


def test_all_or_nothing_and_each_refusal_is_named(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
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
def test_after_a_refusal_a_form_is_read_on_for_256_kib(client: FlaskClient, filler_bytes: int, named: bool) -> None:
    form = form_of((b"", "a.exe"), (b"x" * filler_bytes, "b.txt"), (b"", "c.exe"))
    body = problem(post_raw(client, form), 415, "files-refused" if named else "type-not-allowed")
    assert [error["name"] for error in body["errors"]] == (["a.exe", "c.exe"] if named else ["a.exe"])


def test_a_file_that_we_cut_off_is_not_judged(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    client = make_app(ALLOWED_EXTENSIONS="json png").test_client()
    whole = json.dumps(["x" * 5 * 1024 * 1024]).encode()  # sound, but not its first part
    form = form_of((b"MZ", "a.exe"), (b"<p>", "b.png"), (whole, "c.json"), (b"MZ", "d.exe"))
    body = problem(post_raw(client, form), 422, "files-refused")
    assert [error["name"] for error in body["errors"]] == ["a.exe", "b.png"]
    assert stored_keys() == []


def test_several_refusals_for_one_reason_have_its_status(client: FlaskClient) -> None:
    response = post(client, (b"MZ", "a.exe"), (b"MZ", "b.exe"))
    assert len(problem(response, 415, "files-refused")["errors"]) == 2


def test_one_refusal_among_several_files_is_told_as_itself(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    for sent in ([(samples.TEXT, "a.txt"), (b"MZ", "b.exe")], [(b"MZ", "b.exe"), (samples.TEXT, "a.txt")]):
        body = problem(post(client, *sent, (samples.TEXT, "c.txt")), 415, "type-not-allowed")
        (error,) = body["errors"]
        assert error["name"] == "b.exe"
        assert body["detail"] == f"{error['detail']} None of the files was stored."
    assert stored_keys() == []


def test_a_refusal_of_the_only_file_does_not_speak_of_others(client: FlaskClient) -> None:
    body = problem(post(client, (b"MZ", "b.exe")), 415, "type-not-allowed")
    assert body["detail"] == body["errors"][0]["detail"]


def test_a_page_tells_of_one_refusal_that_none_was_stored(client: FlaskClient) -> None:
    response = post(client, (samples.TEXT, "a.txt"), (b"MZ", "b.exe"), (samples.TEXT, "c.txt"), Accept=BROWSER)
    assert (response.status_code, response.mimetype) == (415, "text/html")
    assert "None of the files was stored." in response.text
    assert "b.exe" in response.text


def test_the_sentence_is_within_the_first_characters_of_a_problem(client: FlaskClient) -> None:
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


def test_a_file_over_the_limit(make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]) -> None:
    client = make_app(MAX_FILE_BYTES="1000").test_client()
    assert post(client, (b"x" * 1000, "a.txt")).status_code == 201
    before = stored_keys()
    for response in (post(client, (b"x" * 1001, "a.txt")), client.put("/upload/a.txt", data=b"x" * 1001)):
        body = problem(response, 413, "file-too-large")
        assert body["max_bytes"] == 1000
        assert "1,000 bytes" in body["error"]
    assert stored_keys() == before


MIB = 1024 * 1024


@pytest.mark.parametrize("way", ["form", "raw", "path"])
def test_a_request_over_both_limits_is_told_the_limit_of_a_file(make_app: Callable[..., Flask], way: str) -> None:
    client = make_app(MAX_FILE_BYTES=str(MIB)).test_client()
    photo = samples.png(2_700_000)
    match way:
        case "form":
            response = post_raw(client, form_of((photo, "a.png")))
            slug = "request-too-large"
        case "raw":
            response, slug = client.post("/upload?filename=a.png", data=photo), "file-too-large"
        case _:
            response, slug = client.put("/upload/a.png", data=photo), "file-too-large"
    body = problem(response, 413, slug)
    assert body["max_bytes"] == MIB
    assert "1,048,576 bytes" in body["detail"]
    assert "2,097,152" not in body["detail"]
    assert "storage" not in body["detail"]
    assert "direct_url" not in body


@pytest.mark.parametrize(
    ("max_file_bytes", "size", "advises", "max_bytes"),
    [
        (5000, 2000, True, 1000),  # takes more another way
        (1000, 2000, False, 1000),  # does not
        (999, 2000, False, 999),
        (5000, 6000, False, 5000),  # takes it no way
    ],
)
def test_another_way_is_advised_only_if_it_takes_more(
    make_app: Callable[..., Flask], max_file_bytes: int, size: int, advises: bool, max_bytes: int
) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000", MAX_FILE_BYTES=str(max_file_bytes)).test_client()
    body = json_of(client.put("/upload/a.txt", data=b"x" * size))
    assert (body["status"], body["max_bytes"]) == (413, max_bytes)
    assert ("direct_url" in body) == ("/upload/s3/multipart" in body["detail"]) == advises


@pytest.mark.parametrize(
    ("max_file_bytes", "advises", "max_bytes"), [(50_000, True, 10_000), (1808, False, 1808), (1809, True, 10_000)]
)
def test_a_form_needs_room_around_its_file(
    make_app: Callable[..., Flask], max_file_bytes: int, advises: bool, max_bytes: int
) -> None:
    """A form of 10,000 bytes holds a file of 1,808 whatever its token and its names are."""
    client = make_app(MAX_CONTENT_LENGTH="10000", MAX_FILE_BYTES=str(max_file_bytes)).test_client()
    body = problem(post_raw(client, form_of((b"x" * 20_000, "a.txt"))), 413, "request-too-large")
    assert body["max_bytes"] == max_bytes
    assert ("direct_url" in body) == ("/upload/s3/multipart" in body["detail"]) == advises


def test_the_limit_of_a_token_is_the_one_that_matters(make_app: Callable[..., Flask]) -> None:
    secret = "a secret of this test that is long enough"
    client = make_app(TOKEN_SECRET=secret, MAX_CONTENT_LENGTH="1000").test_client()
    token = mint(secret, expires_seconds=60, max_bytes=500)
    headers = {"Authorization": f"Bearer {token}"}
    for response in (
        client.put("/upload/a.txt", data=b"x" * 2000, headers=headers),
        client.post("/upload/a.txt", data=b"x" * 2000, headers=headers),
    ):
        assert problem(response, 413, "file-too-large")["max_bytes"] == 500


def test_a_request_over_the_limit(make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000").test_client()
    for response in (post(client, (b"x" * 1000, "a.txt")), client.put("/upload/a.txt", data=b"x" * 1001)):
        body = problem(response, 413, "request-too-large")
        assert body["max_bytes"] == 1000
    assert stored_keys() == []


def test_a_chunked_request_over_the_limit(make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000").test_client()
    response = client.put(
        "/upload/a.txt",
        input_stream=io.BytesIO(b"x" * 1001),
        environ_overrides={"wsgi.input_terminated": True},
    )
    problem(response, 413, "request-too-large")
    assert stored_keys() == []


def test_a_chunked_request_may_be_as_large_as_the_limit(make_app: Callable[..., Flask]) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000").test_client()
    response = client.put(
        "/upload/a.txt",
        input_stream=io.BytesIO(b"x" * 1000),
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert response.status_code == 201


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello'


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"\r\n", "malformed-request"),
        (b"hello", "malformed-request"),
        (PART, "malformed-request"),
        (PART + b"\r\n--x", "malformed-request"),
        (PART + b"\r\n--x\r\n", "malformed-request"),
        (b"--x\r\n\r\nno headers\r\n--x--\r\n", "malformed-request"),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nno disposition\r\n--x--\r\n", "malformed-request"),
        (b"--x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\nx\r\n--x--\r\n", "malformed-request"),
        (b"p" * 1_000_000 + b"\r\n" + PART + b"\r\n--x--\r\n", "malformed-request"),
        (PART.replace(b"\r\n", b"\n") + b"\n--x--\n", "malformed-request"),
        (PART.replace(b"\r\n", b"\r") + b"\r--x--\r", "malformed-request"),
        (PART + b"\n--x--\r\n", "malformed-request"),
        (PART + b"\r\n--x--junk\r\n--x--\r\n", "malformed-request"),
        (b"junk" + PART + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b"a.txt", b'a.txt"; filename="b.txt') + b"\r\n--x--\r\n", "malformed-request"),
        (PART.replace(b'"a.txt"', b"\"a.txt\"; filename*=utf-8''b.csv") + b"\r\n--x--\r\n", "malformed-request"),
        (PART.replace(b'"a.txt"', b"\"a.txt\"; filename *=utf-8''b.txt") + b"\r\n--x--\r\n", "malformed-request"),
        (
            PART.replace(b'"a.txt"', b'"a.txt"\r\nContent-Disposition: form-data') + b"\r\n--x--\r\n",
            "malformed-request",
        ),
        (PART.replace(b'"a.txt"', b'"a.txt"\r\nContent-Type: multipart/mixed; boundary=y'), "malformed-request"),
        (PART.replace(b'"a.txt"', b'"a.txt"\r\nContent-Transfer-Encoding: base64'), "malformed-request"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 70_000, "malformed-request"),
        (b"--x--\r\n", "no-file"),
        (PART.replace(b'; filename="a.txt"', b"") + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b'"file"', b'"photo"') + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b'name="file"; ', b"") + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b"a.txt", b"") + b"\r\n--x--\r\n", "no-file"),
    ],
)
def test_malformed_forms(client: FlaskClient, stored_keys: Callable[[], list[str]], body: bytes, slug: str) -> None:
    problem(post_raw(client, body), 400, slug)
    assert stored_keys() == []


def test_a_form_with_too_many_parts(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    response = post(client, *[(b"x", "a.txt")] * 101)
    problem(response, 413, "too-many-parts")
    assert stored_keys() == []


@pytest.mark.parametrize(
    ("content_type", "slug"),
    [
        ("multipart/form-data", "malformed-request"),
        ("multipart/form-data; boundary=", "malformed-request"),
        ("multipart/form-data; boundary=" + "x" * 201, "malformed-request"),
        ("multipart/form-data; boundary=\xe9", "malformed-request"),
        ("multipart/mixed; boundary=x", "no-file"),
        ("application/x-www-form-urlencoded", "no-file"),
        ("application/json", "no-file"),
        ("", "no-file"),
    ],
)
def test_what_is_no_form(client: FlaskClient, content_type: str, slug: str) -> None:
    problem(client.post("/upload", data=PART + b"\r\n--x--\r\n", content_type=content_type), 400, slug)


@pytest.mark.parametrize(
    "content_type",
    ["Multipart/Form-Data; Boundary=x", "multipart/form-data;boundary=x", 'multipart/form-data; boundary="x"'],
)
def test_a_media_type_is_in_any_case(client: FlaskClient, content_type: str) -> None:
    response = client.post("/upload", data=PART + b"\r\n--x--\r\n", content_type=content_type)
    assert response.status_code == 201, response.text


def test_a_file_that_came_in_another_part_is_not_lost_in_silence(client: FlaskClient) -> None:
    body = problem(post(client, (samples.TEXT, "a.txt"), field="photo"), 400, "no-file")
    assert "'photo'" in body["error"]


def test_a_body_of_unknown_length(client: FlaskClient) -> None:
    problem(put_raw(client, b"hello"), 411, "length-required")


def test_a_body_that_was_cut_off(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    problem(put_raw(client, b"hello", CONTENT_LENGTH="10"), 400, "malformed-request")
    assert stored_keys() == []


def test_a_part_is_not_taken_for_the_whole(client: FlaskClient) -> None:
    response = client.put("/upload/a.txt", data=b"hello", headers={"Content-Range": "bytes 0-4/10"})
    problem(response, 400, "malformed-request")


def test_a_compressed_body_is_not_taken_for_the_file(client: FlaskClient) -> None:
    response = client.put("/upload/a.txt", data=b"hello", headers={"Content-Encoding": "gzip"})
    problem(response, 415, "content-coding-not-supported")
    assert response.headers["Accept-Encoding"] == "identity"
    response = client.put("/upload/a.txt", data=b"hello", headers={"Content-Encoding": "Identity"})
    assert response.status_code == 201


def test_a_body_without_a_name(client: FlaskClient) -> None:
    assert "photo.jpg" in problem(client.put("/upload/", data=b"hello"), 400, "malformed-request")["error"]


# Giving them back.


def test_a_file_comes_back_as_an_attachment_under_its_own_name(client: FlaskClient, kind: str) -> None:
    url = json_of(post(client, (samples.TEXT, "Grüße.txt")))["url"]
    response = client.get(urlsplit(url).path)
    if kind != "folder":
        assert response.status_code == 302
        assert response.headers["Cache-Control"] == "no-store"
        import requests  # noqa: PLC0415

        headers = requests.get(response.headers["Location"], timeout=10).headers
    else:
        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        headers = response.headers  # type: ignore[assignment]
    assert headers["Content-Disposition"] == "attachment; filename=\"Grue.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"
    assert headers["Content-Type"].split(";")[0] == "text/plain"


@pytest.mark.parametrize("loaded_as", [*sorted(files.CODE_DESTINATIONS), "Script"])
def test_a_stored_file_is_not_loaded_as_code(client: FlaskClient, loaded_as: str) -> None:
    """S3 sends no nosniff, without which a browser runs a text."""
    path = urlsplit(json_of(post(client, (b"alert(1)", "a.txt")))["url"]).path
    refused = client.get(path, headers={"Sec-Fetch-Dest": loaded_as, "Sec-Fetch-Site": "same-site"})
    assert "as a script" in problem(refused, 403, "forbidden")["detail"]
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    for harmless in ("document", "image", "video", "empty", "iframe", ""):
        assert client.get(path, headers={"Sec-Fetch-Dest": harmless}).status_code in (200, 302)


def test_head_of_a_file(client: FlaskClient, kind: str) -> None:
    url = json_of(post(client, (samples.TEXT, "a.txt")))["url"]
    response = client.head(urlsplit(url).path)
    assert response.data == b""
    if kind != "folder":
        assert response.status_code == 302
        import requests  # noqa: PLC0415

        headers = requests.head(response.headers["Location"], timeout=10, stream=True).headers  # moto sends a body
        assert headers["Content-Length"] == str(len(samples.TEXT))
    else:
        assert response.headers["Content-Length"] == str(len(samples.TEXT))


def test_part_of_a_file(client: FlaskClient, kind: str) -> None:
    if kind != "folder":
        pytest.skip("S3 answers this itself")
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    response = client.get(path, headers={"Range": "bytes=2-4"})
    assert (response.status_code, response.data) == (206, samples.TEXT[2:5])
    assert response.headers["Cache-Control"] == "no-store"
    response = client.get(path, headers={"Range": "bytes=100-"})
    problem(response, 416, "range-not-satisfiable")
    assert response.headers["Content-Range"] == f"bytes */{len(samples.TEXT)}"


@pytest.mark.parametrize("asked", ["items=0-5", "bytes=0-1,3-4", "rubbish", "=", ""])
def test_a_range_that_has_no_meaning_here_is_passed_over(client: FlaskClient, kind: str, asked: str) -> None:
    if kind != "folder":
        pytest.skip("S3 answers this itself")
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    response = client.get(path, headers={"Range": asked})
    assert (response.status_code, response.data) == (200, samples.TEXT)


@pytest.mark.parametrize("field", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
@pytest.mark.parametrize("year", ["9" * 4, "9" * 5, "9" * 20, "0"])
def test_a_date_that_is_none_is_passed_over(client: FlaskClient, kind: str, field: str, year: str) -> None:
    if kind != "folder":
        pytest.skip("S3 answers this itself")
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    response = client.get(path, headers={field: f"Fri, 31 Dec {year} 23:59:59 GMT"})
    expected = (304, b"") if (field, year) == ("If-Modified-Since", "9999") else (200, samples.TEXT)
    assert (response.status_code, response.data) == expected


@pytest.mark.parametrize("field", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359"])
def test_date_outside_of_the_calendar_in_utc_is_ignored(client: FlaskClient, kind: str, field: str, date: str) -> None:
    if kind != "folder":
        pytest.skip("S3 answers this itself")
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    response = client.get(path, headers={field: date})
    assert (response.status_code, response.data) == (200, samples.TEXT)


def test_a_download_on_a_condition(client: FlaskClient, kind: str) -> None:
    if kind != "folder":
        pytest.skip("S3 answers this itself")
    answer = json_of(post(client, (samples.TEXT, "a.txt")))
    path, etag = urlsplit(answer["url"]).path, f'"{answer["files"][0]["sha256"]}"'
    assert client.get(path, headers={"If-Match": etag}).data == samples.TEXT
    unchanged = client.get(path, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.headers["Cache-Control"]) == (304, "no-store")
    assert client.get(path, headers={"If-Match": "*"}).data == samples.TEXT
    date = client.get(path).headers["Last-Modified"]
    assert client.get(path, headers={"If-Unmodified-Since": date}).data == samples.TEXT
    long_ago = "Thu, 01 Jan 1970 00:00:00 GMT"
    assert client.get(path, headers={"If-Unmodified-Since": long_ago, "If-Match": etag}).data == samples.TEXT
    for headers in ({"If-Match": '"another"'}, {"If-Unmodified-Since": long_ago}):
        response = client.get(path, headers=headers)
        problem(response, 412, "precondition-failed")
        assert "Content-Disposition" not in response.headers
    assert client.head(path, headers={"If-Unmodified-Since": long_ago}).status_code == 412


def test_a_deleted_file_is_gone(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    response = client.delete(path)
    assert (response.status_code, response.data) == (204, b"")
    problem(client.get(path), 404, "not-found")
    problem(client.delete(path), 404, "not-found")
    assert stored_keys() == []


@pytest.mark.parametrize(
    "path",
    [
        NO_SUCH_FILE,
        "/files/x/y",
        "/files/../../etc/passwd",
        f"/files/{'0' * 32}/..%2f..%2fa.txt",
        "/files/",
        "/nothing",
    ],
)
def test_what_is_not_there(client: FlaskClient, path: str) -> None:
    problem(client.get(path), 404, "not-found")


def test_another_name_does_not_open_a_file(client: FlaskClient) -> None:
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    problem(client.get(path.replace("a.txt", "b.txt")), 404, "not-found")


# What clients may know.


def test_the_limits_are_known_before_the_upload(make_app: Callable[..., Flask]) -> None:
    app = make_app(ALLOWED_EXTENSIONS="png stl=model/stl", MAX_FILE_BYTES="20000", MAX_CONTENT_LENGTH="10000")
    response = app.test_client().get("/upload")
    assert response.status_code == 200
    assert json_of(response) == {
        "extensions": ["png", "stl"],
        "types": {"png": "image/png", "stl": "model/stl"},
        "max_file_bytes": 20_000,
        "max_image_pixels": 200_000_000,
        "max_request_bytes": 10_000,
        "max_files": 100,
        "scopes": ["delete", "upload"],
        "ways": [
            {
                "name": "form",
                "method": "POST",
                "url": "http://localhost/upload",
                "field": "file",
                "fields": ["file", "files"],
                "max_bytes": 1808,
            },
            {"name": "body", "method": "PUT", "url": "http://localhost/upload/{name}", "max_bytes": 10_000},
            {"name": "direct", "method": "POST", "url": "http://localhost/upload/s3/multipart", "max_bytes": 20_000},
        ],
    }


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


@pytest.mark.parametrize(
    ("max_file_bytes", "max_request_bytes", "form", "body"),
    [
        (1000, 9192, 1000, 1000),
        (1001, 9192, 1000, 1001),
        (1000, 1000, 0, 1000),
        (1000, 999, 0, 999),
    ],
)
def test_a_way_has_the_smaller_limit(
    make_app: Callable[..., Flask], max_file_bytes: int, max_request_bytes: int, form: int, body: int
) -> None:
    app = make_app(MAX_FILE_BYTES=str(max_file_bytes), MAX_CONTENT_LENGTH=str(max_request_bytes))
    ways = [way["max_bytes"] for way in json_of(app.test_client().get("/upload"))["ways"]]
    assert ways == [form, body, max_file_bytes]


@pytest.mark.parametrize("name", ['"' * 251 + ".txt", "\u65e5" * 251 + ".txt"])
def test_a_file_as_large_as_a_form_may_have_goes_through(make_app: Callable[..., Flask], name: str) -> None:
    """With everything around it as long as it gets: a boundary, a token, a name as browsers write it."""
    secret = "a secret of this test that is long enough"
    app = make_app(MAX_CONTENT_LENGTH="100000", TOKEN_SECRET=secret)
    client = app.test_client()
    max_bytes = json_of(client.get("/upload"))["ways"][0]["max_bytes"]
    assert max_bytes > 90_000
    token = mint(secret, expires_seconds=60)
    token = mint(secret, expires_seconds=60, extensions=["txt", "x" * ((MAX_TOKEN_CHARS - len(token)) * 3 // 4 - 40)])
    assert MAX_TOKEN_CHARS - 60 < len(token) <= MAX_TOKEN_CHARS
    line = b"--" + b"b" * forms.MAX_BOUNDARY_CHARS
    body = b"\r\n".join(
        [
            line,
            b'Content-Disposition: form-data; name="token"\r\n',
            token.encode(),
            line,
            b'Content-Disposition: form-data; name="file"; filename="%b"' % name.replace('"', "%22").encode(),
            b"Content-Type: application/vnd.openxmlformats-officedocument.presentationml.presentation\r\n",
            b"x" * max_bytes,
            line + b"--\r\n",
        ]
    )
    response = post_raw(client, body, boundary="b" * forms.MAX_BOUNDARY_CHARS)
    assert response.status_code == 201, response.text
    assert json_of(response)["files"][0]["size"] == max_bytes


def test_health(client: FlaskClient) -> None:
    response = client.get("/health")
    assert (response.status_code, json_of(response)) == (200, {"status": "ok"})


def test_a_method_that_is_not_allowed(client: FlaskClient) -> None:
    response = client.delete("/upload")
    assert "Allowed are: GET, HEAD, OPTIONS, POST, PUT." in problem(response, 405, "method-not-allowed")["error"]
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST", "PUT"}


def test_the_form_on_the_first_page_can_be_sent_as_it_is(make_app: Callable[..., Flask]) -> None:
    page = make_app(MAX_FILE_BYTES=str(5 * 1024 * 1024)).test_client().get("/").text
    assert 'action="/upload" method="post" enctype="multipart/form-data"' in page
    assert 'name="file"' in page
    assert 'accept=".txt,.csv,.pdf,.png,.jpg,.jpeg,.gif,.webp"' in page
    assert "at most 5.0 MiB at once" in page


@pytest.mark.parametrize(
    ("max_content_length", "told"),
    [(8192, "0 bytes"), (9215, "1023 bytes"), (9216, "1.0 KiB"), (4 * 1024 * 1024, "3.9 MiB")],
)
def test_the_page_tells_no_more_than_a_form_may_have(
    make_app: Callable[..., Flask], max_content_length: int, told: str
) -> None:
    page = make_app(MAX_CONTENT_LENGTH=str(max_content_length)).test_client().get("/").text
    assert f"at most {told} at once" in page


def test_the_largest_limit_there_is_has_a_unit() -> None:
    assert rounded_down(5 * 2**40) == "5.0 TiB"
    assert rounded_down(2**50) == "1024.0 TiB"


# How answers look.

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_a_browsers_form_is_answered_with_a_page(client: FlaskClient) -> None:
    response = post(client, (samples.TEXT, "a.txt"), Accept=BROWSER)
    assert (response.status_code, response.mimetype) == (201, "text/html")
    assert "Stored a.txt." in response.text
    assert f'href="{response.headers["Location"]}"' in response.text


def test_page_names_files_as_their_owner_does(client: FlaskClient) -> None:
    response = post(client, (samples.TEXT, "Grüße 日本.txt"), (samples.TEXT, "<b>.txt"), Accept=BROWSER)
    assert "Stored 2 files." in response.text
    assert "<bdi>Grüße 日本.txt</bdi>" in response.text
    assert "<bdi>&lt;b&gt;.txt</bdi>" in response.text
    assert "Stored Grüße 日本.txt." in post(client, (samples.TEXT, "Grüße 日本.txt"), Accept=BROWSER).text
    refused = post(client, (b"MZ", "Grüße 日本.exe"), Accept=BROWSER)
    assert "Grüße 日本.exe" in refused.text


def test_a_browsers_form_is_told_of_each_refusal(client: FlaskClient) -> None:
    response = post(client, (b"MZ", "<b>.exe"), (b"<p>", "c.png"), Accept=BROWSER)
    assert (response.status_code, response.mimetype) == (422, "text/html")
    assert "&lt;b&gt;.exe" in response.text
    assert "c.png" in response.text
    assert "<b>" not in response.text


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("image/png", "application/problem+json"),
        (BROWSER, "text/html"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("rubbish;;q=x", "application/problem+json"),
    ],
)
def test_errors_take_the_form_that_the_client_accepts(client: FlaskClient, accept: str | None, media_type: str) -> None:
    response = client.get("/nothing", headers={"Accept": accept} if accept else {})
    assert response.mimetype == media_type


def test_every_answer_has_a_request_id_and_safe_headers(client: FlaskClient) -> None:
    stored = post(client, (samples.TEXT, "a.txt"))
    seen = set()
    for response in (stored, client.get("/"), client.get("/nothing"), client.put("/upload/a.exe", data=b"x")):
        seen.add(response.headers["X-Request-Id"])
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "same-origin", "or our own form would come with Origin: null"
        assert "Set-Cookie" not in response.headers
    assert len(seen) == 4


def test_a_page_may_send_forms_to_us_alone_and_do_nothing_else(client: FlaskClient) -> None:
    everywhere = "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    answer = post(client, (samples.TEXT, "a.txt"), Accept=BROWSER).headers["Content-Security-Policy"]
    assert answer == f"default-src 'none'; style-src 'self'; img-src 'self'; {everywhere}"
    assert (
        everywhere in client.get("/").headers["Content-Security-Policy"]
    )  # which runs scripts of its own: test_page.py
    for response in (client.get("/upload"), client.get("/nothing"), post(client, (samples.TEXT, "a.txt"))):
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"


def test_the_gateways_request_id_is_ours(client: FlaskClient) -> None:
    response = client.get("/health", environ_overrides={"UNIQUE_ID": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"})
    assert response.headers["X-Request-Id"] == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    response = client.get("/health", headers={"X-Request-Id": "forged"})
    assert response.headers["X-Request-Id"] != "forged"


# Faults.


def test_a_storage_that_is_down_is_told_without_its_words(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(*_: object) -> None:
        raise StorageUnavailable("the words of the storage")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", down)
    response = post(client, (samples.TEXT, "a.txt"))
    problem(response, 503, "storage-unavailable")
    assert response.headers["Retry-After"] == "5"
    assert "the words of the storage" not in response.text
    fault = json.loads(capsys.readouterr().out.splitlines()[0])
    assert fault["reason"] == "the words of the storage"
    assert fault["request_id"] == response.headers["X-Request-Id"]


def test_what_was_stored_before_a_fault_is_taken_back(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    writer = S3Writer if kind != "folder" else LocalWriter
    commit = writer.commit

    def fail_at_the_third(self: Any, file: Any) -> None:
        commit(self, file)  # even if it came as far as this
        if file.name == "c.txt":
            raise StorageUnavailable("the answer was lost")

    monkeypatch.setattr(writer, "commit", fail_at_the_third)
    response = post(client, *[(samples.TEXT, name) for name in ("a.txt", "b.txt", "c.txt")])
    problem(response, 503, "storage-unavailable")
    assert stored_keys() == []


def test_what_meets_a_file_of_the_same_id_is_taken_back_without_that(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    theirs = put(storage, b"theirs")
    before = stored_keys()
    ids = iter(["e" * 32, theirs.id, "f" * 32])
    monkeypatch.setattr("handler.intake.new_id", lambda: next(ids))
    response = post(client, (samples.TEXT, "a.txt"), (samples.TEXT, theirs.name), (samples.TEXT, "b.txt"))
    problem(response, 409, "already-exists")
    assert stored_keys() == before
    assert content_of(storage, theirs) == b"theirs"


def test_files_of_one_request_are_stored_side_by_side(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = S3Writer if kind != "folder" else LocalWriter
    commit = writer.commit
    together = threading.Barrier(STORED_AT_ONCE, timeout=10)

    def commit_together(self: Any, file: Any) -> None:
        together.wait()
        commit(self, file)

    monkeypatch.setattr(writer, "commit", commit_together)
    names = [f"{number}.txt" for number in range(STORED_AT_ONCE)]
    response = post(client, *[(samples.TEXT, name) for name in names])
    assert response.status_code == 201, response.text
    assert [file["name"] for file in json_of(response)["files"]] == names


def test_after_a_failure_no_further_file_is_begun(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    begun: list[str] = []

    def down(_self: object, file: StoredFile) -> None:
        begun.append(file.name)
        time.sleep(0.01)  # the failure has to be seen
        raise StorageUnavailable("down")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", down)
    problem(post(client, *[(samples.TEXT, f"{number}.txt") for number in range(100)]), 503, "storage-unavailable")
    assert len(begun) < 50
    assert stored_keys() == []


def test_a_take_back_that_fails_hides_no_fault(client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret cause")

    def down(*_: object, **__: object) -> None:
        raise StorageUnavailable("down")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", broken)
    if kind == "folder":
        monkeypatch.setattr(LocalStorage, "delete", down)
    else:
        monkeypatch.setattr("botocore.endpoint.Endpoint.make_request", down)
    problem(post(client, (samples.TEXT, "a.txt")), 500, "internal-error")


def test_a_fault_of_ours_is_logged_and_not_shown(
    client: FlaskClient,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stored_keys: Callable[[], list[str]],
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret cause")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", broken)
    response = post(client, (samples.TEXT, "a.txt"))
    problem(response, 500, "internal-error")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    fault, outcome = map(json.loads, capsys.readouterr().out.splitlines())
    assert "the secret cause" in fault["exception"]
    assert fault["request_id"] == outcome["request_id"] == response.headers["X-Request-Id"]
    assert stored_keys() == []


# The log.


def test_one_line_is_logged_for_each_outcome(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    stored = json_of(post(client, (samples.TEXT, "Secret plans.txt")))["files"][0]
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry.pop("milliseconds") >= 0
    assert entry.pop("request_bytes") > len(samples.TEXT)
    assert len(entry.pop("request_id")) == 36
    assert entry == {
        "level": "INFO",
        "event": "request",
        "method": "POST",
        "route": "/upload",
        "status": 201,
        "subject": None,
        "files": [{"id": stored["id"], "size": len(samples.TEXT), "type": "text/plain"}],
        "problem": None,
        "reason": None,
    }


def test_the_log_has_the_id_of_a_file_that_is_read_or_removed(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = json_of(post(client, (samples.TEXT, "plans.txt")))["files"][0]
    path = urlsplit(stored["url"]).path
    capsys.readouterr()
    for send in (client.get, client.head, client.delete, client.get):
        send(path)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["files"] for line in lines] == [[{"id": stored["id"]}]] * 4
    assert [json.loads(line)["route"] for line in lines] == ["/files/<id>/<name>"] * 4
    assert "plans" not in "".join(lines)


@pytest.mark.parametrize("file_id", ["A" * 32, "g" * 32, "0" * 31, "0" * 33, "s3cret"])
def test_the_log_has_no_id_that_is_none(client: FlaskClient, capsys: pytest.CaptureFixture[str], file_id: str) -> None:
    client.get(f"/files/{file_id}/a.txt")
    client.delete(f"/files/{file_id}/a.txt")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["status"], line["files"]) for line in lines] == [(404, [])] * 2


ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "words",
    [
        f'AccessDenied: not authorized to perform s3:PutObject on "arn:aws:s3:::b/files/{ID}/Secret_plans.txt"',
        f"EndpointConnectionError('Could not connect to: \"https://b.s3/files/{ID}/Secret-plans.txt\"')",
        f"[Errno 28] No space left on device: '/home/ada/uploads/files/{ID}/Secret.plans.txt'",
    ],
)
def test_a_name_in_the_words_of_the_storage_is_not_logged(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    for fault in (StorageUnavailable(words), RuntimeError(words)):
        commit = Mock(side_effect=fault)
        monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", commit)
        assert post(client, (samples.TEXT, "a.txt")).status_code in (500, 503)
        output = capsys.readouterr().out
        assert f"/files/{ID}/" in output
        assert words.partition(":")[0] in output
        assert not [word for word in ("Secret", "plans", ".txt") if word in output]


def test_a_refusal_is_logged_by_its_type_and_nothing_of_the_client_is(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.put(
        "/upload/a%0Afake line.exe?token=s3cret", data=b"MZ contents", headers={"Authorization": "Bearer s3cret"}
    )
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert (entry["status"], entry["problem"]) == (415, TYPE + "type-not-allowed")
    assert entry["route"] == "/upload/<name>"
    assert entry["reason"] == "415: .exe is not in ALLOWED_EXTENSIONS"
    assert not [word for word in ("s3cret", "fake", "MZ") if word in line]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["My CV.docx"], "415: .docx is not in ALLOWED_EXTENSIONS"),
        (["a.DOCX", "b.docx", "c.svg"], "415: .docx is not in ALLOWED_EXTENSIONS, .svg is not in ALLOWED_EXTENSIONS"),
        (["My diary"], "415: a name without an extension is refused"),
        (["a.My diary, page 1"], "415: a name without an extension is refused"),
        (["a." + "x" * 17], "415: a name without an extension is refused"),
        (["diary.png"], "415: .png is not in the token's 'extensions'"),
        ([f"{n}.x{n}" for n in range(9)], "415: " + ", ".join(f".x{n} is not in ALLOWED_EXTENSIONS" for n in range(5))),
        (["a.txt"], None),
    ],
)
def test_the_log_names_the_setting_that_refused_a_type(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str], names: list[str], reason: str | None
) -> None:
    secret = "a secret of this test that is long enough"
    client = make_app(TOKEN_SECRET=secret).test_client()
    token = mint(secret, expires_seconds=60, extensions=["txt"])
    response = post(client, *[(b"hello", name) for name in names], Authorization=f"Bearer {token}")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["reason"] == reason
    assert "diary" not in line
    assert "ALLOWED_EXTENSIONS" not in response.text

"""``?for=NAME``: each client gets its own shape and status, when a file is stored and when one is refused.

``tests/clients`` runs the clients themselves.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.web import dialects
from handler.web.dialects import Reply
from handler.web.tokens import mint

from ..support import samples
from ..support.documents import section
from ..support.http_client import download, json_of, post
from ..support.recipes import recipes

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "a secret of this test that is long enough"
FIELDS = {
    "ckeditor": "upload",
    "easymde": "image",
    "editorjs": "image",
    "filepond": "filepond",
    "fineuploader": "qqfile",
    "froala": "file",
    "jodit": "files[0]",
    "suneditor": "file-0",
    "tinymce": "file",
}
"""The name under which each client sends a file by default."""
EDITORS = sorted(FIELDS.keys() - {"filepond", "fineuploader"})
IN_SENTENCE = "'page.png'"


def send(client: FlaskClient, name: str, content: bytes, file_name: str = "a b.png", *, path: str = "/upload") -> Any:
    """Send a file as that client does.

    :returns: the body: decoded JSON, or text.
    """
    response = client.post(f"{path}?for={name}", data={FIELDS[name]: (io.BytesIO(content), file_name)})
    return response, body_of(response)


def body_of(response: TestResponse) -> Any:
    if response.mimetype == "text/plain":
        return response.text
    assert response.mimetype == "application/json"
    return response.get_json()


def stored_shape(name: str, *, file_id: str, url: str, size: int) -> Any:
    """The response to one stored file, exactly."""
    return {
        "ckeditor": {"uploaded": 1, "fileName": "a_b.png", "url": url},
        "easymde": {"data": {"filePath": url}},
        "editorjs": {"success": 1, "file": {"url": url, "name": "a_b.png", "size": size}},
        "filepond": file_id,
        "fineuploader": {"success": True, "newUuid": file_id, "url": url},
        "froala": {"link": url},
        "jodit": {"success": True, "data": {"baseurl": "", "files": [url], "isImages": [True], "messages": []}},
        "suneditor": {"result": [{"url": url, "name": "a_b.png", "size": size}]},
        "tinymce": {"location": url},
    }[name]


def refused_shape(name: str, sentence: str, *, retry: bool = False) -> Any:
    """The response to a request that failed, exactly."""
    return {
        "ckeditor": {"uploaded": 0, "error": {"message": sentence}},
        "easymde": {"error": sentence},
        "editorjs": {"success": 0, "error": sentence},
        "filepond": sentence,
        "fineuploader": {"success": False, "error": sentence, "preventRetry": not retry},
        "froala": {"error": sentence},
        "jodit": {"success": False, "data": {"messages": [sentence]}},
        "suneditor": {"errorMessage": sentence},
        "tinymce": {"error": {"message": sentence}},
    }[name]


@pytest.fixture
def kind() -> str:
    """No shape depends on the storage."""
    return "folder"


KEEP_THE_STATUS = {"easymde", "filepond", "fineuploader", "froala"}
"""The clients that show the reason with any status. The others read it only with a status of success."""


def test_every_dialect_is_tested_here() -> None:
    assert dialects.names() == sorted(FIELDS)
    assert [name for name in dialects.names() if dialects.DIALECTS[name].needs_url] == EDITORS


@pytest.mark.parametrize("name", FIELDS)
def test_response_to_a_stored_file_has_the_shape_of_the_client(client: FlaskClient, name: str) -> None:
    response, body = send(client, name, samples.png())
    assert response.status_code == 200
    url = response.headers["Location"]
    assert body == stored_shape(name, file_id=url.split("/")[-2], url=url, size=len(samples.png()))
    assert download(client, url) == samples.png()


@pytest.mark.parametrize("name", FIELDS)
def test_response_to_a_refused_file_has_the_shape_of_the_client(
    client: FlaskClient, stored_keys: Callable[[], list[str]], name: str
) -> None:
    plain = post(client, (b"<html>", "page.png"))
    sentence = json_of(plain)["detail"]
    assert IN_SENTENCE in sentence
    response, body = send(client, name, b"<html>", "page.png")
    assert body == refused_shape(name, sentence)
    assert response.status_code == (plain.status_code if name in KEEP_THE_STATUS else 200)
    assert not any(key.startswith("files/") for key in stored_keys())


@pytest.mark.parametrize("name", FIELDS)
def test_response_to_a_missing_file_or_token_has_the_shape_of_the_client(
    make_app: Callable[..., Flask], name: str
) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    response, body = send(client, name, samples.png())
    assert body == refused_shape(name, json_of(client.post("/upload", data={}))["detail"])
    assert response.status_code == (401 if name in KEEP_THE_STATUS else 200)
    token = mint(SECRET, expires_seconds=600)
    empty = {"Authorization": f"Bearer {token}"}
    sentence = json_of(client.post("/upload", data={"a": "b"}, headers=empty))["detail"]
    assert body_of(client.post(f"/upload?for={name}", data={"a": "b"}, headers=empty)) == refused_shape(name, sentence)
    response, body = send(client, name, samples.png(), path=f"/upload/t/{token}")
    url = response.headers["Location"]
    assert body == stored_shape(name, file_id=url.split("/")[-2], url=url, size=len(samples.png()))


@pytest.mark.parametrize("name", FIELDS)
def test_response_to_a_request_over_the_limit_has_the_shape_of_the_client(
    make_app: Callable[..., Flask], name: str
) -> None:
    client = make_app(MAX_CONTENT_LENGTH="20000", MAX_FILE_BYTES="10000").test_client()
    sentence = json_of(post(client, (samples.png(30_000), "page.png")))["detail"]
    _, body = send(client, name, samples.png(30_000))
    assert body == refused_shape(name, sentence)


@pytest.mark.parametrize("name", FIELDS)
def test_server_failure_keeps_its_status(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    app = make_app()

    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(app.extensions["services"].intake.storage, "open_writer", fail)
    client = app.test_client()
    sentence = json_of(post(client, (samples.png(), "a.png")))["detail"]
    response, body = send(client, name, samples.png())
    assert (response.status_code, body) == (500, refused_shape(name, sentence, retry=True))


@pytest.mark.parametrize("name", EDITORS)
def test_editor_is_refused_if_files_have_no_url(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]], name: str
) -> None:
    client = make_app(DOWNLOADS="off").test_client()
    response, body = send(client, name, samples.png())
    sentence = (
        "This client shows a file from its URL, and here files have none. Set DOWNLOADS=on, or send the file without "
        f"'?for={name}'."
    )
    assert body == refused_shape(name, sentence)
    assert response.status_code == (400 if name in KEEP_THE_STATUS else 200)
    assert not any(key.startswith("files/") for key in stored_keys())


def test_widget_works_although_files_have_no_url(make_app: Callable[..., Flask]) -> None:
    client = make_app(DOWNLOADS="off").test_client()
    response, id_of_filepond = send(client, "filepond", samples.png())
    assert response.status_code == 200
    assert len(id_of_filepond) == 32
    response, body = send(client, "fineuploader", samples.png())
    assert body == {"success": True, "newUuid": body["newUuid"]}


def test_shape_with_a_list_has_every_file(client: FlaskClient) -> None:
    def post_two(name: str) -> Any:
        fields = {"jodit": ("files[0]", "files[1]"), "suneditor": ("file-0", "file-1"), "filepond": ("filepond",) * 2}
        first, second = fields[name]
        parts = [(first, (io.BytesIO(samples.png()), "a.png")), (second, (io.BytesIO(samples.PDF), "b.pdf"))]
        data = {first: [file for _, file in parts]} if first == second else dict(parts)
        return body_of(client.post(f"/upload?for={name}", data=data))

    data = post_two("jodit")["data"]
    assert [url.rpartition("/")[2] for url in data["files"]] == ["a.png", "b.pdf"]
    assert data["isImages"] == [True, False]
    assert [file["name"] for file in post_two("suneditor")["result"]] == ["a.png", "b.pdf"]
    assert [len(id_) for id_ in post_two("filepond").split(",")] == [32, 32]


@pytest.mark.parametrize("name", FIELDS)
def test_file_name_adds_no_html_to_any_dialect(client: FlaskClient, name: str) -> None:
    """Editor.js and CKEditor 4 put the sentence into the page as HTML, and anybody can have named the file."""
    response, _ = send(client, name, b"<html>", "<img src=x onerror=alert(1)>.png")
    assert "\u2039img src=x onerror=alert(1)\u203a.png" in response.text
    assert not {"<", ">"} & set(response.text)


def test_name_of_a_dialect_is_read_in_any_case(client: FlaskClient) -> None:
    response = client.post("/upload?for=TinyMCE", data={"file": (io.BytesIO(samples.png()), "a.png")})
    assert response.get_json().keys() == {"location"}


@pytest.mark.parametrize("name", ["", "netscape", "tinymce,froala", "__class__", "a" * 4000])
def test_refusal_of_an_unknown_dialect_lists_the_known_dialects(client: FlaskClient, name: str) -> None:
    response = client.post(f"/upload?for={name}", data={"file": (io.BytesIO(samples.png()), "a.png")})
    assert response.status_code == 400
    assert ", ".join(dialects.names()) in json_of(response)["detail"]


def test_fields_of_a_dialect_are_ignored_without_the_dialect(client: FlaskClient) -> None:
    assert post(client, (samples.png(), "a.png"), field="qqfile").status_code == 400
    response = client.post("/upload?for=tinymce", data={"qqfile": (io.BytesIO(samples.png()), "a.png")})
    assert "qqfile" in response.get_json()["error"]["message"]


def test_response_to_a_body_without_a_form_has_the_shape_of_the_client(client: FlaskClient) -> None:
    response = client.post("/upload/a.png?for=easymde", data=samples.png(), content_type="image/png")
    assert response.get_json() == {"data": {"filePath": response.headers["Location"]}}


def test_documents_name_every_dialect() -> None:
    text = section("docs/http-api.md", "Responses for widgets")
    names = text.partition("names are ")[2].partition(".")[0]
    assert re.findall(r"`(\w+)`", names) == dialects.names()
    assert set(re.findall(r"\?for=(\w+)", "".join(recipes().values()))) == set(dialects.names())


def test_every_recipe_is_run() -> None:
    """In ``tests/clients``, which ``make test`` does not run."""
    here = Path(__file__).parents[1] / "clients"
    in_pages = [
        name for page in here.glob("pages/*.html") for name in re.findall(r"%LINES OF ([^%]+)%", page.read_text())
    ]
    in_programs = re.findall(r'"(wget|PHP \w+ curl)"', (here / "test_programs.py").read_text())
    assert {*in_pages, *in_programs} == recipes().keys()


def test_dialect_does_no_io() -> None:
    """It needs no request, no app and no storage."""
    entry = {"id": "1", "name": "a.png", "size": 2, "type": "image/png", "url": "http://x/a.png"}
    assert dialects.DIALECTS["tinymce"].stored([entry]) == Reply(status=200, body={"location": "http://x/a.png"})
    problem = {"status": 503, "detail": "Try again."}
    assert dialects.DIALECTS["jodit"].refused(problem).status == 503

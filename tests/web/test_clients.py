"""Requests of real clients: names of the file part, pieces of a file, raw bodies, and tokens in the path."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from handler import field_names
from handler.web import chunks, dialects
from handler.web.dialects import Dialect, Reply
from handler.web.grants import MAX_PATH_TOKEN_SECONDS
from handler.web.tokens import mint

from ..support import samples
from ..support.http_client import download, json_of, post, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "a secret of this test that is long enough"
TEXT_PART = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
FILE_PART = '--x\r\nContent-Disposition: form-data; name="{}"; filename="a.txt"\r\n\r\nhello\r\n'


def form_of(*parts: tuple[str, str | None]) -> bytes:
    """The body of a form with these parts, in this order: a name and a text, or a name and ``None`` for a file."""
    written = [FILE_PART.format(name) if text is None else TEXT_PART.format(name, text) for name, text in parts]
    return "".join([*written, "--x--\r\n"]).encode()


def post_parts(client: FlaskClient, *parts: tuple[str, str | None], query: str = "") -> TestResponse:
    return client.post(f"/upload{query}", data=form_of(*parts), content_type="multipart/form-data; boundary=x")


# The names of the parts in which files are taken.


@pytest.mark.parametrize(
    "field",
    ["file", "file[]", "files", "files[]", "file[0]", "file[12]", "file-0", "file-17", "file0", "file99", "files[3]"],
)
def test_array_names_of_the_file_part_are_accepted(client: FlaskClient, field: str) -> None:
    response = post(client, (samples.png(), "a.png"), field=field)
    assert response.status_code == 201, response.text
    assert json_of(response)["files"][0]["name"] == "a.png"


@pytest.mark.parametrize(
    "field",
    ["photo", "upload", "qqfile", "File", "file[a]", "file[0][1]", "file[", "file]", "file-", "[]", "0", "", "file[-1]",
     "profile", "xfile[]", "file[0]x", "file\u0660", "*"],
)  # fmt: skip
def test_other_part_name_is_rejected_with_three_remedies(
    client: FlaskClient, stored_keys: Callable[[], list[str]], field: str
) -> None:
    error = problem(post_parts(client, (field, None)), 400, "no-file")["error"]
    assert repr(field) in error
    assert "'file'" in error
    assert "FILE_FIELDS" in error
    assert "?for=" in error
    assert stored_keys() == []


def test_long_part_name_is_cut_in_the_refusal(client: FlaskClient) -> None:
    error = problem(post_parts(client, ("p" * 5000, None)), 400, "no-file")["error"]
    assert "p" * 100 + "'" in error
    assert "p" * 101 not in error


@pytest.mark.parametrize("field", ["photo", "photo[]", "photo[2]", "photo-1", "photo1", "Datei", "file", "files[]"])
def test_file_fields_setting_adds_part_names(make_app: Callable[..., Flask], field: str) -> None:
    client = make_app(FILE_FIELDS="photo, Datei").test_client()
    assert post(client, (samples.TEXT, "a.txt"), field=field).status_code == 201
    problem(post(client, (samples.TEXT, "a.txt"), field="other"), 400, "no-file")
    assert json_of(client.get("/upload"))["ways"][0]["fields"] == ["file", "files", "photo", "Datei"]


@pytest.mark.parametrize("field", ["anything", "file", "a[b][c]", ""])
def test_file_fields_setting_may_accept_every_name(make_app: Callable[..., Flask], field: str) -> None:
    client = make_app(FILE_FIELDS="*").test_client()
    assert post_parts(client, ("album", "Rome"), (field, None), ("note", "text")).status_code == 201
    assert json_of(client.get("/upload"))["ways"][0]["fields"] == ["file", "files", "*"]
    problem(post_parts(client, ("album", "Rome")), 400, "no-file")


def test_index_of_a_name_is_found_in_linear_time() -> None:
    for name in ("file" + "0" * 100_000 + "x", "[" * 100_000 + "x]", "1" * 100_000 + "x"):
        assert field_names.without_index(name) == name
    for name in ("file" + "0" * 100_000, "file[" + "1" * 100_000 + "]"):
        assert field_names.without_index(name) == "file"


def test_text_field_with_the_name_of_the_file_is_skipped(client: FlaskClient) -> None:
    """FilePond sends its metadata as a text field, with ``name: "file"``."""
    response = post_parts(client, ("file", "{}"), ("file", None))
    assert response.status_code == 201, response.text
    assert len(json_of(response)["files"]) == 1


@pytest.mark.parametrize(
    "parts",
    [
        [("file", "photo.jpg")],
        [("files[]", "photo.jpg")],
        [("file", None), ("file", "photo.jpg")],
        [("files", None), ("files", "photo.jpg")],
        [("files", None), ("file", "photo.jpg")],
        [("file", "photo.jpg"), ("files", None)],
    ],
)
def test_text_instead_of_a_file_is_rejected(
    client: FlaskClient, stored_keys: Callable[[], list[str]], parts: list[tuple[str, str | None]]
) -> None:
    error = problem(post_parts(client, *parts), 400, "no-file")["error"]
    assert "is text" in error
    assert "=@photo.jpg" in error
    assert stored_keys() == []


# Pieces of files.

PIECES: dict[str, dict[str, str]] = {
    "Dropzone": {"dzuuid": "a-b", "dzchunkindex": "0", "dztotalchunkcount": "3"},
    "Dropzone, by its id": {"dzuuid": "a-b"},
    "Dropzone, by its index": {"dzchunkindex": "1"},
    "Plupload": {"name": "a.txt", "chunk": "0", "chunks": "2"},
    "Plupload, without a count": {"chunk": "0"},
    "Plupload, with a count only": {"chunks": "2"},
    "Plupload, with another count": {"chunks": "two"},
    "Resumable.js": {"resumableChunkNumber": "1", "resumableTotalChunks": "2"},
    "Resumable.js, without a count": {"resumableChunkNumber": "1"},
    "flow.js": {"flowChunkNumber": "1", "flowTotalChunks": "2"},
    "flow.js, without a count": {"flowChunkNumber": "1"},
    "Fine Uploader": {"qqpartindex": "0", "qqtotalparts": "3"},
    "simple-uploader.js": {"chunkNumber": "1", "totalChunks": "2", "identifier": "5-atxt"},
    "simple-uploader.js, without a count": {"chunkNumber": "1", "identifier": "5-atxt"},
    "a count of pieces": {"totalChunks": "12"},
    "ng-file-upload": {"_chunkSize": "5", "_currentChunkSize": "5", "_chunkNumber": "0", "_totalSize": "12"},
    "ng-file-upload, without numbers": {"_chunkSize": "5", "_totalSize": ""},
    "bootstrap-fileinput": {"chunkIndex": "0", "chunkCount": "4"},
    "Kendo Upload": {"metadata": json.dumps({"chunkIndex": 0, "totalChunks": 4, "fileName": "a.txt"})},
    "DevExtreme": {"chunkMetadata": json.dumps({"Index": 0, "TotalCount": 4, "FileName": "a.txt"})},
    "Syncfusion": {"chunk-index": "0", "total-chunk": "4"},
}
WHOLE_FILES: dict[str, dict[str, str]] = {
    "Dropzone": {"dzuuid": "a-b", "dzchunkindex": "0", "dztotalchunkcount": "1"},
    "Plupload": {"name": "a.txt", "chunk": "0", "chunks": "1"},
    "Plupload, of an empty file": {"chunk": "0", "chunks": "0"},
    "Resumable.js": {"resumableChunkNumber": "1", "resumableTotalChunks": "1"},
    "flow.js": {"flowChunkNumber": "1", "flowTotalChunks": "1"},
    "Fine Uploader": {"qqpartindex": "0", "qqtotalparts": "1"},
    "simple-uploader.js": {"chunkNumber": "1", "totalChunks": "1", "identifier": "5-atxt"},
    "ng-file-upload": {"_chunkSize": "12", "_currentChunkSize": "5", "_chunkNumber": "0", "_totalSize": "12"},
    "ng-file-upload, without a total": {"_chunkSize": "5"},
    "bootstrap-fileinput": {"chunkIndex": "0", "chunkCount": "1"},
    "Kendo Upload": {"metadata": json.dumps({"chunkIndex": 0, "totalChunks": 1})},
    "another field of that name": {"metadata": "[1, 2", "chunkMetadata": "[" * 60_000},
    "an identifier only": {"identifier": "5-atxt"},
    "a chunk number only": {"chunkNumber": "3"},
}


@pytest.mark.parametrize("fields", PIECES.values(), ids=PIECES)
def test_piece_is_refused_before_or_after_its_fields(
    client: FlaskClient, stored_keys: Callable[[], list[str]], fields: dict[str, str]
) -> None:
    text = list(fields.items())
    for parts in ([*text, ("file", None)], [("file", None), *text]):
        body = problem(post_parts(client, *parts), 400, "malformed-request")
        assert body["detail"].startswith("This is a piece of a file")
    for response in (
        client.post("/upload", query_string=fields, data={"file": (io.BytesIO(b"hello"), "a.txt")}),
        client.post("/upload", query_string={"filename": "a.txt"} | fields, data=b"hello", content_type="a/b"),
        client.post("/upload/a.txt", query_string=fields, data=b"hello"),
        client.put("/upload/a.txt", query_string=fields, data=b"hello"),
    ):
        assert problem(response, 400, "malformed-request")["detail"].startswith("This is a piece of a file")
    assert stored_keys() == []


@pytest.mark.parametrize("fields", WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_file_in_a_single_piece_is_stored(client: FlaskClient, fields: dict[str, str]) -> None:
    text = list(fields.items())
    for parts in ([*text, ("file", None)], [("file", None), *text]):
        assert post_parts(client, *parts).status_code == 201
    if "chunkMetadata" not in fields:
        assert client.put("/upload/a.txt", query_string=fields, data=b"hello").status_code == 201


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"dzuuid": "a"}, "In Dropzone, set 'chunking: false'."),
        ({"chunk": "0", "chunks": "2"}, "In Plupload, set 'chunk_size: 0'"),
        ({"resumableChunkNumber": "1"}, "In Resumable.js, set 'chunkSize'"),
        ({"flowChunkNumber": "1"}, "In flow.js, set 'chunkSize'"),
        ({"chunkNumber": "1", "identifier": "a"}, "In simple-uploader.js, set 'chunkSize'"),
        ({"qqtotalparts": "2"}, "In Fine Uploader, set 'chunking: {enabled: false}'."),
        ({"_chunkSize": "1", "_totalSize": "2"}, "In ng-file-upload, leave out 'resumeChunkSize'."),
    ],
)
def test_refusal_of_a_piece_names_the_setting_of_the_client(fields: dict[str, str], setting: str) -> None:
    refusal = chunks.refusal_of_fields(fields)
    assert refusal is not None
    assert refusal.index(setting)
    assert f"'{next(iter(fields))}'" in refusal


PIECE_HEADERS: dict[str, dict[str, str]] = {
    "jQuery File Upload": {"Content-Range": "bytes 0-4/10"},
    "the IETF's older draft": {"Upload-Incomplete": "?1"},
    "a later piece": {"Upload-Offset": "5", "Upload-Complete": "?1"},
    "FilePond": {"Upload-Length": "10"},
    "huge-uploader": {"Uploader-Chunk-Number": "0"},
}


@pytest.mark.parametrize("headers", PIECE_HEADERS.values(), ids=PIECE_HEADERS)
def test_piece_is_refused_by_its_header(
    client: FlaskClient, stored_keys: Callable[[], list[str]], headers: dict[str, str]
) -> None:
    form = {"file": (io.BytesIO(b"hello"), "a.txt")}
    for response in (
        client.post("/upload", data=form, headers=headers),
        client.post("/upload?filename=a.txt", data=b"hello", headers=headers),
        client.post("/upload/a.txt", data=b"hello", headers=headers),
        client.put("/upload/a.txt", data=b"hello", headers=headers),
        client.put("/upload?filename=a.txt", data=b"hello", headers=headers),
    ):
        assert "piece" in problem(response, 400, "malformed-request")["detail"]
    assert stored_keys() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Complete": "?1"},
        {"Upload-Complete": "no"},
        {"Upload-Complete": "?1;a=1", "Upload-Length": "5", "Upload-Offset": "0"},
        {"Upload-Incomplete": "?0"},
    ],
)
def test_whole_file_of_a_resumable_client_is_stored(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.put("/upload/a.txt", data=b"hello", headers=headers).status_code == 201
    assert post(client, (b"hello", "a.txt"), **headers).status_code == 201


@pytest.mark.parametrize(
    "query",
    [
        "resumableChunkNumber=1&resumableIdentifier=5-atxt",
        "flowChunkNumber=1",
        "chunkNumber=1&identifier=5-atxt&totalChunks=2",
    ],
)
@pytest.mark.parametrize("path", ["/upload", "/upload/t/{token}"])
def test_query_for_a_chunk_gets_no_content(make_app: Callable[..., Flask], query: str, path: str) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    url = f"{path.format(token=mint(SECRET, expires_seconds=60))}?{query}"
    for response in (client.get(url), client.head(url)):
        assert (response.status_code, response.data) == (204, b"")
        assert "Content-Type" not in response.headers


@pytest.mark.parametrize("query", ["", "_=1732700000", "chunkNumber=1", "identifier=a", "for=tinymce", "filename=a"])
def test_other_parameters_do_not_change_the_limits(client: FlaskClient, query: str) -> None:
    response = client.get(f"/upload?{query}")
    assert response.status_code == 200
    assert json_of(response) == json_of(client.get("/upload"))
    assert client.head(f"/upload?{query}").status_code == 200


# Bodies that are the file.


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "image/png", "text/plain", None])
@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", "/upload/my%20photo.png"),
        ("POST", "/upload?filename=my+photo.png"),
        ("PUT", "/upload?filename=my%20photo.png"),
        ("PUT", "/upload/my%20photo.png?filename=b.txt"),
    ],
)
def test_raw_body_is_stored(client: FlaskClient, method: str, url: str, content_type: str | None) -> None:
    content = samples.png(5000)
    response = client.open(url, method=method, data=content, content_type=content_type)
    assert response.status_code == 201, response.text
    (file,) = json_of(response)["files"]
    assert (file["name"], file["original_name"]) == ("my_photo.png", "my photo.png")
    assert file["location"] == file["url"] == json_of(response)["location"] == response.headers["Location"]
    assert download(client, file["url"]) == content


@pytest.mark.parametrize(
    ("method", "url"),
    [("POST", "/upload/a.txt"), ("PUT", "/upload/a.txt"), ("PUT", "/upload?filename=a.txt")],
)
def test_form_is_not_stored_as_a_file(
    client: FlaskClient, stored_keys: Callable[[], list[str]], method: str, url: str
) -> None:
    body = form_of(("file", None))
    response = client.open(url, method=method, data=body, content_type="Multipart/Form-Data; boundary=x")
    assert "is a form" in problem(response, 400, "malformed-request")["error"]
    assert stored_keys() == []


def test_file_name_in_the_query_is_ignored_for_a_form(client: FlaskClient) -> None:
    response = post_parts(client, ("file", None), query="?filename=b.pdf")
    assert json_of(response)["files"][0]["name"] == "a.txt"


@pytest.mark.parametrize("url", ["/upload?filename=", "/upload?filename=a", "/upload/a"])
def test_raw_body_needs_an_extension(client: FlaskClient, url: str) -> None:
    problem(client.post(url, data=b"hello", content_type="text/plain"), 415, "type-not-allowed")


def test_raw_body_is_checked_like_every_file(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    problem(client.post("/upload/a.png", data=b"<p>"), 422, "content-mismatch")
    problem(client.post("/upload/a.txt", input_stream=io.BytesIO(b"")), 422, "empty-file")
    problem(client.post("/upload/a.txt", data=b"x", headers={"Content-Encoding": "gzip"}), 415,
            "content-coding-not-supported")  # fmt: skip
    wrong = {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    problem(client.post("/upload/a.txt", data=b"x", headers=wrong), 422, "digest-mismatch")
    assert stored_keys() == []


@pytest.mark.parametrize(
    ("name", "original"),
    [
        (b"Gr\xc3\xbc\xc3\x9fe.txt", "Grüße.txt"),
        (b"Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        (b"\xe9t\xe9.txt", "%E9t%E9.txt"),
    ],
)
def test_name_in_the_query_of_any_bytes_is_read(client: FlaskClient, name: bytes, original: str) -> None:
    """WSGI hands on the query as the client sent it, in Latin-1."""
    query = (b"filename=" + name).decode("latin-1")
    response = client.put("/upload", data=b"hello", environ_overrides={"QUERY_STRING": query})
    assert response.status_code == 201, response.text
    assert json_of(response)["files"][0]["original_name"] == original
    for path in ("/upload", "/nothing", "/upload/s3/params"):
        assert client.get(path, environ_overrides={"QUERY_STRING": query}).status_code < 500


# Tokens in the path.


def send_with_path_token(client: FlaskClient, token: str) -> list[TestResponse]:
    """Send each kind of upload with this token in the path."""
    return [
        client.post(f"/upload/t/{token}", data={"file": (io.BytesIO(b"hello"), "a.txt")}),
        client.post(f"/upload/t/{token}?filename=a.txt", data=b"hello", content_type="text/plain"),
        client.put(f"/upload/t/{token}?filename=a.txt", data=b"hello"),
        client.post(f"/upload/t/{token}/a.txt", data=b"hello"),
        client.put(f"/upload/t/{token}/a.txt", data=b"hello"),
    ]


@pytest.mark.parametrize("access", ["token", "public"])
def test_token_in_the_path_is_enough(
    make_app: Callable[..., Flask], access: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = make_app(TOKEN_SECRET=SECRET, ACCESS=access).test_client()
    token = mint(SECRET, expires_seconds=3600, subject="user-17", extensions=["txt"], max_bytes=5)
    for response in send_with_path_token(client, token):
        assert response.status_code == 201, response.text
        assert token not in response.text
        assert token not in str(response.headers)
    for response in (
        client.put(f"/upload/t/{token}/a.txt", data=b"hello!"),
        client.post(f"/upload/t/{token}", data={"file": (io.BytesIO(b"hello!"), "a.txt")}),
    ):
        assert problem(response, 413, "file-too-large")["max_bytes"] == 5
    problem(client.put(f"/upload/t/{token}/a.png", data=samples.png()), 415, "type-not-allowed")
    limits = client.get(f"/upload/t/{token}")
    assert json_of(limits)["extensions"] == ["txt"]
    assert token not in limits.text
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["subject"] for line in lines} == {"user-17"}
    assert not [line for line in lines if token in json.dumps(line)]
    assert {line["route"] for line in lines} == {"/upload/t/<token>", "/upload/t/<token>/<name>"}


@pytest.mark.parametrize(
    ("claims", "status", "slug"),
    [
        ({"expires_seconds": 3600, "scopes": ["upload", "delete"]}, 403, "forbidden"),
        ({"expires_seconds": 3600, "scopes": ["delete"]}, 403, "forbidden"),
        ({"expires_seconds": MAX_PATH_TOKEN_SECONDS + 30}, 403, "forbidden"),
        ({"expires_seconds": -60}, 401, "invalid-token"),
    ],
)
def test_token_in_the_path_follows_the_rules_of_the_direct_routes(
    make_app: Callable[..., Flask],
    stored_keys: Callable[[], list[str]],
    claims: dict[str, Any],
    status: int,
    slug: str,
) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    token = mint(SECRET, **claims)
    direct = client.post(f"/upload/t/{token}/s3/multipart", json={"filename": "a.txt"})
    expected = problem(direct, status, slug)["detail"]
    for response in [*send_with_path_token(client, token), client.get(f"/upload/t/{token}")]:
        assert problem(response, status, slug)["detail"] == expected
    for response in send_with_path_token(client, "x.y.z"):
        problem(response, 401, "invalid-token")
    assert stored_keys() == []


def test_token_in_the_path_overrides_any_other(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    good, bad = mint(SECRET, expires_seconds=60), mint(SECRET, expires_seconds=60, scopes=["delete"])
    headers = {"Authorization": f"Bearer {bad}"}
    response = client.post(f"/upload/t/{good}", data=form_of(("token", bad), ("file", None)), headers=headers,
                           content_type="multipart/form-data; boundary=x")  # fmt: skip
    assert response.status_code == 201, response.text
    response = client.put(f"/upload/t/{bad}/a.txt", data=b"hello", headers={"Authorization": f"Bearer {good}"})
    problem(response, 403, "forbidden")


# ?for=


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses in a shape that only one client reads."""

    def stored(entries: Any) -> Reply:
        return Reply(status=200, body={"ok": [entry["location"] for entry in entries]})

    def refused(body: Mapping[str, Any]) -> Reply:
        return Reply(status=200, body=f"no: {body['detail']}")

    dialect = Dialect(name="parrot", fields=("beak",), stored=stored, refused=refused)
    monkeypatch.setitem(dialects.DIALECTS, "parrot", dialect)


@pytest.mark.usefixtures("parrot")
@pytest.mark.parametrize("name", ["parrot", "Parrot"])
def test_response_has_the_shape_of_the_client(client: FlaskClient, name: str) -> None:
    for response in (
        post_parts(client, ("beak[0]", None), query=f"?for={name}"),
        post_parts(client, ("file", None), query=f"?for={name}"),
        client.put(f"/upload/a.txt?for={name}", data=b"hello"),
        client.post(f"/upload?for={name}&filename=a.txt", data=b"hello", content_type="text/plain"),
    ):
        assert (response.status_code, response.mimetype) == (200, "application/json")
        (url,) = json_of(response)["ok"]
        assert client.get(urlsplit(url).path).status_code in (200, 302)
    problem(post_parts(client, ("beak", None)), 400, "no-file")


@pytest.mark.usefixtures("parrot")
def test_refusal_has_the_shape_of_the_client(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_app(TOKEN_SECRET=SECRET, MAX_CONTENT_LENGTH="1000", MAX_FILE_BYTES="500").test_client()
    token = mint(SECRET, expires_seconds=60)
    url = f"/upload/t/{token}?for=parrot"

    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    responses = [
        client.post("/upload?for=parrot", data={"file": (io.BytesIO(b"x"), "a.txt")}),  # 401
        client.post(url, data={"file": (io.BytesIO(b"x"), "a.exe")}),
        client.post(url, data={"file": (io.BytesIO(b"x" * 600), "a.txt")}),
        client.post(url, data={"file": (io.BytesIO(b"x" * 2000), "a.txt")}),  # which Werkzeug refuses
        client.post(url, data={"file": (io.BytesIO(b"x"), "a.txt"), "chunk": "0"}),
        client.post(url, data={"other": (io.BytesIO(b"x"), "a.txt")}),
    ]
    monkeypatch.setattr("handler.intake.Batch.commit", broken)
    responses.append(client.post(url, data={"file": (io.BytesIO(b"x"), "a.txt")}))
    for response in responses:
        assert (response.status_code, response.mimetype) == (200, "text/plain")
        assert response.text.startswith("no: ")
        assert response.headers["X-Request-Id"]
    assert len({response.text for response in responses}) == len(responses)


@pytest.mark.usefixtures("parrot")
@pytest.mark.parametrize("name", ["", "nobody", "parrot2", "parrot " * 1000])
def test_refusal_of_an_unknown_client_lists_the_known_clients(
    client: FlaskClient, stored_keys: Callable[[], list[str]], name: str
) -> None:
    for response in (
        client.post("/upload", query_string={"for": name}, data={"file": (io.BytesIO(b"hello"), "a.txt")}),
        client.put("/upload/a.txt", query_string={"for": name}, data=b"hello"),
        client.put("/upload", query_string={"for": name, "filename": "a.txt"}, data=b"hello"),
    ):
        assert "parrot" in problem(response, 400, "malformed-request")["detail"]
    assert stored_keys() == []


@pytest.mark.usefixtures("parrot")
def test_only_upload_responses_have_another_shape(client: FlaskClient) -> None:
    assert "ways" in json_of(client.get("/upload?for=parrot"))
    problem(client.get("/files/x/y?for=parrot"), 404, "not-found")
    problem(client.delete("/upload?for=parrot"), 405, "method-not-allowed")
    problem(client.get(f"/upload/{'0' * 32}?for=parrot"), 404, "not-found")
    problem(client.post("/upload/s3/multipart?for=parrot", json={"filename": "a.exe"}), 415, "type-not-allowed")

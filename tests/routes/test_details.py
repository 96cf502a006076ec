"""The details of a stored file: the token's meta, the fields of METADATA_FIELDS, the subject, the time, the receipt."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from handler.storage.metadata import MAX_META_BYTES

from ..support.direct_client import DirectClient, formed
from ..support.http_client import problem
from ..support.receipts import verified
from ..support.tokens import FILE, OLD_SECRET, SECRET, bearer, good, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

META = {"order": 7, "tags": ["a", {"ä": None}], "price": 1.5}
FIELDS = {"album": "Ferien 🏝", "description": "by the sea"}


def by_form(client: FlaskClient, token: str, fields: dict[str, str]) -> dict[str, Any]:
    return entry(post(client, *fields.items(), FILE, **bearer(token)))


def by_form_with_fields_last(client: FlaskClient, token: str, fields: dict[str, str]) -> dict[str, Any]:
    return entry(post(client, FILE, *fields.items(), **bearer(token)))


def by_form_with_its_own_token(client: FlaskClient, token: str, fields: dict[str, str]) -> dict[str, Any]:
    return entry(post(client, ("token", token), *fields.items(), FILE))


def by_put(client: FlaskClient, token: str, fields: dict[str, str]) -> dict[str, Any]:
    return entry(client.put("/upload/a.txt", query_string=fields, data=b"hello", headers=bearer(token)))


def by_put_with_path_token(client: FlaskClient, token: str, fields: dict[str, str]) -> dict[str, Any]:
    return entry(client.put(f"/upload/t/{token}/a.txt", query_string=fields, data=b"hello"))


def by_parts(client: FlaskClient, token: str, fields: dict[str, str]) -> dict[str, Any]:
    direct = DirectClient(client=client, prefix=f"/upload/t/{token}/s3")
    return entry(direct.send("a.txt", b"hello", metadata=fields))


def by_presigned_post(client: FlaskClient, token: str, fields: dict[str, str]) -> dict[str, Any]:
    direct = DirectClient(client=client, prefix=f"/upload/t/{token}/s3")
    form = formed(direct, "a.txt", **{f"metadata[{name}]": value for name, value in fields.items()})
    assert direct.post(form, b"hello").status == 204
    status: Any = direct.status(form["id"]).json
    file: dict[str, Any] = status["file"]
    return file


def entry(response: Any) -> dict[str, Any]:
    """Return the only file of a response."""
    assert response.status_code in (200, 201), response.text
    (file,) = response.json["files"]
    found: dict[str, Any] = file
    return found


WAYS_IN = pytest.mark.parametrize(
    "send",
    [
        by_form,
        by_form_with_fields_last,
        by_form_with_its_own_token,
        by_put,
        by_put_with_path_token,
        by_parts,
        by_presigned_post,
    ],
)


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(TOKEN_SECRET=SECRET, METADATA_FIELDS="album, description").test_client()


@WAYS_IN
def test_every_way_in_keeps_the_details(client: FlaskClient, send: Any) -> None:
    token = good(sub="user-7", meta=META, folder="u7", keep_days=30)
    before = datetime.now(UTC).replace(microsecond=0)
    file = send(client, token, FIELDS)
    after = datetime.now(UTC)
    assert file["meta"] == META
    assert file["fields"] == FIELDS
    assert file["subject"] == "user-7"
    assert file["folder"] == "u7"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", file["stored"])
    stored = datetime.fromisoformat(file["stored"])
    assert before <= stored <= after
    assert datetime.fromisoformat(file["expires"]) == stored + timedelta(days=30)
    assert file["url"] == f"http://localhost/files/u7/{file['id']}/a.txt"
    assert client.get(file["url"]).status_code in (200, 302)


@WAYS_IN
def test_every_way_in_gives_a_receipt(client: FlaskClient, send: Any) -> None:
    before = int(time.time())
    file = send(client, good(sub="user-7", meta=META, folder="u7", keep_days=30), FIELDS)
    claims = verified(file["receipt"])
    repeated = ("id", "name", "size", "type", "sha256", "url", "folder", "meta", "fields", "stored")
    assert {name: claims[name] for name in repeated} == {name: file[name] for name in repeated}
    assert claims["sub"] == "user-7"
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60
    assert set(claims) == {*repeated, "sub", "aud", "iat", "exp"}


@WAYS_IN
def test_file_without_details_has_no_empty_members(client: FlaskClient, send: Any) -> None:
    file = send(client, good(), {})
    assert not {"meta", "fields", "subject", "folder", "expires"} & file.keys()
    claims = verified(file["receipt"])
    assert set(claims) == {"id", "name", "size", "type", "sha256", "url", "stored", "aud", "iat", "exp"}


def test_no_secret_no_receipt(make_app: Callable[..., Flask]) -> None:
    assert "receipt" not in entry(post(make_app(ACCESS="public").test_client(), FILE))


def test_anonymous_client_gets_a_receipt_where_there_is_a_secret(make_app: Callable[..., Flask]) -> None:
    file = entry(post(make_app(ACCESS="public", TOKEN_SECRET=SECRET).test_client(), FILE))
    assert verified(file["receipt"])["id"] == file["id"]


def test_receipt_is_signed_with_the_first_secret(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=f"{SECRET}, {OLD_SECRET}").test_client()
    assert verified(by_put(client, good(), {})["receipt"])


@WAYS_IN
def test_receipt_is_not_an_upload_token(client: FlaskClient, send: Any) -> None:
    receipt = send(client, good(sub="user-7"), {})["receipt"]
    problem(client.put("/upload/b.txt", data=b"x", headers=bearer(receipt)), 401, "invalid-token")
    problem(client.put(f"/upload/t/{receipt}/b.txt", data=b"x"), 401, "invalid-token")
    problem(post(client, ("token", receipt), FILE), 401, "invalid-token")
    problem(client.get("/upload", headers=bearer(receipt)), 401, "invalid-token")
    problem(client.delete("/files/" + "0" * 32 + "/a.txt", headers=bearer(receipt)), 401, "invalid-token")


def test_status_of_parts_repeats_the_entry(client: FlaskClient) -> None:
    direct = DirectClient(client=client, prefix=f"/upload/t/{good(sub='u', meta=META, folder='u7')}/s3")
    upload = direct.begun("a.txt", metadata=FIELDS)
    direct.put(upload, 1, b"hello")
    completed = entry(direct.complete(upload))
    again = entry(direct.complete(upload))
    status: Any = direct.status(upload["id"]).json
    for file in (again, status["file"]):
        assert verified(file.pop("receipt"))["id"] == upload["id"]
        assert file == {name: value for name, value in completed.items() if name != "receipt"}
    assert upload["key"] == f"incoming/u7/{upload['id']}"


# The limit.


def largest(over: int = 0) -> dict[str, str]:
    """Return fields that have exactly the largest size, with a meta of ``{"a":1}``, and so many bytes more."""
    return {"album": "x" * (MAX_META_BYTES + over - len('{"a":1}{"album":""}'))}


@WAYS_IN
def test_largest_details_are_kept(client: FlaskClient, send: Any) -> None:
    file = send(client, good(meta={"a": 1}, sub="s" * 100, folder="f" * 64), largest())
    assert file["fields"] == largest()


NESTED: list[Any] = json.loads("[" * 317 + "]" * 317)


@pytest.mark.parametrize(
    "meta", [{"a": NESTED}, {"a": "x" * 632}, {"ä": "x" * 631}, {"a": "🏝" * 158}, {"a": [0] * 315 + [10]}]
)
def test_meta_may_have_640_bytes_of_json(client: FlaskClient, meta: Any) -> None:
    assert len(json.dumps(meta, ensure_ascii=False, separators=(",", ":")).encode()) == 640
    assert by_put(client, good(meta=meta, sub="s" * 100), {})["meta"] == meta
    larger = {**meta, "": 0}
    problem(client.put("/upload/a.txt", data=b"x", headers=bearer(good(meta=larger))), 400, "malformed-request")


def test_over_the_limit_is_an_error_that_names_it(client: FlaskClient) -> None:
    token, fields = good(meta={"a": 1}), largest(over=1)
    direct = DirectClient(client=client, prefix=f"/upload/t/{token}/s3")
    query = {f"metadata[{name}]": value for name, value in fields.items()}
    for response in (
        post(client, *fields.items(), FILE, **bearer(token)),
        client.put("/upload/a.txt", query_string=fields, data=b"hello", headers=bearer(token)),
        direct.begin("a.txt", metadata=fields),
        direct.presigned_post("a.txt", **query),
    ):
        assert "640" in problem(response, 400, "malformed-request")["detail"]


def test_meta_over_the_limit_is_an_error_that_names_it(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    response = client.put("/upload/a.txt", data=b"x", headers=bearer(good(meta={"a": "x" * 640})))
    assert "640" in problem(response, 400, "malformed-request")["detail"]
    assert not [key for key in stored_keys() if key.startswith("files/")]


def test_long_subject_is_kept_or_an_error(client: FlaskClient) -> None:
    subject = "ä" * 300
    file = by_put(client, good(sub=subject), {})
    assert file["subject"] == subject
    response = client.put("/upload/a.txt", data=b"x", headers=bearer(good(sub="x" * 780)))
    assert "'sub'" in problem(response, 400, "malformed-request")["detail"]


def test_longest_name_and_largest_details_fit(client: FlaskClient, kind: str) -> None:
    """S3 keeps 2 KB of metadata."""
    name = "🏝" * 200 + ".txt"
    token = good(meta={"a": 1}, sub="s" * 100, folder="f" * 64, keep_days=365)
    response = client.put(f"/upload/{name}", query_string=largest(), data=b"hello", headers=bearer(token))
    file = entry(response)
    assert len(file["original_name"]) == 150
    direct = DirectClient(client=client, prefix=f"/upload/t/{token}/s3")
    assert entry(direct.send(name, b"hello", metadata=largest(), sha256=file["sha256"]))["fields"] == largest()
    if kind != "folder":
        found = client.application.extensions["services"].storage.find(file["id"], file["name"], "f" * 64)
        assert found.original_name == file["original_name"]


def test_subject_with_half_a_character_is_stored(client: FlaskClient) -> None:
    assert by_put(client, good(sub="a\ud800"), {})["subject"] == "a?"


# Fields.


def test_form_field_that_is_not_kept_is_named(client: FlaskClient) -> None:
    response = post(client, ("album", "x"), ("titel", "y"), ("x" * 150, "z"), FILE, ("titel", "y"), **bearer(good()))
    assert (response.json or {})["ignored_fields"] == ["titel", "x" * 100]
    assert entry(response)["fields"] == {"album": "x"}


def test_nothing_is_named_if_nothing_is_ignored(client: FlaskClient) -> None:
    for response in (
        post(client, ("album", "x"), ("token", ""), FILE, **bearer(good())),
        client.put("/upload/a.txt?for=none", data=b"x", headers=bearer(good())),
    ):
        if response.status_code == 201:
            assert "ignored_fields" not in (response.json or {})


def test_form_field_is_named_where_no_field_is_kept(make_app: Callable[..., Flask]) -> None:
    response = post(make_app(ACCESS="public").test_client(), ("album", "x"), FILE)
    assert (response.json or {})["ignored_fields"] == ["album"]
    assert "fields" not in entry(response)


def test_query_parameter_that_is_not_kept_is_named(client: FlaskClient) -> None:
    response = client.put("/upload?filename=a.txt&album=x&titel=y", data=b"hello", headers=bearer(good()))
    assert (response.json or {})["ignored_fields"] == ["titel"]
    assert entry(response)["fields"] == {"album": "x"}


def test_uppy_metadata_that_is_not_kept_is_named(client: FlaskClient) -> None:
    direct = DirectClient(client=client, prefix=f"/upload/t/{good()}/s3")
    metadata = {"name": "a.txt", "type": "text/plain", "relativePath": None, "size": 5, "album": 7, "titel": "y"}
    upload = direct.begun("a.txt", metadata=metadata)
    assert upload["ignored_fields"] == ["titel"]
    direct.put(upload, 1, b"hello")
    assert entry(direct.complete(upload))["fields"] == {"album": "7"}
    form: Any = direct.presigned_post("a.txt", **{"metadata[titel]": "y", "metadata[name]": "a.txt"}).json
    assert form["ignored_fields"] == ["titel"]


def test_field_of_a_direct_upload_needs_no_metadata_object(client: FlaskClient) -> None:
    """A program may write ``album`` where Uppy writes ``metadata[album]``. Neither is dropped in silence."""
    direct = DirectClient(client=client, prefix=f"/upload/t/{good()}/s3")
    upload = direct.begun("a.txt", type="text/plain", size=5, album="x", titel="y")
    assert upload["ignored_fields"] == ["titel"]
    direct.put(upload, 1, b"hello")
    assert entry(direct.complete(upload))["fields"] == {"album": "x"}
    form = formed(direct, "a.txt", type="text/plain", size=5, album="x", titel="y")
    assert form["ignored_fields"] == ["titel"]
    assert direct.post(form, b"hello").status == 204
    status: Any = direct.status(form["id"]).json
    assert status["file"]["fields"] == {"album": "x"}


@pytest.mark.parametrize(
    "query", ["metadata[album]=x&metadata[album]=y", "album=x&metadata[album]=y", "album=x&album=y"]
)
def test_two_values_for_a_field_of_a_direct_upload_are_an_error(client: FlaskClient, query: str) -> None:
    response = client.get(f"/upload/t/{good()}/s3/params?filename=a.txt&{query}")
    assert "'album'" in problem(response, 400, "malformed-request")["detail"]
    direct = DirectClient(client=client, prefix=f"/upload/t/{good()}/s3")
    problem(direct.begin("a.txt", album="x", metadata={"album": "y"}), 400, "malformed-request")


def test_two_values_for_one_field_are_an_error(client: FlaskClient) -> None:
    response = post(client, ("album", "x"), FILE, ("album", "y"), **bearer(good()))
    assert "'album'" in problem(response, 400, "malformed-request")["detail"]
    assert entry(post(client, ("album", "x"), FILE, ("album", "x"), **bearer(good())))["fields"] == {"album": "x"}
    response = client.put("/upload/a.txt?album=x&album=y", data=b"hello", headers=bearer(good()))
    problem(response, 400, "malformed-request")


def test_every_file_of_a_form_has_the_fields(client: FlaskClient) -> None:
    response = post(client, FILE, ("album", "x"), ("file", (b"other", "b.txt")), **bearer(good(meta={"a": 1})))
    files = (response.json or {})["files"]
    assert [(file["name"], file["fields"], file["meta"]) for file in files] == [
        ("a.txt", {"album": "x"}, {"a": 1}),
        ("b.txt", {"album": "x"}, {"a": 1}),
    ]


def test_client_cannot_write_meta_or_folder(client: FlaskClient) -> None:
    """Both are trusted, so only a token has them."""
    forged = {"meta": '{"admin": true}', "folder": "u8", "subject": "root", "details": "x"}
    for send in (by_form, by_put, by_parts, by_presigned_post):
        file = send(client, good(), forged)
        assert not {"meta", "folder", "subject", "fields"} & file.keys()


def test_fields_of_odd_text_are_kept_exactly(client: FlaskClient) -> None:
    odd = {"album": "\r\n\0\u202e\ufeff ä🏝 \"'<script>%00", "description": ""}
    assert by_form(client, good(), odd)["fields"] == odd
    direct = DirectClient(client=client, prefix=f"/upload/t/{good()}/s3")
    upload = direct.client.post(
        f"{direct.prefix}/multipart",
        data=rb'{"filename": "a.txt", "metadata": {"album": "a\ud800", "description": {"a": [1]}}}',
        content_type="application/json",
    ).json
    assert upload is not None
    direct.put(upload, 1, b"hello")
    assert entry(direct.complete(upload))["fields"] == {"album": "a?", "description": '{"a": [1]}'}


def test_details_cannot_be_changed_in_a_presigned_form(client: FlaskClient, kind: str) -> None:
    direct = DirectClient(client=client, prefix=f"/upload/t/{good(meta={'a': 1})}/s3")
    form = formed(direct, "a.txt")
    changes = {"policy": form["fields"]["policy"][:-2] + "AA"} if kind == "folder" else {"x-amz-meta-details": "e30"}
    if kind == "s3":
        pytest.skip("moto checks no policy of a form")
    assert direct.post(form, b"hello", **changes).status == 403


def test_details_cannot_be_added_to_a_presigned_form(client: FlaskClient, kind: str) -> None:
    """Some look-alikes of S3 accept a field that the form's policy does not name."""
    direct = DirectClient(client=client, prefix=f"/upload/t/{good()}/s3")
    form = formed(direct, "a.txt")
    forged = base64.urlsafe_b64encode(b'{"meta":{"admin":true},"subject":"root"}').decode().rstrip("=")
    if kind == "s3":
        pytest.skip("moto checks no policy of a form")
    if kind == "strict_s3":
        assert direct.post(form, b"hello", **{"x-amz-meta-details": forged}).status == 403
    assert direct.post(form, b"hello", **({"x-amz-meta-details": forged} if kind == "folder" else {})).status == 204
    status: Any = direct.status(form["id"]).json
    assert not {"meta", "fields", "subject"} & status["file"].keys()


def test_page_of_a_form_without_scripts_still_shows_the_file(client: FlaskClient) -> None:
    data = {"token": good(meta=META), "album": "x", "file": (io.BytesIO(b"hello"), "a.txt")}
    response = client.post("/upload", data=data, headers={"Accept": "text/html"})
    assert response.status_code == 201
    assert "a.txt" in response.text
    assert "not kept" not in response.text


def test_page_of_a_form_without_scripts_names_the_ignored_fields(client: FlaskClient) -> None:
    data = {"token": good(), "titel": "x", "<b>": "y", "file": (io.BytesIO(b"hello"), "a.txt")}
    response = client.post("/upload", data=data, headers={"Accept": "text/html"})
    assert "not kept: <bdi>titel</bdi>, <bdi>&lt;b&gt;</bdi>." in response.text

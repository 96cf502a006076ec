"""FilePond's pieces, over both storages: each request as filepond 4.32.12 sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support import samples, tokens
from ..support.http_client import download, problem
from ..support.widget_pieces import FilePond

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

TEXT = b"0123456789" * 250
"""Two pieces of 1,000 bytes, and one of 500."""
WHOLE = TEXT[:2000]
"""Two pieces of 1,000 bytes, and an empty one."""
SECRETS = {"secrets/upload-ids", "secret"}
"""The key that signs upload ids, in the bucket or in the folder."""
PAGE = b"<!doctype html><script>alert(1)</script>".ljust(9000)


def stored(pond: FilePond) -> bytes:
    """Return the content of the stored file. FilePond's form sends the upload id, and a back end asks for the file."""
    response = pond.client.get(f"/upload/{pond.id}")
    assert response.json
    assert response.json["status"] == "stored"
    assert response.json["file"]["original_name"] == pond.name
    return download(pond.client, response.json["file"]["url"])


@pytest.mark.parametrize("content", [TEXT, WHOLE, TEXT[:1001], TEXT[:1]], ids=len)
@pytest.mark.parametrize(("query", "is_in_query"), [("", False), ("", True), ("?for=filepond", True)])
def test_file_in_pieces_is_stored(client: FlaskClient, content: bytes, query: str, is_in_query: bool) -> None:
    pond = FilePond(client, content, query=query, is_in_query=is_in_query)
    *pieces, last = pond.send()
    if content == WHOLE:  # the file is complete before the empty piece
        assert last.json == pieces.pop().json
    assert {piece.status_code for piece in pieces} <= {204}
    assert last.status_code == 201
    assert last.json
    assert last.json["files"][0]["size"] == len(content)
    assert stored(pond) == content


def test_id_is_plain_text_and_nothing_is_stored_yet(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    response = FilePond(client, TEXT).begin()
    assert response.status_code == 201
    assert response.mimetype == "text/plain"
    assert response.text.startswith("r.")
    assert set(stored_keys()) <= SECRETS


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", None])
def test_form_may_be_empty(client: FlaskClient, content_type: str | None) -> None:
    body = b"--x--\r\n" if content_type else b""
    response = client.post("/upload", data=body, content_type=content_type, headers={"Upload-Length": "2500"})
    assert response.status_code == 201
    pond = FilePond(client, TEXT, id=response.text)
    assert [pond.patch(offset).status_code for offset in pond.offsets()] == [204, 204, 201]


def test_repeated_pieces_are_a_success(client: FlaskClient) -> None:
    """The response to each piece is lost, and FilePond repeats the piece without a look at the offset."""
    pond = FilePond(client, TEXT)
    pond.begin()
    for offset in pond.offsets():
        first, second, third = (pond.patch(offset) for _ in range(3))
        assert first.status_code == second.status_code == third.status_code
        assert first.json == second.json == third.json
    assert pond.patch(0).json == third.json  # a stale one, after the file is stored
    assert stored(pond) == TEXT


def test_other_bytes_at_a_known_offset_are_not_a_repetition(client: FlaskClient) -> None:
    pond = FilePond(client, TEXT)
    pond.begin()
    pond.patch(0)
    response = pond.patch(0, b"x" * 1000)
    assert response.status_code == 409
    assert "1,000 bytes have arrived" in response.text
    assert pond.offset() == 1000
    assert pond.patch(2000).status_code == 409


def test_offset_never_lies_within_a_piece(client: FlaskClient) -> None:
    """FilePond takes every piece that begins before the offset for complete, so a piece is kept whole or not at all."""
    pond = FilePond(client, TEXT)
    pond.begin()
    assert pond.offset() == 0
    pond.patch(0)
    wrong = {"Content-Digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}
    assert pond.patch(1000, headers=wrong).status_code == 422
    assert pond.offset() == 1000


@pytest.mark.parametrize("name", ["Grüße 日本.txt", "100%25.txt", "a b's (1).txt"])
def test_name_comes_with_the_first_piece(client: FlaskClient, name: str) -> None:
    pond = FilePond(client, TEXT, name=name)
    pond.send()
    assert stored(pond) == TEXT


def test_name_that_a_gateway_decoded_as_latin_1_is_kept(client: FlaskClient) -> None:
    """The emulated AWS hands over a header field's bytes as text in latin-1, which gateway.py encodes as UTF-8."""
    pond = FilePond(client, TEXT, name="Grüße 日本.txt".encode().decode("latin-1"))
    pond.send()
    status = client.get(pond.url).json
    assert status
    assert status["file"]["original_name"] == "Grüße 日本.txt"


def test_first_piece_without_a_name_is_refused(client: FlaskClient) -> None:
    pond = FilePond(client, TEXT, name="", query="")
    pond.begin()
    response = pond.patch(0)
    assert response.status_code == 400
    assert "Upload-Name" in response.text


@pytest.mark.parametrize("is_in_query", [True, False])
def test_refusal_is_our_sentence_as_text_each_time(client: FlaskClient, is_in_query: bool) -> None:
    pond = FilePond(client, PAGE, name="photo.png", chunk_bytes=8000, query="", is_in_query=is_in_query)
    pond.begin()
    for _ in range(4):  # FilePond repeats it three times
        response = pond.patch(0)
        assert response.status_code == 422
        assert response.mimetype == "text/plain"
        assert "photo.png" in response.text
    assert client.head(pond.url).status_code == 410


def test_refused_name_is_our_sentence_as_text(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    pond = FilePond(client, TEXT, name="virus.exe")
    pond.begin()
    response = pond.patch(0)
    assert response.status_code == 415
    assert response.mimetype == "text/plain"
    assert "virus.exe" in response.text
    assert set(stored_keys()) <= SECRETS


def test_too_large_file_is_refused_before_the_first_piece(make_app: Callable[..., Flask]) -> None:
    pond = FilePond(make_app(MAX_FILE_BYTES="1000").test_client(), TEXT)
    response = pond.begin()
    assert response.status_code == 413
    assert "1,000 bytes" in response.text


def test_more_bytes_than_the_length_are_refused(client: FlaskClient) -> None:
    pond = FilePond(client, TEXT)
    pond.begin()
    pond.patch(0)
    assert pond.patch(1000, b"x" * 1501).status_code == 400
    assert client.head(pond.url).status_code == 410


def test_token_is_needed_for_every_request(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=tokens.SECRET).test_client()
    claims = {"exp": tokens.in_an_hour(), "scope": "upload", "sub": "ada", "folder": "team"}
    headers = {"Authorization": f"Bearer {tokens.sign(claims)}"}
    other = {"Authorization": f"Bearer {tokens.sign(claims | {'sub': 'eve'})}"}
    assert FilePond(client, TEXT).begin().status_code == 401
    pond = FilePond(client, TEXT, headers=headers)
    assert pond.begin().status_code == 201
    assert FilePond(client, TEXT, id=pond.id).patch(0).status_code == 401
    assert FilePond(client, TEXT, id=pond.id, headers=other).patch(0).status_code == 403
    assert client.head(pond.url).status_code == 401
    assert client.head(pond.url, headers=other).status_code == 403
    assert [pond.patch(offset).status_code for offset in pond.offsets()] == [204, 204, 201]
    response = client.get(f"/upload/{pond.id}")
    assert response.json
    assert "/files/team/" in response.json["file"]["url"]


def test_token_may_be_in_the_path(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=tokens.SECRET).test_client()
    token = tokens.sign({"exp": tokens.in_an_hour(), "scope": "upload"})
    response = client.post(f"/upload/t/{token}?for=filepond", headers={"Upload-Length": "4"})
    headers = {"Upload-Offset": "0", "Upload-Name": "a.txt", "Content-Type": "application/offset+octet-stream"}
    url = f"/upload/t/{token}?for=filepond&patch={response.text}"
    assert client.head(url).headers["Upload-Offset"] == "0"
    assert client.patch(url, data=b"text", headers=headers).status_code == 201


def test_fields_of_the_form_are_kept(make_app: Callable[..., Flask]) -> None:
    client = make_app(METADATA_FIELDS="album").test_client()
    pond = FilePond(client, TEXT)
    pond.begin({"filepond": "{}", "album": "Süden", "other": "x"})
    last = [pond.patch(offset) for offset in pond.offsets()][-1]
    assert last.json
    assert last.json["files"][0]["fields"] == {"album": "Süden"}


def test_form_with_a_file_is_refused(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    for more in ({"content_type": "multipart/form-data; boundary=x"}, {"content_type": "text/plain"}):
        problem(client.post("/upload", data=body, headers={"Upload-Length": "5"}, **more), 400, "malformed-request")
    assert set(stored_keys()) <= SECRETS


@pytest.mark.parametrize("length", ["2499", "2501", "0", "-1", "NaN"])
def test_length_that_changes_is_refused(client: FlaskClient, length: str) -> None:
    pond = FilePond(client, TEXT)
    pond.begin()
    pond.patch(0)
    for offset in (1000, 2000):
        assert pond.patch(offset, headers={"Upload-Length": length}).status_code in (400, 409)
    assert pond.offset() == 1000
    assert [pond.patch(offset).status_code for offset in (1000, 2000)] == [204, 201]
    assert stored(pond) == TEXT


@pytest.mark.parametrize("offset", ["1001", "2500", "9" * 15, "9" * 40, "-1", "NaN", ""])
def test_offset_that_jumps_is_refused(client: FlaskClient, offset: str) -> None:
    pond = FilePond(client, TEXT)
    pond.begin()
    pond.patch(0)
    assert pond.patch(1000, headers={"Upload-Offset": offset}).status_code in (400, 409)
    assert pond.offset() == 1000
    assert [pond.patch(offset).status_code for offset in (1000, 2000)] == [204, 201]


def test_forged_id_is_not_found(client: FlaskClient) -> None:
    pond, other = FilePond(client, TEXT), FilePond(client, TEXT)
    pond.begin(), other.begin()
    head = pond.id.rpartition(".")[0]
    forged = [f"{head}.{other.id.rpartition('.')[2]}", head, f"{head}.", pond.id[:-2], f"{pond.id}.x"]
    forged += [pond.id[:at] + ("A" if pond.id[at] != "A" else "B") + pond.id[at + 1 :] for at in range(2, 60, 7)]
    for is_in_query in (True, False):
        for signed in forged:
            forger = FilePond(client, TEXT, id=signed, is_in_query=is_in_query)
            assert forger.patch(0).status_code == 404, signed
            assert client.head(forger.url).status_code == 404
    assert pond.offset() == 0


@pytest.mark.parametrize("length", ["", "-1", "x", "9" * 30])
def test_invalid_length_is_refused(client: FlaskClient, length: str) -> None:
    problem(client.post("/upload", headers={"Upload-Length": length}), 400, "malformed-request")


def test_unknown_ids_are_not_found(client: FlaskClient) -> None:
    for is_in_query in (True, False):
        pond = FilePond(client, TEXT, id="r.eyJ.x.y", is_in_query=is_in_query)
        assert pond.patch(0).status_code == 404
        assert client.head(pond.url).status_code == 404
    problem(client.patch("/upload"), 405, "method-not-allowed")


def test_cancelled_upload_is_gone(client: FlaskClient) -> None:
    pond = FilePond(client, TEXT)
    pond.begin()
    pond.patch(0)
    assert client.delete(f"/upload/{pond.id}").status_code == 204
    assert pond.patch(1000).status_code == 404
    assert client.head(pond.url).status_code == 404


def test_image_in_tiny_pieces_is_stored(client: FlaskClient) -> None:
    pond = FilePond(client, samples.png(2000), name="a.png", chunk_bytes=100)
    assert pond.send()[-1].status_code == 201
    assert stored(pond) == pond.content

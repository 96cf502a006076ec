"""Download and deletion of stored files, over both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from handler.routes import files

from ..support import samples
from ..support.http_client import NO_SUCH_FILE, json_of, post, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient


def test_download_is_an_attachment_with_the_original_name(client: FlaskClient, kind: str) -> None:
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
def test_stored_file_is_not_loaded_as_code(client: FlaskClient, loaded_as: str) -> None:
    """S3 sends no nosniff, without which a browser runs a text."""
    path = urlsplit(json_of(post(client, (b"alert(1)", "a.txt")))["url"]).path
    refused = client.get(path, headers={"Sec-Fetch-Dest": loaded_as, "Sec-Fetch-Site": "same-site"})
    assert "as a script" in problem(refused, 403, "forbidden")["detail"]
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    for harmless in ("document", "image", "video", "empty", "iframe", ""):
        assert client.get(path, headers={"Sec-Fetch-Dest": harmless}).status_code in (200, 302)


def test_head_request_for_a_file_has_no_body(client: FlaskClient, kind: str) -> None:
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


def test_range_of_a_file_is_returned(client: FlaskClient, kind: str) -> None:
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
def test_unsupported_range_is_ignored(client: FlaskClient, kind: str, asked: str) -> None:
    if kind != "folder":
        pytest.skip("S3 answers this itself")
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    response = client.get(path, headers={"Range": asked})
    assert (response.status_code, response.data) == (200, samples.TEXT)


@pytest.mark.parametrize("field", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
@pytest.mark.parametrize("year", ["9" * 4, "9" * 5, "9" * 20, "0"])
def test_invalid_date_is_ignored(client: FlaskClient, kind: str, field: str, year: str) -> None:
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


def test_conditional_headers_of_a_download_are_obeyed(client: FlaskClient, kind: str) -> None:
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


def test_deleted_file_is_gone(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
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
        "/nothing",
    ],
)
def test_unknown_path_is_not_found(client: FlaskClient, path: str) -> None:
    problem(client.get(path), 404, "not-found")


def test_file_is_not_found_under_another_name(client: FlaskClient) -> None:
    path = urlsplit(json_of(post(client, (samples.TEXT, "a.txt")))["url"]).path
    problem(client.get(path.replace("a.txt", "b.txt")), 404, "not-found")

"""``KEEP_DAYS`` and the claim ``keep_days``: the time of each way in, and 410 after it."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from handler.storage.s3.files import S3Storage

from ..support import samples
from ..support.direct_client import DirectClient, send_form
from ..support.http_client import json_of, problem
from ..support.stored_files import put as put_past_the_checks
from ..support.tokens import SECRET, bearer, good, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient


def expired_path(app: Flask, **changes: Any) -> str:
    """Store a file that has expired, and return its path."""
    stored = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1, seconds=1)
    return f"/{put_past_the_checks(app.extensions['services'].storage, keep_days=1, stored=stored, **changes).key}"


def days_of(entry: dict[str, Any]) -> int | None:
    """Return the days between the times in an entry; ``None`` for a file that never expires."""
    if "expires" not in entry:
        return None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["expires"])
    lifetime = datetime.fromisoformat(entry["expires"]) - datetime.fromisoformat(entry["stored"])
    assert lifetime == timedelta(days=lifetime.days)
    return lifetime.days


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("folder", [None, "u1"])
def test_expired_file_is_gone(make_app: Callable[..., Flask], method: str, folder: str | None) -> None:
    app = make_app()
    response = app.test_client().open(expired_path(app, folder=folder), method=method)
    assert response.status_code == 410
    if method == "GET":
        assert "has expired" in problem(response, 410, "gone")["detail"]
    assert "Location" not in response.headers
    assert b"some bytes" not in response.data


def test_file_is_there_until_it_expires(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    stored = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1) + timedelta(minutes=5)
    path = f"/{put_past_the_checks(app.extensions['services'].storage, keep_days=1, stored=stored).key}"
    assert app.test_client().get(path).status_code in (200, 302)


def test_expired_file_can_be_deleted(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    path = expired_path(app)
    assert app.test_client().delete(path).status_code == 204
    problem(app.test_client().get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("setting", "claim", "days"),
    [
        ("", None, None),
        ("30", None, 30),
        ("", 7, 7),
        ("30", 7, 7),
        ("7", 30, 7),
        ("7", 7, 7),
        ("365", 1, 1),
    ],
)
def test_smaller_number_of_days_counts(
    make_app: Callable[..., Flask], setting: str, claim: int | None, days: int | None
) -> None:
    client = make_app(TOKEN_SECRET=SECRET, KEEP_DAYS=setting).test_client()
    token = good() if claim is None else good(keep_days=claim)
    (entry,) = json_of(put(client, token))["files"]
    assert days_of(entry) == days


def test_setting_counts_without_a_token(make_app: Callable[..., Flask]) -> None:
    client = make_app(ACCESS="public", KEEP_DAYS="90").test_client()
    (entry,) = json_of(put(client, None))["files"]
    assert days_of(entry) == 90


@pytest.mark.parametrize("claim", [0, 2, -1, 366, 1.0, True, "7", [7], 10**400])
def test_token_with_another_number_of_days_is_rejected(make_app: Callable[..., Flask], claim: object) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    problem(put(client, good(keep_days=claim)), 401, "invalid-token")


def tag_of(app: Flask, entry: dict[str, Any]) -> dict[str, str]:
    """Return the tags of a stored object; the expected tags where the storage has none."""
    storage = app.extensions["services"].storage
    if not isinstance(storage, S3Storage):
        return {"keep-days": "7"}
    key = urlsplit(entry["url"]).path.removeprefix("/")
    tags = storage.client.get_object_tagging(Bucket=storage.bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in tags}


def send_in_a_form(client: FlaskClient) -> dict[str, Any]:
    data = {"file": (io.BytesIO(samples.TEXT), "a.txt")}
    (entry,) = json_of(client.post("/upload", data=data))["files"]
    return dict(entry)


def send_as_body(client: FlaskClient) -> dict[str, Any]:
    (entry,) = json_of(client.put("/upload/a.txt", data=samples.TEXT))["files"]
    return dict(entry)


def send_in_parts(client: FlaskClient) -> dict[str, Any]:
    (entry,) = json_of(DirectClient(client=client).send("a.txt", samples.TEXT))["files"]
    return dict(entry)


def send_presigned(client: FlaskClient) -> dict[str, Any]:
    direct = DirectClient(client=client)
    return dict(json_of(direct.status(send_form(direct, "a.txt", samples.TEXT)["id"]))["file"])


@pytest.mark.parametrize("send", [send_in_a_form, send_as_body, send_in_parts, send_presigned])
def test_file_expires_on_every_way_in(
    make_app: Callable[..., Flask], send: Callable[[FlaskClient], dict[str, Any]]
) -> None:
    app = make_app(ACCESS="public", KEEP_DAYS="7")
    entry = send(app.test_client())
    assert days_of(entry) == 7
    assert tag_of(app, entry) == {"keep-days": "7"}


@pytest.mark.parametrize("send", [send_in_parts, send_presigned])
def test_claim_counts_on_the_direct_way(
    make_app: Callable[..., Flask], send: Callable[[FlaskClient], dict[str, Any]]
) -> None:
    app = make_app(TOKEN_SECRET=SECRET, KEEP_DAYS="30")
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = bearer(good(keep_days=7))["Authorization"]
    entry = send(client)
    assert days_of(entry) == 7
    assert tag_of(app, entry) == {"keep-days": "7"}

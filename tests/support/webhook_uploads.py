"""A file with meta and fields, sent in each of the four ways, for tests of the event that reports the file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from handler.web.tokens import mint

from . import samples
from .direct_client import DirectClient
from .lambda_runtime import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

SETTINGS = {"TOKEN_SECRET": SECRET, "METADATA_FIELDS": "album"}
DETAILS = {"meta": {"order": 5, "tags": ["ä", None]}, "folder": "tenant-1", "subject": "user-7"}
ALBUM = "Süden & 'Meer'"
NAME = "Übersicht.txt"


def client_of(app: Flask) -> FlaskClient:
    """Return a client whose token has meta, a folder and a subject."""
    client = app.test_client()
    token = mint(SECRET, expires_seconds=600, **DETAILS)  # type: ignore[arg-type]
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def _form(client: FlaskClient) -> Any:
    return client.post("/upload", data={"album": ALBUM, "file": (io.BytesIO(samples.TEXT), NAME)}).json


def _put(client: FlaskClient) -> Any:
    return client.put(f"/upload/{NAME}", query_string={"album": ALBUM}, data=samples.TEXT).json


def _parts(client: FlaskClient) -> Any:
    return DirectClient(client=client).send(NAME, samples.TEXT, metadata={"album": ALBUM}).json


def _presigned_post(client: FlaskClient) -> Any:
    direct = DirectClient(client=client)
    upload = direct.presigned_post(NAME, **{"metadata[album]": ALBUM}).json
    assert upload
    assert direct.post(upload, samples.TEXT).status == 204
    status = direct.status(upload["id"]).json
    assert status
    return {"files": [status["file"]]}


WAYS: dict[str, Callable[[FlaskClient], Any]] = {
    "form": _form,
    "PUT": _put,
    "parts": _parts,
    "presigned post": _presigned_post,
}


def expected(response: Any) -> dict[str, Any]:
    """Return the data of the event: the file of the response without its receipt. Check that it has all details."""
    (entry,) = response["files"]
    assert entry["receipt"]
    assert {name: entry[name] for name in DETAILS} == DETAILS
    assert entry["fields"] == {"album": ALBUM}
    assert entry["original_name"] == NAME
    return {name: value for name, value in entry.items() if name != "receipt"}

"""A client that sends files straight to the storage, wherever the app says: to S3, or to the app itself."""

from __future__ import annotations

import contextlib
import datetime
import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from itsdangerous import TimestampSigner

from .stored_files import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The storage's answer."""

    status: int
    etag: str


@dataclass(frozen=True, kw_only=True)
class DirectClient:
    """Speaks the contract as Uppy does.

    :param prefix: where the routes are; ``/upload/t/<token>/s3`` with a token.
    """

    client: FlaskClient
    prefix: str = "/upload/s3"
    status_urls: dict[str, str] = field(default_factory=dict)

    def begin(self, filename: str, **body: Any) -> TestResponse:
        return self._noted(self.client.post(f"{self.prefix}/multipart", json={"filename": filename, **body}))

    def begun(self, filename: str, **body: Any) -> dict[str, Any]:
        response = self.begin(filename, **body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json or {}
        return answer

    def part_url(self, upload: Mapping[str, Any], number: int) -> TestResponse:
        return self.client.get(self._path(upload, f"/{number}"), query_string={"key": upload["key"]})

    def put(self, upload: Mapping[str, Any], number: int, data: bytes) -> Sent:
        response = self.part_url(upload, number)
        assert response.status_code == 200, response.text
        return self.put_to((response.json or {})["url"], data)

    def put_to(self, url: str, data: bytes) -> Sent:
        """PUT as a browser does: with a length, and without a type."""
        if urlsplit(url).hostname == "localhost":
            response = self.client.put(url, input_stream=io.BytesIO(data))  # a length, even of nothing
            return Sent(status=response.status_code, etag=response.headers.get("ETag", ""))
        sent = _send("PUT", url, data=data)
        return Sent(status=sent.status_code, etag=sent.headers.get("ETag", ""))

    def parts(self, upload: Mapping[str, Any]) -> TestResponse:
        return self.client.get(self._path(upload), query_string={"key": upload["key"]})

    def complete(self, upload: Mapping[str, Any], parts: list[Sent] | None = None) -> TestResponse:
        body: dict[str, Any] = {}
        if parts is not None:
            body["parts"] = [{"PartNumber": n, "ETag": part.etag.strip('"')} for n, part in enumerate(parts, 1)]
        return self.client.post(self._path(upload, "/complete"), query_string={"key": upload["key"]}, json=body)

    def abort(self, upload: Mapping[str, Any]) -> TestResponse:
        return self.client.delete(self._path(upload), query_string={"key": upload["key"]})

    def send(self, filename: str, *parts: bytes, **body: Any) -> TestResponse:
        """A whole upload; the answer is the completion's."""
        upload = self.begun(filename, **body)
        sent = [self.put(upload, number, part) for number, part in enumerate(parts, 1)]
        assert all(response.status == 200 for response in sent), sent
        return self.complete(upload, sent)

    def presigned_post(self, filename: str, **query: Any) -> TestResponse:
        return self._noted(self.client.get(f"{self.prefix}/params", query_string={"filename": filename, **query}))

    def post(self, form: Mapping[str, Any], data: bytes, **changes: str) -> Sent:
        fields = {**form["fields"], **changes}
        if urlsplit(form["url"]).hostname == "localhost":
            response = self.client.post(form["url"], data={**fields, "file": (io.BytesIO(data), "blob")})
            return Sent(status=response.status_code, etag=response.headers.get("ETag", ""))
        sent = _send("POST", form["url"], data=fields, files={"file": ("blob", data)})
        return Sent(status=sent.status_code, etag=sent.headers.get("ETag", ""))

    def status(self, file_id: str) -> TestResponse:
        """Ask at the status URL of an upload that this client began; at that of the id itself for any other."""
        return self.client.get(self.status_urls.get(file_id, f"/upload/{file_id}"))

    def _noted(self, response: TestResponse) -> TestResponse:
        answer: Any = response.json if response.status_code == 200 else {}
        if "status" in answer:
            self.status_urls[answer["id"]] = answer["status"]
        return response

    def _path(self, upload: Mapping[str, Any], rest: str = "") -> str:
        return f"{self.prefix}/multipart/{upload['uploadId']}{rest}"


def _send(method: str, url: str, **body: Any) -> requests.Response:
    """Send a request, and try again on another connection if this one breaks.

    LocalStack rejects requests before it has read them. If the client still writes, the connection breaks.
    """
    for _ in range(3):
        try:
            return requests.request(method, url, timeout=20, **body)
        except requests.ConnectionError:
            continue
    return requests.request(method, url, timeout=60, **body)


def content_of(direct: DirectClient, url: str) -> bytes:
    """Download a file."""
    response = direct.client.get(url)
    return fetch(response.headers["Location"]) if response.status_code == 302 else response.data


SCRIPT = b"<script>alert(1)</script>"


def judge(direct: DirectClient, file_id: str) -> Any:
    """Promote an upload, as the event of S3 does."""
    return direct.client.application.extensions["services"].promotion.promote(file_id)


def formed(direct: DirectClient, filename: str, **query: Any) -> dict[str, Any]:
    """Return the presigned post for a file."""
    response = direct.presigned_post(filename, **query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json or {}
    return answer


def stored(direct: DirectClient, file_id: str) -> bytes:
    """Return the content of an upload that must be stored."""
    response: Any = direct.status(file_id).json
    assert response["status"] == "stored", response
    return content_of(direct, response["file"]["url"])


def part_url(direct: DirectClient, upload: dict[str, Any], number: int) -> str:
    """Return the presigned URL of a part."""
    url: str = (direct.part_url(upload, number).json or {})["url"]
    return url


@contextlib.contextmanager
def earlier(seconds: int) -> Iterator[None]:
    """Set the clock of everything that signs back by that many seconds."""
    then = time.time() - seconds
    moment = datetime.datetime.fromtimestamp(then, datetime.UTC).replace(tzinfo=None)  # as botocore has it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimestampSigner, "get_timestamp", lambda _: int(then))
        for module in ("auth", "signers"):
            patch.setattr(f"botocore.{module}.get_current_datetime", lambda **_: moment)
        yield


def send_form(direct: DirectClient, filename: str, data: bytes) -> dict[str, Any]:
    """Send a file with a presigned post, and return the post. Nobody has asked for the verdict yet."""
    form = formed(direct, filename)
    assert direct.post(form, data).status == 204
    return form

"""Promotions under test: the S3 that fails at a call, the process that is killed, and the checked files."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ConnectionClosedError

from handler.direct.promotion import Promotion

from .direct_client import DirectClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client


ON_S3 = pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])


class Killed(BaseException):
    """As a process ends: nothing catches it, and nothing is tidied up."""


def promotion_of(direct: DirectClient) -> Promotion:
    promotion: Promotion = direct.client.application.extensions["services"].promotion
    return promotion


def copy_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have S3 copy every file that is not empty, as if it had more than :data:`~handler.storage.direct.WHOLE_BYTES`."""
    monkeypatch.setattr("handler.storage.s3.direct.WHOLE_BYTES", 0)
    monkeypatch.setattr("handler.storage.s3.direct.HEAD_BYTES", 1)
    monkeypatch.setattr("handler.direct.promotion.WHOLE_BYTES", 0)


def visible(stored_keys: Callable[[], list[str]]) -> list[str]:
    return [key for key in stored_keys() if key.startswith("files/")]


FAULTS = ["throttle", "forbid", "cut off", "cut off after it was done", "garbage", "page", "page with an ETag"]
PAGE = b"<html><head><title>Sign in to use this network</title></head><body/></html>"


class Body(io.BytesIO):
    """The body of a response, as botocore reads it."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


PAGE_FIELDS = {
    "page": {"Content-Type": "text/html"},
    "page with an ETag": {"Content-Type": "application/xhtml+xml", "ETag": '"e"'},
}


def page(request: Any, *, fields: dict[str, str], **_: object) -> AWSResponse:
    """A response that a proxy makes to any request: botocore takes its 200 for S3's."""
    headers = fields | {"Content-Length": str(len(PAGE))}
    return AWSResponse(request.url, 200, headers, Body(PAGE))  # type: ignore[arg-type]


class Faults:
    """Lets the n-th call to S3 fail.

    :param at: which one, from 0.
    """

    def __init__(self, client: S3Client, *, fault: str, at: int) -> None:
        self.calls = 0
        self._fault, self._at = fault, at
        self._events: Any = client.meta.events
        self._call: Callable[..., Any] = client._make_api_call  # type: ignore[attr-defined]

    def __call__(self, operation: str, arguments: dict[str, Any]) -> Any:
        self.calls += 1
        if self.calls - 1 != self._at:
            return self._call(operation, arguments)
        match self._fault:
            case "throttle":
                raise error(operation, 503, "SlowDown")
            case "forbid":
                raise error(operation, 403, "AccessDenied")
            case "cut off after it was done":
                self._call(operation, arguments)
            case "garbage":
                return {"ResponseMetadata": {"HTTPStatusCode": 200}}
            case "page" | "page with an ETag":
                response = partial(page, fields=PAGE_FIELDS[self._fault])
                self._events.register_first("before-send.s3", response)
                try:
                    return self._call(operation, arguments)
                finally:
                    self._events.unregister("before-send.s3", response)
        raise ConnectionClosedError(endpoint_url="https://s3")


def error(operation: str, status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]

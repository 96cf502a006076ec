"""Rows of a protocol's table: a request to an upload in a known state, and the response that the protocol asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

CONTENT = b"0123456789" * 10
"""The file of all rows, as text: 100 bytes."""
PARTIAL_BYTES = 70
"""How many bytes have arrived in the state ``partial``."""
MAX_BYTES = 10_000
"""``MAX_FILE_BYTES`` of the rows."""
PAGE = b"<!doctype html><script>alert(1)</script>".ljust(5000)
"""The content of the state ``refused``. Its file is called ``photo.png``. The check of images asks for 4,096 bytes."""
UNKNOWN = "/upload/eyJpZCI6ICIwMDAwIn0.aaaaaa.bbbbbbbbbbbb"
"""The URL of an upload that never began."""
GONE = "gone"
"""The upload is not there afterwards: HEAD answers 404 or 410, without an offset."""
NUMBER = re.compile(r"\d+")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
"""A date as HTTP writes dates (RFC 9110, section 5.6.7)."""

Value = str | re.Pattern[str] | Callable[[str], object] | None
"""The value of a header field: exact, a pattern for the whole value, a function that finds it true, or absent."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request, and the response to it.

    :param name: of the row, unique in its table.
    :param section: of the specification that asks for this response.
    :param state: of the upload before the request: a name in :attr:`Uploads.states`.
    :param status: the status, or each status that the specification allows.
    :param fields: the header fields of the response.
    :param after: the offset after the request, :data:`GONE`, or ``None`` for rows without an upload.
    :param problem: the end of the problem's type.
    :param environ: the settings of the app.
    """

    name: str
    section: str
    state: str
    method: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int | tuple[int, ...]
    fields: Mapping[str, Value] = field(default_factory=dict)
    after: int | str | None = None
    problem: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


class Uploads:
    """Brings uploads into the states of the rows, through one client. Each protocol has a subclass.

    :param client: sends the requests.
    """

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.states: dict[str, Callable[[], str]] = {
            "endpoint": lambda: "/upload",
            "begun": self.begin,
            "partial": lambda: self.append(self.begin(), 0, CONTENT[:PARTIAL_BYTES]),
            "complete": self.complete,
            "full": lambda: self.append(self.begin(), 0, CONTENT),
            "deferred": lambda: self.begin(length=None),
            "deferred partial": lambda: self.append(self.begin(length=None), 0, CONTENT[:PARTIAL_BYTES]),
            "cancelled": self.cancelled,
            "refused": self.refused,
            "unknown": lambda: UNKNOWN,
        }

    def begin(self, *, length: int | None = len(CONTENT), name: str = "a.txt") -> str:
        """Begin an upload, and return its path."""
        raise NotImplementedError

    def append(self, path: str, offset: int, content: bytes) -> str:
        """Append a piece that does not end the upload, and return the path."""
        self.patch(path, offset, content)
        return path

    def patch(self, path: str, offset: int, content: bytes, *, is_last: bool = False) -> TestResponse:
        """Send a piece."""
        raise NotImplementedError

    def complete(self) -> str:
        """Send the whole file in two pieces, and return the path of the upload."""
        path = self.append(self.begin(), 0, CONTENT[:PARTIAL_BYTES])
        response = self.patch(path, PARTIAL_BYTES, CONTENT[PARTIAL_BYTES:], is_last=True)
        assert response.status_code == 201, response.text
        return path

    def cancelled(self) -> str:
        path = self.append(self.begin(), 0, CONTENT[:PARTIAL_BYTES])
        assert self.send("DELETE", path).status_code == 204
        return path

    def refused(self) -> str:
        path = self.begin(length=len(PAGE) + 1, name="photo.png")
        assert self.patch(path, 0, PAGE).status_code in range(400, 500)
        return path

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> TestResponse:
        """Send a request with the header fields that the protocol wants in each request."""
        raise NotImplementedError

    def raw(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", **more: Any) -> TestResponse:
        """Send a request with exactly these header fields."""
        return self.client.open(path, method=method, headers=dict(headers), data=body, **more)

    def offset(self, path: str) -> int | str:
        """Return the offset, or :data:`GONE`."""
        response = self.send("HEAD", path)
        if response.status_code in (404, 410):
            assert "Upload-Offset" not in response.headers
            return GONE
        assert response.status_code in (200, 204)
        return int(response.headers["Upload-Offset"])


def check(uploads: Uploads, row: Row) -> TestResponse:
    """Send the request of a row, and compare its response.

    :returns: the response, for further checks.
    """
    path = uploads.states[row.state]()
    response = uploads.send(row.method, path, row.headers, row.body)
    statuses = row.status if isinstance(row.status, tuple) else (row.status,)
    assert response.status_code in statuses, f"{response.status_code}: {response.text}"
    for name, value in row.fields.items():
        _check_field(name, value, response.headers.get(name))
    if row.problem:
        assert response.mimetype == "application/problem+json"
        assert response.json
        assert response.json["type"].endswith(row.problem), response.text
    if response.status_code >= 400 and row.method != "HEAD":
        assert response.json, "an error has a sentence"
        assert response.json["detail"].endswith(".")
    if row.after is not None:
        assert uploads.offset(path_of(response) if row.state == "endpoint" else path) == row.after
    return response


def _check_field(name: str, expected: Value, value: str | None) -> None:
    if expected is None:
        assert value is None, f"{name}: {value}"
        return
    assert value is not None, f"{name} is missing"
    if isinstance(expected, str):
        assert value == expected, name
    elif isinstance(expected, re.Pattern):
        assert expected.fullmatch(value), f"{name}: {value}"
    else:
        assert expected(value), f"{name}: {value}"


def path_of(response: TestResponse) -> str:
    """Return the path in ``Location``."""
    return urlsplit(response.headers["Location"]).path

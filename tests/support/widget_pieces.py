"""Files in pieces, as FilePond and Dropzone send them."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler.units import ceil_div

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

PIECE_TYPE = "application/offset+octet-stream"


@dataclass
class FilePond:
    """FilePond with ``chunkUploads``: the requests of filepond 4.32.12, one after the other.

    :param query: of the URL of the endpoint.
    :param is_in_query: whether ``patch`` is ``?patch=``, FilePond's default, and not a path.
    """

    client: FlaskClient
    content: bytes
    name: str = "notes.txt"
    chunk_bytes: int = 1000
    query: str = "?for=filepond"
    is_in_query: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    id: str = ""

    def begin(self, form: Mapping[str, Any] | None = None) -> TestResponse:
        """Send the form of the metadata, and remember the id."""
        response = self.client.post(
            f"/upload{self.query}",
            data={"filepond": "{}"} if form is None else form,
            content_type="multipart/form-data",
            headers={"Upload-Length": str(len(self.content)), **self.headers},
        )
        self.id = response.text
        return response

    @property
    def url(self) -> str:
        """The URL of the upload."""
        if self.is_in_query:
            return f"/upload{self.query}{'&' if self.query else '?'}patch={self.id}"
        return f"/upload/{self.id}"

    def patch(
        self, offset: int, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """Send the piece at an offset.

        :param content: by default, that of the file.
        """
        fields = {
            "Content-Type": PIECE_TYPE,
            "Upload-Offset": str(offset),
            "Upload-Length": str(len(self.content)),
            "Upload-Name": self.name.encode().decode("latin-1"),  # JavaScript: unescape(encodeURIComponent(name))
        }
        body = self.content[offset : offset + self.chunk_bytes] if content is None else content
        return self.client.patch(self.url, data=body, headers=fields | dict(self.headers) | dict(headers or {}))

    def offset(self) -> int:
        """Ask for the offset."""
        response = self.client.head(self.url, headers=dict(self.headers))
        assert response.status_code == 204
        return int(response.headers["Upload-Offset"])

    def offsets(self) -> range:
        """Return the offsets of all pieces. If the last piece has the size of the others, an empty one follows."""
        return range(0, len(self.content) // self.chunk_bytes * self.chunk_bytes + 1, self.chunk_bytes)

    def send(self) -> list[TestResponse]:
        """Send the whole file."""
        assert self.begin().status_code == 201
        return [self.patch(offset) for offset in self.offsets()]


@dataclass
class Dropzone:
    """Dropzone with ``chunking``: the forms of dropzone 6.3.5, in any order."""

    client: FlaskClient
    content: bytes
    name: str = "notes.txt"
    chunk_bytes: int = 1000
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of pieces."""
        return max(1, ceil_div(len(self.content), self.chunk_bytes))

    def fields(self, index: int) -> dict[str, str]:
        """Return the fields of a piece."""
        return {
            "dzuuid": self.uuid,
            "dzchunkindex": str(index),
            "dztotalfilesize": str(len(self.content)),
            "dzchunksize": str(self.chunk_bytes),
            "dztotalchunkcount": str(self.count),
            "dzchunkbyteoffset": str(index * self.chunk_bytes),
        }

    def piece(self, index: int) -> bytes:
        """Return the content of a piece."""
        return self.content[index * self.chunk_bytes : (index + 1) * self.chunk_bytes]

    def post(
        self, index: int, content: bytes | None = None, fields: Mapping[str, str | None] | None = None
    ) -> TestResponse:
        """Send a piece.

        :param content: by default, that of the file.
        :param fields: other fields than Dropzone's. ``None`` leaves a field out.
        """
        data = self.piece(index) if content is None else content
        form = {
            name: value
            for name, value in {**self.fields(index), **self.form, **(fields or {})}.items()
            if value is not None
        }
        body: dict[str, Any] = {**form, "file": (io.BytesIO(data), self.name)}
        headers = {"X-Requested-With": "XMLHttpRequest", **self.headers}
        return self.client.post("/upload", data=body, content_type="multipart/form-data", headers=headers)

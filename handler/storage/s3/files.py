"""Files in an S3 bucket.

What the roles need for it, "upload" of the function that answers HTTP and "promote" of the one that answers events::

    upload   files/*  s3:PutObject s3:GetObject s3:DeleteObject s3:ListBucket
    promote  files/*  s3:GetObject s3:ListBucket

Without ``s3:ListBucket`` S3 answers 403 instead of 404 for an object that is not there.
"""

from __future__ import annotations

import base64
import io
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, TypedDict, TypeVar, cast
from urllib.parse import quote, unquote

import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import add_expect_header
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session

from ...problems import AlreadyExists, StorageUnavailable
from .. import StoredFile, deadline, is_id, is_key
from ..deadline import CLEANUP_SECONDS, REQUEST_SECONDS, nothing_new_after
from ..folder.errors import disk_errors
from .misconfiguration import is_misconfiguration, is_misconfigured

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DOWNLOAD_SECONDS = 300
"""How long a presigned download is good."""
MEMORY_BYTES = 8 * 1024 * 1024
"""What all files on their way in may hold in memory together; the others wait on disk. On Lambda they never do."""
CONNECT_SECONDS = 1
"""For each address: S3's name has up to eight, and they are tried one after the other. urllib3 sends under this
time-out too, in blocks of 128 KiB, each of which has the second: that asks for a line of 1 Mbit/s."""
READ_SECONDS = 6
"""An attempt lasts eight seconds at most: eight addresses that do not answer, or one that takes the connection, takes
the body, and then says nothing. Only an S3 that takes the body drop by drop is slower."""
ATTEMPTS = 3
"""As long as there is time for them: see ``deadline.py``."""
REQUEST_ID_FIELDS = ("x-amz-request-id", "x-amz-id-2", "x-amzn-requestid")
"""One of these is in every response of S3 (AWS: "Common response headers")."""

_Response = TypeVar("_Response", bound=Mapping[str, Any])


def make_client() -> S3Client:
    """The client for S3: region, credentials and endpoint come from botocore's own variables.

    After the deadline (``deadline.py``), where one is set, it begins no attempt.
    """
    # botocore's, since boto3 imports more (resources, transfers) before it makes the same client.
    session = get_session()
    session.register_component("data_loader", _LOADER)
    client = session.create_client(
        "s3",
        config=Config(
            # botocore's default signs URLs with SigV2, which drops If-None-Match and Content-Length silently.
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # botocore's own describes this process, anew for each call, in a seventh of the time that a call takes.
            user_agent=f"handler Botocore/{botocore.__version__}",
            s3={
                # The global endpoint, which botocore puts into presigned URLs by itself, answers 307 for a new bucket
                # in another region, and a browser's CORS check fails at that.
                "addressing_style": "virtual",
                "us_east_1_regional_endpoint": "regional",
                # TLS and ChecksumSHA256 protect the body already. botocore signs it all the same over plain HTTP.
                "payload_signing_enabled": False,
            },
        ),
    )
    # To wait until S3 says `100 Continue` is a round trip more, and a twelfth of the CPU of a small upload.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    # botocore emits it for each attempt, after the pause; what a handler raises ends the call without another one.
    client.meta.events.register("before-send.s3", _begin_in_time)
    return cast("S3Client", client)


class _S3Loader(Loader):
    """Knows without looking that there is S3: botocore looks through the folders of four hundred services, twice."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002
        return ["s3"]


_LOADER = _S3Loader()
"""It keeps what it has read, 2 MB of JSON: one for all clients, of which the tests make thousands."""


def _begin_in_time(**_event: object) -> None:
    if deadline.is_over():
        raise StorageUnavailable("S3 had not done it in time, and no further attempt was begun")


class S3Storage:
    """Files in a bucket.

    :param bucket: its name.
    :param client: made by :func:`make_client` once, when the function is imported, and used by all requests.
    """

    def __init__(self, bucket: str, *, client: S3Client) -> None:
        self.bucket = bucket
        self.client = client
        self._memory = _Memory(MEMORY_BYTES)

    def open_writer(self) -> S3Writer:
        return S3Writer(self, memory=self._memory)

    def find(self, file_id: str, name: str) -> StoredFile | None:
        if not is_key(file_id, name):
            return None
        try:
            with nothing_new_after(REQUEST_SECONDS), s3_errors():
                found = require_s3(
                    self.client.head_object(Bucket=self.bucket, Key=f"files/{file_id}/{name}", ChecksumMode="ENABLED"),
                    "Metadata",
                    "original-name",
                )
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        try:
            return StoredFile(
                id=file_id,
                name=name,
                original_name=unquote(found["Metadata"].get("original-name", name)),
                size=found["ContentLength"],
                media_type=found["ContentType"],
                # A file that came in parts has no such checksum: S3 makes one of the parts' checksums at best.
                sha256=base64.b64decode(found.get("ChecksumSHA256", "")).hex() or found["Metadata"].get("sha256"),
            )
        except (KeyError, ValueError) as error:
            raise StorageUnavailable(f"HeadObject was answered without {error}") from None

    def contains(self, file_id: str) -> bool:
        if not is_id(file_id):
            return False
        with nothing_new_after(REQUEST_SECONDS), s3_errors():
            listed = require_s3(
                self.client.list_objects_v2(Bucket=self.bucket, Prefix=f"files/{file_id}/", MaxKeys=1), "Name"
            )
        return bool(listed.get("Contents"))

    def download(self, file: StoredFile, *, head: bool = False) -> str:
        with s3_errors():
            return self.client.generate_presigned_url(
                "head_object" if head else "get_object",
                Params={"Bucket": self.bucket, "Key": file.key},
                ExpiresIn=DOWNLOAD_SECONDS,
            )

    def delete(self, file_id: str, name: str) -> bool:
        with nothing_new_after(REQUEST_SECONDS):
            file = self.find(file_id, name)
            if file is None:
                return False
            with s3_errors():
                require_s3(self.client.delete_object(Bucket=self.bucket, Key=file.key))
            return True

    def delete_best_effort(self, files: Sequence[StoredFile]) -> None:
        if not files:  # S3 calls that malformed
            return
        # One call for all of them (up to 1,000), which does not mind those that are not there. It names no versions:
        # after a time-out none is known, and the role may not delete any. A delete marker comes over what is there,
        # and the lifecycle rule that forgets deleted files forgets both.
        with nothing_new_after(CLEANUP_SECONDS), suppress(StorageUnavailable), s3_errors():
            self.client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": file.key} for file in files], "Quiet": True}
            )

    def put(self, file: StoredFile, body: IO[bytes]) -> None:
        """Store the body as that file, never over another.

        :raises AlreadyExists: there is another file under its key.
        """
        try:
            with s3_errors():
                response = self.client.put_object(
                    Bucket=self.bucket,
                    Key=file.key,
                    Body=body,
                    ContentLength=file.size,
                    **described(file),
                    # S3 refuses the object if what arrived has another checksum, and keeps it with the object. moto
                    # keeps it only where the algorithm is named as well, which S3 takes too.
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(file.sha256 or "")).decode("ascii"),
                    IfNoneMatch="*",
                )
                require_s3(response, "ETag")
        except S3Refused as refused:
            if refused.s3_status not in (409, 412):
                raise
            # 412: there is an object; 409: one is being written. Where an attempt's answer got lost and botocore tried
            # again, it is our own.
            there = self.find(file.id, file.name)
            if there == file:
                return
            if there is None and refused.s3_status == 409:
                raise
            raise AlreadyExists(f"There is a file with the id {file.id} already.") from None


class Description(TypedDict):
    """What an object in the bucket says about itself, as the client for S3 takes it."""

    ContentType: str
    ContentDisposition: str
    Metadata: dict[str, str]


def described(file: StoredFile) -> Description:
    """The file's own words, none of them the client's but the original name."""
    metadata = {"original-name": quote(file.original_name)}
    if file.sha256:
        metadata["sha256"] = file.sha256
    return {"ContentType": file.media_type, "ContentDisposition": file.content_disposition, "Metadata": metadata}


class S3Writer:
    """A file in the making: in memory, or on disk where that is taken; S3 hears of it when it is whole."""

    def __init__(self, storage: S3Storage, *, memory: _Memory) -> None:
        self._storage = storage
        self._memory = memory
        self._held = 0
        self._body: IO[bytes] = io.BytesIO()

    def write(self, data: bytes, /) -> None:
        with disk_errors():
            if isinstance(self._body, io.BytesIO):
                if self._memory.take(len(data)):
                    self._held += len(data)
                else:
                    self._move_to_disk(self._body.getvalue())
            self._body.write(data)

    def _move_to_disk(self, written: bytes) -> None:
        self._body = tempfile.TemporaryFile()  # noqa: SIM115  (abort closes it)
        self._body.write(written)
        self._give_back()

    def read(self, offset: int, length: int, /) -> bytes:
        with disk_errors():
            if isinstance(self._body, io.BytesIO) and offset == 0 and length >= self._held:
                return self._body.getvalue()  # without a copy
            self._body.seek(offset)
            data = self._body.read(length)
            self._body.seek(0, os.SEEK_END)
            return data

    def commit(self, file: StoredFile, /) -> None:
        with disk_errors():
            self._body.seek(0)
        self._storage.put(file, self._body)
        self.abort()

    def abort(self) -> None:
        with suppress(OSError):  # closing writes what is buffered, which a full disk refuses again
            self._body.close()
        self._give_back()

    def _give_back(self) -> None:
        self._memory.give_back(self._held)
        self._held = 0


class _Memory:
    """How much is left of a number of bytes that all writers share."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether there was so much left, which is then taken."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._left += size


class S3Refused(StorageUnavailable):
    """S3 answered with an error.

    :param s3_status: its HTTP status, which is S3's answer to us and none to our client.
    :param s3_code: its error code, such as ``NoSuchUpload``.
    """

    def __init__(self, reason: str, *, s3_status: int, s3_code: str) -> None:
        super().__init__(reason, is_misconfigured=is_misconfigured(status=s3_status, code=s3_code))
        self.s3_status = s3_status
        self.s3_code = s3_code


@contextmanager
def s3_errors() -> Iterator[None]:
    """Turn botocore's errors into our own: their text is for the log, not for a client."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        raise S3Refused(str(error), s3_status=status, s3_code=code) from None
    except (BotoCoreError, ResponseParserError, KeyError) as error:  # KeyError: a response without what S3 sends
        raise StorageUnavailable(repr(error), is_misconfigured=is_misconfiguration(error)) from None


def require_s3(response: _Response, *member: str) -> _Response:
    """Return the response if S3 sent it: botocore takes any 200 for S3's, such as a page that a proxy shows.

    S3 puts a request id into each of its responses. A store that speaks S3's protocol and sends none is known by a
    member that a page does not fill, or by the status 204.

    :param member: the path to that member.
    :raises StorageUnavailable: something else sent it.
    """
    metadata = response.get("ResponseMetadata", {})
    fields = metadata.get("HTTPHeaders", {})
    if metadata.get("HTTPStatusCode") == 204 or any(name in fields for name in REQUEST_ID_FIELDS):
        return response
    found: Any = response if member else None
    for name in member:
        found = found.get(name) if isinstance(found, Mapping) else None
    # A page may have an ETag. No object of ours is a page.
    if found is None or fields.get("content-type", "").startswith(("text/html", "application/xhtml+xml")):
        raise StorageUnavailable("a 200 that S3 did not send: it has no request id")
    return response

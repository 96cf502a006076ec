"""Bytes that clients send straight to an S3 bucket.

::

    incoming/<id>         what a client sent, with what was agreed about it as metadata
    files/<id>/<name>     what passed
    refused/<id>.json     why something did not
    secrets/upload-ids    the key that upload ids are signed with

What is judged under an id is the oldest version of ``incoming/<id>``: a POST with a presigned form can be repeated, and
makes a new version each time; so however many judge it, in whatever order, they all look at the same bytes. Each of
these versions has an event of its own: that of a later version deletes it, and reads nothing.

A file that was deleted stays deleted. ``If-None-Match: *`` succeeds over a delete marker, so after each copy the
versions of the file are listed: next to a delete marker, the copy came too late and is deleted again.

What the roles need for it, besides what :mod:`.s3` names::

    upload   files/*             s3:PutObject s3:AbortMultipartUpload s3:ListBucketVersions
    upload   incoming/*          s3:PutObject s3:ListMultipartUploadParts s3:AbortMultipartUpload s3:GetObjectVersion
    upload   incoming/*          s3:DeleteObjectVersion s3:ListBucket s3:ListBucketVersions
    upload   refused/*           s3:PutObject s3:GetObject s3:ListBucket
    upload   secrets/upload-ids  s3:PutObject s3:GetObject s3:ListBucket
    upload   *                   s3:ListBucketMultipartUploads
    promote  files/*             s3:PutObject s3:AbortMultipartUpload s3:DeleteObject s3:ListBucketVersions
    promote  incoming/*          s3:GetObjectVersion s3:DeleteObjectVersion s3:ListBucket s3:ListBucketVersions
    promote  refused/*           s3:PutObject s3:GetObject s3:ListBucket
    promote  *                   s3:ListBucketMultipartUploads
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from ...problems import AlreadyExists, StorageUnavailable, UploadIncomplete, UploadNotFound
from .. import StoredFile
from ..direct import (
    MAX_FORM_BYTES,
    MIB,
    MIN_PART_BYTES,
    Declaration,
    Gone,
    PresignedPost,
    SentAgain,
    UploadedPart,
    Verdict,
    dump_refusal,
    part_bytes,
)
from .files import S3Refused, S3Storage, described, require_s3, s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, ObjectIdentifierTypeDef

URL_SECONDS = 60 * 60
"""How long a URL or a form is good. It is looked at when a request begins, however long that takes then."""
COPIES_AT_ONCE = 10
"""As many as botocore keeps connections open for by default."""
CHUNK_BYTES = 8 * MIB
"""What is read at a time of a file that is read as a whole."""
CHUNKS_PER_LOOK = 16
"""How many of these are read before the next look for a verdict of somebody else: one LIST for 128 MiB."""
NO_VERSIONING = "null"
"""The version id of what was written while the bucket had none (AWS: "Using versioning in S3 buckets")."""
SECRET_KEY = "secrets/upload-ids"  # noqa: S105
SECRET_BYTES = 32
SECRET_SECONDS = 5 * 60
"""After which it is read again: who deletes it, because somebody knows it, is not to wait for every function to end."""


class S3DirectUploads:
    """Bytes that clients send to a bucket themselves.

    :param storage: where the files that passed are kept.
    """

    def __init__(self, storage: S3Storage) -> None:
        self._storage = storage
        self._bucket = storage.bucket
        self._client: S3Client = storage.client
        self._secret: bytes | None = None
        self._secret_until = 0.0

    def secret(self) -> bytes:
        # Not the monotonic clock, which may stand still while Lambda has the function frozen.
        if self._secret is None or time.time() >= self._secret_until:
            self._secret = self._read_secret() or self._make_secret()
            self._secret_until = time.time() + SECRET_SECONDS
        return self._secret

    def _read_secret(self) -> bytes | None:
        try:
            with s3_errors():
                response = require_s3(self._client.get_object(Bucket=self._bucket, Key=SECRET_KEY), "ETag")
                secret = response["Body"].read()
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        if len(secret) != SECRET_BYTES:
            raise StorageUnavailable(f"{SECRET_KEY} does not hold the {SECRET_BYTES} bytes that were written there")
        return secret

    def _make_secret(self) -> bytes:
        secret = secrets.token_bytes(SECRET_BYTES)
        try:
            with s3_errors():
                require_s3(
                    self._client.put_object(Bucket=self._bucket, Key=SECRET_KEY, Body=secret, IfNoneMatch="*"), "ETag"
                )
        except S3Refused as refused:
            # Another function made it at the same moment: its secret is everyone's.
            if refused.s3_status in (409, 412) and (made := self._read_secret()):
                return made
            raise
        return secret

    def origins(self) -> list[str]:
        # Only botocore knows it: region, endpoint and addressing style make it.
        with s3_errors():
            signed = self._client.generate_presigned_url(
                "put_object", Params={"Bucket": self._bucket, "Key": "incoming"}
            )
        url = urlsplit(signed)
        return [f"{url.scheme}://{url.netloc}"]

    def begin(self, file_id: str, declaration: Declaration) -> str:
        with s3_errors():
            response = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=_incoming_key(file_id), Metadata=declaration.as_metadata()
            )
            return require_s3(response, "UploadId")["UploadId"]

    def has_multipart_upload(self, file_id: str, upload: str) -> bool:
        try:
            with _upload_errors(), s3_errors():
                response = self._client.list_parts(
                    Bucket=self._bucket, Key=_incoming_key(file_id), UploadId=upload, MaxParts=1
                )
                require_s3(response, "UploadId")
        except UploadNotFound:
            return False
        return True

    def part_url(self, file_id: str, upload: str, number: int, *, size: int | None) -> str:
        parameters: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": _incoming_key(file_id),
            "UploadId": upload,
            "PartNumber": number,
        }
        if size is not None:
            parameters["ContentLength"] = size  # SigV4 signs the field: S3 takes no other length
        with s3_errors():
            return self._client.generate_presigned_url("upload_part", Params=parameters, ExpiresIn=URL_SECONDS)

    def parts(self, file_id: str, upload: str) -> list[UploadedPart]:
        with _upload_errors(), s3_errors():
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=_incoming_key(file_id), UploadId=upload
            )
            return [
                UploadedPart(number=part["PartNumber"], etag=part["ETag"].strip('"'), size=part["Size"])
                for page in pages
                for part in require_s3(page, "UploadId").get("Parts", [])
            ]

    def complete(self, file_id: str, upload: str, parts: Sequence[UploadedPart]) -> None:
        with _upload_errors(), s3_errors():
            completed = self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=_incoming_key(file_id),
                UploadId=upload,
                MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
                MpuObjectSize=sum(part.size for part in parts),
            )
            require_s3(completed, "ETag")

    def abort(self, file_id: str, upload: str) -> None:
        _abort(self._storage, _incoming_key(file_id), upload)

    def presigned_post(self, file_id: str, declaration: Declaration) -> PresignedPost:
        metadata = {f"x-amz-meta-{name}": value for name, value in declaration.as_metadata().items()}
        with s3_errors():
            presigned = self._client.generate_presigned_post(
                Bucket=self._bucket,
                Key=_incoming_key(file_id),
                Fields=dict(metadata),
                Conditions=[
                    *({name: value} for name, value in metadata.items()),
                    ["content-length-range", 0, min(declaration.max_bytes, MAX_FORM_BYTES)],
                ],
                ExpiresIn=URL_SECONDS,
            )
        return PresignedPost(url=presigned["url"], fields=presigned["fields"])

    def arrived(self, file_id: str) -> bool:
        return bool(self._page(_incoming_key(file_id))[0])

    def open_incoming(self, file_id: str, version: str | None = None) -> S3Incoming | None:
        key = _incoming_key(file_id)
        oldest = self._oldest(key, version)
        if oldest is None:
            return None
        try:
            with s3_errors():
                head = require_s3(
                    self._client.head_object(Bucket=self._bucket, Key=key, VersionId=oldest), "Metadata", "max-bytes"
                )
                size, etag, metadata = head["ContentLength"], head["ETag"], head["Metadata"]
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        if oldest == NO_VERSIONING and "-" not in etag:
            # It came with a form, which can be sent again at any time: what is checked may not be what is copied. What
            # was put together from parts has a hyphen in its ETag, and no client can write it again.
            raise StorageUnavailable(
                f"the bucket {self._bucket} has no versioning, so {key} cannot be pinned", is_misconfigured=True
            )
        try:
            declaration = Declaration.from_metadata(metadata)
        except (KeyError, ValueError):
            raise StorageUnavailable(f"{key} was not written with a URL of this endpoint's") from None
        return S3Incoming(
            size=size,
            declaration=declaration,
            storage=self._storage,
            source={"Bucket": self._bucket, "Key": key, "VersionId": oldest},
        )

    def discard(self, file_id: str, version: str | None = None) -> None:
        key = _incoming_key(file_id)
        versions = self._page(key)[0] if version is None else [version]
        if not versions:
            return
        with s3_errors():
            if len(versions) == 1:
                require_s3(self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=versions[0]))
            else:
                objects: list[ObjectIdentifierTypeDef] = [{"Key": key, "VersionId": each} for each in versions]
                response = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects})
                if errors := require_s3(response, "Deleted").get("Errors"):
                    raise StorageUnavailable(f"DeleteObjects: {errors[0].get('Code')} for {len(errors)} of {key}")

    def end_copies(self, file_id: str) -> None:
        with s3_errors():
            listed = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=f"files/{file_id}/")
            require_s3(listed, "Bucket")
        for upload in listed.get("Uploads", []):
            _abort(self._storage, upload["Key"], upload["UploadId"])

    def find_verdict(self, file_id: str) -> Verdict | None:
        history = _history(self._storage, file_id)
        if history.deleted:
            return Verdict()
        if history.name is not None:
            return Verdict(file=self._storage.find(file_id, history.name))
        refusal = self.refusal(file_id)
        return None if refusal is None else Verdict(refusal=refusal)

    def refusal(self, file_id: str) -> Mapping[str, Any] | None:
        try:
            with s3_errors():
                response = self._client.get_object(Bucket=self._bucket, Key=f"refused/{file_id}.json")
                refusal: Mapping[str, Any] = json.loads(require_s3(response, "ETag")["Body"].read())
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        except ValueError:
            raise StorageUnavailable(f"refused/{file_id}.json does not hold what was written there") from None
        return refusal

    def refuse(self, file_id: str, refusal: Mapping[str, Any]) -> None:
        try:
            with s3_errors():
                response = self._client.put_object(
                    Bucket=self._bucket,
                    Key=f"refused/{file_id}.json",
                    Body=dump_refusal(refusal),
                    ContentType="application/problem+json",
                    IfNoneMatch="*",
                )
                require_s3(response, "ETag")
        except S3Refused as refused:
            if refused.s3_status not in (409, 412):
                raise

    def _oldest(self, key: str, version: str | None) -> str | None:
        """Return the id of an object's oldest version, in one call unless there are more than a page of versions.

        :param version: the one that may be the oldest. With more than a page of versions only this is checked.
        :raises SentAgain: this one is not the oldest.
        """
        versions, complete = self._page(key)
        if version in (versions[:-1] if complete else versions):
            raise SentAgain
        if complete:
            return versions[-1] if versions else None
        if version is None:
            raise StorageUnavailable(f"{key} was sent more than a thousand times; the event of the first judges it")
        if self._page(key, KeyMarker=key, VersionIdMarker=version)[0]:
            raise SentAgain
        return version

    def _page(self, key: str, **marker: str) -> tuple[list[str], bool]:
        """Return the ids of up to a thousand versions of an object, the newest first, and whether these are all."""
        with s3_errors():
            page = require_s3(
                self._client.list_object_versions(Bucket=self._bucket, Prefix=key, **marker),  # type: ignore[arg-type]
                "Name",
            )
        versions = [version["VersionId"] for version in page.get("Versions", []) if version["Key"] == key]
        return versions, not page.get("IsTruncated", False)


@dataclass(frozen=True, kw_only=True, slots=True)
class _History:
    """The versions of a file under its id.

    :param name: of the file, if it is stored.
    :param deleted: whether it was deleted, which is final.
    """

    name: str | None
    deleted: bool

    @property
    def is_decided(self) -> bool:
        """Whether it was stored, and perhaps deleted."""
        return self.deleted or self.name is not None


def _history(storage: S3Storage, file_id: str) -> _History:
    """Look at all versions of a file, and delete it again if a copy came after its deletion."""
    prefix = f"files/{file_id}/"
    with s3_errors():
        listed = require_s3(storage.client.list_object_versions(Bucket=storage.bucket, Prefix=prefix), "Name")
    latest = [version["Key"] for version in listed.get("Versions", []) if version["IsLatest"]]
    deleted = bool(listed.get("DeleteMarkers"))
    if deleted:
        for key in latest:
            with s3_errors():
                require_s3(storage.client.delete_object(Bucket=storage.bucket, Key=key))
    return _History(name=latest[0].removeprefix(prefix) if latest else None, deleted=deleted)


class _Object(TypedDict):
    Bucket: str
    Key: str


class _Version(_Object):
    VersionId: str


class _Range(TypedDict, total=False):
    CopySourceRange: str


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Incoming:
    """One version of an object: the only thing that pins bytes. An ETag is an MD5, of which two files can be made."""

    size: int
    declaration: Declaration
    storage: S3Storage
    source: _Version

    @property
    def version(self) -> str:
        return self.source["VersionId"]

    def read(self, offset: int, length: int, /) -> bytes:
        if offset >= self.size:
            return b""
        with _gone_if_missing(), s3_errors():
            response = self.storage.client.get_object(**self.source, Range=f"bytes={offset}-{offset + length - 1}")
            data = require_s3(response, "Metadata", "max-bytes")["Body"].read()
        if len(data) != min(length, self.size - offset):
            raise StorageUnavailable(f"S3 sent other bytes of {self.source['Key']} than it was asked for")
        return data

    def chunks(self) -> Iterator[bytes]:
        # After a verdict the bytes are deleted, so that the next read raises Gone. The look is for a function that
        # stored the file and ended before it could delete them.
        file_id = self.source["Key"].removeprefix("incoming/")
        for number, offset in enumerate(range(0, self.size, CHUNK_BYTES), start=1):
            yield self.read(offset, CHUNK_BYTES)
            if number % CHUNKS_PER_LOOK == 0 and _history(self.storage, file_id).is_decided:
                raise Gone

    def copy_to_files(self, file: StoredFile, /) -> None:
        """Copy this version: one way for every size, and the one that goes together with a bucket policy that asks for
        If-None-Match (AWS: "Enforce conditional writes on Amazon S3 buckets": CopyObject does not)."""
        target: _Object = {"Bucket": self.source["Bucket"], "Key": file.key}
        if self.size == 0:  # there is no part of nothing
            with _already_exists(file), s3_errors():
                require_s3(self.storage.client.put_object(**target, **described(file), IfNoneMatch="*"), "ETag")
        else:
            self._copy(target, file)
        if _history(self.storage, file.id).deleted:
            raise AlreadyExists(f"There was a file with the id {file.id}, and it was deleted.")

    def _copy(self, target: _Object, file: StoredFile) -> None:
        client = self.storage.client
        with s3_errors():
            upload = require_s3(client.create_multipart_upload(**target, **described(file)), "UploadId")["UploadId"]
        try:
            parts = self._copy_parts(target, upload)
            with _already_exists(file), s3_errors():
                completed = client.complete_multipart_upload(
                    **target,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                    MpuObjectSize=self.size,
                    IfNoneMatch="*",
                )
                require_s3(completed, "ETag")
        except BaseException:
            with suppress(StorageUnavailable):  # the bucket's lifecycle sweeps the parts otherwise
                _abort(self.storage, target["Key"], upload)
            raise

    def _copy_parts(self, target: _Object, upload: str) -> list[CompletedPartTypeDef]:
        length = part_bytes(self.size)
        count = -(-self.size // length)

        failed = Event()

        def copy_unless_failed(number: int) -> CompletedPartTypeDef:
            if failed.is_set():
                raise CancelledError  # which nobody sees: the one that failed was begun, and is looked at, before it
            try:
                return copy(number)
            except BaseException:
                failed.set()
                raise

        def copy(number: int) -> CompletedPartTypeDef:
            first, last = (number - 1) * length, min(number * length, self.size) - 1
            # A range only of what has several parts: S3 copies none of an object of 5 MB or less (AWS: UploadPartCopy).
            part: _Range = {} if count == 1 else {"CopySourceRange": f"bytes={first}-{last}"}
            with _gone_if_missing(), s3_errors():
                copied = self.storage.client.upload_part_copy(
                    **target, **part, UploadId=upload, PartNumber=number, CopySource={**self.source}
                )
                result = require_s3(copied, "CopyPartResult", "ETag")["CopyPartResult"]
                return {"PartNumber": number, "ETag": result["ETag"]}

        if count == 1:
            return [copy(1)]
        threads = ThreadPoolExecutor(COPIES_AT_ONCE)
        try:
            # Each in a copy of this context, since it knows the deadline.
            copies = [threads.submit(copy_context().run, copy_unless_failed, number) for number in range(1, count + 1)]
            return [each.result() for each in copies]
        finally:
            threads.shutdown(cancel_futures=True)  # after a failure the rest, up to thousands, would be for nothing


def _abort(storage: S3Storage, key: str, upload: str) -> None:
    """Forget the parts of an upload. Does nothing if there is no such upload."""
    with suppress(UploadNotFound), _upload_errors(), s3_errors():
        require_s3(storage.client.abort_multipart_upload(Bucket=storage.bucket, Key=key, UploadId=upload))


def _incoming_key(file_id: str) -> str:
    return f"incoming/{file_id}"


@contextmanager
def _upload_errors() -> Iterator[None]:
    """What S3 says about an upload in parts."""
    try:
        yield
    except S3Refused as refused:
        match refused.s3_code:
            case "NoSuchUpload":
                raise UploadNotFound() from None
            case "EntityTooSmall":
                raise UploadIncomplete(
                    f"A part is smaller than {MIN_PART_BYTES:,} bytes, and only the last one may be."
                ) from None
            case "InvalidPart":
                raise UploadIncomplete("A part was sent again while the upload was being completed.") from None
        raise


@contextmanager
def _gone_if_missing() -> Iterator[None]:
    try:
        yield
    except S3Refused as refused:
        # NoSuchUpload: who was faster has ended our copy; 404: without a body.
        if refused.s3_code in ("NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404"):
            raise Gone from None
        raise


@contextmanager
def _already_exists(file: StoredFile) -> Iterator[None]:
    """412: there is an object; 409: one is being written; no upload: a first attempt did it and its answer got lost."""
    try:
        yield
    except S3Refused as refused:
        if refused.s3_status in (409, 412) or refused.s3_code == "NoSuchUpload":
            raise AlreadyExists(f"There is a file with the id {file.id} already.") from None
        raise

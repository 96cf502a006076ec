"""Direct uploads to an S3 bucket.

::

    incoming/<path>         the bytes that a client sent, with the declaration as metadata
    files/<path>/<name>     the files that passed the checks
    refused/<path>.json     the reason of a refusal
    secrets/upload-ids      the key that signs upload ids

A path is ``[<folder>/]<id>``. The verdict on a path is about the oldest version of ``incoming/<path>``. A client can
repeat the POST of a presigned form, and each POST makes a new version. So all promotions of a path see the same bytes,
independent of their order. S3 sends an event for each of these versions: the event of a later version deletes that
version, and reads nothing.

The permissions that the roles need, besides those in :mod:`.files`::

    upload   files/*             s3:PutObject s3:AbortMultipartUpload s3:ListBucketVersions
    upload   incoming/*          s3:PutObject s3:ListMultipartUploadParts s3:AbortMultipartUpload s3:GetObject
    upload   incoming/*          s3:GetObjectVersion s3:DeleteObjectVersion s3:ListBucket s3:ListBucketVersions
    upload   refused/*           s3:PutObject s3:GetObject s3:ListBucket
    upload   secrets/upload-ids  s3:PutObject s3:GetObject s3:ListBucket
    upload   *                   s3:ListBucketMultipartUploads
    promote  files/*             s3:PutObject s3:AbortMultipartUpload s3:DeleteObject s3:ListBucketVersions
    promote  incoming/*          s3:GetObject s3:GetObjectVersion s3:DeleteObjectVersion s3:ListBucket
    promote  incoming/*          s3:ListBucketVersions
    promote  refused/*           s3:PutObject s3:GetObject s3:ListBucket
    promote  *                   s3:ListBucketMultipartUploads
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...problems import StorageUnavailable, UploadNotFound
from ...units import KIB
from .. import split_path
from ..direct import (
    MAX_FORM_BYTES,
    WHOLE_BYTES,
    Declaration,
    Deleted,
    InPieces,
    PresignedPost,
    Refused,
    SentAgain,
    Stored,
    UploadedPart,
    Verdict,
    dump_refusal,
)
from ..metadata import DETAILS, EMPTY_DETAILS
from .client import S3Refused, multipart_errors, object_size, require_s3, s3_errors
from .copy import S3Incoming, abort_multipart_upload, file_history
from .files import S3Storage, is_name_of

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

URL_SECONDS = 60 * 60
"""How long a URL or a form is valid. S3 checks this when a request begins. The request may then take any time."""
NO_VERSIONING = "null"
"""The version id of an object that was written before the bucket had versioning (AWS: "Using versioning in S3
buckets")."""
PIECES = "pieces"
"""The name of the metadata that marks the object of a resumable upload. No form of this endpoint has this name."""
SIGNING_KEY_OBJECT = "secrets/upload-ids"
SECRET_BYTES = 32
HEAD_BYTES = 512 * KIB
"""The bytes of a large object that come with its metadata. Most checks read no more at its beginning."""
SECRET_SECONDS = 5 * 60
"""How long a function keeps the secret before it reads the secret again. An owner who deletes a leaked secret should
not have to wait until every function ends."""


class S3DirectUploads:
    """Direct uploads to a bucket.

    :param storage: the storage of the checked files, in the same bucket.
    """

    def __init__(self, storage: S3Storage) -> None:
        self._storage = storage
        self._bucket = storage.bucket
        self._client: S3Client = storage.client
        self._secret: bytes | None = None
        self._secret_until = 0.0

    def secret(self) -> bytes:
        # Not the monotonic clock, which may stop while Lambda freezes the function.
        if self._secret is None or time.time() >= self._secret_until:
            self._secret = self._read_secret() or self._make_secret()
            self._secret_until = time.time() + SECRET_SECONDS
        return self._secret

    def _read_secret(self) -> bytes | None:
        try:
            with s3_errors():
                response = require_s3(self._client.get_object(Bucket=self._bucket, Key=SIGNING_KEY_OBJECT), "ETag")
                secret = response["Body"].read()
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        if len(secret) != SECRET_BYTES:
            raise StorageUnavailable(f"{SIGNING_KEY_OBJECT} does not hold a key of {SECRET_BYTES} bytes")
        return secret

    def _make_secret(self) -> bytes:
        secret = secrets.token_bytes(SECRET_BYTES)
        try:
            with s3_errors():
                response = self._client.put_object(
                    Bucket=self._bucket, Key=SIGNING_KEY_OBJECT, Body=secret, IfNoneMatch="*"
                )
                require_s3(response, "ETag")
        except S3Refused as refused:
            # Another function made a secret at the same moment. All functions use that secret.
            if refused.s3_status in (409, 412) and (secret_of_other := self._read_secret()):
                return secret_of_other
            raise
        return secret

    def origins(self) -> list[str]:
        # Only botocore knows the origin, which depends on region, endpoint and addressing style.
        with s3_errors():
            signed = self._client.generate_presigned_url(
                "put_object", Params={"Bucket": self._bucket, "Key": "incoming"}
            )
        url = urlsplit(signed)
        return [f"{url.scheme}://{url.netloc}"]

    def begin(self, path: str, declaration: Declaration, /) -> str:
        with s3_errors():
            response = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=_incoming_key(path), Metadata=declaration.as_metadata()
            )
            return require_s3(response, "UploadId")["UploadId"]

    def has_multipart_upload(self, path: str, multipart_id: str, /) -> bool:
        try:
            with multipart_errors(), s3_errors():
                response = self._client.list_parts(
                    Bucket=self._bucket, Key=_incoming_key(path), UploadId=multipart_id, MaxParts=1
                )
                require_s3(response, "UploadId")
        except UploadNotFound:
            return False
        return True

    def part_url(self, path: str, multipart_id: str, number: int, /, *, size: int | None) -> str:
        parameters: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": _incoming_key(path),
            "UploadId": multipart_id,
            "PartNumber": number,
        }
        if size is not None:
            parameters["ContentLength"] = size  # SigV4 signs this header, so S3 accepts no other length
        with s3_errors():
            return self._client.generate_presigned_url("upload_part", Params=parameters, ExpiresIn=URL_SECONDS)

    def parts(self, path: str, multipart_id: str, /) -> list[UploadedPart]:
        with multipart_errors(), s3_errors():
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=_incoming_key(path), UploadId=multipart_id
            )
            return [
                UploadedPart(number=part["PartNumber"], etag=part["ETag"].strip('"'), size=part["Size"])
                for page in pages
                for part in require_s3(page, "UploadId").get("Parts", [])
            ]

    def complete(self, path: str, multipart_id: str, parts: Sequence[UploadedPart], /) -> str | None:
        with multipart_errors(), s3_errors():
            completed = self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=_incoming_key(path),
                UploadId=multipart_id,
                MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]},
                **object_size(self._client, sum(part.size for part in parts)),
            )
            return require_s3(completed, "ETag").get("VersionId")

    def abort(self, path: str, multipart_id: str, /) -> None:
        abort_multipart_upload(self._storage, _incoming_key(path), multipart_id)

    def presigned_post(self, path: str, declaration: Declaration, /) -> PresignedPost:
        # S3 refuses form fields that the policy does not name. Some look-alikes accept them, so the policy always names
        # the details: no client can add a 'meta' that no token had.
        declared = {DETAILS: EMPTY_DETAILS, **declaration.as_metadata()}
        metadata = {f"x-amz-meta-{name}": value for name, value in declared.items()}
        with s3_errors():
            presigned = self._client.generate_presigned_post(
                Bucket=self._bucket,
                Key=_incoming_key(path),
                Fields=dict(metadata),
                Conditions=[
                    *({name: value} for name, value in metadata.items()),
                    ["content-length-range", 0, min(declaration.max_bytes, MAX_FORM_BYTES)],
                ],
                ExpiresIn=URL_SECONDS,
            )
        return PresignedPost(url=presigned["url"], fields=presigned["fields"])

    def arrived(self, path: str, /) -> bool:
        return bool(self._page(_incoming_key(path))[0])

    def open_incoming(self, path: str, version: str | None = None, /) -> S3Incoming | None:
        key = _incoming_key(path)
        oldest = self._oldest(key, version)
        return None if oldest is None else self._open_version(key, oldest)

    def open_joined(self, path: str, version: str, /) -> S3Incoming | None:
        return self._open_version(_incoming_key(path), version)

    def _open_version(self, key: str, version: str) -> S3Incoming | None:
        """Return a version of an object, with its first bytes, in one call; ``None`` if there is no such version."""
        try:
            with s3_errors():
                response = require_s3(
                    self._client.get_object(Bucket=self._bucket, Key=key, VersionId=version), "Metadata", "max-bytes"
                )
                size, etag, metadata = response["ContentLength"], response["ETag"], response["Metadata"]
                head = _read_head(response["Body"], size=size)
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        if PIECES in metadata:
            raise InPieces
        if version == NO_VERSIONING and "-" not in etag:
            # The bytes came with a form, which a client can send again at any time. The checked bytes might not be the
            # copied bytes. An object that was joined from parts has a hyphen in its ETag, and no client can replace it.
            raise StorageUnavailable(
                f"the bucket {self._bucket} has no versioning, so {key} cannot be pinned", is_misconfigured=True
            )
        try:
            declaration = Declaration.from_metadata(metadata)
        except (KeyError, ValueError):
            raise StorageUnavailable(f"{key} has no valid declaration: no URL of this endpoint wrote it") from None
        return S3Incoming(
            size=size,
            declaration=declaration,
            storage=self._storage,
            source={"Bucket": self._bucket, "Key": key, "VersionId": version},
            head=head,
        )

    def discard(self, path: str, version: str | None = None, /) -> None:
        key = _incoming_key(path)
        versions = self._page(key)[0] if version is None else [version]
        if not versions:
            return
        with s3_errors():
            if len(versions) == 1:
                require_s3(self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=versions[0]))
            else:
                objects: list[ObjectIdentifierTypeDef] = [{"Key": key, "VersionId": old} for old in versions]
                response = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects})
                if errors := require_s3(response, "Deleted").get("Errors"):
                    raise StorageUnavailable(f"DeleteObjects: {errors[0].get('Code')} for {len(errors)} of {key}")

    def end_copies(self, path: str, /) -> None:
        with s3_errors():
            listed = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=f"files/{path}/", Delimiter="/")
            require_s3(listed, "Bucket")
        for upload in listed.get("Uploads", []):
            if not is_name_of(f"files/{path}/", upload["Key"]):
                continue
            abort_multipart_upload(self._storage, upload["Key"], upload["UploadId"])

    def find_file(self, path: str, /) -> Stored | Deleted | None:
        history = file_history(self._storage, path)
        if history.deleted:
            return Deleted()
        if history.name is None:
            return None
        file_id, folder = split_path(path)
        file = self._storage.find(file_id, history.name, folder)
        return Deleted() if file is None else Stored(file)  # somebody may have deleted the file in between

    def claimed(self, path: str, /) -> AbstractContextManager[None]:
        return self._storage.claimed(path)

    def find_verdict(self, path: str, /) -> Verdict | None:
        if (found := self.find_file(path)) is not None:
            return found
        problem = self.refusal(path)
        return None if problem is None else Refused(problem)

    def refusal(self, path: str, /) -> Mapping[str, Any] | None:
        try:
            with s3_errors():
                response = self._client.get_object(Bucket=self._bucket, Key=_refused_key(path))
                problem: Mapping[str, Any] = json.loads(require_s3(response, "ETag")["Body"].read())
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        except ValueError:
            raise StorageUnavailable(f"{_refused_key(path)} does not hold valid JSON") from None
        return problem

    def refuse(self, path: str, problem: Mapping[str, Any], /) -> bool:
        try:
            with s3_errors():
                response = self._client.put_object(
                    Bucket=self._bucket,
                    Key=_refused_key(path),
                    Body=dump_refusal(problem),
                    ContentType="application/problem+json",
                    IfNoneMatch="*",
                )
                require_s3(response, "ETag")
        except S3Refused as refused:
            if refused.s3_status not in (409, 412):
                raise
            return False
        return True

    def _oldest(self, key: str, version: str | None) -> str | None:
        """Return the id of an object's oldest version, in one call if there is at most one page of versions.

        :param version: the version that may be the oldest. With more than one page, only this version is checked.
        :raises SentAgain: this version is not the oldest.
        """
        versions, complete = self._page(key)
        if version in (versions[:-1] if complete else versions):
            raise SentAgain
        if complete:
            return versions[-1] if versions else None
        if version is None:
            raise StorageUnavailable(f"{key} was sent more than a thousand times; its first event promotes it")
        if self._page(key, KeyMarker=key, VersionIdMarker=version)[0]:
            raise SentAgain
        return version

    def _page(self, key: str, **marker: str) -> tuple[list[str], bool]:
        """Return the ids of up to a thousand versions of an object, newest first, and whether these are all."""
        with s3_errors():
            page = require_s3(
                self._client.list_object_versions(Bucket=self._bucket, Prefix=key, **marker),  # type: ignore[arg-type]
                "Name",
            )
        versions = [version["VersionId"] for version in page.get("Versions", []) if version["Key"] == key]
        return versions, not page.get("IsTruncated", False)


def _read_head(body: StreamingBody, *, size: int) -> bytes:
    """Return all bytes of a small object, and the first bytes of any other. Close the response.

    :param size: of the object, in bytes.
    """
    with closing(body):  # S3 stops sending then
        head = body.read() if size <= WHOLE_BYTES else body.read(HEAD_BYTES)
    if len(head) != (size if size <= WHOLE_BYTES else HEAD_BYTES):
        raise StorageUnavailable(f"S3 sent {len(head):,} bytes of an object of {size:,}")
    return head


def _incoming_key(path: str) -> str:
    return f"incoming/{path}"


def _refused_key(path: str) -> str:
    return f"refused/{path}.json"

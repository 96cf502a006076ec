"""A pinned version of an object under ``incoming/``, and its copy to ``files/``.

A small file (:data:`~..direct.WHOLE_BYTES`) is read once, with its metadata, and is written again with its SHA-256. S3
copies a larger file, and hashes each part of the copy. So the SHA-256 of a file of one part is known, although none of
its bytes came through the function. Some stores hash no copy. There, a declared SHA-256 is verified by reading.

A deleted file stays deleted. ``If-None-Match: *`` succeeds over a delete marker, so after each copy the versions of the
file are listed. If there is a delete marker, the copy came too late and is deleted again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from ...logs import logger
from ...problems import AlreadyExists, StorageUnavailable, UploadNotFound
from ...units import MIB, ceil_div
from .. import StoredFile
from ..direct import HASHED_BYTES, Declaration, Gone, check_sha256, part_bytes, verify_sha256
from ..parallel import run_side_by_side
from .client import S3Refused, multipart_errors, object_size, require_s3, s3_errors
from .files import S3Storage, is_name_of, object_headers, sha256_of_checksum

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import ChecksumAlgorithmType
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

COPIED_PART_BYTES = HASHED_BYTES
"""The size of a part that S3 copies. S3 copies about 100 MB/s, and parts side by side, so a part takes 2.5 s. Larger
parts would cost less, and take longer than a client should wait."""
COPIES_AT_ONCE = 10
"""The number of connections that botocore keeps open by default."""
CHUNK_BYTES = 8 * MIB
"""The size of a read, where a file is read as a whole."""
CHUNKS_PER_LOOK = 16
"""The number of reads between two looks for another process's verdict: one LIST for 128 MiB."""


class _Object(TypedDict):
    Bucket: str
    Key: str


class _Version(_Object):
    VersionId: str


class _Algorithm(TypedDict, total=False):
    ChecksumAlgorithm: ChecksumAlgorithmType


class _Range(TypedDict, total=False):
    CopySourceRange: str


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Incoming:
    """One version of an object. Only a version id pins bytes: an ETag is an MD5, and two files can share an MD5.

    :param head: the first bytes, or all bytes of a small file. The request for the metadata has brought them.
    """

    size: int
    declaration: Declaration
    storage: S3Storage
    source: _Version
    head: bytes = b""

    @property
    def version(self) -> str:
        return self.source["VersionId"]

    def read(self, offset: int, length: int, /) -> bytes:
        if offset >= self.size:
            return b""
        if min(offset + length, self.size) <= len(self.head):
            return self.head[offset : offset + length]
        with gone_if_missing(), s3_errors():
            response = self.storage.client.get_object(**self.source, Range=f"bytes={offset}-{offset + length - 1}")
            data = require_s3(response, "Metadata", "max-bytes")["Body"].read()
        if len(data) != min(length, self.size - offset):
            raise StorageUnavailable(f"S3 sent other bytes of {self.source['Key']} than requested")
        return data

    def chunks(self) -> Iterator[bytes]:
        # After a verdict the bytes are deleted, and the next read raises Gone. The look at the versions is for a
        # process that stored the file and ended before it deleted the bytes.
        path = self.source["Key"].removeprefix("incoming/")
        for number, offset in enumerate(range(0, self.size, CHUNK_BYTES), start=1):
            yield self.read(offset, CHUNK_BYTES)
            if number % CHUNKS_PER_LOOK == 0 and file_history(self.storage, path).is_decided:
                raise Gone

    def copy_to_files(self, file: StoredFile, /) -> StoredFile:
        stored = self._write(file) if len(self.head) == self.size else self._copy(file)
        if file_history(self.storage, file.path).deleted:
            raise AlreadyExists(f"There was a file with the id {file.id}, and it was deleted.")
        return stored

    def _write(self, file: StoredFile) -> StoredFile:
        """Write the bytes that are here."""
        file = verify_sha256(file, [self.head], sha256=self.declaration.sha256)
        with already_exists(file):
            self.storage.put_once(file, self.head)
        return file

    def _copy(self, file: StoredFile) -> StoredFile:
        """Let S3 copy this version, with a multipart copy for every size.

        A bucket policy that requires If-None-Match allows this copy, and no CopyObject (AWS: "Enforce conditional
        writes on Amazon S3 buckets").
        """
        if self.storage.hashes_copies:
            try:
                return self._copy_with(file, hashed=True)
            except _NotHashed:
                pass
        stored = self._copy_with(file, hashed=False)
        if self.storage.hashes_copies:  # only a success shows that. A disabled key also fails, for example
            self.storage.hashes_copies = False
            logger.warning("the store does not hash copies, so declared digests are verified by reading")
        return stored

    def _copy_with(self, file: StoredFile, *, hashed: bool) -> StoredFile:
        """Copy this version, and let the store hash each part if ``hashed`` is set.

        :raises _NotHashed: the store does not hash parts. Nothing of the copy stays.
        """
        target: _Object = {"Bucket": self.source["Bucket"], "Key": file.key}
        count = ceil_div(self.size, _copied_part_bytes(self.size))
        is_read = not hashed or count > 1  # S3 does not report the digest of several parts
        declared = self.declaration.sha256
        if is_read and declared is not None:
            file = verify_sha256(file, self.chunks(), sha256=declared)
        multipart_id = self._begin_copy(target, file, hashed=hashed)
        try:
            parts = self._copy_parts(target, multipart_id, count=count, hashed=hashed)
            if not is_read:
                actual = sha256_of_checksum(parts[0]["ChecksumSHA256"]) or ""
                file = check_sha256(file, actual, sha256=declared)
            with already_exists(file), s3_errors():
                completed = self.storage.client.complete_multipart_upload(
                    **target,
                    UploadId=multipart_id,
                    MultipartUpload={"Parts": parts},
                    **object_size(self.storage.client, self.size),
                    IfNoneMatch="*",
                )
                require_s3(completed, "ETag")
        except BaseException:
            with suppress(StorageUnavailable):  # the bucket's lifecycle rules delete the parts otherwise
                abort_multipart_upload(self.storage, target["Key"], multipart_id)
            raise
        return file

    def _begin_copy(self, target: _Object, file: StoredFile, *, hashed: bool) -> str:
        """Return the multipart id of a new copy."""
        algorithm: _Algorithm = {"ChecksumAlgorithm": "SHA256"} if hashed else {}
        try:
            with s3_errors():
                created = self.storage.client.create_multipart_upload(**target, **object_headers(file), **algorithm)
                return require_s3(created, "UploadId")["UploadId"]
        except S3Refused as refused:
            if hashed and refused.s3_status in (400, 501):  # a store that knows no checksums
                raise _NotHashed from None
            raise

    def _copy_parts(
        self, target: _Object, multipart_id: str, *, count: int, hashed: bool
    ) -> list[CompletedPartTypeDef]:
        client = self.storage.copying_client  # made once, and not by each thread
        # After a failure no further part is copied: up to thousands would be useless.
        return run_side_by_side(
            [
                partial(self._copy_part, client, target, multipart_id, number, hashed=hashed)
                for number in range(1, count + 1)
            ],
            at_once=COPIES_AT_ONCE,
        )

    def _copy_part(
        self, client: S3Client, target: _Object, multipart_id: str, number: int, *, hashed: bool
    ) -> CompletedPartTypeDef:
        length = _copied_part_bytes(self.size)
        first, last = (number - 1) * length, min(number * length, self.size) - 1
        # Only a file of several parts gets a range: S3 copies no range of an object of 5 MB or less (AWS:
        # UploadPartCopy).
        part: _Range = {} if length >= self.size else {"CopySourceRange": f"bytes={first}-{last}"}
        with gone_if_missing(), s3_errors():
            copied = client.upload_part_copy(
                **target, **part, UploadId=multipart_id, PartNumber=number, CopySource={**self.source}
            )
            result = require_s3(copied, "CopyPartResult", "ETag")["CopyPartResult"]
            listed: CompletedPartTypeDef = {"PartNumber": number, "ETag": result["ETag"]}
        if hashed:  # the completion must list the checksum of each part then
            if sha256_of_checksum(result.get("ChecksumSHA256")) is None:
                raise _NotHashed
            listed["ChecksumSHA256"] = result["ChecksumSHA256"]
        return listed


class _NotHashed(Exception):
    """The store does not hash the parts of a copy."""


def _copied_part_bytes(size: int) -> int:
    """Return the size of each part of a copy except the last, in bytes.

    :param size: of the whole file, in bytes.
    """
    return part_bytes(size, minimum=COPIED_PART_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileHistory:
    """The versions of a file under its id.

    :param name: the name of the file, if it is stored.
    :param deleted: whether the file was deleted, which is final.
    """

    name: str | None
    deleted: bool

    @property
    def is_decided(self) -> bool:
        """Whether the file was stored, even if it is deleted now."""
        return self.deleted or self.name is not None


def file_history(storage: S3Storage, path: str) -> FileHistory:
    """Return the history of a file. If a copy came after the file's deletion, delete that copy.

    :param path: the id of the file, after its folder if it has one.
    """
    prefix = f"files/{path}/"
    with s3_errors():
        # One page, except if an application has named a folder after this id: each of its files is an entry too.
        pages = storage.client.get_paginator("list_object_versions").paginate(
            Bucket=storage.bucket, Prefix=prefix, Delimiter="/"
        )
        listed = [require_s3(page, "Name") for page in pages]
    versions = [version for page in listed for version in page.get("Versions", [])]
    latest = [version["Key"] for version in versions if version["IsLatest"] and is_name_of(prefix, version["Key"])]
    markers = {marker["Key"] for page in listed for marker in page.get("DeleteMarkers", [])}
    for key in markers.intersection(latest):  # not a file of another name that a concurrent request stored meanwhile
        with s3_errors():
            require_s3(storage.client.delete_object(Bucket=storage.bucket, Key=key))
    return FileHistory(
        name=latest[0].removeprefix(prefix) if latest else None,
        deleted=any(is_name_of(prefix, key) for key in markers),
    )


def abort_multipart_upload(storage: S3Storage, key: str, multipart_id: str) -> None:
    """Delete the parts of an upload. Do nothing if there is no such upload."""
    with suppress(UploadNotFound), multipart_errors(), s3_errors():
        require_s3(storage.client.abort_multipart_upload(Bucket=storage.bucket, Key=key, UploadId=multipart_id))


@contextmanager
def gone_if_missing() -> Iterator[None]:
    """Turn S3's errors about a missing source into :class:`~..direct.Gone`."""
    try:
        yield
    except S3Refused as refused:
        # NoSuchUpload: a concurrent promotion finished first and aborted our copy. 404: a response without a body.
        if refused.s3_code in ("NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404"):
            raise Gone from None
        raise


@contextmanager
def already_exists(file: StoredFile) -> Iterator[None]:
    """Turn the error of a conditional write into :class:`AlreadyExists`."""
    # 412: there is an object. 409: an object is being written. NoSuchUpload: the first attempt succeeded, and its
    # response got lost.
    try:
        yield
    except S3Refused as refused:
        if refused.s3_status in (409, 412) or refused.s3_code == "NoSuchUpload":
            raise AlreadyExists(f"There is a file with the id {file.id} already.") from None
        raise

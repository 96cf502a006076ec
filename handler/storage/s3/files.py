"""Files in an S3 bucket.

The permissions that the roles need. "upload" is the role of the function that serves HTTP, "promote" is the role of the
function that checks files, and "notify" is the role of the function that sends webhooks::

    upload   files/*  s3:PutObject s3:PutObjectTagging s3:GetObject s3:DeleteObject s3:ListBucket
    promote  files/*  s3:PutObjectTagging s3:GetObject s3:ListBucket
    notify   files/*  s3:GetObject s3:ListBucket

Without ``s3:ListBucket`` S3 returns 403 instead of 404 for a missing object. ``s3:PutObjectTagging`` is only for files
that expire: their objects have the tag ``keep-days``, which the bucket's lifecycle rules look for.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import IO, TYPE_CHECKING, NotRequired, TypedDict

from ...problems import AlreadyExists, StorageUnavailable
from ...units import MIB
from .. import FilePage, ListedFile, StoredFile, is_key, is_path, metadata, path_of, split_key
from ..deadline import CLEANUP_SECONDS, extra_time
from ..folder.errors import disk_errors
from .client import COPY_READ_SECONDS, S3Refused, make_client, require_s3, s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, ObjectTypeDef

DOWNLOAD_SECONDS = 300
"""How long a presigned download URL is valid."""
MEMORY_BYTES = 8 * MIB
"""The memory that all incoming files share. Further files wait on disk. On Lambda only whole resumable uploads do."""


SHA256_BYTES = 32
NO_PART_STATUSES = frozenset((400, 404, 416, 501))
"""The responses to HeadObject with a part number if the store knows no parts, or if the file was deleted meanwhile."""


class S3Storage:
    """Files in a bucket.

    :param bucket: the name of the bucket.
    :param client: made once by :func:`~.client.make_client`, at import, and used by all requests.
    """

    def __init__(self, bucket: str, *, client: S3Client) -> None:
        self.bucket = bucket
        self.client = client
        self.hashes_copies = True
        """Whether the store hashes the parts of a copy. The first copy finds out, once for the life of the process."""
        self._memory = _Memory(MEMORY_BYTES)
        self._thread = threading.local()

    @cached_property
    def copying_client(self) -> S3Client:
        """The client that copies parts. It waits longer, and botocore has one timeout for each client.

        Only the first copy of a process makes the client, so nothing else pays for it.
        """
        return make_client(read_seconds=COPY_READ_SECONDS)

    def open_writer(self) -> S3Writer:
        return S3Writer(self, memory=self._memory)

    def find(self, file_id: str, name: str, folder: str | None = None) -> StoredFile | None:
        if not is_key(file_id, name, folder):
            return None
        key = f"files/{path_of(file_id, folder)}/{name}"
        try:
            with s3_errors():
                head = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
                has_name = metadata.NAME in head.get("Metadata", {})
                require_s3(head, "Metadata", metadata.NAME if has_name else metadata.OLD_NAME)
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        try:
            file = _file_of(head, file_id, name, folder)
        except (KeyError, ValueError) as error:
            raise StorageUnavailable(f"the response to HeadObject lacks {error}") from None
        if file.sha256 is None and (checksum := head.get("ChecksumSHA256", "")).endswith("-1"):
            return replace(file, sha256=self._sha256_of_part(key, checksum.removesuffix("-1")))
        return file

    def _sha256_of_part(self, key: str, composite: str) -> str | None:
        """Return the SHA-256 of an object that was copied as one part; ``None`` if the store does not know it.

        S3 keeps the checksum of each part, and a composite checksum of the object: for one part, the SHA-256 of the
        part's SHA-256 (AWS: "Checking object integrity"). So the answer can be verified.

        :param composite: the composite checksum, in Base64, without its number of parts.
        """
        try:
            with s3_errors():
                head = require_s3(
                    self.client.head_object(Bucket=self.bucket, Key=key, PartNumber=1, ChecksumMode="ENABLED"),
                    "ETag",
                )
                sha256 = sha256_of_checksum(head.get("ChecksumSHA256"))
        except S3Refused as refused:
            if refused.s3_status in NO_PART_STATUSES:
                return None
            raise
        if sha256 is None or checksum_of(hashlib.sha256(bytes.fromhex(sha256)).hexdigest()) != composite:
            return None
        return sha256

    def list_files(self, folder: str | None = None, *, after: str = "", limit: int) -> FilePage:
        prefix = "files/" if folder is None else f"files/{folder}/"
        with s3_errors():
            page = require_s3(
                self.client.list_objects_v2(
                    Bucket=self.bucket, Prefix=prefix, StartAfter=prefix + after, MaxKeys=limit
                ),
                "Name",
            )
            entries = page.get("Contents", [])
            files = [file for entry in entries if (file := _listed(entry)) and folder in (None, file.folder)]
            is_last = not (page.get("IsTruncated") and entries)
            return FilePage(files=files, position=None if is_last else entries[-1]["Key"].removeprefix(prefix))

    def contains(self, file_id: str, folder: str | None = None) -> bool:
        if not is_path(file_id, folder):
            return False
        prefix = f"files/{path_of(file_id, folder)}/"
        with s3_errors():
            # The delimiter: S3 counts the files of each id in a folder named after this id as one entry.
            listed = require_s3(self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, Delimiter="/"), "Name")
        return any(is_name_of(prefix, entry["Key"]) for entry in listed.get("Contents", []))

    def download(self, file: StoredFile, *, head: bool = False, inline: bool = False) -> str:
        parameters = {"Bucket": self.bucket, "Key": file.key}
        if inline:
            parameters["ResponseContentDisposition"] = file.inline_disposition
        with s3_errors():
            return self.client.generate_presigned_url(
                "head_object" if head else "get_object", Params=parameters, ExpiresIn=_url_seconds(file)
            )

    def delete(self, file_id: str, name: str, folder: str | None = None) -> bool:
        file = self.find(file_id, name, folder)
        if file is None:
            return False
        with s3_errors():
            require_s3(self.client.delete_object(Bucket=self.bucket, Key=file.key))
        return True

    def delete_best_effort(self, files: Sequence[StoredFile]) -> None:
        if not files:  # S3 rejects an empty list as malformed
            return
        # One call for all files (up to 1,000), which ignores missing files. The call names no versions: after a timeout
        # no version is known, and the role may not delete versions. A delete marker hides the file, and the lifecycle
        # rule for deleted files removes both.
        with extra_time(seconds=CLEANUP_SECONDS), suppress(StorageUnavailable), s3_errors():
            self.client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": file.key} for file in files], "Quiet": True}
            )

    def confirm(self, files: Sequence[StoredFile]) -> None:
        pass  # the bucket itself reports its objects

    @contextmanager
    def claimed(self, path: str) -> Iterator[None]:
        """Let this thread store a file under a path that other requests use too: see
        :meth:`handler.storage.direct.DirectUploads.claimed`. Then an equal object can be another request's."""
        self._thread.shared_path = path
        try:
            yield
        finally:
            del self._thread.shared_path

    def _is_shared(self, path: str) -> bool:
        return getattr(self._thread, "shared_path", None) == path

    def put(self, file: StoredFile, body: IO[bytes]) -> None:
        """Store the body as this file. A stored file is never overwritten.

        :raises AlreadyExists: there is another file under this key.
        """
        try:
            self.put_once(file, body)
        except S3Refused as refused:
            if refused.s3_status not in (409, 412):
                raise
            # 412: there is an object. 409: an object is being written. The object is our own if the response to the
            # first attempt got lost and botocore tried again.
            stored = self.find(file.id, file.name, file.folder)
            if stored == file and (refused.is_retry or not self._is_shared(file.path)):
                return
            if stored is None and refused.s3_status == 409:
                raise
            raise AlreadyExists(f"There is a file with the id {file.id} already.") from None

    def put_once(self, file: StoredFile, body: IO[bytes] | bytes) -> None:
        """Write the object of this file.

        :raises S3Refused: with the status 409 or 412, if there is an object under this key, or one is being written.
        """
        with s3_errors():
            response = self.client.put_object(
                Bucket=self.bucket,
                Key=file.key,
                Body=body,
                ContentLength=file.size,
                **object_headers(file),
                # S3 refuses a body with another checksum, and keeps the checksum with the object. moto keeps the
                # checksum only if the algorithm is named as well, which S3 accepts too.
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum_of(file.sha256 or ""),
                IfNoneMatch="*",
            )
            require_s3(response, "ETag")


class ObjectHeaders(TypedDict):
    """The headers and metadata of an object, as parameters of the S3 client."""

    ContentType: str
    ContentDisposition: str
    Metadata: dict[str, str]
    Tagging: NotRequired[str]


def object_headers(file: StoredFile) -> ObjectHeaders:
    """Return the headers and metadata of a file's object. :func:`_file_of` reads them."""
    written = metadata.encode_name(file.original_name)
    if file.sha256:
        written["sha256"] = file.sha256
    if file.stored is not None:
        written["stored"] = str(int(file.stored.timestamp()))
    if file.keep_days is not None:
        written["keep-days"] = str(file.keep_days)
    written |= metadata.encode_details(meta=file.meta, fields=file.fields, subject=file.subject)
    headers: ObjectHeaders = {
        "ContentType": file.media_type,
        "ContentDisposition": file.content_disposition,
        "Metadata": written,
    }
    return headers if file.keep_days is None else {**headers, "Tagging": tagging(file.keep_days)}


def tagging(keep_days: int) -> str:
    """Return the tags of an object that expires. ``template.yaml`` has a lifecycle rule for each number of days."""
    return f"keep-days={keep_days}"


def _file_of(head: HeadObjectOutputTypeDef, file_id: str, name: str, folder: str | None) -> StoredFile:
    """Return the file that an object holds.

    Earlier versions of this program wrote neither ``stored`` nor details.

    :param head: the response of S3 to HeadObject.
    :raises KeyError, ValueError: something else wrote the object.
    """
    written = head["Metadata"]
    original_name = metadata.decode_name(written)
    stored = datetime.fromtimestamp(int(written["stored"]), UTC) if "stored" in written else head["LastModified"]
    return StoredFile(
        id=file_id,
        name=name,
        original_name=name if original_name is None else original_name,
        size=head["ContentLength"],
        media_type=head["ContentType"],
        sha256=written.get("sha256") or _whole_sha256(head),
        stored=stored.astimezone(UTC),
        folder=folder,
        keep_days=int(written["keep-days"]) if "keep-days" in written else None,
        **metadata.decode_details(written),
    )


def _whole_sha256(head: HeadObjectOutputTypeDef) -> str | None:
    """Return the SHA-256 that S3 knows of an object; ``None`` for an object that was joined from parts.

    Such an object has a hyphen in its ETag, and its checksum is composite. S3 marks a composite checksum with a hyphen
    too, and some look-alikes do not.
    """
    return None if "-" in head["ETag"] else sha256_of_checksum(head.get("ChecksumSHA256"))


def checksum_of(sha256: str) -> str:
    """Return a SHA-256 as S3 writes it, in Base64.

    :param sha256: in hexadecimal.
    """
    return base64.b64encode(bytes.fromhex(sha256)).decode("ascii")


def sha256_of_checksum(checksum: str | None) -> str | None:
    """Return the SHA-256 in a checksum of S3, in hexadecimal.

    A composite checksum (``…-2``) is the SHA-256 of the checksums of parts, not of the content.

    :returns: ``None`` without a checksum, and for a composite checksum.
    """
    try:
        digest = base64.b64decode(checksum or "", validate=True)
    except ValueError:  # such as the hyphen of a composite checksum
        return None
    return digest.hex() if len(digest) == SHA256_BYTES else None


def _listed(entry: ObjectTypeDef) -> ListedFile | None:
    """Return a file in a list; ``None`` for an object that is not a file of this program."""
    parts = split_key(entry["Key"])
    if parts is None:
        return None
    file_id, name, folder = parts
    stored = entry["LastModified"].astimezone(UTC).replace(microsecond=0)
    return ListedFile(id=file_id, name=name, size=entry["Size"], stored=stored, folder=folder)


def _url_seconds(file: StoredFile) -> int:
    """Return how long a presigned URL of a file is valid: S3 accepts at least a second."""
    if file.expires is None:
        return DOWNLOAD_SECONDS
    return max(1, min(DOWNLOAD_SECONDS, int((file.expires - datetime.now(UTC)).total_seconds())))


def is_name_of(prefix: str, key: str) -> bool:
    """Return whether a key that begins with ``files/<path>/`` ends in the name of that file.

    An application may name a folder after the id of a file. Then the files of the folder have the prefix too.
    """
    name = key.removeprefix(prefix)
    return name != "" and "/" not in name  # S3's console makes an empty object for each folder, without a name


class S3Writer:
    """A file that is being written: in memory, or on disk when the memory is full. S3 gets the whole file at once."""

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

    def rewind(self) -> IO[bytes]:
        """Return the bytes as a file, from the first one on. Nothing more can be written."""
        with disk_errors():
            self._body.seek(0)
        return self._body

    def commit(self, file: StoredFile, /) -> None:
        self._storage.put(file, self.rewind())
        self.abort()

    def abort(self) -> None:
        with suppress(OSError):  # closing writes the buffer, and fails again on a full disk
            self._body.close()
        self._give_back()

    def _give_back(self) -> None:
        self._memory.give_back(self._held)
        self._held = 0


class _Memory:
    """The bytes of memory that are left. All writers share them."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take bytes of memory, and return whether enough bytes were left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._left += size

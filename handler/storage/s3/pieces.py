"""Resumable uploads in an S3 bucket: pieces, and no state besides them.

::

    chunks/<path>/p-<13 digits>   a piece of the file, or, if the object is empty, the ending of the upload
    chunks/<path>/p-begin         the facts that the client gave when it began (JSON)
    chunks/<path>/p-length        the length that came later
    incoming/<path>               an empty object, whose event promotes a file too large for a request

A path is ``[<folder>/]<id>``. The names begin with ``p-``, as no id does: a folder may be named after an id.

The digits are :data:`LAST_OFFSET` minus the offset of the piece. S3 lists keys in order, so a LIST of one key returns
the newest piece. The offset of the upload is the end of this piece: one call for any number of pieces.

The history is linear. Every piece and every ending is written with ``If-None-Match: *``, under the key of the offset
that was read before. If the write succeeds, nothing was at that offset. Nothing was behind it either, because only a
process that has seen a piece at an offset writes behind it. After an ending, no process finds an offset to write at.

After a verdict the pieces are deleted, and the ending stays until the lifecycle rule deletes it. A write that began
before the ending, and arrives after this deletion, is stored behind the ending, where no process looks for it.

The permissions that the roles need, besides those in :mod:`.direct`::

    upload   chunks/*    s3:PutObject s3:GetObject s3:GetObjectVersion s3:DeleteObjectVersion
    upload   chunks/*    s3:ListBucket s3:ListBucketVersions
    promote  chunks/*    s3:GetObject s3:GetObjectVersion s3:DeleteObjectVersion s3:ListBucket s3:ListBucketVersions
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, NamedTuple, TypedDict

from ...problems import AlreadyExists, StorageUnavailable, UploadNotFound
from ...units import MIB, ceil_div
from .. import StoredFile
from ..direct import WHOLE_BYTES, Declaration, check_sha256, part_bytes, verify_sha256
from ..parallel import run_ahead
from ..resumable import Beginning, Ending, Extent, IncomingPieces, OffsetMismatch, Progress
from .client import S3Refused, require_s3, s3_errors
from .copy import abort_multipart_upload, already_exists, file_history, gone_if_missing
from .direct import PIECES
from .files import S3Storage, S3Writer, object_headers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        ObjectIdentifierTypeDef,
        ObjectTypeDef,
        ObjectVersionTypeDef,
    )

LAST_OFFSET = 9_999_999_999_999
"""S3's largest object has 5 TiB, which are 13 digits."""
PIECE_BYTES = 8 * MIB
"""The size of a piece, where the bytes of one request arrive as a stream. It is also the size of a read."""
ONE_PUT_BYTES = 256 * MIB
"""The largest file that is written with one PutObject. Lambda's disk has 512 MB."""
READS_AT_ONCE, PARTS_AT_ONCE = 8, 2
"""Together these are as many connections as botocore keeps open by default."""
MAX_DELETED = 1000
"""The maximum number of objects in one call (AWS: "DeleteObjects")."""
ENDING_ATTEMPTS = 10
"""The maximum number of offsets at which an ending is tried, while other requests append."""


class _Selection(TypedDict, total=False):
    """The part of an object that is read."""

    Range: str
    VersionId: str


class _Entry(NamedTuple):
    """An object of an upload.

    :param name: the end of its key, behind ``p-``.
    :param size: in bytes.
    :param version: the id of its version; empty if only the current objects were listed.
    """

    name: str
    size: int
    version: str = ""

    @classmethod
    def of(cls, path: str, item: ObjectTypeDef | ObjectVersionTypeDef) -> _Entry:
        """Return an object in a list of S3."""
        return cls(item["Key"].removeprefix(_prefix(path)), item["Size"], str(item.get("VersionId", "")))

    @property
    def offset(self) -> int:
        """The offset of a piece or an ending; -1 for another object."""
        return LAST_OFFSET - int(self.name) if self.name.isdecimal() else -1

    @property
    def end(self) -> int:
        """The offset behind the last byte of a piece."""
        return self.offset + self.size

    @property
    def selection(self) -> _Selection:
        """The parameters that name the version, if it is known. A lifecycle rule may have hidden the object."""
        return {"VersionId": self.version} if self.version else {}

    @property
    def is_ending(self) -> bool:
        """Whether the object ends the upload: no piece is empty."""
        return self.offset >= 0 and self.size == 0


class _Piece:
    """Bytes that wait for S3, in memory or on disk."""

    def __init__(self, storage: S3Storage) -> None:
        self._storage = storage
        self._start()

    def _start(self) -> None:
        self._writer = self._storage.open_writer()
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        self._writer.write(data)
        self._digest.update(data)
        self.size += len(data)

    def rewind(self) -> IO[bytes]:
        return self._writer.rewind()

    def clear(self) -> None:
        """Forget the bytes."""
        self._writer.abort()
        self._start()


class S3ResumableUploads:
    """Resumable uploads to a bucket.

    :param storage: the storage of the checked files, in the same bucket.
    """

    def __init__(self, storage: S3Storage) -> None:
        self._storage = storage
        self._bucket = storage.bucket
        self._client: S3Client = storage.client

    def begin(self, path: str, beginning: Beginning, /) -> None:
        facts = beginning.to_json()
        if not self._put(_prefix(path) + "begin", facts, mark=hashlib.sha256(facts).hexdigest()):
            raise AlreadyExists("There is another upload with this id.")

    def beginning(self, path: str, /) -> Beginning | None:
        return self._beginning(path, {})

    def _beginning(self, path: str, version: _Selection) -> Beginning | None:
        facts = self._get(_prefix(path) + "begin", version)
        try:
            return None if facts is None else Beginning.from_json(facts)
        except (ValueError, KeyError, TypeError):
            raise StorageUnavailable(f"{_prefix(path)}begin does not hold the beginning of an upload") from None

    def set_length(self, path: str, length: int, /) -> int:
        if self._put(_prefix(path) + "length", str(length).encode(), mark=str(length)):
            return length
        recorded = self.length(path)
        if recorded is None:
            raise StorageUnavailable(f"{_prefix(path)}length was deleted meanwhile")
        return recorded

    def length(self, path: str, /) -> int | None:
        length = self._get(_prefix(path) + "length")
        return None if length is None else int(length)

    def progress(self, path: str, /) -> Progress | None:
        with s3_errors():
            page = require_s3(
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=_prefix(path), MaxKeys=1), "Name"
            )
            entries = [
                _Entry(item["Key"].removeprefix(_prefix(path)), item["Size"]) for item in page.get("Contents", [])
            ]
        return self._progress(path, entries[0]) if entries else None

    peek = progress  # one request does not end another

    def _progress(self, path: str, newest: _Entry) -> Progress | None:
        if newest.offset < 0:
            return Progress(offset=0) if newest.name == "begin" else None
        if not newest.is_ending:
            return Progress(offset=newest.end)
        with s3_errors():
            head = self._client.head_object(Bucket=self._bucket, Key=_key(path, newest.offset), **newest.selection)
            metadata = require_s3(head, "Metadata", "ending")["Metadata"]
        return Progress(offset=newest.offset, ending=Ending(metadata["ending"]))

    def _present_progress(self, path: str) -> Progress:
        progress = self.progress(path)
        if progress is None:
            raise UploadNotFound
        return progress

    def append(
        self, path: str, offset: int, content: Iterator[bytes], /, *, verify: Callable[[], None] | None = None
    ) -> int:
        progress = self._present_progress(path)
        if progress != Progress(offset=offset):
            raise OffsetMismatch(progress)
        for piece in self._cut(content, verify):
            # Behind the first piece no look is necessary. This request owns the offset at which its last piece ended.
            if not self._put(_key(path, offset), piece.rewind(), mark=secrets.token_hex(8)):
                raise OffsetMismatch(self._present_progress(path))
            offset += piece.size
        return offset

    def _cut(self, content: Iterator[bytes], verify: Callable[[], None] | None) -> Iterator[_Piece]:
        """Yield the content in pieces. If the content breaks, yield the bytes that came, and let the exception pass.

        :param verify: is called after the last byte. Before that, no piece is yielded.
        """
        with self._piece() as piece:
            try:
                for data in content:
                    piece.write(data)
                    if piece.size >= PIECE_BYTES and verify is None:
                        yield piece
                        piece.clear()
            except Exception:
                if piece.size and verify is None:
                    yield piece
                raise
            if verify is not None:
                verify()
            if piece.size:
                yield piece

    @contextmanager
    def _piece(self) -> Iterator[_Piece]:
        piece = _Piece(self._storage)
        try:
            yield piece
        finally:
            piece.clear()

    def place(
        self, path: str, offset: int, content: Iterator[bytes], /, *, beginning: Beginning | None = None
    ) -> list[Extent]:
        with self._piece() as piece:
            for data in content:
                piece.write(data)
            is_kept = not piece.size or self._put_placed(path, offset, piece)
        # The list comes after the write: of several last pieces at the same moment, the last one sees all. So a piece
        # is also kept if the upload never began, or has ended. It counts when the upload begins, or expires.
        entries, is_whole = self._list_placed(path, None if beginning is None else beginning.declaration.size)
        if entries and entries[0].is_ending:
            raise OffsetMismatch(self._progress(path, entries[0]) or Progress(offset=0))
        if is_whole and all(entry.name != "begin" for entry in entries):
            if beginning is None:
                raise UploadNotFound
            with suppress(AlreadyExists):  # another piece came first, and its facts stay
                self.begin(path, beginning)
        if not is_kept:
            raise AlreadyExists("There is a piece with other bytes at this offset.")
        return _joined(_pieces(entries))

    def _put_placed(self, path: str, offset: int, piece: _Piece) -> bool:
        """Write a piece. Return whether the object there has the same bytes.

        :raises OffsetMismatch: the upload has ended, and another request deletes its pieces.
        """
        try:
            return self._put(_key(path, offset), piece.rewind(), mark=piece.sha256)
        except S3Refused:
            progress = self.progress(path)
            if progress is None or progress.ending is None:
                raise
            raise OffsetMismatch(progress) from None

    def _list_placed(self, path: str, length: int | None) -> tuple[list[_Entry], bool]:
        """Return the objects of an upload, the newest first, and whether these are all.

        A file without a gap is as long as announced. The list ends at the first page that shows a gap. So a page is
        enough for pieces in their order, whose gap is at the end of the file, and for pieces in no order.

        :param length: of the file, in bytes. ``None`` for all objects.
        """
        entries: list[_Entry] = []
        with s3_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=_prefix(path))
            for page in pages:
                entries += [_Entry.of(path, item) for item in require_s3(page, "Name").get("Contents", [])]
                extents = _joined(_pieces(entries))
                if page.get("IsTruncated") and length is not None and [sum(extent) for extent in extents] != [length]:
                    return entries, False
        return entries, True

    def read(self, path: str, offset: int, length: int, /, *, max_reads: int | None = None) -> bytes:
        end = min(offset + length, LAST_OFFSET)
        pieces = _pieces(self._list(path, after=_key(path, end), until=offset, maximum=max_reads))[::-1]
        if max_reads is not None and len(pieces) > max_reads:
            return b""
        data = bytearray()
        for read in run_ahead(self._reads(path, pieces, offset, end), at_once=READS_AT_ONCE):
            if read is None:
                break  # the bytes were discarded meanwhile
            data += read
        return bytes(data)

    def _reads(self, path: str, pieces: Iterable[_Entry], begin: int, end: int) -> Iterator[Callable[[], bytes | None]]:
        """Yield the calls that read from ``begin`` to ``end``, up to the first gap. Pieces that were placed may leave
        gaps."""
        for piece in pieces:
            if begin >= end or not piece.offset <= begin < piece.end:
                return
            last = min(end, piece.end)
            byte_range = f"bytes={begin - piece.offset}-{last - piece.offset - 1}"
            yield partial(self._get, _key(path, piece.offset), {"Range": byte_range})
            begin = last

    def end(self, path: str, ending: Ending, /, *, offset: int | None = None) -> Ending:
        if offset is not None:
            return self._end_at(path, ending, offset)
        for _ in range(ENDING_ATTEMPTS):
            progress = self._present_progress(path)
            if progress.ending is not None:
                return progress.ending
            if self._put_ending(path, ending, progress.offset):
                return ending
        raise StorageUnavailable(f"{_prefix(path)}: other requests append faster than the upload can be ended")

    def _end_at(self, path: str, ending: Ending, offset: int) -> Ending:
        if self._put_ending(path, ending, offset):
            return ending
        progress = self._present_progress(path)
        if progress.ending is None:
            raise OffsetMismatch(progress)
        return progress.ending

    def _put_ending(self, path: str, ending: Ending, offset: int) -> bool:
        return self._put(_key(path, offset), b"", mark=secrets.token_hex(8), ending=ending.value)

    def hand_over(self, path: str, /) -> None:
        # Responses of S3 are recognised by the metadata 'max-bytes', which direct uploads have.
        try:
            self._put_once(f"incoming/{path}", b"", {PIECES: "all", "max-bytes": "0"})
        except S3Refused as refused:
            if refused.s3_status not in (409, 412):
                raise

    def open_incoming(self, path: str, version: str | None = None, /) -> PiecesIncoming | None:
        entries = self._versions(path)
        progress = self._progress(path, entries[0]) if entries else None
        if progress is None or progress.ending is not Ending.COMPLETE:
            return None
        pieces = _pieces(entries)[::-1]
        begin = next((entry for entry in entries if entry.name == "begin"), None)
        beginning = None if begin is None else self._beginning(path, begin.selection)
        if beginning is None or _joined(pieces) != ([Extent(0, progress.offset)] if progress.offset else []):
            return None  # another process has discarded the bytes
        return PiecesIncoming(
            size=progress.offset,
            version=version or "",
            declaration=beginning.declaration,
            storage=self._storage,
            path=path,
            pieces=pieces,
        )

    def discard(self, path: str, version: str | None = None, /) -> None:
        self._delete(path, _pieces(self._versions(path)))
        if version:
            with s3_errors():
                require_s3(self._client.delete_object(Bucket=self._bucket, Key=f"incoming/{path}", VersionId=version))

    def discard_incoming(self, path: str, incoming: IncomingPieces, /) -> None:
        # These are all pieces: after the ending of a complete upload, no piece is written before these are deleted.
        self._delete(path, incoming.pieces if isinstance(incoming, PiecesIncoming) else _pieces(self._versions(path)))

    def _delete(self, path: str, entries: Iterable[_Entry]) -> None:
        pieces: list[ObjectIdentifierTypeDef] = [
            {"Key": _prefix(path) + entry.name, "VersionId": entry.version} for entry in entries
        ]
        for first in range(0, len(pieces), MAX_DELETED):
            with s3_errors():
                response = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": pieces[first : first + MAX_DELETED], "Quiet": True}
                )
                errors = require_s3(response).get("Errors", [])
                # A concurrent promotion may have deleted them, which some stores report.
                if errors := [error for error in errors if error.get("Code") != "NoSuchVersion"]:
                    raise StorageUnavailable(f"DeleteObjects: {errors[0].get('Code')} for {len(errors)} of {path}")

    def _list(self, path: str, *, after: str = "", until: int = -1, maximum: int | None = None) -> list[_Entry]:
        """Return the objects of an upload, the newest first.

        :param after: the key behind which the list begins.
        :param until: the offset at whose piece the list ends.
        :param maximum: the list ends when it has more objects than this.
        """
        entries: list[_Entry] = []
        with s3_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=_prefix(path), StartAfter=after
            )
            for page in pages:
                for item in require_s3(page, "Name").get("Contents", []):
                    entries.append(_Entry.of(path, item))
                    if entries[-1].offset <= until or (maximum is not None and len(entries) > maximum):
                        return entries
        return entries

    def _versions(self, path: str) -> list[_Entry]:
        """Return the versions of the objects of an upload, the newest first.

        Every object has one version. The lifecycle rule hides an object for a day before it deletes the version, so a
        late promotion still finds the bytes.
        """
        with s3_errors():
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=_prefix(path)
            )
            return [_Entry.of(path, item) for page in pages for item in require_s3(page, "Name").get("Versions", [])]

    def _put(self, key: str, body: bytes | IO[bytes], *, mark: str, **metadata: str) -> bool:
        """Write an object, if there is none under this key. Return whether the object there has this mark."""
        try:
            self._put_once(key, body, {"mark": mark, **metadata})
        except S3Refused as refused:
            if refused.s3_status not in (409, 412):
                raise
            # The object is this one if the response to the first attempt got lost and botocore tried again.
            found = self._mark(key)
            if found is None:
                raise  # 409: another object was being written or deleted
            return found == mark
        return True

    def _put_once(self, key: str, body: bytes | IO[bytes], metadata: dict[str, str]) -> None:
        with s3_errors():
            response = self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, Metadata=metadata, IfNoneMatch="*"
            )
            require_s3(response, "ETag")

    def _mark(self, key: str) -> str | None:
        try:
            with s3_errors():
                head = require_s3(self._client.head_object(Bucket=self._bucket, Key=key), "Metadata", "mark")
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise
        return head["Metadata"].get("mark", "")

    def _get(self, key: str, selection: _Selection | None = None) -> bytes | None:
        try:
            with s3_errors():
                response = self._client.get_object(Bucket=self._bucket, Key=key, **(selection or {}))
                return require_s3(response, "Metadata", "mark")["Body"].read()
        except S3Refused as refused:
            if refused.s3_status == 404:
                return None
            raise


@dataclass(frozen=True, kw_only=True)
class PiecesIncoming:
    """The pieces of a complete upload, each pinned by its version.

    A small file (:data:`~..direct.WHOLE_BYTES`) is read once, and its bytes are kept for the check and for the write.

    :param version: of the object whose event promotes the file; empty if a request promotes it.
    :param path: see :class:`~handler.storage.resumable.ResumableUploads`.
    :param pieces: sorted by their offset. Each begins where the piece before it ends.
    """

    size: int
    version: str
    declaration: Declaration
    storage: S3Storage
    path: str
    pieces: Sequence[_Entry]

    @property
    def reads(self) -> int:
        return sum(ceil_div(piece.size, PIECE_BYTES) for piece in self.pieces)

    def read(self, offset: int, length: int, /) -> bytes:
        end = min(offset + length, self.size)
        return self._whole[offset:end] if self.size <= WHOLE_BYTES else b"".join(self._chunks(offset, end))

    def chunks(self) -> Iterator[bytes]:
        return iter([self._whole]) if self.size <= WHOLE_BYTES else self._chunks(0, self.size)

    @cached_property
    def _whole(self) -> bytes:
        return b"".join(self._chunks(0, self.size))

    def _chunks(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``begin`` to ``end``, in order, while the next ones are being read."""
        return run_ahead(
            (
                partial(self._read_piece, piece, first, min(first + PIECE_BYTES, end, piece.end))
                for piece in self.pieces
                for first in range(max(piece.offset, begin), min(piece.end, end), PIECE_BYTES)
            ),
            at_once=READS_AT_ONCE,
        )

    def _read_piece(self, piece: _Entry, begin: int, end: int) -> bytes:
        with gone_if_missing(), s3_errors():
            response = self.storage.client.get_object(
                Bucket=self.storage.bucket,
                Key=_prefix(self.path) + piece.name,
                VersionId=piece.version,
                Range=f"bytes={begin - piece.offset}-{end - piece.offset - 1}",
            )
            data = require_s3(response, "Metadata", "mark")["Body"].read()
        if len(data) != end - begin:
            raise StorageUnavailable(f"S3 sent other bytes of {_prefix(self.path)}{piece.name} than requested")
        return data

    def copy_to_files(self, file: StoredFile, /) -> StoredFile:
        if self.size <= WHOLE_BYTES:
            stored = self._write(file)
        elif self.size <= ONE_PUT_BYTES:
            stored = self._copy_whole(file)
        else:
            stored = self._copy_in_parts(file)
        if file_history(self.storage, file.path).deleted:
            raise AlreadyExists(f"There was a file with the id {file.id}, and it was deleted.")
        return stored

    def _write(self, file: StoredFile) -> StoredFile:
        """Write a small file, whose bytes are here since the check."""
        stored = verify_sha256(file, [self._whole], sha256=self.declaration.sha256)
        with already_exists(file):
            self.storage.put_once(stored, self._whole)
        return stored

    def _copy_whole(self, file: StoredFile) -> StoredFile:
        body, actual = self.storage.open_writer(), hashlib.sha256()
        try:
            for chunk in self.chunks():
                actual.update(chunk)
                body.write(chunk)
            stored = self._checked(file, actual.hexdigest())
            with already_exists(file):
                self.storage.put_once(stored, body.rewind())
        finally:
            body.abort()
        return stored

    def _copy_in_parts(self, file: StoredFile) -> StoredFile:
        # S3 takes the metadata, which holds the digest, before the first part. So the file is read twice, except if the
        # client declared the digest: then the copy is verified before it is completed.
        sha256 = self.declaration.sha256 or self._sha256()
        stored, client = replace(file, sha256=sha256), self.storage.client
        with s3_errors():
            created = client.create_multipart_upload(
                Bucket=self.storage.bucket, Key=stored.key, **object_headers(stored)
            )
            multipart_id = require_s3(created, "UploadId")["UploadId"]
        try:
            actual = hashlib.sha256()
            parts = self._upload_parts(stored.key, multipart_id, actual.update)
            self._checked(stored, actual.hexdigest())
            with already_exists(file), s3_errors():
                completed = client.complete_multipart_upload(
                    Bucket=self.storage.bucket,
                    Key=stored.key,
                    UploadId=multipart_id,
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                )
                require_s3(completed, "ETag")
        except BaseException:
            with suppress(StorageUnavailable):  # the bucket's lifecycle rules delete the parts otherwise
                abort_multipart_upload(self.storage, stored.key, multipart_id)
            raise
        return stored

    def _checked(self, file: StoredFile, actual: str) -> StoredFile:
        if self.declaration.sha256 is not None:
            check_sha256(file, actual, sha256=self.declaration.sha256)
        return replace(file, sha256=actual)

    def _sha256(self) -> str:
        actual = hashlib.sha256()
        for chunk in self.chunks():
            actual.update(chunk)
        return actual.hexdigest()

    def _upload_parts(self, key: str, multipart_id: str, hashed: Callable[[bytes], None]) -> list[CompletedPartTypeDef]:
        with ExitStack() as opened:
            calls = (
                partial(self._upload_part, key, multipart_id, number, part)
                for number, part in enumerate(self._parts(hashed, opened), 1)
            )
            return list(run_ahead(calls, at_once=PARTS_AT_ONCE))

    def _parts(self, hashed: Callable[[bytes], None], opened: ExitStack) -> Iterator[S3Writer]:
        """Yield the bytes of each part, after ``hashed`` was called with them."""
        chunks, left = self.chunks(), self.size
        while left:
            part = self.storage.open_writer()
            opened.callback(part.abort)
            end = max(0, left - part_bytes(self.size))
            while left > end:
                chunk = next(chunks)
                hashed(chunk)
                part.write(chunk)
                left -= len(chunk)
            yield part

    def _upload_part(self, key: str, multipart_id: str, number: int, part: S3Writer) -> CompletedPartTypeDef:
        with gone_if_missing(), s3_errors():
            uploaded = self.storage.client.upload_part(
                Bucket=self.storage.bucket, Key=key, UploadId=multipart_id, PartNumber=number, Body=part.rewind()
            )
            part.abort()
            return {"PartNumber": number, "ETag": require_s3(uploaded, "ETag")["ETag"]}


def _prefix(path: str) -> str:
    return f"chunks/{path}/p-"


def _key(path: str, offset: int) -> str:
    """Return the key of the piece, or of the ending, at an offset."""
    return f"{_prefix(path)}{LAST_OFFSET - offset:013}"


def _pieces(entries: Iterable[_Entry]) -> list[_Entry]:
    return [entry for entry in entries if entry.offset >= 0 and not entry.is_ending]


def _joined(pieces: Iterable[_Entry]) -> list[Extent]:
    """Return the extents that the pieces cover, sorted and joined where they meet."""
    extents: list[Extent] = []
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        if extents and sum(extents[-1]) == piece.offset:
            extents[-1] = Extent(extents[-1].offset, extents[-1].size + piece.size)
        else:
            extents.append(Extent(piece.offset, piece.size))
    return extents

"""Direct uploads to a folder. This module does the work of S3 for a folder.

::

    incoming/<path>/              an upload in parts (``incoming.py``)
    incoming/<path>.complete/     the same upload after its completion: nothing can be added
    refused/<path>.json           the reason of a refusal
    judged/<path>                 marks a verdict, and outlives a deleted file, as a delete marker in a bucket does;
                                  so does the mark of a file that was stored with an idempotency key
    secret                        the key that signs upload ids and URLs

A path is ``[<folder>.]<id>`` here: one name, so that the directories above hold no others.

Parts are written in ``tmp/`` and renamed into the directory of the upload. Nothing is ever written twice. A completion
links the parts into another directory, where a late part cannot replace them.

Every file and every directory entry is synced before the request gets its response, so a power loss reverts nothing.

An upload exists while its declaration is there. To remove an upload, the declaration is deleted first, and nothing is
written: that works on a full disk. So the declaration is read *after* the parts are listed. A list that was made during
a removal may be incomplete.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature

from ...problems import AlreadyExists, Forbidden, UploadIncomplete, UploadNotFound, from_dict
from ...signing import TimedSigner, timed_signer
from .. import split_path
from ..direct import (
    MAX_PART_BYTES,
    MIN_PART_BYTES,
    Declaration,
    Deleted,
    Gone,
    PresignedPost,
    Refused,
    Stored,
    UploadedPart,
    Verdict,
    dump_refusal,
)
from .durable import (
    log_damaged,
    make_directory,
    read_object,
    rename_unless_taken,
    sync_directory,
    temporary_directory,
    write_new,
)
from .errors import disk_errors
from .files import LocalStorage, entries, flat, last_written, nested
from .incoming import (
    DECLARATION,
    ArrivedParts,
    LocalIncoming,
    arrived_parts,
    gone_if_missing,
    mark_judged,
    part_name,
    read_declaration,
    remove_upload,
    write_chunks,
    write_declaration,
)
from .locks import locked

RECEIVER = "upload/s3/incoming"
"""The path at which this endpoint itself takes the bytes, relative to its root."""
URL_SECONDS = 60 * 60
"""How long a URL or a form is valid."""
INCOMING_STALE_SECONDS = 24 * 60 * 60
"""The age at which an unfinished upload is deleted."""
REFUSED_STALE_SECONDS = 7 * 24 * 60 * 60
"""The age at which the reason of a refusal is deleted."""
SWEEP_SECONDS = 60 * 60
"""The time between two sweeps."""
SECRET_BYTES = 32


class LocalDirectUploads:
    """Direct uploads to a folder, through this endpoint's own URLs.

    :param storage: the storage of the checked files, in the same folder.
    """

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self._folder = storage.folder
        for name in ("incoming", "refused", "judged"):
            make_directory(self._folder / name)
        self._swept = 0.0
        self.sweep()
        self._finish_interrupted_removals()

    def secret(self) -> bytes:
        with disk_errors():
            secret = self._read_secret()
            if secret is None:
                with locked(self._folder / "files"):  # only one of two servers makes a secret
                    secret = self._read_secret() or self._make_secret()
            return secret

    def _read_secret(self) -> bytes | None:
        """Return the key; ``None`` if it is missing or damaged. With an empty key anyone could sign."""
        try:
            secret = (self._folder / "secret").read_bytes()
        except FileNotFoundError:
            return None
        if len(secret) == SECRET_BYTES and any(secret):  # a damaged file system may leave only zeros
            return secret
        log_damaged(self._folder / "secret")
        return None

    def _make_secret(self) -> bytes:
        secret = secrets.token_bytes(SECRET_BYTES)
        with temporary_directory(self._folder / "tmp") as directory:
            write_new(directory / "secret", secret, mode=0o600)
            (directory / "secret").replace(self._folder / "secret")  # the whole file at once
        sync_directory(self._folder)
        return secret

    def origins(self) -> list[str]:
        return []  # the endpoint itself takes the bytes

    def begin(self, path: str, declaration: Declaration, /) -> str:
        with disk_errors(), temporary_directory(self._folder / "tmp") as directory:
            self._sweep()
            write_declaration(directory, declaration)
            sync_directory(directory)
            directory.rename(self._open(path))
            sync_directory(self._folder / "incoming")
        return path

    def has_multipart_upload(self, path: str, _multipart_id: str, /) -> bool:
        with disk_errors():
            return self._takes_parts(path)

    def _takes_parts(self, path: str) -> bool:
        """Return whether an upload is in progress. A killed process may have completed the upload and left its parts.
        Such parts no longer count."""
        return read_declaration(self._open(path)) is not None and not self.arrived(path)

    def arrived(self, path: str, /) -> bool:
        return self.open_incoming(path) is not None

    def part_url(self, path: str, _multipart_id: str, number: int, /, *, size: int | None) -> str:
        return f"{RECEIVER}/{self._tickets().sign(['part', path, number, size])}"

    def parts(self, path: str, _multipart_id: str, /) -> list[UploadedPart]:
        return self._arrived_parts(path).whole

    def _arrived_parts(self, path: str) -> ArrivedParts:
        """:raises UploadNotFound: there is no such upload, or it is being removed."""
        with disk_errors(), _not_found_if_missing():
            arrived = arrived_parts(self._open(path))
            if not self._takes_parts(path):
                raise UploadNotFound()
            return arrived

    def complete(self, path: str, _multipart_id: str, parts: Sequence[UploadedPart], /) -> None:
        if any(part.size < MIN_PART_BYTES for part in parts[:-1]):
            raise UploadIncomplete(
                f"A part is smaller than {MIN_PART_BYTES:,} bytes. Only the last part may be smaller."
            )
        if damaged := self._arrived_parts(path).damaged:
            numbers = ", ".join(map(str, damaged[:10]))
            raise UploadIncomplete(f"Some parts are damaged on the disk. Send them again: {numbers}.")
        # The lock lets either this completion or an abort take the upload, so an aborted upload is never stored.
        with (
            disk_errors(),
            temporary_directory(self._folder / "tmp") as directory,
            _not_found_if_missing(),
            locked(self._open(path)),
        ):
            os.link(self._open(path) / DECLARATION, directory / DECLARATION)
            for part in parts:
                self._link_part(path, part, directory)
            self._close(path, directory)  # unless another request has just completed it
            remove_upload(self._open(path))

    def _close(self, path: str, directory: Path) -> None:
        """Make a directory the completed upload of an id, durably. A whole completed upload that exists stays.

        The caller holds a lock, so that no other thread or server does the same.
        """
        sync_directory(directory)
        if self.open_incoming(path) is None:  # nothing has arrived, or it is damaged
            remove_upload(self._closed(path))
        rename_unless_taken(directory, self._closed(path))
        sync_directory(self._folder / "incoming")

    def _link_part(self, path: str, part: UploadedPart, directory: Path) -> None:
        name = part_name(part)
        try:
            os.link(self._open(path) / name, directory / name)
        except FileNotFoundError:
            if self.has_multipart_upload(path, path):
                raise UploadIncomplete(
                    "A part was sent again while the upload was being completed. Complete the upload again."
                ) from None
            raise

    def abort(self, path: str, _multipart_id: str, /) -> None:
        with disk_errors(), suppress(FileNotFoundError), locked(self._open(path)):
            remove_upload(self._open(path))

    def presigned_post(self, path: str, declaration: Declaration, /) -> PresignedPost:
        with disk_errors():
            self._sweep()
        return PresignedPost(
            url=RECEIVER,
            fields={
                "key": f"incoming/{path}",
                "policy": self._tickets().sign(["form", path, asdict(declaration)]),
            },
        )

    def open_incoming(self, path: str, _version: str | None = None, /) -> LocalIncoming | None:
        directory = self._closed(path)
        try:
            with disk_errors(), gone_if_missing():
                arrived = arrived_parts(directory)
                declaration = read_declaration(directory)
        except Gone:
            return None
        if declaration is None:
            return None
        if arrived.damaged or not arrived.whole:
            log_damaged(directory, parts=arrived.damaged)
            return None
        return LocalIncoming(
            directory=directory,
            declaration=declaration,
            parts=arrived.whole,
            storage=self._storage,
            judged=self._judged(path),
        )

    def open_joined(self, path: str, _version: str, /) -> LocalIncoming | None:
        return self.open_incoming(path)

    def discard(self, path: str, _version: str | None = None, /) -> None:
        with disk_errors():
            if self._closed(path).exists():
                mark_judged(self._judged(path))  # an interrupted verdict may have left no mark
                remove_upload(self._open(path))  # an interrupted completion may have left it
                remove_upload(self._closed(path))

    def end_copies(self, _path: str, /) -> None:
        pass  # copies take turns, and the next copy finds the verdict

    def find_file(self, path: str, /) -> Stored | Deleted | None:
        with disk_errors():
            return self._stored(path) or (Deleted() if self._judged(path).exists() else None)

    @contextmanager
    def claimed(self, path: str, /) -> Iterator[None]:
        with disk_errors(), locked(self._folder / "judged"):
            if self._judged(path).exists():
                raise AlreadyExists(f"There is, or was, a file at {path} already.")
            file_id, folder = split_path(path)
            self._storage.release(file_id, folder)
            try:
                yield
            finally:
                if self._storage.contains(file_id, folder):
                    mark_judged(self._judged(path))

    def find_verdict(self, path: str, /) -> Verdict | None:
        with disk_errors():
            if stored := self._stored(path):
                return stored
            if problem := _read_refusal(self._refusal_path(path)):
                return Refused(problem)
            return Deleted() if self._judged(path).exists() else None

    def _stored(self, path: str) -> Stored | None:
        file_id, folder = split_path(path)
        for entry in entries(self._folder / "files" / path):
            if file := self._storage.find(file_id, entry.name, folder):
                return Stored(file)
        return None

    def refusal(self, path: str, /) -> Mapping[str, Any] | None:
        with disk_errors():
            return _read_refusal(self._refusal_path(path))

    def refuse(self, path: str, problem: Mapping[str, Any], /) -> bool:
        with disk_errors(), temporary_directory(self._folder / "tmp") as directory:
            written, is_first = directory / "refusal", True
            write_new(written, dump_refusal(problem))
            try:
                os.link(written, self._refusal_path(path))
            except FileExistsError:
                is_first = _read_refusal(self._refusal_path(path)) is None  # a damaged refusal does not count
                if is_first:
                    written.replace(self._refusal_path(path))
            sync_directory(self._folder / "refused")
            mark_judged(self._judged(path))
        return is_first

    # The methods below do the work of S3 at its presigned URLs.

    def take_part(self, ticket: str, chunks: Iterable[bytes]) -> str:
        """Take a part that was sent to its URL.

        :param ticket: the signed end of the URL.
        :returns: the ETag of the part.
        :raises Forbidden: the URL is not ours, or has expired, or is for a part of another length.
        :raises FileTooLarge: the part is larger than a part may be.
        :raises UploadNotFound: the upload has ended.
        """
        path, number, size = self._read_ticket(ticket, "part")
        if not self.has_multipart_upload(path, path):
            raise UploadNotFound()
        with disk_errors(), temporary_directory(self._folder / "tmp") as directory:
            etag, arrived = write_chunks(directory / "data", chunks, maximum=MAX_PART_BYTES if size is None else size)
            if size is not None and arrived != size:
                raise Forbidden(f"This URL is for a part of {size:,} bytes.")
            name = part_name(UploadedPart(number=number, etag=etag, size=arrived))
            with _not_found_if_missing():
                # Only earlier parts. Two parts that arrive at the same moment would otherwise remove each other.
                others = [other for other in self._open(path).glob(f"{number}.*") if other.name != name]
                (directory / "data").replace(self._open(path) / name)  # Windows cannot rename onto a file
                for other in others:
                    other.unlink(missing_ok=True)
                sync_directory(self._open(path))
            if not self.has_multipart_upload(path, path):  # removed meanwhile, so this part would stay
                remove_upload(self._open(path))
                raise UploadNotFound()
        return etag

    def take_post(self, *, key: str, policy: str, chunks: Iterable[bytes]) -> tuple[str, str]:
        """Take a file that was sent with a presigned form.

        :param key: the form's ``key`` field.
        :param policy: the form's ``policy`` field, which is signed.
        :returns: the path of the file, and its ETag.
        :raises Forbidden: the form is not ours, was changed or sent before, or has expired.
        :raises FileTooLarge: the file is larger than declared.
        """
        path, members = self._read_ticket(policy, "form")
        declaration = Declaration(**members)
        if key != f"incoming/{path}":
            raise Forbidden("The form was changed: its 'policy' is for another key.")
        with disk_errors(), temporary_directory(self._folder / "tmp") as directory:
            etag, size = write_chunks(directory / "data", chunks, maximum=declaration.max_bytes)
            (directory / "data").rename(directory / part_name(UploadedPart(number=1, etag=etag, size=size)))
            write_declaration(directory, declaration)
            with locked(self._folder / "incoming"):  # of two concurrent forms only one is accepted
                # In this order: a verdict is recorded before the bytes are removed.
                if self.open_incoming(path) is not None or self._judged(path).exists():
                    raise Forbidden("This form was sent before. Request a new one.")
                self._close(path, directory)
        return path, etag

    def _read_ticket(self, ticket: str, kind: str) -> list[Any]:
        """Return the values of a ticket that :meth:`part_url` or :meth:`presigned_post` signed.

        :param kind: ``part`` or ``form``.
        :raises Forbidden: the ticket is not ours, has expired, or is of another kind.
        """
        signed_kind: object
        values: list[Any]
        try:
            signed_kind, *values = self._tickets().verify(ticket, max_seconds=URL_SECONDS)
        except (BadSignature, TypeError, ValueError):
            signed_kind, values = None, []
        if signed_kind != kind:
            raise Forbidden("This URL or form is invalid, or it has expired. Request a new one.")
        return values

    def _open(self, path: str) -> Path:
        return self._folder / "incoming" / flat(path)

    def _closed(self, path: str) -> Path:
        return self._folder / "incoming" / f"{flat(path)}.complete"

    def _refusal_path(self, path: str) -> Path:
        return self._folder / "refused" / f"{flat(path)}.json"

    def _judged(self, path: str) -> Path:
        return self._folder / "judged" / flat(path)

    def _tickets(self) -> TimedSigner:
        return timed_signer(self.secret(), purpose="url")

    def _sweep(self) -> None:
        """Sweep at most once an hour, for a program without the local server's hourly sweep."""
        if time.time() >= self._swept + SWEEP_SECONDS:
            self.sweep()

    def sweep(self) -> None:
        """Remove expired files, unfinished uploads and old refusals, as the lifecycle rules of a bucket do."""
        now = self._swept = time.time()
        self._storage.sweep()  # at its start the remains may have been too young
        for name, seconds in (
            ("incoming", INCOMING_STALE_SECONDS),
            ("chunks", INCOMING_STALE_SECONDS),
            ("judged", INCOMING_STALE_SECONDS),
            ("refused", REFUSED_STALE_SECONDS),
        ):
            for path in entries(self._folder / name):
                # Another server on this folder was faster, or, on Windows, has the file open.
                with suppress(FileNotFoundError, PermissionError):
                    if last_written(path) < now - seconds:
                        remove_upload(path) if path.is_dir() else path.unlink()

    def _finish_interrupted_removals(self) -> None:
        """Remove uploads that a killed process was removing, and uploads whose file the process had stored. Otherwise
        such a file would come back after it is deleted."""
        for path in (self._folder / "incoming").iterdir():
            if not path.is_dir():
                continue
            is_stored = path.suffix == ".complete" and any(
                entry.is_file() for entry in entries(self._folder / "files" / nested(path.stem))
            )
            if is_stored:
                with suppress(OSError):  # a full disk has no room for the mark, and must not prevent a start
                    mark_judged(self._judged(nested(path.stem)))
            if is_stored or not (path / DECLARATION).exists():
                remove_upload(path)


def _read_refusal(path: Path) -> Mapping[str, Any] | None:
    """Return the problem object that a file holds; ``None`` if the file is missing, or damaged, which is logged."""
    problem = read_object(path)
    if problem is None:
        return None
    try:
        from_dict(problem)
    except (LookupError, TypeError, ValueError, AttributeError):
        log_damaged(path)
        return None
    return problem


@contextmanager
def _not_found_if_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UploadNotFound() from None

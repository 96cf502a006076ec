"""Bytes that clients send straight to a folder: what S3 does for a bucket, done here.

::

    incoming/<id>/              an upload in parts: declaration.json, and <number>.<etag>.<size> for each part
    incoming/<id>.complete/     the same after it was completed: nothing can be added
    refused/<id>.json           why an upload was refused
    judged/<id>                 there was a verdict: this outlives a deleted file, as a bucket's delete marker does
    secret                      the key that upload ids and URLs are signed with

Parts are written in ``tmp/`` and renamed into the upload's directory; nothing is ever written twice. Completing an
upload links its parts into another directory, where no late part can take their places.

Every file and every directory entry is synced before the request is answered, so a power loss takes nothing back. A
part whose size is not the one in its name has not arrived: the disk is damaged, or an earlier version stored the part.

An upload exists while its declaration is there. Removing an upload begins with the declaration, and only removes: that
works on a full disk. The declaration is therefore looked for *after* its parts are listed, because a list that was made
while they were being removed is not whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature

from ...problems import AlreadyExists, FileTooLarge, Forbidden, UploadIncomplete, UploadNotFound, from_dict
from ...signing import TimedSigner
from .. import StoredFile
from ..direct import (
    MAX_PART_BYTES,
    MIB,
    MIN_PART_BYTES,
    Declaration,
    Gone,
    PresignedPost,
    UploadedPart,
    Verdict,
    dump_refusal,
)
from .durable import (
    log_damaged,
    make_directory,
    read_object,
    read_record,
    sync_directory,
    sync_file,
    write_new,
)
from .errors import disk_errors
from .files import LocalStorage, LocalWriter, entries, last_written
from .locks import locked

RECEIVER = "upload/s3/incoming"
"""Where this endpoint itself takes the bytes, relative to its root."""
URL_SECONDS = 60 * 60
INCOMING_STALE_SECONDS = 24 * 60 * 60
REFUSED_STALE_SECONDS = 7 * 24 * 60 * 60
SWEEP_SECONDS = 60 * 60
CHUNK_BYTES = MIB
DECLARATION = "declaration.json"
SECRET_BYTES = 32

_PART = re.compile(r"([0-9]{1,5})\.([0-9a-f]{32})(?:\.([0-9]{1,20}))?")
"""The name of a part. Earlier versions wrote no size."""
_CANNOT_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}
"""Errors of ``link(2)`` on file systems without hard links, or for a file with too many."""


class LocalDirectUploads:
    """Bytes that clients send to a folder by way of this endpoint's own URLs.

    :param storage: where the files that passed are kept.
    """

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self._folder = storage.folder
        for name in ("incoming", "refused", "judged"):
            make_directory(self._folder / name)
        self._swept = 0.0
        self._sweep()
        self._finish_interrupted_removals()

    def secret(self) -> bytes:
        with disk_errors():
            secret = self._read_secret()
            if secret is None:
                with locked(self._folder / "files"):  # of two servers one makes it
                    secret = self._read_secret() or self._make_secret()
            return secret

    def _read_secret(self) -> bytes | None:
        """The key, unless it is missing or damaged: an empty one would let anyone sign."""
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
        with self._new_directory() as directory:
            write_new(directory / "secret", secret, mode=0o600)
            (directory / "secret").replace(self._folder / "secret")  # all of it at once
        sync_directory(self._folder)
        return secret

    def origins(self) -> list[str]:
        return []  # the endpoint itself takes them

    def begin(self, file_id: str, declaration: Declaration) -> str:
        with disk_errors(), self._new_directory() as directory:
            self._sweep()
            _write_declaration(directory, declaration)
            sync_directory(directory)
            directory.rename(self._open(file_id))
            sync_directory(self._folder / "incoming")
        return file_id

    def has_multipart_upload(self, file_id: str, upload: str) -> bool:  # noqa: ARG002
        with disk_errors():
            return self._takes_parts(file_id)

    def _takes_parts(self, file_id: str) -> bool:
        """Whether an upload is under way. A killed process may have completed it and left its parts, which count no
        more."""
        return _declaration(self._open(file_id)) is not None and not self.arrived(file_id)

    def arrived(self, file_id: str) -> bool:
        return self.open_incoming(file_id) is not None

    def part_url(self, file_id: str, upload: str, number: int, *, size: int | None) -> str:  # noqa: ARG002
        return f"{RECEIVER}/{self._tickets().sign(['part', file_id, number, size])}"

    def parts(self, file_id: str, upload: str) -> list[UploadedPart]:  # noqa: ARG002
        return self._arrived(file_id).whole

    def _arrived(self, file_id: str) -> _Arrived:
        """:raises UploadNotFound: there is no such upload, or it is being removed."""
        with disk_errors(), _not_found_if_missing():
            arrived = _arrived(self._open(file_id))
            if not self._takes_parts(file_id):
                raise UploadNotFound()
            return arrived

    def complete(self, file_id: str, upload: str, parts: Sequence[UploadedPart]) -> None:  # noqa: ARG002
        if any(part.size < MIN_PART_BYTES for part in parts[:-1]):
            raise UploadIncomplete(f"A part is smaller than {MIN_PART_BYTES:,} bytes, and only the last one may be.")
        if damaged := self._arrived(file_id).damaged:
            numbers = ", ".join(map(str, damaged[:10]))
            raise UploadIncomplete(f"Some parts are damaged on the disk. Send them again: {numbers}.")
        # The lock lets either this or an abort take the upload, so that an aborted one is never stored.
        with disk_errors(), self._new_directory() as directory, _not_found_if_missing(), locked(self._open(file_id)):
            os.link(self._open(file_id) / DECLARATION, directory / DECLARATION)
            for part in parts:
                self._link_part(file_id, part, directory)
            self._close(file_id, directory)  # unless another request has just completed it
            self._remove(self._open(file_id))

    def _close(self, file_id: str, directory: Path) -> None:
        """Make a directory the completed upload of that id, durably, unless there is one already, which is whole. The
        caller holds a lock that keeps others from doing the same."""
        sync_directory(directory)
        if self.open_incoming(file_id) is None:  # nothing has come in, or it is damaged
            self._remove(self._closed(file_id))
        _rename_unless_taken(directory, self._closed(file_id))
        sync_directory(self._folder / "incoming")

    def _link_part(self, file_id: str, part: UploadedPart, directory: Path) -> None:
        name = _name(part)
        try:
            os.link(self._open(file_id) / name, directory / name)
        except FileNotFoundError:
            if self.has_multipart_upload(file_id, file_id):
                raise UploadIncomplete("A part was sent again while the upload was being completed.") from None
            raise

    def abort(self, file_id: str, upload: str) -> None:  # noqa: ARG002
        with disk_errors(), suppress(FileNotFoundError), locked(self._open(file_id)):
            self._remove(self._open(file_id))

    def presigned_post(self, file_id: str, declaration: Declaration) -> PresignedPost:
        with disk_errors():
            self._sweep()
        return PresignedPost(
            url=RECEIVER,
            fields={
                "key": f"incoming/{file_id}",
                "policy": self._tickets().sign(["form", file_id, asdict(declaration)]),
            },
        )

    def open_incoming(self, file_id: str, version: str | None = None) -> LocalIncoming | None:  # noqa: ARG002
        directory = self._closed(file_id)
        try:
            with disk_errors(), _gone_if_missing():
                arrived = _arrived(directory)
                declaration = _declaration(directory)
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
            judged=self._judged(file_id),
        )

    def discard(self, file_id: str, version: str | None = None) -> None:  # noqa: ARG002
        with disk_errors():
            if self._closed(file_id).exists():
                _mark_judged(self._judged(file_id))  # a verdict that was interrupted may have left this out
                self._remove(self._open(file_id))  # a completion that was interrupted may have left it
                self._remove(self._closed(file_id))

    def end_copies(self, file_id: str) -> None:
        pass  # they take turns, and the next one finds the verdict

    def find_verdict(self, file_id: str) -> Verdict | None:
        with disk_errors():
            for path in entries(self._folder / "files" / file_id):
                if file := self._storage.find(file_id, path.name):
                    return Verdict(file=file)
            if refusal := _read_refusal(self._refusal_path(file_id)):
                return Verdict(refusal=refusal)
            return Verdict() if self._judged(file_id).exists() else None

    def refusal(self, file_id: str) -> Mapping[str, Any] | None:
        with disk_errors():
            return _read_refusal(self._refusal_path(file_id))

    def refuse(self, file_id: str, refusal: Mapping[str, Any]) -> None:
        with disk_errors(), self._new_directory() as directory:
            written = directory / "refusal"
            write_new(written, dump_refusal(refusal))
            try:
                os.link(written, self._refusal_path(file_id))
            except FileExistsError:
                if _read_refusal(self._refusal_path(file_id)) is None:  # a damaged one is no verdict
                    written.replace(self._refusal_path(file_id))
            sync_directory(self._folder / "refused")
            _mark_judged(self._judged(file_id))

    # What S3 does at the URLs that it is asked for.

    def take_part(self, ticket: str, chunks: Iterable[bytes]) -> str:
        """Take what was sent to the URL of a part.

        :returns: its ETag.
        :raises Forbidden: the URL is not one of ours, or has expired, or it is for a part of another length.
        :raises FileTooLarge: no part may be that large.
        :raises UploadNotFound: the upload has ended.
        """
        file_id, number, size = self._read_ticket(ticket, "part")
        if not self.has_multipart_upload(file_id, file_id):
            raise UploadNotFound()
        with disk_errors(), self._new_directory() as directory:
            etag, arrived = _write(directory / "data", chunks, most=MAX_PART_BYTES if size is None else size)
            if size is not None and arrived != size:
                raise Forbidden(f"This URL is for a part of {size:,} bytes.")
            name = _name(UploadedPart(number=number, etag=etag, size=arrived))
            with _not_found_if_missing():
                # Those from before, and not one that comes in at the same moment: each would remove the other.
                others = [path for path in self._open(file_id).glob(f"{number}.*") if path.name != name]
                (directory / "data").replace(self._open(file_id) / name)  # Windows cannot rename onto a file
                for other in others:
                    other.unlink(missing_ok=True)
                sync_directory(self._open(file_id))
            if not self.has_multipart_upload(file_id, file_id):  # it was removed meanwhile, and this part would be left
                self._remove(self._open(file_id))
                raise UploadNotFound()
        return etag

    def take_form(self, *, key: str, policy: str, chunks: Iterable[bytes]) -> tuple[str, str]:
        """Take what was sent with a form.

        :returns: the id of the file that it is to become, and the ETag.
        :raises Forbidden: the form is not one of ours, was changed or sent before, or has expired.
        :raises FileTooLarge: the file is larger than was agreed.
        """
        file_id, declared = self._read_ticket(policy, "form")
        declaration = Declaration(**declared)
        if key != f"incoming/{file_id}":
            raise Forbidden("The form was changed: it is for another key.")
        with disk_errors(), self._new_directory() as directory:
            etag, size = _write(directory / "data", chunks, most=declaration.max_bytes)
            (directory / "data").rename(directory / _name(UploadedPart(number=1, etag=etag, size=size)))
            _write_declaration(directory, declaration)
            with locked(self._folder / "incoming"):  # of two that are sent at once only one is taken
                # In this order: a verdict is noted before the file that was judged is removed.
                if self.open_incoming(file_id) is not None or self._judged(file_id).exists():
                    raise Forbidden("This form was sent before. Ask for another one.")
                self._close(file_id, directory)
        return file_id, etag

    def _read_ticket(self, ticket: str, kind: str) -> list[Any]:
        try:
            found: object
            rest: list[Any]
            found, *rest = self._tickets().verify(ticket, max_seconds=URL_SECONDS)
        except (BadSignature, TypeError, ValueError):
            found, rest = None, []
        if found != kind:
            raise Forbidden("This URL or form is not one of ours, or it has expired. Ask for a new one.")
        return rest

    @contextmanager
    def _new_directory(self) -> Iterator[Path]:
        """A directory in ``tmp/``. It may be renamed to elsewhere; what is left of it goes."""
        directory = Path(tempfile.mkdtemp(dir=self._folder / "tmp"))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _open(self, file_id: str) -> Path:
        return self._folder / "incoming" / file_id

    def _closed(self, file_id: str) -> Path:
        return self._folder / "incoming" / f"{file_id}.complete"

    def _refusal_path(self, file_id: str) -> Path:
        return self._folder / "refused" / f"{file_id}.json"

    def _judged(self, file_id: str) -> Path:
        return self._folder / "judged" / file_id

    def _remove(self, upload: Path) -> None:
        """Remove the directory of an upload, so that no power loss brings it back. Nothing is created or renamed: a
        full disk must not prevent it."""
        try:
            (upload / DECLARATION).unlink(missing_ok=True)
            sync_directory(upload)
        except FileNotFoundError:
            return
        shutil.rmtree(upload, ignore_errors=True)  # a part may come in at this moment; the next sweep removes it

    def _tickets(self) -> TimedSigner:
        return TimedSigner(self.secret(), purpose="url")

    def _sweep(self) -> None:
        """Remove what was never completed, and old refusals: now and then, as a bucket's lifecycle rules do."""
        now = time.time()
        if now < self._swept + SWEEP_SECONDS:
            return
        self._swept = now
        self._storage.sweep()  # what it found at its start may have been too young
        for place, seconds in (
            ("incoming", INCOMING_STALE_SECONDS),
            ("judged", INCOMING_STALE_SECONDS),
            ("refused", REFUSED_STALE_SECONDS),
        ):
            for path in (self._folder / place).iterdir():
                # Another server on this folder was faster, or, on Windows, has the file open.
                with suppress(FileNotFoundError, PermissionError):
                    if last_written(path) < now - seconds:
                        self._remove(path) if path.is_dir() else path.unlink()

    def _finish_interrupted_removals(self) -> None:
        """Remove uploads that a killed process was removing, and those whose file it had stored: otherwise that file
        would come back after it is deleted."""
        for path in (self._folder / "incoming").iterdir():
            if not path.is_dir():
                continue
            is_stored = path.suffix == ".complete" and (self._folder / "files" / path.stem).exists()
            if is_stored:
                with suppress(OSError):  # a full disk has room for no mark, and must not prevent a start
                    _mark_judged(self._judged(path.stem))
            if is_stored or not (path / DECLARATION).exists():
                self._remove(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalIncoming:
    """The parts of a completed upload, one after the other.

    :param directory: where they are.
    :param judged: the file that says that there is a verdict.
    """

    directory: Path
    declaration: Declaration
    parts: list[UploadedPart]
    storage: LocalStorage
    judged: Path
    version: str = ""  # a form is taken once, so there is only one

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def read(self, offset: int, length: int, /) -> bytes:
        ends = list(accumulate(part.size for part in self.parts))
        index = bisect_right(ends, offset)
        skipped = offset - (ends[index - 1] if index else 0)
        found = b""
        for part in self.parts[index:]:
            with disk_errors(), _gone_if_missing(), self._path(part).open("rb") as file:
                file.seek(skipped)
                found += file.read(length - len(found))
            if len(found) >= length:
                break
            skipped = 0
        return found

    def chunks(self) -> Iterator[bytes]:
        for part in self.parts:
            with disk_errors(), _gone_if_missing(), self._path(part).open("rb") as file:
                while data := file.read(CHUNK_BYTES):
                    if self.judged.exists():  # nobody needs the rest
                        raise Gone
                    yield data

    def copy_to_files(self, file: StoredFile, /) -> None:
        # The lock comes before the copy: of several completions at once only the first copies anything.
        with disk_errors(), _gone_if_missing(), locked(self.directory):
            if self.judged.exists():
                raise AlreadyExists(f"There is, or was, a file with the id {file.id} already.")
            self.storage.release(file.id)
            writer = self._copied()
            try:
                writer.commit(file)
                _mark_judged(self.judged)
            finally:
                writer.abort()

    def _copied(self) -> LocalWriter:
        """Return a writer that holds all bytes. Parts never change, so a single one only gets a second name."""
        if len(self.parts) == 1:
            try:
                return self.storage.open_writer(linked_to=self._path(self.parts[0]))
            except OSError as error:
                if error.errno not in _CANNOT_LINK:
                    raise
        writer = self.storage.open_writer()
        try:
            for part in self.parts:
                writer.append(self._path(part), size=part.size)
        except BaseException:
            writer.abort()
            raise
        return writer

    def _path(self, part: UploadedPart) -> Path:
        return self.directory / _name(part)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arrived:
    """The parts in a directory.

    :param whole: by number.
    :param damaged: numbers of parts of another size than their names say, or of an earlier version, which gave no size.
    """

    whole: list[UploadedPart]
    damaged: list[int]


def _arrived(directory: Path) -> _Arrived:
    """Look at each part. If two requests left two parts with one number, the later one counts."""
    whole: dict[int, UploadedPart] = {}
    entries = []
    for path in directory.iterdir():
        if match := _PART.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another one has just taken its place
                entries.append((path.stat(), match))
    for stat, match in sorted(entries, key=lambda entry: entry[0].st_mtime_ns):
        if match[3] is not None and int(match[3]) == stat.st_size:
            whole[int(match[1])] = UploadedPart(number=int(match[1]), etag=match[2], size=stat.st_size)
    damaged = {int(match[1]) for _, match in entries} - whole.keys()
    return _Arrived(whole=[whole[number] for number in sorted(whole)], damaged=sorted(damaged))


def _name(part: UploadedPart) -> str:
    return f"{part.number}.{part.etag}.{part.size}"


def _write(path: Path, chunks: Iterable[bytes], *, most: int) -> tuple[str, int]:
    """Write a new file, and sync its bytes.

    :returns: the ETag, an MD5 as S3's is, and the size.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with path.open("xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise FileTooLarge(f"No more than {most:,} bytes may be sent here.", max_bytes=most)
            digest.update(chunk)
            file.write(chunk)
        sync_file(file)
    return digest.hexdigest(), size


def _write_declaration(directory: Path, declaration: Declaration) -> None:
    write_new(directory / DECLARATION, json.dumps(asdict(declaration)).encode())


def _declaration(directory: Path) -> Declaration | None:
    return read_record(directory / DECLARATION, Declaration)


def _read_refusal(path: Path) -> Mapping[str, Any] | None:
    """The problem object that a file holds; ``None`` if the file is missing, or damaged, which is logged."""
    refusal = read_object(path)
    if refusal is None:
        return None
    try:
        from_dict(refusal)
    except (LookupError, TypeError, ValueError, AttributeError):
        log_damaged(path)
        return None
    return refusal


def _mark_judged(judged: Path) -> None:
    """Note durably that there is a verdict."""
    if not judged.exists():
        judged.touch()
    sync_directory(judged.parent)


def _rename_unless_taken(directory: Path, target: Path) -> None:
    """Rename a directory that holds something, unless there is such a one already."""
    try:
        directory.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # POSIX, rename(): either
            raise


@contextmanager
def _not_found_if_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UploadNotFound() from None


@contextmanager
def _gone_if_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Gone from None

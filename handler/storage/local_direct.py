"""Bytes that clients send straight to a folder: what S3 does for a bucket, done here.

::

    incoming/<id>/              an upload in parts: declaration.json, and a file for each part
    incoming/<id>.complete/     the same when no more can be added
    refused/<id>.json           why something was refused
    judged/<id>                 there was a verdict: this outlives a deleted file, as a bucket's delete marker does
    secret                      the key that upload ids and URLs are signed with

Parts are written in ``tmp/`` and renamed into the upload's directory; nothing is ever written twice. To complete an
upload is to link its parts into another directory, where no part that comes too late can take their places.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itsdangerous import BadSignature, URLSafeTimedSerializer

from ..problems import AlreadyExists, FileTooLarge, Forbidden, UploadIncomplete, UploadNotFound
from . import StoredFile
from .direct import MAX_PART_BYTES, MIB, MIN_PART_BYTES, Declaration, Form, Gone, Part, Verdict, dump_refusal
from .errors import disk_errors
from .local import LocalStorage, last_written

RECEIVER = "upload/s3/incoming"
"""Where this endpoint itself takes the bytes, relative to its root."""
URL_SECONDS = 60 * 60
INCOMING_STALE_SECONDS = 24 * 60 * 60
REFUSED_STALE_SECONDS = 7 * 24 * 60 * 60
SWEEP_SECONDS = 60 * 60
CHUNK_BYTES = MIB
DECLARATION = "declaration.json"

_PART = re.compile(r"([0-9]{1,5})\.([0-9a-f]{32})")


class LocalDirectUploads:
    """Bytes that clients send to a folder by way of this endpoint's own URLs.

    :param storage: where the files that passed are kept.
    """

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self._folder = storage.folder
        for place in ("incoming", "refused", "judged"):
            (self._folder / place).mkdir(exist_ok=True)
        self._swept = 0.0
        self._sweep()
        self._discard_what_is_stored()

    def secret(self) -> bytes:
        path = self._folder / "secret"
        with disk_errors():
            if not path.exists():
                with suppress(FileExistsError), self._new_directory() as directory:
                    made = directory / "secret"
                    made.touch(mode=0o600)
                    made.write_bytes(secrets.token_bytes(32))
                    os.link(made, path)  # all of it at once, and never over another server's
            return path.read_bytes()

    def origins(self) -> list[str]:
        return []  # the endpoint itself takes them

    def begin(self, id: str, declaration: Declaration) -> str:  # noqa: A002
        with disk_errors(), self._new_directory() as directory:
            self._sweep()
            _write_declaration(directory, declaration)
            directory.rename(self._open(id))
        return id

    def begun(self, id: str, upload: str) -> bool:  # noqa: A002, ARG002
        return self._open(id).is_dir()

    def arrived(self, id: str) -> bool:  # noqa: A002
        return self._closed(id).is_dir()

    def part_url(self, id: str, upload: str, number: int, *, size: int | None) -> str:  # noqa: A002, ARG002
        return f"{RECEIVER}/{self._tickets().dumps(['part', id, number, size])}"

    def parts(self, id: str, upload: str) -> list[Part]:  # noqa: A002, ARG002
        with disk_errors(), _not_found_if_missing():
            return _parts(self._open(id))

    def complete(self, id: str, upload: str, parts: Sequence[Part]) -> None:  # noqa: A002, ARG002
        if any(part.size < MIN_PART_BYTES for part in parts[:-1]):
            raise UploadIncomplete(f"A part is smaller than {MIN_PART_BYTES:,} bytes, and only the last one may be.")
        with disk_errors():
            with self._new_directory() as directory, _not_found_if_missing():
                os.link(self._open(id) / DECLARATION, directory / DECLARATION)
                for part in parts:
                    self._link_part(id, part, directory)
                _renamed(directory, self._closed(id))  # unless somebody else has just completed it
            self._bury(self._open(id))

    def _link_part(self, id: str, part: Part, directory: Path) -> None:  # noqa: A002
        name = _name(part.number, part.etag)
        try:
            os.link(self._open(id) / name, directory / name)
        except FileNotFoundError:
            if self.begun(id, id):
                raise UploadIncomplete("A part was sent again while the upload was being completed.") from None
            raise

    def abort(self, id: str, upload: str) -> None:  # noqa: A002, ARG002
        with disk_errors():
            self._bury(self._open(id))

    def form(self, id: str, declaration: Declaration) -> Form:  # noqa: A002
        with disk_errors():
            self._sweep()
        return Form(
            url=RECEIVER,
            fields={"key": f"incoming/{id}", "policy": self._tickets().dumps(["form", id, asdict(declaration)])},
        )

    def incoming(self, id: str, version: str | None = None) -> LocalIncoming | None:  # noqa: A002, ARG002
        directory = self._closed(id)
        try:
            with disk_errors(), _gone_if_missing():
                declaration = Declaration(**json.loads((directory / DECLARATION).read_text(encoding="utf-8")))
                parts = _parts(directory)
        except Gone:
            return None
        return LocalIncoming(
            size=sum(part.size for part in parts),
            declaration=declaration,
            parts=[(directory / _name(part.number, part.etag), part.size) for part in parts],
            storage=self._storage,
            judged=self._judged(id),
        )

    def discard(self, id: str, version: str | None = None) -> None:  # noqa: A002, ARG002
        with disk_errors():
            self._bury(self._closed(id))

    def end_copies(self, id: str) -> None:  # noqa: A002
        pass  # they take turns, and the next one finds the verdict

    def verdict(self, id: str) -> Verdict | None:  # noqa: A002
        with disk_errors():
            for path in (self._folder / "files" / id).glob("*"):
                if file := self._storage.find(id, path.name):
                    return Verdict(file=file)
            with suppress(FileNotFoundError):
                return Verdict(refusal=json.loads(self._refusal(id).read_text(encoding="utf-8")))
            return Verdict() if self._judged(id).exists() else None

    def refuse(self, id: str, refusal: Mapping[str, Any]) -> None:  # noqa: A002
        with disk_errors(), self._new_directory() as directory:
            written = directory / "refusal"
            written.write_bytes(dump_refusal(refusal))
            with suppress(FileExistsError):
                os.link(written, self._refusal(id))
            self._judged(id).touch()

    # What S3 does at the URLs that it is asked for.

    def take_part(self, ticket: str, chunks: Iterable[bytes]) -> str:
        """Take what was sent to the URL of a part.

        :returns: its ETag.
        :raises Forbidden: the URL is not one of ours, or has expired, or it is for a part of another length.
        :raises FileTooLarge: no part may be that large.
        :raises UploadNotFound: the upload has ended.
        """
        id, number, size = self._read_ticket(ticket, "part")  # noqa: A001
        if not self._open(id).is_dir():
            raise UploadNotFound()
        with disk_errors(), self._new_directory() as directory:
            etag, arrived = _write(directory / "data", chunks, most=MAX_PART_BYTES if size is None else size)
            if size is not None and arrived != size:
                raise Forbidden(f"This URL is for a part of {size:,} bytes.")
            # What was there before, and not what comes in at the same moment: else each of two would remove the other.
            others = [path for path in self._open(id).glob(f"{number}.*") if path.name != _name(number, etag)]
            with _not_found_if_missing():
                (directory / "data").rename(self._open(id) / _name(number, etag))
            for other in others:
                other.unlink(missing_ok=True)
        return etag

    def take_form(self, *, key: str, policy: str, chunks: Iterable[bytes]) -> tuple[str, str]:
        """Take what was sent with a form.

        :returns: the id of the file that it is to become, and the ETag.
        :raises Forbidden: the form is not one of ours, was changed or sent before, or has expired.
        :raises FileTooLarge: the file is larger than was agreed.
        """
        id, declared = self._read_ticket(policy, "form")  # noqa: A001
        declaration = Declaration(**declared)
        if key != f"incoming/{id}":
            raise Forbidden("The form was changed: it is for another key.")
        with disk_errors(), self._new_directory() as directory:
            etag, _ = _write(directory / "data", chunks, most=declaration.max_bytes)
            (directory / "data").rename(directory / _name(1, etag))
            _write_declaration(directory, declaration)
            if self._judged(id).exists() or not _renamed(directory, self._closed(id)):
                raise Forbidden("This form was sent before. Ask for another one.")
        return id, etag

    def _read_ticket(self, ticket: str, kind: str) -> list[Any]:
        try:
            found: object
            rest: list[Any]
            found, *rest = self._tickets().loads(ticket, max_age=URL_SECONDS)
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

    def _open(self, id: str) -> Path:  # noqa: A002
        return self._folder / "incoming" / id

    def _closed(self, id: str) -> Path:  # noqa: A002
        return self._folder / "incoming" / f"{id}.complete"

    def _refusal(self, id: str) -> Path:  # noqa: A002
        return self._folder / "refused" / f"{id}.json"

    def _judged(self, id: str) -> Path:  # noqa: A002
        return self._folder / "judged" / id

    def _bury(self, path: Path) -> None:
        """Remove it, out of sight in one step."""
        with self._new_directory() as grave, suppress(FileNotFoundError):
            path.rename(grave / "buried")

    def _tickets(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret(), salt="url", signer_kwargs={"digest_method": hashlib.sha256})

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
                with suppress(FileNotFoundError):  # another server on this folder was faster
                    if last_written(path) < now - seconds:
                        self._bury(path)

    def _discard_what_is_stored(self) -> None:
        """End what a process was at when it was killed: else the file would come back after it is deleted."""
        for path in (self._folder / "incoming").glob("*.complete"):
            if (self._folder / "files" / path.stem).exists():
                self._judged(path.stem).touch()
                self._bury(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalIncoming:
    """The parts of a completed upload, one after the other."""

    size: int
    declaration: Declaration
    parts: list[tuple[Path, int]]
    storage: LocalStorage
    judged: Path
    version: str = ""  # a form is taken once, so there is only one

    def read(self, offset: int, length: int, /) -> bytes:
        found = b""
        for path, size in self.parts:
            if length > len(found) and offset < size:
                with disk_errors(), _gone_if_missing(), path.open("rb") as file:
                    file.seek(offset)
                    found += file.read(length - len(found))
            offset = max(0, offset - size)
        return found

    def chunks(self) -> Iterator[bytes]:
        for offset in range(0, self.size, CHUNK_BYTES):
            yield self.read(offset, CHUNK_BYTES)

    def publish(self, file: StoredFile, /) -> None:
        with disk_errors(), self._turn():  # before the copy, or each of several would make one
            if self.judged.exists():
                raise AlreadyExists(f"There is, or was, a file with the id {file.id} already.")
            writer = self.storage.open_writer()
            try:
                for chunk in self.chunks():
                    writer.write(chunk)
                self.storage.release(file.id)
                writer.commit(file)
                self.judged.touch()
            finally:
                writer.abort()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One at a time for each upload, of all servers on this folder, so that the second finds the whole file there.
        The system ends the turn of a process that is killed."""
        directory = self.judged.parent.with_name("incoming") / f"{self.judged.name}.complete"
        with _gone_if_missing():
            descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _name(number: int, etag: str) -> str:
    return f"{number}.{etag}"


def _parts(directory: Path) -> list[Part]:
    """The parts in a directory. Of two with one number, which two requests left at the same moment, the later one."""
    found = {}
    entries = []
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # another one has just taken its place
            entries.append((path, path.stat()))
    for path, stat in sorted(entries, key=lambda entry: entry[1].st_mtime_ns):
        if match := _PART.fullmatch(path.name):
            found[int(match[1])] = Part(number=int(match[1]), etag=match[2], size=stat.st_size)
    return [found[number] for number in sorted(found)]


def _write(path: Path, chunks: Iterable[bytes], *, most: int) -> tuple[str, int]:
    """:returns: the ETag, an MD5 as S3's is, and the size."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with path.open("xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise FileTooLarge(f"No more than {most:,} bytes may be sent here.", max_bytes=most)
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest(), size


def _write_declaration(directory: Path, declaration: Declaration) -> None:
    (directory / DECLARATION).write_text(json.dumps(asdict(declaration)), encoding="utf-8")


def _renamed(directory: Path, target: Path) -> bool:
    """Rename a directory that holds something, unless there is such a one already."""
    try:
        directory.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # POSIX, rename(): either
            raise
        return False
    return True


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

"""The only way into ``files/``: every byte passes inspection here before anyone can read it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from functools import partial

from . import problems
from .inspection import policy as inspection
from .inspection.policy import FileName, Policy
from .problems import AlreadyExists, DigestMismatch, Problem, StorageUnavailable
from .storage import Storage, StoredFile, Writer, new_id
from .storage.direct import Incoming
from .storage.parallel import run_side_by_side

STORED_AT_ONCE = 4
"""Files of one request. The function may be killed between the first and the last, so they should lie close together;
more at once would wait for each other on a slow line, or for the third of a processor that Lambda gives 512 MB."""


class Intake:
    """Takes files in.

    :param storage: where they go.
    :param policy: what may come in.
    """

    def __init__(self, storage: Storage, *, policy: Policy) -> None:
        self.storage = storage
        self.policy = policy

    def begin(self) -> Batch:
        """Begin a batch: files that are stored together or not at all. Use it in a ``with`` statement."""
        return Batch(self.storage, self.policy)

    def accept(self, file_id: str, incoming: Incoming) -> StoredFile:
        """Check what was sent straight to the storage, and make it readable.

        :param file_id: the id that it came in under, which it keeps.
        :raises Problem: it is refused, or could not be stored.
        :raises Gone: it was removed meanwhile.
        """
        agreed = incoming.declaration
        name = inspection.inspect_name(agreed.original_name, file_types=self.policy.file_types)
        inspection.inspect_size(
            name, size=incoming.size, max_file_bytes=min(agreed.max_bytes, self.policy.max_file_bytes)
        )
        _inspect_content(name, size=incoming.size, policy=self.policy, read=incoming.read)
        if agreed.sha256 is not None:
            _verify(name, incoming, sha256=agreed.sha256)
        file = _stored_file(file_id, name, size=incoming.size, sha256=agreed.sha256)
        incoming.copy_to_files(file)
        return file


def _inspect_content(name: FileName, *, size: int, policy: Policy, read: Callable[[int, int], bytes]) -> None:
    """The check that every file passes, whichever way it came.

    :raises Problem: it is refused.
    """
    steps = inspection.inspect_content(
        name, size=size, max_image_pixels=policy.max_image_pixels, allow_empty=policy.allow_empty_files
    )
    inspection.run(steps, read)


def _stored_file(file_id: str, name: FileName, *, size: int, sha256: str | None) -> StoredFile:
    return StoredFile(
        id=file_id,
        name=name.safe,
        original_name=name.original,
        size=size,
        media_type=name.file_type.media_type,
        sha256=sha256,
    )


def _verify(name: FileName, incoming: Incoming, *, sha256: str) -> None:
    """Read the whole file, which nothing else here does."""
    found = hashlib.sha256()
    for chunk in incoming.chunks():
        found.update(chunk)
    if found.hexdigest() != sha256:
        raise DigestMismatch(
            f"'{name.original}' has another SHA-256 than was declared: it was damaged on the way. Send it again.",
            file_name=name.original,
        )


class Batch:
    """The files of one request. What has not been stored by :meth:`commit` is forgotten at the end of the ``with``."""

    def __init__(self, storage: Storage, policy: Policy) -> None:
        self._storage = storage
        self._policy = policy
        self._files: list[IncomingFile] = []

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_exception: object) -> None:
        for incoming in self._files:
            incoming.abort()

    def narrow(self, *, max_bytes: int | None, extensions: Collection[str] | None) -> None:
        """From here on take no more than that; ``None`` changes nothing.

        :param max_bytes: what one file may hold.
        :param extensions: what may be uploaded, as far as it may be anyway.
        """
        self._policy = self._policy.narrowed(max_bytes=max_bytes, extensions=extensions)

    def add(self, client_name: str) -> IncomingFile:
        """Begin a file. Refused or not, its bytes can be written to what this returns: a refusal is told by
        :meth:`commit`, so that the files after it can be looked at as well.

        :param client_name: what the client says it is called.
        """
        incoming = IncomingFile(client_name, self._storage, self._policy)
        self._files.append(incoming)
        return incoming

    @property
    def refusals(self) -> list[Problem]:
        """What was refused so far, in the order of the files."""
        return [incoming.refusal for incoming in self._files if incoming.refusal]

    def refusal(self) -> Problem:
        """Return the one problem that reports all :attr:`refusals`, of which there must be one."""
        return problems.one_of(self.refusals, files=len(self._files))

    def commit(self) -> list[StoredFile]:
        """Check what is left to check and store all files.

        :raises Problem: one was refused, or could not be stored; then none is.
        """
        for incoming in self._files:
            incoming.finish()
        if self.refusals:
            raise self.refusal()
        files = [incoming.stored_file() for incoming in self._files]
        ours: dict[str, StoredFile] = {}

        def store(incoming: IncomingFile, file: StoredFile) -> None:
            ours[file.id] = file  # before it is there: a time-out does not say whether it is
            try:
                incoming.commit(file)
            except AlreadyExists:
                del ours[file.id]  # what is there is somebody else's
                raise

        stores = [partial(store, incoming, file) for incoming, file in zip(self._files, files, strict=True)]
        try:
            run_side_by_side(stores, at_once=STORED_AT_ONCE)
        except BaseException:
            self._storage.delete_best_effort(list(ours.values()))
            raise
        return files


class IncomingFile:
    """A file as it comes in: counted, hashed and written to the storage, where nobody can read it yet."""

    refusal: Problem | None = None

    def __init__(self, client_name: str, storage: Storage, policy: Policy) -> None:
        self._policy = policy
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._writer: Writer | None = None
        try:
            self._name = inspection.inspect_name(client_name, file_types=policy.file_types)
        except Problem as refusal:
            self._refuse(refusal)
        else:
            self._writer = storage.open_writer()

    def write(self, data: bytes) -> None:
        """Take the next bytes; those of a refused file are dropped."""
        if self._writer is None:
            return
        self._size += len(data)
        try:
            inspection.inspect_size(self._name, size=self._size, max_file_bytes=self._policy.max_file_bytes)
        except Problem as refusal:
            self._refuse(refusal)
            return
        self._sha256.update(data)
        self._writer.write(data)

    def finish(self) -> None:
        """All bytes are here: decide by the content."""
        if self._writer is None:
            return
        try:
            _inspect_content(self._name, size=self._size, policy=self._policy, read=self._writer.read)
        except StorageUnavailable:
            raise  # that is no word on the file
        except Problem as refusal:
            self._refuse(refusal)

    def stored_file(self) -> StoredFile:
        """What it is going to be, under a fresh id."""
        return _stored_file(new_id(), self._name, size=self._size, sha256=self._sha256.hexdigest())

    def commit(self, file: StoredFile) -> None:
        if self._writer is None:
            raise RuntimeError("a refused file cannot be stored")
        self._writer.commit(file)

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()

    def _refuse(self, refusal: Problem) -> None:
        self.refusal = refusal
        self.abort()
        self._writer = None

"""The only way into ``files/``. Every file passes inspection here before anyone can read it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import partial

from . import problems
from .inspection.policy import FileName, Policy
from .problems import AlreadyExists, Problem, StorageUnavailable
from .storage import NO_DETAILS, Details, Storage, StoredFile, Writer, new_id, now, split_path
from .storage.direct import Incoming
from .storage.parallel import run_side_by_side

STORED_AT_ONCE = 4
"""How many files of one request are stored at once. Lambda may stop the function between the first and the last file,
so the time between them should be short. More files would wait for each other on a slow line, or for the processor:
Lambda gives a third of one to 512 MB."""


class Intake:
    """Checks files and writes them to the storage.

    :param storage: receives the files that pass.
    :param policy: decides which files pass.
    :param on_stored: is called with each file, once it can be read. It never raises.
    """

    def __init__(
        self, storage: Storage, *, policy: Policy, on_stored: Callable[[StoredFile], None] = lambda _file: None
    ) -> None:
        self.storage = storage
        self.policy = policy
        self._on_stored = on_stored

    def begin(self) -> Batch:
        """Begin a batch: files that are stored together or not at all. Use the batch in a ``with`` statement."""
        return Batch(self.storage, self.policy, self._report)

    def accept(self, path: str, incoming: Incoming) -> StoredFile:
        """Check a file that was sent straight to the storage, and make it readable.

        :param path: the path that the upload began with, which is the id of the file, after its folder if it has one.
            The file keeps both.
        :raises Problem: the file is refused, or could not be stored.
        :raises Gone: the file was removed meanwhile.
        """
        declaration = incoming.declaration
        policy = self.policy.narrowed(max_bytes=declaration.max_bytes)
        name = policy.inspect_name(declaration.original_name)
        policy.inspect_content(name, size=incoming.size, read=incoming.read)
        file_id, folder = split_path(path)
        details = Details(
            subject=declaration.subject,
            folder=folder,
            meta=declaration.meta,
            fields=declaration.fields,
            keep_days=declaration.keep_days,
        )
        file = _stored_file(file_id, name, size=incoming.size, sha256=declaration.sha256, details=details)
        stored = incoming.copy_to_files(file)  # raises AlreadyExists in all promotions of this file except one
        self._report([stored], [stored])
        return stored

    def _report(self, files: Sequence[StoredFile], new: Sequence[StoredFile]) -> None:
        """Report the files of a request, once all of them are stored.

        :param new: the files that this request stored. An earlier request may have stored the others.
        """
        self.storage.confirm(files)
        for file in new:
            self._on_stored(file)


def _stored_file(file_id: str, name: FileName, *, size: int, sha256: str | None, details: Details) -> StoredFile:
    return StoredFile(
        id=file_id,
        name=name.safe,
        original_name=name.original,
        size=size,
        media_type=name.file_type.media_type,
        sha256=sha256,
        stored=now(),
        subject=details.subject,
        folder=details.folder,
        meta=details.meta,
        fields=details.fields,
        keep_days=details.keep_days,
    )


class Batch:
    """The files of one request. The end of the ``with`` forgets every file that :meth:`commit` has not stored."""

    def __init__(
        self, storage: Storage, policy: Policy, report: Callable[[Sequence[StoredFile], Sequence[StoredFile]], None]
    ) -> None:
        self._storage = storage
        self._policy = policy
        self._report = report
        self._files: list[IncomingFile] = []

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_exception: object) -> None:
        for incoming in self._files:
            incoming.abort()

    def narrow(self, *, max_bytes: int | None, extensions: Collection[str] | None) -> None:
        """Add limits for the files that follow. ``None`` adds no limit.

        :param max_bytes: the largest file, in bytes.
        :param extensions: the extensions that stay allowed.
        """
        self._policy = self._policy.narrowed(max_bytes=max_bytes, extensions=extensions)

    def add(self, client_name: str) -> IncomingFile:
        """Begin a file. The bytes of a refused file can be written too, and are dropped. :meth:`commit` raises the
        refusal, after the files behind it were checked as well.

        :param client_name: the name as the client sent it.
        """
        incoming = IncomingFile(client_name, self._storage, self._policy)
        self._files.append(incoming)
        return incoming

    @property
    def refusals(self) -> list[Problem]:
        """The refusals so far, in the order of the files."""
        return [incoming.refusal for incoming in self._files if incoming.refusal]

    def refusal(self) -> Problem:
        """Return one problem that reports all :attr:`refusals`. There must be at least one."""
        return problems.one_of(self.refusals, files=len(self._files))

    def check(self, details: Details) -> list[tuple[IncomingFile, StoredFile]]:
        """Finish the checks, and return the files with the attributes that they will be stored with.

        :param details: every file of the batch gets them.
        :raises Problem: a file was refused.
        """
        for incoming in self._files:
            incoming.finish()
        if self.refusals:
            raise self.refusal()
        return [(incoming, incoming.stored_file(details)) for incoming in self._files]

    def report(self, files: Sequence[StoredFile], *, new: Sequence[StoredFile]) -> None:
        """Report the files of the request, once all of them are stored.

        :param new: the files that this request stored.
        """
        self._report(files, new)

    def commit(self, details: Details = NO_DETAILS) -> list[StoredFile]:
        """Finish the checks and store all files.

        :param details: every file of the batch gets them.
        :raises Problem: a file was refused or could not be stored. Then none of them is stored.
        """
        checked = self.check(details)
        ours: dict[str, StoredFile] = {}

        def store(incoming: IncomingFile, file: StoredFile) -> None:
            ours[file.id] = file  # noted before the write: after a time-out the file may be there or not
            try:
                incoming.commit(file)
            except AlreadyExists:
                del ours[file.id]  # another upload stored that file, so it must not be deleted here
                raise

        stores = [partial(store, incoming, file) for incoming, file in checked]
        try:
            run_side_by_side(stores, at_once=STORED_AT_ONCE)
        except BaseException:
            self._storage.delete_best_effort(list(ours.values()))
            raise
        files = [file for _, file in checked]
        self._report(files, files)
        return files


class IncomingFile:
    """A file while it arrives: counted, hashed and written to the storage, where nobody can read it yet."""

    refusal: Problem | None = None

    def __init__(self, client_name: str, storage: Storage, policy: Policy) -> None:
        self._policy = policy
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._writer: Writer | None = None
        try:
            self._name = policy.inspect_name(client_name)
        except Problem as refusal:
            self._refuse(refusal)
        else:
            self._writer = storage.open_writer()

    def write(self, data: bytes) -> None:
        """Write the next bytes. The bytes of a refused file are dropped."""
        if self._writer is None:
            return
        self._size += len(data)
        try:
            self._policy.inspect_growing_size(self._name, self._size)
        except Problem as refusal:
            self._refuse(refusal)
            return
        self._sha256.update(data)
        self._writer.write(data)

    def finish(self) -> None:
        """Check the content, after all bytes have arrived.

        :raises StorageUnavailable: the bytes could not be read back. The file is not refused for that.
        """
        if self._writer is None:
            return
        try:
            self._policy.inspect_content(self._name, size=self._size, read=self._writer.read)
        except StorageUnavailable:
            raise
        except Problem as refusal:
            self._refuse(refusal)

    def stored_file(self, details: Details) -> StoredFile:
        """Return the file that :meth:`commit` will store, under a new id."""
        sha256 = self._sha256.hexdigest()
        return _stored_file(new_id(), self._name, size=self._size, sha256=sha256, details=details)

    def commit(self, file: StoredFile) -> None:
        """Store the file.

        :raises AlreadyExists: another file has this id.
        """
        if self._writer is None:
            raise RuntimeError("a refused file cannot be stored")
        self._writer.commit(file)

    def abort(self) -> None:
        """Forget the bytes. Does nothing after :meth:`commit`."""
        if self._writer is not None:
            self._writer.abort()

    def _refuse(self, refusal: Problem) -> None:
        self.refusal = refusal
        self.abort()
        self._writer = None

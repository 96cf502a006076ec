"""Idempotency keys: a client that repeats a request under the same key stores its files once. No Flask.

The ids of the files follow from the key, so nothing has to be kept: the write of a file with ``If-None-Match: *``
succeeds once for each id. Source: draft-ietf-httpapi-idempotency-key-header.

A key means something only together with the ``sub`` and the folder of the client's token. With a key no file is deleted
after a failure: an earlier try, or a concurrent one, may have reported the file to the client. The next try stores the
rest.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from .intake import STORED_AT_ONCE
from .problems import (
    AlreadyExists,
    FileExpired,
    IdempotencyKeyReused,
    MalformedRequest,
    Problem,
    StorageUnavailable,
)
from .storage.direct import Deleted
from .storage.parallel import run_side_by_side

if TYPE_CHECKING:
    from .intake import Batch, IncomingFile
    from .storage import Details, StoredFile
    from .storage.direct import DirectUploads

MAX_KEY_CHARS = 255
MAX_FIELD_CHARS = 2 * MAX_KEY_CHARS + 2
"""The longest value of the header field: two quotes, and a backslash before each character."""

_QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\["\\])+"')  # a string of RFC 9651, section 3.3.3
_BARE = re.compile(r"[!#-+.-:<-\[\]-~-]+")  # visible ASCII, without the characters that separate values: " , ; \
_PURPOSE = "idempotency key"


def parse_key(value: str) -> str:
    """Return the key in an ``Idempotency-Key``: a string in quotes, or without quotes as most clients send it.

    :raises MalformedRequest: the key is empty, too long, or has other characters.
    """
    if len(value) <= MAX_FIELD_CHARS:
        if _QUOTED.fullmatch(value):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elif not _BARE.fullmatch(value):
            value = ""
        if 0 < len(value) <= MAX_KEY_CHARS:
            return value
    raise MalformedRequest(
        f"The Idempotency-Key must have 1 to {MAX_KEY_CHARS} characters of ASCII, as in "
        'Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324". Send one key, such as a new UUID for each upload.'
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class IdempotencyKey:
    """A key of a client.

    :param key: from :func:`parse_key`.
    :param subject: the ``sub`` of the client's token. Another client's key is another key.
    :param folder: the folder of the client's token.
    """

    key: str
    subject: str | None
    folder: str | None

    def file_id(self, index: int, *, secret: bytes) -> str:
        """Return the id of a file. Nobody without the secret can guess the id.

        :param index: the place of the file among the files of the request, from 0 on.
        """
        message = json.dumps([_PURPOSE, self.subject, self.folder, self.key, index])
        return hmac.digest(secret, message.encode("ascii"), hashlib.sha256).hex()[:32]


class StoreOnce:
    """Stores the files of a request, unless an earlier try has stored them.

    :param uploads: knows the secret, and the files that were deleted.
    """

    def __init__(self, uploads: DirectUploads, key: IdempotencyKey) -> None:
        self._uploads = uploads
        self._key = key

    def commit(self, batch: Batch, details: Details) -> tuple[list[StoredFile], bool]:
        """Finish the checks, and store all files that are not stored yet.

        :param details: every new file gets them.
        :returns: the files, and whether all of them were stored before.
        :raises IdempotencyKeyReused: an earlier request with this key had other files. Nothing was stored.
        :raises FileExpired: a file was stored with this key, and has expired or was deleted. Nothing was stored.
        :raises Problem: a file was refused, so nothing was stored, or the storage failed. Then the next try goes on.
        """
        checked = batch.check(details)
        secret = self._uploads.secret()
        files = [replace(file, id=self._key.file_id(index, secret=secret)) for index, (_, file) in enumerate(checked)]
        earlier = run_side_by_side([partial(self._find, file) for file in files], at_once=STORED_AT_ONCE)
        new: list[StoredFile] = []
        stores = [
            partial(self._store, incoming, file, new)
            for (incoming, _), file, found in zip(checked, files, earlier, strict=True)
            if found is None
        ]
        try:
            written = iter(run_side_by_side(stores, at_once=STORED_AT_ONCE) if stores else [])
        except Problem:
            batch.report(new, new=new)  # they stay, and the next try cannot know whether they were reported
            raise
        stored = [next(written) if found is None else found for found in earlier]
        batch.report(stored, new=new)
        return stored, not new

    def _find(self, file: StoredFile) -> StoredFile | None:
        """Return the file that an earlier try stored; ``None`` if there is no such file.

        :raises IdempotencyKeyReused: the stored file is another file.
        :raises FileExpired: the stored file has expired, or was deleted.
        """
        found = self._uploads.find_file(file.path)
        if found is None:
            return None
        if isinstance(found, Deleted) or found.file.is_expired:
            raise FileExpired(
                f"'{file.original_name}' was stored with this Idempotency-Key, and was deleted or has expired since. "
                "To store the file again, send a new key."
            )
        if _content(found.file) != _content(file):
            raise IdempotencyKeyReused(
                f"This Idempotency-Key was used for another file than '{file.original_name}'. A repeated request must "
                "have the same files, names and fields. For a new upload, send a new key."
            )
        return found.file

    def _store(self, incoming: IncomingFile, file: StoredFile, new: list[StoredFile]) -> StoredFile:
        """Store a file, except if a concurrent try is faster. Return the stored file.

        :param new: gets the file if this try stored it.
        """
        try:
            with self._uploads.claimed(file.path):
                incoming.commit(file)
        except AlreadyExists:
            found = self._find(file)
            if found is None:
                raise StorageUnavailable(f"another request is storing {file.key} under the same key") from None
            return found
        new.append(file)
        return file


def _content(file: StoredFile) -> tuple[object, ...]:
    """Return the attributes that a repeated request must repeat. The rest comes from the token, which may be new."""
    return file.original_name, file.name, file.sha256, file.fields and dict(file.fields)

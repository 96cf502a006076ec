"""Promotion: the step from ``incoming/`` to ``files/`` or ``refused/``.

A promotion may run at any time, and several may run at once. A request that completes an upload runs one, and so does a
request for the status of an upload, and so does the event that S3 sends. All of them see the same bytes, the first that
arrived, and all of them report the first verdict.
"""

from __future__ import annotations

from ..intake import Intake
from ..problems import AlreadyExists, Problem, StorageUnavailable
from ..storage import deadline
from ..storage.direct import DirectUploads, Gone, Incoming, Refused, SentAgain, Stored, Verdict
from ..units import GIB, MIB

COPIED_IN_TIME_BYTES = 2 * GIB
"""The largest file that is copied within API Gateway's 29 s. S3 copies parts side by side, at about 100 MB/s each."""
READ_IN_TIME_BYTES = 256 * MIB
"""The largest file that is read for its digest in that time, at the speed of a function of 512 MB."""
READ_FOR_STATUS_BYTES = 8 * MIB
"""The largest file that a request for the status reads for its digest. Larger files wait for their event."""


class TooLargeForRequest(Exception):
    """The file is too large for a promotion within a request. Its event promotes the file."""


class Promotion:
    """Checks the bytes that arrived, and stores or refuses the file.

    :param uploads: the storage in which the bytes arrived.
    :param intake: the only way into ``files/``.
    """

    def __init__(self, uploads: DirectUploads, *, intake: Intake) -> None:
        self._uploads = uploads
        self._intake = intake

    def promote(
        self,
        path: str,
        *,
        version: str | None = None,
        undecided: bool = False,
        max_read_bytes: int | None = None,
    ) -> Verdict | None:
        """Return the verdict on the bytes that arrived under a path, and discard the bytes.

        If there is no verdict yet, make one. The search for a verdict comes first, so a form that is sent again costs
        little.

        :param path: the id of the file, after its folder if it has one.
        :param version: the version that the storage's event names, if the event names a version.
        :param undecided: there was no verdict a moment ago, so the search for a verdict is skipped.
        :param max_read_bytes: the largest file that may be read for its digest while a gateway waits; by default
            :data:`READ_IN_TIME_BYTES`.
        :returns: ``None`` if nothing has arrived, or not all of it, or if the version is not the first that arrived.
        :raises TooLargeForRequest: a gateway waits, and the promotion would take too long.
        :raises StorageUnavailable: there is no verdict yet. Try again.
        """
        if not undecided and (verdict := self._uploads.find_verdict(path)) is not None:
            self._uploads.discard(path, version)
            return verdict
        try:
            incoming = self._uploads.open_incoming(path, version)
        except SentAgain:
            self._uploads.discard(path, version)  # the event of the first version is on its way, or being handled
            return None
        if incoming is None:
            return self._uploads.find_verdict(path)  # a concurrent promotion may have discarded the bytes
        _check_time(incoming, max_read_bytes=READ_IN_TIME_BYTES if max_read_bytes is None else max_read_bytes)
        verdict = self._check_and_copy(path, incoming)
        self._uploads.discard(path, incoming.version)
        if not isinstance(verdict, Refused):
            self._uploads.end_copies(path)
        return verdict

    def _check_and_copy(self, path: str, incoming: Incoming) -> Verdict:
        try:
            return Stored(self._intake.accept(path, incoming))
        except StorageUnavailable:
            raise  # the file may be good
        except (AlreadyExists, Gone):
            pass  # a concurrent promotion finished first
        except Problem as refusal:
            self._uploads.refuse(path, refusal.as_dict())
        verdict = self._uploads.find_verdict(path)  # the first verdict is final, and may differ from this one
        if verdict is None:
            raise StorageUnavailable(f"incoming/{path} vanished before there was a verdict")
        return verdict


def _check_time(incoming: Incoming, *, max_read_bytes: int) -> None:
    """Check that a file can be promoted in time, if a gateway waits.

    :raises TooLargeForRequest: the file is too large to be copied, or read for its digest, within the request.
    """
    maximum = max_read_bytes if incoming.declaration.sha256 else COPIED_IN_TIME_BYTES
    if deadline.is_set() and incoming.size > maximum:
        raise TooLargeForRequest

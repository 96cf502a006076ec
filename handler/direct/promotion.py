"""Promotion: the step from ``incoming/`` to ``files/`` or ``refused/``.

A promotion may run at any time, and several may run at once. A request that completes an upload runs one, and so does a
request for the status of an upload, and so does the event that S3 sends. All of them see the same bytes, the first that
arrived, and all of them report the first verdict.

Every object that arrives causes an event. So where a gateway waits for a request, the request makes the verdict and
leaves the clean-up to the event: to discard the bytes, and to end slower copies.
"""

from __future__ import annotations

from ..intake import Intake
from ..problems import AlreadyExists, Problem, StorageUnavailable
from ..storage import deadline
from ..storage.direct import WHOLE_BYTES, Arrivals, Gone, Incoming, Refused, SentAgain, Stored, Verdict
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

    :param arrivals: the storage in which the bytes arrived.
    :param intake: the only way into ``files/``.
    """

    def __init__(self, arrivals: Arrivals, *, intake: Intake) -> None:
        self._arrivals = arrivals
        self._intake = intake

    def promote(
        self,
        path: str,
        *,
        version: str | None = None,
        undecided: bool = False,
        max_read_bytes: int | None = None,
    ) -> Verdict | None:
        """Return the verdict on the bytes that arrived under a path. Discard the bytes, except if a gateway waits.

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
        if not undecided and (verdict := self._arrivals.find_verdict(path)) is not None:
            self._clean_up(path, version, verdict)
            return verdict
        try:
            incoming = self._arrivals.open_incoming(path, version)
        except SentAgain:
            self._arrivals.discard(path, version)  # the event of the first version is on its way, or being handled
            return None
        return self.promote_incoming(path, incoming, max_read_bytes=max_read_bytes)

    def promote_incoming(
        self, path: str, incoming: Incoming | None, *, max_read_bytes: int | None = None
    ) -> Verdict | None:
        """Return the verdict on bytes that are pinned, as :meth:`promote` does.

        :param incoming: the bytes, or ``None`` if there are none: a concurrent promotion may have discarded them.
        """
        if incoming is None:
            return self._arrivals.find_verdict(path)
        _check_time(incoming, max_read_bytes=READ_IN_TIME_BYTES if max_read_bytes is None else max_read_bytes)
        verdict = self._check_and_copy(path, incoming)
        self._clean_up(path, incoming.version, verdict)
        return verdict

    def _clean_up(self, path: str, version: str | None, verdict: Verdict) -> None:
        """Discard the bytes, and end slower copies, except if a gateway waits. Then the event does so."""
        if deadline.is_set():
            return
        self._arrivals.discard(path, version)
        match verdict:
            case Refused():
                pass
            case Stored(file) if file.size <= WHOLE_BYTES:
                pass  # files of this size are not copied
            case _:
                self._arrivals.end_copies(path)

    def _check_and_copy(self, path: str, incoming: Incoming) -> Verdict:
        try:
            return Stored(self._intake.accept(path, incoming))
        except StorageUnavailable:
            raise  # the file may be good
        except (AlreadyExists, Gone):
            pass  # a concurrent promotion finished first
        except Problem as refusal:
            self._arrivals.refuse(path, refusal.as_dict())
        verdict = self._arrivals.find_verdict(path)  # the first verdict is final, and may differ from this one
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

"""From ``incoming/`` to ``files/`` or ``refused/``: the verdict on what was sent straight to the storage.

It may be run again at any time, and several times at once: by the request that completes an upload, by one that asks
what became of it, and by the event that S3 sends. All of them look at the same bytes, those that came in first, and
what one has decided the others only repeat.
"""

from __future__ import annotations

from ..intake import Intake
from ..problems import AlreadyExists, Problem, StorageUnavailable
from ..storage.direct import MIB, DirectUploads, Gone, Incoming, SentAgain, Verdict

COPIED_IN_TIME_BYTES = 2048 * MIB
"""What is surely copied within the 29 s of API Gateway: S3 copies parts side by side, some 100 MB/s each."""
READ_IN_TIME_BYTES = 256 * MIB
"""What is surely read in that time, at the speed that a function of 512 MB has."""
READ_FOR_STATUS_BYTES = 8 * MIB
"""The largest file that a request for its status reads for its digest. Larger ones wait for their event."""


class NotInTime(Exception):
    """The file is too large to be judged within a request: the event will do it."""


class Promotion:
    """Judges what came in.

    :param uploads: where it came in.
    :param intake: the only way into ``files/``.
    """

    def __init__(self, uploads: DirectUploads, *, intake: Intake) -> None:
        self._uploads = uploads
        self._intake = intake

    def promote(
        self,
        file_id: str,
        *,
        version: str | None = None,
        undecided: bool = False,
        max_copy_bytes: int | None = None,
        max_read_bytes: int | None = None,
    ) -> Verdict | None:
        """Come to a verdict on what was sent under this id, unless there is one, and remove what was sent.

        The verdict is asked for first, so that a form which is sent again costs next to nothing.

        :param version: the version that the storage's event names, if it names one.
        :param undecided: whether there was no verdict a moment ago, so that it need not be asked for first.
        :param max_copy_bytes: the largest file that there is time to copy; ``None`` for any.
        :param max_read_bytes: the same for a file that is read for its digest.
        :returns: ``None`` if nothing has been sent, or not all of it, or the version is not the first that was.
        :raises NotInTime: that would take too long.
        :raises StorageUnavailable: there is no verdict yet; try again.
        """
        if not undecided and (verdict := self._uploads.find_verdict(file_id)) is not None:
            self._uploads.discard(file_id, version)
            return verdict
        try:
            incoming = self._uploads.open_incoming(file_id, version)
        except SentAgain:
            self._uploads.discard(file_id, version)  # the event of the first is on its way, or at work
            return None
        if incoming is None:
            return self._uploads.find_verdict(file_id)  # somebody else may have decided, and discarded it, in between
        limit = max_read_bytes if incoming.declaration.sha256 else max_copy_bytes
        if limit is not None and incoming.size > limit:
            raise NotInTime
        verdict = self._check_and_copy(file_id, incoming)
        self._uploads.discard(file_id, incoming.version)
        if verdict.refusal is None:
            self._uploads.end_copies(file_id)
        return verdict

    def _check_and_copy(self, file_id: str, incoming: Incoming) -> Verdict:
        try:
            return Verdict(file=self._intake.accept(file_id, incoming))
        except StorageUnavailable:
            raise  # that is no word on the file
        except (AlreadyExists, Gone):
            pass  # somebody else was faster
        except Problem as refusal:
            self._uploads.refuse(file_id, refusal.as_dict())
        verdict = self._uploads.find_verdict(file_id)  # not what this one would say: the first is final
        if verdict is None:
            raise StorageUnavailable(f"incoming/{file_id} vanished before there was a verdict")
        return verdict

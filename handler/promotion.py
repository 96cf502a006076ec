"""From ``incoming/`` to ``files/`` or ``refused/``: the verdict on what was sent straight to the storage.

It may be run again at any time, and several times at once: by the request that completes an upload, by one that asks
what became of it, and by the event that S3 sends. All of them look at the same bytes, those that came in first, and
what one has decided the others only repeat.
"""

from __future__ import annotations

from .intake import Intake
from .problems import AlreadyExists, Problem, StorageUnavailable
from .storage.direct import MIB, DirectUploads, Gone, Incoming, Verdict

COPIED_IN_TIME_BYTES = 2048 * MIB
"""What is surely copied within the 29 s of API Gateway: S3 copies parts side by side, some 100 MB/s each."""
READ_IN_TIME_BYTES = 256 * MIB
"""What is surely read in that time, at the speed that a function of 512 MB has."""


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

    def judge(self, id: str, *, hurry: bool = False) -> Verdict | None:  # noqa: A002
        """Come to a verdict on what was sent under this id, unless there is one, and remove what was sent.

        :param hurry: whether somebody is waiting at API Gateway.
        :returns: ``None`` if nothing has been sent, or not all of it.
        :raises NotInTime: that would take too long.
        :raises StorageUnavailable: there is no verdict yet; try again.
        """
        incoming = self._uploads.incoming(id)
        verdict = self._uploads.verdict(id)
        if incoming is None:
            return verdict
        if verdict is None:
            if hurry and not _in_time(incoming):
                raise NotInTime
            verdict = self._decide(id, incoming)
        self._uploads.discard(id)
        return verdict

    def _decide(self, id: str, incoming: Incoming) -> Verdict:  # noqa: A002
        try:
            return Verdict(file=self._intake.admit(id, incoming))
        except StorageUnavailable:
            raise  # that is no word on the file
        except (AlreadyExists, Gone):
            pass  # somebody else was faster
        except Problem as refusal:
            self._uploads.refuse(id, refusal.as_dict())
        verdict = self._uploads.verdict(id)  # not what this one would say: the first is final
        if verdict is None:
            raise StorageUnavailable(f"incoming/{id} vanished before there was a verdict")
        return verdict


def _in_time(incoming: Incoming) -> bool:
    most = READ_IN_TIME_BYTES if incoming.declaration.sha256 else COPIED_IN_TIME_BYTES
    return incoming.size <= most

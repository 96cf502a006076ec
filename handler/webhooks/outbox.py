"""The outbox: the events that the local server still has to deliver. They lie in the upload folder.

::

    outbox/<id>.new       the event of a file that is being stored
    outbox/<id>.json      the event of a stored file
    outbox/<id>.failed    an event that was not delivered in three days

The event is durable *before* its file appears under ``files/``. So no stored file lacks its event, whenever the process
is killed. An event without its file is never sent: the file was not stored, or it was deleted.

The files of one form are stored together or not at all. So an event is only sent after the request has confirmed it, by
renaming it to ``.json``. If the process was killed before that, the sender confirms the event of a stored file later.

One thread sends, in one of the processes that share the folder: the one that holds the lock of ``outbox/``. The system
releases the lock when that process ends, and the next process goes on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..logs import logger
from ..storage.folder.durable import log_damaged, make_directory, sync_directory, write_new
from ..storage.folder.locks import locked
from .delivery import NotDelivered, Receiver
from .events import event_id, file_stored

if TYPE_CHECKING:
    from ..storage import StoredFile

UNCONFIRMED_SECONDS = 60
"""The age at which an event that no request has confirmed belongs to a killed process."""
STALE_SECONDS = 24 * 60 * 60
"""The age at which an event that was not confirmed, and has no file, is deleted."""
GIVE_UP_SECONDS = 3 * 24 * 60 * 60
"""The age at which an event is not tried again. It is kept as ``<id>.failed``."""
MAX_PAUSE_SECONDS = 60 * 60
"""The longest time between two tries. The first pause is one second, and each further one is twice as long."""
POLL_SECONDS = 1
"""The time between two looks at the folder. Another process may have written an event."""
NEW, CONFIRMED, FAILED = ".new", ".json", ".failed"


class Outbox:
    """The events in the folder ``outbox/``.

    :param folder: the upload folder.
    :param describe: returns the description of a file that the event holds; see :func:`~.events.file_stored`.
    :raises OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, *, describe: Callable[[StoredFile], Mapping[str, Any]]) -> None:
        self.folder = folder.absolute()
        self._describe = describe
        self.added = threading.Event()
        self.directory = self.folder / "outbox"
        make_directory(self.directory)

    @contextmanager
    def announce(self, file: StoredFile) -> Iterator[None]:
        """Write the event of a file, durably, before the body of the ``with`` statement stores the file.

        :raises OSError: the event cannot be written. Then the file must not be stored.
        """
        path = self._path(file.id, NEW)
        path.unlink(missing_ok=True)  # a killed process left it, and has not stored the file
        try:
            write_new(path, file_stored(self._describe(file)))
            sync_directory(self.directory)
            yield
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def confirm(self, files: Sequence[StoredFile]) -> None:
        """Let the events of stored files be sent."""
        for file in files:
            self._confirm(file.id)
        self.added.set()

    def _confirm(self, file_id: str) -> None:
        with suppress(OSError):  # the event has been sent already, or the sender confirms it later
            self._path(file_id, NEW).replace(self._path(file_id, CONFIRMED))

    def confirm_abandoned(self) -> None:
        """Confirm the events of killed processes whose files are stored, and delete the others after a day."""
        for path in self._paths(NEW):
            with suppress(OSError):  # removed meanwhile, or not readable: the other events must not wait for this one
                self._confirm_abandoned(path)

    def _confirm_abandoned(self, path: Path) -> None:
        age = time.time() - path.stat().st_mtime
        if age <= UNCONFIRMED_SECONDS:
            return
        try:
            is_stored = self.has_file(path)
        except ValueError:  # the process was killed while it wrote the event, so it stored no file
            is_stored = False
        if is_stored:
            self._confirm(path.stem)
        elif age > STALE_SECONDS:
            path.unlink()

    def waiting(self) -> list[Path]:
        """Return the paths of the events to send."""
        return self._paths(CONFIRMED)

    def has_file(self, event: Path) -> bool:
        """Return whether the file of an event is stored.

        :param event: the path of the event.
        :raises FileNotFoundError: the event was removed.
        :raises ValueError: the event is damaged.
        :raises OSError: the event cannot be read.
        """
        try:
            data = json.loads(event.read_bytes())["data"]
            file: Path = self.folder / "files" / data.get("folder", "") / data["id"] / data["name"]
            return file.is_file()
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(repr(error)) from None

    def give_up(self, event: Path) -> None:
        """Keep an event, but do not try it again."""
        event.replace(event.with_suffix(FAILED))

    def _paths(self, suffix: str) -> list[Path]:
        # The sender looks once a second. Path.glob takes several times as long.
        return [path for path in self.directory.iterdir() if path.suffix == suffix]

    def _path(self, file_id: str, suffix: str) -> Path:
        return self.directory / f"{file_id}{suffix}"


@dataclass(frozen=True, slots=True)
class _Retry:
    """The next try of an event.

    :param tries: the number of tries that failed.
    :param due: the time of the next try, on the monotonic clock.
    """

    tries: int
    due: float


_AT_ONCE = _Retry(0, 0)


class Sender:
    """Sends the events of an outbox, from a thread of its own.

    :param receiver: receives the events.
    """

    def __init__(self, outbox: Outbox, receiver: Receiver) -> None:
        self._outbox = outbox
        self._receiver = receiver
        self._retries: dict[str, _Retry] = {}

    def start(self) -> None:
        """Begin to send, as soon as no other process on this folder sends. The thread ends with the process.

        The state of the retries is not kept: after a restart, every waiting event is tried at once.
        """
        threading.Thread(target=self._run, name="webhook", daemon=True).start()

    def _run(self) -> None:
        with locked(self._outbox.directory):
            while True:
                self._outbox.added.clear()
                try:
                    self.send_due()
                except OSError as error:  # a full or failing disk
                    logger.error("webhook failed", extra={"reason": repr(error)})
                self._outbox.added.wait(POLL_SECONDS)

    def send_due(self) -> None:
        """Send every event that is due, new events first."""
        self._outbox.confirm_abandoned()
        now = time.monotonic()
        waiting = self._outbox.waiting()
        self._retries = {path.stem: self._retry(path) for path in waiting if path.stem in self._retries}
        for path in sorted(waiting, key=lambda path: self._retry(path).due):
            if self._retry(path).due > now:
                return
            self._try(path)

    def _retry(self, event: Path) -> _Retry:
        return self._retries.get(event.stem, _AT_ONCE)

    def _try(self, event: Path) -> None:
        """Try an event once. The other events do not wait for an event that cannot be delivered, read or removed."""
        try:
            self._send(event)
        except FileNotFoundError:  # removed by hand
            return
        except OSError as error:
            self._put_off(event, reason=repr(error))
        except NotDelivered as failure:
            self._put_off(event, reason=failure.reason)

    def _send(self, event: Path) -> None:
        """Send an event, and remove it if it was delivered or if its file is not there.

        :raises NotDelivered: the receiver did not confirm the event.
        :raises OSError: the event cannot be read or removed.
        """
        try:
            is_stored = self._outbox.has_file(event)
        except ValueError:
            log_damaged(event)
            self._outbox.give_up(event)
            return
        if not is_stored:  # it was deleted
            event.unlink()
            return
        began = time.monotonic()
        status = self._receiver.deliver(event_id(event.stem), event.read_bytes())
        event.unlink()
        milliseconds = round((time.monotonic() - began) * 1000, 1)
        logger.info("webhook", extra={"id": event.stem, "status": status, "milliseconds": milliseconds})

    def _put_off(self, event: Path, *, reason: str) -> None:
        """Log a failed try, and choose the time of the next one."""
        tries = self._retry(event).tries + 1
        pause = min(2 ** min(tries - 1, 20), MAX_PAUSE_SECONDS)
        members = {"id": event.stem, "reason": reason, "tries": tries}
        if time.time() - event.stat().st_mtime > GIVE_UP_SECONDS:
            self._outbox.give_up(event)
            logger.error("webhook given up", extra=members)
            return
        self._retries[event.stem] = _Retry(tries, time.monotonic() + pause)
        logger.warning("webhook failed", extra={**members, "next_seconds": pause})

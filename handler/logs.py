"""The log: one JSON line for each request, and one for each fault."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import select
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

MAX_WAITING_LINES = 10_000
"""How many lines :class:`BackgroundHandler` keeps for a reader that is slower than the server; about 5 MB."""
GATHER_SECONDS = 0.01
"""How long :class:`BackgroundHandler` lets lines gather after the last waiting one. Each line would otherwise wake its
thread, which then takes Python's lock from the request that wrote the line."""
FLUSH_SECONDS = 2
"""How long the end of the process waits for the reader of the log."""

logger = logging.getLogger("handler")

_ENCODER = json.JSONEncoder(default=str)

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_FILE_KEY = re.compile(r"\b(files/(?:[\w-]{1,64}+/)?[0-9a-f]{32}/)[\w.-]+", re.ASCII)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: its message as ``event``, and the members of ``extra`` next to it.

    JSON escapes every control character, so no text from a client can begin a new line. Error texts of S3 and the
    system may hold the key of a file. Its id stays in the log, but its name is the client's and is removed.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
            **extra_members(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _FILE_KEY.sub(r"\1", _ENCODER.encode(entry))


def extra_members(record: logging.LogRecord) -> dict[str, Any]:
    """Return the members that the caller gave as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES}


class _StdoutHandler(logging.Handler):
    """Writes to the standard output of the moment. Lambda's runtime and pytest replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), flush=True)
        except Exception:  # a log that cannot be written must not fail the request
            self.handleError(record)


class BackgroundHandler(logging.Handler):
    """Writes lines from a thread of its own, so that no request waits for the reader of the log.

    A reader that stops, such as a paused terminal or a pipe that nobody reads, would otherwise stop every request.
    Lines are dropped only when :data:`MAX_WAITING_LINES` wait already, or when they cannot be written. Another line
    then says how many.

    :param descriptor: the open file to write to. The thread uses no lock of Python's, which could keep the process from
        ending.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING_LINES)
        self._is_closed = False
        self._dropped = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._write_lines, daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self._line(record))
        except queue.Full:
            self._count_dropped(1)
        except Exception:  # a log that cannot be written must not fail the request
            self.handleError(record)

    def close(self) -> None:
        """Write the waiting lines, unless the reader needs longer than :data:`FLUSH_SECONDS`. Python calls this a
        second time at the end of the process."""
        if not self._is_closed:
            self._is_closed = True
            with suppress(queue.Full):
                self._lines.put(None, timeout=FLUSH_SECONDS)
                self._thread.join(FLUSH_SECONDS)
        super().close()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                _write(self._descriptor, line)
            except OSError:  # a full disk, a closed pipe
                self._count_dropped(1)
            else:
                self._report_dropped()
            if self._lines.empty():
                time.sleep(GATHER_SECONDS)

    def _report_dropped(self) -> None:
        """Write how many lines were dropped since the last report, if any."""
        dropped = self._dropped
        if not dropped:
            return
        attributes = {"levelname": "WARNING", "msg": "log lines dropped", "lines": dropped}
        with suppress(OSError):
            _write(self._descriptor, self._line(logging.makeLogRecord(attributes)))
            self._count_dropped(-dropped)

    def _count_dropped(self, number: int) -> None:
        with self._counting:
            self._dropped += number

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode()


def configure() -> None:
    """Send our log lines to standard output, once. On Lambda, CloudWatch reads them from there."""
    if not logger.handlers:
        handler = _StdoutHandler()
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # the root handler of Lambda's runtime would print each line again


def write_in_background(formatter: logging.Formatter | None = None) -> logging.Handler | None:
    """Let a :class:`BackgroundHandler` write the log lines, for a server of many threads.

    :param formatter: makes a line of a record, while the request lasts; :class:`JsonFormatter` by default.
    :returns: the handler, to be closed at the end; ``None`` if standard output has no descriptor.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # it is closed, or not a file
        return None
    handler = BackgroundHandler(descriptor)
    handler.setFormatter(formatter or JsonFormatter())
    logger.handlers[:] = [handler]
    return handler


def _write(descriptor: int, data: bytes) -> None:
    """Write all data, however long that takes.

    :raises OSError: the data cannot be written.
    """
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # another process that shares the pipe or the terminal made it non-blocking
            select.select([], [descriptor], [])

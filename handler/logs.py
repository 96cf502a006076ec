"""One JSON line for each request's outcome, and one for each fault."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

logger = logging.getLogger("handler")

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_FILE_KEY = re.compile(r"\b(files/[0-9a-f]{32}/)[\w.-]+", re.ASCII)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: its message as ``event``, and what was given as ``extra`` beside it.

    JSON escapes every control character, so nothing that a client sends can begin a line of its own. What S3 and the
    system say of an error may hold the key of a file: its id stays, its name, which is the client's, does not.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _FILE_KEY.sub(r"\1", json.dumps(entry, default=str))


class _StdoutHandler(logging.Handler):
    """To whatever standard output is at that moment: Lambda's runtime and pytest replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), flush=True)
        except Exception:  # a log that cannot be written must not fail the request
            self.handleError(record)


def configure() -> None:
    """Send our log lines to standard output, once. On Lambda that is where CloudWatch takes them from."""
    if not logger.handlers:
        handler = _StdoutHandler()
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # Lambda's runtime has a handler on the root, which would print each line again

"""Text for people: the banner of the local server, and its log on a terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from flask import g, has_request_context

from ..logs import extra_members
from ..problems import Problem
from ..routes.page import rounded_down
from ..settings import Settings
from ..storage import StoredFile
from ..web.hooks import origin_refusal

MAX_NAMES = 3
"""How many file names one line of the log shows."""
MAX_NAME_CHARS = 80
HIDDEN_ROUTES = ("/health", "/static/<version>/<name>")
"""Routes whose successes the terminal does not show: the page loads eight static files, and monitors ask for the health
every few seconds. The JSON log has them all."""


def banner(settings: Settings, url: str) -> list[str]:
    """Return the lines that the local server prints when it starts.

    :param url: the server's own address, without a slash at its end.
    """
    if settings.upload_bucket:
        destination = f"the bucket {settings.upload_bucket}"
    else:
        destination = str(settings.upload_folder.absolute()) if settings.upload_folder else ""
    limits = (
        f"{rounded_down(settings.max_file_bytes)} per file, {rounded_down(settings.max_content_length)} per request"
    )
    authorization = " -H 'Authorization: Bearer TOKEN'" if settings.access == "token" else ""
    return [
        f"Serving {url}, keeping files in {destination}. Stop with Ctrl-C.",
        f"Types:   {' '.join(settings.file_types)}",
        f"Limit:   {limits}",
        f"Access:  {_access(settings)}",
        *_webhook(settings),
        f"Page:    {url}/",
        f"Try:     curl{authorization} -F file=@photo.jpg {url}/upload",
    ]


def _webhook(settings: Settings) -> Iterator[str]:
    if not settings.webhook_url:
        return
    if settings.upload_bucket:
        yield "Webhook: not sent from here. The stack of the bucket sends it, see docs/webhooks.md"
    else:
        # The query may hold a secret.
        yield f"Webhook: {urlsplit(settings.webhook_url)._replace(query='').geturl()}"


def _access(settings: Settings) -> str:
    match settings.access:
        case "token":
            return "anyone with an upload token: python -m handler token --expires 1h"
        case "public" if settings.token_secrets:
            return "everyone may upload; deleting needs a token"
        case "public":
            return "everyone may upload"
        case _:
            return "programs and browsers on this machine, without a token"


class TerminalFormatter(logging.Formatter):
    """One line for each request: method, route, status, files, milliseconds, the sentence of a refusal, and the origin
    of a web site that must not read the response.

    The names of files and the sentence come from the request itself, since the record must not have them: the JSON log
    never shows a name. Every line is free of control characters, so no client can move the cursor or fake a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        if record.getMessage() == "request":
            return printable(" ".join(_request_words(record)))
        members = [f"{name}={value}" for name, value in extra_members(record).items()]
        line = printable(" ".join([record.levelname, record.getMessage(), *members]))
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line = "\n".join([line, *map(printable, trace)])
        return line


class HidesRoutine(logging.Filter):
    """Drops the lines of :data:`HIDDEN_ROUTES`, except those of errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        members = extra_members(record)
        return members.get("route") not in HIDDEN_ROUTES or members.get("status", 0) >= 400


def _request_words(record: logging.LogRecord) -> Iterator[str]:
    members = extra_members(record)
    yield f"{members['method'] or '-'} {members['route'] or '(no route)'} {members['status']}"
    stored, problem, refused_origin = _outcome()
    if stored:
        yield _names(stored)
        yield rounded_down(sum(file.size for file in stored))
    yield f"{members['milliseconds']:.0f} ms"
    if problem:
        yield f" {problem.detail} {problem.aside}".rstrip()
    if refused_origin:
        yield f" CORS: {refused_origin}."


def _outcome() -> tuple[Sequence[StoredFile], Problem | None, str | None]:
    """Return the files that this request stored, its problem, and the reason why a web site must not read the response.

    The log line is formatted while the request lasts.
    """
    return (g.get("stored", ()), g.get("problem"), origin_refusal()) if has_request_context() else ((), None, None)


def _names(files: Sequence[StoredFile]) -> str:
    names = ", ".join(_shortened(file.original_name) for file in files[:MAX_NAMES])
    return f"{names} and {len(files) - MAX_NAMES} more" if len(files) > MAX_NAMES else names


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARS else f"{name[: MAX_NAME_CHARS - 1]}…"


def printable(text: str) -> str:
    """Return the text with an escape in place of each character that a terminal would obey or hide: control characters,
    and those that turn the direction of writing (Unicode, category C)."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)

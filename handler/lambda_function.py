"""The Lambda entry points. The app and its S3 client are made once, when Lambda imports this module."""

# ruff: noqa: E402

from __future__ import annotations

import gc

gc.disable()  # imported objects stay: searches for garbage among them take a twelfth of a cold start

from .lazy_imports import lazy_imports

with lazy_imports():
    from .app import create_app

    _app = create_app()

import re
import time
from typing import Any

from .bucket_events import unwrap
from .gateway import make_handler
from .logs import logger
from .problems import StorageUnavailable
from .storage.direct import Deleted, InPieces, Refused, Stored, Verdict
from .web.services import services_of

gc.freeze()  # otherwise the first search looks at all of them, which takes a twentieth of a cold start
gc.enable()
_INCOMING_KEY = re.compile("incoming/((?:[A-Za-z0-9_-]{1,64}/)?([0-9a-f]{32}))")
"""A path, which may begin with a folder, and the id at its end."""
_WRONG_EVENT = "this function takes 'Object Created' events of EventBridge for incoming/ only, bare or from SQS"

lambda_handler = make_handler(_app)


def promote_handler(event: dict[str, Any], context: object) -> None:
    """Promote the files that have arrived, as S3's events report them.

    An error is for Lambda: the queue keeps the event, sends it again, and at last moves it to the dead-letter queue.

    :param event: messages of SQS (AWS: "Using Lambda with Amazon SQS"), whose bodies are ``Object Created`` events of
        EventBridge (AWS: "EventBridge event message structure"); or one such event itself.
    :raises ValueError: the event is something else.
    :raises StorageUnavailable: there is no verdict yet.
    """
    try:
        events = unwrap(event)
    except ValueError:
        raise ValueError(_WRONG_EVENT) from None
    for created in events:
        _promote(created, context)


def _promote(created: Any, context: object) -> None:
    try:
        object_created = created["detail"]["object"]
        key = _INCOMING_KEY.fullmatch(object_created["key"])
        version = object_created.get("version-id")  # missing if the bucket has no versioning
    except (KeyError, TypeError, AttributeError):
        key = version = None
    if key is None or not isinstance(version, str | None):
        raise ValueError(_WRONG_EVENT)
    began = time.monotonic()
    request_id = getattr(context, "aws_request_id", None)
    try:
        verdict = _verdict(key[1], version or None, is_empty=object_created.get("size") == 0)
    except Exception as error:
        reason = error.reason if isinstance(error, StorageUnavailable) else repr(error)
        logger.error("promotion failed", extra={"request_id": request_id, "id": key[2], "reason": reason})
        raise
    logger.info(
        "promotion",
        extra={
            "request_id": request_id,
            "id": key[2],
            "milliseconds": round((time.monotonic() - began) * 1000, 1),
            **_verdict_fields(verdict),
        },
    )


def _verdict(path: str, version: str | None, *, is_empty: bool) -> Verdict | None:
    """Promote a file that came straight to S3, or a resumable upload that was too large for its last request.

    :param is_empty: the object may stand for a resumable upload. If its last request has made the verdict after all,
        that request may have had no time to discard the pieces.
    """
    services = services_of(_app)
    try:
        verdict = services.promotion.promote(path, version=version)
    except InPieces:
        if services.resumable is None:
            raise
        return services.resumable().promote(path, version=version)
    if is_empty and services.resumable is not None:
        services.resumable().discard(path)
    return verdict


def _verdict_fields(verdict: Verdict | None) -> dict[str, Any]:
    """Return the fields of the log line that depend on the verdict."""
    files: list[dict[str, Any]] = []
    problem_type: str | None = None
    match verdict:
        case Stored(file):
            files = [{"id": file.id, "size": file.size, "type": file.media_type}]
        case Refused(problem):
            problem_type = problem["type"]
        case Deleted() | None:
            pass
    return {"files": files, "problem": problem_type}

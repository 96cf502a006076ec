"""The Lambda entry points. The app and its S3 client are made when Lambda imports this, once for many events."""

# ruff: noqa: E402

from __future__ import annotations

import gc

gc.disable()  # what is imported stays: to look for garbage among it takes a twelfth of a cold start

import re
import time
from typing import Any

from .app import create_app
from .gateway import make_handler
from .logs import logger
from .promotion import Promotion

_app = create_app()
gc.enable()
_INCOMING_KEY = re.compile("incoming/([0-9a-f]{32})")

lambda_handler = make_handler(_app)


def promote_handler(event: dict[str, Any], context: object) -> None:
    """Judge what S3 says has come in. An error is for Lambda: it calls again, and keeps what goes on failing.

    :param event: an ``Object Created`` event of EventBridge (AWS: "EventBridge event message structure"). Which version
        of the object it names does not matter: the oldest is judged.
    :raises ValueError: it is something else.
    :raises StorageUnavailable: there is no verdict yet.
    """
    try:
        key = _INCOMING_KEY.fullmatch(event["detail"]["object"]["key"])
    except (KeyError, TypeError):
        key = None
    if key is None:
        raise ValueError("this function takes 'Object Created' events of EventBridge for incoming/ alone")
    began = time.monotonic()
    promotion: Promotion = _app.extensions["promotion"]
    verdict = promotion.judge(key[1])
    file, refusal = (verdict.file, verdict.refusal) if verdict else (None, None)
    logger.info(
        "promotion",
        extra={
            "request_id": getattr(context, "aws_request_id", None),
            "id": key[1],
            "milliseconds": round((time.monotonic() - began) * 1000, 1),
            "files": [{"id": file.id, "size": file.size, "type": file.media_type}] if file else [],
            "problem": refusal["type"] if refusal else None,
        },
    )

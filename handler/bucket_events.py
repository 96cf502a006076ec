"""The bucket's events, as EventBridge and SQS hand them to a function. Pure."""

from __future__ import annotations

import json
from typing import Any


def unwrap(event: Any) -> list[Any]:
    """Return the events of EventBridge in an invocation. They are not checked.

    :param event: messages of SQS (AWS: "Using Lambda with Amazon SQS"), whose bodies are events of EventBridge (AWS:
        "EventBridge event message structure"); or one such event itself.
    :raises ValueError: there are no messages, or one has no JSON body.
    """
    if not (isinstance(event, dict) and "Records" in event):
        return [event]
    try:
        events = [json.loads(record["body"]) for record in event["Records"]]
    except (KeyError, TypeError) as error:
        raise ValueError(repr(error)) from None
    if not events:
        raise ValueError("there are no messages")
    return events

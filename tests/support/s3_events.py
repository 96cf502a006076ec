"""The event that says that an object has come in."""

from __future__ import annotations

import json
from typing import Any


def queued(*events: Any) -> dict[str, Any]:
    """The invocation for such events in a queue (AWS: "Using Lambda with Amazon SQS")."""
    return {
        "Records": [
            {
                "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": json.dumps(event),
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1795651200000"},
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:111122223333:incoming-files",
                "awsRegion": "eu-central-1",
            }
            for event in events
        ]
    }


def object_created(bucket: str, key: Any, *, version: str = "x") -> dict[str, Any]:
    """Return the event of EventBridge for a new object (AWS: "EventBridge event message structure")."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2026-11-22T00:00:00Z",
        "region": "eu-central-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {"key": key, "size": 5, "etag": "5d41402abc4b2a76b9719d911017c592", "version-id": version},
            "request-id": "C3D13FE58DE4C810",
            "requester": "111122223333",
            "source-ip-address": "192.0.2.7",
            "reason": "PostObject",
        },
    }


def event_matches(pattern: Any, event: Any) -> bool:
    """Whether an event has, for each field of a pattern, one of its values (AWS: "EventBridge event patterns")."""
    if isinstance(pattern, dict):
        return all(name in event and event_matches(values, event[name]) for name, values in pattern.items())
    return any(
        event.startswith(value["prefix"]) if isinstance(value, dict) and "prefix" in value else event == value
        for value in pattern
    )

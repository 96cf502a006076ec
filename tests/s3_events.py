"""The event that says that an object has come in."""

from __future__ import annotations

from typing import Any


def object_created(bucket: str, key: Any) -> dict[str, Any]:
    """What EventBridge sends for a new object (AWS: "EventBridge event message structure")."""
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
            "object": {"key": key, "size": 5, "etag": "5d41402abc4b2a76b9719d911017c592", "version-id": "x"},
            "request-id": "C3D13FE58DE4C810",
            "requester": "111122223333",
            "source-ip-address": "192.0.2.7",
            "reason": "PostObject",
        },
    }

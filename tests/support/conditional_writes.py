"""Conditional writes that are atomic, as those of AWS are. moto and LocalStack look first, and write later."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client


UNSAFE = {"DeleteObjects", "ListObjectVersions"}
"""moto fails if it lists versions while another thread deletes them."""


def make_atomic(client: S3Client) -> None:
    """Let only one of this client's writes with ``If-None-Match`` run at a time."""
    lock = threading.Lock()
    call: Callable[..., Any] = client._make_api_call  # type: ignore[attr-defined]

    def atomic(operation: str, arguments: dict[str, Any]) -> Any:
        if "IfNoneMatch" not in arguments and operation not in UNSAFE:
            return call(operation, arguments)
        with lock:
            return call(operation, arguments)

    client._make_api_call = atomic  # type: ignore[attr-defined]

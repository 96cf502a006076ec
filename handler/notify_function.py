"""The Lambda entry point that reports stored files to the application's own server.

The bucket's own ``Object Created`` event starts this function, through a queue. So every way in is covered, and no
request waits. The module imports neither Flask nor the app: the other functions do not pay for this one, nor this one
for them.
"""

from __future__ import annotations

import os
import time
from typing import Any

from . import logs
from .bucket_events import unwrap
from .entries import file_entry
from .logs import logger
from .settings import Settings, SettingsError
from .storage import split_key
from .storage.s3 import client
from .storage.s3.files import S3Storage
from .webhooks.delivery import Receiver
from .webhooks.events import event_id, file_stored

_WRONG_EVENT = "this function takes 'Object Created' events of EventBridge for files/ only, bare or from SQS"


class Notifier:
    """Sends the events of files in a bucket.

    :raises SettingsError: a setting is missing.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.upload_bucket or not settings.webhook_url:
            raise SettingsError("WEBHOOK_URL", None, "set it and UPLOAD_BUCKET. This function only sends webhooks.")
        if settings.downloads and not settings.endpoint_url:
            raise SettingsError("ENDPOINT_URL", None, "name the root of the endpoint. The files' URLs begin with it.")
        self._root = settings.endpoint_url if settings.downloads else None
        self._storage = S3Storage(settings.upload_bucket, client=client.make_client())
        self._receiver = Receiver(
            settings.webhook_url, keys=settings.webhook_keys, allow_private=settings.webhook_allow_private
        )

    def notify(self, key: str) -> int | None:
        """Send the event of a stored file.

        :param key: the key of the file's object.
        :returns: the status of the receiver's response; ``None`` if the file was deleted, so there is nothing to send.
        :raises ValueError: it is not the key of a file.
        :raises StorageUnavailable: S3 does not describe the file.
        :raises NotDelivered: the receiver did not confirm the event.
        """
        parts = split_key(key)
        if parts is None:
            raise ValueError(_WRONG_EVENT)
        file = self._storage.find(*parts)
        if file is None:
            return None
        entry = file_entry(file, url=self._root and f"{self._root}/{file.key}")
        return self._receiver.deliver(event_id(file.id), file_stored(entry))


logs.configure()
_notifier = Notifier(Settings.from_environ(os.environ))


def notify_handler(event: dict[str, Any], context: object) -> None:
    """Send the events of the files that the bucket's events name.

    An error is for Lambda: the queue keeps the event, sends it again, and at last moves it to the dead-letter queue.

    :param event: messages of SQS (AWS: "Using Lambda with Amazon SQS"), whose bodies are ``Object Created`` events of
        EventBridge (AWS: "EventBridge event message structure"); or one such event itself.
    :raises Exception: an event was not delivered, or is not such an event.
    """
    for key in _keys(event):
        _notify(key, getattr(context, "aws_request_id", None))


def _keys(event: Any) -> list[str]:
    """Return the keys of the objects that an invocation is about.

    :raises ValueError: the event is something else.
    """
    try:
        keys = [created["detail"]["object"]["key"] for created in unwrap(event)]
    except (KeyError, TypeError, ValueError):
        keys = []
    if not keys or not all(isinstance(key, str) for key in keys):
        raise ValueError(_WRONG_EVENT)
    return keys


def _notify(key: str, request_id: str | None) -> None:
    began = time.monotonic()
    members = {"request_id": request_id, "id": key.split("/")[-2] if "/" in key else None}
    try:
        status = _notifier.notify(key)
    except Exception as error:
        logger.error("webhook failed", extra={**members, "reason": getattr(error, "reason", None) or repr(error)})
        raise
    milliseconds = round((time.monotonic() - began) * 1000, 1)
    logger.info("webhook", extra={**members, "status": status, "milliseconds": milliseconds})

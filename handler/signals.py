"""The signal of a stored file, for applications that run this endpoint in their own process.

::

    from handler.signals import file_stored

    @file_stored.connect
    def remember(app, *, file, **_):
        ...

The signal is sent once a file can be read, and before the client gets the response. It covers all ways in: forms, PUT,
parts and presigned forms. The process sends it at most once for each file, also if a client repeats its request. A
process that is killed at that moment sends nothing, and so does one that S3 does not answer: a webhook is for
applications that must not miss a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blinker import Signal

from .logs import logger

if TYPE_CHECKING:
    from flask import Flask

    from .storage import StoredFile

file_stored = Signal("A file was stored. The sender is the app, and the argument 'file' is the StoredFile.")


def send_file_stored(app: Flask, file: StoredFile) -> None:
    """Call the receivers of :data:`file_stored`, one after the other.

    A receiver's exception is logged. It changes neither the response nor the stored file, and the others are called.
    """
    if not file_stored.receivers:
        return
    for receiver in file_stored.receivers_for(app):
        try:
            receiver(app, file=file)
        except Exception:
            logger.exception("signal receiver failed", extra={"id": file.id})

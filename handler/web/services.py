"""The objects that serve the requests of one app. :func:`handler.app.create_app` makes them once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from ..direct.promotion import Promotion
    from ..direct.uploads import UploadService
    from ..inspection.policy import Policy
    from ..intake import Intake
    from ..resumable.uploads import ResumableService
    from ..settings import Settings
    from ..storage import Storage
    from ..storage.direct import DirectUploads
    from .access import Access
    from .receipts import Receipts

EXTENSION = "services"
"""The key of the services in ``app.extensions``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything that the routes and the request hooks work with.

    :param settings: the settings that the app was made with.
    :param access: decides about the rights of a client.
    :param policy: decides which files may be uploaded, before a token narrows it.
    :param storage: keeps the checked files.
    :param intake: checks files and writes them to the storage.
    :param direct_uploads: receives bytes that do not pass through the app.
    :param promotion: checks these bytes and moves them into the storage.
    :param uploads: the operations on direct uploads.
    :param resumable: makes the operations on resumable uploads, at their first request; ``None`` where there are none.
    :param receipts: signs the receipts of stored files; ``None`` without a ``TOKEN_SECRET``.
    """

    settings: Settings
    access: Access
    policy: Policy
    storage: Storage
    intake: Intake
    direct_uploads: DirectUploads
    promotion: Promotion
    uploads: UploadService
    resumable: Callable[[], ResumableService] | None = None
    receipts: Receipts | None = None

    def attach(self, app: Flask) -> None:
        """Make these services those of an app."""
        app.extensions[EXTENSION] = self


def services_of(app: Flask) -> Services:
    """Return the services of an app."""
    services: Services = app.extensions[EXTENSION]
    return services


def current_services() -> Services:
    """Return the services of the app that handles the current request."""
    return services_of(current_app)

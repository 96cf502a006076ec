"""The route of health checks, which says that the endpoint runs. It does not ask the storage."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> dict[str, str]:
    """Return ``{"status": "ok"}``."""
    return {"status": "ok"}

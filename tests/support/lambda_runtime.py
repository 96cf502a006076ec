"""The token secret and the context object of the Lambda functions under test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

SECRET = "no-secret-but-long-enough-to-pass-for-one"


class Context:
    """The part of Lambda's context object that the handlers read."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


def let_a_gateway_wait(monkeypatch: pytest.MonkeyPatch, app: Any) -> None:
    """Give the requests of an app the deadline that they have behind API Gateway."""
    services = app.extensions["services"]
    settings = replace(services.settings, on_lambda=True)
    monkeypatch.setitem(app.extensions, "services", replace(services, settings=settings))

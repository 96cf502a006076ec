"""Fixtures: a client for direct uploads, and uploads without a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support.direct_client import DirectClient, formed
from ..support.promotions import promotion_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient


@pytest.fixture
def direct(client: FlaskClient) -> DirectClient:
    return DirectClient(client=client)


@pytest.fixture
def unjudged(direct: DirectClient, kind: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Send a form, and leave its promotion to the test."""

    def send(data: bytes) -> str:
        form = formed(direct, "a.txt")
        with monkeypatch.context() as patch:
            if kind == "folder":  # which judges at once
                patch.setattr(promotion_of(direct), "promote", lambda _: None)
            assert direct.post(form, data).status == 204
        file_id: str = form["id"]
        return file_id

    return send

"""Fixtures: the servers that the snippets talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .servers import Endpoint, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def open_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A server without a secret: it accepts requests of this machine."""
    with serve(tmp_path_factory.mktemp("open"), token=False) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def closed_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A server that asks for tokens."""
    with serve(tmp_path_factory.mktemp("closed"), token=True) as endpoint:
        yield endpoint

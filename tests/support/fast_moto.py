"""A faster moto. Each list of versions copies all objects of the bucket deeply, which takes most of the time of a test
with thousands of objects."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING

import moto.s3.models

if TYPE_CHECKING:
    import pytest


def list_versions_without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let moto list versions without a copy of them. It then marks the latest versions in its own objects."""
    monkeypatch.setattr(moto.s3.models, "copy", SimpleNamespace(copy=copy.copy, deepcopy=lambda versions: versions))

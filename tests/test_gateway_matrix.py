"""Every behaviour at every front door: `pytest -v` prints it like a specification."""

from __future__ import annotations

import pytest

from handler.gateway import make_handler

from .support.gateway_behaviours import BEHAVIOURS, Door
from .support.gateway_events import SHAPES


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gateway(shape: str, behaviour: str) -> None:
    BEHAVIOURS[behaviour](Door(make_handler, SHAPES[shape], shape))

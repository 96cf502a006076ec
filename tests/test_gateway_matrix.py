"""Every behaviour at every front door."""

from __future__ import annotations

import pytest

from handler.gateway import make_handler

from .support.cases import failures
from .support.gateway_behaviours import BEHAVIOURS, Door
from .support.gateway_events import SHAPES


@pytest.mark.parametrize("shape", SHAPES)
def test_every_behaviour_holds_for_every_event_format(shape: str) -> None:
    def check(behaviour: str) -> None:
        BEHAVIOURS[behaviour](Door(make_handler, SHAPES[shape], shape))

    assert not failures(check, ((behaviour,) for behaviour in BEHAVIOURS))

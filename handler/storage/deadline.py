"""Until when something new may be begun, so that there is an answer of ours before API Gateway gives one of its own.

API Gateway waits 29 s and then says 504, with which a client learns neither what happened nor when to try again. What
hangs cannot be stopped halfway, but it can be kept from being tried again: in here a deadline is the moment after which
no attempt, no file and no call is begun. One that has begun ends by its own time-outs (``s3.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

REQUEST_SECONDS = 9
"""For what a request wants. Its last attempt may end 8 s later, a take-back after it takes 9 s at most: 26 s in all."""
CLEANUP_SECONDS = 1
"""For a take-back after that: one attempt, or another one if the first was turned away at once."""

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def nothing_new_after(seconds: float) -> Iterator[None]:
    """Set the deadline for what is done in the ``with``. One that is set already and comes earlier stays.

    It belongs to the context (:mod:`contextvars`): a thread has it if it runs in a copy of that.
    """
    token = _deadline.set(min(_deadline.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def is_over() -> bool:
    return monotonic() >= _deadline.get()

"""A per-request deadline, so that we respond before API Gateway's 29-second timeout.

API Gateway waits 29 s and then returns its own 504. That response names neither the cause nor a time to retry. A
call to S3 that hangs cannot be stopped, but a retry can be prevented. After the deadline, no attempt, no file and no
call begins. A call that has begun ends by its own timeouts (``s3/client.py``).

A request hook (``web/hooks.py``) sets the deadline where a gateway waits. Everywhere else there is no deadline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

REQUEST_SECONDS = 9
"""The time for a request. Its last attempt may end 8 s later, and the clean-up takes at most 9 s more: 26 s in all."""
CLEANUP_SECONDS = 1
"""The time for the clean-up after a failed request: one attempt, or a second one if S3 rejects the first at once."""

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def deadline(*, seconds: float) -> Iterator[None]:
    """Set a deadline for the body of the ``with`` statement. An earlier deadline that is already set stays.

    The deadline belongs to the context (:mod:`contextvars`). A thread has the deadline if it runs in a copy of that
    context.

    :param seconds: from now on.
    """
    with _set_to(min(_deadline.get(), monotonic() + seconds)):
        yield


@contextmanager
def extra_time(*, seconds: float) -> Iterator[None]:
    """Replace the deadline for the body of the ``with`` statement, even a deadline that has expired.

    A clean-up needs this: often the expired deadline is the reason for the clean-up. Without a deadline, this sets one.

    :param seconds: from now on.
    """
    with _set_to(monotonic() + seconds):
        yield


def is_set() -> bool:
    """Return whether there is a deadline: a gateway waits for this request."""
    return _deadline.get() < math.inf


def expired() -> bool:
    """Return whether the deadline has passed; ``False`` without a deadline."""
    return monotonic() >= _deadline.get()


@contextmanager
def _set_to(moment: float) -> Iterator[None]:
    token = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(token)

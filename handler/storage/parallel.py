"""Calls that run side by side, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import chain, islice
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def run_side_by_side(calls: Sequence[Callable[[], T]], *, at_once: int) -> list[T]:
    """Make calls in threads, in order, and return their results in the same order.

    After a failure, no further call begins. The calls that have begun run to their end.

    Each call runs in a copy of the caller's context, so it has the caller's deadline (``deadline.py``). A single call
    runs in the caller's own thread.

    :param at_once: the number of threads.
    :raises Exception: the error of the first call, in order, that failed.
    """
    if len(calls) == 1:
        return [calls[0]()]
    failed = Event()

    def run_unless_failed(call: Callable[[], T]) -> T:
        if failed.is_set():
            raise CancelledError
        try:
            return call()
        except BaseException:
            failed.set()
            raise

    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        futures = [pool.submit(copy_context().run, run_unless_failed, call) for call in calls]
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        failed.set()  # this thread may have been interrupted while other calls wait for their turn
        pool.shutdown(cancel_futures=True)
    for future in futures:
        if error := _error_of(future):
            raise error
    return [future.result() for future in futures]


def run_ahead(calls: Iterable[Callable[[], T]], *, at_once: int) -> Iterator[T]:
    """Make calls in threads, and yield their results in the order of the calls.

    The next call is taken only when fewer than ``at_once`` calls are running or have a result that was not yielded. So
    the results never fill the memory. As above, each call has the caller's deadline, and a single call runs in the
    caller's own thread.

    :raises Exception: the error of the first call, in order, that failed. The calls that have begun run to their end.
    """
    left = iter(calls)
    first = list(islice(left, 2))
    if len(first) < 2:
        yield from (call() for call in first)
        return
    pool = ThreadPoolExecutor(max_workers=at_once)
    running: deque[Future[T]] = deque()
    try:
        for call in chain(first, left):
            running.append(pool.submit(copy_context().run, call))
            if len(running) == at_once:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _error_of(future: Future[T]) -> BaseException | None:
    """Return the error of a call; ``None`` if the call returned, or did not begin because another call failed."""
    if future.cancelled():
        return None
    error = future.exception()
    return None if isinstance(error, CancelledError) else error

"""Calls that run side by side, and stop at the first failure."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from handler.storage.deadline import deadline, is_set
from handler.storage.parallel import run_side_by_side


def test_results_are_in_the_order_of_the_calls() -> None:
    second_is_done = threading.Event()

    def first() -> str:
        assert second_is_done.wait(10)
        return "first"

    def second() -> str:
        second_is_done.set()
        return "second"

    assert run_side_by_side([first, second], at_once=2) == ["first", "second"]


def test_number_of_calls_at_once_is_limited() -> None:
    running, lock, maximum = 0, threading.Lock(), 0
    both_run = threading.Barrier(2, timeout=10)

    def call() -> None:
        nonlocal running, maximum
        with lock:
            running += 1
            maximum = max(maximum, running)
        both_run.wait()
        with lock:
            running -= 1

    run_side_by_side([call] * 10, at_once=2)
    assert maximum == 2


def test_no_call_begins_after_a_failure() -> None:
    begun: list[int] = []

    def call(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise ValueError(number)

    with pytest.raises(ValueError, match="2"):
        run_side_by_side([partial(call, number) for number in range(100)], at_once=1)
    assert begun == [0, 1, 2]


def test_running_calls_end_before_the_failure_is_raised() -> None:
    both_run = threading.Barrier(2, timeout=10)
    failed, ended = threading.Event(), threading.Event()

    def fail() -> None:
        both_run.wait()
        failed.set()
        raise ValueError("early")

    def go_on() -> None:
        both_run.wait()
        assert failed.wait(10)
        ended.set()

    with pytest.raises(ValueError, match="early"):
        run_side_by_side([fail, go_on], at_once=2)
    assert ended.is_set()


def test_first_of_two_failures_in_order_is_raised() -> None:
    both_run, second_failed = threading.Barrier(2, timeout=10), threading.Event()

    def first() -> None:
        both_run.wait()
        assert second_failed.wait(10)
        raise ValueError("first")

    def second() -> None:
        both_run.wait()
        second_failed.set()
        raise ValueError("second")

    with pytest.raises(ValueError, match="first"):
        run_side_by_side([first, second], at_once=2)


def test_failure_is_raised_although_an_earlier_call_was_skipped() -> None:
    """A thread may take a call, and look for failures only after a later call has failed."""
    calls = [lambda: None] * 1_000

    def fail() -> None:
        raise ValueError("the failure")

    for _ in range(20):
        with pytest.raises(ValueError, match="the failure"):
            run_side_by_side([*calls, fail, *calls], at_once=8)


@pytest.mark.parametrize("count", [1, 2])
def test_calls_have_the_deadline_of_their_caller(count: int) -> None:
    with deadline(seconds=60):
        assert run_side_by_side([is_set] * count, at_once=2) == [True] * count
    assert run_side_by_side([is_set] * count, at_once=2) == [False] * count


def test_no_calls_have_no_results() -> None:
    assert run_side_by_side([], at_once=2) == []

"""The log of the local server, which is written from a thread."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from handler import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def background(descriptor: int) -> logs.BackgroundHandler:
    handler = logs.BackgroundHandler(descriptor)
    handler.setFormatter(logs.JsonFormatter())
    return handler


def emit(handler: logging.Handler, count: int) -> None:
    for number in range(count):
        handler.handle(logging.makeLogRecord({"msg": "request", "number": number}))


def entries(descriptor: int) -> list[dict[str, Any]]:
    """Return all entries of a pipe whose other end is closed."""
    with os.fdopen(descriptor) as file:
        return [json.loads(line) for line in file]


def test_dropped_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_WAITING_LINES", 10)
    read_end, write_end = os.pipe()
    handler = background(write_end)
    emitted = fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ) // 50  # more than the pipe and the queue hold
    emit(handler, emitted)
    with os.fdopen(read_end) as file:
        seen = [json.loads(file.readline())]
        while seen[-1]["event"] != "log lines dropped":
            seen.append(json.loads(file.readline()))
        handler.close()
        os.close(write_end)
        seen += [json.loads(line) for line in file]
    dropped = [entry["lines"] for entry in seen if entry["event"] == "log lines dropped"]
    numbers = [entry["number"] for entry in seen if entry["event"] == "request"]
    assert sum(dropped) > 0
    assert len(numbers) + sum(dropped) == emitted
    assert numbers == sorted(numbers)


def test_lines_that_cannot_be_written_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    write = os.write
    failures = [OSError(28, "No space left on device"), OSError(28, "No space left on device")]

    def full_twice(descriptor: int, data: bytes) -> int:
        if failures:
            raise failures.pop()
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full_twice)
    handler = background(write_end)
    emit(handler, 3)
    handler.close()
    os.close(write_end)
    seen = entries(read_end)
    assert [(entry["event"], entry.get("number"), entry.get("lines")) for entry in seen] == [
        ("request", 2, None),
        ("log lines dropped", None, 2),
    ]


def test_non_blocking_pipe_gets_every_line() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    handler = background(write_end)
    emit(handler, 5000)
    with os.fdopen(read_end) as file:
        numbers = [json.loads(file.readline())["number"] for _ in range(5000)]
    handler.close()
    os.close(write_end)
    assert numbers == list(range(5000))


def test_closed_handler_does_not_wait(monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]) -> None:
    """The process ends, even if its log is never read."""
    monkeypatch.setattr(logs, "FLUSH_SECONDS", 0.01)
    handler = background(pipe[1])
    emit(handler, 2000)
    handler.close()
    assert handler._thread.is_alive()
    os.set_blocking(pipe[0], False)
    while handler._thread.is_alive():  # once the pipe is read, it writes the rest and ends
        with suppress(BlockingIOError):
            os.read(pipe[0], 1 << 20)
        handler._thread.join(0.01)


@pytest.mark.parametrize("output", [None, io.StringIO()], ids=["closed", "no file"])
def test_output_without_a_descriptor_gets_the_lines(
    monkeypatch: pytest.MonkeyPatch, output: io.StringIO | None
) -> None:
    before = list(logs.logger.handlers)
    monkeypatch.setattr(sys, "stdout", output)
    assert logs.write_in_background() is None
    assert logs.logger.handlers == before

"""The parts of a request that take its CPU time, without the overhead of a profiler.

Each part is the time inside one function of ours or of a library, without the parts inside that function.
"""

from __future__ import annotations

import argparse
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import s3_sink
from contenders import Context
from uploads import SECRET, cases

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = ("20 KB upload", "4 MB upload", "4 MB refused")
REST = "Flask, the gateway and the log"


class Clock:
    """Adds up the CPU time of functions, in milliseconds."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._inside: list[float] = []

    def watch(self, owner: Any, name: str, part: str) -> None:
        setattr(owner, name, self.timed(getattr(owner, name), part))

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            self._inside.append(0)
            began = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                spent = (time.process_time() - began) * 1000
                self.spent[part] += spent - self._inside.pop()
                if self._inside:
                    self._inside[-1] += spent

        return run


def watch(clock: Clock) -> None:
    from handler.intake import IncomingFile  # noqa: PLC0415
    from handler.routes import uploads  # noqa: PLC0415
    from handler.storage.s3.files import S3Storage, S3Writer  # noqa: PLC0415

    clock.watch(uploads._FormReader, "read", "base64 and the form")
    clock.watch(uploads, "_authorize", "the token")
    clock.watch(IncomingFile, "write", "SHA-256")
    clock.watch(S3Writer, "write", "the copy in memory")
    clock.watch(IncomingFile, "finish", "the check of the content")
    clock.watch(S3Storage, "put_once", "botocore")
    clock.watch(ssl.SSLSocket, "send", "TLS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, s3_sink.running(Path(folder)) as to_sink:
        os.environ |= to_sink
        os.environ |= {"UPLOAD_BUCKET": "uploads", "TOKEN_SECRET": SECRET, "AWS_LAMBDA_FUNCTION_NAME": "benchmark"}
        from handler.lambda_function import lambda_handler  # noqa: PLC0415

        clock = Clock()
        watch(clock)
        handler = clock.timed(lambda_handler, REST)
        measured: dict[str, dict[str, float]] = {}
        with Path(os.devnull).open("w") as log, redirect_stdout(log):
            for case in cases():
                if case.name in CASES:
                    measured[case.name] = shares(clock, lambda event=case.event: handler(event, Context()), rounds)
    parts = sorted({part for found in measured.values() for part in found})
    print(f"| CPU, ms | {' | '.join(measured)} |\n|---{'|---' * len(measured)}|")
    for part in parts:
        print(f"| {part} | {' | '.join(f'{found.get(part, 0):.2f}' for found in measured.values())} |")
    print(f"| all | {' | '.join(f'{sum(found.values()):.2f}' for found in measured.values())} |")


def shares(clock: Clock, request: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return the median of each part, in milliseconds."""
    spent = []
    for round_ in range(-3, rounds):
        clock.spent.clear()
        request()
        if round_ >= 0:
            spent.append(dict(clock.spent))
    return {part: statistics.median(found.get(part, 0) for found in spent) for part in spent[0]}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()

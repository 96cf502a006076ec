"""What an upload costs: CPU, wall time and memory, beside the textbook's version and beside the floor.

All get the same events, in turn, in an order drawn anew each round, so that what else the machine does falls on all
alike; the ratios are of each round, and their median is what counts. ``--results`` keeps the results for
docs/performance.md.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import s3_sink
from contenders import CONTENDERS
from handler.web.tokens import mint
from tests.support import gateway_events, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "the secret of the benchmark protects nothing"
BASE = "textbook"
BOUNDARY = "----boundary7MA4YWxkTrZu0gW"


class Case(NamedTuple):
    """A request.

    :param calls: how many of it in a round.
    :param statuses: what is an answer to it, by anyone.
    """

    name: str
    event: dict[str, Any]
    calls: int
    statuses: set[int]

    def file(self, folder: Path) -> Path:
        return folder / self.name.replace("/", "")


BARS = {
    ("cpu", "4 MB upload"): 0.40,
    ("cpu", "20 KB upload"): 0.66,
    ("cpu", "4 MB refused"): 0.07,
    ("memory", "4 MB upload"): 0.73,
}
UNITS = {"cpu": ("CPU", "ms"), "wall": ("wall time", "ms"), "memory": ("added memory", "MiB")}


def cases() -> list[Case]:
    token = mint(SECRET, expires_seconds=3600)
    return [
        Case("20 KB upload", upload_event(20_000, "photo.png", token, digest=True), 20, {201}),
        Case("1 MB upload", upload_event(1_000_000, "photo.png", token), 4, {201}),
        Case("4 MB upload", upload_event(4_000_000, "photo.png", token), 2, {201}),
        Case("4 MB with a digest", upload_event(4_000_000, "photo.png", token, digest=True), 2, {201}),
        Case("4 MB refused", upload_event(4_000_000, "photo.exe", token), 4, {400, 415, 201}),
        Case("GET /upload", gateway_events.rest_event(path="/upload"), 50, {200, 201}),
    ]


def upload_event(size: int, file_name: str, token: str, *, digest: bool = False) -> dict[str, Any]:
    """A form with one file, as curl sends it.

    :param digest: whether it comes with a digest of the body, which is then hashed twice: it is not the file's.
    """
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
    tail = f"\r\n--{BOUNDARY}--\r\n"
    body = (head + "Content-Type: image/png\r\n\r\n").encode() + samples.png(size) + tail.encode()
    said = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return gateway_events.rest_event(
        method="POST",
        path="/upload",
        headers=[
            ("Accept", "*/*"),
            ("Authorization", f"Bearer {token}"),
            *([("Content-Digest", f"sha-256=:{said}:")] if digest else []),
            ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),
            ("User-Agent", "curl/8.7.1"),
        ],
        body=body,
        as_base64=True,
    )


class Worker:
    """A contender in a process of its own."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("contenders.py")), name]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def do(self, what: str, case: Case, folder: Path, *, calls: int = 1) -> dict[str, float]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker has no pipes")
        print(json.dumps({"do": what, "event": str(case.file(folder)), "calls": calls}), file=stdin, flush=True)
        found: dict[str, float] = json.loads(stdout.readline())
        if found.pop("status") not in case.statuses:
            raise RuntimeError(f"{case.name} was not answered as it should be")
        return found

    def stop(self) -> None:
        self._process.communicate()


@contextmanager
def workers(environment: dict[str, str]) -> Iterator[dict[str, Worker]]:
    started = {name: Worker(name, environment) for name in CONTENDERS}
    try:
        yield started
    finally:
        for worker in started.values():
            worker.stop()


Results = dict[str, dict[str, dict[str, list[float]]]]
"""By measure, case and contender: a value for each round."""


def measure(environment: dict[str, str], folder: Path, *, rounds: int, memory_rounds: int) -> Results:
    results: Results = {}

    def note(case: Case, name: str, found: dict[str, float]) -> None:
        for each, value in found.items():
            results.setdefault(each, {}).setdefault(case.name, {}).setdefault(name, []).append(value)

    requests = cases()
    for case in requests:
        case.file(folder).write_text(json.dumps(case.event))
    with workers(environment) as started:
        for round_ in range(-2, rounds):  # two to warm up
            for case in requests:
                for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
                    found = started[name].do("time", case, folder, calls=case.calls)
                    if round_ >= 0:
                        note(case, name, found)
    for _ in range(memory_rounds):
        for case in requests:
            with workers(environment) as started:  # anew: what a process has once taken it may keep
                for name, worker in started.items():
                    worker.do("time", requests[0], folder)  # a first upload, so that it is idle and not unused
                    note(case, name, worker.do("memory", case, folder))
    return results


def summarize(results: Results) -> dict[str, Any]:
    """Medians, and medians of the ratios of each round."""
    return {
        measured: {
            case: {
                name: {
                    "median": statistics.median(contenders[name]),
                    "ratio": ratio(contenders[name], contenders[BASE]),
                }
                for name in CONTENDERS
            }
            for case, contenders in by_case.items()
        }
        for measured, by_case in results.items()
    }


def ratio(values: list[float], base: list[float]) -> float | None:
    """The median of each round's; none of nothing."""
    if not all(base):
        return None
    return statistics.median(a / b for a, b in zip(values, base, strict=True))


def show(summary: dict[str, Any]) -> None:
    for measured, by_case in summary.items():
        title, unit = UNITS[measured]
        print(f"\n| {title}, {unit} (of the textbook's) | {' | '.join(by_case)} |\n|---{'|---' * len(by_case)}|")
        for name in CONTENDERS:
            print(f"| {name} | {' | '.join(cell(of[name]) for of in by_case.values())} |")
    print("\n| bar | at most | measured | |\n|---|---|---|---|")
    for (measured, case), bar in BARS.items():
        ratio = summary[measured][case]["this"]["ratio"]
        verdict = "met" if ratio <= bar else "MISSED"
        print(f"| {UNITS[measured][0]}, {case} | {bar:.2f} | {ratio:.2f} | {verdict} |")


def cell(of: dict[str, float | None]) -> str:
    return f"{of['median']:.2f}" + ("" if of["ratio"] is None else f" ({of['ratio']:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--memory-rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, help="a file for the results")
    options = parser.parse_args()
    packages = ("flask", "werkzeug", "boto3", "aws-wsgi")
    described = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}",
        "versions": {"Python": platform.python_version(), **{name: version(name) for name in packages}},
    }
    print(f"{described['date']}, {', '.join(' '.join(each) for each in described['versions'].items())}")
    with tempfile.TemporaryDirectory() as folder, s3_sink.running(Path(folder)) as to_sink:
        environment = (
            {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            | to_sink
            | {"UPLOAD_BUCKET": "uploads", "TOKEN_SECRET": SECRET, "AWS_LAMBDA_FUNCTION_NAME": "benchmark"}
        )
        summary = summarize(
            measure(environment, Path(folder), rounds=options.rounds, memory_rounds=options.memory_rounds)
        )
    show(summary)
    if options.results:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        options.results.write_text(json.dumps(described | {"uploads": summary}, indent=1) + "\n")


if __name__ == "__main__":
    main()

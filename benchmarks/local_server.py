"""Requests per second of the local server, next to ``flask run`` and gunicorn with the textbook's version.

All servers run at once. They get the same requests in turn, in an order drawn anew each round, so that other work of
the machine falls on all alike. The ratios are of each round, and their medians count. The CPU is that of the server's
processes, for one request: the mean. ``--markdown`` writes the tables into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import samples  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUNDARY = "----boundary7MA4YWxkTrZu0gW"
GUNICORN = (sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--log-level", "info")
TEXTBOOK = str(Path(__file__).with_name("textbook"))


class Contender(NamedTuple):
    """A server.

    :param command: prints the server's address.
    :param base: the contender to which its rate is compared.
    """

    command: tuple[str, ...]
    base: str


CONTENDERS = {
    "flask run, textbook": Contender((sys.executable, "-m", "flask", "--app", "local", "run", "--port", "0"), ""),
    "python -m handler": Contender((sys.executable, "-m", "handler", "--port", "0"), "flask run, textbook"),
    "gunicorn, textbook": Contender((*GUNICORN, "--workers", "4", "--threads", "8", "local:app"), ""),
    "gunicorn, this": Contender(
        (*GUNICORN, "--workers", "4", "--threads", "8", "handler.app:create_app()"), "gunicorn, textbook"
    ),
}
CLIENTS = (1, 8, 32)
LARGE_BYTES = 1_000_000
"""The size of a request whose files are removed after each round, so that no disk fills up."""


class Case(NamedTuple):
    """A request.

    :param requests: how many of it in a round, for each client count.
    :param share: of how many rounds this case gets one. Many short rounds even out the other work of the machine, and
        requests of 4 MB take long.
    """

    request: bytes
    requests: int
    share: int = 1


class Bar(NamedTuple):
    contender: str
    case: str
    disk: str
    ratio: float


BARS = (
    Bar("python -m handler", "20 KB form", "tmpfs", 1.0),
    Bar("python -m handler", "20 KB form", "ext4", 0.7),
    Bar("gunicorn, this", "20 KB form", "tmpfs", 0.8),
)


def cases(requests: int) -> dict[str, Case]:
    large = max(requests // 8, 1)
    return {
        "20 KB form": Case(form_of(samples.png(20_000)), requests),
        "4 MB form": Case(form_of(samples.png(4_000_000)), large, share=5),
        "4 MB PUT": Case(message("PUT /upload/photo.png HTTP/1.1\r\n", samples.png(4_000_000)), large, share=5),
    }


def form_of(file: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="photo.png"\r\n'
    form = (head + "Content-Type: image/png\r\n\r\n").encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()
    return message(f"POST /upload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n", form)


def message(head: str, body: bytes) -> bytes:
    head += f"Host: 127.0.0.1\r\nUser-Agent: curl/8.7.1\r\nAccept: */*\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Server(NamedTuple):
    port: int
    process: int
    """The id of its first process."""

    def cpu_seconds(self) -> float:
        """Return the CPU that the server has used so far, with its worker processes (Linux: proc(5))."""
        ids = [self.process, *map(int, Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split())]
        fields = [Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split() for number in ids]
        return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


class Measured(NamedTuple):
    """One round of one server: requests per second, and milliseconds of CPU for a request."""

    rate: float
    cpu: float


@contextmanager
def running(contender: Contender, folder: Path) -> Iterator[Server]:
    """Run a server that saves to the folder."""
    environment = os.environ | {"UPLOAD_FOLDER": str(folder), "PYTHONPATH": f"{ROOT}:{TEXTBOOK}", "ACCESS": "public"}
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(contender.command, stdout=output, stderr=output, env=environment, cwd=folder)
    try:
        for _ in range(600):
            if address := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text()):
                yield Server(int(address[1]), process.pid)
                break
            time.sleep(0.05)
        else:
            raise RuntimeError(log.read_text())
    finally:
        process.terminate()
        process.wait(30)


class Load:
    """The load generator, in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("load.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def rate(self, **job: Any) -> float:
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return float(json.loads(self.process.stdout.readline()))


Results = dict[str, dict[str, list[Measured]]]
"""The rounds by case and contender."""


def measure(folder: Path, *, rounds: int, requests: int, only: str) -> Results:
    results: Results = {}
    spread_directories(folder)
    with ExitStack() as stack:
        servers = {}
        for number, (name, contender) in enumerate(CONTENDERS.items()):
            directory = folder / str(number)
            directory.mkdir()
            servers[name] = stack.enter_context(running(contender, directory))
        load = Load()
        stack.callback(load.process.terminate)
        path = folder / "request"
        for case_name, case in cases(requests).items():
            path.write_bytes(case.request)
            for clients in CLIENTS:
                row = f"{case_name}, {clients} client{'s' * (clients > 1)}"
                if only in row:
                    job = {"request": str(path), "clients": clients, "requests": max(case.requests, 2 * clients)}
                    results[row] = measure_row(servers, load, folder, rounds=ceil(rounds / case.share), job=job)
    return results


def measure_row(
    servers: dict[str, Server], load: Load, folder: Path, *, rounds: int, job: dict[str, Any]
) -> dict[str, list[Measured]]:
    row: dict[str, list[Measured]] = {name: [] for name in servers}
    for number in range(rounds + 1):
        for name in random.sample(list(servers), len(servers)):
            server = servers[name]
            before = server.cpu_seconds()
            rate = load.rate(port=server.port, **job)
            cpu = (server.cpu_seconds() - before) * 1000 / job["requests"]
            if number:  # the first round only warms the servers up
                row[name].append(Measured(rate, cpu))
        if Path(job["request"]).stat().st_size >= LARGE_BYTES:
            empty(folder)
    return row


def spread_directories(folder: Path) -> None:
    """Let ext4 put each directory of the folder into a block group of its own.

    In a group in which files were deleted in the last minutes, ext4 takes 0.8 ms instead of 0.05 to create a file,
    because it searches for a number that was not in use lately (``recently_deleted`` in fs/ext4/ialloc.c). Only this
    app creates files, three for each upload. The textbook's version writes the same file again.
    """
    subprocess.run(["chattr", "+T", str(folder)], check=False, stderr=subprocess.DEVNULL)


def empty(folder: Path) -> None:
    """Remove the stored files."""
    for pattern in ("*/files/*", "*/metadata/*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def table(disk: str, results: Results) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield f"| {disk} | {' | '.join(CONTENDERS)} |"
    yield f"| ---{' | ---' * len(CONTENDERS)} |"
    for case, row in results.items():
        yield f"| {case} | {' | '.join(cell(name, row) for name in CONTENDERS)} |"


def cell(name: str, row: dict[str, list[Measured]]) -> str:
    measured = row[name]
    text = f"{statistics.median(each.rate for each in measured):,.0f}/s"
    if base := CONTENDERS[name].base:
        text += f" ({ratio(measured, row[base]):.2f})"
    return f"{text}, {statistics.mean(each.cpu for each in measured):.2f} ms"


def ratio(measured: list[Measured], base: list[Measured]) -> float:
    """Return the median of the ratios of the rounds."""
    return statistics.median(a.rate / b.rate for a, b in zip(measured, base, strict=True))


def verdicts(disk: str, results: Results) -> Iterator[str]:
    """Yield the lines of a table in Markdown: the bars, and whether they are met."""
    for bar in BARS:
        for case, row in results.items():
            if bar.disk == disk and case.startswith(bar.case):
                value = ratio(row[bar.contender], row[CONTENDERS[bar.contender].base])
                verdict = "met" if value >= bar.ratio else "MISSED"
                yield f"| {bar.contender} | {case} | {disk} | {bar.ratio:.2f} | {value:.2f} | {verdict} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=120)
    parser.add_argument("--only", default="", help="a part of the name of a case, such as '20 KB'")
    parser.add_argument("--disk", choices=("tmpfs", "ext4"))
    parser.add_argument("--markdown", action="store_true", help="write the tables into docs/performance.md")
    options = parser.parse_args()
    disks = {"tmpfs": "/dev/shm", "ext4": "/var/tmp"}
    load = os.getloadavg()[0]
    lines, bars = [], ["| server | request | disk | at least | measured | |", "| ---" * 6 + " |"]
    for disk, parent in disks.items():
        if options.disk in (None, disk):
            with tempfile.TemporaryDirectory(dir=parent) as folder:
                results = measure(Path(folder), rounds=options.rounds, requests=options.requests, only=options.only)
            lines += [*table(disk, results), ""]
            bars += verdicts(disk, results)
            print("\n".join(lines), flush=True)
    bars += ["", f"Load on {os.cpu_count()} processors: {load:.1f} before, {os.getloadavg()[0]:.1f} after."]
    print("\n".join(bars))
    if options.markdown:
        page = ROOT / "docs" / "performance.md"
        before, mark, rest = page.read_text().partition("<!-- made by make bench-local -->\n")
        after = rest[rest.index("<!-- end of make bench-local -->") :]
        page.write_text("\n".join([before + mark, *lines, *bars, "", after]))


if __name__ == "__main__":
    main()

"""``make soak``: kill the local server again and again while clients upload, and compare files and webhooks.

A round: a server starts on the folder of the last round, clients send forms, single files, presigned forms and uploads
in parts, and the server is killed (``kill -9``) at a random moment. The receiver is down every third time. For each
event it notes if the file was stored at that moment. Then a last server runs until the outbox is empty, and:

- each stored file was delivered at least once, also a file whose upload got no response;
- nothing was delivered that was not stored;
- every event has a valid signature.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from handler.webhooks.outbox import UNCONFIRMED_SECONDS

from ..support.webhook_receiver import SECRET, Received, receiving, respond

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 300
CLIENTS = 4
LONGEST_SECONDS = 0.5
"""The longest time that clients are at work before a kill."""
DRAIN_SECONDS = 240
"""The longest time for the last server to deliver the rest."""
ROOT = Path(__file__).parents[2]


@dataclass
class Result:
    """The files and the events of a run, by the ids of the files.

    :param answered: the files whose upload got a response.
    :param stored: the files in the folder.
    :param delivered: the events that the receiver confirmed, each as often as it came.
    :param not_stored: the events whose file was not stored when they arrived.
    :param invalid: the reasons why requests were rejected.
    :param kills: the number of kills.
    """

    answered: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    delivered: list[str] = field(default_factory=list)
    not_stored: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    kills: int = 0

    @property
    def lost(self) -> set[str]:
        """The stored files that were not delivered."""
        return (self.stored | self.answered) - set(self.delivered)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {len(self.answered)} answered, {len(self.stored)} stored, "
            f"{len(set(self.delivered))} delivered, {len(self.delivered) - len(set(self.delivered))} repeated, "
            f"{len(self.lost)} lost, {len(self.not_stored)} not stored, {len(self.invalid)} invalid {self.invalid[:3]}"
        )


def kill_servers(folder: Path, *, rounds: int, seed: str) -> Result:
    """Kill a server so many times, let the last one deliver the rest, and return what happened."""
    result, rng = Result(), random.Random(seed)
    with receiving() as receiver:

        def behave(handler: BaseHTTPRequestHandler, received: Received) -> None:
            if is_down:
                respond(503)(handler, received)
                return
            data = received.event["data"]
            if not (folder / "files" / data["id"] / data["name"]).is_file():
                result.not_stored.append(data["id"])
            result.delivered.append(data["id"])
            respond(204)(handler, received)

        is_down = False
        receiver.behaviour = behave
        for number in range(rounds):
            is_down = number % 3 == 2
            with served(folder, receiver.url) as (process, port):
                work(port, result, rng, lambda process=process: process.kill())
            result.kills += 1
        is_down = False
        let_time_pass(folder)
        with served(folder, receiver.url):
            drain(folder)
        result.invalid += receiver.failures
    result.stored = {path.parent.name for path in folder.glob("files/*/*")}
    return result


@contextmanager
def served(folder: Path, webhook_url: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server, and kill it in the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UPLOAD_", "TOKEN_", "AWS_"))}
    environ = kept | {"WEBHOOK_URL": webhook_url, "WEBHOOK_SECRET": SECRET, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            port = next(int(found[1]) for line in process.stdout if (found := re.search(r"Serving .*?:(\d+)", line)))
            threading.Thread(target=process.stdout.read).start()  # a full pipe would stop the log
            yield process, port
        finally:
            process.kill()


def work(port: int, result: Result, rng: random.Random, kill: Any) -> None:
    """Let clients upload until the server is killed at a random moment."""
    threads = [
        threading.Thread(target=upload, args=(port, result, random.Random(rng.random()))) for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(rng.uniform(0, LONGEST_SECONDS))
    kill()
    for thread in threads:
        thread.join()


def upload(port: int, result: Result, rng: random.Random) -> None:
    """Upload until the server is gone."""
    with suppress(OSError, http.client.HTTPException, ValueError):  # ValueError: half a response
        while True:
            rng.choice((send_form, send_body, send_presigned, send_parts))(port, result)


def send(port: int, method: str, url: str, body: bytes = b"", content_type: str = "text/plain") -> Any:
    """Send a request, and return the JSON of its response."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, {"Content-Type": content_type})
        response = connection.getresponse()
        data = response.read()
        assert response.status < 300, (response.status, data)
        return json.loads(data) if data else {}
    finally:
        connection.close()


def send_multipart(port: int, url: str, fields: dict[str, str], files: int) -> Any:
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    parts += [f'{head}"file"; filename="a.txt"\r\n\r\n{secrets.token_hex(500)}\r\n'] * files
    body = "".join([*parts, f"--{boundary}--\r\n"]).encode()
    return send(port, "POST", url, body, f"multipart/form-data; boundary={boundary}")


def note(result: Result, answer: Any) -> None:
    result.answered |= {entry["id"] for entry in answer["files"]}


def send_form(port: int, result: Result) -> None:
    note(result, send_multipart(port, "/upload", {}, files=random.choice((1, 3))))


def send_body(port: int, result: Result) -> None:
    note(result, send(port, "PUT", "/upload/a.txt", secrets.token_hex(500).encode()))


def send_presigned(port: int, result: Result) -> None:
    form = send(port, "GET", "/upload/s3/params?filename=a.txt")
    send_multipart(port, form["url"], form["fields"], files=1)
    result.answered.add(form["id"])


def send_parts(port: int, result: Result) -> None:
    begun = send(port, "POST", "/upload/s3/multipart", b'{"filename": "a.txt"}', "application/json")
    path, key = f"/upload/s3/multipart/{quote(begun['uploadId'])}", f"?key={quote(begun['key'])}"
    send(port, "PUT", send(port, "GET", f"{path}/1{key}")["url"], secrets.token_hex(500).encode())
    note(result, send(port, "POST", f"{path}/complete{key}", b"{}", "application/json"))


def let_time_pass(folder: Path) -> None:
    """Make the events of killed servers as old as they are when another server may confirm them."""
    for path in (folder / "outbox").glob("*.new"):
        then = path.stat().st_mtime - UNCONFIRMED_SECONDS
        os.utime(path, (then, then))


def drain(folder: Path) -> None:
    """Wait until the outbox holds no event of a stored file."""
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end:
        waiting = {path.stem for path in (folder / "outbox").iterdir()}
        if not any(list((folder / "files" / file_id).glob("*")) for file_id in waiting):
            return
        time.sleep(0.2)
    raise TimeoutError(f"events still wait after {DRAIN_SECONDS} s: {waiting}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.webhooks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of a run that is to be repeated, more or less")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-webhooks-") as folder:
        result = kill_servers(Path(folder), rounds=options.rounds, seed=options.seed)
    print(f"webhooks: seed {options.seed}: {result}")
    return int(bool(result.lost or result.not_stored or result.invalid))


if __name__ == "__main__":
    sys.exit(main())

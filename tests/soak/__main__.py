"""``make soak``: crash the local server again and again while clients upload, and ask for all that was answered.

A round: clients send forms, single files, presigned forms, uploads in parts and resumable uploads, and end some. At a
random moment the server is killed (``kill -9``), or its disk loses power. Then a new server starts over the remains:

- each answered upload is there, with equal bytes, and each answered part and each answered offset counts;
- each answered delete and abort holds;
- nothing that was not answered is half there: each payload begins with its own length and SHA-256;
- no request is answered with 500.

The disk is an ext4 file system on a loop device. It loses power by the ioctl that the file system's own tests use
(``EXT4_IOC_SHUTDOWN`` without flushing the log, linux/fs/ext4/ioctl.c). From that moment nothing more reaches the
device: unsynced bytes and unsynced names are gone when it is mounted again. That takes root.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import http.client
import json
import os
import random
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

ROUNDS = {"kill": 100, "power": 40}
CLIENTS = 6
LONGEST_SECONDS = 1.5
"""How long clients are at work before a crash, at most."""
PART_BYTES = 5 * 1024 * 1024
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
ROOT = Path(__file__).parent.parent.parent


# The server, and its ends.


class Place(Protocol):
    """A folder for the server, that can be cut off."""

    folder: Path

    def crash(self, process: subprocess.Popen[bytes]) -> None:
        """End the server in the middle of its work, and make the folder ready for the next one."""

    def close(self) -> None:
        """Give back the system's devices."""


class KilledProcess:
    """A folder of any file system, and ``kill -9``."""

    def __init__(self, work: Path, _: random.Random) -> None:
        self.folder = work / "folder"

    def crash(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def close(self) -> None:
        pass


class PowerLoss:
    """A folder on a loop device that loses its power."""

    def __init__(self, work: Path, rng: random.Random) -> None:
        self._image, self._mount_point, self._rng = work / "disk.img", work / "disk", rng
        with self._image.open("wb") as image:
            image.truncate(2 * 1024**3)
        subprocess.run(["mkfs.ext4", "-q", self._image], check=True)
        self._mount_point.mkdir()
        self._mount()
        self.folder = self._mount_point / "folder"

    def _mount(self) -> None:
        # "writeback" lets names reach the disk before their bytes, and a long interval keeps both in memory.
        data, seconds = self._rng.choice(("writeback", "ordered")), self._rng.choice((1, 5, 600))
        options = f"loop,data={data},commit={seconds}"
        subprocess.run(["mount", "-o", options, self._image, self._mount_point], check=True)

    def crash(self, process: subprocess.Popen[bytes]) -> None:
        descriptor = os.open(self._mount_point, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(descriptor)
        process.kill()
        process.wait()
        self.close()
        self._mount()

    def close(self) -> None:
        for _ in range(50):
            if not subprocess.run(["umount", self._mount_point], stderr=subprocess.DEVNULL, check=False).returncode:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self._mount_point} stays mounted")


KINDS: dict[str, Callable[[Path, random.Random], Place]] = {"kill": KilledProcess, "power": PowerLoss}


def start(folder: Path, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server.

    :returns: its process and its port.
    """
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    for _ in range(600):
        if greeting := re.search(rb"Serving http://[^:]+:([0-9]+)", log.read_bytes()):
            return process, int(greeting[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the server does not start: {log.read_text()}")


# Clients.


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Lost(Exception):
    """There is no answer."""


@dataclass
class Client:
    port: int
    statuses: Counter[int]

    def send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        content_type: str = "",
        fields: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """:raises Lost: the server is gone."""
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {**({"Content-Type": content_type} if content_type else {}), **fields}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.read(), dict(response.headers))
        except (OSError, http.client.HTTPException):
            raise Lost from None
        finally:
            connection.close()
        self.statuses[answer.status] += 1
        return answer

    def form(self, url: str, data: Sequence[bytes], fields: dict[str, str] | None = None) -> Answer:
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Disposition: form-data; name="
        parts = [f'{head}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in (fields or {}).items()]
        parts += [f'{head}"file"; filename="a.txt"\r\n\r\n'.encode() + each + b"\r\n" for each in data]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self.send("POST", url, body, f"multipart/form-data; boundary={boundary}")


def payload(rng: random.Random, size: int) -> bytes:
    """A text that can be checked by itself."""
    content = rng.randbytes(size // 2).hex().encode()
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n".encode() + content


def is_whole(data: bytes) -> bool:
    head, _, content = data.partition(b"\n")
    return head == f"{len(content)} {hashlib.sha256(content).hexdigest()}".encode()


@dataclass
class Stored:
    """A file whose upload was answered.

    :param end: whether its end was asked for, or answered.
    """

    url: str
    data: bytes
    end: str = ""


@dataclass
class InParts:
    """An upload in parts that was begun, and not completed.

    :param arrived: numbers of the answered parts.
    :param end: the last request, if it got no response; or "aborted".
    """

    key: str
    upload_id: str
    parts: list[bytes]
    arrived: set[int] = field(default_factory=set)
    end: str = ""

    def path(self, rest: str = "") -> str:
        return f"/upload/s3/multipart/{quote(self.upload_id)}{rest}?key={quote(self.key)}"


@dataclass
class Resumable:
    """A resumable upload that was begun, and not completed.

    :param url: of the upload.
    :param offset: the highest offset that was answered.
    :param end: "cancel" if that request got no response, "cancelled" if it did.
    """

    url: str
    data: bytes
    offset: int = 0
    end: str = ""

    def send(self, client: Client, method: str, **request: Any) -> Answer:
        fields = {"Tus-Resumable": "1.0.0"} | request.pop("fields", {})
        return client.send(method, self.url, fields=fields, **request)


@dataclass
class Told:
    """Everything that clients know from responses."""

    files: list[Stored] = field(default_factory=list)
    forms: list[tuple[str, bytes]] = field(default_factory=list)
    """The address of its status, and the file."""
    in_parts: list[InParts] = field(default_factory=list)
    resumable: list[Resumable] = field(default_factory=list)
    choosing: threading.Lock = field(default_factory=threading.Lock)
    """Held while a client chooses a file to delete, so that no other one chooses it too."""


def upload_form(client: Client, told: Told, rng: random.Random) -> None:
    data = [payload(rng, rng.choice((10, 5_000, 300_000))) for _ in range(rng.choice((1, 1, 3)))]
    answer = client.form("/upload", data)
    if answer.status == 201:
        for entry, each in zip(answer.json["files"], data, strict=True):
            told.files.append(Stored(entry["url"], each))


def upload_put(client: Client, told: Told, rng: random.Random) -> None:
    data = payload(rng, rng.choice((10, 5_000, 1_000_000)))
    answer = client.send("PUT", "/upload/a.txt", data)
    if answer.status == 201:
        told.files.append(Stored(answer.json["url"], data))


def upload_presigned(client: Client, told: Told, rng: random.Random) -> None:
    data = payload(rng, rng.choice((10, 5_000, 300_000)))
    form = client.send("GET", "/upload/s3/params?filename=a.txt")
    if form.status == 200 and client.form(form.json["url"], [data], form.json["fields"]).status == 204:
        told.forms.append((form.json["status"], data))


def upload_in_parts(client: Client, told: Told, rng: random.Random) -> None:
    """Often the crash comes between two of these requests."""
    data = payload(rng, rng.choice((10, 5_000, 100_000, PART_BYTES, 2 * PART_BYTES + 100)))
    parts = [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]
    announced = {"filename": "a.txt"} | ({"size": len(data), "partSize": PART_BYTES} if rng.random() < 0.5 else {})
    begun = client.send("POST", "/upload/s3/multipart", json.dumps(announced).encode(), "application/json")
    if begun.status != 200:
        return
    upload = InParts(begun.json["key"], begun.json["uploadId"], parts)
    told.in_parts.append(upload)
    for number in range(1, len(parts) + 1):
        send_part(client, upload, number)
    action = rng.choice(("complete", "complete", "abort", "leave"))
    if action == "complete" and len(upload.arrived) == len(parts):
        complete(client, told, upload, with_list=rng.random() < 0.5)
    elif action == "abort":
        upload.end = "abort"
        if client.send("DELETE", upload.path()).status == 200:
            upload.end = "aborted"


def send_part(client: Client, upload: InParts, number: int) -> None:
    url = client.send("GET", upload.path(f"/{number}"))
    if url.status == 200 and client.send("PUT", url.json["url"], upload.parts[number - 1]).status == 200:
        upload.arrived.add(number)


def complete(client: Client, told: Told, upload: InParts, *, with_list: bool) -> Answer:
    parts = [{"PartNumber": n, "ETag": hashlib.md5(part).hexdigest()} for n, part in enumerate(upload.parts, 1)]
    upload.end = upload.end or "complete"
    body = json.dumps({"parts": parts} if with_list else {}).encode()
    answer = client.send("POST", upload.path("/complete"), body, "application/json")
    if answer.status == 200:
        told.files.append(Stored(answer.json["url"], b"".join(upload.parts)))
        upload.end = "completed"
    return answer


def upload_resumable(client: Client, told: Told, rng: random.Random) -> None:
    """Often the crash comes in the middle of a piece."""
    data = payload(rng, rng.choice((10, 5_000, 300_000, 2_000_000)))
    metadata = "filename " + base64.b64encode(b"a.txt").decode()
    fields = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Upload-Metadata": metadata}
    begun = client.send("POST", "/upload", b"", fields=fields)
    if begun.status != 201:
        return
    upload = Resumable(begun.headers["Location"], data)
    told.resumable.append(upload)
    stop = rng.choice((len(data), len(data), rng.randrange(len(data))))
    while upload.offset < stop and append(client, told, upload, rng.randint(1, max(1, len(data) // 3)), rng=rng):
        pass
    if stop < len(data) and rng.random() < 0.3:
        upload.end = "cancel"
        if upload.send(client, "DELETE").status == 204:
            upload.end = "cancelled"


def append(client: Client, told: Told, upload: Resumable, size: int, *, rng: random.Random) -> bool:
    """Append a piece, in some cases with its digest.

    :returns: whether the piece was accepted.
    """
    piece = upload.data[upload.offset : upload.offset + size]
    fields = {"Upload-Offset": str(upload.offset)}
    if rng.random() < 0.3:
        fields["Upload-Checksum"] = "sha256 " + base64.b64encode(hashlib.sha256(piece).digest()).decode()
    answer = upload.send(client, "PATCH", body=piece, content_type="application/offset+octet-stream", fields=fields)
    if answer.status >= 300:
        return False
    upload.offset = int(answer.headers["Upload-Offset"])
    if upload.offset == len(upload.data):
        told.files.append(Stored(answer.json["url"], upload.data))
        told.resumable.remove(upload)
    return True


def delete(client: Client, told: Told, rng: random.Random) -> None:
    with told.choosing:
        files = [stored for stored in told.files[-30:] if not stored.end]
        if not files:
            return
        stored = rng.choice(files)
        stored.end = "delete"
    if client.send("DELETE", stored.url).status == 204:
        stored.end = "deleted"


ACTIONS = (
    upload_form,
    upload_put,
    upload_presigned,
    upload_in_parts,
    upload_in_parts,
    upload_resumable,
    upload_resumable,
    delete,
)


def work(client: Client, told: Told, rng: random.Random, crashed: threading.Event) -> None:
    with suppress(Lost):
        while not crashed.is_set():
            rng.choice(ACTIONS)(client, told, rng)


# The check.


@dataclass
class Findings:
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    """Deleted or aborted, and there again."""

    def __bool__(self) -> bool:
        return bool(self.lost or self.half or self.back)


def check(client: Client, told: Told, folder: Path, found: Findings, rng: random.Random) -> None:
    """Ask the new server for all that the last one answered, and finish or end the rest."""
    for path in folder.glob("files/*/*"):
        if not is_whole(path.read_bytes()):
            found.half.append(str(path.relative_to(folder)))
        if client.send("GET", f"/{path.relative_to(folder)}").status != 200:
            found.half.append(f"{path.relative_to(folder)} cannot be read")
    for stored in told.files:
        check_file(client, stored, found)
    for status, data in told.forms:
        answer = client.send("GET", status)
        if answer.status == 200 and answer.json["status"] == "stored":
            told.files.append(Stored(answer.json["file"]["url"], data))
            check_file(client, told.files[-1], found)
        else:
            found.lost.append(f"form: {answer}")
    told.forms.clear()
    for upload in told.in_parts:
        check_in_parts(client, told, upload, found, rng)
    told.in_parts.clear()
    for resumable in list(told.resumable):
        check_resumable(client, told, resumable, found, rng)
    told.resumable.clear()


def check_file(client: Client, stored: Stored, found: Findings) -> None:
    answer = client.send("GET", stored.url)
    is_there = answer.status == 200 and answer.body == stored.data
    if stored.end == "deleted" and answer.status != 404:
        found.back.append(f"{stored.url}: {answer.status}")
    if stored.end == "delete":  # it was asked for, and not answered: both are right
        stored.end = "" if is_there else "deleted"
    if not stored.end and not is_there:
        found.lost.append(f"{stored.url}: {answer.status}")
    if stored.end == "deleted" and answer.status not in (200, 404):
        found.lost.append(f"{stored.url}: {answer.status}")


def check_in_parts(client: Client, told: Told, upload: InParts, found: Findings, rng: random.Random) -> None:
    """Go on with it as its client would: send the missing parts, and complete it."""
    if upload.end == "completed":
        return
    listed = client.send("GET", upload.path())
    if upload.end == "aborted":
        if listed.status != 404 or complete(client, told, upload, with_list=False).status != 404:
            found.back.append(f"{upload.key}: {listed}")
        return
    if listed.status == 200:
        sizes = {part["PartNumber"]: part["Size"] for part in listed.json}
        missing = [number for number in upload.arrived if sizes.get(number) != len(upload.parts[number - 1])]
        found.lost += [f"{upload.key}: part {number}" for number in missing]
        for number in range(1, len(upload.parts) + 1):
            if number not in sizes:
                send_part(client, upload, number)
    elif upload.end not in ("complete", "abort"):
        found.lost.append(f"{upload.key}: {listed}")
        return
    end = upload.end
    answer = complete(client, told, upload, with_list=rng.random() < 0.5)
    if answer.status == 200:
        check_file(client, told.files[-1], found)
    elif end != "abort" or answer.status != 404:
        found.lost.append(f"{upload.key}: {answer}")


def check_resumable(client: Client, told: Told, upload: Resumable, found: Findings, rng: random.Random) -> None:
    """Go on with it as its client would: ask for the offset, and send the rest."""
    answer = upload.send(client, "HEAD")
    if upload.end and answer.status == 404:
        return
    if upload.end == "cancelled":
        found.back.append(f"{upload.url}: {answer.status}")
        return
    offset = int(answer.headers.get("Upload-Offset", "-1"))
    if answer.status != 204 or not upload.offset <= offset <= len(upload.data):
        found.lost.append(f"{upload.url}: {answer.status}, {offset} of {upload.offset} answered bytes")
        return
    upload.offset = offset
    while upload.offset < len(upload.data):
        if not append(client, told, upload, 1_000_000, rng=rng):
            found.lost.append(f"{upload.url}: rejected at {upload.offset}")
            return
    if upload in told.resumable:  # its last piece got no response
        status = upload.send(client, "GET")
        told.files.append(Stored(status.json["url"], upload.data))
    check_file(client, told.files[-1], found)


# Rounds.


@contextmanager
def served(place: Place, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process, port = start(place.folder, log)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


def soak(kind: str, rounds: int, seed: str) -> bool:
    """Crash the server so many times.

    :returns: whether all was well.
    """
    told, found, statuses = Told(), Findings(), Counter[int]()
    answered = deleted = 0
    with tempfile.TemporaryDirectory(prefix=f"soak-{kind}-") as work_folder:
        place = KINDS[kind](Path(work_folder), random.Random(f"{seed} {kind}"))
        log = Path(work_folder) / "log"
        try:
            for number in range(1, rounds + 1):
                rng = random.Random(f"{seed} {kind} {number}")
                before = len(told.files)
                one_round(place, told, statuses, rng, log)
                with served(place, log) as (_, port):
                    check(Client(port, statuses), told, place.folder, found, rng)
                    answered += len(told.files) - before
                    deleted += tidy(Client(port, statuses), told, rng)
                if found or statuses[500]:
                    shutil.copytree(
                        place.folder, Path(tempfile.gettempdir()) / f"soak-{kind}-remains", dirs_exist_ok=True
                    )
                    break
                print(f"{kind} {number}/{rounds}: {answered} answered, {deleted} deleted, 0 lost", flush=True)
        finally:
            place.close()
    print(
        f"{kind}: {number} rounds, seed {seed}: {answered} answered uploads, {len(found.lost)} lost, "
        f"{len(found.half)} half there, {len(found.back)} came back, {statuses[500]} answers of 500; "
        f"all answers: {dict(sorted(statuses.items()))}"
    )
    for problem in (*found.lost, *found.half, *found.back):
        print(f"  {problem}")
    return not found and not statuses[500]


def one_round(place: Place, told: Told, statuses: Counter[int], rng: random.Random, log: Path) -> None:
    """Let clients work, and crash the server at a random moment."""
    crashed = threading.Event()
    with served(place, log) as (process, port):
        threads = [
            threading.Thread(target=work, args=(Client(port, statuses), told, random.Random(rng.random()), crashed))
            for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.05, LONGEST_SECONDS))
        place.crash(process)
        crashed.set()
        for thread in threads:
            thread.join()


def tidy(client: Client, told: Told, rng: random.Random) -> int:
    """Delete most files, so that the disk does not fill, and forget most deleted ones.

    :returns: how many were deleted.
    """
    deleted = 0
    for stored in told.files:
        if not stored.end and (len(stored.data) > 1_000_000 or rng.random() < 0.8):
            stored.end = "deleted" if client.send("DELETE", stored.url).status == 204 else "delete"
            deleted += 1
    told.files[:] = [stored for stored in told.files if not stored.end] + rng.sample(
        gone := [stored for stored in told.files if stored.end], min(len(gone), 50)
    )
    return deleted


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kind", choices=KINDS, help="of crash (default: both)")
    parser.add_argument("--rounds", type=int, help=f"of each kind (default: {ROUNDS})")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of a run that is to be repeated, more or less")
    options = parser.parse_args()
    good = True
    for kind in [options.kind] if options.kind else KINDS:
        if kind == "power" and (os.geteuid() != 0 or not shutil.which("mkfs.ext4")):
            print("SKIPPED power: it takes root, mkfs.ext4 and a loop device")
            continue
        good = soak(kind, options.rounds or ROUNDS[kind], options.seed) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

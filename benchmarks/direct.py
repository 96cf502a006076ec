"""The work of Lambda for files that go straight to S3: 1 GiB in parts of 64 MiB, and 6 MB in one part.

The benchmark counts requests, bytes of HTTP bodies, calls to S3, and CPU. An upload takes at least these requests: one
to begin, one for the URL of each part, and one to complete. S3 then sends an event, which is counted separately.

S3 is moto's, in a process of its own, and hashes copies as S3 does. moto is too slow for 1 GiB. The parts sent are 16
as well, but of 5 MiB, which changes a digit in the bodies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import requests

from contenders import Context
from handler.storage.s3.client import make_client
from handler.web.tokens import mint
from tests.support import filetype_samples, gateway_events, s3_events, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
PARTS = 1024 // 64
PART_BYTES = 5 * MIB
SMALL_BYTES = 6_000_000
BAR = 100_000
COMPLETION_BAR = 6
"""The calls to S3 by the completion of the small upload."""
SECRET = "the secret of the benchmark protects nothing"
BUCKET = "uploads"

SERVE = """
import builtins
import sys

from moto.server import ThreadedMotoServer

sys.path.insert(0, sys.argv[1])
from tests.support import hashing_s3

hashing_s3.install(builtins)  # whose setattr is permanent
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def s3() -> Iterator[None]:
    """An S3 with an empty, versioned bucket, to which botocore's own variables lead."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(Path(__file__).parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if server.stdout is None:
            raise RuntimeError("the server has no output")
        os.environ |= {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.stdout.readline().strip()}",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        client = make_client()
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield
    finally:
        server.communicate()


class Client:
    """Calls the function as API Gateway does, and counts."""

    def __init__(self) -> None:
        from handler.lambda_function import _app, lambda_handler, promote_handler  # noqa: PLC0415

        self._handler, self._promote = lambda_handler, promote_handler
        self._token = mint(SECRET, expires_seconds=3600)
        self.body_bytes, self.calls, self.cpu = 0, 0, 0.0
        self.s3_calls: Counter[str] = Counter()
        _app.extensions["services"].direct_uploads.secret()  # which is read once in five minutes
        client = _app.extensions["services"].storage.client
        client.meta.events.register("before-send.s3", lambda event_name, **_: self._count(event_name))

    def _count(self, event_name: str) -> None:
        self.s3_calls[event_name.rpartition(".")[2]] += 1

    def call(self, method: str, path: str, said: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if said is None else json.dumps(said).encode()
        path, _, query = path.partition("?")
        headers = [("Authorization", f"Bearer {self._token}"), ("Content-Type", "application/json")]
        event = gateway_events.rest_event(method=method, path=path, query=query, headers=headers, body=body)
        began = time.process_time()
        with Path(os.devnull).open("w") as log, redirect_stdout(log):
            answer = self._handler(event, Context())
        self.cpu += time.process_time() - began
        if answer["statusCode"] != 200:
            raise RuntimeError(f"{method} {path}: {answer['body']}")
        self.calls += 1
        self.body_bytes += len(body or b"") + len(answer["body"].encode())
        found: dict[str, Any] = json.loads(answer["body"])
        return found

    def event(self, key: str, version: str) -> None:
        """Handle the event of an object that arrived."""
        event = s3_events.queued(s3_events.object_created(BUCKET, key, version=version))
        began = time.process_time()
        with Path(os.devnull).open("w") as log, redirect_stdout(log):
            self._promote(event, Context())
        self.cpu += time.process_time() - began


def photo(size: int) -> bytes:
    return samples.png(size)


def film(size: int) -> bytes:
    """An MP4 of so many bytes, whose index comes first."""
    head = filetype_samples.film(b"isom", b"isom", b"mp41")
    return head + struct.pack(">I4s", size - len(head), b"mdat") + bytes(size - len(head) - 8)


def upload(name: str, content: bytes, *, part_bytes: int) -> dict[str, Any]:
    client = Client()
    described = {"filename": name, "size": len(content), "partSize": part_bytes}
    upload = client.call("POST", "/upload/s3/multipart", described)
    here, key = f"/upload/s3/multipart/{upload['uploadId']}", upload["key"]
    listed = []
    for number, offset in enumerate(range(0, len(content), part_bytes), start=1):
        part = content[offset : offset + part_bytes]
        url = client.call("GET", f"{here}/{number}?key={key}")["url"]
        sent = requests.put(url, data=part, timeout=600)
        listed.append({"PartNumber": number, "ETag": sent.headers["ETag"].strip('"')})
    before = client.s3_calls.copy()
    (file,) = client.call("POST", f"{here}/complete?key={key}", {"parts": listed})["files"]
    if file["sha256"] != hashlib.sha256(content).hexdigest():
        raise RuntimeError("S3 has hashed other bytes")
    requested, cpu = client.s3_calls.copy(), client.cpu
    (version,) = make_client().list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]
    client.event(key, version["VersionId"])
    return {
        "body_bytes": client.body_bytes,
        "calls": client.calls,
        "parts": len(listed),
        "cpu": cpu * 1000,
        "s3_calls": dict(requested),
        "completion_s3_calls": dict(requested - before),
        "event_cpu": (client.cpu - cpu) * 1000,
        "event_s3_calls": dict(client.s3_calls - requested),
    }


def show(name: str, found: dict[str, Any]) -> None:
    def calls(of: str) -> str:
        return ", ".join(f"{count} {name}" for name, count in found[of].items())

    print(
        f"{name}, parts: {found['parts']}. {found['calls']} requests through Lambda, {found['cpu']:.0f} ms of CPU; "
        f"and the event, {found['event_cpu']:.0f} ms."
    )
    print(f"Calls to S3 by the requests: {calls('s3_calls')}. By the completion: {calls('completion_s3_calls')}.")
    print(f"By the event: {calls('event_s3_calls')}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="a file with results, to add these to")
    options = parser.parse_args()
    os.environ |= {"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": SECRET, "AWS_LAMBDA_FUNCTION_NAME": "benchmark"}
    os.environ["ALLOWED_EXTENSIONS"] = "png mp4"
    with s3():
        upload("photo.png", photo(SMALL_BYTES), part_bytes=SMALL_BYTES)  # the first requests import and connect
        small = upload("photo.png", photo(SMALL_BYTES), part_bytes=SMALL_BYTES)
        large = upload("film.mp4", film(PARTS * PART_BYTES), part_bytes=PART_BYTES)
    show("6 MB", small)
    show("1 GiB", large)
    completion = sum(small["completion_s3_calls"].values())
    print("| bar | at most | measured | |\n|---|---|---|---|")
    for bar, maximum, measured in (
        ("HTTP bodies of 1 GiB, bytes", BAR, large["body_bytes"]),
        ("S3 calls of the completion of 6 MB", COMPLETION_BAR, completion),
    ):
        print(f"| {bar} | {maximum:,} | {measured:,} | {'met' if measured <= maximum else 'MISSED'} |")
    if options.results:
        results = json.loads(options.results.read_text()) | {"direct": large, "direct_small": small}
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

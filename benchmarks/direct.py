"""What goes through Lambda when 1 GiB is uploaded straight to S3, in parts of 64 MiB: bytes of HTTP bodies, calls, CPU.

S3 is moto's, in a process of its own. What is counted is the least that an upload takes: begun, a URL for each part,
completed. moto is too slow for 1 GiB: the parts sent are 16 as well, but of 5 MiB, which changes a digit in the bodies.
"""

from __future__ import annotations

import argparse
import json
import os
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
from tests.support import gateway_events, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
PARTS = 1024 // 64
PART_BYTES = 5 * MIB
BAR = 100_000
SECRET = "the secret of the benchmark protects nothing"
BUCKET = "uploads"

SERVE = """
from moto.server import ThreadedMotoServer
import sys
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def s3() -> Iterator[None]:
    """An S3 with an empty, versioned bucket, to which botocore's own variables lead."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE],
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
        from handler.lambda_function import _app, lambda_handler  # noqa: PLC0415

        self._handler = lambda_handler
        self._token = mint(SECRET, expires_seconds=3600)
        self.body_bytes, self.calls, self.cpu = 0, 0, 0.0
        self.s3_calls: Counter[str] = Counter()
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


def upload() -> dict[str, Any]:
    client = Client()
    described = {"filename": "film.png", "type": "image/png", "size": PARTS * PART_BYTES, "partSize": PART_BYTES}
    upload = client.call("POST", "/upload/s3/multipart", described)
    here, key = f"/upload/s3/multipart/{upload['uploadId']}", upload["key"]
    part = samples.png(PART_BYTES)
    parts = []
    for number in range(1, PARTS + 1):
        url = client.call("GET", f"{here}/{number}?key={key}")["url"]
        sent = requests.put(url, data=part, timeout=600)
        parts.append({"PartNumber": number, "ETag": sent.headers["ETag"].strip('"')})
    client.call("POST", f"{here}/complete?key={key}", {"parts": parts})
    return {
        "body_bytes": client.body_bytes,
        "calls": client.calls,
        "parts": PARTS,
        "cpu": client.cpu * 1000,
        "s3_calls": dict(client.s3_calls),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="a file with results, to add these to")
    options = parser.parse_args()
    os.environ |= {"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": SECRET, "AWS_LAMBDA_FUNCTION_NAME": "benchmark"}
    with s3():
        found = upload()
    verdict = "met" if found["body_bytes"] < BAR else "MISSED"
    print(
        f"1 GiB in {found['parts']} parts: {found['calls']} calls through Lambda, {found['cpu']:.0f} ms of CPU in all."
    )
    print(f"S3 was called for {', '.join(f'{count} {name}' for name, count in found['s3_calls'].items())}.")
    print(f"\n| bar | under | measured | |\n|---|---|---|---|\n| HTTP bodies, bytes | {BAR:,} | ", end="")
    print(f"{found['body_bytes']:,} | {verdict} |")
    if options.results:
        results = json.loads(options.results.read_text()) | {"direct": found}
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

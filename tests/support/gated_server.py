"""A local server behind a gate, which a test can stop, restart and cut off."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
import pytest

from . import atomic_s3
from .gate import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

DESTINATIONS = ["folder", "strict S3"]
"""Where a server can store: processes cannot reach moto, which is within this process."""


@contextmanager
def settings_of(destination: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the settings that say where files go. Skip the test if a strict S3 is wanted and there is none.

    :param destination: one of :data:`DESTINATIONS`.
    :param folder: an empty folder.
    """
    if destination == "folder":
        yield {"UPLOAD_FOLDER": str(folder)}
        return
    url = os.environ.get("STRICT_S3_URL")
    if not url:
        pytest.skip("STRICT_S3_URL does not say where a strict S3 is; .ci/run starts one")
    client: S3Client = boto3.client(
        "s3", endpoint_url=url, region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    bucket = f"uploads-{uuid.uuid4()}"
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with atomic_s3.serve(url) as relay:
        yield {
            "UPLOAD_BUCKET": bucket,
            "AWS_ENDPOINT_URL_S3": relay,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@contextmanager
def serve(destination: str, folder: Path, **environ: str) -> Iterator[GatedServer]:
    """Start a server behind a gate, and stop both at the end.

    :param destination: one of :data:`DESTINATIONS`.
    :param folder: an empty folder.
    """
    with settings_of(destination, folder) as settings:
        server = GatedServer(settings | environ)
        server.start()
        yield server
        server.close()


@dataclass
class GatedServer:
    """A local server, and the gate through which its clients reach it.

    :param environ: the settings of the server.
    """

    environ: dict[str, str]
    gate: Gate = field(default_factory=lambda: Gate(0))
    _process: subprocess.Popen[str] | None = None
    _log: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        """The URL to upload to."""
        return f"{self.gate.url}/upload"

    def start(self) -> None:
        """Start a server, which takes the place of a stopped one."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "handler", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | self.environ,
        )  # fmt: skip
        assert self._process.stdout
        lines = iter(self._process.stdout.readline, "")
        port = next((port for line in lines if (port := re.match(r"Serving http://[^ ]+:(\d+)", line))), None)
        assert port, "the server did not start"
        # pytest shows the log where a test fails. A full pipe would stop the server.
        self._log = threading.Thread(target=lambda: print(*lines, sep="", end=""))
        self._log.start()
        self.gate.open(int(port[1]))

    def kill(self) -> None:
        """Kill the server, as a power cut does. New connections wait at the gate."""
        assert self._process
        assert self._process.stdout
        assert self._log
        self.gate.shut()
        self._process.kill()
        self._process.wait()
        self._log.join()
        self._process.stdout.close()

    def close(self) -> None:
        """Stop the server and the gate."""
        self.kill()
        self.gate.close()

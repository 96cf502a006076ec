"""The hourly sweep of the local server."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from handler.app import create_app
from handler.local import cli, sweeper
from handler.settings import Settings
from handler.storage.folder.direct import SWEEP_SECONDS

from ..support.stored_files import ID, put

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client


def test_sweep_is_hourly() -> None:
    assert SWEEP_SECONDS == 3600


def test_sweep_is_repeated_and_survives_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    swept = threading.Semaphore(0)
    failures = [OSError(5, "Input/output error")]

    def sweep() -> None:
        swept.release()
        if failures:
            raise failures.pop()

    create_app(Settings.from_environ({"ACCESS": "public"}))  # sets up the log
    stopped = sweeper.start(sweep, every_seconds=0.001)
    for _ in range(3):
        assert swept.acquire(timeout=60)
    stopped.set()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["event"] for line in lines if "sweep" in line["event"]] == ["sweep failed"]


def test_server_sweeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of the server deletes a file that expires while the server runs."""
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path / "uploads")}))
    storage = app.extensions["services"].storage
    deleted = threading.Event()

    def start(sweep: object) -> None:
        def run() -> None:
            assert callable(sweep)
            sweep()
            deleted.set()

        threading.Thread(target=run, daemon=True).start()

    monkeypatch.setattr(sweeper, "start", start)
    put(storage, keep_days=1, stored=datetime.now(UTC).replace(microsecond=0) - timedelta(days=1))
    cli._sweep_hourly(app)
    assert deleted.wait(60)
    assert not storage.contains(ID)


def test_bucket_is_not_swept(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """The lifecycle rules of the bucket do it."""
    started: list[object] = []
    monkeypatch.setattr(sweeper, "start", started.append)
    cli._sweep_hourly(create_app(Settings.from_environ({"UPLOAD_BUCKET": "uploads-of-a-test"})))
    assert started == []

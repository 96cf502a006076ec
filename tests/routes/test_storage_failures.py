"""Storages that fail during an upload: responses, log lines, and the files that must not stay."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from handler.intake import STORED_AT_ONCE
from handler.problems import StorageUnavailable
from handler.storage.folder.files import LocalStorage, LocalWriter
from handler.storage.s3.files import S3Writer

from ..support import samples
from ..support.http_client import json_of, post, problem
from ..support.stored_files import content_of, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

    from handler.storage import Storage, StoredFile


def test_storage_failure_is_reported_without_its_message(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(*_: object) -> None:
        raise StorageUnavailable("the words of the storage")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", down)
    response = post(client, (samples.TEXT, "a.txt"))
    problem(response, 503, "storage-unavailable")
    assert response.headers["Retry-After"] == "5"
    assert "the words of the storage" not in response.text
    fault = json.loads(capsys.readouterr().out.splitlines()[0])
    assert fault["reason"] == "the words of the storage"
    assert fault["request_id"] == response.headers["X-Request-Id"]


def test_files_stored_before_a_failure_are_deleted(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    writer = S3Writer if kind != "folder" else LocalWriter
    commit = writer.commit

    def fail_at_the_third(self: Any, file: Any) -> None:
        commit(self, file)  # even if it came as far as this
        if file.name == "c.txt":
            raise StorageUnavailable("the answer was lost")

    monkeypatch.setattr(writer, "commit", fail_at_the_third)
    response = post(client, *[(samples.TEXT, name) for name in ("a.txt", "b.txt", "c.txt")])
    problem(response, 503, "storage-unavailable")
    assert stored_keys() == []


def test_conflict_deletes_only_files_of_this_request(
    client: FlaskClient, storage: Storage, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    theirs = put(storage, b"theirs")
    before = stored_keys()
    ids = iter(["e" * 32, theirs.id, "f" * 32])
    monkeypatch.setattr("handler.intake.new_id", lambda: next(ids))
    response = post(client, (samples.TEXT, "a.txt"), (samples.TEXT, theirs.name), (samples.TEXT, "b.txt"))
    problem(response, 409, "already-exists")
    assert stored_keys() == before
    assert content_of(storage, theirs) == b"theirs"


def test_files_of_one_request_are_stored_in_parallel(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = S3Writer if kind != "folder" else LocalWriter
    commit = writer.commit
    together = threading.Barrier(STORED_AT_ONCE, timeout=10)

    def commit_together(self: Any, file: Any) -> None:
        together.wait()
        commit(self, file)

    monkeypatch.setattr(writer, "commit", commit_together)
    names = [f"{number}.txt" for number in range(STORED_AT_ONCE)]
    response = post(client, *[(samples.TEXT, name) for name in names])
    assert response.status_code == 201, response.text
    assert [file["name"] for file in json_of(response)["files"]] == names


def test_no_file_is_written_after_a_failure(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    begun: list[str] = []

    def down(_self: object, file: StoredFile) -> None:
        begun.append(file.name)
        time.sleep(0.01)  # the failure has to be seen
        raise StorageUnavailable("down")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", down)
    problem(post(client, *[(samples.TEXT, f"{number}.txt") for number in range(100)]), 503, "storage-unavailable")
    assert len(begun) < 50
    assert stored_keys() == []


def test_failed_cleanup_does_not_hide_the_error(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret cause")

    def down(*_: object, **__: object) -> None:
        raise StorageUnavailable("down")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", broken)
    if kind == "folder":
        monkeypatch.setattr(LocalStorage, "delete", down)
    else:
        monkeypatch.setattr("botocore.endpoint.Endpoint.make_request", down)
    problem(post(client, (samples.TEXT, "a.txt")), 500, "internal-error")


def test_internal_error_is_logged_and_not_shown(
    client: FlaskClient,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stored_keys: Callable[[], list[str]],
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret cause")

    monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", broken)
    response = post(client, (samples.TEXT, "a.txt"))
    problem(response, 500, "internal-error")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    fault, outcome = map(json.loads, capsys.readouterr().out.splitlines())
    assert "the secret cause" in fault["exception"]
    assert fault["request_id"] == outcome["request_id"] == response.headers["X-Request-Id"]
    assert stored_keys() == []


ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "words",
    [
        f'AccessDenied: not authorized to perform s3:PutObject on "arn:aws:s3:::b/files/{ID}/Secret_plans.txt"',
        f"EndpointConnectionError('Could not connect to: \"https://b.s3/files/{ID}/Secret-plans.txt\"')",
        f"[Errno 28] No space left on device: '/home/ada/uploads/files/{ID}/Secret.plans.txt'",
    ],
)
def test_file_name_in_a_storage_error_is_not_logged(
    client: FlaskClient, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    for fault in (StorageUnavailable(words), RuntimeError(words)):
        commit = Mock(side_effect=fault)
        monkeypatch.setattr(S3Writer if kind != "folder" else LocalWriter, "commit", commit)
        assert post(client, (samples.TEXT, "a.txt")).status_code in (500, 503)
        output = capsys.readouterr().out
        assert f"/files/{ID}/" in output
        assert words.partition(":")[0] in output
        assert not [word for word in ("Secret", "plans", ".txt") if word in output]

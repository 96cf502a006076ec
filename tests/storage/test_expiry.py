"""Files that expire: the tag of an object, the presigned URL, and the sweep of a folder."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from handler.storage import KEEP_DAYS
from handler.storage.folder.direct import LocalDirectUploads
from handler.storage.folder.files import LocalStorage
from handler.storage.s3.files import DOWNLOAD_SECONDS, S3Storage

from ..support.stored_files import ID, content_of, file, put

if TYPE_CHECKING:
    from handler.storage import Storage, StoredFile

OTHER_ID = "f" * 32


def days_ago(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def tags_of(storage: Storage, stored: StoredFile) -> dict[str, str]:
    assert isinstance(storage, S3Storage)
    listed = storage.client.get_object_tagging(Bucket=storage.bucket, Key=stored.key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in listed}


@pytest.mark.parametrize("days", KEEP_DAYS)
def test_file_knows_when_it_expires(storage: Storage, days: int) -> None:
    stored = put(storage, keep_days=days, stored=days_ago(0), folder="u1")
    found = storage.find(stored.id, stored.name, "u1")
    assert found is not None
    assert stored.stored is not None
    assert found.expires == stored.stored + timedelta(days=days)
    assert not found.is_expired


def test_file_without_keep_days_never_expires(storage: Storage) -> None:
    stored = put(storage, stored=days_ago(5000))
    found = storage.find(stored.id, stored.name)
    assert found is not None
    assert (found.keep_days, found.expires, found.is_expired) == (None, None, False)


def test_file_expires_to_the_second() -> None:
    assert file(keep_days=1, stored=days_ago(1)).is_expired
    assert not file(keep_days=1, stored=days_ago(1) + timedelta(minutes=1)).is_expired
    assert not file(keep_days=7, stored=days_ago(1)).is_expired


def test_object_that_expires_has_its_tag_and_no_other_has_one(storage: Storage, kind: str) -> None:
    if kind == "folder":
        pytest.skip("a folder has no tags")
    assert tags_of(storage, put(storage)) == {}
    assert tags_of(storage, put(storage, id=OTHER_ID, keep_days=30)) == {"keep-days": "30"}


@pytest.mark.parametrize(("left", "most"), [(30, 30), (10_000, DOWNLOAD_SECONDS)])
def test_presigned_url_does_not_outlive_the_file(storage: Storage, kind: str, left: int, most: int) -> None:
    if kind == "folder":
        pytest.skip("the endpoint itself serves the files of a folder")
    stored = put(storage, keep_days=1, stored=days_ago(1) + timedelta(seconds=left))
    for head in (False, True):
        query = parse_qs(urlsplit(str(storage.download(stored, head=head))).query)
        assert 1 <= int(query["X-Amz-Expires"][0]) <= most
    (seconds,) = parse_qs(urlsplit(str(storage.download(file()))).query)["X-Amz-Expires"]
    assert int(seconds) == DOWNLOAD_SECONDS


def test_expired_file_can_be_deleted(storage: Storage) -> None:
    stored = put(storage, keep_days=1, stored=days_ago(2))
    assert storage.delete(stored.id, stored.name) is True
    assert storage.find(stored.id, stored.name) is None


# The sweep of a folder.


@pytest.fixture
def folder(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "uploads")


def paths(storage: LocalStorage) -> set[str]:
    """Return the files of the folder, except those in directories of direct uploads."""
    return {str(path.relative_to(storage.folder)) for path in storage.folder.rglob("*") if path.is_file()}


def test_expired_file_is_gone_after_the_start(folder: LocalStorage) -> None:
    put(folder, keep_days=1, stored=days_ago(1.5))
    put(folder, keep_days=7, stored=days_ago(7), id="1" * 32, folder="u1")
    kept = [put(folder, keep_days=7, stored=days_ago(6.9), id="2" * 32), put(folder, id="3" * 32)]
    restarted = LocalStorage(folder.folder)
    assert [content_of(restarted, stored) for stored in kept] == [b"some bytes"] * 2
    marks = {f"expiring/{int(kept[0].expires.timestamp())}.{'2' * 32}"} if kept[0].expires else set()
    assert paths(restarted) == {
        *(stored.key for stored in kept),
        *(f"metadata/{stored.id}.json" for stored in kept),
        *marks,
    }


def test_sweep_of_direct_uploads_deletes_expired_files(folder: LocalStorage) -> None:
    uploads = LocalDirectUploads(folder)
    put(folder, keep_days=1, stored=days_ago(2))
    assert folder.contains(ID)
    uploads.sweep()
    assert not folder.contains(ID)


def test_file_without_expiry_leaves_no_mark(folder: LocalStorage) -> None:
    put(folder)
    assert not (folder.folder / "expiring").exists()


def test_mark_of_a_deleted_file_is_removed(folder: LocalStorage) -> None:
    stored = put(folder, keep_days=1, stored=days_ago(2))
    folder.delete(stored.id, stored.name)
    folder.sweep()
    assert paths(folder) == set()


def test_old_mark_does_not_delete_a_file_that_was_stored_later(folder: LocalStorage) -> None:
    """A process was killed between the mark and the file, and another one stored the file a day later."""
    stored = put(folder, keep_days=7, stored=days_ago(0))
    old_mark = folder.folder / "expiring" / f"{int(time.time()) - 5}.{stored.id}"
    old_mark.touch()
    folder.sweep()
    assert not old_mark.exists()
    assert content_of(folder, stored) == b"some bytes"


def test_expired_file_with_damaged_metadata_is_deleted(folder: LocalStorage) -> None:
    stored = put(folder, keep_days=1, stored=days_ago(2), folder="u1")
    (folder.folder / "metadata" / f"u1.{stored.id}.json").write_text("{")
    folder.sweep()
    assert paths(folder) == set()


@pytest.mark.parametrize("name", ["x", "12", "12.", "12.x", "12..", "-1.x", "12.a.b.c", "٣.x", "9" * 300])
def test_strange_mark_does_no_harm(folder: LocalStorage, name: str) -> None:
    stored = put(folder, keep_days=7, stored=days_ago(0))
    if len(name) < 255:
        (folder.folder / "expiring" / name).touch()
    folder.sweep()
    assert content_of(folder, stored) == b"some bytes"


def test_failed_delete_is_repeated_by_the_next_sweep(folder: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [put(folder, keep_days=1, stored=days_ago(2), id=each * 32) for each in "12"]
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", _refuse)
        folder.sweep()
    assert all(folder.contains(each.id) for each in files)
    folder.sweep()
    assert paths(folder) == set()


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "another process has the file open")

"""The details of a file in both storages, and the objects of earlier versions."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.direct.upload_ids import UploadId
from handler.problems import AlreadyExists, MalformedRequest
from handler.storage import NO_DETAILS, Storage, StoredFile, is_folder, path_of, split_path
from handler.storage.direct import Declaration, Deleted, Stored
from handler.storage.folder.files import LocalStorage
from handler.storage.metadata import MAX_DETAILS_BYTES, MAX_META_BYTES, check_details
from handler.storage.s3.direct import S3DirectUploads
from handler.storage.s3.files import S3Storage, object_headers

from ..conftest import BUCKET
from ..support.stored_files import ID, content_of, file, put

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OTHER_ID = "f" * 32
DETAILS: dict[str, Any] = {
    "subject": "user-7",
    "folder": "u7",
    "meta": {"order": 7, "ä": [None, 1.5]},
    "fields": {"album": "Ferien 🏝"},
    "keep_days": 30,
}


def test_details_are_found_again(storage: Storage) -> None:
    stored = put(storage, **DETAILS)
    assert storage.find(ID, "a.txt", "u7") == stored
    assert stored.key == f"files/u7/{ID}/a.txt"
    assert stored.expires == datetime(2026, 12, 27, 12, 0, 30, tzinfo=UTC)
    assert content_of(storage, stored) == b"some bytes"


def test_file_is_found_in_its_own_folder_only(storage: Storage) -> None:
    put(storage, folder="u7")
    for folder in (None, "u8", "U7", "u", "", ".", "..", "u7/", "../files/u7", "u7\0"):
        assert storage.find(ID, "a.txt", folder) is None
        assert not storage.contains(ID, folder)
        assert not storage.delete(ID, "a.txt", folder)
    assert storage.contains(ID, "u7")
    assert storage.delete(ID, "a.txt", "u7")
    assert not storage.contains(ID, "u7")


def test_same_id_in_two_folders_is_two_files(storage: Storage) -> None:
    for folder in (None, "u7", "u8"):
        put(storage, folder=folder)
    assert storage.delete(ID, "a.txt", "u7")
    assert storage.find(ID, "a.txt", "u8")
    assert storage.find(ID, "a.txt")
    with pytest.raises(AlreadyExists):
        put(storage, b"other", folder="u8")


def test_folder_named_after_an_id_is_not_the_file(storage: Storage) -> None:
    put(storage, id=OTHER_ID, folder=ID)
    assert not storage.contains(ID)
    assert storage.find(ID, "a.txt") is None


def test_file_is_found_next_to_a_folder_named_after_its_id(storage: Storage) -> None:
    """The keys of the files in the folder come before the key of the file."""
    for number in range(3):
        put(storage, id=f"{number:032}", folder=ID)
    assert not storage.contains(ID)
    put(storage, name="z.txt")
    assert storage.contains(ID)
    assert storage.delete(ID, "z.txt")
    assert not storage.contains(ID)


@pytest.mark.parametrize("page_entries", [1, 2, 1000])
def test_verdict_is_found_next_to_a_folder_named_after_the_id(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, page_entries: int
) -> None:
    """A folder may hold more files than S3 lists in a page."""
    if not isinstance(storage, S3Storage):
        pytest.skip("a folder has no pages")
    for number in range(3):
        put(storage, id=f"{number:032}", folder=ID)
    call = storage.client._make_api_call  # type: ignore[attr-defined]

    def short_pages(operation: str, arguments: dict[str, Any]) -> Any:
        more = {"MaxKeys": page_entries} if operation == "ListObjectVersions" else {}
        return call(operation, arguments | more)

    monkeypatch.setattr(storage.client, "_make_api_call", short_pages)
    uploads = S3DirectUploads(storage)
    assert uploads.find_verdict(ID) is None
    stored = put(storage, name="z.txt")
    assert uploads.find_verdict(ID) == Stored(stored)
    assert storage.delete(ID, "z.txt")
    assert uploads.find_verdict(ID) == Deleted()


def test_empty_object_of_the_console_is_not_a_file(s3: S3Client) -> None:
    """S3's console makes an object without a name for each folder."""
    s3.put_object(Bucket=BUCKET, Key=f"files/{ID}/", Body=b"")
    storage = S3Storage(BUCKET, client=s3)
    assert not storage.contains(ID)
    assert S3DirectUploads(storage).find_verdict(ID) is None


def test_best_effort_delete_finds_the_folder(storage: Storage) -> None:
    storage.delete_best_effort([put(storage, folder="u7")])
    assert not storage.contains(ID, "u7")


def test_file_system_that_ignores_case_opens_no_other_folder(tmp_path: Path) -> None:
    """There ``u7`` finds the directory and the metadata of ``U7``. Here both have two names."""
    storage = LocalStorage(tmp_path)
    put(storage, folder="U7")
    (tmp_path / "files" / "u7").symlink_to(tmp_path / "files" / "U7")
    (tmp_path / "metadata" / f"u7.{ID}.json").symlink_to(tmp_path / "metadata" / f"U7.{ID}.json")
    assert storage.find(ID, "a.txt", "u7") is None
    assert not storage.contains(ID, "u7")
    assert not storage.delete(ID, "a.txt", "u7")
    assert storage.contains(ID, "U7")
    assert storage.find(ID, "a.txt", "U7")


def test_leftovers_in_a_folder_are_swept(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    put(storage, folder="u7")
    orphan = tmp_path / "metadata" / f"u7.{OTHER_ID}.json"
    orphan.write_text("{}")
    for path in (orphan, tmp_path / "metadata" / f"u7.{ID}.json"):
        os.utime(path, (0, 0))
    storage.sweep()
    assert not orphan.exists()
    assert storage.find(ID, "a.txt", "u7"), "the metadata of a stored file stays"


# Objects of the version before.


def test_object_of_an_earlier_version_is_found_and_deleted(s3: S3Client) -> None:
    """Exactly as the version before stored it: the name percent-encoded, and neither a time nor details."""
    s3.put_object(
        Bucket=BUCKET,
        Key=f"files/{ID}/b.txt",
        Body=b"old",
        ContentType="text/plain",
        ContentDisposition="attachment; filename=\"b.txt\"; filename*=UTF-8''%C3%A4%20b.txt",
        Metadata={"original-name": "%C3%A4%20b.txt", "sha256": "0" * 64},
    )
    storage = S3Storage(BUCKET, client=s3)
    modified = s3.head_object(Bucket=BUCKET, Key=f"files/{ID}/b.txt")["LastModified"]
    expected = StoredFile(
        id=ID, name="b.txt", original_name="ä b.txt", size=3, media_type="text/plain", sha256="0" * 64, stored=modified
    )
    assert storage.find(ID, "b.txt") == expected
    assert content_of(storage, expected) == b"old"
    assert storage.contains(ID)
    assert storage.delete(ID, "b.txt")
    assert storage.find(ID, "b.txt") is None


def test_upload_that_an_earlier_version_began_is_promoted(s3: S3Client) -> None:
    s3.put_object(
        Bucket=BUCKET,
        Key=f"incoming/{ID}",
        Body=b"old",
        Metadata={"original-name": "%C3%A4%20b.txt", "max-bytes": "3"},
    )
    incoming = S3DirectUploads(S3Storage(BUCKET, client=s3)).open_incoming(ID)
    assert incoming
    assert incoming.declaration == Declaration(original_name="ä b.txt", max_bytes=3)


def test_file_of_an_earlier_version_is_found_and_deleted_in_a_folder(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    path = tmp_path / "files" / ID / "b.txt"
    path.parent.mkdir()
    path.write_bytes(b"old")
    os.utime(path, (1_700_000_000.7, 1_700_000_000.7))
    record = {
        "id": ID, "name": "b.txt", "original_name": "ä b.txt", "size": 3, "media_type": "text/plain", "sha256": "0" * 64
    }  # fmt: skip
    (tmp_path / "metadata" / f"{ID}.json").write_text(json.dumps(record), encoding="utf-8")
    stored = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert storage.find(ID, "b.txt") == StoredFile(**record, stored=stored)  # type: ignore[arg-type]
    assert storage.contains(ID)
    assert storage.delete(ID, "b.txt")
    assert not (tmp_path / "metadata" / f"{ID}.json").exists()


def test_upload_id_of_an_earlier_version_is_read() -> None:
    old = {"id": ID, "multipart_id": "m", "max_bytes": 1, "size": None, "part_bytes": None, "subject": None}
    upload = UploadId(**old)  # type: ignore[arg-type]
    assert (upload.folder, upload.path, upload.key) == (None, ID, f"incoming/{ID}")


# Limits.


def test_largest_metadata_is_below_the_limit_of_s3() -> None:
    """S3 counts the names and the values (AWS: "Working with object metadata"). This counts each prefix too."""
    meta = {"a": "x" * (MAX_META_BYTES - len('{"a":""}'))}
    subject = "s" * (MAX_DETAILS_BYTES - MAX_META_BYTES - len('{"meta":,"subject":""}'))
    check_details(meta=meta, fields=None, subject=subject)
    name = "🏝" * 150
    stored = object_headers(file(original_name=name, meta=meta, subject=subject, keep_days=365))["Metadata"]
    declared = Declaration(
        original_name=name,
        max_bytes=5 * 1024**4,
        sha256="0" * 64,
        subject=subject,
        meta=meta,
        keep_days=365,
    ).as_metadata()
    for metadata in (stored, declared):
        assert all(value.isascii() and value.isprintable() for value in metadata.values())
        assert sum(len(f"x-amz-meta-{name}") + len(value) for name, value in metadata.items()) <= 2048
    assert Declaration.from_metadata(declared) == Declaration(
        original_name=name, max_bytes=5 * 1024**4, sha256="0" * 64, subject=subject, meta=meta, keep_days=365
    )


def test_details_over_a_limit_are_refused() -> None:
    meta = {"a": "x" * (MAX_META_BYTES + 1 - len('{"a":""}'))}
    with pytest.raises(MalformedRequest, match="640"):
        check_details(meta=meta, fields=None, subject=None)
    with pytest.raises(MalformedRequest, match="'sub'"):
        check_details(meta=None, fields=None, subject="s" * (MAX_DETAILS_BYTES - len('{"subject":""}') + 1))
    check_details(meta=None, fields=None, subject="s" * (MAX_DETAILS_BYTES - len('{"subject":""}')))


def test_paths() -> None:
    assert path_of(ID, None) == ID
    assert path_of(ID, "u7") == f"u7/{ID}"
    assert split_path(ID) == (ID, None)
    assert split_path(f"u7/{ID}") == (ID, "u7")
    assert NO_DETAILS.folder is None
    assert all(map(is_folder, ("a", "A-_0", "x" * 64)))
    assert not any(map(is_folder, ("", "x" * 65, ".", "a.b", "a/b", "ä", "a\n", "a b")))


@pytest.mark.parametrize(
    "damage", [{"stored": "yesterday"}, {"meta": [1]}, {"fields": "x"}, {"folder": 7}, {"keep_days": "7"}]
)
def test_damaged_details_in_a_folder_are_logged(
    tmp_path: Path, damage: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    storage = LocalStorage(tmp_path)
    put(storage)
    path = tmp_path / "metadata" / f"{ID}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    assert storage.find(ID, "a.txt") is None
    assert "damaged file" in caplog.text

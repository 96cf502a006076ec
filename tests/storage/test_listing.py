"""Lists of files, over both storages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from handler.storage import ListedFile, new_id, split_key

from ..support.stored_files import ID, put

if TYPE_CHECKING:
    from pathlib import Path

    from handler.storage import Storage, StoredFile

OTHER_ID = "f" * 32


def listed(storage: Storage, folder: str | None = None, *, limit: int = 1000) -> list[ListedFile]:
    """Return all files of a list, and check each page."""
    files: list[ListedFile] = []
    position = ""
    for _ in range(1000):
        page = storage.list_files(folder, after=position, limit=limit)
        assert len(page.files) <= limit
        files += page.files
        if page.position is None:
            return files
        position = page.position
    raise AssertionError("the list has no end")


def keys(files: list[ListedFile]) -> set[tuple[str | None, str, str]]:
    names = [(file.folder, file.id, file.name) for file in files]
    assert len(set(names)) == len(names), "a file is listed twice"
    return set(names)


def key_of(file: StoredFile) -> tuple[str | None, str, str]:
    return file.folder, file.id, file.name


def test_empty_storage_lists_nothing(storage: Storage) -> None:
    page = storage.list_files(limit=10)
    assert (list(page.files), page.position) == ([], None)
    assert listed(storage, "nobody") == []


def test_listed_file_has_its_size_and_time(storage: Storage) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    put(storage, b"12345", name="b.txt", folder="u1", stored=before)
    (file,) = listed(storage)
    assert (file.id, file.name, file.size, file.folder) == (ID, "b.txt", 5, "u1")
    assert file.stored.tzinfo == UTC
    assert abs(file.stored - before) < timedelta(minutes=10)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
def test_pages_hold_each_file_once(storage: Storage, limit: int) -> None:
    stored = [put(storage, id=new_id(), folder=folder) for folder in (None, "u1", "u2", "A-b_c", None, "u1", "0" * 64)]
    assert keys(listed(storage, limit=limit)) == {key_of(file) for file in stored}
    assert keys(listed(storage, "u1", limit=limit)) == {key_of(file) for file in stored if file.folder == "u1"}


def test_list_of_a_folder_has_no_other_files(storage: Storage) -> None:
    inside = put(storage, id=new_id(), folder="u1")
    for folder in (None, "u", "u10", "u1-", "U2"):
        put(storage, id=new_id(), folder=folder)
    assert keys(listed(storage, "u1")) == {key_of(inside)}


def test_folder_named_like_the_id_of_a_file_does_not_confuse(storage: Storage) -> None:
    """A folder may have the name that the directory of a file without a folder has."""
    outside = put(storage, id=ID)
    inside = put(storage, id=OTHER_ID, folder=ID)
    same_id_inside = put(storage, id=ID, folder=OTHER_ID)
    for limit in (1, 1000):
        assert keys(listed(storage, limit=limit)) == {key_of(outside), key_of(inside), key_of(same_id_inside)}
        assert keys(listed(storage, ID, limit=limit)) == {key_of(inside)}
        assert keys(listed(storage, OTHER_ID, limit=limit)) == {key_of(same_id_inside)}
    assert storage.delete(ID, "a.txt") is True
    assert keys(listed(storage)) == {key_of(inside), key_of(same_id_inside)}


def test_deleted_file_is_not_listed(storage: Storage) -> None:
    stored = put(storage)
    other = put(storage, id=OTHER_ID)
    storage.delete(stored.id, stored.name)
    assert keys(listed(storage)) == {key_of(other)}


@pytest.mark.parametrize(
    "position", ["", "0", "zzz", f"{ID}/a.txt", f"u1/{ID}/a.txt/b/c/d", "../../..", "/", "//", "ä ö", "x" * 900]
)
def test_any_printable_position_is_accepted(storage: Storage, position: str) -> None:
    put(storage)
    put(storage, id=OTHER_ID, folder="u1")
    for folder in (None, "u1"):
        found = keys(list(storage.list_files(folder, after=position, limit=10).files))
        assert found <= {(None, ID, "a.txt"), ("u1", OTHER_ID, "a.txt")}
        assert folder is None or found <= {("u1", OTHER_ID, "a.txt")}


def test_stray_entries_of_the_folder_are_skipped(storage: Storage, kind: str, tmp_path: Path) -> None:
    if kind != "folder":
        pytest.skip("a bucket has no directories")
    stored = put(storage)
    files = tmp_path / "uploads" / "files"
    (files / ("e" * 32)).mkdir()  # the rest of a killed delete
    (files / "empty").mkdir()
    (files / "note.txt").write_text("not ours")
    (files / "ä").mkdir()
    assert keys(listed(storage, limit=1)) == {key_of(stored)}


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        (f"files/{ID}/a.txt", (ID, "a.txt", None)),
        (f"files/u1/{ID}/a.txt", (ID, "a.txt", "u1")),
        (f"files/{ID}/{OTHER_ID}/a.txt", (OTHER_ID, "a.txt", ID)),
        (f"files/{ID}/{OTHER_ID}", (ID, OTHER_ID, None)),
        (f"files/{ID}/", None),
        (f"files/{ID}", None),
        (f"files/a/b/{ID}/a.txt", None),
        (f"other/{ID}/a.txt", None),
        (f"files/../{ID}/a.txt", None),
        (f"files/u1/{ID.upper()}/a.txt", None),
        ("", None),
    ],
)
def test_key_is_split(key: str, parts: tuple[str, str, str | None] | None) -> None:
    assert split_key(key) == parts

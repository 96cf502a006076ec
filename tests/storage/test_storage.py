"""The contract of a storage, over both of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from handler.problems import AlreadyExists
from handler.storage import new_id

from ..support.stored_files import ID, content_of, file, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from handler.storage import Storage


def test_committed_file_is_found_with_its_attributes(storage: Storage) -> None:
    stored = put(storage)
    assert storage.find(stored.id, stored.name) == stored
    assert content_of(storage, stored) == b"some bytes"


def test_file_is_invisible_before_the_commit(storage: Storage, stored_keys: Callable[[], list[str]]) -> None:
    writer = storage.open_writer()
    writer.write(b"some bytes")
    assert not [key for key in stored_keys() if key.startswith("files/")]
    assert storage.find(ID, "a.txt") is None
    writer.abort()


def test_aborted_write_leaves_nothing(storage: Storage, stored_keys: Callable[[], list[str]]) -> None:
    writer = storage.open_writer()
    writer.write(b"some bytes")
    writer.abort()
    writer.abort()
    assert stored_keys() == []


def test_abort_after_commit_does_nothing(storage: Storage) -> None:
    writer = storage.open_writer()
    writer.write(b"some bytes")
    writer.commit(file())
    writer.abort()
    assert content_of(storage, file()) == b"some bytes"


def test_open_writer_can_be_read(storage: Storage) -> None:
    writer = storage.open_writer()
    writer.write(b"0123")
    assert writer.read(1, 2) == b"12"
    assert writer.read(3, 100) == b"3"
    assert writer.read(100, 1) == b""
    writer.write(b"456789")
    writer.commit(file(b"0123456789"))
    assert content_of(storage, file(b"0123456789")) == b"0123456789"


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
def test_file_is_never_replaced(storage: Storage, kind: str, name: str) -> None:
    first = put(storage, b"the first")
    if kind != "folder" and name == "b.txt":
        pytest.skip("in a bucket two names are two keys: only an id that is used twice could meet")
    writer = storage.open_writer()
    writer.write(b"the second one")
    with pytest.raises(AlreadyExists):
        writer.commit(file(b"the second one", name=name))
    writer.abort()
    assert content_of(storage, first) == b"the first"
    assert storage.find(ID, "a.txt") == first


def test_commit_of_the_same_bytes_succeeds(storage: Storage, kind: str) -> None:
    if kind == "folder":
        pytest.skip("only over a network can the answer to a write get lost")
    put(storage)
    put(storage)


def test_deleted_file_is_gone(storage: Storage, stored_keys: Callable[[], list[str]]) -> None:
    stored = put(storage)
    assert storage.delete(stored.id, stored.name) is True
    assert storage.find(stored.id, stored.name) is None
    assert storage.delete(stored.id, stored.name) is False
    assert stored_keys() == []


def test_storage_contains_id_of_stored_file_only(storage: Storage) -> None:
    assert not storage.contains(ID)
    stored = put(storage)
    assert storage.contains(ID)
    for other in ("f" * 32, ID[:-1], ID.upper(), "", "..", f"{ID}/a.txt"):
        assert not storage.contains(other)
    storage.delete(stored.id, stored.name)
    assert not storage.contains(ID)


def test_best_effort_delete_accepts_missing_files(storage: Storage, stored_keys: Callable[[], list[str]]) -> None:
    other = put(storage, id="f" * 32)
    before = stored_keys()
    stored, never_stored = put(storage), file(id="e" * 32)
    storage.delete_best_effort([never_stored, stored])
    storage.delete_best_effort([])
    assert stored_keys() == before
    assert content_of(storage, other) == b"some bytes"


def test_content_larger_than_the_memory_limit_is_stored(storage: Storage) -> None:
    content = b"0123456789abcdef" * 1024 * 640  # 10 MiB: more than is held in memory
    stored = put(storage, content)
    assert content_of(storage, stored) == content


@pytest.mark.parametrize(
    ("file_id", "name"),
    [
        (ID, "b.txt"),
        (ID.upper(), "a.txt"),
        (ID, "../a.txt"),
        (ID, ".."),
        (ID, ""),
        ("..", "a.txt"),
        ("", "a.txt"),
        (ID, "a.txt\n"),
        (ID, "a/b"),
        (ID, "a" * 300),
        (ID, "\ud800"),
    ],
)
def test_other_names_find_and_delete_nothing(storage: Storage, file_id: str, name: str) -> None:
    put(storage)
    assert storage.find(file_id, name) is None
    assert storage.delete(file_id, name) is False
    assert storage.find(ID, "a.txt") is not None


@pytest.mark.parametrize(
    "original_name", ["日本語" * 45 + ".txt", 'quote " and \\ slash.txt', "100%25.txt", "😀" * 140 + ".txt"]
)
def test_original_name_is_kept(storage: Storage, original_name: str) -> None:
    stored = put(storage, original_name=original_name)
    found_file = storage.find(ID, "a.txt")
    assert found_file is not None
    assert found_file.original_name == stored.original_name


def test_ids_are_128_random_bits() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
    assert all(len(bytes.fromhex(new_id())) == 16 for _ in range(10))


@pytest.mark.parametrize(
    ("original_name", "disposition"),
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        ("ä b.txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''%C3%A4%20b.txt"),
        ("a'(1).txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''a%27%281%29.txt"),
    ],
)
def test_content_disposition_has_the_original_name(original_name: str, disposition: str) -> None:
    assert file(original_name=original_name).content_disposition == disposition

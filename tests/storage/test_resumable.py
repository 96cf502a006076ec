"""The contract of a storage for resumable uploads, over both of them; races; and S3 that fails at every call."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from moto.s3.models import s3_backends

from handler.problems import AlreadyExists, DigestMismatch, StorageUnavailable, UploadNotFound
from handler.storage import new_id
from handler.storage.direct import Declaration, Gone, InPieces, Stored
from handler.storage.folder.direct import LocalDirectUploads
from handler.storage.folder.files import LocalStorage
from handler.storage.folder.resumable import LocalResumableUploads
from handler.storage.resumable import Beginning, Ending, Extent, OffsetMismatch, Progress
from handler.storage.s3 import pieces
from handler.storage.s3.direct import S3DirectUploads
from handler.storage.s3.files import S3Storage
from handler.storage.s3.pieces import S3ResumableUploads

from ..support.conditional_writes import make_atomic
from ..support.fast_moto import list_versions_without_copies
from ..support.promotions import ON_S3, Faults, Killed
from ..support.stored_files import content_of, file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from handler.storage import Storage, StoredFile
    from handler.storage.resumable import ResumableUploads

ID = new_id()
FOLDER_PATHS = [ID, f"tenant/{ID}", f"{ID}/{ID}"]
SHA256 = hashlib.sha256(b"some bytes").hexdigest()


def opened(storage: Storage) -> ResumableUploads:
    """Open the storage, as a new process does."""
    if isinstance(storage, S3Storage):
        return S3ResumableUploads(storage)
    assert isinstance(storage, LocalStorage)
    LocalDirectUploads(storage)  # makes the folders of the verdicts, as the app does
    return LocalResumableUploads(storage)


@pytest.fixture
def uploads(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> ResumableUploads:
    if isinstance(storage, S3Storage):
        make_atomic(storage.client)
        list_versions_without_copies(monkeypatch)
    return opened(storage)


def beginning(metadata: str | None = None, **declared: Any) -> Beginning:
    declaration: dict[str, Any] = {"original_name": "ä b.txt", "max_bytes": 10**9}
    return Beginning(declaration=Declaration(**declaration | declared), metadata=metadata)


def begun(uploads: ResumableUploads, *contents: bytes, **declared: Any) -> str:
    """Begin an upload, append these pieces, and return its path."""
    path = new_id()
    uploads.begin(path, beginning(**declared))
    offset = 0
    for content in contents:
        offset = uploads.append(path, offset, iter([content]))
    return path


def complete(uploads: ResumableUploads, *contents: bytes, **declared: Any) -> str:
    path = begun(uploads, *contents, **declared)
    assert uploads.end(path, Ending.COMPLETE, offset=sum(map(len, contents))) is Ending.COMPLETE
    return path


def described(path: str, size: int) -> StoredFile:
    folder, _, file_id = path.rpartition("/")
    return file(id=file_id, folder=folder or None, size=size, sha256=None)


def promoted(uploads: ResumableUploads, path: str) -> StoredFile:
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    return incoming.copy_to_files(described(path, incoming.size))


def breaks(*chunks: bytes) -> Iterator[bytes]:
    """Content whose line breaks behind these chunks."""
    yield from chunks
    raise ConnectionResetError


def fails() -> None:
    raise ConnectionRefusedError


# Beginning.


@pytest.mark.parametrize("path", FOLDER_PATHS, ids=["no folder", "folder", "folder with the name of an id"])
def test_beginning_is_kept_as_given(uploads: ResumableUploads, path: str) -> None:
    assert uploads.beginning(path) is None
    assert uploads.progress(path) is None
    facts = beginning(
        "filename ZsO8ci50eHQ=,note",
        sha256=SHA256,
        size=10,
        subject="üser",
        meta={"a": [1, None]},
        fields={"album": "日本"},
        keep_days=7,
    )
    uploads.begin(path, facts)
    assert uploads.beginning(path) == facts
    assert uploads.progress(path) == Progress(offset=0)
    assert uploads.read(path, 0, 10) == b""


def test_peek_returns_the_state(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some")
    assert uploads.peek(path) == Progress(offset=4)
    assert uploads.peek("0" * 32) is None


def test_repeated_beginning_changes_nothing(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some")
    uploads.begin(path, beginning())
    assert uploads.progress(path) == Progress(offset=4)


def test_other_beginning_is_rejected(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some")
    with pytest.raises(AlreadyExists):
        uploads.begin(path, beginning(size=3))
    assert uploads.beginning(path) == beginning()


def test_upload_in_a_folder_named_after_an_id_is_another_upload(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some")
    inner = f"{path}/{new_id()}"
    assert uploads.progress(inner) is None
    uploads.begin(inner, beginning())
    uploads.append(inner, 0, iter([b"other bytes"]))
    assert (uploads.progress(path), uploads.read(path, 0, 99)) == (Progress(offset=4), b"some")
    uploads.end(path, Ending.COMPLETE)
    uploads.discard(path)
    assert uploads.read(inner, 0, 99) == b"other bytes"


def test_first_length_stays(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    assert uploads.length(path) is None
    assert uploads.set_length(path, 10) == 10
    assert uploads.set_length(path, 11) == 10
    assert uploads.set_length(path, 10) == 10
    assert uploads.length(path) == 10
    assert uploads.progress(path) == Progress(offset=0)
    assert uploads.append(path, 0, iter([b"some"])) == 4
    assert uploads.length(path) == 10


# Appending.


def test_appended_pieces_are_read_back(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"0123", b"4", b"56789")
    assert opened(storage_of(uploads)).progress(path) == Progress(offset=10)
    for offset, length in itertools.product(range(12), range(12)):
        assert uploads.read(path, offset, length) == b"0123456789"[offset : offset + length]


def storage_of(uploads: ResumableUploads) -> Storage:
    storage: Storage = uploads._storage  # type: ignore[attr-defined]
    return storage


def test_content_may_come_in_chunks(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    assert uploads.append(path, 0, iter([b"so", b"", b"me", b" bytes"])) == 10
    assert uploads.read(path, 0, 99) == b"some bytes"


def test_empty_piece_keeps_nothing(uploads: ResumableUploads, stored_keys: Callable[[], list[str]]) -> None:
    path = begun(uploads, b"some")
    before = stored_keys()
    assert uploads.append(path, 4, iter([])) == 4
    assert uploads.append(path, 4, iter([b"", b""])) == 4
    assert uploads.progress(path) == Progress(offset=4)
    if isinstance(storage_of(uploads), S3Storage):
        assert stored_keys() == before


@pytest.mark.parametrize("offset", [0, 1, 3, 5, 10**12])
def test_piece_at_another_offset_is_rejected(uploads: ResumableUploads, offset: int) -> None:
    path = begun(uploads, b"some")
    for content in (b"some", b"other", b""):
        with pytest.raises(OffsetMismatch) as caught:
            uploads.append(path, offset, iter([content]))
        assert caught.value.progress == Progress(offset=4)
    assert uploads.read(path, 0, 99) == b"some"


def test_unknown_upload_is_not_found(uploads: ResumableUploads) -> None:
    path = new_id()
    with pytest.raises(UploadNotFound):
        uploads.append(path, 0, iter([b"some"]))
    with pytest.raises(UploadNotFound):
        uploads.end(path, Ending.COMPLETE)
    assert uploads.open_incoming(path) is None
    assert uploads.length(path) is None
    uploads.discard(path)
    with pytest.raises(UploadNotFound):
        uploads.place(path, 0, iter([b"some"]))
    uploads.begin(path, beginning())
    assert uploads.place(path, 0, iter([b"some"])) == [Extent(0, 4)]


def test_bytes_before_the_line_broke_are_kept(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some")
    with pytest.raises(ConnectionResetError):
        uploads.append(path, 4, breaks(b" by", b"te"))
    assert uploads.progress(path) == Progress(offset=9)
    assert uploads.append(path, 9, iter([b"s"])) == 10
    assert uploads.read(path, 0, 99) == b"some bytes"


def test_line_that_breaks_at_once_keeps_nothing(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some")
    with pytest.raises(ConnectionResetError):
        uploads.append(path, 4, breaks())
    assert uploads.progress(path) == Progress(offset=4)


def test_large_content_is_kept_while_it_streams(uploads: ResumableUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    path = begun(uploads)
    content = bytes(range(250)) * 21  # more than five pieces
    with pytest.raises(ConnectionResetError):
        uploads.append(path, 0, breaks(*(content[first : first + 70] for first in range(0, len(content), 70))))
    assert uploads.progress(path) == Progress(offset=len(content))
    assert uploads.read(path, 0, 10**6) == content


@pytest.mark.parametrize("size", [4, 3000])
def test_verified_piece_is_kept_whole_or_not_at_all(
    uploads: ResumableUploads, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    path = begun(uploads)
    chunks = [b"x" * (size // 4)] * 4
    with pytest.raises(ConnectionRefusedError):
        uploads.append(path, 0, iter(chunks), verify=fails)
    with pytest.raises(ConnectionResetError):
        uploads.append(path, 0, breaks(*chunks), verify=lambda: None)
    assert uploads.progress(path) == Progress(offset=0)
    seen: list[Progress | None] = []
    assert uploads.append(path, 0, iter(chunks), verify=lambda: seen.append(None)) == size
    assert seen == [None]
    assert uploads.read(path, 0, 10**6) == b"x" * size


# Placing.


def test_placed_pieces_join_in_any_order(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    assert uploads.place(path, 8, iter([b"89"])) == [Extent(8, 2)]
    assert uploads.place(path, 0, iter([b"01", b"23"])) == [Extent(0, 4), Extent(8, 2)]
    assert uploads.read(path, 2, 99) == b"23"
    assert uploads.read(path, 4, 99) == b""
    assert uploads.place(path, 4, iter([b"4567"])) == [Extent(0, 10)]
    assert uploads.read(path, 3, 6) == b"345678"
    assert uploads.end(path, Ending.COMPLETE, offset=10) is Ending.COMPLETE
    stored = promoted(uploads, path)
    assert content_of(storage_of(uploads), stored) == b"0123456789"


def test_placed_piece_can_be_sent_again(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    for _ in range(3):
        assert uploads.place(path, 4, iter([b"4567"])) == [Extent(4, 4)]
    for other in (b"4568", b"456", b"45678"):
        with pytest.raises(AlreadyExists):
            uploads.place(path, 4, iter([other]))
    assert uploads.place(path, 4, iter([])) == [Extent(4, 4)]
    assert uploads.place(path, 0, iter([b"0123"])) == [Extent(0, 8)]
    assert uploads.read(path, 0, 99) == b"01234567"


def test_placed_piece_of_a_broken_line_is_not_kept(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    with pytest.raises(ConnectionResetError):
        uploads.place(path, 0, breaks(b"01"))
    assert uploads.place(path, 0, iter([b"0123"])) == [Extent(0, 4)]


@pytest.mark.parametrize("ending", Ending)
def test_ended_upload_takes_no_placed_piece(uploads: ResumableUploads, ending: Ending) -> None:
    path = begun(uploads)
    uploads.place(path, 0, iter([b"0123"]))
    uploads.place(path, 4, iter([b"4567"]))
    uploads.end(path, ending, offset=8)
    with pytest.raises(OffsetMismatch) as caught:
        uploads.place(path, 4, iter([b"4567"]))
    assert caught.value.progress.ending is ending


def test_discarded_pieces_are_gone_and_the_ending_stays(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some", b" bytes")
    uploads.end(path, Ending.COMPLETE, offset=10)
    incoming = uploads.open_incoming(path)
    assert incoming
    uploads.discard_incoming(path, incoming)
    uploads.discard_incoming(path, incoming)
    assert uploads.open_incoming(path) is None
    assert uploads.read(path, 0, 10) == b""
    assert uploads.progress(path) == Progress(offset=10, ending=Ending.COMPLETE)


def test_first_placed_piece_begins_the_upload(uploads: ResumableUploads) -> None:
    path, first = new_id(), beginning()
    with pytest.raises(ConnectionResetError):
        uploads.place(path, 4, breaks(b"45"), beginning=first)
    assert uploads.progress(path) is None
    assert uploads.place(path, 4, iter([b"4567"]), beginning=first) == [Extent(4, 4)]
    other = replace(first, metadata="other")
    assert uploads.place(path, 0, iter([b"0123"]), beginning=other) == [Extent(0, 8)]
    assert uploads.beginning(path) == first


def test_piece_that_was_placed_late_can_be_discarded(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    uploads.place(path, 0, iter([b"0123"]))
    uploads.end(path, Ending.REFUSED, offset=8)
    uploads.discard(path)
    for offset in (0, 4):
        with pytest.raises(OffsetMismatch) as caught:
            uploads.place(path, offset, iter([b"4567"]), beginning=beginning())
        assert caught.value.progress.ending is Ending.REFUSED
    uploads.discard(path)
    assert uploads.read(path, 0, 99) == b""


# Endings.


@pytest.mark.parametrize("first", Ending)
@pytest.mark.parametrize("offset", [None, 4])
def test_first_ending_is_final(uploads: ResumableUploads, first: Ending, offset: int | None) -> None:
    path = begun(uploads, b"some")
    assert uploads.end(path, first, offset=offset) is first
    for second in Ending:
        assert uploads.end(path, second) is first
        assert uploads.end(path, second, offset=4) is first
    assert uploads.progress(path) == uploads.peek(path) == Progress(offset=4, ending=first)
    for content in (b" bytes", b""):
        with pytest.raises(OffsetMismatch) as caught:
            uploads.append(path, 4, iter([content]))
        assert caught.value.progress == Progress(offset=4, ending=first)
    assert (uploads.open_incoming(path) is None) == (first is not Ending.COMPLETE)
    assert uploads.beginning(path) == beginning()


def test_upload_with_more_bytes_does_not_end_at_the_smaller_offset(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some", b" bytes")
    with pytest.raises(OffsetMismatch) as caught:
        uploads.end(path, Ending.COMPLETE, offset=4)
    assert caught.value.progress == Progress(offset=10)
    assert uploads.end(path, Ending.COMPLETE, offset=10) is Ending.COMPLETE


# Promotion.


@pytest.mark.parametrize("contents", [(b"some bytes",), (b"s", b"ome", b" bytes"), ()])
@pytest.mark.parametrize("is_declared", [True, False])
def test_complete_upload_is_copied_with_its_digest(
    uploads: ResumableUploads, contents: tuple[bytes, ...], is_declared: bool
) -> None:
    content = b"".join(contents)
    digest = hashlib.sha256(content).hexdigest()
    path = complete(uploads, *contents, sha256=digest if is_declared else None)
    incoming = uploads.open_incoming(path)
    if incoming is None:
        assert contents == ()  # the folder refuses an empty file before that
        pytest.skip("a folder keeps no bytes of an empty file")
    assert (incoming.size, incoming.declaration) == (
        len(content),
        beginning(sha256=digest if is_declared else None).declaration,
    )
    assert (b"".join(incoming.chunks()), incoming.read(2, 4), incoming.read(len(content), 1)) == (
        content,
        content[2:6],
        b"",
    )
    stored = incoming.copy_to_files(described(path, incoming.size))
    assert stored.sha256 == digest
    assert storage_of(uploads).find(path, "a.txt") == stored
    assert content_of(storage_of(uploads), stored) == content


def test_wrong_declared_digest_stores_nothing(uploads: ResumableUploads, stored_keys: Callable[[], list[str]]) -> None:
    path = complete(uploads, b"some bytez", sha256=SHA256)
    with pytest.raises(DigestMismatch):
        promoted(uploads, path)
    assert not [key for key in stored_keys() if key.startswith("files/")]


def test_only_one_promotion_stores_the_file(uploads: ResumableUploads) -> None:
    path = complete(uploads, b"some bytes")
    first, second = uploads.open_incoming(path), uploads.open_incoming(path)
    assert first is not None
    assert second is not None
    stored = first.copy_to_files(described(path, 10))
    with pytest.raises((AlreadyExists, Gone)):
        second.copy_to_files(described(path, 10))
    assert content_of(storage_of(uploads), stored) == b"some bytes"


def test_deleted_file_stays_deleted(uploads: ResumableUploads) -> None:
    path = complete(uploads, b"some bytes")
    stored = promoted(uploads, path)
    storage = storage_of(uploads)
    assert storage.delete(stored.id, stored.name)
    with pytest.raises((AlreadyExists, Gone, AssertionError)):
        promoted(uploads, path)
    assert storage.find(stored.id, stored.name) is None


def test_discarded_bytes_are_gone_and_the_ending_stays(
    uploads: ResumableUploads, stored_keys: Callable[[], list[str]]
) -> None:
    other = begun(uploads, b"other bytes")
    before = set(stored_keys())
    path = complete(uploads, b"some", b" bytes")
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    uploads.discard(path)
    uploads.discard(path)
    assert uploads.progress(path) == Progress(offset=10, ending=Ending.COMPLETE)
    assert uploads.open_incoming(path) is None
    assert uploads.end(path, Ending.CANCELLED) is Ending.COMPLETE
    with pytest.raises(Gone):
        incoming.copy_to_files(described(path, 10))
    with pytest.raises(OffsetMismatch):
        uploads.append(path, 10, iter([b"x"]))
    assert uploads.read(other, 0, 99) == b"other bytes"
    assert len(set(stored_keys()) - before) <= 5, "the facts and the ending"


# Races.


def side_by_side(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make calls at the same moment, and return their results or their errors."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except (OffsetMismatch, AlreadyExists, Gone, StorageUnavailable) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def appends(uploads: ResumableUploads, path: str, name: int, written: dict[int, bytes]) -> Callable[[], None]:
    """A client that appends its pieces wherever the upload ends, until it has ended."""

    def append() -> None:
        for number in range(1, 6):
            content = b"%03d" % name * number
            progress = uploads.progress(path)
            assert progress is not None
            with suppress(OffsetMismatch):
                end = uploads.append(path, progress.offset, iter([content]))
                assert end == progress.offset + len(content)
                assert progress.offset not in written
                written[progress.offset] = content

    return append


def test_one_of_fifty_writers_at_one_offset_wins(uploads: ResumableUploads) -> None:
    path = begun(uploads, b"some")
    contents = [b"%02d" % number for number in range(50)]
    results = side_by_side([partial(uploads.append, path, 4, iter([content])) for content in contents])
    winners = [content for content, result in zip(contents, results, strict=True) if result == 6]
    assert all(isinstance(result, OffsetMismatch) for result in results if result != 6)
    assert len(winners) == 1
    assert uploads.read(path, 0, 99) == b"some" + winners[0]


@pytest.mark.parametrize("ends", [(), (Ending.COMPLETE,), (Ending.COMPLETE, Ending.CANCELLED, Ending.REFUSED) * 2])
def test_fifty_writers_leave_one_linear_history(uploads: ResumableUploads, ends: tuple[Ending, ...]) -> None:
    path = begun(uploads)
    written: dict[int, bytes] = {}
    offsets: list[int] = []

    def ask() -> None:
        for _ in range(20):
            progress = uploads.progress(path)
            assert progress is not None
            offsets.append(progress.offset)
            uploads.read(path, 0, 10)

    writers = [appends(uploads, path, number, written) for number in range(50 - len(ends))]
    results = side_by_side([*writers, ask, *(partial(uploads.end, path, ending) for ending in ends)])
    assert not [result for result in results if isinstance(result, Exception)]
    endings = set(results[len(results) - len(ends) :]) if ends else set()
    assert len(endings) == min(1, len(ends))
    progress = uploads.progress(path)
    assert progress == Progress(offset=progress.offset if progress else 0, ending=endings.pop() if ends else None)
    content = uploads.read(path, 0, 10**6)
    assert len(content) == progress.offset
    for offset, piece in written.items():
        assert content[offset : offset + len(piece)] == piece
    if isinstance(storage_of(uploads), S3Storage):  # where each accepted piece is in the file, and nothing else
        assert sorted(written) == list(itertools.accumulate((len(written[o]) for o in sorted(written)), initial=0))[:-1]
        assert offsets == sorted(offsets)


def test_fifty_clients_place_append_nothing_twice(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    parts = {offset: b"%04d" % offset for offset in range(0, 100, 4)}
    results = side_by_side([partial(uploads.place, path, offset, iter([parts[offset]])) for offset in [*parts, *parts]])
    assert [Extent(0, 100)] in results, "the last piece sees all"
    assert uploads.end(path, Ending.COMPLETE, offset=100) is Ending.COMPLETE
    assert content_of(storage_of(uploads), promoted(uploads, path)) == b"".join(parts.values())


def test_promotions_race_with_cancel_and_discard(
    uploads: ResumableUploads, stored_keys: Callable[[], list[str]]
) -> None:
    path = complete(uploads, b"some", b" bytes", sha256=SHA256)

    def promote() -> StoredFile | None:
        incoming = uploads.open_incoming(path)
        return None if incoming is None else incoming.copy_to_files(described(path, 10))

    results = side_by_side([*[promote] * 10, *[partial(uploads.end, path, Ending.CANCELLED)] * 5])
    stored = [result for result in results[:10] if not isinstance(result, Exception) and result is not None]
    assert len(stored) == 1
    assert set(results[10:]) == {Ending.COMPLETE}
    uploads.discard(path)
    assert content_of(storage_of(uploads), stored[0]) == b"some bytes"
    assert len([key for key in stored_keys() if key.startswith("files/") and key.endswith("a.txt")]) == 1


# Many pieces.


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_more_than_a_thousand_pieces_are_one_file(uploads: ResumableUploads) -> None:
    content = bytes(index % 251 for index in range(1203))
    path = begun(uploads, *(content[index : index + 1] for index in range(1202)))
    assert uploads.read(path, 0, 2000) == content[:1202]
    assert uploads.read(path, 1100, 2) == content[1100:1102]
    uploads.append(path, 1202, iter([content[1202:] + b"x" * 100_000]))  # larger than the rest
    uploads.end(path, Ending.COMPLETE, offset=101_203)
    stored = promoted(uploads, path)
    assert content_of(storage_of(uploads), stored) == content + b"x" * 100_000
    uploads.discard(path)
    assert uploads.open_incoming(path) is None
    assert uploads.read(path, 0, 10) == b""


# S3 only.


@pytest.mark.parametrize("kind", ["s3"])
def test_ten_thousand_pieces_take_ten_pages(uploads: S3ResumableUploads) -> None:
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    path = begun(uploads)
    backend = s3_backends["123456789012"]["aws"]
    for offset in range(10_000):  # one request for each would take minutes
        name = f"p-{pieces.LAST_OFFSET - offset:013}"
        backend.put_object(storage.bucket, f"chunks/{path}/{name}", b"%d" % (offset % 10), multipart=None)
    calls: Counter[str] = Counter()
    storage.client.meta.events.register("before-call.s3", lambda model, **_: calls.update([model.name]))
    assert uploads.progress(path) == Progress(offset=10_000)
    assert uploads.read(path, 5_003, 4) == b"3456"
    assert uploads.end(path, Ending.COMPLETE, offset=10_000) is Ending.COMPLETE
    incoming = uploads.open_incoming(path)
    assert isinstance(incoming, pieces.PiecesIncoming)
    assert (incoming.size, incoming.reads, incoming.read(9_998, 5)) == (10_000, 10_000, b"89")
    uploads.discard(path)
    assert uploads.open_incoming(path) is None
    assert calls["ListObjectsV2"] == 2
    assert calls["DeleteObjects"] == 10
    assert calls["ListObjectVersions"] == 11 + 11 + 1


@ON_S3
@pytest.mark.parametrize("is_declared", [True, False])
def test_large_file_is_written_in_parts(
    uploads: S3ResumableUploads, monkeypatch: pytest.MonkeyPatch, is_declared: bool
) -> None:
    monkeypatch.setattr(pieces, "ONE_PUT_BYTES", 1000)
    monkeypatch.setattr(pieces, "part_bytes", lambda _size: 5 * 1024**2)
    contents = [bytes([number]) * (3 * 1024**2 + number) for number in range(4)]
    content = b"".join(contents)
    digest = hashlib.sha256(content).hexdigest()
    path = complete(uploads, *contents, sha256=digest if is_declared else None)
    stored = promoted(uploads, path)
    storage = storage_of(uploads)
    assert stored.sha256 == digest
    assert storage.find(stored.id, stored.name) == stored
    assert content_of(storage, stored) == content
    with pytest.raises(AlreadyExists):
        promoted(uploads, path)
    wrong = complete(uploads, *contents, sha256=SHA256)
    with pytest.raises(DigestMismatch):
        promoted(uploads, wrong)
    assert isinstance(storage, S3Storage)
    assert "Uploads" not in storage.client.list_multipart_uploads(Bucket=storage.bucket)


@ON_S3
def test_manifest_hands_the_upload_to_its_event(uploads: S3ResumableUploads) -> None:
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    direct = S3DirectUploads(storage)
    path = complete(uploads, b"some bytes")
    uploads.hand_over(path)
    uploads.hand_over(path)
    (version,) = storage.client.list_object_versions(Bucket=storage.bucket, Prefix=f"incoming/{path}")["Versions"]
    with pytest.raises(InPieces):
        direct.open_incoming(path, version["VersionId"])
    incoming = uploads.open_incoming(path, version["VersionId"])
    assert incoming is not None
    assert incoming.version == version["VersionId"]
    stored = incoming.copy_to_files(described(path, 10))
    uploads.discard(path, incoming.version)
    assert direct.open_incoming(path) is None
    assert direct.find_verdict(path) == Stored(stored)


@ON_S3
def test_late_event_finds_pieces_that_the_lifecycle_rule_has_hidden(uploads: S3ResumableUploads) -> None:
    """An event out of the dead-letter queue: the rule hides objects after a day, and deletes their versions later."""
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    path = complete(uploads, b"some", b" bytes")
    for entry in storage.client.list_objects_v2(Bucket=storage.bucket, Prefix="chunks/")["Contents"]:
        storage.client.delete_object(Bucket=storage.bucket, Key=entry["Key"])
    assert uploads.progress(path) is None
    assert content_of(storage, promoted(uploads, path)) == b"some bytes"


@ON_S3
@pytest.mark.parametrize("is_declared", [True, False])
def test_small_file_is_read_once(uploads: S3ResumableUploads, is_declared: bool) -> None:
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    path = complete(uploads, b"some", b" by", b"tes", sha256=SHA256 if is_declared else None)
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    calls: list[str] = []
    storage.client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    assert [incoming.read(offset, 3) for offset in (0, 3, 9, 10)] == [b"som", b"e b", b"s", b""]
    assert content_of(storage, incoming.copy_to_files(described(path, 10))) == b"some bytes"
    assert calls.count("GetObject") == incoming.reads == 3


def test_bytes_in_too_many_pieces_are_not_read(uploads: ResumableUploads) -> None:
    path = begun(uploads)
    for offset in range(5):
        uploads.place(path, offset, iter([b"x"]))
    assert uploads.read(path, 0, 5, max_reads=4) == b""
    assert uploads.read(path, 1, 4, max_reads=5) == uploads.read(path, 1, 4) == b"xxxx"


@ON_S3
def test_only_the_ending_and_the_facts_remain(uploads: S3ResumableUploads) -> None:
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    path = complete(uploads, b"some", b" bytes")
    uploads.discard(path)
    listed = storage.client.list_object_versions(Bucket=storage.bucket, Prefix=f"chunks/{path}/")
    assert [version["Key"].rpartition("/")[2] for version in listed["Versions"]] == ["p-9999999999989", "p-begin"]
    assert "DeleteMarkers" not in listed


STEP_FAULTS = [
    "throttle",
    "forbid",
    "cut off",
    "cut off after it was done",
    "garbage",
    "page",
    "killed",
    "killed after",
]


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize("fault", STEP_FAULTS)
@pytest.mark.parametrize(
    "contents",
    [[b"some", b" bytes"], [b"some", b" more byte"], [b"some", b" more bytes"]],
    ids=["read once", "in one write", "in parts"],
)
def test_failure_at_every_call_loses_nothing(
    uploads: S3ResumableUploads,
    stored_keys: Callable[[], list[str]],
    contents: list[bytes],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "WHOLE_BYTES", 10)
    monkeypatch.setattr(pieces, "ONE_PUT_BYTES", 14)
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    client: Any = storage.client
    call = client._make_api_call
    for at in itertools.count():
        s3_backends["123456789012"]["aws"].buckets[storage.bucket].keys.clear()
        path, acknowledged = new_id(), [0]
        failing = _KilledAt(client, call, fault=fault, at=at)
        client._make_api_call = failing
        with suppress(StorageUnavailable, Killed):
            _upload(storage, path, contents, acknowledged)
        client._make_api_call = call
        keys = [key for key in stored_keys() if key.startswith(f"files/{path}/")]
        assert not keys or content_of(storage, described(path, 0)) == b"".join(contents)
        _upload(storage, path, contents, acknowledged)
        assert content_of(storage, described(path, 0)) == b"".join(contents)
        left = [key for key in stored_keys() if key.startswith(f"chunks/{path}/")]
        assert len(left) == 2, "the beginning and the ending"
        if failing.calls <= at:
            break
    assert at > 10


class _KilledAt(Faults):
    """Fails as :class:`Faults` does, or kills the process before or after the call."""

    def __init__(self, client: Any, call: Callable[..., Any], *, fault: str, at: int) -> None:
        super().__init__(client, fault=fault, at=at)
        self._call = call

    def __call__(self, operation: str, arguments: dict[str, Any]) -> Any:
        if self._fault.startswith("killed") and self.calls == self._at:
            self.calls += 1
            if self._fault == "killed after":
                self._call(operation, arguments)
            raise Killed
        return super().__call__(operation, arguments)


def _upload(storage: S3Storage, path: str, contents: list[bytes], acknowledged: list[int]) -> None:
    """Upload as a client does that repeats everything, in a new process.

    :param acknowledged: the offsets that the storage has acknowledged, to which this adds.
    """
    uploads = S3ResumableUploads(storage)
    content = b"".join(contents)
    uploads.begin(path, beginning())
    for piece in contents:
        progress = uploads.progress(path)
        assert progress is not None
        assert acknowledged[-1] <= progress.offset <= len(content)
        if progress.ending is None and progress.offset < len(content):
            assert uploads.read(path, 0, 99) == content[: progress.offset]
            end = progress.offset + len(piece)
            acknowledged.append(uploads.append(path, progress.offset, iter([content[progress.offset : end]])))
    assert uploads.end(path, Ending.COMPLETE) is Ending.COMPLETE
    incoming = uploads.open_incoming(path)
    if incoming is not None:
        with suppress(AlreadyExists):
            incoming.copy_to_files(described(path, len(content)))
    uploads.discard(path)


@ON_S3
def test_stale_writer_after_the_verdict_changes_nothing(uploads: S3ResumableUploads) -> None:
    """A write that began before the ending, and arrives after the pieces were deleted."""
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    path = begun(uploads, b"some")

    def content() -> Iterator[bytes]:  # the other client is faster, and its file is stored
        uploads.append(path, 4, iter([b" bytes"]))
        uploads.end(path, Ending.COMPLETE, offset=10)
        promoted(uploads, path)
        uploads.discard(path)
        yield b" bytez"

    uploads.append(path, 4, content())
    assert uploads.progress(path) == Progress(offset=10, ending=Ending.COMPLETE)
    assert uploads.open_incoming(path) is None
    assert content_of(storage, described(path, 10)) == b"some bytes"


@ON_S3
def test_retried_write_whose_answer_got_lost_is_recognised(uploads: S3ResumableUploads) -> None:
    """botocore sends the write again, and S3 answers the second attempt with 412."""
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    client: Any = storage.client
    call = client._make_api_call

    def twice(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "PutObject":
            call(operation, arguments)
            if hasattr(arguments["Body"], "seek"):
                arguments["Body"].seek(0)
        return call(operation, arguments)

    client._make_api_call = twice
    path = begun(uploads, b"some", b" bytes")
    assert uploads.set_length(path, 10) == 10
    assert uploads.end(path, Ending.COMPLETE, offset=10) is Ending.COMPLETE
    client._make_api_call = call
    assert uploads.progress(path) == Progress(offset=10, ending=Ending.COMPLETE)


@ON_S3
def test_calls_of_an_append_do_not_grow(uploads: S3ResumableUploads) -> None:
    storage = storage_of(uploads)
    assert isinstance(storage, S3Storage)
    calls: list[str] = []
    path = begun(uploads, *[b"x"] * 30)
    storage.client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    uploads.progress(path)
    uploads.append(path, 30, iter([b"x"]))
    uploads.end(path, Ending.COMPLETE, offset=31)
    assert calls == ["ListObjectsV2", "ListObjectsV2", "PutObject", "PutObject"]

"""Damaged files, a full disk, and layouts of earlier versions in the folder of the local server."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.problems import StorageUnavailable, UploadIncomplete, UploadNotFound
from handler.storage import new_id
from handler.storage.direct import Declaration, Gone
from handler.storage.folder import durable
from handler.storage.folder.direct import LocalDirectUploads
from handler.storage.folder.durable import copy_file, make_directory
from handler.storage.folder.files import LocalStorage, LocalWriter
from handler.storage.folder.incoming import LocalIncoming

from ..support.direct_client import MIB, SCRIPT, DirectClient, content_of, earlier, formed, stored
from ..support.folder_uploads import begun, part_ticket
from ..support.http_client import problem
from ..support.stored_files import ID, file, put
from ..support.stored_files import content_of as content_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

DAMAGED = [b"", bytes(300), b'{"id": "01', b"\xff\xfe", b"[]", b"null", b"{}", b'{"size": "x"}', b"[" * 100_000]
"""Remains of a JSON object after a power loss or on a failing disk."""

damaged = pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:12]))
folder_only = pytest.mark.parametrize("kind", ["folder"])


@pytest.fixture
def root(destination: dict[str, str]) -> Path:
    return Path(destination["UPLOAD_FOLDER"])


@pytest.fixture
def direct(client: FlaskClient) -> DirectClient:
    return DirectClient(client=client)


@pytest.fixture
def uploads(tmp_path: Path) -> LocalDirectUploads:
    return LocalDirectUploads(LocalStorage(tmp_path / "uploads"))


def assert_logged(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    assert f'"event": "damaged file", "file": "{path.parent.name}/{path.name}"' in capsys.readouterr().out


# Damaged files.


@damaged
@folder_only
def test_file_with_damaged_metadata_is_missing_and_can_be_deleted(
    client: FlaskClient,
    root: Path,
    stored_keys: Callable[[], list[str]],
    capsys: pytest.CaptureFixture[str],
    data: bytes,
) -> None:
    url = (client.put("/upload/a.txt", data=b"some bytes").json or {})["url"]
    (metadata,) = (root / "metadata").iterdir()
    metadata.write_bytes(data)
    problem(client.get(url), 404, "not-found")
    assert_logged(capsys, metadata)
    assert client.delete(url).status_code == 204
    assert stored_keys() == []
    assert client.delete(url).status_code == 404


def test_metadata_of_another_file_is_not_served(tmp_path: Path) -> None:
    local = LocalStorage(tmp_path)
    put(local)
    other = put(local, id="f" * 32)
    shutil.copy(tmp_path / "metadata" / f"{other.id}.json", tmp_path / "metadata" / f"{ID}.json")
    assert local.find(ID, "a.txt") is None


@damaged
@folder_only
def test_upload_with_a_damaged_declaration_is_not_found(direct: DirectClient, root: Path, data: bytes) -> None:
    upload = direct.begun("a.txt")
    url = (direct.part_url(upload, 1).json or {})["url"]
    assert direct.put_to(url, b"bytes").status == 200
    (root / "incoming" / upload["id"] / "declaration.json").write_bytes(data)
    for response in (direct.part_url(upload, 2), direct.parts(upload), direct.complete(upload)):
        problem(response, 404, "upload-not-found")
    assert direct.put_to(url, b"bytes").status == 404
    assert direct.status(upload["uploadId"]).status_code == 404
    assert direct.abort(upload).status_code == 200
    assert list((root / "incoming").iterdir()) == []


@damaged
@folder_only
def test_form_with_a_damaged_declaration_can_be_sent_again(
    direct: DirectClient, root: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    form = formed(direct, "a.txt")
    with monkeypatch.context() as patch:
        patch.setattr(LocalIncoming, "copy_to_files", lambda *_: (_ for _ in ()).throw(StorageUnavailable("full")))
        direct.post(form, b"bytes")
    (root / "incoming" / f"{form['id']}.complete" / "declaration.json").write_bytes(data)
    assert (direct.status(form["id"]).json or {})["status"] == "pending"
    assert direct.post(form, b"bytes").status == 204
    assert stored(direct, form["id"]) == b"bytes"


@damaged
@folder_only
def test_damaged_refusal_is_missing_and_can_be_written_again(
    direct: DirectClient, root: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, SCRIPT)
    problem(direct.complete(upload), 422, "content-mismatch")
    refusal = root / "refused" / f"{upload['id']}.json"
    refusal.write_bytes(data)
    assert direct.complete(upload).status_code == 404
    assert direct.status(upload["id"]).status_code == 404
    assert_logged(capsys, refusal)
    direct.client.application.extensions["services"].direct_uploads.refuse(
        upload["id"], {"type": "urn:problem-type:upload:content-mismatch", "detail": "It is a page."}
    )
    problem(direct.complete(upload), 422, "content-mismatch")


@folder_only
def test_damaged_refusal_is_decided_again(direct: DirectClient, root: Path) -> None:
    """A power loss can leave an empty one by an earlier version."""
    upload = direct.begun("a.txt")
    direct.put(upload, 1, SCRIPT)
    (root / "refused" / f"{upload['id']}.json").touch()
    problem(direct.complete(upload), 422, "content-mismatch")
    problem(direct.complete(upload), 422, "content-mismatch")


@folder_only
def test_file_stored_with_damaged_metadata_is_stored_again(
    direct: DirectClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = formed(direct, "a.txt")
    with monkeypatch.context() as patch:
        patch.setattr(LocalIncoming, "copy_to_files", lambda *_: (_ for _ in ()).throw(StorageUnavailable("full")))
        direct.post(form, b"bytes")
    (root / "files" / form["id"]).mkdir()
    (root / "files" / form["id"] / "a.txt").write_bytes(b"by")
    (root / "metadata" / f"{form['id']}.json").touch()
    assert stored(direct, form["id"]) == b"bytes"


@pytest.mark.parametrize("data", [b"", b"short", bytes(32), b"x" * 31, b"x" * 33])
def test_damaged_secret_is_replaced(
    uploads: LocalDirectUploads, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    path = tmp_path / "uploads" / "secret"
    path.write_bytes(data)
    secret = uploads.secret()
    assert len(secret) == 32
    assert secret != data
    assert uploads.secret() == secret == path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert '"event": "damaged file", "file": "uploads/secret"' in capsys.readouterr().out


def test_servers_that_start_at_once_replace_a_damaged_secret_once(uploads: LocalDirectUploads, tmp_path: Path) -> None:
    (tmp_path / "uploads" / "secret").touch()
    secrets: list[bytes] = []
    threads = [threading.Thread(target=lambda: secrets.append(uploads.secret())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert len(set(secrets)) == 1


# Damaged parts, and those of an earlier version.


def damage(directory: Path, number: int, how: str) -> None:
    (part,) = directory.glob(f"{number}.*")
    if how == "cut off":
        os.truncate(part, 1)
    elif how == "grown":
        part.write_bytes(part.read_bytes() + b"x")
    else:  # the names of earlier versions
        part.rename(part.with_suffix(""))


@pytest.mark.parametrize("how", ["cut off", "grown", "without a size"])
@folder_only
def test_part_of_another_size_than_in_its_name_is_not_listed(
    direct: DirectClient, root: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handler.storage.folder.direct.MIN_PART_BYTES", 1)
    upload = direct.begun("a.txt")
    sent = [direct.put(upload, number, b"part %d, " % number) for number in (1, 2, 3)]
    damage(root / "incoming" / upload["id"], 3, how)
    assert [part["PartNumber"] for part in direct.parts(upload).json or []] == [1, 2]
    assert "Send them again: 3." in problem(direct.complete(upload), 409, "upload-incomplete")["detail"]
    problem(direct.complete(upload, sent), 409, "upload-incomplete")
    direct.put(upload, 3, b"part 3, ")
    response: Any = direct.complete(upload, sent).json
    assert content_of(direct, response["url"]) == b"part 1, part 2, part 3, "


@pytest.mark.parametrize("how", ["cut off", "grown", "without a size"])
def test_completed_upload_with_a_damaged_part_is_missing(
    uploads: LocalDirectUploads, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file_id = begun(uploads)
    uploads.take_part(part_ticket(uploads, file_id, 1), [b"bytes"])
    uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))
    directory = tmp_path / "uploads" / "incoming" / f"{file_id}.complete"
    damage(directory, 1, how)
    assert uploads.open_incoming(file_id) is None
    assert_logged(capsys, directory)


def test_damaged_completion_does_not_replace_whole_parts(uploads: LocalDirectUploads, tmp_path: Path) -> None:
    """A process was killed between two steps of a completion, and the disk damaged the new directory."""
    file_id = begun(uploads)
    uploads.take_part(part_ticket(uploads, file_id, 1), [b"bytes"])
    closed = tmp_path / "uploads" / "incoming" / f"{file_id}.complete"
    shutil.copytree(tmp_path / "uploads" / "incoming" / file_id, closed)
    (closed / "declaration.json").write_bytes(b"")
    uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))
    incoming = uploads.open_incoming(file_id)
    assert incoming is not None
    assert incoming.read(0, 100) == b"bytes"


def test_part_truncated_during_the_copy_is_not_stored(uploads: LocalDirectUploads, tmp_path: Path) -> None:
    file_id = begun(uploads)
    for number, data in ((1, bytes(5 * MIB)), (2, b"end")):
        uploads.take_part(part_ticket(uploads, file_id, number), [data])
    uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))
    incoming = uploads.open_incoming(file_id)
    assert incoming is not None
    damage(tmp_path / "uploads" / "incoming" / f"{file_id}.complete", 2, "cut off")
    with pytest.raises(StorageUnavailable) as caught:
        incoming.copy_to_files(file(id=file_id))
    assert "1 of 3 bytes" in caught.value.reason
    assert list((tmp_path / "uploads" / "files").iterdir()) == []
    assert list((tmp_path / "uploads" / "tmp").iterdir()) == []


# A full disk.


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on nothing can be created, renamed or written."""

    def fill() -> None:
        for module, name in ((os, "mkdir"), (os, "rename"), (os, "replace"), (os, "link"), (os, "write")):
            monkeypatch.setattr(module, name, full)
        for name in ("mkdir", "touch", "rename", "replace", "write_bytes", "write_text"):
            monkeypatch.setattr(Path, name, full)
        monkeypatch.setattr(tempfile, "mkdtemp", full)

    return fill


@folder_only
def test_full_disk_does_not_prevent_deleting(
    client: FlaskClient, fill_disk: Callable[[], None], stored_keys: Callable[[], list[str]]
) -> None:
    direct = DirectClient(client=client)
    url = (client.put("/upload/a.txt", data=b"some bytes").json or {})["url"]
    upload = direct.begun("b.txt")
    direct.put(upload, 1, b"bytes")
    fill_disk()
    problem(client.put("/upload/a.txt", data=b"some bytes"), 503, "storage-unavailable")
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    assert direct.abort(upload).status_code == 200
    assert [key for key in stored_keys() if key != "secret"] == []


def test_full_disk_does_not_prevent_sweeping(
    uploads: LocalDirectUploads, tmp_path: Path, fill_disk: Callable[[], None]
) -> None:
    file_id = begun(uploads)
    uploads.take_part(part_ticket(uploads, file_id, 1), [b"bytes"])
    for path in (tmp_path / "uploads" / "incoming").rglob("*"):
        os.utime(path, (0, 0))
    fill_disk()
    uploads._swept = 0
    with pytest.raises(StorageUnavailable):
        uploads.begin(new_id(), Declaration(original_name="a.txt", max_bytes=1))
    uploads.presigned_post(new_id(), Declaration(original_name="a.txt", max_bytes=1))
    assert list((tmp_path / "uploads" / "incoming").iterdir()) == []


def test_full_disk_does_not_prevent_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalStorage(tmp_path)
    put(local)
    LocalDirectUploads(local)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setattr(Path, "touch", full)
    (tmp_path / "incoming" / f"{ID}.complete").mkdir()
    restarted = LocalStorage(tmp_path)
    LocalDirectUploads(restarted)
    assert list((tmp_path / "incoming").iterdir()) == []
    assert restarted.delete(ID, "a.txt")


# Remains of killed processes.


def test_killed_delete_leaves_nothing(tmp_path: Path) -> None:
    local = LocalStorage(tmp_path)
    put(local)
    (tmp_path / "files" / ID / "a.txt").unlink()
    os.utime(tmp_path / "metadata" / f"{ID}.json", (0, 0))
    assert local.find(ID, "a.txt") is None
    LocalStorage(tmp_path)
    assert list((tmp_path / "files").iterdir()) == []
    assert list((tmp_path / "metadata").iterdir()) == []


def test_upload_of_a_killed_removal_is_not_found(uploads: LocalDirectUploads, tmp_path: Path) -> None:
    file_id = begun(uploads)
    uploads.take_part(part_ticket(uploads, file_id, 1), [b"bytes"])
    (tmp_path / "uploads" / "incoming" / file_id / "declaration.json").unlink()
    assert not uploads.has_multipart_upload(file_id, file_id)
    LocalDirectUploads(LocalStorage(tmp_path / "uploads"))
    assert list((tmp_path / "uploads" / "incoming").iterdir()) == []


def test_unknown_files_in_the_folder_are_kept(tmp_path: Path) -> None:
    """Such as those that a file manager leaves."""
    LocalDirectUploads(LocalStorage(tmp_path / "uploads"))
    (tmp_path / "uploads" / "incoming" / ".DS_Store").touch()
    LocalDirectUploads(LocalStorage(tmp_path / "uploads"))
    assert (tmp_path / "uploads" / "incoming" / ".DS_Store").exists()


def test_part_that_arrives_during_the_removal_is_rejected(uploads: LocalDirectUploads, tmp_path: Path) -> None:
    """Its directory is still there when it is renamed into it."""
    file_id = begun(uploads)
    ticket = part_ticket(uploads, file_id, 1)

    def bytes_while_the_declaration_goes() -> Any:
        yield b"bytes"
        (tmp_path / "uploads" / "incoming" / file_id / "declaration.json").unlink()

    with pytest.raises(UploadNotFound):
        uploads.take_part(ticket, bytes_while_the_declaration_goes())
    assert list((tmp_path / "uploads" / "incoming").iterdir()) == []


def test_list_made_during_removal_is_not_complete(uploads: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = begun(uploads)
    for number in (1, 2):
        uploads.take_part(part_ticket(uploads, file_id, number), [bytes(5 * MIB)])
    iterdir = Path.iterdir

    def removed_meanwhile(self: Path) -> Any:
        for path in iterdir(self):
            if path.name == "declaration.json" or path.name.startswith("2."):
                path.unlink()
            else:
                yield path

    monkeypatch.setattr(Path, "iterdir", removed_meanwhile)
    with pytest.raises(UploadNotFound):
        uploads.parts(file_id, file_id)


# Completing without copying, or with little of it.


def completed(uploads: LocalDirectUploads, *parts: bytes) -> LocalIncoming:
    file_id = begun(uploads)
    for number, data in enumerate(parts, 1):
        uploads.take_part(part_ticket(uploads, file_id, number), [data])
    uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))
    incoming = uploads.open_incoming(file_id)
    assert incoming is not None
    return incoming


def test_single_part_is_linked(uploads: LocalDirectUploads, tmp_path: Path) -> None:
    incoming = completed(uploads, b"some bytes")
    (part,) = incoming.directory.glob("1.*")
    inode = part.stat().st_ino
    incoming.copy_to_files(file())
    assert (tmp_path / "uploads" / "files" / ID / "a.txt").stat().st_ino == inode
    assert content_in(LocalStorage(tmp_path / "uploads"), file()) == b"some bytes"


def test_single_part_is_copied_without_hard_links(
    uploads: LocalDirectUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = completed(uploads, b"some bytes")

    def no_links(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    incoming.copy_to_files(file())
    assert content_in(LocalStorage(tmp_path / "uploads"), file()) == b"some bytes"
    assert list((tmp_path / "uploads" / "tmp").iterdir()) == []


COPIES = ["in the kernel", "not there", "a little at a time", "it ends at once"]


@pytest.mark.parametrize("copies", [*COPIES, errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM])
def test_parts_are_copied_with_every_kernel(
    uploads: LocalDirectUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: str | int
) -> None:
    parts = [os.urandom(5 * MIB), os.urandom(5 * MIB + 7), b"", b"end"]
    monkeypatch.setattr("handler.storage.folder.direct.MIN_PART_BYTES", 0)
    incoming = completed(uploads, *parts)
    copy = os.copy_file_range
    calls = 0

    def copy_file_range(source: int, target: int, count: int) -> int:
        nonlocal calls
        calls += 1
        if isinstance(copies, int):
            raise OSError(copies, os.strerror(copies))
        if copies == "it ends at once":
            return 0
        return copy(source, target, count if copies == "in the kernel" else min(count, MIB))

    if copies == "not there":
        monkeypatch.delattr(os, "copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    content = b"".join(parts)
    assert b"".join(incoming.chunks()) == content
    incoming.copy_to_files(file(content))
    assert (tmp_path / "uploads" / "files" / ID / "a.txt").read_bytes() == content
    if copies == "in the kernel":
        assert calls == 3, "an empty part needs no copy"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_copy_that_fails_on_the_disk_leaves_nothing(
    uploads: LocalDirectUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    incoming = completed(uploads, bytes(5 * MIB), b"end")

    def fails(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "copy_file_range", fails)
        with pytest.raises(StorageUnavailable):
            incoming.copy_to_files(file())
    assert list((tmp_path / "uploads" / "tmp").iterdir()) == []
    incoming.copy_to_files(file())


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 4), (2, 3), (0, 100), (4, 1), (5, 3), (8, 5), (9, 1), (11, 4), (99, 1)]
)
def test_range_across_parts_is_read(
    uploads: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch, offset: int, length: int
) -> None:
    monkeypatch.setattr("handler.storage.folder.direct.MIN_PART_BYTES", 0)
    parts = [b"0123", b"4", b"", b"5678", b"9a"]
    incoming = completed(uploads, *parts)
    assert incoming.size == 11
    assert incoming.read(offset, length) == b"".join(parts)[offset : offset + length]


def test_part_is_opened_once_to_read_once_to_hash_and_once_to_copy(
    uploads: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linear in the number of parts, and in the file's size."""
    incoming = completed(uploads, *[bytes(5 * MIB)] * 3, b"end")
    opened: list[str] = []
    path_open = Path.open

    def recorded_open(self: Path, *arguments: Any, **keywords: Any) -> Any:
        opened.append(self.name.partition(".")[0])
        return path_open(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", recorded_open)
    for _ in incoming.chunks():
        pass
    assert opened == ["1", "2", "3", "4"]
    opened.clear()
    incoming.read(10 * MIB, 10)
    assert opened == ["3"]
    opened.clear()
    incoming.copy_to_files(file())
    assert [name for name in opened if name.isdigit() and len(name) == 1] == ["1", "2", "3", "4"] * 2


@folder_only
def test_ten_completions_at_once_copy_each_part_once(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = DirectClient(client=make_app(ALLOWED_EXTENSIONS="bin=x/y").test_client())
    upload = direct.begun("a.bin")
    for number, data in ((1, bytes(5 * MIB)), (2, b"end")):
        direct.put(upload, number, data)
    copied: list[int] = []
    append, publish = LocalWriter.append, LocalIncoming.copy_to_files
    start = threading.Barrier(10, timeout=60)

    def counted_append(self: LocalWriter, path: Path, *, size: int) -> None:
        copied.append(size)
        append(self, path, size=size)

    def publish_together(self: LocalIncoming, stored_file: Any) -> Any:
        start.wait()
        return publish(self, stored_file)

    monkeypatch.setattr(LocalWriter, "append", counted_append)
    monkeypatch.setattr(LocalIncoming, "copy_to_files", publish_together)
    app = direct.client.application
    app.extensions["services"].direct_uploads.complete(
        upload["id"], upload["id"], app.extensions["services"].direct_uploads.parts(upload["id"], "")
    )
    responses: list[Any] = []
    threads = [
        threading.Thread(target=lambda: responses.append(DirectClient(client=app.test_client()).complete(upload)))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [response.status_code for response in responses] == [200] * 10
    assert len({response.json["url"] for response in responses}) == 1
    assert copied == [5 * MIB, 3]


def test_hashing_stops_when_another_promotion_has_a_verdict(uploads: LocalDirectUploads) -> None:
    incoming = completed(uploads, bytes(5 * MIB), b"end")
    chunks = incoming.chunks()
    next(chunks)
    incoming.judged.touch()
    with pytest.raises(Gone):
        next(chunks)


# Clocks and syncing.


@folder_only
@pytest.mark.parametrize(("ahead", "status"), [(0, 200), (30, 200), (32, 403)])
def test_ticket_signed_by_a_fast_clock_has_some_leeway(direct: DirectClient, ahead: int, status: int) -> None:
    upload = direct.begun("a.txt")
    with earlier(-ahead):
        url = (direct.part_url(upload, 1).json or {})["url"]
        form = formed(direct, "a.txt")
    assert direct.put_to(url, b"bytes").status == status
    assert direct.post(form, b"bytes").status == (204 if status == 200 else status)


def test_directory_that_cannot_be_synced_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems, and those that containers share with a desktop, sync files only."""
    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    put(LocalStorage(tmp_path))
    assert LocalStorage(tmp_path).delete(ID, "a.txt")


def test_disk_that_fails_at_a_sync_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    local = LocalStorage(tmp_path)
    writer = local.open_writer()
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageUnavailable):
        writer.commit(file(b""))
    writer.abort()
    assert list((tmp_path / "files").iterdir()) == []


def test_new_parents_of_the_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_directory", synced.append)
    make_directory(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    make_directory(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3


def test_copy_of_unexpected_length_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"12345")
    with (tmp_path / "target").open("w+b") as target:
        for size in (4, 6):
            with pytest.raises(OSError, match="bytes are there"):
                copy_file(tmp_path / "source", target, size=size)


def test_part_sent_again_by_an_earlier_version_is_replaced(uploads: LocalDirectUploads, tmp_path: Path) -> None:
    file_id = begun(uploads)
    directory = tmp_path / "uploads" / "incoming" / file_id
    (directory / f"1.{hashlib.md5(b'old').hexdigest()}").write_bytes(b"old")
    with pytest.raises(UploadIncomplete):
        uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))
    uploads.take_part(part_ticket(uploads, file_id, 1), [b"new"])
    assert len(list(directory.iterdir())) == 2
    uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))

"""Promotion in the folder: killed processes, full disks, and several servers on one folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.direct.promotion import Promotion
from handler.intake import Intake
from handler.problems import Forbidden, InternalError, StorageUnavailable, UploadIncomplete, UploadNotFound
from handler.storage import new_id
from handler.storage.direct import Declaration, PresignedPost, Refused, Stored, UploadedPart
from handler.storage.folder import direct as folder_uploads
from handler.storage.folder.direct import LocalDirectUploads
from handler.storage.folder.files import LocalStorage
from handler.storage.folder.incoming import LocalIncoming, remove_upload

from ..support.direct_client import MIB, SCRIPT, DirectClient, formed, judge, stored
from ..support.folder_uploads import begun, part_ticket
from ..support.promotions import Killed, visible
from ..support.stored_files import file, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from flask.testing import FlaskClient


# The folder: killed, filled up, and shared.


@pytest.fixture
def folder(tmp_path: Path) -> LocalDirectUploads:
    return LocalDirectUploads(LocalStorage(tmp_path / "uploads"))


def local_promotion(uploads: LocalDirectUploads, make_app: Callable[..., Flask]) -> Promotion:
    intake: Intake = make_app().extensions["services"].intake
    return Promotion(uploads, intake=intake)


STEPS = {
    "rename": "os.rename",
    "link": "os.link",
    "mkdir": "os.mkdir",
    "unlink": "os.unlink",
    "rmdir": "os.rmdir",
    "fsync": "os.fsync",
    "flock": "handler.storage.folder.locks.fcntl.flock",
    "touch": "pathlib.Path.touch",
}


class Steps:
    """Counts the steps of the file system. At the n-th step, the process ends or the disk fails."""

    def __init__(self, patch: pytest.MonkeyPatch, *, at: int, dies: bool) -> None:
        self.steps = 0
        self._at, self._dies, self._dead = at, dies, False
        for name in STEPS.values():
            self._wrap(patch, name)

    def _wrap(self, patch: pytest.MonkeyPatch, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        owner: Any = {"os": os, "pathlib.Path": Path}.get(module) or sys.modules["fcntl"]
        original = getattr(owner, attribute)

        def step(*arguments: Any, **keywords: Any) -> Any:
            if self._dead:
                raise Killed
            self.steps += 1
            if self.steps - 1 == self._at:
                self._dead = self._dies
                raise Killed if self._dies else OSError(28, "No space left on device")
            return original(*arguments, **keywords)

        patch.setattr(owner, attribute, step)


@pytest.mark.parametrize("kind", ["folder"])
@pytest.mark.parametrize("dies", [True, False])
@pytest.mark.parametrize("data", [b"good", SCRIPT])
def test_promotion_survives_a_failure_at_any_step(
    make_app: Callable[..., Flask], destination: dict[str, str], *, dies: bool, data: bytes
) -> None:
    root = Path(destination["UPLOAD_FOLDER"])
    for at in range(200):
        uploads: Any = make_app().extensions["services"].direct_uploads
        promotion = local_promotion(uploads, make_app)
        file_id = new_id()
        declaration = Declaration(original_name="a.txt", max_bytes=100)

        def attempt(uploads: Any, promotion: Promotion, file_id: str, declaration: Declaration) -> None:
            """Make the next request that has not succeeded yet, as a client does that retries each request."""
            if promotion.promote(file_id) is not None:
                return
            if not uploads.has_multipart_upload(file_id, file_id):
                uploads.begin(file_id, declaration)
            if not uploads.parts(file_id, file_id):
                ticket = uploads.part_url(file_id, file_id, 1, size=None).rpartition("/")[2]
                uploads.take_part(ticket, [data])
            uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))
            assert promotion.promote(file_id) is not None

        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch, at=at, dies=dies)
            with contextlib.suppress(Killed, StorageUnavailable):
                attempt(uploads, promotion, file_id, declaration)
        for path in (root / "files").glob("*/*"):
            assert path.read_bytes() == b"good"
        restarted: Any = make_app().extensions["services"].direct_uploads  # which is another process, in effect
        promotion = local_promotion(restarted, make_app)
        attempt(restarted, promotion, file_id, declaration)
        verdict = promotion.promote(file_id)
        assert verdict is not None
        if data == SCRIPT:
            assert isinstance(verdict, Refused)
        else:
            assert isinstance(verdict, Stored)
            assert (root / verdict.file.key).read_bytes() == b"good"
        assert not (root / "incoming" / f"{file_id}.complete").exists()
        if steps.steps <= at:
            break
    assert steps.steps <= at, "there is an end to the steps"
    assert at > 15


@pytest.mark.parametrize("kind", ["folder"])
def test_file_stored_by_a_killed_process_can_be_deleted(
    direct: DirectClient,
    unjudged: Callable[[bytes], str],
    make_app: Callable[..., Flask],
    stored_keys: Callable[[], list[str]],
) -> None:
    """The file was stored, but its verdict was not written yet."""
    file_id = unjudged(b"good")

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "touch", killed)
        with pytest.raises(Killed):
            judge(direct, file_id)
    assert visible(stored_keys) == [f"files/{file_id}/a.txt"]
    restarted = DirectClient(client=make_app().test_client())
    assert restarted.client.application.extensions["services"].storage.delete(file_id, "a.txt")
    assert restarted.status(file_id).status_code == 404
    assert visible(stored_keys) == []


def test_same_part_sent_twice_at_once_is_kept_once(folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both threads rename their part at the same moment. One part is kept, in either order."""
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"before"])
    both = threading.Barrier(2, timeout=30)
    rename = Path.rename

    def rename_together(self: Path, target: Path) -> Path:
        if self.name == "data":
            both.wait()
        renamed = rename(self, target)
        if self.name == "data":
            both.wait()
        return renamed

    monkeypatch.setattr(Path, "rename", rename_together)
    threads = [
        threading.Thread(target=folder.take_part, args=(part_ticket(folder, file_id, 1), [data]))
        for data in (b"a", b"b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (part,) = folder.parts(file_id, file_id)
    assert part.etag in {hashlib.md5(data).hexdigest() for data in (b"a", b"b")}


def test_part_that_changed_since_the_list_makes_the_completion_fail(folder: LocalDirectUploads) -> None:
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"listed"])
    listed = folder.parts(file_id, file_id)
    folder.take_part(part_ticket(folder, file_id, 1), [b"sent again"])
    with pytest.raises(UploadIncomplete):
        folder.complete(file_id, file_id, listed)
    assert folder.open_incoming(file_id) is None
    folder.complete(file_id, file_id, folder.parts(file_id, file_id))
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"sent again"
    with pytest.raises(UploadNotFound):
        folder.take_part(part_ticket(folder, file_id, 1), [b"late"])
    with pytest.raises(UploadNotFound):
        folder.complete(file_id, file_id, listed)


def test_abort_during_the_completion_comes_too_late(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An abort that did not wait would report success for an upload that is then stored."""
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"bytes"])
    close, seen = LocalDirectUploads._close, []

    def abort() -> None:
        folder.abort(file_id, file_id)
        seen.append(folder.arrived(file_id))

    thread = threading.Thread(target=abort)

    def close_during_the_abort(self: LocalDirectUploads, file_id: str, directory: Path) -> None:
        thread.start()
        thread.join(timeout=0.3)  # without the lock it ends here
        close(self, file_id, directory)

    monkeypatch.setattr(LocalDirectUploads, "_close", close_during_the_abort)
    folder.complete(file_id, file_id, folder.parts(file_id, file_id))
    thread.join()
    assert seen == [True]


def test_completion_that_fails_on_the_disk_loses_no_part(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"bytes"])
    listed = folder.parts(file_id, file_id)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("os.link", "handler.storage.folder.direct.rename_unless_taken"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(StorageUnavailable):
                folder.complete(file_id, file_id, listed)
        assert folder.parts(file_id, file_id) == listed
    folder.complete(file_id, file_id, listed)
    assert folder.open_incoming(file_id) is not None


def test_restart_keeps_a_completed_upload_next_to_a_folder_named_after_its_id(tmp_path: Path) -> None:
    """The directory of that folder does not mean that the file is stored."""
    storage = LocalStorage(tmp_path / "uploads")
    before = LocalDirectUploads(storage)
    file_id = begun(before)
    before.take_part(part_ticket(before, file_id, 1), [b"bytes"])
    before.complete(file_id, file_id, before.parts(file_id, file_id))
    put(storage, folder=file_id)
    after = LocalDirectUploads(storage)
    completed = after.open_incoming(file_id)
    assert completed is not None
    completed.copy_to_files(file(b"bytes", id=file_id))
    assert storage.contains(file_id)


def test_parts_left_by_a_killed_completion_are_ignored(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a client could replace the parts, and the response would be about a file of the earlier parts."""
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"first"])

    def killed_after_closing(upload: Path) -> None:
        if upload.suffix != ".complete":
            raise SystemExit
        remove_upload(upload)

    listed = folder.parts(file_id, file_id)
    with monkeypatch.context() as patch:
        patch.setattr(folder_uploads, "remove_upload", killed_after_closing)
        with pytest.raises(SystemExit):
            folder.complete(file_id, file_id, listed)
    assert not folder.has_multipart_upload(file_id, file_id)
    with pytest.raises(UploadNotFound):
        folder.take_part(part_ticket(folder, file_id, 1), [b"second"])
    with pytest.raises(UploadNotFound):
        folder.parts(file_id, file_id)
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"first"
    folder.discard(file_id)
    assert not folder.has_multipart_upload(file_id, file_id)


def sent_form(folder: LocalDirectUploads, form: PresignedPost, data: bytes) -> bool:
    """Send a form. Return ``False`` if the form was sent before."""
    try:
        folder.take_post(key=form.fields["key"], policy=form.fields["policy"], chunks=[data])
    except Forbidden:
        return False
    return True


def test_one_of_two_forms_sent_at_once_is_accepted(folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise both clients would get a success, and the bytes of one client would be lost."""
    file_id = new_id()
    form = folder.presigned_post(file_id, Declaration(original_name="a.txt", max_bytes=100))
    close, taken = LocalDirectUploads._close, []
    thread = threading.Thread(target=lambda: taken.append(sent_form(folder, form, b"other")))

    def close_during_the_other(self: LocalDirectUploads, file_id: str, directory: Path) -> None:
        monkeypatch.undo()
        thread.start()
        thread.join(timeout=0.3)  # without the lock it ends here
        close(self, file_id, directory)

    monkeypatch.setattr(LocalDirectUploads, "_close", close_during_the_other)
    assert sent_form(folder, form, b"first")
    thread.join()
    assert taken == [False]
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"first"


def test_form_sent_again_during_the_promotion_is_rejected(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = new_id()
    form = folder.presigned_post(file_id, Declaration(original_name="a.txt", max_bytes=100))
    assert sent_form(folder, form, b"first")

    def judged_meanwhile(self: LocalDirectUploads, file_id: str) -> LocalIncoming | None:
        monkeypatch.undo()
        self.refuse(file_id, InternalError().as_dict())
        self.discard(file_id)
        return self.open_incoming(file_id)

    monkeypatch.setattr(LocalDirectUploads, "open_incoming", judged_meanwhile)
    assert not sent_form(folder, form, b"again")


def test_file_deleted_during_a_status_request_is_not_found(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = begun(folder)
    directory = folder._folder / "files" / file_id
    scandir, listdir = os.scandir, os.listdir

    def list_after_the_delete(function: Callable[..., Any]) -> Callable[..., Any]:
        def list_(path: Any) -> Any:
            if Path(path) == directory and directory.exists():
                directory.rmdir()
            return function(path)

        return list_

    for ask in (folder.find_verdict, folder._storage.contains, folder._storage.release):
        directory.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", list_after_the_delete(scandir))
            patch.setattr(os, "listdir", list_after_the_delete(listdir))
            assert not ask(file_id)
        assert not directory.exists()


def test_part_of_an_upload_deleted_during_the_request_is_not_found(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = begun(folder)
    scandir = os.scandir

    def scan_after_the_removal(path: Any) -> Any:
        if path in (folder._open(file_id), str(folder._open(file_id))):
            monkeypatch.undo()
            folder.abort(file_id, file_id)
        return scandir(path)

    ticket = part_ticket(folder, file_id, 1)
    monkeypatch.setattr(os, "scandir", scan_after_the_removal)
    with pytest.raises(UploadNotFound):
        folder.take_part(ticket, [b"bytes"])


def test_part_that_is_still_arriving_at_the_completion_is_rejected(folder: LocalDirectUploads) -> None:
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"first"])

    def slow() -> Iterator[bytes]:
        yield b"sec"
        folder.complete(file_id, file_id, folder.parts(file_id, file_id))
        yield b"ond"

    with pytest.raises(UploadNotFound):
        folder.take_part(part_ticket(folder, file_id, 1), slow())
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"first"


def test_two_servers_share_the_secret_and_the_parts_of_one_folder(folder: LocalDirectUploads, tmp_path: Path) -> None:
    other = LocalDirectUploads(LocalStorage(tmp_path / "uploads"))
    assert other.secret() == folder.secret()
    assert len(folder.secret()) == 32
    assert (tmp_path / "uploads" / "secret").stat().st_mode & 0o077 == 0
    file_id = begun(folder)
    etag = other.take_part(part_ticket(folder, file_id, 1), [b"bytes"])
    assert folder.parts(file_id, file_id) == [UploadedPart(number=1, etag=etag, size=5)]


def test_servers_that_start_at_once_make_one_secret(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    secrets: list[bytes] = []
    threads = [threading.Thread(target=lambda: secrets.append(LocalDirectUploads(storage).secret())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert len(set(secrets)) == 1


DAY = 24 * 60 * 60


def test_only_old_and_unused_files_are_swept(folder: LocalDirectUploads, tmp_path: Path) -> None:
    root, now = tmp_path / "uploads", time.time()
    ages = {"young": -60.0, "old": 60.0}
    for folder_name, limit in (("incoming", DAY), ("judged", DAY), ("refused", 7 * DAY)):
        for name, beyond in ages.items():
            path = root / folder_name / name
            if folder_name == "incoming":
                path.mkdir()
                (path / "declaration.json").touch()
                os.utime(path / "declaration.json", (now, now - limit - beyond))
            else:
                path.touch()
            os.utime(path, (now, now - limit - beyond))
    active = root / "incoming" / "active"  # an old directory with a part that has just come
    active.mkdir()
    (active / f"1.{'0' * 32}").touch()
    os.utime(active, (now, now - 2 * DAY))
    killed = root / "tmp" / "killed"  # by a process that ended in the middle of a part, while this one ran already
    killed.mkdir()
    (killed / "data").touch()
    claim = root / "metadata" / f"{'0' * 32}.json"  # or in the middle of a commit
    claim.touch()
    for path in (killed / "data", killed, claim):
        os.utime(path, (now, now - DAY - 60))
    folder._swept = 0
    folder.begin("new", Declaration(original_name="a.txt", max_bytes=1))
    assert sorted(path.name for path in (root / "incoming").iterdir()) == ["active", "new", "young"]
    assert [path.name for path in (root / "judged").iterdir()] == ["young"]
    assert [path.name for path in (root / "refused").iterdir()] == ["young"]
    assert list((root / "tmp").iterdir()) == []
    assert list((root / "metadata").iterdir()) == []


def test_not_every_upload_sweeps_the_folder(folder: LocalDirectUploads, tmp_path: Path) -> None:
    old = tmp_path / "uploads" / "judged" / "old"
    old.touch()
    os.utime(old, (0, 0))
    folder.presigned_post("new", Declaration(original_name="a.txt", max_bytes=1))
    assert old.exists()


@pytest.mark.parametrize("kind", ["folder"])
def test_part_is_not_held_in_memory(client: FlaskClient) -> None:
    import tracemalloc  # noqa: PLC0415

    direct = DirectClient(client=client)
    upload = direct.begun("a.png")
    url = (direct.part_url(upload, 1).json or {})["url"]
    size = 64 * MIB

    class Endless:
        """A body that no code keeps in memory."""

        left = size

        def read(self, wanted: int = -1) -> bytes:
            given = min(self.left, size if wanted < 0 else wanted)
            self.left -= given
            return bytes(given)

        readline = read

    tracemalloc.start()
    response = client.put(url, environ_overrides={"wsgi.input": Endless(), "CONTENT_LENGTH": str(size)})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert response.status_code == 200
    assert (direct.parts(upload).json or [])[0]["Size"] == size
    assert peak < 8 * MIB


@pytest.mark.parametrize("kind", ["folder"])
def test_connection_that_ends_in_the_middle_leaves_nothing(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    direct = DirectClient(client=client)
    upload = direct.begun("a.txt")
    url = (direct.part_url(upload, 1).json or {})["url"]
    before = stored_keys()
    assert client.put(url, data=b"half", environ_overrides={"CONTENT_LENGTH": "8"}).status_code == 400
    form = formed(direct, "a.txt")
    cut = b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + form["fields"]["key"].encode()
    cut += b'\r\n--x\r\nContent-Disposition: form-data; name="policy"\r\n\r\n' + form["fields"]["policy"].encode()
    cut += b'\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of it'
    response = client.post(form["url"], data=cut, content_type="multipart/form-data; boundary=x")
    assert response.status_code == 400
    assert stored_keys() == before
    assert direct.post(form, b"the whole").status == 204, "the form is still good"
    assert stored(direct, form["id"]) == b"the whole"


@pytest.mark.parametrize("kind", ["folder"])
def test_form_whose_promotion_failed_is_promoted_by_the_next_status(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    direct = DirectClient(client=client)
    form = formed(direct, "a.txt")

    def full(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(LocalIncoming, "copy_to_files", full)
        assert direct.post(form, b"bytes").status == 204
    assert "the disk is full" in capsys.readouterr().out
    assert stored(direct, form["id"]) == b"bytes"

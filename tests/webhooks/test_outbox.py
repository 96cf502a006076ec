"""The outbox of the local server: every stored file is reported at least once, and nothing else is."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from handler.app import create_app
from handler.local.check import check_all
from handler.problems import StorageUnavailable
from handler.settings import Settings
from handler.storage.folder import files as folder_files
from handler.storage.folder.durable import sync_directory
from handler.webhooks import outbox as outbox_module
from handler.webhooks.delivery import NotDelivered
from handler.webhooks.outbox import Outbox, Sender

from ..support import contract, samples
from ..support.direct_client import DirectClient
from ..support.stored_files import ID, file
from ..support.webhook_receiver import SECRET, Received, Receiver, receiving, respond
from ..support.webhook_uploads import SETTINGS, WAYS, client_of, expected

OTHER_ID = "f" * 32


def make_app(folder: Path, receiver: Receiver, **variables: str) -> Flask:
    environ = {
        "UPLOAD_FOLDER": str(folder),
        "ACCESS": "public",
        "WEBHOOK_URL": receiver.url,
        "WEBHOOK_SECRET": SECRET,
        **variables,
    }
    return create_app(Settings.from_environ(environ))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def app(tmp_path: Path, receiver: Receiver) -> Flask:
    return make_app(tmp_path, receiver)


def count(number: int) -> Callable[[list[Received]], bool]:
    return lambda received: len(received) >= number


def emptied(folder: Path) -> None:
    """Wait until the outbox is empty: every event was confirmed."""
    end = time.monotonic() + 60
    while list((folder / "outbox").iterdir()):
        assert time.monotonic() < end, list((folder / "outbox").iterdir())
        time.sleep(0.01)


def printed_until(capsys: pytest.CaptureFixture[str], text: str) -> str:
    """Return everything that was printed, once that text is there: the sender logs after it emptied the outbox."""
    printed, end = "", time.monotonic() + 60
    while text not in printed:
        assert time.monotonic() < end, printed
        time.sleep(0.01)
        printed += "".join(capsys.readouterr())
    return printed


def test_repeated_request_with_an_idempotency_key_sends_one_event(
    app: Flask, tmp_path: Path, receiver: Receiver
) -> None:
    client = app.test_client()
    for key in ("one", "one", "two"):
        response = client.put("/upload/a.txt", data=samples.TEXT, headers={"Idempotency-Key": key})
        assert response.status_code == 201
    received = receiver.wait_for(count(2))
    emptied(tmp_path)
    assert len(received) == len({request.id for request in received}) == 2
    assert received[-1].id == f"file_{(response.json or {})['files'][0]['id']}"


@pytest.mark.parametrize("way", WAYS)
def test_file_arrives_exactly_as_its_response(way: str, tmp_path: Path, receiver: Receiver) -> None:
    app = make_app(tmp_path, receiver, **SETTINGS)
    data = expected(WAYS[way](client_of(app)))
    (received,) = receiver.wait_for(count(1))
    assert received.event == {"type": "file.stored", "timestamp": data["stored"], "data": data}
    assert received.id == f"file_{data['id']}"
    contract.check_webhook(received.headers, received.event)
    emptied(tmp_path)


def test_every_file_of_a_form_is_reported(app: Flask, receiver: Receiver, tmp_path: Path) -> None:
    files = [samples_file("a.txt"), samples_file("b.txt")]
    entries = app.test_client().post("/upload", data={"file": files}).json["files"]  # type: ignore[index]
    received = receiver.wait_for(count(2))
    assert {each.id: each.event["data"] for each in received} == {f"file_{entry['id']}": entry for entry in entries}
    emptied(tmp_path)


def samples_file(name: str) -> Any:
    return io.BytesIO(samples.TEXT), name


def test_event_without_downloads_has_no_url(tmp_path: Path, receiver: Receiver) -> None:
    make_app(tmp_path, receiver, DOWNLOADS="off").test_client().put("/upload/a.txt", data=samples.TEXT)
    (received,) = receiver.wait_for(count(1))
    assert "url" not in received.event["data"]


def test_refused_file_is_not_reported(app: Flask, receiver: Receiver, tmp_path: Path) -> None:
    client = app.test_client()
    assert client.put("/upload/a.png", data=samples.TEXT).status_code == 422
    direct = DirectClient(client=client)
    assert direct.send("a.png", samples.TEXT).status_code == 422
    assert not list((tmp_path / "outbox").iterdir())
    assert not receiver.received


def test_event_is_durable_before_the_file_appears(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receiver: Receiver
) -> None:
    """Whenever the process is killed: a file under files/ has its event, whole and synced."""
    steps: list[str] = []
    rename = os.rename

    def note_rename(path: str, target: str) -> None:
        if Path(target).parent.name == "files":
            (event,) = (tmp_path / "outbox").iterdir()
            assert json.loads(event.read_bytes())["data"]["id"] == Path(target).name
            assert event.suffix == ".new", "it is not sent before the file is stored"
            steps.append("file")
        rename(path, target)

    def note_sync(directory: Path) -> None:
        sync_directory(directory)
        steps.append(f"sync {directory.name}")

    monkeypatch.setattr(os, "rename", note_rename)
    monkeypatch.setattr(outbox_module, "sync_directory", note_sync)
    assert app.test_client().put("/upload/a.txt", data=samples.TEXT).status_code == 201
    assert steps == ["sync outbox", "file"]
    receiver.wait_for(count(1))


def test_file_is_not_stored_if_its_event_cannot_be_written(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outbox_module, "write_new", fail)
    response = app.test_client().put("/upload/a.txt", data=samples.TEXT)
    assert response.status_code == 503
    assert not list((tmp_path / "files").iterdir())
    assert not list((tmp_path / "metadata").iterdir())


def test_half_an_event_is_removed_when_the_disk_is_full(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outbox_module, "write_new", fail)
    assert app.test_client().put("/upload/a.txt", data=samples.TEXT).status_code == 503
    assert not list((tmp_path / "outbox").iterdir())


def test_event_of_a_file_that_was_not_stored_is_removed(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receiver: Receiver
) -> None:
    rename = os.rename

    def fail(path: str, target: str) -> None:
        if Path(target).parent.name == "files":
            raise OSError(28, "No space left on device")
        rename(path, target)

    monkeypatch.setattr(os, "rename", fail)
    assert app.test_client().put("/upload/a.txt", data=samples.TEXT).status_code == 503
    assert not list((tmp_path / "outbox").iterdir())
    assert not receiver.received


def test_form_that_is_taken_back_is_not_reported(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, receiver: Receiver
) -> None:
    """The first file is stored before the second one fails. Its event may not be sent in between."""
    commit = folder_files.LocalWriter.commit
    stored: list[str] = []

    def commit_first(writer: folder_files.LocalWriter, stored_file: Any) -> None:
        if stored:
            time.sleep(0.2)  # time enough for the sender
            raise StorageUnavailable("the disk is full")
        stored.append(stored_file.id)
        commit(writer, stored_file)

    monkeypatch.setattr(folder_files.LocalWriter, "commit", commit_first)
    monkeypatch.setattr("handler.intake.STORED_AT_ONCE", 1)
    response = app.test_client().post("/upload", data={"file": [samples_file("a.txt"), samples_file("b.txt")]})
    assert response.status_code == 503
    assert stored
    assert not list((tmp_path / "files").iterdir())
    assert not receiver.received


# The sender.


class Scripted:
    """A receiver that fails as a test says, and never connects."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.fails = False

    def deliver(self, event_id: str, body: bytes) -> int:
        assert json.loads(body)["data"]["id"] == event_id.removeprefix("file_")
        self.sent.append(event_id.removeprefix("file_"))
        if self.fails:
            raise NotDelivered("the receiver responded with status 500", status=500)
        return 204


@contextmanager
def stored(outbox: Outbox, file_id: str, *, confirmed: bool = True) -> Iterator[Path]:
    """Store a file and its event, as the storage does."""
    stored_file = file(id=file_id)
    path = outbox.folder / stored_file.key
    with outbox.announce(stored_file):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    if confirmed:
        outbox.confirm([stored_file])
    yield path


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, describe=lambda file: {"id": file.id, "name": file.name, "stored": "now"})


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def sender(outbox: Outbox, scripted: Scripted) -> Sender:
    return Sender(outbox, scripted)  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves both clocks of the sender forward."""
    moved = [0.0]
    monotonic, now = time.monotonic, time.time
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + moved[0])
    monkeypatch.setattr(time, "time", lambda: now() + moved[0])

    def move(seconds: float) -> None:
        moved[0] += seconds

    return move


def test_delivered_event_is_removed(outbox: Outbox, sender: Sender, scripted: Scripted) -> None:
    with stored(outbox, ID):
        sender.send_due()
        sender.send_due()
    assert scripted.sent == [ID]
    assert not list(outbox.directory.iterdir())


def test_failed_event_is_tried_again_with_growing_pauses(
    outbox: Outbox, sender: Sender, scripted: Scripted, clock: Callable[[float], None]
) -> None:
    scripted.fails = True
    with stored(outbox, ID):
        pauses = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
        for number, pause in enumerate(pauses, 1):
            sender.send_due()
            assert len(scripted.sent) == number
            clock(pause - 0.5)
            sender.send_due()
            assert len(scripted.sent) == number, "it is not due yet"
            clock(1)
        scripted.fails = False
        sender.send_due()
    assert not outbox.waiting()


def test_restart_tries_every_event_at_once(outbox: Outbox, sender: Sender, scripted: Scripted) -> None:
    scripted.fails = True
    with stored(outbox, ID):
        sender.send_due()
        scripted.fails = False
        Sender(outbox, scripted).send_due()  # type: ignore[arg-type]
    assert len(scripted.sent) == 2
    assert not outbox.waiting()


def test_event_is_given_up_after_three_days_and_kept(
    outbox: Outbox,
    sender: Sender,
    scripted: Scripted,
    clock: Callable[[float], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted.fails = True
    with stored(outbox, ID):
        for _ in range(3 * 24 - 1):
            sender.send_due()
            clock(3600)
        assert [path.name for path in outbox.waiting()] == [f"{ID}.json"]
        for _ in range(2):
            clock(3600)
            sender.send_due()
        tries = len(scripted.sent)
        clock(3601)
        sender.send_due()
    assert len(scripted.sent) == tries
    assert [path.name for path in outbox.directory.iterdir()] == [f"{ID}.failed"]
    assert '"webhook given up"' in capsys.readouterr().out


def test_one_failing_event_does_not_hold_up_the_others(outbox: Outbox, sender: Sender, scripted: Scripted) -> None:
    scripted.fails = True
    others = [f"{number:032x}" for number in range(3)]
    with stored(outbox, ID):
        sender.send_due()
        scripted.fails = False
        for other in others:
            with stored(outbox, other):
                pass
        sender.send_due()
    assert sorted(scripted.sent) == sorted([ID, *others])
    assert [path.stem for path in outbox.waiting()] == [ID]


def test_event_of_a_deleted_file_is_dropped(outbox: Outbox, sender: Sender, scripted: Scripted) -> None:
    with stored(outbox, ID) as path:
        path.unlink()
        sender.send_due()
    assert not scripted.sent
    assert not list(outbox.directory.iterdir())


def test_event_that_no_request_confirmed_is_sent_after_a_minute(
    outbox: Outbox, sender: Sender, scripted: Scripted, clock: Callable[[float], None]
) -> None:
    """The process was killed after it had stored the file."""
    with stored(outbox, ID, confirmed=False):
        sender.send_due()
        clock(outbox_module.UNCONFIRMED_SECONDS - 5)
        sender.send_due()
        assert not scripted.sent, "another server may still be storing the form's other files"
        clock(10)
        sender.send_due()
    assert scripted.sent == [ID]


def test_event_whose_file_was_never_stored_is_never_sent(
    outbox: Outbox, sender: Sender, scripted: Scripted, clock: Callable[[float], None]
) -> None:
    """The process was killed before it had stored the file."""
    with stored(outbox, ID, confirmed=False) as path:
        path.unlink()
        clock(outbox_module.UNCONFIRMED_SECONDS + 5)
        sender.send_due()
        assert [path.suffix for path in outbox.directory.iterdir()] == [".new"]
        clock(outbox_module.STALE_SECONDS)
        sender.send_due()
    assert not scripted.sent
    assert not list(outbox.directory.iterdir())


def test_file_that_is_stored_in_a_second_try_has_one_event(outbox: Outbox, sender: Sender, scripted: Scripted) -> None:
    """A killed process had written the event, and the promotion begins again."""
    (outbox.directory / f"{ID}.new").write_bytes(b'{"data"')
    with stored(outbox, ID):
        sender.send_due()
    assert scripted.sent == [ID]


def test_damaged_event_is_logged_and_never_sent(
    outbox: Outbox, sender: Sender, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    (outbox.directory / f"{ID}.json").write_bytes(b"\x00" * 100)
    sender.send_due()
    assert not scripted.sent
    assert "damaged file" in capsys.readouterr().out
    assert [path.name for path in outbox.directory.iterdir()] == [f"{ID}.failed"]


@pytest.mark.parametrize("damaged", [b'{"type": "file.stored", "da', b"[" * 100_000, b"[]", b'{"data": {"id": 1}}'])
def test_damaged_event_does_not_hold_up_the_others(
    damaged: bytes, outbox: Outbox, sender: Sender, scripted: Scripted
) -> None:
    (outbox.directory / f"{OTHER_ID}.json").write_bytes(damaged)
    with stored(outbox, ID):
        sender.send_due()
    assert scripted.sent == [ID]
    assert [path.name for path in outbox.directory.iterdir()] == [f"{OTHER_ID}.failed"]


def test_event_that_cannot_be_read_does_not_hold_up_the_others(
    outbox: Outbox,
    sender: Sender,
    scripted: Scripted,
    clock: Callable[[float], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for suffix in (".json", ".new"):
        (outbox.directory / f"{OTHER_ID}{suffix}").mkdir()  # reading a directory is an OSError, also for root
    clock(outbox_module.UNCONFIRMED_SECONDS + 5)
    with stored(outbox, ID):
        sender.send_due()
        sender.send_due()
    assert scripted.sent == [ID]
    assert capsys.readouterr().out.count('"webhook failed"') == 1, "the next try waits"


def test_event_that_cannot_be_removed_is_not_sent_each_second(
    outbox: Outbox, sender: Sender, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(path), missing_ok)

    with stored(outbox, ID), stored(outbox, OTHER_ID):
        monkeypatch.setattr(Path, "unlink", fail)
        sender.send_due()
        sender.send_due()
    assert sorted(scripted.sent) == sorted([ID, OTHER_ID])


def test_half_an_event_of_a_killed_process_is_removed_after_a_day(
    outbox: Outbox, sender: Sender, clock: Callable[[float], None]
) -> None:
    (outbox.directory / f"{ID}.new").write_bytes(b'{"data"')
    sender.send_due()
    assert list(outbox.directory.iterdir())
    clock(outbox_module.STALE_SECONDS + 5)
    sender.send_due()
    assert not list(outbox.directory.iterdir())


def test_receiver_that_is_down_for_a_while_misses_nothing(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.behaviour = respond(503)
        app = make_app(tmp_path, receiver)
        ids = {app.test_client().put("/upload/a.txt", data=samples.TEXT).json["files"][0]["id"] for _ in range(5)}  # type: ignore[index]
        receiver.wait_for(count(5))
        receiver.behaviour = respond(204)
        receiver.wait_for(count(10))
    emptied(tmp_path)
    assert {each.id for each in receiver.received} == {f"file_{file_id}" for file_id in ids}


def test_two_servers_on_one_folder_send_each_event_once(tmp_path: Path, receiver: Receiver) -> None:
    first, second = make_app(tmp_path, receiver), make_app(tmp_path, receiver)
    threads = [
        threading.Thread(target=lambda app=app: [app.test_client().put("/upload/a.txt", data=b"x") for _ in range(10)])
        for app in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receiver.wait_for(count(20))
    emptied(tmp_path)
    ids = [each.id for each in receiver.received]
    assert len(ids) == len(set(ids)) == 20


def test_log_of_the_sender_holds_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], receiver: Receiver
) -> None:
    receiver.behaviour = respond(500)
    make_app(tmp_path, receiver).test_client().put("/upload/Private.txt", data=samples.TEXT)
    receiver.wait_for(count(2))
    receiver.behaviour = respond(204)
    printed = printed_until(capsys, '"event": "webhook", ')
    for hidden in ("not-for-the-log", SECRET, SECRET.removeprefix("whsec_"), "Private"):
        assert hidden not in printed


def test_without_a_webhook_there_is_no_outbox_and_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))
    assert not (tmp_path / "outbox").exists()
    assert threading.active_count() == before


def test_check_of_the_settings_sends_nothing(tmp_path: Path, receiver: Receiver) -> None:
    environ = {"UPLOAD_FOLDER": str(tmp_path), "WEBHOOK_URL": receiver.url, "WEBHOOK_SECRET": SECRET}
    assert all(finding.ok for finding in check_all(environ, own_origin="http://127.0.0.1:8000"))
    assert not (tmp_path / "outbox").exists()

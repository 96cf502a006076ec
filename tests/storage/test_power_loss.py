"""A power loss at any moment of any request to the local server: answers stay true, and nothing is half done."""

from __future__ import annotations

import copy
import io
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from handler.app import create_app
from handler.problems import StorageUnavailable
from handler.settings import Settings
from handler.storage.folder.incoming import LocalIncoming

from ..conftest import BufferedClient
from ..support.direct_client import DirectClient, formed
from ..support.power_loss import Disk, Remains

if TYPE_CHECKING:
    from pathlib import Path

    from ..support.power_loss import Loss

PARTS = [b"the first part, ", b"the second one, ", b"the last one"]
"""The parts of one upload. Its client does not send their number, so the endpoint cannot notice a missing part."""
WHOLE = {b"by PUT", b"to be deleted", b"one", b"two", b"by form", b"".join(PARTS)}
PAGE = b"<script>alert(1)</script>"


def start(folder: Path) -> DirectClient:
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(folder), "ALLOWED_EXTENSIONS": "txt bin=x/y"}))
    app.test_client_class = BufferedClient
    return DirectClient(client=app.test_client())


@dataclass
class Answered:
    """Everything that clients know from responses."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By URL."""
    forms: dict[str, bytes] = field(default_factory=dict)
    """By the address of its status: forms that were sent straight to the storage."""
    used_forms: list[dict[str, Any]] = field(default_factory=list)
    """Forms whose files were deleted again."""
    uploads: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    """Uploads in parts that were begun, and how many parts arrived."""
    aborted: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    """Files and uploads whose end was asked for and not answered yet."""


def work(direct: DirectClient, told: Answered) -> None:
    """Make a request of each kind."""
    client: Any = direct.client
    for url, data in (("/upload/b.txt", b"by PUT"), ("/upload/c.txt", b"to be deleted")):
        response = client.put(url, data=data)
        assert response.status_code == 201, response.text
        told.files[response.json["url"]] = data
        last = response.json["url"]
    response = client.post("/upload", data={"file": [(io.BytesIO(data), "a.txt") for data in (b"one", b"two")]})
    told.files |= {entry["url"]: data for entry, data in zip(response.json["files"], (b"one", b"two"), strict=True)}

    delete(client, last, told)

    form = formed(direct, "d.txt")
    assert direct.post(form, b"by form").status == 204
    told.forms[form["status"]] = b"by form"
    form = formed(direct, "d.txt")
    assert direct.post(form, b"to be deleted").status == 204
    delete(client, client.get(form["status"]).json["file"]["url"], told)
    told.used_forms.append(form)
    form = formed(direct, "d.txt")
    with pytest.MonkeyPatch.context() as patch:  # the bytes have come in, and nobody could check them yet
        patch.setattr(LocalIncoming, "copy_to_files", Mock(side_effect=StorageUnavailable("the disk is full")))
        assert direct.post(form, b"by form").status == 204
    told.forms[form["status"]] = b"by form"

    for kept in (False, True):
        upload = direct.begun("e.bin")
        told.uploads.append((upload, 0))
        for number, data in enumerate(PARTS, 1):
            assert direct.put(upload, number, data).status == 200
            told.uploads[-1] = (upload, number)
        if kept:
            answer: Any = direct.complete(upload).json
            told.files[answer["url"]] = b"".join(PARTS)
        else:
            told.asked.add(upload["uploadId"])
            assert direct.abort(upload).status_code == 200
            told.aborted.append(told.uploads.pop()[0])

    upload = direct.begun("f.txt")
    direct.put(upload, 1, PAGE)
    assert direct.complete(upload).status_code == 422
    told.refused.append(upload)


def delete(client: Any, url: str, told: Answered) -> None:
    told.asked.add(url)
    assert client.delete(url).status_code == 204
    told.deleted.add(url)


def check(direct: DirectClient, told: Answered, *, folder: Path) -> None:
    """Ask for all that was answered, as its clients would."""
    client: Any = direct.client
    for path in folder.glob("files/*/*"):
        assert path.read_bytes() in WHOLE
        assert (folder / "metadata" / f"{path.parent.name}.json").exists()
    for url, data in told.files.items():
        response = client.get(url)
        if url in told.deleted:
            assert response.status_code == 404, url
        elif url not in told.asked or response.status_code != 404:
            assert (response.status_code, response.data) == (200, data), url
    for status, data in told.forms.items():
        answer: Any = client.get(status).json
        assert answer["status"] == "stored"
        assert client.get(answer["file"]["url"]).data == data
    for form in told.used_forms:
        assert direct.post(form, b"to be deleted").status == 403, "a deleted file does not come back"
    for upload in told.aborted:
        assert direct.complete(upload).status_code == 404
    for upload in told.refused:
        assert direct.complete(upload).status_code == 422
    for upload, count in told.uploads:
        finish(direct, upload, count, may_be_gone=upload["uploadId"] in told.asked)


def finish(direct: DirectClient, upload: dict[str, Any], count: int, *, may_be_gone: bool) -> None:
    """Go on with an upload in parts of which so many parts were answered, and expect the whole file."""
    listed = direct.parts(upload)
    if listed.status_code == 200:
        sizes = {part["PartNumber"]: part["Size"] for part in listed.json or []}
        assert all(sizes[number] == len(PARTS[number - 1]) for number in range(1, count + 1))
        for number, data in enumerate(PARTS, 1):
            if number not in sizes:
                assert direct.put(upload, number, data).status == 200
    response = direct.complete(upload)
    if may_be_gone and response.status_code == 404:
        return
    assert response.status_code == 200, response.text
    assert direct.client.get((response.json or {})["url"]).data == b"".join(PARTS)


@pytest.mark.parametrize("takes", ["names and bytes", "bytes"])
def test_power_loss_undoes_no_confirmed_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: Loss) -> None:
    told, moments, disk = Answered(), list[tuple[Remains, Answered]](), None
    root = tmp_path / "disk"
    root.mkdir()

    def lose_power() -> None:
        if disk is not None:
            moment = (disk.after_power_loss(takes=takes), copy.deepcopy(told))
            if moments[-1:] != [moment]:
                moments.append(moment)

    monkeypatch.setattr("handler.storage.folder.direct.MIN_PART_BYTES", 1)
    with monkeypatch.context() as patch:
        patch.setattr("handler.intake.STORED_AT_ONCE", 1)  # a moment is over when no other thread changes anything
        disk = Disk(patch, root, on_sync=lose_power)
        work(start(root / "a" / "folder"), told)
        lose_power()
    disk.close()
    monkeypatch.setattr(os, "fsync", lambda _: None)  # from here on it only takes time
    for remains, then in moments:
        remains.write(tmp_path / "remains")
        folder = tmp_path / "remains" / "a" / "folder"
        check(start(folder), then, folder=folder)
        shutil.rmtree(tmp_path / "remains")
    assert len(moments) > 50

"""The service for direct uploads, over a folder and without Flask."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from handler.direct import promotion as promotion_module
from handler.direct.promotion import Promotion, TooLargeForRequest
from handler.direct.uploads import Pending, UploadReference, UploadService
from handler.inspection import filetypes
from handler.inspection.policy import Policy
from handler.intake import Intake
from handler.problems import (
    ContentMismatch,
    FileTooLarge,
    Forbidden,
    MalformedRequest,
    NotFound,
    UploadIncomplete,
    UploadNotFound,
)
from handler.storage import Details
from handler.storage.deadline import deadline
from handler.storage.direct import Deleted, Refused, Stored
from handler.storage.folder.direct import RECEIVER, LocalDirectUploads
from handler.storage.folder.files import LocalStorage

if TYPE_CHECKING:
    from pathlib import Path

POLICY = Policy(file_types=filetypes.KNOWN, max_file_bytes=100, max_image_pixels=10**6)


class Uploads:
    """The service and its parts, and a client that sends a file of one part."""

    def __init__(self, folder: Path) -> None:
        self.storage = LocalStorage(folder)
        self.uploads = LocalDirectUploads(self.storage)
        self.promotion = Promotion(self.uploads, intake=Intake(self.storage, policy=POLICY))
        self.service = UploadService(self.uploads, storage=self.storage, promotion=self.promotion)

    def begin(self, filename: str = "a.txt", *, subject: str | None = None) -> UploadReference:
        begun = self.service.begin({"filename": filename}, policy=POLICY, details=Details(subject=subject))
        return UploadReference(upload_id=begun.upload_id, subject=subject)

    def send(self, reference: UploadReference, data: bytes) -> UploadReference:
        url = self.service.part_url(reference, 1)
        self.uploads.take_part(url.removeprefix(f"{RECEIVER}/"), [data])
        return reference

    def sent(self, data: bytes, filename: str = "a.txt") -> UploadReference:
        return self.send(self.begin(filename), data)


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path)


def test_service_does_not_import_flask() -> None:
    program = "import sys, handler.direct.uploads; sys.exit('flask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_completed_upload_is_stored(uploads: Uploads) -> None:
    reference = uploads.sent(b"bytes")
    stored = uploads.service.complete(reference)
    assert isinstance(stored, Stored)
    assert (stored.file.name, stored.file.size) == ("a.txt", 5)
    assert uploads.service.complete(reference) == stored, "a completion can be repeated"
    assert uploads.service.status(reference.upload_id).state == stored
    assert uploads.service.status_of_file(stored.file.id, with_token=False) == "stored"


def test_refused_file_raises_the_problem_of_its_refusal(uploads: Uploads) -> None:
    reference = uploads.sent(b"bytes", "a.png")
    for _ in range(2):
        with pytest.raises(ContentMismatch):
            uploads.service.complete(reference)
    status = uploads.service.status(reference.upload_id)
    assert isinstance(status.state, Refused)
    assert status.state.problem["type"].endswith(":content-mismatch")
    assert uploads.service.status_of_file(status.file_id, with_token=True) == "refused"
    with pytest.raises(NotFound):
        uploads.service.status_of_file(status.file_id, with_token=False)


def test_deleted_file_is_not_found(uploads: Uploads) -> None:
    reference = uploads.sent(b"bytes")
    stored = uploads.service.complete(reference)
    assert isinstance(stored, Stored)
    assert uploads.storage.delete(stored.file.id, stored.file.name)
    assert uploads.promotion.promote(stored.file.id) == Deleted()
    with pytest.raises(NotFound, match="deleted"):
        uploads.service.complete(reference)
    with pytest.raises(NotFound, match="deleted"):
        uploads.service.status(reference.upload_id)


def test_upload_of_another_subject_is_forbidden(uploads: Uploads) -> None:
    reference = uploads.begin(subject="user-1")
    assert uploads.service.parts(reference) == []
    for subject in (None, "user-2"):
        with pytest.raises(Forbidden):
            uploads.service.parts(reference._replace(subject=subject))


def test_key_of_another_upload_is_rejected(uploads: Uploads) -> None:
    reference = uploads.begin()
    file_id = uploads.service.status(reference.upload_id).file_id
    assert uploads.service.parts(reference._replace(key=f"incoming/{file_id}")) == []
    with pytest.raises(UploadNotFound):
        uploads.service.parts(reference._replace(key="incoming/another"))


def test_upload_without_parts_is_incomplete(uploads: Uploads) -> None:
    reference = uploads.begin()
    with pytest.raises(UploadIncomplete):
        uploads.service.complete(reference)
    assert isinstance(uploads.service.status(reference.upload_id).state, Pending)


def test_list_of_other_parts_is_incomplete(uploads: Uploads) -> None:
    reference = uploads.sent(b"bytes")
    (part,) = uploads.service.parts(reference)
    with pytest.raises(UploadIncomplete, match=r"Check these parts: 1, 2\."):
        uploads.service.complete(reference, [{"PartNumber": 2, "ETag": part.etag}])
    assert uploads.service.complete(reference, [{"PartNumber": 1, "ETag": f'"{part.etag}"'}])


@pytest.mark.parametrize("listed", [1, "12", [1], [{}], [{"PartNumber": float("inf"), "ETag": ""}], {"1": 2}])
def test_malformed_list_of_parts_is_rejected(uploads: Uploads, listed: object) -> None:
    with pytest.raises(MalformedRequest):
        uploads.service.complete(uploads.sent(b"bytes"), listed)


def test_too_many_bytes_end_the_upload(uploads: Uploads) -> None:
    reference = uploads.sent(b"x" * 101)
    with pytest.raises(FileTooLarge):
        uploads.service.complete(reference)
    with pytest.raises(UploadNotFound):
        uploads.service.parts(reference)
    assert isinstance(uploads.service.status(reference.upload_id).state, Refused)


@pytest.mark.parametrize("number", [0, -1, 10_001])
def test_part_number_outside_the_range_is_rejected(uploads: Uploads, number: int) -> None:
    with pytest.raises(MalformedRequest):
        uploads.service.part_url(uploads.begin(), number)


def test_aborted_upload_is_gone_and_completed_upload_cannot_be_aborted(uploads: Uploads) -> None:
    reference = uploads.sent(b"bytes")
    uploads.service.abort(reference)
    with pytest.raises(UploadNotFound):
        uploads.service.complete(reference)
    completed = uploads.sent(b"bytes")
    uploads.service.complete(completed)
    with pytest.raises(UploadNotFound, match="completed"):
        uploads.service.abort(completed)


def test_presigned_post_has_an_upload_id_for_its_status_only(uploads: Uploads) -> None:
    upload = uploads.service.presigned_post({"filename": "a.txt"}, policy=POLICY)
    assert uploads.service.status(upload.upload_id).state == Pending(f"incoming/{upload.file_id}")
    with pytest.raises(UploadNotFound):
        uploads.service.parts(UploadReference(upload_id=upload.upload_id))
    fields = upload.post.fields
    uploads.uploads.take_post(key=fields["key"], policy=fields["policy"], chunks=[b"bytes"])
    assert isinstance(uploads.service.status(upload.upload_id).state, Stored)


def test_file_too_large_for_a_request_waits_for_its_event(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion_module, "COPIED_IN_TIME_BYTES", 4)
    reference = uploads.sent(b"bytes")
    with deadline(seconds=60):
        pending = uploads.service.complete(reference)
        assert isinstance(pending, Pending)
        assert uploads.service.status(reference.upload_id).state == pending
        path = pending.key.removeprefix("incoming/")
        with pytest.raises(TooLargeForRequest):
            uploads.promotion.promote(path)
    assert isinstance(uploads.promotion.promote(path), Stored), "an event has no deadline"
    assert isinstance(uploads.service.status(reference.upload_id).state, Stored)

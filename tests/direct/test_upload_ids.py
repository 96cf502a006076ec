"""Upload ids: the signed value that a client holds stays readable while a new version is deployed."""

from __future__ import annotations

import pytest

from handler.direct import upload_ids
from handler.direct.upload_ids import UploadId
from handler.problems import UploadNotFound
from handler.signing import timed_signer

SECRET = bytes(range(32))
UPLOAD = UploadId(id="a" * 32, multipart_id="m", max_bytes=7, size=6, part_bytes=5, subject="s")
SIGNED = {"id": "a" * 32, "upload": "m", "max_bytes": 7, "size": 6, "part_bytes": 5, "subject": "s"}
"""The members as the first version signed them."""


def sign(value: object) -> str:
    return timed_signer(SECRET, purpose="upload id").sign(value)


def test_upload_id_of_the_first_version_is_accepted() -> None:
    assert upload_ids.verify(sign(SIGNED), secret=SECRET) == UPLOAD


def test_signed_upload_id_has_the_members_that_the_first_version_reads() -> None:
    signed = upload_ids.sign(UPLOAD, secret=SECRET)
    assert timed_signer(SECRET, purpose="upload id").verify(signed, max_seconds=60) == SIGNED


@pytest.mark.parametrize("value", [[], "text", {}, {**SIGNED, "unknown": 1}])
def test_other_signed_value_is_not_an_upload_id(value: object) -> None:
    with pytest.raises(UploadNotFound):
        upload_ids.verify(sign(value), secret=SECRET)

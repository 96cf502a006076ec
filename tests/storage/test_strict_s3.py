"""Checks that only the strict S3 makes. The contract tests run over it as well.

Two things it does not do, unlike AWS: it lets anyone read without a signature, and it looks for `If-None-Match` before
it writes and not while it writes, so that of several writes to one key at the same moment more than one succeeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from handler.problems import StorageUnavailable
from handler.storage.s3.files import S3Storage

from ..support.stored_files import ID, content_of, file, put

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.strict_s3


@pytest.fixture
def storage(strict_s3: S3Client, strict_bucket: str) -> S3Storage:
    return S3Storage(strict_bucket, client=strict_s3)


def test_s3_itself_verifies_the_checksum(storage: S3Storage) -> None:
    writer = storage.open_writer()
    writer.write(b"not these bytes")
    with pytest.raises(StorageUnavailable) as caught:
        writer.commit(file(b"but others"[:15].ljust(15)))
    writer.abort()
    assert "checksum" in caught.value.reason.lower()
    assert storage.find(ID, "a.txt") is None


def test_download_url_is_valid_for_one_object_and_one_method(storage: S3Storage) -> None:
    stored = put(storage)
    url = storage.download(stored)
    assert requests.get(url, timeout=10).content == b"some bytes"
    assert requests.head(url, timeout=10).status_code == 403
    assert requests.head(storage.download(stored, head=True), timeout=10).headers["Content-Length"] == "10"
    assert requests.get(url.replace(ID, "f" * 32), timeout=10).status_code == 403
    assert requests.put(url, data=b"other bytes", timeout=10).status_code == 403
    assert content_of(storage, stored) == b"some bytes"

"""moto as an S3 that hashes while it copies, and that requires each of these checksums at the completion.

AWS: "Checking object integrity", UploadPartCopy, CompleteMultipartUpload and HeadObject. moto itself reports no
checksum of a copied part, requires none, and checks no ``MpuObjectSize``. It shows a composite checksum without its
number of parts.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from moto.s3.responses import S3Response

if TYPE_CHECKING:
    import pytest

Answer = tuple[int, dict[str, Any], Any]
ALGORITHM = "x-amz-checksum-algorithm"
CHECKSUM = "x-amz-checksum-sha256"
copy_part: Any = S3Response.upload_part_copy
complete: Any = S3Response._key_response_post
head_object: Any = S3Response.head_object


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teach moto until the end of the test."""
    monkeypatch.setattr(S3Response, "upload_part_copy", _copy_part)
    monkeypatch.setattr(S3Response, "_key_response_post", _complete)
    monkeypatch.setattr(S3Response, "head_object", _head_object)


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make moto a store that hashes no copy, until the end of the test."""
    monkeypatch.setattr(S3Response, "upload_part_copy", copy_part)
    monkeypatch.setattr(S3Response, "_key_response_post", complete)


def checksum_of(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _multipart(response: Any, bucket: str, multipart_id: str) -> Any:
    """Return an upload in parts that S3 hashes; ``None`` for any other upload."""
    multipart = response.backend.get_bucket(bucket).multiparts.get(multipart_id)
    return multipart if multipart is not None and multipart.metadata.get(ALGORITHM) == "SHA256" else None


def _copy_part(self: Any) -> Answer:
    status, headers, body = copy_part(self)
    multipart = _multipart(self, self.bucket_name, self._get_param("uploadId"))
    if status == 200 and multipart is not None:
        checksum = checksum_of(multipart.parts[self._get_int_param("partNumber")].value)
        body = body.replace("</ETag>", f"</ETag><ChecksumSHA256>{checksum}</ChecksumSHA256>")
        headers["content-length"] = str(len(body))
    return status, headers, body


def _complete(self: Any, request: Any, body: bytes, bucket_name: str, query: dict[str, Any], *key: str) -> Answer:
    if "uploadId" in query and (code := _mistake(self, request, body, bucket_name, query["uploadId"][0])):
        status = 404 if code == "NoSuchUpload" else 400
        return status, {}, f"<Error><Code>{code}</Code><Message>hashing_s3.py</Message></Error>"
    answer: Answer = complete(self, request, body, bucket_name, query, *key)
    return answer


def _mistake(self: Any, request: Any, body: bytes, bucket: str, multipart_id: str) -> str | None:
    """Return the code of S3's error about the list of parts."""
    multipart = self.backend.get_bucket(bucket).multiparts.get(multipart_id)
    if multipart is None:
        return "NoSuchUpload"  # moto fails
    listed = {
        int(part.findtext("{*}PartNumber") or 0): part.findtext("{*}ChecksumSHA256")
        for part in ET.fromstring(body).findall("{*}Part")
    }
    if not listed.keys() <= multipart.parts.keys():
        return None  # moto finds this mistake
    size = request.headers.get("x-amz-mp-object-size")
    if size is not None and int(size) != sum(len(multipart.parts[number].value) for number in listed):
        return "InvalidRequest"
    if multipart.metadata.get(ALGORITHM) != "SHA256":
        return None
    if None in listed.values():
        return "InvalidRequest"  # AWS: "The complete request must include the checksum for each part."
    multipart.checksums = {
        number: checksum_of(multipart.parts[number].value) for number in listed
    }  # it closes the parts
    return None if listed == multipart.checksums else "InvalidPart"


def _head_object(self: Any, bucket_name: str, query: dict[str, Any], key_name: str, headers: dict[str, Any]) -> Answer:
    status, response_headers, body = head_object(self, bucket_name, query, key_name, headers)
    if CHECKSUM not in response_headers and "partNumber" not in query:
        return status, response_headers, body
    if status >= 300 or headers.get("x-amz-checksum-mode") != "ENABLED":
        return status, response_headers, body
    key = self.backend.head_object(bucket_name, key_name, query.get("versionId", [None])[0])
    multipart = key.multipart
    if multipart is None or multipart.metadata.get(ALGORITHM) != "SHA256":
        return status, response_headers, body
    number = int(query.get("partNumber", ["0"])[0])
    checksums = multipart.checksums
    composite = f"{checksum_of(b''.join(map(base64.b64decode, checksums.values())))}-{len(checksums)}"
    response_headers[CHECKSUM] = checksums[number] if number else composite
    return status, response_headers, body

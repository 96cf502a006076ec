"""LocalStack's S3 as one that hashes while it copies. It requires the checksums at the completion by itself.

LocalStack 4.4 reports no checksum of a copied part, nor of a single part of an object. This module imports nothing of
this project, so that the process of an emulated AWS can load it, with :func:`install`.
"""

from __future__ import annotations

import base64
import hashlib
from functools import wraps
from typing import Any


def install(provider: Any) -> None:
    """Teach a provider.

    :param provider: the class ``localstack.services.s3.provider.S3Provider``.
    """
    copy_part, head_object = provider.upload_part_copy, provider.head_object

    @wraps(copy_part)
    def upload_part_copy(self: Any, context: Any, request: Any) -> Any:
        response = copy_part(self, context, request)
        _, bucket = self._get_cross_account_bucket(context, request["Bucket"])
        multipart = bucket.multiparts[request["UploadId"]]
        if multipart.checksum_algorithm == "SHA256":
            part = multipart.parts[request["PartNumber"]]
            with self._storage_backend.get_multipart(request["Bucket"], multipart).open(part) as stored:
                part.checksum_value = base64.b64encode(hashlib.sha256(stored.read()).digest()).decode()
            part.checksum_algorithm = "SHA256"
            response["CopyPartResult"]["ChecksumSHA256"] = part.checksum_value
            checksums = multipart.object.__dict__.setdefault("part_checksums", {})
            checksums[request["PartNumber"]] = part.checksum_value
        return response

    @wraps(head_object)
    def with_part(self: Any, context: Any, request: Any) -> Any:
        response = head_object(self, context, request)
        if "ChecksumSHA256" in response and request.get("PartNumber"):
            _, bucket = self._get_cross_account_bucket(context, request["Bucket"])
            stored = bucket.get_object(key=request["Key"], version_id=request.get("VersionId"))
            checksums = getattr(stored, "part_checksums", {})
            response["ChecksumSHA256"] = checksums.get(request["PartNumber"], response["ChecksumSHA256"])
        return response

    provider.upload_part_copy, provider.head_object = upload_part_copy, with_part

"""Two designs of resumable uploads in S3, measured: requests, bytes, seconds and CPU for each GiB.

"pieces" is the design of ``handler/storage/s3/pieces.py``. "state" is the alternative, and lives only here: one object
with the state, written with ``If-Match``; a multipart upload; and an object for the tail, because a part has at least
5 MiB. Both begin, take the file in pieces, and copy it to ``files/``.

The S3 is the one at ``STRICT_S3_URL``, or moto in this process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from moto import mock_aws

from handler.storage import StoredFile, new_id
from handler.storage.direct import PART_BYTES, Declaration
from handler.storage.parallel import run_side_by_side
from handler.storage.resumable import Beginning, Ending
from handler.storage.s3.client import make_client
from handler.storage.s3.files import S3Storage, object_headers
from handler.storage.s3.pieces import S3ResumableUploads

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

MIB, GIB = 1024**2, 1024**3
PIECE_BYTES = 4 * MIB
MIN_PART_BYTES = 5 * MIB
DOLLARS = {"write": 0.005 / 1000, "read": 0.0004 / 1000, "free": 0.0}
"""S3 Standard in us-east-1: PUT, COPY, POST and LIST; GET and HEAD; DELETE and abort."""
READS = ("GetObject", "HeadObject")
FREE = ("DeleteObject", "DeleteObjects", "AbortMultipartUpload")


@dataclass
class Usage:
    """The calls, bytes and time of one upload."""

    calls: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def dollars(self) -> float:
        return sum(count * DOLLARS[price(operation)] for operation, count in self.calls.items())

    def watch(self, client: S3Client) -> None:
        events: Any = client.meta.events
        events.register("before-call.s3", self._count)
        events.register("after-call.s3", self._receive)

    def _count(self, model: Any, params: dict[str, Any], **_: object) -> None:
        self.calls[model.name] += 1
        body = params["body"]
        self.sent += len(body) if isinstance(body, bytes | bytearray) else body.seek(0, 2) if body else 0
        if hasattr(body, "seek"):
            body.seek(0)

    def _receive(self, model: Any, parsed: dict[str, Any], **_: object) -> None:
        self.received += parsed.get("ContentLength", 0) if model.name == "GetObject" else 0


def price(operation: str) -> str:
    return "read" if operation in READS else "free" if operation in FREE else "write"


def upload_in_pieces(storage: S3Storage, pieces: list[bytes], file: StoredFile) -> None:
    uploads = S3ResumableUploads(storage)
    declaration = Declaration(original_name=file.original_name, max_bytes=file.size, sha256=file.sha256)
    uploads.begin(file.id, Beginning(declaration=declaration))
    offset = 0
    for piece in pieces:
        offset = uploads.append(file.id, offset, iter([piece]))
    uploads.end(file.id, Ending.COMPLETE, offset=offset)
    incoming = uploads.open_incoming(file.id)
    if incoming is None:
        raise RuntimeError("the upload is not complete")
    incoming.copy_to_files(file)
    uploads.discard(file.id)


def upload_with_state(storage: S3Storage, pieces: list[bytes], file: StoredFile) -> None:
    """Upload with a state object, as the functions of a deployment would: no memory is left between two requests."""
    client, bucket = storage.client, storage.bucket
    where = {"Bucket": bucket, "Key": f"incoming/{file.id}"}
    state = {"Bucket": bucket, "Key": f"chunks/{file.id}/state"}
    begun = client.create_multipart_upload(**where)
    client.put_object(**state, IfNoneMatch="*", Body=json.dumps({"id": begun["UploadId"], "tail": None, "parts": []}))
    for number, piece in enumerate(pieces, 1):
        _append_with_state(storage, file.id, piece, is_last=number == len(pieces))
    facts = json.loads(client.get_object(**state)["Body"].read())
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(facts["parts"], 1)]
    client.complete_multipart_upload(**where, UploadId=facts["id"], MultipartUpload={"Parts": parts})  # type: ignore[typeddict-item]
    _copy_object(storage, file)
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": where["Key"]}, {"Key": state["Key"]}]})


def _append_with_state(storage: S3Storage, file_id: str, piece: bytes, *, is_last: bool) -> None:
    client, bucket, folder = storage.client, storage.bucket, f"chunks/{file_id}"
    read = client.get_object(Bucket=bucket, Key=f"{folder}/state")
    facts, etag = json.loads(read["Body"].read()), read["ETag"]
    if facts["tail"]:
        piece = client.get_object(Bucket=bucket, Key=f"{folder}/tail-{facts['tail']}")["Body"].read() + piece
    if len(piece) < MIN_PART_BYTES and not is_last:
        # A random name: a request that loses the write of the state must not replace the tail of the winner.
        facts["tail"] = new_id()
        client.put_object(Bucket=bucket, Key=f"{folder}/tail-{facts['tail']}", Body=piece)
    else:
        # A request that loses the write of the state has replaced the winner's part: S3 has no condition for a part.
        number = len(facts["parts"]) + 1
        part = client.upload_part(
            Bucket=bucket, Key=f"incoming/{file_id}", UploadId=facts["id"], PartNumber=number, Body=piece
        )
        facts["parts"].append(part["ETag"])
        facts["tail"] = None
    client.put_object(Bucket=bucket, Key=f"{folder}/state", Body=json.dumps(facts), IfMatch=etag)


def _copy_object(storage: S3Storage, file: StoredFile) -> None:
    """Copy as a promotion of a direct upload does: with the history of the file, and in parts of 64 MiB.

    A declared digest is verified by reading the file.
    """
    client, bucket = storage.client, storage.bucket
    source = {"Bucket": bucket, "Key": f"incoming/{file.id}"}
    head = client.head_object(**source)
    if file.sha256 is not None:
        actual = hashlib.sha256()
        for first in range(0, file.size, 8 * MIB):
            read = client.get_object(**source, Range=f"bytes={first}-{first + 8 * MIB - 1}")
            actual.update(read["Body"].read())
        if actual.hexdigest() != file.sha256:
            raise RuntimeError("the bytes differ")
    target = {"Bucket": bucket, "Key": file.key}
    created = client.create_multipart_upload(**target, **object_headers(file))
    ranges = range(0, head["ContentLength"], PART_BYTES)

    def copy(number: int, first: int) -> dict[str, Any]:
        last = min(first + PART_BYTES, file.size) - 1
        part = {"CopySourceRange": f"bytes={first}-{last}"} if len(ranges) > 1 else {}
        call = {**target, **part, "UploadId": created["UploadId"], "PartNumber": number, "CopySource": source}
        return {"PartNumber": number, "ETag": client.upload_part_copy(**call)["CopyPartResult"]["ETag"]}  # type: ignore[arg-type]

    parts = run_side_by_side([partial(copy, number, first) for number, first in enumerate(ranges, 1)], at_once=10)
    client.complete_multipart_upload(
        **target,
        UploadId=created["UploadId"],
        MultipartUpload={"Parts": parts},
        IfNoneMatch="*",  # type: ignore[typeddict-item]
    )
    client.list_object_versions(Bucket=bucket, Prefix=f"files/{file.id}/")


WAYS: dict[str, Callable[[S3Storage, list[bytes], StoredFile], None]] = {
    "pieces": upload_in_pieces,
    "state": upload_with_state,
}


def measure(way: str, storage: S3Storage, *, size: int, declared: bool) -> Usage:
    block = secrets.token_bytes(PIECE_BYTES)
    pieces = [block[: min(PIECE_BYTES, size - offset)] for offset in range(0, size, PIECE_BYTES)]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    file = StoredFile(
        id=new_id(),
        name="a.bin",
        original_name="a.bin",
        size=size,
        media_type="application/octet-stream",
        sha256=digest.hexdigest() if declared else None,
    )
    usage = Usage()
    usage.watch(storage.client)
    began, cpu = time.monotonic(), time.process_time()
    WAYS[way](storage, pieces, file)
    usage.seconds, usage.cpu = time.monotonic() - began, time.process_time() - cpu
    taken = replace(usage, calls=usage.calls.copy())
    stored = storage.find(file.id, file.name)
    if stored is None or stored.size != size:
        raise RuntimeError("the file was not stored")
    for version in storage.client.list_object_versions(Bucket=storage.bucket).get("Versions", []):
        storage.client.delete_object(Bucket=storage.bucket, Key=version["Key"], VersionId=version["VersionId"])
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, nargs="*", default=[6, 1024], help="the sizes of the files, in MiB")
    sizes = parser.parse_args().mib
    strict = os.environ.get("STRICT_S3_URL")
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}
    if strict:
        os.environ["AWS_ENDPOINT_URL_S3"] = strict
    print("| file | design | calls | of them paid as PUT | MiB sent | MiB read | seconds | CPU s | dollars for S3 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        for declared in (False, True):
            for way in WAYS:
                with nullcontext() if strict else mock_aws():
                    client = make_client()
                    bucket = f"bench-{new_id()}"
                    client.create_bucket(
                        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
                    )
                    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
                    usage = measure(way, S3Storage(bucket, client=client), size=size * MIB, declared=declared)
                writes = sum(count for name, count in usage.calls.items() if price(name) == "write")
                name = f"{size} MiB{', SHA-256 declared' if declared else ''}"
                print(
                    f"| {name} | {way} | {usage.calls.total()} | {writes} "
                    f"| {usage.sent / MIB:,.0f} | {usage.received / MIB:,.0f} | {usage.seconds:.1f} | {usage.cpu:.1f} "
                    f"| {usage.dollars:.6f} |"
                )
                print(f"{way}: {dict(usage.calls)}", file=sys.stderr)


if __name__ == "__main__":
    main()

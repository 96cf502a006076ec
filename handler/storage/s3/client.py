"""The client for S3, its errors, and the check that a response comes from S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import add_expect_header
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session

from ...problems import StorageUnavailable, UploadIncomplete, UploadNotFound
from ..deadline import expired
from ..direct import MIN_PART_BYTES
from .misconfiguration import is_misconfiguration, is_misconfigured

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 1
"""The timeout for each address: S3's name has up to eight, and botocore tries them one after the other. urllib3 also
sends under this timeout. It sends in blocks of 128 KiB, each of which has the second, so a line needs 1 Mbit/s."""
READ_SECONDS = 6
"""An attempt lasts at most eight seconds. In that time eight addresses do not respond, or one address accepts the
connection and the body, and then sends nothing. Only an S3 that reads the body drop by drop is slower."""
COPY_READ_SECONDS = 16
"""The same timeout for a copy of a part, which may have 256 MiB. So a store may copy as slowly as 17 MB/s. A copy that
begins at the deadline ends 17 s later, which is as late as the clean-up after a failed request ends: after 26 s."""
ATTEMPTS = 3
"""The maximum number of attempts. No attempt begins after the deadline (``storage/deadline.py``)."""
REQUEST_ID_FIELDS = ("x-amz-request-id", "x-amz-id-2", "x-amzn-requestid")
"""Every response of S3 has one of these header fields (AWS: "Common response headers")."""

_Response = TypeVar("_Response", bound=Mapping[str, Any])


def make_client(*, read_seconds: int = READ_SECONDS) -> S3Client:
    """Make the client for S3. Region, credentials and endpoint come from botocore's own variables.

    The client begins no attempt after the deadline (``storage/deadline.py``), if a deadline is set.

    :param read_seconds: how long the client waits for the next bytes of a response.
    """
    # botocore's session: boto3 imports more (resources, transfers) before it makes the same client.
    session = get_session()
    session.register_component("data_loader", _LOADER)
    client = session.create_client(
        "s3",
        config=Config(
            # botocore's default signs URLs with SigV2, which silently drops If-None-Match and Content-Length.
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # botocore describes this process anew for each call, which takes a seventh of the time of a call.
            user_agent=f"handler Botocore/{botocore.__version__}",
            s3={
                # By default botocore puts the global endpoint into presigned URLs. For a new bucket in another region,
                # the global endpoint responds with 307, and a browser's CORS check fails at a redirect.
                "addressing_style": "virtual",
                "us_east_1_regional_endpoint": "regional",
                # TLS and ChecksumSHA256 already protect the body. Over plain HTTP botocore signs the body all the same.
                "payload_signing_enabled": False,
            },
        ),
    )
    # To wait for S3's `100 Continue` takes another round trip, and a twelfth of the CPU time of a small upload.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    # botocore emits this event for each attempt, after the pause. An exception in a handler ends the call.
    client.meta.events.register("before-send.s3", _check_deadline)
    return cast("S3Client", client)


class _S3Loader(Loader):
    """A loader that knows S3 without a search. botocore searches the folders of four hundred services, twice."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002
        return ["s3"]


_LOADER = _S3Loader()
"""One loader for all clients, of which the tests make thousands. It keeps the 2 MB of JSON that it has read."""


def _check_deadline(**_event: object) -> None:
    if expired():
        raise StorageUnavailable("the deadline has passed, so no further request was sent to S3")


class S3Refused(StorageUnavailable):
    """S3 responded with an error.

    :param s3_status: the HTTP status of S3's response. It is not the status of our own response.
    :param s3_code: S3's error code, such as ``NoSuchUpload``.
    :param is_retry: botocore had sent the request before, and got no good response. S3 may have carried it out.
    """

    def __init__(self, reason: str, *, s3_status: int, s3_code: str, is_retry: bool = False) -> None:
        super().__init__(reason, is_misconfigured=is_misconfigured(status=s3_status, code=s3_code))
        self.s3_status = s3_status
        self.s3_code = s3_code
        self.is_retry = is_retry


@contextmanager
def s3_errors() -> Iterator[None]:
    """Turn botocore's errors into our own. botocore's text is for the log, not for a client."""
    try:
        yield
    except ClientError as error:
        metadata = error.response.get("ResponseMetadata", {})
        status, is_retry = metadata.get("HTTPStatusCode", 0), metadata.get("RetryAttempts", 0) > 0
        code = error.response.get("Error", {}).get("Code", "")
        raise S3Refused(str(error), s3_status=status, s3_code=code, is_retry=is_retry) from None
    except (BotoCoreError, ResponseParserError, KeyError) as error:  # KeyError: a response lacks a member
        raise StorageUnavailable(repr(error), is_misconfigured=is_misconfiguration(error)) from None


@contextmanager
def multipart_errors() -> Iterator[None]:
    """Turn S3's errors about an upload in parts into our own."""
    try:
        yield
    except S3Refused as refused:
        match refused.s3_code:
            case "NoSuchUpload":
                raise UploadNotFound() from None
            case "EntityTooSmall":
                raise UploadIncomplete(
                    f"A part is smaller than {MIN_PART_BYTES:,} bytes. Only the last part may be smaller."
                ) from None
            case "InvalidPart" | "InvalidRequest":  # InvalidRequest: the size differs from MpuObjectSize
                raise UploadIncomplete(
                    "A part was sent again while the upload was being completed. Complete the upload again."
                ) from None
        raise


class ObjectSize(TypedDict, total=False):
    """The parameter of CompleteMultipartUpload that names the size of the object."""

    MpuObjectSize: int


def object_size(client: S3Client, size: int) -> ObjectSize:
    """Return the parameter that makes S3 compare the size of all parts; nothing if botocore does not know it.

    botocore knows this parameter since 1.36.0. Without the parameter, S3 compares only the ETags of the parts.

    :param size: in bytes.
    """
    shape = client.meta.service_model.operation_model("CompleteMultipartUpload").input_shape
    return {"MpuObjectSize": size} if shape is not None and "MpuObjectSize" in shape.members else {}


def require_s3(response: _Response, *member: str) -> _Response:
    """Return the response if S3 sent it. botocore accepts any 200, such as a proxy's login page.

    S3 puts a request id into each response. Other stores that speak S3's protocol may send none. They are recognised
    by a member that a page cannot fill, or by the status 204.

    :param member: the path to that member.
    :raises StorageUnavailable: something else sent the response.
    """
    metadata = response.get("ResponseMetadata", {})
    fields = metadata.get("HTTPHeaders", {})
    if metadata.get("HTTPStatusCode") == 204 or any(name in fields for name in REQUEST_ID_FIELDS):
        return response
    value: Any = response if member else None
    for name in member:
        value = value.get(name) if isinstance(value, Mapping) else None
    # A page may have an ETag. No object of ours is a page.
    if value is None or fields.get("content-type", "").startswith(("text/html", "application/xhtml+xml")):
        raise StorageUnavailable("a 200 that S3 did not send: it has no request id")
    return response

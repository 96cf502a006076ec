"""Every error of the endpoint, declared once: its status, its stable type and its title (RFC 9457).

The errors that only the local server has are in ``local/problems.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

TYPE_PREFIX = "urn:problem-type:upload:"
IANA_TYPE_PREFIX = "https://iana.org/assignments/http-problem-types#"
"""The prefix of the types that the draft of resumable uploads registers (draft-ietf-httpbis-resumable-upload-12)."""


class Problem(Exception):
    """The base of all errors that a client receives.

    :param detail: sentences for a person: the mistake, then the remedy. The client reads them, so they never hold a
        path, a secret or the error text of another system.
    :param file_name: the client's name of the file, if the problem is about one file.
    :param extensions: further members of the problem object (RFC 9457, section 3.2).
    """

    status: int = 500
    type_prefix: ClassVar[str] = TYPE_PREFIX
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    headers: Mapping[str, str] = {}
    aside: str = ""
    """A sentence about the whole request, such as the fate of its other files. It follows ``detail``."""

    def __init__(self, detail: str, *, file_name: str | None = None, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.file_name = file_name
        self.extensions = extensions

    @property
    def type(self) -> str:
        return self.type_prefix + self.slug

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The refused files, one entry each; empty if the problem is not about files."""
        if self.file_name is None:
            return []
        return [{"name": self.file_name, "detail": self.detail, "type": self.type, "title": self.title,
                 "status": self.status, **self.extensions}]  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return the problem object of RFC 9457, with ``error``: the sentence under the name that upload widgets read.

        ``detail`` comes first, since some clients show only the beginning of a response (Guzzle: 120 characters).
        """
        detail = f"{self.detail} {self.aside}" if self.aside else self.detail
        body = {"detail": detail, "error": detail, "type": self.type, "title": self.title, "status": self.status,
                **self.extensions}  # fmt: skip
        if self.errors:
            body["errors"] = self.errors
        return body


class MalformedRequest(Problem):
    status = 400
    slug = "malformed-request"
    title = "Malformed request"


class NoFile(Problem):
    status = 400
    slug = "no-file"
    title = "No file in the request"


class TokenRequired(Problem):
    status = 401
    slug = "token-required"
    title = "Token required"
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="upload"'}


class InvalidToken(Problem):
    status = 401
    slug = "invalid-token"
    title = "Invalid token"
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="upload", error="invalid_token"'}


class Forbidden(Problem):
    """The client does not have the right to do this, or must not send requests from its place.

    :param scope: the scope that the token lacks, if another token could have it (RFC 6750, section 3.1).
    """

    status = 403
    slug = "forbidden"
    title = "Forbidden"

    def __init__(self, detail: str, *, scope: str | None = None) -> None:
        if scope is None:
            super().__init__(detail)
        else:
            super().__init__(detail, scope=scope)
            self.headers = {"WWW-Authenticate": 'Bearer realm="upload", error="insufficient_scope"'}


class AccessNotConfigured(Problem):
    """The owner has not configured access, so nobody may upload."""

    status = 403
    slug = "access-not-configured"
    title = "Access not configured"

    def __init__(self) -> None:
        super().__init__(
            "Access to this endpoint is not configured, so uploads are off. Its owner must set TOKEN_SECRET or ACCESS."
        )


class NotFound(Problem):
    status = 404
    slug = "not-found"
    title = "Not found"


class UploadNotFound(Problem):
    """The upload id is not one of ours, has expired, or belongs to an upload that has ended."""

    status = 404
    slug = "upload-not-found"
    title = "Unknown upload"

    def __init__(self, detail: str = "This upload does not exist, or it has ended. Begin a new one.") -> None:
        super().__init__(detail)


class MethodNotAllowed(Problem):
    status = 405
    slug = "method-not-allowed"
    title = "Method not allowed"


class AlreadyExists(Problem):
    """A file with this id exists. An id is 128 random bits, so this does not happen in practice. The error exists so
    that no storage can overwrite a file."""

    status = 409
    slug = "already-exists"
    title = "Existing file"


class UploadIncomplete(Problem):
    """An upload in parts cannot be completed yet. The client can still send the missing parts."""

    status = 409
    slug = "upload-incomplete"
    title = "Incomplete upload"


class MismatchingOffset(Problem):
    """The piece of a resumable upload does not begin where the bytes that have arrived end (section 7.1 of the draft).

    :param offset: the number of bytes that have arrived.
    :param provided: the offset in the request.
    """

    status = 409
    type_prefix = IANA_TYPE_PREFIX
    slug = "mismatching-upload-offset"
    title = "Mismatching offset"

    def __init__(self, *, offset: int, provided: int) -> None:
        super().__init__(f"The piece begins at byte {provided:,}, but {offset:,} bytes have arrived. Continue there.")
        self.extensions = {"expected-offset": offset, "provided-offset": provided}
        self.headers = {"Upload-Offset": str(offset)}


class InconsistentLength(Problem):
    """A request contradicts the length of a resumable upload (section 7.2 of the draft)."""

    status = 400
    type_prefix = IANA_TYPE_PREFIX
    slug = "inconsistent-upload-length"
    title = "Inconsistent length"


class ChecksumMismatch(Problem):
    """The piece has another digest than its ``Upload-Checksum`` (tus 1.0, "Checksum", which defines this status)."""

    status = 460
    slug = "checksum-mismatch"
    title = "Checksum mismatch"


class UploadRefused(Problem):
    """The file of a resumable upload was refused. A GET of the upload has the reason."""

    status = 410
    slug = "upload-refused"
    title = "Refused upload"

    def __init__(self, detail: str = "The file was refused. A GET of this URL has the reason.") -> None:
        super().__init__(detail)


class FileExpired(Problem):
    """The file has expired, and the storage may still have to delete it. Or a client repeats the upload of a deleted
    file under its ``Idempotency-Key``."""

    status = 410
    slug = "gone"
    title = "Expired or deleted file"

    def __init__(self, detail: str = "This file has expired, so it can no longer be downloaded.") -> None:
        super().__init__(detail)


class LengthRequired(Problem):
    status = 411
    slug = "length-required"
    title = "Length required"


class PreconditionFailed(Problem):
    status = 412
    slug = "precondition-failed"
    title = "Precondition failed"


class RequestTooLarge(Problem):
    status = 413
    slug = "request-too-large"
    title = "Request too large"


class FileTooLarge(Problem):
    status = 413
    slug = "file-too-large"
    title = "File too large"


class TooManyParts(Problem):
    status = 413
    slug = "too-many-parts"
    title = "Too many parts in the form"


class TypeNotAllowed(Problem):
    status = 415
    slug = "type-not-allowed"
    title = "File type not allowed"


class ContentCodingNotSupported(Problem):
    status = 415
    slug = "content-coding-not-supported"
    title = "Content coding not supported"
    headers: Mapping[str, str] = {"Accept-Encoding": "identity"}  # RFC 9110, section 15.5.16


class PieceTypeNotSupported(Problem):
    status = 415
    slug = "piece-type-not-supported"
    title = "Media type of a piece not supported"
    headers: Mapping[str, str] = {"Accept-Patch": "application/offset+octet-stream, application/partial-upload"}


class RangeNotSatisfiable(Problem):
    status = 416
    slug = "range-not-satisfiable"
    title = "Range not satisfiable"


class EmptyFile(Problem):
    status = 422
    slug = "empty-file"
    title = "Empty file"


class DigestMismatch(Problem):
    status = 422
    slug = "digest-mismatch"
    title = "Digest mismatch"


class ContentMismatch(Problem):
    status = 422
    slug = "content-mismatch"
    title = "Content mismatch"


class IdempotencyKeyReused(Problem):
    """An earlier request with the same ``Idempotency-Key`` stored another file."""

    status = 422
    slug = "idempotency-key-reused"
    title = "Reused idempotency key"


class ImageTooLarge(Problem):
    status = 422
    slug = "image-too-large"
    title = "Image too large"


class FilesRefused(Problem):
    """Several files of one request were refused, and none was stored. ``errors`` has the reason for each.

    The status is that of the refusals, if they all have the same one, else 422.
    """

    status = 422
    slug = "files-refused"
    title = "Several refused files"

    def __init__(self, refusals: Sequence[Problem]) -> None:
        statuses = {refusal.status for refusal in refusals}
        if len(statuses) == 1:
            self.status = statuses.pop()
        self._errors = [error for refusal in refusals for error in refusal.errors]
        reasons = " ".join(refusal.detail for refusal in refusals)
        super().__init__(f"None of the files was stored, because {len(refusals)} were refused. {reasons}")

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self._errors


class InternalError(Problem):
    """A fault of ours. The log has the traceback, under the request id of the response."""

    def __init__(self) -> None:
        super().__init__("This is a fault on our side. If it stays, report it with the request id.")


class StorageUnavailable(Problem):
    """The bucket or the disk failed.

    :param reason: the error text of the storage. It is only for the log, and never sent to a client.
    :param is_misconfigured: the owner must change something before the request can succeed, such as the credentials or
        the name of the bucket. To try again does not help, so the response has no ``Retry-After``.
    """

    status = 503
    slug = "storage-unavailable"
    title = "Storage unavailable"
    headers: Mapping[str, str] = {"Retry-After": "5"}

    def __init__(self, reason: str, *, is_misconfigured: bool = False) -> None:
        super().__init__(
            "The storage of this endpoint is not set up correctly, so this was not done. The owner finds the reason in "
            "the log, under the request id."
            if is_misconfigured
            else "The storage cannot be reached just now, so this was not done. Try again in a moment."
        )
        self.reason = reason
        if is_misconfigured:
            self.headers = {}


def from_dict(body: Mapping[str, Any]) -> Problem:
    """Return the problem that :meth:`Problem.as_dict` made this object of.

    :param body: the object. Its ``errors`` and ``error`` follow from the other members.
    :raises KeyError: the object does not come from :meth:`Problem.as_dict`.
    """
    known = {problem.type_prefix + problem.slug: problem for problem in Problem.__subclasses__()}
    core = ("type", "title", "status", "detail", "error", "errors")
    extensions = {name: value for name, value in body.items() if name not in core}
    file_name = next((error["name"] for error in body.get("errors", ())), None)
    return known[body["type"]](body["detail"], file_name=file_name, **extensions)


def one_of(refusals: Sequence[Problem], *, files: int) -> Problem:
    """Return the one problem that reports the refused files of a request.

    :param refusals: at least one.
    :param files: how many files the request has, as far as it was read.
    """
    if len(refusals) > 1:
        return FilesRefused(refusals)
    if files > 1:
        refusals[0].aside = "None of the files was stored."
    return refusals[0]

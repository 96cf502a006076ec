"""Every error that the endpoint can answer with: its status, its stable type and its title (RFC 9457).

The errors of the local server only are in ``local/problems.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

TYPE_PREFIX = "urn:problem-type:upload:"


class Problem(Exception):
    """Base of all errors that a client is told about.

    :param detail: one sentence for a person: what was wrong and what to do. It goes into the answer, so it never holds
        a path, a secret or another system's error text.
    :param file_name: the client's name of the file that it is about, where it is about one.
    :param extensions: further members of the problem object (RFC 9457, section 3.2).
    """

    status: int = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong here"
    headers: Mapping[str, str] = {}
    aside: str = ""
    """A sentence about the whole request, such as what became of its other files. It follows ``detail``."""

    def __init__(self, detail: str, *, file_name: str | None = None, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.file_name = file_name
        self.extensions = extensions

    @property
    def type(self) -> str:
        return TYPE_PREFIX + self.slug

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The refused files, one entry each; empty where the problem is not about files."""
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
    title = "The request cannot be understood"


class NoFile(Problem):
    status = 400
    slug = "no-file"
    title = "The request holds no file"


class TokenRequired(Problem):
    status = 401
    slug = "token-required"
    title = "A token is needed"
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="upload"'}


class InvalidToken(Problem):
    status = 401
    slug = "invalid-token"
    title = "The token is not good"
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="upload", error="invalid_token"'}


class Forbidden(Problem):
    """It is known who asks, or from where, and they may not.

    :param scope: the scope that the token lacks, where another token would do (RFC 6750, section 3.1).
    """

    status = 403
    slug = "forbidden"
    title = "This is not allowed"

    def __init__(self, detail: str, *, scope: str | None = None) -> None:
        if scope is None:
            super().__init__(detail)
        else:
            super().__init__(detail, scope=scope)
            self.headers = {"WWW-Authenticate": 'Bearer realm="upload", error="insufficient_scope"'}


class AccessNotConfigured(Problem):
    """Nobody has said who may upload, so nobody may."""

    status = 403
    slug = "access-not-configured"
    title = "Nobody may upload here yet"

    def __init__(self) -> None:
        super().__init__(
            "This endpoint was deployed without saying who may upload. Its owner has to set TOKEN_SECRET or ACCESS."
        )


class NotFound(Problem):
    status = 404
    slug = "not-found"
    title = "There is nothing here"


class UploadNotFound(Problem):
    """An upload id that is not ours, has expired, or whose upload has ended."""

    status = 404
    slug = "upload-not-found"
    title = "There is no such upload"

    def __init__(self, detail: str = "This upload does not exist, or it has ended. Begin a new one.") -> None:
        super().__init__(detail)


class MethodNotAllowed(Problem):
    status = 405
    slug = "method-not-allowed"
    title = "This method is not allowed here"


class AlreadyExists(Problem):
    """Never met in practice: an id is 128 random bits and never reused. It exists so that storage cannot overwrite."""

    status = 409
    slug = "already-exists"
    title = "A file is never replaced"


class UploadIncomplete(Problem):
    """An upload in parts cannot be completed as it is. Nothing is lost: the missing parts can still be sent."""

    status = 409
    slug = "upload-incomplete"
    title = "The upload is not complete"


class LengthRequired(Problem):
    status = 411
    slug = "length-required"
    title = "The length of the body is needed"


class PreconditionFailed(Problem):
    status = 412
    slug = "precondition-failed"
    title = "The file is another one"


class RequestTooLarge(Problem):
    status = 413
    slug = "request-too-large"
    title = "The request is too large"


class FileTooLarge(Problem):
    status = 413
    slug = "file-too-large"
    title = "The file is too large"


class TooManyParts(Problem):
    status = 413
    slug = "too-many-parts"
    title = "The form has too many parts"


class TypeNotAllowed(Problem):
    status = 415
    slug = "type-not-allowed"
    title = "This type of file is not allowed"


class ContentCodingNotSupported(Problem):
    status = 415
    slug = "content-coding-not-supported"
    title = "The body must not be compressed"
    headers: Mapping[str, str] = {"Accept-Encoding": "identity"}  # RFC 9110, section 15.5.16


class RangeNotSatisfiable(Problem):
    status = 416
    slug = "range-not-satisfiable"
    title = "The file has no such range"


class EmptyFile(Problem):
    status = 422
    slug = "empty-file"
    title = "The file is empty"


class DigestMismatch(Problem):
    status = 422
    slug = "digest-mismatch"
    title = "The body is not what its digest says"


class ContentMismatch(Problem):
    status = 422
    slug = "content-mismatch"
    title = "The content is not what the name says"


class ImageTooLarge(Problem):
    status = 422
    slug = "image-too-large"
    title = "The image has too many pixels"


class FilesRefused(Problem):
    """Several files of one request were refused; ``errors`` has the reason for each, and none was stored.

    Where they were all refused for one reason it has that reason's status, else 422.
    """

    status = 422
    slug = "files-refused"
    title = "Several files were refused"

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
    """A fault of ours; the log has the traceback, under the request id of the answer."""

    def __init__(self) -> None:
        super().__init__("This is a fault on our side. If it stays, report it with the request id.")


class StorageUnavailable(Problem):
    """The bucket or the disk did not do what it was asked.

    :param reason: what the storage said, for the log alone; it never goes into an answer.
    """

    status = 503
    slug = "storage-unavailable"
    title = "The storage is not available"
    headers: Mapping[str, str] = {"Retry-After": "5"}

    def __init__(self, reason: str) -> None:
        super().__init__("The storage cannot be reached just now, so this was not done. Try again in a moment.")
        self.reason = reason


def from_dict(body: Mapping[str, Any]) -> Problem:
    """The problem whose :meth:`Problem.as_dict` this was; ``errors`` and ``error`` follow from the rest.

    :raises KeyError: it is none of ours.
    """
    known = {TYPE_PREFIX + each.slug: each for each in Problem.__subclasses__()}
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

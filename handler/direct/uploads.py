"""The service for direct uploads: a file goes straight to the storage, in parts or with a presigned form. No Flask.

An upload id is followed once through each module: this service verifies it (:mod:`.upload_ids`), joins the parts in the
storage (:mod:`handler.storage`), and promotes the file (:mod:`.promotion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from .. import problems
from ..inspection.policy import Policy
from ..problems import FileTooLarge, MalformedRequest, NotFound, UploadIncomplete, UploadNotFound
from ..storage import NO_DETAILS, Details, Storage, new_id, path_of
from ..storage.direct import (
    MAX_FORM_BYTES,
    MAX_PARTS,
    MIN_PART_BYTES,
    Deleted,
    DirectUploads,
    PresignedPost,
    Refused,
    Stored,
    UploadedPart,
    Verdict,
    part_bytes,
)
from ..units import ceil_div
from . import declaration, promotion, upload_ids
from .promotion import Promotion, TooLargeForRequest
from .upload_ids import UploadId

PARTS_AHEAD = 100
"""The maximum number of missing parts before a part whose length is not signed. Each such part could hold 5 GiB, and
its size is known only after it has arrived."""
MAX_ETAG_CHARS = 128
"""The longest ETag that the storage is asked to compare. S3's have 32 characters."""
MAX_SHOWN_PARTS = 10
"""The maximum number of part numbers in an error."""
DELETED = "The file was stored, and then deleted."


class UploadReference(NamedTuple):
    """A client's reference to its upload in parts.

    :param upload_id: the signed upload id, as :meth:`UploadService.begin` returned it.
    :param subject: the ``sub`` of the client's token, if the token has one.
    :param folder: the folder of the client's token, if the token has one.
    :param key: the key under ``incoming/``, if the client sent it. It must match the upload id.
    """

    upload_id: str
    subject: str | None = None
    folder: str | None = None
    key: str | None = None


class BegunUpload(NamedTuple):
    """An upload in parts that has begun.

    :param file_id: the id that the stored file will have.
    :param key: the key under which the bytes arrive.
    :param upload_id: signed, for the client.
    :param part_bytes: the size of each part except the last, in bytes: the declared or the recommended size.
    """

    file_id: str
    key: str
    upload_id: str
    part_bytes: int


class PostUpload(NamedTuple):
    """An upload with a presigned form.

    :param file_id: the id that the stored file will have.
    :param upload_id: signed, for the client. It is only good for :meth:`UploadService.status`.
    """

    file_id: str
    upload_id: str
    post: PresignedPost


class Pending(NamedTuple):
    """The upload has no verdict yet.

    :param key: the key under which the bytes arrived, or will arrive.
    """

    key: str


class UploadStatus(NamedTuple):
    """The status of an upload.

    :param file_id: the id that the stored file has, or will have.
    """

    file_id: str
    state: Stored | Refused | Pending


class UploadService:
    """The operations on direct uploads.

    Every method may raise :class:`~handler.problems.StorageUnavailable`. Methods that take an upload id raise
    :class:`~handler.problems.UploadNotFound` if the upload id is invalid or has expired. Methods that take a reference
    also raise :class:`~handler.problems.Forbidden` if the upload was begun with another ``sub`` or another folder.

    :param uploads: the storage in which the bytes arrive.
    :param storage: the storage of checked files.
    """

    def __init__(self, uploads: DirectUploads, *, storage: Storage, promotion: Promotion) -> None:
        self._uploads = uploads
        self._storage = storage
        self._promotion = promotion

    def begin(self, body: Mapping[str, Any], *, policy: Policy, details: Details = NO_DETAILS) -> BegunUpload:
        """Begin an upload in parts.

        :param body: the declaration, as a client's JSON object.
        :param policy: the policy for this client.
        :param details: for the stored file.
        :raises Problem: the declaration is malformed, or the policy refuses the declared file.
        """
        declared = declaration.read(body, policy=policy, details=details)
        file_id = new_id()
        upload_id = UploadId(
            id=file_id,
            multipart_id=self._uploads.begin(path_of(file_id, details.folder), declared),
            max_bytes=declared.max_bytes,
            size=declared.size,
            part_bytes=declared.part_bytes,
            subject=upload_ids.subject_hash(details.subject),
            folder=details.folder,
        )
        return BegunUpload(
            file_id=file_id,
            key=upload_id.key,
            upload_id=self._sign(upload_id),
            part_bytes=declared.part_bytes or part_bytes(declared.max_bytes),
        )

    def presigned_post(
        self, arguments: Mapping[str, str], *, policy: Policy, details: Details = NO_DETAILS
    ) -> PostUpload:
        """Return a form that sends a whole file. The storage's event starts the promotion after the file has arrived.

        :param arguments: the declaration, as the arguments of a query.
        :param policy: the policy for this client.
        :param details: for the stored file.
        :raises Problem: the declaration is malformed, or the policy refuses the declared file.
        :raises FileTooLarge: the file is too large for one POST.
        """
        declared = declaration.read_query(arguments, policy=policy, details=details)
        if declared.size is not None and declared.size > MAX_FORM_BYTES:
            raise FileTooLarge(
                f"'{declared.original_name}' is too large for a form, which holds at most {MAX_FORM_BYTES:,} bytes. "
                "Send the file in parts.",
                file_name=declared.original_name,
                max_bytes=MAX_FORM_BYTES,
            )
        file_id = new_id()
        post = self._uploads.presigned_post(path_of(file_id, details.folder), declared)
        upload_id = UploadId(id=file_id, multipart_id="", max_bytes=declared.max_bytes, folder=details.folder)
        return PostUpload(file_id=file_id, upload_id=self._sign(upload_id), post=post)

    def part_url(self, reference: UploadReference, number: int) -> str:
        """Return the URL for a PUT of a part: absolute, or relative to the root of this endpoint.

        :param number: from 1 to :data:`~handler.storage.direct.MAX_PARTS`.
        :raises MalformedRequest: the upload cannot have this part, or its size must be declared.
        :raises FileTooLarge: the parts that have arrived hold more than the file may. They have been deleted.
        """
        upload = self._verify(reference)
        if not 1 <= number <= MAX_PARTS:
            raise MalformedRequest(f"The number of a part must be from 1 to {MAX_PARTS:,}.")
        size = None if upload.size is None else _part_size(number, size=upload.size, part_bytes=upload.part_bytes)
        if size is None:
            self._check_room(upload, number)
        return self._uploads.part_url(upload.path, upload.multipart_id, number, size=size)

    def parts(self, reference: UploadReference) -> list[UploadedPart]:
        """Return the parts that have arrived, for a client that resumes an upload."""
        upload = self._verify(reference)
        return self._uploads.parts(upload.path, upload.multipart_id)

    def complete(self, reference: UploadReference, listed_parts: object = None) -> Stored | Pending:
        """Join the parts to one file, and promote the file. A client may repeat this: the result stays the same.

        :param listed_parts: the client's list of parts, as JSON; ``None`` if the client sent no list.
        :raises UploadIncomplete: parts are missing, or differ from the client's list. Nothing is lost.
        :raises Problem: the file is refused.
        :raises NotFound: the file was stored, and then deleted.
        """
        upload = self._verify(reference)
        try:
            verdict = self._promote_joined(upload, listed_parts)
        except TooLargeForRequest:
            return Pending(upload.key)
        match verdict:
            case Stored():
                return verdict
            case Refused(problem):
                raise problems.from_dict(problem)
            case Deleted():
                raise NotFound(DELETED)
            case None:
                raise UploadNotFound()

    def abort(self, reference: UploadReference) -> None:
        """Delete the parts.

        :raises UploadNotFound: the upload is completed.
        """
        upload = self._verify(reference)
        self._uploads.abort(upload.path, upload.multipart_id)
        # S3 may respond to an abort after the completion as it responds to an abort before the completion.
        if self._uploads.arrived(upload.path) or self._storage.contains(upload.id, upload.folder):
            raise UploadNotFound("The upload is already completed, so it has no parts. Delete the file instead.")

    def status(self, upload_id: str, *, folder: str | None = None) -> UploadStatus:
        """Return the status of an upload. If the file has arrived and can be promoted quickly, promote it.

        :param upload_id: signed, from :meth:`begin` or :meth:`presigned_post`. Anyone who has it may ask.
        :param folder: the folder of the client's token, if the client sent such a token.
        :raises Forbidden: the upload is in another folder.
        :raises NotFound: nothing has arrived, or the file was deleted.
        """
        upload = upload_ids.verify(upload_id, secret=self._uploads.secret())
        upload_ids.check_folder(upload, folder)
        state = self._find_state(upload)
        match state:
            case Stored() | Refused() | Pending():
                return UploadStatus(upload.id, state)
            case Deleted():
                raise NotFound(DELETED)
            case None:
                raise NotFound("No file has arrived under this upload id, or the file was removed.")

    def status_of_file(self, file_id: str, *, folder: str | None = None, with_token: bool) -> str:
        """Return ``stored`` or ``refused`` for a client that knows only the file's id, which may be from the log.

        On S3 this takes one call, and one more with a token for a file that is not stored.

        :param folder: the folder of the client's token, if the token has one. No other folder is searched.
        :param with_token: the client sent a valid token with the scope ``upload``.
        :raises NotFound: no file is stored under this id.
        """
        if self._storage.contains(file_id, folder):
            return "stored"
        if with_token and self._uploads.refusal(path_of(file_id, folder)) is not None:
            return "refused"
        raise NotFound(
            "No file is stored under this id. Use the upload's 'status' URL, or its upload id, to see a pending upload "
            "or the reason of a refusal."
        )

    def _sign(self, upload_id: UploadId) -> str:
        return upload_ids.sign(upload_id, secret=self._uploads.secret())

    def _verify(self, reference: UploadReference) -> UploadId:
        """Return the upload id of an upload in parts, if the client may continue the upload.

        :raises UploadNotFound: the upload id is invalid, or has expired, or is the id of a presigned form.
        :raises Forbidden: the upload was begun with another ``sub`` or another folder.
        """
        upload = upload_ids.verify(reference.upload_id, secret=self._uploads.secret())
        if not upload.multipart_id:
            raise UploadNotFound()
        upload_ids.check_owner(upload, subject=upload_ids.subject_hash(reference.subject), folder=reference.folder)
        if reference.key not in (None, upload.key):
            raise UploadNotFound("This upload id and this key do not belong together.")
        return upload

    def _find_state(self, upload: UploadId) -> Verdict | Pending | None:
        """Return the verdict on an upload, after a promotion if necessary; ``None`` if nothing has arrived.

        An upload is pending while parts may still arrive, while the form was not sent, and while the file is too large
        for a promotion within this request.
        """
        if upload.multipart_id and self._uploads.has_multipart_upload(upload.path, upload.multipart_id):
            return Pending(upload.key)
        verdict = self._uploads.find_verdict(upload.path)
        if verdict is not None:
            return verdict
        incoming = self._uploads.open_incoming(upload.path)
        if incoming is None and not upload.multipart_id:
            return Pending(upload.key)  # the client may still send the form
        try:
            return self._promotion.promote_incoming(
                upload.path, incoming, max_read_bytes=promotion.READ_FOR_STATUS_BYTES
            )
        except TooLargeForRequest:
            return Pending(upload.key)

    def _promote_joined(self, upload: UploadId, listed_parts: object) -> Verdict | None:
        """Join the parts, and promote the file. If the parts were joined before, look for the verdict first.

        :raises UploadIncomplete: parts are missing, or differ from the client's list.
        :raises TooLargeForRequest: as :meth:`Promotion.promote`.
        """
        try:
            version = self._join_parts(upload, listed_parts)
        except UploadNotFound:  # the upload was completed before, or aborted
            return self._promotion.promote(upload.path)
        if version is None:
            return self._promotion.promote(upload.path, undecided=True)
        return self._promotion.promote_incoming(upload.path, self._uploads.open_joined(upload.path, version))

    def _join_parts(self, upload: UploadId, listed_parts: object) -> str | None:
        """Join the parts to one file.

        :returns: the version of the file, if the storage names it.
        :raises UploadIncomplete: parts are missing, or differ from the client's list.
        :raises UploadNotFound: the upload was completed before, or aborted.
        """
        if announced := _announced_parts(upload, listed_parts):
            # The storage compares the ETags, and the URLs were signed for these sizes. So no other check is necessary.
            with suppress(UploadIncomplete):  # the checks below find the reason
                return self._uploads.complete(upload.path, upload.multipart_id, announced)
        parts = self._uploads.parts(upload.path, upload.multipart_id)
        self._check_complete(upload, parts, listed_parts)
        return self._uploads.complete(upload.path, upload.multipart_id, parts)

    def _check_room(self, upload: UploadId, number: int) -> None:
        """Check that there may be a part whose length is not signed, and that not too much has arrived.

        :raises MalformedRequest: too many parts before this part are missing.
        :raises FileTooLarge: the file is larger than it may be.
        """
        if number > max(1, ceil_div(upload.max_bytes, MIN_PART_BYTES)):
            raise _too_large(upload)
        parts = self._uploads.parts(upload.path, upload.multipart_id)
        self._check_sum(upload, parts)
        if number > len(parts) + PARTS_AHEAD:
            raise MalformedRequest(
                f"Only {len(parts):,} parts have arrived, too few for part {number:,}. Send the parts in order, or "
                "begin the upload with 'size' and 'partSize'."
            )

    def _check_complete(self, upload: UploadId, parts: Sequence[UploadedPart], listed_parts: object) -> None:
        """Check that the parts are the whole file.

        :raises FileTooLarge: the file is larger than it may be.
        :raises UploadIncomplete: parts are missing, or differ from the client's list.
        """
        self._check_sum(upload, parts)
        if not parts:
            raise UploadIncomplete("No part has arrived. Send the parts first.")
        arrived = _total_bytes(parts)
        if upload.size is not None and arrived < upload.size:
            raise UploadIncomplete(f"{arrived:,} of {upload.size:,} bytes have arrived. Send the missing parts.")
        if listed_parts is not None:
            _check_list(listed_parts, parts)

    def _check_sum(self, upload: UploadId, parts: Iterable[UploadedPart]) -> None:
        """Check that the parts do not hold more than the file may.

        :raises FileTooLarge: they hold more. All parts have been deleted.
        """
        if _total_bytes(parts) > upload.max_bytes:
            refusal = _too_large(upload)
            self._uploads.refuse(upload.path, refusal.as_dict())  # for the status: Uppy shows no reason
            self._uploads.abort(upload.path, upload.multipart_id)
            raise refusal


def _part_size(number: int, *, size: int, part_bytes: int | None) -> int:
    """Return the length of a part, in bytes, of a file whose size is known.

    :param size: of the whole file, in bytes.
    :param part_bytes: the size of each part except the last, in bytes, if the client declared it.
    :raises MalformedRequest: there is no such part, or its length is unknown. A URL for any length would take 5 GiB.
    """
    if part_bytes is None:
        if size > MIN_PART_BYTES:
            raise MalformedRequest(
                f"A file of {size:,} bytes may have several parts, and each URL is signed for the length of its part. "
                "Begin the upload with 'partSize' too."
            )
        part_bytes = MIN_PART_BYTES  # S3 accepts a smaller part only as the last part, so the file has one part
    count = max(1, ceil_div(size, part_bytes))
    if number > count:
        raise MalformedRequest(f"There is no part {number}. The last part of a file of {size:,} bytes is {count:,}.")
    return min(part_bytes, size - (number - 1) * part_bytes)


def _announced_parts(upload: UploadId, listed_parts: object) -> list[UploadedPart]:
    """Return all parts of a file whose size is known, if the client lists all of them; else an empty list.

    :param listed_parts: the client's list; ``None`` without one.
    """
    if upload.size is None or listed_parts is None:
        return []
    etags = _read_list(listed_parts)
    part_bytes = upload.part_bytes or max(upload.size, 1)
    if sorted(etags) != list(range(1, ceil_div(upload.size, part_bytes) + 1)):
        return []
    if not all(len(etag) <= MAX_ETAG_CHARS and etag.isascii() and etag.isalnum() for etag in etags.values()):
        return []
    return [
        UploadedPart(number=number, etag=etag, size=_part_size(number, size=upload.size, part_bytes=part_bytes))
        for number, etag in sorted(etags.items())
    ]


def _read_list(listed_parts: Any) -> dict[int, str]:
    """Return the numbers and ETags in the client's list.

    :raises MalformedRequest: it is not a list of parts.
    """
    try:
        return {int(part["PartNumber"]): str(part["ETag"]).strip('"') for part in listed_parts}
    except (TypeError, KeyError, ValueError, OverflowError):  # OverflowError: JSON's 1e999
        raise MalformedRequest("'parts' is not a list of objects with PartNumber and ETag.") from None


def _check_list(listed_parts: object, parts: Iterable[UploadedPart]) -> None:
    """Check that the client's list names the parts that have arrived.

    :raises MalformedRequest: it is not a list of parts.
    :raises UploadIncomplete: the list names other parts.
    """
    listed = _read_list(listed_parts)
    arrived = {part.number: part.etag for part in parts}
    different = sorted(number for number in listed | arrived if listed.get(number) != arrived.get(number))
    if different:
        shown = ", ".join(map(str, different[:MAX_SHOWN_PARTS]))
        raise UploadIncomplete(f"'parts' does not match the uploaded parts. Check these parts: {shown}.")


def _total_bytes(parts: Iterable[UploadedPart]) -> int:
    return sum(part.size for part in parts)


def _too_large(upload: UploadId) -> FileTooLarge:
    return FileTooLarge(
        f"The file is larger than its limit of {upload.max_bytes:,} bytes. Send a smaller file.",
        max_bytes=upload.max_bytes,
    )

"""The service for resumable uploads: create, append, ask, cancel. No Flask, and the same for both protocols.

The bytes arrive in a storage (:mod:`handler.storage.resumable`). The last request promotes the file
(:mod:`handler.direct.promotion`), so a file passes the same checks as a file that comes in any other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

from .. import problems
from ..direct.promotion import READ_FOR_STATUS_BYTES, READ_IN_TIME_BYTES, Promotion
from ..direct.upload_ids import check_folder, check_owner
from ..direct.uploads import DELETED, Pending
from ..inspection.policy import Policy
from ..intake import Intake
from ..problems import (
    AlreadyExists,
    FileExpired,
    FileTooLarge,
    IdempotencyKeyReused,
    InconsistentLength,
    MalformedRequest,
    MismatchingOffset,
    NotFound,
    Problem,
    StorageUnavailable,
    UploadNotFound,
    UploadRefused,
)
from ..storage import deadline, new_id
from ..storage.direct import MAX_IN_PIECES_BYTES, Declaration, Deleted, DirectUploads, Refused, Stored, Verdict
from ..storage.resumable import Beginning, Ending, Extent, IncomingPieces, OffsetMismatch, Progress, ResumableUploads
from ..units import MIB, ceil_div
from . import upload_ids
from .first_bytes import FIRST_BYTES, FirstBytes, RefusedEarly
from .requests import Append, Piece
from .upload_ids import Flags, ResumableId

MAX_READS_IN_TIME = 1000
"""The largest number of pieces that are read while a gateway waits: about 300 a second, over ten connections."""
MAX_EARLY_READS = 8
"""The largest number of pieces that are read again for the early check. The whole file is checked in any case."""
MANY_PIECES = 10_000
"""An upload may always have so many pieces of one size. An upload with more must send larger pieces."""
MAX_LEAST_BYTES = MIB
"""The largest size that a piece must have, in bytes."""
NAMELESS = "The upload has no name, so its file was taken for a text. Send the name of the file."


class Begun(NamedTuple):
    """An upload that has begun.

    :param signed: the upload id, for the client.
    """

    upload: ResumableId
    signed: str


class UploadState(NamedTuple):
    """The state of an upload.

    :param offset: the number of bytes that have arrived.
    :param length: of the whole file, in bytes, if it is known.
    :param verdict: ``None`` while bytes may arrive.
    """

    offset: int
    length: int | None
    verdict: Stored | Refused | Pending | None = None


class Pieces:
    """Uploads in pieces as a promotion sees them: see :class:`~handler.storage.direct.Arrivals`.

    :param uploads: the storage of the pieces.
    :param verdicts: the storage that keeps the verdicts on direct uploads. It keeps those on pieces too.
    """

    def __init__(self, uploads: ResumableUploads, verdicts: DirectUploads) -> None:
        self._open_incoming = uploads.open_incoming
        self._refusal = verdicts.refusal
        self.discard = uploads.discard
        self.end_copies = verdicts.end_copies
        self.find_verdict = verdicts.find_verdict
        self.refuse = verdicts.refuse

    def open_incoming(self, path: str, version: str | None = None, /) -> IncomingPieces | None:
        """Pin the bytes, except those of a refused file.

        A piece that is written late can take the place of a piece that was discarded after a refusal. So the search
        for the refusal comes after the pieces are pinned. After any other verdict, no file can be stored again.
        """
        incoming = self._open_incoming(path, version)
        return None if incoming is None or self._refusal(path) is not None else incoming


class ResumableService:
    """The operations on resumable uploads.

    Every method may raise :class:`~handler.problems.StorageUnavailable`.

    :param uploads: the storage of the pieces.
    :param verdicts: the storage of the verdicts, and of the secret that signs upload ids.
    :param intake: the only way into ``files/``.
    """

    def __init__(self, uploads: ResumableUploads, *, verdicts: DirectUploads, intake: Intake) -> None:
        self._uploads = uploads
        self._verdicts = verdicts
        self._policy = intake.policy
        self._pieces = Pieces(uploads, verdicts)
        self._promotion = Promotion(self._pieces, intake=intake)

    def begin(self, beginning: Beginning, upload: ResumableId) -> Begun:
        """Begin an upload.

        :param upload: of :meth:`new_upload`.
        """
        self._uploads.begin(upload.path, beginning)
        return Begun(upload, self.sign(upload))

    def begin_once(self, beginning: Beginning, upload: ResumableId) -> None:
        """Begin an upload, if no other request has. The facts of the first request stay."""
        with suppress(AlreadyExists):
            self._uploads.begin(upload.path, beginning)

    def begin_or_find(self, beginning: Beginning, upload: ResumableId) -> UploadState | None:
        """Begin an upload whose id was derived from an idempotency key, unless an earlier request has begun it.

        :returns: the state of the upload that an earlier request began; ``None`` if this request began it.
        :raises IdempotencyKeyReused: the earlier request began the upload of another file.
        :raises FileExpired: the upload was cancelled since, or its file was deleted.
        :raises Problem: the file was refused.
        """
        earlier = self._uploads.beginning(upload.path)
        if earlier is None:
            self._uploads.begin(upload.path, beginning)
            return None
        if _facts(earlier) != _facts(beginning):
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for another upload. A repeated request must have the same name, length "
                "and fields. For a new upload, send a new key."
            )
        try:
            return self._decided(upload, self.state(upload))
        except (NotFound, UploadNotFound):
            raise FileExpired(
                "The upload with this Idempotency-Key was cancelled, or its file was deleted. To upload the file "
                "again, send a new key."
            ) from None

    def new_upload(
        self,
        declaration: Declaration,
        *,
        policy: Policy,
        folder: str | None,
        flags: Flags,
    ) -> ResumableId:
        """Return the id of an upload that begins now.

        :param policy: the policy for this client.
        :param folder: of the client's token.
        """
        return ResumableId(
            id=new_id(),
            max_bytes=policy.max_file_bytes,
            expires=upload_ids.expiry(),
            length=declaration.size,
            subject=upload_ids.subject_hash(declaration.subject),
            folder=folder,
            flags=flags,
        )

    def check_length(self, length: int, policy: Policy) -> None:
        """Check that a file is small enough to come in pieces.

        :param policy: for a file in pieces of this client.
        :raises FileTooLarge: the file can only come directly.
        """
        if length > policy.max_file_bytes == MAX_IN_PIECES_BYTES:
            raise self.too_large(policy.max_file_bytes)

    def too_large(self, max_bytes: int) -> FileTooLarge:
        """Return the problem with a file over its limit.

        :param max_bytes: the limit, in bytes.
        """
        if max_bytes == MAX_IN_PIECES_BYTES < self._policy.max_file_bytes:
            sentence = (
                f"A file that comes in pieces may have {max_bytes:,} bytes. Larger files go straight to the storage: "
                "begin with POST /upload/s3/multipart."
            )
        else:
            sentence = f"The file is larger than its limit of {max_bytes:,} bytes. Send a smaller file."
        return FileTooLarge(sentence, max_bytes=max_bytes)

    def sign(self, upload: ResumableId) -> str:
        """Return an upload id as text, for the client."""
        return upload_ids.sign(upload, secret=self._verdicts.secret())

    def find(self, signed: str, *, folder: str | None) -> ResumableId:
        """Return an upload for a client that asks for its status. Anyone who has the upload id may ask.

        :param folder: of the client's token, if the client sent one.
        :raises UploadNotFound: the upload id is invalid, or has expired.
        :raises Forbidden: the upload is in another folder.
        """
        upload = upload_ids.verify(signed, secret=self._verdicts.secret())
        check_folder(upload, folder)
        return upload

    def resume(self, signed: str, *, subject: str | None, folder: str | None) -> ResumableId:
        """Return an upload for a client that continues it.

        :param subject: the ``sub`` of the client's token, if the token has one.
        :param folder: of the client's token, if the token has one.
        :raises UploadNotFound: the upload id is invalid, or has expired.
        :raises Forbidden: the upload was begun with another ``sub`` or another folder.
        """
        upload = upload_ids.verify(signed, secret=self._verdicts.secret())
        check_owner(upload, subject=upload_ids.subject_hash(subject), folder=folder)
        return upload

    def append(
        self, upload: ResumableId, piece: Piece, content: Iterator[bytes], *, verify: Callable[[], None] | None = None
    ) -> UploadState:
        """Append a piece. After the last piece, promote the file.

        A client may repeat the last piece: the result stays the same.

        :param verify: compares the digest of the content, after its last byte. If it raises, nothing is kept.
        :raises MismatchingOffset: the piece begins elsewhere.
        :raises InconsistentLength: the request contradicts the length. After too many bytes, the upload has ended.
        :raises FileTooLarge: more bytes than the file may have. The upload has ended.
        :raises UploadNotFound: the upload never began, was cancelled, or is complete.
        :raises Problem: the file is refused.
        """
        append, size = piece
        length = self._length(upload, piece)
        room = (upload.max_bytes if length is None else length) - append.offset
        if size is not None and size > room:
            self._check_offset(upload, append)
            self._end_too_long(upload, length, offset=append.offset)
        self._check_piece_size(upload, piece, length)
        checked = FirstBytes(content, offset=append.offset, room=room)
        if append.offset < FIRST_BYTES and (size is None or size >= append.offset):
            self._inspect_early(checked, upload, length)
        try:
            offset = self._uploads.append(upload.path, append.offset, iter(checked), verify=verify)
        except OffsetMismatch as mismatch:
            return self._repeated(upload, piece, mismatch.progress)
        except RefusedEarly as early:
            # With a digest to verify, no byte was kept. Then another request may have appended other bytes.
            self._refuse(upload, early.problem, offset=None if verify is None else append.offset)
        if checked.is_too_long:
            self._end_too_long(upload, length, offset=offset)
        return self._after(upload, append, offset=offset, length=length)

    def append_whole(
        self, upload: ResumableId, piece: Piece, content: Iterator[bytes], *, verify: Callable[[], None]
    ) -> UploadState:
        """Append a piece, all of it or nothing. A client may repeat any piece, with the same bytes.

        FilePond needs that. It repeats a piece without a look at the offset. And it takes a piece for complete if the
        offset is behind the first byte of the piece.

        :raises Problem: as :meth:`append`.
        """
        try:
            return self.append(upload, piece, content, verify=verify)
        except MismatchingOffset as mismatch:
            state = self.state(upload)
            # After the last piece, the bytes are gone.
            if state.verdict is None and not self._has(upload, piece.append.offset, content):
                raise mismatch from None
            return self._decided(upload, state)

    def _has(self, upload: ResumableId, offset: int, content: Iterator[bytes]) -> bool:
        """Return whether these bytes have arrived at this offset before."""
        begin = offset
        for data in content:
            if self._uploads.read(upload.path, offset, len(data)) != data:
                return False
            offset += len(data)
        return offset > begin

    def place(self, upload: ResumableId, beginning: Beginning, offset: int, content: Iterator[bytes]) -> UploadState:
        """Keep a piece of an upload whose pieces come in any order. After the last missing piece, promote the file.

        A client may repeat any piece: the result stays the same. The first piece of the file is checked early.

        :param upload: with a length. The upload begins with the piece that comes first.
        :param offset: the offset of the piece, in bytes.
        :param content: the bytes of the piece. If the iterator raises, nothing is kept.
        :raises AlreadyExists: other bytes have arrived at this offset.
        :raises UploadNotFound: the upload was cancelled, or is too old.
        :raises Problem: the file is refused.
        """
        length = upload.length or 0
        checked = FirstBytes(content, offset=offset, room=length - offset)
        if offset == 0:
            self._inspect_early(checked, upload, length, beginning=beginning)
        try:
            extents = self._uploads.place(upload.path, offset, iter(checked), beginning=beginning)
        except OffsetMismatch as mismatch:
            return self._placed_late(upload, mismatch.progress)
        except AlreadyExists:
            raise AlreadyExists(
                f"A piece with other bytes has arrived at byte {offset:,} of this file, so this piece was not kept. "
                "Begin a new upload: choose the file again."
            ) from None
        except RefusedEarly as early:
            progress = self._uploads.progress(upload.path)
            if progress is not None and progress.ending is not None:
                return self._ended(upload, progress)
            self.begin_once(beginning, upload)
            self._refuse(upload, early.problem)
        if extents == [Extent(0, length)]:
            return self._complete(upload, length)
        return UploadState(extents[0].size if extents and extents[0].offset == 0 else 0, length)

    def _placed_late(self, upload: ResumableId, progress: Progress) -> UploadState:
        """Return the state of an upload that ended before a piece came, and delete the piece.

        :raises Problem: as :meth:`_ended`.
        """
        size, verdict = progress.offset, None
        if progress.ending == Ending.COMPLETE:
            verdict = self._promote(upload, size)
        if not isinstance(verdict, Pending):  # without a verdict, the piece may be one of those that are promoted
            with suppress(StorageUnavailable):
                self._uploads.discard(upload.path)
        if verdict is None:
            self._raise_ended(upload, progress)
        return self._decided(upload, UploadState(size, size, verdict))

    def derived_id(self, *parts: str | int | None) -> str:
        """Return the id of an upload that these parts name: see :func:`.upload_ids.derived_id`."""
        return upload_ids.derived_id(*parts, secret=self._verdicts.secret())

    def state(self, upload: ResumableId, *, takes_over: bool = True) -> UploadState:
        """Return the state of an upload. If all bytes have arrived and the file can be promoted quickly, promote it.

        :param takes_over: end a request that appends, so that the client can continue at the offset.
        :raises UploadNotFound: the upload never began, or was cancelled.
        :raises NotFound: the file was stored, and then deleted.
        """
        if upload.is_stored:
            return UploadState(upload.length or 0, upload.length, self._verdict(upload))
        progress = (self._uploads.progress if takes_over else self._uploads.peek)(upload.path)
        if progress is None and Flags.NAMED_LATER in upload.flags:
            return UploadState(0, upload.length)
        if progress is None or progress.ending == Ending.CANCELLED:
            raise UploadNotFound()
        offset = progress.offset
        if progress.ending == Ending.COMPLETE:
            return UploadState(offset, offset, self._promote(upload, offset))
        if progress.ending == Ending.REFUSED:
            problem = self._verdicts.refusal(upload.path) or UploadRefused().as_dict()
            return UploadState(offset, upload.length, Refused(problem))
        length = self._known_length(upload)
        if Flags.ENDS_AT_LENGTH in upload.flags and offset == length:  # the request of the last piece was interrupted
            self._end_complete(upload, offset)
            return UploadState(offset, offset, self._promote(upload, offset))
        return UploadState(offset, length)

    def metadata(self, upload: ResumableId) -> str | None:
        """Return the ``Upload-Metadata`` that the client sent when it began the upload."""
        if upload.is_stored or Flags.HAS_METADATA not in upload.flags:
            return upload.metadata
        beginning = self._uploads.beginning(upload.path)
        return None if beginning is None else beginning.metadata

    def ignored(self, upload: ResumableId) -> Sequence[str]:
        """Return the names of the fields that the client sent when it began the upload, and that are not kept."""
        beginning = self._uploads.beginning(upload.path) if Flags.HAS_IGNORED in upload.flags else None
        return () if beginning is None else beginning.ignored

    def promote(self, path: str, *, version: str | None) -> Verdict | None:
        """Promote a complete upload whose event arrives: see :meth:`~handler.direct.promotion.Promotion.promote`."""
        return self._promotion.promote(path, version=version)

    def discard(self, path: str) -> None:
        """Delete the bytes of an upload with a verdict, if there are any."""
        self._uploads.discard(path)

    def cancel(self, upload: ResumableId) -> None:
        """End an upload, and delete its bytes.

        :raises UploadNotFound: the upload has ended.
        """
        progress = None if upload.is_stored else self._uploads.progress(upload.path)
        if progress is None or progress.ending is not None:
            is_complete = upload.is_stored or (progress is not None and progress.ending == Ending.COMPLETE)
            self._refuse_ended(Ending.COMPLETE if is_complete else None)
        ending = self._uploads.end(upload.path, Ending.CANCELLED, offset=_placed_length(upload))
        if ending != Ending.CANCELLED:
            self._refuse_ended(ending)
        self._uploads.discard(upload.path)

    def _refuse_ended(self, ending: Ending | None) -> NoReturn:
        """:raises UploadNotFound: always."""
        if ending == Ending.COMPLETE:
            raise UploadNotFound("The upload is complete, so it cannot be cancelled. Delete the stored file instead.")
        raise UploadNotFound()

    def _known_length(self, upload: ResumableId) -> int | None:
        return self._uploads.length(upload.path) if upload.length is None else upload.length

    def _length(self, upload: ResumableId, piece: Piece) -> int | None:
        """Return the length of the file, and record the length if this request is the first that has it.

        The last piece implies the length: its offset and its size (section 4.1.3 of the draft). More bytes than the
        length are the caller's case.

        :raises InconsistentLength: the request contradicts the length.
        """
        append, size = piece
        implied = append.offset + size if append.is_complete and size is not None else None
        length = self._known_length(upload)
        if length is None:
            length = self._record_length(upload, append, append.length if implied is None else append.length or implied)
        is_short = implied is not None and length is not None and implied < length
        if is_short or append.length not in (None, length):
            self._check_offset(upload, append)
            raise InconsistentLength("The request contradicts the length of the upload. Send the same length.")
        return length

    def _record_length(self, upload: ResumableId, append: Append, length: int | None) -> int | None:
        """Record the length of an upload that began without one, and return it.

        :raises Problem: the file may not have this length.
        """
        if length is None:
            return None
        progress = self._uploads.progress(upload.path)
        if progress is not None and progress.ending == Ending.COMPLETE:
            return progress.offset
        self._check_offset(upload, append)  # a stale request must not decide about the length
        if length > upload.max_bytes:
            self._refuse(upload, self.too_large(upload.max_bytes), offset=append.offset)
        if length < append.offset:
            raise InconsistentLength(f"{append.offset:,} bytes have arrived, which is more than the length.")
        return self._uploads.set_length(upload.path, length)

    def _check_piece_size(self, upload: ResumableId, piece: Piece, length: int | None) -> None:
        """Check that an upload with very many pieces gets larger ones: a promotion reads each piece.

        The last piece may have any size.

        :raises MalformedRequest: the piece is too small.
        """
        append, size = piece
        least = min(ceil_div(append.offset, MANY_PIECES), MAX_LEAST_BYTES)
        if not size or size >= least or append.is_complete or append.offset + size == length:
            return
        self._check_offset(upload, append)
        raise MalformedRequest(
            f"The upload has very many pieces, so a piece that is not the last must have at least {least:,} bytes. "
            "Send larger pieces."
        )

    def _check_offset(self, upload: ResumableId, append: Append) -> None:
        """Check the offset before something else is refused: a stale request must not end an upload.

        :raises MismatchingOffset: the piece begins elsewhere.
        :raises Problem: the upload has ended.
        """
        progress = self._uploads.progress(upload.path)
        if progress is None or progress.ending in (Ending.CANCELLED, Ending.REFUSED):
            self._raise_ended(upload, progress)
        if progress.ending is not None or progress.offset != append.offset:
            raise MismatchingOffset(offset=progress.offset, provided=append.offset)

    def _raise_ended(self, upload: ResumableId, progress: Progress | None) -> NoReturn:
        """:raises Problem: the reason why the upload ended."""
        if progress is None or progress.ending == Ending.CANCELLED:
            raise UploadNotFound()
        refusal = self._verdicts.refusal(upload.path)
        raise problems.from_dict(refusal) if refusal else UploadRefused()

    def _repeated(self, upload: ResumableId, piece: Piece, progress: Progress) -> UploadState:
        """Return the state again, if the client repeats the last piece because it got no response.

        :raises MismatchingOffset: the piece begins elsewhere.
        :raises Problem: the upload has ended.
        """
        if progress.ending in (Ending.CANCELLED, Ending.REFUSED):
            self._raise_ended(upload, progress)
        is_last = piece.append.is_complete is not False and piece.size is not None
        if progress.ending is not None and is_last and piece.append.offset + (piece.size or 0) == progress.offset:
            return self._ended(upload, progress)
        raise MismatchingOffset(offset=progress.offset, provided=piece.append.offset)

    def _ended(self, upload: ResumableId, progress: Progress) -> UploadState:
        """Return the state of an upload that has ended.

        :raises Problem: the file was refused, or the upload was cancelled.
        """
        if progress.ending != Ending.COMPLETE:
            self._raise_ended(upload, progress)
        size = progress.offset
        return self._decided(upload, UploadState(size, size, self._promote(upload, size)))

    def _after(self, upload: ResumableId, append: Append, *, offset: int, length: int | None) -> UploadState:
        """Return the state after a piece, and complete the upload after the last one."""
        if append.is_complete and length is not None and offset < length:
            raise InconsistentLength(f"{offset:,} of {length:,} bytes have arrived, so the upload is not complete.")
        ends_at_length = append.is_complete is None or Flags.ENDS_AT_LENGTH in upload.flags
        if append.is_complete or (ends_at_length and offset == length):
            return self._complete(upload, offset)
        return UploadState(offset, length)

    def _complete(self, upload: ResumableId, size: int) -> UploadState:
        """End an upload whose bytes have all arrived, and promote the file.

        :raises Problem: the file is refused, or another request ended the upload.
        """
        self._end_complete(upload, size)
        return self._decided(upload, UploadState(size, size, self._promote(upload, size, undecided=True)))

    def _end_complete(self, upload: ResumableId, size: int) -> None:
        """End an upload whose bytes have all arrived.

        :raises Problem: another request ended the upload.
        """
        try:
            ending = self._uploads.end(upload.path, Ending.COMPLETE, offset=size)
        except OffsetMismatch as mismatch:
            raise MismatchingOffset(offset=mismatch.progress.offset, provided=size) from None
        if ending != Ending.COMPLETE:
            self._raise_ended(upload, Progress(offset=size, ending=ending))

    def _decided(self, upload: ResumableId, state: UploadState) -> UploadState:
        """Return a state without a refusal.

        :raises Problem: the file is refused.
        """
        if isinstance(state.verdict, Refused):
            raise with_reason(upload.flags, problems.from_dict(state.verdict.problem))
        return state

    def _promote(self, upload: ResumableId, size: int, *, undecided: bool = False) -> Stored | Refused | Pending:
        """Return the verdict on a complete upload, after a promotion if necessary.

        :param undecided: this request has sent the last piece, so there is no verdict yet.
        :raises NotFound: the file was stored, and then deleted.
        :raises UploadNotFound: the bytes are gone.
        """
        path = upload.path
        verdict = None if undecided else self._verdicts.find_verdict(path)
        if verdict is not None:
            return _shown(verdict)
        if not deadline.is_set():
            return _shown(self._promotion.promote(path, undecided=True))
        return self._promote_in_time(path, size, max_bytes=READ_IN_TIME_BYTES if undecided else READ_FOR_STATUS_BYTES)

    def _promote_in_time(self, path: str, size: int, *, max_bytes: int) -> Stored | Refused | Pending:
        """Promote a file while a gateway waits, or have the event of a manifest promote the file.

        The event promotes a file above ``max_bytes``, a file of very many pieces, and a file that took too long.

        :raises NotFound, UploadNotFound: as :meth:`_promote`.
        """
        try:
            incoming = self._pieces.open_incoming(path) if size <= max_bytes else None
            if size <= max_bytes and (incoming is None or incoming.reads <= MAX_READS_IN_TIME):
                verdict = self._promotion.promote_incoming(path, incoming)
                with suppress(StorageUnavailable), deadline.extra_time(seconds=deadline.CLEANUP_SECONDS):
                    # Pieces cause no event, which would discard them.
                    if incoming is None:
                        self._uploads.discard(path)
                    else:
                        self._uploads.discard_incoming(path, incoming)
                return _shown(verdict)
        except StorageUnavailable:
            if not deadline.expired():
                raise
        with deadline.extra_time(seconds=deadline.CLEANUP_SECONDS):
            self._uploads.hand_over(path)
        return Pending(f"incoming/{path}")

    def _verdict(self, upload: ResumableId) -> Stored | Refused | Pending:
        return _shown(self._verdicts.find_verdict(upload.path))

    def _inspect_early(
        self, checked: FirstBytes, upload: ResumableId, length: int | None, *, beginning: Beginning | None = None
    ) -> None:
        """Let the content of a piece be checked as soon as it shows the type of the file.

        :param beginning: by default, the recorded facts.
        """
        beginning = beginning or self._uploads.beginning(upload.path)
        if beginning is None:
            raise UploadNotFound()
        declaration = beginning.declaration
        policy = self._policy.narrowed(max_bytes=declaration.max_bytes)
        name = policy.inspect_name(declaration.original_name)
        before = b""
        if checked.offset:
            before = self._uploads.read(upload.path, 0, checked.offset, max_reads=MAX_EARLY_READS)
        if len(before) == checked.offset:
            # Without a length, the largest that the file may have; even, because an odd one would not be UTF-16.
            checked.inspect_with(
                policy, name, before=before, size=upload.max_bytes // 2 * 2 if length is None else length
            )

    def _end_too_long(self, upload: ResumableId, length: int | None, *, offset: int) -> NoReturn:
        """End an upload that got more bytes than its file has, or may have.

        :param offset: of the upload. Another offset means that this request is stale.
        :raises InconsistentLength: more bytes than the announced length.
        :raises FileTooLarge: more bytes than the file may have.
        """
        if length is None:
            self._refuse(upload, self.too_large(upload.max_bytes), offset=offset)
        self._refuse(
            upload,
            InconsistentLength(
                f"More than the announced {length:,} bytes were sent, so the upload has ended. Begin again."
            ),
            offset=offset,
        )

    def _refuse(self, upload: ResumableId, problem: Problem, *, offset: int | None = None) -> NoReturn:
        """End an upload with a refusal, and keep the reason for clients that ask.

        If another request has ended the upload, the first verdict stays, and the client gets it.

        :param offset: of the upload, if the bytes of another request would make the refusal wrong.
        :raises MismatchingOffset: the upload has another offset, or is complete, and its file is good.
        :raises Problem: the reason.
        """
        problem = with_reason(upload.flags, problem)
        ending = self._end_refused(upload, offset=offset)
        if ending == Ending.REFUSED:
            is_first = self._verdicts.refuse(upload.path, problem.as_dict())
            self._uploads.discard(upload.path)
            if is_first:
                raise problem
        if ending == Ending.COMPLETE:
            state = self._decided(upload, self.state(upload))
            raise MismatchingOffset(offset=state.offset, provided=offset or 0)
        self._raise_ended(upload, Progress(offset=offset or 0, ending=ending))

    def _end_refused(self, upload: ResumableId, *, offset: int | None) -> Ending:
        """End an upload with a refusal, and return its ending.

        :raises MismatchingOffset: the upload has another offset, so it goes on.
        """
        try:
            if offset is None:
                return self._uploads.end(upload.path, Ending.REFUSED, offset=_placed_length(upload))
            self._uploads.end(upload.path, Ending.REFUSED, offset=offset)
        except OffsetMismatch as mismatch:
            raise MismatchingOffset(offset=mismatch.progress.offset, provided=offset or 0) from None
        # On S3, this ending can take the place of a piece that was discarded after a verdict. Then a newer one counts.
        progress = self._uploads.progress(upload.path)
        return (progress and progress.ending) or Ending.CANCELLED


def _facts(beginning: Beginning) -> tuple[object, ...]:
    """Return the facts that a repeated request must repeat. The rest comes from the token, which may be new."""
    declaration = beginning.declaration
    fields = declaration.fields and dict(declaration.fields)
    return declaration.original_name, declaration.size, declaration.sha256, fields, beginning.metadata


def _shown(verdict: Verdict | None) -> Stored | Refused:
    """Return a verdict for the client.

    :raises NotFound: the file was stored, and then deleted.
    :raises UploadNotFound: there is no verdict, and the bytes are gone.
    """
    match verdict:
        case Stored() | Refused():
            return verdict
        case Deleted():
            raise NotFound(DELETED)
        case None:
            raise UploadNotFound()


def _placed_length(upload: ResumableId) -> int | None:
    """Return the offset at which an upload ends whose pieces come in any order; ``None`` for any other upload."""
    return upload.length if Flags.PLACED in upload.flags else None


def with_reason(flags: Flags, problem: Problem) -> Problem:
    """Return the problem of a file. If the file has no name, the sentence says how it was checked."""
    if Flags.NAMELESS in flags and problem.errors and not problem.detail.endswith(NAMELESS):
        problem.aside = NAMELESS
    return problem

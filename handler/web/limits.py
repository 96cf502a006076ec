"""The limits for the client of the current request: the policy of the endpoint, narrowed by the client's token."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from flask import g, request

from ..direct.upload_ids import MAX_SECONDS as MAX_UPLOAD_SECONDS
from ..storage import Details
from ..storage.direct import MAX_IN_PIECES_BYTES, Declaration
from ..storage.metadata import check_details
from . import forms
from .grants import bearer_token, current_grant
from .services import current_services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..inspection.policy import Policy
    from .access import Grant


def current_policy() -> Policy:
    """Return the policy for the token in ``Authorization``; without one, the policy of the endpoint.

    :raises Problem: the token is not valid.
    """
    token = bearer_token(request)
    return current_services().policy if token is None else policy_of(current_grant(token))


def policy_of(grant: Grant) -> Policy:
    """Return the policy for a client with this grant."""
    return current_services().policy.narrowed(max_bytes=grant.max_bytes, extensions=grant.extensions)


def details_of(grant: Grant, fields: Mapping[str, str] | None = None) -> Details:
    """Return the details of the files that a client stores.

    :param fields: the fields that are kept with the files.
    :raises MalformedRequest: the details are too large to be kept.
    """
    subject = None if grant.subject is None else grant.subject.encode("utf-8", "replace").decode()
    check_details(meta=grant.meta, fields=fields or None, subject=subject)
    return Details(
        subject=subject,
        folder=grant.folder,
        meta=deepcopy(grant.meta),  # valid grants are remembered, and a receiver of the signal may change its file
        fields=fields or None,
        keep_days=_keep_days(grant),
    )


def declaration_of(grant: Grant, *, original_name: str, size: int, fields: Mapping[str, str] | None) -> Declaration:
    """Return the declaration of a file that a client sends in pieces.

    :param size: of the whole file, in bytes.
    :param fields: the fields that are kept with the file.
    :raises MalformedRequest: the details are too large to be kept.
    """
    details = details_of(grant, fields)
    return Declaration(
        original_name=original_name,
        max_bytes=size,
        size=size,
        subject=details.subject,
        meta=details.meta,
        fields=details.fields,
        keep_days=details.keep_days,
    )


def _keep_days(grant: Grant) -> int | None:
    """Return the days after which a client's files expire. A token can only shorten the time of ``KEEP_DAYS``."""
    limits = [days for days in (current_services().settings.keep_days, grant.keep_days) if days is not None]
    return min(limits, default=None)


def max_form_bytes(policy: Policy) -> int:
    """Return the largest file that fits into a form, in bytes: the request also has to hold the rest of the form."""
    room = current_services().settings.max_content_length - forms.ONE_FILE_OVERHEAD_BYTES
    return max(0, min(policy.max_file_bytes, room))


def in_pieces(policy: Policy) -> Policy:
    """Return the policy for a file that comes in pieces. A bucket takes a larger file only directly."""
    is_bucket = current_services().settings.upload_bucket is not None
    return policy.narrowed(max_bytes=MAX_IN_PIECES_BYTES) if is_bucket else policy


def max_bytes_in_pieces() -> int:
    """Return the largest file in pieces of the client of the current request, in bytes, as far as it is known."""
    return in_pieces(policy_of(g.grant) if "grant" in g else current_services().policy).max_file_bytes


def upload_limit(max_bytes: int, *, seconds: int = MAX_UPLOAD_SECONDS) -> str:
    """Return the value of ``Upload-Limit`` (draft-ietf-httpbis-resumable-upload-12, section 4.1.4).

    :param max_bytes: the largest file, in bytes.
    :param seconds: the remaining lifetime of the upload.
    """
    return f"max-size={max_bytes}, max-append-size={current_services().settings.max_content_length}, max-age={seconds}"

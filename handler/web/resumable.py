"""The requests of resumable uploads, in tus 1.0 and in the IETF's draft: which request is meant, and its response.

The routes and the form's route import this module at the first resumable request, so other requests do not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, current_app, g, request

from ..direct.upload_ids import RESUMABLE_PREFIX
from ..problems import MalformedRequest, MethodNotAllowed, Problem, UploadRefused
from ..resumable import ietf, tus
from ..resumable.requests import Piece
from ..resumable.upload_ids import Flags, ResumableId
from ..resumable.uploads import UploadState
from ..storage.direct import Refused, Stored
from . import chunks, filepond, forms, limits, responses
from .grants import asking_folder, current_upload_grant
from .resumable_creation import create
from .resumable_messages import (
    append,
    begin_response,
    check_piece_type,
    content_of_request,
    content_size,
    limit_of,
    respond_with,
    service,
    state_fields,
    stored_body,
)
from .services import current_services

if TYPE_CHECKING:
    from ..inspection.policy import Policy


def respond(name: str | None, token: str | None) -> Response | None:
    """Return the response to a POST or PUT that begins a resumable upload, or stands for another method.

    :param name: the name in the path; ``None`` without one.
    :param token: the token from the path, if the route has one.
    :returns: ``None`` for any other request: a form, or the body of a file.
    """
    headers = request.headers
    if name is not None and name.startswith(RESUMABLE_PREFIX) and "X-HTTP-Method-Override" in headers:
        return dispatch(name, token)
    is_tus = tus.is_used(headers)
    if not is_tus and not ietf.is_used(headers):
        return _begin_filepond(name, token)
    is_form = request.mimetype == forms.MEDIA_TYPE
    offered = current_services().resumable is not None
    if (is_form or not offered) and not is_tus and ietf.creation(headers).is_complete:
        return None  # the request is whole, and any request may say so
    if not offered:
        raise MalformedRequest("This is a piece of a file, and resumable uploads are not offered here. Send it whole.")
    if is_form:
        raise MalformedRequest(
            "This is a piece of a form, and pieces of forms are not put together here. Send the bytes of the file."
        )
    return create(name, token)


def _begin_filepond(name: str | None, token: str | None) -> Response | None:
    """Return the response to a POST that begins an upload of FilePond's; ``None`` for any other request."""
    offered = current_services().resumable is not None and name is None and request.method == "POST"
    if not offered or not chunks.begins_filepond_upload(request.headers):
        return None
    return filepond.begin(service(), token)


def dispatch(name: str, token: str | None) -> Response:
    """Return the response to a request for an upload. In tus, a header field can name its method.

    :param name: the upload id.
    :param token: the token from the path, if the route has one.
    """
    is_tus = begin_response()
    method = request.headers.get("X-HTTP-Method-Override", request.method).strip().upper()
    match method:
        case "PATCH":
            return _append_piece(name, token, is_tus=is_tus)
        case "DELETE":
            return _cancel(name, token)
        case "HEAD" | "GET":
            return _show(name, token, is_head=method == "HEAD")
        case _:
            problem = MethodNotAllowed("X-HTTP-Method-Override must be GET, HEAD, PATCH or DELETE.")
            problem.headers = {"Allow": "DELETE, GET, HEAD, OPTIONS, PATCH"}
            raise problem


def options() -> Response:
    """Return the limits and the extensions of both protocols."""
    response = current_app.make_default_options_response()
    response.status_code = 204
    response.headers.remove("Content-Type")
    response.headers.remove("Content-Length")
    if current_services().resumable is not None:
        policy = _policy_for_options()
        response.headers.update(
            {
                "Tus-Resumable": tus.VERSION,
                "Tus-Version": tus.VERSION,
                "Tus-Extension": tus.EXTENSIONS,
                "Tus-Max-Size": str(policy.max_file_bytes),
                "Tus-Checksum-Algorithm": ",".join(tus.ALGORITHMS),
                "Upload-Limit": limits.upload_limit(policy.max_file_bytes),
            }
        )
    return response


def _policy_for_options() -> Policy:
    """Return the policy of the client's token. Preflights have none. An invalid token is not an error here."""
    try:
        policy = limits.current_policy()
    except Problem:
        policy = current_services().policy
    return limits.in_pieces(policy)


def _append_piece(name: str, token: str | None, *, is_tus: bool) -> Response:
    """Append a piece to an upload.

    :param name: the upload id.
    :param token: the token from the path, if the route has one.
    """
    upload = _resume(name, token)
    is_filepond = Flags.NAMED_LATER in upload.flags
    if not (request.mimetype == "" and not is_tus and (ietf.interop_version(request.headers) or 6) < 6):
        check_piece_type()
    size = content_size()
    piece = Piece((tus if is_tus or is_filepond else ietf).append(request.headers), size)
    content = content_of_request(is_whole=False)
    state = filepond.append(service(), upload, piece, content) if is_filepond else append(upload, piece, content)
    return respond_with(upload, state, status=204)


def _show(name: str, token: str | None, *, is_head: bool) -> Response:
    """Return the state of an upload: as header fields, and for a GET as JSON too.

    :param name: the upload id. For a GET, it is enough: no token is needed.
    :param token: the token from the path, if the route has one.
    """
    if "Upload-Offset" in request.headers or "Upload-Complete" in request.headers:
        raise MalformedRequest("A request for the offset must not have Upload-Offset or Upload-Complete. Omit them.")
    upload = _resume(name, token) if is_head else _find(name, token)
    state = service().state(upload, takes_over=is_head)
    if is_head and isinstance(state.verdict, Refused):
        raise UploadRefused()
    headers = state_fields(upload, state)
    if metadata := service().metadata(upload):
        headers["Upload-Metadata"] = metadata
    if is_head:
        return responses.nothing(headers=headers)
    return responses.success({"id": upload.id, **_status(state)}, headers=headers)


def _cancel(name: str, token: str | None) -> Response:
    """End an upload, and delete its bytes.

    :param name: the upload id.
    :param token: the token from the path, if the route has one.
    """
    service().cancel(_resume(name, token))
    return responses.nothing()


def _resume(name: str, token: str | None) -> ResumableId:
    """Return the upload of a client that continues it.

    :raises Problem: the client may not upload, or the upload is not the client's, or does not exist.
    """
    grant = current_upload_grant(token)
    g.grant = grant
    upload = service().resume(name, subject=grant.subject, folder=grant.folder)
    g.upload_limit = limit_of(upload)
    return upload


def _find(name: str, token: str | None) -> ResumableId:
    """Return the upload of a client that asks for its status: see :func:`handler.web.grants.asking_folder`."""
    upload = service().find(name, folder=asking_folder(token))
    g.upload_limit = limit_of(upload)
    return upload


def _status(state: UploadState) -> dict[str, Any]:
    """Return the members that describe a state: as those of a direct upload, and of a stored file."""
    match state.verdict:
        case Stored(file):
            g.stored = [file]
            body = stored_body(file)
            return body | {"status": "stored", "file": body["files"][0]}
        case Refused(problem):
            return {"status": "refused", "problem": problem}
        case _:
            return {"status": "pending"}

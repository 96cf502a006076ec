"""The routes of resumable uploads, in tus 1.0 and in the IETF's draft: :mod:`handler.web.resumable`.

An upload begins with POST or PUT at the routes of :mod:`.uploads`. A GET of its URL is a route of :mod:`.direct`, since
API Gateway wants one variable name for each level of a path. Each request here imports its code first, so that a cold
start does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, request

from ..problems import MethodNotAllowed
from ..web import chunks
from ..web.client_dialect import RESUMABLE_ROUTES

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint(RESUMABLE_ROUTES, __name__, url_prefix="/upload")


@blueprint.route("", methods=["OPTIONS"])
@blueprint.route("/t/<token>", methods=["OPTIONS"])
@blueprint.route("/<name>", methods=["OPTIONS"])
@blueprint.route("/t/<token>/<name>", methods=["OPTIONS"])
def options(**_variables: str) -> Response:
    """Return the limits and the extensions of both protocols."""
    from ..web import resumable

    return resumable.options()


@blueprint.patch("")
@blueprint.patch("/t/<token>")
def patch(token: str | None = None) -> Response:
    """Append a piece of FilePond's, to the upload that the query names.

    :param token: the token from the path, if it is there.
    :raises MethodNotAllowed: the query names no upload.
    """
    if chunks.FILEPOND_ID not in request.args:
        problem = MethodNotAllowed("PATCH needs the URL of an upload. Begin one with POST.")
        problem.headers = {"Allow": "GET, HEAD, OPTIONS, POST, PUT"}
        raise problem
    from ..web import resumable

    return resumable.dispatch(request.args[chunks.FILEPOND_ID], token)


@blueprint.route("/<name>", methods=["PATCH", "DELETE"])
@blueprint.route("/t/<token>/<name>", methods=["GET", "PATCH", "DELETE"])
def upload(name: str, token: str | None = None) -> Response:
    """Append a piece to an upload, end it, or return its state.

    :param name: the upload id.
    :param token: the token from the path, if it is there.
    """
    from ..web import resumable

    return resumable.dispatch(name, token)

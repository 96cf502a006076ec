"""The routes of resumable uploads, in tus 1.0 and in the IETF's draft: :mod:`handler.web.resumable`.

An upload begins with POST or PUT at the routes of :mod:`.uploads`. A GET of its URL is a route of :mod:`.direct`, since
API Gateway wants one variable name for each level of a path. Each request here imports its code first, so that a cold
start does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, request

from ..direct.upload_ids import RESUMABLE_PREFIX
from ..problems import UploadNotFound
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


@blueprint.patch("/<name>")
@blueprint.patch("/t/<token>/<name>")
def append(name: str, token: str | None = None) -> Response:
    """Append a piece to an upload.

    :param name: the upload id.
    :param token: the token from the path, if it is there.
    """
    from ..web import resumable

    return resumable.append(name, token)


@blueprint.delete("/<name>")
@blueprint.delete("/t/<token>/<name>")
def cancel(name: str, token: str | None = None) -> Response:
    """End an upload, and delete its bytes.

    :param name: the upload id.
    :param token: the token from the path, if it is there.
    """
    from ..web import resumable

    return resumable.cancel(name, token)


@blueprint.get("/t/<token>/<name>")
def show(token: str, name: str) -> Response:
    """Return the state of an upload.

    :param token: the token from the path.
    :param name: the upload id.
    """
    if not name.startswith(RESUMABLE_PREFIX):
        raise UploadNotFound()
    from ..web import resumable

    return resumable.show(name, token, is_head=request.method == "HEAD")

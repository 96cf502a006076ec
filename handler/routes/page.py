"""The upload page, with its scripts and styles."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, Response, abort, current_app, render_template, request, url_for

from ..problems import TokenRequired
from ..storage.direct import DirectUploads
from ..web.access import Access
from ..web.field_names import FILE_FIELD
from .uploads import TOKEN_FIELD, current_policy, max_form_bytes

blueprint = Blueprint("page", __name__)

STATIC = Path(__file__).parents[1] / "static"
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
VERSION_CHARS = 8
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class _Static(NamedTuple):
    version: str
    files: dict[str, bytes]


@blueprint.get("/")
def page() -> Response:
    """Return the page: a form that works without scripts, and the scripts that improve it."""
    policy = current_policy()
    response = Response(
        render_template(
            "page.html",
            file_field=FILE_FIELD,
            token_field=TOKEN_FIELD if _token_required() else None,
            extensions=list(policy.file_types),
            at_most=rounded_down(max_form_bytes(policy)),
            modules=[name for name in _read().files if name.endswith(".js") and name != "page.js"],
        ),
        mimetype="text/html",
    )
    response.headers["Content-Security-Policy"] = _content_security_policy()
    return response


def rounded_down(size: int) -> str:
    """Return a limit for people, never as more than it is: Jinja's ``filesizeformat`` makes 4.0 MiB of 3.99.

    :param size: in bytes.
    """
    power = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    if power == 0:
        return f"{size} {UNITS[0]}"
    whole, tenth = divmod(size * 10 >> 10 * power, 10)
    return f"{whole}.{tenth} {UNITS[power]}"


@blueprint.get("/static/<version>/<name>")
def static(version: str, name: str) -> Response:
    """Return a file of the page. Its URL has the version of all files, so browsers keep the file for a year."""
    known = _read()
    if version != known.version or name not in known.files:
        abort(404)
    response = Response(known.files[name], mimetype=MEDIA_TYPES[Path(name).suffix])
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"]:
        response.set_data(gzip.compress(known.files[name], mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response


@blueprint.app_template_global()
def static_url(name: str) -> str:
    return url_for("page.static", version=_read().version, name=name)


def _token_required() -> bool:
    """Return whether the endpoint rejects clients without a token."""
    access: Access = current_app.extensions["access"]
    try:
        access.grant(None)
    except TokenRequired:
        return True
    return False


def _content_security_policy() -> str:
    """Return the page's policy: only our own files, and no text becomes script. Large files go to the storage."""
    uploads: DirectUploads = current_app.extensions["direct_uploads"]
    connect = " ".join(["'self'", *uploads.origins()])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src {connect}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


@cache
def _read() -> _Static:
    """Read all files, and hash them together: modules import each other by relative names, so all change their URL."""
    files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in MEDIA_TYPES}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return _Static(digest.hexdigest()[:VERSION_CHARS], files)

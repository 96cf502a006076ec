"""The routes of the upload page, its scripts and its styles."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, Response, abort, render_template, request, url_for

from ..field_names import BEARER_FIELD, FILE_FIELD
from ..problems import TokenRequired
from ..web import limits
from ..web.services import current_services

blueprint = Blueprint("page", __name__)

STATIC = Path(__file__).parents[1] / "static"
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
VERSION_CHARS = 8
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class _StaticFiles(NamedTuple):
    """The files of the page, by name, and a hash of them all."""

    version: str
    files: dict[str, bytes]


@blueprint.get("/")
def page() -> Response:
    """Return a form that works without scripts, and the scripts that improve it."""
    policy = limits.current_policy()
    response = Response(
        render_template(
            "page.html",
            file_field=FILE_FIELD,
            token_field=BEARER_FIELD if _token_required() else None,
            extensions=list(policy.file_types),
            at_most=rounded_down(limits.max_form_bytes(policy)),
            modules=[name for name in _read().files if name.endswith(".js") and name != "page.js"],
        ),
        mimetype="text/html",
    )
    response.headers["Content-Security-Policy"] = _content_security_policy()
    return response


def rounded_down(size: int) -> str:
    """Return a limit for people, rounded down: Jinja's ``filesizeformat`` shows 3.99 MiB as 4.0 MiB.

    :param size: in bytes.
    """
    power = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    if power == 0:
        return f"{size} {UNITS[0]}"
    whole, tenth = divmod(size * 10 >> 10 * power, 10)
    return f"{whole}.{tenth} {UNITS[power]}"


@blueprint.get("/static/<version>/<name>")
def static(version: str, name: str) -> Response:
    """Return a file of the page. The address holds a hash of the content, so browsers never ask for it again.

    :param version: the hash of all files.
    :param name: the name of the file.
    """
    static_files = _read()
    if version != static_files.version or name not in static_files.files:
        abort(404)
    content = static_files.files[name]
    response = Response(content, mimetype=MEDIA_TYPES[Path(name).suffix])
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"]:
        response.set_data(gzip.compress(content, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response


@blueprint.app_context_processor
def template_functions() -> dict[str, Callable[[str], str]]:
    """Return the functions of all templates. To register a global instead would import Jinja at a cold start."""
    return {"static_url": static_url}


def static_url(name: str) -> str:
    """Return the URL of a file of the page."""
    return url_for("page.static", version=_read().version, name=name)


def _token_required() -> bool:
    """Return whether an upload needs a token."""
    try:
        current_services().access.grant(None)
    except TokenRequired:
        return True
    return False


def _content_security_policy() -> str:
    """Return the policy of the page: it loads only our own files, and no text becomes a script. Scripts may also
    connect to the storage, to which they send large files."""
    connect = " ".join(["'self'", *current_services().direct_uploads.origins()])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src {connect}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


@cache
def _read() -> _StaticFiles:
    """Read all files and make one hash of them. Modules import each other by relative names, so all addresses must
    change together."""
    files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in MEDIA_TYPES}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return _StaticFiles(digest.hexdigest()[:VERSION_CHARS], files)

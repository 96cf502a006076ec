"""Serving the app below a path, such as ``/files-app``, behind a proxy or without one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Prefixed:
    """A WSGI app below a path, which becomes its ``SCRIPT_NAME`` (PEP 3333), so every URL that it makes begins with it.

    Some proxies keep the prefix in the path of a request and others remove it (nginx: ``proxy_pass`` without and with a
    path). Both kinds of requests reach the app.

    :param app: no route of it begins with the prefix.
    :param prefix: such as ``/files-app``.
    """

    def __init__(self, app: WSGIApplication, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        environ["SCRIPT_NAME"] = self._prefix
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            environ["PATH_INFO"] = path.removeprefix(self._prefix)
        return self._app(environ, start_response)

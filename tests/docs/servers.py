"""Local servers that the snippets of the documents talk to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from handler.web.tokens import mint

from ..support.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "a secret of the documents that is long enough"
DOCUMENTED_URL = "http://127.0.0.1:8000"
"""Where ``make run`` serves, so this address is in the documents."""


@dataclass
class Endpoint:
    """A local server over a folder.

    :param url: without a path.
    :param token: an upload token, or ``""`` where the server asks for none.
    """

    url: str
    folder: Path
    token: str
    _seen: set[Path] = field(default_factory=set)

    def new_files(self) -> list[str]:
        """Return the names of the files that were stored since the last call."""
        new = {path for path in self.folder.glob("files/*/*") if path not in self._seen}
        self._seen |= new
        return sorted(path.name for path in new)

    def filled(self, text: str) -> str:
        """Return a snippet with this server's address and this Python."""
        return text.replace(DOCUMENTED_URL, self.url).replace(".venv/bin/python", sys.executable)


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a snippet's process: with this Python and this checkout, without settings of ours."""
    ours = (
        *("UPLOAD_", "TOKEN", "TRUSTED_", "ACCESS", "ALLOW", "MAX_", "AWS_", "DOWNLOADS", "FILE_FIELDS"),
        *("METADATA_", "KEEP_", "INLINE_", "WEBHOOK_"),
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | variables


@contextmanager
def serve(folder: Path, *, token: bool, **settings: str) -> Iterator[Endpoint]:
    """Run a local server that every web site may use.

    :param token: whether it asks for tokens.
    :param settings: more settings.
    """
    variables = {"ALLOWED_ORIGINS": "*"} | ({"TOKEN_SECRET": SECRET} if token else {}) | settings
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment(**variables), cwd=ROOT
    ) as process:
        assert process.stdout
        url = next(match[0] for line in process.stdout if (match := re.search(r"http://[\d.]+:\d+", line)))
        threading.Thread(target=process.stdout.read).start()  # a full pipe would stop the log
        yield Endpoint(url, folder, mint(SECRET, expires_seconds=3000) if token else "")
        process.terminate()

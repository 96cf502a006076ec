"""The snippets of the README and ``docs/`` that need no browser run as they are, against a local server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ..clients.samples import PHOTO
from ..support import samples
from ..support.documents import RUN_BY_LANGUAGE, Fence, fences
from .servers import SECRET, Endpoint, environment

if TYPE_CHECKING:
    from pathlib import Path

SNIPPETS = [fence for fence in fences() if fence.runs_here and fence.language in RUN_BY_LANGUAGE]
PREPARATIONS = {
    "sh": "set -euo pipefail\n",
    "python": "import os, time\nimport jwt\nfrom flask import Flask\n"
    "app, endpoint, TOKEN = Flask(__name__), os.environ['endpoint'], os.environ['TOKEN']\n",
    "js": "const { endpoint, TOKEN } = process.env;\nconst photo = new File(['hello'], 'photo.txt');\n",
    "php": "$endpoint = getenv('endpoint'); $path = 'photo.jpg';\n",
}
"""The code that a reader has in front of the snippet: imports, and the names that the document explains."""
SENDS = re.compile(r"-F file=|-T |files=|(?:requests|session)\.put\(|method: \"P")
"""A snippet with one of these sends a file."""


def commands(fence: Fence, endpoint: Endpoint, folder: Path) -> list[str]:
    """Return the command that runs a snippet."""
    text = PREPARATIONS[fence.language] + endpoint.filled(fence.text)
    if fence.language == "js":
        (folder / "snippet.mjs").write_text(text, encoding="utf-8")
        return ["node", "snippet.mjs"]
    program = {"sh": ["bash", "-c"], "python": [sys.executable, "-c"], "php": ["php", "-r"]}[fence.language]
    return [*program, text]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a user who tries a snippet. The folder has the files that the documents name."""
    (tmp_path / "photo.jpg").write_bytes(samples.JPEG)
    (tmp_path / "big.png").write_bytes(PHOTO["buffer"])
    return tmp_path


@pytest.mark.parametrize("fence", SNIPPETS, ids=lambda fence: fence.label)
def test_snippet_runs(fence: Fence, folder: Path, open_endpoint: Endpoint, closed_endpoint: Endpoint) -> None:
    endpoint = closed_endpoint if "TOKEN" in fence.text else open_endpoint
    command = commands(fence, endpoint, folder)
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {command[0]} on the PATH; .ci/run installs it")
    variables = {"endpoint": f"{endpoint.url}/upload", "TOKEN": endpoint.token, "TOKEN_SECRET": SECRET}
    done = subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "urn:problem-type" not in done.stdout
    was_deleted = "-X DELETE" in fence.text
    assert bool(endpoint.new_files()) == (bool(SENDS.search(fence.text)) and not was_deleted), done.stdout

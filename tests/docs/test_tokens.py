"""The endpoint accepts the tokens that the README makes. ``tests/clients/test_documents.py`` tests Node's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from handler.web.tokens import verify

from ..support.documents import Fence, fences_in, section
from .servers import SECRET, environment

if TYPE_CHECKING:
    from pathlib import Path


def readme_snippet(language: str) -> str:
    """Return the README's one snippet about tokens in this language."""
    fences: list[Fence] = fences_in("README.md", section("README.md", "Who may upload?"))
    (text,) = [fence.text for fence in fences if fence.language == language]
    return text


def run(command: list[str], folder: Path) -> str:
    """Run a program that prints a token."""
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {command[0]} on the PATH; .ci/run installs it")
    done = subprocess.run(
        command, cwd=folder, env=environment(TOKEN_SECRET=SECRET), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check(token: str) -> None:
    grant = verify(token, secrets=[SECRET])
    assert grant.scopes == {"upload"}


def test_token_made_by_python_is_accepted(tmp_path: Path) -> None:
    script = f"{readme_snippet('python')}print(token)"
    check(run([sys.executable, "-c", script], tmp_path))


def test_token_made_by_php_is_accepted(tmp_path: Path) -> None:
    check(run(["php", "-r", f"{readme_snippet('php')} echo $token;"], tmp_path))


def test_token_made_on_the_command_line_is_accepted(tmp_path: Path) -> None:
    line = readme_snippet("sh").splitlines()[1].replace(".venv/bin/python", sys.executable)
    check(run(["sh", "-c", f"{line}\necho $TOKEN"], tmp_path))

"""The snippets that start a server serve until they are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from .documents import snippet
from .servers import environment

if TYPE_CHECKING:
    from pathlib import Path

HERE = "tests/docs/test_servers.py"


@pytest.mark.parametrize(("name", "path"), [("behind a proxy", "/files-app/health")])
def test_server_starts_and_answers(name: str, path: str, tmp_path: Path) -> None:
    text = snippet(HERE, name).replace(".venv/bin/python -m handler", f"exec {sys.executable} -m handler --port 0")
    with subprocess.Popen(
        ["bash", "-c", text], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        line = next((line for line in process.stdout if "http://127.0.0.1:" in line), "")
        port = line.partition("http://127.0.0.1:")[2].partition("/")[0].partition(",")[0].strip()
        assert port.isdecimal(), line
        assert requests.get(f"http://127.0.0.1:{port}{path}", timeout=60).json() == {"status": "ok"}
        os.kill(process.pid, signal.SIGINT)
        assert process.wait() == 0

"""The snippets that start a server serve until they are interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import requests

from ..support.documents import snippet
from .servers import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = "tests/docs/test_servers.py"


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Let new processes take SIGINT. A shell ignores it in its background, where these tests may run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("name", "path"), [("behind a proxy", "/files-app/health"), ("gunicorn", "/health")])
def test_server_starts_and_answers(name: str, path: str, tmp_path: Path) -> None:
    if name == "gunicorn":
        pytest.importorskip("gunicorn", reason="gunicorn is not installed; make test brings it")
    text = snippet(HERE, name)
    text = text.replace(".venv/bin/python -m handler", f"exec {sys.executable} -m handler --port 0")
    text = text.replace("gunicorn ", f"exec {sys.executable} -m gunicorn ").replace("127.0.0.1:8000", "127.0.0.1:0")
    text = re.sub(r"--workers \d+", "--workers 1", text)  # an interrupt while another one still boots is an error
    with subprocess.Popen(
        ["bash", "-c", text],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        port = next(match[1] for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        threading.Thread(target=process.stdout.read).start()  # a full pipe would stop the log
        assert requests.get(f"http://127.0.0.1:{port}{path}", timeout=60).json() == {"status": "ok"}
        os.kill(process.pid, signal.SIGINT)
        assert process.wait() == 0

"""SAM CLI: the template that ``sam build`` makes, and ``sam local`` in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Build the artifact into a folder, and return the built template.

    With ``SAM_BUILD_DIR`` in the environment, the artifact is there already: ``.ci/run`` builds it once for all tests.
    """
    if built := os.environ.get("SAM_BUILD_DIR"):
        return Path(built, "template.yaml")
    if not shutil.which("sam"):
        pytest.skip("there is no sam on the PATH; .ci/run installs it")
    command = ["sam", "build", "--template", str(ROOT / "template.yaml"), "--build-dir", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return folder / "template.yaml"


def sam_local(command: str) -> list[str]:
    """Return the command line of ``sam local``, with the options for this machine's container engine."""
    if "SAM_LOCAL_ARGS" not in os.environ:
        pytest.skip("SAM_LOCAL_ARGS does not say that there is a container engine; .ci/run knows")
    return ["sam", "local", command, *os.environ["SAM_LOCAL_ARGS"].split()]


@contextmanager
def start_api(*options: str, log: Path, **environ: str) -> Iterator[str]:
    """Run ``sam local start-api``, and yield its URL. Its output is printed in the end."""
    command = [*sam_local("start-api"), *options]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("w") as output:
        sam = subprocess.Popen(
            [*command, "--port", str(port)], env=os.environ | environ, cwd=ROOT, stdout=output, stderr=output
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url, sam)
            yield url
        finally:
            sam.send_signal(signal.SIGTERM)  # it removes its containers
            sam.wait(timeout=60)
            print(log.read_text())


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None, "sam ended by itself; its log is below"
        try:
            if requests.get(f"{url}/health", timeout=60).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.5)
    pytest.fail("sam local did not answer in two minutes; its log is below")

"""The lines of an example's README run in a shell, with free ports in place of theirs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from ..docs.servers import environment
from ..support.documents import ROOT, fences_in, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGES = ROOT / ".npm" / "clients" / "node_modules"
START_SECONDS = 60


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def commands(example: str) -> str:
    """Return the shell commands of an example's README, without those that install packages."""
    document = f"docs/examples/{example}/README.md"
    (fence,) = fences_in(document, read(document))
    return re.sub(r"^(?:pip|npm) install .*\n", "", fence.text, flags=re.MULTILINE)


def node_packages(needed: str) -> Path:
    """Return the folder of npm's packages, and skip the test if the needed one is missing."""
    if not shutil.which("node"):
        pytest.skip("there is no node on the PATH; .ci/run installs it")
    if not (PACKAGES / needed).is_dir():
        pytest.skip(f"{needed} is not installed; make clients brings it with npm")
    return PACKAGES


def copy_with_packages(example: str, folder: Path) -> Path:
    """Copy an example to a folder that has the packages of npm, as ``npm install`` leaves it."""
    packages = node_packages("express")
    copy = folder / example
    ignore = shutil.ignore_patterns("node_modules")
    shutil.copytree(ROOT / "docs" / "examples" / example, copy, ignore=ignore)
    (copy / "node_modules").symlink_to(packages)
    return copy


@contextmanager
def run(script: str, *, log: Path, replacements: Mapping[str, str], waits_for: list[str]) -> Iterator[None]:
    """Run a script of servers, and end them all.

    :param log: the file for the output of the servers.
    :param replacements: texts of the script, and the texts that replace them.
    :param waits_for: the URLs that must respond before the test begins.
    """
    for documented, actual in replacements.items():
        assert documented in script, documented
        script = script.replace(documented, actual)
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            cwd=ROOT, env=environment(PYTHONUNBUFFERED="1"), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        for url in waits_for:
            _wait_for(url, process, log)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # its own session has the servers in the background too
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            requests.get(url, timeout=START_SECONDS)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} does not respond:\n{log.read_text(encoding='utf-8')}")


def python_lines(endpoint_port: int, folder: Path) -> dict[str, str]:
    """Return the replacements that run the endpoint with this Python, on a free port, over a folder of the test."""
    return {"python -m handler": f"{sys.executable} -m handler --port {endpoint_port} --folder {folder}"}

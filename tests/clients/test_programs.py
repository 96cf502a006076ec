"""Programs without a browser, with the lines of the recipes: PHP, wget, and Postman's newman."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..support.client_pages import PACKAGES
from ..support.recipes import recipes
from .samples import FAKE, PHOTO, File

if TYPE_CHECKING:
    from .conftest import Endpoint

pytestmark = pytest.mark.clients

FILES = [pytest.param(PHOTO, id="photo"), pytest.param(FAKE, id="fake")]
SECONDS = 60
"""How long a program may take. PHP's http:// wrapper waits for the end of the connection."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files."""
    for file in (PHOTO, FAKE):
        (tmp_path / file["name"]).write_bytes(file["buffer"])
    return tmp_path


def run(command: list[str], folder: Path, **environ: str) -> str:
    """Run a program in the folder.

    :returns: its standard output.
    """
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {command[0]} on the PATH; .ci/run installs it")
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.stdout


def check(endpoint: Endpoint, file: File, told: str, *, times: int = 1) -> None:
    """Check that the photo is stored and its URL is printed, or that the reason is printed."""
    if file is PHOTO:
        assert endpoint.new_files() == [(PHOTO["name"], PHOTO["buffer"])] * times
        assert endpoint.files_url in told
    else:
        assert endpoint.new_files() == []
        assert told.count(endpoint.refusal(FAKE)) >= times


@pytest.mark.parametrize("file", FILES)
def test_wget_uploads_a_file(endpoint: Endpoint, folder: Path, file: File) -> None:
    line = recipes()["wget"].replace(PHOTO["name"], file["name"])
    if not shutil.which("wget"):
        pytest.skip("there is no wget on the PATH; .ci/run installs it")
    check(endpoint, file, run(["sh", "-c", line], folder, endpoint=endpoint.url))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("client", ["PHP with curl", "PHP without curl"])
def test_php_uploads_a_file(endpoint: Endpoint, folder: Path, file: File, client: str) -> None:
    if client == "PHP with curl" and "curl" not in run(["php", "-m"], folder).split():
        pytest.skip("PHP has no curl; .ci/run installs it")
    script = f'$endpoint = "{endpoint.url}"; $path = "{file["name"]}"; {recipes()[client]}'
    check(endpoint, file, run(["php", "-r", script], folder))


@pytest.mark.parametrize("file", FILES)
def test_newman_uploads_a_file(endpoint: Endpoint, folder: Path, file: File) -> None:
    """A form and a binary body, as Postman sends them."""
    collection = Path(__file__).parent / "collection.json"
    (folder / "collection.json").write_text(collection.read_text(encoding="utf-8").replace("{{name}}", file["name"]))
    run(
        ["node", str(PACKAGES / "newman" / "bin" / "newman.js"), "run", "collection.json",
         "--env-var", f"endpoint={endpoint.url}", "--reporters", "json", "--reporter-json-export", "report.json"],
        folder,
    )  # fmt: skip
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    bodies = [bytes(execution["response"]["stream"]["data"]).decode() for execution in report["run"]["executions"]]
    assert len(bodies) == 2
    check(endpoint, file, " ".join(bodies), times=2)

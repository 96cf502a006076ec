"""Clients that programs make of ``handler/openapi.json`` upload and list files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.web.resumable_messages import PIECE_TYPES
from handler.web.tokens import mint

from ..docs.servers import SECRET, Endpoint, environment, serve
from ..examples.processes import node_packages
from ..support.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.clients

CONTRACT = ROOT / "handler" / "openapi.json"
PROGRAMS = Path(__file__).parent / "generated"
COMPILER_OPTIONS = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "module": "nodenext",
    "target": "es2022",
    "lib": ["es2022", "dom", "dom.iterable"],
    "types": [],
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A server that keeps a form field, and a token that may also list."""
    with serve(tmp_path_factory.mktemp("endpoint"), token=True, METADATA_FIELDS="album") as endpoint:
        endpoint.token = mint(SECRET, expires_seconds=3000, scopes=("upload", "list"), meta={"order": 4711})
        yield endpoint


def run(command: list[str | Path], folder: Path, **variables: str) -> str:
    """Run a program in a folder, and return its output."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check(output: str, endpoint: Endpoint) -> None:
    """Check the report of a client: it stored a file whole and a file in pieces, listed, and got a refusal."""
    report: dict[str, Any] = json.loads(output)
    stored = report["stored"]
    assert sorted(endpoint.new_files()) == ["hello.txt", "pieces.txt"]
    assert report["pieces"] == "pieces.txt"
    assert (stored["name"], stored["size"], stored["type"]) == ("hello.txt", 5, "text/plain")
    assert stored["url"].startswith(f"{endpoint.url}/files/")
    assert (report["album"], report["order"], report["status"]) == ("Summer", 4711, "stored")
    assert stored["url"] in report["listed"]
    assert report["refused"].startswith("415 urn:problem-type:upload:type-not-allowed: ")


def test_client_of_openapi_typescript(endpoint: Endpoint, tmp_path: Path) -> None:
    packages = node_packages("openapi-typescript")
    (tmp_path / "node_modules").symlink_to(packages)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER_OPTIONS, "files": ["client.ts"]}))
    shutil.copy(PROGRAMS / "client.ts", tmp_path)
    run(["node", packages / "openapi-typescript" / "bin" / "cli.js", CONTRACT, "-o", "api.d.ts"], tmp_path)
    run(["node", packages / "typescript" / "bin" / "tsc"], tmp_path)
    check(run(["node", "client.js"], tmp_path, SERVER=endpoint.url, TOKEN=endpoint.token), endpoint)


def test_client_of_openapi_python_client(endpoint: Endpoint, tmp_path: Path) -> None:
    pytest.importorskip("openapi_python_client", reason="make clients brings openapi-python-client")
    overrides = dict.fromkeys(PIECE_TYPES, "application/octet-stream")  # types that the generator does not know
    (tmp_path / "config.yaml").write_text(json.dumps({"post_hooks": [], "content_type_overrides": overrides}))
    output = run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", CONTRACT, "--config", "config.yaml",
         "--meta", "none", "--output-path", "upload_client", "--fail-on-warning"],
        tmp_path,
    )  # fmt: skip
    assert "WARNING" not in output
    shutil.copy(PROGRAMS / "client.py", tmp_path)
    check(run([sys.executable, "client.py"], tmp_path, SERVER=endpoint.url, TOKEN=endpoint.token), endpoint)

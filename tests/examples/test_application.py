"""The snippets of ``docs/application.md`` run as they are, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import jwt
import pytest
import requests

from ..docs.servers import SECRET, Endpoint, environment, serve
from ..support import samples
from ..support.documents import snippet
from .processes import node_packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = "tests/examples/test_application.py"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    settings = {"METADATA_FIELDS": "album description", "INLINE_EXTENSIONS": "png jpg"}
    with serve(tmp_path_factory.mktemp("endpoint"), token=True, **settings) as endpoint:
        yield endpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photo.jpg").write_bytes(samples.JPEG)
    return tmp_path


def run_python(names: list[str], epilogue: str, endpoint: Endpoint, folder: Path) -> str:
    """Run snippets as one program, and return its output."""
    program = "\n".join([*(snippet(HERE, name) for name in names), epilogue])
    done = subprocess.run(
        [sys.executable, "-c", endpoint.filled(program)],
        cwd=folder, env=environment(TOKEN_SECRET=SECRET), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def receipt_of(endpoint: Endpoint, folder: Path) -> str:
    return run_python(["token", "upload"], "print(receipt)", endpoint, folder).strip()


def test_receipt_has_everything_that_the_document_names(endpoint: Endpoint, folder: Path) -> None:
    output = run_python(["token", "upload", "receipt"], "import json; print(json.dumps(file))", endpoint, folder)
    receipt = json.loads(output)
    assert {"id", "name", "size", "type", "sha256", "url", "stored"} <= receipt.keys()
    assert receipt["sub"] == receipt["folder"] == "user-17"
    assert receipt["meta"] == {"order": 4711}
    assert receipt["fields"] == {"album": "Summer"}
    assert receipt["exp"] - receipt["iat"] == 24 * 3600
    shown = requests.get(receipt["url"], timeout=60)
    assert shown.content == samples.JPEG
    assert shown.headers["Content-Disposition"].startswith("inline")


@pytest.mark.clients
def test_receipt_is_verified_by_node(endpoint: Endpoint, folder: Path) -> None:
    receipt = receipt_of(endpoint, folder)
    (folder / "node_modules").symlink_to(node_packages("jsonwebtoken"))
    program = (
        f"const {{ receipt }} = process.env;\n{snippet(HERE, 'receipt in Node')}\nconsole.log(JSON.stringify(file));"
    )
    (folder / "receipt.mjs").write_text(program, encoding="utf-8")

    def run(token: str) -> subprocess.CompletedProcess[str]:
        variables = environment(receipt=token, TOKEN_SECRET=SECRET)
        return subprocess.run(
            ["node", "receipt.mjs"], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )

    assert json.loads(run(receipt).stdout) == jwt.decode(receipt, SECRET, ["HS256"], audience="receipt")
    refused = run(endpoint.token)
    assert refused.returncode != 0
    assert "jwt audience invalid" in refused.stderr


def test_list_shows_the_folder_only_and_delete_deletes(endpoint: Endpoint, folder: Path) -> None:
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    upload = {"file": ("other.txt", b"hello")}
    assert requests.post(f"{endpoint.url}/upload", files=upload, headers=headers, timeout=60).status_code == 201
    before = run_python(["token", "list"], "", endpoint, folder)
    receipt_of(endpoint, folder)
    listed = run_python(["token", "list"], "", endpoint, folder)
    assert len(listed.splitlines()) == len(before.splitlines()) + 1
    assert "other.txt" not in listed
    assert "photo.jpg" in listed
    run_python(["token", "list", "delete"], "", endpoint, folder)
    assert len(run_python(["token", "list"], "", endpoint, folder).splitlines()) == len(before.splitlines())


def test_status_says_stored(endpoint: Endpoint, folder: Path) -> None:
    run_python(["token", "upload", "receipt", "status"], "", endpoint, folder)


def test_signal_reports_a_stored_file(folder: Path) -> None:
    client = (
        "import io\nfrom handler.app import create_app\nfrom handler.settings import Settings\n"
        "app = create_app(Settings.from_environ({'UPLOAD_FOLDER': 'uploads', 'METADATA_FIELDS': 'album'}))\n"
        "data = {'album': 'Summer', 'file': (io.BytesIO(b'hello'), 'a.txt')}\n"
        "assert app.test_client().post('/upload', data=data).status_code == 201\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", snippet(HERE, "signal") + client],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("a.txt None None {'album': 'Summer'}")

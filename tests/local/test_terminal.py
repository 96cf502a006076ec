"""The log for people, and the banner."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from handler import logs
from handler.app import create_app
from handler.local.terminal import HidesRoutine, TerminalFormatter, banner, printable
from handler.settings import Settings

from ..support import samples

if TYPE_CHECKING:
    from flask.testing import FlaskClient

ROOT = Path(__file__).parents[2]
SECRET = "no secret but long enough to pass for one"
MILLISECONDS = re.compile(r"\b\d+ ms")


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)})).test_client()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return the text that the terminal shows."""
    logs.configure()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter())
    handler.addFilter(HidesRoutine())
    monkeypatch.setattr(logs.logger, "handlers", [handler])
    return stream


def lines(shown: io.StringIO) -> list[str]:
    return [MILLISECONDS.sub("N ms", line) for line in shown.getvalue().splitlines()]


def post(client: FlaskClient, *files: tuple[bytes, str]) -> int:
    data = {"file": [(io.BytesIO(content), name) for content, name in files]}
    return client.post("/upload", data=data).status_code


def test_stored_file_has_its_name_and_size(client: FlaskClient, shown: io.StringIO) -> None:
    assert post(client, (samples.png(400_000), "IMG 2041.PNG")) == 201
    assert lines(shown) == ["POST /upload 201 IMG 2041.PNG 390.6 KiB N ms"]


def test_several_files_are_one_line(client: FlaskClient, shown: io.StringIO) -> None:
    assert post(client, *((b"hello", f"{number}.txt") for number in range(5))) == 201
    assert lines(shown) == ["POST /upload 201 0.txt, 1.txt, 2.txt and 2 more 25 bytes N ms"]


def test_refusal_has_its_sentence(client: FlaskClient, shown: io.StringIO) -> None:
    assert post(client, (b"MZ", "a.exe")) == 415
    (line,) = lines(shown)
    assert line.startswith("POST /upload 415 N ms  'a.exe': files of type .exe are not allowed.")


def test_refusal_of_one_of_several_files_says_that_none_was_stored(client: FlaskClient, shown: io.StringIO) -> None:
    post(client, (b"MZ", "a.exe"), (b"hello", "a.txt"))
    (line,) = lines(shown)
    assert line.endswith("None of the files was stored.")


def test_path_of_an_unknown_route_is_not_shown(client: FlaskClient, shown: io.StringIO) -> None:
    client.get("/some/secret/path")
    (line,) = lines(shown)
    assert line.startswith("GET (no route) 404 N ms  There is nothing at this address.")
    assert "secret" not in line


@pytest.mark.parametrize("environ", [{}, {"ACCESS": "public"}, {"TOKEN_SECRET": SECRET}], ids=str)
def test_refused_origin_is_shown_with_its_setting(environ: dict[str, str], tmp_path: Path, shown: io.StringIO) -> None:
    """The browser hides the response from the site's script, also if the request itself succeeds."""
    client = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)} | environ)).test_client()
    client.put("/upload/a.txt", data=b"hello", headers={"Origin": "https://site.example"})
    client.options("/upload", headers={"Origin": "https://\x1b[2J\u00e9", "Access-Control-Request-Method": "POST"})
    put, preflight = lines(shown)
    assert put.endswith(" CORS: the origin 'https://site.example' is not in ALLOWED_ORIGINS.")
    assert "is not in ALLOWED_ORIGINS." in preflight
    assert preflight.isprintable()


def test_page_and_its_static_files_are_one_line(client: FlaskClient, shown: io.StringIO) -> None:
    page = client.get("/").text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(addresses) > 3
    for address in addresses:
        assert client.get(address).status_code == 200
    assert client.get("/health").status_code == 200
    assert client.get("/static/0/page.js").status_code == 404
    assert [line.split(" N ms")[0] for line in lines(shown)] == ["GET / 200", "GET /static/<version>/<name> 404"]


@pytest.mark.parametrize("evil", ["\x1b[2J", "\r", "\x9b31m", "\u202e", "\x07", "\u2028", "\x7f", "\ud800"])
def test_control_characters_of_a_client_do_not_reach_the_terminal(evil: str) -> None:
    assert evil not in printable(f"a{evil}b.txt")
    assert printable(f"a{evil}b.txt").isprintable()


def test_names_are_shown_without_control_characters(client: FlaskClient, shown: io.StringIO) -> None:
    client.put("/upload/a%1B[2Jb%E2%80%AE.txt", data=b"hello")
    client.put("/upload/a%1B[2Jb%0Ac.exe", data=b"hello")
    text = shown.getvalue()
    assert len(text.splitlines()) == 2
    assert all(line.isprintable() for line in text.splitlines())
    assert "2Jb" in text


def test_long_name_is_shortened(client: FlaskClient, shown: io.StringIO) -> None:
    assert post(client, (b"hello", "a" * 200 + ".txt")) == 201
    (line,) = lines(shown)
    assert f"{'a' * 79}… 5 bytes" in line


def test_fault_is_shown_with_its_traceback(shown: io.StringIO) -> None:
    try:
        raise ValueError("not \x1b[2J good")
    except ValueError:
        logs.logger.exception("fault", extra={"request_id": "r"})
    first, *trace = shown.getvalue().splitlines()
    assert first == "ERROR fault request_id=r"
    assert trace[-1] == "ValueError: not \\x1b[2J good"


def test_other_events_have_their_members(shown: io.StringIO) -> None:
    logs.logger.error("storage unavailable", extra={"reason": "no room"})
    assert lines(shown) == ["ERROR storage unavailable reason=no room"]


def test_json_log_has_no_name_and_every_request(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    post(client, (b"hello", "my-diary.txt"))
    client.get("/health")
    out = capsys.readouterr().out
    assert [json.loads(line)["route"] for line in out.splitlines()] == ["/upload", "/health"]
    assert "diary" not in out


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, "Access:  programs and browsers on this machine, without a token"),
        ({"TOKEN_SECRET": SECRET}, "Access:  anyone with an upload token: python -m handler token --expires 1h"),
        ({"ACCESS": "public"}, "Access:  everyone may upload"),
        ({"ACCESS": "public", "TOKEN_SECRET": SECRET}, "Access:  everyone may upload; deleting needs a token"),
    ],
)
def test_banner_names_the_access(environ: dict[str, str], line: str) -> None:
    assert line in banner(Settings.from_environ(environ), "http://localhost")


def test_banner_names_the_absolute_folder_or_the_bucket() -> None:
    folder, *_ = banner(Settings.from_environ({"UPLOAD_FOLDER": "some/where"}), "http://localhost")
    assert folder == f"Serving http://localhost, keeping files in {Path.cwd()}/some/where. Stop with Ctrl-C."
    bucket, *_ = banner(Settings.from_environ({"UPLOAD_BUCKET": "my-files"}), "http://localhost")
    assert bucket == "Serving http://localhost, keeping files in the bucket my-files. Stop with Ctrl-C."


def test_log_on_a_terminal_is_for_people(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as terminal:
        url = terminal.readline().split()[1].rstrip(",")
        while not terminal.readline().startswith("Try:"):
            pass
        assert requests.get(f"{url}/health", timeout=30).status_code == 200
        assert requests.put(f"{url}/upload/a.txt", b"hello", timeout=30).status_code == 201
        assert MILLISECONDS.sub("N ms", terminal.readline()) == "PUT /upload/<name> 201 a.txt 5 bytes N ms\n"
        process.terminate()
        assert process.wait(30) == 0


WEBHOOK = {"WEBHOOK_URL": "https://example.com/hook?key=hunter2", "WEBHOOK_SECRET": f"whsec_{'A' * 43}="}


def test_banner_names_the_webhook_without_its_query() -> None:
    lines = banner(Settings.from_environ(WEBHOOK), "http://localhost")
    assert "Webhook: https://example.com/hook" in lines
    assert "hunter2" not in " ".join(lines)
    assert not [line for line in banner(Settings.from_environ({}), "http://localhost") if "Webhook" in line]


def test_banner_says_that_a_bucket_sends_its_own_webhooks() -> None:
    lines = banner(Settings.from_environ(WEBHOOK | {"UPLOAD_BUCKET": "my-files"}), "http://localhost")
    assert any(line.startswith("Webhook: not sent from here. The stack of the bucket sends it") for line in lines)

"""The log line of a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from handler.web.tokens import mint

from ..support import samples
from ..support.http_client import TYPE, json_of, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient


def test_one_line_is_logged_per_request(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    stored = json_of(post(client, (samples.TEXT, "Secret plans.txt")))["files"][0]
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry.pop("milliseconds") >= 0
    assert entry.pop("request_bytes") > len(samples.TEXT)
    assert len(entry.pop("request_id")) == 36
    assert entry == {
        "level": "INFO",
        "event": "request",
        "method": "POST",
        "route": "/upload",
        "status": 201,
        "subject": None,
        "files": [{"id": stored["id"], "size": len(samples.TEXT), "type": "text/plain"}],
        "problem": None,
        "reason": None,
    }


def test_log_has_the_id_of_a_read_or_deleted_file(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    stored = json_of(post(client, (samples.TEXT, "plans.txt")))["files"][0]
    path = urlsplit(stored["url"]).path
    capsys.readouterr()
    for send in (client.get, client.head, client.delete, client.get):
        send(path)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["files"] for line in lines] == [[{"id": stored["id"]}]] * 4
    assert [json.loads(line)["route"] for line in lines] == ["/files/<file_id>/<name>"] * 4
    assert "plans" not in "".join(lines)


@pytest.mark.parametrize("file_id", ["A" * 32, "g" * 32, "0" * 31, "0" * 33, "s3cret"])
def test_invalid_id_is_not_logged(client: FlaskClient, capsys: pytest.CaptureFixture[str], file_id: str) -> None:
    client.get(f"/files/{file_id}/a.txt")
    client.delete(f"/files/{file_id}/a.txt")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["status"], line["files"]) for line in lines] == [(404, [])] * 2


def test_refusal_is_logged_by_its_type_without_client_input(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.put(
        "/upload/a%0Afake line.exe?token=s3cret", data=b"MZ contents", headers={"Authorization": "Bearer s3cret"}
    )
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert (entry["status"], entry["problem"]) == (415, TYPE + "type-not-allowed")
    assert entry["route"] == "/upload/<name>"
    assert entry["reason"] == "415: .exe is not in ALLOWED_EXTENSIONS"
    assert not [word for word in ("s3cret", "fake", "MZ") if word in line]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["My CV.xlsx"], "415: .xlsx is not in ALLOWED_EXTENSIONS"),
        (["a.XLSX", "b.xlsx", "c.svg"], "415: .xlsx is not in ALLOWED_EXTENSIONS, .svg is not in ALLOWED_EXTENSIONS"),
        (["My diary"], "415: a name without an extension is refused"),
        (["a.My diary, page 1"], "415: a name without an extension is refused"),
        (["a." + "x" * 17], "415: a name without an extension is refused"),
        (["diary.png"], "415: .png is not in the token's 'extensions'"),
        ([f"{n}.x{n}" for n in range(9)], "415: " + ", ".join(f".x{n} is not in ALLOWED_EXTENSIONS" for n in range(5))),
        (["a.txt"], None),
    ],
)
def test_log_names_the_setting_that_refused_a_type(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str], names: list[str], reason: str | None
) -> None:
    secret = "a secret of this test that is long enough"
    client = make_app(TOKEN_SECRET=secret).test_client()
    token = mint(secret, expires_seconds=60, extensions=["txt"])
    response = post(client, *[(b"hello", name) for name in names], Authorization=f"Bearer {token}")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["reason"] == reason
    assert "diary" not in line
    assert "ALLOWED_EXTENSIONS" not in response.text

"""How the parts are wired together: routing, the log, and S3 from botocore's own variables."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from flask import url_for
from werkzeug.routing import Rule
from werkzeug.test import create_environ
from werkzeug.wrappers import Response

from handler.app import create_app
from handler.settings import Settings, SettingsError
from handler.web.responses import HTML, MAX_ACCEPT_CHARS, PROBLEM_JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient


@pytest.fixture
def kind() -> str:
    """These tests do not depend on the storage."""
    return "folder"


@pytest.mark.parametrize("path", ["/upload//a.txt", "//upload/a.txt"])
def test_no_upload_is_redirected(client: FlaskClient, path: str) -> None:
    # The client would send its file a second time, or, as curl does, not at all and take that for a success.
    response = client.put(f"http://localhost{path}", data=b"hello")
    assert response.status_code == 404
    assert client.post("/upload/", data=b"hello").status_code == 400


@pytest.mark.parametrize("name", ["Gr\xfc\xdfe", "Gr\xc3\xbc\xc3\x9fe", "\x80\xff"])
def test_raw_bytes_in_a_query_equal_encoded_bytes(client: FlaskClient, name: str) -> None:
    for query in (f"filename={name}.txt", f"filename={quote(name, encoding='latin-1')}.txt", f"{name}=&filename=a.txt"):
        response = client.get("/upload/s3/params", environ_overrides={"QUERY_STRING": query})
        assert response.status_code == 200, response.text


@pytest.mark.parametrize(("length", "media_type"), [(MAX_ACCEPT_CHARS, HTML), (MAX_ACCEPT_CHARS + 1, PROBLEM_JSON)])
def test_accept_of_more_than_1_kib_counts_as_any_type(client: FlaskClient, length: int, media_type: str) -> None:
    accept = "text/html, x/".ljust(length, "y")
    assert client.get("/nothing", headers={"Accept": accept}).mimetype == media_type


@pytest.mark.parametrize("host", ["a..b", ".", "a" * 64 + ".example"])
@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_invalid_host_is_rejected(make_app: Callable[..., Flask], host: str, accept: str) -> None:
    # The test client cannot send it.
    environ = create_environ("/upload", headers={"Accept": accept}) | {"HTTP_HOST": host}
    response = Response.from_app(make_app(ACCESS="public"), environ)
    assert response.status_code == 400
    assert response.mimetype == PROBLEM_JSON


@pytest.mark.parametrize(
    ("query", "stem"),
    [
        ("Gr\xc3\xbc\xc3\x9fe", "Grue"),
        ("Gr%C3%BC%C3%9Fe", "Grue"),
        ("Gr\xfc\xdfe", "GrFCDFe"),
        ("Gr%FC%DFe", "GrFCDFe"),
    ],
)
def test_query_of_any_bytes_is_read(client: FlaskClient, query: str, stem: str) -> None:
    environ = {"QUERY_STRING": f"filename={query}.txt"}  # as WSGI has it: a character for each byte
    response = client.post("/upload", data=b"hello", content_type="text/plain", environ_overrides=environ)
    assert response.status_code == 201
    assert response.get_json()["files"][0]["name"] == f"{stem}.txt"
    assert client.get("/nowhere", environ_overrides={"QUERY_STRING": "\x80"}).status_code == 404


def test_log_line_appears_once(client: FlaskClient, capfd: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stdout)  # as Lambda's runtime has one
    logging.getLogger().addHandler(handler)
    try:
        client.get("/health")
    finally:
        logging.getLogger().removeHandler(handler)
    out, err = capfd.readouterr()
    (line,) = out.splitlines()
    assert json.loads(line)["route"] == "/health"
    assert err == ""


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"AWS_PROFILE": "nope"}, "AWS_PROFILE is 'nope': the AWS configuration has no such profile."),
        ({"AWS_ENDPOINT_URL_S3": "foo"}, "AWS_ENDPOINT_URL_S3 is 'foo': give a URL"),
        ({"AWS_ENDPOINT_URL": "http://["}, "AWS_ENDPOINT_URL is 'http://[': give a URL"),
        ({"AWS_DEFAULT_REGION": "eu_west!"}, "AWS_DEFAULT_REGION is 'eu_west!': name a region"),
        ({"AWS_DEFAULT_REGION": "", "AWS_REGION": "eu-west-1"}, "AWS_DEFAULT_REGION is not set: name the region"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "UPLOAD_BUCKET is 'some-bucket': botocore cannot be set up for it. Partial"),
        ({"AWS_CONFIG_FILE": __file__}, "UPLOAD_BUCKET is 'some-bucket': botocore cannot be set up for it. Unable to"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_invalid_setting_of_botocore_is_named(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], message: str
) -> None:
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it caches the configuration
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
    with pytest.raises(SettingsError) as caught:
        create_app(Settings.from_environ({"UPLOAD_BUCKET": "some-bucket"}))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_sam_local_without_a_bucket_has_no_direct_uploads(make_app: Callable[..., Flask]) -> None:
    """The template has no route for the bytes of a part, so clients would always get 403."""
    app = make_app(AWS_LAMBDA_FUNCTION_NAME="UploadFunction", AWS_SAM_LOCAL="true", ACCESS="public")
    client = app.test_client()
    limits = client.get("/upload").json or {}
    assert [way["name"] for way in limits["ways"]] == ["form", "body"]
    assert client.post("/upload/s3/multipart", json={"filename": "a.txt"}).status_code == 404
    assert client.post("/upload/s3/incoming").status_code == 404
    refused = client.put("/upload/a.txt", data=bytes(limits["max_request_bytes"] + 1))
    assert refused.json
    assert refused.status_code == 413
    assert (
        refused.json["detail"]
        == "The request is too large: a file may have 4,194,304 bytes. Send a smaller file, or fewer files at once."
    )
    assert "direct_url" not in refused.json
    assert client.put("/upload/a.txt", data=b"hello").status_code == 201


def test_own_s3_endpoint_needs_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert create_app(Settings.from_environ({"UPLOAD_BUCKET": "some-bucket"}))


def test_url_builder_is_compiled_on_first_use(monkeypatch: pytest.MonkeyPatch, make_app: Callable[..., Flask]) -> None:
    """Werkzeug compiles two builders for every route at the start, which takes a fortieth of a cold start."""
    compiled = []
    compile_builder = Rule._compile_builder

    def counted(rule: Rule, append_unknown: bool = True) -> Any:
        compiled.append(rule.endpoint)
        return compile_builder(rule, append_unknown)

    monkeypatch.setattr(Rule, "_compile_builder", counted)
    app = make_app()
    assert compiled == []
    with app.test_request_context():
        for _ in range(2):
            assert url_for("upload.form") == "/upload"
            assert url_for("upload.body", name="a b.txt", token="t", x=1) == "/upload/t/t/a%20b.txt?x=1"
    assert set(compiled) == {"upload.form", "upload.body"}
    assert len(compiled) == 2

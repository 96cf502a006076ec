"""The app below a path, behind proxies, inside another app and under gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from handler.app import create_app
from handler.local import cli
from handler.local.prefix import Prefixed
from handler.settings import Settings, SettingsError
from handler.web.access import PROXY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.test import TestResponse

ROOT = Path(__file__).parents[2]
SECRET = "no secret but long enough to pass for one"
PROXIED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "files.example.com",
    "X-Forwarded-Prefix": "/files-app",
}


class LocalClient(Client):
    """A client on this machine."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, buffered=True, environ_base={"REMOTE_ADDR": "127.0.0.1"}, **kwargs)


@pytest.fixture
def make_client(tmp_path: Path) -> Callable[..., Client]:
    def make(**environ: str) -> Client:
        return create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)} | environ)).test_client()

    return make


def url_of(response: TestResponse) -> str:
    assert response.status_code == 201, response.text
    url: str = json.loads(response.text)["url"]
    return url


# Forwarded fields.


def test_urls_have_the_host_of_a_trusted_proxy(make_client: Callable[..., Client]) -> None:
    client = make_client(TRUSTED_PROXIES="1", ACCESS="public")
    response = client.put("/upload/a.txt", data=b"hello", headers=PROXIED)
    assert url_of(response).startswith("https://files.example.com/files-app/files/")
    assert "Strict-Transport-Security" in response.headers


def test_proxy_is_not_trusted_by_default(make_client: Callable[..., Client]) -> None:
    response = make_client(ACCESS="public").put("/upload/a.txt", data=b"hello", headers=PROXIED)
    assert url_of(response).startswith("http://localhost/files/")


def test_only_the_entries_of_trusted_proxies_count(make_client: Callable[..., Client]) -> None:
    """A client can send the field itself; each proxy appends to it."""
    forged = {name: f"forged.example, {value}" for name, value in PROXIED.items()}
    response = make_client(TRUSTED_PROXIES="1", ACCESS="public").put("/upload/a.txt", data=b"hello", headers=forged)
    assert url_of(response).startswith("https://files.example.com/files-app/files/")
    two = {name: f"forged.example, {value}, http://inner" for name, value in PROXIED.items()}
    response = make_client(TRUSTED_PROXIES="2", ACCESS="public").put("/upload/a.txt", data=b"hello", headers=two)
    assert url_of(response).startswith("https://files.example.com/files-app/files/")


@pytest.mark.parametrize("field", PROXY_FIELDS)
@pytest.mark.parametrize("hops", ["0", "1", "2"])
def test_proxied_request_is_not_from_this_machine(make_client: Callable[..., Client], hops: str, field: str) -> None:
    client = make_client(TRUSTED_PROXIES=hops)
    for value in ("127.0.0.1", "::1", "localhost", "127.0.0.1, 127.0.0.1", "for=127.0.0.1;host=localhost"):
        response = client.put("/upload/a.txt", data=b"hello", headers={field: value})
        assert response.status_code == 403, value
    assert client.put("/upload/a.txt", data=b"hello").status_code == 201


@pytest.mark.parametrize("value", ["-1", "one", "1.0", "100", "127.0.0.1"])
def test_invalid_number_of_proxies_is_rejected(value: str) -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
        Settings.from_environ({"TRUSTED_PROXIES": value})


def test_no_proxy_is_trusted_on_lambda() -> None:
    """The artifact does not have the module that would be needed, and the gateway reads the event."""
    environ = {"TRUSTED_PROXIES": "1", "AWS_LAMBDA_FUNCTION_NAME": "f", "UPLOAD_BUCKET": "some-bucket"}
    assert Settings.from_environ(environ).trusted_proxies == 0


# A path of its own.


@pytest.mark.parametrize("path", ["/files-app/upload/a.txt", "/upload/a.txt"], ids=["kept", "removed"])
def test_prefix_is_in_every_url(tmp_path: Path, path: str) -> None:
    """nginx keeps the prefix or removes it, by the way that proxy_pass is written."""
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))
    client = LocalClient(Prefixed(app, "/files-app"))
    url = url_of(client.put(path, data=b"hello"))
    assert url.startswith("http://localhost/files-app/files/")
    assert client.get(url).data == b"hello"
    for page in ("/files-app", "/files-app/", "/"):
        _check_page(client, client.get(page), prefix="/files-app")
    other = client.put("/files-apple/upload/a.txt", data=b"hello")
    assert other.status_code == 404


def _check_page(client: Client, page: TestResponse, *, prefix: str) -> None:
    """The form and every file of the page are under the prefix."""
    assert page.status_code == 200
    assert f'action="{prefix}/upload"' in page.text
    addresses = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(addresses) > 3
    for address in addresses:
        assert address.startswith(f"{prefix}/")
        assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("prefix", ["/upload", "/files", "/static/x", "/health"])
def test_prefix_that_begins_like_a_route_is_rejected(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--port", "0", "--folder", str(tmp_path), "--prefix", prefix]) == 2
    assert f"--prefix {prefix} begins like a route of the endpoint" in capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["files", "/a b", "//a", "/ä", "/a?b", "http://a"])
def test_invalid_prefix_is_rejected(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--prefix", prefix])
    assert "is not a path like /files-app" in capsys.readouterr().err


# In a Flask app.


@pytest.fixture
def mounted(tmp_path: Path) -> Client:
    site = Flask("site")
    site.add_url_rule("/", view_func=lambda: "the site", endpoint="home")
    uploads = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))
    return LocalClient(DispatcherMiddleware(site, {"/files-app": uploads}))


def test_uploads_work_inside_another_app(mounted: Client) -> None:
    assert mounted.get("/").text == "the site"
    url = url_of(mounted.put("/files-app/upload/a.txt", data=b"hello"))
    assert url.startswith("http://localhost/files-app/files/")
    assert mounted.get(url).data == b"hello"
    assert mounted.delete(url).status_code == 204
    assert mounted.get("/upload").status_code == 404


def test_page_works_inside_another_app(mounted: Client) -> None:
    _check_page(mounted, mounted.get("/files-app/"), prefix="/files-app")
    _check_page(mounted, mounted.get("/files-app"), prefix="/files-app")


def test_direct_upload_works_inside_another_app(mounted: Client) -> None:
    begun: Any = mounted.post("/files-app/upload/s3/multipart", json={"filename": "a.txt"}).json
    upload = f"/files-app/upload/s3/multipart/{begun['uploadId']}"
    query = {"key": begun["key"]}
    part: Any = mounted.get(f"{upload}/1", query_string=query).json
    assert part["url"].startswith("http://localhost/files-app/upload/s3/")
    assert mounted.put(part["url"], data=b"hello").status_code == 200
    completed: Any = mounted.post(f"{upload}/complete", query_string=query, json={}).json
    assert completed["location"].startswith("http://localhost/files-app/files/")
    assert mounted.get(completed["location"]).data == b"hello"


@pytest.mark.usefixtures("s3")
def test_redirect_to_a_bucket_works_inside_another_app() -> None:
    uploads = create_app(Settings.from_environ({"UPLOAD_BUCKET": "uploads-of-a-test", "ACCESS": "public"}))
    client = LocalClient(DispatcherMiddleware(Flask("site"), {"/files-app": uploads}))
    url = url_of(client.put("/files-app/upload/a.txt", data=b"hello"))
    response = client.get(url)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("https://uploads-of-a-test.s3.")


# gunicorn.


def test_gunicorn_serves_the_app(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed; make test brings it")
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "handler.app:create_app()"]
    environ = os.environ | {"UPLOAD_FOLDER": str(tmp_path / "uploads"), "ACCESS": "public"}
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        port = _listening_port(tmp_path / "log", process)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("PUT", "/upload/a.txt", b"hello")
        response = connection.getresponse()
        assert response.status == 201
        url = json.loads(response.read())["url"]
        connection.request("GET", url.partition(str(port))[2])
        assert connection.getresponse().read() == b"hello"
        connection.close()
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _listening_port(log: Path, process: subprocess.Popen[bytes]) -> int:
    for _ in range(300):
        if match := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(match[1])
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    pytest.fail(log.read_text())


def test_server_with_a_prefix_is_reached_below_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(tmp_path), "--prefix", "/files-app/"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().split()[1].rstrip(",")
        port = int(re.findall(r":(\d+)/files-app$", url)[0])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            request = b"PUT /files-app/upload/a.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
            connection.sendall(request)
            response = connection.makefile("rb").read()
        process.terminate()
    assert response.startswith(b"HTTP/1.1 201 ")
    assert b'"http://localhost/files-app/files/' in response

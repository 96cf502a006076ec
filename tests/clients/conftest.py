"""A page of another site, with a client as npm has it, and the endpoint that it uploads to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from ..support.client_pages import PageServer, bundle_pages
from ..support.page_server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from .samples import File

SECRET = "a secret of these tests that is long enough"


@dataclass
class Endpoint:
    """A local server over a folder.

    :param url: the URL to upload to, with a token in its path if there is one.
    """

    url: str
    folder: Path
    seen: set[Path] = field(default_factory=set)

    @property
    def files_url(self) -> str:
        """The URL that the URL of every file begins with."""
        return self.url.partition("/upload")[0] + "/files/"

    def new_files(self) -> list[tuple[str, bytes]]:
        """Return the name and the content of each file that was stored since the last call."""
        files = [path for path in sorted(self.folder.glob("files/*/*")) if path not in self.seen]
        self.seen |= set(files)
        return [(path.name, path.read_bytes()) for path in files]

    def ids(self) -> set[str]:
        """Return the ids of all files."""
        return {path.parent.name for path in self.folder.glob("files/*/*")}

    def refusal(self, file: File) -> str:
        """Return the sentence that any client gets for this file."""
        response = requests.post(self.url, files={"file": (file["name"], file["buffer"])}, timeout=60)
        assert response.status_code in range(400, 500)
        detail: str = response.json()["detail"]
        return detail


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of the pages."""
    bundle_pages(tmp_path_factory.mktemp("bundles"))
    with serve(PageServer) as origin:
        yield origin


@pytest.fixture(scope="module")
def token() -> str | None:
    """The token in the path; without one the endpoint asks for none."""
    return None


@pytest.fixture(scope="module")
def endpoint(site: str, token: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("endpoint")
    command = [sys.executable, "-m", "handler", "--port", "0", "--folder", str(folder)]
    environ = os.environ | {"ALLOWED_ORIGINS": site} | ({"TOKEN_SECRET": SECRET} if token else {})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout
        port = re.search(r":(\d+)", process.stdout.readline())
        assert port
        threading.Thread(target=process.stdout.read).start()  # the log: a full pipe would stop the server
        endpoint = Endpoint(f"http://127.0.0.1:{port[1]}/upload" + (f"/t/{token}" if token else ""), folder)
        PageServer.endpoint = endpoint.url
        yield endpoint
        process.terminate()


@pytest.fixture(autouse=True)
def _forget(endpoint: Endpoint) -> None:
    """Forget the files of earlier tests."""
    endpoint.new_files()


@dataclass
class Client:
    """A client in a page.

    :param alerts: the texts of the message boxes that the page showed.
    :param sent: the methods and the URLs of its requests to the endpoint.
    """

    page: Page
    alerts: list[str] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)

    def alert(self) -> str:
        """Wait for a message box, and return its text."""
        end = time.monotonic() + 20
        while not self.alerts and time.monotonic() < end:
            self.page.wait_for_timeout(50)
        return self.alerts[0]

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until there is an element with that text in it."""
        self.page.locator(selector, has_text=text).first.wait_for(state="attached")


@pytest.fixture
def open_client(browser: Browser, site: str) -> Iterator[Callable[..., Client]]:
    """Opens the page of a client."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    # Nothing from elsewhere: no CDN, no licence server, no statistics.
    context.route(re.compile(r"^https?://(?!localhost|127\.0\.0\.1)"), lambda route: route.abort())

    def open_page(name: str, query: str = "") -> Client:
        page = context.new_page()
        client = Client(page)

        def on_dialog(dialog: Any) -> None:
            client.alerts.append(dialog.message)
            dialog.accept()

        page.on("dialog", on_dialog)
        page.on("request", lambda request: client.sent.append((request.method, request.url)))
        page.on("pageerror", lambda error: print(f"{name}: {error}"))  # pytest shows it where the test fails
        page.on("console", lambda message: print(f"{name}: {message.text}"))
        page.goto(f"{site}/{name}.html{query}")
        return client

    yield open_page
    context.close()

"""Unmodified tus clients in Chromium: tus-js-client, and Uppy with its Dashboard. Lines break, and pages are reloaded.

The server is reached through a gate. The gate holds bytes in the middle of a file for as long as a test needs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests

from ..support import gated_server
from ..support.client_pages import PageServer
from ..support.gated_server import DESTINATIONS, GatedServer
from ..support.resumable_files import KIB, MIB, creations, file_of, text
from .conftest import Client
from .samples import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.clients

CHUNK_BYTES = 4 * 2**20
"""The chunk size in the documentation."""
SMALL_CHUNK_BYTES = MIB
"""For files of 3 MB, so that they have a middle."""
SIZES = [pytest.param(20 * KIB, id="20 KB"), pytest.param(3 * MIB, id="3 MB"), pytest.param(60 * MIB, id="60 MB")]
SIZE = 3 * MIB
HELD_BYTES = SIZE // 2
MILLISECONDS = 60_000


@dataclass(frozen=True)
class Widget:
    """A client in a page.

    :param page: the name of the page.
    :param query: its options.
    :param error: selects the element with the reason of a refusal.
    :param details: selects the button that shows the reason in a message box instead.
    :param resumes: whether the client continues an upload after the page was reloaded.
    :param gives_up: whether the client does not try again after a broken line. tus-js-client 5.0.0-pre2 takes XHR's
        event for an unknown error. The next attempt of its user resumes the upload.
    """

    name: str
    page: str
    query: str = ""
    input: str = "input[type=file] >> nth=0"
    error: str = "#error"
    details: str | None = None
    resumes: bool = True
    gives_up: bool = False


WIDGETS = [
    Widget("tus-js-client 4", "tus", "&major=4"),
    Widget("tus-js-client 5", "tus", "&major=5", gives_up=True),
    Widget("tus-js-client 5, with the IETF draft", "tus", "&major=5&protocol=ietf-draft-05", gives_up=True),
    Widget("Uppy", "uppy-tus", input="input.uppy-Dashboard-input >> nth=0", details=".uppy-StatusBar-details"),
]


@pytest.fixture(scope="module", params=DESTINATIONS)
def server(
    request: pytest.FixtureRequest, site: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatedServer]:
    with gated_server.serve(request.param, tmp_path_factory.mktemp("uploads"), ALLOWED_ORIGINS=site) as server:
        yield server


@pytest.fixture(autouse=True)
def _forget(server: GatedServer) -> None:
    """Send the pages to this server, and forget the requests of earlier tests."""
    PageServer.endpoint = server.endpoint
    server.gate.requests.clear()


@pytest.fixture(params=WIDGETS, ids=[widget.name for widget in WIDGETS])
def widget(request: pytest.FixtureRequest) -> Widget:
    widget: Widget = request.param
    return widget


@dataclass
class Tabs:
    """Opens the page of a widget, again and again. All tabs share the memory of the client."""

    widget: Widget
    open_client: Callable[..., Client]
    chunk_bytes: int = SMALL_CHUNK_BYTES

    def send(self, path: Path) -> Client:
        """Choose a file in a new tab."""
        client = self.open_client(self.widget.page, f"?chunk={self.chunk_bytes}{self.widget.query}")
        client.page.set_input_files(self.widget.input, path)
        return client

    def check_stored(self, client: Client, path: Path) -> str:
        """Check that the file arrives, after another attempt if the client gave up.

        :returns: the URL of the file.
        """
        if self.widget.gives_up and "error" in result(client):
            client = self.send(path)
        return check_stored(client, path)


@pytest.fixture
def tabs(widget: Widget, open_client: Callable[..., Client]) -> Tabs:
    return Tabs(widget, open_client)


def result(client: Client) -> dict[str, Any]:
    """Wait until the client has sent its file, or given up."""
    client.page.wait_for_function("() => results.length", timeout=MILLISECONDS)
    found: dict[str, Any] = client.page.evaluate("() => results[0]")
    return found


def check_stored(client: Client, path: Path) -> str:
    """Check that the client succeeded, and that the file has arrived.

    :returns: the URL of the file.
    """
    found = result(client)
    assert "error" not in found, found
    if "url" in found:
        response = requests.get(found["url"], timeout=60)
        assert response.status_code in (200, 201), response.text
        entry = file_of(response.json())
    else:
        entry = file_of(found["body"])
    stored = requests.get(entry["url"], timeout=60)
    assert stored.status_code == 200
    assert hashlib.sha256(stored.content).digest() == hashlib.sha256(path.read_bytes()).digest()
    url: str = entry["url"]
    return url


def file(folder: Path, content: bytes, name: str = "notes.txt") -> Path:
    """Write a file. A client recognises it after a reload by its name, its size and its time."""
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", SIZES)
def test_page_uploads_a_file(tabs: Tabs, server: GatedServer, tmp_path: Path, size: int) -> None:
    tabs.chunk_bytes = CHUNK_BYTES
    path = file(tmp_path, text(size))
    check_stored(tabs.send(path), path)
    assert creations(server) == 1


@pytest.mark.parametrize("interruption", ["line cut", "response lost", "server restarted"])
def test_interrupted_page_resumes(tabs: Tabs, server: GatedServer, tmp_path: Path, interruption: str) -> None:
    path = file(tmp_path, text(SIZE))
    server.gate.hold_after(HELD_BYTES)
    client = tabs.send(path)
    server.gate.wait()
    match interruption:
        case "line cut":
            server.gate.cut()
        case "response lost":
            server.gate.lose_response()
            server.gate.release()
        case "server restarted":
            server.kill()
            server.start()
    tabs.check_stored(client, path)
    assert creations(server) == 1


def test_reloaded_page_resumes_where_it_was(tabs: Tabs, server: GatedServer, tmp_path: Path) -> None:
    path = file(tmp_path, text(SIZE))
    server.gate.hold_after(HELD_BYTES)
    client = tabs.send(path)
    server.gate.wait()
    client.page.close()
    server.gate.cut()
    check_stored(tabs.send(path), path)
    assert creations(server) == (1 if tabs.widget.resumes else 2)


def test_refused_content_shows_our_sentence(tabs: Tabs, server: GatedServer, tmp_path: Path) -> None:
    path = file(tmp_path, PAGE.ljust(SIZE), "photo.png")
    plain = requests.post(server.endpoint, files={"file": ("photo.png", PAGE.ljust(SIZE))}, timeout=60)
    client = tabs.send(path)
    assert "error" in result(client)
    if tabs.widget.details:
        client.page.click(tabs.widget.details)
        assert plain.json()["detail"] in client.alert()
    else:
        client.wait_for_text(tabs.widget.error, plain.json()["detail"])


def test_two_tabs_that_send_one_upload_store_one_file(tabs: Tabs, server: GatedServer, tmp_path: Path) -> None:
    """The piece of the first tab is held up until the second tab sends one."""
    path = file(tmp_path, text(SIZE))
    server.gate.hold_after(HELD_BYTES)
    first = tabs.send(path)
    server.gate.wait()
    second = tabs.send(path)
    second.page.wait_for_timeout(300)
    server.gate.release()
    urls = {tabs.check_stored(client, path) for client in (second, first)}
    if not tabs.widget.gives_up:  # it may give up after the file was stored, and send the file again
        assert len(urls) == creations(server) == (1 if tabs.widget.resumes else 2)


def test_stale_tab_changes_nothing(tabs: Tabs, server: GatedServer, tmp_path: Path) -> None:
    """The piece of the first tab arrives after the second tab has sent the whole file."""
    path = file(tmp_path, text(SIZE))
    server.gate.hold_after(HELD_BYTES)
    first = tabs.send(path)
    server.gate.wait()
    second = tabs.send(path)
    url = check_stored(second, path)
    server.gate.release()
    assert tabs.check_stored(first, path) == url or not tabs.widget.resumes or tabs.widget.gives_up
    assert check_stored(second, path) == url

"""FilePond with ``chunkUploads`` and Dropzone with ``chunking``, unmodified, in Chromium. Lines break.

The server is reached through a gate. The gate holds bytes in the middle of a file for as long as a test needs.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests

from ..support import gated_server
from ..support.client_pages import PageServer
from ..support.gated_server import DESTINATIONS, GatedServer
from ..support.resumable_files import KIB, MIB, file_of, text
from .conftest import Client
from .samples import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Route

pytestmark = pytest.mark.clients

SIZES = [pytest.param(20 * KIB, id="20 KB"), pytest.param(3 * MIB, id="3 MB")]
LARGE_SIZE = 60 * MIB
SIZE = 3 * MIB
CHUNK_BYTES = 4_000_000
SMALL_CHUNK_BYTES = 512 * KIB
"""For files of 3 MB, so that they have a middle, and FilePond's last piece is empty."""
HELD_BYTES = SIZE // 2
MILLISECONDS = 60_000


@dataclass(frozen=True)
class Widget:
    """A client in a page.

    :param query: its options.
    :param error: selects the element with the reason of a refusal.
    """

    name: str
    page: str
    query: str
    error: str


POND, ZONE = ".filepond--file-status-main", ".dz-error-message"
WIDGETS = [
    Widget("FilePond", "filepond-pieces", "", POND),
    Widget("Dropzone", "dropzone-pieces", "", ZONE),
    Widget("Dropzone, with parallelChunkUploads", "dropzone-pieces", "&parallel", ZONE),
]
in_a_folder = pytest.mark.parametrize("server", DESTINATIONS[:1], indirect=True)
"""For tests in which the storage makes no difference to a widget."""


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


@pytest.fixture
def send(widget: Widget, open_client: Callable[..., Client]) -> Callable[..., Client]:
    """Chooses a file in a new tab."""

    def choose(path: Path, *, chunk_bytes: int = SMALL_CHUNK_BYTES) -> Client:
        client = open_client(widget.page, f"?chunk={chunk_bytes}{widget.query}")
        client.page.set_input_files("input[type=file] >> nth=0", path)
        return client

    return choose


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
    # FilePond's form sends the upload id or the id of a small file, and a back end asks for the file.
    body = requests.get(found["url"], timeout=60).json() if "url" in found else found["body"]
    entry = file_of(body)
    assert entry["original_name"] == path.name
    stored = requests.get(entry["url"], timeout=60)
    assert hashlib.sha256(stored.content).digest() == hashlib.sha256(path.read_bytes()).digest()
    url: str = entry["url"]
    return url


def file(folder: Path, content: bytes, name: str = "Grüße.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", SIZES)
def test_widget_uploads_a_file(send: Callable[..., Client], tmp_path: Path, size: int) -> None:
    path = file(tmp_path, text(size))
    check_stored(send(path, chunk_bytes=8 * KIB if size < MIB else MIB), path)


@in_a_folder
@pytest.mark.parametrize("widget", [WIDGETS[0], WIDGETS[2]], indirect=True, ids=lambda widget: widget.name)
def test_widget_uploads_a_large_file(send: Callable[..., Client], tmp_path: Path) -> None:
    path = file(tmp_path, text(LARGE_SIZE))
    check_stored(send(path, chunk_bytes=CHUNK_BYTES), path)


@in_a_folder
def test_filepond_uploads_to_its_default_url(open_client: Callable[..., Client], tmp_path: Path) -> None:
    path = file(tmp_path, text(SIZE))
    client = open_client("filepond-pieces", f"?chunk={MIB}&in_query")
    client.page.set_input_files("input[type=file] >> nth=0", path)
    check_stored(client, path)
    assert all("&patch=" in url for method, url in client.sent if method == "PATCH")


@pytest.mark.parametrize("interruption", ["line cut", "response lost", "server restarted"])
def test_interrupted_widget_continues(
    send: Callable[..., Client], server: GatedServer, tmp_path: Path, interruption: str
) -> None:
    path = file(tmp_path, text(SIZE))
    server.gate.hold_after(HELD_BYTES)
    client = send(path)
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
    check_stored(client, path)


@in_a_folder
def test_refused_content_shows_our_sentence(
    send: Callable[..., Client], widget: Widget, server: GatedServer, tmp_path: Path
) -> None:
    path = file(tmp_path, PAGE.ljust(SIZE), "photo.png")
    plain = requests.post(server.endpoint, files={"file": ("photo.png", PAGE.ljust(SIZE))}, timeout=60)
    client = send(path)
    assert result(client)["error"] == plain.json()["detail"]
    client.wait_for_text(widget.error, plain.json()["detail"])


def test_two_tabs_store_a_file_each(send: Callable[..., Client], server: GatedServer, tmp_path: Path) -> None:
    """These widgets remember nothing, so each tab has an upload of its own. Neither disturbs the other."""
    path = file(tmp_path, text(SIZE))
    server.gate.hold_after(HELD_BYTES)
    first = send(path)
    server.gate.wait()
    second = send(path)
    url = check_stored(second, path)
    server.gate.release()
    assert check_stored(first, path) != url


@in_a_folder
def test_stopped_filepond_continues_when_a_person_clicks(
    open_client: Callable[..., Client], server: GatedServer, tmp_path: Path
) -> None:
    """All repetitions fail. After the click FilePond asks for the offset, and continues there."""
    path = file(tmp_path, text(SIZE))
    client = open_client("filepond-pieces", f"?chunk={SMALL_CHUNK_BYTES}")
    pieces = re.compile("/upload/r")

    def let_the_first_half_through(route: Route) -> None:
        if int(route.request.headers.get("upload-offset", 0)) < HELD_BYTES:
            route.continue_()
        else:
            route.abort()

    client.page.route(pieces, let_the_first_half_through)
    client.page.set_input_files("input[type=file] >> nth=0", path)
    assert "error" in result(client)
    client.page.unroute(pieces)
    client.page.evaluate("() => { results.length = 0; pond.processFile(); }")
    check_stored(client, path)
    assert "HEAD" in [method for method, _ in client.sent]
    pieces_sent = [url for method, url in client.sent if method == "PATCH"]
    assert len(pieces_sent) == SIZE // SMALL_CHUNK_BYTES + 1 + 4  # the piece that failed was sent four times more
    assert all(url.startswith(server.endpoint) for url in pieces_sent)

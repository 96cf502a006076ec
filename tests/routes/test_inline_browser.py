"""``INLINE_EXTENSIONS`` in Chromium: images and sound in the page of an allowed site, and in a tab of their own."""

from __future__ import annotations

import io
import struct
import threading
import wave
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from handler.app import create_app
from handler.local.server import Server
from handler.settings import Settings

from ..support import page_server
from ..support.http_client import json_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

SHOWN = "() => [document.querySelector('img').naturalWidth > 0, document.querySelector('audio').readyState > 0]"


def image() -> bytes:
    """Return a PNG image that a browser can decode: 2 x 2 pixels of grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header, pixels = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0), zlib.compress(b"\0\x80\x80" * 2)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def sound() -> bytes:
    """Return a second of silence."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * 8000)
    return buffer.getvalue()


@contextmanager
def endpoint(tmp_path: Path, **environ: str) -> Iterator[dict[str, str]]:
    """Serve an image and a sound from a local server, and yield their URLs."""
    environ |= {"UPLOAD_FOLDER": str(tmp_path), "ALLOWED_EXTENSIONS": "png wav"}
    app = create_app(Settings.from_environ(environ))
    server = Server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    client = app.test_client()
    paths = {
        name: json_of(client.put(f"/upload/a.{name}", data=content))["url"].removeprefix("http://localhost")
        for name, content in (("png", image()), ("wav", sound()))
    }
    try:
        yield {name: f"http://127.0.0.1:{server.port}{path}" for name, path in paths.items()}
    finally:
        server.stopping = True
        thread.join()


def site(urls: dict[str, str]) -> type[page_server.PageHandler]:
    """Return a web site whose only page shows the files."""

    class Site(page_server.PageHandler):
        def answer(self, path: str) -> None:  # noqa: ARG002
            page = f'<img src="{urls["png"]}"><audio src="{urls["wav"]}" preload="auto"></audio>'
            self.send("text/html", page.encode())

    return Site


def test_page_of_an_allowed_site_shows_files(browser: Browser, tmp_path: Path) -> None:
    urls: dict[str, str] = {}
    with (
        page_server.serve(site(urls)) as origin,
        endpoint(tmp_path, INLINE_EXTENSIONS="png wav", ALLOWED_ORIGINS=origin) as served,
    ):
        urls |= served
        page = browser.new_page()
        page.goto(origin)
        page.wait_for_function(f"({SHOWN})().every(Boolean)")
        page.close()


def test_page_of_another_site_shows_nothing(browser: Browser, tmp_path: Path) -> None:
    urls: dict[str, str] = {}
    with page_server.serve(site(urls)) as origin, endpoint(tmp_path, INLINE_EXTENSIONS="png wav") as served:
        urls |= served
        page = browser.new_page()
        page.goto(origin, wait_until="networkidle")
        assert page.evaluate(SHOWN) == [False, False]
        page.close()


@pytest.mark.parametrize(("name", "element"), [("png", "img"), ("wav", "video, audio")])
def test_tab_shows_an_inline_file(browser: Browser, tmp_path: Path, name: str, element: str) -> None:
    with endpoint(tmp_path, INLINE_EXTENSIONS="png wav") as urls:
        page = browser.new_page()
        page.goto(urls[name])
        page.wait_for_function(
            "selector => { const e = document.querySelector(selector);"
            " return e && (e.naturalWidth > 0 || e.readyState > 0) }",
            arg=element,
        )
        page.close()


def test_tab_saves_a_file_that_is_not_inline(browser: Browser, tmp_path: Path) -> None:
    with endpoint(tmp_path) as urls:
        page = browser.new_page()
        with page.expect_download() as started:
            _go(page, urls["png"])
        assert started.value.suggested_filename == "a.png"
        page.close()


def _go(page: Any, url: str) -> None:
    """Follow a link. A download ends the navigation with an error, so it is not waited for."""
    page.evaluate("url => { location.href = url }", url)

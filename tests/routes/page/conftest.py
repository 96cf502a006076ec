"""A real browser, and the app behind it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from handler.app import create_app
from handler.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., str]]:
    """Start the app with these settings, below a prefix if one is given, and return its URL."""
    servers = []

    def serve(prefix: str = "", **environ: str) -> str:
        app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(folder)} | environ))

        def below(environ: dict[str, Any], start_response: Any) -> Any:
            environ["SCRIPT_NAME"] = prefix
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(prefix) or "/"
            return app.wsgi_app(environ, start_response)

        server = make_server("127.0.0.1", 0, below, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}{prefix}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page in which no script may fail and nothing may violate the policy."""
    complaints: list[str] = []
    context.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error('CSP: ' + event.violatedDirective))"
    )
    made = context.new_page()
    made.on("pageerror", lambda error: complaints.append(str(error)))
    # Chromium logs each refused request as an error. The page did nothing wrong.
    made.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type in ("error", "warning") and "Failed to load resource" not in message.text
            else None
        ),
    )
    made.on("dialog", lambda dialog: dialog.accept())
    # Playwright takes over file choosers while there is a listener, but does not wait until the browser knows. A key
    # that is faster opens the browser's own chooser, and the test waits for ever.
    made.on("filechooser", lambda _: None)
    yield made
    assert complaints == []


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """A page without scripts."""
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()

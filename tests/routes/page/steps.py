"""Steps that many tests of the page take: choose files, wait for a row, hold requests, run axe."""

from __future__ import annotations

import base64
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ...support import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page, Request, Route

sync_api = pytest.importorskip("playwright.sync_api", reason="there is no Playwright; make browser brings it")

ROOT = Path(__file__).parents[3]
AXE = ROOT / ".npm" / "node_modules" / "axe-core" / "axe.min.js"
MIB = 1024 * 1024
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""One pixel, which can be shown."""
LARGE = samples.png(20 * MIB)
"""Goes in parts of 8, 8 and 4 MiB."""


def named(name: str, content: bytes, media_type: str = "image/png") -> Any:
    """A file to choose."""
    return {"name": name, "mimeType": media_type, "buffer": content}


def choose(page: Page, *files: Any) -> None:
    page.locator("#file").set_input_files(list(files))


def large(tmp_path: Path) -> Path:
    """A large file on disk: it is the same file when it is chosen again."""
    path = tmp_path / "large.png"
    path.write_bytes(LARGE)
    return path


def expect_state(page: Page, name: str, state: str) -> str:
    """Wait until the row of a file is in a state; returns its text."""
    row = page.locator(f"#rows > li.{state}").filter(has_text=name)
    row.first.wait_for()
    text: str = row.first.locator(".state").inner_text()
    return text


def watched(page: Page) -> Callable[[], list[str]]:
    """Record the states of the rows from here on, however short."""
    page.evaluate(
        """() => {
          window.said = [];
          const note = () => said.push(...[...document.querySelectorAll(".state")].map((each) => each.textContent));
          new MutationObserver(note).observe(document.getElementById("rows"), { childList: true, subtree: true });
        }"""
    )
    return lambda: page.evaluate("said")


def recorded(page: Page) -> list[Request]:
    """Record the requests from here on, except those for the page's own files."""
    requests: list[Request] = []
    page.on("request", lambda request: None if "/static/" in request.url else requests.append(request))
    return requests


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("files/*/*")}


def part_number(request: Request) -> int | None:
    """Of a request for the URL of a part."""
    found = re.search(r"/multipart/[^/]+/(\d+)\?", request.url)
    return int(found[1]) if found else None


@contextmanager
def held(page: Page, pattern: str, *, after: int = 0) -> Iterator[list[Route]]:
    """Let some requests through, and hold the rest until the end of the block."""
    routes: list[Route] = []
    count = 0

    def handle(route: Route) -> None:
        nonlocal count
        count += 1
        if count > after:
            routes.append(route)
        else:
            route.continue_()

    page.route(pattern, handle)
    yield routes
    page.unroute(pattern)
    for route in routes:
        with suppress(sync_api.Error):  # it was cancelled, or its page is gone
            route.continue_()


def twins_in(directory: Path) -> set[bytes]:
    """Write two files into two folders that differ in their content only, as unpacked files may; return the content."""
    for content in (b"one", b"two"):
        path = directory / content.decode() / "same.txt"
        path.parent.mkdir()
        path.write_bytes(content)
        os.utime(path, (10**9, 10**9))
    return {b"one", b"two"}


def expect_summary(page: Page, text: str) -> None:
    """Wait until the summary of all files is this text, and not only contains it."""
    page.locator("#summary").get_by_text(text, exact=True).wait_for()


def wait_until(page: Page, expression: str) -> None:
    """Wait until a script is true. Playwright's ``wait_for_function`` violates the policy if it has to wait."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


def drag(page: Page, kind: str, *files: Path) -> None:
    """Drag files over the page as a person does it: ``dragEnter``, ``dragOver``, ``drop``, ``dragCancel``."""
    data = {"items": [], "files": [str(path) for path in files], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchDragEvent", {"type": kind, "x": 100, "y": 100, "data": data})


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """Return the rules of axe that the page violates, and the elements. The context must bypass the policy."""
    if not AXE.exists():
        pytest.skip(f"{AXE.relative_to(ROOT)} is not there: npm pack axe-core, and unpack it")
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    assert found["passes"]
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


def screenshot(page: Page, name: str) -> None:
    """Keep a picture if SCREENSHOTS names a folder."""
    if where := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{where}/{name}.png", full_page=True)


def picture(page: Page) -> bytes:
    """A picture with something in it."""
    url: str = page.evaluate(
        """() => {
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [320, 240];
          const pen = canvas.getContext("2d");
          const sky = pen.createLinearGradient(0, 0, 0, 240);
          [[0, "#20306a"], [0.6, "#f08a5d"], [1, "#2a2f4f"]].forEach((stop) => sky.addColorStop(...stop));
          pen.fillStyle = sky;
          pen.fillRect(0, 0, 320, 240);
          pen.fillStyle = "#ffe29a";
          pen.arc(160, 140, 40, 0, 7);
          pen.fill();
          return canvas.toDataURL();
        }"""
    )
    return base64.b64decode(url.partition(",")[2])

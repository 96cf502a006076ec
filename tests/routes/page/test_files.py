"""The upload page in a real browser: what a person can do with it, and what can go wrong on the way."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from werkzeug.serving import make_server

from handler.app import create_app
from handler.settings import Settings
from handler.web.tokens import mint

from ..support import chromium, samples
from ..test_lambda import SECRET
from ..test_sam import api, artifact, options  # noqa: F401  (fixtures)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client
    from playwright.sync_api import Browser, BrowserContext, Page, Request, Route

sync_api = pytest.importorskip("playwright.sync_api", reason="there is no Playwright; make browser brings it")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
AXE = ROOT / ".npm" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MIB = 1024 * 1024
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""One pixel, which can be shown."""
LARGE = samples.png(20 * MIB)
"""Goes in parts of 8, 8 and 4 MiB."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("there is no chromium on the PATH")
    with sync_api.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=chromium.OPTIONS)
        yield launched
        launched.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., str]]:
    """Starts the app, below a prefix if one is given, as the environment's settings have it; returns its URL."""
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
    """A page in which no script may fail and nothing may go against the policy."""
    complaints: list[str] = []
    context.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error('CSP: ' + event.violatedDirective))"
    )
    made = context.new_page()
    made.on("pageerror", lambda error: complaints.append(str(error)))
    # What a server refuses is in the console as well, and is no fault of the page's.
    made.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type in ("error", "warning") and "Failed to load resource" not in message.text
            else None
        ),
    )
    made.on("dialog", lambda dialog: dialog.accept())
    # Playwright takes file choosers over as long as somebody listens, but does not wait until the browser knows. A key
    # that is faster opens the browser's own, which nobody sees.
    made.on("filechooser", lambda _: None)
    yield made
    assert complaints == []


def named(name: str, content: bytes, media_type: str = "image/png") -> Any:
    """A file to choose."""
    return {"name": name, "mimeType": media_type, "buffer": content}


def choose(page: Page, *files: Any) -> None:
    page.locator("#file").set_input_files(list(files))


def large(tmp_path: Path) -> Path:
    """On disk, where it stays the same file when it is chosen again."""
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
    """What the rows say from here on, however short."""
    page.evaluate(
        """() => {
          window.said = [];
          const note = () => said.push(...[...document.querySelectorAll(".state")].map((each) => each.textContent));
          new MutationObserver(note).observe(document.getElementById("rows"), { childList: true, subtree: true });
        }"""
    )
    return lambda: page.evaluate("said")


def recorded(page: Page) -> list[Request]:
    """The requests from here on, but for those that the page is made of."""
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
    """Let so many requests through, and hold the rest."""
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


# The ways to give it a file, and what one gets.


def test_a_chosen_file_is_stored_and_its_link_can_be_copied(
    page: Page, serve: Callable[..., str], folder: Path
) -> None:
    page.goto(serve())
    choose(page, named("photo.png", PNG))
    text = expect_state(page, "photo.png", "stored")
    assert re.fullmatch(r"Stored: http://127\.0\.0\.1:\d+/files/[0-9a-f]{32}/photo\.png", text)
    assert stored(folder) == {"photo.png": PNG}
    page.get_by_role("button", name="Copy link photo.png").click()
    page.get_by_role("button", name="Copied photo.png").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert text == f"Stored: {link}"
    assert page.request.get(link).body() == PNG
    assert page.locator(".tile canvas").count() == 1
    assert page.locator("#summary").inner_text() == "1 of 1 stored"
    assert "photo.png: stored." in page.get_by_role("log").all_inner_texts()[0]


def test_where_nothing_can_be_read_there_is_no_link(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve(DOWNLOADS="off"))
    choose(page, named("photo.png", PNG))
    assert expect_state(page, "photo.png", "stored") == "Stored"
    assert page.get_by_role("button", name="Dismiss photo.png").is_visible()
    assert page.get_by_role("button", name="Copy link").count() == 0


def test_there_is_no_thumbnail_of_what_is_large_for_a_picture(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    """A browser takes the whole file into its memory to draw it."""
    big, small = tmp_path / "big.png", tmp_path / "small.png"
    for path in (big, small):
        path.write_bytes(PNG)
    os.truncate(big, 33 * MIB)
    page.goto(serve())
    choose(page, big, small)
    page.locator("#rows > li").filter(has_text="small.png").locator("canvas").wait_for()  # they are drawn in turn
    assert page.locator("canvas").count() == 1


def test_dropped_files_and_folders(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "album" / "inner").mkdir(parents=True)
    (tmp_path / "album" / "a.png").write_bytes(PNG)
    (tmp_path / "album" / "inner" / "b.txt").write_bytes(samples.TEXT)
    (tmp_path / "c.png").write_bytes(PNG)
    twins = twins_in(tmp_path / "album")
    page.goto(serve())
    drag = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "album"), str(tmp_path / "c.png")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        drag.send("Input.dispatchDragEvent", {"type": kind, "x": 100, "y": 100, "data": data})
    page.locator("body.over").wait_for()
    page.evaluate("addEventListener('drop', (event) => (window.prevented = event.defaultPrevented))")
    drag.send("Input.dispatchDragEvent", {"type": "drop", "x": 100, "y": 100, "data": data})
    for name in ("album/a.png", "album/inner/b.txt", "c.png", "album/one/same.txt", "album/two/same.txt"):
        expect_state(page, name, "stored")
    assert page.locator("body.over").count() == 0
    assert page.evaluate("prevented")  # or the browser would show the file in the page's place
    assert set(stored(folder)) == {"a.png", "b.txt", "c.png", "same.txt"}
    assert {path.read_bytes() for path in folder.glob("files/*/same.txt")} == twins


def test_what_cannot_be_read_in_a_folder_is_named_and_the_rest_is_sent(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    for name in ("a/1.png", "b/2.png", "c/3.png"):
        (tmp_path / "album" / name).parent.mkdir(parents=True)
        (tmp_path / "album" / name).write_bytes(PNG)
    page.add_init_script(
        """const { webkitGetAsEntry } = DataTransferItem.prototype;
        DataTransferItem.prototype.webkitGetAsEntry = function () {
          const entry = webkitGetAsEntry.call(this);
          const directory = Object.getPrototypeOf(entry);
          const { createReader } = directory;
          directory.createReader = function () {
            const reader = createReader.call(this);
            if (this.name === "b") reader.readEntries = (_, fail) => fail(new DOMException("", "NotReadableError"));
            return reader;
          };
          return entry;
        };"""
    )
    page.goto(serve())
    data = {"items": [], "files": [str(tmp_path / "album")], "dragOperationsMask": 1}
    drag = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        drag.send("Input.dispatchDragEvent", {"type": kind, "x": 100, "y": 100, "data": data})
    page.get_by_text("album/b cannot be read.").wait_for()
    for name in ("1.png", "3.png"):
        expect_state(page, name, "stored")
    assert set(stored(folder)) == {"1.png", "3.png"}
    assert page.get_by_role("status").inner_text() == "album/b cannot be read."


def twins_in(directory: Path) -> set[bytes]:
    """Two files in two folders that differ in their content alone, as what an archive unpacks to may; returns that."""
    for content in (b"one", b"two"):
        path = directory / content.decode() / "same.txt"
        path.parent.mkdir()
        path.write_bytes(content)
        os.utime(path, (10**9, 10**9))
    return {b"one", b"two"}


def test_a_pasted_picture(page: Page, serve: Callable[..., str], folder: Path) -> None:
    page.goto(serve())
    page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(8, 8);
          canvas.getContext("2d").fillRect(0, 0, 8, 8);
          const image = await canvas.convertToBlob({ type: "image/png" });
          await navigator.clipboard.write([new ClipboardItem({ "image/png": image })]);
        }"""
    )
    page.keyboard.press("Control+V")
    expect_state(page, "image.png", "stored")
    assert stored(folder)["image.png"].startswith(b"\x89PNG")


def test_a_chosen_folder(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.png").write_bytes(PNG)
    (tmp_path / "album" / "b.txt").write_bytes(samples.TEXT)
    twins = twins_in(tmp_path / "album")
    page.goto(serve())
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose a folder").click()
    chooser.value.set_files(tmp_path / "album")
    for name in ("album/a.png", "album/b.txt", "album/one/same.txt", "album/two/same.txt"):
        expect_state(page, name, "stored")
    assert set(stored(folder)) == {"a.png", "b.txt", "same.txt"}
    assert {path.read_bytes() for path in folder.glob("files/*/same.txt")} == twins


def test_the_same_file_is_not_sent_twice_at_once_but_may_be_sent_again(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    page.goto(serve())
    with held(page, "**/upload"):
        choose(page, path)
        expect_state(page, "a.png", "sending")
        choose(page, path)
        assert page.locator("#rows > li").count() == 1
    expect_state(page, "a.png", "stored")
    choose(page, path)
    page.locator("#rows > li.stored").nth(1).wait_for()


# What is refused.


@pytest.mark.parametrize(
    "name",
    [
        "shell.php",
        "a name without an extension",
        "it's.exe",
        'it\'s "b".exe',
        "x\u202egnp.exe",
        "a.PnGx",
        "a.",
        "\u202e",
        "Screenshot at 9.41.00\u202fAM.exe",  # as macOS calls it
        "日本\u3000語.exe",
        "x" * 200 + ".exe",
        "😀" * 200 + "." + "😀" * 30,
        "x" * 200,
    ],
)
def test_what_will_be_refused_is_said_before_it_is_sent_in_the_servers_words(
    page: Page, serve: Callable[..., str], name: str
) -> None:
    url = serve()
    page.goto(url)
    requests = recorded(page)
    choose(page, named(name, b"MZ", "application/octet-stream"))
    text = expect_state(page, "", "refused")
    assert requests == []
    assert text in page.get_by_role("log").inner_text()
    answer = page.request.post(
        f"{url}/upload/s3/multipart", data=json.dumps({"filename": name}), headers={"Content-Type": "application/json"}
    )
    assert answer.status == 415
    assert text == answer.json()["detail"]
    assert page.get_by_role("button", name="Retry").count() == 0


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(page: Page, serve: Callable[..., str]) -> None:
    url = serve(MAX_FILE_BYTES="2000")
    page.goto(url)
    page.get_by_text("up to 1.9 KiB each").wait_for()  # of 1.95: with 2.0 somebody would try 2.0
    requests = recorded(page)
    choose(page, named("a.txt", b"a" * 2001, "text/plain"))
    text = expect_state(page, "a.txt", "refused")
    assert requests == []
    answer = page.request.post(f"{url}/upload", multipart={"file": named("a.txt", b"a" * 2001)})
    assert text == answer.json()["detail"] == "'a.txt' is larger than a file may be: 2,000 bytes."


def test_content_that_is_refused_is_refused_in_the_servers_words(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    page.goto(serve())
    (tmp_path / "page.png").write_bytes(b"<html>")
    (tmp_path / "big.png").write_bytes(b"<html>" + bytes(9 * MIB))
    choose(page, tmp_path / "page.png", tmp_path / "big.png")
    assert "is not a PNG image." in expect_state(page, "page.png", "refused")
    assert "is not a PNG image." in expect_state(page, "big.png", "refused")
    assert page.evaluate("Object.values(localStorage)") == ["{}"]


# Large files.


def test_a_large_file_goes_in_parts_with_its_progress_shown(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    page.goto(serve())
    requests = recorded(page)
    # Measured at the browser's own pace: slow enough for a rate to be seen.
    page.context.new_cdp_session(page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8 * MIB},
    )
    choose(page, large(tmp_path))
    page.get_by_text(re.compile(r"[\d.]+ MiB of 20\.0 MiB · [\d.]+ [MK]iB/s · \d+ s left")).wait_for()
    assert 0 < float(page.get_by_role("progressbar", name="large.png").get_attribute("value") or 0) < 1
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"large.png": LARGE}
    sent = [request for request in requests if request.method == "PUT"]
    assert sorted(int(request.headers.get("content-length", 0)) for request in sent) in (
        [4 * MIB, 8 * MIB, 8 * MIB],
        [0, 0, 0],  # the protocol does not always tell
    )
    assert {part_number(request) for request in requests} == {None, 1, 2, 3}
    begun = next(request for request in requests if request.url.endswith("/upload/s3/multipart"))
    assert begun.post_data_json == {
        "filename": "large.png",
        "type": "image/png",
        "size": 20 * MIB,
        "partSize": 8 * MIB,
    }
    assert page.evaluate("Object.values(localStorage)") == ["{}"]


def test_where_a_form_is_too_large_another_way_is_taken(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    page.route(
        f"{url}/upload",
        lambda route: (
            route.fulfill(status=413, json={"message": "Request Too Long"})
            if route.request.method == "POST"
            else route.continue_()
        ),
    )
    choose(page, named("a.png", PNG))
    expect_state(page, "a.png", "stored")
    assert stored(folder) == {"a.png": PNG}


def test_a_file_over_the_limit_of_a_request_goes_in_parts(page: Page, serve: Callable[..., str], folder: Path) -> None:
    page.goto(serve(MAX_CONTENT_LENGTH="10000"))
    requests = recorded(page)
    content = samples.png(20_000)
    choose(page, named("a.png", content))
    expect_state(page, "a.png", "stored")
    assert stored(folder) == {"a.png": content}
    assert not [request for request in requests if request.method == "POST" and request.url.endswith("/upload")]


def test_a_file_that_is_still_being_checked_is_asked_for(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    page.goto(serve())

    def later(route: Route) -> None:
        route.fetch()
        route.fulfill(status=202, json={"message": "", "location": "", "key": "", "status": ""})

    page.route("**/complete?*", later)
    pending = [True]

    def status(route: Route) -> None:
        if pending.pop() if pending else False:
            route.fulfill(json={"id": "", "status": "pending"})
        else:
            route.continue_()

    page.route(re.compile(r"/upload/[^/]{100,}$"), status)  # an upload id, not the id of a file
    (tmp_path / "a.png").write_bytes(samples.png(9 * MIB))
    (tmp_path / "b.png").write_bytes(b"<html>" + bytes(9 * MIB))
    choose(page, tmp_path / "a.png", tmp_path / "b.png")
    expect_state(page, "a.png", "stored")
    assert "is not a PNG image." in expect_state(page, "b.png", "refused")
    assert pending == []


# What can go wrong.


def test_a_server_that_is_busy_is_asked_again(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    failures = [503, 429]

    def busy(route: Route) -> None:
        if route.request.method == "POST" and failures:
            detail = "The storage cannot be reached just now."
            route.fulfill(status=failures.pop(), json={"detail": detail}, headers={"Retry-After": "1"})
        else:
            route.continue_()

    page.route(f"{url}/upload", busy)
    said = watched(page)
    choose(page, named("a.png", PNG))
    expect_state(page, "a.png", "stored")
    assert "The storage cannot be reached just now. Trying again …" in said()
    assert failures == []
    assert stored(folder) == {"a.png": PNG}


def test_it_waits_as_long_as_the_server_says_or_until_there_is_a_network_again(
    page: Page, serve: Callable[..., str], folder: Path
) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    busy = {"status": 503, "json": {"detail": "Busy."}, "headers": {"Retry-After": "30"}}
    page.route(f"{url}/upload", lambda route: route.fulfill(**busy), times=1)
    choose(page, named("a.png", PNG))
    page.get_by_text("Busy. Trying again …").wait_for()
    page.wait_for_timeout(2500)  # longer than it would wait otherwise
    assert stored(folder) == {}
    page.evaluate("dispatchEvent(new Event('online'))")
    expect_state(page, "a.png", "stored")  # in less than 30 seconds


def test_a_portal_s_page_is_not_taken_for_an_answer(page: Page, serve: Callable[..., str]) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    page.route(f"{url}/upload", lambda route: route.fulfill(status=200, body="<h1>Welcome aboard</h1>"), times=1)
    said = watched(page)
    choose(page, named("a.png", PNG))
    expect_state(page, "a.png", "stored")
    assert "Something else than the endpoint answered. Trying again …" in said()


def test_a_part_that_cannot_be_sent_stops_the_others(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    page.goto(serve())
    stopped: list[str] = []
    page.on("requestfailed", lambda request: stopped.append(request.method))
    with held(page, "**/upload/s3/incoming/*") as routes:
        choose(page, large(tmp_path))
        while len(routes) < 2:
            page.wait_for_timeout(50)
        routes[0].fulfill(status=405, body="<Error>")
        expect_state(page, "large.png", "failed")
    assert stopped == ["PUT"]


def test_who_leaves_while_something_is_sent_is_asked(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.type))  # which another handler accepts
    page.get_by_role("heading", name="Upload files").click()  # nobody who has done nothing is asked
    with held(page, f"{url}/upload"):
        choose(page, named("a.png", PNG))
        expect_state(page, "a.png", "sending")
        page.reload()
    assert asked == ["beforeunload"]
    choose(page, named("b.png", PNG))
    expect_state(page, "b.png", "stored")
    page.get_by_role("heading", name="Upload files").click()
    page.reload()
    assert asked == ["beforeunload"]
    assert set(stored(folder)) == {"b.png"}


def test_what_fails_for_good_can_be_tried_again_by_hand(page: Page, serve: Callable[..., str]) -> None:
    url = serve()
    page.goto(url)
    page.route(f"{url}/upload", lambda route: route.fulfill(status=404, body="<html>"))
    choose(page, named("a.png", PNG))
    assert expect_state(page, "a.png", "failed") == "The server answered 404 Not Found."
    assert page.get_by_role("log").inner_text() == "a.png: The server answered 404 Not Found."
    page.unroute(f"{url}/upload")
    page.get_by_role("button", name="Retry a.png").click()
    expect_state(page, "a.png", "stored")


@pytest.mark.parametrize("status", [0, 400, 403])
def test_a_cut_connection_costs_no_more_than_the_part(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path, status: int
) -> None:
    """Or an answer that says as much: S3's RequestTimeout, or AccessDenied for a URL that has expired."""
    page.goto(serve())
    cut: list[str] = []

    def cut_once(route: Route) -> None:
        if route.request.method == "PUT" and not cut:
            cut.append(route.request.url)
            if status:
                route.fulfill(status=status, body="<Error>")
            else:
                route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/upload/s3/incoming/*", cut_once)
    requests, said = recorded(page), watched(page)
    choose(page, large(tmp_path))
    expect_state(page, "large.png", "stored")
    words = "The server answered" if status else "The connection was lost."
    assert [each for each in said() if each.startswith(words) and each.endswith(" Trying again …")]
    assert stored(folder) == {"large.png": LARGE}
    assert len([request for request in requests if request.method == "PUT"]) == 4


def test_a_part_that_is_forbidden_again_and_again_fails(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    """As where something in front of the storage does not let it through. No other token would help."""
    page.goto(serve())
    page.route("**/upload/s3/incoming/*", lambda route: route.fulfill(status=403, body="<Error>"))
    requests = recorded(page)
    path = tmp_path / "a.png"
    path.write_bytes(samples.png(5 * MIB))  # one part
    choose(page, path)
    assert expect_state(page, "a.png", "failed") == "The server answered 403 Forbidden."
    assert len([request for request in requests if request.method == "PUT"]) == 3
    assert len([request for request in requests if part_number(request)]) == 3  # each time with a fresh URL
    assert page.get_by_role("status").inner_text() == ""
    page.unroute("**/upload/s3/incoming/*")
    page.get_by_role("button", name="Retry a.png").click()
    expect_state(page, "a.png", "stored")


def test_without_a_direct_way_a_large_file_is_refused_before_it_is_sent(
    page: Page, serve: Callable[..., str], folder: Path
) -> None:
    """As under `sam local` without a bucket."""
    page.goto(serve(ACCESS="public", AWS_LAMBDA_FUNCTION_NAME="UploadFunction", AWS_SAM_LOCAL="true"))
    page.get_by_text("up to 3.9 MiB each").wait_for()
    requests = recorded(page)
    choose(page, named("large.png", samples.png(5 * MIB)), named("small.png", PNG))
    expect_state(page, "small.png", "stored")
    assert "'large.png' is larger than a file may be" in expect_state(page, "large.png", "refused")
    assert len(requests) == 1
    assert stored(folder) == {"small.png": PNG}


def test_a_file_that_changes_on_its_way_is_not_tried_for_ever(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    changing, going = large(tmp_path), tmp_path / "going.txt"
    going.write_bytes(samples.TEXT)
    page.goto(serve())
    with held(page, "**/multipart/*/3?*"), held(page, "**/upload") as routes:
        choose(page, changing, going)
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        while not routes:
            page.wait_for_timeout(50)
        changing.write_bytes(samples.png(9 * MIB))
        going.unlink()
        routes[0].abort("connectionreset")
    text = "'{}' has changed since it was chosen, or is gone. Choose it again."
    assert expect_state(page, "large.png", "refused") == text.format("large.png")
    assert expect_state(page, "going.txt", "refused") == text.format("going.txt")
    choose(page, changing)
    expect_state(page, "large.png", "stored")


def test_the_focus_is_kept_when_a_row_has_one_button_less(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve())
    with held(page, "**/upload") as routes:
        choose(page, named("page.png", b"<html>"))
        while not routes:
            page.wait_for_timeout(50)
        page.get_by_role("button", name="Pause page.png").focus()
    expect_state(page, "page.png", "refused")
    assert page.evaluate("document.activeElement.ariaLabel") == "Dismiss page.png"


def test_without_a_network_it_waits_for_one(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    page.goto(serve())
    with held(page, "**/multipart/*/3?*"):
        choose(page, large(tmp_path))
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        page.context.set_offline(True)
    page.get_by_text("The connection was lost. Trying again …").wait_for()
    page.context.set_offline(False)
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"large.png": LARGE}


def test_a_reload_goes_on_where_it_was(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    path = large(tmp_path)
    page.goto(serve())
    with held(page, "**/multipart/*/3?*"):
        choose(page, path)
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        while len(list(folder.glob("incoming/*/[0-9]*"))) < 2:  # the browser is ahead of the disk
            page.wait_for_timeout(50)
        page.reload()
    page.get_by_text("Not finished: large.png. Choose it again to go on from there.").wait_for()
    requests = recorded(page)
    choose(page, path)
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"large.png": LARGE}
    assert [part_number(request) for request in requests if part_number(request)] == [3]
    page.reload()
    assert page.locator("#notice").inner_text() == ""


def test_an_answer_that_got_lost_is_asked_for_again(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    path = large(tmp_path)
    page.goto(serve())

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")
        page.unroute("**/complete?*")

    page.route("**/complete?*", lose)
    choose(page, path)
    expect_state(page, "large.png", "stored")
    assert len(list(folder.glob("files/*"))) == 1


def test_two_tabs_send_the_same_file_once(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    path, url = large(tmp_path), serve()
    page.goto(url)
    other = page.context.new_page()
    other.goto(url)
    with held(page, "**/multipart/*/3?*") as routes:
        choose(page, path)
        while not routes:
            page.wait_for_timeout(50)
        choose(other, path)
        text = expect_state(other, "large.png", "stored")
    assert expect_state(page, "large.png", "stored") == text
    assert len(list(folder.glob("files/*"))) == 1


def test_an_upload_that_is_there_no_more_is_begun_anew(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    path = large(tmp_path)
    page.goto(serve())
    with held(page, "**/multipart/*/3?*"):
        choose(page, path)
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        page.reload()
    for directory in folder.glob("incoming/*"):
        shutil.rmtree(directory)
    choose(page, path)
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"large.png": LARGE}


@pytest.mark.parametrize("why", ["another began it", "it is of another day"])
def test_an_upload_that_cannot_be_gone_on_with_is_begun_anew(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path, why: str
) -> None:
    path = large(tmp_path)
    page.goto(serve())
    with held(page, "**/multipart/*/3?*"):
        choose(page, path)
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        if why == "another began it":
            page.route(re.compile(r"/multipart/[^/]+\?key"), lambda route: route.fulfill(status=403), times=1)
        else:
            page.evaluate(
                """() => {
                  const [[place, kept]] = Object.entries(localStorage);
                  const all = JSON.parse(kept);
                  for (const key in all) all[key].until = Date.now() - 1;
                  localStorage.setItem(place, JSON.stringify(all));
                }"""
            )
        page.reload()
    page.get_by_text("each.").wait_for()
    assert ("Not finished" in page.locator("#notice").inner_text()) == (why == "another began it")
    requests = recorded(page)
    choose(page, path)
    expect_state(page, "large.png", "stored")
    assert {part_number(request) for request in requests} == {None, 1, 2, 3}
    assert stored(folder) == {"large.png": LARGE}


def test_where_a_browser_keeps_nothing_files_go_all_the_same(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    page.add_init_script(
        """for (const name of ["localStorage", "sessionStorage"]) {
          Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
        }"""
    )
    page.goto(f"{serve(TOKEN_SECRET=SECRET)}/#token={mint(SECRET, expires_seconds=3600)}")
    choose(page, large(tmp_path))
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"large.png": LARGE}


@pytest.mark.parametrize("where", ["**/multipart/*/3?*", "**/upload/s3/incoming/*"])
def test_pause_and_cancel(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path, where: str) -> None:
    page.goto(serve())
    with held(page, where) as routes:
        choose(page, large(tmp_path))
        while not routes:
            page.wait_for_timeout(50)
        page.get_by_role("button", name="Pause large.png").click()
        expect_state(page, "large.png", "paused")
        assert page.evaluate("document.activeElement.textContent") == "Resume"
        page.get_by_role("button", name="Resume large.png").click()
        expect_state(page, "large.png", "sending")
        assert page.evaluate("document.activeElement.textContent") == "Pause"
        with page.expect_response(lambda response: response.request.method == "DELETE"):
            page.get_by_role("button", name="Cancel large.png").click()
        expect_state(page, "large.png", "cancelled")
        assert list(folder.glob("incoming/*")) == []
        assert page.evaluate("document.activeElement.textContent") == "Dismiss"
    page.get_by_role("button", name="Retry large.png").click()
    expect_state(page, "large.png", "stored")
    assert page.evaluate("document.activeElement.textContent") == "Copy link"
    page.get_by_role("button", name="Dismiss large.png").click()
    assert page.locator("#rows > li").count() == 0
    assert page.evaluate("document.activeElement.id") == "file"
    assert stored(folder) == {"large.png": LARGE}


def test_a_few_at_once(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    with held(page, f"{url}/upload") as routes:
        choose(page, *(named(f"{number}.png", PNG) for number in range(5)))
        page.wait_for_function("document.querySelectorAll('.sending').length === 3")
        assert page.locator(".waiting").count() == 2
        page.get_by_role("button", name="Cancel 4.png").click()
        page.get_by_role("button", name="Pause 3.png").click()
        while len(routes) < 3:
            page.wait_for_timeout(50)
    page.get_by_text("3 of 5 stored").wait_for()
    page.get_by_role("button", name="Resume 3.png").click()
    page.get_by_text("4 of 5 stored").wait_for()
    assert set(stored(folder)) == {f"{number}.png" for number in range(4)}


# Tokens.


def test_a_token_in_the_fragment_is_in_no_url_that_is_sent(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve(TOKEN_SECRET=SECRET)
    token = mint(SECRET, expires_seconds=3600)
    requests = recorded(page)
    page.goto(f"{url}/#token={token}")
    page.get_by_text("each.").wait_for()
    assert page.url == f"{url}/"
    choose(page, large(tmp_path))
    expect_state(page, "large.png", "stored")
    choose(page, named("small.png", PNG))
    expect_state(page, "small.png", "stored")
    assert not page.locator("#token").is_visible()
    page.reload()
    choose(page, named("again.png", PNG))
    expect_state(page, "again.png", "stored")
    assert not [request.url for request in requests if token in request.url]
    assert token not in json.dumps(page.evaluate("({...localStorage})"))
    # The storage is another's server, whoever it is: it gets no token.
    puts = [request for request in requests if request.method == "PUT"]
    assert len(puts) == 3
    assert not [request for request in puts if "authorization" in request.all_headers()]


def test_a_token_can_be_pasted_and_the_files_wait_for_it(page: Page, serve: Callable[..., str]) -> None:
    url = serve(TOKEN_SECRET=SECRET)
    page.goto(url)
    choose(page, named("a.png", PNG))
    page.get_by_text("The files wait for an upload token.").wait_for()
    expect_state(page, "a.png", "waiting")
    page.get_by_label("Token").fill("nonsense")
    page.keyboard.press("Enter")
    page.locator("#notice").filter(has_text="not one of this endpoint").wait_for()
    assert page.evaluate("[document.activeElement.id, document.activeElement.value]") == ["token", ""]
    page.get_by_label("Token").fill(mint(SECRET, expires_seconds=3600, extensions=["png", "txt"]))
    page.keyboard.press("Enter")
    expect_state(page, "a.png", "stored")
    assert page.evaluate("document.activeElement.id") == "file"
    page.get_by_text("Allowed: txt, png;").wait_for()
    assert page.url == f"{url}/"


def test_a_token_that_expires_is_asked_for_again(page: Page, serve: Callable[..., str]) -> None:
    url = serve(TOKEN_SECRET=SECRET)
    page.goto(f"{url}/#token={mint(SECRET, expires_seconds=3600)}")
    page.get_by_text("each.").wait_for()
    detail = "The token has expired."
    page.route(f"{url}/upload", lambda route: route.fulfill(status=401, json={"detail": detail}))
    choose(page, named("a.png", PNG))
    assert expect_state(page, "a.png", "failed") == detail
    page.get_by_label("Token").wait_for()
    assert page.get_by_label("Token").input_value() == ""
    page.unroute(f"{url}/upload")
    page.goto(f"{url}/#token={mint(SECRET, expires_seconds=3600)}")  # the same document
    expect_state(page, "a.png", "stored")


def test_an_expired_token_is_said_to_have_expired_while_files_wait(page: Page, serve: Callable[..., str]) -> None:
    url = serve(TOKEN_SECRET=SECRET)
    expired = jwt.encode({"exp": int(time.time()) - 3600}, SECRET, algorithm="HS256")
    page.goto(f"{url}/#token={expired}")
    notice = page.get_by_role("status")
    notice.filter(has_text="expired").wait_for()
    reason = notice.inner_text()
    choose(page, named("a.png", PNG))
    notice.filter(has_text="The files wait").wait_for()
    assert notice.inner_text() == f"{reason} The files wait for an upload token."
    page.get_by_label("Upload token: paste the one that you were given").fill(mint(SECRET, expires_seconds=3600))
    page.keyboard.press("Enter")
    expect_state(page, "a.png", "stored")
    assert notice.inner_text() == ""


@pytest.mark.parametrize("accepts", [True, False], ids=["accepted", "declined"])
@pytest.mark.parametrize("loads", [True, False], ids=["new document", "same document"])
def test_a_link_does_not_replace_the_tabs_token_unasked(
    context: BrowserContext, serve: Callable[..., str], accepts: bool, loads: bool
) -> None:
    url = serve(TOKEN_SECRET=SECRET)
    own, another = (mint(SECRET, expires_seconds=3600, subject=subject) for subject in ("me", "a stranger"))
    page = context.new_page()
    asked: list[str] = []

    def reply(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept() if accepts else dialog.dismiss()

    page.on("dialog", reply)
    page.goto(f"{url}/#token={own}")
    page.get_by_text("each.").wait_for()
    page.reload()
    page.goto(f"{url}/#token={own}")  # the same token is no question
    assert asked == []
    if loads:
        page.goto("about:blank")
    page.goto(f"{url}/#token={another}")
    page.wait_for_function("!location.hash")
    with page.expect_request(lambda request: request.method == "POST") as sent:
        choose(page, named("a.png", PNG))
    expect_state(page, "a.png", "stored")
    assert asked == ["This link brings another upload token than this tab has. Upload with the link's token?"]
    used = another if accepts else own
    assert sent.value.headers["authorization"] == f"Bearer {used}"
    page.reload()  # and it stays so
    with page.expect_request(lambda request: request.method == "POST") as sent:
        choose(page, named("b.png", PNG))
    assert sent.value.headers["authorization"] == f"Bearer {used}"
    assert len(asked) == 1


# Without scripts, by keyboard, for everyone.


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """A page without scripts."""
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def test_without_scripts_it_is_a_form(plain: Page, serve: Callable[..., str], folder: Path) -> None:
    plain.goto(serve(TOKEN_SECRET=SECRET))
    plain.get_by_label("Token").fill(mint(SECRET, expires_seconds=3600))
    plain.get_by_label("Choose files").set_input_files([named("a.png", PNG), named("b.png", PNG)])
    plain.get_by_role("button", name="Upload").click()
    plain.get_by_role("heading", name="Stored 2 files.").wait_for()
    assert set(stored(folder)) == {"a.png", "b.png"}
    plain.get_by_role("link", name="Upload more").click()
    plain.get_by_label("Token").fill("nonsense")
    plain.get_by_label("Choose files").set_input_files([named("a.png", PNG)])
    plain.get_by_role("button", name="Upload").click()
    plain.get_by_role("heading", name="The token is not good").wait_for()


def test_by_keyboard_alone(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    page.goto(serve())
    page.get_by_text("each.").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement.labels[0]).outlineStyle") == "solid"
    with held(page, "**/multipart/*/3?*"):
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files([large(tmp_path)])
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        page.keyboard.press("Tab")  # to the folder
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect_state(page, "large.png", "paused")
    page.keyboard.press("Enter")
    expect_state(page, "large.png", "stored")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#rows > li").count() == 0


def in_every_state(page: Page, url: str, tmp_path: Path) -> None:
    page.goto(url)
    page.get_by_text("each.").wait_for()
    page.route("**/multipart/*/3?*", lambda _: None)
    path = large(tmp_path)
    choose(page, named("sunset over the harbour.png", picture(page)), named("notes.txt", samples.TEXT, "text/plain"))
    page.get_by_text("2 of 2 stored").wait_for()
    choose(page, named("setup.exe", b"MZ", "application/octet-stream"), named("report.pdf", b"<html>"))
    expect_state(page, "report.pdf", "refused")
    choose(page, path)
    page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
    paused = path.with_name("صورة من العطلة.png")
    shutil.copy(path, paused)
    choose(page, paused)
    page.get_by_role("button", name=f"Pause {paused.name}").click()
    expect_state(page, paused.name, "paused")


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 375])
def test_it_is_accessible_and_fits(
    browser: Browser, serve: Callable[..., str], tmp_path: Path, scheme: Any, width: int
) -> None:
    """To see the pictures, say in SCREENSHOTS where they shall go."""
    if not AXE.exists():
        pytest.skip(f"{AXE.relative_to(ROOT)} is not there: npm pack axe-core, and unpack it")
    # axe writes HTML, which the page's own policy does not let any script do.
    phone = width < 500
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
        is_mobile=phone,
        has_touch=phone,
        bypass_csp=True,
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    url = serve(TOKEN_SECRET=SECRET)

    def look(name: str) -> None:
        if where := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{where}/{name}-{scheme}-{width}.png", full_page=True)
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert found["passes"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.goto(url)
    choose(page, named("a.png", PNG))
    page.get_by_text("The files wait for an upload token.").wait_for()
    look("token")
    assert page.get_by_text("Drop files here").is_visible() == (not phone)  # there is nothing to drop with
    page.goto("about:blank")
    in_every_state(page, f"{url}/#token={mint(SECRET, expires_seconds=3600)}", tmp_path)
    look("page")
    context.close()


def test_large_text_on_a_small_screen_stays_where_it_belongs(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    """Text of twice the size on 320 pixels (WCAG 1.4.4 and 1.4.10)."""
    page.set_viewport_size({"width": 320, "height": 800})
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => {
          const larger = new CSSStyleSheet();
          larger.replaceSync("html { font-size: 200% }");
          document.adoptedStyleSheets = [larger];
        })"""
    )
    in_every_state(page, serve(), tmp_path)
    if where := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{where}/large-text.png", full_page=True)
    sticking_out = """() => [...document.querySelectorAll("#rows > li")].flatMap((row) => {
      const range = document.createRange();
      range.selectNodeContents(row);
      const { left, right } = row.getBoundingClientRect();
      return [...range.getClientRects()].filter((each) => each.left < left || each.right > right);
    })"""
    assert page.evaluate(sticking_out) == []
    # A button is as wide as its longest word at least.
    broken = """() => [...document.querySelectorAll("button, .choose label")].filter((each) => {
      const range = document.createRange();
      const lines = (from, to) => {
        range.setStart(each.firstChild, from);
        range.setEnd(each.firstChild, to);
        return range.getClientRects().length;
      };
      return each.offsetParent && [...each.textContent.matchAll(/\\S+/g)].some(
        ({ 0: word, index }) => lines(index, index + word.length) > 1);
    }).map((each) => each.textContent)"""
    assert page.evaluate(broken) == []


def test_a_bar_is_seen_in_forced_colours(page: Page, serve: Callable[..., str]) -> None:
    page.emulate_media(forced_colors="active")
    page.goto(serve())
    with held(page, "**/upload"):
        choose(page, named("a.png", PNG))
        page.get_by_role("button", name="Pause a.png").click()  # or its value is set once a second
        expect_state(page, "a.png", "paused")
        bar = page.get_by_role("progressbar")
        pictures = set()
        for value in (0, 0.5, 1):
            bar.evaluate("(bar, value) => (bar.value = value)", value)
            pictures.add(bar.screenshot())
        assert len(pictures) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_without_scripts(browser: Browser, serve: Callable[..., str], scheme: Any) -> None:
    if not AXE.exists():
        pytest.skip(f"{AXE.relative_to(ROOT)} is not there: npm pack axe-core, and unpack it")
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.route("**/*.js", lambda route: route.abort())  # axe is a script itself
    page.goto(serve())

    def look(name: str) -> None:
        if where := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{where}/{name}-{scheme}.png", full_page=True)
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []

    look("form")
    page.locator("#file").set_input_files([named("a.png", PNG)])
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="Stored a.png.").wait_for()
    look("answer")
    page.go_back()
    page.locator("#file").set_input_files([named("a.exe", b"MZ"), named("b.exe", b"MZ")])
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="Several files were refused").wait_for()
    look("problem")
    context.close()


# Where it may stand.


def test_below_a_stage(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    url = serve("/live")
    for address in (url, f"{url}/"):
        page.goto(address)
        requests = recorded(page)
        choose(page, named("a.png", PNG))
        expect_state(page, "a.png", "stored")
    choose(page, large(tmp_path))
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"a.png": PNG, "large.png": LARGE}
    assert {request.url.startswith(f"{url}/") for request in requests} == {True}


def let_browsers_send(client: S3Client, bucket: str) -> None:
    rule: Any = {"AllowedOrigins": ["*"], "AllowedMethods": ["PUT", "POST"], "ExposeHeaders": ["ETag"]}
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def sizes_in(client: S3Client, bucket: str) -> dict[str, int]:
    listed = client.list_objects_v2(Bucket=bucket, Prefix="files/")["Contents"]
    return {each["Key"].rpartition("/")[2]: each["Size"] for each in listed}


@pytest.mark.strict_s3
def test_large_files_go_to_the_bucket_and_no_token_with_them(
    page: Page, serve: Callable[..., str], strict_s3: S3Client, strict_bucket: str, tmp_path: Path
) -> None:
    let_browsers_send(strict_s3, strict_bucket)
    page.goto(f"{serve(UPLOAD_BUCKET=strict_bucket, TOKEN_SECRET=SECRET)}/#token={mint(SECRET, expires_seconds=600)}")
    requests = recorded(page)
    failures = [503]

    def busy_once(route: Route) -> None:
        if failures and route.request.method == "PUT":
            route.fulfill(status=failures.pop(), headers={"Access-Control-Allow-Origin": "*"})
        else:
            route.continue_()

    endpoint = strict_s3.meta.endpoint_url
    page.route(f"{endpoint}/**", busy_once)
    choose(page, large(tmp_path))
    choose(page, named("small.png", PNG))
    expect_state(page, "large.png", "stored")
    expect_state(page, "small.png", "stored")
    assert sizes_in(strict_s3, strict_bucket) == {"large.png": len(LARGE), "small.png": len(PNG)}
    puts = [request for request in requests if request.method == "PUT"]
    assert failures == []
    assert len(puts) == 4
    for request in puts:
        assert request.url.startswith(endpoint)
        assert not {"authorization", "content-type"} & set(request.all_headers())


# Stored files in the pages of other sites.

LOAD = """async (url) => {
  const script = document.createElement("script");
  script.src = url;
  await new Promise((done) => {
    script.onload = script.onerror = done;
    document.head.append(script);
  });
  return Boolean(window.ran);
}"""


@pytest.fixture
def another_site() -> Iterator[str]:
    """The URL of an empty page: `localhost` is another site than `127.0.0.1`."""

    def empty(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "15")])
        return [b"<!doctype html>"]

    server = make_server("127.0.0.1", 0, empty, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.strict_s3)])
def test_a_stored_text_does_not_run_in_the_page_of_another_site(
    context: BrowserContext,
    serve: Callable[..., str],
    another_site: str,
    request: pytest.FixtureRequest,
    where: str,
) -> None:
    page = context.new_page()
    environ = {"UPLOAD_BUCKET": request.getfixturevalue("strict_bucket")} if where == "bucket" else {}
    url = serve(ALLOWED_EXTENSIONS="txt md json", ACCESS="public", **environ)
    page.goto(another_site)
    for name, content in (("a.txt", b"ran = 1"), ("a.md", b"ran = 1")):
        stored = page.request.post(f"{url}/upload", multipart={"file": named(name, content, "text/plain")}).json()
        assert page.evaluate(LOAD, stored["url"]) is False
        assert page.request.get(stored["url"]).body() == content


@pytest.mark.sam
@pytest.mark.strict_s3
def test_the_built_artifact_under_sam_local(
    page: Page,
    api: str,  # noqa: F811  (the fixture itself)
    strict_s3: S3Client,
    strict_bucket: str,
    tmp_path: Path,
) -> None:
    let_browsers_send(strict_s3, strict_bucket)
    page.set_default_timeout(120_000)  # a container for each request
    page.goto(f"{api}/#token={mint(SECRET, expires_seconds=600)}")
    choose(page, named("small.png", PNG))
    assert f"{api}/files/" in expect_state(page, "small.png", "stored")
    choose(page, large(tmp_path))
    expect_state(page, "large.png", "stored")
    assert sizes_in(strict_s3, strict_bucket) == {"large.png": len(LARGE), "small.png": len(PNG)}

"""Large files: in parts, straight to the storage, and on after a break."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from handler.web.tokens import mint

from ...support import samples
from ...support.lambda_runtime import SECRET
from .steps import (
    LARGE,
    MIB,
    PNG,
    choose,
    expect_state,
    held,
    large,
    named,
    part_number,
    recorded,
    stored,
    watched,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser


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
        [0, 0, 0],  # the protocol does not always report it
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


def test_a_reload_goes_on_where_it_was(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    path = large(tmp_path)
    page.goto(serve())
    with held(page, "**/multipart/*/3?*"):
        choose(page, path)
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        while len(list(folder.glob("incoming/*/[0-9]*"))) < 2:  # the browser is ahead of the disk
            page.wait_for_timeout(50)
        page.reload()
    words = "Interrupted. Choose the file again to continue."
    assert expect_state(page, "large.png", "interrupted") == words
    assert page.locator("#notice").inner_text() == ""
    requests = recorded(page)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose again large.png").click()
    chooser.value.set_files([path])
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"large.png": LARGE}
    assert [part_number(request) for request in requests if part_number(request)] == [3]
    assert page.locator("#rows > li").count() == 1


def test_new_tab_names_the_unfinished_files(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    url = serve()
    page.goto(url)
    with held(page, "**/multipart/*/3?*"):
        choose(page, large(tmp_path))
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        other = page.context.new_page()
        other.goto(url)
        other.get_by_text("Not finished: large.png. Choose it again to continue.").wait_for()
    expect_state(page, "large.png", "stored")
    other.reload()
    other.get_by_text("each.").wait_for()
    assert other.locator("#notice").inner_text() == ""


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
        expect_state(other, "large.png", "stored")
    expect_state(page, "large.png", "stored")
    link, same = (each.get_by_role("link", name="large.png").get_attribute("href") for each in (page, other))
    assert link == same
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

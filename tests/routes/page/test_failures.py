"""Failures on the way: busy servers, lost connections, files that change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ...support import samples
from .steps import (
    LARGE,
    MIB,
    PNG,
    choose,
    expect_state,
    held,
    large,
    named,
    stored,
    watched,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser


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


def test_file_whose_answer_is_lost_is_stored_once(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    keys: list[str | None] = []

    def lose(route: Route) -> None:
        keys.append(route.request.header_value("Idempotency-Key"))
        route.fetch()
        if len(keys) < 3:
            route.abort()
        else:
            route.continue_()

    page.route(f"{url}/upload", lambda route: lose(route) if route.request.method == "POST" else route.continue_())
    choose(page, named("a.png", PNG))
    expect_state(page, "a.png", "stored")
    choose(page, named("b.png", PNG))
    expect_state(page, "b.png", "stored")
    assert sorted(path.name for path in folder.glob("files/*/*")) == ["a.png", "b.png"]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert all(keys)


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
    assert "The response did not come from the upload endpoint. Trying again …" in said()


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
    page.get_by_role("log").filter(has_text="a.png: The server answered 404 Not Found.").wait_for()
    page.unroute(f"{url}/upload")
    page.get_by_role("button", name="Retry a.png").click()
    expect_state(page, "a.png", "stored")


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
    text = "'{}' was changed or removed after you chose it. Choose it again."
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

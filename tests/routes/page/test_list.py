"""The list: the summary, the order, the buttons for all files, and the rows after a reload."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from handler.web.tokens import mint

from ...support.lambda_runtime import SECRET
from .steps import (
    PNG,
    choose,
    expect_state,
    expect_summary,
    held,
    large,
    named,
    recorded,
    stored,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

EXE = named("setup.exe", b"MZ", "application/octet-stream")


def pictures(count: int) -> list[Any]:
    return [named(f"{number}.png", PNG) for number in range(count)]


def row_names(page: Page) -> list[str]:
    names: list[str] = page.locator("#rows .name").all_inner_texts()
    return names


def all_button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def test_row_shows_how_long_the_file_is_kept(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve(KEEP_DAYS="7"))
    days = [datetime.now(UTC) + timedelta(days=7)]
    choose(page, *pictures(1))
    text = expect_state(page, "0.png", "stored")
    days.append(datetime.now(UTC) + timedelta(days=7))
    assert text in {f"Stored · kept until {day:%Y-%m-%d}" for day in days}
    page.goto("about:blank")
    page.goto(serve())
    choose(page, named("other.png", PNG))
    assert expect_state(page, "other.png", "stored") == "Stored"


def test_summary_is_red_and_leads_to_the_refused_row(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve())
    choose(page, *pictures(19), EXE)
    link = page.get_by_role("link", name="19 stored, 1 refused", exact=True)
    link.wait_for()
    reds = [
        locator.evaluate("element => getComputedStyle(element).color")
        for locator in (link, page.locator(".refused .state"))
    ]
    assert reds == ["rgb(176, 37, 28)"] * 2
    address = page.url
    link.click()
    page.locator("li.refused:focus").wait_for()
    assert page.url == address
    assert row_names(page)[0] == "setup.exe"
    page.get_by_role("button", name="Dismiss setup.exe").click()
    expect_summary(page, "19 stored")
    assert page.locator("#summary a[href]").count() == 0


def test_rows_that_need_attention_come_first_and_keep_the_focus(page: Page, serve: Callable[..., str]) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    with held(page, f"{url}/upload") as routes:
        choose(page, *pictures(2), named("late.pdf", b"<html>"), EXE)
        expect_state(page, "setup.exe", "refused")
        assert row_names(page) == ["setup.exe", "0.png", "1.png", "late.pdf"]
        while len(routes) < 3:
            page.wait_for_timeout(50)
        page.get_by_role("button", name="Cancel late.pdf").focus()
    expect_state(page, "late.pdf", "refused")
    assert row_names(page) == ["setup.exe", "late.pdf", "0.png", "1.png"]
    assert page.evaluate("document.activeElement.ariaLabel") == "Dismiss late.pdf"


def test_one_bar_and_the_title_show_the_progress_of_all(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    bar = page.get_by_role("progressbar", name="All files")
    titles = page.evaluate_handle(
        """() => {
          const titles = [];
          new MutationObserver(() => titles.push(document.title)).observe(
            document.querySelector("title"), { childList: true });
          return titles;
        }"""
    )
    with held(page, "**/multipart/*/3?*"):
        choose(page, large(tmp_path))
        choose(page, EXE)
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        expect_summary(page, "0 of 2 stored, 1 refused")
        assert float(bar.get_attribute("value") or 0) == pytest.approx(0.8)  # 16 of 20 MiB; refused files do not count
        assert page.title() == "80 % · Upload files"
    expect_summary(page, "1 stored, 1 refused")
    assert not bar.is_visible()
    assert page.title() == "1 stored, 1 refused · Upload files"
    percents = [int(found[1]) for title in titles.json_value() if (found := re.match(r"(\d+) %", title))]
    assert percents == sorted(percents)
    # A finished list does not count in the next progress.
    with held(page, f"{url}/upload"):
        choose(page, named("a.png", PNG))
        expect_state(page, "a.png", "sending")
        assert bar.get_attribute("value") == "0"
        assert page.title() == "0 % · Upload files"
    expect_summary(page, "2 stored, 1 refused")
    all_button(page, "Clear stored").click()
    page.get_by_role("button", name="Dismiss setup.exe").click()
    assert page.title() == "Upload files"


def test_all_uploads_can_be_cancelled(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    with held(page, f"{url}/upload") as routes:
        choose(page, *pictures(6))
        while len(routes) < 3:
            page.wait_for_timeout(50)
        page.get_by_role("button", name="Pause 5.png").click()
        all_button(page, "Cancel all").click()
        expect_summary(page, "6 cancelled")
        page.locator("#summary:focus").wait_for()  # the button is gone
        assert not all_button(page, "Cancel all").is_visible()
    assert page.locator("#rows > li.cancelled").count() == 6
    assert stored(folder) == {}


def test_failed_uploads_can_be_retried_at_once(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    page.route(f"{url}/upload", lambda route: route.fulfill(status=404, body="<html>"))
    choose(page, *pictures(4), EXE)
    expect_summary(page, "1 refused, 4 failed")
    page.unroute(f"{url}/upload")
    all_button(page, "Retry failed").click()
    expect_summary(page, "4 stored, 1 refused")
    assert set(stored(folder)) == {f"{number}.png" for number in range(4)}
    assert not all_button(page, "Retry failed").is_visible()


def test_all_links_can_be_copied_and_stored_rows_cleared(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve())
    choose(page, *pictures(3), EXE)
    expect_summary(page, "3 stored, 1 refused")
    links = page.evaluate("[...document.querySelectorAll('.stored .name')].map((link) => link.href)")
    all_button(page, "Copy all links").click()
    page.get_by_role("log").filter(has_text="3 links are copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(links)
    assert len(set(links)) == 3
    all_button(page, "Clear stored").click()
    expect_summary(page, "1 refused")
    assert row_names(page) == ["setup.exe"]
    assert not all_button(page, "Copy all links").is_visible()
    page.get_by_role("button", name="Dismiss setup.exe").click()
    assert not page.locator("#whole").is_visible()
    page.locator("#file:focus").wait_for()


def test_without_downloads_there_are_no_links_to_copy(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve(DOWNLOADS="off"))
    choose(page, *pictures(2))
    expect_summary(page, "2 stored")
    assert not all_button(page, "Copy all links").is_visible()
    assert all_button(page, "Clear stored").is_visible()


def test_denied_clipboard_is_reported(page: Page, serve: Callable[..., str]) -> None:
    page.add_init_script(
        "navigator.clipboard.writeText = async () => { throw new DOMException('', 'NotAllowedError'); }"
    )
    page.goto(serve())
    choose(page, *pictures(1))
    page.get_by_role("button", name="Copy link 0.png").click()
    page.get_by_role("status").filter(has_text="The browser did not allow copying.").wait_for()


def test_screen_readers_hear_the_summary_and_no_percentages(
    page: Page, serve: Callable[..., str], tmp_path: Path
) -> None:
    page.goto(serve())
    choose(page, large(tmp_path))
    choose(page, *pictures(20), *(named(f"{number}.exe", b"MZ") for number in range(8)))
    log = page.get_by_role("log")
    log.filter(has_text="21 stored, 8 refused.").wait_for()
    lines = log.locator("p").all_inner_texts()
    sentences = [line for line in lines if "are not allowed" in line]
    assert len(sentences) == 3  # the summary counts the others
    assert lines[-1] == "21 stored, 8 refused."
    assert not [line for line in lines if "%" in line or "MiB" in line]
    assert len(lines) < 8


# After a reload.


def test_rows_survive_a_reload(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    choose(page, *pictures(2), EXE)
    expect_summary(page, "2 stored, 1 refused")
    links = [link.get_attribute("href") for link in page.get_by_role("link", name=".png").all()]
    refusal = expect_state(page, "setup.exe", "refused")
    with held(page, f"{url}/upload"):
        choose(page, named("slow.png", PNG + b"slow"), named("gone.png", PNG + b"gone"))
        expect_state(page, "slow.png", "sending")
        page.get_by_role("button", name="Cancel gone.png").click()
        expect_state(page, "gone.png", "cancelled")
        page.reload()
    expect_summary(page, "2 stored, 1 refused, 1 interrupted")
    assert [link.get_attribute("href") for link in page.get_by_role("link", name=".png").all()] == links
    assert expect_state(page, "setup.exe", "refused") == refusal
    words = "Interrupted. Choose the file again to continue."
    assert expect_state(page, "slow.png", "interrupted") == words
    assert row_names(page) == ["setup.exe", "slow.png", "0.png", "1.png"]
    assert page.request.get(links[0] or "").body() == PNG
    page.get_by_role("button", name="Dismiss slow.png").click()
    all_button(page, "Clear stored").click()
    page.reload()
    expect_summary(page, "1 refused")
    assert row_names(page) == ["setup.exe"]
    assert set(stored(folder)) == {"0.png", "1.png"}


def test_interrupted_file_that_is_chosen_again_takes_its_row(
    page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    url = serve()
    page.goto(url)
    with held(page, f"{url}/upload"):
        choose(page, path)
        expect_state(page, "a.png", "sending")
        page.reload()
    expect_state(page, "a.png", "interrupted")
    assert page.locator("canvas").count() == 0
    choose(page, path)
    expect_state(page, "a.png", "stored")
    page.locator("canvas").wait_for()
    assert page.locator("#rows > li").count() == 1
    assert stored(folder) == {"a.png": PNG}


def test_another_tab_has_rows_of_its_own(page: Page, serve: Callable[..., str]) -> None:
    url = serve()
    page.goto(url)
    choose(page, named("a.png", PNG))
    expect_state(page, "a.png", "stored")
    other = page.context.new_page()
    other.goto(url)
    other.get_by_text("each.").wait_for()
    assert other.locator("#rows > li").count() == 0


# Delete.


def test_stored_file_can_be_deleted_where_the_token_allows_it(
    page: Page, serve: Callable[..., str], folder: Path
) -> None:
    url = serve(TOKEN_SECRET=SECRET)
    token = mint(SECRET, expires_seconds=600, scopes=["upload", "delete"])
    page.goto(f"{url}/#token={token}")
    requests = recorded(page)
    choose(page, *pictures(2))
    expect_summary(page, "2 stored")
    page.reload()
    page.get_by_role("button", name="Delete 0.png").click()
    expect_summary(page, "1 stored")
    page.get_by_role("log").filter(has_text="0.png: deleted.").wait_for()
    assert set(stored(folder)) == {"1.png"}
    deletes = [request for request in requests if request.method == "DELETE"]
    assert [request.headers["authorization"] for request in deletes] == [f"Bearer {token}"]


@pytest.mark.parametrize("environ", [{"TOKEN_SECRET": SECRET}, {"ACCESS": "public"}], ids=["token", "public"])
def test_without_the_scope_there_is_nothing_to_delete(
    page: Page, serve: Callable[..., str], environ: dict[str, str]
) -> None:
    page.goto(
        f"{serve(**environ)}/#token={mint(SECRET, expires_seconds=600)}"
        if "ACCESS" not in environ
        else serve(**environ)
    )
    choose(page, *pictures(1))
    expect_state(page, "0.png", "stored")
    assert page.get_by_role("button", name="Copy link 0.png").is_visible()
    assert not page.get_by_role("button", name="Delete").is_visible()


def test_declined_and_failed_deletions_leave_the_file(page: Page, serve: Callable[..., str], folder: Path) -> None:
    page.goto(serve())
    choose(page, *pictures(1))
    expect_state(page, "0.png", "stored")
    page.evaluate("window.confirm = () => false")
    page.get_by_role("button", name="Delete 0.png").click()
    page.evaluate("window.confirm = () => true")
    detail = "The storage did not respond."

    def busy(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=503, json={"detail": detail})
        else:
            route.continue_()

    page.route("**/files/**", busy)
    page.get_by_role("button", name="Delete 0.png").click()
    page.get_by_text(detail).wait_for()
    expect_state(page, "0.png", "stored")
    assert set(stored(folder)) == {"0.png"}
    page.unroute("**/files/**")
    for path in folder.glob("files/*/*"):
        path.unlink()
    page.get_by_role("button", name="Delete 0.png").click()  # 404: somebody else was faster
    page.locator("#rows > li").wait_for(state="detached")


# Many files.


def test_progress_changes_only_the_rows_that_are_sent(page: Page, serve: Callable[..., str], tmp_path: Path) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    with held(page, f"{url}/upload"), held(page, "**/multipart/*/3?*"):
        with held(page, "**/multipart/*/[12]?*"):
            choose(page, large(tmp_path))
            choose(page, *(named(f"{number}.txt", b"text", "text/plain") for number in range(200)))
            expect_summary(page, "0 of 201 stored")
            wait_until(page, "document.querySelectorAll('.sending').length === 3")
            page.evaluate(
                """() => {
                  window.touched = new Set();
                  const elementOf = (node) => (node.closest ? node : node.parentElement);
                  const rowOf = (node) => elementOf(node).closest("li")?.querySelector("a").title;
                  const note = (records) => records.forEach(({ target }) => touched.add(rowOf(target)));
                  new MutationObserver(note).observe(
                    document.getElementById("rows"),
                    { subtree: true, childList: true, attributes: true, characterData: true });
                }"""
            )
        page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
        touched = set(page.evaluate("[...touched]"))
    assert "large.png" in touched
    assert touched <= {"large.png", "0.txt", "1.txt"}


def test_a_few_at_once(page: Page, serve: Callable[..., str], folder: Path) -> None:
    url = serve()
    page.goto(url)
    page.get_by_text("each.").wait_for()
    with held(page, f"{url}/upload") as routes:
        choose(page, *(named(f"{number}.png", PNG) for number in range(5)))
        wait_until(page, "document.querySelectorAll('.sending').length === 3")
        assert page.locator(".waiting").count() == 2
        page.get_by_role("button", name="Cancel 4.png").click()
        page.get_by_role("button", name="Pause 3.png").click()
        while len(routes) < 3:
            page.wait_for_timeout(50)
    expect_summary(page, "3 stored, 1 cancelled, 1 paused")
    page.get_by_role("button", name="Resume 3.png").click()
    expect_summary(page, "4 stored, 1 cancelled")
    assert set(stored(folder)) == {f"{number}.png" for number in range(4)}

"""The page for everyone: by keyboard, with axe, in large text and in forced colours."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from handler.web.tokens import mint

from ...support import samples
from ...support.lambda_runtime import SECRET
from .steps import (
    PNG,
    choose,
    expect_state,
    expect_summary,
    held,
    large,
    named,
    picture,
    screenshot,
    violations,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


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
        for _ in ("folder", "Cancel all", "Pause"):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect_state(page, "large.png", "paused")
    page.keyboard.press("Enter")
    expect_state(page, "large.png", "stored")
    for _ in ("Delete", "Dismiss"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#rows > li").count() == 0


def in_every_state(page: Page, url: str, tmp_path: Path) -> None:
    page.goto(url)
    page.get_by_text("each.").wait_for()
    page.route("**/multipart/*/3?*", lambda _: None)
    path = large(tmp_path)
    choose(page, named("sunset over the harbour.png", picture(page)), named("notes.txt", samples.TEXT, "text/plain"))
    for name in ("sunset", "notes.txt"):
        expect_state(page, name, "stored")
    choose(page, named("setup.exe", b"MZ", "application/octet-stream"), named("report.pdf", b"<html>"))
    expect_state(page, "report.pdf", "refused")
    page.route("**/upload", lambda route: route.fulfill(status=404))
    choose(page, named("failed.png", PNG))
    expect_state(page, "failed.png", "failed")
    page.unroute("**/upload")
    with held(page, "**/upload"):
        choose(page, named("cancelled.png", PNG + b"0"))
        page.get_by_role("button", name="Cancel cancelled.png").click()
        expect_state(page, "cancelled.png", "cancelled")
    choose(page, path)
    page.get_by_text("16.0 MiB of 20.0 MiB").wait_for()
    paused = path.with_name("صورة من العطلة.png")
    shutil.copy(path, paused)
    choose(page, paused)
    page.get_by_role("button", name=f"Pause {paused.name}").click()
    expect_state(page, paused.name, "paused")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 375])
def test_it_is_accessible_and_fits(
    browser: Browser, serve: Callable[..., str], tmp_path: Path, scheme: Any, width: int
) -> None:
    """To see the pictures, say in SCREENSHOTS where they shall go."""
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
        screenshot(page, f"{name}-{scheme}-{width}")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.goto(url)
    choose(page, named("a.png", PNG))
    page.get_by_text("The files wait for an upload token.").wait_for()
    look("token")
    assert page.get_by_text("Drop files here").is_visible() == (not phone)  # there is nothing to drop with
    page.goto("about:blank")
    in_every_state(page, f"{url}/#token={mint(SECRET, expires_seconds=3600)}", tmp_path)
    look("page")
    page.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([""], "a.png"));
          document.body.dispatchEvent(new DragEvent("dragenter", { dataTransfer, bubbles: true }));
        }"""
    )
    page.get_by_text("Drop to upload").wait_for()
    look("drag")
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
    screenshot(page, "large-text")
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
        bar = page.get_by_role("progressbar", name="a.png")
        pictures = set()
        for value in (0, 0.5, 1):
            bar.evaluate("(bar, value) => (bar.value = value)", value)
            pictures.add(bar.screenshot())
        assert len(pictures) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_without_scripts(browser: Browser, serve: Callable[..., str], scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.route("**/*.js", lambda route: route.abort())  # axe is a script itself
    page.goto(serve())

    def look(name: str) -> None:
        screenshot(page, f"{name}-{scheme}")
        assert violations(page) == []

    look("form")
    page.locator("#file").set_input_files([named("a.png", PNG)])
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="Stored a.png.").wait_for()
    look("answer")
    page.go_back()
    page.locator("#file").set_input_files([named("a.exe", b"MZ"), named("b.exe", b"MZ")])
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="Several refused files").wait_for()
    look("problem")
    context.close()


def test_rows_are_60_pixels_high_and_buttons_on_a_phone_44(browser: Browser, serve: Callable[..., str]) -> None:
    url = serve()
    for width in (1000, 375, 320):
        phone = width < 500
        context = browser.new_context(viewport={"width": width, "height": 800}, is_mobile=phone, has_touch=phone)
        page = context.new_page()
        page.goto(url)
        page.get_by_text("each.").wait_for()
        long = "a long name that does not fit into one line of a phone, nor of a larger screen, at all.png"
        choose(page, named(long, PNG), named("photo.png", PNG))
        expect_summary(page, "2 stored")
        with held(page, f"{url}/upload"):
            choose(page, named("slow.png", PNG))
            expect_state(page, "slow.png", "sending")
            page.get_by_role("button", name="Pause slow.png").click()
            heights = page.evaluate("[...document.querySelectorAll('#rows > li')].map((row) => row.offsetHeight)")
            assert heights == [60, 60, 60], width
            assert page.locator(".name").first.get_attribute("title") == long
            sizes = page.evaluate(
                """[...document.querySelectorAll("button, .choose label")].filter((each) => each.offsetParent)
                .map((each) => [each.textContent, each.offsetWidth, each.offsetHeight])"""
            )
            assert len(sizes) > 8
            if phone:
                assert [each for each in sizes if min(each[1:]) < 44] == []
        context.close()


@pytest.mark.parametrize("colours", ["none", "active"])
def test_tile_has_a_tick_or_a_cross(page: Page, serve: Callable[..., str], colours: Any) -> None:
    page.emulate_media(forced_colors=colours)
    page.goto(serve())
    choose(page, named("a.png", PNG), named("b.exe", b"MZ"))
    expect_summary(page, "1 stored, 1 refused")
    for name, state, sign in (("a.png", "stored", "✓"), ("b.exe", "refused", "✕")):
        row = page.locator("#rows > li").filter(has_text=name)
        mark = row.get_by_role("img", name=state)
        assert mark.inner_text() == sign
        text, background = mark.evaluate(
            "element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]"
        )
        assert text != background
        tile, place = row.locator(".tile").bounding_box() or {}, mark.bounding_box() or {}
        assert tile["x"] < place["x"] < tile["x"] + tile["width"]
        assert tile["y"] < place["y"] < tile["y"] + tile["height"]


def test_name_from_right_to_left_keeps_its_beginning(page: Page, serve: Callable[..., str]) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(serve())
    choose(page, named("صورة من العطلة الصيفية الطويلة جدا في البحر.png", PNG))
    expect_summary(page, "1 stored")
    name = page.locator(".name")
    assert name.evaluate("element => getComputedStyle(element).direction") == "rtl"
    first, box = name.evaluate(
        """(element) => {
          const range = document.createRange();
          range.setStart(element.firstChild, 0);
          range.setEnd(element.firstChild, 1);
          return [range.getBoundingClientRect().right, element.getBoundingClientRect().right];
        }"""
    )
    assert first == pytest.approx(box, abs=1)

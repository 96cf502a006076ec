"""The upload token: from the link, from the field, expired, replaced."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
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

    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.browser


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
    # The storage may be another server, which must not see the token.
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
    page.get_by_role("alert").filter(has_text="not one of this endpoint").wait_for()
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
    notice = page.get_by_role("alert")
    notice.filter(has_text="expired").wait_for()
    reason = notice.inner_text()
    choose(page, named("a.png", PNG))
    notice.filter(has_text="The files wait").wait_for()
    assert notice.inner_text() == f"{reason} The files wait for an upload token."
    page.get_by_label("Upload token").fill(mint(SECRET, expires_seconds=3600))
    page.keyboard.press("Enter")
    expect_state(page, "a.png", "stored")
    assert page.locator("#token-error").text_content() == ""


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
    page.goto(f"{url}/#token={own}")  # the same token raises no question
    assert asked == []
    if loads:
        page.goto("about:blank")
    page.goto(f"{url}/#token={another}")
    wait_until(page, "!location.hash")
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


def test_field_says_whose_token_it_wants_and_shows_its_own_error(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve(TOKEN_SECRET=SECRET))
    field = page.get_by_role("textbox", name="Upload token")
    error = page.get_by_role("alert")
    described = field.evaluate("element => element.getAttribute('aria-describedby').split(' ')")
    assert described == ["token-hint", "token-error"]
    assert page.locator("#token-hint").inner_text() == "Paste an upload token from the owner of this endpoint."
    assert error.get_attribute("id") == "token-error"
    assert error.inner_text() == ""
    field.fill("nonsense")
    page.keyboard.press("Enter")
    error.filter(has_text="not one of this endpoint").wait_for()
    assert field.get_attribute("aria-invalid") == "true"
    below = (error.bounding_box() or {})["y"] - (field.bounding_box() or {})["y"]
    assert 0 < below < 60  # next to the field
    assert page.get_by_role("status").inner_text() == ""
    field.fill(mint(SECRET, expires_seconds=600))
    page.keyboard.press("Enter")
    field.wait_for(state="hidden")
    assert page.locator("#token-error").text_content() == ""


def test_token_that_is_pasted_is_used_without_a_key(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve(TOKEN_SECRET=SECRET))
    choose(page, named("a.png", PNG))
    page.evaluate("token => navigator.clipboard.writeText(token)", mint(SECRET, expires_seconds=600))
    page.get_by_label("Upload token").focus()
    page.keyboard.press("Control+V")
    expect_state(page, "a.png", "stored")


def test_token_that_expires_in_the_middle_holds_the_other_files(
    page: Page, serve: Callable[..., str], folder: Path
) -> None:
    url = serve(TOKEN_SECRET=SECRET)
    page.goto(f"{url}/#token={mint(SECRET, expires_seconds=3600)}")
    page.get_by_text("each.").wait_for()
    refusal = {"status": 401, "json": {"detail": "The token has expired. Get a new one."}}
    with held(page, f"{url}/upload") as routes:
        choose(page, *(named(f"{number}.png", PNG) for number in range(5)))
        while len(routes) < 3:
            page.wait_for_timeout(50)
        routes[0].fulfill(**refusal)
        error = page.get_by_role("alert")
        error.filter(has_text="The token has expired. Get a new one. The files wait for an upload token.").wait_for()
        field = page.get_by_label("Upload token")
        assert field.get_attribute("aria-invalid") == "true"
        field.fill(mint(SECRET, expires_seconds=600))
        page.keyboard.press("Enter")
        field.wait_for(state="hidden")
        # A late refusal of the old token must not remove the new token.
        routes[1].fulfill(**refusal)
        wait_until(page, "document.querySelectorAll('.sending').length === 3")
        assert not field.is_visible()
    expect_summary(page, "5 stored")
    assert len(stored(folder)) == 5

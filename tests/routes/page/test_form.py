"""The page without scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from handler.web.tokens import mint

from ...support.lambda_runtime import SECRET
from .steps import (
    PNG,
    named,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


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
    plain.get_by_role("heading", name="Invalid token").wait_for()


def test_without_scripts_files_have_their_owners_names(plain: Page, serve: Callable[..., str], folder: Path) -> None:
    name = "Röntgenbild 日本 (1).png"
    plain.goto(serve())
    plain.get_by_label("Choose files").set_input_files([named(name, PNG)])
    plain.get_by_role("button", name="Upload").click()
    plain.get_by_role("heading", name=f"Stored {name}.").wait_for()
    assert plain.get_by_role("link", name=name, exact=True).is_visible()
    assert name not in stored(folder)  # the storage has another name for the file
    for files in ([name], [name, "ein Brief.png"]):
        plain.goto(plain.url.replace("upload", ""))
        plain.get_by_label("Choose files").set_input_files([named(file, b"<html>") for file in files])
        plain.get_by_role("button", name="Upload").click()
        plain.get_by_role("link", name="Back").wait_for()
        for file in files:
            assert plain.get_by_text(f"'{file}' is not a PNG image.").is_visible()


def test_without_scripts_the_page_shows_how_long_the_file_is_kept(plain: Page, serve: Callable[..., str]) -> None:
    plain.goto(serve(KEEP_DAYS="30"))
    plain.get_by_label("Choose files").set_input_files([named("a.png", PNG)])
    plain.get_by_role("button", name="Upload").click()
    text = plain.get_by_role("listitem").inner_text()
    assert re.fullmatch(r"a\.png, \d+ Bytes, kept until \d{4}-\d{2}-\d{2}", text.strip())

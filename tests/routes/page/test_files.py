"""The ways to give the page a file, and files that are refused before they are sent."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from ...support import samples
from .steps import (
    MIB,
    PNG,
    choose,
    drag,
    expect_state,
    held,
    named,
    recorded,
    stored,
    twins_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_a_chosen_file_is_stored_and_its_link_can_be_copied(
    page: Page, serve: Callable[..., str], folder: Path
) -> None:
    page.goto(serve())
    choose(page, named("photo.png", PNG))
    assert expect_state(page, "photo.png", "stored") == "Stored"
    link = page.get_by_role("link", name="photo.png").get_attribute("href") or ""
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/files/[0-9a-f]{32}/photo\.png", link)
    assert stored(folder) == {"photo.png": PNG}
    page.get_by_role("button", name="Copy link photo.png").click()
    page.get_by_role("button", name="Copied photo.png").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == link
    assert page.request.get(link).body() == PNG
    assert page.locator(".tile canvas").count() == 1
    assert page.locator("#summary").inner_text() == "1 stored"
    page.get_by_role("log").filter(has_text="1 stored.").wait_for()


def test_where_nothing_can_be_read_there_is_no_link(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve(DOWNLOADS="off"))
    choose(page, named("photo.png", PNG))
    assert expect_state(page, "photo.png", "stored") == "Stored"
    assert page.get_by_role("button", name="Dismiss photo.png").is_visible()
    assert page.get_by_role("button", name="Copy").count() == 0
    assert page.get_by_role("link").count() == 0


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


def test_heic_is_not_drawn(page: Page, serve: Callable[..., str]) -> None:
    """Few browsers can draw a HEIC photo, and each photo would be read for nothing."""
    page.add_init_script(
        """window.drawn = [];
        const draw = createImageBitmap;
        window.createImageBitmap = (file, ...rest) => (drawn.push(file.name), draw(file, ...rest));"""
    )
    page.goto(serve())
    choose(page, named("a.heic", b"photo", "image/heic"), named("b.heif", b"photo", "image/heif"), named("c.png", PNG))
    page.locator("#rows > li").filter(has_text="c.png").locator("canvas").wait_for()  # pictures are drawn in turn
    assert page.evaluate("drawn") == ["c.png"]
    assert page.locator("#rows > li").filter(has_text="a.heic").locator(".tile").inner_text() == "HEIC"


def test_dropped_files_and_folders(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "album" / "inner").mkdir(parents=True)
    (tmp_path / "album" / "a.png").write_bytes(PNG)
    (tmp_path / "album" / "inner" / "b.txt").write_bytes(samples.TEXT)
    (tmp_path / "c.png").write_bytes(PNG)
    twins = twins_in(tmp_path / "album")
    page.goto(serve())
    for kind in ("dragEnter", "dragOver"):
        drag(page, kind, tmp_path / "album", tmp_path / "c.png")
    target = page.get_by_text("Drop to upload")
    target.wait_for()
    assert target.bounding_box() == {"x": 0, "y": 0, "width": 1280, "height": 720}  # all of the page
    page.evaluate("addEventListener('drop', (event) => (window.prevented = event.defaultPrevented))")
    drag(page, "drop", tmp_path / "album", tmp_path / "c.png")
    for name in ("album/a.png", "album/inner/b.txt", "c.png", "album/one/same.txt", "album/two/same.txt"):
        expect_state(page, name, "stored")
    assert not target.is_visible()
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
    for kind in ("dragEnter", "dragOver", "drop"):
        drag(page, kind, tmp_path / "album")
    page.get_by_text("album/b cannot be read.").wait_for()
    for name in ("1.png", "3.png"):
        expect_state(page, name, "stored")
    assert set(stored(folder)) == {"1.png", "3.png"}
    assert page.get_by_role("status").inner_text() == "album/b cannot be read."


def test_drag_that_leaves_the_page_ends_without_flicker(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve())
    page.evaluate(
        """() => {
          window.seen = [];
          const note = () => seen.push(document.body.className);
          new MutationObserver(note).observe(document.body, { attributeFilter: ["class"] });
          // A browser enters an element before it leaves the last one.
          const drag = (element, type) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([""], "a.png"));
            element.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
          };
          const [drop, button] = [document.getElementById("drop"), document.querySelector("label")];
          drag(document.body, "dragenter");
          drag(drop, "dragenter");
          drag(document.body, "dragleave");
          drag(button, "dragenter");
          drag(drop, "dragleave");
          drag(document.getElementById("over"), "dragenter");
          drag(button, "dragleave");
          window.leave = () => drag(document.getElementById("over"), "dragleave");
        }"""
    )
    page.get_by_text("Drop to upload").wait_for()
    assert page.evaluate("seen") == ["over"]
    page.evaluate("leave()")
    page.get_by_text("Drop to upload").wait_for(state="hidden")


def test_dragged_text_is_not_a_file(page: Page, serve: Callable[..., str]) -> None:
    page.goto(serve())
    prevented = page.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.setData("text/plain", "a");
          const options = { dataTransfer, bubbles: true, cancelable: true };
          return ["dragenter", "dragover", "drop"].map(
            (type) => !document.body.dispatchEvent(new DragEvent(type, options))
          );
        }"""
    )
    assert prevented == [False, False, False]
    assert not page.get_by_text("Drop to upload").is_visible()


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
    page.get_by_role("log").filter(has_text=text).wait_for()
    response = page.request.post(
        f"{url}/upload/s3/multipart", data=json.dumps({"filename": name}), headers={"Content-Type": "application/json"}
    )
    assert response.status == 415
    assert text == response.json()["detail"]
    assert page.get_by_role("button", name="Retry").count() == 0


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(page: Page, serve: Callable[..., str]) -> None:
    url = serve(MAX_FILE_BYTES="2000")
    page.goto(url)
    page.get_by_text("up to 1.9 KiB each").wait_for()  # of 1.95: with 2.0 somebody would try 2.0
    requests = recorded(page)
    choose(page, named("a.txt", b"a" * 2001, "text/plain"))
    text = expect_state(page, "a.txt", "refused")
    assert requests == []
    response = page.request.post(f"{url}/upload", multipart={"file": named("a.txt", b"a" * 2001)})
    assert text == response.json()["detail"] == "'a.txt' is larger than a file may be: 2,000 bytes."


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

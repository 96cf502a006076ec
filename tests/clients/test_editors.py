"""Editors, unmodified, in Chromium, with the lines of the README: each shows the photo and our sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from . import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Client, Endpoint

pytestmark = pytest.mark.clients

STORED = [("photo.png", samples.PHOTO)]


@pytest.fixture
def sentence(endpoint: Endpoint) -> str:
    """The sentence about the file that is refused."""
    return endpoint.sentence("fake.png", samples.FAKE)


def wait_for_text(client: Client, selector: str, text: str) -> None:
    client.page.locator(selector, has_text=text).first.wait_for(state="attached")


def wait_for_image(client: Client, endpoint: Endpoint, frame: str | None = None) -> None:
    """Wait until the editor shows the photo from our URL."""
    scope = client.page.frame_locator(frame) if frame else client.page
    image = scope.locator(f"img[src^='{endpoint.origin}/files/']").first
    image.wait_for(state="attached")
    image.evaluate("(image) => image.decode()")


def choose(client: Client, click: str, file: dict[str, Any]) -> None:
    """Click there, and choose the file in the dialog that opens."""
    with client.page.expect_file_chooser() as chooser:
        client.page.click(click)
    chooser.value.set_files([file])


def test_tinymce(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    for file in (photo, fake):
        client = open_client("tinymce")
        client.page.click("[data-mce-name=image]")
        client.page.click(".tox-dialog__body-nav-item >> text=Upload")
        client.page.set_input_files(".tox-dialog input[type=file]", [file])
        if file is fake:
            wait_for_text(client, ".tox-alert-dialog", sentence)
            break
        client.page.click(".tox-dialog button[data-mce-name=Save]")
        wait_for_image(client, endpoint, ".tox-edit-area iframe")
        assert endpoint.new_files() == STORED
    assert endpoint.new_files() == []


def test_ckeditor_5(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("ckeditor5")
    choose(client, ".ck-toolbar button", photo)
    wait_for_image(client, endpoint)
    assert endpoint.new_files() == STORED
    choose(client, ".ck-toolbar button", fake)
    assert client.alert() == sentence
    assert endpoint.new_files() == []


def test_ckeditor_4(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("ckeditor4")
    for file in (photo, fake):
        client.page.click(".cke_button__image")
        client.page.click(".cke_dialog_tab >> text=Upload")
        client.page.frame_locator("iframe.cke_dialog_ui_input_file").locator("input").set_input_files([file])
        client.page.click("a.cke_dialog_ui_fileButton")
        if file is fake:
            assert client.alert() == sentence
            break
        client.page.click("a.cke_dialog_ui_button_ok")
        wait_for_image(client, endpoint, "iframe.cke_wysiwyg_frame")
        assert endpoint.new_files() == STORED
    assert endpoint.new_files() == []


def test_editor_js(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    for file in (photo, fake):
        client = open_client("editorjs")
        client.page.click(".ce-paragraph")
        client.page.click(".ce-toolbar__plus")
        client.page.click(".ce-popover-item[data-item-name=image]")
        choose(client, ".cdx-button", file)
        if file is fake:
            wait_for_text(client, ".cdx-notify", sentence)
            break
        wait_for_image(client, endpoint)
        assert endpoint.new_files() == STORED
    assert endpoint.new_files() == []


def test_froala(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    for file in (photo, fake):
        client = open_client("froala")
        client.page.click(".fr-element")
        client.page.click("[data-cmd=insertImage] >> visible=true")
        client.page.set_input_files(".fr-image-upload-layer input[type=file]", [file])
        if file is fake:
            wait_for_text(client, ".fr-image-progress-bar-layer h3", sentence)
            break
        wait_for_image(client, endpoint)
        assert endpoint.new_files() == STORED
    assert endpoint.new_files() == []


def test_jodit(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    for file in (photo, fake):
        client = open_client("jodit")
        client.page.click(".jodit-toolbar-button_image button")
        client.page.set_input_files(".jodit-popup input[type=file]", [file])
        if file is fake:
            wait_for_text(client, ".jodit-ui-message", sentence)
            break
        wait_for_image(client, endpoint)
        assert endpoint.new_files() == STORED
    assert endpoint.new_files() == []


def test_suneditor(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    for file in (photo, fake):
        client = open_client("suneditor")
        client.page.click("button[data-command=image]")
        client.page.set_input_files(".se-modal-content input[type=file]", [file])
        client.page.click(".se-modal-content button[type=submit]")
        if file is fake:
            wait_for_text(client, ".se-alert-content", sentence)
            break
        wait_for_image(client, endpoint)
        assert endpoint.new_files() == STORED
    assert endpoint.new_files() == []


def test_easymde(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("easymde")
    choose(client, "button.upload-image", photo)
    client.page.wait_for_function("(start) => editor.value().startsWith(start)", arg=f"![]({endpoint.origin}/files/")
    assert endpoint.new_files() == STORED
    choose(client, "button.upload-image", fake)
    assert client.alert() == sentence
    assert endpoint.new_files() == []

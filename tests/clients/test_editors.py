"""Unmodified editors in Chromium, with the lines of the recipes: each shows the photo, and our sentence on a fake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from handler.web.tokens import mint

from .conftest import SECRET
from .samples import FAKE, HOSTILE_FAKE, PHOTO, File

if TYPE_CHECKING:
    from .conftest import Client, Endpoint


pytestmark = pytest.mark.clients


@dataclass(frozen=True, kw_only=True, slots=True)
class Editor:
    """How a person uploads a picture in an editor.

    :param choose: chooses a file, in the page of the editor.
    :param accept: confirms the picture when it is stored, where the editor asks for that.
    :param frame: the selector of the frame that has the document, if it is in a frame.
    :param reason: the selector of the element that says why a file was refused; ``None`` if it is a message box.
    """

    choose: Callable[[Client, File], None]
    accept: Callable[[Client], None] = lambda _: None
    frame: str | None = None
    reason: str | None = None


def open_file_dialog(client: Client, button: str, file: File) -> None:
    """Click the button, and choose the file in the dialog that opens."""
    with client.page.expect_file_chooser() as chooser:
        client.page.click(button)
    chooser.value.set_files([file])


def choose_in_tinymce(client: Client, file: File) -> None:
    client.page.click("button[aria-label='Insert/edit image']")
    client.page.click(".tox-dialog__body-nav-item >> text=Upload")
    client.page.set_input_files(".tox-dialog input[type=file]", [file])


def choose_in_ckeditor_4(client: Client, file: File) -> None:
    client.page.click(".cke_button__image")
    client.page.click(".cke_dialog_tab >> text=Upload")
    client.page.frame_locator("iframe.cke_dialog_ui_input_file").locator("input").set_input_files([file])
    client.page.click("a.cke_dialog_ui_fileButton")


def accept_in_ckeditor_4(client: Client) -> None:
    client.page.wait_for_selector(".cke_dialog img[src*='/files/']")  # the preview
    client.page.click("a.cke_dialog_ui_button_ok")


def choose_in_editor_js(client: Client, file: File) -> None:
    client.page.click(".ce-paragraph")
    client.page.click(".ce-toolbar__plus")
    client.page.click(".ce-popover-item[data-item-name=image]")
    open_file_dialog(client, ".cdx-button", file)


def choose_in_froala(client: Client, file: File) -> None:
    client.page.click(".fr-element")
    client.page.click("[data-cmd=insertImage]")
    client.page.set_input_files(".fr-image-upload-layer input[type=file]", [file])


def choose_in_jodit(client: Client, file: File) -> None:
    client.page.click(".jodit-toolbar-button_image button")
    client.page.set_input_files(".jodit-popup input[type=file]", [file])


def choose_in_suneditor(client: Client, file: File) -> None:
    client.page.click("button[data-command=image]")
    client.page.set_input_files(".se-modal-content input[type=file]", [file])
    client.page.click(".se-modal-content button[type=submit]")


EDITORS = {
    "tinymce": Editor(
        choose=choose_in_tinymce,
        accept=lambda client: client.page.click(".tox-dialog__footer >> text=Save"),
        frame=".tox-edit-area iframe",
        reason=".tox-alert-dialog",
    ),
    "ckeditor5": Editor(choose=lambda client, file: open_file_dialog(client, ".ck-toolbar button", file)),
    "ckeditor4": Editor(choose=choose_in_ckeditor_4, accept=accept_in_ckeditor_4, frame="iframe.cke_wysiwyg_frame"),
    "editorjs": Editor(choose=choose_in_editor_js, reason=".cdx-notify"),
    "froala": Editor(choose=choose_in_froala, reason=".fr-image-progress-bar-layer h3"),
    "jodit": Editor(choose=choose_in_jodit, reason=".jodit-ui-message"),
    "suneditor": Editor(choose=choose_in_suneditor, reason=".se-alert-content"),
}


@pytest.fixture(scope="module")
def token() -> str:
    """Most editors send no header fields of one's choosing."""
    return mint(SECRET, expires_seconds=3000)


@pytest.mark.parametrize("name", EDITORS)
def test_photo_is_stored_and_shown(open_client: Callable[..., Client], endpoint: Endpoint, name: str) -> None:
    editor, client = EDITORS[name], open_client(name)
    editor.choose(client, PHOTO)
    editor.accept(client)
    document = client.page.frame_locator(editor.frame) if editor.frame else client.page
    image = document.locator(f"img[src^='{endpoint.files_url}']").first
    image.wait_for(state="attached")
    image.evaluate("(image) => image.decode()")  # it fails unless the browser has the picture
    assert endpoint.new_files() == [("photo.png", PHOTO["buffer"])]


@pytest.mark.parametrize("file", [FAKE, HOSTILE_FAKE], ids=["fake", "hostile"])
@pytest.mark.parametrize("name", EDITORS)
def test_reason_of_a_refusal_is_shown(
    open_client: Callable[..., Client], endpoint: Endpoint, name: str, file: File
) -> None:
    """As text, even if the name of the file is a tag that would run."""
    editor, client = EDITORS[name], open_client(name)
    editor.choose(client, file)
    sentence = endpoint.refusal(file).replace("<", "\u2039").replace(">", "\u203a")
    if editor.reason:
        client.wait_for_text(editor.reason, sentence)
        assert client.alerts == []
    else:
        assert client.alert() == sentence
    assert endpoint.new_files() == []


def test_easymde_uploads_an_image(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("easymde")
    open_file_dialog(client, "button.upload-image", PHOTO)
    client.page.wait_for_function("(start) => editor.value().startsWith(start)", arg=f"![]({endpoint.files_url}")
    assert endpoint.new_files() == [("photo.png", PHOTO["buffer"])]
    open_file_dialog(client, "button.upload-image", FAKE)
    assert client.alert() == endpoint.refusal(FAKE)
    assert endpoint.new_files() == []

"""Unmodified upload widgets in Chromium, with the lines of the recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .samples import FAKE, FAKE_DOCUMENT, LARGE_FAKE, LARGE_PHOTO, PHOTO, File

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Client, Endpoint

pytestmark = pytest.mark.clients

STORED = [("photo.png", PHOTO["buffer"])]
SECOND_PHOTO: File = {**PHOTO, "mimeType": "image/jpeg"}
"""Uppy takes two files of one name, type and size for the same."""


def test_dropzone_uploads_a_file(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("dropzone")
    client.page.set_input_files("#one input", [PHOTO, FAKE_DOCUMENT])
    client.page.wait_for_selector("#one .dz-success")
    client.wait_for_text("#one .dz-error-message", endpoint.refusal(FAKE_DOCUMENT))
    assert endpoint.new_files() == STORED


def test_dropzone_uploads_several_files_in_one_form(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("dropzone")
    client.page.set_input_files("#several input", [PHOTO, PHOTO])
    client.page.wait_for_selector("#several .dz-success >> nth=1")
    assert endpoint.new_files() == STORED * 2
    client.page.set_input_files("#several input", [PHOTO, FAKE_DOCUMENT])
    client.wait_for_text("#several .dz-error-message", endpoint.refusal(FAKE_DOCUMENT))
    assert endpoint.new_files() == []


def add_to_uppy(client: Client, *files: File) -> None:
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", list(files))


def uploads(client: Client) -> list[str]:
    """Return the URLs that the page sent a POST to."""
    return [url for method, url in client.sent if method == "POST"]


@pytest.mark.parametrize("query", ["", "?bundle"])
def test_uppy_xhr_upload_uploads_a_file(open_client: Callable[..., Client], endpoint: Endpoint, query: str) -> None:
    client = open_client("uppy-xhr", query)
    add_to_uppy(client, PHOTO, SECOND_PHOTO)
    client.page.wait_for_selector(".uppy-StatusBar.is-complete")
    assert len(uploads(client)) == (1 if query else 2)
    assert endpoint.new_files() == STORED * 2
    client = open_client("uppy-xhr", query)
    add_to_uppy(client, FAKE)
    client.page.click(".uppy-StatusBar-details")
    assert client.alert().endswith(endpoint.refusal(FAKE))
    assert len(uploads(client)) == 1
    assert endpoint.new_files() == []


@pytest.mark.parametrize(("photo", "fake"), [(PHOTO, FAKE), (LARGE_PHOTO, LARGE_FAKE)], ids=["small", "large"])
def test_uppy_aws_s3_uploads_a_file(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: File, fake: File
) -> None:
    client = open_client("uppy-s3")
    add_to_uppy(client, photo)
    client.page.wait_for_selector(".uppy-StatusBar.is-complete")
    assert endpoint.new_files() == [("photo.png", photo["buffer"])]
    assert len([url for method, url in client.sent if method == "PUT"]) == (1 if photo is PHOTO else 2)
    client = open_client("uppy-s3")
    add_to_uppy(client, fake)
    client.wait_for_text(".uppy-Informer", endpoint.refusal(fake))
    assert endpoint.new_files() == []


def test_bootstrap_fileinput_uploads_a_file(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("bootstrap-fileinput")
    client.page.set_input_files("#files", [PHOTO, FAKE])
    client.page.click(".fileinput-upload-button")
    client.page.wait_for_selector(".file-preview-success")
    client.wait_for_text(".kv-fileinput-error", endpoint.refusal(FAKE))
    assert endpoint.new_files() == STORED


def test_jquery_file_upload_uploads_a_file(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("jquery-file-upload")
    client.page.set_input_files("#files", [PHOTO])
    client.page.wait_for_function("() => document.title.endsWith('/photo.png')")
    assert endpoint.new_files() == STORED
    client.page.set_input_files("#files", [FAKE])
    assert client.alert() == endpoint.refusal(FAKE)


def test_axios_uploads_a_file(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("axios")
    client.page.set_input_files("#files", [PHOTO, PHOTO])
    client.page.wait_for_function("() => document.title.endsWith('/photo.png')")
    assert endpoint.new_files() == STORED * 2
    client.page.set_input_files("#files", [FAKE])
    assert client.alert() == endpoint.refusal(FAKE)


def test_filepond_uploads_a_file(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("filepond")
    client.page.set_input_files("input[type=file]", [PHOTO, FAKE])
    client.page.wait_for_selector("[data-filepond-item-state=processing-complete]")
    client.wait_for_text(".filepond--file-status-main", endpoint.refusal(FAKE))
    (id_in_form,) = client.page.eval_on_selector_all(
        "input[type=hidden][name=filepond]", "inputs => inputs.map(({ value }) => value).filter(Boolean)"
    )
    assert endpoint.new_files() == STORED
    assert id_in_form in endpoint.ids()


def test_fine_uploader_uploads_a_file(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("fineuploader")
    client.page.set_input_files("input[type=file]", [PHOTO, FAKE])
    client.page.wait_for_selector(".qq-upload-success")
    client.wait_for_text(".qq-upload-fail .qq-upload-status-text", endpoint.refusal(FAKE))
    assert endpoint.new_files() == STORED

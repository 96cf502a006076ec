"""Upload widgets, unmodified, in Chromium, with the lines of the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .samples import FAKE, PHOTO

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Client, Endpoint

pytestmark = pytest.mark.clients

STORED = [("photo.png", PHOTO["buffer"])]


def test_dropzone(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("dropzone")
    client.page.set_input_files("#one input", [PHOTO, FAKE])
    client.page.wait_for_selector("#one .dz-success")
    client.wait_for_text("#one .dz-error-message", endpoint.refusal(FAKE))
    assert endpoint.new_files() == STORED


def test_dropzone_with_several_files_in_one_form(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("dropzone")
    client.page.set_input_files("#several input", [PHOTO, PHOTO])
    client.page.wait_for_selector("#several .dz-success >> nth=1")
    assert endpoint.new_files() == STORED * 2
    client.page.set_input_files("#several input", [PHOTO, FAKE])
    client.wait_for_text("#several .dz-error-message", endpoint.refusal(FAKE))
    assert endpoint.new_files() == []


@pytest.mark.parametrize("query", ["", "?bundle"])
def test_uppy_xhr_upload(open_client: Callable[..., Client], endpoint: Endpoint, query: str) -> None:
    client = open_client("uppy-xhr", query)
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [PHOTO])
    client.page.wait_for_selector(".uppy-StatusBar.is-complete")
    assert endpoint.new_files() == STORED
    client = open_client("uppy-xhr", query)
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [FAKE])
    client.page.click(".uppy-StatusBar-details")
    assert client.alert().endswith(endpoint.refusal(FAKE))
    assert endpoint.new_files() == []


def test_uppy_aws_s3(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("uppy-s3")
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [PHOTO])
    client.page.wait_for_selector(".uppy-StatusBar.is-complete")
    assert endpoint.new_files() == STORED
    client = open_client("uppy-s3")
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [FAKE])
    client.wait_for_text(".uppy-Informer", endpoint.refusal(FAKE))
    assert endpoint.new_files() == []


def test_bootstrap_fileinput(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("bootstrap-fileinput")
    client.page.set_input_files("#files", [PHOTO, FAKE])
    client.page.click(".fileinput-upload-button")
    client.page.wait_for_selector(".file-preview-success")
    client.wait_for_text(".kv-fileinput-error", endpoint.refusal(FAKE))
    assert endpoint.new_files() == STORED


def test_jquery_file_upload(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("jquery-file-upload")
    client.page.set_input_files("#files", [PHOTO])
    client.page.wait_for_function("() => document.title.endsWith('/photo.png')")
    assert endpoint.new_files() == STORED
    client.page.set_input_files("#files", [FAKE])
    assert client.alert() == endpoint.refusal(FAKE)


def test_axios(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("axios")
    client.page.set_input_files("#files", [PHOTO, PHOTO])
    client.page.wait_for_function("() => document.title.endsWith('/photo.png')")
    assert endpoint.new_files() == STORED * 2
    client.page.set_input_files("#files", [FAKE])
    assert client.alert() == endpoint.refusal(FAKE)


def test_filepond(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("filepond")
    client.page.set_input_files("input[type=file]", [PHOTO, FAKE])
    client.page.wait_for_selector("[data-filepond-item-state=processing-complete]")
    client.wait_for_text(".filepond--file-status-main", endpoint.refusal(FAKE))
    (id_in_form,) = client.page.eval_on_selector_all(
        "input[type=hidden][name=filepond]", "inputs => inputs.map(({ value }) => value).filter(Boolean)"
    )
    assert endpoint.new_files() == STORED
    assert id_in_form in endpoint.ids()


def test_fine_uploader(open_client: Callable[..., Client], endpoint: Endpoint) -> None:
    client = open_client("fineuploader")
    client.page.set_input_files("input[type=file]", [PHOTO, FAKE])
    client.page.wait_for_selector(".qq-upload-success")
    client.wait_for_text(".qq-upload-fail .qq-upload-status-text", endpoint.refusal(FAKE))
    assert endpoint.new_files() == STORED

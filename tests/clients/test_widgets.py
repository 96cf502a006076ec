"""Upload widgets, unmodified, in Chromium, with the lines of the README."""

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


def test_dropzone(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("dropzone")
    client.page.set_input_files("#one input", [photo, fake])
    client.page.wait_for_selector("#one .dz-success")
    wait_for_text(client, "#one .dz-error-message", sentence)
    assert endpoint.new_files() == STORED


def test_dropzone_with_several_files_in_one_form(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("dropzone")
    client.page.set_input_files("#several input", [photo, photo])
    client.page.wait_for_selector("#several .dz-success >> nth=1")
    assert endpoint.new_files() == STORED * 2
    client.page.set_input_files("#several input", [photo, fake])
    wait_for_text(client, "#several .dz-error-message", sentence)
    assert endpoint.new_files() == []


@pytest.mark.parametrize("query", ["", "?bundle"])
def test_uppy_xhr_upload(
    open_client: Callable[..., Client],
    endpoint: Endpoint,
    photo: dict[str, Any],
    fake: dict[str, Any],
    sentence: str,
    query: str,
) -> None:
    client = open_client("uppy-xhr", query)
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [photo])
    client.page.wait_for_selector(".uppy-StatusBar.is-complete")
    assert endpoint.new_files() == STORED
    client = open_client("uppy-xhr", query)
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [fake])
    wait_for_text(client, ".uppy-Informer", sentence)
    assert endpoint.new_files() == []


def test_uppy_aws_s3(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("uppy-s3")
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [photo])
    client.page.wait_for_selector(".uppy-StatusBar.is-complete")
    assert endpoint.new_files() == STORED
    client = open_client("uppy-s3")
    client.page.set_input_files("input.uppy-Dashboard-input >> nth=0", [fake])
    wait_for_text(client, ".uppy-Informer", sentence)
    assert endpoint.new_files() == []


def test_bootstrap_fileinput(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("bootstrap-fileinput")
    client.page.set_input_files("#files", [photo, fake])
    client.page.click(".fileinput-upload-button")
    client.page.wait_for_selector(".file-preview-success")
    wait_for_text(client, ".kv-fileinput-error", sentence)
    assert endpoint.new_files() == STORED


def test_jquery_file_upload(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("jquery-file-upload")
    client.page.set_input_files("#files", [photo])
    client.page.wait_for_function("() => document.title.endsWith('/photo.png')")
    assert endpoint.new_files() == STORED
    client.page.set_input_files("#files", [fake])
    assert client.alert() == sentence


def test_axios(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("axios")
    client.page.set_input_files("#files", [photo, photo])
    client.page.wait_for_function("() => document.title.endsWith('/photo.png')")
    assert endpoint.new_files() == STORED * 2
    client.page.set_input_files("#files", [fake])
    assert client.alert() == sentence


def test_filepond(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("filepond")
    client.page.set_input_files("input[type=file]", [photo, fake])
    client.page.wait_for_selector("[data-filepond-item-state=processing-complete]")
    wait_for_text(client, ".filepond--file-status-main", sentence)
    (id_in_form,) = client.page.eval_on_selector_all(
        "input[type=hidden][name=filepond]", "inputs => inputs.map(({ value }) => value).filter(Boolean)"
    )
    assert endpoint.new_files() == STORED
    assert id_in_form in endpoint.ids()


def test_fine_uploader(
    open_client: Callable[..., Client], endpoint: Endpoint, photo: dict[str, Any], fake: dict[str, Any], sentence: str
) -> None:
    client = open_client("fineuploader")
    client.page.set_input_files("input[type=file]", [photo, fake])
    client.page.wait_for_selector(".qq-upload-success")
    wait_for_text(client, ".qq-upload-fail .qq-upload-status-text", sentence)
    assert endpoint.new_files() == STORED

"""FilePond's and Dropzone's pieces, where a call to S3 fails or the process ends at it. Then the client tries again."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from ..support.http_client import download
from ..support.promotions import Faults, Killed
from ..support.widget_pieces import Dropzone, FilePond

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from werkzeug.test import TestResponse

TEXT = b"0123456789" * 150
"""A piece of 1,000 bytes, and one of 500."""
FAULTS = ["throttle", "cut off after it was done", "killed after"]


class KilledAt(Faults):
    """Fails as :class:`Faults` does, or kills the process before or after the call."""

    def __init__(self, client: Any, *, fault: str, at: int) -> None:
        super().__init__(client, fault=fault, at=at)
        self._is_killed, self._is_done = fault.startswith("killed"), fault == "killed after"

    def __call__(self, operation: str, arguments: dict[str, Any]) -> Any:
        if not self._is_killed or self.calls != self._at:
            return super().__call__(operation, arguments)
        self.calls += 1
        if self._is_done:
            self._call(operation, arguments)
        raise Killed


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("widget", ["FilePond", "Dropzone"])
def test_failure_at_every_call_loses_nothing(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]], fault: str, widget: str
) -> None:
    app = make_app()
    client: Any = app.extensions["services"].storage.client
    app.extensions["services"].direct_uploads.secret()
    call = client._make_api_call
    for at in itertools.count():
        upload: Any = (FilePond if widget == "FilePond" else Dropzone)(app.test_client(), TEXT)
        failing = KilledAt(client, fault=fault, at=at)
        client._make_api_call = failing
        first = send_until_failure(upload, widget)
        client._make_api_call = call
        response = send(upload, widget, first)
        assert response.status_code == 201, response.text
        assert download(upload.client, response.json["files"][0]["url"]) == TEXT
        if failing.calls <= at:
            break
    assert at > 10
    assert len([key for key in stored_keys() if key.startswith("files/")]) == at + 1


def pieces_of(upload: Any, widget: str) -> list[Callable[[], TestResponse]]:
    """Return the requests that send the pieces."""
    if widget == "Dropzone":
        return [lambda index=index: upload.post(index) for index in range(upload.count)]  # type: ignore[misc]
    return [lambda offset=offset: upload.patch(offset) for offset in upload.offsets()]  # type: ignore[misc]


def send_until_failure(upload: Any, widget: str) -> int:
    """Send the pieces in order, until one fails.

    :returns: the number of the piece that failed, or of the last one.
    """
    if widget == "FilePond":
        upload.begin()
    asks = pieces_of(upload, widget)
    for number, ask in enumerate(asks):
        with suppress(Killed):
            if ask().status_code < 400:
                continue
        return number
    return len(asks) - 1


def send(upload: Any, widget: str, first: int) -> Any:
    """Send the pieces from this one on, as a client does that tries again.

    :returns: the last response.
    """
    return [ask() for ask in pieces_of(upload, widget)[first:]][-1]

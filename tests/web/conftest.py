"""Fixtures of the tests that send tokens: none of the tokens may reach the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ..support.tokens import OLD_SECRET, OTHER_SECRET, SECRET, Sent, folder_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient


@pytest.fixture
def sent() -> Sent:
    """Remember the tokens that a test sends."""
    return Sent()


@pytest.fixture
def no_token_in_the_log(
    sent: Sent, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[None]:
    """Fail a test if its output has a secret, or a token that the test sent."""
    yield
    output = "".join(capsys.readouterr()) + request.node.stash.get(READ_OUTPUT, "")
    for token in sent.tokens:
        for part in token.split("."):
            assert len(part) < 16 or part not in output
    assert not [secret for secret in (SECRET, OLD_SECRET, OTHER_SECRET) if secret in output]


READ_OUTPUT = pytest.StashKey[str]()
"""The output that a test has already read from capsys."""


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines of the log since the last call."""

    def lines() -> list[dict[str, Any]]:
        output = capsys.readouterr().out
        request.node.stash[READ_OUTPUT] = request.node.stash.get(READ_OUTPUT, "") + output
        return [json.loads(line) for line in output.splitlines()]

    return lines


@pytest.fixture
def folder_client(tmp_path: Path) -> FlaskClient:
    """A client of the app over a folder. Tests of tokens only do not need both storages."""
    return folder_app(tmp_path, TOKEN_SECRET=SECRET).test_client()

"""Fixtures: both Lambda functions as the template runs them, with their S3 permissions recorded."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import pytest

from handler.app import create_app
from handler.settings import Settings
from handler.web.access import SCOPES
from handler.web.tokens import mint

from ..conftest import BUCKET
from ..support.lambda_runtime import SECRET, Context
from ..support.s3_events import object_created, queued
from ..support.s3_permissions import Recorder
from ..support.webhook_receiver import SECRET as WEBHOOK_SECRET
from ..support.webhook_receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from flask.testing import FlaskClient
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def record(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Recorder]:  # noqa: ARG001
    """Records the clients that are made after a call."""

    def record() -> Recorder:
        recorder = Recorder()
        monkeypatch.setattr("handler.storage.s3.client.make_client", recorder.make_client)
        return recorder

    return record


@pytest.fixture
def app(record: Callable[[], Recorder]) -> Flask:
    """The app of the upload function. Its requests to S3 are recorded."""
    recorder = record()
    app = create_app(Settings.from_environ({"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": SECRET}))
    app.extensions["recorder"] = recorder
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {mint(SECRET, expires_seconds=600, scopes=SCOPES)}"
    return client


@pytest.fixture
def notify(record: Callable[[], Recorder], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Recorder]]:
    """Runs the notify function for a key, with the environment of the template and a real receiver."""
    with receiving() as receiver:
        environ = {
            "AWS_LAMBDA_FUNCTION_NAME": "notify",
            "UPLOAD_BUCKET": BUCKET,
            "WEBHOOK_URL": receiver.url,
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "WEBHOOK_ALLOW_PRIVATE": "on",
            "ENDPOINT_URL": "https://api.example.com/live",
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        recorder = record()
        sys.modules.pop("handler.notify_function", None)
        module = importlib.import_module("handler.notify_function")

        def notify(key: str) -> Recorder:
            module.notify_handler(queued(object_created(BUCKET, key)), Context())
            return recorder

        yield notify


@pytest.fixture
def promote(record: Callable[[], Recorder], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Recorder]:
    """Runs the promote function for an id, with the environment of the template."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "promote")
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    recorder = record()
    sys.modules.pop("handler.lambda_function", None)
    module = importlib.import_module("handler.lambda_function")

    def promote(file_id: str) -> Recorder:
        event = {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"object": {"key": f"incoming/{file_id}"}},
        }
        module.promote_handler(event, Context())
        return recorder

    return promote

"""The notify function: an event of the bucket in, a signed request to a real receiver out."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from handler.app import create_app
from handler.settings import Settings, SettingsError
from handler.storage import new_id
from handler.webhooks.delivery import NotDelivered

from ..conftest import BUCKET
from ..support import contract
from ..support.documentation import ROOT
from ..support.lambda_runtime import SECRET as TOKEN_SECRET
from ..support.lambda_runtime import Context
from ..support.s3_events import object_created, queued
from ..support.webhook_receiver import SECRET, Receiver, receiving, respond
from ..support.webhook_uploads import SETTINGS, WAYS, client_of, expected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient
    from mypy_boto3_s3 import S3Client

ENDPOINT = "http://localhost"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def load(s3: S3Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:  # noqa: ARG001
    """Imports the function with these settings."""

    def load(**variables: str) -> Any:
        environ = {
            "AWS_LAMBDA_FUNCTION_NAME": "notify",
            "UPLOAD_BUCKET": BUCKET,
            "WEBHOOK_URL": receiver.url,
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_ALLOW_PRIVATE": "on",
            "ENDPOINT_URL": ENDPOINT,
            **variables,
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        sys.modules.pop("handler.notify_function", None)
        return importlib.import_module("handler.notify_function")

    return load


@pytest.fixture
def client(s3: S3Client) -> FlaskClient:  # noqa: ARG001
    return client_of(create_app(Settings.from_environ({"UPLOAD_BUCKET": BUCKET} | SETTINGS)))


def stored_keys(s3: S3Client) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="files/").get("Contents", [])]


@pytest.mark.parametrize("way", WAYS)
def test_file_arrives_exactly_as_its_response(
    way: str, client: FlaskClient, load: Callable[..., Any], receiver: Receiver, s3: S3Client
) -> None:
    data = expected(WAYS[way](client))
    (key,) = stored_keys(s3)
    assert load().notify_handler(queued(object_created(BUCKET, key)), Context()) is None
    (received,) = receiver.received
    assert received.event == {"type": "file.stored", "timestamp": data["stored"], "data": data}
    assert data["url"] == f"{ENDPOINT}/{key}"
    assert received.id == f"file_{data['id']}"
    contract.check_webhook(received.headers, received.event)


def put(client: FlaskClient) -> dict[str, Any]:
    """Store a file, and return its event."""
    return object_created(BUCKET, f"files/tenant-1/{expected(WAYS['PUT'](client))['id']}/Ubersicht.txt")


def test_repeated_event_has_the_same_id(client: FlaskClient, load: Callable[..., Any], receiver: Receiver) -> None:
    event = put(client)
    module = load()
    module.notify_handler(queued(event, event), Context())
    module.notify_handler(event, Context())
    assert len({each.id for each in receiver.received}) == 1
    assert len(receiver.received) == 3
    assert len({each.body for each in receiver.received}) == 1


def test_event_without_downloads_has_no_url(client: FlaskClient, load: Callable[..., Any], receiver: Receiver) -> None:
    load(DOWNLOADS="off", ENDPOINT_URL="").notify_handler(put(client), Context())
    assert "url" not in receiver.received[0].event["data"]


def test_deleted_file_is_not_reported(
    load: Callable[..., Any], receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load()
    capsys.readouterr()
    module.notify_handler(queued(object_created(BUCKET, f"files/{new_id()}/a.txt")), Context())
    assert not receiver.received
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["status"]) == ("webhook", None)


@pytest.mark.parametrize("status", [302, 400, 401, 410, 500, 503])
def test_failure_goes_back_to_the_queue(
    client: FlaskClient,
    load: Callable[..., Any],
    receiver: Receiver,
    capsys: pytest.CaptureFixture[str],
    *,
    status: int,
) -> None:
    created = put(client)
    module = load()
    receiver.behaviour = respond(status, headers={"Location": receiver.url})
    capsys.readouterr()
    with pytest.raises(NotDelivered):
        module.notify_handler(queued(created), Context())
    assert len(receiver.received) == 1
    out = capsys.readouterr().out
    line = json.loads(out)
    assert (line["event"], line["level"]) == ("webhook failed", "ERROR")
    assert line["id"] in created["detail"]["object"]["key"].split("/")
    assert line["reason"] == f"the receiver responded with status {status}"
    assert line["request_id"] == Context.aws_request_id
    for hidden in ("not-for-the-log", SECRET, SECRET.removeprefix("whsec_"), "Ubersicht"):
        assert hidden not in out


def test_an_event_costs_one_call_to_s3(client: FlaskClient, load: Callable[..., Any]) -> None:
    created, module, calls = put(client), load(), list[str]()
    events = module._notifier._storage.client.meta.events
    events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    module.notify_handler(queued(created), Context())
    assert calls == ["HeadObject"]


def test_private_receiver_is_refused_by_default(
    client: FlaskClient, load: Callable[..., Any], receiver: Receiver
) -> None:
    module = load(WEBHOOK_ALLOW_PRIVATE="off")
    with pytest.raises(NotDelivered, match="WEBHOOK_ALLOW_PRIVATE=on"):
        module.notify_handler(put(client), Context())
    assert not receiver.received


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": []},
        {"Records": [{}]},
        {"Records": [{"body": "no JSON"}]},
        {"Records": [{"body": "[]"}]},
        {"detail": {"object": {"key": 5}}},
        {"detail": {"object": {"key": f"incoming/{'0' * 32}"}}},
        {"detail": {"object": {"key": f"files/{'0' * 32}"}}},
        {"detail": {"object": {"key": f"files/a/b/{'0' * 32}/a.txt"}}},
        {"detail": {"object": {"key": f"files/../{'0' * 32}/a.txt"}}},
        {"detail": {"object": {"key": "secrets/upload-ids"}}},
        None,
        "text",
        5,
    ],
)
def test_other_event_is_an_error(event: Any, load: Callable[..., Any], receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="'Object Created' events"):
        load().notify_handler(event, Context())
    assert not receiver.received


@pytest.mark.parametrize("missing", ["WEBHOOK_URL", "WEBHOOK_SECRET", "ENDPOINT_URL"])
def test_function_does_not_start_without_its_settings(missing: str, load: Callable[..., Any]) -> None:
    with pytest.raises(SettingsError, match=missing):
        load(**{missing: ""})


def modules_after(statement: str, **variables: str) -> set[str]:
    """Return the modules that a new process has imported after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    environ = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environ, "UPLOAD_BUCKET": BUCKET, "AWS_LAMBDA_FUNCTION_NAME": "x", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_other_functions_import_nothing_of_the_webhook() -> None:
    modules = modules_after("import handler.lambda_function", TOKEN_SECRET=TOKEN_SECRET)
    assert not [name for name in modules if name.startswith(("handler.webhooks", "handler.notify"))]


def test_notify_function_does_not_import_flask() -> None:
    modules = modules_after(
        "import handler.notify_function",
        WEBHOOK_URL="https://example.com/",
        WEBHOOK_SECRET=SECRET,
        ENDPOINT_URL=ENDPOINT,
    )
    assert "handler.webhooks.delivery" in modules
    assert not {"flask", "werkzeug", "jwt", "awsgi", "handler.app"} & modules

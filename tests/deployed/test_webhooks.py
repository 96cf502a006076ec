"""Webhooks of the deployed stack: the real event of the bucket, the real queue and function, a real receiver."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from ..support import samples
from ..support.documents import snippet
from ..support.webhook_receiver import Receiver, receiving, respond
from .conftest import ENVIRONMENT, Deployed, Emulated, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.deployed

DETAILS = {"meta": {"order": 5, "tags": ["ä", None]}, "folder": "tenant-1", "subject": "user-7"}
ALBUM = "Süden & 'Meer'"


@pytest.fixture
def with_details(deployed: Deployed) -> Deployed:
    """The stack, with a token that has meta, a folder and a subject."""
    return deployed.with_claims(**DETAILS)


@pytest.fixture
def receiver(emulated: Emulated) -> Iterator[Receiver]:
    """A receiver at the socket that ``.ci/emulated-aws`` lets the functions reach."""
    if "NotifyFunction" not in emulated.resources:
        pytest.skip("the stack has no webhook; .ci/emulated-aws deploys one with a WebhookUrl")
    path = Path(ENVIRONMENT["AWS_CA_BUNDLE"]).with_name("receiver.sock")
    path.unlink(missing_ok=True)
    with receiving(path=path) as running:
        yield running
    path.unlink()


@pytest.fixture
def quick_retries(deployed: Deployed, emulated: Emulated) -> Iterator[None]:
    """Let a failed event return after 2 seconds."""
    sqs, url = deployed.aws("sqs"), emulated.resources["StoredFiles"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "2"})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def _form(stack: Deployed) -> Any:
    files = {"file": ("Übersicht.txt", samples.TEXT)}
    return stack.send("POST", stack.endpoint, data={"album": ALBUM}, files=files).json()


def _put(stack: Deployed) -> Any:
    return stack.send("PUT", f"{stack.endpoint}/a.txt", params={"album": ALBUM}, data=samples.TEXT).json()


def _parts(stack: Deployed) -> Any:
    begun = stack.send(
        "POST", f"{stack.endpoint}/s3/multipart", json={"filename": "a.txt", "metadata": {"album": ALBUM}}
    ).json()
    path = f"{stack.endpoint}/s3/multipart/{quote(begun['uploadId'])}"
    part = stack.send("GET", f"{path}/1", params={"key": begun["key"]}).json()["url"]
    assert stack.send("PUT", part, data=samples.TEXT).status_code == 200
    return stack.send("POST", f"{path}/complete", params={"key": begun["key"]}, json={}).json()


def _presigned_post(stack: Deployed) -> Any:
    form = stack.send(
        "GET", f"{stack.endpoint}/s3/params", params={"filename": "a.txt", "metadata[album]": ALBUM}
    ).json()
    assert stack.send("POST", form["url"], data=form["fields"], files={"file": samples.TEXT}).status_code == 204

    def stored() -> Any:
        """the verdict on the form"""
        status = stack.send("GET", form["status"]).json()
        return {"files": [status["file"]]} if status["status"] == "stored" else None

    return eventually(stored)


WAYS: dict[str, Callable[[Deployed], Any]] = {
    "form": _form,
    "PUT": _put,
    "parts": _parts,
    "presigned post": _presigned_post,
}


def data_of(response: Any) -> dict[str, Any]:
    """Return the data of the event: the file of a response without its receipt."""
    (entry,) = response["files"]
    assert {name: entry[name] for name in DETAILS} == DETAILS
    assert entry["fields"] == {"album": ALBUM}
    return {name: value for name, value in entry.items() if name != "receipt"}


def events_of(receiver: Receiver, file_id: str) -> list[Any]:
    return [each.event for each in receiver.received if each.id == f"file_{file_id}"]


@pytest.mark.parametrize("way", WAYS)
def test_file_arrives_exactly_as_its_response(
    way: str, with_details: Deployed, emulated: Emulated, receiver: Receiver
) -> None:
    data = data_of(WAYS[way](with_details))
    own_domain = emulated.parameters["EndpointUrl"]  # the URLs of events begin with it, those of responses do not
    if own_domain:
        data |= {name: data[name].replace(with_details.root, f"{own_domain}/") for name in ("url", "location")}
    event = eventually(lambda: events_of(receiver, data["id"]))[0]
    assert event == {"type": "file.stored", "timestamp": data["stored"], "data": data}
    assert not receiver.failures


@pytest.mark.usefixtures("quick_retries")
def test_receiver_that_is_down_for_a_while_misses_nothing(with_details: Deployed, receiver: Receiver) -> None:
    receiver.behaviour = respond(503)
    ids = [data_of(_put(with_details))["id"] for _ in range(3)]
    for file_id in ids:
        eventually(lambda file_id=file_id: len(events_of(receiver, file_id)) >= 2)  # type: ignore[misc]
    receiver.behaviour = respond(204)
    counted = len(receiver.received)

    def delivered() -> bool:
        """the delivery of all three events"""
        later = {each.id for each in receiver.received[counted:]}
        return later >= {f"file_{file_id}" for file_id in ids}

    eventually(delivered)


@pytest.mark.usefixtures("emulated")  # it makes a rule and a queue
def test_plain_rule_of_the_documents_reports_stored_files(deployed: Deployed) -> None:
    """EventBridge without a webhook: the pattern in docs/webhooks.md, with a queue as its target."""
    sqs, events, name = deployed.aws("sqs"), deployed.aws("events"), f"plain-{uuid.uuid4().hex}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    documented = snippet("tests/docs/test_webhooks.py", "pattern")
    pattern = json.loads(documented.replace("YOUR-BUCKET", deployed.bucket))
    rule_arn = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    allow |= {"Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    try:
        file_id = deployed.send("PUT", f"{deployed.endpoint}/a.txt", data=samples.TEXT).json()["files"][0]["id"]

        def reported() -> Any:
            """the event in the queue of the plain rule"""
            messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10).get("Messages", [])
            return [json.loads(message["Body"]) for message in messages]

        (event,) = eventually(reported)
        assert event["detail"]["object"]["key"] == f"files/{file_id}/a.txt"
        assert event["detail-type"] == "Object Created"
    finally:
        events.remove_targets(Rule=name, Ids=["queue"])
        events.delete_rule(Name=name)
        sqs.delete_queue(QueueUrl=url)

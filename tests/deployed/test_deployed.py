"""Today's behavior of the deployed stack, for the tool's checks that ``.ci/emulated-aws`` expects to fail."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from ..support import samples
from .conftest import Deployed, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.deployed


def stored(deployed: Deployed, file_id: str) -> list[Any]:
    listed = deployed.aws("s3").list_objects_v2(Bucket=deployed.resources["UploadBucket"], Prefix=f"files/{file_id}/")
    return list(listed.get("Contents", []))


def send_form(deployed: Deployed, name: str, content: bytes) -> str:
    """Send a file with a presigned POST, and return its id. Only the event can promote it."""
    response = deployed.send("GET", f"{deployed.endpoint}/s3/params", params={"filename": name})
    form = response.json()
    assert deployed.send("POST", form["url"], data=form["fields"], files={"file": content}).status_code == 204
    return str(form["id"])


@pytest.fixture
def start_promotions(deployed: Deployed) -> Iterator[Callable[[], None]]:
    """Stop the promotions, and return a function that starts them again. The end of the test does, too."""
    functions = deployed.aws("lambda")
    name = deployed.resources["PromoteFunction"]
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]

    def switch(*, on: bool) -> None:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)
        state = "Enabled" if on else "Disabled"
        eventually(lambda: functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == state)

    switch(on=False)
    yield lambda: switch(on=True)
    switch(on=True)


@pytest.fixture
def quick_retries(deployed: Deployed) -> Iterator[int]:
    """Let a failed event return after 3 seconds, and return the deployed number of tries."""
    sqs, url = deployed.aws("sqs"), deployed.resources["IncomingFiles"]
    names = ["VisibilityTimeout", "RedrivePolicy"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "3"})
    yield int(json.loads(before["RedrivePolicy"])["maxReceiveCount"])
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": before["VisibilityTimeout"]})


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_body_sent_to_a_name_is_stored(deployed: Deployed, method: str) -> None:
    response = deployed.send(method, f"{deployed.endpoint}/a.txt", data=samples.TEXT)
    assert response.status_code == 201, response.text
    (file,) = response.json()["files"]
    assert file["name"] == "a.txt"
    assert [entry["Size"] for entry in stored(deployed, file["id"])] == [len(samples.TEXT)]


def test_event_of_a_presigned_post_waits_in_the_queue(deployed: Deployed, start_promotions: Callable[[], None]) -> None:
    file_id = send_form(deployed, "a.txt", samples.TEXT)

    def waiting() -> Any:
        """the event in the queue IncomingFiles"""
        taken = deployed.aws("sqs").receive_message(
            QueueUrl=deployed.resources["IncomingFiles"], WaitTimeSeconds=1, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        events = [json.loads(message["Body"]) for message in taken.get("Messages", [])]
        return [event for event in events if event["detail"]["object"]["key"] == f"incoming/{file_id}"]

    (event,) = eventually(waiting)
    assert event["detail-type"] == "Object Created"
    assert not stored(deployed, file_id)
    start_promotions()
    eventually(lambda: stored(deployed, file_id))


def test_event_that_always_fails_is_kept_and_logged(deployed: Deployed, quick_retries: int) -> None:
    bucket, key = deployed.resources["UploadBucket"], f"incoming/{uuid.uuid4().hex}"
    put = deployed.aws("s3").put_object(Bucket=bucket, Key=key, Body=b"not written with a URL of this endpoint's")
    queue, sqs = deployed.resources["FailedPromotions"], deployed.aws("sqs")

    def kept() -> Any:
        """the event in the queue FailedPromotions"""
        taken = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return next((message for message in taken.get("Messages", []) if key in message["Body"]), None)

    event = json.loads(eventually(kept)["Body"])
    assert event["detail-type"] == "Object Created"
    assert event["detail"]["object"]["key"] == key
    assert event["detail"]["object"]["version-id"] == put["VersionId"]

    def logged() -> list[Any]:
        """a log line for each try"""
        lines = deployed.aws("logs").filter_log_events(logGroupName=deployed.resources["PromoteLog"])["events"]
        tries = [json.loads(line["message"]) for line in lines if key.removeprefix("incoming/") in line["message"]]
        failures = [line for line in tries if line.get("event") == "promotion failed"]
        return failures if len(failures) >= quick_retries else []

    failures = eventually(logged)
    assert len(failures) == quick_retries
    assert {line["id"] for line in failures} == {key.removeprefix("incoming/")}
    reason = f"{key} has no valid declaration: no URL of this endpoint wrote it"
    assert {line["reason"] for line in failures} == {reason}
    deployed.aws("s3").delete_object(Bucket=bucket, Key=key, VersionId=put["VersionId"])

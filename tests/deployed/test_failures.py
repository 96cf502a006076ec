"""Failures of the deployed stack: no capacity, events that wait, fail, are kept, and are sent back."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from handler.local import cli

from ..support import samples
from .conftest import STACK, Deployed, Emulated, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.deployed


def send_form(deployed: Deployed, name: str, content: bytes) -> str:
    """Send a file with a presigned POST, and return its id. Only the event can promote it."""
    form = deployed.send("GET", f"{deployed.endpoint}/s3/params", params={"filename": name}).json()
    assert deployed.send("POST", form["url"], data=form["fields"], files={"file": content}).status_code == 204
    return str(form["id"])


@pytest.fixture
def start_promotions(deployed: Deployed, emulated: Emulated) -> Iterator[Callable[[], None]]:
    """Stop the promotions, and return a function that starts them again. The end of the test does, too."""
    functions = deployed.aws("lambda")
    name = emulated.resources["PromoteFunction"]
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]

    def switch(*, on: bool) -> None:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)
        state = "Enabled" if on else "Disabled"
        eventually(lambda: functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == state)

    switch(on=False)
    yield lambda: switch(on=True)
    switch(on=True)


@pytest.fixture
def quick_retries(deployed: Deployed, emulated: Emulated) -> Iterator[int]:
    """Let a failed event return after 3 seconds, and return the deployed number of tries."""
    sqs, url = deployed.aws("sqs"), emulated.resources["IncomingFiles"]
    names = ["VisibilityTimeout", "RedrivePolicy"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "3"})
    yield int(json.loads(before["RedrivePolicy"])["maxReceiveCount"])
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": before["VisibilityTimeout"]})


@pytest.fixture
def repair(deployed: Deployed, emulated: Emulated) -> Iterator[Callable[[], None]]:
    """Let every promotion fail, and return a function that repairs this. The end of the test does, too."""
    functions, name = deployed.aws("lambda"), emulated.resources["PromoteFunction"]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def set_bucket(bucket: str) -> None:
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": before | {"UPLOAD_BUCKET": bucket}}
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=name)

    set_bucket(f"{deployed.bucket}-that-does-not-exist")
    yield lambda: set_bucket(deployed.bucket)
    set_bucket(deployed.bucket)


@pytest.fixture
def no_capacity(deployed: Deployed, emulated: Emulated) -> Iterator[None]:
    """Take all concurrency from the upload function."""
    functions, name = deployed.aws("lambda"), emulated.resources["UploadFunction"]
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    yield
    functions.delete_function_concurrency(FunctionName=name)


def kept_event(deployed: Deployed, emulated: Emulated, key: str) -> Callable[[], Any]:
    """Return a function that finds the event of an object in the queue FailedPromotions."""

    def kept() -> Any:
        """the event in the queue FailedPromotions"""
        taken = deployed.aws("sqs").receive_message(
            QueueUrl=emulated.resources["FailedPromotions"],
            WaitTimeSeconds=1,
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
        )
        return next((message for message in taken.get("Messages", []) if key in message["Body"]), None)

    return kept


def failures_in(lines: list[str], key: str) -> list[Any]:
    """Return the log lines that report a failed promotion of an object."""
    found = [json.loads(line) for line in lines if key.removeprefix("incoming/") in line]
    return [line for line in found if line.get("event") == "promotion failed"]


@pytest.mark.usefixtures("no_capacity")
def test_request_without_capacity_may_be_repeated(deployed: Deployed) -> None:
    response = deployed.send("PUT", f"{deployed.endpoint}/a.txt", data=samples.TEXT)
    assert response.status_code == 503
    assert response.json()["type"] == "urn:problem-type:upload:no-capacity"
    assert response.headers["Retry-After"] == "5"
    assert response.headers["Content-Type"] == "application/problem+json"


def test_event_of_a_presigned_post_waits_in_the_queue(
    deployed: Deployed, emulated: Emulated, start_promotions: Callable[[], None]
) -> None:
    file_id = send_form(deployed, "a.txt", samples.TEXT)

    def waiting() -> Any:
        """the event in the queue IncomingFiles"""
        taken = deployed.aws("sqs").receive_message(
            QueueUrl=emulated.resources["IncomingFiles"], WaitTimeSeconds=1, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        events = [json.loads(message["Body"]) for message in taken.get("Messages", [])]
        return [event for event in events if event["detail"]["object"]["key"] == f"incoming/{file_id}"]

    (event,) = eventually(waiting)
    assert event["detail-type"] == "Object Created"
    assert not deployed.stored(file_id)
    start_promotions()
    eventually(lambda: deployed.stored(file_id))


def test_event_that_always_fails_is_kept_and_logged(deployed: Deployed, emulated: Emulated, quick_retries: int) -> None:
    key = f"incoming/{uuid.uuid4().hex}"
    put = deployed.aws("s3").put_object(
        Bucket=deployed.bucket, Key=key, Body=b"not written with a URL of this endpoint's"
    )
    event = json.loads(eventually(kept_event(deployed, emulated, key))["Body"])
    assert event["detail-type"] == "Object Created"
    assert event["detail"]["object"]["key"] == key
    assert event["detail"]["object"]["version-id"] == put["VersionId"]

    def logged() -> list[Any]:
        """a log line in the group that the template names"""
        lines = deployed.aws("logs").filter_log_events(logGroupName=emulated.resources["PromoteLog"])["events"]
        return failures_in([line["message"] for line in lines], key)

    # On a busy machine, the emulated AWS loses lines on their way to the group. It has all of them in a file.
    written = (emulated.folder / "functions.log").read_text().splitlines()
    failures = failures_in([line.split(" ", 2)[2] for line in written if key.removeprefix("incoming/") in line], key)
    assert len(failures) == quick_retries, "a line for each try"
    reason = f"{key} has no valid declaration: no URL of this endpoint wrote it"
    for line in [*failures, *eventually(logged)]:
        assert (line["id"], line["reason"]) == (key.removeprefix("incoming/"), reason)
    deployed.aws("s3").delete_object(Bucket=deployed.bucket, Key=key, VersionId=put["VersionId"])


@pytest.mark.usefixtures("quick_retries")
def test_dead_letter_is_sent_back_after_the_repair(
    deployed: Deployed, emulated: Emulated, repair: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """``make redrive``, after the cause is gone."""
    file_id = send_form(deployed, "a.txt", samples.TEXT)
    eventually(kept_event(deployed, emulated, f"incoming/{file_id}"))
    assert not deployed.stored(file_id)
    repair()
    assert cli.main(["redrive", "--stack", STACK]) == 0
    moved = f"incoming/{file_id}: sent to IncomingFiles, deleted from FailedPromotions"
    assert moved in capsys.readouterr().out.splitlines()
    eventually(lambda: deployed.stored(file_id))
    assert not kept_event(deployed, emulated, f"incoming/{file_id}")()

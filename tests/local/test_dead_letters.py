"""``python -m handler redrive``, over a stack in moto."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from handler.local import cli, dead_letters

from ..conftest import BUCKET
from ..support.s3_events import object_created
from ..support.stored_files import ID
from ..support.template import RESOURCES, of_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

    Queues = dict[str, str]


@pytest.fixture
def make_stack(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Queues]:  # noqa: ARG001
    """Creates a stack with these queues, and returns their URLs."""
    monkeypatch.setattr(dead_letters, "WAIT_SECONDS", 0)

    def make_stack(*names: str) -> Queues:
        resources = {name: {"Type": "AWS::SQS::Queue"} for name in names}
        client = boto3.client("cloudformation")
        client.create_stack(StackName="uploads", TemplateBody=json.dumps({"Resources": resources}))
        described = client.describe_stack_resources(StackName="uploads")["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in described}

    return make_stack


def send(url: str, *bodies: str) -> None:
    for body in bodies:
        boto3.client("sqs").send_message(QueueUrl=url, MessageBody=body)


def bodies_in(url: str) -> list[str]:
    """Return all messages of a queue, the hidden ones as well."""
    sqs = boto3.client("sqs")
    counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    sent = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", [])
    hidden = int(counted["ApproximateNumberOfMessagesNotVisible"])
    return [message["Body"] for message in sent] + ["hidden"] * hidden


def event(key: str) -> str:
    return json.dumps(object_created(BUCKET, key))


def test_dead_letters_return_to_their_queues(
    make_stack: Callable[..., Queues], capsys: pytest.CaptureFixture[str]
) -> None:
    urls = make_stack("FailedPromotions", "IncomingFiles", "FailedWebhooks", "StoredFiles")
    promotions = [event(f"incoming/{number:032x}") for number in range(23)]
    send(urls["FailedPromotions"], *promotions)
    send(urls["FailedWebhooks"], event(f"files/{ID}/a.txt"), "not an event")
    assert cli.main(["redrive", "--stack", "uploads"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"incoming/{5:032x}: sent to IncomingFiles, deleted from FailedPromotions" in lines
    assert "FailedPromotions: 23 sent to IncomingFiles" in lines
    assert lines[-1] == "FailedWebhooks: 2 sent to StoredFiles"
    assert len(lines) == 23 + 2 + 2
    assert bodies_in(urls["FailedPromotions"]) == bodies_in(urls["FailedWebhooks"]) == []
    sqs = boto3.client("sqs")
    arrived: list[str] = []
    while found := sqs.receive_message(QueueUrl=urls["IncomingFiles"], MaxNumberOfMessages=10).get("Messages"):
        arrived += [message["Body"] for message in found]
    assert sorted(arrived) == sorted(promotions), "each event is unchanged and arrives once"


def test_message_that_is_not_accepted_is_not_deleted(
    make_stack: Callable[..., Queues], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = make_stack("FailedPromotions", "IncomingFiles")
    send(urls["FailedPromotions"], event(f"incoming/{ID}"))
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def refuse(client: Any, operation: str, parameters: Any) -> Any:
        if operation == "SendMessage":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    assert cli.main(["redrive", "--stack", "uploads"]) == 2
    assert "AccessDenied" in capsys.readouterr().err
    assert bodies_in(urls["FailedPromotions"]) == ["hidden"], "it returns after a minute"
    assert bodies_in(urls["IncomingFiles"]) == []


def test_stack_without_a_webhook_has_one_queue(
    make_stack: Callable[..., Queues], capsys: pytest.CaptureFixture[str]
) -> None:
    make_stack("FailedPromotions", "IncomingFiles")
    assert cli.main(["redrive", "--stack", "uploads"]) == 0
    assert capsys.readouterr().out.splitlines() == ["FailedPromotions: 0 sent to IncomingFiles"]


@pytest.mark.usefixtures("s3")
def test_unknown_stack_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["redrive", "--stack", "uploads"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("handler: AWS responds with an error: ")


def test_every_dead_letter_queue_of_the_template_is_known() -> None:
    targets = {
        (queue["RedrivePolicy"]["deadLetterTargetArn"]["GetAtt"].removesuffix(".Arn"), name)
        for name, queue in of_type("AWS::SQS::Queue").items()
        if "RedrivePolicy" in queue
    }
    assert targets == set(dead_letters.QUEUES.items())
    assert {name for pair in targets for name in pair} <= set(RESOURCES)

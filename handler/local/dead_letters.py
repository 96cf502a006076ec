"""``python -m handler redrive``: send the dead letters of a stack back to the queues that they came from.

A message of a dead-letter queue is an event of S3 that a function could not handle five times, or a webhook that no
server took for two and a half days. A message is deleted only after its queue has accepted it again, so a failure at
any point loses nothing. An event that arrives twice does no harm: a file has one verdict, and a webhook a stable id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.session import get_session

QUEUES = {"FailedPromotions": "IncomingFiles", "FailedWebhooks": "StoredFiles"}
"""Each dead-letter queue of ``template.yaml``, and the queue that its events belong to."""
WAIT_SECONDS = 2
"""A wait makes SQS ask all its servers, so an empty response means an empty queue (AWS: "Amazon SQS short and long
polling")."""
HIDDEN_SECONDS = 60
"""A message that is read and not deleted returns to its queue after this time."""


def redrive(stack: str) -> Iterator[str]:
    """Send the dead letters of a stack back, and yield a line for each message and each queue.

    Region and credentials come from botocore's own variables.

    :param stack: the name of the CloudFormation stack.
    :raises botocore.exceptions.ClientError: AWS rejects a call. There may be no such stack.
    :raises botocore.exceptions.BotoCoreError: AWS cannot be reached, or there are no credentials.
    """
    session = get_session()
    described = session.create_client("cloudformation").get_paginator("list_stack_resources")
    resources = {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for page in described.paginate(StackName=stack)
        for resource in page["StackResourceSummaries"]
    }
    sqs = session.create_client("sqs")
    for failed, queue in QUEUES.items():
        if failed in resources:
            yield from _move(sqs, (failed, resources[failed]), (queue, resources[queue]))


def _move(sqs: Any, source: tuple[str, str], target: tuple[str, str]) -> Iterator[str]:
    """Send each message of a queue to another queue, then delete the message.

    :param source: the queue's name in the template, and its URL.
    :param target: the same of the other queue.
    """
    (name, url), (target_name, target_url) = source, target
    moved = 0
    for message in _messages(sqs, url):
        sqs.send_message(QueueUrl=target_url, MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
        yield f"{_subject(message)}: sent to {target_name}, deleted from {name}"
    yield f"{name}: {moved} sent to {target_name}"


def _messages(sqs: Any, url: str) -> Iterator[Mapping[str, Any]]:
    """Yield the messages of a queue until it is empty."""
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS, VisibilityTimeout=HIDDEN_SECONDS
    ).get("Messages"):
        yield from messages


def _subject(message: Mapping[str, Any]) -> str:
    """Return the key of the file that the event is about, or the id of a message that is not such an event."""
    try:
        return str(json.loads(message["Body"])["detail"]["object"]["key"])
    except (ValueError, KeyError, TypeError):
        return f"message {message['MessageId']}"

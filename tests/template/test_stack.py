"""The stack in moto: the template with its defaults, and with every option."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from handler.settings import Settings

from ..support.documentation import ROOT
from ..support.lambda_runtime import SECRET
from ..support.s3_permissions import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client


UNKNOWN_TO_MOTO = (
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
)
"""The resource types that moto cannot create. moto reads only the encryption of a bucket."""


@pytest.fixture(scope="module")
def expanded() -> str:
    """The template after SAM's transform."""
    sam = shutil.which("sam")
    if not sam:
        pytest.skip("there is no sam on the PATH; .ci/run installs it")
    command = [str(Path(sam).with_name("python")), ".ci/expand"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def create_stack(s3: S3Client, expanded: str) -> Callable[..., dict[str, str]]:
    """Creates the stack with these parameters, and returns its outputs."""
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="bucket", Key="key", Body=b"code")
    template = json.loads(expanded)
    del template["Rules"]
    resources = template["Resources"].items()
    template["Resources"] = {name: item for name, item in resources if item["Type"] not in UNKNOWN_TO_MOTO}

    def create_stack(**parameters: str) -> dict[str, str]:
        client = boto3.client("cloudformation")
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        client.create_stack(StackName="upload", TemplateBody=json.dumps(template), Parameters=given)
        (stack,) = client.describe_stacks(StackName="upload")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    return create_stack


def sids(role: str) -> list[str]:
    """The statements of a role in moto's IAM."""
    client = boto3.client("iam")
    (name,) = [item["RoleName"] for item in client.list_roles()["Roles"] if ROLES[role] in item["RoleName"]]
    document = client.get_role_policy(RoleName=name, PolicyName=role)["PolicyDocument"]
    return re.findall(r"'Sid': '(\w+)'", str(document))  # moto has it as Python writes it


@pytest.mark.sam
def test_default_stack_is_created(s3: S3Client, create_stack: Callable[..., dict[str, str]]) -> None:
    outputs = create_stack(TokenSecret=SECRET)
    assert re.fullmatch(r"https://\w+\.execute-api\.eu-central-1\.amazonaws\.com/live/upload", outputs["Endpoint"])
    assert outputs["Curl"].endswith(outputs["Endpoint"])
    (rule,) = s3.get_bucket_encryption(Bucket=outputs["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    functions = {item["Timeout"]: item for item in boto3.client("lambda").list_functions()["Functions"]}
    for timeout, access in ((29, "token"), (900, None)):
        assert functions[timeout]["MemorySize"] == 512
        environ = functions[timeout]["Environment"]["Variables"]
        settings = Settings.from_environ(environ | {"AWS_LAMBDA_FUNCTION_NAME": "upload"})
        assert (settings.upload_bucket, settings.access) == (outputs["Bucket"], access)
    (event,) = boto3.client("events").list_rules()["Rules"]
    assert json.loads(event["EventPattern"])["detail"]["bucket"]["name"] == [outputs["Bucket"]]
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [30, 30], "there is no access log"
    for role in ("upload", "promote"):
        assert "Log" in sids(role)
        assert not {"UseKey", "Trace"} & set(sids(role))
    assert boto3.client("sns").list_topics()["Topics"] == []


@pytest.mark.sam
def test_stack_with_every_parameter_is_created(s3: S3Client, create_stack: Callable[..., dict[str, str]]) -> None:
    key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    outputs = create_stack(
        Access="public",
        KmsKeyArn=key,
        AlarmEmail="somebody@example.com",
        AccessLogs="on",
        Tracing="on",
        SnapStart="on",
        ReservedConcurrency="5",
        LogRetentionDays="7",
        WebhookUrl="https://example.com/hook",
        WebhookSecret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    (rule,) = s3.get_bucket_encryption(Bucket=outputs["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [7, 7, 7, 7]
    (notify,) = [item for item in boto3.client("lambda").list_functions()["Functions"] if item["Timeout"] == 60]
    environ = notify["Environment"]["Variables"]
    settings = Settings.from_environ(environ | {"AWS_LAMBDA_FUNCTION_NAME": "notify"})
    assert settings.webhook_url == "https://example.com/hook"
    assert settings.endpoint_url == outputs["Endpoint"].removesuffix("/upload")
    for role in ROLES:
        assert {"UseKey", "Trace"} < set(sids(role))
    (subscription,) = boto3.client("sns").list_subscriptions()["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "somebody@example.com")


# How it gets there.

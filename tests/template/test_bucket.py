"""The bucket: expiry, the events that promote an upload, and the configuration in S3."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from handler.app import create_app
from handler.settings import Settings
from handler.storage import KEEP_DAYS
from handler.storage.s3.files import tagging
from handler.webhooks import delivery

from ..conftest import BUCKET
from ..support import samples
from ..support.direct_client import DirectClient
from ..support.s3_events import event_matches, object_created
from ..support.stored_files import ID
from ..support.template import DEFAULTS, RESOURCES, of_type

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UPLOAD_BUCKET = RESOURCES["UploadBucket"]["Properties"]


def expiry_days(key: str, *, tag: str | None = None, overwritten: bool = False) -> int | None:
    """Return when the lifecycle rules delete an object, or a version that was overwritten or deleted.

    :param tag: the object's tag, as ``name=value``.
    """
    rules = [
        rule
        for rule in UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]
        if rule["Status"] == "Enabled"
        and key.startswith(rule.get("Prefix", ""))
        and all(tag == f"{item['Key']}={item['Value']}" for item in rule.get("TagFilters", ()))
    ]
    if overwritten:
        days = [rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") for rule in rules]
    else:
        days = [rule.get("ExpirationInDays") for rule in rules]
    return min((number for number in days if number is not None), default=None)


@pytest.mark.parametrize(
    ("key", "days", "days_when_overwritten"),
    [
        (f"incoming/{ID}", 1, 1),
        (f"chunks/{ID}/p-begin", 1, 1),
        (f"refused/{ID}.json", 7, 7),
        (f"files/{ID}/a.txt", None, 7),
        ("secrets/upload-ids", None, 7),
    ],
)
def test_only_unchecked_uploads_and_refusals_expire(key: str, days: int | None, days_when_overwritten: int) -> None:
    assert expiry_days(key) == days
    assert expiry_days(key, overwritten=True) == days_when_overwritten


@pytest.mark.parametrize("days", KEEP_DAYS)
def test_file_expires_by_its_tag(days: int) -> None:
    for key in (f"files/{ID}/a.txt", f"files/user-7/{ID}/a.txt"):
        assert expiry_days(key, tag=f"keep-days={days}") == days
        assert expiry_days(key, tag=f"keep-days={days}", overwritten=True) == 1, "the delete marker hides the bytes"
        assert expiry_days(key, tag=f"other={days}") is None
    assert expiry_days("secrets/upload-ids", tag=f"keep-days={days}") is None
    assert tagging(days) == f"keep-days={days}"


def test_policy_stays_with_the_bucket() -> None:
    bucket, policy = RESOURCES["UploadBucket"], RESOURCES["UploadBucketPolicy"]
    for name in ("DeletionPolicy", "UpdateReplacePolicy"):
        assert policy[name] == bucket[name]


def test_rule_of_delete_markers_has_no_tag() -> None:
    """S3 rejects a rule that has both (AWS: "Lifecycle configuration elements")."""
    for rule in UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]:
        assert not (
            "TagFilters" in rule and {"ExpiredObjectDeleteMarker", "AbortIncompleteMultipartUpload"} & set(rule)
        )


def test_unfinished_multipart_uploads_expire() -> None:
    rules = UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]
    (rule,) = [rule for rule in rules if "AbortIncompleteMultipartUpload" in rule]
    assert (rule["Status"], rule.get("Prefix")) == ("Enabled", None)


@pytest.mark.parametrize(
    ("bucket", "key", "promoted"),
    [
        (BUCKET, f"incoming/{ID}", True),
        (BUCKET, f"files/{ID}/a.txt", False),
        (BUCKET, f"refused/{ID}.json", False),
        (BUCKET, "secrets/upload-ids", False),
        ("another-bucket", f"incoming/{ID}", False),
    ],
)
def test_only_unchecked_uploads_are_promoted(bucket: str, key: str, promoted: bool) -> None:
    pattern = pattern_of("IncomingRule")
    assert event_matches(pattern, object_created(bucket, key)) == promoted
    removed = object_created(bucket, key) | {"detail-type": "Object Deleted"}
    assert not event_matches(pattern, removed)


@pytest.mark.parametrize(
    ("bucket", "key", "reported"),
    [
        (BUCKET, f"files/{ID}/a.txt", True),
        (BUCKET, f"files/tenant-1/{ID}/a.txt", True),
        (BUCKET, f"incoming/{ID}", False),
        (BUCKET, f"refused/{ID}.json", False),
        (BUCKET, "secrets/upload-ids", False),
        ("another-bucket", f"files/{ID}/a.txt", False),
    ],
)
def test_only_stored_files_are_reported(bucket: str, key: str, reported: bool) -> None:
    pattern = pattern_of("StoredRule")
    assert event_matches(pattern, object_created(bucket, key)) == reported
    removed = object_created(bucket, key) | {"detail-type": "Object Deleted"}
    assert not event_matches(pattern, removed)


def test_receiver_that_is_down_for_a_day_misses_nothing() -> None:
    """Every event is tried for more than a day, and does not expire before the last try."""
    function, queue = RESOURCES["NotifyFunction"]["Properties"], RESOURCES["StoredFiles"]["Properties"]
    # AWS: "Creating and configuring an Amazon SQS event source mapping"
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    seconds = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"]
    assert seconds > 2 * 24 * 60 * 60
    assert queue["MessageRetentionPeriod"] > seconds + 24 * 60 * 60
    # A dead letter keeps the age that it had in the first queue (AWS: "Using dead-letter queues in Amazon SQS").
    assert RESOURCES["FailedWebhooks"]["Properties"]["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
    assert function["Timeout"] >= 2 * delivery.TOTAL_SECONDS


def test_dead_letters_of_webhooks_raise_an_alarm() -> None:
    (alarm,) = [
        alarm
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Dimensions"][0]["Value"] == {"GetAtt": "FailedWebhooks.QueueName"}
    ]
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    for name in ("StoredRule", "StoredFiles"):
        properties = json.dumps(RESOURCES[name]["Properties"])
        assert '{"GetAtt": "FailedWebhooks.Arn"}' in properties


def test_webhook_has_no_resource_unless_it_is_configured() -> None:
    named = {name for name in RESOURCES if re.search("Webhook|Notify|Stored", name)}
    assert len(named) == 8
    conditional = {name for name, resource in RESOURCES.items() if resource.get("Condition") == "SendWebhooks"}
    assert conditional == named
    # Everything that refers to one of them is conditional as well, or asks for the condition.
    for name, resource in RESOURCES.items():
        if name not in named | {"Dashboard"}:
            assert not [other for other in named if re.search(rf"\b{other}\b", json.dumps(resource))], name


def pattern_of(rule: str) -> Any:
    """Return the pattern of a rule, for the bucket of the tests."""
    pattern = json.dumps(RESOURCES[rule]["Properties"]["EventPattern"])
    return json.loads(pattern.replace(json.dumps({"Ref": "UploadBucket"}), f'"{BUCKET}"'))


def test_event_outlives_the_function_and_not_the_upload() -> None:
    function, queue = RESOURCES["PromoteFunction"]["Properties"], RESOURCES["IncomingFiles"]["Properties"]
    assert queue["VisibilityTimeout"] > function["Timeout"], "or a second function would get the same event"
    days = expiry_days(f"incoming/{ID}")
    assert days
    # S3 deletes at midnight UTC: an upload is kept for up to a day more.
    assert queue["MessageRetentionPeriod"] == (days + 1) * 24 * 60 * 60
    assert RESOURCES["FailedPromotions"]["Properties"]["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


def test_promotions_run_at_bounded_concurrency_by_default() -> None:
    """Without reserved concurrency, which a new account cannot have."""
    promote = RESOURCES["PromoteFunction"]["Properties"]
    (source,) = [event["Properties"] for event in promote["Events"].values()]
    limit = DEFAULTS[source["ScalingConfig"]["MaximumConcurrency"]["Ref"]]
    # AWS: "Configuring maximum concurrency for Amazon SQS event sources"
    assert 2 <= limit * source["BatchSize"] <= 20
    assert promote["ReservedConcurrentExecutions"] == {"Ref": "AWS::NoValue"}


def configure(client: S3Client, bucket: str) -> None:
    """Configure a bucket as CloudFormation would."""
    rules: list[Any] = []
    for item in UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]:
        rule: Any = {"ID": item["Id"], "Status": item["Status"], "Filter": {"Prefix": item.get("Prefix", "")}}
        if "TagFilters" in item:
            rule["Filter"] = {"And": {"Prefix": item["Prefix"], "Tags": item["TagFilters"]}}
        expiration = {"Days": item.get("ExpirationInDays")}
        expiration["ExpiredObjectDeleteMarker"] = item.get("ExpiredObjectDeleteMarker")
        rule["Expiration"] = {name: value for name, value in expiration.items() if value is not None}
        for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
            rule[name] = item.get(name)
        rules.append({name: value for name, value in rule.items() if value})
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    (cors,) = UPLOAD_BUCKET["CorsConfiguration"]["CorsRules"]
    renamed: Any = {
        {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds"}.get(k, k): v for k, v in cors.items()
    }
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [renamed]})
    client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=UPLOAD_BUCKET["OwnershipControls"])
    client.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration=UPLOAD_BUCKET["PublicAccessBlockConfiguration"]
    )
    document = json.dumps(RESOURCES["UploadBucketPolicy"]["Properties"]["PolicyDocument"])
    arn = f"arn:aws:s3:::{bucket}"
    document = document.replace('{"GetAtt": "UploadBucket.Arn"}', f'"{arn}"')
    document = re.sub(r'\{"Sub": "\$\{UploadBucket\.Arn\}([^"]*)"\}', rf'"{arn}\1"', document)
    client.put_bucket_policy(Bucket=bucket, Policy=document)
    client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


@pytest.mark.strict_s3
def test_s3_accepts_the_configuration_of_the_bucket(strict_s3: S3Client, strict_bucket: str) -> None:
    configure(strict_s3, strict_bucket)
    rules = strict_s3.get_bucket_lifecycle_configuration(Bucket=strict_bucket)["Rules"]
    assert [rule["ID"] for rule in rules] == [item["Id"] for item in UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]]
    block = strict_s3.get_public_access_block(Bucket=strict_bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    (owner,) = strict_s3.get_bucket_ownership_controls(Bucket=strict_bucket)["OwnershipControls"]["Rules"]
    assert owner["ObjectOwnership"] == "BucketOwnerEnforced"
    policy = json.loads(strict_s3.get_bucket_policy(Bucket=strict_bucket)["Policy"])
    assert policy["Statement"][1]["Resource"] == f"arn:aws:s3:::{strict_bucket}/files/*"
    assert "EventBridgeConfiguration" in strict_s3.get_bucket_notification_configuration(Bucket=strict_bucket)


@pytest.mark.strict_s3
def test_page_of_any_site_may_send_parts_and_forms(strict_s3: S3Client, strict_bucket: str) -> None:
    configure(strict_s3, strict_bucket)
    client = create_app(Settings.from_environ({"UPLOAD_BUCKET": strict_bucket, "ACCESS": "public"})).test_client()
    direct = DirectClient(client=client)
    part: Any = direct.part_url(direct.begun("a.txt"), 1).json
    form: Any = direct.presigned_post("a.txt").json
    origin = {"Origin": "https://example.com"}
    for method, url in (("PUT", part["url"]), ("POST", form["url"])):
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
        preflight = requests.options(url, headers=origin | asked, timeout=10)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] in ("*", "https://example.com")
        assert method in preflight.headers["Access-Control-Allow-Methods"]
        asked["Access-Control-Request-Method"] = "DELETE"
        assert requests.options(url, headers=origin | asked, timeout=10).status_code == 403
    sent = requests.put(part["url"], data=samples.TEXT, headers=origin, timeout=10)
    assert sent.status_code == 200
    assert "etag" in sent.headers["Access-Control-Expose-Headers"].lower()


@pytest.mark.strict_s3
def test_script_of_any_site_may_read_a_file(strict_s3: S3Client, strict_bucket: str) -> None:
    configure(strict_s3, strict_bucket)
    client = create_app(Settings.from_environ({"UPLOAD_BUCKET": strict_bucket, "ACCESS": "public"})).test_client()
    url = client.put("/upload/a.txt", data=samples.TEXT).json["url"]  # type: ignore[index]
    for origin in ("https://example.com", "null"):  # browsers send null after a redirect to another origin
        fields = {"Origin": origin, "Range": "bytes=1-3"}
        for method in ("GET", "HEAD"):
            location = client.open(url, method=method).headers["Location"]
            asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "range"}
            assert requests.options(location, headers=fields | asked, timeout=10).status_code == 200
            read = requests.request(method, location, headers=fields, timeout=10)
            assert read.status_code == 206
            assert read.headers["Access-Control-Allow-Origin"] in ("*", origin)
            exposed = {name.strip() for name in read.headers["Access-Control-Expose-Headers"].lower().split(",")}
            assert exposed == {"content-disposition", "content-range", "etag"}
            assert {"Content-Disposition", "Content-Range", "ETag"} <= set(read.headers)

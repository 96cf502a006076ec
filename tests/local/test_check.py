"""``python -m handler check``, over moto, a strict S3 and a store that ignores conditions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.local import bucket_check, cli
from handler.local.check import check_bucket
from handler.local.server import Server
from handler.settings import Settings
from handler.storage.s3.client import make_client

from ..conftest import BUCKET
from ..support import fake_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from handler.local.findings import Finding

ROOT = Path(__file__).parents[2]
ORIGIN = "http://127.0.0.1:8000"
SUBJECTS = ["credentials", "bucket", "region", "versioning", "CORS", "If-None-Match: *"]
RULE: dict[str, Any] = {
    "AllowedMethods": ["PUT", "POST"],
    "AllowedOrigins": ["*"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["ETag"],
}


def findings(bucket: str = BUCKET, **environ: str) -> dict[str, Finding]:
    settings = Settings.from_environ({"UPLOAD_BUCKET": bucket} | environ)
    return {finding.subject: finding for finding in check_bucket(bucket, settings=settings, own_origin=ORIGIN)}


def allow(client: S3Client, bucket: str, *rules: Any) -> None:
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})


def versions_of(client: S3Client, bucket: str) -> list[Any]:
    listed = client.list_object_versions(Bucket=bucket)
    return [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    status = cli.main([*arguments, "check"])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def test_good_bucket_passes_and_keeps_no_probe(
    s3: S3Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    allow(s3, BUCKET, RULE)
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    status, lines, errors = run(capsys)
    assert (status, errors) == (0, "")
    assert [line.split()[0] for line in lines] == ["ok"] * 7
    assert [line[6:24].strip() for line in lines] == ["settings", *SUBJECTS]
    assert versions_of(s3, BUCKET) == []


@pytest.mark.strict_s3
def test_good_bucket_passes_over_a_strict_s3(strict_s3: S3Client, strict_bucket: str) -> None:
    allow(strict_s3, strict_bucket, RULE)
    result = findings(strict_bucket)
    assert [finding.ok for finding in result.values()] == [True] * len(SUBJECTS), result
    assert versions_of(strict_s3, strict_bucket) == []


@pytest.mark.strict_s3
def test_new_bucket_of_a_strict_s3_needs_versioning_and_cors(strict_s3: S3Client) -> None:
    bucket = f"uploads-{uuid.uuid4()}"
    strict_s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    result = findings(bucket)
    assert [name for name, finding in result.items() if not finding.ok] == ["versioning", "CORS"]
    assert result["versioning"].stops_server


@pytest.mark.usefixtures("s3")
def test_missing_bucket_is_named() -> None:
    result = findings("some-other-bucket")
    assert list(result) == ["credentials", "bucket"]
    assert result["bucket"].stops_server
    assert "'some-other-bucket' does not exist. Correct UPLOAD_BUCKET" in result["bucket"].sentence


@pytest.mark.usefixtures("s3")
def test_bucket_of_another_region_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    result = findings()["region"]
    assert result.stops_server
    assert result.sentence.endswith("Set AWS_DEFAULT_REGION=eu-central-1.")


@pytest.mark.parametrize("status", [None, "Suspended"])
def test_bucket_without_versioning_is_refused(s3: S3Client, status: str | None) -> None:
    bucket = BUCKET if status else "a-bucket-without-versions"
    if status:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    else:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    result = findings(bucket)["versioning"]
    assert result.stops_server
    assert f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration" in result.sentence


@pytest.mark.usefixtures("s3")
def test_missing_credentials_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    result = findings()
    assert list(result) == ["credentials"]
    assert result["credentials"].stops_server
    assert "AWS_PROFILE" in result["credentials"].sentence


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ({}, True),
        ({"AllowedOrigins": [ORIGIN, "https://a.example"]}, True),
        ({"AllowedOrigins": ["http://*", "https://*.example"]}, True),
        ({"AllowedOrigins": ["https://*"]}, False),
        ({"AllowedOrigins": [ORIGIN]}, False),  # and not https://a.example
        ({"AllowedMethods": ["PUT"]}, False),
        ({"ExposeHeaders": ["x-amz-request-id"]}, False),
        ({"ExposeHeaders": ["etag"]}, True),
        ({"AllowedHeaders": []}, True),  # browsers send none that S3 would have to allow
    ],
    ids=json.dumps,
)
def test_cors_rules_must_allow_direct_uploads(s3: S3Client, rule: dict[str, Any], passes: bool) -> None:
    allow(s3, BUCKET, RULE | rule)
    result = findings(ALLOWED_ORIGINS="https://a.example")["CORS"]
    assert result.ok is passes
    assert not result.stops_server
    assert ("straight to it from http" in result.sentence) is not passes


def test_bucket_without_cors_rules_is_reported(s3: S3Client) -> None:
    result = findings()["CORS"]
    assert not result.ok
    command, _, rules = result.sentence.partition(" --cors-configuration ")
    assert command.endswith(f"aws s3api put-bucket-cors --bucket {BUCKET}")
    allow(s3, BUCKET, *json.loads(rules.strip("'"))["CORSRules"])
    assert findings()["CORS"].ok


VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
NO_RULES = b"<Error><Code>NotImplemented</Code></Error>"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_s3.FakeS3]:
    """A store that speaks S3's protocol and has its own view of it."""
    with fake_s3.serve() as store:
        store.bucket_settings = {"versioning": (200, VERSIONING), "cors": (501, NO_RULES)}
        store.allowed_origin = "*"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store.url)
        yield store


def test_look_alike_that_enforces_conditions_passes(store: fake_s3.FakeS3) -> None:
    result = findings()
    assert list(result) == SUBJECTS
    assert [finding.ok for finding in result.values()] == [True] * len(SUBJECTS), result
    assert store.objects == {}
    assert len(store.requests) <= 10


def test_store_that_ignores_if_none_match_is_refused(store: fake_s3.FakeS3) -> None:
    store.ignores_conditions = True
    result = findings()["If-None-Match: *"]
    assert result.stops_server
    assert "the store ignores If-None-Match, so one file could replace another" in result.sentence
    assert store.objects == {}
    writes = [path for method, path, _ in store.requests if method == "PUT"]
    assert len(writes) == 2
    assert writes[0] == writes[1]
    assert writes[0].startswith(f"/{BUCKET}/{bucket_check.PROBE_PREFIX}")


def test_refused_preflight_of_the_store_is_reported(store: fake_s3.FakeS3) -> None:
    store.allowed_origin = "https://other.example"
    result = findings()["CORS"]
    assert not result.ok
    assert ORIGIN in result.sentence


def test_probe_that_stays_is_named(store: fake_s3.FakeS3) -> None:
    # HeadBucket, versioning, CORS, its preflight, two writes; then the DELETE is forbidden.
    store.behaviours = ["good"] * 6 + ["forbid"]
    result = findings()["If-None-Match: *"]
    assert result.ok
    (left,) = store.objects
    assert f"{left.removeprefix(f'/{BUCKET}/')} could not be deleted" in result.sentence


@pytest.mark.parametrize(
    ("behaviours", "subject", "fragment", "stops"),
    [
        (["forbid"] * 2, "bucket", "may not list the bucket", True),
        (["good", "forbid"], "versioning", "Allow s3:GetBucketVersioning", False),
        (["good", "good", "forbid"], "CORS", "Allow s3:GetBucketCORS", False),
        (["good"] * 4 + ["forbid"], "If-None-Match: *", "Allow s3:PutObject", False),
        (["reset"] * 3, "bucket", "S3 cannot be reached", True),
        (["good", "garbage as an error"], "versioning", "Use a store that keeps versions", True),
    ],
)
def test_each_failure_has_its_sentence(
    store: fake_s3.FakeS3, behaviours: list[str], subject: str, fragment: str, stops: bool
) -> None:
    store.behaviours = behaviours
    result = findings()[subject]
    assert (result.ok, result.stops_server) == (False, stops)
    assert fragment in result.sentence


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_rejected_credentials_are_not_a_missing_bucket(code: str) -> None:
    finding = bucket_check._explain(code, bucket=BUCKET, region="eu-central-1")
    assert (finding.subject, finding.stops_server) == ("credentials", True)
    assert code in finding.sentence


@pytest.mark.usefixtures("s3")
def test_reason_of_a_failed_head_request_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response to HEAD has no body, and so no code."""
    client = make_client()

    def refuse(**_: object) -> None:
        raise client.exceptions.ClientError(
            {"Error": {"Code": "InvalidAccessKeyId"}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
            "ListObjectsV2",
        )

    head = client.exceptions.ClientError(
        {"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
        "HeadBucket",
    )
    monkeypatch.setattr(client, "list_objects_v2", refuse)
    assert bucket_check._reason(client, BUCKET, head) == "InvalidAccessKeyId"


def test_folder_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = run(capsys, "--folder", str(tmp_path))
    assert status == 0
    assert lines == [
        "ok    settings          every setting has a valid value.",
        f"ok    folder            {tmp_path} takes files.",
    ]


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"ALLOWED_EXTENSIONS": "xyz"}, "FAIL  settings          ALLOWED_EXTENSIONS is 'xyz': 'xyz' is not one of "),
        ({"UPLOAD_FOLDER": "/dev/null/x"}, "FAIL  folder            UPLOAD_FOLDER is '/dev/null/x': files cannot be "),
        ({"UPLOAD_BUCKET": "abc", "AWS_DEFAULT_REGION": ""}, "FAIL  region            AWS_DEFAULT_REGION is not set: "),
        ({"UPLOAD_BUCKET": "abc", "AWS_PROFILE": "none"}, "FAIL  credentials       AWS_PROFILE is 'none': "),
    ],
)
def test_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], line: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    status, lines, errors = run(capsys)
    assert (status, errors, len(lines)) == (1, "", 1)
    assert lines[0].startswith(line)


def test_misspelt_setting_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ALOWED_EXTENSIONS", "png")
    status, _, errors = run(capsys, "--folder", str(tmp_path))
    assert status == 0
    assert errors.startswith("handler: warning: ALOWED_EXTENSIONS ")
    assert "ALLOWED_EXTENSIONS" in errors


# The local server's start.


def starts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Start the server and stop it at once.

    :returns: its exit status and its standard error.
    """
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    monkeypatch.setattr(Server, "serve_forever", lambda _: None)
    monkeypatch.setattr(cli, "_stop_on_signals", lambda _: None)
    monkeypatch.setattr(cli, "_write_log", lambda: None)
    return cli.main(["--port", "0"]), capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_server_starts_with_a_good_bucket(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert starts(monkeypatch, capsys) == (0, "")


@pytest.mark.parametrize("flaw", ["no versions", "no conditions", "no bucket", "no credentials"])
def test_server_does_not_start_with_a_bucket_that_loses_files(
    store: fake_s3.FakeS3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flaw: str
) -> None:
    match flaw:
        case "no versions":
            store.bucket_settings["versioning"] = (200, b"<VersioningConfiguration/>")
        case "no conditions":
            store.ignores_conditions = True
        case "no bucket":
            store.behaviours = ["not found"]
        case "no credentials":
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    status, errors = starts(monkeypatch, capsys)
    assert status == 2
    (line,) = errors.splitlines()
    assert line.startswith("handler: ")
    assert "warning" not in line
    assert "Traceback" not in line


def test_server_warns_of_missing_cors_rules_and_starts(
    store: fake_s3.FakeS3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.allowed_origin = ""
    status, errors = starts(monkeypatch, capsys)
    assert status == 0
    assert errors.startswith("handler: warning: CORS: ")


def test_missing_boto3_is_named_with_the_command_that_installs_it() -> None:
    code = "import sys; sys.modules['botocore'] = sys.modules['boto3'] = None; from handler.local.cli import main; "
    command = [sys.executable, "-c", f"{code} sys.exit(main(['--port', '0']))"]
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"UPLOAD_BUCKET": BUCKET}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    reason = f"UPLOAD_BUCKET is '{BUCKET}': a bucket needs boto3. Install it: {sys.executable} -m pip install boto3"
    assert result.stderr == f"handler: {reason}\n"

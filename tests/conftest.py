"""Fixtures: the app over each storage, a client, a bucket in moto, a browser, and SAM CLI."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from moto import mock_aws

from handler.app import create_app
from handler.settings import Settings
from handler.storage.folder.files import LocalStorage
from handler.storage.s3.client import make_client
from handler.storage.s3.files import S3Storage

from .support import chromium, contract, hashing_s3, sam
from .support.lambda_runtime import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from mypy_boto3_s3 import S3Client
    from playwright.sync_api import Browser
    from werkzeug.test import TestResponse

    from handler.storage import Storage

BUCKET = "uploads-of-a-test"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason to skip a test. pytest's own summary has one for each test."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"SKIPPED {count}: {reason.removeprefix('Skipped: ')}")


class BufferedClient(FlaskClient):
    """Reads each answer to its end, so that a file that is sent is closed again, and holds it to the contract."""

    def open(self, *args: Any, buffered: bool = True, **kwargs: Any) -> TestResponse:
        response = super().open(*args, buffered=buffered, **kwargs)
        contract.check(self.application, response)
        return response


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own settings, so that they decide no test."""
    for name in os.environ:
        if name.startswith(
            (
                "AWS_",
                "UPLOAD_",
                "MAX_",
                "ALLOW",
                "ACCESS",
                "TOKEN_",
                "DOWNLOADS",
                "FILE_FIELDS",
                "METADATA_",
                "TRUSTED_",
                "INLINE_",
                "KEEP_",
            )
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture(autouse=True)
def _one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each storage copy with its ordinary client, so that a test that watches this client sees the copies too."""
    monkeypatch.setattr(S3Storage, "copying_client", property(lambda storage: storage.client))


@pytest.fixture
def s3(_no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """A client to an S3 in this process, with an empty, versioned bucket."""
    hashing_s3.install(monkeypatch)
    with mock_aws():
        client = make_client()
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture
def strict_s3(_no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    """A client to an S3 that checks more than moto: signatures, checksums, conditions."""
    url = os.environ.get("STRICT_S3_URL")
    if not url:
        pytest.skip("STRICT_S3_URL does not say where a strict S3 is; .ci/run starts one")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers credentials
    return make_client()


@pytest.fixture
def strict_bucket(strict_s3: S3Client) -> str:
    """A new, versioned bucket in the strict S3, which forgets all when it stops."""
    bucket = f"uploads-{uuid.uuid4()}"
    strict_s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    strict_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture(params=["folder", "s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def kind(request: pytest.FixtureRequest) -> str:
    """Each test that uses it runs over each storage."""
    kind: str = request.param
    return kind


@pytest.fixture
def destination(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The setting that says where files go."""
    if kind == "s3":
        request.getfixturevalue("s3")
        return {"UPLOAD_BUCKET": BUCKET}
    if kind == "strict_s3":
        return {"UPLOAD_BUCKET": request.getfixturevalue("strict_bucket")}
    return {"UPLOAD_FOLDER": str(tmp_path / "uploads")}


@pytest.fixture
def make_app(destination: dict[str, str]) -> Callable[..., Flask]:
    """Makes the app with these settings, given as the environment has them."""

    def make(**environ: str) -> Flask:
        app = create_app(Settings.from_environ(destination | environ))
        app.test_client_class = BufferedClient
        app.testing = False  # faults are answered, as in real life
        return app

    return make


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app().test_client()


@pytest.fixture
def storage(kind: str, destination: dict[str, str], request: pytest.FixtureRequest) -> Storage:
    if kind == "folder":
        return LocalStorage(Path(destination["UPLOAD_FOLDER"]))
    return S3Storage(destination["UPLOAD_BUCKET"], client=request.getfixturevalue(kind))


@pytest.fixture
def stored_keys(kind: str, destination: dict[str, str], request: pytest.FixtureRequest) -> Callable[[], list[str]]:
    """Lists the keys of all objects in the bucket, or the paths of all files below the folder."""

    def keys() -> list[str]:
        if kind == "folder":
            folder = Path(destination["UPLOAD_FOLDER"])
            return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        client: S3Client = request.getfixturevalue(kind)
        listed = client.list_objects_v2(Bucket=destination["UPLOAD_BUCKET"])
        return sorted(entry["Key"] for entry in listed.get("Contents", []))

    return keys


@pytest.fixture
def incoming(kind: str, destination: dict[str, str], request: pytest.FixtureRequest) -> Callable[[], list[str]]:
    """Lists the uploads without a verdict: each version in ``incoming/``, and each multipart upload."""

    def keys() -> list[str]:
        if kind == "folder":
            return sorted(path.name for path in Path(destination["UPLOAD_FOLDER"], "incoming").iterdir())
        s3: S3Client = request.getfixturevalue(kind)
        bucket = destination["UPLOAD_BUCKET"]
        versions = s3.list_object_versions(Bucket=bucket, Prefix="incoming/").get("Versions", [])
        uploads = s3.list_multipart_uploads(Bucket=bucket, Prefix="incoming/").get("Uploads", [])
        return sorted([version["Key"] for version in versions] + [upload["Key"] for upload in uploads])

    return keys


@pytest.fixture(scope="module")
def sam_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template that ``sam build`` makes."""
    return sam.build(tmp_path_factory.mktemp("sam"))


@pytest.fixture
def sam_options(sam_artifact: Path, strict_s3: S3Client) -> list[str]:
    """The options of ``sam local`` for functions that ask for tokens and store in the strict S3.

    Only botocore's own variable says where S3 is.
    """
    template = sam_artifact.with_name("with-strict-s3.yaml")
    # The variables of both functions come first.
    before, variables, after = sam_artifact.read_text().partition("      Variables:\n")
    assert variables
    assert "Resources:" not in before
    template.write_text(f"{before}{variables}        AWS_ENDPOINT_URL_S3: {strict_s3.meta.endpoint_url}\n{after}")
    parameters = f"Access=token TokenSecret={SECRET} AllowedOrigins=https://example.com"
    return ["--template", str(template), "--parameter-overrides", parameters]


@pytest.fixture
def sam_api(sam_options: list[str], strict_bucket: str, tmp_path: Path) -> Iterator[str]:
    """The URL of the function under `sam local start-api`."""
    with sam.start_api(
        *sam_options, "--warm-containers", "LAZY", log=tmp_path / "sam.log", UPLOAD_BUCKET=strict_bucket
    ) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415  (it is not in every environment)
    except ImportError:
        pytest.skip("playwright is not installed; make browser or make clients brings it")
    executable = shutil.which("chromium")
    if not executable:
        pytest.skip("there is no chromium on the PATH; .ci/run installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=chromium.OPTIONS)
        yield browser
        browser.close()

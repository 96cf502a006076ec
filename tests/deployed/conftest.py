"""Fixtures: a deployment, on AWS or in the emulated AWS that ``.ci/emulated-aws`` starts.

``make deployed`` sets ``ENDPOINT`` and ``BUCKET``. ``TOKEN_SECRET`` and the AWS credentials come from the environment.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import boto3
import pytest
import requests

from handler.web.access import SCOPES
from handler.web.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STACK = "upload"
"""The name of the stack in the emulated AWS."""
SECONDS = 300
"""The longest time that a test waits for an event. It stops waiting when the event happens."""
ENVIRONMENT = dict(os.environ)
"""The environment before tests/conftest.py empties it for each test."""

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A deployment, and a client that has an upload token.

    :param endpoint: the stack's output ``Endpoint``.
    :param bucket: the stack's output ``Bucket``.
    :param token: an upload token with all scopes; ``""`` sends none.
    :param port: the port of the emulated AWS, which stands in for every host name of AWS. ``None`` for AWS itself.
    :param urls: gets the URL of each file that the tests stored.
    """

    endpoint: str
    bucket: str
    token: str
    port: str | None
    urls: set[str] = field(default_factory=set)

    @property
    def root(self) -> str:
        """The URL that the paths of all routes follow, such as ``files``."""
        return self.endpoint.removesuffix("upload")

    @property
    def bucket_url(self) -> str:
        """The beginning of the bucket's URLs, without the region."""
        return f"https://{self.bucket}.s3."

    def anonymous(self) -> Deployed:
        """Return the same deployment without a token."""
        return replace(self, token="")

    def with_claims(self, **claims: Any) -> Deployed:
        """Return the same deployment with another token.

        :param claims: as :func:`~handler.web.tokens.mint` takes them.
        """
        return replace(self, token=mint(ENVIRONMENT["TOKEN_SECRET"], expires_seconds=600, **claims))

    def aws(self, service: str) -> Any:
        return boto3.client(service)  # type: ignore[call-overload]

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> requests.Response:
        """Send a request to the endpoint or to the bucket. A request to the endpoint has the token.

        :param url: the whole URL, or a path after ``root``.
        :param more: for ``requests.request``.
        """
        url = url if "://" in url else f"{self.root}{url}"
        fields = dict(headers or {})
        uploads = url.startswith(self.endpoint)  # a list of files also names those of others
        if url.startswith(self.root) and self.token:
            fields.setdefault("Authorization", f"Bearer {self.token}")
        if self.port:
            parts = urlsplit(url)
            fields["Host"] = parts.netloc
            url = parts._replace(netloc=f"127.0.0.1:{self.port}").geturl()
        response = requests.request(method, url, headers=fields, timeout=60, allow_redirects=False, **more)
        self.urls.update(_stored_files(response) if uploads else ())
        return response

    def stored(self, file_id: str) -> list[Any]:
        """Return the objects of a file: one, or none."""
        listed = self.aws("s3").list_objects_v2(Bucket=self.bucket, Prefix=f"files/{file_id}/")
        return list(listed.get("Contents", []))


def _stored_files(response: requests.Response) -> Iterator[str]:
    """Yield the URLs of the files in the response to an upload, or in its status."""
    # API Gateway gives this media type to a response without a body as well.
    if response.content and response.headers.get("Content-Type", "").startswith("application/json"):
        body = response.json()
        if isinstance(body, dict):
            yield from (file["url"] for file in [*body.get("files", ()), body.get("file")] if file and "url" in file)


@dataclass(frozen=True, kw_only=True)
class Emulated:
    """The stack in the emulated AWS, which tests may change for a moment.

    :param resources: the physical ids, by the names in template.yaml.
    :param parameters: the values of the template's parameters.
    :param folder: the folder of the emulation, with its logs and its certificate.
    """

    resources: Mapping[str, str]
    parameters: Mapping[str, str]
    folder: Path


@pytest.fixture
def deployed(_no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """A deployment. At the end of the test, its files are deleted again."""
    missing = [name for name in ("ENDPOINT", "BUCKET", "TOKEN_SECRET") if not ENVIRONMENT.get(name)]
    if missing:
        pytest.skip(f"{' and '.join(missing)}: not set. See make deployed, and .ci/emulated-aws")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers credentials
    deployed = Deployed(
        endpoint=ENVIRONMENT["ENDPOINT"].rstrip("/"),
        bucket=ENVIRONMENT["BUCKET"],
        token=mint(ENVIRONMENT["TOKEN_SECRET"], expires_seconds=600, scopes=SCOPES),
        port=ENVIRONMENT.get("EMU_PORT"),
    )
    yield deployed
    for url in sorted(deployed.urls):
        assert deployed.send("DELETE", url).status_code in (204, 404)


@pytest.fixture
def emulated(deployed: Deployed) -> Emulated:
    if not deployed.port:
        pytest.skip("only in the emulated AWS: this test changes the deployment, or reads its resources")
    client = deployed.aws("cloudformation")
    resources = client.describe_stack_resources(StackName=STACK)["StackResources"]
    (stack,) = client.describe_stacks(StackName=STACK)["Stacks"]
    return Emulated(
        resources={resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "") for resource in resources},
        parameters={item["ParameterKey"]: item.get("ParameterValue", "") for item in stack["Parameters"]},
        folder=Path(ENVIRONMENT["AWS_CA_BUNDLE"]).parents[1],
    )


def eventually(find: Callable[[], _Found | None]) -> _Found:
    """Call a function again and again until it returns a result."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if value := find():
            return value
        time.sleep(0.5)
    pytest.fail(f"{find.__doc__ or find} did not happen in {SECONDS} s")

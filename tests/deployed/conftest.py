"""Fixtures: the deployed stack, in the emulated AWS that ``.ci/emulated-aws`` starts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import boto3
import pytest
import requests

from handler.web.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STACK = "upload"
SECONDS = 120
"""The longest time that a test waits for an event. It stops waiting when the event happens."""
ENVIRONMENT = dict(os.environ)
"""The environment before tests/conftest.py empties it for each test. ``emulated-aws env`` prints the variables."""

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A deployed stack, and a client that has an upload token.

    :param resources: the physical ids, by the names in template.yaml.
    :param port: the port of the emulated AWS, which stands in for every host name of AWS.
    :param token: an upload token with the scope ``upload``.
    """

    resources: Mapping[str, str]
    port: str
    token: str

    @property
    def endpoint(self) -> str:
        region = ENVIRONMENT["AWS_REGION"]
        return f"https://{self.resources['Api']}.execute-api.{region}.amazonaws.com/live/upload"

    @property
    def root(self) -> str:
        """The URL that the paths of all routes follow, such as ``files``."""
        return self.endpoint.removesuffix("upload")

    def with_claims(self, **claims: Any) -> Deployed:
        """Return the same stack with another token.

        :param claims: as :func:`~handler.web.tokens.mint` takes them.
        """
        return replace(self, token=mint(ENVIRONMENT["TOKEN_SECRET"], expires_seconds=600, **claims))

    def aws(self, service: str) -> Any:
        return boto3.client(service)  # type: ignore[call-overload]

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> requests.Response:
        """Send a request to a host of AWS. A request to the API has the token."""
        parts = urlsplit(url)
        headers = {**(headers or {}), "Host": parts.netloc}
        if url.startswith(self.root):
            headers["Authorization"] = f"Bearer {self.token}"
        address = parts._replace(netloc=f"127.0.0.1:{self.port}").geturl()
        return requests.request(method, address, headers=headers, timeout=60, allow_redirects=False, **more)


@pytest.fixture
def deployed(_no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    if "EMU_PORT" not in ENVIRONMENT:
        pytest.skip("EMU_PORT does not say where an emulated AWS is; .ci/emulated-aws starts one as root")
    for name, value in ENVIRONMENT.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    described = boto3.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    return Deployed(
        resources={resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "") for resource in described},
        port=ENVIRONMENT["EMU_PORT"],
        token=mint(ENVIRONMENT["TOKEN_SECRET"], expires_seconds=600),
    )


def eventually(find: Callable[[], _Found | None]) -> _Found:
    """Call a function again and again until it returns a result."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if value := find():
            return value
        time.sleep(0.5)
    pytest.fail(f"{find.__doc__ or find} did not happen in {SECONDS} s")

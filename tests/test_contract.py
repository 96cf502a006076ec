"""Random requests, inside and outside of the contract, get documented responses.

Schemathesis makes the requests out of the contract and checks the answers. It is in an environment of its own, which
``make contract`` makes: it brings a lot, and takes a while.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.wsgi import ClosingIterator

from handler.web.access import SCOPES
from handler.web.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flask import Flask

try:
    import schemathesis
    from hypothesis import HealthCheck, settings
    from schemathesis.specs.openapi.checks import unsupported_method
except ImportError:
    pytest.skip("schemathesis is not installed; make contract brings it", allow_module_level=True)

schemathesis.serializer.alias(
    ["application/offset+octet-stream", "application/partial-upload"], "application/octet-stream"
)

pytestmark = pytest.mark.contract

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "40"))
"""How many requests are made up for each operation, besides those that reach for its limits."""
SECRET = "no secret but long enough to pass for one"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
)
"""Without the checks that compare the response with the validity of the request: no schema describes a JPEG."""
SCENARIOS: dict[str, dict[str, Any]] = {
    "open to its own machine": {},
    "with a token": {"environ": {"TOKEN_SECRET": SECRET}, "token": True},
    "without a token": {"environ": {"TOKEN_SECRET": SECRET}, "accept": "text/html"},
    "public, without downloads": {"environ": {"ACCESS": "public", "DOWNLOADS": "off"}, "accept": "application/json"},
}
made: Counter[str] = Counter()
"""How many requests were made of each operation, how many answers had each status, and how many checks were made."""


def bearer() -> str:
    return f"Bearer {mint(SECRET, expires_seconds=3600, scopes=SCOPES)}"


class Client:
    """The app as a client reaches it over a network: from an address, with its token.

    :param accept: the media type that it asks for.
    :param token: whether it has a token.
    """

    def __init__(self, app: Flask, *, accept: str | None = None, token: bool = False) -> None:
        self._app = app
        self._fields = {"REMOTE_ADDR": "127.0.0.1"}
        if accept:
            self._fields["HTTP_ACCEPT"] = accept
        if token:
            self._fields["HTTP_AUTHORIZATION"] = bearer()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ |= self._fields
        if environ.get("CONTENT_TYPE", "").startswith("multipart/"):
            # Schemathesis names its files by no extension at all, so that none would get beyond its name.
            body = environ["wsgi.input"].read().replace(b'; filename="file"', b'; filename="file.txt"')
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        response = ClosingIterator(self._app(environ, start_response))
        try:
            return [b"".join(response)]
        finally:
            response.close()  # which Schemathesis leaves to the garbage collector


@pytest.fixture(params=["folder", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(params=SCENARIOS)
def api(request: pytest.FixtureRequest, make_app: Callable[..., Flask]) -> Any:
    scenario = dict(SCENARIOS[request.param])
    app = make_app(**scenario.pop("environ", {}))
    config = schemathesis.Config.from_dict(
        {
            "generation": {"deterministic": True, "max-examples": EXAMPLES, "database": "none"},
            "base-url": "http://localhost",  # it does not resolve the relative address in the contract
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
        }
    )
    schema = schemathesis.openapi.from_wsgi("/openapi.json", Client(app, **scenario), config=config)

    def map_path_parameters(context: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:
        """Let half of the requests get somewhere: no name that is made up is allowed, and no such file is there."""
        made_up = path_parameters or {}
        if not made_up or sum(len(str(value)) for value in made_up.values()) % 2 == 0:
            return path_parameters
        client, headers = app.test_client(), {"Authorization": bearer()}
        if "upload_id" in made_up:
            begun = client.post("/upload/s3/multipart", json={"filename": "a.txt"}, headers=headers)
            made_up |= {"upload_id": begun.get_json()["uploadId"]}
        if "token" in made_up:
            made_up |= {"token": mint(SECRET, expires_seconds=600)}
        if context.operation.path.endswith("/{name}") and context.operation.method in ("put", "post"):
            made_up |= {"name": f"{made_up.get('name', 'a')}.txt"}  # an example brings the name later
        elif context.operation.method == "patch":
            fields = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "filename YS50eHQ="}
            location = client.post("/upload", headers=headers | fields).headers["Location"]
            made_up |= {"name": location.rpartition("/")[2]}
        elif context.operation.path in ("/upload/{name}", "/files/{file_id}/{name}"):
            (file,) = client.put("/upload/a.txt", data=b"hello", headers=headers).get_json()["files"]
            made_up |= {"file_id": file["id"], "name": file["name"]} if "file_id" in made_up else {"name": file["id"]}
        return made_up

    def after_validate(context: Any, case: Any, response: Any, results: list[Any]) -> None:  # noqa: ARG001
        made.update((case.operation.label, str(response.status_code)))
        made["checks"] += len(results)

    schema.hook(map_path_parameters)
    schema.hook(after_validate)
    return schema


@pytest.fixture(scope="module", autouse=True)
def _tell(request: pytest.FixtureRequest) -> Iterator[None]:
    """Say at the end how much was tried: that nothing failed says little if that was little."""
    yield
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print()
        for key, count in sorted(made.items()):
            print(f"{count:8,} {key}")


schema = schemathesis.pytest.from_fixture("api")


def answer(case: Any) -> None:
    # GET …/complete asks for the URL of a part that is called so; with a bucket nothing is at …/incoming.
    path = case.operation.path
    excluded = [unsupported_method] if path.endswith("/complete") or path.startswith("/upload/s3/incoming") else []
    case.call_and_validate(excluded_checks=excluded)


test_every_answer_is_documented = schema.parametrize()(
    settings(suppress_health_check=list(HealthCheck), deadline=None)(answer)
)

"""The contract is valid OpenAPI, complete, and served; that answers are like it is seen to by ``contract.check``."""

from __future__ import annotations

import io
import itertools
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import validate

from handler.resumable import ietf
from handler.web import forms
from handler.webhooks.events import FILE_STORED

from ..support import samples
from ..support.contract import CONTRACT, resolve
from ..support.documentation import all_problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

ROOT = Path(__file__).parents[2]
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in CONTRACT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}


@pytest.fixture
def kind() -> str:
    """Nothing here depends on the storage."""
    return "folder"


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        return {node["$ref"]} if "$ref" in node else set().union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_document_is_valid_openapi() -> None:
    assert CONTRACT["openapi"].startswith("3.1.")
    validate(CONTRACT)


def test_document_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert CONTRACT["info"]["version"] == project["project"]["version"]
    assert "openapi.json" in project["tool"]["setuptools"]["package-data"]["handler"]


def test_document_has_exactly_the_routes_of_the_app(make_app: Callable[..., Flask]) -> None:
    routes = {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in make_app().url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(OPERATIONS) == routes


def test_document_has_the_webhook_and_its_event() -> None:
    """Whether requests are as documented: ``contract.check_webhook``, for every way in, offline and on AWS."""
    assert set(CONTRACT["webhooks"]) == {FILE_STORED}
    assert CONTRACT["components"]["schemas"]["FileStoredEvent"]["properties"]["type"]["enum"] == [FILE_STORED]


def test_no_optional_header_field_is_a_parameter() -> None:
    """Importers such as Postman send each parameter with a placeholder, and ``Content-MD5: <string>`` is refused.
    So the descriptions have the optional header fields. An upload has no optional parameter in its query either.
    """
    for name, operation in OPERATIONS.items():
        optional = [
            parameter for parameter in map(resolve, operation.get("parameters", [])) if not parameter.get("required")
        ]
        assert not [parameter for parameter in optional if parameter["in"] == "header"], name
        if "upload" in operation["tags"]:
            assert not optional, name
    for method in ("post", "put"):
        for field in ("Content-Digest", "Repr-Digest", "Content-MD5"):
            path = "/upload" if method == "post" else "/upload/{name}"
            assert f"`{field}`" in CONTRACT["paths"][path][method]["description"]


@pytest.mark.parametrize("token", ["", "/t/{token}"])
def test_piece_has_its_header_fields_as_parameters(token: str) -> None:
    """Generated clients send the parameters. A piece always needs these two fields."""
    append = CONTRACT["paths"][f"/upload{token}/{{name}}"]["patch"]
    fields = {field["name"]: field["schema"] for field in map(resolve, append["parameters"]) if field["in"] == "header"}
    assert fields == {
        "Upload-Offset": {"type": "integer", "minimum": 0},
        "Upload-Complete": {"type": "string", "enum": ["?0", "?1"]},
    }
    assert list(append["requestBody"]["content"]) == [ietf.MEDIA_TYPE]


def test_imported_requests_have_no_made_up_values() -> None:
    """For a pattern Postman's converter makes up a value that matches: the digest of no file. For other optional values
    it writes ``<string>``, and the endpoint says what to do."""
    properties = CONTRACT["components"]["schemas"]["Declaration"]["properties"]
    queries = [CONTRACT["paths"][f"/upload{token}/s3/params"]["get"]["parameters"] for token in ("", "/t/{token}")]
    optional = [
        *(value for name, value in properties.items() if name != "filename"),
        *(
            parameter["schema"]
            for parameter in map(resolve, itertools.chain(*queries))
            if not parameter.get("required")
        ),
    ]
    assert len(optional) == 5 + 2 * 3
    for schema in optional:
        assert not {"pattern", "oneOf", "anyOf", "$ref"} & schema.keys()


def test_file_of_a_form_is_imported_as_a_file() -> None:
    """Postman's converter makes a text field of an array, and of a reference to a schema."""
    schema = CONTRACT["components"]["schemas"]["UploadForm"]
    assert list(schema["properties"]) == schema["required"] == ["file"]
    assert {"type": "string", "format": "binary"}.items() <= schema["properties"]["file"].items()


def test_document_has_every_problem_under_its_status() -> None:
    slugs = {problem_kind.type_prefix + problem_kind.slug: problem_kind.status for problem_kind in all_problems()}
    schemas = CONTRACT["components"]["schemas"]
    assert set(schemas["ProblemType"]["enum"]) == set(slugs)
    by_status = {
        schema["properties"]["status"]["const"]: set(schema["properties"]["type"]["enum"])
        for schema in schemas.values()
        if {"status", "type"} <= set(schema.get("properties", {})) and "const" in schema["properties"]["status"]
    }
    for slug, status in slugs.items():
        assert slug in by_status[status], slug
    # The files of one request may all be refused for one reason, and have its status then.
    shared = {status for status, types in by_status.items() if "urn:problem-type:upload:files-refused" in types}
    assert shared == {413, 415, 422}
    for status, types in by_status.items():
        assert all(slugs[slug] == status or slug.endswith(":files-refused") for slug in types)


@pytest.mark.parametrize("name", CONTRACT["components"]["responses"])
def test_every_error_has_three_media_types(name: str) -> None:
    content = CONTRACT["components"]["responses"][name].get("content", {})
    if "application/problem+json" in content:
        reference = {"schema": {"$ref": f"#/components/schemas/{name}"}}
        page = {"schema": {"$ref": "#/components/schemas/Page"}}
        assert content == {"application/problem+json": reference, "application/json": reference, "text/html": page}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described(name: str) -> None:
    operation = OPERATIONS[name]
    assert {"operationId", "summary", "tags", "security", "responses"} <= set(operation)
    # From anywhere else than its own machine an open endpoint answers nothing, and anything may have a fault.
    assert {"403", "500"} <= set(operation["responses"])
    for response in map(resolve, operation["responses"].values()):
        assert "X-Request-Id" in response["headers"]


def test_overhead_of_a_form_is_documented() -> None:
    way = CONTRACT["components"]["schemas"]["Way"]["properties"]["max_bytes"]["description"]
    assert f"With a form {forms.ONE_FILE_OVERHEAD_BYTES:,} bytes of the request" in way


def test_every_component_is_referred_to() -> None:
    referred = references(CONTRACT)
    for kind, components in CONTRACT["components"].items():
        if kind != "securitySchemes":
            assert {f"#/components/{kind}/{name}" for name in components} <= referred


def test_document_is_served_unchanged(client: FlaskClient) -> None:
    response = client.get("/openapi.json")
    assert (response.status_code, response.mimetype, response.json) == (200, "application/json", CONTRACT)
    assert response.headers["Cache-Control"] == "no-cache"
    again = client.get("/openapi.json", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == response.headers["ETag"]
    assert client.get("/openapi.json", headers={"If-None-Match": '"another"'}).status_code == 200


def test_server_of_the_document_is_its_own_address() -> None:
    # Relative to the document, and without a slash at the end, since each path begins with one.
    assert [server["url"] for server in CONTRACT["servers"]] == ["."]


# Whether an answer that is not like the contract would be seen.


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        ({"status": 418}, "418 is not documented"),
        ({"mimetype": "text/csv"}, "text/csv is not documented"),
        ({"remove": "X-Request-Id"}, "lacks X-Request-Id"),
        ({"body": {"sha256": "0" * 63}}, "not valid under any"),
        ({"body": {"colour": "red"}}, "Unevaluated properties are not allowed"),
    ],
)
def test_undocumented_response_is_detected(make_app: Callable[..., Flask], spoil: dict[str, Any], because: str) -> None:
    app = make_app()

    def spoiled(environ: Any, start_response: Any) -> Any:
        with app.request_context(environ):
            response = app.full_dispatch_request()
        response.status_code = spoil.get("status", response.status_code)
        if "mimetype" in spoil:
            response.mimetype = spoil["mimetype"]
        response.headers.remove(spoil.get("remove", "X-Nothing"))
        if "body" in spoil:
            body = json.loads(response.data)
            body["files"][0] |= spoil["body"]
            response.data = json.dumps(body)
        return response(environ, start_response)

    client = app.test_client()
    app.wsgi_app = spoiled  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=because):
        client.post("/upload", data={"file": (io.BytesIO(samples.TEXT), "a.txt")})

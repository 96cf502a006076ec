"""The API that the template deploys, compared with the routes and problems of the app."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from ..support.documentation import DOCUMENTS, all_problems
from ..support.template import API, DEFAULTS, PATHS, TEMPLATE

if TYPE_CHECKING:
    from flask import Flask


FILE_PATHS = {
    "/files/{file_id}/{name}": "/files/{first}/{second}",
    "/files/{folder}/{file_id}/{name}": "/files/{first}/{second}/{third}",
}
"""The routes of files, and their paths in the template, whose variables have one name at each level."""


def test_gateway_passes_on_exactly_the_routes_of_the_app(app: Flask) -> None:
    routes: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<", "{").replace(">", "}")
        routes.setdefault(FILE_PATHS.get(path, path), set()).update(rule.methods or set())
    assert {path: {method.upper() for method in methods} for path, methods in PATHS.items()} == routes


def test_every_route_is_named_and_calls_the_function() -> None:
    assert not [path for path in PATHS if "+}" in path]
    assert not [method for methods in PATHS.values() for method in methods if method.startswith("x-")]
    integrations = [
        operation["x-amazon-apigateway-integration"] for methods in PATHS.values() for operation in methods.values()
    ]
    assert all(operation is integrations[0] for operation in integrations)


def test_variables_at_one_place_of_a_path_have_one_name() -> None:
    # API Gateway rejects others, and only during the deployment.
    names: dict[str, set[str]] = {}
    for path in PATHS:
        parts = path.split("/")
        for index, part in enumerate(parts):
            if part.startswith("{"):
                names.setdefault("/".join(parts[:index]), set()).add(part)
    assert names
    assert not {place: found for place, found in names.items() if len(found) > 1}


def test_api_definition_refers_to_no_parameter() -> None:
    # SAM names the deployment by a hash of the definition, in which parameters do not have their values yet.
    definition = repr([API["DefinitionBody"], API["GatewayResponses"]])
    assert not [name for name in TEMPLATE["Parameters"] if f"'{name}'" in definition or f"${{{name}}}" in definition]


GATEWAY_RESPONSES: dict[str, Any] = API["GatewayResponses"]


@pytest.mark.parametrize("name", GATEWAY_RESPONSES)
def test_response_of_the_gateway_looks_like_ours(name: str) -> None:
    response = GATEWAY_RESPONSES[name]
    body = json.loads(response["ResponseTemplates"]["application/json"])
    assert body["status"] == response["StatusCode"]
    assert body["detail"] == body["error"]
    assert body["request_id"] == "$context.requestId"
    slug = body["type"].removeprefix("urn:problem-type:upload:")
    declared = {known.slug: known for known in all_problems()}
    if slug in declared:
        assert body["title"] == declared[slug].title
    else:
        assert f"| {body['status']} | `{slug}` |" in DOCUMENTS
    headers = response["ResponseParameters"]["Headers"]
    assert headers["X-Request-Id"] == "context.requestId"
    assert headers["Content-Type"] == "'application/problem+json'"
    assert headers["Access-Control-Allow-Origin"] == "'*'"
    limit = "Upload-Limit, " if body["status"] == 413 else ""
    assert headers["Access-Control-Expose-Headers"] == f"'Retry-After, {limit}X-Request-Id'"
    assert headers.get("Upload-Limit") == ("'max-append-size=4194304'" if limit else None)
    assert ("chunkSize: 4 * 2**20" in body["detail"]) == bool(limit)
    assert {"Cache-Control", "Strict-Transport-Security", "X-Content-Type-Options"} < set(headers)
    assert ("Retry-After" in headers) == (body["status"] in (429, 503, 504))
    assert all(re.fullmatch(r"'[^']+'|context\.requestId", value) for value in headers.values())


def test_every_response_of_the_gateway_is_replaced() -> None:
    assert {"MISSING_AUTHENTICATION_TOKEN", "REQUEST_TOO_LARGE", "THROTTLED", "INTEGRATION_TIMEOUT"} < set(
        GATEWAY_RESPONSES
    )
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} < set(GATEWAY_RESPONSES)
    # An unknown route is a missing authentication token to API Gateway. With an upload token in the request it is an
    # invalid signature of AWS.
    not_found = GATEWAY_RESPONSES["MISSING_AUTHENTICATION_TOKEN"]
    assert not_found["StatusCode"] == 404
    for nothing in ("MISSING_AUTHENTICATION_TOKEN", "INVALID_SIGNATURE", "RESOURCE_NOT_FOUND"):
        assert GATEWAY_RESPONSES[nothing]["ResponseTemplates"] == not_found["ResponseTemplates"]


def test_request_without_capacity_may_be_repeated() -> None:
    """Lambda rejects a request when its concurrency is used up. The client cannot mend that, and can try again."""
    response = GATEWAY_RESPONSES["INTEGRATION_FAILURE"]
    body = json.loads(response["ResponseTemplates"]["application/json"])
    assert response["StatusCode"] == 503
    others = [
        json.loads(other["ResponseTemplates"]["application/json"])["type"]
        for name, other in GATEWAY_RESPONSES.items()
        if name != "INTEGRATION_FAILURE"
    ]
    assert body["type"] not in others
    assert body["type"] not in {f"urn:problem-type:upload:{problem.slug}" for problem in all_problems()}
    assert response["ResponseParameters"]["Headers"]["Retry-After"] == "'5'"


def test_default_burst_fits_into_a_new_account() -> None:
    assert API["MethodSettings"][0]["ThrottlingBurstLimit"] == {"Ref": "Burst"}
    assert DEFAULTS["Burst"] <= 10  # the concurrent executions of a new account


def test_api_rejects_old_versions_of_tls() -> None:
    parameter = TEMPLATE["Parameters"]["MinimumTlsVersion"]
    assert parameter["Default"] == "1.2"
    table, key, attribute = API["SecurityPolicy"]["FindInMap"]
    assert key == {"Ref": "MinimumTlsVersion"}
    policies = {version: row[attribute] for version, row in TEMPLATE["Mappings"][table].items()}
    assert list(policies) == parameter["AllowedValues"]
    for version, policy in policies.items():
        # After the newest version, a name has the oldest one (AWS: "Supported security policies").
        assert re.fullmatch(rf"SecurityPolicy_TLS13_{version.replace('.', '_')}_20[0-9]{{2}}_[0-9]{{2}}", policy)
    assert API["EndpointAccessMode"] == "BASIC"  # required with these policies


def test_access_log_has_the_route_and_never_the_path() -> None:
    condition, setting, nothing = API["AccessLogSetting"]["If"]
    assert (condition, nothing) == ("LogAccess", {"Ref": "AWS::NoValue"})
    values = set(json.loads(setting["Format"]).values())
    assert "$context.resourcePath" in values
    assert not values & {"$context.path", "$context.customDomain.basePathMatched"}

"""Responses, compared with ``handler/openapi.json``."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from openapi_schema_validator import OAS31Validator
from werkzeug.exceptions import HTTPException

from handler.routes.openapi import CONTRACT as PATH
from handler.web import dialects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

    from flask import Flask
    from werkzeug.test import TestResponse

CONTRACT: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Return the target of a reference, and any other node unchanged."""
    while "$ref" in node:
        keys = node["$ref"].removeprefix("#/").split("/")
        node = CONTRACT
        for key in keys:
            node = node[key]
    return node


def check(app: Flask, response: TestResponse) -> None:
    """Assert that an answer is a documented one: its status, its header fields, its media type and its body.

    Every test's client calls this, so that the contract is held to all that the tests make the app answer.
    """
    request = response.request
    if request.method == "OPTIONS" and response.status_code in (200, 204):
        return
    if dialects.find(parse_qs(request.query_string.decode("latin-1")).get("for", [""])[0]):
        return  # in that client's own shape: see test_dialects.py
    if request.method == "PATCH" and "Upload-Name" in request.headers and response.status_code >= 400:
        return  # FilePond shows the text: see test_filepond.py
    template, responses = _documented(app, path=request.path, method=request.method)
    if request.method in ("POST", "PUT") and response.status_code in (202, 204) and _takes_pieces(template):
        # In the responses of a form, these two would be two more types of the data that every generated client gets.
        responses = CONTRACT["paths"]["/upload/{name}"]["patch"]["responses"]
    label = f"{request.method} {template}: {response.status_code}"
    assert str(response.status_code) in responses, f"{label} is not documented"
    documented = resolve(responses[str(response.status_code)])
    for name, reference in documented["headers"].items():
        header = resolve(reference)
        assert name in response.headers or not header.get("required"), f"{label} lacks {name}"
        if name in response.headers:
            value: str | int = response.headers[name]
            if header["schema"].get("type") == "integer":
                value = int(value)
            errors = [error.message for error in OAS31Validator(header["schema"]).iter_errors(value)]
            assert not errors, f"{label} has {name}: {errors}"
    if "content" not in documented or (response.status_code == 201 and response.headers.get("Upload-Complete") == "?0"):
        assert response.data == b"", f"{label} has a body"
        assert "Content-Type" not in response.headers or response.status_code == 302, label
    elif request.method != "HEAD":
        content = documented["content"]
        assert response.mimetype in content or "*/*" in content, f"{label} as {response.mimetype} is not documented"
        if response.mimetype in content and response.is_json:
            schema = content[response.mimetype]["schema"]
            errors = [error.message for error in _validator(schema.get("$ref", "")).iter_errors(response.json)]
            assert not errors, f"{label}: {errors}"


def check_refusal(status: int, headers: Message, body: bytes) -> None:
    """Assert that the response to a malformed request is documented for every upload."""
    responses = CONTRACT["paths"]["/upload/{name}"]["put"]["responses"]
    documented = resolve(responses[str(status)])
    assert set(documented["headers"]) <= set(headers)
    reference = documented["content"][headers.get_content_type()]["schema"]["$ref"]
    assert [error.message for error in _validator(reference).iter_errors(json.loads(body))] == []


def check_webhook(headers: Mapping[str, str], event: Any) -> None:
    """Assert that a request of the webhook is as documented: its header fields and its body.

    :param headers: the header fields of the request, with names in lower case.
    """
    operation = CONTRACT["webhooks"]["file.stored"]["post"]
    for parameter in operation["parameters"]:
        value: str | int = headers[parameter["name"]]
        if parameter["schema"]["type"] == "integer":
            value = int(value)
        assert not [error.message for error in OAS31Validator(parameter["schema"]).iter_errors(value)]
    reference = operation["requestBody"]["content"][headers["content-type"]]["schema"]["$ref"]
    assert [error.message for error in _validator(reference).iter_errors(event)] == []
    assert "receipt" not in event["data"]


def _documented(app: Flask, *, path: str, method: str) -> tuple[str, dict[str, Any]]:
    """Return the path in the contract, and its documented responses."""
    try:
        rule, _ = app.url_map.bind("localhost").match(path, method, return_rule=True)
    except HTTPException as error:
        name = {404: "NotFound", 405: "MethodNotAllowed"}[error.code or 0]
        # Loopback access looks at where a request comes from before it looks at the path.
        responses = {str(error.code): CONTRACT["components"]["responses"][name]}
        return path, responses | {"403": CONTRACT["components"]["responses"]["Forbidden"]}
    template = rule.rule.replace("<", "{").replace(">", "}")
    if method == "OPTIONS":  # the document has no such operation; only a client without access gets an error
        return template, {"403": CONTRACT["components"]["responses"]["Forbidden"]}
    operation = CONTRACT["paths"][template]["get" if method == "HEAD" else method.lower()]
    return template, operation["responses"]


def _takes_pieces(template: str) -> bool:
    return template.startswith("/upload") and "/s3/" not in template


@cache
def _validator(reference: str) -> OAS31Validator:
    """Takes a schema of the components' strictly: no member may be there that it does not name."""
    components = copy.deepcopy(CONTRACT["components"])
    for name, schema in components["schemas"].items():
        if schema.get("type") == "object" or "allOf" in schema:
            schema["unevaluatedProperties"] = name in ("ProblemCore", "Problem")  # to which others add
    return OAS31Validator({"$ref": reference, "components": components} if reference else {})

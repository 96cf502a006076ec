"""Events as AWS builds them from a client's request, and responses as AWS reads them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

Event = dict[str, Any]
Fields = Iterable[tuple[str, str]]

EVENTS = Path(__file__).with_name("events")
HOST = "abc123.execute-api.eu-central-1.amazonaws.com"
CLIENT = "203.0.113.7"


def load(name: str) -> Event:
    """An event kept as data: see events/README.md for where each comes from."""
    event: Event = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def default_headers(host: str = HOST) -> list[tuple[str, str]]:
    """Return the header fields that AWS adds to each request."""
    return [
        ("Host", host),
        ("X-Forwarded-For", CLIENT),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
    ]


def rest_event(
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: Fields = (),
    body: bytes | None = None,
    as_base64: bool | None = None,
    stage: str = "prod",
    host: str = HOST,
    resource: str = "/{proxy+}",
    parameters: Mapping[str, str] | None = None,
    full_path: str | None = None,
) -> Event:
    """A REST API's: the path as the client encoded it and without the stage, the query decoded."""
    fields = [*default_headers(host), *with_length(headers, body)]
    pairs = parse_qsl(query, keep_blank_values=True)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": dict(fields) or None,
        "multiValueHeaders": lists(fields) or None,
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": lists(pairs) or None,
        "pathParameters": {"proxy": path.lstrip("/")} if parameters is None else dict(parameters),
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": host,
            "httpMethod": method,
            "identity": {"sourceIp": CLIENT, "userAgent": "curl/8.7.1"},
            "path": f"/{stage}{path}" if full_path is None else full_path,
            "protocol": "HTTP/1.1",
            "requestId": "api-request",
            "resourcePath": resource,
            "stage": stage,
        },
        **body_fields(body, as_base64),
    }


def http_1_event(*, stage: str = "$default", path: str = "/", **options: Any) -> Event:
    """An HTTP API's with payload 1.0: the path decoded, and with the stage unless that is $default."""
    full_path = unquote(path if stage == "$default" else f"/{stage}{path}")
    parameters = options.pop("parameters", {"proxy": unquote(path).lstrip("/")})
    event = rest_event(path=full_path, stage=stage, full_path=full_path, parameters=parameters, **options)
    return {"version": "1.0", **event}


def http_2_event(
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: Fields = (),
    body: bytes | None = None,
    as_base64: bool | None = None,
    stage: str = "$default",
    host: str = HOST,
    route_key: str = "$default",
    parameters: Mapping[str, str] | None = None,
) -> Event:
    """An HTTP API's with payload 2.0: as 1.0, but names in lower case, repeats joined, and cookies apart."""
    raw_path = unquote(path if stage == "$default" else f"/{stage}{path}")
    return payload_2_event(
        raw_path=raw_path, method=method, query=query, headers=headers, body=body, as_base64=as_base64,
        stage=stage, host=host, route_key=route_key, parameters=parameters,
    )  # fmt: skip


def function_url_event(*, path: str = "/", host: str = "xyz.lambda-url.eu-central-1.on.aws", **options: Any) -> Event:
    """A Function URL's: payload 2.0 with the path as the client encoded it."""
    options.pop("stage", None)
    return payload_2_event(raw_path=path, host=host, stage="$default", route_key="$default", **options)


def payload_2_event(
    *,
    raw_path: str,
    stage: str,
    host: str,
    route_key: str,
    method: str = "GET",
    query: str = "",
    headers: Fields = (),
    body: bytes | None = None,
    as_base64: bool | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Event:
    fields = lists((name.lower(), value) for name, value in [*default_headers(host), *with_length(headers, body)])
    cookies = [cookie for value in fields.pop("cookie", []) for cookie in value.split("; ")]
    event = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": raw_path,
        "rawQueryString": query,
        "headers": {name: ",".join(values) for name, values in fields.items()},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": method,
                "path": raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": CLIENT,
                "userAgent": "curl/8.7.1",
            },
            "requestId": "api-request",
            "routeKey": route_key,
            "stage": stage,
        },
        **body_fields(body, as_base64),
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = {
            key: ",".join(values) for key, values in lists(parse_qsl(query, keep_blank_values=True)).items()
        }
    if parameters:
        event["pathParameters"] = dict(parameters)
    return event


def alb_event(
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: Fields = (),
    body: bytes | None = None,
    as_base64: bool | None = None,
    host: str = "lb-123.eu-central-1.elb.amazonaws.com",
    multi_value: bool = False,
    stage: str = "",
) -> Event:
    """A load balancer's: nothing decoded, names in lower case; of repeated ones the last, unless multi-value is on."""
    assert not stage, "a load balancer has none"
    sent = [(name.lower(), value) for name, value in with_length(headers, body)]
    chain = [value for name, value in sent if name == "x-forwarded-for"]
    fields = [(name, value) for name, value in default_headers(host) if name != "X-Forwarded-For"]
    fields = [(name.lower(), value) for name, value in fields]
    fields += [(name, value) for name, value in sent if name != "x-forwarded-for"]
    fields.append(("x-forwarded-for", ", ".join([*chain, CLIENT])))
    pairs = [(key, value) for key, _, value in (pair.partition("=") for pair in query.split("&") if pair)]
    event: Event = {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/t/1"}},
        "httpMethod": method,
        "path": path,
    }
    if multi_value:
        event |= {"multiValueQueryStringParameters": lists(pairs), "multiValueHeaders": lists(fields)}
    else:
        event |= {"queryStringParameters": dict(pairs), "headers": dict(fields)}
    return {**event, **body_fields(body, as_base64), "body": body_fields(body, as_base64)["body"] or ""}


def alb_multi_value_event(**options: Any) -> Event:
    return alb_event(multi_value=True, **options)


def lattice_2_event(
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: Fields = (),
    body: bytes | None = None,
    as_base64: bool | None = None,
    host: str = "upload-123.7d67968.vpc-lattice-svcs.eu-central-1.on.aws",
    stage: str = "",
) -> Event:
    """A VPC Lattice event of version 2: header fields and query keys, in lists. It has no stage."""
    assert not stage, "VPC Lattice has none"
    pairs = [(key, value) for key, _, value in (pair.partition("=") for pair in query.split("&") if pair)]
    return {
        "version": "2.0",
        "path": path,
        "method": method,
        "headers": lists(lattice_fields(headers, body, host)),
        "queryStringParameters": lists(pairs),
        **body_fields(body, as_base64),
        "requestContext": {
            "serviceNetworkArn": "arn:aws:vpc-lattice:eu-central-1:1:servicenetwork/sn-1",
            "serviceArn": "arn:aws:vpc-lattice:eu-central-1:1:service/svc-1",
            "targetGroupArn": "arn:aws:vpc-lattice:eu-central-1:1:targetgroup/tg-1",
            "identity": {"sourceVpcArn": "arn:aws:ec2:eu-central-1:1:vpc/vpc-1"},
            "region": "eu-central-1",
            "timeEpoch": "1690497599177430",
        },
    }


def lattice_1_event(**options: Any) -> Event:
    """A VPC Lattice event of version 1: the path has the query, and repeated header fields are joined."""
    event = lattice_2_event(**options)
    query = options.get("query", "")
    joined = {name: ("; " if name == "cookie" else ",").join(values) for name, values in event["headers"].items()}
    return {
        "raw_path": event["path"] + (f"?{query}" if query else ""),
        "method": event["method"],
        "headers": joined,
        "query_string_parameters": {key: ",".join(values) for key, values in event["queryStringParameters"].items()},
        "body": event["body"],
        "is_base64_encoded": event["isBase64Encoded"],
    }


def lattice_fields(headers: Fields, body: bytes | None, host: str) -> list[tuple[str, str]]:
    sent = [(name.lower(), value) for name, value in with_length(headers, body)]
    chain = [value for name, value in sent if name == "x-forwarded-for"]
    fields = [(name.lower(), value) for name, value in default_headers(host) if name != "X-Forwarded-For"]
    fields += [(name, value) for name, value in sent if name != "x-forwarded-for"]
    return [*fields, ("x-forwarded-for", ", ".join([*chain, CLIENT]))]


def with_length(headers: Fields, body: bytes | None) -> list[tuple[str, str]]:
    """A client says how long its body is, unless the test has it say something else."""
    headers = list(headers)
    if body is not None and "content-length" not in [name.lower() for name, _ in headers]:
        headers.append(("Content-Length", str(len(body))))
    return headers


def lists(pairs: Fields) -> dict[str, list[str]]:
    collected: dict[str, list[str]] = {}
    for name, value in pairs:
        collected.setdefault(name, []).append(value)
    return collected


def body_fields(body: bytes | None, as_base64: bool | None) -> Event:
    if body is None:
        return {"body": None, "isBase64Encoded": False}
    if as_base64 is None:
        try:
            body.decode()
        except UnicodeDecodeError:
            as_base64 = True
    return {
        "body": base64.b64encode(body).decode() if as_base64 else body.decode(),
        "isBase64Encoded": bool(as_base64),
    }


# Answers, as AWS reads them.


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The response that the client gets."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    answer: Event

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


def read_payload_1(response: Event) -> Reply:
    """API Gateway merges both kinds of headers; of a pair that is in both it takes the list."""
    listed = response.get("multiValueHeaders") or {}
    fields = [(name, value) for name, value in (response.get("headers") or {}).items() if name not in listed]
    return reply(response, fields + flatten(listed))


def read_payload_2(response: Event) -> Reply:
    """An HTTP API knows no multiValueHeaders in payload 2.0; each of the cookies becomes a Set-Cookie."""
    cookies = [("set-cookie", cookie) for cookie in response.get("cookies") or []]
    return reply(response, [*(response.get("headers") or {}).items(), *cookies])


def read_alb(response: Event) -> Reply:
    """A load balancer reads only ``headers``, each name once, or only ``multiValueHeaders``, by its setting."""
    return reply(response, list((response.get("headers") or {}).items()))


def read_alb_multi_value(response: Event) -> Reply:
    return reply(response, flatten(response.get("multiValueHeaders") or {}))


def flatten(fields: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in fields.items() for value in values]


def reply(response: Event, fields: list[tuple[str, str]]) -> Reply:
    json.dumps(response)  # Lambda does that
    assert all(isinstance(value, str) for _, value in fields), fields
    text = response.get("body") or ""
    body = base64.b64decode(text, validate=True) if response.get("isBase64Encoded") else text.encode()
    return Reply(status=int(response["statusCode"]), fields=fields, body=body, answer=response)


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """One way that AWS calls a function for an HTTP request."""

    event: Callable[..., Event]
    read: Callable[[Event], Reply]
    has_stage: bool = False
    has_lists: bool = True  # repeated headers and query keys arrive all


SHAPES = {
    "REST API": EventKind(event=rest_event, read=read_payload_1, has_stage=True),
    "HTTP API 1.0": EventKind(event=http_1_event, read=read_payload_1, has_stage=True),
    "HTTP API 2.0": EventKind(event=http_2_event, read=read_payload_2, has_stage=True),
    "Function URL": EventKind(event=function_url_event, read=read_payload_2),
    "ALB": EventKind(event=alb_event, read=read_alb, has_lists=False),
    "ALB multi-value": EventKind(event=alb_multi_value_event, read=read_alb_multi_value),
    "VPC Lattice 1": EventKind(event=lattice_1_event, read=read_payload_2),
    "VPC Lattice 2": EventKind(event=lattice_2_event, read=read_payload_2),
}

"""Whole responses in each event shape, and the behaviour that all shapes share."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.validate import validator

import pytest
from flask import Flask, Response, request, url_for

from handler import gateway
from handler.gateway import UnsupportedEvent, make_handler
from handler.logs import JsonFormatter

from .support.gateway_events import (
    CLIENT,
    SHAPES,
    Event,
    EventKind,
    alb_event,
    alb_multi_value_event,
    function_url_event,
    http_1_event,
    http_2_event,
    lattice_1_event,
    lattice_2_event,
    load,
    rest_event,
)

App = Callable[[dict[str, Any], Any], Iterable[bytes]]
COOKIES = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


class Context:
    aws_request_id = "lambda-request"


def app_answering(*headers: tuple[str, str], body: bytes = b"hello", status: str = "200 OK") -> App:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(headers))
        return [body]

    return app


def environ_of(event: Event, context: object = None) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.update(environ)
        seen["body"] = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return []

    make_handler(app)(event, context)
    return seen


def url_of(environ: dict[str, Any]) -> tuple[str, str]:
    return environ["SCRIPT_NAME"], environ["PATH_INFO"]


@pytest.fixture(name="flask_handler")
def flask_handler_fixture() -> Callable[[Event, object], Event]:
    app = Flask(__name__)

    @app.route("/<path:name>", methods=["GET", "POST"])
    def echo(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "args": request.args.to_dict(flat=False),
            "body": request.get_data(as_text=True),
            "from": request.remote_addr,
            "url": url_for("echo", name=name, _external=True),
        }

    @app.get("/cookies")
    def cookies() -> Response:
        response = Response(b"\x00\x01", mimetype="application/octet-stream")
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    return make_handler(app)


class TestRestApi:
    def test_text_response_is_not_encoded(self) -> None:
        response = make_handler(app_answering(("Content-Type", "text/plain"), ("X-Custom", "1")))(
            rest_event(), Context()
        )
        assert response == {
            "statusCode": 200,
            "headers": {"Content-Type": "text/plain", "X-Custom": "1"},
            "body": "hello",
            "isBase64Encoded": False,
        }

    def test_binary_response_with_repeated_headers_is_encoded(self) -> None:
        app = app_answering(*COOKIES, ("ETag", '"1"'), body=b"\xff", status="206 Partial Content")
        assert make_handler(app)(rest_event(), Context()) == {
            "statusCode": 206,
            "headers": {"ETag": '"1"'},
            "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
            "body": "/w==",
            "isBase64Encoded": True,
        }

    def test_event_generated_by_sam_is_read(self, flask_handler: Callable[[Event, object], Event]) -> None:
        assert flask_handler(load("sam-rest-api"), Context()) == {
            "statusCode": 200,
            "headers": {"Content-Type": "application/json", "Content-Length": "184"},
            "body": '{"args":{"foo":["bar"]},"body":"{\\"test\\":\\"body\\"}","from":"127.0.0.1",'
            '"name":"path/to/resource",'
            '"url":"https://0123456789.execute-api.us-east-1.amazonaws.com/prod/path/to/resource"}\n',
            "isBase64Encoded": False,
        }

    def test_decoded_path_of_sam_local_is_encoded_again(self) -> None:
        environ = environ_of(load("sam-local-rest-api"))
        assert url_of(environ) == ("", "/upload/100%25 ä.txt".encode().decode("latin-1"))
        assert environ["SERVER_PORT"] == "3000"
        assert environ["SERVER_NAME"] == "127.0.0.1"
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["body"] == b"hello"

    @pytest.mark.parametrize(
        ("path", "full_path", "resource", "parameters", "expected"),
        [
            ("/upload", "/prod/upload", "/upload", {}, ("/prod", "/upload")),
            ("/upload/", "/prod/upload/", "/upload", {}, ("/prod", "/upload/")),
            ("/", "/prod", "/", {}, ("/prod", "/")),
            ("/", "/prod/", "/", {}, ("/prod", "/")),
            ("/prod", "/prod/prod", "/prod", {}, ("/prod", "/prod")),
            # A custom domain: the path begins with the base path, and with the stage if the mapping names none.
            ("/upload", "/upload", "/upload", {}, ("", "/upload")),
            ("/base", "/base", "/", {}, ("/base", "/")),
            ("/base/prod/upload", "/base/prod/upload", "/upload", {}, ("/base/prod", "/upload")),
            ("/b/x/y%20z", "/b/x/y%20z", "/{proxy+}", {"proxy": "x/y%20z"}, ("/b", "/x/y z")),
            ("/b/x/y%20z", "/b/x/y%20z", "/{proxy+}", {"proxy": "x/y z"}, ("/b", "/x/y z")),
            ("/b/1%2525", "/b/1%2525", "/{proxy+}", {"proxy": "1%25"}, ("/b", "/1%25")),
            # The paths of files have two or three levels below /files.
            (
                "/files/1/a.txt",
                "/live/files/1/a.txt",
                "/files/{first}/{second}",
                {"first": "1", "second": "a.txt"},
                ("/live", "/files/1/a.txt"),
            ),
            (
                "/b/files/u/1/a.txt",
                "/b/files/u/1/a.txt",
                "/files/{first}/{second}/{third}",
                {"first": "u", "second": "1", "third": "a.txt"},
                ("/b", "/files/u/1/a.txt"),
            ),
            (
                "/b/files/u%2F1/a.txt",
                "/b/files/u%2F1/a.txt",
                "/files/{first}/{second}",
                {"first": "u/1", "second": "a.txt"},
                ("/b", "/files/u/1/a.txt"),
            ),
            (
                "/files/files/1/a.txt",
                "/files/files/1/a.txt",
                "/files/{first}/{second}/{third}",
                {"first": "files", "second": "1", "third": "a.txt"},
                ("", "/files/files/1/a.txt"),
            ),
            # Paths that do not fit together stay as they are.
            ("/upload", "", "", {}, ("", "/upload")),
            ("/upload", "/elsewhere", "/upload/{name}", {}, ("", "/upload")),
            ("/b/x", "/b/x", "/{proxy+}", {}, ("", "/b/x")),
            ("upload", "", "", {}, ("", "/upload")),
            ("//x/y", "//x/y", "/{proxy+}", {"proxy": "x/y"}, ("", "//x/y")),
            ("//x/y", "/prod//x/y", "/{proxy+}", {"proxy": "x/y"}, ("/prod", "//x/y")),
            ("/a%20b", "", "", {}, ("", "/a b")),
            # The client writes the values of variables; they are not filled in again.
            ("/{b}/x", "/{b}/x", "/{a}/{b}", {"a": "{b}", "b": "x"}, ("", "/{b}/x")),
        ],
    )
    def test_script_name_is_the_stage_or_base_path(
        self, path: str, full_path: str, resource: str, parameters: dict[str, str], expected: tuple[str, str]
    ) -> None:
        event = rest_event(path=path, full_path=full_path, resource=resource, parameters=parameters)
        assert url_of(environ_of(event)) == expected

    def test_last_of_repeated_single_headers_is_used(self) -> None:
        event = rest_event(headers=[("Content-Type", "text/plain"), ("Content-Type", "text/csv")])
        event["multiValueHeaders"]["X-Forwarded-Proto"] = ["https", "http"]
        event["multiValueHeaders"]["Host"] = ["one.example", "two.example"]
        event["multiValueHeaders"]["X-Forwarded-Port"] = ["443", "80"]
        del event["requestContext"]["domainName"]
        environ = environ_of(event)
        assert (environ["CONTENT_TYPE"], environ["HTTP_X_FORWARDED_PROTO"]) == ("text/csv", "http")
        assert (environ["HTTP_HOST"], environ["HTTP_X_FORWARDED_PORT"]) == ("two.example", "80")

    @pytest.mark.parametrize("name", ["Authorization", "authorization"])
    def test_last_of_two_authorizations_is_used(self, name: str) -> None:
        event = rest_event(headers=[(name, "Bearer one"), (name, "Bearer two")])
        assert environ_of(event)["HTTP_AUTHORIZATION"] == "Bearer two"

    @pytest.mark.parametrize(("forwarded", "scheme"), [("HTTP", "http"), ("wss", "https"), ("", "https")])
    def test_scheme_is_http_or_https(self, forwarded: str, scheme: str) -> None:
        event = rest_event()
        event["multiValueHeaders"]["X-Forwarded-Proto"] = [forwarded]
        assert environ_of(event)["wsgi.url_scheme"] == scheme

    @pytest.mark.parametrize(
        ("scheme", "forwarded", "port"), [("http", "", "80"), ("https", "x", "443"), ("http", "443, 8080", "8080")]
    )
    def test_port_is_a_number(self, scheme: str, forwarded: str, port: str) -> None:
        event = rest_event()
        event["multiValueHeaders"] |= {"X-Forwarded-Proto": [scheme], "X-Forwarded-Port": [forwarded]}
        assert environ_of(event)["SERVER_PORT"] == port

    def test_console_event_without_lists_is_read(self) -> None:
        event = rest_event(query="a=1&b=%C3%A4", headers=[("X-Custom", "1")])
        del event["multiValueHeaders"], event["multiValueQueryStringParameters"]
        environ = environ_of(event)
        assert environ["HTTP_X_CUSTOM"] == "1"
        assert environ["QUERY_STRING"] == "a=1&b=%C3%A4"


class TestHttpApi1:
    def test_repeated_response_headers_are_lists(self) -> None:
        assert make_handler(app_answering(*COOKIES))(http_1_event(), Context()) == {
            "statusCode": 200,
            "headers": {},
            "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
            "body": "hello",
            "isBase64Encoded": False,
        }

    def test_documented_event_is_read(self) -> None:
        environ = environ_of(load("aws-http-api-1"))
        assert url_of(environ) == ("", "/my/path")
        assert environ["QUERY_STRING"] == "parameter1=value1&parameter1=value2&parameter2=value"
        assert environ["HTTP_HEADER2"] == "value1, value2"
        assert environ["REMOTE_ADDR"] == "192.0.2.1"
        assert environ["SERVER_NAME"] == "id.execute-api.us-east-1.amazonaws.com"
        assert environ["body"] == b"Hello from Lambda!"

    def test_stage_is_found_by_the_route_if_only_the_path_has_it(self) -> None:
        event = http_1_event(path="/upload", stage="prod", resource="/upload")
        event["requestContext"]["path"] = "/upload"
        assert url_of(environ_of(event)) == ("/prod", "/upload")
        event["path"], event["requestContext"]["domainName"] = "/base/upload", "upload.example"
        assert url_of(environ_of(event)) == ("/base", "/upload")

    def test_stage_is_known_without_a_route(self) -> None:
        event = http_1_event(path="/upload", stage="prod") | {"resource": "$default", "pathParameters": None}
        assert url_of(environ_of(event)) == ("/prod", "/upload")


class TestHttpApi2:
    def test_cookies_and_repeated_headers_are_returned(self) -> None:
        app = app_answering(*COOKIES, ("Vary", "Accept"), ("vary", "Origin"))
        assert make_handler(app)(http_2_event(), Context()) == {
            "statusCode": 200,
            "headers": {"Vary": "Accept, Origin"},
            "cookies": ["a=1", "b=2"],
            "body": "hello",
            "isBase64Encoded": False,
        }

    def test_event_generated_by_sam_is_read(self, flask_handler: Callable[[Event, object], Event]) -> None:
        assert flask_handler(load("sam-http-api-2"), Context()) == {
            "statusCode": 200,
            "headers": {"Content-Type": "application/json", "Content-Length": "218"},
            "body": '{"args":{"parameter1":["value1","value2"],"parameter2":["value"]},'
            '"body":"{\\"test\\":\\"body\\"}","from":"192.168.0.1/32","name":"path/to/resource",'
            '"url":"https://id.execute-api.us-east-1.amazonaws.com/path/to/resource"}\n',
            "isBase64Encoded": False,
        }

    def test_stage_is_found_by_the_route(self) -> None:
        event = http_2_event(
            path="/files/a b", stage="files", route_key="GET /files/{name}", parameters={"name": "a b"}
        )
        assert url_of(environ_of(event)) == ("/files", "/files/a b")

    def test_default_stage_has_no_name(self) -> None:
        assert url_of(environ_of(http_2_event(path="/$default/x"))) == ("", "/$default/x")

    def test_path_that_only_looks_like_the_stage(self) -> None:
        event = http_2_event(path="/x") | {"rawPath": "/production/x"}
        event["requestContext"] |= {"stage": "prod"}
        assert url_of(environ_of(event)) == ("", "/production/x")

    @pytest.mark.parametrize(
        ("route_key", "method"), [("POST /upload", "POST"), ("ANY /upload", "GET"), ("$default", "GET"), (None, "GET")]
    )
    def test_method_without_a_context_comes_from_the_route_key(self, route_key: str | None, method: str) -> None:
        event = http_2_event(path="/upload") | {"routeKey": route_key, "requestContext": None}
        assert environ_of(event)["REQUEST_METHOD"] == method

    def test_missing_path_comes_from_the_context(self) -> None:
        event = http_2_event(path="/upload")
        del event["rawPath"]
        assert url_of(environ_of(event)) == ("", "/upload")

    def test_base_path_of_a_custom_domain_is_found_by_the_route(self) -> None:
        event = http_2_event(host="upload.example", path="/base/upload", route_key="POST /upload")
        assert url_of(environ_of(event)) == ("/base", "/upload")

    @pytest.mark.parametrize(
        ("cookies", "field", "expected"),
        [
            (["a=1"], "b=2", ["a=1", "b=2"]),
            (["a=1", "b=2"], "b=2; a=1", ["a=1", "b=2"]),
            (["a=1"], "a=2", ["a=1", "a=2"]),
            ([], "b=2", ["b=2"]),
            (["a=1"], "", ["a=1"]),
        ],
    )
    def test_cookies_of_the_list_and_of_the_field_are_kept(
        self, cookies: list[str], field: str, expected: list[str]
    ) -> None:
        event = http_2_event() | {"cookies": cookies}
        event["headers"]["cookie"] = field
        assert environ_of(event)["HTTP_COOKIE"].split("; ") == expected

    def test_cookie_that_is_not_ascii_is_read(self) -> None:
        event = http_2_event(headers=[("Cookie", "a=ä; b=2")])
        assert environ_of(event)["HTTP_COOKIE"].encode("latin-1").decode() == "a=ä; b=2"

    def test_last_of_joined_schemes_is_used(self) -> None:
        event = http_2_event()
        event["headers"]["x-forwarded-proto"] = "https,http"
        assert environ_of(event)["wsgi.url_scheme"] == "http"

    def test_raw_characters_of_a_query_are_encoded(self) -> None:
        event = http_2_event() | {"rawQueryString": "a=ä&b=%20+/?:@!$'()*,;"}
        assert environ_of(event)["QUERY_STRING"] == "a=%C3%A4&b=%20+/?:@!$'()*,;"


class TestFunctionUrl:
    def test_cookies_are_returned_as_a_list(self) -> None:
        assert make_handler(app_answering(*COOKIES))(function_url_event(), Context()) == {
            "statusCode": 200,
            "headers": {},
            "cookies": ["a=1", "b=2"],
            "body": "hello",
            "isBase64Encoded": False,
        }

    def test_documented_event_is_read(self) -> None:
        environ = environ_of(load("aws-function-url"))
        assert url_of(environ) == ("", "/my/path")
        assert environ["REQUEST_METHOD"] == "POST"
        assert environ["QUERY_STRING"] == "parameter1=value1&parameter1=value2&parameter2=value"
        assert environ["HTTP_COOKIE"] == "cookie1; cookie2"
        assert environ["REMOTE_ADDR"] == "123.123.123.123"
        assert environ["body"] == b"Hello from client!"


class TestAlb:
    def test_one_cookie_keeps_its_name(self) -> None:
        assert make_handler(app_answering(COOKIES[0]))(alb_event(), Context()) == {
            "statusCode": 200,
            "statusDescription": "200 OK",
            "headers": {"Set-Cookie": "a=1"},
            "body": "hello",
            "isBase64Encoded": False,
        }

    def test_cookies_and_repeated_headers_are_returned(self) -> None:
        app = app_answering(*COOKIES, ("Vary", "Accept"), ("Vary", "Origin"), status="404 NOT FOUND")
        assert make_handler(app)(alb_event(), Context()) == {
            "statusCode": 404,
            "statusDescription": "404 NOT FOUND",
            "headers": {"set-cookie": "a=1", "set-cookiE": "b=2", "Vary": "Accept, Origin"},
            "body": "hello",
            "isBase64Encoded": False,
        }

    def test_event_generated_by_sam_is_read(self, flask_handler: Callable[[Event, object], Event]) -> None:
        assert flask_handler(load("sam-alb"), Context()) == {
            "statusCode": 200,
            "statusDescription": "200 OK",
            "headers": {"Content-Type": "application/json", "Content-Length": "191"},
            "body": '{"args":{"query":["1234ABCD"]},"body":"{\\"test\\":\\"body\\"}","from":"72.12.164.125",'
            '"name":"path/to/resource",'
            '"url":"http://lambda-alb-123578498.us-east-2.elb.amazonaws.com/path/to/resource"}\n',
            "isBase64Encoded": False,
        }

    def test_health_check_has_no_client_address(self) -> None:
        environ = environ_of(load("aws-alb-health-check"))
        assert "REMOTE_ADDR" not in environ
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "443")

    @pytest.mark.parametrize(
        ("forwarded_for", "expected"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
            ("127.0.0.1,203.0.113.7:50000", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::1, [2001:db8::7]:50000", "2001:db8::7"),
            ("", None),
        ],
    )
    def test_client_address_is_the_last_forwarded_address(self, forwarded_for: str, expected: str | None) -> None:
        event = alb_event()
        event["headers"]["x-forwarded-for"] = forwarded_for
        assert environ_of(event).get("REMOTE_ADDR") == expected


class TestAlbMultiValue:
    def test_response_to_an_event_without_headers_has_lists(self) -> None:
        event = alb_multi_value_event() | {"multiValueHeaders": {}}
        assert make_handler(app_answering(*COOKIES))(event, Context())["multiValueHeaders"] == {
            "Set-Cookie": ["a=1", "b=2"]
        }

    def test_every_response_header_is_a_list(self) -> None:
        app = app_answering(*COOKIES, ("Vary", "Accept"))
        assert make_handler(app)(alb_multi_value_event(), Context()) == {
            "statusCode": 200,
            "statusDescription": "200 OK",
            "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "Vary": ["Accept"]},
            "body": "hello",
            "isBase64Encoded": False,
        }

    def test_documented_event_is_read(self) -> None:
        environ = environ_of(load("aws-alb-multi-value"))
        assert environ["QUERY_STRING"] == "myKey=val1&myKey=val2"
        assert environ["HTTP_COOKIE"] == "name1=value1; name2=value2"
        assert environ["REMOTE_ADDR"] == "72.21.198.66"
        assert environ["CONTENT_TYPE"] == "text/plain"
        assert environ["body"] == b"request_body"


class TestVpcLattice:
    def test_documented_event_of_version_1_is_read(self) -> None:
        environ = environ_of(load("aws-lattice-1"))
        assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/path/to resource", "a=1&a=2&b=%26")
        assert (environ["REQUEST_METHOD"], environ["HTTP_HOST"]) == ("POST", "upload.example")
        assert (environ["body"], environ["REMOTE_ADDR"]) == (b'{"test": "event"}', "10.213.229.10")

    def test_documented_event_of_version_2_is_read(self) -> None:
        environ = environ_of(load("aws-lattice-2"))
        assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/path/to resource", "a=1&a=2&b=%26")
        assert (environ["REQUEST_METHOD"], environ["HTTP_HOST"]) == ("POST", "upload.example")
        assert (environ["body"], environ["REMOTE_ADDR"]) == (b'{"test": "event"}', "10.213.229.10")

    def test_query_of_version_1_comes_from_its_member(self) -> None:
        event = lattice_1_event() | {"query_string_parameters": {"a": "1 2", "b": None}}
        assert environ_of(event)["QUERY_STRING"] == "a=1%202&b="

    def test_unencoded_characters_of_a_query_are_encoded(self) -> None:
        event = lattice_2_event() | {"queryStringParameters": {"a&b": ["1 2", "ä#&"]}}
        assert environ_of(event)["QUERY_STRING"] == "a%26b=1%202&a%26b=%C3%A4%23%26"

    @pytest.mark.parametrize("make_event", [lattice_1_event, lattice_2_event])
    def test_response_has_a_status_description_and_cookies(self, make_event: Callable[..., Event]) -> None:
        assert make_handler(app_answering(*COOKIES))(make_event(), Context()) == {
            "statusCode": 200,
            "statusDescription": "200 OK",
            "headers": {},
            "cookies": ["a=1", "b=2"],
            "body": "hello",
            "isBase64Encoded": False,
        }


class TestDomain:
    @pytest.mark.parametrize("make_event", [rest_event, http_1_event, http_2_event, function_url_event])
    def test_domain_of_the_context_overrides_the_host_field(self, make_event: Callable[..., Event]) -> None:
        event = make_event(host="files.example")
        for fields in ("headers", "multiValueHeaders"):
            for name in event.get(fields, {}):
                if name.lower() == "host":
                    event[fields][name] = "evil.example" if fields == "headers" else ["evil.example"]
        assert environ_of(event)["HTTP_HOST"] == "files.example"

    @pytest.mark.parametrize("domain", [None, "", 7])
    def test_host_field_is_used_without_a_domain(self, domain: object) -> None:
        event = rest_event(host="files.example")
        event["requestContext"]["domainName"] = domain
        assert environ_of(event)["HTTP_HOST"] == "files.example"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
class TestEveryShape:
    def test_request_id_is_lambdas(self, shape: EventKind) -> None:
        assert environ_of(shape.event(), Context())["UNIQUE_ID"] == "lambda-request"

    def test_missing_context_has_no_request_id(self, shape: EventKind) -> None:
        event = shape.event()
        has_one = "requestId" in event.get("requestContext", {})
        assert environ_of(event).get("UNIQUE_ID") == ("api-request" if has_one else None)

    def test_null_values_are_ignored(self, shape: EventKind) -> None:
        event = shape.event(query="a=1&b=")
        for name, null in (
            ("headers", None),
            ("multiValueHeaders", None),
            ("queryStringParameters", None),
            ("multiValueQueryStringParameters", [None]),
        ):
            if name in event:
                event[name] = event[name] | {"x-null": None, "b": null}
        environ = environ_of(event)
        assert "HTTP_X_NULL" not in environ
        assert parse_qsl(environ["QUERY_STRING"]) == [("a", "1")]

    @pytest.mark.parametrize("is_base64", [True, False])
    @pytest.mark.parametrize("body", [7, ["YQ=="], {"a": 1}])
    def test_malformed_body_is_rejected(self, shape: EventKind, body: object, is_base64: bool) -> None:
        event = shape.event(method="POST") | {"body": body, "isBase64Encoded": is_base64}
        assert shape.read(make_handler(app_answering())(event, Context())).status == 400

    def test_app_receives_the_original_event_and_context(self, shape: EventKind) -> None:
        event, context = shape.event(method="POST", body=b"\xff"), Context()
        before = repr(event)
        environ = environ_of(event, context)
        assert environ["awsgi.event"] is event
        assert environ["awsgi.context"] is context
        assert repr(event) == before

    def test_flask_app_is_served(self, shape: EventKind, flask_handler: Callable[[Event, object], Event]) -> None:
        reply = shape.read(flask_handler(shape.event(path="/cookies"), Context()))
        assert reply.body == b"\x00\x01"
        assert sorted(reply.values("Set-Cookie")) == ["a=1; Path=/", "b=2; Path=/"]

    @pytest.mark.parametrize("request_id", ["a\r\nSet-Cookie: a=1", "日本", "", 7])
    def test_invalid_request_id_is_ignored(self, shape: EventKind, request_id: object) -> None:
        event = shape.event(method="POST", body=b"") | {"body": "?", "isBase64Encoded": True}
        event.setdefault("requestContext", {})["requestId"] = request_id
        reply = shape.read(make_handler(app_answering())(event, None))
        assert (reply.status, reply.values("X-Request-Id")) == (400, [])
        assert b"request_id" not in reply.body
        assert "UNIQUE_ID" not in environ_of(event | {"body": ""})

    def test_malformed_body_is_logged_and_reported_as_a_problem(
        self, shape: EventKind, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="handler")
        event = shape.event(method="POST", body=b"") | {"body": "?", "isBase64Encoded": True}
        reply = shape.read(make_handler(app_answering())(event, Context()))
        assert reply.status == 400
        assert reply.values("Content-Type") == ["application/problem+json"]
        assert reply.values("X-Request-Id") == ["lambda-request"]
        (line,) = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
        del line["time"]
        assert line == {
            "level": "INFO",
            "event": "request",
            "request_id": "lambda-request",
            "method": "POST",
            "status": 400,
            "problem": "urn:problem-type:upload:malformed-request",
        }
        assert reply.body == (
            b'{"detail": "The body could not be decoded. Send it again.", '
            b'"error": "The body could not be decoded. Send it again.", '
            b'"type": "urn:problem-type:upload:malformed-request", "title": "Malformed request", '
            b'"status": 400, "request_id": "lambda-request"}'
        )

    def test_failing_app_is_logged_and_reported_as_a_problem(
        self, shape: EventKind, caplog: pytest.LogCaptureFixture
    ) -> None:
        def app(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
            raise RuntimeError("secret detail")

        reply = shape.read(make_handler(app)(shape.event(method="PUT"), Context()))
        assert reply.status == 500
        assert reply.values("Content-Type") == ["application/problem+json"]
        assert b"urn:problem-type:upload:internal-error" in reply.body
        assert b"lambda-request" in reply.body
        assert reply.values("X-Request-Id") == ["lambda-request"]
        assert b"secret" not in reply.body
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info
        assert str(record.exc_info[1]) == "secret detail"
        assert vars(record)["request_id"] == "lambda-request"

    def test_response_to_head_of_a_failing_app_has_no_body(self, shape: EventKind) -> None:
        reply = shape.read(make_handler(lambda *_: [b""])(shape.event(method="HEAD"), Context()))
        assert (reply.status, reply.body) == (500, b"")

    def test_header_outside_latin_1_is_an_error(self, shape: EventKind) -> None:
        assert shape.read(make_handler(app_answering(("X-Title", "日本")))(shape.event(), Context())).status == 500

    def test_redirect_passes_through_unchanged(self, shape: EventKind) -> None:
        signed = "https://b.s3.eu-central-1.amazonaws.com/files/0d/a.txt?X-Amz-Credential=AK%2F2&X-Amz-Signature=ab%3D"
        fields = [("Location", signed), ("Cache-Control", "no-store"), ("Content-Length", "0")]
        reply = shape.read(make_handler(app_answering(*fields, body=b"", status="302 FOUND"))(shape.event(), Context()))
        assert (reply.status, reply.fields, reply.body) == (302, fields, b"")

    @pytest.mark.parametrize("octets", [b"gr\xc3\xbc\xc3\x9fe", b"gr\xfc\xdfe"])
    def test_header_that_is_not_ascii_is_returned_as_text(self, shape: EventKind, octets: bytes) -> None:
        app = app_answering(("X-Title", octets.decode("latin-1")))
        assert shape.read(make_handler(app)(shape.event(), Context())).values("X-Title") == ["grüße"]


class TestWsgi:
    """Rules of PEP 3333 for servers that are not in the matrix."""

    @pytest.mark.filterwarnings("default")  # the validator warns, too, where it is not sure
    def test_wsgi_validator_has_no_objection(self, recwarn: pytest.WarningsRecorder) -> None:
        event = rest_event(method="POST", path="/a%20b", query="a=1", body=b"abc")
        response = make_handler(validator(app_answering(("Content-Type", "text/plain"))))(event, Context())
        assert response["body"] == "hello"
        assert not list(recwarn)

    def test_missing_start_response_is_an_error(self, caplog: pytest.LogCaptureFixture) -> None:
        assert make_handler(lambda *_: [b"ok"])(rest_event(), Context())["statusCode"] == 500
        assert "did not call start_response" in caplog.text

    def test_second_start_response_is_an_error(self) -> None:
        def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [])
            start_response("200 OK", [])
            return []

        assert make_handler(app)(rest_event(), Context())["statusCode"] == 500

    def test_exc_info_before_the_first_byte_replaces_the_response(self) -> None:
        def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [("X-First", "1")])
            yield b""
            start_response("503 Service Unavailable", [], (KeyError, KeyError("boom"), None))
            yield b"later"

        response = make_handler(app)(rest_event(), Context())
        assert (response["statusCode"], response["headers"], response["body"]) == (503, {}, "later")

    def test_exc_info_after_the_first_byte_is_raised(self, caplog: pytest.LogCaptureFixture) -> None:
        def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"half"
            error = KeyError("boom")
            start_response("503 Service Unavailable", [], (KeyError, error, None))
            yield b"more"

        assert make_handler(app)(rest_event(), Context())["statusCode"] == 500
        assert isinstance(caplog.records[0].exc_info and caplog.records[0].exc_info[1], KeyError)

    def test_text_instead_of_bytes_is_an_error(self) -> None:
        assert make_handler(app_answering(body="text"))(rest_event(), Context())["statusCode"] == 500  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b"])
    @pytest.mark.parametrize("field", ["status", "name", "value"])
    def test_control_characters_are_an_error(self, field: str, value: str) -> None:
        app = {
            "status": app_answering(status="200 " + value),
            "name": app_answering((value, "1")),
            "value": app_answering(("X", value)),
        }[field]
        assert make_handler(app)(rest_event(), Context())["statusCode"] == 500

    def test_exit_is_not_caught(self) -> None:
        def app(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
            raise SystemExit

        with pytest.raises(SystemExit):
            make_handler(app)(rest_event(), Context())

    @pytest.mark.parametrize(
        ("body", "encoded"),
        [(b"", False), (b"text", False), ("grüße".encode(), False), (b"gr\xfc\xdfe", True), (b"a\0b", True)],
    )
    def test_content_that_is_not_text_is_encoded(self, body: bytes, encoded: bool) -> None:
        response = make_handler(app_answering(body=body))(rest_event(), Context())
        expected = base64.b64encode(body).decode() if encoded else body.decode()
        assert (response["isBase64Encoded"], response["body"]) == (encoded, expected)

    @pytest.mark.parametrize("name", ["Content-Encoding", "content-encoding"])
    def test_compressed_content_is_encoded(self, name: str) -> None:
        response = make_handler(app_answering((name, "br"), body=b"ascii"))(rest_event(), Context())
        assert (response["isBase64Encoded"], response["body"]) == (True, "YXNjaWk=")

    def test_decoder_can_be_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gateway, "decode_base64", lambda _text: b"decoded")
        assert environ_of(rest_event(method="POST", body=b"x", as_base64=True))["body"] == b"decoded"

    @pytest.mark.parametrize("read", [lambda stream: stream.read(), b"".join])
    @pytest.mark.parametrize("size", [-1, 0, 1, 2, 3, gateway.PIECE_CHARS])
    def test_large_body_arrives_whole(self, size: int, read: Callable[[Any], bytes]) -> None:
        body = (b"a line\n" * gateway.PIECE_CHARS)[: gateway.PIECE_CHARS + size]

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            assert read(environ["wsgi.input"]) == body
            assert environ["CONTENT_LENGTH"] == str(len(body))
            start_response("200 OK", [])
            return []

        response = make_handler(app)(rest_event(method="POST", body=body, as_base64=True), Context())
        assert response["statusCode"] == 200

    @pytest.mark.parametrize(
        "ending",
        [
            "?===",
            "=",
            pytest.param("ab==" + "abcd" * gateway.PIECE_CHARS, id="padding before the end"),
        ],
    )
    def test_large_invalid_base64_body_is_rejected(self, ending: str) -> None:
        def app(environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
            environ["wsgi.input"].read()
            raise AssertionError("it was read to its end")

        event = rest_event(method="POST", body=b"x", as_base64=True)
        event["body"] = "abcd" * (gateway.PIECE_CHARS // 2 - 1) + ending
        assert make_handler(app)(event, Context())["statusCode"] == 400

    def test_lone_surrogates_are_accepted(self) -> None:
        event = rest_event(path="/\ud800", headers=[("X-Custom", "\ud800")])
        event["multiValueQueryStringParameters"] = {"\ud800": ["\ud800"]}
        environ = environ_of(event)
        assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["HTTP_X_CUSTOM"]) == ("/?", "%3F=%3F", "?")
        assert environ_of(rest_event(path="/%20\ud800"))["PATH_INFO"] == "/ ?"
        assert environ_of(http_2_event() | {"rawQueryString": "a=\ud800"})["QUERY_STRING"] == "a=?"

    def test_client_address_comes_from_the_context(self) -> None:
        assert environ_of(rest_event())["REMOTE_ADDR"] == CLIENT


class TestOtherEvents:
    @pytest.mark.parametrize(
        "event",
        [
            load("sam-scheduled"),
            load("sam-scheduled") | {"source": "aws.scheduler", "detail": "{}"},
            {"source": "serverless-plugin-warmup"},
        ],
    )
    def test_warm_up_does_not_call_the_app(self, event: Event) -> None:
        def app(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
            raise AssertionError("the app was called")

        assert make_handler(app)(event, Context()) == {}

    @pytest.mark.parametrize(
        ("event", "kind", "keys"),
        [
            (load("sam-s3-put"), "aws:s3", ["Records"]),
            (load("sam-sqs"), "aws:sqs", ["Records"]),
            ({"Records": [{"EventSource": "aws:sns"}]}, "aws:sns", ["Records"]),
            ({"source": "aws.s3", "detail-type": "Object Created"}, "Object Created", ["source", "detail-type"]),
            (load("aws-websocket"), "CONNECT", ["requestContext", "headers", "isBase64Encoded"]),
            (load("sam-request-authorizer"), "REQUEST", list(load("sam-request-authorizer"))),
            (load("aws-http-api-2-authorizer"), "REQUEST", ["version", "type", "routeArn", "identitySource"]),
            # An agent of Bedrock's.
            ({"httpMethod": "DELETE", "apiPath": "/files", "agent": {}}, "unknown", ["httpMethod", "apiPath"]),
            # VPC Lattice has a version 2.0 of its own, and names itself in the context.
            ({"version": "2.0", "path": "/", "method": "GET"}, "unknown", ["version", "path", "method"]),
            ({"raw_path": 7, "method": "GET", "headers": {"a": 7}}, "values of other types", ["raw_path"]),
            ({"raw_path": "/", "method": "GET", "query_string_parameters": "a"}, "values of other types", ["raw_path"]),
            ({"Records": None, "requestContext": None}, "unknown", ["Records", "requestContext"]),
            ({"Records": ["x"]}, "unknown", ["Records"]),
            ({}, "unknown", []),
            # Only a test event written by hand looks like this.
            ({"httpMethod": "GET", "path": "/", "headers": ["x"]}, "values of other types", ["httpMethod", "path"]),
            ({"httpMethod": "GET", "path": 7}, "values of other types", ["httpMethod", "path"]),
            ({"path": "/", "httpMethod": "G\ud800T"}, "values of other types", ["path"]),
            ({"path": "/", "httpMethod": "GET", "queryStringParameters": "a=b"}, "values of other types", ["path"]),
            ({"path": "/", "httpMethod": "GET", "requestContext": {"identity": "x"}}, "values of other types", []),
            ({"version": "2.0", "rawPath": "/", "cookies": [7]}, "values of other types", ["version"]),
            ({"version": "2.0", "rawPath": "/", "requestContext": {"http": "GET"}}, "values of other types", []),
            ([], "list", []),
            (None, "NoneType", []),
        ],
    )
    def test_unsupported_event_is_an_error_with_its_kind_and_keys(
        self, event: Any, kind: str, keys: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(UnsupportedEvent) as error:
            make_handler(app_answering())(event, Context())
        assert kind in error.value.kind
        assert list(error.value.keys)[: len(keys)] == keys
        assert all(key in str(error.value) for key in keys)
        (record,) = caplog.records
        assert record.getMessage() == str(error.value)
        assert vars(record)["request_id"] == "lambda-request"

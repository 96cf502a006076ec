"""Behaviours of every front door: one function per behaviour, run against each event shape and any adapter.

A behaviour gets a :class:`Door`: one adapter behind one event shape. It sets the request of the
client and the response of the app, and asserts the view of the other side. ``benchmarks/gateway_matrix.py`` runs the
same functions on other adapters.
"""

from __future__ import annotations

import contextlib
import gzip
import inspect
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.util import request_uri
from wsgiref.validate import validator

from .gateway_events import (
    CLIENT,
    Event,
    EventKind,
    Reply,
    alb_event,
    alb_multi_value_event,
    http_1_event,
    http_2_event,
    lattice_1_event,
    lattice_2_event,
    rest_event,
)

App = Callable[[dict[str, Any], Any], Iterable[bytes]]
MakeHandler = Callable[[App], Callable[[Event, object], Event]]
TEXT = [("Content-Type", "text/plain; charset=utf-8")]
PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


class Context:
    """The part of Lambda's context object that adapters read."""

    aws_request_id = "lambda-request"
    function_name = "upload"


@dataclass(frozen=True)
class Door:
    """One adapter behind one event shape."""

    make_handler: MakeHandler
    shape: EventKind
    name: str

    def send(self, app: App, **request: Any) -> Reply:
        """Let the app answer a request."""
        return self.pass_on(app, self.shape.event(**request))

    def pass_on(self, app: App, event: Event) -> Reply:
        return self.shape.read(self.make_handler(app)(event, Context()))

    def environ(self, event: Event | None = None, **request: Any) -> dict[str, Any]:
        """Return the WSGI environment that the app gets, with the body under ``body``."""
        seen: dict[str, Any] = {}

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            seen.update(environ)
            seen["body"] = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("200 OK", TEXT)
            return [b"ok"]

        reply = self.pass_on(app, self.shape.event(**request) if event is None else event)
        assert reply.status == 200, reply
        return seen

    def answer(self, *headers: tuple[str, str], body: bytes = b"ok", status: str = "200 OK", **request: Any) -> Reply:
        """Return the response that the client gets."""

        def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response(status, list(headers))
            return [body]

        return self.send(app, **request)


# Coming in.


def method_arrives(door: Door) -> None:
    assert door.environ(method="PATCH")["REQUEST_METHOD"] == "PATCH"


def path_arrives(door: Door) -> None:
    assert door.environ(path="/upload/photo.jpg")["PATH_INFO"] == "/upload/photo.jpg"


def trailing_slash_stays(door: Door) -> None:
    assert door.environ(path="/upload/")["PATH_INFO"] == "/upload/"


def encoded_path_is_decoded(door: Door) -> None:
    assert door.environ(path="/my%20photo%3F.jpg")["PATH_INFO"] == "/my photo?.jpg"


def encoded_path_is_decoded_only_once(door: Door) -> None:
    assert door.environ(path="/100%2525.txt")["PATH_INFO"] == "/100%25.txt"


def plus_in_path_stays(door: Door) -> None:
    assert door.environ(path="/a+b.txt")["PATH_INFO"] == "/a+b.txt"


def utf_8_path_is_latin_1(door: Door) -> None:
    seen = door.environ(path="/%C3%A4/%E6%97%A5%E6%9C%AC.txt")["PATH_INFO"]
    assert seen.encode("latin-1").decode() == "/ä/日本.txt"


def query_arrives(door: Door) -> None:
    assert parse_qsl(door.environ(query="a=1&b=2")["QUERY_STRING"]) == [("a", "1"), ("b", "2")]


def repeated_query_keys_arrive(door: Door) -> None:
    expected = [("a", "1"), ("a", "2")] if door.shape.has_lists else [("a", "2")]
    assert parse_qsl(door.environ(query="a=1&a=2")["QUERY_STRING"]) == expected


def encoded_query_is_decoded_only_once(door: Door) -> None:
    assert parse_qsl(door.environ(query="a%26b=1%2B1%3D2%20%2525")["QUERY_STRING"]) == [("a&b", "1+1=2 %25")]


def utf_8_query_arrives(door: Door) -> None:
    assert parse_qsl(door.environ(query="name=%E6%97%A5%E6%9C%AC")["QUERY_STRING"]) == [("name", "日本")]


def blank_query_value_arrives(door: Door) -> None:
    assert parse_qsl(door.environ(query="uploads=")["QUERY_STRING"], keep_blank_values=True) == [("uploads", "")]


def query_is_ascii(door: Door) -> None:
    assert door.environ(query="name=%C3%A4&b=%20")["QUERY_STRING"].isascii()


def header_arrives(door: Door) -> None:
    assert door.environ(headers=[("X-File-Name", "a.txt")])["HTTP_X_FILE_NAME"] == "a.txt"


def repeated_headers_arrive(door: Door) -> None:
    seen = door.environ(headers=[("Accept", "text/html"), ("Accept", "text/plain")])["HTTP_ACCEPT"]
    assert seen.replace(" ", "") == ("text/html,text/plain" if door.shape.has_lists else "text/plain")


def utf_8_header_is_latin_1(door: Door) -> None:
    assert door.environ(headers=[("X-Title", "日本")])["HTTP_X_TITLE"].encode("latin-1").decode() == "日本"


def cookies_arrive(door: Door) -> None:
    seen = door.environ(headers=[("Cookie", "a=1; b=2")])["HTTP_COOKIE"]
    assert [cookie.strip() for cookie in seen.split(";")] == ["a=1", "b=2"]


def repeated_cookie_headers_arrive(door: Door) -> None:
    seen = door.environ(headers=[("Cookie", "a=1"), ("Cookie", "b=2")])["HTTP_COOKIE"]
    assert [cookie.strip() for cookie in seen.split(";")] == (["a=1", "b=2"] if door.shape.has_lists else ["b=2"])


def no_cookie_is_no_cookie(door: Door) -> None:
    assert "HTTP_COOKIE" not in door.environ()


def content_type_has_no_twin(door: Door) -> None:
    seen = door.environ(method="POST", headers=[("Content-Type", "text/csv")], body=b"a,b")
    assert seen["CONTENT_TYPE"] == "text/csv"
    assert "HTTP_CONTENT_TYPE" not in seen


def content_length_is_the_bodys(door: Door) -> None:
    seen = door.environ(method="POST", headers=[("Content-Length", "999")], body=b"four")
    assert seen["CONTENT_LENGTH"] == "4"
    assert "HTTP_CONTENT_LENGTH" not in seen


def text_body_arrives(door: Door) -> None:
    assert door.environ(method="POST", body="grüße".encode())["body"] == "grüße".encode()


def binary_body_arrives(door: Door) -> None:
    assert door.environ(method="POST", body=PNG)["body"] == PNG


def missing_body_is_empty(door: Door) -> None:
    assert door.environ(body=None)["body"] == b""


def transfer_coding_is_gone(door: Door) -> None:
    seen = door.environ(method="POST", headers=[("Transfer-Encoding", "chunked")], body=b"four")
    assert "HTTP_TRANSFER_ENCODING" not in seen
    assert seen["CONTENT_LENGTH"] == "4"


def client_address_arrives(door: Door) -> None:
    assert door.environ()["REMOTE_ADDR"] == CLIENT


def client_address_is_not_the_clients_choice(door: Door) -> None:
    assert door.environ(headers=[("X-Forwarded-For", "127.0.0.1")])["REMOTE_ADDR"] == CLIENT


def unknown_client_address_is_not_invented(door: Door) -> None:
    event = door.shape.event()
    event["requestContext"] = telling_context(event) or {}
    for name in ("headers", "multiValueHeaders"):
        if name in event:
            event[name] = {"x-custom": ["1"] if name == "multiValueHeaders" else "1"}
    assert not door.environ(event).get("REMOTE_ADDR")


def scheme_and_port_are_the_clients(door: Door) -> None:
    event = door.shape.event()
    for name, value in (("X-Forwarded-Proto", "http"), ("X-Forwarded-Port", "8080")):
        set_header(event, name, value)
    seen = door.environ(event)
    assert (seen["wsgi.url_scheme"], seen["SERVER_PORT"]) == ("http", "8080")


def server_name_is_without_port(door: Door) -> None:
    event = door.shape.event()
    set_header(event, "Host", "upload.example:8443")
    assert door.environ(event)["SERVER_NAME"] == "upload.example"


def server_variables_are_never_empty(door: Door) -> None:
    event = door.shape.event()
    for name in ("headers", "multiValueHeaders"):
        if name in event:
            event[name] = {}
    seen = door.environ(event)
    assert seen["SERVER_NAME"]
    assert seen["SERVER_PORT"] == "443"
    assert seen["wsgi.url_scheme"] == "https"


def underscore_does_not_shadow_a_header(door: Door) -> None:
    seen = door.environ(headers=[("X_Forwarded_Proto", "http"), ("X_Custom", "1")])
    assert seen["HTTP_X_FORWARDED_PROTO"] == "https"
    assert "HTTP_X_CUSTOM" not in seen


def environment_is_valid_wsgi(door: Door) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        assert environ["wsgi.input"].read(3) == b"abc"
        start_response("200 OK", TEXT)
        return [b"ok"]

    reply = door.send(validator(app), method="POST", path="/a%20b", query="a=1", body=b"abc",
                      headers=[("Content-Type", "text/plain"), ("Content-Length", "3"), ("Cookie", "a=1")])  # fmt: skip
    assert (reply.status, reply.body) == (200, b"ok")


def null_request_context_works(door: Door) -> None:
    # The context shows a load balancer's event and VPC Lattice's. Without it they would be something else.
    event = door.shape.event(path="/upload", query="a=1")
    event["requestContext"] = telling_context(event)
    assert door.environ(event)["PATH_INFO"] == "/upload"


def null_headers_work(door: Door) -> None:
    assert door.environ(with_each(door, None, "headers", "multiValueHeaders"))["PATH_INFO"] == "/"


def null_query_works(door: Door) -> None:
    names = ("queryStringParameters", "multiValueQueryStringParameters", "rawQueryString")
    assert door.environ(with_each(door, None, *names))["QUERY_STRING"] == ""


def null_path_works(door: Door) -> None:
    assert door.environ(with_each(door, None, "path", "rawPath"))["PATH_INFO"] == "/"


def absent_keys_work(door: Door) -> None:
    event = door.shape.event()
    for name in ("headers", "queryStringParameters", "multiValueQueryStringParameters", "rawQueryString", "body",
                 "isBase64Encoded", "pathParameters", "stageVariables", "cookies", "resource", "routeKey"):  # fmt: skip
        event.pop(name, None)
    seen = door.environ(event)
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["body"]) == ("/", "", b"")


def urls_are_right_from_outside(door: Door) -> None:
    """The URL that the app would build from the environment is the one that the client used."""
    stage = {"stage": "prod"} if door.shape.has_stage else {}
    event = door.shape.event(path="/upload/a%20b", **stage)
    seen = door.environ(event)
    host = seen["HTTP_HOST"]
    assert seen["PATH_INFO"] == "/upload/a b"
    assert request_uri(seen) == f"https://{host}{'/prod' if stage else ''}/upload/a%20b"


def root_of_a_stage_is_the_apps_root(door: Door) -> None:
    stage = {"stage": "prod"} if door.shape.has_stage else {}
    seen = door.environ(door.shape.event(path="/", **stage))
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/prod" if door.shape.has_stage else "", "/")


def custom_domain_has_no_stage(door: Door) -> None:
    host = "upload.example"
    if door.shape.event is rest_event:
        event = rest_event(host=host, path="/upload", full_path="/upload")
    elif door.shape.event is http_1_event:
        event = http_1_event(host=host, path="/upload")
        event["requestContext"]["stage"] = "upload"  # a stage that is named as a route is must not be mistaken for it
        event["resource"] = "$default"
    elif door.shape.event is http_2_event:
        event = http_2_event(host=host, path="/upload", stage="prod")
    else:
        event = door.shape.event(host=host, path="/upload")
    seen = door.environ(event)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("", "/upload")


def base_path_is_the_script_name(door: Door) -> None:
    """A custom domain's mapping to a path. Payload 2.0 does not contain it. Function URLs and balancers have none."""
    event = door.shape.event(path="/files/1/a%20b.txt")
    expected = ""
    if door.shape.event in (rest_event, http_1_event):
        event |= {"resource": "/files/{file_id}/{name}", "pathParameters": {"file_id": "1", "name": "a b.txt"}}
        event["path"] = event["requestContext"]["path"] = "/base" + event["path"]
        event["requestContext"]["domainName"] = "upload.example"
        expected = "/base"
    seen = door.environ(event)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (expected, "/files/1/a b.txt")


# Going out.


def status_is_a_number(door: Door) -> None:
    assert door.answer(status="404 NOT FOUND").answer["statusCode"] == 404


def status_description_goes_out_to_balancers(door: Door) -> None:
    balancers = (alb_event, alb_multi_value_event, lattice_1_event, lattice_2_event)
    expected = "404 Not Found" if door.shape.event in balancers else None
    assert door.answer(status="404 Not Found").answer.get("statusDescription") == expected


def header_goes_out(door: Door) -> None:
    assert door.answer(("Location", "/files/1/a.txt")).values("Location") == ["/files/1/a.txt"]


def cookies_go_out(door: Door) -> None:
    cookies = ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "c=3"]
    reply = door.answer(*[("Set-Cookie", cookie) for cookie in cookies])
    assert sorted(reply.values("Set-Cookie")) == cookies


def repeated_headers_go_out(door: Door) -> None:
    seen = door.answer(("Vary", "Accept"), ("Vary", "Origin")).values("Vary")
    assert [value.strip() for field in seen for value in field.split(",")] == ["Accept", "Origin"]


def repeated_headers_in_different_case_go_out(door: Door) -> None:
    seen = door.answer(("Vary", "Accept"), ("vary", "Origin")).values("Vary")
    assert [value.strip() for field in seen for value in field.split(",")] == ["Accept", "Origin"]


def text_goes_out(door: Door) -> None:
    assert door.answer(*TEXT, body="grüße".encode()).body == "grüße".encode()


def binary_goes_out(door: Door) -> None:
    assert door.answer(("Content-Type", "image/png"), body=PNG).body == PNG


def binary_of_a_type_nobody_knows_goes_out(door: Door) -> None:
    assert door.answer(("Content-Type", "application/x-unheard-of"), body=PNG).body == PNG


def binary_without_a_type_goes_out(door: Door) -> None:
    assert door.answer(body=PNG).body == PNG


def compressed_text_goes_out(door: Door) -> None:
    body = gzip.compress(b"text")
    assert door.answer(*TEXT, ("Content-Encoding", "gzip"), body=body).body == body


def text_that_is_not_utf_8_goes_out(door: Door) -> None:
    assert door.answer(("Content-Type", "text/plain; charset=iso-8859-1"), body=b"gr\xfc\xdfe").body == b"gr\xfc\xdfe"


def problem_objects_go_out_as_text(door: Door) -> None:
    assert door.answer(("Content-Type", "application/problem+json"), body=b"{}").body == b"{}"


def empty_body_goes_out(door: Door) -> None:
    reply = door.answer(status="204 No Content", body=b"")
    assert (reply.status, reply.body) == (204, b"")


def head_has_no_body(door: Door) -> None:
    reply = door.answer(("Content-Length", "2"), body=b"ok", method="HEAD")
    assert (reply.status, reply.values("Content-Length"), reply.body) == (200, ["2"], b"")


def start_response_may_come_late(door: Door) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [("Location", "/1")])
        yield b"one "
        yield b"two"

    reply = door.send(app)
    assert (reply.status, reply.values("Location"), reply.body) == (201, ["/1"], b"one two")


def exc_info_replaces_the_answer(door: Door) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("X-First", "1")])
        try:
            raise KeyError("boom")
        except KeyError:
            start_response("503 Service Unavailable", [("Retry-After", "9")], sys.exc_info())
        return [b"later"]

    reply = door.send(app)
    assert (reply.status, reply.values("Retry-After"), reply.values("X-First")) == (503, ["9"], [])
    assert reply.body == b"later"


def write_comes_before_the_iterable(door: Door) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)(b"one ")
        return [b"two"]

    assert door.send(app).body == b"one two"


def write_while_iterating_keeps_the_order(door: Door) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        yield b"one "
        write(b"two ")
        yield b"three"

    assert door.send(app).body == b"one two three"


class Body(io.BytesIO):
    """An app's iterable that knows whether it was closed, and may fail."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__(b"line\n")
        self.fails = fails
        self.closings = 0

    def __next__(self) -> bytes:
        if self.fails:
            raise OSError("the disk is gone")
        return super().__next__()

    def close(self) -> None:
        self.closings += 1


def body_is_closed(door: Door) -> None:
    body = Body(fails=False)

    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return body

    assert door.send(app).body == b"line\n"
    assert body.closings == 1


def body_is_closed_when_it_fails(door: Door) -> None:
    body = Body(fails=True)

    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return body

    with contextlib.suppress(OSError):  # the response is another behaviour
        door.send(app)
    assert body.closings == 1


def answer_stands_when_closing_fails(door: Door) -> None:
    class Unclosable(list[bytes]):
        def close(self) -> None:
            raise OSError("the disk is gone")

    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return Unclosable([b"stored"])

    reply = door.send(app)
    assert (reply.status, reply.body) == (200, b"stored")


def failing_app_is_answered_for(door: Door) -> None:
    def app(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
        raise RuntimeError("secret detail")

    reply = door.send(app)
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body


def app_that_fails_midway_is_answered_for(door: Door) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("X-First", "1")])
        yield b"half"
        raise RuntimeError("secret detail")

    reply = door.send(app)
    assert (reply.status, reply.values("X-First")) == (500, [])
    assert b"half" not in reply.body


def app_without_start_response_is_answered_for(door: Door) -> None:
    assert door.send(lambda _environ, _start_response: [b"ok"]).status == 500


def header_injection_is_refused(door: Door) -> None:
    reply = door.answer(("Location", "/a\r\nSet-Cookie: evil=1"))
    assert reply.status == 500
    assert not any("evil" in value for _, value in reply.fields)


# Not quite HTTP.


def body_that_is_not_base64_is_the_clients_fault(door: Door) -> None:
    event = door.shape.event(method="POST", body=b"a", as_base64=True)
    for broken in ("not base64!", "YWI", "YQ==YQ==", "ä"):
        reply = door.pass_on(unreachable, {**event, "body": broken})
        assert reply.status == 400, broken


def unreachable(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
    raise AssertionError("the app was called")


def set_header(event: Event, name: str, value: str) -> None:
    for fields, wrapped in ((event.get("headers"), value), (event.get("multiValueHeaders"), [value])):
        if fields is not None:
            for spelling in [key for key in fields if key.lower() == name.lower()]:
                fields[spelling] = wrapped


def telling_context(event: Event) -> Event | None:
    """The least that a context can hold for the event to be of its shape."""
    context = event.get("requestContext") or {}
    return {name: context[name] for name in ("elb", "serviceArn") if name in context} or None


def with_each(door: Door, value: object, *names: str) -> Event:
    event = door.shape.event()
    return event | {name: value for name in names if name in event}


BEHAVIOURS: dict[str, Callable[[Door], None]] = {
    name.replace("_", " "): function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and list(inspect.signature(function).parameters) == ["door"]
}

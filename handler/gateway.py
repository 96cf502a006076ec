"""Turns every AWS event that carries an HTTP request into WSGI and back, through aws-wsgi.

``awsgi`` was written for one format of events. This module turns each format into the one that ``awsgi`` knows.
``awsgi`` builds the WSGI environment, runs the app and encodes the body. The response then gets the format of its
event. The file reads in the order of the data: the event comes in, the app runs, the response goes out. Documentation
of AWS is cited by the title of its page. Behaviour without a citation was seen by others on live events.
"""

from __future__ import annotations

import binascii
import functools
import io
import itertools
import json
import logging
import re
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus, unquote_to_bytes

import awsgi

from .problems import InternalError, MalformedRequest, Problem
from .web.security_headers import security_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Event = dict[str, Any]
LambdaResponse = dict[str, Any]
Headers = list[tuple[str, str]]
Environ = dict[str, str]

logger = logging.getLogger(__name__)


class UnsupportedEvent(ValueError):
    """The event does not carry an HTTP request: the function is wired to a source that it does not serve.

    :param kind: the kind of the event: its source, or the type of a value that is not an event at all.
    :param keys: the top-level keys of the event. The values are left out, because they may be private.
    """

    def __init__(self, *, kind: str, keys: Sequence[str]) -> None:
        super().__init__(f"this function serves HTTP requests, not {kind} with the keys {', '.join(keys) or '(none)'}")
        self.kind = kind
        self.keys = keys


def make_handler(app: WSGIApplication) -> Callable[[Event, object], LambdaResponse]:
    """Return a Lambda handler for a WSGI app behind API Gateway, a Function URL, a load balancer or VPC Lattice.

    The app finds Lambda's request id in ``UNIQUE_ID`` (the name from Apache's mod_unique_id), and the unchanged event
    and context in ``awsgi.event`` and ``awsgi.context``. The handler always returns a response that AWS can pass on: if
    the app fails, the handler logs the error and returns a problem object (RFC 9457).

    :param app: any WSGI app (PEP 3333).
    :return: ``handler(event, context)``. It raises :class:`UnsupportedEvent` for events that are not HTTP.
    """

    def handler(event: Event, context: object) -> LambdaResponse:
        if is_warm_up(event):
            return {}
        try:
            event_format, environ = read_event(event)
        except UnsupportedEvent as error:
            logger.error("%s", error, extra={"request_id": getattr(context, "aws_request_id", None)})
            raise
        request_id = request_id_of(event, context)
        if request_id:
            environ["UNIQUE_ID"] = request_id
        request = AppRequest(environ, event, context, event_format)
        method = environ["REQUEST_METHOD"]
        try:
            return respond(app, request, body_of(event))
        except MalformedRequest as error:
            problem: Problem = error
            # The app logs each request, but it has not seen this one.
            entry = {"request_id": request_id, "method": method, "status": problem.status, "problem": problem.type}
            logger.info("request", extra=entry)
        except Exception:
            # Otherwise API Gateway and load balancers would respond with 502, each in its own words.
            logger.exception("the app failed to handle a %s request", method, extra={"request_id": request_id})
            problem = InternalError()
        return respond(failure(problem, request_id=request_id), request, Body(io.BytesIO(), 0))

    return handler


# The format of an event.


class EventFormat(NamedTuple):
    """One format of events and responses.

    :param read: turns an event and its ``requestContext`` into WSGI environment variables.
    :param write: turns the header fields of the response into members of Lambda's response.
    :param has_status_description: whether the response has a ``statusDescription``.
    """

    read: Callable[[Event, Event], Environ]
    write: Callable[[Headers], LambdaResponse]
    has_status_description: bool = False


class AppRequest(NamedTuple):
    """A request for the app, without its body.

    :param environ: the WSGI environment variables.
    :param event: the event that carried the request.
    :param context: Lambda's context.
    :param event_format: the format of the event, and of the response.
    """

    environ: Environ
    event: Event
    context: object
    event_format: EventFormat


def format_of(event: Event) -> EventFormat:
    """Return the format of an HTTP event, by its members. The tests have an example of each format.

    :raises UnsupportedEvent: the event is not an HTTP event. A Lambda authorizer's event only looks like one.
    """
    if not isinstance(event, dict):
        raise UnsupportedEvent(kind=type(event).__name__, keys=())
    request_context = event.get("requestContext") or {}
    if not isinstance(request_context, dict):
        raise UnsupportedEvent(kind="an event whose requestContext is not an object", keys=[str(key) for key in event])
    if "elb" in request_context:
        # A target group uses either single values or lists in both directions (its setting
        # lambda.multi_value_headers.enabled).
        return ALB_MULTI_VALUE if "multiValueHeaders" in event else ALB
    if "raw_path" in event and "method" in event:
        return LATTICE_1
    if "method" in event and LATTICE_ARNS & request_context.keys():
        return LATTICE_2
    if event.get("version") == "2.0" and ("rawPath" in event or "http" in request_context) and "routeArn" not in event:
        return PAYLOAD_2
    if "httpMethod" in event and not {"methodArn", "apiPath"} & event.keys():  # of authorizers and Bedrock agents
        return PAYLOAD_1
    raise UnsupportedEvent(kind=kind_of(event), keys=[str(key) for key in event])


def kind_of(event: Event) -> str:
    """Return the name that an event without an HTTP request gives itself: of EventBridge, a queue, a stream, …"""
    records = event.get("Records")
    record = records[0] if isinstance(records, list) and records and isinstance(records[0], dict) else {}
    names = (
        event.get("detail-type"),
        record.get("eventSource") or record.get("EventSource"),  # SNS writes a capital letter, S3 and SQS do not
        (event.get("requestContext") or {}).get("eventType"),
        event.get("type"),
        event.get("source"),
    )
    return str(next(filter(None, names), "an event of an unknown kind"))


def is_warm_up(event: Event) -> bool:
    """Return whether an event only keeps an instance warm. Schedules and serverless-plugin-warmup send such events."""
    if not isinstance(event, dict):
        return False
    source = event.get("source")
    # Rules of EventBridge are the first source. Schedules of EventBridge Scheduler without an input are the second.
    scheduled = source in ("aws.events", "aws.scheduler") and event.get("detail-type") == "Scheduled Event"
    return scheduled or source == "serverless-plugin-warmup"


# The event comes in.


def read_event(event: Event) -> tuple[EventFormat, Environ]:
    """Return the format of an event, and its request as WSGI environment variables.

    :raises UnsupportedEvent: the event is not an HTTP event, or has values that AWS does not send.
    """
    event_format = format_of(event)
    request_context = event.get("requestContext") or {}
    try:
        environ = event_format.read(event, request_context)
        set_server_variables(environ, request_context.get("domainName"))
        # PEP 3333: all of them are text of latin-1 characters. This is the quickest way to check that.
        "".join(environ.values()).encode("latin-1")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        kind = "an HTTP event with values of other types"
        raise UnsupportedEvent(kind=kind, keys=[str(key) for key in event]) from None
    return event_format, environ


def request_id_of(event: Event, context: object) -> str | None:
    """Return Lambda's id of the request, which CloudWatch uses too. Without a context, return API Gateway's id."""
    request_id = getattr(context, "aws_request_id", None) or (event.get("requestContext") or {}).get("requestId")
    # The id becomes a header field, so it must be valid as one (RFC 9110, section 5.5).
    return request_id if isinstance(request_id, str) and request_id.isascii() and request_id.isprintable() else None


def read_payload_1(event: Event, request_context: Event) -> Environ:
    """Read an event of a REST API, or of an HTTP API with payload format 1.0, which also has ``version``.

    AWS: "Lambda proxy integrations in API Gateway", "Create AWS Lambda proxy integrations for HTTP APIs".
    """
    is_http_api = "version" in event
    resource = event.get("resource") or ""
    full_path = request_context.get("path") or ""
    # A REST API passes the path as the client encoded it. An HTTP API decodes it, and so does `sam local start-api`,
    # whose requestContext.path is the template of the resource.
    to_path = wsgi_string if is_http_api or ("{" in resource and full_path == resource) else decode_path
    path, full_path = to_path(event.get("path") or "/"), to_path(full_path)
    # A REST API's path that differs from the full path holds only the app's own part.
    tails = route_path(resource, event.get("pathParameters") or {}) if is_http_api or path == full_path else ()
    if is_http_api and not tails and is_own_domain(request_context):
        tails = after_stage(path, request_context.get("stage"))
    environ = header_variables(event)
    environ["REQUEST_METHOD"] = event.get("httpMethod") or "GET"
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = split_path(path, full_path, tails)
    # Both kinds of API decode the query.
    environ["QUERY_STRING"] = "&".join([f"{quoted(key)}={quoted(value)}" for key, value in query(event)])
    source_ip = (request_context.get("identity") or {}).get("sourceIp")
    if source_ip:
        environ["REMOTE_ADDR"] = source_ip
    return environ


def read_payload_2(event: Event, request_context: Event) -> Environ:
    """Read an event of an HTTP API with payload format 2.0, or of a Function URL, which has the same format.

    AWS: "Create AWS Lambda proxy integrations for HTTP APIs", "Invoking Lambda function URLs".
    """
    http = request_context.get("http") or {}
    # The route key is like "POST /files/{id}", or "$default". Function URLs always have the latter.
    route_method, _, template = (event.get("routeKey") or "").partition(" ")
    # The rawPath of an HTTP API is decoded, in spite of its name. That of a Function URL is raw.
    is_function_url = ".lambda-url." in (request_context.get("domainName") or "")
    to_path = decode_path if is_function_url else wsgi_string
    path = to_path(event.get("rawPath") or http.get("path") or "/")
    stage = request_context.get("stage")
    tails = route_path(template, event.get("pathParameters") or {}) or after_stage(path, stage)
    script_name, path_info = split_path(path, to_path(http.get("path") or ""), tails)
    if script_name == f"/{stage}" and not is_own_domain(request_context):
        # Behind a custom domain the path begins with the stage too, but the client's URL does not. It may begin with
        # the key of the mapping, which only format 1.0 holds.
        script_name = ""
    environ = header_variables(event)
    if event.get("cookies"):
        environ["HTTP_COOKIE"] = join_cookies(wsgi_string("; ".join(event["cookies"])), environ.get("HTTP_COOKIE"))
    default_method = route_method if template and route_method != "ANY" else "GET"
    environ["REQUEST_METHOD"] = http.get("method") or default_method
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = script_name, path_info
    environ["QUERY_STRING"] = ascii_query(event.get("rawQueryString") or "")
    if http.get("sourceIp"):
        environ["REMOTE_ADDR"] = http["sourceIp"]
    return environ


def read_alb(event: Event, _request_context: Event) -> Environ:
    """Read an event of a load balancer. A load balancer decodes neither the path nor the query.

    AWS: "Use Lambda functions as targets of an Application Load Balancer".
    """
    environ = header_variables(event)
    environ["REQUEST_METHOD"] = event.get("httpMethod") or "GET"
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = split_path(decode_path(event.get("path") or "/"), "", ())
    environ["QUERY_STRING"] = ascii_query("&".join([f"{key}={value}" for key, value in query(event)]))
    address = last_hop(environ.get("HTTP_X_FORWARDED_FOR", ""))
    if address:
        environ["REMOTE_ADDR"] = address
    return environ


def read_lattice_1(event: Event, _request_context: Event) -> Environ:
    """Read a VPC Lattice event of version 1. Envoy makes this event: the path is raw and includes the query.

    AWS: "Lambda functions as targets in VPC Lattice"; Envoy: "AWS Lambda", the schema of its JSON.
    """
    return read_lattice(event, event["raw_path"] or "/", event.get("query_string_parameters"))


def read_lattice_2(event: Event, _request_context: Event) -> Environ:
    """Read a VPC Lattice event of version 2, in which header fields and query keys have lists of values.

    AWS: "Lambda functions as targets in VPC Lattice".
    """
    return read_lattice(event, event.get("path") or "/", event.get("queryStringParameters"))


def read_lattice(event: Event, target: str, parameters: Mapping[str, str | list[str] | None] | None) -> Environ:
    """Read the members that both versions have.

    :param target: the raw path, and the query after a ``?`` if the event has the query there.
    :param parameters: the query otherwise. AWS does not document whether the query is decoded. So only the characters
        that an encoded query cannot hold are encoded.
    """
    path, mark, raw_query = target.partition("?")
    environ = header_variables(event)
    environ["REQUEST_METHOD"] = event.get("method") or "GET"
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = split_path(decode_path(path or "/"), "", ())
    pairs = [
        f"{quote(key, safe=QUERY_VALUE, errors='replace')}={quote(value or '', safe=QUERY_VALUE, errors='replace')}"
        for key, values in (parameters or {}).items()
        for value in (values if isinstance(values, list) else [values])
    ]
    environ["QUERY_STRING"] = ascii_query(raw_query) if mark else "&".join(pairs)
    address = last_hop(environ.get("HTTP_X_FORWARDED_FOR", ""))
    if address:
        environ["REMOTE_ADDR"] = address
    return environ


QUERY_VALUE = "%:/?[]@!$'()*+,;="


def join_cookies(cookies: str, field: str | None) -> str:
    """Return the cookies of the event's list, and those that only the ``Cookie`` field has.

    Function URLs behind CloudFront, and event builders, send both.

    :param cookies: the list, joined as browsers do.
    :param field: the value of the header field; ``None`` if the request has none.
    """
    if not field:
        return cookies
    known = {cookie.strip() for cookie in cookies.split(";")}
    return "; ".join([cookies, *(cookie for text in field.split(";") if (cookie := text.strip()) not in known)])


def header_variables(event: Event) -> Environ:
    """Return the header fields as ``HTTP_…`` variables, with repeated fields joined (RFC 9110, section 5.3)."""
    lists = event.get("multiValueHeaders")
    environ = {}
    for name, values in (lists or event.get("headers") or {}).items():
        value = values
        if values and (lists or isinstance(values, list)):  # VPC Lattice has lists under "headers"
            value = values[0] if len(values) == 1 else fold(name, values)
        key = variable_name(name)
        if key and isinstance(value, str):
            environ[key] = value if value.isascii() else wsgi_string(value)
    return environ


@functools.lru_cache(maxsize=256)
def variable_name(field_name: str) -> str | None:
    """Return the variable of a header field; ``None`` if the app must not see the field."""
    name = field_name.upper().replace("-", "_")
    if name == "CONTENT_TYPE":
        return name  # its variable in CGI and WSGI has no prefix (RFC 3875, section 4.1.18)
    if "_" in field_name or name in {"CONTENT_LENGTH", "TRANSFER_ENCODING"}:
        # X_Forwarded_Proto would replace AWS's own X-Forwarded-Proto. nginx and Werkzeug's server drop such fields too.
        # The body has arrived whole and decoded, so its length is counted here and its transfer coding is gone.
        return None
    return "HTTP_" + name


def fold(name: str, values: Sequence[str]) -> str:
    """Return the values of a repeated field as one value."""
    if name.lower() in SINGLETONS:
        return values[-1]  # AWS appends its own value, so the last one counts
    # Cookies are the exception to the comma (RFC 6265, section 5.4).
    return ("; " if name.lower() == "cookie" else ", ").join(values)


SINGLETONS = frozenset({"authorization", "content-type", "host", "x-forwarded-port", "x-forwarded-proto"})


def last_hop(forwarded_for: str) -> str | None:
    """Return the address that the load balancer appended, without a port; ``None`` if there is none.

    The addresses before it come from the client. With routing.http.xff_header_processing.mode "preserve" the load
    balancer appends nothing, and then no address can be trusted.
    """
    hop = forwarded_for.rpartition(",")[2].strip()
    if hop.startswith("["):  # [2001:db8::1]:50000
        return hop[1:].partition("]")[0]
    return (hop.partition(":")[0] if hop.count(":") == 1 else hop) or None


def query(event: Event) -> list[tuple[str, str]]:
    """Return the keys and values of the query."""
    lists = event.get("multiValueQueryStringParameters")
    if lists:
        return [(key, value or "") for key, values in lists.items() for value in values or ()]
    return [(key, value or "") for key, value in (event.get("queryStringParameters") or {}).items()]


def quoted(text: str) -> str:
    """Percent-encode a key or a value of a query."""
    # Most keys and values need no quoting. This test is faster than quote_plus.
    return text if text.isascii() and text.isalnum() else quote_plus(text, errors="replace")


def ascii_query(query: str) -> str:
    """Percent-encode the characters that a client left raw in an otherwise encoded query."""
    return query if query.isascii() else quote(query, safe="%:/?#[]@!$&'()*+,;=", errors="replace")


def wsgi_string(text: str) -> str:
    """Return text as a WSGI string: each of its UTF-8 bytes is a character (PEP 3333, "Unicode Issues")."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")


def decode_path(path: str) -> str:
    """Return a percent-encoded path as a WSGI string."""
    return unquote_to_bytes(path.encode("utf-8", "replace")).decode("latin-1") if "%" in path else wsgi_string(path)


def split_path(path: str, full_path: str, tails: Sequence[str]) -> tuple[str, str]:
    """Split a path into the part before the app and the app's own part: ``SCRIPT_NAME`` and ``PATH_INFO``.

    The event's path ends with the path of the route that matched. The part before that is the stage, or the base path
    of a custom domain. The event's path does not show where the app's part begins. Without a custom domain, a REST API
    leaves the stage out of ``path``. With one, it includes the base path, and also the stage unless the mapping names
    one.

    :param path: the event's path, without the query.
    :param full_path: the path that the client asked for. `sam local` has a template here, which is ignored.
    :param tails: the possible paths of the route, the most likely first.
    """
    path = path if path.startswith("/") else "/" + path
    base = prefix_before(tails, path) if tails else ""
    path_info = path[len(base) :] or "/"
    return base or prefix_before((path_info,), full_path), path_info


def prefix_before(tails: Iterable[str], path: str) -> str:
    """Return the path before the first matching tail, ignoring a trailing slash; ``""`` if no tail matches."""
    path = path.rstrip("/")
    for tail in tails:
        bare = tail.rstrip("/")
        # Only a client makes a prefix that ends with a slash (//host/path). AWS's own prefixes do not.
        if path.endswith(bare) and not path.endswith("/" + bare):
            return path[: len(path) - len(bare)]
    return ""


def route_path(template: str, parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Return the possible paths of the route that matched: its template with the values of its variables.

    There are two, because AWS does not document whether the values are percent-encoded. Without a value there is none.

    :param template: such as ``/files/{id}/{name}`` or ``/{proxy+}``.
    """
    if not template.startswith("/"):
        return ()
    try:
        filled = re.sub(r"\{([^{}+]+)\+?\}", lambda variable: parameters[variable[1]], template)
    except KeyError:
        return ()
    return wsgi_string(filled), decode_path(filled)


def after_stage(path: str, stage: str | None) -> tuple[str, ...]:
    """Return the path after the name of the stage, for a route without variables. ``$default`` is never in a path."""
    if not stage or stage == "$default" or not f"{path}/".startswith(f"/{stage}/"):
        return ()
    return (path[len(stage) + 1 :],)


def is_own_domain(request_context: Event) -> bool:
    """Return whether the client called the API by its own name, under which the URL has the stage, and not by a custom
    domain."""
    return ".execute-api." in (request_context.get("domainName") or "")


def set_server_variables(environ: Environ, domain_name: str | None) -> None:
    """Add the scheme, the name and the port of the client's URL. Neither name nor port may be empty (PEP 3333).

    :param domain_name: the domain that received the request, according to AWS. The app makes its URLs with that domain
        (``HTTP_HOST``), and not with the client's ``Host``. Load balancers and VPC Lattice have only ``Host``.
    """
    # AWS sets X-Forwarded-Proto and -Port. The events of health checks and consoles do not have them.
    scheme = last_value(environ.get("HTTP_X_FORWARDED_PROTO", "")).lower()
    if scheme not in DEFAULT_PORTS:
        scheme = "https"
    port = last_value(environ.get("HTTP_X_FORWARDED_PORT", ""))
    host = environ.get("HTTP_HOST") or domain_name or ""
    name, _, host_port = host.rpartition(":")
    environ["wsgi.url_scheme"] = scheme
    environ["SERVER_NAME"] = (name if host_port.isdecimal() else host) or "localhost"
    environ["SERVER_PORT"] = port if port.isdecimal() else DEFAULT_PORTS[scheme]
    if domain_name and isinstance(domain_name, str):
        environ["HTTP_HOST"] = domain_name


DEFAULT_PORTS = {"http": "80", "https": "443"}


def last_value(field: str) -> str:
    """Return the last value in a list: AWS appends its own."""
    return field.rpartition(",")[2].strip()


# The decoder of the standard library takes 20 to 40 times as long: nearly half of the time of an upload through Lambda.
decode_base64: Callable[[str], bytes]
try:
    import pybase64
except ImportError:
    # base64.b64decode(text, validate=True) calls this function, but copies the text before.
    decode_base64 = functools.partial(binascii.a2b_base64, strict_mode=True)
else:
    decode_base64 = functools.partial(pybase64.b64decode, validate=True)


PIECE_CHARS = 96 * 1024
"""How much base64 is decoded at once. It is a multiple of four, because four characters stand for three bytes. Larger
pieces cost more memory management than work (``web/forms.py``, READ_BYTES)."""


class Body(NamedTuple):
    """The body of a request, and its length in bytes."""

    stream: IO[bytes]
    length: int


def body_of(event: Event) -> Body:
    """Return the body of the request.

    A large body is decoded while the app reads it. So there is never a second copy of the body, and a body that the app
    refuses unread is not decoded.

    :raises MalformedRequest: the body is marked as base64 but is not, or is not text at all. A large body may raise
        this error when it is read.
    """
    text = event.get("body") or ""
    is_base64 = event.get("isBase64Encoded") or event.get("is_base64_encoded")  # the latter is VPC Lattice's
    try:
        if is_base64 and len(text) > PIECE_CHARS:
            length = len(text) // 4 * 3 - text.count("=", -2)
            return Body(io.BufferedReader(Base64Reader(text), PIECE_CHARS), length)
        data = decode_base64(text) if is_base64 else text.encode()
    except (ValueError, TypeError, AttributeError):
        raise not_decodable() from None
    return Body(io.BytesIO(data), len(data))


def not_decodable() -> MalformedRequest:
    """Return the problem with a body that is not valid base64."""
    return MalformedRequest("The body could not be decoded. Send it again.")


class Base64Reader(io.RawIOBase):
    """A stream that decodes base64 piece by piece."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """:raises MalformedRequest: the text is not valid base64."""
        if not self._rest:
            self._rest = memoryview(self._next_piece())
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _next_piece(self) -> bytes:
        if self._at >= len(self._text):
            return b""
        text = self._text[self._at : self._at + PIECE_CHARS]
        self._at += PIECE_CHARS
        try:
            piece = decode_base64(text)
        except ValueError:
            raise not_decodable() from None
        if len(piece) % 3 and self._at < len(self._text):  # padding in the middle of the text
            raise not_decodable()
        return piece


# The app runs.


def respond(app: WSGIApplication, request: AppRequest, body: Body) -> LambdaResponse:
    """Run the app through ``awsgi``, and return its response in the format of the event."""
    headers: Headers = []

    def corrected_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # `awsgi` sets 127.0.0.1, which the app may trust.
        del environ["REMOTE_ADDR"]
        environ.update(request.environ)
        environ["awsgi.event"] = request.event
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = body.stream, str(body.length)
        status, app_headers, output = run(app, environ)
        headers.extend(app_headers)
        if request.environ["REQUEST_METHOD"] == "HEAD":
            output = b""  # all header fields stay those of a GET, Content-Length too (RFC 9110, section 9.3.2)
        # `awsgi` decides by the content type whether to encode the body, so it gets one of two types made for that. It
        # would keep only one header field of each name, so the app's own fields are added afterwards.
        start_response(status, [("Content-Type", TEXT if is_text(output, app_headers) else BINARY)])
        return [output]

    response: LambdaResponse = awsgi.response(
        corrected_app,
        {
            "httpMethod": request.environ["REQUEST_METHOD"],
            "path": request.environ["PATH_INFO"],
            "queryStringParameters": None,
            "headers": None,
            "body": None,
            "isBase64Encoded": False,
            # `awsgi` adds the statusDescription that a load balancer needs.
            "requestContext": {"elb": {}} if request.event_format.has_status_description else {},
        },
        request.context,
        base64_content_types={BINARY},
    )
    response["statusCode"] = int(response["statusCode"])
    del response["headers"]
    response.update(request.event_format.write(headers))
    return response


TEXT, BINARY = "text", "binary"


def run(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, Headers, bytes]:
    """Run the app to its end (PEP 3333). The app may call ``start_response`` late, and may use ``write``.

    :return: status line, header fields, body.
    """
    started: list[tuple[str, Headers]] = []
    chunks: list[bytes] = []
    write = chunks.append

    def start_response(
        status: str,
        headers: Headers,
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None = None,
        /,
    ) -> Callable[[bytes], object]:
        if exc_info and exc_info[1]:
            # Header fields count as sent with the first byte of the body. Before that, the app may replace them.
            if any(chunks):
                raise exc_info[1].with_traceback(exc_info[2])
        elif started:
            raise AssertionError("start_response was called again without exc_info")
        text = status + "".join(itertools.chain.from_iterable(headers))
        if "\r" in text or "\n" in text or "\0" in text:
            # It would end the line, and the rest could become another header field (RFC 9110, section 5.5).
            raise ValueError("the status line or a header field holds a control character")
        if not text.isascii():
            headers = [(name, json_string(value)) for name, value in headers]
        started[:] = [(status, headers)]
        return write

    output = app(environ, start_response)
    try:
        for chunk in output:
            write(chunk)  # one by one, because the app may call write() between two chunks
    finally:
        close_quietly(output)
    if not started:
        raise AssertionError("the app did not call start_response")
    return *started[0], b"".join(chunks)


def close_quietly(output: Iterable[bytes]) -> None:
    """Close the output of the app. If that fails, the response is complete all the same, and the client gets it."""
    try:
        close = getattr(output, "close", None)
        if close is not None:
            close()
    except Exception:
        logger.exception("the app failed to close its response")


def json_string(text: str) -> str:
    """Return a WSGI string as text: the reverse of :func:`wsgi_string`."""
    if text.isascii():
        return text
    octets = text.encode("latin-1")  # other characters are not valid in a WSGI string, and an error
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return text


def failure(problem: Problem, *, request_id: str | None) -> WSGIApplication:
    """Return a WSGI app that always responds with a problem object (RFC 9457). It replaces an app that failed."""
    members = problem.as_dict()
    headers = [("Content-Type", "application/problem+json")]
    if request_id:
        members["request_id"] = request_id
        headers.append(("X-Request-Id", request_id))
    body = json.dumps(members).encode()
    headers.append(("Content-Length", str(len(body))))
    status_line = f"{problem.status} {HTTPStatus(problem.status).phrase}"

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status_line, headers + security_headers(over_tls=environ["wsgi.url_scheme"] == "https"))
        return [body]

    return app


# The response goes out.


def is_text(body: bytes, headers: Headers) -> bool:
    """Return whether the body can travel as text in JSON. Its bytes decide, so no list of types must be kept current.

    A body with a NUL is binary, as in git. A NUL is found quickly in binary data, and takes six bytes in JSON.
    """
    if b"\0" in body or "content-encoding" in [name.lower() for name, _ in headers]:
        return False
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def write_payload_1(headers: Headers) -> LambdaResponse:
    """Put repeated fields next to the others: API Gateway merges ``headers`` and ``multiValueHeaders``."""
    if len({name.lower() for name, _ in headers}) == len(headers):
        return {"headers": dict(headers)}
    fields = group(headers).items()
    return {
        "headers": {name: values[0] for name, values in fields if len(values) == 1},
        "multiValueHeaders": {name: values for name, values in fields if len(values) > 1},
    }


def write_payload_2(headers: Headers) -> LambdaResponse:
    """Put cookies into a list of their own. Other repeated fields are joined, because the format has no lists."""
    cookies = [value for name, value in headers if name.lower() == "set-cookie"]
    fields = group((name, value) for name, value in headers if name.lower() != "set-cookie")
    response: LambdaResponse = {"headers": {name: ", ".join(values) for name, values in fields.items()}}
    if cookies:
        response["cookies"] = cookies
    return response


def write_alb(headers: Headers) -> LambdaResponse:
    """Put one value under each name. Several cookies get names in different letter cases, as other adapters do."""
    fields: dict[str, str] = {}
    for name, values in group(headers).items():
        if name.lower() == "set-cookie" and len(values) > 1:
            fields.update(zip(spellings_of_set_cookie(), values, strict=False))
        else:
            fields[name] = ", ".join(values)
    return {"headers": fields}


def spellings_of_set_cookie() -> Iterator[str]:
    """Yield ``set-cookie`` in every combination of upper and lower case."""
    for letters in itertools.product(*zip("setcookie", "SETCOOKIE", strict=True)):
        yield "".join(letters[:3]) + "-" + "".join(letters[3:])


def write_alb_multi_value(headers: Headers) -> LambdaResponse:
    """Put all values into lists."""
    return {"multiValueHeaders": group(headers)}


def group(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the values of each field, under the first spelling of its name."""
    fields: dict[str, list[str]] = {}
    spelling: dict[str, str] = {}
    for name, value in headers:
        fields.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
    return fields


PAYLOAD_1 = EventFormat(read_payload_1, write_payload_1)
PAYLOAD_2 = EventFormat(read_payload_2, write_payload_2)
ALB = EventFormat(read_alb, write_alb, has_status_description=True)
ALB_MULTI_VALUE = EventFormat(read_alb, write_alb_multi_value, has_status_description=True)
LATTICE_1 = EventFormat(read_lattice_1, write_payload_2, has_status_description=True)
LATTICE_2 = EventFormat(read_lattice_2, write_payload_2, has_status_description=True)
LATTICE_ARNS = frozenset({"serviceNetworkArn", "serviceArn", "targetGroupArn"})
"""Members of the context in VPC Lattice events. Other HTTP events do not have them there: a load balancer's ARN is
below ``elb``."""

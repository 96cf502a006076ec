"""Every AWS event that carries an HTTP request, to WSGI and back, through aws-wsgi.

``awsgi`` was written for one event shape. Here each shape is turned into what ``awsgi`` understands; ``awsgi`` builds
the WSGI environment, runs the app and encodes the body; then the answer gets the form of the shape that asked. The file
reads in the order of the data: the event comes in, the app runs, the answer goes out. What AWS documents is cited by
the page's title; what it does not was seen by others on live events.
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
Answer = dict[str, Any]
Headers = list[tuple[str, str]]
Variables = dict[str, str]

logger = logging.getLogger(__name__)


class UnsupportedEvent(ValueError):
    """The event carries no HTTP request: the function is wired to something that it does not serve.

    :param kind: what the event seems to be: its source, or the type of the value that is no event at all.
    :param keys: the event's top-level keys. Not its values, which may be private.
    """

    def __init__(self, *, kind: str, keys: Sequence[str]) -> None:
        super().__init__(f"this function answers HTTP requests, not {kind} with the keys {', '.join(keys) or '(none)'}")
        self.kind = kind
        self.keys = keys


def make_handler(app: WSGIApplication) -> Callable[[Event, object], Answer]:
    """A Lambda handler that lets a WSGI app answer what API Gateway, a Function URL, a load balancer or VPC Lattice
    passes on.

    The app finds Lambda's request id in ``UNIQUE_ID`` (the name that Apache's mod_unique_id gave it), and the untouched
    event and context in ``awsgi.event`` and ``awsgi.context``. Whatever the app does, the answer is one that AWS can
    pass on: an app that fails is logged and answered for with a problem object (RFC 9457).

    :param app: any WSGI app (PEP 3333).
    :return: ``handler(event, context)``. It raises :class:`UnsupportedEvent` for events that are not HTTP.
    """

    def handler(event: Event, context: object) -> Answer:
        if is_warm_up(event):
            return {}
        try:
            shape, variables = read_event(event)
        except UnsupportedEvent as error:
            logger.error("%s", error, extra={"request_id": getattr(context, "aws_request_id", None)})
            raise
        request_id = request_id_of(event, context)
        if request_id:
            variables["UNIQUE_ID"] = request_id
        request = Request(variables, event, context, shape)
        method = variables["REQUEST_METHOD"]
        try:
            return respond(app, request, body_of(event))
        except MalformedRequest as error:
            problem: Problem = error
            # The app, which has a line in the log for each request, has not seen this one.
            entry = {"request_id": request_id, "method": method, "status": problem.status, "problem": problem.type}
            logger.info("request", extra=entry)
        except Exception:
            # Left to themselves, API Gateway and load balancers answer 502, each in its own words.
            logger.exception("the app failed to answer a %s request", method, extra={"request_id": request_id})
            problem = InternalError()
        return respond(failure(problem, request_id=request_id), request, Body(io.BytesIO(), 0))

    return handler


# What kind of event it is.


class Shape(NamedTuple):
    """How one kind of event is read, into environment variables, and how the answer's header fields are written."""

    read: Callable[[Event, Event], Variables]
    write: Callable[[Headers], Answer]
    has_status_description: bool = False


class Request(NamedTuple):
    """A request as WSGI wants it, whatever shape it came in, and what it came in. The body comes apart."""

    variables: Variables
    event: Event
    context: object
    shape: Shape


def shape_of(event: Event) -> Shape:
    """The shape of an HTTP event, told by what it holds. See the tests' events for an example of each.

    :raises UnsupportedEvent: it is no HTTP event, or a Lambda authorizer's, which looks much like one.
    """
    if not isinstance(event, dict):
        raise UnsupportedEvent(kind=type(event).__name__, keys=())
    request_context = event.get("requestContext") or {}
    if not isinstance(request_context, dict):
        raise UnsupportedEvent(kind="an event whose requestContext is no object", keys=[str(key) for key in event])
    if "elb" in request_context:
        # A target group sends, and takes, either single values or lists, by its setting
        # lambda.multi_value_headers.enabled.
        return ALB_MULTI_VALUE if "multiValueHeaders" in event else ALB
    if "raw_path" in event and "method" in event:
        return LATTICE_1
    if "method" in event and LATTICE_ARNS & request_context.keys():
        return LATTICE_2
    if event.get("version") == "2.0" and ("rawPath" in event or "http" in request_context) and "routeArn" not in event:
        return PAYLOAD_2
    if "httpMethod" in event and not {"methodArn", "apiPath"} & event.keys():  # an authorizer's, a Bedrock agent's
        return PAYLOAD_1
    raise UnsupportedEvent(kind=kind_of(event), keys=[str(key) for key in event])


def kind_of(event: Event) -> str:
    """What an event that is no HTTP request calls itself: EventBridge's, a queue's or stream's, a WebSocket's, …"""
    records = event.get("Records")
    record = records[0] if isinstance(records, list) and records and isinstance(records[0], dict) else {}
    names = (
        event.get("detail-type"),
        record.get("eventSource") or record.get("EventSource"),  # S3 and SQS write it so, SNS the other way
        (event.get("requestContext") or {}).get("eventType"),
        event.get("type"),
        event.get("source"),
    )
    return str(next(filter(None, names), "an event of an unknown kind"))


def is_warm_up(event: Event) -> bool:
    """Is it an event that keeps an instance warm: a schedule's, or serverless-plugin-warmup's?"""
    if not isinstance(event, dict):
        return False
    source = event.get("source")
    # A rule of EventBridge's, and a schedule of EventBridge Scheduler's that was given no input of its own.
    scheduled = source in ("aws.events", "aws.scheduler") and event.get("detail-type") == "Scheduled Event"
    return scheduled or source == "serverless-plugin-warmup"


# The event comes in.


def read_event(event: Event) -> tuple[Shape, Variables]:
    """The event's shape, and its request as environment variables.

    :raises UnsupportedEvent: it is no HTTP event, or one with values that AWS does not send.
    """
    shape = shape_of(event)
    request_context = event.get("requestContext") or {}
    try:
        variables = shape.read(event, request_context)
        set_server_variables(variables, request_context.get("domainName"))
        # PEP 3333 has them all be text, of latin-1 characters; this is the quick way to find one that is not.
        "".join(variables.values()).encode("latin-1")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        kind = "an HTTP event with values of other types"
        raise UnsupportedEvent(kind=kind, keys=[str(key) for key in event]) from None
    return shape, variables


def request_id_of(event: Event, context: object) -> str | None:
    """Lambda's id of the request, under which CloudWatch has its lines; where there is no context, API Gateway's."""
    request_id = getattr(context, "aws_request_id", None) or (event.get("requestContext") or {}).get("requestId")
    # It becomes a header field, so what could not be one is none (RFC 9110, section 5.5).
    return request_id if isinstance(request_id, str) and request_id.isascii() and request_id.isprintable() else None


def read_payload_1(event: Event, request_context: Event) -> Variables:
    """A REST API's event, or an HTTP API's with payload format 1.0, which is the same plus ``version``.

    AWS: "Lambda proxy integrations in API Gateway", "Create AWS Lambda proxy integrations for HTTP APIs".
    """
    is_http_api = "version" in event
    resource = event.get("resource") or ""
    full_path = request_context.get("path") or ""
    # A REST API passes the path on as the client encoded it, an HTTP API has decoded it. `sam local start-api` has too,
    # and shows itself by a requestContext.path that is the resource's template.
    to_path = wsgi_string if is_http_api or ("{" in resource and full_path == resource) else decode_path
    path, full_path = to_path(event.get("path") or "/"), to_path(full_path)
    # A REST API's path that differs from the full one holds nothing but the app's own.
    tails = route_path(resource, event.get("pathParameters") or {}) if is_http_api or path == full_path else ()
    if is_http_api and not tails and is_own_domain(request_context):
        tails = after_stage(path, request_context.get("stage"))
    variables = header_variables(event)
    variables["REQUEST_METHOD"] = event.get("httpMethod") or "GET"
    variables["SCRIPT_NAME"], variables["PATH_INFO"] = split_path(path, full_path, tails)
    # Both kinds of API have decoded the query.
    variables["QUERY_STRING"] = "&".join([f"{quoted(key)}={quoted(value)}" for key, value in query(event)])
    source_ip = (request_context.get("identity") or {}).get("sourceIp")
    if source_ip:
        variables["REMOTE_ADDR"] = source_ip
    return variables


def read_payload_2(event: Event, request_context: Event) -> Variables:
    """An HTTP API's event with payload format 2.0, or a Function URL's, which has the same form.

    AWS: "Create AWS Lambda proxy integrations for HTTP APIs", "Invoking Lambda function URLs".
    """
    http = request_context.get("http") or {}
    # "POST /files/{id}", or "$default", which Function URLs have too.
    route_method, _, template = (event.get("routeKey") or "").partition(" ")
    # In spite of its name an HTTP API's rawPath is decoded. A Function URL's is raw.
    is_function_url = ".lambda-url." in (request_context.get("domainName") or "")
    to_path = decode_path if is_function_url else wsgi_string
    path = to_path(event.get("rawPath") or http.get("path") or "/")
    stage = request_context.get("stage")
    tails = route_path(template, event.get("pathParameters") or {}) or after_stage(path, stage)
    script_name, path_info = split_path(path, to_path(http.get("path") or ""), tails)
    if script_name == f"/{stage}" and not is_own_domain(request_context):
        # Behind a custom domain, too, the path begins with the stage, but the client's URL does not. It may begin with
        # the mapping's key instead, and that this payload does not tell; format 1.0 does.
        script_name = ""
    variables = header_variables(event)
    if event.get("cookies"):
        variables["HTTP_COOKIE"] = join_cookies(wsgi_string("; ".join(event["cookies"])), variables.get("HTTP_COOKIE"))
    default_method = route_method if template and route_method != "ANY" else "GET"
    variables["REQUEST_METHOD"] = http.get("method") or default_method
    variables["SCRIPT_NAME"], variables["PATH_INFO"] = script_name, path_info
    variables["QUERY_STRING"] = ascii_query(event.get("rawQueryString") or "")
    if http.get("sourceIp"):
        variables["REMOTE_ADDR"] = http["sourceIp"]
    return variables


def read_alb(event: Event, _request_context: Event) -> Variables:
    """A load balancer's event. It decodes nothing: neither the path nor the query.

    AWS: "Use Lambda functions as targets of an Application Load Balancer".
    """
    variables = header_variables(event)
    variables["REQUEST_METHOD"] = event.get("httpMethod") or "GET"
    variables["SCRIPT_NAME"], variables["PATH_INFO"] = split_path(decode_path(event.get("path") or "/"), "", ())
    variables["QUERY_STRING"] = ascii_query("&".join([f"{key}={value}" for key, value in query(event)]))
    address = last_hop(variables.get("HTTP_X_FORWARDED_FOR", ""))
    if address:
        variables["REMOTE_ADDR"] = address
    return variables


def read_lattice_1(event: Event, _request_context: Event) -> Variables:
    """A VPC Lattice event of version 1, which is what Envoy makes of a request: the path is raw and has the query.

    AWS: "Lambda functions as targets in VPC Lattice"; Envoy: "AWS Lambda", the schema of its JSON.
    """
    return read_lattice(event, event["raw_path"] or "/", event.get("query_string_parameters"))


def read_lattice_2(event: Event, _request_context: Event) -> Variables:
    """A VPC Lattice event of version 2: header fields and query keys have lists of values.

    AWS: "Lambda functions as targets in VPC Lattice".
    """
    return read_lattice(event, event.get("path") or "/", event.get("queryStringParameters"))


def read_lattice(event: Event, target: str, parameters: Mapping[str, str | list[str] | None] | None) -> Variables:
    """What both versions have in common.

    :param target: the path, raw, and the query behind a ``?`` if the event has it there.
    :param parameters: the query otherwise. AWS does not say whether it is decoded, so a character that no encoded query
        has is encoded.
    """
    path, mark, raw_query = target.partition("?")
    variables = header_variables(event)
    variables["REQUEST_METHOD"] = event.get("method") or "GET"
    variables["SCRIPT_NAME"], variables["PATH_INFO"] = split_path(decode_path(path or "/"), "", ())
    pairs = [
        f"{quote(key, safe=QUERY_VALUE, errors='replace')}={quote(value or '', safe=QUERY_VALUE, errors='replace')}"
        for key, values in (parameters or {}).items()
        for value in (values if isinstance(values, list) else [values])
    ]
    variables["QUERY_STRING"] = ascii_query(raw_query) if mark else "&".join(pairs)
    address = last_hop(variables.get("HTTP_X_FORWARDED_FOR", ""))
    if address:
        variables["REMOTE_ADDR"] = address
    return variables


QUERY_VALUE = "%:/?[]@!$'()*+,;="


def join_cookies(cookies: str, field: str | None) -> str:
    """The event's list of cookies, and those of a Cookie header field that are not in it: Function URLs behind
    CloudFront, and event builders, send both.

    :param cookies: the list, joined as a browser would.
    :param field: the value of the header field, if there is one.
    """
    if not field:
        return cookies
    known = {cookie.strip() for cookie in cookies.split(";")}
    return "; ".join([cookies, *(cookie for each in field.split(";") if (cookie := each.strip()) not in known)])


def header_variables(event: Event) -> Variables:
    """The request's header fields as ``HTTP_…`` variables, repeated ones joined (RFC 9110, section 5.3)."""
    lists = event.get("multiValueHeaders")
    variables = {}
    for name, value in (lists or event.get("headers") or {}).items():
        if value and (lists or isinstance(value, list)):  # VPC Lattice has lists in the one place
            value = value[0] if len(value) == 1 else fold(name, value)  # noqa: PLW2901
        key = variable_name(name)
        if key and isinstance(value, str):
            variables[key] = value if value.isascii() else wsgi_string(value)
    return variables


@functools.lru_cache(maxsize=256)
def variable_name(field_name: str) -> str | None:
    """The name of a header field's variable; None if the field is not to be seen by the app."""
    name = field_name.upper().replace("-", "_")
    if name == "CONTENT_TYPE":
        return name  # CGI's own variable, and WSGI's: it has no HTTP_ twin (RFC 3875, section 4.1.18)
    if "_" in field_name or name in {"CONTENT_LENGTH", "TRANSFER_ENCODING"}:
        # X_Forwarded_Proto would stand in for what AWS says in X-Forwarded-Proto: dropped, as nginx and Werkzeug's
        # server do. The body is here, whole: its length is counted, and whatever coding it travelled in is gone.
        return None
    return "HTTP_" + name


def fold(name: str, values: Sequence[str]) -> str:
    if name.lower() in SINGLETONS:
        return values[-1]  # AWS appends: where only one can count, the last is its own
    # Cookies are the exception to the comma (RFC 6265, section 5.4).
    return ("; " if name.lower() == "cookie" else ", ").join(values)


SINGLETONS = frozenset({"authorization", "content-type", "host", "x-forwarded-port", "x-forwarded-proto"})


def last_hop(forwarded_for: str) -> str | None:
    """The address that the load balancer appended, without the port that it adds if it is set to.

    What stands before it comes from the client. (With routing.http.xff_header_processing.mode "preserve" the load
    balancer appends nothing; then no address can be believed.)
    """
    hop = forwarded_for.rpartition(",")[2].strip()
    if hop.startswith("["):  # [2001:db8::1]:50000
        return hop[1:].partition("]")[0]
    return (hop.partition(":")[0] if hop.count(":") == 1 else hop) or None


def query(event: Event) -> list[tuple[str, str]]:
    lists = event.get("multiValueQueryStringParameters")
    if lists:
        return [(key, value or "") for key, values in lists.items() for value in values or ()]
    return [(key, value or "") for key, value in (event.get("queryStringParameters") or {}).items()]


def quoted(text: str) -> str:
    # Most keys and values need no quoting, and to find that out takes quote_plus a while.
    return text if text.isascii() and text.isalnum() else quote_plus(text, errors="replace")


def ascii_query(query: str) -> str:
    """A query that is percent-encoded already, also where a client left characters raw that it should not have."""
    return query if query.isascii() else quote(query, safe="%:/?#[]@!$&'()*+,;=", errors="replace")


def wsgi_string(text: str) -> str:
    """Text as a WSGI string: its UTF-8 bytes, each one a character (PEP 3333, "Unicode Issues")."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")


def decode_path(path: str) -> str:
    """A percent-encoded path as a WSGI string."""
    return unquote_to_bytes(path.encode("utf-8", "replace")).decode("latin-1") if "%" in path else wsgi_string(path)


def split_path(path: str, full_path: str, tails: Sequence[str]) -> tuple[str, str]:
    """What lies before the app, and the app's own part: ``SCRIPT_NAME`` and ``PATH_INFO``.

    The route that matched tells them apart: its path ends the event's, and what precedes it is the stage or a custom
    domain's base path. The event's path alone does not tell: without a custom domain a REST API leaves the stage out
    of ``path``, with one it puts the base path in, and the stage too unless the mapping names one.

    :param path: the event's path, without the query.
    :param full_path: the path that the client asked for, or something of no use: `sam local` gives a template.
    :param tails: what may be the route's path, the likelier first.
    """
    path = path if path.startswith("/") else "/" + path
    base = prefix_before(tails, path) if tails else ""
    path_info = path[len(base) :] or "/"
    return base or prefix_before((path_info,), full_path), path_info


def prefix_before(tails: Iterable[str], path: str) -> str:
    """What precedes one of the tails in the path, a slash at the end being no difference; empty if none ends it."""
    path = path.rstrip("/")
    for tail in tails:
        bare = tail.rstrip("/")
        # A prefix that ends with a slash is the client's doing (//host/path): AWS's own do not.
        if path.endswith(bare) and not path.endswith("/" + bare):
            return path[: len(path) - len(bare)]
    return ""


def route_path(template: str, parameters: Mapping[str, str]) -> tuple[str, ...]:
    """The path of the route that matched: ``/files/{id}/{name}`` or ``/{proxy+}`` with its variables filled in.

    There are two, since AWS does not say whether the variables' values are percent-encoded; and none if one is missing.
    """
    if not template.startswith("/"):
        return ()
    try:
        filled = re.sub(r"\{([^{}+]+)\+?\}", lambda variable: parameters[variable[1]], template)
    except KeyError:
        return ()
    return wsgi_string(filled), decode_path(filled)


def after_stage(path: str, stage: str | None) -> tuple[str, ...]:
    """The path behind the stage's name, for where the route does not tell. The stage $default is not in the path."""
    if not stage or stage == "$default" or not f"{path}/".startswith(f"/{stage}/"):
        return ()
    return (path[len(stage) + 1 :],)


def is_own_domain(request_context: Event) -> bool:
    """Was the API called by the name that AWS gave it, which has the stage in its URL, and not by a custom domain's?"""
    return ".execute-api." in (request_context.get("domainName") or "")


def set_server_variables(variables: Variables, domain_name: str | None) -> None:
    """The URL that the client used, up to the path. Neither name nor port may be empty (PEP 3333).

    :param domain_name: the domain that AWS says the request came to. The app makes its URLs of it (``HTTP_HOST``) and
        not of what a client wrote into ``Host``. Load balancers and VPC Lattice have only ``Host``.
    """
    # AWS sets X-Forwarded-Proto and -Port; the events of health checks and consoles lack them.
    scheme = last_value(variables.get("HTTP_X_FORWARDED_PROTO", "")).lower()
    if scheme not in DEFAULT_PORTS:
        scheme = "https"
    port = last_value(variables.get("HTTP_X_FORWARDED_PORT", ""))
    host = variables.get("HTTP_HOST") or domain_name or ""
    name, _, host_port = host.rpartition(":")
    variables["wsgi.url_scheme"] = scheme
    variables["SERVER_NAME"] = (name if host_port.isdecimal() else host) or "localhost"
    variables["SERVER_PORT"] = port if port.isdecimal() else DEFAULT_PORTS[scheme]
    if domain_name and isinstance(domain_name, str):
        variables["HTTP_HOST"] = domain_name


DEFAULT_PORTS = {"http": "80", "https": "443"}


def last_value(field: str) -> str:
    return field.rpartition(",")[2].strip()


# The standard library's takes 20 to 40 times as long, which is nearly half of what an upload through Lambda costs.
decode_base64: Callable[[str], bytes]
try:
    import pybase64
except ImportError:
    # What base64.b64decode(text, validate=True) calls, after it has made a copy of the text.
    decode_base64 = functools.partial(binascii.a2b_base64, strict_mode=True)
else:
    decode_base64 = functools.partial(pybase64.b64decode, validate=True)


PIECE_CHARS = 256 * 1024
"""How much base64 is decoded at a time; a multiple of four, as four characters stand for three bytes."""


class Body(NamedTuple):
    stream: IO[bytes]
    length: int


def body_of(event: Event) -> Body:
    """The request's body. A large one is decoded as the app reads it: then there is no second copy of it, and of what
    the app refuses unread nothing is decoded.

    :raises MalformedRequest: it is marked as base64 and is not, or it is no text at all. Of a large one that may be
        found out when it is read; then it is raised there.
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
    return MalformedRequest("The body could not be decoded. Send it again.")


class Base64Reader(io.RawIOBase):
    """What some base64 stands for, decoded piece by piece."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """:raises MalformedRequest: it is no base64."""
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
        if len(piece) % 3 and self._at < len(self._text):  # padding, and more behind it
            raise not_decodable()
        return piece


# The app runs.


def respond(app: WSGIApplication, request: Request, body: Body) -> Answer:
    """Let the app answer, through ``awsgi``, and give the answer the shape's form."""
    variables, event, context, shape = request
    headers: Headers = []

    def corrected_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # What `awsgi` would say instead, 127.0.0.1, may be an address that the app trusts.
        del environ["REMOTE_ADDR"]
        environ.update(variables)
        environ["awsgi.event"] = event
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = body.stream, str(body.length)
        status, app_headers, output = run(app, environ)
        headers.extend(app_headers)
        if variables["REQUEST_METHOD"] == "HEAD":
            output = b""  # the header fields are those of a GET, Content-Length too (RFC 9110, section 9.3.2)
        # `awsgi` goes by the content type to tell what to encode, so it gets one that tells. The app's own header
        # fields, of which it would keep one by each name, are put into the answer afterwards.
        start_response(status, [("Content-Type", TEXT if is_text(output, app_headers) else BINARY)])
        return [output]

    answer: Answer = awsgi.response(
        corrected_app,
        {
            "httpMethod": variables["REQUEST_METHOD"],
            "path": variables["PATH_INFO"],
            "queryStringParameters": None,
            "headers": None,
            "body": None,
            "isBase64Encoded": False,
            # `awsgi` adds the statusDescription that a load balancer wants.
            "requestContext": {"elb": {}} if shape.has_status_description else {},
        },
        context,
        base64_content_types={BINARY},
    )
    answer["statusCode"] = int(answer["statusCode"])
    del answer["headers"]
    answer.update(shape.write(headers))
    return answer


TEXT, BINARY = "text", "binary"


def run(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, Headers, bytes]:
    """Run the app to its end (PEP 3333), whenever it calls ``start_response`` and however it hands out its body.

    :return: status line, header fields, body.
    """
    started: list[tuple[str, Headers]] = []
    chunks: list[bytes] = []

    def start_response(
        status: str,
        headers: Headers,
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None = None,
        /,
    ) -> Callable[[bytes], object]:
        if exc_info and exc_info[1]:
            # Header fields count as sent with the first byte of the body; up to then the app may take them back.
            if any(chunks):
                raise exc_info[1].with_traceback(exc_info[2])
        elif started:
            raise AssertionError("start_response was called again without exc_info")
        text = status + "".join(itertools.chain.from_iterable(headers))
        if "\r" in text or "\n" in text or "\0" in text:
            # It would end the line, and what follows could be a header field of someone else's (RFC 9110, section 5.5).
            raise ValueError("the status line or a header field holds a control character")
        if not text.isascii():
            headers = [(name, json_string(value)) for name, value in headers]
        started[:] = [(status, headers)]
        return chunks.append

    output = app(environ, start_response)
    try:
        for chunk in output:
            chunks.append(chunk)  # noqa: PERF402 - the app may call write() meanwhile, and in the right order
    finally:
        close_quietly(output)
    if not started:
        raise AssertionError("the app did not call start_response")
    return *started[0], b"".join(chunks)


def close_quietly(output: Iterable[bytes]) -> None:
    """Close what the app returned. If that fails the answer is whole all the same, and the client gets it."""
    try:
        close = getattr(output, "close", None)
        if close is not None:
            close()
    except Exception:
        logger.exception("the app failed to close its answer")


def json_string(text: str) -> str:
    """A WSGI string as text: the reverse of :func:`wsgi_string`."""
    if text.isascii():
        return text
    octets = text.encode("latin-1")  # what is not latin-1 is no WSGI string, and an error
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return text


def failure(problem: Problem, *, request_id: str | None) -> WSGIApplication:
    """A WSGI app that answers with a problem object (RFC 9457), for where the app itself could not."""
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


# The answer goes out.


def is_text(body: bytes, headers: Headers) -> bool:
    """May the body travel as text in JSON? Told from the bytes, so that there is no list of types to keep up to date.

    A NUL says no, as in git: it is found at once in what is binary, and in JSON it would take six bytes.
    """
    if b"\0" in body or "content-encoding" in [name.lower() for name, _ in headers]:
        return False
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def write_payload_1(headers: Headers) -> Answer:
    """Repeated fields go beside the others: API Gateway merges ``headers`` and ``multiValueHeaders``."""
    if len({name.lower() for name, _ in headers}) == len(headers):
        return {"headers": dict(headers)}
    fields = group(headers).items()
    return {
        "headers": {name: values[0] for name, values in fields if len(values) == 1},
        "multiValueHeaders": {name: values for name, values in fields if len(values) > 1},
    }


def write_payload_2(headers: Headers) -> Answer:
    """Cookies have a list of their own. Other repeated fields are joined, there being no place for them."""
    cookies = [value for name, value in headers if name.lower() == "set-cookie"]
    fields = group((name, value) for name, value in headers if name.lower() != "set-cookie")
    answer: Answer = {"headers": {name: ", ".join(values) for name, values in fields.items()}}
    if cookies:
        answer["cookies"] = cookies
    return answer


def write_alb(headers: Headers) -> Answer:
    """One value for each name. Several cookies are told apart by the case of their field's name, as others do too."""
    fields: dict[str, str] = {}
    for name, values in group(headers).items():
        if name.lower() == "set-cookie" and len(values) > 1:
            fields.update(zip(spellings_of_set_cookie(), values, strict=False))
        else:
            fields[name] = ", ".join(values)
    return {"headers": fields}


def spellings_of_set_cookie() -> Iterator[str]:
    for letters in itertools.product(*zip("setcookie", "SETCOOKIE", strict=True)):
        yield "".join(letters[:3]) + "-" + "".join(letters[3:])


def write_alb_multi_value(headers: Headers) -> Answer:
    return {"multiValueHeaders": group(headers)}


def group(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Each field's values, under the spelling of its name that came first."""
    fields: dict[str, list[str]] = {}
    spelling: dict[str, str] = {}
    for name, value in headers:
        fields.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
    return fields


PAYLOAD_1 = Shape(read_payload_1, write_payload_1)
PAYLOAD_2 = Shape(read_payload_2, write_payload_2)
ALB = Shape(read_alb, write_alb, has_status_description=True)
ALB_MULTI_VALUE = Shape(read_alb, write_alb_multi_value, has_status_description=True)
LATTICE_1 = Shape(read_lattice_1, write_payload_2, has_status_description=True)
LATTICE_2 = Shape(read_lattice_2, write_payload_2, has_status_description=True)
LATTICE_ARNS = frozenset({"serviceNetworkArn", "serviceArn", "targetGroupArn"})
"""Members of a VPC Lattice event's context. No other HTTP event has one there: a load balancer's is below ``elb``."""

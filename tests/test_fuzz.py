"""Random requests: no 5xx, no file outside the storage, no file of a rejected request, and only files whose bytes were
sent.

Each run makes the same examples. ``FUZZ_TIMES=100 make test`` makes a hundred times as many, and others each time::

    FUZZ_TIMES=100 .venv/bin/python -m pytest tests/test_fuzz.py
"""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import run_wsgi_app

from handler.app import create_app
from handler.gateway import UnsupportedEvent, make_handler
from handler.settings import Settings
from handler.web.access import SCOPES
from handler.web.tokens import mint

from .support import samples
from .support.browser_requests import REQUESTS, FormRequest
from .support.gateway_behaviours import Context
from .support.gateway_events import SHAPES
from .support.lambda_runtime import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from flask import Flask

FUZZ_TIMES = int(os.environ.get("FUZZ_TIMES", "1"))


def bounded(count: int) -> settings:
    return settings(
        max_examples=count * FUZZ_TIMES,
        derandomize=FUZZ_TIMES == 1,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# The endpoint, over a folder that is looked at from outside after each request.


EMPTY_PLACES = ("tmp", "incoming", "refused", "judged")
"""Below the folder: nothing here sends files straight to the storage."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def files(self) -> list[dict[str, Any]]:
        """Return the files that the response describes."""
        files: list[dict[str, Any]] = json.loads(self.body)["files"] if self.status == 201 else []
        return files


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    apps: Mapping[str, Flask] = field(repr=False)
    """The app for each kind of access."""
    folder: Path

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        query: str = "",
        access: str = "public",
        **environ: Any,
    ) -> Answer:
        """Send a request as a server passes it to the app (PEP 3333), without corrections.

        :param path: percent-encoded.
        :param headers: in latin-1.
        :param environ: further variables of the server.
        """
        variables: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            key = name.upper().replace("-", "_")
            variables[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        chunks, status, fields = run_wsgi_app(self.apps[access], variables | environ, buffered=True)
        response = Answer(status=int(status.split()[0]), headers=dict(fields), body=b"".join(chunks))
        assert response.status < 500, response
        assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Request-Id"])
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert not [value for value in response.headers.values() if re.search(r"[\0\r\n]", value)]
        if response.headers.get("Content-Type", "").endswith("json") and response.body:
            json.loads(response.body)
        assert b"Traceback" not in response.body
        assert str(self.folder).encode() not in response.body
        return response

    def take_stored(self) -> dict[str, bytes]:
        """Return all stored files by their paths below the folder, and delete them."""
        stored = {}
        assert [path.name for path in self.folder.parent.iterdir()] == [self.folder.name], "written outside"
        places = {path.name for path in self.folder.iterdir()} - {"secret"}  # which is made when it is first needed
        assert places == {*EMPTY_PLACES, "files", "metadata"}
        assert not [path for name in EMPTY_PLACES for path in (self.folder / name).iterdir()], "left behind"
        described = {path.stem for path in (self.folder / "metadata").iterdir()}
        for directory in (self.folder / "files").iterdir():
            (file,) = directory.iterdir()
            stored[f"{directory.name}/{file.name}"] = file.read_bytes()
        for name in ("files", "metadata"):  # also where an assertion is going to fail: the next example starts anew
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir()
        assert described == {path.partition("/")[0] for path in stored}
        return stored

    def check(self, response: Answer) -> dict[str, bytes]:
        """Assert that the stored files are those of the response, under safe names. A refusal stores none."""
        stored = self.take_stored()
        assert {f"{file['id']}/{file['name']}" for file in response.files} == set(stored)
        for file in response.files:
            content = stored[f"{file['id']}/{file['name']}"]
            assert (file["size"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
            assert re.fullmatch(r"[0-9a-f]{32}", file["id"])
            # One dot, no leading hyphen, nothing but ASCII, and no longer than any file system takes.
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}\.(txt|csv|pdf|png|jpe?g|gif|webp)", file["name"])
            assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\.", file["name"])
        return stored


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("fuzz") / "uploads"

    def app(**environ: str) -> Flask:
        return create_app(Settings.from_environ({"UPLOAD_FOLDER": str(folder), **environ}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # power losses have their own test
        yield Endpoint(
            folder=folder,
            apps={
                "public": app(ACCESS="public", TOKEN_SECRET=SECRET, ALLOWED_ORIGINS="https://app.example"),
                "token": app(TOKEN_SECRET=SECRET),
                "loopback": app(),
            },
        )


# Names.

NASTY = [
    "../", "..\\", "..", "/", "\\", "%2e%2e%2f", "%00", "\0", "\r\n", "\n", '"', "'", ";", "=", "%22", "\\\"", ":",
    "::$DATA",
    "con", "NUL", "lpt1", "CLOCK$", ".php", ".htaccess", ".exe.", "~", "~/", "C:\\", "\\\\host\\", "file://", "-rf",
    "--",
    "\u202e", "\u200b", "\ufeff", "\uff0e", "\uff0f", "\u2024", "\u2215", "\u0307", "\xa0", "\ud800", "\U0001f600", "ﬁ",
    "$(id)", "`id`", "|", "&", "<b>", "*", "?", " ", "_", "-", ".", "{{7*7}}", "%s%n", "UTF-8''",
]  # fmt: skip
EXTENSIONS = [".txt", ".TXT", ".csv", ".txt ", ".txt.", ".txt\0", ".txt\u200b", ".exe", ".t\u0445t", ".txt/", ""]
NAMES = st.builds(
    lambda pieces, extension: "".join(pieces) + extension,
    st.lists(st.sampled_from(NASTY) | st.text(max_size=20) | st.text("aA1._-", max_size=200), max_size=6),
    st.sampled_from(EXTENSIONS) | st.sampled_from([".txt"]),
)
WAYS_TO_WRITE: dict[str, Callable[[str], str]] = {
    "as browsers do": lambda name: 'filename="{}"'.format(
        name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    ),
    "with backslashes": lambda name: 'filename="{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"')),
    "raw": lambda name: f"filename={name}",
    "RFC 8187": lambda name: f"filename*=UTF-8''{quote(name, safe='', errors='surrogatepass')}",
    "RFC 8187, latin-1": lambda name: f"filename*=iso-8859-1''{quote(name, safe='', errors='surrogatepass')}",
    "both": lambda name: f"filename=\"a.txt\"; filename*=UTF-8''{quote(name, safe='', errors='surrogatepass')}",
    "continued": lambda name: f'filename*0="{name[:9]}"; filename*1="{name[9:]}"',
    "twice": lambda name: f'filename="{name}"; filename="b.txt"',
}


@bounded(250)
@given(name=NAMES, write=st.sampled_from(list(WAYS_TO_WRITE.values())))
def test_any_name_in_a_form_is_accepted_or_rejected(endpoint: Endpoint, name: str, write: Callable[[str], str]) -> None:
    disposition = f'Content-Disposition: form-data; name="file"; {write(name)}'.encode("utf-8", "surrogatepass")
    body = b"--x\r\n" + disposition + b"\r\n\r\nhello\r\n--x--\r\n"
    response = endpoint.send(
        "POST", "/upload", headers=[("Content-Type", "multipart/form-data; boundary=x")], body=body
    )
    for content in endpoint.check(response).values():
        assert content == b"hello"


@bounded(250)
@given(name=NAMES, encode=st.sampled_from([quote, lambda name, **_: name.encode("utf-8", "replace").decode("latin-1")]))
def test_any_name_in_the_path_is_accepted_or_rejected(
    endpoint: Endpoint, name: str, encode: Callable[..., str]
) -> None:
    path = encode(name, safe="", errors="surrogatepass")
    response = endpoint.send("PUT", f"/upload/{path}", body=b"hello")
    # Each file can be downloaded again.
    back = [endpoint.send("GET", urlsplit(file["url"]).path) for file in response.files]
    assert list(endpoint.check(response).values()) == [b"hello"] * len(back)
    for item in back:
        assert (item.status, item.body) == (200, b"hello")
        assert item.headers["Content-Disposition"].startswith("attachment; filename=")


@bounded(150)
@given(names=st.lists(NAMES, min_size=2, max_size=2))
def test_two_names_are_two_files(endpoint: Endpoint, names: list[str]) -> None:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="file"; '
        + WAYS_TO_WRITE["RFC 8187"](name).encode()
        + b"\r\n\r\n"
        + str(number).encode()
        + b"\r\n"
        for number, name in enumerate(names)
    ]
    response = endpoint.send(
        "POST",
        "/upload",
        headers=[("Content-Type", "multipart/form-data; boundary=x")],
        body=b"".join(parts) + b"--x--\r\n",
    )
    stored = endpoint.check(response)
    # With no name at all a part is an input in which nothing was chosen.
    assert sorted(stored.values()) in ([b"0", b"1"], [b"0"], [b"1"], [])


# Forms.


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_real_browser_requests_are_stored(endpoint: Endpoint, request_: FormRequest) -> None:
    response = endpoint.send(
        "POST",
        "/upload",
        headers=[("Content-Type", request_.content_type), *request_.headers, ("Accept", "application/json")],
        body=request_.body,
    )
    stored = endpoint.check(response)
    assert [(file["name"], stored[f"{file['id']}/{file['name']}"]) for file in response.files] == list(request_.files)


PLACES = st.floats(0, 1, exclude_max=True)
MULTIPART_PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b"--", b"\r\n\r\n", b'"', b";", b"; ", b":", b"=", b"%", b"\xff", b"\xc3", b" ",
    b"\t",
    b"--\r\n", b"Content-Disposition: form-data; ", b'name="file"', b'; filename="b.txt"', b"; filename*=UTF-8''c.txt",
    b"filename*0=a", b"Content-Type: multipart/mixed; boundary=y", b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Length: 1\r\n", b'name="token"', b"boundary", b"\xef\xbb\xbf", b"form-data", b"\r\n ", b"x" * 3000,
]  # fmt: skip
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), PLACES, st.integers(1, 255)),
        st.tuples(st.just("cut"), PLACES, st.integers(1, 400)),
        st.tuples(st.just("cut off"), PLACES, st.none()),
        st.tuples(st.just("repeat"), PLACES, st.integers(1, 400)),
        st.tuples(st.just("insert"), PLACES, st.sampled_from(MULTIPART_PIECES) | st.binary(max_size=20)),
        st.tuples(st.just("insert boundary"), PLACES, st.sampled_from([b"", b"--", b"\r\n", b"x", b" \t\r\n"])),
        st.tuples(st.just("line ends"), PLACES, st.sampled_from([b"\n", b"\r", b"\r\r\n"])),
        st.tuples(st.just("swap"), PLACES, PLACES),
    ),
    max_size=5,
)


def edited(body: bytes, edits: Sequence[tuple[str, float, Any]], *, boundary: str) -> bytes:
    for kind, position, what in edits:
        at = int(position * len(body))
        if kind == "flip" and body:
            body = body[:at] + bytes([body[at] ^ what]) + body[at + 1 :]
        elif kind == "cut":
            body = body[:at] + body[at + what :]
        elif kind == "cut off":
            body = body[:at]
        elif kind == "repeat":
            body = body[: at + what] + body[at:]
        elif kind == "insert":
            body = body[:at] + what + body[at:]
        elif kind == "insert boundary":
            body = body[:at] + b"\r\n--" + boundary.encode() + what + body[at:]
        elif kind == "line ends":
            body = body[:at] + body[at:].replace(b"\r\n", what)
        elif kind == "swap":
            first, second = sorted((at, int(what * len(body))))
            body = body[:first] + body[second:] + body[first:second]
    return body


LATIN_1 = st.text(st.characters(codec="latin-1", exclude_characters="\0\r\n"), max_size=40)
FORM_TYPES: list[Callable[[str], str]] = [
    lambda boundary: f"multipart/form-data; boundary={boundary}",
    lambda boundary: f'Multipart/Form-Data;charset=utf-8; Boundary="{boundary}"',
    lambda boundary: f"multipart/form-data; boundary={boundary}; boundary=y",
    lambda boundary: f"multipart/form-data; boundary=y; boundary={boundary}",
    lambda boundary: f"multipart/form-data; boundary*=UTF-8''{boundary}",
    lambda boundary: f"multipart/form-data; boundary={boundary[:9]}",
    lambda boundary: f"multipart/form-data; boundary={boundary}-",
    lambda boundary: f"multipart/form-data, multipart/form-data; boundary={boundary}",
    lambda boundary: f"multipart/mixed; boundary={boundary}",
    lambda _: "multipart/form-data; boundary=-",
    lambda _: 'multipart/form-data; boundary="\\""',
    lambda _: "multipart/form-data; boundary=.*",
    lambda _: "multipart/form-data",
    lambda _: "",
]


@bounded(700)
@given(
    request_=st.sampled_from(list(REQUESTS.values())),
    edits=EDITS,
    # Most often the right type, since wrong types soon lead to nothing new.
    content_type=st.just(FORM_TYPES[0]) | st.sampled_from(FORM_TYPES) | LATIN_1.map(lambda text: lambda _: text),
    length=st.just(0) | st.just(0) | st.integers(-300, 300),
    token=st.sampled_from([None, "header", "field"]),
)
def test_changed_browser_form_is_accepted_or_rejected(  # noqa: PLR0917  (Hypothesis passes them by name)
    endpoint: Endpoint,
    request_: FormRequest,
    edits: list[tuple[str, float, Any]],
    content_type: Callable[[str], str],
    length: int,
    token: str | None,
) -> None:
    body = request_.body
    headers = [*request_.headers, ("Accept", "*/*"), ("Content-Type", content_type(request_.boundary))]
    if token == "header":
        headers.append(("Authorization", f"Bearer {mint(SECRET, expires_seconds=60)}"))
    elif token == "field":
        value = mint(SECRET, expires_seconds=60).encode()
        opening = f'--{request_.boundary}\r\nContent-Disposition: form-data; name="token"\r\n\r\n'.encode()
        body = opening + value + b"\r\n" + body
    body = edited(body, edits, boundary=request_.boundary)
    headers.append(("Content-Length", str(max(0, len(body) + length))))
    response = endpoint.send("POST", "/upload", headers=headers, body=body, access="token" if token else "public")
    for content in endpoint.check(response).values():
        assert stands_in(body, content)
    if response.status == 201 and length == 0 and not edits:
        assert [file["name"] for file in response.files] == [name for name, _ in request_.files]


def stands_in(body: bytes, content: bytes) -> bool:
    """Return whether the form has these bytes unchanged, from the empty line after a part's header to a boundary."""
    at = body.find(content)
    while at >= 0:
        before, after = body[:at], body[at + len(content) :]
        if re.search(rb"(\r\n|\r|\n)[ \t]*(\r\n|\r|\n)\Z", before) and re.match(rb"(\r\n|\r|\n)--", after):
            return True
        at = body.find(content, at + 1)
    return False


@bounded(200)
@given(edits=EDITS, files=st.lists(st.binary(max_size=600), min_size=1, max_size=4), end=st.binary(max_size=30))
def test_files_of_a_form_are_unchanged(
    endpoint: Endpoint, edits: list[tuple[str, float, Any]], files: list[bytes], end: bytes
) -> None:
    """Files of any content, even with lines like boundaries. The expected files are known here."""
    boundary = "ABC"
    contents = [b"%PDF-1.7\n" + edited(file, edits, boundary="ABx") + end for file in files]
    contents = [content.replace(b"--ABC", b"--ABD") for content in contents]
    body = b"".join(
        b'--ABC\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n' + content + b"\r\n"
        for content in contents
    )
    response = endpoint.send(
        "POST",
        "/upload",
        headers=[("Content-Type", f"multipart/form-data; boundary={boundary}")],
        body=body + b"--ABC--\r\n",
    )
    stored = endpoint.check(response)
    assert response.status in (201, 422)
    if response.status == 201:
        assert [stored[f"{file['id']}/{file['name']}"] for file in response.files] == contents


# Requests.

ROUTES = [
    "/",
    "/upload",
    "/upload/",
    "/upload/a.txt",
    "/health",
    "/files/",
    f"/files/{'0' * 32}/a.txt",
    "/nothing",
    "*",
    "",
]
PATHS = st.sampled_from(ROUTES) | st.lists(
    st.sampled_from(
        [*ROUTES, "/", "//", "..", "/../", "%2e", "%2F", "%5c", "%00", "%ff", "%C3%BC", "%zz", "%", "\xe9", ";", "a"]
    )
    | LATIN_1.map(quote),
    max_size=4,
).map(lambda pieces: "/" + "".join(pieces))
TOKEN = st.builds(
    lambda scope: f"Bearer {mint(SECRET, expires_seconds=60, scopes=scope)}", st.sampled_from([SCOPES, ("x",)])
)
VALUES: dict[str, list[str]] = {
    "Accept": ["text/html", "*/*", "application/json;q=nan", "a/b;q=-1,c/d;q=1e9", "text/html;q=1;x", ";;", "text/*"],
    "Accept-Encoding": ["gzip", "br;q=x"],
    "Authorization": ["Bearer", "Bearer x", "Bearer \xff", "Basic eDp5", "Digest x=y", "bearer a.b.c", "Bearer .."],
    "Connection": ["close", "Upgrade"],
    "Content-Digest": ["sha-256=:AAAA:", "x", "sha-256=:\xff:", "a=:" + "A" * 500 + ":"],
    "Content-Encoding": ["gzip", "identity", "\xff"],
    "Content-Length": ["", "-1", "+5", "5, 5", "1e3", "999999999999999999999", "\xb2", "0x5", " 5 ", "5_0", "4"],
    "Content-MD5": ["", "x", "AAAAAAAAAAAAAAAAAAAAAA=="],
    "Content-Range": ["bytes 0-1/2", "x"],
    "Content-Type": ["multipart/form-data", "multipart/form-data; boundary=x", "a", "text/plain; charset=x", "\xff"],
    "Cookie": ["a=b", "token=x", "\xff", ";;=;"],
    "Date": ["x"],
    "Expect": ["100-continue", "x"],
    "Forwarded": ["for=127.0.0.1"],
    "Host": ["", "evil.example", "a b", "\xff", "[::1", "localhost:99999", "<b>", "a" * 99, "localhost:", "a/b?c"],
    "If-Match": ["*", "x", '"x', 'W/"x"', "\xff"],
    "If-Modified-Since": ["x", "Thu, 01 Jan 9999999 00:00:00 GMT", "Thu, 01 Jan 0001 00:00:00 -9999", "0"],
    "If-None-Match": ["*", '"', 'W/"x", x'],
    "If-Range": ["x", '"x"', "Thu, 01 Jan 1970 00:00:00 GMT"],
    "If-Unmodified-Since": ["Thu, 01 Jan 1970 00:00:00 GMT", "\xff"],
    "Origin": ["null", "https://app.example", "http://localhost", "\xff"],
    "Range": [
        "bytes=0-", "bytes=-1", "bytes=1-0", "bytes=0-0,2-3", "bytes=-", "bytes=99-", "x=1", "bytes=\xb2-", "bytes=--1",
    ],
    "Transfer-Encoding": ["chunked", "gzip, chunked", "x"],
    "X-Forwarded-Host": ["evil.example"],
    "X-HTTP-Method-Override": ["DELETE", "PUT"],
}  # fmt: skip
HEADERS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name]) | LATIN_1)
)
METHODS = st.sampled_from(
    [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "TRACE",
        "CONNECT",
        "PROPFIND",
        "get",
        "",
        "X" * 300,
        "\xff",
    ]
)
BODY_BYTES = st.sampled_from([b"", b"hello", samples.png(), samples.PDF, b"\0", b"--x\r\n", b"--x--\r\n"]) | st.binary(
    max_size=50
)


@bounded(700)
@given(
    method=METHODS,
    path=PATHS,
    query=LATIN_1,
    headers=st.lists(HEADERS, max_size=5),
    authorization=st.none() | TOKEN,
    body=BODY_BYTES,
    access=st.sampled_from(["public", "token", "loopback"]),
    environ=st.sampled_from([{}, {"wsgi.input_terminated": True}, {"REMOTE_ADDR": ""}, {"SCRIPT_NAME": "/live"}]),
)
def test_any_request_gets_a_valid_response(  # noqa: PLR0917
    endpoint: Endpoint,
    method: str,
    path: str,
    query: str,
    headers: list[tuple[str, str]],
    authorization: str | None,
    body: bytes,
    access: str,
    environ: dict[str, Any],
) -> None:
    if authorization:
        headers = [*headers, ("Authorization", authorization)]
    headers = [("Accept", "*/*"), *headers]
    response = endpoint.send(method, path, query=query, headers=headers, body=body, access=access, **environ)
    if method != "PUT":
        assert response.status != 201
    if access == "token" and not authorization:
        assert response.status != 201
    stored = endpoint.take_stored()
    assert len(stored) == (response.status == 201)
    assert all(content == body[: len(content)] for content in stored.values())


@bounded(400)
@given(
    method=st.sampled_from(["GET", "HEAD", "DELETE", "OPTIONS"]),
    headers=st.lists(HEADERS, max_size=4),
    change=st.none() | st.tuples(PLACES, LATIN_1.map(quote)),
)
def test_any_request_for_a_file_gets_a_valid_response(
    endpoint: Endpoint, method: str, headers: list[tuple[str, str]], change: tuple[float, str] | None
) -> None:
    url = urlsplit(endpoint.send("PUT", "/upload/Gr%C3%BC%C3%9Fe.txt", body=b"hello").files[0]["url"]).path
    path = url
    if change:
        at = int(change[0] * len(url))
        path = url[:at] + change[1] + url[at:]
    response = endpoint.send(method, path, headers=headers)
    if response.status in (200, 206) and method == "GET" and response.headers["Content-Type"].startswith("text/plain"):
        assert response.body in b"hello"
        assert response.headers["Content-Disposition"].startswith("attachment")
    assert len(endpoint.take_stored()) == 1, "to delete it takes a token"


# Events.

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from(["", "/", "{proxy+}", "$default", "2.0", "1.0", "=", "\ud800", "%", "\r\n", "é", "a" * 500]),
    lambda values: st.lists(values, max_size=3)
    | st.dictionaries(st.text(max_size=10) | st.sampled_from(["elb", "http", "path", "body"]), values, max_size=3),
    max_leaves=6,
)  # fmt: skip
FORM = REQUESTS["Chrome"]
EVENTS: list[dict[str, Any]] = [
    shape.event(method=method, path=path, body=body, headers=headers, query=query)
    for shape in SHAPES.values()
    for method, path, body, headers, query in (
        ("POST", "/upload", FORM.body, [("Content-Type", FORM.content_type), *FORM.headers], ""),
        ("PUT", "/upload/Gr%C3%BC%C3%9Fe.txt", b"hello", [("Authorization", "Bearer x.y.z")], "a=b&a=%C3%BC"),
        ("PUT", "/upload/photo.png", samples.png(), [("Cookie", "a=b; c=d"), ("Cookie", "e=f")], ""),
        ("GET", "/upload", None, [("Origin", "https://app.example"), ("Accept", "text/html")], "x=1"),
        ("DELETE", f"/files/{'0' * 32}/a.txt", None, [], ""),
    )
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value of an event, also inside lists and objects."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@bounded(700)
@given(
    event=st.sampled_from(EVENTS),
    edits=st.lists(
        st.tuples(st.sampled_from(["replace", "remove", "add", "text"]), PLACES, JSON_VALUES), min_size=1, max_size=4
    ),
    body_edits=EDITS,
)
def test_changed_event_gets_a_valid_response(
    endpoint: Endpoint,
    event: dict[str, Any],
    edits: list[tuple[str, float, Any]],
    body_edits: list[tuple[str, float, Any]],
) -> None:
    event = copy.deepcopy(event)
    if event.get("isBase64Encoded") or event.get("is_base64_encoded"):
        body = edited(base64.b64decode(event["body"]), body_edits, boundary=FORM.boundary)
        event["body"] = base64.b64encode(body).decode()
    for kind, position, value in edits:
        paths = list(places(event))
        if not paths:
            break
        path = paths[int(position * len(paths))]
        inner = event
        for key in path[:-1]:
            inner = inner[key]
        if kind == "remove":
            del inner[path[-1]]
        elif kind == "add" and isinstance(inner, dict):
            inner[str(value)] = value
        elif kind == "text" and isinstance(inner[path[-1]], str):
            at = int(position * len(inner[path[-1]]))
            inner[path[-1]] = inner[path[-1]][:at] + str(value) + inner[path[-1]][at:]
        else:
            inner[path[-1]] = value
    handler = make_handler(endpoint.apps["public"])
    try:
        response = handler(event, Context())
    except UnsupportedEvent:
        assert endpoint.take_stored() == {}
        return
    assert isinstance(response, dict)
    json.dumps(response)
    assert response["statusCode"] < 500, response
    stored = endpoint.take_stored()
    assert bool(stored) == (response["statusCode"] == 201)


@bounded(200)
@given(event=JSON_VALUES)
def test_any_event_gets_a_valid_response(endpoint: Endpoint, event: Any) -> None:
    try:
        response = make_handler(endpoint.apps["public"])(event, Context())
    except UnsupportedEvent:
        return
    assert response.get("statusCode", 200) < 500

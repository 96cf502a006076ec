"""Who comes in: tokens, the public, or whoever sits at this machine; and nobody where nobody has said who."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from handler.app import create_app
from handler.gateway import make_handler
from handler.problems import InvalidToken
from handler.settings import Settings
from handler.web import tokens
from handler.web.access import MAX_TOKEN_SECONDS, Grant
from handler.web.tokens import LEEWAY_SECONDS, MAX_TOKEN_CHARS, mint

from ..conftest import BufferedClient
from ..routes.test_uploads import NO_SUCH_FILE, json_of, problem
from ..support import samples
from ..support.gateway_behaviours import Context
from ..support.gateway_events import rest_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "the secret of these tests has more than 32 bytes"
OLD_SECRET = "the secret that is being retired is long enough"
OTHER_SECRET = "the secret of some other service is long enough"
HOUR_SECONDS = 3600


# Tokens as any back end could make them, good or bad. Each is remembered, and must never be in the log.


@dataclass
class Sent:
    tokens: set[str] = field(default_factory=set)

    def __call__(self, token: str) -> str:
        self.tokens.add(token)
        return token


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture(autouse=True)
def _no_token_in_the_log(
    sent: Sent, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[None]:
    """Whatever a test of this file sends: nothing of it is in what was written, neither a token nor a secret."""
    yield
    output = "".join(capsys.readouterr()) + request.node.stash.get(READ_OUTPUT, "")
    for token in sent.tokens:
        for part in token.split("."):
            assert len(part) < 16 or part not in output
    assert not [secret for secret in (SECRET, OLD_SECRET, OTHER_SECRET) if secret in output]


READ_OUTPUT = pytest.StashKey[str]()
"""What a test has taken out of capsys to look at it itself."""


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[[], list[dict[str, Any]]]:
    """The log's lines since the last call."""

    def lines() -> list[dict[str, Any]]:
        output = capsys.readouterr().out
        request.node.stash[READ_OUTPUT] = request.node.stash.get(READ_OUTPUT, "") + output
        return [json.loads(line) for line in output.splitlines()]

    return lines


def in_an_hour() -> int:
    return int(time.time()) + HOUR_SECONDS


def sign(claims: Mapping[str, Any] | bytes, *, secret: str = SECRET, header: Mapping[str, Any] | bytes = b"") -> str:
    """A token with a valid HS256 signature over whatever it says: PyJWT would refuse to make most of them."""
    header = header or {"alg": "HS256", "typ": "JWT"}
    signed = ".".join(
        base64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, claims)
    )
    return f"{signed}.{base64url(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def good(**claims: Any) -> str:
    return sign({"exp": in_an_hour()} | claims)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def put(client: FlaskClient, token: str | None, *, name: str = "a.txt", content: bytes = b"hello") -> TestResponse:
    return client.put(f"/upload/{name}", data=content, headers=bearer(token) if token is not None else {})


def post(client: FlaskClient, *parts: tuple[str, str | tuple[bytes, str]], **headers: str) -> TestResponse:
    """A form with its parts in this order: ``(field, text)`` or ``(field, (content, file name))``."""
    body = b""
    for name, value in parts:
        content, file_name = (value.encode(), None) if isinstance(value, str) else value
        extra = f'; filename="{file_name}"' if file_name is not None else ""
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + content + b"\r\n"
    return client.post(
        "/upload", data=body + b"--x--\r\n", content_type="multipart/form-data; boundary=x", headers=headers
    )


FILE = ("file", (b"hello", "a.txt"))


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(TOKEN_SECRET=SECRET).test_client()


@pytest.fixture
def folder_client(tmp_path: Path) -> FlaskClient:
    """Where what is asked is about tokens alone, one storage is enough."""
    return folder_app(tmp_path, TOKEN_SECRET=SECRET).test_client()


def folder_app(tmp_path: Path, **environ: str) -> Flask:
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path / "uploads"), **environ}))
    app.test_client_class = BufferedClient
    return app


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


# Ways for a token to come.


def test_without_a_token_nothing_is_stored(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    for response in (
        put(client, None),
        post(client, FILE),
        client.post("/upload", data=b"hello", content_type="text/plain"),
        client.delete(NO_SUCH_FILE),
    ):
        body = problem(response, 401, "token-required")
        assert "Authorization: Bearer" in body["error"]
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload"'
    assert stored_keys() == []


def test_a_token_as_a_header(client: FlaskClient, sent: Sent) -> None:
    token = sent(mint(SECRET, expires_seconds=60))
    assert put(client, token).status_code == 201
    assert post(client, FILE, **bearer(token)).status_code == 201


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_the_schemes_name_is_in_any_case(folder_client: FlaskClient, sent: Sent, scheme: str) -> None:
    response = folder_client.put("/upload/a.txt", data=b"x", headers={"Authorization": f"{scheme} {sent(good())}"})
    assert response.status_code == 201


@pytest.mark.parametrize("scheme", ["Basic ", "Token ", "Bearer\t", "", "Bearer:", "JWT "])
def test_another_scheme_is_no_token(folder_client: FlaskClient, sent: Sent, scheme: str) -> None:
    response = folder_client.put("/upload/a.txt", data=b"x", headers={"Authorization": scheme + sent(good())})
    problem(response, 401, "token-required")


@pytest.mark.parametrize("place", ["/upload/a.txt?token={}", "/upload/a.txt?access_token={}"])
def test_a_token_in_the_query_is_none(folder_client: FlaskClient, sent: Sent, place: str) -> None:
    """A query is in every log on the way, and in the browser's history."""
    problem(folder_client.put(place.format(sent(good())), data=b"x"), 401, "token-required")


def test_a_token_as_a_cookie_is_none(folder_client: FlaskClient, sent: Sent) -> None:
    """A cookie would come along with what other sites have the browser send."""
    folder_client.set_cookie("token", sent(good()))
    problem(put(folder_client, None), 401, "token-required")


def test_a_token_as_the_forms_first_part(client: FlaskClient, sent: Sent) -> None:
    token = sent(mint(SECRET, expires_seconds=60))
    assert post(client, ("token", token), FILE).status_code == 201
    assert post(client, ("comment", "hi"), ("token", f" {token}\r\n"), FILE, FILE).status_code == 201


def test_a_token_after_the_file_comes_too_late(
    client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]
) -> None:
    """The file would have been taken in by then. An input in which nothing was chosen is not one."""
    token = sent(good())
    problem(post(client, FILE, ("token", token)), 401, "token-required")
    assert stored_keys() == []
    assert post(client, ("file", (b"", "")), ("token", token), FILE).status_code == 201


def test_a_token_between_files_does_not_widen_what_came_before(
    client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]
) -> None:
    narrow, wide = sent(good(max_bytes=1)), sent(good())
    problem(post(client, ("token", narrow), ("file", (b"1", "a.txt")), ("token", wide), FILE), 413, "file-too-large")
    assert stored_keys() == []


def test_the_header_goes_before_the_field(folder_client: FlaskClient, sent: Sent) -> None:
    narrow, wide = sent(good(max_bytes=1)), sent(good())
    problem(post(folder_client, ("token", wide), FILE, **bearer(narrow)), 413, "file-too-large")
    problem(post(folder_client, ("token", wide), FILE, **bearer("x.y.z")), 401, "invalid-token")


def test_a_token_as_a_file_is_none(folder_client: FlaskClient, sent: Sent) -> None:
    token = sent(good())
    problem(post(folder_client, ("token", (token.encode(), "token.txt")), FILE), 400, "no-file")
    problem(post(folder_client, ("token ", token), FILE), 401, "token-required")
    problem(post(folder_client, ("Token", token), FILE), 401, "token-required")


@pytest.mark.parametrize("value", ["x", "\u00e9\u0000\u202e", "a" * 60_000])
def test_a_field_that_holds_no_token(folder_client: FlaskClient, value: str) -> None:
    problem(post(folder_client, ("token", value), FILE), 401, "invalid-token")


@pytest.mark.parametrize("value", ["", " ", "\r\n"])
def test_an_empty_field_is_no_token(folder_client: FlaskClient, tmp_path: Path, sent: Sent, value: str) -> None:
    """It is what a form sends that has an input for a token, in which nobody wrote one."""
    problem(post(folder_client, ("token", value), FILE), 401, "token-required")
    problem(post(folder_client, ("token", sent(good())), ("token", value), FILE), 401, "token-required")
    for environ in ({}, {"TOKEN_SECRET": SECRET}):
        public = folder_app(tmp_path, ACCESS="public", **environ).test_client()
        assert post(public, ("token", value), FILE).status_code == 201


def test_a_form_without_a_file_needs_no_token_to_be_told_so(folder_client: FlaskClient) -> None:
    problem(post(folder_client, ("comment", "hi")), 400, "no-file")


# Tokens that are not good.

PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf
9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==
-----END PUBLIC KEY-----
"""
HS256 = {"alg": "HS256"}


def changed(token: str, *, at: int) -> str:
    parts = token.split(".")
    first = "A" if parts[at][0] != "A" else "B"
    parts[at] = first + parts[at][1:]
    return ".".join(parts)


def unsigned(alg: str, signature: str = "") -> str:
    claims = base64url(json.dumps({"exp": in_an_hour()}).encode())
    return f"{base64url(json.dumps({'alg': alg}).encode())}.{claims}.{signature}"


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "of another secret": lambda: sign({"exp": in_an_hour()}, secret=OTHER_SECRET),
    "of the secret in another case": lambda: sign({"exp": in_an_hour()}, secret=SECRET.upper()),
    "of no secret": lambda: sign({"exp": in_an_hour()}, secret=""),
    "of both secrets, unsplit": lambda: sign({"exp": in_an_hour()}, secret=f"{SECRET},{OLD_SECRET}"),
    "changed header": lambda: changed(good(), at=0),
    "changed claims": lambda: changed(good(), at=1),
    "changed signature": lambda: changed(good(), at=2),
    "claims of another": lambda: ".".join(
        (good().split(".")[0], good(scope="upload delete").split(".")[1], good().split(".")[2])
    ),
    "no signature": lambda: good().rpartition(".")[0] + ".",
    "two parts": lambda: good().rpartition(".")[0],
    "four parts": lambda: good() + ".x",
    "cut off": lambda: good()[:-1],
    "alg none": lambda: unsigned("none"),
    "alg None": lambda: unsigned("None"),
    "alg NONE, with a signature": lambda: unsigned("NONE", good().rpartition(".")[2]),
    "alg empty": lambda: unsigned(""),
    "alg HS512": lambda: jwt.encode({"exp": in_an_hour()}, SECRET * 2, algorithm="HS512"),
    "alg HS384 with our signature": lambda: sign({"exp": in_an_hour()}, header={"alg": "HS384"}),
    "alg HS512 with our signature": lambda: sign({"exp": in_an_hour()}, header={"alg": "HS512"}),
    "alg hs256": lambda: sign({"exp": in_an_hour()}, header={"alg": "hs256"}),
    "alg RS256": lambda: sign({"exp": in_an_hour()}, header={"alg": "RS256"}),
    "a public key for a secret": lambda: sign({"exp": in_an_hour()}, secret=PUBLIC_KEY),
    "alg a list": lambda: sign({"exp": in_an_hour()}, header={"alg": ["HS256", "none"]}),
    "no alg": lambda: sign({"exp": in_an_hour()}, header={"typ": "JWT"}),
    "the header brings its key": lambda: sign(
        {"exp": in_an_hour()},
        secret=OTHER_SECRET,
        header=HS256 | {"jwk": {"kty": "oct", "k": base64url(OTHER_SECRET.encode())}, "kid": "../../dev/null"},
    ),
    "a critical extension": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"crit": ["x"], "x": 1}),
    "kid a number": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"kid": 1}),
    "header no object": lambda: sign({"exp": in_an_hour()}, header=b"[]"),
    "header no JSON": lambda: sign({"exp": in_an_hour()}, header=b"{"),
    "header not UTF-8": lambda: sign({"exp": in_an_hour()}, header=b'{"alg":"HS256","x":"\xff"}'),
    "header nested deeply": lambda: sign({"exp": in_an_hour()}, header=b"[" * 1400 + b"]" * 1400),
    "claims no object": lambda: sign(b"[1]"),
    "claims no JSON": lambda: sign(b"{"),
    "claims not UTF-8": lambda: sign(b'{"exp":1,"x":"\xff"}'),
    "encrypted": lambda: "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..eyJpdiI6.AAAA.BBBB",
    "not a token": lambda: "hello",
    "dots": lambda: "..",
    "beyond ASCII": lambda: "\xff\xfe." + good(),
    "percent-encoded": lambda: good().replace(".", "%2E"),
    "base64 with padding": lambda: good() + "==",
    "twice": lambda: f"{good()}, {good()}",
    "too long": lambda: good(x="x" * MAX_TOKEN_CHARS),
    # What it says of time.
    "no exp": lambda: sign({"scope": "upload"}),
    "exp null": lambda: good(exp=None),
    "expired": lambda: good(exp=int(time.time()) - LEEWAY_SECONDS - 1),
    "exp 0": lambda: good(exp=0),
    "exp negative": lambda: good(exp=-in_an_hour()),
    "exp true": lambda: good(exp=True),
    "exp text": lambda: good(exp=str(in_an_hour())),
    "exp text in other digits": lambda: good(exp="".join(chr(0x660 + int(digit)) for digit in str(in_an_hour()))),
    "exp a word": lambda: good(exp="never"),
    "exp a date": lambda: good(exp="2999-01-01T00:00:00Z"),
    "exp a list": lambda: good(exp=[in_an_hour()]),
    "exp an object": lambda: good(exp={}),
    "exp in more than ten years": lambda: good(exp=int(time.time()) + MAX_TOKEN_SECONDS + LEEWAY_SECONDS + 60),
    "exp in milliseconds": lambda: good(exp=in_an_hour() * 1000),
    "exp 1e300": lambda: good(exp=1e300),
    "exp of 400 digits": lambda: good(exp=10**400),
    "exp NaN": lambda: good(exp=math.nan),
    "exp infinite": lambda: good(exp=math.inf),
    "exp minus infinite": lambda: good(exp=-math.inf),
    "exp beyond a float": lambda: sign(b'{"exp":1e999}'),
    "exp last of two": lambda: sign(b'{"exp":%d,"exp":1}' % in_an_hour()),
    "nbf in the future": lambda: good(nbf=in_an_hour()),
    "nbf a word": lambda: good(nbf="now"),
    "nbf infinite": lambda: good(nbf=math.inf),
    "iat in the future": lambda: good(iat=in_an_hour()),
    "iat a word": lambda: good(iat="now"),
    "iat minus infinite": lambda: good(iat=-math.inf),
    # What it says of whom it is for.
    "aud": lambda: good(aud="https://example.com"),
    "aud a list": lambda: good(aud=["upload"]),
    "aud a number": lambda: good(aud=1),
    "sub null": lambda: good(sub=None),
    "sub a number": lambda: good(sub=7),
    "sub a list": lambda: good(sub=["ada"]),
    # What it says of what it allows: what has no meaning must not be taken for no limit.
    "scope null": lambda: good(scope=None),
    "scope a list": lambda: good(scope=["upload"]),
    "scope a number": lambda: good(scope=1),
    "scope true": lambda: good(scope=True),
    "scope an object": lambda: good(scope={"upload": True}),
    "scope misspelt": lambda: good(scope="uplaod"),
    "scope in upper case": lambda: good(scope="Upload"),
    "scope with a comma": lambda: good(scope="upload,delete"),
    "scope with one unknown": lambda: good(scope="upload admin"),
    "scope with a star": lambda: good(scope="*"),
    "max_bytes negative": lambda: good(max_bytes=-1),
    "max_bytes true": lambda: good(max_bytes=True),
    "max_bytes false": lambda: good(max_bytes=False),
    "max_bytes a float": lambda: good(max_bytes=5.0),
    "max_bytes NaN": lambda: good(max_bytes=math.nan),
    "max_bytes infinite": lambda: good(max_bytes=math.inf),
    "max_bytes text": lambda: good(max_bytes="5"),
    "max_bytes with a unit": lambda: good(max_bytes="5MB"),
    "max_bytes a list": lambda: good(max_bytes=[5]),
    "max_bytes empty": lambda: good(max_bytes=""),
    "extensions text": lambda: good(extensions="txt"),
    "extensions a number": lambda: good(extensions=1),
    "extensions an object": lambda: good(extensions={"txt": True}),
    "extensions false": lambda: good(extensions=False),
    "extensions a list of others": lambda: good(extensions=["txt", None]),
    "extensions a list of lists": lambda: good(extensions=[["txt"]]),
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token(folder_client: FlaskClient, tmp_path: Path, sent: Sent, make: Callable[[], str]) -> None:
    token = sent(make())
    response = put(folder_client, token)
    body = problem(response, 401, "invalid-token")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload", error="invalid_token"'
    assert token not in response.text, "what was sent may be another service's token"
    assert SECRET not in response.text
    assert not [word for word in ("jwt", "Traceback", "Error(") if word in body["error"]]
    problem(folder_client.delete(NO_SUCH_FILE, headers=bearer(token)), 401, "invalid-token")
    problem(folder_client.get("/upload", headers=bearer(token)), 401, "invalid-token")
    problem(post(folder_client, ("token", token), FILE), 401, "invalid-token")
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token_is_not_passed_over_where_none_is_needed(
    tmp_path: Path, sent: Sent, make: Callable[[], str]
) -> None:
    client = folder_app(tmp_path, TOKEN_SECRET=SECRET, ACCESS="public").test_client()
    problem(put(client, sent(make())), 401, "invalid-token")
    assert stored_files(tmp_path) == []


def test_deeply_nested_claims_are_no_fault(folder_client: FlaskClient) -> None:
    """Most versions of Python refuse to parse them. Python 3.14 does parse them, and this claim has no meaning here."""
    token = sign(b'{"exp":%d,"x":' % in_an_hour() + b"[" * 1400 + b"]" * 1400 + b"}")
    assert put(folder_client, token).status_code in (201, 401)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (BAD_TOKENS["expired"], "expired"),
        (BAD_TOKENS["no exp"], "'exp'"),
        (BAD_TOKENS["exp text"], "'exp'"),
        (BAD_TOKENS["aud"], "'aud'"),
        (BAD_TOKENS["sub null"], "'sub'"),
        (BAD_TOKENS["sub a number"], "'sub'"),
        (BAD_TOKENS["scope misspelt"], "'scope'"),
        (BAD_TOKENS["max_bytes a float"], "'max_bytes'"),
        (BAD_TOKENS["extensions text"], "'extensions'"),
        (BAD_TOKENS["too long"], "too long"),
    ],
)
def test_who_makes_tokens_is_told_what_is_wrong(
    folder_client: FlaskClient, sent: Sent, make: Callable[[], str], says: str
) -> None:
    assert says in problem(put(folder_client, sent(make())), 401, "invalid-token")["error"]


@pytest.mark.parametrize("claims", [{"scope": "admin"}, {"max_bytes": "x"}, {"aud": "x"}, {"sub": 1}, {"exp": 1}])
def test_what_a_forged_token_says_is_not_looked_at(
    folder_client: FlaskClient, sent: Sent, claims: dict[str, Any]
) -> None:
    """Else the answers would help whoever tries."""
    token = sent(sign({"exp": in_an_hour()} | claims, secret=OTHER_SECRET))
    assert "not one of this endpoint's" in problem(put(folder_client, token), 401, "invalid-token")["error"]


def test_signatures_are_compared_in_constant_time(
    folder_client: FlaskClient, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    compare = hmac.compare_digest

    def watched(one: Any, other: Any) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr("jwt.algorithms.hmac.compare_digest", watched)
    problem(put(folder_client, sent(BAD_TOKENS["of another secret"]())), 401, "invalid-token")
    assert [len(signature) for signature in compared] == [32]


# Tokens that are good.

GOOD_TOKENS: dict[str, Callable[[], str]] = {
    "no more than exp": good,
    "typ missing": lambda: sign({"exp": in_an_hour()}, header=HS256),
    "with kid": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"kid": "2024"}),
    "what every back end adds": lambda: good(iss="https://example.com", sub="ada", jti="1", iat=int(time.time())),
    "nbf in the past": lambda: good(nbf=0),
    "nbf within the leeway": lambda: good(nbf=int(time.time()) + LEEWAY_SECONDS // 2),
    "expired within the leeway": lambda: good(exp=int(time.time()) - 1),
    "exp a float": lambda: good(exp=in_an_hour() + 0.5),
    "exp in ten years": lambda: good(exp=int(time.time()) + MAX_TOKEN_SECONDS),
    "aud null": lambda: good(aud=None),
    "scope upload": lambda: good(scope="upload"),
    "both scopes": lambda: good(scope="delete upload"),
    "scopes with spaces": lambda: good(scope="  upload   delete "),
    "scope twice": lambda: good(scope="upload upload"),
    "max_bytes null": lambda: good(max_bytes=None),
    "max_bytes exact": lambda: good(max_bytes=5),
    "max_bytes more than the server's": lambda: good(max_bytes=10**100),
    "extensions null": lambda: good(extensions=None),
    "extensions in upper case": lambda: good(extensions=["TXT"]),
    "extensions with a dot": lambda: good(extensions=[".txt"]),
    "extensions the server does not allow, too": lambda: good(extensions=["exe", "txt", "../x", ""]),
    "unknown claims": lambda: good(admin=True, max_byte=1),
}


@pytest.mark.parametrize("make", GOOD_TOKENS.values(), ids=GOOD_TOKENS)
def test_a_good_token(folder_client: FlaskClient, sent: Sent, make: Callable[[], str]) -> None:
    response = put(folder_client, sent(make()))
    assert response.status_code == 201, response.text
    assert "WWW-Authenticate" not in response.headers


def test_what_pyjwt_makes_with_the_secret_is_good(folder_client: FlaskClient, sent: Sent) -> None:
    token = jwt.encode({"exp": in_an_hour(), "scope": "upload"}, SECRET, algorithm="HS256")
    assert put(folder_client, sent(token)).status_code == 201


def test_what_mint_makes_says_what_it_was_told() -> None:
    before = int(time.time())
    token = mint(
        SECRET, expires_seconds=60, scopes=("upload", "delete"), max_bytes=7, extensions=("png",), subject="user 7"
    )
    grant = tokens.verify(token, secrets=[SECRET])
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert grant == Grant(
        scopes=frozenset({"upload", "delete"}),
        max_bytes=7,
        extensions=frozenset({"png"}),
        expires=claims["exp"],
        subject="user 7",
    )
    assert before + 60 <= claims["exp"] <= time.time() + 60
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_a_token_that_was_good_expires_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    token = good()
    expires = tokens.verify(token, secrets=[SECRET]).expires
    assert expires is not None
    for late, is_good in ((LEEWAY_SECONDS - 1, True), (LEEWAY_SECONDS, False)):
        monkeypatch.setattr("handler.web.tokens.time.time", lambda now=expires + late: now)
        if is_good:
            assert tokens.verify(token, secrets=[SECRET]).expires == expires
        else:
            with pytest.raises(InvalidToken, match="expired"):
                tokens.verify(token, secrets=[SECRET])


def test_a_token_that_was_good_is_not_so_with_another_secret() -> None:
    token = good()
    tokens.verify(token, secrets=[SECRET])
    with pytest.raises(InvalidToken):
        tokens.verify(token, secrets=[OTHER_SECRET])


def test_two_secrets_while_one_takes_the_others_place(tmp_path: Path, sent: Sent) -> None:
    client = folder_app(tmp_path, TOKEN_SECRET=f"{SECRET}, {OLD_SECRET}").test_client()
    exp = in_an_hour()
    for secret in (SECRET, OLD_SECRET):
        assert put(client, sent(sign({"exp": exp}, secret=secret))).status_code == 201
        expired = problem(put(client, sent(sign({"exp": 1}, secret=secret))), 401, "invalid-token")
        assert "expired" in expired["error"], "the second secret's tokens are explained as well"
        misspelt = sign({"exp": exp, "scope": "x"}, secret=secret)
        assert "'scope'" in problem(put(client, sent(misspelt)), 401, "invalid-token")["error"]
    for secret in (OTHER_SECRET, f"{SECRET}, {OLD_SECRET}", ""):
        problem(put(client, sent(sign({"exp": exp}, secret=secret))), 401, "invalid-token")
    retired = folder_app(tmp_path, TOKEN_SECRET=SECRET).test_client()
    problem(put(retired, sent(sign({"exp": exp}, secret=OLD_SECRET))), 401, "invalid-token")


# What a token allows.


def test_max_bytes_narrows_one_file(client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]) -> None:
    token = sent(good(max_bytes=5))
    assert put(client, token, content=b"12345").status_code == 201
    assert post(client, ("token", token), FILE, FILE).status_code == 201
    before = stored_keys()
    for response in (
        put(client, token, content=b"123456"),
        post(client, ("token", token), ("file", (b"123456", "a.txt"))),
    ):
        body = problem(response, 413, "file-too-large")
        assert (body["max_bytes"], "5 bytes" in body["error"]) == (5, True)
    assert stored_keys() == before


def test_max_bytes_of_nothing_lets_nothing_in(folder_client: FlaskClient, sent: Sent) -> None:
    token = sent(good(max_bytes=0))
    problem(put(folder_client, token, content=b"1"), 413, "file-too-large")
    problem(post(folder_client, ("token", token), ("file", (b"", "a.txt"))), 422, "empty-file")


def test_max_bytes_does_not_widen_the_servers_limit(tmp_path: Path, sent: Sent) -> None:
    client = folder_app(tmp_path, TOKEN_SECRET=SECRET, MAX_FILE_BYTES="5").test_client()
    token = sent(good(max_bytes=10))
    assert problem(put(client, token, content=b"123456"), 413, "file-too-large")["max_bytes"] == 5


def test_extensions_narrow_the_servers(client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]) -> None:
    token = sent(good(extensions=["png", ".PDF", "exe"]))
    assert put(client, token, name="a.png", content=samples.png()).status_code == 201
    assert put(client, token, name="a.pdf", content=samples.PDF).status_code == 201
    before = stored_keys()
    for response in (
        put(client, token, name="a.txt"),
        put(client, token, name="a.exe", content=b"MZ"),
        post(client, ("token", token), FILE),
    ):
        assert problem(response, 415, "type-not-allowed")["allowed"] == ["pdf", "png"]
    problem(put(client, token, name="a.png", content=b"no image"), 422, "content-mismatch")
    assert stored_keys() == before


@pytest.mark.parametrize("extensions", [[], ["exe"], [""], ["..txt"], ["t*"], [" txt"], ["txt,png"]])
def test_extensions_of_which_the_server_allows_none(
    folder_client: FlaskClient, sent: Sent, extensions: list[str]
) -> None:
    body = problem(put(folder_client, sent(good(extensions=extensions))), 415, "type-not-allowed")
    assert (body["allowed"], "Allowed are: none." in body["error"]) == ([], True)


@pytest.mark.parametrize("scope", ["", " ", "delete"])
def test_uploading_needs_its_scope(folder_client: FlaskClient, tmp_path: Path, sent: Sent, scope: str) -> None:
    token = sent(good(scope=scope))
    for response in (put(folder_client, token), post(folder_client, ("token", token), FILE)):
        body = problem(response, 403, "forbidden")
        assert (body["scope"], "'upload'" in body["error"]) == ("upload", True)
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload", error="insufficient_scope"'
    assert stored_files(tmp_path) == []


def test_deleting_needs_its_scope(client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]) -> None:
    path = json_of(put(client, sent(good())))["url"].partition("localhost")[2]
    before = stored_keys()
    problem(client.delete(path), 401, "token-required")
    for claims in ({}, {"scope": "upload"}, {"scope": ""}):
        response = client.delete(path, headers=bearer(sent(good(**claims))))
        assert problem(response, 403, "forbidden")["scope"] == "delete"
        assert "insufficient_scope" in response.headers["WWW-Authenticate"]
    assert stored_keys() == before
    assert client.delete(path, headers=bearer(sent(good(scope="delete")))).status_code == 204
    assert stored_keys() == []


def test_who_may_not_delete_does_not_learn_what_is_there(folder_client: FlaskClient, sent: Sent) -> None:
    token = sent(good())
    path = json_of(put(folder_client, token))["url"].partition("localhost")[2]
    answers = [folder_client.delete(each, headers=bearer(token)) for each in (path, NO_SUCH_FILE)]
    first, second = [{**json_of(answer), "request_id": None} for answer in answers]
    assert first == second


def test_reading_needs_the_url_alone(client: FlaskClient, sent: Sent) -> None:
    path = json_of(put(client, sent(good())))["url"].partition("localhost")[2]
    assert client.get(path).status_code in (200, 302)
    assert client.get("/health").status_code == 200


def test_what_may_be_uploaded_is_narrowed_by_a_token(folder_client: FlaskClient, sent: Sent) -> None:
    everything = json_of(folder_client.get("/upload"))
    narrowed = json_of(folder_client.get("/upload", headers=bearer(sent(good(max_bytes=5, extensions=["png", "exe"])))))
    assert narrowed["extensions"] == ["png"]
    assert narrowed["types"] == {"png": "image/png"}
    assert narrowed["max_file_bytes"] == 5
    assert [way["max_bytes"] for way in narrowed["ways"]] == [5, 5, 5]
    assert "txt" in everything["extensions"]
    assert everything["max_request_bytes"] == narrowed["max_request_bytes"]


# Everyone.


def test_in_public_uploads_are_open_and_deletes_are_not(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    client = make_app(ACCESS="public").test_client()
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    assert post(client, FILE).status_code == 201
    before = stored_keys()
    assert problem(client.delete(path), 403, "forbidden")["scope"] == "delete"
    assert stored_keys() == before


def test_in_public_no_token_is_good_where_there_is_no_secret(tmp_path: Path, sent: Sent) -> None:
    """Least of all one that was signed with nothing."""
    client = folder_app(tmp_path, ACCESS="public").test_client()
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    for secret in ("", "None", SECRET):
        token = sent(sign({"exp": in_an_hour(), "scope": "delete"}, secret=secret))
        assert client.delete(path, headers=bearer(token)).status_code in (401, 403)
    assert client.get(path).status_code == 200


def test_in_public_a_good_token_says_what_its_owner_may(tmp_path: Path, sent: Sent) -> None:
    client = folder_app(tmp_path, ACCESS="public", TOKEN_SECRET=SECRET).test_client()
    assert put(client, None).status_code == 201
    narrow = sent(good(max_bytes=1))
    problem(put(client, narrow), 413, "file-too-large")
    problem(post(client, ("token", narrow), FILE), 413, "file-too-large")
    problem(put(client, sent(good(scope="delete"))), 403, "forbidden")
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    problem(client.delete(path, headers=bearer(sent(good()))), 403, "forbidden")
    assert client.delete(path, headers=bearer(sent(good(scope="delete")))).status_code == 204


def test_in_public_who_could_delete_with_a_token_is_asked_for_it(tmp_path: Path) -> None:
    """RFC 9110, section 15.5.2: 403 would say that it is no use to come back with one."""
    client = folder_app(tmp_path, ACCESS="public", TOKEN_SECRET=SECRET).test_client()
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    response = client.delete(path)
    error = problem(response, 401, "token-required")["error"]
    assert ("'delete'" in error, "Authorization: Bearer" in error) == (True, True)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload"'
    assert client.get(path).status_code == 200
    # Without a secret there is no such token.
    client = folder_app(tmp_path, ACCESS="public").test_client()
    assert problem(client.delete(path), 403, "forbidden")["scope"] == "delete"


# Nobody.


def test_on_lambda_nobody_may_upload_until_somebody_says_who(
    tmp_path: Path, sent: Sent, log: Callable[[], list[dict[str, Any]]]
) -> None:
    """It starts all the same: API Gateway's own answer for a function that does not would help nobody."""
    environ = {
        "AWS_LAMBDA_FUNCTION_NAME": "upload",
        "AWS_SAM_LOCAL": "true",
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
    }
    app = create_app(Settings.from_environ(environ))
    handler = make_handler(app)
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    of_a_form = ("Content-Type", "multipart/form-data; boundary=x")
    for method, path, body, headers in [
        ("PUT", "/upload/a.txt", b"hello", []),
        ("PUT", "/upload/a.txt", b"hello", [("Authorization", f"Bearer {sent(good())}")]),
        (
            "PUT",
            "/upload/a.txt",
            b"hello",
            [("Authorization", f"Bearer {sent(sign({'exp': in_an_hour()}, secret=''))}")],
        ),
        ("PUT", "/upload/a.txt", b"hello", [("Host", "localhost"), ("X-Forwarded-For", "127.0.0.1")]),
        ("POST", "/upload", form, [of_a_form]),
        ("POST", "/upload", b"hello", []),
        ("DELETE", NO_SUCH_FILE, None, []),
    ]:
        log()
        answer = handler(rest_event(method=method, path=path, body=body, headers=headers), Context())
        assert answer["statusCode"] == 403, answer
        assert json.loads(answer["body"])["type"] == "urn:problem-type:upload:access-not-configured"
        assert "TOKEN_SECRET" in json.loads(answer["body"])["error"]
        (reason,) = [entry for entry in log() if entry["level"] == "ERROR"]
        assert "neither TOKEN_SECRET nor ACCESS=public is set" in reason["event"]
    assert stored_files(tmp_path) == []
    assert handler(rest_event(path="/health"), Context())["statusCode"] == 200


@pytest.mark.parametrize("access", ["token", ""])
def test_access_without_a_secret_on_lambda_is_nobody(access: str) -> None:
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "upload", "UPLOAD_BUCKET": "my-bucket", "ACCESS": access}
    assert Settings.from_environ(environ).access is None


# Whoever sits at this machine.


@pytest.fixture
def local(tmp_path: Path) -> FlaskClient:
    return folder_app(tmp_path).test_client()


def everything_from(client: FlaskClient, **options: Any) -> list[TestResponse]:
    """A request to each route, told in the same way where it comes from."""
    form = {"file": (io.BytesIO(b"hello"), "a.txt")}
    return [
        client.put("/upload/a.txt", data=b"hello", **options),
        client.post("/upload", data=form, **options),
        client.get("/upload", **options),
        client.get("/", **options),
        client.get("/health", **options),
        client.get(NO_SUCH_FILE, **options),
        client.delete(NO_SUCH_FILE, **options),
        client.options("/upload", **options),
        client.get("/nothing", **options),
    ]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LocalHost:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"],
)
def test_this_machines_own_names(local: FlaskClient, host: str) -> None:
    origin = f"http://{host.lower()}"
    statuses = [response.status_code for response in everything_from(local, headers={"Host": host})]
    assert statuses == [201, 201, 200, 200, 200, 404, 404, 200, 404]
    if host == host.lower():
        responses = everything_from(local, headers={"Host": host, "Origin": origin})
        assert [response.status_code for response in responses] == statuses


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "evil-localhost",
        "localhost.",
        "localhost@evil.example",
        "evil.example@localhost",
        "evil.example#localhost",
        "evil.example/localhost",
        "localhost, evil.example",
        "127.0.0.1.nip.io",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "0",
        "192.168.0.1",
        "[::]",
        "[::1",
        "::1]",
        "[::1]evil",
        "[::ffff:127.0.0.1]",
        "[::1%25lo]",
        "localhost:x",
        "localhost:8000:9000",
        "\xef\xbd\x8cocalhost",
        "",
        " ",
    ],
)
def test_another_name_for_this_machine_is_dns_rebinding(local: FlaskClient, tmp_path: Path, host: str) -> None:
    for response in everything_from(local, headers={"Host": host}):
        problem(response, 403, "forbidden")
        assert "WWW-Authenticate" not in response.headers  # no token would help
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example",
        "null",
        "",
        "file://",
        "http://localhost.evil.example",
        "http://evil.example?http://localhost:8000",
        "http://localhost:8001",
        "http://localhost:80",
        "http://localhost",
        "https://localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://localhost:8000/",
        "http://localhost:8000 http://evil.example",
        "http://localhost:8000, http://evil.example",
        "http://LOCALHOST:8000",
        "http://user@localhost:8000",
        "chrome-extension://abcdefgh",
        "*",
    ],
)
def test_another_sites_form(local: FlaskClient, tmp_path: Path, origin: str) -> None:
    for response in everything_from(local, headers={"Host": "localhost:8000", "Origin": origin}):
        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    assert stored_files(tmp_path) == []


def test_another_site_that_is_listed_may(tmp_path: Path) -> None:
    app = folder_app(tmp_path, ALLOWED_ORIGINS="http://localhost:5173 https://app.example")
    for origin in ("http://localhost:5173", "https://app.example"):
        responses = everything_from(app.test_client(), headers={"Host": "localhost:8000", "Origin": origin})
        assert 403 not in [response.status_code for response in responses]
    for origin in ("http://localhost:5174", "https://app.example.evil.example", "null"):
        responses = everything_from(app.test_client(), headers={"Host": "localhost:8000", "Origin": origin})
        assert {response.status_code for response in responses} == {403}


CROSS_SITE = {"Host": "localhost:8000", "Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize("fields", [{}, {"Sec-Fetch-Mode": "no-cors"}, {"Referer": "https://evil.example/a"}])
def test_request_of_another_site_without_an_origin_is_rejected(
    local: FlaskClient, tmp_path: Path, fields: dict[str, str]
) -> None:
    responses = everything_from(local, headers={**CROSS_SITE, **fields})
    assert {response.status_code for response in responses} == {403}
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_request_of_the_same_site_without_an_origin_is_accepted(local: FlaskClient, site: str) -> None:
    responses = everything_from(local, headers={"Host": "localhost:8000", "Sec-Fetch-Site": site})
    assert 403 not in [response.status_code for response in responses]


def test_link_from_another_site_opens_the_page_and_sends_no_form(local: FlaskClient) -> None:
    followed = {**CROSS_SITE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert local.get("/", headers=followed).status_code == 200
    assert local.get("/", headers=followed | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert local.post("/upload", headers=followed).status_code == 403
    assert local.put("/upload/a.txt", data=b"x", headers=followed).status_code == 403


@pytest.mark.parametrize(("allowed", "status"), [("https://app.example", 200), ("*", 200), ("https://b.example", 403)])
def test_image_that_a_listed_site_shows_is_served(tmp_path: Path, allowed: str, status: int) -> None:
    client = folder_app(tmp_path, ALLOWED_ORIGINS=allowed).test_client()
    fields = {**CROSS_SITE, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Referer": "https://app.example/"}
    assert client.get("/health", headers=fields).status_code == status


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.0.2", "203.0.113.7", "2001:db8::1", "fe80::1%eth0", "x", ""])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-Ip": "127.0.0.1", "Client-Ip": "127.0.0.1", "True-Client-Ip": "::1"},
        {"Forwarded": "for=127.0.0.1;host=localhost;proto=http"},
        {"X-Forwarded-Host": "localhost", "X-Forwarded-Server": "localhost"},
    ],
)
def test_an_address_that_is_not_this_machines(
    local: FlaskClient, tmp_path: Path, address: str, headers: dict[str, str]
) -> None:
    for response in everything_from(
        local, headers={"Host": "localhost", **headers}, environ_overrides={"REMOTE_ADDR": address}
    ):
        assert response.status_code == 403
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_an_address_of_this_machine(local: FlaskClient, address: str) -> None:
    responses = everything_from(local, environ_overrides={"REMOTE_ADDR": address})
    assert 403 not in [response.status_code for response in responses]


def test_what_a_header_says_of_the_host_does_not_count(local: FlaskClient) -> None:
    for name in ("X-Host", "X-Original-Host"):
        response = local.get("/health", headers={"Host": "evil.example", name: "localhost"})
        assert response.status_code == 403
        response = local.put("/upload/a.txt", data=b"x", headers={name: "evil.example"})
        assert json_of(response)["url"].startswith("http://localhost/files/")


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
def test_who_comes_through_a_proxy_is_not_this_machine(local: FlaskClient, tmp_path: Path, name: str) -> None:
    response = local.put("/upload/a.txt", data=b"x", headers={name: "203.0.113.9"})
    assert response.status_code == 403
    assert "proxy" in json_of(response)["error"]
    assert stored_files(tmp_path) == []


def test_this_machines_owner_may_delete(local: FlaskClient) -> None:
    path = json_of(put(local, None))["url"].partition("localhost")[2]
    assert local.delete(path).status_code == 204


def test_with_a_secret_or_in_public_host_and_origin_are_of_no_account(tmp_path: Path, sent: Sent) -> None:
    headers = {"Host": "upload.example", "Origin": "https://app.example", **bearer(sent(good()))}
    for environ in ({"TOKEN_SECRET": SECRET}, {"ACCESS": "public"}):
        client = folder_app(tmp_path, **environ).test_client()
        response = client.put(
            "/upload/a.txt", data=b"x", headers=headers, environ_overrides={"REMOTE_ADDR": "203.0.113.7"}
        )
        assert response.status_code == 201


# Without downloads.


def test_without_downloads_there_is_no_route_and_no_url(make_app: Callable[..., Flask], sent: Sent) -> None:
    client = make_app(TOKEN_SECRET=SECRET, DOWNLOADS="off").test_client()
    token = sent(good(scope="upload delete"))
    response = put(client, token)
    assert response.status_code == 201
    (file,) = json_of(response)["files"]
    assert "url" not in file
    assert "url" not in json_of(response)
    assert "Location" not in response.headers
    path = f"/files/{file['id']}/{file['name']}"
    for refused in (client.get(path), client.head(path), client.get(path, headers=bearer(token))):
        assert refused.status_code == 405
        assert set(refused.headers["Allow"].split(", ")) == {"DELETE", "OPTIONS"}
    assert b"hello" not in client.get(path).data
    page = post(client, FILE, **bearer(token), Accept="text/html")
    assert (page.status_code, "/files/" in page.text) == (201, False)
    assert client.delete(path, headers=bearer(token)).status_code == 204


# The log.


def test_the_log_tells_who_did_what(
    folder_client: FlaskClient, sent: Sent, log: Callable[[], list[dict[str, Any]]]
) -> None:
    token = sent(good(sub="user-17", scope="upload delete"))
    path = json_of(put(folder_client, token))["url"].partition("localhost")[2]
    post(folder_client, ("token", token), FILE)
    put(folder_client, token, name="a.exe")
    put(folder_client, sent(good(sub="user-18", scope="delete")))
    folder_client.get("/upload", headers=bearer(token))
    folder_client.delete(path, headers=bearer(token))
    lines = log()
    assert [line["status"] for line in lines] == [201, 201, 415, 403, 200, 204]
    assert [line["subject"] for line in lines] == ["user-17"] * 3 + ["user-18"] + ["user-17"] * 2
    assert lines[0]["files"][0]["id"] == lines[-1]["files"][0]["id"]
    # Who is not known is not named, least of all by what a forged token says.
    put(folder_client, sent(good()))
    put(folder_client, None)
    put(folder_client, sent(sign({"exp": in_an_hour(), "sub": "user-17"}, secret=OTHER_SECRET)))
    put(folder_client, sent(good(sub="user-17", exp=1)))
    folder_client.get(path)
    assert [line["subject"] for line in log()] == [None] * 5


@pytest.mark.parametrize(
    ("sub", "subject"),
    [
        ("0d272383-1831-33ff-4e35-d569571b50ef", "0d272383-1831-33ff-4e35-d569571b50ef"),
        ("Ada Lovelace", "Ada Lovelace"),
        ("日本", "日本"),
        ("a\r\n\x1b[31m\u202eb\u200b\u2028\ud800", "a[31mb"),
        ("  a  ", "a"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 64),
        (" " + "\0" * 100 + "x" * 65, "x" * 64),
        ("", None),
        (" \0 ", None),
    ],
)
def test_a_subject_is_logged_clean_and_short(
    folder_client: FlaskClient,
    sent: Sent,
    log: Callable[[], list[dict[str, Any]]],
    sub: str,
    subject: str | None,
) -> None:
    assert put(folder_client, sent(good(sub=sub))).status_code == 201
    assert [line["subject"] for line in log()] == [subject]


def test_a_token_is_in_no_line_of_the_log(
    folder_client: FlaskClient, sent: Sent, log: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of success, refusal and fault; the fixture looks into them, as it does after every test here."""
    token = sent(good())
    put(folder_client, token)
    put(folder_client, token, name="a.exe")
    post(folder_client, ("token", token), FILE)
    post(folder_client, FILE, ("token", token))
    folder_client.put(f"/upload/{token}.txt", data=b"x")
    folder_client.get(f"/upload?token={token}")
    folder_client.get(f"/nothing/{token}", headers=bearer(token))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("handler.intake.Intake.begin", broken)
    assert put(folder_client, token).status_code == 500
    entries = log()
    assert [entry["status"] for entry in entries if entry["event"] == "request"] == [
        201,
        415,
        201,
        401,
        401,
        200,
        404,
        500,
    ]
    assert "a fault" in json.dumps([entry.get("exception") for entry in entries])

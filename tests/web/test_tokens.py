"""Tokens: accepted tokens, and the rejection of others."""

from __future__ import annotations

import hmac
import json
import math
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from handler.local import cli
from handler.problems import InvalidToken
from handler.web import tokens
from handler.web.access import MAX_TOKEN_SECONDS, Grant
from handler.web.tokens import LEEWAY_SECONDS, MAX_TOKEN_CHARS, mint

from ..support.http_client import NO_SUCH_FILE, problem
from ..support.tokens import (
    FILE,
    OLD_SECRET,
    OTHER_SECRET,
    SECRET,
    Sent,
    base64url,
    bearer,
    folder_app,
    good,
    in_an_hour,
    post,
    put,
    sign,
    stored_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.testing import FlaskClient

pytestmark = pytest.mark.usefixtures("no_token_in_the_log")


# Bad tokens.

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
    # Times.
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
    # Audience and subject.
    "aud": lambda: good(aud="https://example.com"),
    "aud a list": lambda: good(aud=["upload"]),
    "aud a number": lambda: good(aud=1),
    "aud empty": lambda: good(aud=""),
    "aud an empty list": lambda: good(aud=[]),
    "aud null": lambda: good(aud=None),
    "aud of a receipt": lambda: good(aud="receipt"),
    "typ of a receipt": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"typ": "upload-receipt+jwt"}),
    "typ of an access token": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"typ": "at+jwt"}),
    "typ empty": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"typ": ""}),
    "typ null": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"typ": None}),
    "typ a list": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"typ": ["JWT"]}),
    "typ JWT with a blank": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"typ": "JWT "}),
    "sub null": lambda: good(sub=None),
    "sub a number": lambda: good(sub=7),
    "sub a list": lambda: good(sub=["ada"]),
    # Rights. A claim without a meaning must not count as "no limit".
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
    "meta text": lambda: good(meta="{}"),
    "meta a list": lambda: good(meta=[1]),
    "meta false": lambda: good(meta=False),
    "meta with NaN": lambda: good(meta={"a": math.nan}),
    "meta beyond a float": lambda: sign(b'{"exp":%d,"meta":{"a":1e999}}' % in_an_hour()),
    "meta with half a character": lambda: good(meta={"a": "\ud800"}),
    "meta nested deeply": lambda: sign(b'{"exp":%d,"meta":{"a":' % in_an_hour() + b"[" * 1200 + b"]" * 1200 + b"}}"),
    "folder empty": lambda: good(folder=""),
    "folder too long": lambda: good(folder="a" * 65),
    "folder a dot": lambda: good(folder="."),
    "folder two dots": lambda: good(folder=".."),
    "folder with a slash": lambda: good(folder="a/b"),
    "folder with an encoded slash": lambda: good(folder="a%2Fb"),
    "folder with a line break": lambda: good(folder="a\n"),
    "folder with NUL": lambda: good(folder="a\0"),
    "folder with other letters": lambda: good(folder="ä"),
    "folder a star": lambda: good(folder="*"),
    "folder a number": lambda: good(folder=1),
    "folder a list": lambda: good(folder=["a"]),
    "folder false": lambda: good(folder=False),
    "keep_days 0": lambda: good(keep_days=0),
    "keep_days 2": lambda: good(keep_days=2),
    "keep_days true": lambda: good(keep_days=True),
    "keep_days text": lambda: good(keep_days="7"),
    "keep_days a float": lambda: good(keep_days=7.0),
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_bad_token_is_rejected(folder_client: FlaskClient, tmp_path: Path, sent: Sent, make: Callable[[], str]) -> None:
    token = sent(make())
    response = put(folder_client, token)
    body = problem(response, 401, "invalid-token")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload", error="invalid_token"'
    assert token not in response.text, "the token may belong to another service"
    assert SECRET not in response.text
    assert not [word for word in ("jwt", "Traceback", "Error(") if word in body["error"]]
    problem(folder_client.delete(NO_SUCH_FILE, headers=bearer(token)), 401, "invalid-token")
    problem(folder_client.get("/upload", headers=bearer(token)), 401, "invalid-token")
    problem(post(folder_client, ("token", token), FILE), 401, "invalid-token")
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_bad_token_is_rejected_although_no_token_is_needed(tmp_path: Path, sent: Sent, make: Callable[[], str]) -> None:
    client = folder_app(tmp_path, TOKEN_SECRET=SECRET, ACCESS="public").test_client()
    problem(put(client, sent(make())), 401, "invalid-token")
    assert stored_files(tmp_path) == []


def test_deeply_nested_claims_are_rejected(folder_client: FlaskClient) -> None:
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
def test_error_names_the_defect_of_the_token(
    folder_client: FlaskClient, sent: Sent, make: Callable[[], str], says: str
) -> None:
    assert says in problem(put(folder_client, sent(make())), 401, "invalid-token")["error"]


@pytest.mark.parametrize("claims", [{"scope": "admin"}, {"max_bytes": "x"}, {"aud": "x"}, {"sub": 1}, {"exp": 1}])
def test_claims_of_a_forged_token_are_not_read(folder_client: FlaskClient, sent: Sent, claims: dict[str, Any]) -> None:
    """Otherwise the responses would help an attacker."""
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


# Good tokens.

GOOD_TOKENS: dict[str, Callable[[], str]] = {
    "no more than exp": good,
    "typ missing": lambda: sign({"exp": in_an_hour()}, header=HS256),
    "with kid": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"kid": "2024"}),
    "common claims": lambda: good(iss="https://example.com", sub="ada", jti="1", iat=int(time.time())),
    "nbf in the past": lambda: good(nbf=0),
    "nbf within the leeway": lambda: good(nbf=int(time.time()) + LEEWAY_SECONDS // 2),
    "expired within the leeway": lambda: good(exp=int(time.time()) - 1),
    "exp a float": lambda: good(exp=in_an_hour() + 0.5),
    "exp in ten years": lambda: good(exp=int(time.time()) + MAX_TOKEN_SECONDS),
    "typ in lower case": lambda: sign({"exp": in_an_hour()}, header=HS256 | {"typ": "jwt"}),
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
    "all scopes": lambda: good(scope="upload delete list"),
    "meta null": lambda: good(meta=None),
    "meta empty": lambda: good(meta={}),
    "meta": lambda: good(meta={"order": 7, "tags": ["a", {"b": None}], "ä": 1.5}),
    "folder null": lambda: good(folder=None),
    "folder of one letter": lambda: good(folder="a"),
    "folder of 64 characters": lambda: good(folder="aZ0_-" * 12 + "abcd"),
    "folder with the form of a file's id": lambda: good(folder="0123456789abcdef" * 2),
    "keep_days null": lambda: good(keep_days=None),
    "keep_days 365": lambda: good(keep_days=365),
    "unknown claims": lambda: good(admin=True, max_byte=1),
}


@pytest.mark.parametrize("make", GOOD_TOKENS.values(), ids=GOOD_TOKENS)
def test_good_token_is_accepted(folder_client: FlaskClient, sent: Sent, make: Callable[[], str]) -> None:
    response = put(folder_client, sent(make()))
    assert response.status_code == 201, response.text
    assert "WWW-Authenticate" not in response.headers


def test_token_made_by_pyjwt_is_accepted(folder_client: FlaskClient, sent: Sent) -> None:
    token = jwt.encode({"exp": in_an_hour(), "scope": "upload"}, SECRET, algorithm="HS256")
    assert put(folder_client, sent(token)).status_code == 201


def test_mint_writes_its_arguments_as_claims() -> None:
    before = int(time.time())
    token = mint(
        SECRET,
        expires_seconds=60,
        scopes=("upload", "delete"),
        max_bytes=7,
        extensions=("png",),
        subject="user 7",
        meta={"a": [1]},
        folder="u7",
        keep_days=30,
    )
    grant = tokens.verify(token, secrets=[SECRET])
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert grant == Grant(
        scopes=frozenset({"upload", "delete"}),
        max_bytes=7,
        extensions=frozenset({"png"}),
        expires=claims["exp"],
        subject="user 7",
        meta={"a": [1]},
        folder="u7",
        keep_days=30,
    )
    assert before + 60 <= claims["exp"] <= time.time() + 60
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_command_mints_the_claims_of_an_application(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    options = [
        "--meta",
        '{"a": [1, "ä"]}',
        "--folder",
        "u1",
        "--keep-days",
        "7",
        "--scope",
        "list",
        "--scope",
        "upload",
    ]
    assert cli.main(["token", "--expires", "1h", *options]) == 0
    grant = tokens.verify(capsys.readouterr().out.strip(), secrets=[SECRET])
    assert (grant.meta, grant.folder, grant.keep_days) == ({"a": [1, "ä"]}, "u1", 7)
    assert grant.scopes == {"list", "upload"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--meta", "[1]"], "is not a JSON object"),
        (["--meta", "{"], "is not a JSON object"),
        (["--meta", '{"a": NaN}'], "is not a JSON object"),
        (["--meta", json.dumps({"a": "x" * 640})], "640"),
        (["--folder", "a/b"], "is not a name of 1 to 64 letters"),
        (["--keep-days", "2"], "invalid choice"),
        (["--scope", "admin"], "invalid choice"),
    ],
)
def test_command_rejects_a_claim_that_no_server_accepts(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["token", "--expires", "1h", *options])
    assert says in capsys.readouterr().err


def test_verified_token_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_verified_token_is_rejected_with_another_secret() -> None:
    token = good()
    tokens.verify(token, secrets=[SECRET])
    with pytest.raises(InvalidToken):
        tokens.verify(token, secrets=[OTHER_SECRET])


def test_two_secrets_during_rotation(tmp_path: Path, sent: Sent) -> None:
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

"""Digests that a client sends along: verified before anything is stored, over both storages."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import TYPE_CHECKING

import pytest

from ..support import samples
from ..support.http_client import json_of, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

# These tests fail before a storage is asked, so one storage is enough.
in_a_folder = pytest.mark.parametrize("kind", ["folder"])

BODY = samples.TEXT
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    + BODY
    + b'\r\n--x\r\nContent-Disposition: form-data; name="comment"\r\n\r\nhi\r\n--x--\r\nan epilogue'
)
BODIES = {"PUT": BODY, "POST": FORM}


def digest(algorithm: str, data: bytes) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


def sha256(data: bytes) -> str:
    return f"sha-256=:{digest('sha256', data)}:"


def sha512(data: bytes) -> str:
    return f"sha-512=:{digest('sha512', data)}:"


@pytest.fixture(params=BODIES)
def method(request: pytest.FixtureRequest) -> str:
    """Each test sends a file as the body, and in a form. The digest is that of the whole body or form."""
    name: str = request.param
    return name


def send(client: FlaskClient, method: str, headers: dict[str, str], *, data: bytes | None = None) -> TestResponse:
    return client.open(
        "/upload" if method == "POST" else "/upload/a.txt",
        method=method,
        data=BODIES[method] if data is None else data,
        headers={"Content-Type": "multipart/form-data; boundary=x" if method == "POST" else "text/plain", **headers},
    )


RIGHT: dict[str, Callable[[bytes], dict[str, str]]] = {
    "sha-256": lambda data: {"Content-Digest": sha256(data)},
    "sha-512": lambda data: {"Content-Digest": sha512(data)},
    "Repr-Digest": lambda data: {"Repr-Digest": sha256(data)},
    "Repr-Digest, sha-512": lambda data: {"Repr-Digest": sha512(data)},
    "both algorithms": lambda data: {"Content-Digest": f"{sha256(data)}, {sha512(data)}"},
    "both without a space": lambda data: {"Content-Digest": f"{sha512(data)},{sha256(data)}"},
    "both with white space": lambda data: {"Content-Digest": f" {sha512(data)}\t,  {sha256(data)} "},
    "both fields": lambda data: {"Content-Digest": sha256(data), "Repr-Digest": sha512(data)},
    "a parameter": lambda data: {"Content-Digest": f"{sha256(data)};a=1"},
    "parameters": lambda data: {"Content-Digest": f"{sha256(data)};a;b=?1; c=:eA==:, {sha512(data)}"},
    "beside an unknown one": lambda data: {"Content-Digest": f"sha-1024=:AAAA:, {sha256(data)}, unixsum=:AA==:"},
    "field name in another case": lambda data: {"content-DIGEST": sha256(data)},
    "MD5": lambda data: {"Content-MD5": digest("md5", data)},
    "all of them": lambda data: {
        "Content-Digest": f"{sha256(data)}, {sha512(data)}",
        "Repr-Digest": sha256(data),
        "Content-MD5": digest("md5", data),
    },
}


def test_right_digest_is_accepted(client: FlaskClient, method: str) -> None:
    for name, headers in RIGHT.items():
        response = send(client, method, headers(BODIES[method]))
        assert response.status_code == 201, (name, response.text)
        (file,) = json_of(response)["files"]
        assert file["sha256"] == hashlib.sha256(BODY).hexdigest(), "the digest of the file, not of the request"


def test_damaged_body_is_rejected(client: FlaskClient, method: str, stored_keys: Callable[[], list[str]]) -> None:
    sent = BODIES[method]
    for headers in RIGHT.values():
        for damaged in (sent.replace(b"line", b"lime"), sent + b"\n"):
            body = problem(send(client, method, headers(sent), data=damaged), 422, "digest-mismatch")
            assert "damaged" in body["error"]
    assert stored_keys() == []


@in_a_folder
@pytest.mark.parametrize("right", ["Content-Digest", "Repr-Digest", "Content-MD5"])
def test_one_right_digest_does_not_excuse_another(
    client: FlaskClient, method: str, stored_keys: Callable[[], list[str]], right: str
) -> None:
    other = b"another body"
    headers = {"Content-Digest": sha256(other), "Repr-Digest": sha512(other), "Content-MD5": digest("md5", other)}
    data = BODIES[method]
    headers |= {
        "Content-Digest": {"Content-Digest": sha256(data)},
        "Repr-Digest": {"Repr-Digest": sha512(data)},
        "Content-MD5": {"Content-MD5": digest("md5", data)},
    }[right]
    problem(send(client, method, headers), 422, "digest-mismatch")
    problem(send(client, method, {"Content-Digest": f"{sha256(data)}, {sha512(other)}"}), 422, "digest-mismatch")
    problem(send(client, method, {"Content-Digest": f"{sha256(other)}, {sha512(data)}"}), 422, "digest-mismatch")
    assert stored_keys() == []


def test_digest_of_the_file_is_not_the_digest_of_the_form(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    """RFC 9530 has Content-Digest of the content, and that is the form."""
    problem(send(client, "POST", {"Content-Digest": sha256(BODY)}), 422, "digest-mismatch")
    assert stored_keys() == []


def test_digest_of_a_large_body_is_verified(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    content = samples.png(1_000_000)
    response = client.put("/upload/a.png", data=content, headers={"Content-Digest": sha256(content)})
    assert response.status_code == 201
    before = stored_keys()
    damaged = content[:-1] + bytes([content[-1] ^ 1])
    response = client.put("/upload/a.png", data=damaged, headers={"Content-Digest": sha256(content)})
    problem(response, 422, "digest-mismatch")
    assert stored_keys() == before


def test_several_files_of_a_form_are_refused_together(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    data = {"file": [(io.BytesIO(BODY), "a.txt"), (io.BytesIO(BODY), "b.txt")]}
    problem(client.post("/upload", data=data, headers={"Content-Digest": sha256(b"")}), 422, "digest-mismatch")
    assert stored_keys() == []


def test_refused_file_keeps_its_problem(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    response = client.put("/upload/a.exe", data=BODY, headers={"Content-Digest": sha256(b"")})
    problem(response, 415, "type-not-allowed")
    assert stored_keys() == []


VALUE = digest("sha256", BODY)
MALFORMED = {
    "empty": "",
    "blank": " ",
    "a comma": ",",
    "no value": "sha-256",
    "true": "sha-256=?1",
    "no colons": f"sha-256={VALUE}",
    "one colon": f"sha-256=:{VALUE}",
    "quoted": f'sha-256="{VALUE}"',
    "the older Digest field's form": f"SHA-256={VALUE}",
    "upper case, which no dictionary's key has": f"SHA-256=:{VALUE}:",
    "other spelling": f"sha256=:{VALUE}:",
    "spaces around": f"sha-256 = :{VALUE}:",
    "hexadecimal": f"sha-256=:{hashlib.sha256(BODY).hexdigest()}:",
    "of another algorithm": f"sha-512=:{VALUE}:",
    "empty value": "sha-256=::",
    "cut off": f"sha-256=:{VALUE[:20]}:",
    "no padding": f"sha-256=:{VALUE.rstrip('=')}:",
    "too much padding": f"sha-256=:{VALUE}=:",
    "only padding": "sha-256=:==:",
    "base64url": "sha-256=:" + "-_" * 21 + "A=:",
    "a space within": f"sha-256=:{VALUE[:9]} {VALUE[9:]}:",
    "beyond ASCII": "sha-256=:\xe9:",
    "an empty member": f"sha-256=:{VALUE}:,",
    "an empty member before": f", sha-256=:{VALUE}:",
    "a malformed member beside": f"sha-256=:{VALUE}:, sha-512",
    "a semicolon for a comma": f"sha-256=:{VALUE}:; sha-512=:{VALUE}:, x",
    "only an unknown algorithm": f"sha-1024=:{VALUE}:",
    "only insecure algorithms": "md5=:XUFAKrxLKna5cZ2REBfFkg==:, sha=:qvTGHdzF6KLavt4PO0gs2a6pQ00=:",
    "a list": f"(sha-256=:{VALUE}:)",
    "a long one": "sha-256=:" + "A" * 100_000 + ":",
    "many": ", ".join(["x=:AAAA:"] * 5000),
}


@in_a_folder
@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_unreadable_digest_is_rejected(
    client: FlaskClient, method: str, stored_keys: Callable[[], list[str]], value: str
) -> None:
    """An unverified digest must not look verified."""
    for field in ("Content-Digest", "Repr-Digest"):
        assert field in problem(send(client, method, {field: value}), 400, "malformed-request")["error"]
    assert stored_keys() == []


@in_a_folder
@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "=",
        "====",
        hashlib.md5(BODY).hexdigest(),
        digest("md5", BODY).rstrip("="),
        digest("md5", BODY) + ", " + digest("md5", BODY),
        f":{digest('md5', BODY)}:",
        VALUE,
        "\xe9",
        "A" * 100_000,
    ],
)
def test_unreadable_md5_is_rejected(
    client: FlaskClient, method: str, stored_keys: Callable[[], list[str]], value: str
) -> None:
    assert "Content-MD5" in problem(send(client, method, {"Content-MD5": value}), 400, "malformed-request")["error"]
    assert stored_keys() == []

"""The signature of a webhook, verified with the official package."""

from __future__ import annotations

import base64
import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from handler.webhooks.signing import decode_secret, signed_headers

from ..support.webhook_receiver import OTHER_SECRET, SECRET

BODY = json.dumps({"type": "file.stored", "data": {"name": "Übersicht.pdf"}}, ensure_ascii=False).encode()
ID = "file_0123456789abcdef0123456789abcdef"


def headers(*secrets: str, seconds_ago: int = 0) -> dict[str, str]:
    return signed_headers(
        [decode_secret(secret) for secret in secrets],
        event_id=ID,
        timestamp=int(time.time()) - seconds_ago,
        body=BODY,
    )


def test_official_package_accepts_the_signature() -> None:
    assert Webhook(SECRET).verify(BODY, headers(SECRET)) == json.loads(BODY)


def test_signature_of_the_specification_is_reproduced() -> None:
    """The key, the message and the signature that the implementations of Standard Webhooks test with."""
    signed = signed_headers(
        [decode_secret(SECRET)],
        event_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("known", [SECRET, OTHER_SECRET])
def test_receiver_that_knows_either_secret_accepts_the_event(known: str) -> None:
    assert Webhook(known).verify(BODY, headers(SECRET, OTHER_SECRET)) == json.loads(BODY)


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp"])
def test_changed_request_is_rejected(changed: str) -> None:
    signed, body = headers(SECRET), BODY
    if changed == "body":
        body += b" "
    elif changed == "webhook-id":
        signed[changed] += "0"
    else:
        signed[changed] = str(int(signed[changed]) + 1)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(body, signed)


def test_old_request_is_rejected() -> None:
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(BODY, headers(SECRET, seconds_ago=600))


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secret_of_a_good_size_is_decoded(size: int) -> None:
    key = bytes(range(size))
    assert decode_secret(f"whsec_{base64.b64encode(key).decode()}") == key
    assert decode_secret(f"whsec_{base64.b64encode(key).decode().rstrip('=')}") == key


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        base64.b64encode(bytes(32)).decode(),
        f"whsec_{base64.b64encode(bytes(23)).decode()}",
        f"whsec_{base64.b64encode(bytes(65)).decode()}",
        f"whsec_{'*' * 40}",
        f"whsec_{'é' * 40}",
        f"whpk_{base64.b64encode(bytes(32)).decode()}",
    ],
)
def test_invalid_secret_is_rejected(secret: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_secret(secret)

"""Signed values: their age, and the leeway for the clock that signed them."""

from __future__ import annotations

import time

import pytest
from itsdangerous import BadSignature, TimestampSigner

from handler.signing import LEEWAY_SECONDS, TimedSigner, timed_signer

SIGNER = TimedSigner(b"a secret of a test", purpose="a test")


def signed(age: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a value signed this many seconds ago. A negative number stands for a clock that is ahead."""
    with monkeypatch.context() as patch:
        patch.setattr(TimestampSigner, "get_timestamp", lambda _: int(time.time()) - age)
        return SIGNER.sign({"id": "x"})


@pytest.mark.parametrize("age", [0, 1, 58, -1, -LEEWAY_SECONDS + 2])
def test_signed_value_is_verified(age: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SIGNER.verify(signed(age, monkeypatch), max_seconds=60) == {"id": "x"}


@pytest.mark.parametrize("age", [61, 10**6, -LEEWAY_SECONDS - 2, -(10**6)])
def test_expired_or_future_signature_is_rejected(age: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSignature):
        SIGNER.verify(signed(age, monkeypatch), max_seconds=60)


def test_value_for_another_purpose_or_secret_is_rejected() -> None:
    for other in (TimedSigner(b"a secret of a test", purpose="b"), TimedSigner(b"another", purpose="a test")):
        with pytest.raises(BadSignature):
            other.verify(SIGNER.sign(1), max_seconds=60)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "x" * 5000, "." * 5000, "é.é.é"])
def test_text_that_was_not_signed_is_rejected(text: str) -> None:
    with pytest.raises(BadSignature):
        SIGNER.verify(text, max_seconds=60)


def test_signer_is_made_once_for_each_secret_and_purpose() -> None:
    signer = timed_signer(b"secret", purpose="a")
    assert timed_signer(b"secret", purpose="a") is signer
    assert timed_signer(b"secret", purpose="b") is not signer
    assert timed_signer(b"another", purpose="a") is not signer

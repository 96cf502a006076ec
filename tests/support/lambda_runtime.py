"""The token secret and the context object of the Lambda functions under test."""

from __future__ import annotations

SECRET = "no-secret-but-long-enough-to-pass-for-one"


class Context:
    """The part of Lambda's context object that the handlers read."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

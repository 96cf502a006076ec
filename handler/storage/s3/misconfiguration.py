"""Separates the errors of S3 that the owner must repair from errors that pass.

The owner repairs wrong credentials, a wrong region, a missing bucket and a missing right.

AWS: "Error responses" (Amazon S3 API Reference).
"""

from __future__ import annotations

from botocore.exceptions import (
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

STATUSES = frozenset((301, 401, 403))
"""301 stands for a bucket in another region. 403 stands for a missing right, and for unknown or expired credentials."""
CODES = frozenset(
    (
        "400",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "IllegalLocationConstraintException",
        "InvalidBucketName",
        "InvalidToken",
        "NoSuchBucket",
        "TokenRefreshRequired",
    )
)
"""The codes of such errors with other statuses. A response to HEAD has no code, so botocore writes the status: 400
stands for an expired token there, or for the wrong region."""
BOTOCORE_ERRORS = (
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
"""The errors that botocore raises before it sends a request."""


def is_misconfigured(*, status: int, code: str) -> bool:
    """Return whether the owner must change something, by the status and the code of S3's error response."""
    return status in STATUSES or code in CODES


def is_misconfiguration(error: Exception) -> bool:
    """Return whether the owner must change something, by an error of botocore's own."""
    return isinstance(error, BOTOCORE_ERRORS)

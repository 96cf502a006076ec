"""Whether the credentials work and a bucket has everything that uploads need.

The local server runs these checks before it serves a bucket. Many stores that speak S3's protocol miss a part of it.
The part that matters most is the conditional write: without it, one file could replace another.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError
from botocore.session import get_session

from .findings import Finding

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOT_S3 = (BotoCoreError, ResponseParserError)
"""Errors of botocore that do not come from S3: from the network, the credentials, or another server's page."""
PROBE_PREFIX = "refused/check-"
"""Where the probe object is for a moment. Nobody can read it, no event follows it, and the bucket of ``template.yaml``
deletes it after a week if this check cannot."""
PREFLIGHT_SECONDS = 5
CORS_METHODS = ("PUT", "POST")
"""Browsers send parts with PUT and forms with POST."""
CORS_RULES = (
    '{"CORSRules":[{"AllowedMethods":["GET","HEAD","PUT","POST"],"AllowedOrigins":["*"],"AllowedHeaders":["*"],'
    '"ExposeHeaders":["Content-Disposition","Content-Range","ETag"]}]}'
)
"""The rule of the bucket in ``template.yaml``. With GET and HEAD, scripts can read files."""
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "ExpiredTokenException",
}
_OTHER_REGION = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_NOT_ALLOWED = {"403", "AccessDenied", "AllAccessDisabled"}


def check(client: S3Client, bucket: str, *, origins: Sequence[str]) -> Iterator[Finding]:
    """Check everything that uploads to a bucket need, in the order in which one thing needs another.

    The checks send at most ten requests. They write one probe object and delete it.

    :param client: made by ``make_client`` of the storage.
    :param origins: the web sites that send files straight to the bucket, such as ``https://example.com``.
    :returns: the findings. After one that makes all further checks useless there are no more.
    """
    credentials = _check_credentials()
    yield credentials
    if not credentials.ok:
        return
    try:
        region = client.head_bucket(Bucket=bucket).get("BucketRegion")
    except ClientError as error:
        yield _explain(_reason(client, bucket, error), bucket=bucket, region=client.meta.region_name)
        return
    except NOT_S3 as error:
        sentence = f"S3 cannot be reached: {_one_line(error)}. Check the network and AWS_ENDPOINT_URL_S3."
        yield _fatal("bucket", sentence)
        return
    yield Finding(subject="bucket", sentence=f"'{bucket}' exists, and the credentials may list it.")
    yield _check_region(region, configured=client.meta.region_name)
    yield _check_versioning(client, bucket)
    yield _check_cors(client, bucket, origins)
    yield _check_conditional_writes(client, bucket)


def _check_credentials() -> Finding:
    cure = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
    try:
        credentials = get_session().get_credentials()
    except BotoCoreError as error:
        return _fatal("credentials", f"the AWS credentials cannot be read: {_one_line(error)}. {cure}")
    if credentials is None:
        return _fatal("credentials", f"there are no AWS credentials. {cure}")
    return Finding(subject="credentials", sentence=f"found ({credentials.method}).")


def _reason(client: S3Client, bucket: str, error: ClientError) -> str:
    """Return S3's code for an error. The response to HEAD has no body, so a 400 or 403 is asked for again with GET."""
    if _status(error) not in (400, 403):
        return _code(error)
    try:
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as explained:
        return _code(explained)
    except NOT_S3:
        pass
    return _code(error)


def _explain(code: str, *, bucket: str, region: str) -> Finding:
    if code in _BAD_CREDENTIALS:
        sentence = f"S3 does not accept the AWS credentials ({code}). Correct them, or sign in again."
        return _fatal("credentials", sentence)
    if code in ("404", "NoSuchBucket"):
        return _fatal("bucket", f"the bucket '{bucket}' does not exist. Correct UPLOAD_BUCKET, or create the bucket.")
    if code in _OTHER_REGION:
        return _fatal("region", f"the bucket '{bucket}' is not in {region}. Set AWS_DEFAULT_REGION to its region.")
    if code in _NOT_ALLOWED:
        cure = "Allow s3:ListBucket, or correct UPLOAD_BUCKET: a bucket of this name may belong to another account."
        return _fatal("bucket", f"the credentials may not list the bucket '{bucket}'. {cure}")
    return _fatal(
        "bucket", f"S3 responds with {code} for the bucket '{bucket}'. Correct UPLOAD_BUCKET, or try again later."
    )


def _check_region(region: str | None, *, configured: str) -> Finding:
    if region is None:
        return Finding(subject="region", sentence=f"{configured}. The store does not report the bucket's own region.")
    if region != configured:
        sentence = f"the bucket is in {region}, but the region is set to {configured}. Set AWS_DEFAULT_REGION={region}."
        return _fatal("region", sentence)
    return Finding(subject="region", sentence=f"{region}, the region of the bucket.")


def _check_versioning(client: S3Client, bucket: str) -> Finding:
    subject = "versioning"
    try:
        status = client.get_bucket_versioning(Bucket=bucket).get("Status")
    except ClientError as error:
        if _code(error) in _NOT_ALLOWED:
            return _failed(subject, "the credentials may not read the versioning. Allow s3:GetBucketVersioning.")
        return _fatal(subject, f"the store responds with {_code(error)}. Use a store that keeps versions of objects.")
    except NOT_S3 as error:
        return _fatal(subject, f"the versioning cannot be read: {_one_line(error)}. Try again.")
    if status == "Enabled":
        return Finding(subject=subject, sentence="on.")
    command = f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled"
    return _fatal(subject, f"versioning is off for the bucket '{bucket}'. Turn it on: {command}")


def _check_cors(client: S3Client, bucket: str, origins: Sequence[str]) -> Finding:
    """Check the bucket's CORS rules (AWS: "Using cross-origin resource sharing"): browsers send large files straight to
    the bucket, and need the ETag of each part."""
    subject = "CORS"
    try:
        rules: Sequence[Mapping[str, Any]] = client.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except ClientError as error:
        if _code(error) in _NOT_ALLOWED:
            return _failed(subject, "the credentials may not read the CORS rules. Allow s3:GetBucketCORS.")
        if _status(error) != 404:  # the store has no rules for each bucket
            missing = [origin for origin in origins if not _passes_preflight(client, bucket, origin)]
            return _cors_finding(bucket, missing)
        rules = ()
    except (*NOT_S3, KeyError) as error:
        return _failed(subject, f"the CORS rules cannot be read: {_one_line(error)}. Try again.")
    missing = [origin for origin in origins if not all(_allows(rules, origin, method) for method in CORS_METHODS)]
    return _cors_finding(bucket, missing)


def _cors_finding(bucket: str, missing: Sequence[str]) -> Finding:
    if not missing:
        return Finding(subject="CORS", sentence="browsers may send files straight to the bucket.")
    command = f"aws s3api put-bucket-cors --bucket {bucket} --cors-configuration '{CORS_RULES}'"
    names = ", ".join(missing)
    return _failed("CORS", f"the bucket rejects files that browsers send straight to it from {names}. Run: {command}")


def _allows(rules: Sequence[Mapping[str, Any]], origin: str, method: str) -> bool:
    """Return whether the first rule for an origin and a method lets a browser send a file and read its ETag.

    A part is a slice of a file, so it has no media type, and its request has no field that a rule must allow.
    """
    for rule in rules:
        if method in rule["AllowedMethods"] and any(_matches(origin, pattern) for pattern in rule["AllowedOrigins"]):
            exposed = {name.lower() for name in rule.get("ExposeHeaders", ())}
            return method != "PUT" or "etag" in exposed
    return False


def _matches(origin: str, pattern: str) -> bool:
    """Return whether an origin matches a rule's pattern, which may have one ``*``."""
    begin, star, end = pattern.partition("*")
    if not star:
        return origin == pattern
    return len(origin) >= len(begin) + len(end) and origin.startswith(begin) and origin.endswith(end)


def _passes_preflight(client: S3Client, bucket: str, origin: str) -> bool:
    """Return whether the store itself permits a browser's preflight (WHATWG Fetch, "CORS-preflight fetch")."""
    url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": f"{PROBE_PREFIX}cors"})
    fields = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    try:
        response = URLLib3Session(timeout=PREFLIGHT_SECONDS).send(AWSRequest("OPTIONS", url, headers=fields).prepare())
    except BotoCoreError:
        return False
    return response.status_code < 300 and response.headers.get("Access-Control-Allow-Origin") in (origin, "*")


def _check_conditional_writes(client: S3Client, bucket: str) -> Finding:
    """Write one key twice with ``If-None-Match: *``: the second write must fail (AWS: "How to prevent object overwrites
    with conditional writes")."""
    subject = "If-None-Match: *"
    key = f"{PROBE_PREFIX}{uuid.uuid4().hex}"
    versions: list[str | None] = []
    try:
        enforced = _second_write_fails(client, bucket, key, versions)
    except ClientError as error:
        if _code(error) in _NOT_ALLOWED:
            return _failed(subject, f"the credentials may not write {PROBE_PREFIX}*. Allow s3:PutObject.")
        return _fatal(
            subject, f"the store responds with {_code(error)} to a conditional write. Use a store that takes it."
        )
    except NOT_S3 as error:
        return _fatal(subject, f"the conditional write cannot be tried: {_one_line(error)}. Try again.")
    finally:
        deleted = _delete_versions(client, bucket, key, versions)
    rest = "" if deleted else f" The probe object {key} could not be deleted. Delete it."
    if enforced:
        return Finding(subject=subject, sentence=f"the store rejects a second write to the same key.{rest}")
    sentence = "the store ignores If-None-Match, so one file could replace another. Use a store that enforces it."
    return _fatal(subject, sentence + rest)


def _second_write_fails(client: S3Client, bucket: str, key: str, versions: list[str | None]) -> bool:
    """Write a key twice.

    :param versions: gets the version id of each object that was written.
    :returns: whether the store rejected the second write.
    :raises ClientError: the store rejected the first write, or the second one for another reason.
    """
    for body in (b"first", b"second"):
        try:
            written = client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if versions and _status(error) in (409, 412):
                return True
            raise
        versions.append(written.get("VersionId"))
    return False


def _delete_versions(client: S3Client, bucket: str, key: str, versions: Sequence[str | None]) -> bool:
    """Delete each version of the probe object; ``False`` if one stays."""
    deleted = True
    for version in versions:
        try:
            if version:
                client.delete_object(Bucket=bucket, Key=key, VersionId=version)
            else:
                client.delete_object(Bucket=bucket, Key=key)
        except (ClientError, *NOT_S3):
            deleted = False
    return deleted


def _fatal(subject: str, sentence: str) -> Finding:
    return Finding(subject=subject, sentence=sentence, ok=False, stops_server=True)


def _failed(subject: str, sentence: str) -> Finding:
    return Finding(subject=subject, sentence=sentence, ok=False)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) or str(_status(error))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")

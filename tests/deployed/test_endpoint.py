"""A deployment from outside: every way in and out, the gateway's own responses, the bucket's rules, TLS."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from handler.storage.direct import MIN_PART_BYTES

from ..support import samples
from .conftest import STACK, Deployed, Emulated, eventually

if TYPE_CHECKING:
    import requests

pytestmark = pytest.mark.deployed

MIB = 1024 * 1024
ORIGIN = "https://app.example.com"


def problem(response: requests.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    return response.status_code, response.json()["type"].removeprefix("urn:problem-type:upload:")


def put(deployed: Deployed, name: str = "a.txt", content: bytes = samples.TEXT, **more: Any) -> requests.Response:
    return deployed.send("PUT", f"{deployed.endpoint}/{name}", data=content, **more)


def download(deployed: Deployed, url: str, **headers: str) -> requests.Response:
    """Follow the endpoint's redirect to the bucket, as a client without a token."""
    redirect = deployed.anonymous().send("GET", url)
    assert redirect.status_code == 302, redirect.text
    assert redirect.headers["Location"].startswith(deployed.bucket_url)
    return deployed.send("GET", redirect.headers["Location"], headers=headers)


def send_parts(deployed: Deployed, name: str, content: bytes, **declared: Any) -> requests.Response:
    """Send a file straight to the bucket in parts, and return the response to ``complete``."""
    begun = deployed.send("POST", f"{deployed.endpoint}/s3/multipart", json={"filename": name, **declared})
    assert begun.status_code == 200, begun.text
    upload = f"{deployed.endpoint}/s3/multipart/{begun.json()['uploadId']}"
    parts = []
    for number, start in enumerate(range(0, len(content), MIN_PART_BYTES), 1):
        url = deployed.send("GET", f"{upload}/{number}").json()["url"]
        sent = deployed.send("PUT", url, data=content[start : start + MIN_PART_BYTES], headers={"Origin": ORIGIN})
        assert sent.status_code == 200, sent.text
        assert "etag" in sent.headers["Access-Control-Expose-Headers"].lower()
        parts.append({"PartNumber": number, "ETag": sent.headers["ETag"]})
    return deployed.send("POST", f"{upload}/complete", json={"parts": parts})


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_body_sent_to_a_name_is_stored(deployed: Deployed, method: str) -> None:
    response = deployed.send(method, f"{deployed.endpoint}/a.txt", data=samples.TEXT)
    assert response.status_code == 201, response.text
    (file,) = response.json()["files"]
    assert file["name"] == "a.txt"
    assert [entry["Size"] for entry in deployed.stored(file["id"])] == [len(samples.TEXT)]


def test_form_is_stored_downloaded_and_deleted(deployed: Deployed) -> None:
    photo = samples.png(100_000)
    response = deployed.send("POST", deployed.endpoint, files={"file": ("Größe 1.png", photo)})
    assert response.status_code == 201, response.text
    url = response.json()["url"]
    whole = download(deployed, url)
    assert (whole.status_code, whole.content) == (200, photo)
    assert whole.headers["Content-Disposition"].startswith("attachment")
    part = download(deployed, url, Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, photo[10:20])
    assert problem(deployed.anonymous().send("DELETE", url)) == (401, "token-required")
    assert deployed.send("DELETE", url).status_code == 204
    # A 503 here means that S3 hides missing objects: see DetectMissingObjects in template.yaml.
    assert problem(deployed.send("GET", url)) == (404, "not-found")


def test_largest_request_is_stored_and_a_larger_one_refused(deployed: Deployed) -> None:
    largest = samples.png(4 * MIB)
    response = put(deployed, "a.png", largest)
    assert response.status_code == 201, response.text
    assert response.json()["files"][0]["sha256"] == hashlib.sha256(largest).hexdigest()
    for size in (4 * MIB + 1, 8 * MIB, 11 * MIB):  # the app's limit, Lambda's, API Gateway's
        assert problem(put(deployed, "a.png", samples.png(size))) == (413, "request-too-large")


def test_digest_is_verified(deployed: Deployed) -> None:
    digest = base64.b64encode(hashlib.sha256(samples.TEXT).digest()).decode()
    field = {"Content-Digest": f"sha-256=:{digest}:"}
    assert put(deployed, headers=field).status_code == 201
    assert problem(put(deployed, content=samples.TEXT + b"!", headers=field)) == (422, "digest-mismatch")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [("a.exe", b"MZ", (415, "type-not-allowed")), ("a.png", b"<html><script>", (422, "content-mismatch"))],
)
def test_refused_file_is_not_stored(deployed: Deployed, name: str, content: bytes, expected: tuple[int, str]) -> None:
    assert problem(put(deployed, name, content)) == expected
    if name.endswith(".png"):
        response = send_parts(deployed, name, content)
        assert problem(response) == expected


def test_token_is_required_and_limits_its_holder(deployed: Deployed) -> None:
    assert problem(put(deployed.anonymous())) == (401, "token-required")
    assert problem(put(deployed, headers={"Authorization": "Bearer a.b.c"})) == (401, "invalid-token")
    assert problem(put(deployed.with_claims(max_bytes=5))) == (413, "file-too-large")
    assert problem(put(deployed.with_claims(extensions=["png"]))) == (415, "type-not-allowed")


@pytest.mark.parametrize("digest", ["none", "right", "wrong"])
def test_parts_are_stored_with_a_digest(deployed: Deployed, digest: str) -> None:
    """S3 hashes a copy of one part, so the digest is known without reading the file."""
    photo = samples.png(MIN_PART_BYTES + 123_456)
    sha256 = hashlib.sha256(photo).hexdigest()
    declared = {"none": {}, "right": {"sha256": sha256}, "wrong": {"sha256": "0" * 64}}[digest]
    response = send_parts(deployed, "a.png", photo, size=len(photo), partSize=MIN_PART_BYTES, **declared)
    if digest == "wrong":
        assert problem(response) == (422, "digest-mismatch")
        return
    assert response.status_code == 200, response.text
    (file,) = response.json()["files"]
    assert file["size"] == len(photo)
    assert file["sha256"] == sha256
    assert download(deployed, file["url"]).content == photo


@pytest.mark.parametrize(
    ("name", "content", "verdict"), [("a.txt", samples.TEXT, "stored"), ("a.png", b"<html>", "refused")]
)
def test_event_promotes_a_presigned_post(deployed: Deployed, name: str, content: bytes, verdict: str) -> None:
    form = deployed.send("GET", f"{deployed.endpoint}/s3/params", params={"filename": name}).json()
    assert form["url"].startswith(deployed.bucket_url)
    assert deployed.send("POST", form["url"], data=form["fields"], files={"file": content}).status_code == 204
    key = {"stored": f"files/{form['id']}/", "refused": f"refused/{form['id']}"}[verdict]
    eventually(lambda: deployed.aws("s3").list_objects_v2(Bucket=deployed.bucket, Prefix=key).get("Contents"))
    assert deployed.send("GET", form["status"]).json()["status"] == verdict


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "wp-login.php"), ("PROPFIND", "upload"), ("GET", "files/x"), ("DELETE", "")]
)
def test_gateway_answers_unknown_routes(deployed: Deployed, method: str, path: str) -> None:
    if method == "PROPFIND" and not deployed.port:
        pytest.skip("only in the emulated AWS: CloudFront in front of API Gateway rejects unknown methods")
    for sender in (deployed, deployed.anonymous()):
        response = sender.send(method, path, headers={"Accept": "text/html", "Origin": ORIGIN})
        assert problem(response) == (404, "not-found")
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["X-Request-Id"]


def test_piece_without_an_upload_id_is_rejected(deployed: Deployed) -> None:
    """FilePond's route for pieces: its query has the upload id."""
    response = deployed.send("PATCH", deployed.endpoint, data=samples.TEXT)
    assert problem(response) == (405, "method-not-allowed")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_script_of_another_site_may_read_a_file(deployed: Deployed, method: str) -> None:
    url = put(deployed).json()["url"]
    location = deployed.anonymous().send(method, url).headers["Location"]
    for origin in (ORIGIN, "null"):  # browsers send null after a redirect to another origin
        fields = {"Origin": origin, "Range": "bytes=1-3"}
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "range"}
        assert deployed.send("OPTIONS", location, headers=fields | asked).status_code == 200
        read = deployed.send(method, location, headers=fields)
        assert read.status_code == 206
        assert read.headers["Access-Control-Allow-Origin"] in ("*", origin)
        exposed = {name.strip() for name in read.headers["Access-Control-Expose-Headers"].lower().split(",")}
        assert exposed >= {"content-disposition", "content-range", "etag"}


def test_bucket_rejects_writes_that_could_replace_a_file(deployed: Deployed) -> None:
    s3, key = deployed.aws("s3"), f"files/{uuid.uuid4().hex}/a.txt"
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=deployed.bucket, Key=key, Body=b"x")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    written = s3.put_object(Bucket=deployed.bucket, Key=key, Body=b"x", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=deployed.bucket, Key=key, Body=b"y", IfNoneMatch="*")
    assert caught.value.response["Error"]["Code"] == "PreconditionFailed"
    s3.delete_object(Bucket=deployed.bucket, Key=key, VersionId=written["VersionId"])


def test_other_file_field_of_the_parameter_is_accepted(deployed: Deployed) -> None:
    (form,) = [way for way in deployed.send("GET", deployed.endpoint).json()["ways"] if way["name"] == "form"]
    others = [name for name in form["fields"] if name not in ("file", "files")]
    if not others:
        pytest.skip("the deployment has no FileFields")
    response = deployed.send("POST", deployed.endpoint, files={others[0]: ("a.txt", samples.TEXT)})
    assert response.status_code == 201, response.text


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_rejected(deployed: Deployed) -> None:
    if deployed.port:
        pytest.skip("only on AWS: the emulated AWS has no security policies")
    host = urlsplit(deployed.endpoint).hostname
    assert host
    assert handshake(host, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(OSError, match=r"(?i)ssl|reset|alert"):
            handshake(host, version)


def handshake(host: str, version: ssl.TLSVersion) -> str | None:
    """Connect with one version of TLS only, and return the version that both sides agree on."""
    context = ssl.create_default_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or OpenSSL itself would refuse old versions
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((host, 443), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=host) as secured,
    ):
        return secured.version()


def test_parameters_reach_the_deployed_resources(deployed: Deployed, emulated: Emulated) -> None:
    """The emulated AWS does not act on these. It leaves out the throttle (``RequestsPerSecond``, ``Burst``) as well."""
    promote = emulated.resources["PromoteFunction"]
    (mapping,) = deployed.aws("lambda").list_event_source_mappings(FunctionName=promote)["EventSourceMappings"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == int(emulated.parameters["PromotionConcurrency"])
    processed = deployed.aws("cloudformation").get_template(StackName=STACK, TemplateStage="Processed")["TemplateBody"]
    table, key, attribute = processed["Resources"]["Api"]["Properties"]["SecurityPolicy"]["Fn::FindInMap"]
    policy = processed["Mappings"][table][emulated.parameters[key["Ref"]]][attribute]
    assert policy.startswith(f"SecurityPolicy_TLS13_{emulated.parameters['MinimumTlsVersion'].replace('.', '_')}_")

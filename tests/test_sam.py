"""The artifact that `sam build` makes, behind real `sam local start-api`, storing in a strict S3."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest
import requests
import yaml

from handler.web.access import SCOPES
from handler.web.tokens import mint

from .support import samples
from .support.direct_client import MIB
from .support.lambda_runtime import SECRET
from .support.s3_events import object_created
from .support.sam import sam_local, start_api
from .support.template import FUNCTIONS, PATHS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.sam

ROOT = Path(__file__).parent.parent
ORIGIN = "https://example.com"


class Client(requests.Session):
    """A client that sends a token with each request, and notes the template's route of each request."""

    def __init__(self, api: str) -> None:
        super().__init__()
        self.headers["Authorization"] = f"Bearer {mint(SECRET, expires_seconds=600, scopes=SCOPES)}"
        self.routes: set[tuple[str, str]] = set()
        self.api = api

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:
        url = urljoin(self.api, str(url))
        self.routes.add((str(method).lower(), route_of(urlsplit(url).path)))
        return super().request(str(method), url, *args, **{"timeout": 60, **options})


def route_of(path: str) -> str:
    """Return the template's path of a request: the path with the fewest variables."""
    matching = [
        template_path
        for template_path in PATHS
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template_path)), path.rstrip("/") or "/")
    ]
    return min(matching, key=lambda template_path: template_path.count("{"))


@pytest.fixture
def client(sam_api: str) -> Client:
    return Client(sam_api)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_files_arrive_unchanged(sam_api: str, client: Client, strict_s3: S3Client, strict_bucket: str) -> None:
    png = samples.png(4_000_000)
    text = "Grüße aus 日本\n".encode()
    form = client.post("/upload", files={"file": ("photo.png", png)})
    body = client.put("/upload/Grüße 日本語.txt", data=text)
    for response, content in ((form, png), (body, text)):
        assert response.status_code == 201, response.text
        (file,) = response.json()["files"]
        assert file["sha256"] == sha256(content)
        kept = strict_s3.get_object(Bucket=strict_bucket, Key=f"files/{file['id']}/{file['name']}")
        assert sha256(kept["Body"].read()) == sha256(content)
        assert file["url"].startswith(sam_api), "the URL in the answer is one that works from outside"
        assert urlsplit(file["url"]).path == f"/files/{file['id']}/{file['name']}"
        assert sha256(requests.get(file["url"], timeout=60).content) == sha256(content)
        assert client.delete(file["url"]).status_code == 204
        assert requests.get(file["url"], timeout=60).status_code == 404
    assert "filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%E6%97%A5%E6%9C%AC%E8%AA%9E.txt" in kept["ContentDisposition"]


def test_responses_come_from_the_app(sam_api: str, client: Client) -> None:
    assert "<form" in requests.get(f"{sam_api}/", timeout=60).text
    assert requests.get(f"{sam_api}/upload", timeout=60).json()["max_request_bytes"] == 4 * 1024 * 1024
    for response, status in (
        (requests.get(f"{sam_api}/files/{'0' * 32}/a.txt", timeout=60), 404),
        (requests.put(f"{sam_api}/upload/a.txt", data=b"hello", timeout=60), 401),
        (client.put("/upload/a.exe", data=b"MZ"), 415),
        (client.put("/upload/a.txt", data=b"x" * (4 * 1024 * 1024 + 1)), 413),
    ):
        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["X-Request-Id"]
    # API Gateway answers unknown routes itself. On AWS, GatewayResponses replace this text. `sam local` ignores them.
    nothing = requests.get(f"{sam_api}/wp-login.php", timeout=60)
    assert (nothing.status_code, nothing.json()) == (403, {"message": "Missing Authentication Token"})


def request_every_path(client: Client) -> None:
    """Send a HEAD and a preflight to every path of the template, and requests for a file in a folder."""
    in_folder = f"/files/folder/{'0' * 32}/a.txt"
    assert [client.get(in_folder).status_code, client.delete(in_folder).status_code] == [404, 404]
    for path, methods in PATHS.items():
        address = re.sub(r"\{\w+\}", "x", path)
        if "head" in methods:
            assert client.head(address).status_code < 500
        fields = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        preflight = client.options(address, headers=fields)
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN


def upload_in_pieces(client: Client, prefix: str) -> None:
    """Upload a file as a tus client does, and end another upload."""
    tus = {"Tus-Resumable": "1.0.0"}
    fields = tus | {"Upload-Length": "5", "Upload-Metadata": "filename YS50eHQ="}
    ids = [client.post(prefix, headers=fields).headers["Location"].rpartition("/")[2] for _ in range(2)]
    unfinished, finished = (f"{prefix}/{upload_id}" for upload_id in ids)
    assert client.delete(unfinished, headers=tus).status_code == 204
    for offset, piece in (("0", b"he"), ("2", b"llo")):
        assert client.head(finished, headers=tus).headers["Upload-Offset"] == offset
        fields = tus | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": offset}
        sent = client.patch(finished, data=piece, headers=fields)
        assert sent.status_code in (201, 204), sent.text
    (file,) = client.get(finished).json()["files"]
    assert client.get(file["url"]).content == b"hello"


def upload_as_filepond(client: Client, prefix: str) -> None:
    """Upload a file as FilePond does, with its default URL of a piece."""
    fields = {"Upload-Length": "5"}
    begun = client.post(prefix, files={"filepond": (None, "{}")}, headers=fields)
    fields |= {"Content-Type": "application/offset+octet-stream", "Upload-Name": "a.txt"}
    for offset, piece, status in (("0", b"he", 204), ("2", b"llo", 201)):
        sent = client.patch(f"{prefix}?patch={begun.text}", data=piece, headers=fields | {"Upload-Offset": offset})
        assert sent.status_code == status, sent.text


def test_every_route_works(
    sam_options: list[str], client: Client, strict_s3: S3Client, strict_bucket: str, tmp_path: Path
) -> None:
    # Small files go through the function.
    page = client.get("/")
    for asset in re.findall(r'(?:href|src)="([^"#]*/static/[^"]+)"', page.text):
        assert client.get(asset).status_code == 200
    assert client.get("/health").json() == {"status": "ok"}
    assert "/upload" in client.get("/openapi.json").json()["paths"]
    assert "extensions" in client.get("/upload").json()
    token = mint(SECRET, expires_seconds=600)
    form = requests.post(
        f"{client.api}/upload",
        data={"token": token},
        files={"file": ("a.txt", b"hello")},
        headers={"Accept": "text/html"},
        timeout=60,
    )
    assert (form.status_code, form.headers["Content-Type"]) == (201, "text/html; charset=utf-8")
    url = client.post("/upload", files={"file": ("a.txt", b"hello")}).json()["url"]
    assert client.put("/upload/a.txt", data=b"hello").status_code == 201
    assert client.post("/upload/a.txt", data=b"hello").status_code == 201
    assert client.put("/upload", data=b"hello").status_code == 400
    with_token = f"/upload/t/{token}"
    assert "extensions" in client.get(with_token).json()
    assert client.post(with_token, files={"file": ("a.txt", b"hello")}).status_code == 201
    assert client.put(f"{with_token}?filename=a.txt", data=b"hello").status_code == 201
    for send in (client.post, client.put):
        assert send(f"{with_token}/a.txt", data=b"hello").status_code == 201
    assert client.get(url).content == b"hello"
    assert client.delete(url).status_code == 204

    # Large files go straight to the bucket, with a token in a header field or in the path, as Uppy sends it.
    png = samples.png(6 * MIB)
    for prefix in ("/upload/s3", f"/upload/t/{token}/s3"):
        begun = client.post(f"{prefix}/multipart", json={"filename": "large.png", "type": "image/png"}).json()
        address = f"{prefix}/multipart/{begun['uploadId']}"
        for number, part in enumerate((png[: 5 * MIB], png[5 * MIB :]), 1):
            sent = requests.put(client.get(f"{address}/{number}").json()["url"], data=part, timeout=60)
            assert (sent.status_code, bool(sent.headers["ETag"])) == (200, True)
        matching = client.get(address).json()
        assert [part["Size"] for part in matching] == [5 * MIB, len(png) - 5 * MIB]
        completed = client.post(f"{address}/complete", json={"parts": matching})
        assert completed.status_code == 200, completed.text
        assert client.get(f"/upload/{begun['id']}").json()["status"] == "stored"
        assert sha256(requests.get(completed.json()["location"], timeout=60).content) == sha256(png)

        begun = client.post(f"{prefix}/multipart", json={"filename": "large.png"}).json()
        assert client.delete(f"{prefix}/multipart/{begun['uploadId']}").json() == {}

        presigned = client.get(f"{prefix}/params", params={"filename": "a.txt", "type": "text/plain"}).json()
        sent = requests.post(presigned["url"], data=presigned["fields"], files={"file": b"hello"}, timeout=60)
        assert sent.status_code == 204, sent.text

    for prefix in ("/upload", with_token):
        upload_in_pieces(client, prefix)
        upload_as_filepond(client, prefix)

    # Of a form nobody says that it is done: S3 does, and EventBridge calls the other function.
    event = tmp_path / "event.json"
    event.write_text(json.dumps(object_created(strict_bucket, f"incoming/{presigned['id']}")))
    subprocess.run(
        [*sam_local("invoke"), "PromoteFunction", "--event", str(event), *sam_options],
        env=os.environ | {"UPLOAD_BUCKET": strict_bucket},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    # Before anyone asks, since asking would judge as well.
    (stored,) = strict_s3.list_objects_v2(Bucket=strict_bucket, Prefix=f"files/{presigned['id']}/")["Contents"]
    assert stored["Size"] == len(b"hello")
    assert client.get(presigned["status"]).json()["file"]["sha256"] == hashlib.sha256(b"hello").hexdigest()

    assert f"/{presigned['id']}/" in client.get("/files").text

    request_every_path(client)
    expected = {(method, path) for path, methods in PATHS.items() for method in methods}
    assert client.routes == expected


def test_sam_local_works_without_aws(sam_artifact: Path, tmp_path: Path) -> None:
    with start_api(
        "--template", str(sam_artifact), "--config-file", str(ROOT / "samconfig.toml"), log=tmp_path / "sam.log"
    ) as url:
        response = requests.post(f"{url}/upload", files={"file": ("a.txt", b"hello")}, timeout=60)
        assert response.status_code == 201, response.text
        assert requests.get(response.json()["url"], timeout=60).content == b"hello"
        ways = requests.get(f"{url}/upload", timeout=60).json()["ways"]
        assert [way["name"] for way in ways] == ["form", "body"]


def test_artifact_has_only_the_required_files(sam_artifact: Path) -> None:
    required = {"blinker", "click", "flask", "itsdangerous", "jinja2", "jwt", "markupsafe", "pybase64", "werkzeug"}
    for name in FUNCTIONS:
        function = sam_artifact.parent / name
        built = {path.name for path in function.iterdir() if not path.name.endswith(".dist-info")}
        assert built - {"__pycache__"} == required | {"awsgi", "handler"}
        bytecode = {"__pycache__"}
        shipped = {path.name for path in (function / "handler").iterdir()} - bytecode
        ours = {path.name for path in (ROOT / "handler").iterdir()} - bytecode
        assert shipped == ours - {"Makefile", "__main__.py", "local"}
        assert not {"debug", "middleware"} & {path.name for path in (function / "werkzeug").iterdir()}
        # One artifact is good for both values of the parameter Architecture.
        assert {path.name.split("-")[2] for path in function.rglob("*.so")} == {"x86_64", "aarch64"}


def test_artifact_is_compiled_for_the_runtime(sam_artifact: Path) -> None:
    sam_local("start-api")  # where there is an engine, there is the runtime's Python
    for name in FUNCTIONS:
        for source in (sam_artifact.parent / name).rglob("*.py"):
            compiled = (source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc").read_bytes()
            assert compiled[4:8] == b"\x01\0\0\0", source  # never held against its source (PEP 552)
            assert b"/var/task/" in compiled, source  # the path that a traceback names


def test_yaml_aliases_are_written_out(sam_artifact: Path) -> None:
    # CloudFormation does not know them (AWS: "CloudFormation template formats").
    source, built = (ROOT / "template.yaml").read_text(), sam_artifact.read_text()
    alias = re.compile(r" [*&]\w+$", re.MULTILINE)
    assert alias.search(source)
    assert not alias.search(built)
    paths = yaml.safe_load(built)["Resources"]["Api"]["Properties"]["DefinitionBody"]["paths"]
    assert {path: set(methods) for path, methods in paths.items()} == {path: set(PATHS[path]) for path in PATHS}

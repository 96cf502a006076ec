"""Uppy from npm in a real browser: its uploads arrive, even after interruptions.

A page of another origin uploads to the local server, over a folder and over a strict S3. Between them stand gates,
which hold the bytes in the middle of a file for as long as a test needs. ``make browser`` brings Playwright and Uppy.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from handler.web.tokens import mint

from ..support import samples
from ..support.gate import Gate
from ..support.page_server import PageHandler, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client
    from playwright.sync_api import Browser, Page, Request, Route

pytest.importorskip("playwright.sync_api", reason="playwright is not installed; make browser brings it")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
UPPY = ROOT / ".npm" / "node_modules" / "uppy" / "dist" / "uppy.min.mjs"
MIB = 1024 * 1024
PART_BYTES = 6 * MIB
LARGE = samples.png(60_000_000)
PARTS = 10
HELD_BYTES = 27 * MIB
"""In the middle of the fifth part."""
PAGE_IN_A_PICTURE = b"<html><script>alert(1)</script></html>" * 200_000
FILES = {
    "large.png": LARGE,
    "page.png": PAGE_IN_A_PICTURE,
    "small page.png": PAGE_IN_A_PICTURE[:1000],
    "setup.exe": b"MZ",
}
SECRET = "no secret but long enough to pass for one"
NEW_SECRET = "another one since the first one is out by now"


class PageServer(PageHandler):
    """Another web site, whose page uploads."""

    def answer(self, path: str) -> None:
        name = path.removeprefix("/files/")
        if path == "/":
            self.send("text/html", Path(__file__).with_name("uppy.html").read_bytes())
        elif path == "/uppy.min.mjs":
            self.send("text/javascript", UPPY.read_bytes())
        elif name in FILES:
            self.send("application/octet-stream", FILES[name])
        else:
            self.send_error(404)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The page's origin."""
    if not UPPY.is_file():
        pytest.skip(f"{UPPY.relative_to(ROOT)} is missing; make browser brings it with npm")
    with serve(PageServer) as origin:
        yield origin


@dataclass
class Endpoint:
    """A local server, behind a gate.

    :param environ: its settings.
    :param front: between the browser and the server.
    :param storage: between the browser and the storage.
    """

    environ: dict[str, str]
    front: Gate = field(default_factory=lambda: Gate(0))
    storage: Gate = field(init=False)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.storage = self.front
        if s3 := self.environ.get("AWS_ENDPOINT_URL_S3"):
            self.storage = Gate(urlsplit(s3).port or 80)
            self.environ["AWS_ENDPOINT_URL_S3"] = self.storage.url

    @property
    def url(self) -> str:
        return f"{self.front.url}/upload"

    def start(self, **environ: str) -> None:
        """Start a server, which takes the place of one that was stopped."""
        self.environ |= environ
        command = [sys.executable, "-m", "handler", "--port", "0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | self.environ
        )
        assert self.process.stdout
        greeting = self.process.stdout.readline()
        while greeting.startswith("handler: warning: "):
            greeting = self.process.stdout.readline()
        port = re.search(r":(\d+)", greeting)
        assert port, greeting + self.process.communicate()[0]
        self.front.open(int(port[1]))

    def stop(self) -> None:
        """As a power cut does; browsers wait at the gate."""
        assert self.process
        self.front.shut()
        self.process.kill()
        print(self.process.communicate()[0])

    def status(self, file_id: str) -> dict[str, Any]:
        status: dict[str, Any] = requests.get(f"{self.url}/{file_id}", timeout=60).json()
        return status


@pytest.fixture(params=["folder", "strict_s3"])
def kind(request: pytest.FixtureRequest) -> str:
    """A browser cannot reach moto, which is within this process."""
    kind: str = request.param
    return kind


@pytest.fixture
def endpoint(kind: str, destination: dict[str, str], site: str, request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    environ = destination | {"ALLOWED_ORIGINS": site}
    if kind == "strict_s3":
        client: S3Client = request.getfixturevalue("strict_s3")
        environ["AWS_ENDPOINT_URL_S3"] = client.meta.endpoint_url
        client.put_bucket_cors(
            Bucket=destination["UPLOAD_BUCKET"],
            CORSConfiguration={
                "CORSRules": [
                    # No header fields: Uppy sends none that would need to be allowed.
                    {"AllowedOrigins": ["*"], "AllowedMethods": ["PUT", "POST"], "ExposeHeaders": ["ETag"]}
                ]
            },
        )
    endpoint = Endpoint(environ)
    endpoint.start()
    yield endpoint
    endpoint.stop()
    endpoint.front.close()
    endpoint.storage.close()


@pytest.fixture
def left_over(
    kind: str, destination: dict[str, str], stored_keys: Callable[[], list[str]], request: pytest.FixtureRequest
) -> Callable[[], list[str]]:
    """Lists the leftovers of uploads that failed."""

    def keys() -> list[str]:
        left = [key for key in stored_keys() if not key.startswith("secret")]
        if kind == "folder":
            return left
        client: S3Client = request.getfixturevalue("strict_s3")
        versions = client.list_object_versions(Bucket=destination["UPLOAD_BUCKET"], Prefix="incoming/")
        uploads = client.list_multipart_uploads(Bucket=destination["UPLOAD_BUCKET"])
        return [*left, *(item["Key"] for item in [*versions.get("Versions", []), *uploads.get("Uploads", [])])]

    return keys


@dataclass
class Uppy:
    """Uppy in a page.

    :param heard: the requests of the page to the endpoint and to the storage, except preflights.
    """

    page: Page
    heard: list[Request] = field(default_factory=list)

    def requests(self, method: str) -> list[str]:
        """Return the URLs of all requests so far."""
        self.page.evaluate("() => 0")  # Playwright listens only while it is asked something
        return [heard.url for heard in self.heard if heard.method == method]

    def make(self, endpoint: str, *, part_bytes: int | None = None, declared: bool = False) -> None:
        """With the options that the README recommends, if a part's size is given; else with its own."""
        self.page.evaluate("(options) => make(...options)", [endpoint, part_bytes, declared])

    def add(self, name: str, media_type: str = "image/png") -> None:
        self.page.evaluate("(file) => add(...file)", [name, media_type])

    def begin(self) -> None:
        self.page.evaluate("() => begin()")

    def retry(self) -> None:
        self.page.evaluate("() => retry()")

    def renew(self, endpoint: str) -> None:
        """``setOptions`` would not do: Uppy reads the endpoint when the plugin is added."""
        self.page.evaluate("(endpoint) => renew(endpoint)", endpoint)

    def ask(self, url: str) -> dict[str, Any]:
        """Return the status of an upload, as the page reads it."""
        status: dict[str, Any] = self.page.evaluate("(url) => ask(url)", url)
        return status

    def form_status_url(self) -> str:
        """The status URL of the form that was sent last."""
        (request,) = [heard for heard in self.heard if urlsplit(heard.url).path.endswith("/s3/params")]
        response = request.response()
        assert response
        url: str = response.json()["status"]
        return url

    def report(self, endpoint: str) -> Any:
        """The result of the README's handler of ``upload-success``: a file's URL, or the endpoint's answer."""
        return self.page.evaluate("(endpoint) => report(endpoint)", endpoint)

    def result(self) -> dict[str, Any]:
        """Wait for Uppy's result, and return it."""
        result: dict[str, Any] = self.page.evaluate("() => inTime(result)")
        return result

    def stored(self) -> dict[str, Any]:
        """Return Uppy's result for the only file, which must be uploaded."""
        result = self.result()
        assert result["failed"] == []
        (file,) = result["successful"]
        return dict(file)

    def failed(self) -> dict[str, Any]:
        """Return Uppy's result for the only file, which must have failed."""
        result = self.result()
        assert result["successful"] == []
        (file,) = result["failed"]
        return dict(file)

    def parts_asked_for(self) -> list[int]:
        paths = [urlsplit(url).path for url in self.requests("GET")]
        return [int(match[1]) for path in paths if (match := re.search(r"/s3/multipart/[^/]+/(\d+)$", path))]


@pytest.fixture
def uppy(browser: Browser, site: str) -> Iterator[Uppy]:
    faults: list[str] = []
    page = browser.new_page()
    uppy = Uppy(page)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(site) else uppy.heard.append(request))
    page.goto(site)
    page.wait_for_function("() => window.ready")
    yield uppy
    page.close()
    assert faults == []


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def id_of(file: dict[str, Any]) -> str:
    """The id that is in the key, where the README says that it is."""
    file_id: str = file["body"]["key"].removeprefix("incoming/")
    return file_id


def check_stored(endpoint: Endpoint, url: str) -> None:
    response = requests.get(url, timeout=60)
    assert response.status_code == 200
    assert sha256(response.content) == sha256(LARGE)
    file_id = urlsplit(url).path.split("/")[2]
    assert endpoint.status(file_id) == {"id": file_id, "status": "stored"}


def check_progress(uppy: Uppy) -> int:
    """It never went back, and came to its end.

    :returns: how many bytes Uppy says it sent.
    """
    # Uppy reports its progress at most twice a second, so perhaps a moment after the result.
    uppy.page.wait_for_function("() => progress.percent.at(-1) === 100")
    progress = uppy.page.evaluate("() => progress")
    assert progress["errors"] == []
    assert progress["bytes"] == sorted(progress["bytes"])
    assert progress["percent"] == sorted(progress["percent"])
    assert progress["percent"][-1] == 100
    sent: int = progress["bytes"][-1]
    return sent


def test_default_options_send_one_form(endpoint: Endpoint, uppy: Uppy) -> None:
    uppy.make(endpoint.url)
    uppy.add("large.png")
    uppy.begin()
    file = uppy.stored()
    assert len(uppy.requests("POST")) == 1
    assert uppy.requests("PUT") == []
    status = uppy.ask(uppy.form_status_url())  # which Uppy keeps to itself; on AWS the event has it judged
    assert status["id"] == id_of(file)
    assert uppy.report(endpoint.url) == {"id": id_of(file), "status": "stored"}
    check_stored(endpoint, status["file"]["url"])
    assert check_progress(uppy) > len(LARGE)  # with the form around it


def test_options_of_the_readme_store_a_large_file(
    endpoint: Endpoint, uppy: Uppy, left_over: Callable[[], list[str]]
) -> None:
    uppy.make(endpoint.url, part_bytes=25_000_000, declared=True)
    uppy.add("large.png")
    endpoint.storage.hold_after(30 * MIB)
    uppy.begin()
    endpoint.storage.wait()
    assert uppy.parts_asked_for() == [1, 2]
    for url in uppy.requests("PUT"):
        assert requests.put(url, data=b"not as long as was agreed", timeout=60).status_code == 403
    endpoint.storage.release()
    file = uppy.stored()
    assert uppy.parts_asked_for() == [1, 2, 3]
    check_stored(endpoint, file["uploadURL"])
    assert uppy.report(endpoint.url) == file["uploadURL"] == file["body"]["location"]
    assert check_progress(uppy) == len(LARGE)
    assert [key for key in left_over() if not key.startswith(("files/", "metadata/", "judged/"))] == []


def test_token_in_the_path_is_accepted(endpoint: Endpoint, uppy: Uppy) -> None:
    endpoint.stop()
    endpoint.start(TOKEN_SECRET=SECRET)
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("large.png")
    uppy.begin()
    assert uppy.failed() == {"error": "Companion request failed: UNAUTHORIZED", "uploadId": None}
    uppy.renew(f"{endpoint.url}/t/{mint(SECRET, expires_seconds=600)}")
    uppy.retry()
    check_stored(endpoint, uppy.stored()["uploadURL"])


def test_token_that_expires_in_the_middle_is_renewed(endpoint: Endpoint, uppy: Uppy) -> None:
    endpoint.stop()
    endpoint.start(TOKEN_SECRET=SECRET)
    uppy.make(f"{endpoint.url}/t/{mint(SECRET, expires_seconds=600)}", part_bytes=PART_BYTES)
    uppy.add("large.png")
    endpoint.storage.hold_after(HELD_BYTES)
    uppy.begin()
    endpoint.storage.wait()
    endpoint.stop()
    endpoint.start(TOKEN_SECRET=NEW_SECRET)  # sooner than any token expires
    endpoint.storage.release()
    assert uppy.failed()["error"] == "Companion request failed: UNAUTHORIZED"
    uppy.renew(f"{endpoint.url}/t/{mint(NEW_SECRET, expires_seconds=600)}")
    uppy.retry()
    check_stored(endpoint, uppy.stored()["uploadURL"])
    asked = uppy.parts_asked_for()
    assert sorted(set(asked)) == list(range(1, PARTS + 1))
    assert len(asked) <= PARTS + 1  # no part was sent twice


@pytest.mark.parametrize("interruption", ["cut", "restart", "offline", "pause"])
def test_interrupted_upload_is_resumed(endpoint: Endpoint, uppy: Uppy, interruption: str) -> None:
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("large.png")
    endpoint.storage.hold_after(HELD_BYTES)
    uppy.begin()
    endpoint.storage.wait()
    match interruption:
        case "cut":  # the part is sent again, to the same URL
            endpoint.storage.cut()
        case "restart":
            endpoint.stop()
            endpoint.start()
            endpoint.storage.cut()
        case "offline":
            uppy.page.context.set_offline(True)  # for all that is not under way
            endpoint.storage.cut()
            assert uppy.failed()["uploadId"]
            uppy.page.context.set_offline(False)
            uppy.retry()
        case "pause":
            uppy.page.evaluate("() => uppy.pauseAll()")
            endpoint.storage.release()
            uppy.page.evaluate("() => uppy.resumeAll()")
    check_stored(endpoint, uppy.stored()["uploadURL"])
    asked = uppy.parts_asked_for()
    # Whether the part in the middle has to be sent again is not for us to say: buffers may hold the rest of it, and
    # Chromium by itself repeats a request on another connection than one that was used before.
    assert sorted(set(asked)) == list(range(1, PARTS + 1))
    assert len(asked) <= PARTS + 1
    listed = [url for url in uppy.requests("GET") if re.search(r"/s3/multipart/[^/]+$", urlsplit(url).path)]
    assert len(listed) == (interruption in ("offline", "pause"))


def test_file_is_stored_although_the_response_was_lost(endpoint: Endpoint, uppy: Uppy) -> None:
    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    uppy.page.route("**/complete?*", lose_the_answer)
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("large.png")
    uppy.begin()
    status = uppy.ask(f"{endpoint.url}/{uppy.failed()['uploadId']}")
    check_stored(endpoint, status["file"]["url"])


def test_cancelled_upload_leaves_nothing(endpoint: Endpoint, uppy: Uppy, left_over: Callable[[], list[str]]) -> None:
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("large.png")
    endpoint.storage.hold_after(HELD_BYTES)
    uppy.begin()
    endpoint.storage.wait()
    assert left_over()
    with uppy.page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        uppy.page.evaluate("() => uppy.cancelAll()")
    assert deleted.value.status == 200
    endpoint.storage.release()
    # The server deletes a part that it receives only when it sees that the connection has ended.
    end = time.monotonic() + 30
    while left_over() and time.monotonic() < end:
        time.sleep(0.1)
    assert left_over() == []


def test_type_that_is_not_allowed_is_refused_at_once(endpoint: Endpoint, uppy: Uppy) -> None:
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("setup.exe", "application/octet-stream")
    uppy.begin()
    assert uppy.failed() == {"error": "Companion request failed: UNSUPPORTED MEDIA TYPE", "uploadId": None}


def test_refused_content_is_an_error_with_a_reason(endpoint: Endpoint, uppy: Uppy) -> None:
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("page.png")
    uppy.begin()
    failed = uppy.failed()
    assert uppy.page.evaluate("() => progress.errors") == [failed["error"]]
    assert failed["error"] == "Companion request failed: UNPROCESSABLE ENTITY"
    status = uppy.ask(f"{endpoint.url}/{failed['uploadId']}")
    assert status["status"] == "refused"
    assert "'page.png'" in status["problem"]["detail"]


def test_refused_small_file_has_a_status(endpoint: Endpoint, uppy: Uppy) -> None:
    """Uppy's bundle has an aws-s3 before 6.2.1. It never sends a file of up to 5 MiB in parts, even if
    ``shouldUseMultipart`` returns true. Later versions do, and end as in the test above."""
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("small page.png")
    uppy.begin()
    uppy.stored()
    status = uppy.ask(uppy.form_status_url())
    assert status["status"] == "refused"
    assert "'small page.png'" in status["problem"]["detail"]
    assert uppy.report(endpoint.url)["status"] == 404


def test_file_that_is_still_being_copied_has_a_status_url(endpoint: Endpoint, uppy: Uppy) -> None:
    """As on AWS for more than 2 GiB."""

    def answer_later(route: Route) -> None:
        response = route.fetch()
        status = route.request.url.partition("?")[0].removesuffix("/complete").replace("/s3/multipart", "")
        answer = {"message": "x", "location": status, "key": response.json()["key"], "status": status}
        route.fulfill(response=response, status=202, json=answer)

    uppy.page.route("**/complete?*", answer_later)
    uppy.make(endpoint.url, part_bytes=PART_BYTES)
    uppy.add("large.png")
    uppy.begin()
    uppy.stored()
    status = uppy.report(endpoint.url)
    assert status["status"] == "stored"
    check_stored(endpoint, status["file"]["url"])

"""The page below a stage, in front of a bucket, and in the built artifact; stored files in other pages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_server

from handler.web.tokens import mint

from ...support.lambda_runtime import SECRET
from ...support.template import RESOURCES
from .steps import (
    LARGE,
    PNG,
    choose,
    expect_state,
    large,
    named,
    recorded,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client
    from playwright.sync_api import BrowserContext, Page, Route

pytestmark = pytest.mark.browser

LOAD = """async (url) => {
  const script = document.createElement("script");
  script.src = url;
  await new Promise((done) => {
    script.onload = script.onerror = done;
    document.head.append(script);
  });
  return Boolean(window.ran);
}"""

READ = """async (url) => {
  const response = await fetch(url, {headers: {Range: "bytes=1-3"}});
  const names = ["Content-Disposition", "Content-Range", "ETag"];
  return [response.status, await response.text(), ...names.map((name) => response.headers.get(name))];
}"""


def test_below_a_stage(page: Page, serve: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    url = serve("/live")
    for address in (url, f"{url}/"):
        page.goto(address)
        requests = recorded(page)
        choose(page, named("a.png", PNG))
        expect_state(page, "a.png", "stored")
    choose(page, large(tmp_path))
    expect_state(page, "large.png", "stored")
    assert stored(folder) == {"a.png": PNG, "large.png": LARGE}
    assert {request.url.startswith(f"{url}/") for request in requests} == {True}


def let_browsers_send(client: S3Client, bucket: str) -> None:
    rule: Any = {"AllowedOrigins": ["*"], "AllowedMethods": ["PUT", "POST"], "ExposeHeaders": ["ETag"]}
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})


def sizes_in(client: S3Client, bucket: str) -> dict[str, int]:
    listed = client.list_objects_v2(Bucket=bucket, Prefix="files/")["Contents"]
    return {each["Key"].rpartition("/")[2]: each["Size"] for each in listed}


@pytest.mark.strict_s3
def test_large_files_go_to_the_bucket_and_no_token_with_them(
    page: Page, serve: Callable[..., str], strict_s3: S3Client, strict_bucket: str, tmp_path: Path
) -> None:
    let_browsers_send(strict_s3, strict_bucket)
    page.goto(f"{serve(UPLOAD_BUCKET=strict_bucket, TOKEN_SECRET=SECRET)}/#token={mint(SECRET, expires_seconds=600)}")
    requests = recorded(page)
    failures = [503]

    def busy_once(route: Route) -> None:
        if failures and route.request.method == "PUT":
            route.fulfill(status=failures.pop(), headers={"Access-Control-Allow-Origin": "*"})
        else:
            route.continue_()

    endpoint = strict_s3.meta.endpoint_url
    page.route(f"{endpoint}/**", busy_once)
    choose(page, large(tmp_path))
    choose(page, named("small.png", PNG))
    expect_state(page, "large.png", "stored")
    expect_state(page, "small.png", "stored")
    assert sizes_in(strict_s3, strict_bucket) == {"large.png": len(LARGE), "small.png": len(PNG)}
    puts = [request for request in requests if request.method == "PUT"]
    assert failures == []
    assert len(puts) == 4
    for request in puts:
        assert request.url.startswith(endpoint)
        assert not {"authorization", "content-type"} & set(request.all_headers())


@pytest.fixture
def another_site() -> Iterator[str]:
    """The URL of an empty page: `localhost` is another site than `127.0.0.1`."""

    def empty(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "15")])
        return [b"<!doctype html>"]

    server = make_server("127.0.0.1", 0, empty, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.strict_s3)])
def test_a_stored_text_does_not_run_in_the_page_of_another_site(
    context: BrowserContext,
    serve: Callable[..., str],
    another_site: str,
    request: pytest.FixtureRequest,
    where: str,
) -> None:
    page = context.new_page()
    environ = {"UPLOAD_BUCKET": request.getfixturevalue("strict_bucket")} if where == "bucket" else {}
    url = serve(ALLOWED_EXTENSIONS="txt md json", ACCESS="public", **environ)
    page.goto(another_site)
    for name, content in (("a.txt", b"ran = 1"), ("a.md", b"ran = 1")):
        stored = page.request.post(f"{url}/upload", multipart={"file": named(name, content, "text/plain")}).json()
        assert page.evaluate(LOAD, stored["url"]) is False
        assert page.request.get(stored["url"]).body() == content


def let_browsers_do_as_in_the_template(client: S3Client, bucket: str) -> None:
    (rule,) = RESOURCES["UploadBucket"]["Properties"]["CorsConfiguration"]["CorsRules"]
    renamed: Any = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds"}
    rules: Any = [{renamed.get(name, name): value for name, value in rule.items()}]
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.strict_s3)])
def test_script_of_an_allowed_site_reads_a_file(
    context: BrowserContext,
    serve: Callable[..., str],
    another_site: str,
    request: pytest.FixtureRequest,
    where: str,
) -> None:
    environ = {}
    if where == "bucket":
        environ["UPLOAD_BUCKET"] = request.getfixturevalue("strict_bucket")
        let_browsers_do_as_in_the_template(request.getfixturevalue("strict_s3"), environ["UPLOAD_BUCKET"])
    page = context.new_page()
    url = serve(ACCESS="public", ALLOWED_ORIGINS=another_site.rstrip("/"), **environ)
    page.goto(another_site)
    stored = page.request.post(f"{url}/upload", multipart={"file": named("a.txt", b"hello", "text/plain")}).json()
    status, text, disposition, content_range, etag = page.evaluate(READ, stored["url"])
    assert (status, text) == (206, "ell")
    assert disposition == 'attachment; filename="a.txt"'
    assert content_range == "bytes 1-3/5"
    assert etag


@pytest.mark.sam
@pytest.mark.strict_s3
def test_the_built_artifact_under_sam_local(
    page: Page,
    sam_api: str,
    strict_s3: S3Client,
    strict_bucket: str,
    tmp_path: Path,
) -> None:
    let_browsers_send(strict_s3, strict_bucket)
    page.set_default_timeout(120_000)  # a container for each request
    page.goto(f"{sam_api}/#token={mint(SECRET, expires_seconds=600)}")
    choose(page, named("small.png", PNG))
    expect_state(page, "small.png", "stored")
    link = page.get_by_role("link", name="small.png").get_attribute("href") or ""
    assert link.startswith(f"{sam_api}/files/")
    choose(page, large(tmp_path))
    expect_state(page, "large.png", "stored")
    assert sizes_in(strict_s3, strict_bucket) == {"large.png": len(LARGE), "small.png": len(PNG)}

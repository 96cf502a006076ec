"""The Flask app and the Express app: their users upload, hand over receipts, list and delete files."""

from __future__ import annotations

import html
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests

from ..clients.samples import FAKE, PHOTO
from .processes import commands, copy_with_packages, free_ports, python_lines, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

SECONDS = 60
"""How long anything may take that a test waits for."""


@dataclass(frozen=True)
class Site:
    """An example that runs, with its endpoint.

    :param url: the URL of the application.
    :param endpoint: the URL of ``/upload``.
    :param folder: the folder of the endpoint.
    """

    example: str
    url: str
    endpoint: str
    folder: Path

    def sign_in(self, name: str) -> User:
        session = requests.Session()
        response = session.post(f"{self.url}/login", {"name": name, "password": name}, timeout=SECONDS)
        assert response.ok
        return User(self, session)


@dataclass(frozen=True)
class User:
    """A user who has signed in."""

    site: Site
    session: requests.Session

    def post(self, path: str, data: str = "") -> requests.Response:
        return self.session.post(f"{self.site.url}{path}", data, timeout=SECONDS)

    def token(self) -> str:
        token: str = self.post("/upload-token").json()["token"]
        return token

    def upload(self, album: str) -> dict[str, Any]:
        """Upload a photo as the page does, and return the entry of the response."""
        response = requests.post(
            self.site.endpoint,
            {"album": album},
            files={"file": (PHOTO["name"], PHOTO["buffer"])},
            headers={"Authorization": f"Bearer {self.token()}"},
            timeout=SECONDS,
        )
        assert response.status_code == 201, response.text
        entry: dict[str, Any] = response.json()["files"][0]
        return entry

    def listed(self) -> dict[str, str]:
        """Return the albums of the listed files, by URL. A file that the application has not heard of has none."""
        if self.site.example == "express_app":
            files = self.session.get(f"{self.site.url}/files", timeout=SECONDS).json()
            return {file["url"]: file.get("fields", {}).get("album", "") for file in files}
        page = self.session.get(self.site.url, timeout=SECONDS).text
        rows = re.findall(r'<img src="([^"]+)".*?</li>', page, re.DOTALL)
        albums = [re.search(r"in the album (.*)", row) for row in re.findall(r"<li>.*?</li>", page, re.DOTALL)]
        return {html.unescape(url): album[1] if album else "" for url, album in zip(rows, albums, strict=True)}

    def delete(self, file_id: str) -> int:
        """Delete a file, and return the status."""
        if self.site.example == "express_app":
            return self.session.delete(f"{self.site.url}/files/{file_id}", timeout=SECONDS).status_code
        return self.post(f"/delete/{file_id}").status_code

    def wait_for_album(self, url: str) -> str:
        """Wait until the application knows a file, and return its album."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if album := self.listed().get(url):
                return album
            time.sleep(0.1)
        raise AssertionError(f"the application does not know {url}")


@pytest.fixture(scope="module", params=["flask_app", pytest.param("express_app", marks=pytest.mark.clients)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    example, folder = request.param, tmp_path_factory.mktemp("site")
    own_port, endpoint_port = free_ports(2)
    endpoint = f"http://127.0.0.1:{endpoint_port}/upload"
    program = f"docs/examples/{example}/"
    if example == "flask_app":
        documented_port = "5000"
        start = {f"python {program}": f"DATABASE={folder}/files.sqlite3 {sys.executable} {program}"}
    else:
        documented_port = "3000"
        start = {program: f"{copy_with_packages(example, folder)}/"}
    url = f"http://127.0.0.1:{own_port}"
    with run(
        f"export ENDPOINT={endpoint} PORT={own_port}\n{commands(example)}",
        log=folder / "log",
        replacements={f"127.0.0.1:{documented_port}": f"127.0.0.1:{own_port}"}
        | python_lines(endpoint_port, folder / "uploads")
        | start,
        waits_for=[endpoint, url],
    ):
        yield Site(example, url, endpoint, folder / "uploads")


@pytest.fixture(scope="module")
def ann(site: Site) -> User:
    return site.sign_in("ann")


@pytest.fixture(scope="module")
def bob(site: Site) -> User:
    return site.sign_in("bob")


def test_file_is_known_by_its_receipt(ann: User) -> None:
    entry = ann.upload("Summer & sea")
    assert ann.post("/receipts", entry["receipt"]).status_code == 204
    assert ann.post("/receipts", entry["receipt"]).status_code == 204
    assert html.unescape(ann.listed()[entry["url"]]) == "Summer & sea"


def test_file_is_known_by_its_webhook(ann: User) -> None:
    """The page never comes back with the receipt."""
    entry = ann.upload("Winter")
    assert ann.wait_for_album(entry["url"]) == "Winter"


def test_files_lie_in_the_folder_of_their_user(ann: User, bob: User) -> None:
    own, other = ann.upload("a"), bob.upload("b")
    assert {entry["id"] for entry in (own, other)} <= {path.name for path in ann.site.folder.glob("files/*/*")}
    assert (ann.site.folder / "files" / "ann" / own["id"]).is_dir()
    assert own["meta"] == {"plan": "free"}
    assert own["url"] in ann.listed()
    assert other["url"] not in ann.listed()
    assert own["url"] not in bob.listed()


def test_stored_picture_is_shown_inline(ann: User) -> None:
    if ann.site.example == "express_app":
        pytest.skip("the Express app has no page")
    response = requests.get(ann.upload("a")["url"], timeout=SECONDS)
    assert response.content == PHOTO["buffer"]
    assert response.headers["Content-Disposition"].startswith("inline")


@pytest.mark.clients
def test_page_uploads_and_shows_the_picture(site: Site, browser: Browser) -> None:
    if site.example == "express_app":
        pytest.skip("the Express app has no page")
    page = browser.new_page()
    page.goto(site.url)
    page.get_by_label("Name").fill("bob")
    page.get_by_label("Password").fill("bob")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Album").fill("<b>Summer</b>")
    page.set_input_files("input[type=file]", [FAKE])
    page.get_by_role("button", name="Upload").click()
    page.get_by_text("is not a PNG image").wait_for()
    page.set_input_files("input[type=file]", [PHOTO])
    page.get_by_role("button", name="Upload").click()
    row = page.get_by_role("listitem").filter(has_text="in the album <b>Summer</b>")
    row.wait_for()
    assert row.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 320
    row.get_by_role("button", name="Delete").click()
    row.wait_for(state="detached")
    page.close()


def test_files_are_deleted_by_their_user_only(ann: User, bob: User) -> None:
    entry = ann.upload("a")
    ann.wait_for_album(entry["url"])
    assert bob.delete(entry["id"]) == 404
    assert requests.get(entry["url"], timeout=SECONDS).status_code == 200
    assert ann.delete(entry["id"]) in (200, 204)
    assert requests.get(entry["url"], timeout=SECONDS).status_code == 404
    assert entry["url"] not in ann.listed()


def test_foreign_and_forged_receipts_are_refused(ann: User, bob: User) -> None:
    receipt = ann.upload("a")["receipt"]
    assert bob.post("/receipts", receipt).status_code == 403
    assert ann.post("/receipts", ann.token()).status_code == 400
    assert ann.post("/receipts", receipt[:-4] + "AAAA").status_code == 400
    assert ann.post("/receipts").status_code == 400


def test_receipt_is_not_an_upload_token(ann: User) -> None:
    headers = {"Authorization": f"Bearer {ann.upload('a')['receipt']}"}
    response = requests.post(ann.site.endpoint, files={"file": ("a.txt", b"hello")}, headers=headers, timeout=SECONDS)
    assert response.status_code == 401


@pytest.mark.parametrize("signature", [None, "", "v1", "v1,", "v1,x", "v1,AAAA", "nothing", "v1a,AAAA v1,AAAA"])
def test_forged_webhook_is_refused(site: Site, signature: str | None) -> None:
    headers = {"webhook-id": "1", "webhook-timestamp": str(int(time.time()))}
    if signature is not None:
        headers["webhook-signature"] = signature
    event: Any = {"type": "file.stored", "data": {"id": "0" * 32, "subject": "ann", "url": site.url, "fields": {}}}
    response = requests.post(f"{site.url}/webhook", json=event, headers=headers, timeout=SECONDS)
    assert response.status_code == 401


def test_refused_file_is_not_listed(ann: User) -> None:
    before = ann.listed()
    headers = {"Authorization": f"Bearer {ann.token()}"}
    files = {"file": (FAKE["name"], FAKE["buffer"])}
    response = requests.post(ann.site.endpoint, files=files, headers=headers, timeout=SECONDS)
    assert response.status_code == 422
    assert "receipt" not in response.text
    assert ann.listed().keys() == before.keys()


@pytest.mark.parametrize("path", ["/upload-token", "/receipts"])
def test_visitors_have_no_token(site: Site, path: str) -> None:
    assert requests.post(f"{site.url}{path}", timeout=SECONDS).status_code in (400, 401)
    login = {"name": "ann", "password": "bob"}
    assert requests.post(f"{site.url}/login", login, timeout=SECONDS).status_code == 401

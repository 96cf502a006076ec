"""Lists, expiry and inline files of the deployed stack."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ..support import samples
from .conftest import Deployed, Emulated, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.deployed


def put(deployed: Deployed, name: str = "a.txt", content: bytes = samples.TEXT) -> dict[str, Any]:
    response = deployed.send("PUT", f"{deployed.endpoint}/{name}", data=content)
    assert response.status_code == 201, response.text
    (entry,) = response.json()["files"]
    return dict(entry)


def all_files(deployed: Deployed, **query: str) -> dict[str, dict[str, Any]]:
    """Return the entries of a list by id, page by page."""
    files: dict[str, dict[str, Any]] = {}
    while True:
        response = deployed.send("GET", f"{deployed.root}files", params=query)
        assert response.status_code == 200, response.text
        files |= {entry["id"]: entry for entry in response.json()["files"]}
        if "cursor" not in response.json():
            return files
        query["cursor"] = response.json()["cursor"]


def key_of(entry: dict[str, Any]) -> str:
    return str(urlsplit(entry["url"]).path.removeprefix("/live/"))


def test_files_are_listed_page_by_page(deployed: Deployed) -> None:
    folder = f"u-{uuid.uuid4().hex}"
    inside = [put(deployed.with_claims(folder=folder)) for _ in range(3)]
    outside = put(deployed)
    listed = all_files(deployed.with_claims(scopes=["list"], folder=folder), limit="2")
    assert set(listed) == {entry["id"] for entry in inside}
    for entry in inside:
        assert listed[entry["id"]]["url"] == entry["url"]
        assert listed[entry["id"]]["folder"] == folder
    assert set(all_files(deployed.with_claims(scopes=["list"]), limit="1000")) >= {*listed, outside["id"]}


def test_list_needs_its_scope(deployed: Deployed) -> None:
    response = deployed.with_claims().send("GET", "files")
    assert (response.status_code, response.json()["scope"]) == (403, "list")


def test_file_that_expires_has_the_tag_of_a_lifecycle_rule(deployed: Deployed) -> None:
    s3, bucket = deployed.aws("s3"), deployed.bucket
    entry = put(deployed.with_claims(keep_days=7))
    assert datetime.fromisoformat(entry["expires"]) - datetime.fromisoformat(entry["stored"]) == timedelta(days=7)
    tags = s3.get_object_tagging(Bucket=bucket, Key=key_of(entry))["TagSet"]
    assert tags == [{"Key": "keep-days", "Value": "7"}]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    (rule,) = [rule for rule in rules if rule["ID"] == "ExpireFilesAfter7Days"]
    assert rule["Expiration"]["Days"] == 7
    # The emulated AWS keeps only the prefix of a rule's filter. tests/template compares the tags of all rules.
    assert rule["Filter"] in ({"Prefix": "files/"}, {"And": {"Prefix": "files/", "Tags": tags}})


def test_file_of_a_form_that_expires_has_its_tag(deployed: Deployed) -> None:
    """The function that handles the event copies the tag, with the permissions of its own role."""
    s3, bucket = deployed.aws("s3"), deployed.bucket
    sender = deployed.with_claims(keep_days=30)
    form = sender.send("GET", f"{deployed.endpoint}/s3/params", params={"filename": "a.txt"}).json()
    sent = sender.send("POST", form["url"], data=form["fields"], files={"file": samples.TEXT})
    assert sent.status_code == 204

    def key() -> Any:
        """the stored file of the form"""
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"files/{form['id']}/").get("Contents", [])
        return next((each["Key"] for each in listed), None)

    tags = s3.get_object_tagging(Bucket=bucket, Key=eventually(key))["TagSet"]
    assert tags == [{"Key": "keep-days", "Value": "30"}]


def test_file_expires_without_a_claim_if_the_parameter_has_days(deployed: Deployed, emulated: Emulated) -> None:
    entry, days = put(deployed), emulated.parameters["KeepDays"]
    if not days:
        assert "expires" not in entry
        return
    kept = datetime.fromisoformat(entry["expires"]) - datetime.fromisoformat(entry["stored"])
    assert kept == timedelta(days=int(days))


def test_extension_of_the_parameter_is_served_inline(deployed: Deployed, emulated: Emulated) -> None:
    shown = "pdf" in emulated.parameters["InlineExtensions"]
    location = deployed.send("GET", put(deployed, "a.pdf", samples.PDF)["url"]).headers["Location"]
    kind = "inline" if shown else "attachment"
    assert deployed.send("GET", location).headers["Content-Disposition"] == f'{kind}; filename="a.pdf"'


@pytest.fixture
def shows_png(deployed: Deployed, emulated: Emulated) -> Iterator[None]:
    """Deploy INLINE_EXTENSIONS=png for one test."""
    functions, name = deployed.aws("lambda"), emulated.resources["UploadFunction"]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    waiter = functions.get_waiter("function_updated_v2")
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": before | {"INLINE_EXTENSIONS": "png"}}
    )
    waiter.wait(FunctionName=name)
    yield
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": before})
    waiter.wait(FunctionName=name)


@pytest.mark.usefixtures("shows_png")
def test_named_extension_is_served_inline(deployed: Deployed) -> None:
    for name, content, kind in (("a.png", samples.png(), "inline"), ("a.txt", samples.TEXT, "attachment")):
        redirect = deployed.send("GET", put(deployed, name, content)["url"])
        assert redirect.status_code == 302
        url = redirect.headers["Location"]
        served = deployed.send("GET", url)
        assert served.status_code == 200
        assert served.headers["Content-Disposition"] == f'{kind}; filename="{name}"'
        assert int(parse_qs(urlsplit(url).query)["X-Amz-Expires"][0]) <= 300

"""The README, the template and the code say the same."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from handler import settings
from handler.app import create_app
from handler.inspection import filetypes
from handler.problems import Problem
from handler.settings import Settings
from handler.storage.s3 import client as s3
from handler.web import forms

from .support.documentation import README, ROOT, all_problems, section
from .support.template import API, FUNCTIONS, GLOBALS, TEMPLATE

DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


def first_column(text: str, heading: str) -> list[str]:
    """The code in the first column of the table that begins with that heading."""
    found = re.search(rf"^\| {heading} \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found, heading
    return [re.findall(r"`([^`]+)`", row.split(" | ")[0])[0] for row in found[1].splitlines()]


def read_variables() -> set[str]:
    """The environment variables that the settings look at, our own alone."""
    seen: set[str] = set()

    class Spy(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            seen.add(key)
            return super().get(key, default)

    Settings.from_environ(Spy())
    return {name for name in seen if not name.startswith("AWS_")}


def test_the_two_commands_come_first() -> None:
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0]
    assert [line.split("#")[0].strip() for line in commands.splitlines()] == ["make run", "make test"]
    assert README.index("make run") < 800
    makefile = (ROOT / "Makefile").read_text()
    assert {"run:", "test:"} <= set(re.findall(r"^\w+:", makefile, re.MULTILINE))


def test_curl_commands_show_why_something_was_refused() -> None:
    """With ``-f`` curl hides the body of an error response; ``--json`` needs curl 7.82."""
    commands = re.findall(r"\bcurl( .*)", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)))
    assert len(commands) > 4
    assert not [each for each in commands if re.search(r" (--json|--fail|-[a-zA-Z]*f[a-zA-Z]*)(?= |$)", each)]


def test_every_setting_is_documented() -> None:
    documented = first_column(section("Settings"), "Variable")
    assert len(documented) == len(set(documented))
    assert set(documented) == read_variables()


def test_documented_defaults_are_those_of_the_code() -> None:
    for value in (settings.DEFAULT_EXTENSIONS, settings.DEFAULT_FOLDER, settings.DEFAULT_MAX_FILE_BYTES):
        assert f"| `{value}`" in section("Settings")
    assert f"`{settings.LAMBDA_MAX_BODY_BYTES}`" in section("Settings")
    assert f"a form needs {forms.ONE_FILE_OVERHEAD_BYTES // 1024} KiB of the request" in section("Routes")


def test_every_route_is_documented(tmp_path: Path) -> None:
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(first_column(section("Routes"), "Route")) == routes


def test_every_error_is_documented() -> None:
    table = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+)", section("Errors"), re.MULTILINE))
    assert table == {each.slug: str(each.status) for each in all_problems()}


@pytest.mark.parametrize("each", all_problems(), ids=lambda each: each.slug)
def test_every_error_is_declared_once_and_whole(each: type[Problem]) -> None:
    assert sum(other.slug == each.slug for other in all_problems()) == 1
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", each.slug)
    assert 400 <= each.status < 600


def test_every_template_parameter_is_documented() -> None:
    assert first_column(section("On AWS"), "Template parameter") == list(TEMPLATE["Parameters"])
    assert first_column(section("On AWS"), "Output") == list(TEMPLATE["Outputs"])
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        assert f"| `{name}` | `{parameter['Default']}` |" in section("On AWS"), name


def test_what_is_given_to_sam_has_no_spaces_in_it() -> None:
    """SAM ends a value at its first space, and forgets the rest: lists have commas at the command line."""
    given = re.findall(r'"(\w+)=([^"\n]*)"', section("On AWS"))
    assert ("AllowedOrigins", "https://example.com,https://example.org") in given
    assert not [value for _, value in given if " " in value]
    for name in ("AllowedOrigins", "AllowedExtensions"):
        assert "separated by commas" in TEMPLATE["Parameters"][name]["Description"]


def test_every_known_type_is_documented() -> None:
    named = re.findall(r"\b[a-z0-9]+\b", section("Types").partition("; just name them")[0])
    assert set(filetypes.KNOWN) <= set(named)


def test_the_documented_line_of_the_log_is_like_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documented = re.findall(r"```json\n(.*)\n```", section("Logs"))
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))
    app.test_client().put("/upload/a.txt", data=b"hello")
    (line,) = capsys.readouterr().out.splitlines()
    (sample,) = [json.loads(each) for each in documented]
    assert list(json.loads(line)) == list(sample)
    assert list(json.loads(line)["files"][0]) == list(sample["files"][0])


def test_every_module_is_documented() -> None:
    package = ROOT / "handler"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.stem != "__init__"}
    documented = set(re.findall(r"`([\w/]+(?:\.py|/))`", DESIGN))
    folders = tuple(name for name in documented if name.endswith("/") and name.count("/") > 1)
    assert {name for name in documented if name.endswith(".py")} <= modules
    assert not {name for name in modules - documented if not name.startswith(folders)}


# The template and the code.


def variables(function: str) -> dict[str, Any]:
    """The environment that the template gives a function."""
    own: dict[str, Any] = FUNCTIONS[function].get("Environment", {"Variables": {}})["Variables"]
    return {**GLOBALS["Environment"]["Variables"], **own}


def test_the_functions_get_settings_that_the_code_knows() -> None:
    given = variables("UploadFunction")
    assert set(given) == read_variables() - {"UPLOAD_FOLDER", "TRUSTED_PROXIES"}
    assert given.items() >= variables("PromoteFunction").items()
    assert given.pop("UPLOAD_BUCKET") == {"Ref": "UploadBucket"}
    for variable, value in given.items():
        assert value == {"Ref": variable.title().replace("_", "")}
        assert value["Ref"] in TEMPLATE["Parameters"]


def test_the_templates_defaults_are_those_of_the_code() -> None:
    parameters = TEMPLATE["Parameters"]
    assert parameters["AllowedExtensions"]["Default"] == settings.DEFAULT_EXTENSIONS
    assert parameters["MaxContentLength"]["Default"] == str(settings.LAMBDA_MAX_BODY_BYTES)
    assert parameters["MaxContentLength"]["MaxValue"] == settings.LAMBDA_MAX_BODY_BYTES
    assert parameters["MaxFileBytes"]["Default"] == str(settings.DEFAULT_MAX_FILE_BYTES)
    assert parameters["MaxImagePixels"]["Default"] == str(settings.DEFAULT_MAX_IMAGE_PIXELS)
    assert parameters["MaxFileBytes"]["MaxValue"] == settings.S3_MAX_OBJECT_BYTES


def test_the_handlers_and_the_makefile_are_where_the_template_says() -> None:
    makefile = (ROOT / GLOBALS["CodeUri"] / "Makefile").read_text()
    assert f"--python-version {GLOBALS['Runtime'].removeprefix('python')} " in makefile
    (targets,) = re.findall(r"^(build-.*):$", makefile, re.MULTILINE)
    assert targets.split() == [f"build-{name}" for name in FUNCTIONS]
    for name, function in FUNCTIONS.items():
        module, _, handler = function["Handler"].rpartition(".")
        source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
        assert re.search(rf"^({handler} = |def {handler}\()", source, re.MULTILINE)
        assert TEMPLATE["Resources"][name]["Metadata"]["BuildMethod"] == "makefile"


def test_the_api_passes_binary_bodies_and_the_bucket_is_private_and_kept() -> None:
    assert API["BinaryMediaTypes"] == ["*/*"]
    bucket = TEMPLATE["Resources"]["UploadBucket"]
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["Properties"]["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    # A first deployment that fails takes its bucket with it, and leaves no empty one behind at each try.
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    assert bucket["UpdateReplacePolicy"] == "Retain"


def bucket_policy() -> dict[str, dict[str, Any]]:
    """Its statements by name."""
    policy = TEMPLATE["Resources"]["UploadBucketPolicy"]["Properties"]
    assert policy["Bucket"] == {"Ref": "UploadBucket"}
    return {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"]}


def test_the_bucket_policy_forbids_and_allows_nothing() -> None:
    """Its principal is everyone: one that allowed would open the bucket."""
    assert set(bucket_policy()) == {"OnlyOverTls", "NeverReplaceAFile"}
    assert [each["Effect"] for each in bucket_policy().values()] == ["Deny", "Deny"]
    assert [each["Principal"] for each in bucket_policy().values()] == ["*", "*"]


def test_the_bucket_is_for_tls_alone() -> None:
    statement = bucket_policy()["OnlyOverTls"]
    assert statement["Action"] == "s3:*"
    assert statement["Resource"] == [{"GetAtt": "UploadBucket.Arn"}, {"Sub": "${UploadBucket.Arn}/*"}]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_the_bucket_refuses_to_replace_a_file() -> None:
    """What has no If-None-Match is refused; CreateMultipartUpload and UploadPartCopy, which cannot have it, are no
    ObjectCreationOperation, and so not meant (AWS: "Enforce conditional writes on Amazon S3 buckets")."""
    statement = bucket_policy()["NeverReplaceAFile"]
    assert statement["Action"] == "s3:PutObject"
    assert statement["Resource"] == {"Sub": "${UploadBucket.Arn}/files/*"}
    assert statement["Condition"] == {
        "Null": {"s3:if-none-match": True},
        "Bool": {"s3:ObjectCreationOperation": True},
    }


def test_the_api_is_throttled() -> None:
    (settings_of_methods,) = API["MethodSettings"]
    assert settings_of_methods == {
        "ResourcePath": "/*",
        "HttpMethod": "*",
        "ThrottlingRateLimit": {"Ref": "RequestsPerSecond"},
        "ThrottlingBurstLimit": {"Ref": "Burst"},
    }


def test_the_function_has_as_long_as_api_gateway_waits_and_s3_has_less() -> None:
    assert FUNCTIONS["UploadFunction"]["Timeout"] == 29  # AWS: "API Gateway quotas", integration timeout
    # botocore's standard mode pauses 1 s, then 2 s, at most, before it tries again.
    pauses_seconds = sum(2**attempt for attempt in range(s3.ATTEMPTS - 1))
    assert (
        s3.ATTEMPTS * (s3.CONNECT_SECONDS + s3.READ_SECONDS) + pauses_seconds < FUNCTIONS["UploadFunction"]["Timeout"]
    )


def test_the_outputs_are_below_the_stage() -> None:
    endpoint = TEMPLATE["Outputs"]["Endpoint"]["Value"]["Sub"]
    assert endpoint == f"https://${{Api}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}/{API['StageName']}/upload"
    curl, values = TEMPLATE["Outputs"]["Curl"]["Value"]["Sub"]
    assert curl.endswith(f" {endpoint}")
    _, for_everyone, with_a_token = values["Token"]["If"]
    assert for_everyone == ""
    assert f"$({TEMPLATE['Outputs']['Token']['Value']})" in with_a_token
    assert TEMPLATE["Outputs"]["Bucket"]["Value"] == {"Ref": "UploadBucket"}


def test_what_sam_needs_no_flag_for() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    deploy = config["deploy"]["parameters"]
    # SAM makes the function's role, and gives it no name of ours: that would take CAPABILITY_NAMED_IAM.
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert "RoleName" not in (ROOT / "template.yaml").read_text()
    assert deploy["resolve_s3"] is True
    start_api = config["local_start_api"]["parameters"]
    # Otherwise each request has a container of its own, without what the one before stored.
    assert start_api["warm_containers"] == "LAZY"
    parameter, _, value = start_api["parameter_overrides"].partition("=")
    assert value in TEMPLATE["Parameters"][parameter]["AllowedValues"]

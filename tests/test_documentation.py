"""The documents, the template and the code agree."""

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
from handler.local import cli
from handler.problems import TYPE_PREFIX, Problem
from handler.settings import Settings
from handler.storage.s3 import client as s3

from .support import documents
from .support.documentation import ROOT, all_problems
from .support.documents import code, section, table
from .support.template import API, FUNCTIONS, GLOBALS, TEMPLATE

CONFIGURATION = documents.read("docs/configuration.md")
API_DOCUMENT = documents.read("docs/http-api.md")
DESIGN = documents.read("docs/design.md")


def read_variables() -> set[str]:
    """Return the environment variables that the settings read, without those of AWS."""
    seen: set[str] = set()

    class Spy(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            seen.add(key)
            return super().get(key, default)

    Settings.from_environ(Spy())
    return {name for name in seen if not name.startswith("AWS_")}


def rows_of_settings() -> list[list[str]]:
    return table(CONFIGURATION, "Variable")


def test_make_targets_and_options_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(documents.read(document) for document in (*documents.DOCUMENTS, "SECURITY.md"))
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    assert {"run", "test", "clients"} < named
    assert named - targets == set()
    parser = cli._parser()
    (commands,) = [action for action in parser._actions if action.dest == "command"]
    assert isinstance(commands.choices, dict)
    parsers = {"": parser, **commands.choices}
    known = {
        option for subparser in parsers.values() for action in subparser._actions for option in action.option_strings
    }
    for line in re.findall(r"(?:python|py) -m handler\b(?!,)([^`\n)]*)", text):
        words = line.replace("`", "").split()
        assert not words or words[0].startswith(("-", "#", "&", "|")) or words[0].rstrip(",.:;") in commands.choices, (
            line
        )
        assert {word for word in words if word.startswith("--")} <= known, line
    assert {code(row[0]) for row in table(CONFIGURATION, "Option of `python -m handler`")} == {
        option for action in parser._actions for option in action.option_strings if option.startswith("--")
    } - {"--help"}


def test_curl_commands_show_why_something_was_refused() -> None:
    """With ``-f`` curl hides the body of an error response; ``--json`` needs curl 7.82."""
    shells = [fence.text for fence in documents.fences() if fence.language == "sh"]
    commands = re.findall(r"\bcurl( .*)", "\n".join(shells))
    assert len(commands) > 4
    assert not [command for command in commands if re.search(r" (--json|--fail|-[a-zA-Z]*f[a-zA-Z]*)(?= |$)", command)]


def test_every_setting_is_documented() -> None:
    documented = [code(row[0]) for row in rows_of_settings() if code(row[0])]
    assert len(documented) == len(set(documented))
    assert set(documented) == read_variables()
    main = [code(row[0]) for row in table(section("README.md", "Settings"), "Variable")]
    assert len(main) == 7
    assert set(main) < set(documented)


def test_documented_defaults_equal_the_code() -> None:
    defaults = {code(row[0]): row[2] for row in rows_of_settings()}
    assert code(defaults["ALLOWED_EXTENSIONS"]) == settings.DEFAULT_EXTENSIONS
    assert code(defaults["UPLOAD_FOLDER"]) == settings.DEFAULT_FOLDER
    assert code(defaults["MAX_FILE_BYTES"]) == str(settings.DEFAULT_MAX_FILE_BYTES)
    assert code(defaults["MAX_IMAGE_PIXELS"]) == str(settings.DEFAULT_MAX_IMAGE_PIXELS)
    assert code(defaults["MAX_CONTENT_LENGTH"]) == str(settings.LAMBDA_MAX_BODY_BYTES)
    in_readme = {code(row[0]): row[1] for row in table(section("README.md", "Settings"), "Variable")}
    assert code(in_readme["ALLOWED_EXTENSIONS"]) == settings.DEFAULT_EXTENSIONS
    assert in_readme["MAX_FILE_BYTES"] == f"{settings.DEFAULT_MAX_FILE_BYTES // 1024**3} GiB"


def test_every_limit_is_documented(tmp_path: Path) -> None:
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path), "MAX_CONTENT_LENGTH": "1048576"}))
    limits = app.test_client().get("/upload").get_json()
    text = " ".join(section("docs/http-api.md", "The limits").split())
    assert {name for name in limits if f"`{name}`" not in text} == set()
    (form,) = [way for way in limits["ways"] if way["name"] == "form"]
    reserved_kib = (limits["max_request_bytes"] - form["max_bytes"]) // 1024
    assert f"In a form {reserved_kib} KiB of the request are reserved" in text


def test_every_route_is_documented(tmp_path: Path) -> None:
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))
    routes = {
        f"{method} {rule.rule}".replace("<file_id>", "<id>")
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {code(row[0]) for row in table(API_DOCUMENT, "Route")} == routes


def test_every_error_is_documented() -> None:
    rows = table(section("docs/http-api.md", "Errors"), "Type")
    rows += table(section("docs/http-api.md", "Errors of the local server"), "Type")
    documented = {code(row[0]): row[1].split(",")[0] for row in rows}
    assert documented == {problem_type.slug: str(problem_type.status) for problem_type in all_problems()}


def test_every_gateway_response_is_documented() -> None:
    """The template has each response's body as JSON."""
    rows = table(section("docs/http-api.md", "Responses of API Gateway"), "Gateway response")
    documented = {code(row[0]): (int(row[1]), code(row[2])) for row in rows}
    bodies = {
        name: json.loads(response["ResponseTemplates"]["application/json"])
        for name, response in API["GatewayResponses"].items()
    }
    assert documented == {
        name: (body["status"], body["type"].removeprefix(TYPE_PREFIX)) for name, body in bodies.items()
    }


@pytest.mark.parametrize("problem_type", all_problems(), ids=lambda problem_type: problem_type.slug)
def test_every_error_is_declared_once_and_whole(problem_type: type[Problem]) -> None:
    assert sum(other.slug == problem_type.slug for other in all_problems()) == 1
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", problem_type.slug)
    assert 400 <= problem_type.status < 600


def test_every_template_parameter_is_documented() -> None:
    documented = {code(row[1]): code(row[2]) for row in rows_of_settings() if code(row[1])}
    assert documented.keys() == TEMPLATE["Parameters"].keys()
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        assert documented[name] == str(parameter["Default"]), name
    outputs = table(section("docs/deploy.md", "To AWS"), "Output")
    assert [code(row[0]) for row in outputs] == list(TEMPLATE["Outputs"])


def test_every_alarm_is_documented() -> None:
    alarms = {name for name, resource in TEMPLATE["Resources"].items() if resource["Type"] == "AWS::CloudWatch::Alarm"}
    assert set(re.findall(r"`(\w+Alarm)`", section("docs/operations.md", "Alarms"))) == alarms


def test_value_for_sam_has_no_space() -> None:
    """SAM drops everything after the first space in a value: lists have commas at the command line."""
    text = "\n".join(documents.read(document) for document in documents.DOCUMENTS)
    values = re.findall(r'"([A-Z]\w+)=([^"\n]*)"', text)
    assert ("AllowedOrigins", "https://example.com,https://example.org") in values
    assert not [value for _, value in values if " " in value]
    for name in ("AllowedOrigins", "AllowedExtensions"):
        assert "separated by commas" in TEMPLATE["Parameters"][name]["Description"]


def test_every_known_type_is_documented() -> None:
    text = section("docs/configuration.md", "File types")
    default = re.findall(r"\b[a-z0-9]+\b", text.partition("Accepted by default: ")[2].partition(".")[0])
    assert sorted(default) == sorted(settings.DEFAULT_EXTENSIONS.split())
    assert set(filetypes.KNOWN) <= set(re.findall(r"\b[a-z0-9]+\b", text.partition("Name them to")[0]))


def test_documented_log_line_has_the_members_of_a_real_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documented = re.findall(r"```json\n(.*)\n```", section("docs/operations.md", "Logs"))
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)}))
    app.test_client().put("/upload/a.txt", data=b"hello")
    (line,) = capsys.readouterr().out.splitlines()
    (sample,) = [json.loads(text) for text in documented]
    assert list(json.loads(line)) == list(sample)
    assert list(json.loads(line)["files"][0]) == list(sample["files"][0])


def test_documented_responses_have_the_members_of_real_responses(tmp_path: Path) -> None:
    client = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path)})).test_client()
    stored = client.put("/upload/photo.txt", data=b"hello").get_json()
    (in_readme,) = [
        fence.text for fence in documents.fences_in("", section("README.md", "Start")) if fence.language == "json"
    ]
    (in_full,) = [fence.text for fence in documents.fences_in("", section("docs/http-api.md", "A stored file"))]
    for sample in (json.loads(in_readme), json.loads(in_full)):
        assert list(sample) == list(stored)
        assert list(sample["files"][0]) == list(stored["files"][0])
    (error,) = [fence.text for fence in documents.fences_in("", section("docs/http-api.md", "Errors"))]
    refused = client.put("/upload/shell.php", data=b"hello").get_json()
    sample = json.loads(error)
    assert list(sample) == list(refused)
    assert list(sample["errors"][0]) == [name for name in refused["errors"][0] if name in sample["errors"][0]]
    assert sample["title"] == refused["title"]


def test_every_module_is_documented() -> None:
    """In ``docs/design.md``, where a folder can stand for its modules."""
    package = ROOT / "handler"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.stem != "__init__"}
    documented = set(re.findall(r"`([\w/]+(?:\.py|/))`", DESIGN))
    folders = tuple(name for name in documented if name.endswith("/") and name.count("/") > 1)
    assert {name for name in documented if name.endswith(".py")} <= modules
    assert not {name for name in modules - documented if not name.startswith(folders)}


# The template and the code.


def variables(function: str) -> dict[str, Any]:
    """Return the environment variables that the template gives a function."""
    own: dict[str, Any] = FUNCTIONS[function].get("Environment", {"Variables": {}})["Variables"]
    return {**GLOBALS["Environment"]["Variables"], **own}


def test_functions_get_only_known_settings() -> None:
    given = variables("UploadFunction")
    webhook = {name for name in read_variables() if name.startswith("WEBHOOK_")} | {"ENDPOINT_URL"}
    assert set(given) == read_variables() - {"UPLOAD_FOLDER", "TRUSTED_PROXIES"} - webhook
    assert given.items() >= variables("PromoteFunction").items()
    notified = variables("NotifyFunction")
    assert set(notified) == set(variables("PromoteFunction")) | webhook | {"DOWNLOADS"}
    own_domain = notified.pop("ENDPOINT_URL")
    assert own_domain["If"][:2] == ["HasOwnDomain", {"Ref": "EndpointUrl"}]
    given |= {name: value for name, value in notified.items() if name in webhook}
    assert given.pop("UPLOAD_BUCKET") == {"Ref": "UploadBucket"}
    for variable, value in given.items():
        assert value == {"Ref": variable.title().replace("_", "")}
        assert value["Ref"] in TEMPLATE["Parameters"]


def test_defaults_of_the_template_equal_the_code() -> None:
    parameters = TEMPLATE["Parameters"]
    assert parameters["AllowedExtensions"]["Default"] == settings.DEFAULT_EXTENSIONS
    assert parameters["MaxContentLength"]["Default"] == str(settings.LAMBDA_MAX_BODY_BYTES)
    assert parameters["MaxContentLength"]["MaxValue"] == settings.LAMBDA_MAX_BODY_BYTES
    assert parameters["MaxFileBytes"]["Default"] == str(settings.DEFAULT_MAX_FILE_BYTES)
    assert parameters["MaxImagePixels"]["Default"] == str(settings.DEFAULT_MAX_IMAGE_PIXELS)
    assert parameters["MaxFileBytes"]["MaxValue"] == settings.S3_MAX_OBJECT_BYTES


def test_template_names_the_handlers_and_the_makefile() -> None:
    makefile = (ROOT / GLOBALS["CodeUri"] / "Makefile").read_text()
    assert f"--python-version {GLOBALS['Runtime'].removeprefix('python')} " in makefile
    targets = re.findall(r"^(build-[\w -]+):", makefile, re.MULTILINE)
    assert " ".join(targets).split() == [f"build-{name}" for name in FUNCTIONS]
    for name, function in FUNCTIONS.items():
        module, _, handler = function["Handler"].rpartition(".")
        source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
        assert re.search(rf"^({handler} = |def {handler}\()", source, re.MULTILINE)
        assert TEMPLATE["Resources"][name]["Metadata"]["BuildMethod"] == "makefile"


def test_api_passes_binary_bodies_and_the_bucket_is_private_and_kept() -> None:
    assert API["BinaryMediaTypes"] == ["*/*"]
    bucket = TEMPLATE["Resources"]["UploadBucket"]
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["Properties"]["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    # A first deployment that fails deletes its bucket. Otherwise each try would leave an empty bucket.
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    assert bucket["UpdateReplacePolicy"] == "Retain"


def bucket_policy() -> dict[str, dict[str, Any]]:
    """Return the statements of the bucket policy, by name."""
    policy = TEMPLATE["Resources"]["UploadBucketPolicy"]["Properties"]
    assert policy["Bucket"] == {"Ref": "UploadBucket"}
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


def test_bucket_policy_has_only_denials() -> None:
    """The principal is everyone, so a statement that allows an action would open the bucket."""
    assert set(bucket_policy()) == {"OnlyOverTls", "NeverReplaceAFile"}
    assert [statement["Effect"] for statement in bucket_policy().values()] == ["Deny", "Deny"]
    assert [statement["Principal"] for statement in bucket_policy().values()] == ["*", "*"]


def test_bucket_accepts_tls_only() -> None:
    statement = bucket_policy()["OnlyOverTls"]
    assert statement["Action"] == "s3:*"
    assert statement["Resource"] == [{"GetAtt": "UploadBucket.Arn"}, {"Sub": "${UploadBucket.Arn}/*"}]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_bucket_rejects_a_write_that_replaces_a_file() -> None:
    """A write without If-None-Match is rejected. CreateMultipartUpload and UploadPartCopy cannot have this field, and
    do not count as an ObjectCreationOperation (AWS: "Enforce conditional writes on Amazon S3 buckets")."""
    statement = bucket_policy()["NeverReplaceAFile"]
    assert statement["Action"] == "s3:PutObject"
    assert statement["Resource"] == {"Sub": "${UploadBucket.Arn}/files/*"}
    assert statement["Condition"] == {
        "Null": {"s3:if-none-match": True},
        "Bool": {"s3:ObjectCreationOperation": True},
    }


def test_api_is_throttled() -> None:
    (settings_of_methods,) = API["MethodSettings"]
    assert settings_of_methods == {
        "ResourcePath": "/*",
        "HttpMethod": "*",
        "ThrottlingRateLimit": {"Ref": "RequestsPerSecond"},
        "ThrottlingBurstLimit": {"Ref": "Burst"},
    }


def test_s3_time_outs_fit_into_the_functions_time_out() -> None:
    assert FUNCTIONS["UploadFunction"]["Timeout"] == 29  # AWS: "API Gateway quotas", integration timeout
    # botocore's standard mode waits 1 s at most before the second attempt, and 2 s before the third.
    pauses_seconds = sum(2**attempt for attempt in range(s3.ATTEMPTS - 1))
    assert (
        s3.ATTEMPTS * (s3.CONNECT_SECONDS + s3.READ_SECONDS) + pauses_seconds < FUNCTIONS["UploadFunction"]["Timeout"]
    )


def test_outputs_have_the_stage_in_their_urls() -> None:
    endpoint = TEMPLATE["Outputs"]["Endpoint"]["Value"]["Sub"]
    assert endpoint == f"https://${{Api}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}/{API['StageName']}/upload"
    curl, values = TEMPLATE["Outputs"]["Curl"]["Value"]["Sub"]
    assert curl.endswith(f" {endpoint}")
    _, for_everyone, with_a_token = values["Token"]["If"]
    assert for_everyone == ""
    assert f"$({TEMPLATE['Outputs']['Token']['Value']})" in with_a_token
    assert TEMPLATE["Outputs"]["Bucket"]["Value"] == {"Ref": "UploadBucket"}


def test_sam_needs_no_flags() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    deploy = config["deploy"]["parameters"]
    # The roles have no names of their own: those would need CAPABILITY_NAMED_IAM.
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert "RoleName" not in (ROOT / "template.yaml").read_text()
    assert deploy["resolve_s3"] is True
    start_api = config["local_start_api"]["parameters"]
    # Otherwise each request gets a new container, without the files of earlier requests.
    assert start_api["warm_containers"] == "LAZY"
    parameter, _, value = start_api["parameter_overrides"].partition("=")
    assert value in TEMPLATE["Parameters"][parameter]["AllowedValues"]

"""What ``template.yaml`` deploys, compared with what the code does."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
import yaml

from handler.app import create_app
from handler.inspection.filetypes import KNOWN
from handler.problems import AlreadyExists
from handler.settings import Settings, SettingsError
from handler.storage.s3 import direct as s3_direct
from handler.storage.s3 import files as s3
from handler.storage.s3.files import make_client
from handler.web.access import SCOPES
from handler.web.tokens import mint

from .conftest import BUCKET
from .docs.documents import section
from .storage.test_storage import ID, fetch, file
from .support import samples
from .support.direct_client import DirectClient
from .test_documentation import ROOT, TEMPLATE, all_problems
from .test_lambda import SECRET, Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from flask import Flask
    from flask.testing import FlaskClient
    from mypy_boto3_s3 import S3Client

RESOURCES = TEMPLATE["Resources"]

# Who may do what in the bucket.

ROLES = {"upload": "UploadRole", "promote": "PromoteRole"}
Permission = tuple[str, str]
"""An action, and the keys that it is allowed for."""


def documented(role: str) -> set[Permission]:
    """What the tables in the docstrings of the storage say."""
    rows = re.findall(rf"^    {role} +(\S+)  (.+)$", f"{s3.__doc__}{s3_direct.__doc__}", re.MULTILINE)
    return {(action, keys) for keys, actions in rows for action in actions.split()}


def statements(role: str) -> list[dict[str, Any]]:
    """What the role of the function says in the template."""
    (policy,) = RESOURCES[ROLES[role]]["Properties"]["Policies"]
    found = [
        statement["If"][1] if "If" in statement else statement for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert {statement["Effect"] for statement in found} == {"Allow"}
    return [statement | {"Action": listed(statement["Action"])} for statement in found]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(role: str) -> set[Permission]:
    """What the role of the function may do in the bucket."""
    permissions: set[Permission] = set()
    for statement in statements(role):
        if not statement["Action"][0].startswith("s3:"):
            continue
        if statement["Resource"] == {"GetAtt": "UploadBucket.Arn"}:
            ((condition),) = statement.get("Condition", {"StringLike": {"s3:prefix": ["*"]}}).values()
            keys = condition["s3:prefix"]
        else:
            keys = [statement["Resource"]["Sub"].removeprefix("${UploadBucket.Arn}/")]
        permissions |= {(action, each) for action in statement["Action"] for each in keys}
    return permissions


def needed(operation: str, parameters: dict[str, Any]) -> Iterator[Permission]:
    """What S3 asks for (AWS: "Required permissions for Amazon S3 API operations")."""
    key, version = parameters.get("Key", ""), "Version" if "VersionId" in parameters else ""
    match operation:
        case "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload":
            yield "s3:PutObject", key
        case "UploadPartCopy":
            yield "s3:PutObject", key
            yield from needed("GetObject", parameters["CopySource"])
        case "GetObject" | "HeadObject":
            yield f"s3:GetObject{version}", key
            yield "s3:ListBucket", key  # for a 404 where there is none
        case "DeleteObject":
            yield f"s3:DeleteObject{version}", key
        case "DeleteObjects":
            for each in parameters["Delete"]["Objects"]:
                yield from needed("DeleteObject", each)
        case "ListParts":
            yield "s3:ListMultipartUploadParts", key
        case "AbortMultipartUpload":
            yield "s3:AbortMultipartUpload", key
        case "ListObjectsV2":
            yield "s3:ListBucket", parameters["Prefix"]
        case "ListObjectVersions":
            yield "s3:ListBucketVersions", parameters["Prefix"]
        case "ListMultipartUploads":
            yield "s3:ListBucketMultipartUploads", "*"
        case _:
            raise NotImplementedError(operation)


def written(*modules: ModuleType) -> set[str]:
    """The operations of S3 that stand in the source."""
    source = "".join(inspect.getsource(module) for module in modules)
    called = set(re.findall(r"client\.([a-z0-9_]+)\(", source)) - {"generate_presigned_post", "get_paginator"}
    named = set(re.findall(r'"((?:get|head|list|upload)_[a-z_]+)"', source))  # paginated or presigned
    return {name.title().replace("_", "") for name in called - {"generate_presigned_url"} | named}


class Recorder:
    """Makes clients for S3, and notes what their calls, and the URLs and forms that they sign, are allowed by."""

    def __init__(self) -> None:
        self.permissions: set[Permission] = set()
        self.operations: set[str] = set()

    def make_client(self) -> S3Client:
        client = make_client()
        client.meta.events.register("provide-client-params.s3", self._called)
        client.meta.events.register("before-sign.s3.PutObject", self._form_signed)
        return client

    def _called(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        # For a form botocore goes through the parameters of another operation, which is never called.
        if not (model.name == "CreateBucket" and context.get("is_presign_request")):
            self._note(model.name, params)

    def _form_signed(self, request: Any, **_: object) -> None:
        for condition in request.context.get("s3-presign-post-policy", {}).get("conditions", ()):
            if "key" in condition:
                self._note("PutObject", {"Key": condition["key"]})

    def _note(self, operation: str, parameters: dict[str, Any]) -> None:
        self.operations.add(operation)
        for action, key in needed(operation, parameters):
            folder, slash, _ = key.partition("/")
            self.permissions.add((action, f"{folder}/*" if slash and folder != "secrets" else key))


@pytest.fixture
def record(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Recorder]:  # noqa: ARG001
    """From a call on, the clients that are made are recorded."""

    def record() -> Recorder:
        recorder = Recorder()
        monkeypatch.setattr("handler.storage.s3.files.make_client", recorder.make_client)
        return recorder

    return record


@pytest.fixture
def app(record: Callable[[], Recorder]) -> Flask:
    """The app of the function that answers HTTP; what it asks of S3 is recorded."""
    recorder = record()
    app = create_app(Settings.from_environ({"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": SECRET}))
    app.extensions["recorder"] = recorder
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {mint(SECRET, expires_seconds=600, scopes=SCOPES)}"
    return client


@pytest.fixture
def promote(record: Callable[[], Recorder], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Recorder]:
    """Runs the function that answers events, for an id, with the environment that the template gives it."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "promote")
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    recorder = record()
    sys.modules.pop("handler.lambda_function", None)
    module = importlib.import_module("handler.lambda_function")

    def promote(file_id: str) -> Recorder:
        event = {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"object": {"key": f"incoming/{file_id}"}},
        }
        module.promote_handler(event, Context())
        return recorder

    return promote


def send(direct: DirectClient, name: str, content: bytes) -> dict[str, Any]:
    """Send a file with a form, and tell nobody."""
    form: Any = direct.presigned_post(name).json
    assert direct.post(form, content).status == 204
    return dict(form)


def lose_a_race(uploads: Any, file_id: str) -> None:
    """Publish what came in, three times, as two that judge it at once would, and a third when it was deleted."""
    incoming = uploads.open_incoming(file_id)
    incoming.copy_to_files(file(id=file_id))
    with pytest.raises(AlreadyExists):
        incoming.copy_to_files(file(id=file_id))
    make_client().delete_object(Bucket=BUCKET, Key=file(id=file_id).key)  # which is not the function's own
    with pytest.raises(AlreadyExists):
        incoming.copy_to_files(file(id=file_id))


def test_the_function_that_answers_http_may_do_what_it_does_and_no_more(app: Flask, client: FlaskClient) -> None:
    direct = DirectClient(client=client)
    url = client.put("/upload/a.txt", data=samples.TEXT).json["url"]  # type: ignore[index]
    assert fetch(client.get(url).headers["Location"]) == samples.TEXT
    assert client.delete(url).status_code == 204
    app.extensions["storage"].delete_best_effort([file()])

    stored = send(direct, "a.txt", samples.TEXT)
    assert direct.status(stored["id"]).json["status"] == "stored"  # type: ignore[index]
    assert client.get(f"/upload/{stored['id']}").status_code == 200
    refused = send(direct, "a.png", samples.TEXT)
    assert direct.status(refused["id"]).json["status"] == "refused"  # type: ignore[index]
    begun = direct.begun("a.txt")
    assert direct.status(begun["id"]).json["status"] == "pending"  # type: ignore[index]
    direct.put(begun, 1, samples.TEXT)
    assert direct.parts(begun).status_code == 200
    assert direct.abort(begun).status_code == 200
    assert direct.send("a.txt", samples.TEXT, sha256=hashlib.sha256(samples.TEXT).hexdigest()).status_code == 200
    lost = send(direct, "a.txt", samples.TEXT)
    lose_a_race(app.extensions["direct_uploads"], lost["id"])

    assert app.extensions["recorder"].permissions == documented("upload")
    assert allowed("upload") == documented("upload")
    assert app.extensions["recorder"].operations == written(s3, s3_direct), "no call was left out above"


def test_the_function_that_answers_events_may_do_what_it_does_and_no_more(
    client: FlaskClient, promote: Callable[[str], Recorder]
) -> None:
    direct = DirectClient(client=client)
    for name, status in (("a.txt", "stored"), ("a.png", "refused")):
        form = send(direct, name, samples.TEXT)
        promote(form["id"])
        recorder = promote(form["id"])  # Lambda may call twice for one event
        assert direct.status(form["id"]).json["status"] == status  # type: ignore[index]
    lost = send(direct, "a.txt", samples.TEXT)
    module = sys.modules["handler.lambda_function"]
    lose_a_race(module._app.extensions["direct_uploads"], lost["id"])
    promote(lost["id"])

    assert recorder.permissions == documented("promote")
    assert allowed("promote") == documented("promote")


def test_the_function_that_answers_events_starts_without_the_settings_of_who_may_upload(
    promote: Callable[[str], Recorder],
) -> None:
    given = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    assert "Environment" not in RESOURCES["PromoteFunction"]["Properties"]
    assert not given & {"ACCESS", "TOKEN_SECRET"}
    promote(ID)  # nothing came in under it: somebody else has judged it, and that is no error


@pytest.mark.parametrize("role", ROLES)
def test_outside_the_bucket_a_role_may_log_and_what_a_parameter_asks_for(role: str) -> None:
    log = {"upload": "UploadLog", "promote": "PromoteLog"}[role]
    elsewhere = [
        (action, statement["Resource"])
        for statement in statements(role)
        for action in statement["Action"]
        if not action.startswith("s3:")
    ]
    taken = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    queue = [(action, {"GetAtt": "IncomingFiles.Arn"}) for action in taken] if role == "promote" else []
    assert elsewhere == [
        *queue,
        ("logs:CreateLogStream", {"GetAtt": f"{log}.Arn"}),
        ("logs:PutLogEvents", {"GetAtt": f"{log}.Arn"}),
        ("kms:GenerateDataKey", {"Ref": "KmsKeyArn"}),
        ("kms:Decrypt", {"Ref": "KmsKeyArn"}),
        ("xray:PutTraceSegments", "*"),
        ("xray:PutTelemetryRecords", "*"),
    ]
    (policy,) = RESOURCES[ROLES[role]]["Properties"]["Policies"]
    conditions = [each["If"][0] for each in policy["PolicyDocument"]["Statement"] if "If" in each]
    assert conditions == ["UseKmsKey", "Trace"]


def test_each_function_has_its_role_and_no_other_policy() -> None:
    for name in ("Upload", "Promote"):
        properties = RESOURCES[f"{name}Function"]["Properties"]
        assert properties["Role"] == {"GetAtt": f"{name}Role.Arn"}
        assert "Policies" not in properties
        assert properties["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": f"{name}Log"}}
        role = RESOURCES[f"{name}Role"]["Properties"]
        assert "ManagedPolicyArns" not in role
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_a_condition_of_a_role_is_one_of_the_prefix() -> None:
    for role in ROLES:
        conditions = [statement["Condition"] for statement in statements(role) if "Condition" in statement]
        assert [list(condition) for condition in conditions] == [["StringLikeIfExists"], ["StringLike"]]


# The API.

API = RESOURCES["Api"]["Properties"]
PATHS: dict[str, dict[str, Any]] = API["DefinitionBody"]["paths"]


def test_the_gateway_passes_on_the_apps_routes_and_no_others(app: Flask) -> None:
    routes: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<", "{").replace(">", "}")
        routes.setdefault(path, set()).update(rule.methods or set())
    assert {path: {method.upper() for method in methods} for path, methods in PATHS.items()} == routes


def test_no_route_is_a_wildcard_and_all_are_the_functions() -> None:
    assert not [path for path in PATHS if "+}" in path]
    assert not [method for methods in PATHS.values() for method in methods if method.startswith("x-")]
    integrations = [each["x-amazon-apigateway-integration"] for methods in PATHS.values() for each in methods.values()]
    assert all(each is integrations[0] for each in integrations)
    assert integrations[0]["type"] == "aws_proxy"
    assert integrations[0]["httpMethod"] == "POST"
    assert integrations[0]["uri"]["Sub"].endswith("/functions/${UploadFunction.Arn}:live/invocations")
    assert RESOURCES["UploadAlias"]["Properties"]["Name"] == "live"
    assert RESOURCES["ApiMayCall"]["Properties"] == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": {"Ref": "UploadAlias"},
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": {"Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/live/*"},
    }
    assert API["StageName"] == "live"
    assert API["EndpointConfiguration"] == {"Type": "REGIONAL"}
    assert TEMPLATE["Globals"]["Api"]["OpenApiVersion"] == API["DefinitionBody"]["openapi"] == "3.0.1"


def test_at_one_place_of_a_path_all_variables_have_one_name() -> None:
    # API Gateway takes no other, and no check before the deployment says so.
    names: dict[str, set[str]] = {}
    for path in PATHS:
        parts = path.split("/")
        for index, part in enumerate(parts):
            if part.startswith("{"):
                names.setdefault("/".join(parts[:index]), set()).add(part)
    assert names
    assert not {place: found for place, found in names.items() if len(found) > 1}


def test_a_new_value_of_a_parameter_needs_no_new_deployment_of_the_api() -> None:
    # SAM names the deployment by a hash of the definition as it is here, before parameters have their values.
    definition = repr([API["DefinitionBody"], API["GatewayResponses"]])
    assert not [name for name in TEMPLATE["Parameters"] if f"'{name}'" in definition or f"${{{name}}}" in definition]


GATEWAY_RESPONSES: dict[str, Any] = API["GatewayResponses"]


@pytest.mark.parametrize("name", GATEWAY_RESPONSES)
def test_what_the_gateway_answers_itself_looks_like_ours(name: str) -> None:
    response = GATEWAY_RESPONSES[name]
    body = json.loads(response["ResponseTemplates"]["application/json"])
    assert body["status"] == response["StatusCode"]
    assert body["detail"] == body["error"]
    assert body["request_id"] == "$context.requestId"
    slug = body["type"].removeprefix("urn:problem-type:upload:")
    declared = {each.slug: each for each in all_problems()}
    if slug in declared:
        assert body["title"] == declared[slug].title
    else:
        assert f"| {body['status']} | `{slug}` |" in section("docs/http-api.md", "Responses of API Gateway")
    headers = response["ResponseParameters"]["Headers"]
    assert headers["X-Request-Id"] == "context.requestId"
    assert headers["Content-Type"] == "'application/problem+json'"
    assert headers["Access-Control-Allow-Origin"] == "'*'"
    assert headers["Access-Control-Expose-Headers"] == "'Retry-After, X-Request-Id'"
    assert {"Cache-Control", "Strict-Transport-Security", "X-Content-Type-Options"} < set(headers)
    assert ("Retry-After" in headers) == (body["status"] in (429, 502, 504))
    assert all(re.fullmatch(r"'[^']+'|context\.requestId", value) for value in headers.values())


def test_what_the_gateway_answers_itself_is_all_ours() -> None:
    assert {"MISSING_AUTHENTICATION_TOKEN", "REQUEST_TOO_LARGE", "THROTTLED", "INTEGRATION_TIMEOUT"} < set(
        GATEWAY_RESPONSES
    )
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} < set(GATEWAY_RESPONSES)
    # An unknown route, without an Authorization and with one, which is taken for a bad signature of AWS's: the token of
    # a client that has mistyped a path.
    not_found = GATEWAY_RESPONSES["MISSING_AUTHENTICATION_TOKEN"]
    assert not_found["StatusCode"] == 404
    for nothing in ("MISSING_AUTHENTICATION_TOKEN", "INVALID_SIGNATURE", "RESOURCE_NOT_FOUND"):
        assert GATEWAY_RESPONSES[nothing]["ResponseTemplates"] == not_found["ResponseTemplates"]


def test_the_access_log_has_the_route_and_never_the_path() -> None:
    condition, setting, nothing = API["AccessLogSetting"]["If"]
    assert (condition, nothing) == ("LogAccess", {"Ref": "AWS::NoValue"})
    values = set(json.loads(setting["Format"]).values())
    assert "$context.resourcePath" in values
    assert not values & {"$context.path", "$context.customDomain.basePathMatched"}


# Parameters.


@pytest.mark.parametrize(
    ("secret", "good"),
    [("", True), ("x" * 31, False), ("x" * 32, True), (f"{'x' * 32},{'y' * 32}", True), (f"{'x' * 32},short", False)],
)
def test_a_secret_that_the_function_would_not_start_with_is_not_deployed(secret: str, good: bool) -> None:
    assert bool(re.fullmatch(TEMPLATE["Parameters"]["TokenSecret"]["AllowedPattern"], secret)) == good
    environ = {"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": secret, "AWS_LAMBDA_FUNCTION_NAME": "upload"}
    if good:
        Settings.from_environ(environ)
    else:
        with pytest.raises(SettingsError, match="TOKEN_SECRET"):
            Settings.from_environ(environ)


LISTS = [
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", " ".join(KNOWN), True),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "pdf, stl=model/stl step=model/step", True),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "pdf stl", False),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "pdfx", False),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "stl=model", False),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", f"stl=model/{'x' * 128}", False),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "jfif=image/jpeg dwg=application/vnd.openxmlformats", True),
    *(("AllowedExtensions", "ALLOWED_EXTENSIONS", f"csv {known}=text/plain", False) for known in KNOWN),
    *(
        ("AllowedExtensions", "ALLOWED_EXTENSIONS", f"{declared} pdf", False)
        for declared in ("svg=image/svg+xml", "html=text/html", "x=application/xhtml+xml", "js=text/javascript")
    ),
    ("FileFields", "FILE_FIELDS", "", True),
    ("FileFields", "FILE_FIELDS", "*", True),
    ("FileFields", "FILE_FIELDS", "photo, upload[image] Datei", True),
    ("FileFields", "FILE_FIELDS", "x" * 100, True),
    ("FileFields", "FILE_FIELDS", "x" * 101, False),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "", True),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "*", True),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "https://example.com, http://localhost:3000", True),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "example.com", False),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "https://example.com/", False),
]


@pytest.mark.parametrize(("parameter", "variable", "value", "good"), LISTS)
def test_a_list_that_the_function_would_not_start_with_is_not_deployed(
    parameter: str, variable: str, value: str, good: bool
) -> None:
    assert bool(re.fullmatch(TEMPLATE["Parameters"][parameter]["AllowedPattern"], value)) == good
    environ = {"UPLOAD_BUCKET": BUCKET, variable: value}
    if good:
        Settings.from_environ(environ)
    else:
        with pytest.raises(SettingsError, match=variable):
            Settings.from_environ(environ)


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_a_parameter_takes_no_nonsense_and_its_default_is_good(name: str) -> None:
    parameter = TEMPLATE["Parameters"][name]
    default = parameter["Default"]
    if "AllowedValues" in parameter:
        assert default in parameter["AllowedValues"]
        assert all(isinstance(value, str) for value in parameter["AllowedValues"]) or parameter["Type"] == "Number"
    elif parameter["Type"] == "Number":
        assert parameter["MinValue"] <= int(default) <= parameter.get("MaxValue", int(default))
    else:
        assert re.fullmatch(parameter["AllowedPattern"], default)
    assert parameter.get("NoEcho", False) == (name == "TokenSecret")


def test_what_has_to_be_asked_is_asked_first() -> None:
    assert list(TEMPLATE["Parameters"])[:2] == ["Access", "TokenSecret"]
    (rule,) = TEMPLATE["Rules"].values()
    (assertion,) = rule["Assertions"]
    is_public = {"Equals": [{"Ref": "Access"}, "public"]}
    has_a_secret = {"Not": [{"Equals": [{"Ref": "TokenSecret"}, ""]}]}
    assert assertion["Assert"] == {"Or": [is_public, has_a_secret]}
    assert assertion["AssertDescription"].startswith("Say who may upload")


def test_what_not_every_account_can_have_is_off() -> None:
    parameters = TEMPLATE["Parameters"]
    assert parameters["AccessLogs"]["Default"] == parameters["Tracing"]["Default"] == "off"
    assert parameters["ReservedConcurrency"]["Default"] == 0


def test_a_condition_is_what_its_name_says() -> None:
    def equals(parameter: str, value: object) -> dict[str, Any]:
        return {"Equals": [{"Ref": parameter}, value]}

    assert TEMPLATE["Conditions"] == {
        "ForEveryone": equals("Access", "public"),
        "CapConcurrency": {"Not": [equals("ReservedConcurrency", 0)]},
        "LogAccess": equals("AccessLogs", "on"),
        "SendAlarms": {"Not": [equals("AlarmEmail", "")]},
        "TakeSnapshots": equals("SnapStart", "on"),
        "Trace": equals("Tracing", "on"),
        "UseKmsKey": {"Not": [equals("KmsKeyArn", "")]},
    }


def test_a_parameter_gets_to_what_it_is_for() -> None:
    functions = TEMPLATE["Globals"]["Function"]
    assert functions["MemorySize"] == {"Ref": "MemorySize"}
    assert functions["Architectures"] == [{"Ref": "Architecture"}]
    cap = {"If": ["CapConcurrency", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]}
    assert functions["ReservedConcurrentExecutions"] == cap
    assert functions["Tracing"] == {"If": ["Trace", "Active", "PassThrough"]}
    assert API["TracingEnabled"] == {"If": ["Trace", True, False]}
    assert RESOURCES["AccessLog"]["Condition"] == "LogAccess"
    assert RESOURCES["Alarms"]["Condition"] == "SendAlarms"
    (subscription,) = RESOURCES["Alarms"]["Properties"]["Subscription"]
    assert subscription == {"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}


def test_with_snapshots_a_new_revision_publishes_the_function_as_it_is_then() -> None:
    function = RESOURCES["UploadFunction"]["Properties"]
    assert function["SnapStart"] == {"ApplyOn": {"If": ["TakeSnapshots", "PublishedVersions", "None"]}}
    assert function["AutoPublishAlias"] == "published"
    assert function["VersionDeletionPolicy"] == "Delete"
    assert function["VersionDescription"] == {"Ref": "Revision"}
    assert "${Revision}" in function["Description"]["Sub"]  # or Lambda would find nothing to publish
    version = RESOURCES["UploadAlias"]["Properties"]["FunctionVersion"]
    assert version == {"If": ["TakeSnapshots", {"GetAtt": "UploadFunction.Version.Version"}, "$LATEST"]}


# The bucket.

UPLOAD_BUCKET = RESOURCES["UploadBucket"]["Properties"]


def test_what_came_in_and_what_was_deleted_is_swept() -> None:
    rules = {rule["Id"]: rule for rule in UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]}
    assert all(rule["Status"] == "Enabled" for rule in rules.values())
    assert {name: rule.get("Prefix") for name, rule in rules.items()} == {
        "ForgetUnfinishedUploads": None,
        "SweepIncoming": "incoming/",
        "ForgetRefusals": "refused/",
        "ForgetDeletedFiles": None,
    }
    assert rules["ForgetUnfinishedUploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert rules["SweepIncoming"]["ExpirationInDays"] == 1
    assert rules["SweepIncoming"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules["ForgetRefusals"]["ExpirationInDays"] == 7
    assert rules["ForgetDeletedFiles"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert rules["ForgetDeletedFiles"]["ExpiredObjectDeleteMarker"] is True
    # Files themselves and the key of the upload ids stay.
    assert not [rule for rule in rules.values() if "ExpirationInDays" in rule and "Prefix" not in rule]


def test_the_bucket_is_encrypted_with_the_key_that_a_parameter_names() -> None:
    (rule,) = UPLOAD_BUCKET["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    kms = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Ref": "KmsKeyArn"}}
    assert rule["ServerSideEncryptionByDefault"] == {"If": ["UseKmsKey", kms, {"SSEAlgorithm": "AES256"}]}
    assert rule["BucketKeyEnabled"] == {"If": ["UseKmsKey", True, False]}


def test_browsers_may_send_parts_and_forms_and_read_an_etag() -> None:
    (rule,) = UPLOAD_BUCKET["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedMethods"] == ["PUT", "POST"]
    assert rule["AllowedOrigins"] == rule["AllowedHeaders"] == ["*"]
    assert rule["ExposedHeaders"] == ["ETag"]
    assert rule["MaxAge"] == 7200


def test_what_comes_in_is_an_event_for_the_promotion_and_what_fails_is_kept() -> None:
    assert UPLOAD_BUCKET["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    promote = RESOURCES["PromoteFunction"]["Properties"]
    queue, failed = {"GetAtt": "IncomingFiles.Arn"}, {"GetAtt": "FailedPromotions.Arn"}
    rule = RESOURCES["IncomingRule"]["Properties"]
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [{"Ref": "UploadBucket"}]}, "object": {"key": [{"prefix": "incoming/"}]}},
    }
    assert rule["Targets"] == [{"Id": "IncomingFiles", "Arn": queue, "DeadLetterConfig": {"Arn": failed}}]
    assert promote["Timeout"] == 15 * 60
    days = 24 * 60 * 60
    assert RESOURCES["IncomingFiles"]["Properties"] == {
        "VisibilityTimeout": promote["Timeout"] + 60,
        "MessageRetentionPeriod": 2 * days,
        "SqsManagedSseEnabled": True,
        "RedrivePolicy": {"deadLetterTargetArn": failed, "maxReceiveCount": 5},
    }
    assert RESOURCES["FailedPromotions"]["Properties"] == {
        "MessageRetentionPeriod": 14 * days,
        "SqsManagedSseEnabled": True,
    }
    policy = RESOURCES["IncomingQueuesPolicy"]["Properties"]
    assert policy["Queues"] == [{"Ref": "IncomingFiles"}, {"Ref": "FailedPromotions"}]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": [queue, failed],
        "Condition": {"ArnEquals": {"aws:SourceArn": {"GetAtt": "IncomingRule.Arn"}}},
    }


def test_promotions_run_at_bounded_concurrency_by_default() -> None:
    """Without reserved concurrency, which a new account cannot have."""
    promote = RESOURCES["PromoteFunction"]["Properties"]
    assert promote["Events"] == {
        "Incoming": {
            "Type": "SQS",
            "Properties": {
                "Queue": {"GetAtt": "IncomingFiles.Arn"},
                "BatchSize": 1,
                "ScalingConfig": {"MaximumConcurrency": {"Ref": "PromotionConcurrency"}},
            },
        }
    }
    assert promote["ReservedConcurrentExecutions"] == {"Ref": "AWS::NoValue"}
    parameter = TEMPLATE["Parameters"]["PromotionConcurrency"]
    # AWS: "Configuring maximum concurrency for Amazon SQS event sources"
    assert (parameter["MinValue"], parameter["Default"], parameter["MaxValue"]) == (2, 10, 1000)


# To see what happens.


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == kind}


METRIC_FILTERS = of_type("AWS::Logs::MetricFilter")


def matches(pattern: str, line: dict[str, Any]) -> bool:
    """Whether CloudWatch's filter pattern takes that line, as far as ours go: terms with && between them, each of which
    may be several in brackets with || between them."""
    terms = re.fullmatch(r"\{ (.+) \}", pattern)
    assert terms, pattern
    alternatives = [term.removeprefix("(").removesuffix(")").split(" || ") for term in terms[1].split(" && ")]
    return all(any(_holds(term, line) for term in either) for either in alternatives)


def _holds(term: str, line: dict[str, Any]) -> bool:
    found = re.fullmatch(r'(\$\S+) (=|!=|>=) (?:"(.+)"|(\d+))', term)
    assert found, term
    selector, comparison, text, number = found.groups()
    value = selected(selector, line)
    if text is not None:
        return isinstance(value, str) and fnmatchcase(value, text) == (comparison == "=")
    if not isinstance(value, int | float):
        return False
    return {"=": value == int(number), "!=": value != int(number), ">=": value >= int(number)}[comparison]


def selected(selector: str, line: Any) -> Any:
    """What ``$.a[0].b`` stands for in that line."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", selector):
        try:
            line = line[name] if name else line[int(index)]
        except (KeyError, IndexError):
            return None
    return line


def metrics(group: str, line: dict[str, Any]) -> set[tuple[Any, ...]]:
    """What becomes of a line in a log group: metrics, their values, and their reasons."""
    found = set()
    for each in METRIC_FILTERS.values():
        if each["LogGroupName"] == {"Ref": group} and matches(each["FilterPattern"], line):
            (metric,) = each["MetricTransformations"]
            value = metric["MetricValue"]
            reasons = [selected(dimension["Value"], line) for dimension in metric.get("Dimensions", ())]
            found.add((metric["MetricName"], selected(value, line) if value[0] == "$" else int(value), *reasons))
    return found


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_the_log_of_a_request_becomes_metrics(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.put("/upload/a.txt", data=samples.TEXT)
    line = last_line(capsys)
    assert metrics("UploadLog", line) == {
        ("Accepted", 1),
        ("AcceptedBytes", len(samples.TEXT)),
        ("Duration", line["milliseconds"]),
    }
    client.put("/upload/a.txt?for=suneditor", data=samples.TEXT)
    line = last_line(capsys)
    assert line["status"] == 200
    assert {name for name, *_ in metrics("UploadLog", line)} == {"Accepted", "AcceptedBytes", "Duration"}
    client.put("/upload/a.png?for=suneditor", data=samples.TEXT)
    line = last_line(capsys)
    assert line["status"] == 200
    assert {name for name, *_ in metrics("UploadLog", line)} == {"Refused", "Duration"}
    client.put("/upload/a.png", data=samples.TEXT)
    line = last_line(capsys)
    mismatch = "urn:problem-type:upload:content-mismatch"
    assert metrics("UploadLog", line) == {("Refused", 1, mismatch), ("Duration", line["milliseconds"])}
    client.get("/health")
    line = last_line(capsys)
    assert metrics("UploadLog", line) == {("Duration", line["milliseconds"])}


def test_the_log_of_a_promotion_becomes_metrics(
    client: FlaskClient, promote: Callable[[str], Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    direct = DirectClient(client=client)
    promote(send(direct, "a.txt", samples.TEXT)["id"])
    assert metrics("PromoteLog", last_line(capsys)) == {("Accepted", 1), ("AcceptedBytes", len(samples.TEXT))}
    promote(send(direct, "a.png", samples.TEXT)["id"])
    mismatch = "urn:problem-type:upload:content-mismatch"
    assert metrics("PromoteLog", last_line(capsys)) == {("Refused", 1, mismatch)}


def test_a_file_that_comes_in_parts_is_counted_once(
    client: FlaskClient, promote: Callable[[str], Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    direct = DirectClient(client=client)
    mismatch = "urn:problem-type:upload:content-mismatch"
    for name, counted in (("a.png", ("Refused", 1, mismatch)), ("a.txt", ("Accepted", 1))):
        begun = direct.begun(name)
        direct.put(begun, 1, samples.TEXT)
        direct.complete(begun)  # it is judged here, and what S3 says of it is for the other function
        line = last_line(capsys)
        assert line["status"] == {"a.png": 422, "a.txt": 200}[name]
        assert metrics("UploadLog", line) == {("Duration", line["milliseconds"])}
        promote(begun["id"])
        assert counted in metrics("PromoteLog", last_line(capsys))
    direct.complete(direct.begun("a.txt"))  # no verdict: there will be no event
    incomplete = ("Refused", 1, "urn:problem-type:upload:upload-incomplete")
    assert incomplete in metrics("UploadLog", last_line(capsys))


def test_the_dashboard_shows_what_there_is() -> None:
    (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
    body = re.sub(r"\$\{([\w.:]+)\}", r"<\1>", dashboard["DashboardBody"]["Sub"])
    shown = [metric for widget in json.loads(body)["widgets"] for metric in widget["properties"]["metrics"]]
    own = {(each["MetricTransformations"][0]["MetricName"]) for each in METRIC_FILTERS.values()}
    assert {metric[1] for metric in shown if metric[0] == "upload/<AWS::StackName>"} == own - {"Refused"}
    (search,) = [metric[0]["expression"] for metric in shown if isinstance(metric[0], dict)]
    assert search == """SEARCH('{"upload/<AWS::StackName>",Reason} Refused', 'Sum', 300)"""
    theirs = [metric for metric in shown if str(metric[0]).startswith("AWS/")]
    api = ["ApiName", "<AWS::StackName>", "Stage", API["StageName"]]
    queues = [["QueueName", f"<{name}.QueueName>"] for name in ("IncomingFiles", "FailedPromotions")]
    assert theirs == [
        *(["AWS/ApiGateway", name, *api] for name in ("Count", "4XXError", "5XXError")),
        ["AWS/Lambda", "Errors", "FunctionName", "<UploadFunction>"],
        ["AWS/Lambda", "Throttles", "FunctionName", "<UploadFunction>"],
        ["AWS/Lambda", "Errors", "FunctionName", "<PromoteFunction>"],
        *(["AWS/SQS", "ApproximateNumberOfMessagesVisible", *queue, {"stat": "Maximum"}] for queue in queues),
    ]
    namespaces = {each["MetricTransformations"][0]["MetricNamespace"]["Sub"] for each in METRIC_FILTERS.values()}
    assert namespaces == {"upload/${AWS::StackName}"}


def test_alarms_ring_for_what_nobody_should_have_to_look_for() -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")
    watched = {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms.values()}
    assert watched == {
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/ApiGateway", "5XXError"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    }
    api = [{"Name": "ApiName", "Value": API["Name"]}, {"Name": "Stage", "Value": API["StageName"]}]
    function = [{"Name": "FunctionName", "Value": {"Ref": "UploadFunction"}}]
    assert {name: alarm["Dimensions"] for name, alarm in alarms.items()} == {
        "ErrorsAlarm": function,
        "ThrottlesAlarm": function,
        "ServerErrorsAlarm": api,
        "FailedPromotionsAlarm": [{"Name": "QueueName", "Value": {"GetAtt": "FailedPromotions.QueueName"}}],
    }
    told = {"If": ["SendAlarms", [{"Ref": "Alarms"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in alarms.items():
        assert alarm["AlarmDescription"]
        # One is enough, within five minutes; and when it is over, that is said as well.
        assert alarm["Statistic"] == ("Maximum" if name == "FailedPromotionsAlarm" else "Sum")
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["Threshold"]) == (300, 1, 1)
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmActions"] == alarm["OKActions"] == told


def test_a_metric_has_its_unit() -> None:
    transformations = [each["MetricTransformations"][0] for each in METRIC_FILTERS.values()]
    units = {(each["MetricName"], each["Unit"]) for each in transformations}
    assert units == {
        ("Accepted", "Count"),
        ("AcceptedBytes", "Bytes"),
        ("Refused", "Count"),
        ("Duration", "Milliseconds"),
    }


def test_logs_are_forgotten() -> None:
    groups = of_type("AWS::Logs::LogGroup")
    assert set(groups) == {"UploadLog", "PromoteLog", "AccessLog"}
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())


def test_what_checkov_is_told_to_skip_has_its_reason() -> None:
    skipped = [
        entry
        for resource in RESOURCES.values()
        for entry in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]
    assert skipped
    assert all(re.fullmatch(r"CKV_AWS_\d+", entry["id"]) and len(entry["comment"]) > 20 for entry in skipped)


# As CloudFormation has it, as far as moto goes: it knows neither bucket policies, alarms, metric filters, aliases nor
# what the API is made of, and of a bucket no more than its encryption.

UNKNOWN_TO_MOTO = (
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
)


@pytest.fixture(scope="module")
def expanded() -> str:
    """The template as SAM makes it."""
    sam = shutil.which("sam")
    if not sam:
        pytest.skip("there is no sam on the PATH; .ci/run installs it")
    command = [str(Path(sam).with_name("python")), ".ci/expand"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def create_stack(s3: S3Client, expanded: str) -> Callable[..., dict[str, str]]:
    """Creates the stack with these parameters, and returns its outputs."""
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="bucket", Key="key", Body=b"code")
    template = json.loads(expanded)
    del template["Rules"]
    resources = template["Resources"].items()
    template["Resources"] = {name: each for name, each in resources if each["Type"] not in UNKNOWN_TO_MOTO}

    def create_stack(**parameters: str) -> dict[str, str]:
        client = boto3.client("cloudformation")
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        client.create_stack(StackName="upload", TemplateBody=json.dumps(template), Parameters=given)
        (stack,) = client.describe_stacks(StackName="upload")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    return create_stack


def sids(role: str) -> list[str]:
    """The statements of a role in moto's IAM."""
    client = boto3.client("iam")
    (name,) = [each["RoleName"] for each in client.list_roles()["Roles"] if ROLES[role] in each["RoleName"]]
    document = client.get_role_policy(RoleName=name, PolicyName=role)["PolicyDocument"]
    return re.findall(r"'Sid': '(\w+)'", str(document))  # moto has it as Python writes it


@pytest.mark.sam
def test_a_stack_of_the_defaults(s3: S3Client, create_stack: Callable[..., dict[str, str]]) -> None:
    outputs = create_stack(TokenSecret=SECRET)
    assert re.fullmatch(r"https://\w+\.execute-api\.eu-central-1\.amazonaws\.com/live/upload", outputs["Endpoint"])
    assert outputs["Curl"].endswith(outputs["Endpoint"])
    (rule,) = s3.get_bucket_encryption(Bucket=outputs["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    functions = {each["Timeout"]: each for each in boto3.client("lambda").list_functions()["Functions"]}
    for timeout, access in ((29, "token"), (900, None)):
        assert functions[timeout]["MemorySize"] == 512
        environ = functions[timeout]["Environment"]["Variables"]
        settings = Settings.from_environ(environ | {"AWS_LAMBDA_FUNCTION_NAME": "upload"})
        assert (settings.upload_bucket, settings.access) == (outputs["Bucket"], access)
    (event,) = boto3.client("events").list_rules()["Rules"]
    assert json.loads(event["EventPattern"])["detail"]["bucket"]["name"] == [outputs["Bucket"]]
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [30, 30], "there is no access log"
    for role in ROLES:
        assert "Log" in sids(role)
        assert not {"UseKey", "Trace"} & set(sids(role))
    assert boto3.client("sns").list_topics()["Topics"] == []


@pytest.mark.sam
def test_a_stack_with_everything(s3: S3Client, create_stack: Callable[..., dict[str, str]]) -> None:
    key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    outputs = create_stack(
        Access="public",
        KmsKeyArn=key,
        AlarmEmail="somebody@example.com",
        AccessLogs="on",
        Tracing="on",
        SnapStart="on",
        ReservedConcurrency="5",
        LogRetentionDays="7",
    )
    (rule,) = s3.get_bucket_encryption(Bucket=outputs["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [7, 7, 7]
    for role in ROLES:
        assert {"UseKey", "Trace"} < set(sids(role))
    (subscription,) = boto3.client("sns").list_subscriptions()["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "somebody@example.com")


# What CloudFormation would tell S3, told to S3.


def configure(client: S3Client, bucket: str) -> None:
    """Give a bucket what the template gives it."""
    rules: list[Any] = []
    for each in UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]:
        rule: Any = {"ID": each["Id"], "Status": each["Status"], "Filter": {"Prefix": each.get("Prefix", "")}}
        expiration = {"Days": each.get("ExpirationInDays")}
        expiration["ExpiredObjectDeleteMarker"] = each.get("ExpiredObjectDeleteMarker")
        rule["Expiration"] = {name: value for name, value in expiration.items() if value is not None}
        for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
            rule[name] = each.get(name)
        rules.append({name: value for name, value in rule.items() if value})
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    (cors,) = UPLOAD_BUCKET["CorsConfiguration"]["CorsRules"]
    renamed: Any = {
        {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds"}.get(k, k): v for k, v in cors.items()
    }
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [renamed]})
    client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=UPLOAD_BUCKET["OwnershipControls"])
    client.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration=UPLOAD_BUCKET["PublicAccessBlockConfiguration"]
    )
    document = json.dumps(RESOURCES["UploadBucketPolicy"]["Properties"]["PolicyDocument"])
    arn = f"arn:aws:s3:::{bucket}"
    document = document.replace('{"GetAtt": "UploadBucket.Arn"}', f'"{arn}"')
    document = re.sub(r'\{"Sub": "\$\{UploadBucket\.Arn\}([^"]*)"\}', rf'"{arn}\1"', document)
    client.put_bucket_policy(Bucket=bucket, Policy=document)
    client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


@pytest.mark.strict_s3
def test_s3_takes_what_the_template_says_of_the_bucket(strict_s3: S3Client, strict_bucket: str) -> None:
    configure(strict_s3, strict_bucket)
    rules = strict_s3.get_bucket_lifecycle_configuration(Bucket=strict_bucket)["Rules"]
    assert [rule["ID"] for rule in rules] == [each["Id"] for each in UPLOAD_BUCKET["LifecycleConfiguration"]["Rules"]]
    block = strict_s3.get_public_access_block(Bucket=strict_bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    (owner,) = strict_s3.get_bucket_ownership_controls(Bucket=strict_bucket)["OwnershipControls"]["Rules"]
    assert owner["ObjectOwnership"] == "BucketOwnerEnforced"
    policy = json.loads(strict_s3.get_bucket_policy(Bucket=strict_bucket)["Policy"])
    assert policy["Statement"][1]["Resource"] == f"arn:aws:s3:::{strict_bucket}/files/*"
    assert "EventBridgeConfiguration" in strict_s3.get_bucket_notification_configuration(Bucket=strict_bucket)


@pytest.mark.strict_s3
def test_a_page_from_anywhere_may_send_a_part_and_a_form(strict_s3: S3Client, strict_bucket: str) -> None:
    configure(strict_s3, strict_bucket)
    client = create_app(Settings.from_environ({"UPLOAD_BUCKET": strict_bucket, "ACCESS": "public"})).test_client()
    direct = DirectClient(client=client)
    part: Any = direct.part_url(direct.begun("a.txt"), 1).json
    form: Any = direct.presigned_post("a.txt").json
    origin = {"Origin": "https://example.com"}
    for method, url in (("PUT", part["url"]), ("POST", form["url"])):
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
        preflight = requests.options(url, headers=origin | asked, timeout=10)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] in ("*", "https://example.com")
        assert method in preflight.headers["Access-Control-Allow-Methods"]
        asked["Access-Control-Request-Method"] = "DELETE"
        assert requests.options(url, headers=origin | asked, timeout=10).status_code == 403
    sent = requests.put(part["url"], data=samples.TEXT, headers=origin, timeout=10)
    assert sent.status_code == 200
    assert "etag" in sent.headers["Access-Control-Expose-Headers"].lower()


# How it gets there.

WORKFLOW: dict[str, Any] = yaml.load((ROOT / ".github/workflows/ci.yml").read_text(), Loader=yaml.BaseLoader)


def test_every_push_is_tested_and_main_is_deployed_by_a_role_without_a_stored_key() -> None:
    assert set(WORKFLOW["on"]) == {"push", "pull_request"}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    test, deploy = WORKFLOW["jobs"]["test"], WORKFLOW["jobs"]["deploy"]
    assert [step["run"] for step in test["steps"] if "run" in step] == [".ci/run"]
    assert deploy["needs"] == "test"
    assert "github.event_name == 'push' && github.ref == 'refs/heads/main'" in deploy["if"]
    assert deploy["permissions"] == {"contents": "read", "id-token": "write"}
    secrets = re.findall(r"secrets\.(\w+)", repr(WORKFLOW))
    assert secrets == ["TOKEN_SECRET"]
    given = re.findall(r'"(\w+)=', deploy["steps"][-1]["run"])
    assert given == ["Revision", "TokenSecret"]
    # SAM takes no parameter without a value.
    assert '${TOKEN_SECRET:+"TokenSecret=$TOKEN_SECRET"}' in deploy["steps"][-1]["run"]


def test_everything_is_built_before_the_role_is_assumed() -> None:
    """Packages that a build brings could otherwise use the credentials of the role."""
    steps = [str(step) for step in WORKFLOW["jobs"]["deploy"]["steps"]]
    install, build, role, deploy = (
        next(number for number, step in enumerate(steps) if text in step)
        for text in ("make .venv-sam", "sam build", "configure-aws-credentials", "sam deploy")
    )
    assert (install, build, role, deploy) == tuple(range(install, len(steps)))
    assert "sam build" not in steps[deploy]
    assert [number for number, step in enumerate(steps) if "secrets." in step] == [deploy]


def test_the_readme_limits_the_environment_that_may_assume_the_role() -> None:
    environment = WORKFLOW["jobs"]["deploy"]["environment"]
    assert f"environment:{environment}`" in section("docs/deploy.md", "From GitHub Actions")
    assert f"Limit the environment `{environment}` to the branch `main`" in section(
        "docs/deploy.md", "From GitHub Actions"
    )


def test_actions_are_pinned_to_commits() -> None:
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"] if "uses" in step]
    assert steps
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in steps)


def test_there_are_stacks_to_try_things_out_and_for_real() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    stages = [config[name]["deploy"]["parameters"] for name in ("default", "dev", "prod")]
    stacks = [stages[0].get("stack_name", config["default"]["global"]["parameters"]["stack_name"])]
    stacks += [stage["stack_name"] for stage in stages[1:]]
    assert len(set(stacks)) == 3
    for stage in stages:
        assert stage["capabilities"] == "CAPABILITY_IAM"
        assert stage["resolve_s3"] is True
        # Who may upload is said at the command line, never by default.
        assert "parameter_overrides" not in stage
    assert config["prod"]["deploy"]["parameters"]["confirm_changeset"] is True

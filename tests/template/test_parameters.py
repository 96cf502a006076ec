"""The template's parameters and conditions, compared with the settings of the code."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from handler.inspection.filetypes import KNOWN, SHOWABLE
from handler.settings import Settings, SettingsError
from handler.storage import KEEP_DAYS

from ..conftest import BUCKET
from ..support.template import DEFAULTS, RESOURCES, TEMPLATE, evaluate


@pytest.mark.parametrize(
    ("secret", "good"),
    [("", True), ("x" * 31, False), ("x" * 32, True), (f"{'x' * 32},{'y' * 32}", True), (f"{'x' * 32},short", False)],
)
def test_invalid_secret_is_rejected_by_template_and_function(secret: str, good: bool) -> None:
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
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "+docx +mp4", True),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "+mp4,+stl=model/a+b", True),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "+mp4 mov", False),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "png, +mp4", False),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "++mp4", False),
    ("AllowedExtensions", "ALLOWED_EXTENSIONS", "+stl", False),
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
    ("InlineExtensions", "INLINE_EXTENSIONS", "", True),
    ("InlineExtensions", "INLINE_EXTENSIONS", " ".join(SHOWABLE), True),
    ("InlineExtensions", "INLINE_EXTENSIONS", "png, jpg,pdf", True),
    *(("InlineExtensions", "INLINE_EXTENSIONS", known, False) for known in KNOWN if known not in SHOWABLE),
    ("InlineExtensions", "INLINE_EXTENSIONS", "svg", False),
    ("InlineExtensions", "INLINE_EXTENSIONS", "pngjpg", False),
    ("FileFields", "FILE_FIELDS", "", True),
    ("FileFields", "FILE_FIELDS", "*", True),
    ("FileFields", "FILE_FIELDS", "photo, upload[image] Datei", True),
    ("FileFields", "FILE_FIELDS", "x" * 100, True),
    ("FileFields", "FILE_FIELDS", "x" * 101, False),
    ("MetadataFields", "METADATA_FIELDS", "", True),
    ("MetadataFields", "METADATA_FIELDS", "album, description tags[]", True),
    ("MetadataFields", "METADATA_FIELDS", "x" * 100, True),
    ("MetadataFields", "METADATA_FIELDS", "x" * 101, False),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "", True),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "*", True),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "https://example.com, http://localhost:3000", True),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "example.com", False),
    ("AllowedOrigins", "ALLOWED_ORIGINS", "https://example.com/", False),
]


@pytest.mark.parametrize(("parameter", "variable", "value", "good"), LISTS)
def test_invalid_list_is_rejected_by_template_and_function(
    parameter: str, variable: str, value: str, good: bool
) -> None:
    assert bool(re.fullmatch(TEMPLATE["Parameters"][parameter]["AllowedPattern"], value)) == good
    environ = {"UPLOAD_BUCKET": BUCKET, variable: value}
    if good:
        Settings.from_environ(environ)
    else:
        with pytest.raises(SettingsError, match=variable):
            Settings.from_environ(environ)


def test_template_has_the_days_that_the_function_knows() -> None:
    days = ["", *map(str, KEEP_DAYS)]
    assert TEMPLATE["Parameters"]["KeepDays"]["AllowedValues"] == days
    for number in days:
        Settings.from_environ({"KEEP_DAYS": number})


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_parameter_has_constraints_and_a_valid_default(name: str) -> None:
    parameter = TEMPLATE["Parameters"][name]
    default = parameter["Default"]
    if "AllowedValues" in parameter:
        assert default in parameter["AllowedValues"]
        assert all(isinstance(value, str) for value in parameter["AllowedValues"]) or parameter["Type"] == "Number"
    elif parameter["Type"] == "Number":
        assert parameter["MinValue"] <= int(default) <= parameter.get("MaxValue", int(default))
    else:
        assert re.fullmatch(parameter["AllowedPattern"], default)
    assert parameter.get("NoEcho", False) == name.endswith("Secret")


def test_required_answers_are_asked_first() -> None:
    assert list(TEMPLATE["Parameters"])[:2] == ["Access", "TokenSecret"]


@pytest.mark.parametrize(
    ("access", "secret", "deployed"),
    [("token", "", False), ("token", "x" * 32, True), ("public", "", True), ("public", "x" * 32, True)],
)
def test_stack_without_access_is_not_deployed(access: str, secret: str, deployed: bool) -> None:
    assert is_deployed(Access=access, TokenSecret=secret) == deployed


def is_deployed(**parameters: str) -> bool:
    """Return whether the rules of the template let CloudFormation deploy these parameters."""
    given = DEFAULTS | parameters
    rules = [rule for rule in TEMPLATE["Rules"].values() if evaluate(rule.get("RuleCondition", {"And": []}), given)]
    return all(evaluate(each["Assert"], given) for rule in rules for each in rule["Assertions"])


WEBHOOK_SECRET = f"whsec_{'A' * 43}="


@pytest.mark.parametrize(
    ("url", "secret", "deployed"),
    [("", "", True), ("https://example.com/hook", "", False), ("https://example.com/hook", WEBHOOK_SECRET, True)],
)
def test_webhook_without_a_secret_is_not_deployed(url: str, secret: str, deployed: bool) -> None:
    assert is_deployed(Access="public", WebhookUrl=url, WebhookSecret=secret) == deployed


WEBHOOKS = [
    ("WebhookUrl", "WEBHOOK_URL", "https://example.com/hooks/uploads?key=a&b=c@d", True),
    ("WebhookUrl", "WEBHOOK_URL", "http://[::1]:8000/", True),
    ("WebhookUrl", "WEBHOOK_URL", "https://example.com", True),
    ("WebhookUrl", "WEBHOOK_URL", "https://example.com?x", True),
    ("WebhookUrl", "WEBHOOK_URL", "ftp://example.com/", False),
    ("WebhookUrl", "WEBHOOK_URL", "example.com/hook", False),
    ("WebhookUrl", "WEBHOOK_URL", "https:///hook", False),
    ("WebhookUrl", "WEBHOOK_URL", "https://user:word@example.com/", False),
    ("WebhookUrl", "WEBHOOK_URL", "https://example.com/#top", False),
    ("WebhookUrl", "WEBHOOK_URL", "https://example.com/a b", False),
    ("WebhookUrl", "WEBHOOK_URL", "https://example.com/ä", False),
    ("WebhookUrl", "WEBHOOK_URL", f"https://example.com/{'x' * 3000}", False),
    ("EndpointUrl", "ENDPOINT_URL", "https://uploads.example.com", True),
    ("EndpointUrl", "ENDPOINT_URL", "https://example.com/uploads/", True),
    ("EndpointUrl", "ENDPOINT_URL", "uploads.example.com", False),
    ("WebhookSecret", "WEBHOOK_SECRET", WEBHOOK_SECRET, True),
    ("WebhookSecret", "WEBHOOK_SECRET", f"{WEBHOOK_SECRET},{WEBHOOK_SECRET}", True),
    ("WebhookSecret", "WEBHOOK_SECRET", f"{WEBHOOK_SECRET},{WEBHOOK_SECRET},{WEBHOOK_SECRET}", False),
    ("WebhookSecret", "WEBHOOK_SECRET", "A" * 44, False),
    ("WebhookSecret", "WEBHOOK_SECRET", f"whsec_{'A' * 28}", False),
    ("WebhookSecret", "WEBHOOK_SECRET", f"whsec_{'A' * 100}", False),
    ("WebhookSecret", "WEBHOOK_SECRET", f"whsec_{'*' * 40}", False),
]


@pytest.mark.parametrize(("parameter", "variable", "value", "good"), WEBHOOKS)
def test_invalid_webhook_is_rejected_by_template_and_function(
    parameter: str, variable: str, value: str, good: bool
) -> None:
    assert bool(re.fullmatch(TEMPLATE["Parameters"][parameter]["AllowedPattern"], value)) == good
    environ = {"UPLOAD_BUCKET": BUCKET, "WEBHOOK_SECRET": WEBHOOK_SECRET, variable: value}
    if good:
        Settings.from_environ(environ)
    else:
        with pytest.raises(SettingsError, match=variable) as caught:
            Settings.from_environ(environ)
        assert value not in str(caught.value), "it may hold a secret"


def conditions_of(**parameters: object) -> set[str]:
    """Return the names of the conditions that hold."""
    conditions = TEMPLATE["Conditions"].items()
    return {name for name, condition in conditions if evaluate(condition, DEFAULTS | parameters)}


OPTIONS = {
    "Access": "public",
    "AccessLogs": "on",
    "AlarmEmail": "somebody@example.com",
    "EndpointUrl": "https://uploads.example.com",
    "KmsKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "ReservedConcurrency": 1,
    "SnapStart": "on",
    "Tracing": "on",
    "WebhookUrl": "https://example.com/hook",
}


def test_every_option_is_off_by_default_and_switches_one_condition() -> None:
    # A new account has no concurrency to reserve, and none has the role that access logs need.
    assert conditions_of() == set()
    switched = [conditions_of(**{name: value}) for name, value in OPTIONS.items()]
    assert [len(conditions) for conditions in switched] == [1] * len(OPTIONS)
    assert set().union(*switched) == set(TEMPLATE["Conditions"])


def test_new_revision_changes_the_function() -> None:
    # Lambda publishes a version only if the function has changed.
    assert "${Revision}" in RESOURCES["UploadFunction"]["Properties"]["Description"]["Sub"]


def test_every_parameter_is_in_one_group_with_a_label() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert all(group["Label"]["default"] for group in groups)
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(TEMPLATE["Parameters"])


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_description_of_a_parameter_is_an_imperative(name: str) -> None:
    description = TEMPLATE["Parameters"][name]["Description"]
    assert description.split()[0] in ("Set", "Limit", "List", "Paste")
    assert not description.endswith(".")


def test_description_of_the_secret_names_the_command_that_makes_one() -> None:
    parameter = TEMPLATE["Parameters"]["TokenSecret"]
    command = "openssl rand -hex 32"
    assert command in parameter["Description"]
    assert command in parameter["ConstraintDescription"]  # CloudFormation's answer to a value that does not match
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    secret = subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout.strip()
    assert re.fullmatch(parameter["AllowedPattern"], secret)

"""Metrics, dashboard, alarms and log groups, compared with the lines that the code logs."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from ..support import samples
from ..support.direct_client import DirectClient, send_form
from ..support.s3_permissions import Recorder
from ..support.template import API, RESOURCES, of_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient


METRIC_FILTERS = of_type("AWS::Logs::MetricFilter")


def matches(pattern: str, line: dict[str, Any]) -> bool:
    """Whether a filter pattern of CloudWatch matches a line.

    Only our kind of pattern: terms joined by ``&&``, where a term may be several in brackets, joined by ``||``.
    """
    terms = re.fullmatch(r"\{ (.+) \}", pattern)
    assert terms, pattern
    alternatives = [term.removeprefix("(").removesuffix(")").split(" || ") for term in terms[1].split(" && ")]
    return all(any(_holds(term, line) for term in either) for either in alternatives)


def _holds(term: str, line: dict[str, Any]) -> bool:
    match = re.fullmatch(r'(\$\S+) (=|!=|>=) (?:"(.+)"|(\d+))', term)
    assert match, term
    selector, comparison, text, number = match.groups()
    value = selected(selector, line)
    if text is not None:
        return isinstance(value, str) and fnmatchcase(value, text) == (comparison == "=")
    if not isinstance(value, int | float):
        return False
    return {"=": value == int(number), "!=": value != int(number), ">=": value >= int(number)}[comparison]


def selected(selector: str, line: Any) -> Any:
    """Return the value of a selector such as ``$.a[0].b``, or None."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", selector):
        try:
            line = line[name] if name else line[int(index)]
        except (KeyError, IndexError):
            return None
    return line


def metrics(group: str, line: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Return the metrics of a line in a log group, with their values and reasons."""
    counted = set()
    for metric_filter in METRIC_FILTERS.values():
        if metric_filter["LogGroupName"] == {"Ref": group} and matches(metric_filter["FilterPattern"], line):
            (metric,) = metric_filter["MetricTransformations"]
            value = metric["MetricValue"]
            reasons = [selected(dimension["Value"], line) for dimension in metric.get("Dimensions", ())]
            counted.add((metric["MetricName"], selected(value, line) if value[0] == "$" else int(value), *reasons))
    return counted


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_log_of_a_request_becomes_metrics(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_log_of_a_promotion_becomes_metrics(
    client: FlaskClient, promote: Callable[[str], Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    direct = DirectClient(client=client)
    promote(send_form(direct, "a.txt", samples.TEXT)["id"])
    assert metrics("PromoteLog", last_line(capsys)) == {("Accepted", 1), ("AcceptedBytes", len(samples.TEXT))}
    promote(send_form(direct, "a.png", samples.TEXT)["id"])
    mismatch = "urn:problem-type:upload:content-mismatch"
    assert metrics("PromoteLog", last_line(capsys)) == {("Refused", 1, mismatch)}


def test_file_sent_in_parts_is_counted_once(
    client: FlaskClient, promote: Callable[[str], Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    direct = DirectClient(client=client)
    mismatch = "urn:problem-type:upload:content-mismatch"
    for name, counted in (("a.png", ("Refused", 1, mismatch)), ("a.txt", ("Accepted", 1))):
        begun = direct.begun(name)
        direct.put(begun, 1, samples.TEXT)
        direct.complete(begun)  # promotes the file here; the event of S3 reaches the other function
        line = last_line(capsys)
        assert line["status"] == {"a.png": 422, "a.txt": 200}[name]
        assert metrics("UploadLog", line) == {("Duration", line["milliseconds"])}
        promote(begun["id"])
        assert counted in metrics("PromoteLog", last_line(capsys))
    direct.complete(direct.begun("a.txt"))  # without a part: S3 sends no event
    incomplete = ("Refused", 1, "urn:problem-type:upload:upload-incomplete")
    assert incomplete in metrics("UploadLog", last_line(capsys))


def test_dashboard_shows_every_metric() -> None:
    (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
    shown = [metric for widget in widgets(dashboard, webhooks=True) for metric in widget["properties"]["metrics"]]
    own = {(metric_filter["MetricTransformations"][0]["MetricName"]) for metric_filter in METRIC_FILTERS.values()}
    assert {metric[1] for metric in shown if metric[0] == "upload/<AWS::StackName>"} == own - {"Refused"}
    (search,) = [metric[0]["expression"] for metric in shown if isinstance(metric[0], dict)]
    assert search == """SEARCH('{"upload/<AWS::StackName>",Reason} Refused', 'Sum', 300)"""
    namespaces = {
        metric_filter["MetricTransformations"][0]["MetricNamespace"]["Sub"] for metric_filter in METRIC_FILTERS.values()
    }
    assert namespaces == {"upload/${AWS::StackName}"}


def widgets(dashboard: dict[str, Any], *, webhooks: bool) -> list[Any]:
    """Return the widgets of the dashboard, with the names of the references."""
    body, values = dashboard["DashboardBody"]["Sub"]
    condition, with_webhooks, without = values["Webhooks"]["If"]
    assert condition == "SendWebhooks"
    body = body.replace("${Webhooks}", with_webhooks["Sub"] if webhooks else without)
    counted: list[Any] = json.loads(re.sub(r"\$\{([\w.:]+)\}", r"<\1>", body))["widgets"]
    return counted


def test_dashboard_shows_webhooks_if_there_are_any() -> None:
    (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
    titles = [widget["properties"]["title"] for widget in widgets(dashboard, webhooks=False)]
    assert [widget["properties"]["title"] for widget in widgets(dashboard, webhooks=True)] == [*titles, "Webhooks"]


def test_dashboard_and_alarms_watch_the_deployed_api() -> None:
    (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
    stage = API["StageName"]
    assert API["Name"] == {"Ref": "AWS::StackName"}
    assert f'"ApiName", "${{AWS::StackName}}", "Stage", "{stage}"' in dashboard["DashboardBody"]["Sub"][0]
    watched = [alarm for alarm in of_type("AWS::CloudWatch::Alarm").values() if alarm["Namespace"] == "AWS/ApiGateway"]
    assert watched
    for alarm in watched:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
        assert dimensions == {"ApiName": API["Name"], "Stage": stage}


def test_logs_expire() -> None:
    groups = of_type("AWS::Logs::LogGroup")
    assert groups
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())


def test_every_skipped_check_of_checkov_has_its_reason() -> None:
    skipped = [
        entry
        for resource in RESOURCES.values()
        for entry in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]
    assert skipped
    assert all(re.fullmatch(r"CKV_AWS_\d+", entry["id"]) and len(entry["comment"]) > 20 for entry in skipped)

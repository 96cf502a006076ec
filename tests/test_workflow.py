"""The workflow that tests every push and deploys the main branch."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from .support.documentation import ROOT
from .support.template import TEMPLATE

WORKFLOW: dict[str, Any] = yaml.load((ROOT / ".github/workflows/ci.yml").read_text(), Loader=yaml.BaseLoader)


def run_lines(job: str) -> list[str]:
    """The commands of a job."""
    return [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]


def test_every_push_is_tested_on_each_python_and_checked_once() -> None:
    assert set(WORKFLOW["on"]) == {"push", "pull_request"}
    jobs = WORKFLOW["jobs"]
    assert jobs["test"]["strategy"]["matrix"] == {"python": ["3.11", "3.12", "3.13"]}
    assert run_lines("test") == ["make test"]
    assert run_lines("check") == [".ci/run"]
    assert run_lines("coverage")[0] == "make coverage"
    assert run_lines("coverage")[-1].endswith('>> "$GITHUB_STEP_SUMMARY"')
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={jobs['test']['strategy']['matrix']['python'][0]}"
    assert TEMPLATE["Globals"]["Function"]["Runtime"] == f"python{jobs['test']['strategy']['matrix']['python'][-1]}"


def test_main_is_deployed_by_a_role_without_a_stored_key() -> None:
    build, deploy = WORKFLOW["jobs"]["build"], WORKFLOW["jobs"]["deploy"]
    assert build["needs"] == ["test", "check"]
    assert "github.event_name == 'push' && github.ref == 'refs/heads/main'" in build["if"]
    assert deploy["needs"] == "build"  # a job is skipped where the job that it needs is
    secrets = re.findall(r"secrets\.(\w+)", repr(WORKFLOW))
    assert secrets == ["TOKEN_SECRET"]
    given = re.findall(r'"(\w+)=', deploy["steps"][-1]["run"])
    assert given == ["Revision", "TokenSecret"]
    # SAM takes no parameter without a value.
    assert '${TOKEN_SECRET:+"TokenSecret=$TOKEN_SECRET"}' in deploy["steps"][-1]["run"]


def test_only_the_deployment_may_ask_for_an_oidc_token_and_it_installs_and_builds_nothing() -> None:
    """A package that a build installs could otherwise use the permissions of the role."""
    assert WORKFLOW["permissions"] == {"contents": "read"}
    permitted = {name: job["permissions"] for name, job in WORKFLOW["jobs"].items() if "permissions" in job}
    assert permitted == {"deploy": {"contents": "read", "id-token": "write"}}
    builds = [job for job in WORKFLOW["jobs"] if any("sam build" in line for line in run_lines(job))]
    assert builds == ["build"]
    (command,) = run_lines("deploy")
    assert command.startswith("sam deploy ")
    used = [step["uses"].partition("@")[0] for step in WORKFLOW["jobs"]["deploy"]["steps"] if "uses" in step]
    assert used == ["actions/checkout", "actions/download-artifact", "aws-actions/configure-aws-credentials"]

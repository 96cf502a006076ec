"""The workflow that tests every push and deploys the main branch."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml

from .support.documentation import DOCUMENTS, ROOT

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


def test_documents_limit_the_environment_that_may_assume_the_role() -> None:
    environment = WORKFLOW["jobs"]["deploy"]["environment"]
    assert f"environment:{environment}`" in DOCUMENTS
    assert f"Limit the environment `{environment}` to the branch `main`" in DOCUMENTS


def test_actions_are_pinned_to_commits() -> None:
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"] if "uses" in step]
    assert steps
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in steps)


def test_stacks_to_try_and_for_production_differ() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    stages = [config[name]["deploy"]["parameters"] for name in ("default", "dev", "prod")]
    stacks = [stages[0].get("stack_name", config["default"]["global"]["parameters"]["stack_name"])]
    stacks += [stage["stack_name"] for stage in stages[1:]]
    assert len(set(stacks)) == 3
    for stage in stages:
        assert stage["capabilities"] == "CAPABILITY_IAM"
        assert stage["resolve_s3"] is True
        # The command line says who may upload.
        assert "parameter_overrides" not in stage
    assert config["prod"]["deploy"]["parameters"]["confirm_changeset"] is True

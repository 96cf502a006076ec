"""The files that a contributor meets first: CONTRIBUTING.md, the issue form, Dependabot's configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_bug_report_asks_for_the_facts_that_reproduce_a_failure() -> None:
    form = load(".github/ISSUE_TEMPLATE/bug.yml")
    fields = {field["id"]: field for field in form["body"] if field["type"] != "markdown"}
    assert {"curl", "request-id", "where", "version"} <= set(fields)
    assert all(fields[name]["validations"]["required"] for name in ("curl", "request-id", "where", "version"))
    options = " ".join(fields["where"]["attributes"]["options"])
    assert "Local server" in options
    assert "AWS" in options


def test_dependabot_watches_every_file_that_pins_a_package_or_an_action() -> None:
    updates = load(".github/dependabot.yml")["updates"]
    folders = {update["package-ecosystem"]: update.get("directories") or [update["directory"]] for update in updates}
    pinned = {path.parent for path in (*ROOT.glob("*/requirements.txt"), ROOT / "pyproject.toml")}
    assert {ROOT / folder.strip("/") for folder in folders["pip"]} == pinned
    assert folders["github-actions"] == ["/"]


def test_contributing_names_only_targets_and_files_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)`", CONTRIBUTING)) | set(
        re.findall(r"^make ([a-z-]+)", CONTRIBUTING, re.MULTILINE)
    )
    assert {"run", "test"} <= named <= targets
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:yaml|md|toml))`", CONTRIBUTING)
    assert len(paths) > 5
    assert not [path for path in paths if not (ROOT / path).exists()]

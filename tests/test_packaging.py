"""The package as other projects install it, and the make targets of a new user."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def versions(lines: Iterable[str]) -> dict[str, str]:
    """Return the pinned version of each package."""
    pinned = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {each.name: next(iter(each.specifier)).version for each in pinned}


PINNED = versions((ROOT / "handler" / "requirements.txt").read_text().splitlines())


def test_library_install_has_ranges_that_hold_the_shipped_versions() -> None:
    ranges = [Requirement(line) for line in PROJECT["dependencies"]]
    assert {each.name for each in ranges} <= PINNED.keys()
    for each in ranges:
        assert {part.operator for part in each.specifier} == {">=", "<"}, each
        assert each.specifier.contains(PINNED[each.name]), each


def test_every_imported_package_is_a_dependency() -> None:
    names = {"awsgi": "aws-wsgi", "jwt": "pyjwt"}
    imported = {
        match
        for path in (ROOT / "handler").rglob("*.py")
        for match in re.findall(r"^ *(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }
    packages = {names.get(name, name) for name in imported}
    declared = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert packages & PINNED.keys() == declared


def test_boto3_range_holds_the_tested_version() -> None:
    (boto3,) = [Requirement(line) for line in EXTRAS["s3"]]
    tested = {Requirement(line).name: Requirement(line) for line in EXTRAS["dev"]}["boto3"]
    assert boto3.specifier.contains(next(iter(tested.specifier)).version)


def make(*arguments: str, **environ: str) -> str:
    """Run make without the settings of this environment, and return its output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "UPLOAD_"))} | environ
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=clean, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_image_runs_the_server_as_a_user_that_is_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert len(lines) <= 10
    (user,) = [line.removeprefix("USER ") for line in lines if line.startswith("USER ")]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    (command,) = [line.removeprefix("ENTRYPOINT ") for line in lines if line.startswith("ENTRYPOINT ")]
    assert json.loads(command) == ["python", "-m", "handler"]
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]}
    kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert kept[0] == "*"
    assert {line.removeprefix("!") for line in kept if line.startswith("!")} == copied


def test_make_lists_its_targets() -> None:
    listed = make()
    assert listed == make("help")
    for target in ("run", "test", "check", "lint", "clean"):
        assert re.search(rf"^make {target} +\S", listed, re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^make (\S+)", listed, re.MULTILINE) == targets


def test_make_check_runs_tests_that_exist() -> None:
    paths = re.findall(r"\btests/\S+\.py", make("--dry-run", "--always-make", "check"))
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_make_run_installs_only_the_packages_of_the_server() -> None:
    shown = make("--dry-run", "--always-make", "run")
    installed = re.findall(r"pip install .*", shown)
    assert len(installed) == 1
    assert installed[0].endswith("--requirement handler/requirements.txt")


def test_make_run_installs_boto3_for_a_bucket_only() -> None:
    assert "'.[s3]'" in make("--dry-run", "--always-make", "run", UPLOAD_BUCKET="some-bucket")
    assert "s3" not in make("--dry-run", "--always-make", "run")


def test_every_slow_step_of_make_run_is_announced() -> None:
    lines = make("--dry-run", "--always-make", "run", UPLOAD_BUCKET="some-bucket").splitlines()
    slow = [number for number, line in enumerate(lines) if re.search(r"-m (venv|pip)\b", line)]
    assert len(slow) == 3
    assert all(lines[number - 1].startswith("echo ") for number in slow)

"""The package as other projects install it, and the make targets of a new user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def versions(lines: Iterable[str]) -> dict[str, str]:
    """Return the pinned version of each package."""
    pinned = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {requirement.name: next(iter(requirement.specifier)).version for requirement in pinned}


PINNED = versions((ROOT / "handler" / "requirements.txt").read_text().splitlines())


def test_library_install_has_ranges_that_hold_the_shipped_versions() -> None:
    ranges = [Requirement(line) for line in PROJECT["dependencies"]]
    assert {requirement.name for requirement in ranges} <= PINNED.keys()
    for requirement in ranges:
        assert {part.operator for part in requirement.specifier} == {">=", "<"}, requirement
        assert requirement.specifier.contains(PINNED[requirement.name]), requirement


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
    assert all("printf ." in lines[number] for number in slow)


def run_make(tmp_path: Path, target: str, *, rules: str = "", **scripts: str) -> subprocess.CompletedProcess[str]:
    """Run make where it finds only a shell and these programs.

    :param rules: more rules for the Makefile.
    :param scripts: the program's name, and the shell script that stands in for it.
    """
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("sh", "make", "sleep"):
        if not (programs / name).exists():
            (programs / name).symlink_to(shutil.which(name) or "")
    for name, script in scripts.items():
        (programs / name).unlink(missing_ok=True)
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text() + rules)
    return subprocess.run(
        ["make", "--silent", target],
        cwd=tmp_path, env={"PATH": str(programs), "PYTHON": sys.executable}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("status", [0, 3])
def test_slow_command_shows_dots_and_keeps_its_status(tmp_path: Path, status: int) -> None:
    """A dot follows each pause. The command lasts until the second pause begins."""
    sleep = shutil.which("sleep")
    pause = f"if [ -e first ]; then : > second; else : > first; fi; exec {sleep} 0.05"
    command = f"until [ -e second ]; do {sleep} 0.05; done; exit {status}"
    done = run_make(tmp_path, "slow", sleep=pause, rules=f"\nslow:\n\t@$(dots) sh -c '{command}'\n")
    assert re.match(r"\.+\n", done.stdout)
    assert (done.returncode == 0) == (status == 0)


def test_make_deploy_shows_a_new_secret_before_sam_asks(tmp_path: Path) -> None:
    found: set[str] = set()
    for _ in range(2):
        done = run_make(tmp_path, "deploy", sam='echo "SAM $*"')
        assert done.returncode == 0, done.stderr
        before, _, after = done.stdout.partition("TokenSecret")
        assert before.startswith("SAM build\n")
        assert after.endswith("SAM deploy --guided\n")
        found |= set(re.findall(r"^    ([0-9a-f]{64})$", after, re.MULTILINE))
    assert len(found) == 2


def test_make_deploy_without_sam_names_its_installation(tmp_path: Path) -> None:
    done = run_make(tmp_path, "deploy")
    assert done.returncode != 0
    assert "make deploy needs the SAM CLI: https://docs.aws.amazon.com/" in done.stderr


def test_make_deploy_does_not_deploy_after_a_failed_build(tmp_path: Path) -> None:
    done = run_make(tmp_path, "deploy", sam='echo "SAM $*"; exit 1')
    assert done.returncode != 0
    assert done.stdout == "SAM build\n"

"""SECURITY.md is true: its tests exist, its table is complete, its limits are those of the code."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

from handler import settings
from handler.inspection import filetypes
from handler.inspection import policy as inspection
from handler.inspection.formats import HEAD_BYTES, MAX_BYTES, archives, hidden, images, text
from handler.web import forms

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

LEVELS = {
    "5.1.1": 2,
    "5.2.1": 1,
    "5.2.2": 1,
    "5.2.3": 2,
    "5.2.4": 3,
    "5.2.5": 3,
    "5.2.6": 3,
    "5.3.1": 1,
    "5.3.2": 1,
    "5.3.3": 3,
    "5.4.1": 2,
    "5.4.2": 2,
    "5.4.3": 2,
}
"""The requirements of chapter V5 of ASVS 5.0.0, and from which level on they hold."""
MET, IN_PART, DEPLOYER, NOT_APPLICABLE = "Met", "In part", "Deployer", "Not applicable"


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the table whose first heading is this text."""
    match = re.search(rf"^\| {re.escape(heading)} \|.*\n\|---.*\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    assert match, heading
    table = [[cell.strip() for cell in row.strip("|").split("|")] for row in match[1].splitlines()]
    assert len({len(row) for row in table}) == 1, heading
    return table


@cache
def names_in(path: Path) -> set[str]:
    """Return the names of the tests in a file. A test of a class is ``Class::test``."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
    return names


def test_every_named_test_exists() -> None:
    named = re.findall(r"tests/[\w/]+\.py::[\w:]*", DOCUMENT)
    assert len(set(named)) > 100
    missing = []
    for test in named:
        path, _, name = test.partition("::")
        if not (ROOT / path).is_file() or name not in names_in(ROOT / path) or "test_" not in name:
            missing.append(test)
    assert missing == []


def test_every_requirement_is_in_the_table_once() -> None:
    assert [(row[0], int(row[1])) for row in rows("No.")] == list(LEVELS.items())


def test_met_requirement_names_a_test_and_any_other_a_reason() -> None:
    for *requirement, verdict, _, shown, left in (row[-5:] for row in rows("No.") + rows("Recommendation")):
        assert verdict in (MET, IN_PART, DEPLOYER, NOT_APPLICABLE), requirement
        if verdict in (MET, IN_PART):
            assert re.fullmatch(r"`tests/[\w/]+\.py::\w+`( `tests/[\w/]+\.py::\w+`)*", shown), requirement
        else:
            assert shown == "none", requirement
            assert left, requirement


def test_score_equals_the_table() -> None:
    verdicts = [(row[1], row[3]) for row in rows("No.")]
    for level, *numbers in rows("Level"):
        counted = Counter(verdict for row_level, verdict in verdicts if level in ("All", row_level))
        expected = [counted.total(), counted[MET], counted[DEPLOYER], counted[NOT_APPLICABLE]]
        assert [int(number) for number in numbers] == expected, level
    counted = Counter(row[1] for row in rows("Recommendation"))
    assert (
        f"Of its {counted.total()} recommendations, as we count them, {counted[MET]} are met, {counted[IN_PART]} in "
        f"part, and {counted[DEPLOYER]} are left to the deployer."
    ) in DOCUMENT


def test_every_type_that_can_be_allowed_is_listed() -> None:
    listed = [extension for row in rows("Extensions") for extension in re.findall(r"`(\w+)`", row[0])]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(filetypes.KNOWN)
    assert f"As shipped: `{settings.DEFAULT_EXTENSIONS}`" in DOCUMENT


def test_limits_equal_the_code() -> None:
    limits = {row[0]: row[1] for row in rows("Limit")}
    assert limits["one file"] == f"{settings.DEFAULT_MAX_FILE_BYTES:,} bytes"
    assert f"on Lambda {settings.LAMBDA_MAX_BODY_BYTES:,} bytes" in limits["one request"]
    assert limits["parts of a form"] == str(forms.MAX_PARTS)
    assert limits["the header of a part"] == f"{forms.MAX_PART_HEADER_BYTES:,} bytes"
    assert limits["pixels of an image"] == f"{settings.DEFAULT_MAX_IMAGE_PIXELS:,}"
    unpacked = limits["an archive, unpacked"]
    assert unpacked.startswith(f"{archives.MAX_UNPACKED_RATIO} times its size")
    assert f"{archives.MIN_UNPACKED_BYTES:,} bytes" in unpacked
    assert limits["an archive's directory"].startswith(f"{archives.MAX_DIRECTORY_BYTES:,} bytes")
    assert limits["a name"].startswith(f"{inspection.MAX_STEM_CHARS} characters")
    unseen = " ".join(DOCUMENT.partition("**Content that is not checked.**")[2].partition("\n\n")[0].split())
    assert f"neither in its first {text.START_BYTES / 1024:g} KiB nor in its last {HEAD_BYTES / 1024:g} KiB" in unseen
    assert images.MAX_TIFF_PAGES == 8
    assert "Pages of a TIFF after its eighth are not measured" in " ".join(DOCUMENT.split())
    hides = " ".join(DOCUMENT.partition("**A page or a script in an image.**")[2].partition("\n\n")[0].split())
    mib = 1024 * 1024
    assert f"an image of up to {hidden.MAX_IMAGE_BYTES / mib:g} MiB" in hides
    assert (
        f"the first {hidden.MAX_IMAGE_HEAD_BYTES / mib:g} MiB and the last {hidden.IMAGE_TAIL_BYTES / mib:g} MiB"
        in hides
    )
    assert f"its first and last {HEAD_BYTES / 1024:g} KiB" in hides
    assert f"a sound or a film of up to {hidden.MAX_MEDIA_BYTES // mib} MiB" in hides
    assert hidden.MEDIA_TAIL_BYTES // mib == 1
    assert f"A check sees {MAX_BYTES // mib} MiB of a file at most" in DOCUMENT

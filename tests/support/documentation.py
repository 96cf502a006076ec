"""The documents as text, and the problem types that they must name."""

from __future__ import annotations

import re
from pathlib import Path

from handler import problems
from handler.problems import Problem

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = "\n".join([README, *(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md")))])
"""The README and everything in docs/."""


def section(title: str) -> str:
    """The text under a heading of the README, up to the next of its level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def all_problems(base: type[Problem] = Problem) -> list[type[Problem]]:
    """Return the problem classes below ``base``."""
    found = [each for each in vars(problems).values() if isinstance(each, type) and issubclass(each, base)]
    return [each for each in found if each is not base]

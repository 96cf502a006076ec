"""The documents as text, and the problem types that they must name."""

from __future__ import annotations

from pathlib import Path

from handler import problems
from handler.local import problems as local_problems
from handler.problems import Problem

ROOT = Path(__file__).parents[2]
DOCUMENTS = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
)
"""The README and everything in docs/."""


def all_problems(base: type[Problem] = Problem) -> list[type[Problem]]:
    """Return the problem classes below ``base``, those of the local server included."""
    members = [*vars(problems).values(), *vars(local_problems).values()]
    classes = [member for member in members if isinstance(member, type) and issubclass(member, base)]
    return [problem for problem in dict.fromkeys(classes) if problem is not base]

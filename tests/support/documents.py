"""The README and the files of ``docs/``: their sections, their tables and their fenced snippets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))

RUN_BY_LANGUAGE = frozenset({"sh", "python", "js", "php"})
"""``test_commands.py`` runs snippets of these languages that have no mark."""

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Fence:
    """A fenced snippet.

    :param document: its path below the root, such as ``docs/uploading.md``.
    :param line: the number of the line with the opening fence.
    :param language: the word behind the opening fence, such as ``sh``.
    :param mark: the HTML comment on the line before: ``not run: REASON`` or ``run by PATH: NAME``; ``""`` without one.
    :param text: the lines between the fences.
    """

    document: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def label(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def runs_here(self) -> bool:
        """Whether ``test_commands.py`` runs it, by its language only."""
        return not self.mark

    @property
    def runner(self) -> tuple[str, str] | None:
        """The test file or the folder that runs this snippet, and the snippet's name there."""
        match = re.fullmatch(r"run by (\S+): (.+)", self.mark)
        return (match[1], match[2]) if match else None


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def fences_in(document: str, text: str) -> list[Fence]:
    """Return the fenced snippets of a document."""
    return [
        Fence(
            document=document,
            line=text.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            mark=match["mark"] or "",
            text=match["text"],
        )
        for match in _FENCE.finditer(text)
    ]


def fences() -> list[Fence]:
    """Return the fenced snippets of all documents."""
    return [fence for document in DOCUMENTS for fence in fences_in(document, read(document))]


def snippet(path: str, name: str) -> str:
    """Return the text of the snippet that is marked ``run by PATH: NAME``."""
    (text,) = [fence.text for fence in fences() if fence.runner == (path, name)]
    return text


def section(document: str, title: str) -> str:
    """Return the text under a heading of any level, up to the next heading of this level or above."""
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*)", read(document), re.MULTILINE | re.DOTALL)
    assert match, (document, title)
    without_code = re.sub(r"```.*?```", lambda code: " " * len(code[0]), match[2], flags=re.DOTALL)
    end = re.search(rf"^#{{1,{len(match[1])}}} ", without_code, re.MULTILINE)
    return match[2][: end.start()] if end else match[2]


def table(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table with this first heading, row by row."""
    match = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[- |]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert match, heading
    rows = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in match[1].splitlines()]
    assert len({len(row) for row in rows}) == 1, heading
    return rows


def code(cell: str) -> str:
    """Return the first inline code in a cell, or ``""``."""
    match = re.search(r"`([^`]+)`", cell)
    return match[1] if match else ""

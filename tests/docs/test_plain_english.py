"""Plain English: sentences begin with the thing, and use the everyday word.

A riddle is a clause without a noun in front, or a word that is harder than the everyday word. ``riddles.txt`` has
samples of the five kinds.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ..support.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

MAX_RIDDLES_PER_1000_WORDS = 1
SHOWN_RIDDLES = 60
"""How many riddles a failure shows."""

NOT_A_QUESTION = r"(?![^.?!\n]*\?)"
RIDDLES = {
    "what": re.compile(rf"(?<![-\w])what(?:ever)?\b(?! to\b){NOT_A_QUESTION}", re.IGNORECASE),
    "who": re.compile(
        rf"(?<![-\w])who(?:ever|mever|m)?\b{NOT_A_QUESTION}|(?:^|[.:;!]\s+)(?:Whose|Whichever)\b{NOT_A_QUESTION}",
        re.IGNORECASE | re.MULTILINE,
    ),
    "alone": re.compile(r"\balone\b", re.IGNORECASE),
    "is no": re.compile(
        r"(?<!\bthere )(?:\b(?:is|are|was|were|be|been|being)|\w['\u2019](?:s|re)) no "
        r"(?!longer\b|more than\b|later than\b|larger than\b|such\b)",
        re.IGNORECASE,
    ),
    "tell": re.compile(r"\b(?:tell|tells|telling|told)\b", re.IGNORECASE),
}
PEOPLE_WHO = re.compile(
    r"\b(?:administrators?|any(?:one|body)|attackers?|callers?|clients?|customers?|deployer|developers?"
    r"|every(?:one|body)|nobody|operator|owner|people|person|readers?|some(?:one|body)|those|users?|visitors?)"
    r",?\s+who(?:m)?$",
    re.IGNORECASE,
)
"""A clause about the noun in front is plain English."""

Passage = tuple[int, str]
"""A piece of prose, and the line on which it begins."""


@dataclass(frozen=True, kw_only=True)
class Riddle:
    """A riddle and its place."""

    path: str
    line: int
    kind: str
    context: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} [{self.kind}] … {self.context} …"


def riddles_in(text: str, *, path: str = "", first_line: int = 1) -> list[Riddle]:
    """Return the riddles of a passage.

    :param path: the file that holds it.
    :param first_line: the line on which it begins.
    """
    return [
        Riddle(
            path=path,
            line=first_line + text.count("\n", 0, match.start()),
            kind=kind,
            context=" ".join(text[max(0, match.start() - 40) : match.end() + 40].split()),
        )
        for kind, pattern in RIDDLES.items()
        for match in pattern.finditer(text)
        if not PEOPLE_WHO.search(text[max(0, match.start() - 40) : match.end()])
    ]


def python_prose(source: str) -> Iterator[Passage]:
    """Yield the comments, and the strings with a space in them: docstrings, errors, log messages."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def markdown_prose(source: str) -> Iterator[Passage]:
    """Yield the text without fenced and inline code, and without the targets of links."""
    source = re.sub(r"^```.*?^```$", lambda code: "\n" * code[0].count("\n"), source, flags=re.DOTALL | re.MULTILINE)
    source = re.sub(r"`[^`\n]*`", "code", source)
    yield 1, re.sub(r"\]\([^)\n]*\)", "]", source)


def json_prose(source: str) -> Iterator[Passage]:
    """Yield the descriptions and summaries of an OpenAPI document."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for name, entry in value.items():
                if name in ("description", "summary") and isinstance(entry, str):
                    yield entry
                else:
                    yield from texts(entry)
        elif isinstance(value, list):
            for entry in value:
                yield from texts(entry)

    for text in texts(json.loads(source)):
        yield source.count("\n", 0, source.find(json.dumps(text, ensure_ascii=False))) + 1, text


def whole(source: str) -> Iterator[Passage]:
    yield 1, source


READERS: dict[str, Callable[[str], Iterator[Passage]]] = {
    ".py": python_prose,
    ".md": markdown_prose,
    ".json": json_prose,
    ".yaml": whole,
    ".js": whole,
    ".html": whole,
    ".css": whole,
    ".txt": whole,
    "": whole,
}


def prose_files() -> list[Path]:
    """Return the documents, the template, the files of the package and the tests."""
    files = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "template.yaml",
        *ROOT.glob("handler/**/*"),
        *ROOT.glob("tests/**/*.py"),
    ]
    return sorted(
        path for path in files if path.is_file() and path.suffix in READERS and "__pycache__" not in path.parts
    )


def count(files: Iterable[Path]) -> tuple[int, list[Riddle]]:
    """Return the number of words in these files, and their riddles."""
    words, riddles = 0, list[Riddle]()
    for file in files:
        for line, text in READERS[file.suffix](file.read_text(encoding="utf-8")):
            words += len(re.findall(r"[A-Za-z]{2,}", text))
            riddles += riddles_in(text, path=str(file.relative_to(ROOT)), first_line=line)
    return words, riddles


def fault_of(words: int, riddles: list[Riddle]) -> str:
    """Return why a text is not plain, with its riddles, or ``""``."""
    if len(riddles) * 1000 <= words * MAX_RIDDLES_PER_1000_WORDS:
        return ""
    shown = "\n".join(map(str, riddles[:SHOWN_RIDDLES]))
    return f"{len(riddles)} riddles in {words} words, the first {SHOWN_RIDDLES}:\n{shown}"


@pytest.mark.parametrize("folder", ["handler", "tests"])
def test_prose_of_a_folder_is_plain(folder: str) -> None:
    fault = fault_of(*count(path for path in prose_files() if path.is_relative_to(ROOT / folder)))
    assert not fault, fault


def test_prose_is_plain() -> None:
    files = prose_files()
    names = {str(path.relative_to(ROOT)) for path in files}
    assert {
        "README.md",
        "SECURITY.md",
        "docs/faq.md",
        "template.yaml",
        "handler/app.py",
        "handler/openapi.json",
        "tests/conftest.py",
    } < names
    fault = fault_of(*count(files))
    assert not fault, fault


def test_names_of_tests_are_plain() -> None:
    """A name is a sentence: ``test_invalid_origin_is_rejected``, not ``test_what_is_no_origin``."""
    words, riddles = 0, list[Riddle]()
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        source = path.read_text(encoding="utf-8")
        for match in re.finditer(r"\bdef test_(\w+)", source):
            sentence = match[1].replace("_", " ")
            words += len(sentence.split())
            line = source.count("\n", 0, match.start()) + 1
            riddles += riddles_in(sentence, path=str(path.relative_to(ROOT)), first_line=line)
    fault = fault_of(words, riddles)
    assert not fault, fault


@pytest.mark.parametrize("file", ["README.md", "SECURITY.md", "CHANGELOG.md", "docs"])
def test_document_is_plain(file: str) -> None:
    path = ROOT / file
    fault = fault_of(*count(sorted(path.glob("*.md")) if path.is_dir() else [path]))
    assert not fault, fault


SAMPLES = [line.split(": ", 1) for line in (ROOT / "tests/docs/riddles.txt").read_text(encoding="utf-8").splitlines()]
"""Pairs of a kind of riddle, or ``plain``, and a sentence."""


@pytest.mark.parametrize(("kind", "riddle"), [sample for sample in SAMPLES if sample[0] != "plain"])
def test_riddle_is_found(kind: str, riddle: str) -> None:
    assert kind in {match.kind for match in riddles_in(riddle)}


@pytest.mark.parametrize("sentence", [text for kind, text in SAMPLES if kind == "plain"])
def test_plain_sentence_is_not_found(sentence: str) -> None:
    assert riddles_in(sentence) == []


def test_riddles_are_found_in_every_kind_of_file() -> None:
    """Comments, docstrings, errors and descriptions count; code does not."""
    riddle = "What came."
    source = f'"""{riddle}"""\n\nalone = 1  # {riddle}\nraise E("{riddle}")\n'
    riddles = [
        (riddles.kind, riddles.line)
        for line, text in python_prose(source)
        for riddles in riddles_in(text, first_line=line)
    ]
    assert sorted(riddles) == [("what", 1), ("what", 3), ("what", 4)]
    (passage,) = markdown_prose(f"Text.\n\n```sh\nalone\n```\n`alone` [a link](#alone)\n\n{riddle}\n")
    assert [(riddle.kind, riddle.line) for riddle in riddles_in(passage[1])] == [("what", 8)]
    (description,) = json_prose(json.dumps({"paths": {"/": {"description": riddle}}, "alone": "alone"}))
    assert [riddle.kind for riddle in riddles_in(description[1])] == ["what"]


def test_limit_is_one_riddle_in_1000_words() -> None:
    riddle = Riddle(path="a.md", line=7, kind="tell", context="the context")
    assert fault_of(1000, [riddle]) == ""
    assert "a.md:7 [tell] … the context …" in fault_of(999, [riddle])

"""Plain English: sentences begin with the thing, and use the everyday word.

A riddle is one of five habits: a *what* or *who* clause without a noun before it ("What is not complete then is
removed"), *alone* for only, *is no X* for is not an X, and *tell* for say, return or report.
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
"""A *who* clause behind its noun is plain English."""

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
            line=first_line + text.count("\n", 0, found.start()),
            kind=kind,
            context=" ".join(text[max(0, found.start() - 40) : found.end() + 40].split()),
        )
        for kind, pattern in RIDDLES.items()
        for found in pattern.finditer(text)
        if not PEOPLE_WHO.search(text[max(0, found.start() - 40) : found.end()])
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
    """Return the documents, the template and the files of the package."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "template.yaml", *ROOT.glob("handler/**/*")]
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
    } < names
    fault = fault_of(*count(files))
    assert not fault, fault


def test_names_of_tests_are_plain() -> None:
    """A name is a sentence: ``test_invalid_origin_is_rejected``, not ``test_what_is_no_origin``."""
    words, riddles = 0, list[Riddle]()
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        source = path.read_text(encoding="utf-8")
        for found in re.finditer(r"\bdef test_(\w+)", source):
            sentence = found[1].replace("_", " ")
            words += len(sentence.split())
            line = source.count("\n", 0, found.start()) + 1
            riddles += riddles_in(sentence, path=str(path.relative_to(ROOT)), first_line=line)
    fault = fault_of(words, riddles)
    assert not fault, fault


@pytest.mark.parametrize("file", ["README.md", "SECURITY.md", "CHANGELOG.md", "docs"])
def test_document_is_plain(file: str) -> None:
    path = ROOT / file
    fault = fault_of(*count(sorted(path.glob("*.md")) if path.is_dir() else [path]))
    assert not fault, fault


@pytest.mark.parametrize(
    ("riddle", "kind"),
    [
        ("Who has a token: a JSON Web Token, signed with HS256, that says when it expires", "who"),
        ("What is behind the `#` is sent to no server and is in no log", "what"),
        ("`sub`, whom it is for: the first 64 characters of it are in the log", "who"),
        ("the local server answers this machine alone: not other machines", "alone"),
        ("What is not complete then is removed within three days", "what"),
        ("Nobody may upload to a deployment unless it was said who.", "who"),
        ("an upload to which too much was sent is told of as that by its upload id", "tell"),
        ("who was faster has ended our copy", "who"),
        ("Remove these, of whom nobody was told and some may not be there", "tell"),
        ("What precedes one of the tails in the path, a slash at the end being no difference", "what"),
        ("This came through a proxy, from who knows where.", "who"),
        ("What has arrived is not what 'parts' says. Look at the parts 2, 3.", "what"),
        ("what is no origin", "what"),
        ("Answer an unknown route with 404 to who has a token, too", "who"),
        ("A token in a path is no header field", "is no"),
        ("Whoever deploys decides, whatever the client says", "who"),
        ("The id tells whether it is stored", "tell"),
        ("Whose token it is decides the rights.", "who"),
        ("This has been no token of ours, and it's no JWT", "is no"),
    ],
)
def test_riddle_is_found(riddle: str, kind: str) -> None:
    assert kind in {found.kind for found in riddles_in(riddle)}


@pytest.mark.parametrize(
    "sentence",
    [
        "Anyone with an upload token: a JSON Web Token signed with HS256. `exp` is required.",
        "Browsers never send the part after `#`, so the token reaches no server log.",
        "The local server accepts requests from this machine only.",
        "Unfinished uploads are deleted within three days. Refusal reasons are kept for a week.",
        "A concurrent promotion finished first and aborted our copy.",
        "Return 404 for unknown routes when a token is sent",
        "A user who has a token may upload.",
        "Who may upload?",
        "An error says what to do.",
        "There is no such route. A token that is no longer valid is refused.",
        "The client whose token expired gets a new one. Whose file is it?",
    ],
)
def test_plain_sentence_is_not_found(sentence: str) -> None:
    assert riddles_in(sentence) == []


def test_riddles_are_found_in_every_kind_of_file() -> None:
    """Comments, docstrings, errors and descriptions count; code does not."""
    source = '"""What it is."""\n\nwho = 1  # who has it\nraise E("The token is no JWT")\n'
    found = [riddle.kind for line, text in python_prose(source) for riddle in riddles_in(text, first_line=line)]
    assert sorted(found) == ["is no", "what", "who"]
    (passage,) = markdown_prose("Text.\n\n```sh\nwho\n```\n`what` [a link](#who-it-is)\n\nWhat came is stored.\n")
    assert [(riddle.kind, riddle.line) for riddle in riddles_in(passage[1])] == [("what", 8)]
    (description,) = json_prose('{"paths": {"/": {"description": "What came."}}, "what": "who"}')
    assert [riddle.kind for riddle in riddles_in(description[1])] == ["what"]


def test_limit_is_one_riddle_in_1000_words() -> None:
    riddle = Riddle(path="a.md", line=7, kind="who", context="who has it")
    assert fault_of(1000, [riddle]) == ""
    assert "a.md:7 [who] … who has it …" in fault_of(999, [riddle])

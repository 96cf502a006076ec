"""Every snippet of the README and ``docs/`` is run by a test, or is marked as one that cannot run here."""

from __future__ import annotations

import json
import re

import pytest

from ..support.documents import DOCUMENTS, ROOT, RUN_BY_LANGUAGE, Fence, fences, fences_in, read
from ..support.recipes import recipes

DATA = {"json", "text"}
"""``json`` is parsed here. ``text`` is for diagrams, which nothing can run."""
NOT_RUN = re.compile(r"not run: (?:needs [\w. ]+|installs packages from the network)")


def fault_of(fence: Fence) -> str | None:
    """Return why a snippet counts as neither run nor marked, or ``None``."""
    if fence.runner:
        path, name = fence.runner
        if not (ROOT / path).exists():
            return f"{path} does not exist"
        known = (
            name in recipes()
            if path == "tests/clients"
            else re.search(rf"""["']{re.escape(name)}["']""", (ROOT / path).read_text("utf-8"))
        )
        return None if known else f"{path} does not run {name!r}"
    if fence.mark:
        return None if NOT_RUN.fullmatch(fence.mark) else f"the mark is unknown: {fence.mark}"
    if fence.language in RUN_BY_LANGUAGE | DATA:
        return None
    return f"nothing runs {fence.language!r}, and there is no mark"


@pytest.mark.parametrize("fence", fences(), ids=lambda fence: fence.label)
def test_snippet_is_run_or_marked(fence: Fence) -> None:
    assert fault_of(fence) is None


@pytest.mark.parametrize(
    ("mark", "language", "fault"),
    [
        ("", "sh", None),
        ("", "swift", "nothing runs"),
        ("", "", "nothing runs"),
        ("not run: needs AWS", "sh", None),
        ("not run", "sh", "mark is unknown"),
        ("skip: it is slow", "sh", "mark is unknown"),
        ("run by tests/clients/test_documents.py: form", "html", None),
        ("run by tests/clients/test_documents.py: nothing", "html", "does not run"),
        ("run by tests/docs/test_nowhere.py: form", "html", "does not exist"),
        ("run by tests/clients: Editor.js", "js", None),
        ("run by tests/clients: Netscape", "js", "does not run"),
    ],
)
def test_snippet_without_a_test_or_a_mark_is_found(mark: str, language: str, fault: str | None) -> None:
    comment = f"<!-- {mark} -->\n" if mark else ""
    (fence,) = fences_in("a.md", f"Text.\n\n{comment}```{language}\nsomething\n```\n")
    assert (fence.mark, fence.language, fence.text) == (mark, language, "something\n")
    assert (fault_of(fence) is None) if fault is None else (fault in (fault_of(fence) or ""))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_fence_and_every_mark_is_read(document: str) -> None:
    text = read(document)
    document_fences = fences_in(document, text)
    assert text.count("```") == 2 * len(document_fences)
    marks = re.findall(r"<!-- ((?:not )?run\b.*?) -->", text)
    assert marks == [fence.mark for fence in document_fences if fence.mark]


@pytest.mark.parametrize(
    "fence", [fence for fence in fences() if fence.language == "json"], ids=lambda fence: fence.label
)
def test_json_is_valid(fence: Fence) -> None:
    assert json.loads(fence.text)

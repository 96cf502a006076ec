"""The README is short, the changelog is short, links lead somewhere, and the design's look-ups exist."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from ..support.documents import DOCUMENTS, ROOT, fences_in, read, section, table

if TYPE_CHECKING:
    from types import ModuleType

README = read("README.md")
MAX_README_LINES, MAX_README_WORDS = 250, 1500
MAX_SNIPPET_LINES = 6
LINKED = (*DOCUMENTS, "SECURITY.md", "CHANGELOG.md")


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES
    assert len(README.split()) <= MAX_README_WORDS


def test_no_document_holds_the_marks_of_a_merge() -> None:
    assert not [name for name in LINKED if re.search(r"^(<{7}|>{7}|={7}$)", read(name), re.MULTILINE)]


def test_readme_answers_in_this_order() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        "Why not something else?",
        "Start",
        "From your page",
        "Who may upload?",
        "Your application",
        "Settings",
        "On AWS",
        "In your Flask app",
        "Limits",
        "Licence and status",
        "Links",
    ]
    introduction = README.partition("\n## ")[0]
    assert len(re.findall(r"!\[", README)) == len(re.findall(r"!\[", introduction)) == 1


def test_documents_answer_one_task_each() -> None:
    assert {
        "docs/deploy.md",
        "docs/configuration.md",
        "docs/uploading.md",
        "docs/application.md",
        "docs/http-api.md",
        "docs/operations.md",
        "docs/recipes.md",
        "docs/performance.md",
        "docs/design.md",
        "docs/faq.md",
    } < set(DOCUMENTS)
    assert {
        *("react", "widgets-and-editors", "ios", "android", "programs"),
        *("show-a-stored-image", "list-files", "delete-files", "find-the-uploader", "back-up", "virus-scan"),
        *("resize-images", "downloads-through-cloudfront", "users-of-cognito-auth0-or-your-own-login"),
        *("your-own-domain", "behind-nginx-under-a-path", "gunicorn", "docker", "minio"),
    } < anchors("docs/recipes.md")


def test_start_has_two_lines_with_make_and_two_without() -> None:
    first, second, *_ = fences_in("README.md", section("README.md", "Start"))
    assert [line.split()[0] for line in first.text.splitlines()] == ["git", "make"]
    assert len(second.text.splitlines()) == 2
    assert README.index("make run") < 4000


@pytest.mark.parametrize("title", ["From your page", "Who may upload?", "In your Flask app"])
def test_snippet_of_the_readme_is_short(title: str) -> None:
    snippets = fences_in("README.md", section("README.md", title))
    assert len(snippets) == {"From your page": 3, "Who may upload?": 4, "In your Flask app": 1}[title]
    assert not [snippet.text for snippet in snippets if len(snippet.text.splitlines()) > MAX_SNIPPET_LINES]


def test_deployment_has_four_commands() -> None:
    commands, outputs = fences_in("README.md", section("README.md", "On AWS"))
    assert len(commands.text.splitlines()) == 4
    assert outputs.language == "text"


def anchors(document: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", read(document), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", LINKED)
def test_links_lead_somewhere(document: str) -> None:
    text = re.sub(r"^```.*?^```$", "", read(document), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://")):
            continue
        file = (ROOT / document).parent / path if path else ROOT / document
        linked = file.resolve().relative_to(ROOT).as_posix() if file.exists() else ""
        if not linked or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


def test_changelog_of_a_version_has_at_most_15_lines() -> None:
    text = read("CHANGELOG.md")
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles[:2] == ["Unreleased", "0.1.0 (2026-11-27)"]
    assert titles[-1] == "Versions"
    for title in titles[1:-1]:
        entries = re.findall(r"^- ", section("CHANGELOG.md", title), re.MULTILINE)
        lines = [line for line in section("CHANGELOG.md", title).splitlines() if line.startswith(("- ", "  "))]
        assert 0 < len(entries) == len(lines) <= 15, title


def names_in(source: str) -> set[str]:
    """Return the functions and classes of a module, and the methods as ``Class.method``."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
    return names


def test_look_ups_of_the_design_exist() -> None:
    rows = table(section("docs/design.md", "Where is …?"), "Question")
    assert len(rows) >= 10
    opened = []
    for number, (question, response) in enumerate(rows):
        places = re.findall(r"`([\w/]+\.py)(?:::([\w.]+))?`", response)
        assert places, question
        for path, name in places:
            source = (ROOT / "handler" / path).read_text(encoding="utf-8")
            assert not name or name in names_in(source), (question, path, name)
        if number < 10:
            opened += sorted({path for path, _ in places})
    assert len(opened) <= 20, opened


def benchmark_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_readme", ROOT / "benchmarks" / "readme.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_performance_is_that_of_the_last_measurement() -> None:
    module = benchmark_module()
    results = json.loads(module.RESULTS.read_text())
    assert module.section(results) in read("docs/performance.md")
    costs = module.costs(results)
    dollars = costs["1 MB"]["this"]["all"]
    assert costs["1 GiB"]["this"]["all"] <= 210
    assert f"A million 1 MB uploads cost about ${dollars:.1f}0" in " ".join(README.split())


def test_cost_of_1_gib_straight_to_s3_is_at_most_210_dollars_a_million() -> None:
    """The arithmetic, from the calls that the benchmark counted. AWS's prices are in ``benchmarks/readme.py``."""
    module = benchmark_module()
    direct = json.loads(module.RESULTS.read_text())["direct"]
    counted = Counter(direct["s3_calls"]) + Counter(direct["event_s3_calls"])
    lists_and_writes = {
        "CreateMultipartUpload": 2,  # of the upload, and of the copy
        "CompleteMultipartUpload": 2,
        "ListObjectVersions": 2,  # after the copy, and by the event
        "ListMultipartUploads": 1,  # by the event
    }
    reads = {"GetObject": 2, "HeadObject": 2}
    free = {"DeleteObject": 1}
    assert counted == Counter(lists_and_writes | reads | free | {"UploadPartCopy": 1})
    parts, copies = 16, 4  # of 64 MiB, and of 256 MiB
    puts = sum(lists_and_writes.values()) + parts + copies
    s3 = puts * 5.00 + sum(reads.values()) * 0.40
    requests = parts + 2
    api = requests * 3.50
    waits = sum(counted.values()) * 0.030
    processor = (direct["cpu"] + direct["event_cpu"]) / 1000 * 1769 / 512
    compute = (requests + 1) * 0.20 + (waits + processor) * 0.5 * 16.6667
    cost = module.costs(json.loads(module.RESULTS.read_text()))["1 GiB"]["this"]
    assert (s3, api) == (136.6, 63)
    assert cost == pytest.approx({"API Gateway": api, "Lambda": compute, "S3": s3, "all": api + compute + s3})
    assert cost["all"] <= 210

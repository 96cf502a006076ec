"""The structure of the test suite itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("test_*.py"))


def imported_modules(source: str) -> set[str]:
    """Return the last part of each name in an import statement: the module, or the name that is taken from it."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        modules |= {name.rpartition(".")[2] for name in names}
    return modules


def test_no_test_module_is_imported() -> None:
    test_modules = {path.stem for path in MODULES}
    imports = {
        str(path.relative_to(TESTS)): imported_modules(path.read_text(encoding="utf-8")) & test_modules
        for path in TESTS.rglob("*.py")
    }
    assert {path: modules for path, modules in imports.items() if modules} == {}


def imported_conftests(path: Path) -> list[str]:
    """Return the modules ``conftest`` that a module imports from another folder, except from a folder around its own.

    pytest gives the fixtures of a folder to the tests in it. Helpers for several folders are in ``tests/support``.
    """
    imports = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    names = [node.module or "" for node in imports]
    return [name for name in names if name.endswith("conftest") and name not in ("conftest", "tests.conftest")]


def test_no_conftest_of_another_folder_is_imported() -> None:
    imports = {str(path.relative_to(TESTS)): imported_conftests(path) for path in TESTS.rglob("*.py")}
    assert {path: names for path, names in imports.items() if names} == {}


def test_import_of_another_conftest_is_found(tmp_path: Path) -> None:
    module = tmp_path / "test_x.py"
    module.write_text("from ..clients.conftest import PageServer\nfrom ..conftest import BUCKET\n", encoding="utf-8")
    assert imported_conftests(module) == ["clients.conftest"]


@pytest.mark.parametrize(
    "statement",
    [
        "from .test_uploads import post",
        "from ..routes.test_uploads import post",
        "from tests.routes import test_uploads",
        "import tests.routes.test_uploads as uploads",
        "def late():\n    from . import test_uploads",
    ],
)
def test_import_of_a_test_module_is_found(statement: str) -> None:
    assert "test_uploads" in imported_modules(statement)

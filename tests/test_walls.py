"""The walls between the packages of ``handler/``: which package may import which, and no import goes in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "handler").rglob("*.py")
}


def imports(module: str) -> set[str]:
    """Return the modules that a module imports: at its top, in its functions, and for its type hints."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            names |= {name if (name := f"{source}.{alias.name}") in MODULES else source for alias in node.names}
    return names - {module}


IMPORTS = {module: imports(module) for module in MODULES}


def in_package(package: str) -> list[str]:
    modules = [module for module in MODULES if f"{module}.".startswith(f"handler.{package}.")]
    assert modules, package
    return modules


def walled_off(package: str, others: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the imports of a package's modules that begin with one of the other names."""
    prefixes = tuple(f"{other}." for other in others)
    crossing = {
        module: {name for name in IMPORTS[module] if f"{name}.".startswith(prefixes)} for module in in_package(package)
    }
    return {module: names for module, names in crossing.items() if names}


def test_no_import_goes_in_a_circle() -> None:
    TopologicalSorter({module: names & MODULES.keys() for module, names in IMPORTS.items()}).prepare()


@pytest.mark.parametrize(
    ("package", "others"),
    [
        ("inspection", ("boto3", "botocore", "flask", "io", "os", "pathlib", "socket", "tempfile", "handler.storage")),
        ("direct", ("boto3", "botocore", "flask", "handler.web", "handler.routes")),
        (
            "storage",
            ("flask", "handler.inspection", "handler.intake", "handler.direct", "handler.web", "handler.routes"),
        ),
        ("web", ("boto3", "botocore", "handler.app", "handler.routes")),
        ("routes", ("boto3", "botocore", "handler.app")),
    ],
)
def test_package_imports_nothing_from_behind_its_wall(package: str, others: tuple[str, ...]) -> None:
    assert walled_off(package, others) == {}


def test_no_module_of_routes_imports_another() -> None:
    assert walled_off("routes", ("handler.routes",)) == {}


def test_nothing_that_ships_imports_the_local_server() -> None:
    stays = {"handler.__main__", *in_package("local")}
    importers = {
        module for module, names in IMPORTS.items() if any(f"{name}.".startswith("handler.local.") for name in names)
    }
    assert importers <= stays

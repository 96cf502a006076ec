"""Modules whose code runs at their first use, not at a cold start.

Flask and Werkzeug import their command line, their development server, their test client and the template engine at
once. On Lambda only the page needs a template, and nothing needs the others. botocore imports a parser of dates, which
only some responses of S3 need.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_MODULES: dict[str, frozenset[str]] = {
    "botocore.docs.bcdoc.restdoc": frozenset({"DocumentStructure"}),
    "botocore.docs.service": frozenset({"ServiceDocumenter"}),
    "click": frozenset(),
    "dateutil.parser": frozenset({"parse"}),
    "difflib": frozenset(),
    "flask.cli": frozenset({"AppGroup"}),
    "flask.templating": frozenset(
        {
            "DispatchingJinjaLoader",
            "Environment",
            "_default_template_ctx_processor",
            "render_template",
            "render_template_string",
            "stream_template",
            "stream_template_string",
        }
    ),
    "jinja2": frozenset({"BaseLoader", "FileSystemLoader"}),
    "jmespath": frozenset(),
    "jwt.jwks_client": frozenset({"PyJWKClient"}),
    "werkzeug.serving": frozenset({"is_running_from_reloader", "run_simple"}),
    "werkzeug.test": frozenset({"Client"}),
}
"""The modules, and the names that others import from them: classes and functions, which a cold start does not use. If a
later Flask imports another name, the module's code runs at once. That costs time and nothing else."""


@contextmanager
def lazy_imports() -> Iterator[None]:
    """Let the importers of the table's modules have stand-ins, except for modules that are imported already.

    After the block ``sys.modules`` has no stand-in, so every later import is an ordinary one. A stand-in that an
    importer keeps imports the module at its first use.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.close()
        sys.meta_path.remove(finder)


class _Finder:
    """Finds stand-ins for the modules of the table. The first module that loads ends this, because its own imports must
    find the real modules."""

    def __init__(self) -> None:
        self.is_open = True
        self._modules: list[_LazyModule] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not self.is_open:
            return None
        parent = sys.modules.get(name.rpartition(".")[0])
        if isinstance(parent, _LazyModule):  # a package runs before its modules
            parent.load()
            return _spec_of_loaded(name)
        spec = PathFinder.find_spec(name, path, target) if name in _MODULES else None
        if spec is not None:
            module = _LazyModule(name, self)
            self._modules.append(module)
            spec.loader = _Loader(module)  # type: ignore[assignment]
        return spec

    def close(self) -> None:
        self.is_open = False
        for module in self._modules:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]


class _Loader:
    """A loader, by its methods, of a module that exists already."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec or module.__spec__


def _spec_of_loaded(name: str) -> ModuleSpec:
    """Import a module, and return a specification that does not run the module again."""
    loader: Any = _Loader(import_module(name))
    del sys.modules[name]  # otherwise the import system takes the module's own specification
    return ModuleSpec(name, loader)


class _LazyModule(ModuleType):
    """A stand-in for a module."""

    def __init__(self, name: str, finder: _Finder) -> None:
        super().__init__(name)
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        if name in {"__cached__", "__file__", "__path__"}:  # the import system looks for them before it sets them
            raise AttributeError(name)
        if self._finder.is_open and name in _MODULES[self.__name__]:
            return _NoCommands if name == "AppGroup" else _LazyName(self, name)
        return getattr(self.load(), name)

    def load(self) -> ModuleType:
        """Return the module itself."""
        self._finder.close()
        return import_module(self.__name__)


class _LazyName:
    """A stand-in for a class or a function of a module."""

    def __init__(self, module: _LazyModule, name: str) -> None:
        self._module = module
        self._name = name

    def _resolve(self) -> Any:
        return getattr(self._module.load(), self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolve(), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._resolve()(*arguments, **named)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[Any, ...]:
        return (self._resolve(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._resolve())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._resolve())


class _NoCommands:
    """An empty group of commands, which becomes Flask's own group at its first use."""

    def __getattr__(self, name: str) -> Any:
        if name == "commands":  # Flask looks for the commands of each blueprint, and there are none
            return vars(self).setdefault("commands", {})
        values = vars(self).copy()
        self.__class__ = import_module("flask.cli").AppGroup
        self.__init__()  # type: ignore[misc]
        vars(self).update(values)
        return getattr(self, name)

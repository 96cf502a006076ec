"""A cold start leaves out the modules that only some requests need, and they work as soon as one does."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from handler import lazy_imports

from .support.gateway_events import rest_event

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
ENVIRON = {
    "AWS_LAMBDA_FUNCTION_NAME": "x",
    "UPLOAD_BUCKET": "some-bucket",
    "TOKEN_SECRET": "no-secret-but-long-enough-to-pass-for-one",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "PATH": os.environ["PATH"],
}
NOT_LOADED = "[name for name in lazy_imports._MODULES if name not in sys.modules]"


def in_new_process(code: str) -> Any:
    """Run code after a cold start, and return the JSON of the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\nfrom handler import lambda_function, lazy_imports\n{code}"],
        cwd=ROOT, env=ENVIRON, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def answers(*events: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the responses of a new process to events."""
    calls = ", ".join(f"lambda_function.lambda_handler({event!r}, None)" for event in events)
    found: list[dict[str, Any]] = in_new_process(f"print(json.dumps([{calls}]))")
    return found


def test_cold_start_loads_no_module_of_the_table() -> None:
    assert set(in_new_process(f"print(json.dumps({NOT_LOADED}))")) == set(lazy_imports._MODULES)


def test_cold_start_imports_no_part_of_the_template_engine_or_the_command_line() -> None:
    names = in_new_process("print(json.dumps(list(sys.modules)))")
    parents = {"jinja2", "click", "flask.cli", "werkzeug.serving", "http.server", "werkzeug.debug"}
    assert not {name for name in names if name.partition(".")[0] in {"jinja2", "click"}} - parents
    assert "http.server" not in names


def test_cold_start_collects_no_garbage() -> None:
    """A first search would look at every imported object, which takes a twentieth of a cold start."""
    found = in_new_process("import gc\nprint(json.dumps([gc.isenabled(), gc.get_freeze_count(), gc.get_stats()]))")
    is_enabled, frozen, generations = found
    assert is_enabled
    assert frozen > 50_000
    assert generations[2]["collections"] == 0


def test_first_page_is_rendered() -> None:
    first, second = answers(rest_event(path="/"), rest_event(path="/"))
    assert first["statusCode"] == second["statusCode"] == 200
    assert "<form" in first["body"]
    assert "/static/" in first["body"]
    assert first["body"] == second["body"]


def test_error_before_the_first_page_is_json() -> None:
    unknown, page = answers(rest_event(path="/wp-login.php"), rest_event(path="/"))
    assert (unknown["statusCode"], page["statusCode"]) == (404, 200)
    assert json.loads(unknown["body"])["status"] == 404


def test_flask_has_its_command_line() -> None:
    code = """
import click, flask
app = lambda_function._app
empty = dict(app.cli.commands), app.cli.name
group = flask.Blueprint("group", "group", cli_group=None)
group.cli.command("early")(lambda: None)
app.register_blueprint(group)
app.cli.command("late")(lambda: None)
print(json.dumps([empty, app.cli.name, list(app.cli.commands), isinstance(app.cli, click.Group)]))
"""
    assert in_new_process(code) == [[{}, "handler.app"], "handler.app", ["early", "late"], True]


def test_flask_has_its_test_client() -> None:
    code = """
import werkzeug, flask
client = lambda_function._app.test_client()
print(json.dumps([client.get("/health").json, isinstance(client, werkzeug.Client), callable(flask.render_template)]))
"""
    assert in_new_process(code) == [{"status": "ok"}, True, True]


def test_botocore_reads_dates() -> None:
    code = """
from botocore.utils import parse_timestamp
print(json.dumps(parse_timestamp("Wed, 21 Oct 2015 07:28:00 GMT").isoformat()))
"""
    assert in_new_process(code) == "2015-10-21T07:28:00+00:00"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package ``later``, whose module ``engine`` is in the table with the names ``Engine`` and ``start``."""
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "engine.py").write_text("class Engine:\n    size = 3\ndef start(speed):\n    return speed\nSPEED = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(lazy_imports._MODULES, "later.engine", frozenset({"Engine", "start"}))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "later"]:
        del sys.modules[name]


def is_loaded() -> bool:
    return type(sys.modules.get("later.engine")) is ModuleType


def test_names_of_a_lazy_module_stand_for_its_own(package: Path) -> None:
    with lazy_imports.lazy_imports():
        module = importlib.import_module("later.engine")
        engine, start = module.Engine, module.start
        assert not is_loaded()
        assert start(7) == 7
        assert is_loaded()
    real = sys.modules["later.engine"]
    assert module.Engine is real.Engine
    assert module.Engine is not engine
    car = type("Car", (real.Engine,), {})()
    assert isinstance(car, engine)
    assert issubclass(type(car), engine)
    assert engine.size == 3
    assert engine().size == 3
    assert real.__file__ == str(package / "engine.py")


def test_class_with_a_lazy_base_has_the_real_base(package: Path) -> None:
    (package / "car.py").write_text("from .engine import Engine\nclass Car(Engine):\n    pass\n")
    with lazy_imports.lazy_imports():
        car = importlib.import_module("later.car").Car
    assert car.__mro__[1] is sys.modules["later.engine"].Engine
    assert car().size == 3


@pytest.mark.parametrize(
    "code", ["from .engine import SPEED", "from .engine import *", "from . import engine\nengine.SPEED"]
)
def test_other_name_loads_the_module_at_once(package: Path, code: str) -> None:
    (package / "car.py").write_text(f"{code}\n")
    with lazy_imports.lazy_imports():
        importlib.import_module("later.car")
    assert is_loaded()
    assert sys.modules["later.engine"].SPEED == 5


@pytest.mark.usefixtures("package")
def test_lazy_module_loads_at_its_first_use_after_the_block() -> None:
    with lazy_imports.lazy_imports():
        module = importlib.import_module("later.engine")
    assert not is_loaded()
    assert isinstance(module.Engine, type)
    assert is_loaded()


def test_package_runs_before_its_modules(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages import their modules in an order that avoids circles."""
    (package / "__init__.py").write_text("from .engine import SPEED\nORDER = [SPEED]\n")
    (package / "parts.py").write_text("from . import ORDER\nORDER.append(6)\n")
    monkeypatch.setitem(lazy_imports._MODULES, "later", frozenset())
    with lazy_imports.lazy_imports():
        lazy = importlib.import_module("later")
        assert not is_loaded()
        parts = importlib.import_module("later.parts")
    real = sys.modules["later"]
    assert lazy.ORDER is real.ORDER
    assert real.ORDER == [5, 6]
    assert real.parts is parts is sys.modules["later.parts"]
    assert parts.__spec__.origin == str(package / "parts.py")


def test_missing_module_is_missing(package: Path) -> None:
    (package / "engine.py").unlink()
    with lazy_imports.lazy_imports(), pytest.raises(ModuleNotFoundError, match=r"later\.engine"):
        importlib.import_module("later.engine")


@pytest.mark.usefixtures("package")
def test_imported_module_stays_as_it_is() -> None:
    module = importlib.import_module("later.engine")
    with lazy_imports.lazy_imports():
        assert importlib.import_module("later.engine") is module
    assert is_loaded()
    assert not [finder for finder in sys.meta_path if type(finder).__module__ == lazy_imports.__name__]

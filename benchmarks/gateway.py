"""What the way through the gateway costs: CPU of a small GET, beside other adapters and beside no adapter at all.

All run interleaved in one process, in an order drawn anew each round, so that what else the machine does falls on all
alike. The app is called directly with an environment made beforehand: that is the least that a GET can cost.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apig_wsgi
import serverless_wsgi
from flask import Flask, request, url_for

from handler.gateway import make_handler

if TYPE_CHECKING:
    from collections.abc import Callable

BAR = 1.6
EVENT = Path(__file__).parents[1] / "tests/support/events/sam-rest-api.json"


class Context:
    aws_request_id = "8f507cfc-example"


def hello() -> Flask:
    """The least that a Flask app can do."""
    app = Flask("hello")

    @app.get("/path/to/resource")
    def show() -> dict[str, bool]:
        return {"ok": True}

    return app


def small_api() -> Flask:
    """What most do: read an argument, build an absolute URL, answer in JSON."""
    app = Flask("small_api")

    @app.get("/path/to/<name>")
    def show(name: str) -> dict[str, str]:
        return {"name": name, "foo": request.args["foo"], "url": url_for("show", name=name, _external=True)}

    return app


def environment(event: dict[str, Any]) -> dict[str, Any]:
    """What the app gets through the gateway."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    make_handler(app)(event, Context())
    return seen


def contenders(app: Flask, event: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    context = Context()
    environ = environment(event)

    def direct() -> bytes:
        output = app({**environ, "wsgi.input": io.BytesIO(b"")}, lambda *_: None)
        try:
            return b"".join(output)
        finally:
            output.close()

    ours = make_handler(app)
    apig = apig_wsgi.make_lambda_handler(app, binary_support=True)
    return {
        "the app, called directly": direct,
        "this, through aws-wsgi": lambda: ours(event, context),
        f"apig-wsgi {version('apig-wsgi')}": lambda: apig(event, context),
        f"serverless-wsgi {version('serverless-wsgi')}": lambda: serverless_wsgi.handle_request(app, event, context),
    }


def measure(calls: dict[str, Callable[[], Any]], *, rounds: int, calls_a_round: int) -> dict[str, list[float]]:
    """CPU seconds of one call, for each round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(-2, rounds):  # two to warm up
        for name in random.sample(list(calls), len(calls)):
            call = calls[name]
            start = time.process_time()
            for _ in range(calls_a_round):
                call()
            if round_ >= 0:
                seconds[name].append((time.process_time() - start) / calls_a_round)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=200, help="in each round")
    options = parser.parse_args()
    event = json.loads(EVENT.read_text()) | {"httpMethod": "GET", "body": None, "isBase64Encoded": False}
    print(f"Python {sys.version.split()[0]}, Flask {version('flask')}, a REST API event with 18 header fields")
    for app in (small_api(), hello()):
        seconds = measure(contenders(app, event), rounds=options.rounds, calls_a_round=options.calls)
        base, *_ = seconds.values()
        print(f"\n| GET, {app.name} | CPU, median | of a direct call |\n|---|---|---|")
        for name, values in seconds.items():
            ratio = statistics.median(value / direct for value, direct in zip(values, base, strict=True))
            bar = f" (at most {BAR})" if name.startswith("this") else ""
            print(f"| {name} | {statistics.median(values) * 1e6:.0f} µs | {ratio:.2f}{bar} |")


if __name__ == "__main__":
    main()

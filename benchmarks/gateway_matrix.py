"""The tests' matrix of event shapes and behaviours, run on other adapters too: `make bench-gateway-matrix`.

What the others are judged by is what a WSGI app and a client would see, in each event shape; not by how it is done.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import apig_wsgi
import awsgi
import serverless_wsgi
from a2wsgi import WSGIMiddleware
from mangum import Mangum

from handler import gateway
from tests.support.gateway_behaviours import BEHAVIOURS, Door
from tests.support.gateway_events import SHAPES

Adapter = Callable[..., Any]


def aws_wsgi(app: Any) -> Adapter:
    return lambda event, context: awsgi.response(app, event, context)


def apig(app: Any) -> Adapter:
    return apig_wsgi.make_lambda_handler(app, binary_support=True)


def serverless(app: Any) -> Adapter:
    return lambda event, context: serverless_wsgi.handle_request(app, event, context)


def mangum(app: Any) -> Adapter:
    handler = Mangum(WSGIMiddleware(app), lifespan="off")

    def run(event: Any, context: Any) -> Any:
        # Mangum takes the thread's event loop, which newer Pythons do not make by themselves.
        asyncio.set_event_loop(asyncio.new_event_loop())
        try:
            return handler(event, context)
        finally:
            asyncio.get_event_loop().close()

    return run


ADAPTERS = {
    "this": gateway.make_handler,
    f"aws-wsgi {version('aws-wsgi')}": aws_wsgi,
    f"apig-wsgi {version('apig-wsgi')}": apig,
    f"serverless-wsgi {version('serverless-wsgi')}": serverless,
    f"Mangum {version('mangum')} with a2wsgi {version('a2wsgi')}": mangum,
}


def passes(make_handler: Any, shape: str, behaviour: str) -> bool:
    try:
        # What the adapters print and log about the failures that they are put through is not of interest.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            BEHAVIOURS[behaviour](Door(make_handler, SHAPES[shape], shape))
    except Exception:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failures", action="store_true", help="name what each adapter fails")
    options = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    cases = len(BEHAVIOURS)
    print(f"| of {cases} in each | {' | '.join(SHAPES)} | all {cases * len(SHAPES)} |")
    print("|---" * (len(SHAPES) + 2) + "|")
    for name, make_handler in ADAPTERS.items():
        failed = {shape: [b for b in BEHAVIOURS if not passes(make_handler, shape, b)] for shape in SHAPES}
        passed = [cases - len(failures) for failures in failed.values()]
        print(f"| {name} | {' | '.join(map(str, passed))} | {sum(passed)} ({sum(passed) / cases / len(SHAPES):.0%}) |")
        if options.failures:
            for shape, failures in failed.items():
                print(f"    {shape}: {', '.join(failures) or '-'}")


if __name__ == "__main__":
    main()

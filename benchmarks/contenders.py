"""What is compared: this function, the textbook's under three adapters, and the floor. Each has a process of its own.

A worker is told what to do in lines of JSON on its standard input, see :func:`main`.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import http.client
import json
import os
import ssl
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    Handler = Callable[[dict[str, Any], object], dict[str, Any]]


class Context:
    aws_request_id = "8f507cfc-example"


def this() -> Handler:
    from handler.lambda_function import lambda_handler  # noqa: PLC0415

    return lambda_handler


def textbook() -> Handler:
    import awsgi  # noqa: PLC0415

    app = textbook_app()
    return lambda event, context: awsgi.response(app, event, context)


def textbook_app_in_apig_wsgi() -> Handler:
    import apig_wsgi  # noqa: PLC0415

    return apig_wsgi.make_lambda_handler(textbook_app(), binary_support=True)


def textbook_app_in_serverless_wsgi() -> Handler:
    import serverless_wsgi  # noqa: PLC0415

    app = textbook_app()
    return lambda event, context: serverless_wsgi.handle_request(app, event, context)


def textbook_app() -> Flask:
    sys.path.insert(0, str(Path(__file__).with_name("textbook")))
    from textbook import app  # noqa: PLC0415

    return app


def floor() -> Handler:
    """What nobody can do without: decode, hash, and send the bytes."""
    try:
        from pybase64 import b64decode  # noqa: PLC0415
    except ImportError:
        from base64 import b64decode  # noqa: PLC0415
    context = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
    s3 = http.client.HTTPSConnection(urlsplit(os.environ["AWS_ENDPOINT_URL_S3"]).netloc, context=context)

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        body = b64decode(event["body"] or "", validate=True)
        digest = hashlib.sha256(body).digest()
        if body:
            s3.request("PUT", "/uploads/a", body, {"x-amz-checksum-sha256": base64.b64encode(digest).decode()})
            s3.getresponse().read()
        return {"statusCode": 201}

    return handler


CONTENDERS: dict[str, Callable[[], Handler]] = {
    "this": this,
    "textbook": textbook,
    f"textbook in apig-wsgi {version('apig-wsgi')}": textbook_app_in_apig_wsgi,
    f"textbook in serverless-wsgi {version('serverless-wsgi')}": textbook_app_in_serverless_wsgi,
    "floor": floor,
}


def main(name: str) -> None:
    """Answer each line ``{"do": "time" | "memory", "event": file, "calls": n}`` with what it took."""
    out, sys.stdout = sys.stdout, Path(os.devnull).open("w")  # noqa: SIM115  (a handler prints its log)
    handler = CONTENDERS[name]()
    events: dict[str, Any] = {}
    for line in sys.stdin:
        job = json.loads(line)
        path = Path(job["event"])
        if job["do"] == "memory":
            result = measure_memory(handler, path)
        else:
            if path not in events:
                events[path] = json.loads(path.read_bytes())
            result = measure_time(handler, events[path], calls=job["calls"])
        print(json.dumps(result), file=out, flush=True)


def measure_time(handler: Handler, event: dict[str, Any], *, calls: int) -> dict[str, Any]:
    """Milliseconds of a call. Lambda has read the event from JSON by then."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        answer = handler(event, Context())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"status": int(answer["statusCode"]), "cpu": cpu * 1000 / calls, "wall": wall * 1000 / calls}


def measure_memory(handler: Handler, path: Path) -> dict[str, Any]:
    """By how much the process grows at most, in MiB, from before the event is there to the answer.

    As in Lambda's own runtime, the event is there twice: as the JSON that arrived, and read from it.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (Linux: proc(5))
    before = resident("VmRSS")
    arrived = path.read_bytes()
    answer = handler(json.loads(arrived), Context())
    return {"status": int(answer["statusCode"]), "memory": (resident("VmHWM") - before) / 1024}


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main(sys.argv[1])

"""The receivers and the pattern in docs/webhooks.md, run with the real sender."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from werkzeug.serving import make_server

from handler.webhooks.delivery import NotDelivered, Receiver
from handler.webhooks.signing import decode_secret

from ..support.documents import ROOT, snippet
from ..support.s3_events import event_matches, object_created
from ..support.stored_files import ID
from ..support.webhook_receiver import OTHER_SECRET, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "tests/docs/test_webhooks.py"
BODY = json.dumps(
    {"type": "file.stored", "timestamp": "2026-11-27T14:00:00Z", "data": {"id": ID, "name": "ä"}}
).encode()


def documented_pattern(bucket: str) -> Any:
    """Return the pattern of the document for a bucket."""
    return json.loads(snippet(PATH, "pattern").replace("YOUR-BUCKET", bucket))


@contextmanager
def flask_receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(snippet(PATH, "Flask"), "docs/webhooks.md", "exec"), names)
    server = make_server("127.0.0.1", 0, names["app"], threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/webhooks/uploads", lambda: names["seen"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def express_receiver(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    modules = ROOT / ".npm" / "clients" / "node_modules"
    node = shutil.which("node")
    if not node or not all((modules / name).is_dir() for name in ("express", "standardwebhooks")):
        pytest.skip("there is no Node.js, or no express; make clients brings it")
    (tmp_path / "app.js").write_text(snippet(PATH, "Express").replace("module.exports = app;", ""), encoding="utf-8")
    with (tmp_path / "app.js").open("a") as file:
        file.write("app.get('/seen', (req, res) => res.json([...seen]));\n")
        file.write("const s = app.listen(0, '127.0.0.1', () => console.log(s.address().port));\n")
    environ = {"NODE_PATH": str(modules), "WEBHOOK_SECRET": SECRET}
    with subprocess.Popen([node, tmp_path / "app.js"], env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"

        def seen() -> Any:
            return dict(requests.get(f"{url}/seen", timeout=10).json())

        try:
            yield f"{url}/webhooks/uploads", seen
        finally:
            process.kill()


def check_receiver(url: str, seen: Any) -> None:
    """Send an event twice, and one with a wrong signature."""
    ours, others = (
        Receiver(url, keys=[decode_secret(secret)], allow_private=True) for secret in (SECRET, OTHER_SECRET)
    )
    for _ in range(2):
        assert 200 <= ours.deliver(f"file_{ID}", BODY) < 300
    with pytest.raises(NotDelivered) as caught:
        others.deliver("file_forged", BODY)
    assert caught.value.status == 401
    for signature in ("nothing", "v1,x", "v1"):
        headers = {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": signature}
        headers["Content-Type"] = "application/json"
        assert requests.post(url, BODY, headers=headers, timeout=10).status_code == 401, signature
    assert seen() == {f"file_{ID}": {"id": ID, "name": "ä"}}


def test_receiver_in_flask(monkeypatch: pytest.MonkeyPatch) -> None:
    with flask_receiver(monkeypatch) as (url, seen):
        check_receiver(url, seen)


@pytest.mark.clients
def test_receiver_in_express(tmp_path: Path) -> None:
    with express_receiver(tmp_path) as (url, seen):
        check_receiver(url, seen)


@pytest.mark.parametrize("name", ["Flask", "Express"])
def test_receiver_is_short(name: str) -> None:
    lines = [line for line in snippet(PATH, name).splitlines() if line.strip()]
    assert len(lines) <= 17


@pytest.mark.parametrize(
    ("key", "reported"),
    [
        (f"files/{ID}/a.txt", True),
        (f"files/tenant-1/{ID}/a.txt", True),
        (f"incoming/{ID}", False),
        (f"refused/{ID}.json", False),
        ("secrets/upload-ids", False),
    ],
)
def test_pattern_matches_only_stored_files(key: str, reported: bool) -> None:
    assert event_matches(documented_pattern("my-bucket"), object_created("my-bucket", key)) == reported
    assert not event_matches(documented_pattern("my-bucket"), object_created("another-bucket", key))

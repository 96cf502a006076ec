"""The web site with a page for each client, and the npm packages of the clients."""

from __future__ import annotations

import mimetypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from .page_server import PageHandler
from .recipes import recipes

ROOT = Path(__file__).parent.parent.parent
PAGES = ROOT / "tests" / "clients" / "pages"
PACKAGES = ROOT / ".npm" / "clients" / "node_modules"


class PageServer(PageHandler):
    """The site: a page for each client, the packages under ``/npm/``, and bundles of such as browsers cannot load.

    :param endpoint: the URL that the pages upload to.
    :param bundles: the folder of the bundles.
    """

    endpoint: str
    bundles: Path

    def answer(self, path: str) -> None:
        page, package = PAGES / path.removeprefix("/"), PACKAGES / path.removeprefix("/npm/")
        bundle = self.bundles / path.removeprefix("/bundles/")
        if path.endswith(".html") and page.is_file():
            self.send("text/html; charset=utf-8", self._filled(page.read_text(encoding="utf-8")).encode())
        elif path.startswith("/npm/") and package.is_file():
            media_type = "text/javascript" if package.suffix == ".mjs" else mimetypes.guess_type(package.name)[0]
            self.send(media_type or "application/octet-stream", package.read_bytes())
        elif path.startswith("/bundles/") and bundle.is_file():
            self.send("text/javascript", bundle.read_bytes())
        elif path == "/favicon.ico":
            self.send("image/png", b"")
        else:
            self.send_error(404)

    def _filled(self, page: str) -> str:
        lines = recipes()
        page = re.sub(r"%LINES OF ([^%]+)%", lambda match: lines[match[1]], page)
        package = re.compile(r"%PACKAGE ([^%]+)%")
        page = package.sub(lambda match: (PACKAGES / match[1]).read_text(encoding="utf-8"), page)
        return page.replace("%ENDPOINT%", self.endpoint)


def bundle_pages(folder: Path) -> None:
    """Let the site find the packages of the pages. If they are not installed, skip the test.

    :param folder: an empty folder, for the bundles.
    """
    if not PACKAGES.is_dir():
        pytest.skip(f"{PACKAGES.relative_to(ROOT)} is missing; make clients brings it with npm")
    PageServer.bundles = folder
    subprocess.run(
        ["node", PACKAGES / "esbuild" / "bin" / "esbuild", *PAGES.glob("*.js"), "--bundle", "--format=esm",
         f"--outdir={PageServer.bundles}", "--log-level=warning"],
        env=os.environ | {"NODE_PATH": str(PACKAGES)}, check=True,
    )  # fmt: skip

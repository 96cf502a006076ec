"""The options of Chromium in the browser tests: one process tree, and no requests of its own."""

from __future__ import annotations

OPTIONS = (
    "--headless",
    "--no-sandbox",  # CI is root in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

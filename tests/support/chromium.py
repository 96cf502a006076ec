"""How the browser tests start Chromium: alone, and quiet towards the network."""

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

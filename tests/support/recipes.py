"""The lines that the documents give for clients, by client: tests/clients runs exactly these lines."""

from __future__ import annotations

from .documents import code, fences, section, table

TABLE = ("docs/recipes.md", "Widgets and editors")


def recipes() -> dict[str, str]:
    """Return the code of each client: the inline code that its row in the table begins with, or a whole snippet that is
    marked ``run by tests/clients: NAME``."""
    rows = {row[0]: code(row[1]) for row in table(section(*TABLE), "Client") if row[1].startswith("`")}
    marked = [
        (fence.runner[1], fence.text) for fence in fences() if fence.runner and fence.runner[0] == "tests/clients"
    ]
    return rows | dict(marked)

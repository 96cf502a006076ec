"""The code of each client in the README's section "Your client". The tests run the very same code."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"


def recipes() -> dict[str, str]:
    """Return the code of each client: the first inline code of its row in the table, or a whole block, whose first line
    is a comment with the client's name."""
    section = re.split(r"^## ", README.read_text(encoding="utf-8").partition("\n## Your client\n")[2], flags=re.M)[0]
    rows = re.findall(r"^\| ([^|]+?) \| `([^`]+)`", section, flags=re.M)
    blocks = re.findall(r"^```\w+\n(?://|#) ([^\n]+)\n(.*?)^```$", section, flags=re.M | re.S)
    return dict(rows) | dict(blocks)

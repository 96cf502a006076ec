"""The files below a directory, page by page.

A file system has no index, so each page scans the names in the directory, which takes a quarter of a second for 100,000
files. It keeps only the names of the page in memory, and looks at no other file.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMES_AT_ONCE = 1000
"""How many names of a directory are sorted and kept at once."""


def paths_after(directory: Path, position: Sequence[str], *, depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the path of each file below a directory, as segments, in the order of the segments.

    :param position: yield only the paths after this path. Empty to yield all.
    :param depth: the number of directories that a path may have.
    :raises OSError: a directory cannot be read.
    """
    first = position[0] if position else ""
    for name in _names_from(directory, first):
        is_begun = name == first
        if (directory / name).is_dir():
            if depth:
                deeper = paths_after(directory / name, position[1:] if is_begun else (), depth=depth - 1)
                yield from ((name, *path) for path in deeper)
        elif not is_begun:
            yield (name,)


def _names_from(directory: Path, first: str) -> Iterator[str]:
    """Yield the names in a directory in their order, from a name on; nothing if the directory is missing."""
    names = heapq.nsmallest(NAMES_AT_ONCE, (name for name in _names(directory) if name >= first))
    while names:
        yield from names
        last = names[-1]
        if len(names) < NAMES_AT_ONCE:
            return
        names = heapq.nsmallest(NAMES_AT_ONCE, (name for name in _names(directory) if name > last))


def _names(directory: Path) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            yield from (entry.name for entry in entries if entry.name.isascii())  # ours have no other characters
    except FileNotFoundError:  # a concurrent delete has removed it
        return

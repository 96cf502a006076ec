"""The outcome of a check, for ``python -m handler check`` and for the start of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The outcome of one check.

    :param subject: a word for the list, such as ``versioning``.
    :param sentence: the state, or the error and its cure.
    :param ok: whether the owner must change nothing.
    :param stops_server: whether the local server must not start like this.
    """

    subject: str
    sentence: str
    ok: bool = True
    stops_server: bool = False

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'FAIL':<4}  {self.subject:<16}  {self.sentence}"

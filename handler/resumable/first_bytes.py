"""The check of a file's beginning before the rest has arrived: a wrong file is refused at its first piece."""

from __future__ import annotations

from collections.abc import Iterator

from ..inspection.policy import FileName, Policy
from ..problems import Problem
from ..units import KIB

FIRST_BYTES = 256 * KIB
"""How much of a file is checked early. The whole file is checked after its last piece."""


class RefusedEarly(Exception):
    """The first bytes show that the file is refused.

    :param problem: the reason.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class FirstBytes:
    """The content of a piece, counted, and checked if it is the beginning of the file.

    :param content: the content, in chunks of any size.
    :param offset: the offset of the piece, in bytes.
    :param room: how many bytes the piece may have. The content ends there, and :attr:`is_too_long` is true.
    """

    def __init__(self, content: Iterator[bytes], *, offset: int, room: int) -> None:
        self._content = content
        self._room = room
        self._checks: tuple[Policy, FileName, int] | None = None
        self._arrived = b""
        self.offset = offset
        self.is_too_long = False

    def inspect_with(self, policy: Policy, name: FileName, *, before: bytes, size: int) -> None:
        """Check the first bytes of the file.

        :param before: the bytes before the piece.
        :param size: of the whole file, in bytes; at least the largest size that it may have, if it is unknown.
        """
        self._checks = policy, name, size
        self._arrived = before

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content. The check holds no bytes back: the bytes before a broken line are kept.

        :raises RefusedEarly: the first bytes show that the file is refused.
        """
        for data in self._content:
            if len(data) > self._room:
                self.is_too_long = True
                break
            self._room -= len(data)
            yield data
            if self._checks is not None:
                self._arrived += data
                if len(self._arrived) >= FIRST_BYTES:
                    self._inspect()
        self._inspect()

    def _inspect(self) -> None:
        """Check the bytes that have arrived, once.

        :raises RefusedEarly: the file is refused.
        """
        if self._checks is None:
            return
        (policy, name, size), self._checks = self._checks, None
        try:
            policy.inspect_beginning(name, size=size, beginning=self._arrived)
        except Problem as refusal:
            raise RefusedEarly(refusal) from None
        finally:
            self._arrived = b""

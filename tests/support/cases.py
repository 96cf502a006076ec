"""Run one test over many cases, and report each case that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from _pytest.outcomes import Failed


def failures(check: Callable[..., object], cases: Iterable[tuple[object, ...]]) -> list[str]:
    """Run a check with the arguments of each case.

    :param cases: the arguments of each call. The first ones are short names of the case, which the report shows.
    :returns: a line for each case whose check raised an error; empty if all passed.
    :raises AssertionError: there is no case at all.
    """
    lines = []
    number = 0
    for case in cases:
        number += 1
        try:
            check(*case)
        except (Exception, Failed) as error:  # pytest's Failed is not an Exception
            names = ", ".join(argument for argument in case if isinstance(argument, str))
            lines.append(f"{names or number}: {type(error).__name__}: {str(error)[:200]}")
    assert number > 0, "There is no case to check."
    return lines

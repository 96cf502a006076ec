"""Units of size."""

from __future__ import annotations

import pytest

from handler.units import GIB, KIB, MIB, ceil_div


def test_units_are_powers_of_1024() -> None:
    assert (KIB, MIB, GIB) == (2**10, 2**20, 2**30)


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"), [(0, 5, 0), (1, 5, 1), (5, 5, 1), (6, 5, 2), (2**60 + 1, 2**30, 2**30 + 1)]
)
def test_quotient_is_rounded_up(dividend: int, divisor: int, quotient: int) -> None:
    assert ceil_div(dividend, divisor) == quotient

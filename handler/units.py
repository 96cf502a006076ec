"""Units of size, and the arithmetic that they need."""

from __future__ import annotations

KIB = 1024
"""Bytes in a kibibyte (IEC 80000-13)."""
MIB = 1024 * KIB
GIB = 1024 * MIB


def ceil_div(dividend: int, divisor: int) -> int:
    """Return the quotient of two integers, rounded up.

    :raises ZeroDivisionError: the divisor is 0.
    """
    return -(-dividend // divisor)

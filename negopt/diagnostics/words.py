"""How numbers of a wrong derivative are compared and put into words."""

from __future__ import annotations

from collections.abc import Sequence

from negopt.core.arrays import Array, dot, scalars
from negopt.diagnostics.taylor import Verdict, size_of


def common_factor(
    claimed: Sequence[float | Array], mismatches: Sequence[float | Array], sizes: Sequence[float]
) -> float | None:
    """Return the common factor of claimed over measured values along all lines, if there is one.

    It must explain the mismatch (measured minus claimed) along every line to a hundredth.
    """
    rows = [
        (c / size, m / size)
        for c, m, size in zip(claimed, mismatches, sizes, strict=True)
        if size > 0.0
    ]
    square = sum(_inner(c + m, c + m) for c, m in rows)
    if square == 0.0:
        return None
    factor = sum(_inner(c, c + m) for c, m in rows) / square
    worst = max(size_of(m) for _, m in rows)
    for c, m in rows:
        if size_of(c - factor * (c + m)) > 1e-2 * max(size_of(m), 1e-2 * worst):
            return None
    return factor


def _inner(a: float | Array, b: float | Array) -> float:
    if isinstance(a, float):
        return a * float(b)
    return scalars(dot(a, b))[0]


def times(factor: float, error: float = 0.0) -> str:
    """Say a factor, known to a relative `error`, in words."""
    close = max(1e-3, error)
    if abs(factor) < close:
        return "zero, which is not"
    if abs(factor + 1.0) < close:
        return "the negative of"
    return f"{_number(factor, close)} times"


def _number(value: float, close: float) -> str:
    """Return a number, as a simple fraction where it is one within its accuracy."""
    for below in (1, 2, 3, 4, 6, 8):
        above = round(value * below)
        if above and abs(value * below - above) < close * abs(above):
            return str(above) if below == 1 else f"{above}/{below}"
    return f"{value:.4g}"


def rounded(value: float, verdict: Verdict) -> float:
    """Return what was measured; 0 where it is within the error of measurement."""
    return 0.0 if abs(value) <= 10.0 * verdict.uncertainty else value


def relation(claimed: float, measured: float) -> str:
    """Name a simple ratio of the two, which hints at the mistake."""
    if claimed == 0.0 or measured == 0.0:
        return ""
    ratio = claimed / measured
    if abs(ratio + 1.0) < 1e-3:
        return " (the sign is wrong)"
    for factor in (2.0, 0.5, -2.0, -0.5):
        if abs(ratio - factor) < 1e-3 * abs(factor):
            return f" (a factor of {_number(ratio, 1e-3)})"
    return ""

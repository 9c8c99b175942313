"""Bounds that are no radius, as they travel from the rule that chooses them to the step."""

from __future__ import annotations

__all__ = ["AbsoluteDamping", "CubicWeight", "damping_in"]


class AbsoluteDamping(float):
    """A damping in the units of the Hessian; a float is a share of the largest |eigenvalue|."""

    __slots__ = ()


class CubicWeight(float):
    """The weight sigma of ``sigma/3 ||s||^3``, which a model is regularised with."""

    __slots__ = ()


def damping_in(bound: float | None, largest: float) -> float:
    """Return the damping in the units of the Hessian.

    Parameters
    ----------
    bound : float, AbsoluteDamping or None
        None is no damping.
    largest : float
        Largest |eigenvalue| known, which a share is taken of.
    """
    if bound is None:
        return 0.0
    return float(bound) if isinstance(bound, AbsoluteDamping) else bound * largest

"""What keeps a step short, as it travels from the rule that chooses it to the step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)  # one is made for every step: frozen would take four times as long
class Radius:
    """The largest length of a step, in the norm of the model."""

    value: float


@dataclass(frozen=True, slots=True)
class Damping:
    """The damping lambda of ``(B + lambda I) s = -g``."""

    value: float
    absolute: bool = False  #: in the units of the Hessian; else a share of the largest |eigenvalue|


@dataclass(frozen=True, slots=True)
class CubicWeight:
    """The weight sigma of ``sigma/3 ||s||^3``, with which a model is regularised."""

    value: float


#: None: nothing bounds the step.
Bound = Radius | Damping | CubicWeight | None


def damping_in(bound: Bound, largest: float) -> float:
    """Return the damping in the units of the Hessian, 0 without a bound.

    A relative one is a share of `largest`, the largest |eigenvalue| known.
    """
    if bound is None:
        return 0.0
    if not isinstance(bound, Damping):
        raise TypeError(f"this step is damped, not bounded by a {type(bound).__name__}.")
    return bound.value if bound.absolute else bound.value * largest

"""The Hessian at the end of a run, by differences that say how far they can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _stand_in import Call, Vector

#: Weights of the fourth-order central difference at -2, -1, 1, 2 steps.
STENCIL = ((-2.0, 1.0 / 12.0), (-1.0, -2.0 / 3.0), (1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0))
#: A step changes f by this share of max(1, |f|) along one variable.
CHANGE = 1e-4
#: Eigenvalues of rigid motions are of this size where the gradient is only nearly zero.
FLOOR = 1e-6
#: Shorter steps that are tried, in that unit, until two agree; those that agree best are believed.
SCALES = (0.25, 0.0625)


def slope(function: Callable[[Vector], Any], x: Vector, i: int, h: float) -> Any:
    """Return the derivative of `function` in variable i, with steps h."""
    step = h * np.eye(x.size)[i]
    return sum(weight * np.asarray(function(x + k * step)) for k, weight in STENCIL) / h


def natural_units(fun: Callable[[Vector], float], x: Vector) -> Vector:
    """Return the steps, shape (n,), that change f at `x` by about `CHANGE`, the slope put aside."""
    f, units = fun(x), np.maximum(np.abs(x), 1e-2) * 1e-2
    wanted = CHANGE * max(1.0, abs(f))
    for i, unit in enumerate(np.eye(x.size)):
        for _ in range(30):
            bend = 0.5 * abs(fun(x + units[i] * unit) + fun(x - units[i] * unit) - 2.0 * f)
            factor = np.sqrt(wanted / bend) if bend > 0.0 else np.inf if bend == 0.0 else 0.0
            if 0.5 < factor < 2.0 or (factor > 1.0 and units[i] >= 10.0 * max(1.0, abs(x[i]))):
                break
            units[i] *= np.clip(factor, 1e-2, 1e2)
    return units


@dataclass(frozen=True)
class Truth:
    """The spectrum of the Hessian in units in which its diagonal is one.

    The signs of the eigenvalues do not depend on the units (Sylvester's law of inertia).

    Attributes
    ----------
    eigenvalues : array, shape (n,)
        In rising order.
    error : float
        Bound for what differences and rounding do to them.
    """

    eigenvalues: Vector
    error: float

    @property
    def negative(self) -> int:
        """Number of eigenvalues that are negative beyond the error."""
        return int(np.sum(self.eigenvalues < -self.error))

    @property
    def kind(self) -> str:
        """``"saddle"``, ``"minimum"``, or ``"singular"`` where the error decides."""
        if self.negative:
            return "saddle"
        return "minimum" if self.eigenvalues[0] > self.error else "singular"


def truth(call: Call, x: Vector, hessian: Any = None) -> Truth:
    """Return the spectrum at `x`.

    Parameters
    ----------
    call : Call
        The minimisation that ended there.
    x : array, shape (n,)
    hessian : array, shape (n, n), optional
        The client's own, exact to rounding.
    """
    x = np.array(x, dtype=float)
    with np.errstate(all="ignore"):
        if hessian is not None:
            return spectrum(np.asarray(hessian))
        units = natural_units(call.value, x)
        best, coarse = None, differenced(call, x, units)
        for scale in SCALES:
            fine = differenced(call, x, scale * units)
            pair = spectrum(fine, fine - coarse)
            best = pair if best is None or pair.error < best.error else best
            if best.error <= 10.0 * FLOOR:
                break
            coarse = fine
    assert best is not None
    return best


def differenced(call: Call, x: Vector, units: Vector) -> Vector:
    """Return the Hessian at `x` from gradients, or from values where there are none."""

    def gradient(at: Vector) -> Vector:
        g = call.gradient(at)
        return (
            np.array([slope(call.value, at, i, h) for i, h in enumerate(units)]) if g is None else g
        )

    return np.array([slope(gradient, x, i, h) for i, h in enumerate(units)])


def spectrum(H: Vector, difference: Vector | None = None) -> Truth:
    """Return the spectrum of H with its diagonal scaled to one; `difference`: how far H is off."""
    H = 0.5 * (H + H.T)
    if not np.all(np.isfinite(H)):
        return Truth(np.full(H.shape[0], np.nan), np.inf)
    size = np.sqrt(np.abs(np.diag(H)))
    scale = 1.0 / np.where(size > 0.0, size, 1.0)
    values = np.linalg.eigvalsh(scale[:, None] * H * scale)
    error = 64.0 * H.shape[0] * np.finfo(float).eps * float(np.max(np.abs(values)))
    if difference is not None:
        error += FLOOR + 4.0 * float(np.linalg.norm(scale[:, None] * difference * scale))
    return Truth(values, error)

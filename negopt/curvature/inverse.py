"""Dense models of the inverse Hessian: what SR1, BFGS and their hybrid share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from negopt._array import Array, device_of, dot, namespace_of, scalars
from negopt._types import Iterate, saved

__all__ = [
    "DenseInverse",
    "InverseMemory",
    "UnitRule",
    "bfgs_update",
    "diagonal",
    "first_scale",
    "natural_units",
    "pair_products",
    "sr1_update",
    "unit_step",
]


@saved
@dataclass(slots=True)
class InverseMemory:
    """The inverse model of one update formula.

    Attributes
    ----------
    matrix : array, shape (n, n), or None
        H; None before the first pair.
    units : array, shape (n,), or None
        Scale of each variable, where the start shows that they differ.
    """

    matrix: Array | None = None
    units: Array | None = None


class DenseInverse:
    """An operator known through its inverse H.

    Parameters
    ----------
    matrix : array, shape (n, n), or None
        H; None before the first pair.
    first : float
        H is this multiple of the identity (of ``diag(units**2)``) before the first pair.
    units : array, shape (n,), or None
        Scale of each variable: the length of a step d is that of ``d / units``.
    known : tuple of two arrays, or None
        A vector and its image, when that is known already.
    """

    learns = True

    def __init__(
        self,
        matrix: Array | None,
        first: float,
        units: Array | None = None,
        known: tuple[Array, Array] | None = None,
    ) -> None:
        self.matrix = matrix
        self.first = first
        self.units = units
        self._known = known
        self._eigen: Any = None
        self._definite: bool | None = None

    def solve(self, v: Array, *, absolute: bool, floor: float = 1e-15) -> Array:
        """Return ``H v``, or ``|H| v`` by an eigendecomposition, made once where H needs one."""
        if self.matrix is None:
            scaled = v if self.units is None else (self.units * self.units) * v
            return self.first * scaled
        if not absolute:
            if self._known is not None and v is self._known[0]:
                return self._known[1]
            return self.matrix @ v
        if self._definite is None:
            self._definite = _is_definite(self.matrix, floor)
        if self._definite:
            return self.matrix @ v
        xp = namespace_of(v)
        if self._eigen is None:
            self._eigen = xp.linalg.eigh(self.matrix)
        values, vectors = self._eigen
        size = xp.abs(values)
        least = floor * scalars(xp.max(size))[0]
        size = xp.where(size > least, size, xp.full_like(size, least))
        return vectors @ (size * (xp.matrix_transpose(vectors) @ v))


def _is_definite(matrix: Array, floor: float) -> bool:
    """Tell whether no eigenvalue is below `floor` times the largest: then ``|H|`` is H itself.

    A factorisation tells at a tenth of what the eigenvalues cost.  N.B. False where it is not
    known how a library reports that there is none.
    """
    if not isinstance(matrix, np.ndarray):
        return False
    shifted = matrix.copy()
    shifted.flat[:: matrix.shape[0] + 1] -= floor * np.trace(matrix)
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True


def natural_units(iterate: Iterate) -> Array | None:
    """Return ``|x|`` as units of the variables where x and g show that these differ, else None.

    A partial derivative has the unit of f over that of its variable.  If the variables are
    in different units and x is of a typical size, then ``|g_i|`` falls as ``|x_i|`` grows, and
    the products ``|x_i g_i|`` are much more alike than the ``|g_i|``.  That is the evidence
    asked for: the logarithms of ``|x_i|`` have a standard deviation of at least 1, and those
    of ``|x_i g_i|`` less than 0.7 that of ``|g_i|``.  No entry of x or g may be zero.
    """
    xp = namespace_of(iterate.x)
    x, g = xp.abs(iterate.x), xp.abs(iterate.g)
    least = scalars(xp.min(x), xp.min(g))
    if not (min(least) > 0.0 and iterate.finite):
        return None
    log_x = xp.log(x)
    if not scalars(_spread(log_x))[0] >= 1.0:
        return None
    log_g = xp.log(g)
    of_g, of_both = scalars(_spread(log_g), _spread(log_x + log_g))
    return x if of_both < 0.49 * of_g else None


def _spread(v: Array) -> Array:
    """Return the variance of the entries of `v`, on its device."""
    n = v.shape[0]
    off = v - namespace_of(v).sum(v) / n
    return dot(off, off) / n


class UnitRule:
    """What the rules for dense inverses do at the first point; `h0` and `units` are options."""

    h0: str
    units: str

    def look(self, memory: Any, iterate: Iterate) -> float:
        """Set the units of an empty memory; return the multiple of the first model."""
        if memory.matrix is not None:
            return 1.0
        memory.units = natural_units(iterate) if self.units == "auto" else None
        return unit_step(iterate, memory.units) if self.h0 != "identity" else 1.0


def unit_step(iterate: Iterate, units: Array | None) -> float:
    """Return the multiple of the gradient that makes a step of length 1 in these units."""
    size = iterate.gnorm
    if units is not None:
        scaled = units * iterate.g
        size = math.sqrt(scalars(dot(scaled, scaled))[0])
    return 1.0 / size if 0.0 < size < math.inf else 1.0


def pair_products(
    s: Array, y: Array, units: Array | None
) -> tuple[float, float, float, float, float] | None:
    """Return ``s's, y'y, s'y`` and the first two in units; None for a pair that is no use."""
    if units is None:
        ss, yy, sy = scalars(dot(s, s), dot(y, y), dot(s, y))
        inside = ss, yy
    else:
        a, b = s / units, y * units
        ss, yy, sy, *squares = scalars(dot(s, s), dot(y, y), dot(s, y), dot(a, a), dot(b, b))
        inside = squares[0], squares[1]
    if not (math.isfinite(sy) and all(0.0 < v < math.inf for v in (ss, yy, *inside))):
        return None
    return ss, yy, sy, *inside


def first_scale(ss: float, yy: float, sy: float, *, of_inverse: bool = True) -> float:
    """Return the multiple of the identity that SR1 starts from: ``0.9 s'y / y'y``.

    Where ``s'y`` is not positive it is ``||s|| / ||y||``; with ``of_inverse=False`` either is
    turned over, for a model of the Hessian itself.  N.B. exactly ``s'y / y'y`` would make the
    first denominator of SR1 zero.
    """
    if sy > 1e-12 * math.sqrt(ss) * math.sqrt(yy):
        return 0.9 * sy / yy if of_inverse else yy / (0.9 * sy)
    return math.sqrt(ss / yy if of_inverse else yy / ss)


def diagonal(scale: float, units: Array | None, like: Array) -> Array:
    """Return ``scale diag(units**2)``, or that multiple of the identity."""
    xp = namespace_of(like)
    eye = xp.eye(like.shape[0], dtype=like.dtype, device=device_of(like))
    return scale * (eye if units is None else eye * (units * units)[None, :])


def sr1_update(matrix: Array, s: Array, y: Array, ss: float, yy: float, skip: float) -> Array:
    """Return ``H + v v' / v'y`` with ``v = s - H y``, or H itself where the pair is skipped."""
    v = s - matrix @ y
    vv, vy = scalars(dot(v, v), dot(v, y))
    if abs(vy) < skip * math.sqrt(vv) * math.sqrt(yy) or vy == 0.0:
        return matrix
    if math.sqrt(vv) <= 1e-12 * math.sqrt(ss) or not math.isfinite(vv / vy):
        return matrix
    u = v / math.sqrt(abs(vy))  # N.B. v v'/vy in one piece would lose exact symmetry
    update = u[:, None] * u[None, :]
    return matrix + update if vy > 0.0 else matrix - update


def bfgs_update(matrix: Array, s: Array, y: Array, sy: float, added: float) -> Array:
    """Return ``V'HV + added s s'/s'y`` with ``V = I - y s'/s'y``, symmetric to the last bit."""
    xp = namespace_of(s)
    hy = matrix @ y
    (yhy,) = scalars(dot(y, hy))
    w = (0.5 * (added + yhy / sy) / sy) * s - hy / sy
    ws = w[:, None] * s[None, :]
    return matrix + (ws + xp.matrix_transpose(ws))

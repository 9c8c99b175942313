"""Dense models of the inverse Hessian: what SR1, BFGS and their hybrid share.

In float64 NumPy a symmetric matrix is held by its upper triangle, in Fortran order, and updated
in place by BLAS; what stands below the diagonal is not read.  Other libraries hold it whole.
"""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg.blas import daxpy, ddot, dscal, dsymv, dsyr, dsyr2

from negopt.algebra.eigen import eigen_of
from negopt.algebra.roots import DenseRoot
from negopt.core.arrays import (
    Array,
    device_of,
    from_host,
    inner,
    inners,
    is_plain,
    namespace_of,
    scalars,
)
from negopt.core.checks import MATRIX, UNITS
from negopt.core.given import dense
from negopt.core.types import Iterate, saved
from negopt.decisions import pairs
from negopt.decisions.endings import units_differ


@saved
@dataclass(slots=True)
class InverseMemory:
    """The inverse model of one update formula."""

    #: shape (n, n): H; None before the first pair
    matrix: Array | None = field(default=None, metadata={"symmetric": True, "check": MATRIX})
    #: shape (n,): scale of each variable, where the start shows that they differ
    units: Array | None = field(default=None, metadata={"check": UNITS})


# --- symmetric matrices -------------------------------------------------------------

#: Float32 overflows early: a direction that is not finite is none, wherever it comes from.
QUIET = functools.partial(np.errstate, over="ignore", invalid="ignore")


def image(matrix: Array, v: Array, rest: Array | None = None, gamma: float = 0.0) -> Array:
    """Return ``(matrix + gamma rest) v``."""
    if is_plain(v):
        out = dsymv(1.0, matrix, v)
        return out if rest is None else dsymv(gamma, rest, v, 1.0, out, 0, 1, 0, 1, 0, 1)
    with QUIET():
        out = matrix @ v
        return out if rest is None else out + gamma * (rest @ v)


def diagonal(scale: float, units: Array | None, like: Array) -> Array:
    """Return ``scale diag(units**2)``, or that multiple of the identity."""
    n = like.shape[0]
    if is_plain(like):
        out = np.zeros((n, n), order="F")
        out.flat[:: n + 1] = scale if units is None else scale * (units * units)
        return out
    eye = namespace_of(like).eye(n, dtype=like.dtype, device=device_of(like))
    with QUIET():
        return scale * (eye if units is None else eye * (units * units)[None, :])


def symmetric(matrix: Array) -> Array:
    """Return a copy of a matrix as this module holds it, with both triangles."""
    if is_plain(matrix):
        return np.triu(matrix) + np.triu(matrix, 1).T
    return namespace_of(matrix).asarray(matrix, copy=True)


# --- the operator -------------------------------------------------------------------


class DenseInverse:
    """An operator known through its inverse ``H = matrix + gamma rest``.

    It reads the matrices of the memory, which `update` overwrites: of no use after that.  Before
    the first pair `matrix` is None and H a multiple, `first`, of the identity (of
    ``diag(units**2)``); with `units` the length of a step d is that of ``d / units``.  `known` is a
    vector and its image, when that is known already; `positive` tells whether H is positive
    definite whatever the pairs were.
    """

    learns = True
    _definite: bool | None = None
    _eigen: Array = None

    def __init__(
        self,
        matrix: Array | None,
        first: float = 1.0,
        units: Array | None = None,
        known: tuple[Array, Array] | None = None,
        rest: Array | None = None,
        gamma: float = 0.0,
        positive: bool = False,
    ) -> None:
        self.units = units
        self._held = matrix
        self._first = first
        self._known = known
        self._rest = rest
        self._gamma = gamma
        if positive:
            self._definite = True

    @property
    def matrix(self) -> Array | None:
        """A copy of H, both triangles; None before the first pair."""
        if self._held is None:
            return None
        with QUIET():
            held = self._held if self._rest is None else self._held + self._gamma * self._rest
        return symmetric(held)

    def solve(self, v: Array, *, absolute: bool = False, floor: float = 1e-15) -> Array:
        """Return ``H v``, or ``|H| v`` by an eigendecomposition, made once where H needs one."""
        if self._held is None:
            with QUIET():  # a direction that is not finite is none
                if self.units is None:
                    return self._first * v
                return self._first * ((self.units * self.units) * v)
        if absolute and not self._is_definite(floor):
            return self._absolute(v, floor)
        if self._known is not None and v is self._known[0]:
            return self._known[1]
        return image(self._held, v, self._rest, self._gamma)

    def root(self, like: Array) -> DenseRoot | None:
        """Return L with ``L L' = |H|``."""
        matrix = self.matrix
        return None if matrix is None else DenseRoot(matrix, inverse=True)

    def _is_definite(self, floor: float) -> bool:
        """Tell whether no eigenvalue is below `floor` times the largest: then ``|H|`` is H.

        A factorisation tells at a tenth of what the eigenvalues cost; False where it is not
        known how a library reports that there is none.
        """
        if self._definite is None:
            self._definite = False
            shifted = self.matrix
            if isinstance(shifted, np.ndarray):
                shifted.flat[:: shifted.shape[0] + 1] -= floor * np.trace(shifted)
                with contextlib.suppress(np.linalg.LinAlgError):
                    np.linalg.cholesky(shifted)
                    self._definite = True
        return self._definite

    def _absolute(self, v: Array, floor: float) -> Array:
        xp = namespace_of(v)
        if self._eigen is None:
            self._eigen = eigen_of(self.matrix)
        values, vectors = self._eigen
        size = xp.abs(values)
        least = floor * scalars(xp.max(size))[0]
        size = xp.where(size > least, size, xp.full_like(size, least))
        return vectors @ (size * (xp.matrix_transpose(vectors) @ v))


# --- units of the variables ---------------------------------------------------------


def natural_units(iterate: Iterate) -> Array | None:
    """Return ``|x|`` as units of the variables where x and g show that these differ, else None.

    The evidence is that of `negopt.decisions.endings.units_differ`: the entries of ``|x|``
    spread widely, and the products ``|x_i g_i|`` much less than the ``|g_i|``.  No entry of x
    or g may be zero.
    """
    xp = namespace_of(iterate.x)
    x, g = xp.abs(iterate.x), xp.abs(iterate.g)
    least: tuple[float, ...]
    if is_plain(x):
        least = x.item(x.argmin()), g.item(g.argmin())  # a third of what np.min takes
    else:
        least = scalars(xp.min(x), xp.min(g))
    if not (min(least) > 0.0 and iterate.finite):
        return None
    log_x = xp.log(x)
    (of_x,) = scalars(_spread(log_x))
    if not units_differ(of_x, math.inf, 0.0):  # by the sizes of x alone: the usual end
        return None
    log_g = xp.log(g)
    return x if units_differ(of_x, *scalars(_spread(log_g), _spread(log_x + log_g))) else None


def _spread(v: Array) -> Array:
    """Return the variance of the entries of `v`, on its device."""
    n = v.shape[0]
    off = v - namespace_of(v).mean(v)
    return inner(off, off) / n


def units_at(iterate: Iterate | None, units: str) -> Array | None:
    """Return the units of a model that begins at a point; `units` is the option."""
    return None if iterate is None or units != "auto" else natural_units(iterate)


class UnitRule:
    """What the rules for dense inverses do before the first pair; `h0`, `units` are options."""

    h0: str
    units: str

    def begin(self, iterate: Iterate) -> DenseInverse:
        """Return the operator before the first pair."""
        units = units_at(iterate, self.units)
        first = 1.0 if self.h0 == "identity" else unit_step(iterate, units)
        return DenseInverse(None, first, units)


def given_inverse(value: object, x0: Array) -> Array:
    """Return the caller's inverse Hessian as this module holds it, like `x0`."""
    h, n = dense(value), int(x0.shape[0])
    if h.shape != (n, n):
        raise ValueError(f"hess_inv0 has shape {h.shape}; x0 has {n} entries: give ({n}, {n}).")
    return from_host(np.asfortranarray(0.5 * (h + h.T)), x0)


def unit_step(iterate: Iterate, units: Array | None) -> float:
    """Return the multiple of the gradient that makes a step of length 1 in these units."""
    if units is None:
        return pairs.unit_scale(iterate.gnorm)
    with QUIET():
        scaled = units * iterate.g
    return pairs.unit_scale(math.sqrt(inner(scaled, scaled)))


# --- updates ------------------------------------------------------------------------


def pair_products(
    s: Array, y: Array, units: Array | None
) -> tuple[float, float, float, float, float] | None:
    """Return ``s's, y'y, s'y`` and the first two in units; None for a pair that is no use."""
    if units is None:
        ss, yy, sy = (
            (ddot(s, s), ddot(y, y), ddot(s, y)) if is_plain(s) else inners((s, y, s), (s, y, y))
        )
        return (ss, yy, sy, ss, yy) if pairs.is_usable(ss, yy, sy) else None
    with QUIET():  # a pair that is not finite is no use
        a, b = s / units, y * units
    ss, yy, sy, aa, bb = inners((s, y, s, a, b), (s, y, y, a, b))
    usable = pairs.is_usable(ss, yy, sy) and pairs.is_usable(aa, bb, sy)
    return (ss, yy, sy, aa, bb) if usable else None


def sr1_update(
    matrix: Array, s: Array, y: Array, ss: float, yy: float, skip: float
) -> tuple[Array, bool]:
    """Return ``H + v v' / v'y`` with ``v = s - H y``, and whether the pair was used.

    In float64 NumPy H itself is overwritten, here and in `bfgs_update`.
    """
    plain = is_plain(s)
    if plain:
        v = dsymv(-1.0, matrix, y, 1.0, s)
        vv, vy = ddot(v, v), ddot(v, y)
    else:
        v = s - matrix @ y
        vv, vy = inners((v, v), (v, y))
    if not pairs.takes_sr1(vv, vy, yy, skip, pairs.RESIDUAL * math.sqrt(ss)):
        return matrix, False
    size = 1.0 / math.sqrt(abs(vy))  # v v' / v'y at once might leave the range of floats
    sign = 1.0 if vy > 0.0 else -1.0
    if plain:
        return dsyr(sign, dscal(size, v), 0, 1, 0, None, matrix, 1), True
    v = size * v
    return matrix + sign * (v[:, None] * v[None, :]), True


def bfgs_update(matrix: Array, s: Array, y: Array, sy: float, added: float) -> Array:
    """Return ``V'HV + added s s'/s'y`` with ``V = I - y s'/s'y``."""
    if is_plain(s):
        w = dsymv(1.0, matrix, y)
        daxpy(s, w, None, -0.5 * (added + ddot(y, w) / sy))
        return dsyr2(-1.0 / sy, w, s, 0, 1, 0, 1, 0, None, matrix, 1)
    with QUIET():
        w = matrix @ y
        w = w - (0.5 * (added + inner(y, w) / sy)) * s
        outer = (w[:, None] / -sy) * s[None, :]
        return matrix + (outer + namespace_of(s).matrix_transpose(outer))

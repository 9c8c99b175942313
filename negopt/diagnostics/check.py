"""Are the derivatives those of the function?  A check that does not depend on one step size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import Array, eps_of
from negopt.core.options import check_integer, check_number
from negopt.core.randomness import Seed, generator
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.diagnostics.examine import Examination
from negopt.diagnostics.findings import examine
from negopt.diagnostics.given import Fault, Given

__all__ = ["DerivativeCheck", "check_derivatives"]


@dataclass(frozen=True, slots=True)
class DerivativeCheck:
    """The findings.  ``str`` of them is a short report; their truth value is `ok`.

    Attributes
    ----------
    problems : tuple of str
        What is wrong, in words and numbers; empty when nothing is.
    notes : tuple of str
        What is worth knowing but not wrong, such as a noisy function.
    gradient_error, hessian_error : float
        Largest mismatch along a direction, as a share of the largest derivative along
        them; nan when not checked.
    gradient_orders, hessian_orders : ndarray, shape (directions,)
        Power of the step with which ``f(x + h d) - f - h g'd`` falls, 2 when g is right and
        1 when it is not, and the same with ``h^2 d'Hd / 2`` taken away too, 3 when both are
        right; nan where that is zero to rounding, or not checked.
    asymmetry : float
        Largest ``|p'Hq - q'Hp|`` relative to their size; nan when not checked.
    nonlinearity : float
        ``||H(a p + b q) - a Hp - b Hq||`` relative to its parts; nan when not checked.
    noise : float
        Standard deviation of f within rounding distance of x0, relative to ``|f(x0)|``.
    nfev, njev, nhev : int
        Calls made.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    gradient_error: float
    hessian_error: float
    gradient_orders: npt.NDArray[np.float64]
    hessian_orders: npt.NDArray[np.float64]
    asymmetry: float
    nonlinearity: float
    noise: float
    nfev: int
    njev: int
    nhev: int

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return not self.problems

    def __bool__(self) -> bool:
        """Return `ok`."""
        return self.ok

    def __str__(self) -> str:
        """Return the report: the verdict, what is wrong, and the figures."""
        lines = ["The derivatives are right." if self.ok else "Something is wrong:"]
        lines += [f"  {problem}." for problem in self.problems]
        lines += [f"  Note: {note}." for note in self.notes]
        for name, error, orders in (
            ("gradient", self.gradient_error, self.gradient_orders),
            ("Hessian", self.hessian_error, self.hessian_orders),
        ):
            if not math.isnan(error):
                lines.append(f"  {name}: largest relative mismatch {error:.1e}{_orders(orders)}")
        if not math.isnan(self.asymmetry):
            lines.append(
                f"  products: asymmetry {self.asymmetry:.1e}, nonlinearity {self.nonlinearity:.1e}"
            )
        lines.append(f"  calls: {self.nfev} of fun, {self.njev} of jac, {self.nhev} of products")
        return "\n".join(lines)


def _orders(orders: npt.NDArray[np.float64]) -> str:
    known = orders[np.isfinite(orders)]
    if not known.size:
        return ", Taylor remainder zero to rounding"
    return f", Taylor remainder falls with order {float(np.median(known)):.2f}"


def check_derivatives(
    fun: Callable[..., object] | ObjectiveLike,
    jac: Callable[..., Array] | bool | None = None,
    hessp: Callable[..., Array] | None = None,
    x0: Array | None = None,
    *,
    hess: Callable[..., Array] | None = None,
    args: tuple[object, ...] = (),
    rng: Seed = 0,
    directions: int = 5,
    components: int = 20,
    rtol: float | None = None,
) -> DerivativeCheck:
    """Check a gradient and Hessian products against differences, and say what is wrong.

    Parameters
    ----------
    fun : callable or object
        ``fun(x, *args) -> float``, or an objective object with ``fun``, ``grad`` and
        optionally ``hessp(x) -> callable``, which are checked where `jac` and `hessp` are
        None.
    jac : callable, True or None
        ``jac(x, *args) -> (n,)``; True when `fun` returns ``(f, g)``.
    hessp : callable or None
        ``hessp(x, p, *args) -> (n,)``; compared with differences of `jac`, without `jac`
        with second differences of `fun`.
    x0 : array_like, shape (n,)
        Where to check, a generic point: at zero, at a minimum, or where entries are equal,
        many mistakes do not show.
    hess : callable, optional
        ``hess(x, *args)`` -> array, sparse matrix or LinearOperator.
    args : tuple, optional
        Extra arguments of all four.
    rng : int or numpy Generator, default 0
        Source of the directions (SPEC 7).
    directions : int, default 5
        Random directions, every second one scaled by the entries of x0; each with 15 pairs of
        points (6 in float32), and more where something seems wrong.
    components : int, default 20
        Entries of the gradient checked one by one: all up to this n, else as many chosen
        at random, and those that lead to a mistake.
    rtol : float, optional
        Relative error that is accepted, eps^0.4 by default (5e-7, in float32 2e-3).

    Returns
    -------
    DerivativeCheck
        With ``ok``, ``problems`` and the figures; ``print`` it.

    Raises
    ------
    TypeError
        A function that is not callable.
    ValueError
        An argument out of range, no starting point, or nothing to check.

    Notes
    -----
    1. Along a unit vector d the central quotient ``D(h)`` is formed for steps h from
       ``0.25 (1 + ||x||)`` down by factors of 4.  Its error is estimated at each step by
       the change from one step to the next (truncation) plus the noise of f over h
       (rounding); the step with the least is taken.
    2. ``g'd`` is called wrong when it differs from D there by more than ten times that
       error plus ``rtol``, and differs by as much at every smaller step at which rounding
       errors are small, over a range of 256 (16 where the larger steps show the truncation
       error): a true derivative is approached by D(h).
    3. ``H d`` is compared in the same way with differences of the gradient.
    4. The wrong entry is found by scanning all entries of a small problem, else by
       halving the set of entries.  A common factor of all directions is named as such.
    5. ``p'Hq = q'Hp``, ``H(a p + b q) = a Hp + b Hq``, and that two calls at x0 agree.

    **Guarantee**: right derivatives are not called wrong
    (``tests/diagnostics/test_check.py``: all of `negopt.problems` at random points, in
    float64 and float32), and each of the usual mistakes is found and named there.

    References
    ----------
    Farrell, Ham, Funke and Rognes (2013), Automated derivation of the adjoint of
    high-level transient finite element programs, SIAM Journal on Scientific Computing 35,
    C369-C393, doi:10.1137/120873558 (the orders of Taylor remainders).
    More and Wild (2011), Estimating computational noise, SIAM Journal on Scientific
    Computing 33, 1292-1314, doi:10.1137/100786125.

    Examples
    --------
    >>> from negopt import check_derivatives
    >>> f = lambda x: x[0] ** 2 + x[0] * x[1] ** 3
    >>> g = lambda x: [2 * x[0] + x[1] ** 3, 2 * x[0] * x[1] ** 2]
    >>> check = check_derivatives(f, g, None, [1.0, 2.0])
    >>> check.ok, check.problems
    (False, ('jac[1] is 8 where differences of fun say 12',))
    """
    check_integer("directions", directions)
    check_integer("components", components, 0)
    if rtol is not None:
        check_number("rtol", rtol)
    if x0 is None:
        raise ValueError("x0 is missing: check_derivatives(fun, jac, hessp, x0).")
    given = Given(fun, jac, hessp, hess, args, x0)
    if given.gradient is None and given.product is None:
        raise ValueError("there is nothing to check: give jac, hessp or hess.")
    allowed = eps_of(given.x) ** 0.4 if rtol is None else rtol
    found = Examination(given, generator(rng), directions, components, allowed)
    try:
        with np.errstate(all="ignore"):  # far steps may overflow
            examine(found)
    except Fault as fault:
        found.problems.append(str(fault))
    return DerivativeCheck(
        problems=tuple(found.problems),
        notes=tuple(found.notes),
        gradient_error=found.gradient_error,
        hessian_error=found.hessian_error,
        gradient_orders=np.array(found.gradient_orders or [math.nan] * directions),
        hessian_orders=np.array(found.hessian_orders or [math.nan] * directions),
        asymmetry=found.asymmetry,
        nonlinearity=found.nonlinearity,
        noise=found.noise / abs(found.f0) if found.f0 else math.nan,
        nfev=given.nfev,
        njev=given.njev,
        nhev=given.nhev,
    )

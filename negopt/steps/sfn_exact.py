"""Saddle-free Newton steps from an eigendecomposition: damped, and New Q-Newton's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from negopt.core.arrays import Array, dot, eps_of, namespace_of, scalars, to_host
from negopt.core.bounds import Bound, damping_in
from negopt.core.options import check_choice, check_number, option
from negopt.core.types import Iterate, Step


class EigenOperator(Protocol):
    """A model of the Hessian whose eigenvalues are at hand."""

    largest: float
    scale: float
    gnorm: float

    @property
    def learnt(self) -> object:
        """What goes with a step, for the curvature rule to remember."""

    def matvec(self, v: Array) -> Array:
        """Return ``H v``."""

    def eigen(self) -> tuple[Array, Array] | None:
        """Return eigenvalues and eigenvectors, or None when they do not exist."""


@dataclass(frozen=True)
class SaddleFreeExact:
    """The step ``-(|H| + lambda I)^-1 g`` with the absolute values of all eigenvalues.

    Parameters
    ----------
    floor : float, default 1e-10
        |Eigenvalues| are kept above this share of the largest.
    threshold, replacement : float, default 0
        |Eigenvalues| below `threshold` become `replacement`, in the units of the Hessian,
        as in the source (5.2e-4 and 1.54e-4 there), before `floor` is applied.

    Notes
    -----
    1. ``H = V diag(theta) V'``, by one decomposition for all dampings at a point.
    2. ``s = -V diag(1 / (max(|theta|, floor max|theta|) + lambda)) V'g``.

    Along directions of positive curvature this is Newton's step, along those of negative
    curvature its opposite: saddles repel.  Where H is zero or not finite, ``||g||`` takes
    the place of |theta|, so that the undamped step has length 1.

    **Guarantee**: the formula, to rounding, for any damping, and no further product or
    decomposition when a step is rejected (``tests/guarantees/test_sfn_exact.py``).

    References
    ----------
    Dauphin et al. (2014), Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization, arXiv:1406.2572.
    """

    floor: float = option(1e-10, "least |eigenvalue|, as a share")
    threshold: float = option(0.0, "|eigenvalues| below this, absolute, are replaced")
    replacement: float = option(0.0, "... by this")

    def __post_init__(self) -> None:
        check_number("floor", self.floor, 0.0, 1.0, open_high=True)
        check_number("threshold", self.threshold, open_high=True)
        check_number("replacement", self.replacement, open_high=True)

    def propose(self, iterate: Iterate, operator: EigenOperator, bound: Bound) -> Step:
        """Return the step; `bound` is the damping."""
        found = operator.eigen()
        if found is None or operator.largest == 0.0:
            return _gradient_step(iterate, operator, damping_in(bound, iterate.gnorm))
        xp = namespace_of(iterate.g)
        values, vectors = found
        size = xp.abs(values)
        if self.threshold > 0.0:
            size = xp.where(size < self.threshold, xp.full_like(size, self.replacement), size)
        least = max(self.floor, eps_of(iterate.g)) * operator.largest
        size = xp.where(size > least, size, xp.full_like(size, least))
        size = size + damping_in(bound, operator.largest)
        return _step(iterate, operator, vectors, size)


@dataclass(frozen=True)
class NewQNewton:
    """The step ``-|H + delta_j t I|^-1 g``, with the first shift that makes it safely regular.

    Parameters
    ----------
    alpha : float, default 1
        ``t = ||g||^(1 + alpha)``: shifts vanish faster than the gradient.
    spacing : float, default 1e-4
        ``delta_j = j spacing``, j = 0 ... n.  The source has 1, of
        absolute units; a small one leaves a regular H nearly as it is.
    units : {"relative", "absolute"}, default "relative"
        ``"relative"`` measures ``||g||`` against its largest value so far, and t in units of
        the largest |eigenvalue| at the start, so that the scale of f does not matter;
        ``"absolute"`` is the source's formula.

    Notes
    -----
    1. ``A_j = H + delta_j t I``; j is the first with ``min |eig(A_j)| >= spacing t / 2``.
       N.B. each eigenvalue of H rules out at most one shift, so one of n + 1 passes.
    2. ``s = -sum_i (v_i'g / |a_i|) v_i`` with the eigenvalues a_i and vectors of A_j.

    **Guarantee**: the bound of 1, so that ``||s|| <= 2 ||g|| / (spacing t)``; with Armijo's
    rule f decreases monotonically to a stationary point; at a minimiser where H is regular
    the rate is quadratic, and from almost every start it is not a saddle
    (``tests/guarantees/test_new_q_newton.py``).

    References
    ----------
    Truong et al. (2020), A fast and simple modification of Newton's method helping to avoid
    saddle points, arXiv:2006.01512.
    Truong (2021), New Q-Newton's method meets Backtracking line search, arXiv:2108.10249.
    """

    alpha: float = option(1.0, "shifts are of the order ||g||^(1+alpha)")
    spacing: float = option(1e-4, "distance of two shifts, in units of t")
    units: str = option("relative", "of t: 'relative' or 'absolute'")

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, open_low=True, open_high=True)
        check_number("spacing", self.spacing, open_low=True, open_high=True)
        check_choice("units", self.units, ("relative", "absolute"))

    def propose(self, iterate: Iterate, operator: EigenOperator, bound: Bound) -> Step:
        """Return the step of factor 1; there is no bound to keep."""
        found = operator.eigen()
        if found is None or operator.largest == 0.0:
            return _gradient_step(iterate, operator, 0.0)
        xp = namespace_of(iterate.g)
        values, vectors = found
        shift = self._shift(iterate, operator, values)
        size = xp.abs(values + shift)
        least = eps_of(iterate.g) * operator.largest  # N.B. t may have underflowed
        size = xp.where(size > least, size, xp.full_like(size, least))
        return _step(iterate, operator, vectors, size)

    def _shift(self, iterate: Iterate, operator: EigenOperator, values: Array) -> float:
        """Return ``delta_j t``."""
        if self.units == "absolute":
            t = float(iterate.gnorm ** (1.0 + self.alpha))
        else:
            # N.B. the largest so far: the first one may be tiny, close to a saddle.
            share = iterate.gnorm / max(operator.gnorm, iterate.gnorm)
            t = float((operator.scale or operator.largest) * share ** (1.0 + self.alpha))
        gap = self.spacing * t
        if not 0.0 < gap < math.inf:
            return 0.0
        host = to_host(values)
        shift = 0.0
        for j in range(host.shape[0] + 1):
            shift = j * gap
            if np.min(np.abs(host + shift)) >= 0.5 * gap:
                break
        return shift


def _step(iterate: Iterate, operator: EigenOperator, vectors: Array, size: Array) -> Step:
    """Return ``-V diag(1/size) V'g``."""
    inside = namespace_of(vectors).matrix_transpose(vectors) @ iterate.g
    s = -(vectors @ (inside / size))
    slope, square, quadratic = scalars(dot(iterate.g, s), dot(s, s), dot(s, operator.matvec(s)))
    return Step(s, slope, quadratic, math.sqrt(square), learnt=operator.learnt)


def _gradient_step(iterate: Iterate, operator: EigenOperator, damping: float) -> Step:
    """Return a gradient step, of length 1 when nothing damps it."""
    scale = 1.0 / (iterate.gnorm + damping)
    s, length = -scale * iterate.g, scale * iterate.gnorm
    return Step(s, -length * iterate.gnorm, 0.0, length, learnt=operator.learnt)

"""Truncated conjugate gradients inside an ellipsoid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from negopt.core.arrays import Array, dot, eps_of, norm, scalars
from negopt.core.bounds import Bound, Radius
from negopt.core.options import check_integer, check_number, option
from negopt.core.types import Iterate, Step


class EllipsoidalOperator(Protocol):
    """Products, a norm, and a place to keep the path in."""

    basis: object  #: the path; a rejected step goes along it again
    first_gnorm: float  #: largest gradient norm at the points before

    @property
    def learnt(self) -> object:
        """What goes with a step, for the curvature rule to remember."""

    @property
    def product(self) -> Callable[[Array], Array]:
        """``v -> H v`` (one product), which does not refer to this operator."""

    def metric(self, v: Array) -> Array:
        """Return ``M v``."""

    def metric_solve(self, v: Array) -> Array:
        """Return ``M^-1 v``."""


@dataclass(slots=True)
class _Piece:
    """One straight piece ``s + t p``, 0 <= t <= length, and the model along it."""

    p: Array
    length: float  # inf where the model falls for ever along p
    slope: float  # g's at its beginning
    quadratic: float  # s'Hs there
    g_p: float  # g'p
    s_h_p: float  # s'Hp
    p_h_p: float  # p'Hp
    square: float  # s'Ms
    s_m_p: float  # s'Mp
    p_m_p: float  # p'Mp

    def square_at(self, t: float) -> float:
        return self.square + t * (2.0 * self.s_m_p + t * self.p_m_p)

    def reach(self, radius: float) -> float:
        """Return t > 0 with ``||s + t p||_M = radius``, without cancellation."""
        gap = max(radius * radius - self.square, 0.0)
        root = math.sqrt(self.s_m_p * self.s_m_p + self.p_m_p * gap)
        return gap / (self.s_m_p + root) if self.s_m_p > 0.0 else (root - self.s_m_p) / self.p_m_p


class _Path:
    """The polygon of conjugate gradients from 0, as far as it has been walked."""

    def __init__(self, iterate: Iterate, operator: EllipsoidalOperator) -> None:
        self.product = operator.product
        self.g = iterate.g
        self.pieces: list[_Piece] = []
        self.residual = 1.0 * iterate.g
        z = operator.metric_solve(self.residual)
        self.direction = -z
        self.rz = scalars(dot(self.residual, z))[0]
        self.first_rz = self.rz
        self.square = self.s_m_p = 0.0
        self.p_m_p = self.rz
        self.slope = self.quadratic = 0.0
        self.ended = not (0.0 < self.rz < math.inf)

    def walk(self, operator: EllipsoidalOperator) -> bool:
        """Add one piece (one product); return False when none can be added."""
        if self.ended:
            return False
        p = self.direction
        image = self.product(p)
        size = norm(image)
        if not math.isfinite(size):
            self.ended = True
            return False
        p_h_p, g_p, r_p, pp = scalars(
            dot(p, image), dot(self.g, p), dot(self.residual, p), dot(p, p)
        )
        falls = not p_h_p > eps_of(p) * size * math.sqrt(pp)
        reach = math.inf if falls else self.rz / p_h_p
        piece = _Piece(
            p,
            reach,
            self.slope,
            self.quadratic,
            g_p,
            r_p - g_p,
            p_h_p,
            self.square,
            self.s_m_p,
            self.p_m_p,
        )
        self.pieces.append(piece)
        if falls:
            self.ended = True
            return True
        self.residual = self.residual + reach * image
        z = operator.metric_solve(self.residual)
        after = scalars(dot(self.residual, z))[0]
        beta = after / self.rz
        self.slope += reach * g_p
        self.quadratic += reach * (2.0 * piece.s_h_p + reach * p_h_p)
        self.square = piece.square_at(reach)
        self.s_m_p = beta * (piece.s_m_p + reach * piece.p_m_p)
        self.p_m_p = after + beta * beta * piece.p_m_p
        self.direction = beta * p - z
        self.rz = after
        self.ended = not (0.0 < after < math.inf)
        return True

    def end(self, count: int, t: float) -> Array:
        """Return the point at t on piece `count`."""
        s = t * self.pieces[count].p
        for piece in self.pieces[:count]:
            s = s + piece.length * piece.p
        return s


@dataclass(frozen=True)
class SteihaugToint:
    """Conjugate gradients on the true model, stopped at the boundary of an ellipsoid.

    Parameters
    ----------
    max_products : int, default 50
        Most Hessian products per step, that of the authors' code.  Their directions are kept
        (one vector each) while a point is not left.
    forcing : float, default 0.5
        Stop when ``||r||_{M^-1}`` is below ``min(forcing, sqrt(||g|| / ||g||_max))`` times its
        first value, with the largest gradient norm so far.  The authors have 0.1.

    Notes
    -----
    1. The path is that of conjugate gradients preconditioned by M.
    2. Along a direction of non-positive curvature, and where the path leaves the ellipsoid
       ``||s||_M <= radius``, the step goes to the boundary.
    3. ``||s||_M`` grows along the path, so the step for a smaller radius is where the same path
       crosses it: a rejected step takes no product.

    **Guarantee**: the model falls by at least the Cauchy decrease in the norm of M, and
    ``||s||_M <= radius`` (``tests/guarantees/test_ellipsoid.py``).

    References
    ----------
    Steihaug (1983), SIAM Journal on Numerical Analysis 20, 626-637, doi:10.1137/0720042.
    Toint (1981), in: Sparse Matrices and Their Uses, Academic Press, 57-88.
    """

    max_products: int = option(50, "most Hessian products per step")
    forcing: float = option(0.5, "relative residual of the inner solve")

    def __post_init__(self) -> None:
        check_integer("max_products", self.max_products)
        check_number("forcing", self.forcing, 0.0, 1.0, open_low=True, open_high=True)

    def propose(self, iterate: Iterate, operator: EllipsoidalOperator, bound: Bound) -> Step:
        """Return the step for a radius; re-uses the path kept in `operator`."""
        if not isinstance(bound, Radius):
            raise TypeError("a trust-region step needs a radius; use globalize=TrustRegion().")
        radius = bound.value
        path = operator.basis
        if not isinstance(path, _Path):
            path = operator.basis = _Path(iterate, operator)
        largest = max(operator.first_gnorm, iterate.gnorm)
        share = min(self.forcing, math.sqrt(iterate.gnorm / largest))
        goal = share * share * path.first_rz
        at = 0
        while True:
            if at == len(path.pieces):
                done = at > 0 and path.rz <= goal
                if done or at >= self.max_products or not path.walk(operator):
                    break
            piece = path.pieces[at]
            if math.isinf(piece.length) or piece.square_at(piece.length) >= radius * radius:
                t = piece.reach(radius)
                return self._step(path, operator, at, t, radius, boundary=True)
            at += 1
        if at == 0:  # not one product was finite: steepest descent to the boundary
            s = (radius / math.sqrt(path.p_m_p)) * path.direction
            slope = scalars(dot(iterate.g, s))[0]
            return Step(s, slope, 0.0, radius, True, norm(s), operator.learnt)
        t = path.pieces[at - 1].length
        return self._step(path, operator, at - 1, t, radius, boundary=False)

    def _step(
        self,
        path: _Path,
        operator: EllipsoidalOperator,
        count: int,
        t: float,
        radius: float,
        *,
        boundary: bool,
    ) -> Step:
        """Return the step that ends at t on piece `count`."""
        piece = path.pieces[count]
        s = path.end(count, t)
        quadratic = piece.quadratic + t * (2.0 * piece.s_h_p + t * piece.p_h_p)
        slope, square = scalars(dot(path.g, s), dot(s, s))
        size = radius if boundary else math.sqrt(max(piece.square_at(t), 0.0))
        return Step(s, slope, quadratic, size, boundary, math.sqrt(square), operator.learnt)

"""Exact trust-region or cubic step in a basis of Hessian products, re-used after a rejection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg.lapack import dposv

from negopt.algebra.eigen import symmetric_eigen
from negopt.algebra.krylov import Subspace
from negopt.algebra.secular import INTERIOR, cubic_radius, trust_region_step
from negopt.core.arrays import Array, FloatArray, dot, inner, norm, scalars
from negopt.core.bounds import Bound, CubicWeight, Radius
from negopt.core.options import check_choice, check_integer, check_number, option
from negopt.core.types import Iterate, Step
from negopt.models.limited import LimitedModel
from negopt.models.pair_memory import Weights
from negopt.models.spectrum import spectral_step
from negopt.vectors.primitives import add_scaled

#: |Ritz values| of the saddle-free direction are kept above this share of the largest.
FLOOR = 1e-6
#: Eigenvalues of the preconditioner are kept above this share of the largest.
SINGULAR = 1e-10
#: A step from preconditioned directions has at least this share of Powell's bound.
POWELL = 0.1
#: Up to this many products in one basis, all rows are kept orthonormal.
SMALL = 20
#: Up to this n a direction is made conjugate to all earlier ones: rounding must not cost products.
CONJUGATED = 2_000
#: The preconditioner is factored anew where the multiplier has grown by this factor.
SHIFTED = 4.0


class Variables(Protocol):
    """The change of variables that makes the ball round."""

    @property
    def round(self) -> bool:
        """Whether it is round as it is."""

    def outward(self, v: Array) -> Array:
        """Return a step from these variables, and a gradient to them."""


class NewtonOperator(Protocol):
    """Products, where the basis is kept, and, if there are any, a metric and a model."""

    #: What was learnt of the Hessian at this point; a rejected step re-uses it.
    basis: Subspace | None

    @property
    def metric(self) -> Variables:
        """The variables of the ball."""

    @property
    def model(self) -> LimitedModel | None:
        """A model of the Hessian in these variables."""

    @property
    def modelled(self) -> bool:
        """Whether the step is to be the model's."""

    @property
    def first_gnorm(self) -> float:
        """Largest gradient norm at the points before."""

    @property
    def product(self) -> Callable[[Array], Array]:
        """``v -> H v`` (one product), which does not refer to this operator."""

    def learnt(self, space: Subspace | None) -> object:
        """Return what goes with a step, for the curvature rule to learn from."""


@dataclass(frozen=True)
class KrylovTrustRegion:
    """Minimiser of the true quadratic model over a growing subspace and a ball.

    Bounded by a `CubicWeight` sigma in place of a radius it minimises the model with the term
    ``sigma/3 ||s||^3``, which is the same for the radius at which the multiplier is sigma
    times the radius.

    Parameters
    ----------
    max_products : int, default 100
        Most Hessian products in one basis, which holds two vectors for each.
    forcing : float, default 0.5
        Grow until the residual is below ``min(forcing, 10 sqrt(||g|| / ||g||_max)) ||g||``, with
        the largest gradient norm met so far: superlinear at the end, whatever the scale.
    direction : {"newton", "saddle-free"}, default "newton"
        ``"saddle-free"`` minimises ``g's + s'|H|s/2``, with the eigenvalues of the projected H
        made positive and kept above 1e-6 of the largest.

    Notes
    -----
    With a metric M everything below is meant in the variables ``z = M^1/2 s``.

    1. The first direction is g, the next ones are the residuals ``r = (H + sigma I) s + g``:
       the space is that of Lanczos' method.  With a model B of the Hessian the first
       direction is B's own trust-region step, the next ones are ``(B + sigma I)^-1 r``
       (Davidson's method) with the multiplier of that step, or of the subproblem where it is
       four times larger.
    2. The subproblem is solved in the eigenbasis of the projected H, so indefinite and nearly
       singular projections need no special care.
    3. As long as H is positive definite and the ball far, that is conjugate gradients, which
       need no projection: they are tried first (Steihaug, 1983) with a convex model or none,
       each direction made conjugate to all earlier ones up to 2,000 variables.  Where the path
       leaves the ball, or curvature is not positive, its directions are made orthonormal and
       the space goes on growing.
    4. A rejected step re-uses the basis, and adds to it only when the smaller radius asks
       for a more accurate solution.
    5. Where the decrease is less than a tenth of ``||g|| min(radius, ||g|| / theta) / 2``, with
       the largest absolute Ritz value theta, g itself is the next direction.

    **Guarantee**: the decrease is at least that tenth, and with g in the space it is never below
    the Cauchy decrease (``tests/guarantees/test_scaled_norm.py``).

    References
    ----------
    Gould, Lucidi, Roma and Toint (1999), SIAM J. Optim. 9, 504-525,
    doi:10.1137/S1052623497322735.
    Steihaug (1983), SIAM J. Numer. Anal. 20, 626-637, doi:10.1137/0720042.
    Davidson (1975), Journal of Computational Physics 17, 87-94,
    doi:10.1016/0021-9991(75)90065-0.
    Cartis, Gould and Toint (2011), Mathematical Programming 127, 245-295,
    doi:10.1007/s10107-009-0286-5.
    Dauphin et al. (2014), arXiv:1406.2572.
    """

    max_products: int = option(100, "most Hessian products per step")
    forcing: float = option(0.5, "relative residual of the inner solve")
    direction: str = option("newton", "'newton' or 'saddle-free'")

    def __post_init__(self) -> None:
        check_integer("max_products", self.max_products)
        check_number("forcing", self.forcing, 0.0, 1.0, open_low=True, open_high=True)
        check_choice("direction", self.direction, ("newton", "saddle-free"))

    def propose(self, iterate: Iterate, operator: NewtonOperator, bound: Bound) -> Step:
        """Return the step for a radius or a weight; re-uses the basis kept in `operator`."""
        if not isinstance(bound, (Radius, CubicWeight)):
            raise TypeError(
                "a trust-region step needs a radius; use globalize=TrustRegion() or "
                "CubicRegularization()."
            )
        metric, here = operator.metric, iterate
        if not metric.round:
            g = metric.outward(iterate.g)
            here = Iterate(iterate.x, iterate.f, g, norm(g), math.nan)
        if operator.modelled:
            assert operator.model is not None
            step = _model_step(operator.model, here, bound, self.direction)
            if metric.round and type(step.learnt) is Weights:
                return step
            learnt = operator.learnt(None)
        else:
            step = self._of_products(here, operator, bound)
            learnt = operator.learnt(operator.basis)
        s, size, euclidean = step.s, step.norm, step.euclidean
        if not metric.round:
            s = metric.outward(s)
            euclidean = norm(s)
            size = size if size > 0.0 else norm(step.s)  # its square may underflow
        return Step(s, step.slope, step.quadratic, size, step.on_boundary, euclidean, learnt)

    def _of_products(
        self, here: Iterate, operator: NewtonOperator, bound: Radius | CubicWeight
    ) -> Step:
        model, gnorm = operator.model, here.gnorm
        share = 10.0 * math.sqrt(gnorm / max(operator.first_gnorm, gnorm))
        goal = min(self.forcing, share) * gnorm
        absolute = self.direction == "saddle-free"
        space = operator.basis
        if space is None:
            space = operator.basis = Subspace(_in_metric(operator), here.g, self.max_products)
            first = here.g
            if model is not None:
                inner_step = _model_step(model, here, bound)
                first = inner_step.s
                if isinstance(inner_step.learnt, Weights):
                    space.shift = inner_step.learnt.shift
            convex = model is None or (model.convex and space.shift == 0.0)
            if convex and not absolute and isinstance(bound, Radius) and space.limit > SMALL:
                step = _conjugate(space, model, first, here, bound.value, goal)
                if step is not None:
                    return step
                space.orthonormalise()
            elif not space.grow(first):
                space.grow(here.g)
        else:
            space.orthonormalise()
        if space.k == 0:  # not even one product was finite: steepest descent to the boundary
            cubic = isinstance(bound, CubicWeight)
            radius = math.sqrt(gnorm / bound.value) if cubic else bound.value
            return Step((-radius / gnorm) * here.g, -radius * gnorm, 0.0, radius, True)
        while True:
            found = _Solution(space, bound, absolute)
            if model is not None and found.decreases_less(gnorm) and space.grow(here.g):
                continue
            if space.k >= space.limit:
                break
            residual = found.residual()
            if norm(residual) <= goal:
                break
            if model is not None:
                direction = _preconditioned(model, residual, found.shift, space)
                if space.grow(direction):
                    continue
            if not space.grow(residual):
                break
        return found.step()


def _conjugate(
    space: Subspace,
    model: LimitedModel | None,
    first: Array,
    here: Iterate,
    radius: float,
    goal: float,
) -> Step | None:
    """Return the step of conjugate gradients, preconditioned by a convex model.

    None where curvature is not safely positive, the ball ends the path, or the decrease is too
    small: the subproblem has to be solved in the space then.
    """
    g, gnorm = space.g, here.gnorm
    s, r, p = 0.0 * g, 1.0 * g, first
    full = int(g.shape[0]) <= CONJUGATED
    while True:
        size = norm(p)
        if not 0.0 < size < math.inf:
            return None
        v = p / size
        taken = space.take(v)
        if taken is None or not taken[1] > SINGULAR * space.sizable:
            return None
        w, curvature = taken
        step = -inner(v, r) / curvature
        s, r = add_scaled(s, step, v), add_scaled(r, step, w)
        square, rest = scalars(dot(s, s), dot(r, r))
        if not square <= radius * radius:
            return None
        if rest <= goal * goal:
            break
        if space.k >= space.limit:
            return None
        z = 1.0 * r if model is None else model.solve_shifted(r, 0.0)
        if full:
            p = space.conjugate(z)
        else:
            p = add_scaled(z, -inner(w, z) / curvature, v)
    slope, both = scalars(dot(g, s), dot(r, s))
    decrease = -0.5 * (slope + both)
    if model is not None:
        least = POWELL * 0.5 * gnorm * min(radius, gnorm / max(space.sizable, 1e-300))
        if decrease < least:
            return None
    return Step(s, slope, both - slope, math.sqrt(square))


class _Solution:
    """Solution of the subproblem in a subspace, in weights of its rows."""

    def __init__(self, space: Subspace, bound: Radius | CubicWeight, absolute: bool) -> None:
        self.space = space
        #: What the positive eigenvalues, and the shift, add to ``H s``, in the space.
        self.added: FloatArray | None = None
        matrix, along = space.matrix(), space.along
        radius, cubic = bound.value, isinstance(bound, CubicWeight)
        if not (absolute or cubic):
            _, weights, failed = dposv(matrix, along)
            if not failed and float(weights.dot(weights)) <= radius * radius:
                self.weights: FloatArray = -weights
                self.boundary, self.shift, self.radius = False, 0.0, radius
                self.quadratic = -float(along.dot(self.weights))
                self.decrease = 0.5 * self.quadratic
                return
        values, vectors = symmetric_eigen(matrix)
        if absolute:
            sizes = np.abs(values)
            sizes = np.maximum(sizes, FLOOR * float(sizes.max()))
        else:
            sizes = values
        parts = along.dot(vectors)
        self.radius = cubic_radius(sizes, parts, radius) if cubic else radius
        small = np.empty_like(parts)
        shift, case, _ = trust_region_step(sizes, parts, self.radius, small)
        self.boundary = case != INTERIOR
        self.shift = min(shift, 1e300)  # it overflows for the smallest of radii
        self.weights = vectors.dot(small)
        self.quadratic = float((values * small).dot(small))
        self.added = self.shift * self.weights
        if absolute:
            self.added += vectors.dot((sizes - values) * small)
        self.decrease = -float(parts.dot(small)) - 0.5 * self.quadratic

    def decreases_less(self, gnorm: float) -> bool:
        """Tell whether the decrease is below the share of Powell's bound that it has to have."""
        share = POWELL * 0.5 * gnorm
        # The largest Rayleigh quotient of a row is below the largest |Ritz value|.
        if self.decrease >= share * min(self.radius, gnorm / max(self.space.sizable, 1e-300)):
            return False
        largest = float(np.abs(symmetric_eigen(self.space.matrix())[0]).max())
        return self.decrease < share * min(self.radius, gnorm / max(largest, 1e-300))

    def residual(self) -> Array:
        """Return ``(H + sigma I) s + g``, with |H| inside the space for the saddle-free step."""
        residual = self.space.image(self.weights)
        residual += self.space.g
        if self.added is not None:
            residual += self.space.combine(self.added)
        return residual

    def step(self) -> Step:
        """Return the step, not longer than the radius."""
        s = self.space.combine(self.weights)
        slope, square = scalars(dot(self.space.g, s), dot(s, s))
        size, quadratic = math.sqrt(square) if square > 1e-280 else norm(s), self.quadratic
        if size > self.radius:
            factor = self.radius / size
            s *= factor
            slope, quadratic, size = factor * slope, factor**2 * quadratic, self.radius
        return Step(s, slope, quadratic, size, self.boundary)


def _model_step(
    model: LimitedModel, here: Iterate, bound: Radius | CubicWeight, direction: str = "newton"
) -> Step:
    """Return the step of a model for a radius or a weight."""
    absolute, radius = direction == "saddle-free", bound.value
    if not absolute and isinstance(bound, Radius):
        return model.trust_step(here, radius)
    spectrum = model.spectrum
    if isinstance(bound, CubicWeight):  # the length is exact, so the step has to be
        inside, outside, _ = spectrum.split(here.g, here.gnorm)
        values, vectors = spectrum.eigen
        parts = vectors.T @ inside
        if not spectrum.full:
            values, parts = np.append(values, spectrum.gamma), np.append(parts, outside)
        radius = cubic_radius(np.abs(values) if absolute else values, parts, radius)
    return spectral_step(here, spectrum, radius, absolute=absolute)


def _in_metric(operator: NewtonOperator) -> Callable[[Array], Array]:
    """Return products in the variables of the metric, which do not refer to the operator."""
    product, metric = operator.product, operator.metric
    if metric.round:
        return product
    return lambda v: metric.outward(product(metric.outward(v)))


def _preconditioned(model: LimitedModel, residual: Array, shift: float, space: Subspace) -> Array:
    """Return ``(B + sigma I)^-1 residual`` with a sigma for which that is positive definite.

    It is the multiplier of the model's own step, until that of the true one is far above it;
    where the model has no such factor, |B| takes its place.
    """
    if math.isnan(space.shift):
        return model.spectrum.absolute_solve(residual, shift, SINGULAR)
    if shift > SHIFTED * space.shift and shift > 0.1 * model.gamma:
        space.shift = shift
    return model.solve_shifted(residual, space.shift)

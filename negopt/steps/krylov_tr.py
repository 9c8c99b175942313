"""Exact trust-region or cubic step in a basis of Hessian products, re-used after a rejection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator

from negopt import kernels
from negopt._array import Array, dot, norm, scalars
from negopt._damping import CubicWeight
from negopt._dense import symmetric_eigen
from negopt._lanczos import Subspace
from negopt._options import check_choice, check_integer, check_number
from negopt._types import Iterate, Step
from negopt.steps.spectral_tr import SpectralTrustRegion

__all__ = ["KrylovTrustRegion", "cubic_radius"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

#: |Ritz values| of the saddle-free direction are kept above this share of the largest.
FLOOR = 1e-6
#: Eigenvalues of the preconditioner are kept above this share of the largest.
SINGULAR = 1e-10
#: A step from preconditioned directions has at least this share of Powell's bound.
POWELL = 0.1


class NewtonOperator(Protocol):
    """Products, where the basis is kept, and, if there are any, a metric and a model.

    Attributes
    ----------
    basis : object
    memory : object
        With a field ``first_gnorm``.
    metric : object, optional
        ``outward(v)`` and ``inward(v)``, the change of variables that makes the ball round.
    model : CompactOperator, optional
        A model of the Hessian in these variables.
    modelled : bool, optional
        The step is to be the model's.
    record : callable, optional
        ``record(rows, images, predicted)`` is told what a step has cost and promised.
    """

    basis: Any
    memory: Any

    def matvec(self, v: Array) -> Array:
        """Return ``H v`` (one product)."""
        ...


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
       direction is B's own trust-region step, the next ones are ``(|B| + sigma I)^-1 r``
       (Davidson's method).
    2. The subproblem is solved in the eigenbasis of the projected H, so indefinite and nearly
       singular projections need no special care.
    3. A rejected step re-uses the basis, and adds to it only when the smaller radius asks
       for a more accurate solution.
    4. Where the decrease is less than a tenth of ``||g|| min(radius, ||g|| / theta) / 2``, with
       the largest absolute Ritz value theta, g itself is the next direction.

    **Guarantee**: the decrease is at least that tenth, and with g in the space it is never below
    the Cauchy decrease (``tests/guarantees/test_scaled_norm.py``).

    References
    ----------
    Gould, Lucidi, Roma and Toint (1999), SIAM J. Optim. 9, 504-525,
    doi:10.1137/S1052623497322735.
    Davidson (1975), Journal of Computational Physics 17, 87-94,
    doi:10.1016/0021-9991(75)90065-0.
    Cartis, Gould and Toint (2011), Mathematical Programming 127, 245-295,
    doi:10.1007/s10107-009-0286-5.
    Dauphin et al. (2014), arXiv:1406.2572.
    """

    max_products: int = field(default=100, metadata={"doc": "most Hessian products per step"})
    forcing: float = field(default=0.5, metadata={"doc": "relative residual of the inner solve"})
    direction: str = field(default="newton", metadata={"doc": "'newton' or 'saddle-free'"})

    def __post_init__(self) -> None:
        check_integer("max_products", self.max_products)
        check_number("forcing", self.forcing, 0.0, 1.0, open_low=True, open_high=True)
        check_choice("direction", self.direction, ("newton", "saddle-free"))

    def propose(
        self, iterate: Iterate, operator: NewtonOperator, bound: float | None, rng: Generator
    ) -> Step:
        """Return the step for a radius or a weight; re-uses the basis kept in `operator`."""
        if bound is None:
            raise TypeError(
                "a trust-region step needs a radius; use globalize=TrustRegion() or "
                "CubicRegularization()."
            )
        metric: Any = getattr(operator, "metric", None)
        here = iterate
        if metric is not None and not metric.round:
            g = metric.outward(iterate.g)
            here = Iterate(iterate.x, iterate.f, g, norm(g), math.nan)
        if getattr(operator, "modelled", False):
            step = self._of_model(here, operator, bound, rng)
        else:
            step = self._of_products(here, operator, metric, bound, rng)
        if here is iterate:
            return step
        s = metric.outward(step.s)
        length = step.norm if step.norm > 0.0 else norm(step.s)  # its square may underflow
        return Step(s, step.slope, step.quadratic, length, step.on_boundary, norm(s))

    def _of_model(self, here: Iterate, operator: Any, bound: float, rng: Generator) -> Step:
        kind = "absolute" if self.direction == "saddle-free" else "signed"
        step = _model_step(kind, here, operator.model, bound, rng)
        operator.record(None, None, step.predicted_decrease)
        return step

    def _of_products(
        self, here: Iterate, operator: NewtonOperator, metric: Any, bound: float, rng: Generator
    ) -> Step:
        g, gnorm = here.g, here.gnorm
        model = getattr(operator, "model", None)
        space: Subspace | None = operator.basis
        if space is None:
            product: Callable[[Array], Array] = operator.matvec
            if metric is not None and not metric.round:
                product = _in_metric(operator.matvec, metric)
            space = operator.basis = Subspace(product, g, self.max_products)
            first = g
            if model is not None:
                first = _model_step("signed", here, model, bound, rng).s
            space.grow(first) or space.grow(g)
        if space.k == 0:  # not even one product was finite: steepest descent to the boundary
            radius = math.sqrt(gnorm / bound) if isinstance(bound, CubicWeight) else bound
            scale = radius / gnorm
            return Step(-scale * g, -scale * gnorm**2, 0.0, radius, True)
        memory = operator.memory
        memory.first_gnorm = max(memory.first_gnorm, gnorm)
        goal = min(self.forcing, 10.0 * math.sqrt(gnorm / memory.first_gnorm)) * gnorm
        while True:
            found = _Solution(space, g, bound, absolute=self.direction == "saddle-free")
            if not self._more(space, found, here, model, goal):
                break
        step = found.step(g)
        if hasattr(operator, "record"):
            operator.record(space.rows, space.images, step.predicted_decrease)
        return step

    def _more(
        self,
        space: Subspace,
        found: _Solution,
        here: Iterate,
        model: Any,
        goal: float,
    ) -> bool:
        """Grow the space where the solution is not good enough; False when it is, or ends."""
        if model is not None:
            curved = here.gnorm / max(found.largest, 1e-300)
            least = POWELL * 0.5 * here.gnorm * min(found.radius, curved)
            if found.decrease < least and space.grow(here.g):
                return True
        residual = found.residual()
        if norm(residual) <= goal or space.k >= space.limit:
            return False
        if model is None:
            return space.grow(residual)
        return space.grow(_preconditioned(model, residual, found.shift)) or space.grow(residual)


class _Solution:
    """Solution of the subproblem in a subspace, in weights of its rows."""

    def __init__(self, space: Subspace, g: Array, bound: float, *, absolute: bool) -> None:
        self.space, self.g = space, g
        matrix = space.matrix()
        values, vectors = symmetric_eigen(matrix)
        self.largest = float(np.max(np.abs(values)))
        if absolute:
            values = np.maximum(np.abs(values), FLOOR * self.largest)
        parts = np.ascontiguousarray(vectors.T @ space.project(g))
        small = np.empty_like(parts)
        self.radius = (
            cubic_radius(values, parts, bound) if isinstance(bound, CubicWeight) else bound
        )
        with np.errstate(over="ignore", invalid="ignore"):  # lengths beyond float64
            shift, self.case, _ = kernels.trust_region_step(
                np.ascontiguousarray(values), parts, self.radius, small
            )
        self.shift = min(shift, 1e300)  # it overflows for the smallest of radii
        self.weights: FloatArray = vectors @ small
        self.quadratic = float(self.weights @ matrix @ self.weights)
        #: What the positive eigenvalues, and the shift, add to ``H s``, in the space.
        self.added = vectors @ (values * small) - matrix @ self.weights + self.shift * self.weights
        self.decrease = -float(parts @ small) - 0.5 * self.quadratic

    def residual(self) -> Array:
        """Return ``(H + sigma I) s + g``, with |H| inside the space for the saddle-free step."""
        return self.space.image(self.weights) + self.space.combine(self.added) + self.g

    def step(self, g: Array) -> Step:
        """Return the step, not longer than the radius."""
        s = self.space.combine(self.weights)
        slope = scalars(dot(g, s))[0]
        length, quadratic = norm(s), self.quadratic
        if length > self.radius:
            factor = self.radius / length
            s, slope, quadratic = factor * s, factor * slope, factor**2 * quadratic
            length = self.radius
        return Step(s, slope, quadratic, length, self.case != kernels.INTERIOR)


def cubic_radius(values: FloatArray, parts: FloatArray, weight: float) -> float:
    """Return the length of the minimiser of ``a'y + y'Dy/2 + sigma/3 ||y||^3``.

    Parameters
    ----------
    values, parts : ndarray, shape (k,)
        D and a.
    weight : float
        Factor sigma of the cubic term.

    Notes
    -----
    The multiplier t, at least ``-min(D)``, solves ``||(D + t)^-1 a|| = t / sigma``; the left side
    falls and the right side grows.  In the hard case t is ``-min(D)`` itself.
    """
    low = max(0.0, -float(np.min(values)))
    high = low + math.sqrt(weight) * math.sqrt(float(np.linalg.norm(parts)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(200):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            length = np.linalg.norm(parts / (values + middle))
            if length > middle / weight:
                low = middle
            else:
                high = middle
    return high / weight


def _model_step(kind: str, here: Iterate, model: Any, bound: float, rng: Generator) -> Step:
    """Return the step of a compact model for a radius or a weight."""
    if isinstance(bound, CubicWeight):
        inside, outside, _ = model.split(here.g, here.gnorm)
        values, vectors = model.eigen
        parts = vectors.T @ inside
        if not model.full:
            values, parts = np.append(values, model.gamma), np.append(parts, outside)
        bound = cubic_radius(np.abs(values) if kind == "absolute" else values, parts, bound)
    return SpectralTrustRegion(kind).propose(here, model, bound, rng)


def _in_metric(product: Callable[[Array], Array], metric: Any) -> Callable[[Array], Array]:
    return lambda v: metric.outward(product(metric.outward(v)))


def _preconditioned(model: Any, residual: Array, shift: float) -> Array:
    """Return ``(|B| + shift I)^-1 residual``."""
    values, vectors = model.eigen
    outside = abs(model.gamma)
    largest = max(outside, float(np.max(np.abs(values), initial=0.0)))
    size = np.maximum(np.abs(values), SINGULAR * largest) + shift
    outside = max(outside, SINGULAR * largest) + shift
    inside = model.project(residual)
    weights = vectors @ ((vectors.T @ inside) / size)
    if model.full:
        return model.expand(weights, 0.0, residual)
    return model.expand(weights - inside / outside, 1.0 / outside, residual)

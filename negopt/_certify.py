"""Is a stationary point a minimum?  The second-order check, and the way out of a saddle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.random import Generator

from negopt._array import (
    Array,
    dot,
    eps_of,
    float64_rows_dot,
    from_host,
    namespace_of,
    norm,
    scalars,
)
from negopt._lanczos import LanczosBasis
from negopt._types import Certificate, Iterate

__all__ = ["certify", "escape"]


#: Products before a settled Ritz value is believed: an eigenvalue of small weight in the
#: probe needs a few steps to show.
SETTLE = 8


class CertifiedObjective(Protocol):
    """What the check needs of the objective."""

    @property
    def product_noise(self) -> float:
        """Relative error of a product."""
        ...

    def at(self, x: Array, *, bar: float = math.inf) -> Iterate:
        """Evaluate f and g."""
        ...

    def measured_products(self, iterate: Iterate) -> Callable[[Array], Array]:
        """Return ``v -> H v``, from the user or by differences, not from a model."""
        ...


def certify(
    objective: CertifiedObjective, iterate: Iterate, rng: Generator, limit: int
) -> tuple[Certificate, Array | None]:
    """Look for negative curvature by Lanczos from random probes.

    Parameters
    ----------
    objective : Objective
    iterate : Iterate
        The stationary point.
    rng : Generator
        Source of the probes.  N.B. a fixed probe would be blind to whatever is
        orthogonal to it, and a space built from g cannot see curvature that g lacks.
    limit : int
        Most Hessian products.

    Returns
    -------
    certificate : Certificate
        ``"negative"`` is a proof (the direction is there); ``"positive"`` says that
        the lowest Ritz value was positive when it had settled or the products were
        used up; ``"flat"`` that it was zero within the accuracy of the products.
    newton : array, shape (n,), or None
        ``-H^-1 g`` when the products have shown the whole of H, positive definite:
        a last step that costs no further product.

    Notes
    -----
    1. Lanczos with full reorthogonalisation until the lowest Ritz value theta has a
       residual below ``0.1 |theta|``, or all products are used.
    2. When the space closes early, another random probe outside it goes on.
    3. theta is negative below ``-tol max|theta|``, ``tol`` being 1e-5 or the accuracy of
       the products, whichever is larger.

    **Guarantee**: when the products reach n and are exact, the verdict is that of
    the eigenvalues (``tests/guarantees/test_saddle_escape.py``).

    References
    ----------
    Royer, O'Neill and Wright (2020), Mathematical Programming 180, 451-488,
    doi:10.1007/s10107-019-01362-7.
    """
    n = int(iterate.x.shape[0])
    product = objective.measured_products(iterate)
    limit = min(limit, n)
    result = Certificate(min_curvature=math.inf, max_curvature=0.0)
    found: Array | None = None
    blocks: list[LanczosBasis] = []
    while result.products < limit:
        probe = _outside(from_host(rng.standard_normal(n), iterate.x), blocks)
        if probe is None:
            break
        basis = LanczosBasis(product, probe, limit - result.products)
        while basis.grow():
            values, vectors = np.linalg.eigh(basis.matrix())
            residual = basis.beta[-1] * abs(float(vectors[-1, 0]))
            if basis.k >= SETTLE and residual <= 0.1 * abs(float(values[0])):
                break
        result.products += basis.k
        if basis.k == 0:
            break
        values, vectors = np.linalg.eigh(basis.matrix())
        result.max_curvature = max(result.max_curvature, float(np.max(np.abs(values))))
        if float(values[0]) < result.min_curvature:
            result.min_curvature = float(values[0])
            found = basis.combine(vectors[:, 0])
        if basis.invalid or not basis.broke_down:
            break
        blocks.append(basis)
    if found is None:
        return Certificate(products=result.products), None
    tolerance = max(1e-5, 10.0 * objective.product_noise) * result.max_curvature
    if result.min_curvature < -tolerance:
        result.status = "negative"
    elif result.min_curvature <= tolerance:
        result.status = "flat"
    else:
        result.status = "positive"
    result.direction = found / norm(found)
    if result.status == "positive" and sum(block.k for block in blocks) == n:
        return result, _newton(iterate, blocks)
    return result, None


def _newton(iterate: Iterate, blocks: list[LanczosBasis]) -> Array:
    """Return ``-H^-1 g`` from invariant spaces that together are the whole space."""
    step = 0.0 * iterate.g
    for block in blocks:
        inside = float64_rows_dot(block.rows[: block.k, :], iterate.g)
        step = step - block.combine(np.linalg.solve(block.matrix(), inside))
    return step


def _outside(v: Array, blocks: list[LanczosBasis]) -> Array | None:
    """Return the part of `v` outside the closed spaces, or None when nothing is left."""
    xp = namespace_of(v)
    size = norm(v)
    for _ in range(2):
        for block in blocks:
            rows = block.rows[: block.k, :]
            v = v - xp.matmul(xp.matmul(rows, v), rows)
    return v if norm(v) > 1e-3 * size * math.sqrt(1.0 / v.shape[0]) else None


def escape(
    objective: CertifiedObjective, iterate: Iterate, certificate: Certificate
) -> Iterate | None:
    """Step off the stationary point along plus or minus the direction found.

    Returns
    -------
    Iterate or None
        A point that is lower by more than rounding; None when there is none.

    Notes
    -----
    Lengths start at ``1e-2 max(1, ||x||)``, where the decrease stands clear of the
    noise floor of f, and shrink fivefold; a length that lowers f grows threefold as
    long as f keeps falling.  Both signs are tried, the slope's own first.
    """
    d = certificate.direction
    if d is None:
        return None
    slope = scalars(dot(iterate.g, d))[0]
    sign = 1.0 if slope <= 0.0 else -1.0
    size = 1e-2 * max(1.0, norm(iterate.x))
    noise = 10.0 * eps_of(iterate.x) * abs(iterate.f)
    # A flat direction is worth a look at two lengths, a negative one at all of them.
    lengths = 2 if certificate.status == "flat" else 10
    for _ in range(lengths):
        tries = [objective.at(iterate.x + (s * size) * d) for s in (sign, -sign)]
        lower = [t for t in tries if t.finite and t.f < iterate.f - noise]
        if lower:
            best = min(lower, key=lambda t: t.f)
            return _go_on(objective, iterate, best)
        size *= 0.2
    return None


def _go_on(objective: CertifiedObjective, iterate: Iterate, best: Iterate) -> Iterate:
    """Extend a successful escape while f falls."""
    step = best.x - iterate.x
    for _ in range(20):
        further = objective.at(iterate.x + 3.0 * step)
        if not (further.finite and further.f < best.f):
            break
        best, step = further, 3.0 * step
    return best

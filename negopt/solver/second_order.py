"""Is a stationary point a minimum?  The second-order check, and the way out of a saddle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from negopt.algebra.eigen import symmetric_eigen
from negopt.core.arrays import (
    Array,
    all_finite,
    device_of,
    dot,
    float64_rows_dot,
    from_host,
    namespace_of,
    norm,
    scalars,
)
from negopt.core.protocols import Inverse
from negopt.core.randomness import Draws
from negopt.core.types import Certificate, Iterate
from negopt.decisions.endings import FLAT, NEGATIVE, POSITIVE, kind_of_curvature
from negopt.globalize.ratio import rounding_of
from negopt.solver.ritz import Space

#: Variables up to which all of H is looked at, a column a product: a space would hardly be
#: done with fewer, and takes longer than most functions of so few variables.
FEW = 12
#: Products before a settled Ritz value is believed: an eigenvalue of small weight in the
#: probe needs a few steps to show.
SETTLE = 8
#: Entries of the space that may be kept whatever n is: 20 vectors of 15,000.
ROOM = 300_000
#: Vectors of the space that a restart keeps and begins with, and one new one.
LEAST = 3


class CertifiedObjective(Protocol):
    """What the check needs of the objective."""

    @property
    def product_noise(self) -> float:
        """Relative error of a product."""

    def at(self, x: Array, *, bar: float = math.inf) -> Iterate:
        """Evaluate f and g."""

    def measured_products(self, iterate: Iterate) -> Callable[[Array], Array]:
        """Return ``v -> H v``, from the user or by differences, not from a model."""


def in_one_piece(n: int, limit: int) -> bool:
    """Tell whether the check looks at all of H, and needs neither probe nor model."""
    return n <= min(limit, FEW)


def certify(
    objective: CertifiedObjective,
    iterate: Iterate,
    rng: Draws | None,
    limit: int,
    precondition: Callable[[Array], Array] | None = None,
    space: type[Space] = Space,
    hessian: Array | None = None,
) -> tuple[Certificate, Array | None]:
    """Look for negative curvature in a space grown from a random probe.

    Parameters
    ----------
    objective : Objective
    iterate : Iterate
        The stationary point.
    rng : Draws or None
        Source of the probes; not needed where `in_one_piece`.  N.B. a fixed probe would be
        blind to whatever is orthogonal to it, and a space built from g cannot see curvature
        that g lacks.
    limit : int
        Most Hessian products.
    precondition : callable, optional
        ``v -> |B|^-1 v`` with a model B of the Hessian, such as the run has built.  It
        steers the search to the low end of the spectrum; a bad model only slows it.
    space : type
        `Space`, or what does the same in another way.
    hessian : array, shape (n, n), optional
        All n products, where they are known already.

    Returns
    -------
    certificate : Certificate
        ``"negative"`` is a proof (the direction is there); ``"positive"`` says that
        the lowest curvature found was positive, and ``settled`` whether it would still
        have fallen with more products; ``"flat"`` that it was zero within the accuracy
        of the products.
    newton : array, shape (n,), or None
        ``-H^-1 g`` when the products have shown the whole of H, positive definite:
        a last step that costs no further product.

    Notes
    -----
    1. Davidson's method: the space grows by the preconditioned residual of the lowest
       Ritz pair (without a preconditioner this is Lanczos), and by another random vector
       when the residual has nothing new.
    2. It ends when the lowest Ritz value theta has a residual below ``1e-3 |theta|``, or
       all products are used.
    3. Above 15,000 variables the space is restarted when it holds ``max(3, 300000 / n)``
       vectors, from its Ritz vector and what that has moved by since the last restart (the
       locally optimal subspace of conjugate gradients): six vectors of n entries are held
       where a whole space of 20 would be forty.
    4. theta is negative below ``-tol max|theta|``, ``tol`` being 1e-5 or the accuracy of
       the products, whichever is larger.

    At the ends of a network that have a few small negative eigenvalues below large ones, 20
    products find one far more often with the run's model than without (``tests/test_certify.py``).

    **Guarantee**: when the products reach n and are exact, the verdict is that of
    the eigenvalues (``tests/guarantees/test_saddle_escape.py``).

    References
    ----------
    Davidson (1975), Journal of Computational Physics 17, 87-94,
    doi:10.1016/0021-9991(75)90065-0.
    Stathopoulos (2007), SIAM J. Sci. Comput. 29, 481-514, doi:10.1137/050631574.
    Royer, O'Neill and Wright (2020), Mathematical Programming 180, 451-488,
    doi:10.1007/s10107-019-01362-7.
    """
    n = int(iterate.x.shape[0])
    product = objective.measured_products(iterate)
    if hessian is not None or in_one_piece(n, limit):
        return _whole(objective, iterate, product, hessian)
    assert rng is not None
    limit = min(limit, n)
    grown = space(iterate.x, n if limit == n else min(limit, max(LEAST, ROOM // n)))
    result = Certificate()
    following: Array | None = None
    while result.products < limit:
        if grown.k == grown.room:
            grown.restart()
        direction = grown.open(following, rng)
        following = None  # N.B. where n is large every vector that is held counts
        image = product(direction)
        result.products += 1
        if not all_finite(image):
            break
        grown.absorb(image)
        del image
        residual = grown.residual()
        complete = grown.k == n
        result.settled = complete or norm(residual) <= 1e-3 * abs(float(grown.values[0]))
        if result.settled and result.products >= min(SETTLE, n):
            break
        following = residual if precondition is None else precondition(residual)
        del residual
    if grown.k == 0:
        return result, None
    result.min_curvature = float(grown.values[0])
    result.max_curvature = float(np.max(np.abs(grown.values)))
    result.direction = grown.lowest()
    _judge(result, objective.product_noise)
    if result.status != "positive" or grown.k < n:
        return result, None
    return result, grown.newton(iterate.g)


def finding(certificate: Certificate) -> str:
    """Return what the check has found, to be added to a message."""
    if certificate.status == "not checked":
        return "; the curvature could not be checked (products not finite)."
    told = f"; smallest curvature found {certificate.min_curvature:.3g} ({certificate.status}"
    if certificate.settled:
        return f"{told})."
    return f"{told}, not settled after {certificate.products} products)."


def _judge(result: Certificate, noise: float) -> None:
    """Set the status from the curvatures."""
    kind = kind_of_curvature(result.min_curvature, result.max_curvature, noise)
    result.status = {NEGATIVE: "negative", FLAT: "flat", POSITIVE: "positive"}[kind]


def _whole(
    objective: CertifiedObjective,
    iterate: Iterate,
    product: Callable[[Array], Array],
    images: Array | None,
) -> tuple[Certificate, Array | None]:
    """Look at all of H, in few variables: no space has to be built for it."""
    xp = namespace_of(iterate.x)
    n = int(iterate.x.shape[0])
    eye = xp.eye(n, dtype=iterate.x.dtype, device=device_of(iterate.x))
    result = Certificate(products=n)
    if images is None:
        images = xp.stack([product(eye[i, :]) for i in range(n)], axis=0)
    if not all_finite(images):
        return result, None
    matrix = float64_rows_dot(images, eye)
    matrix = 0.5 * (matrix + matrix.T)
    values, vectors = symmetric_eigen(matrix)
    result.min_curvature = float(values[0])
    result.max_curvature = float(np.max(np.abs(values)))
    result.settled = True
    result.direction = from_host(vectors[:, 0], iterate.x)
    _judge(result, objective.product_noise)
    if result.status != "positive":
        return result, None
    (g,) = float64_rows_dot(iterate.g[None, :], eye)
    return result, from_host(-np.linalg.solve(matrix, g), iterate.x)


def inverse_of(operator: object) -> Callable[[Array], Array] | None:
    """Return ``v -> |B|^-1 v`` of a model of the Hessian; None where it has no inverse."""
    if not isinstance(operator, Inverse):
        return None
    return lambda v: operator.solve(v, absolute=True, floor=1e-8)


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
    noise = rounding_of(iterate)
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

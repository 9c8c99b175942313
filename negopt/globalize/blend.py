"""A saddle-free step joined with the step before it: learning rate and momentum."""

from __future__ import annotations

import math

import numpy as np

from negopt.core.arrays import Array, FloatArray, dot, scalars
from negopt.core.protocols import AbsoluteProducts, Products
from negopt.core.types import Iterate, Step

#: Two steps with a smaller sine between them, or curvatures with a smaller ratio, are one.
DEGENERATE = 1e-8


class Blend:
    """Combinations ``rate u + momentum p`` of a proposed step u with the previous one, p.

    The operator has `AbsoluteProducts` where |H| is at hand.  The model of a combination takes
    one product, ``H p``; `model` tells whether it is wanted.
    """

    def __init__(
        self, iterate: Iterate, operator: Products, u: Step, previous: Array, *, model: bool = True
    ) -> None:
        self.u, self.previous, p = u, previous, previous
        values = [dot(u.s, u.s), dot(u.s, p), dot(p, p), dot(iterate.g, p)]
        absolute = operator if model and isinstance(operator, AbsoluteProducts) else None
        if model:
            image = operator.matvec(p)
            values += [dot(u.s, image), dot(p, image)]
        if absolute is not None:
            image = absolute.absolute_matvec(p)
            values += [dot(u.s, absolute.absolute_matvec(u.s)), dot(u.s, image), dot(p, image)]
        uu, up, pp, gp, uhp, php, *rest = scalars(*values) + (() if model else (math.nan,) * 2)
        self.gram = np.array([[uu, up], [up, pp]])
        self.slopes = np.array([u.slope, gp])
        #: The true model's curvature, and the one that is minimised.
        self.curvature = np.array([[u.quadratic, uhp], [uhp, php]])
        self.absolute = np.array([rest[:2], rest[1:]]) if absolute is not None else self.curvature

    def step(self, rate: float, momentum: float) -> Step:
        """Return ``rate u + momentum p`` with the true quadratic model of it."""
        weights = np.array([rate, momentum])
        return Step(
            rate * self.u.s + momentum * self.previous,
            float(self.slopes @ weights),
            float(weights @ self.curvature @ weights),
            math.sqrt(max(float(weights @ self.gram @ weights), 0.0)),
            learnt=self.u.learnt,
        )

    def best(self, damping: float | None) -> Step:
        """Return the combination that `best_weights` chooses."""
        return self.step(*best_weights(self.gram, self.absolute, self.slopes, damping))


def best_weights(
    gram: FloatArray, curvature: FloatArray, slopes: FloatArray, damping: float | None = None
) -> tuple[float, float]:
    """Return learning rate and momentum that minimise a damped model over two steps.

    With the two steps, P = [u p], `gram` is ``P'P``, `curvature` ``P'HP`` (or ``P'|H|P``) and
    `slopes` ``P'g``; `damping`, lambda below, is in the units of the Hessian, None where unknown.

    1. With an orthonormal basis Q of the two, ``Q'HQ = W diag(theta) W'``.
    2. Where lambda is not known, it follows from u, for which ``-g'u = u'(|H| + lambda)u``:
       ``lambda = max(0, -g'u - |u'Hu|) / u'u``.
    3. The minimiser of ``g's + s'(|Q'HQ| + lambda)s / 2`` over the plane is
       ``-Q W diag(1 / (|theta| + lambda)) W'Q'g``.

    Where the steps are parallel, or one curvature of the plane vanishes, the minimiser
    along u alone is returned, with momentum 0.
    """
    if not gram[0, 0] > 0.0:
        return 1.0, 0.0
    length = math.sqrt(gram[0, 0])
    along = gram[0, 1] / length
    across = math.sqrt(max(gram[1, 1] - along * along, 0.0))
    if damping is None:
        damping = max(-slopes[0] - abs(curvature[0, 0]), 0.0) / gram[0, 0]
    bend = abs(curvature[0, 0]) + damping * gram[0, 0]
    alone = float(-slopes[0] / bend) if bend > 0.0 else 1.0
    if not across > math.sqrt(DEGENERATE * gram[1, 1]):  # N.B. what is left has half the digits
        return alone, 0.0
    inverse = np.array([[1.0 / length, -along / (length * across)], [0.0, 1.0 / across]])
    projected = inverse.T @ curvature @ inverse
    if not np.all(np.isfinite(projected)):
        return alone, 0.0
    values, vectors = np.linalg.eigh(projected)
    size = np.abs(values) + damping
    if not np.min(size) > DEGENERATE * np.max(size):
        return alone, 0.0
    rate, momentum = inverse @ (vectors @ (vectors.T @ (inverse.T @ -slopes) / size))
    return float(rate), float(momentum)

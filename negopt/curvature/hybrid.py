"""Operators of hybrid pairs: steps straight from kernels, the model only on demand."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, cast

import numpy as np

from negopt import kernels
from negopt._array import Array, dot, float64_rows_dot, from_host, namespace_of, scalars, to_host
from negopt._types import Iterate, Step
from negopt.curvature.compact import CompactOperator, PairMemory

__all__ = ["HybridOperator"]


class DenseHybrid(CompactOperator):
    """The model where pairs are as many as variables: a dense matrix, Q is the identity."""

    def __init__(
        self, memory: PairMemory, order: Any, gamma: float, skip: float, n: int, block: int
    ) -> None:
        self.gamma = gamma
        self.n = self.k = n
        self.identity = True
        self._eigen = self._basis = self._compact = None
        self._loss = 0.0
        self.rows = memory.rows
        self.used = np.zeros(order.shape[0], dtype=np.int64)
        matrix = np.empty((n, n))
        rows = np.ascontiguousarray(to_host(memory.rows[: 2 * order.shape[0], :]))
        kernels.dense_pairs(rows, order, gamma, skip, block, matrix, self.used)
        #: B itself: to take gamma off and add it again would cost digits where gamma is large
        self.matrix = matrix
        self.small = matrix - gamma * np.eye(n)


class HybridOperator:
    """BFGS/SR1 pairs as an operator whose trust-region step needs no model.

    While all pairs are convex, the step comes from their inner products alone.  Whatever else
    is asked for is answered by `model`, the same matrix as `CompactOperator`, formed then.

    Parameters
    ----------
    memory : PairMemory
    gamma : float
    skip : float
        Threshold of the SR1 updates.
    like : array, shape (n,)
    block : int
        Most pairs whose secant equations are imposed together.
    """

    learns = True

    def __init__(
        self, memory: PairMemory, gamma: float, skip: float, like: Array, block: int
    ) -> None:
        self.gamma = gamma
        self.n = int(like.shape[0])
        self._memory, self._skip, self._like, self._block = memory, skip, like, block
        self._order = np.array(memory.order, dtype=np.int64)
        self._used: Any = None
        self.convex = gamma > 0.0 and bool(kernels.all_convex(memory.gram, self._order))
        #: B is kept as a dense matrix
        self.dense = not self.convex and self.n <= 2 * len(memory.order)

    @cached_property
    def model(self) -> CompactOperator:
        """The model itself."""
        memory, order, gamma = self._memory, self._order, self.gamma
        if self.dense:
            return DenseHybrid(memory, order, gamma, self._skip, self.n, self._block)
        chosen = None
        if self.convex:
            chosen = np.zeros(max(self._block, 1), dtype=np.int64)
            count = kernels.convex_block(memory.gram, order, gamma, self._block, chosen)
            chosen = chosen[:count]
        rule, like = kernels.HYBRID_PAIRS, self._like
        return CompactOperator(
            memory, gamma, rule, self._skip, like, block=self._block, chosen=chosen
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def newest_skipped(self) -> bool:
        """Whether the newest pair taught the model nothing."""
        if self.convex:
            return False
        used = self.model.used if self._used is None else self._used
        return int(used[-1]) == 0

    def trust_step(self, iterate: Iterate, radius: float) -> Step | None:
        """Return the exact trust-region step, or None where the model must be examined."""
        memory, g, info = self._memory, iterate.g, np.zeros(5)
        if self.dense:
            x = np.empty(self.n)
            right = to_host(g).copy()
            matrix = cast(DenseHybrid, self.model).matrix.copy()
            route = kernels.matrix_step(matrix, right, self.gamma, 0.0, radius, x, info)
            return self._step(g, from_host(x, g), route, info, radius)
        count = 2 * len(memory.order)
        products, coef = np.zeros((2, memory.gram.shape[0]))
        if count:
            products[:count] = float64_rows_dot(memory.rows[:count, :], g)
        given = memory.gram, self._order, self.gamma
        asked = self._block, products, iterate.gnorm, radius, coef, info
        if self.convex:
            route = kernels.convex_step(*given, *asked)
        else:
            self._used = np.zeros(self._order.shape[0], dtype=np.int64)
            route = kernels.folded_step(*given, self._skip, *asked, self._used)
        s = float(info[0]) * g
        if count:
            xp = namespace_of(g)
            s = s + xp.matmul(from_host(coef[:count], g), memory.rows[:count, :])
        return self._step(g, s, route, info, radius)

    @staticmethod
    def _step(g: Array, s: Array, route: int, info: Any, radius: float) -> Step | None:
        """Measure the step; None for one that was lost."""
        if route == kernels.LOST:
            return None
        slope, square = scalars(dot(g, s), dot(s, s))
        quadratic, length = float(info[2]), math.sqrt(square)
        if not (slope < 0.0 and length < math.inf):
            return None
        if length > radius:  # by rounding
            factor = radius / length
            s, slope, quadratic, length = factor * s, factor * slope, factor**2 * quadratic, radius
        return Step(s, slope, quadratic, length, route == kernels.SPHERE, length)

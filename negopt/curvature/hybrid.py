"""Operators of hybrid pairs: steps straight from inner products, the model only on demand."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from negopt import kernels
from negopt._array import Array, dot, float64_rows_dot, from_host, namespace_of, scalars
from negopt._types import Iterate, Step
from negopt.curvature.compact import CompactOperator, PairMemory

__all__ = ["HybridOperator"]


class HybridOperator:
    """BFGS/SR1 pairs as an operator whose trust-region step needs no model.

    While all pairs are convex, the step comes from their inner products.  Whatever else is
    asked for is answered by `model`, the same matrix folded and with a basis, formed then.

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
        self.convex = gamma > 0.0 and bool(kernels.all_convex(memory.gram, self._order))

    @cached_property
    def model(self) -> CompactOperator:
        """The model itself."""
        memory, chosen = self._memory, None
        if self.convex:
            chosen = np.zeros(max(self._block, 1), dtype=np.int64)
            count = kernels.convex_block(memory.gram, self._order, self.gamma, self._block, chosen)
            chosen = chosen[:count]
        return CompactOperator(
            memory,
            self.gamma,
            kernels.HYBRID_PAIRS,
            self._skip,
            self._like,
            block=self._block,
            chosen=chosen,
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def newest_skipped(self) -> bool:
        """Whether the newest pair taught the model nothing."""
        return not self.convex and self.model.newest_skipped

    def trust_step(self, iterate: Iterate, radius: float) -> Step | None:
        """Return the exact trust-region step, or None where the model must be formed."""
        if not self.convex:
            return None
        memory, g = self._memory, iterate.g
        used = 2 * len(memory.order)
        products = np.zeros(memory.gram.shape[0])
        if used:
            products[:used] = float64_rows_dot(memory.rows[:used, :], g)
        coef, info = np.empty_like(products), np.zeros(5)
        route = kernels.convex_step(
            memory.gram,
            self._order,
            self.gamma,
            self._block,
            products,
            iterate.gnorm,
            radius,
            coef,
            info,
        )
        if route == kernels.LOST:
            return None
        s = float(info[0]) * g
        if used:
            xp = namespace_of(g)
            s = s + xp.matmul(from_host(coef[:used], g), memory.rows[:used, :])
        slope, square = scalars(dot(g, s), dot(s, s))
        quadratic, length = float(info[2]), math.sqrt(square)
        if not (slope < 0.0 and length < math.inf):
            return None
        if length > radius:  # by rounding
            factor = radius / length
            s, slope, quadratic, length = factor * s, factor * slope, factor**2 * quadratic, radius
        return Step(s, slope, quadratic, length, route == kernels.SPHERE, length)

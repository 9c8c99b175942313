"""Hybrid limited-memory pairs: BFGS where curvature is positive, SR1 where it is not."""

from __future__ import annotations

from dataclasses import dataclass

from negopt.core.arrays import Array
from negopt.core.options import MOST_PAIRS, check_integer, option
from negopt.core.types import Outcome
from negopt.curvature.lsr1 import LSR1
from negopt.models.pair_memory import PairMemory, new_pair_memory, store_pair


@dataclass(frozen=True)
class HybridPairs(LSR1):
    """Limited-memory model that stays positive where the function is.

    A pair enters by the BFGS update when its measured curvature is safely positive
    (``s'y > 1e-8 ||s|| ||y||``), else by SR1, so that negative curvature is kept
    and truncation does not invent any.

    Parameters
    ----------
    maxcor : int or None, default None
        Number of pairs m; None takes 2n, but no less than 20 and no more than 40, up to 200
        variables, 20 up to 500, and 10 above, where more pairs save few evaluations or none.
        Memory held: 2m vectors of n entries.
    gamma : {"max", "mean", "last"} or float, default "mean"
        Scaling of the initial matrix: the geometric mean of ``y'y / s'y``.
    skip : float, default 1e-8
        Threshold for the SR1 updates.
    block : int, default 5
        Newest convex pairs whose secant equations are imposed together
        (`negopt.models.pair_memory.secant_block`); 1 is plain BFGS, pair after pair.
    remember : int, default 4
        How many positive curvatures the rules "max" and "mean" look back on: the scaling
        follows the curvature met lately, not that of the whole memory.

    Notes
    -----
    **Guarantee**: on a quadratic the model satisfies the secant equations of all pairs in the
    block, and it is positive definite as long as every pair is convex
    (``tests/guarantees/test_secant.py``).

    References
    ----------
    Byrd, Nocedal and Schnabel (1994), Mathematical Programming 63, 129-156,
    doi:10.1007/BF01582063.  Gao and Goldfarb (2018), SIAM J. Optim. 28, 1205-1231,
    doi:10.1137/16M1092106.
    """

    maxcor: int | None = option(  # type: ignore[assignment]
        None, "pairs kept, m; None: 2n, 20 to 40, to n = 200; 20 to 500, then 10"
    )
    gamma: str | float = option("mean", "initial matrix: 'max', 'mean', 'last' or a number")
    remember: int = option(4, "positive curvatures that 'max' and 'mean' look back on")

    block: int = option(5, "newest pairs whose secant equations are imposed together")

    def __post_init__(self) -> None:
        if self.maxcor is not None:
            check_integer("maxcor", self.maxcor, 1, MOST_PAIRS)
        self.check_scaling()
        check_integer("block", self.block)

    def init(self, x0: Array) -> PairMemory:
        """Return an empty memory."""
        n = x0.shape[0]
        most = min(max(20, 2 * n), 40) if n <= 200 else 20 if n <= 500 else 10
        return new_pair_memory(x0, self.maxcor or most)

    def update(
        self, memory: PairMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Store the pair."""
        return store_pair(
            memory, s, y, outcome, remember=self.remember, block=self.block, skip=self.skip
        )

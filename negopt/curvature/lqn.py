"""Hybrid limited-memory pairs: BFGS where curvature is positive, SR1 where it is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from negopt import kernels
from negopt._types import Iterate
from negopt.curvature.compact import CompactOperator, PairMemory
from negopt.curvature.lsr1 import LSR1, initial_scaling

__all__ = ["HybridPairs"]


@dataclass(frozen=True)
class HybridPairs(LSR1):
    """Limited-memory model that stays positive where the function is.

    A pair enters by the BFGS update when its measured curvature is safely positive
    (``s'y > 1e-8 ||s|| ||y||``), else by SR1, so that negative curvature is kept
    and truncation does not invent any.

    Parameters
    ----------
    maxcor : int, default 20
        Number of pairs m.  Memory held: 2m vectors of n entries.
    gamma : {"max", "mean", "last"} or float, default "mean"
        Scaling of the initial matrix: the geometric mean of ``y'y / s'y``.
    skip : float, default 1e-8
        Threshold for the SR1 updates.
    remember : int, default 4
        How many positive curvatures the rules "max" and "mean" look back on: the scaling
        follows the curvature met lately, not that of the whole memory.
    """

    maxcor: int = field(default=20, metadata={"doc": "number of stored pairs m"})
    gamma: str | float = field(
        default="mean", metadata={"doc": "initial matrix: 'max', 'mean', 'last' or a number"}
    )
    remember: int = field(
        default=4, metadata={"doc": "positive curvatures that 'max' and 'mean' look back on"}
    )

    def operator(self, memory: PairMemory, objective: Any, iterate: Iterate) -> CompactOperator:
        """Return the model of the stored pairs."""
        gamma = initial_scaling(memory, self.gamma, iterate.gnorm)
        return CompactOperator(memory, gamma, kernels.HYBRID_PAIRS, self.skip, iterate.x)

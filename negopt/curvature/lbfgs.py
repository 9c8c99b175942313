"""Limited-memory BFGS, its two loops run on coefficients instead of vectors."""

from __future__ import annotations

from dataclasses import dataclass

from negopt.core.arrays import Array
from negopt.core.options import MOST_PAIRS, check_integer, check_number, option
from negopt.core.types import Iterate, Outcome
from negopt.models.limited import LimitedModel
from negopt.models.pair_memory import PairMemory, forget, new_pair_memory, store_pair


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS.

    Parameters
    ----------
    maxcor : int, default 10
        Number of pairs m, that of SciPy's L-BFGS-B.  Memory held: 2m vectors of n entries.
    skip : float, default 2.2e-16
        A pair is skipped unless ``s'y > skip ||s|| ||y||``.

    Notes
    -----
    1. The initial matrix is ``s'y / y'y`` of the newest pair times the identity; before the
       first pair it makes a step of length 1.
    2. The two-loop recursion needs only inner products of the pairs and g.  Those of the
       pairs are in the Gram matrix, so a direction costs one streaming pass over the memory
       for the products with g, O(m^2) operations on the host in float64, and one pass to
       combine the rows ("vector-free" L-BFGS).
    3. A pair without positive curvature would make the model indefinite and is skipped:
       negative curvature is thrown away, as in every L-BFGS code.

    **Guarantee**: the direction is that of the dense BFGS recursion over the same pairs, of a
    positive definite H with ``H y = s`` for the newest (``tests/guarantees/test_bfgs.py``).

    References
    ----------
    Liu and Nocedal (1989), Mathematical Programming 45, 503-528, doi:10.1007/BF01589116.
    Chen, Wang and Zhou (2014), Large-scale L-BFGS using MapReduce, Advances in Neural
    Information Processing Systems 27, 1332-1340.
    """

    maxcor: int = option(10, "number of stored pairs m")
    skip: float = option(2.2e-16, "least cosine of the angle of s and y")

    def __post_init__(self) -> None:
        check_integer("maxcor", self.maxcor, 1, MOST_PAIRS)
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)

    def init(self, x0: Array) -> PairMemory:
        """Return an empty memory."""
        return new_pair_memory(x0, self.maxcor)

    def model(self, memory: PairMemory, objective: object, iterate: Iterate) -> LimitedModel:
        """Return the model of the stored pairs."""
        if memory.curvatures:
            gamma = memory.curvatures[-1]
        else:
            gamma = iterate.gnorm if iterate.gnorm > 0.0 else 1.0
        return LimitedModel(memory, gamma, int(iterate.x.shape[0]))

    def update(
        self, memory: PairMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Store the pair; return False when it was skipped."""
        return store_pair(
            memory, s, y, outcome, remember=1, block=1, convex_only=True, least=self.skip
        )

    def reset(self, memory: PairMemory) -> bool:
        """Forget all pairs."""
        return forget(memory)

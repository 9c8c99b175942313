"""Limited-memory SR1: ``B = gamma I + Psi M Psi'``, indefinite where it was measured so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from negopt.core.arrays import Array
from negopt.core.options import MOST_PAIRS, check_choice, check_integer, check_number, option
from negopt.core.types import Iterate, Outcome
from negopt.models.limited import LimitedModel
from negopt.models.pair_memory import PairMemory, forget, new_pair_memory, store_pair

GAMMA_RULES = ("max", "mean", "last")


def initial_scaling(memory: PairMemory, gamma: str | float, gnorm: float) -> float:
    """Return gamma of ``B_0 = gamma I``.

    ``"max"`` is the largest ``y'y / s'y`` among the remembered positive pairs: with
    gamma above the largest curvature the model of a convex quadratic has no false
    negative eigenvalue.  ``"mean"`` is their geometric mean, ``"last"`` the newest,
    doubled because ``y'y / s'y`` itself makes B exactly singular after one update.
    Before any positive pair: ``||y|| / ||s||`` of the newest pair.  Before any pair:
    ``||g||``, so that the first step has length 1 whatever the scale of f.
    """
    if not isinstance(gamma, str):
        return float(gamma)
    if memory.curvatures:
        if gamma == "max":
            value = max(memory.curvatures)
        elif gamma == "mean":
            value = math.exp(sum(map(math.log, memory.curvatures)) / len(memory.curvatures))
        else:
            value = 2.0 * memory.curvatures[-1]
    elif memory.count:
        s, y = memory.newest, memory.capacity + memory.newest
        value = math.sqrt(memory.gram[y, y] / memory.gram[s, s])
    else:
        value = gnorm
    return value if 0.0 < value < math.inf else 1.0


@dataclass(frozen=True)
class LSR1:
    """Limited-memory symmetric rank-one model.

    Every finite pair is kept, those of rejected steps too (unless f there was far outside
    the model's reach), and whatever the sign of ``s'y``; but one that is not convex is skipped
    when ``|s'(y - Bs)| < skip ||s|| ||y - Bs||``.

    Parameters
    ----------
    maxcor : int, default 10
        Number of pairs m.  Memory held: 2m vectors of n entries.
    gamma : {"max", "mean", "last"} or float, default "max"
        Scaling of the initial matrix; ``1.0`` is that of Ramamurthy and Duffy (2016).
    skip : float, default 1e-8
        Skip threshold of Nocedal and Wright (2006), eq. 6.26, for pairs that are not convex.
    remember : int, default 20
        How many positive curvatures the rules "max" and "mean" look back on.

    References
    ----------
    Byrd, Nocedal and Schnabel (1994), Mathematical Programming 63, 129-156,
    doi:10.1007/BF01582063.
    """

    maxcor: int = option(10, "number of stored pairs m")
    gamma: str | float = option("max", "initial matrix: 'max', 'mean', 'last' or a number")
    skip: float = option(1e-8, "relative threshold that skips an update")
    remember: int = option(20, "positive curvatures that 'max' and 'mean' look back on")

    def __post_init__(self) -> None:
        check_integer("maxcor", self.maxcor, 1, MOST_PAIRS)
        self.check_scaling()

    def check_scaling(self) -> None:
        """Check what the rules of this family share."""
        if isinstance(self.gamma, str):
            check_choice("gamma", self.gamma, GAMMA_RULES)
        else:
            check_number("gamma", self.gamma, open_low=True, open_high=True)
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)
        check_integer("remember", self.remember)

    def init(self, x0: Array) -> PairMemory:
        """Return an empty memory."""
        return new_pair_memory(x0, self.maxcor)

    def model(self, memory: PairMemory, objective: object, iterate: Iterate) -> LimitedModel:
        """Return the model of the stored pairs."""
        gamma = initial_scaling(memory, self.gamma, iterate.gnorm)
        return LimitedModel(memory, gamma, int(iterate.x.shape[0]))

    def update(
        self, memory: PairMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Store the pair."""
        return store_pair(memory, s, y, outcome, remember=self.remember, block=0, skip=self.skip)

    def reset(self, memory: PairMemory) -> bool:
        """Forget all pairs."""
        return forget(memory)

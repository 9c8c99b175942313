"""Dense SR1 and BFGS side by side, and of their directions the one closer to the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from negopt._array import Array, dot, scalars
from negopt._options import check_choice, check_number
from negopt._types import Iterate, Outcome, saved
from negopt.curvature.bfgs import PositiveMemory, current, positive_update
from negopt.curvature.inverse import (
    DenseInverse,
    UnitRule,
    diagonal,
    first_scale,
    pair_products,
    sr1_update,
)

__all__ = ["HybridInverse", "HybridMemory"]


@saved
@dataclass(slots=True)
class HybridMemory(PositiveMemory):
    """The BFGS model of `PositiveMemory`, and SR1's.

    Attributes
    ----------
    free : array, shape (n, n), or None
        The SR1 model, of any signature; None before the first pair.
    """

    free: Array | None = None


@dataclass(frozen=True)
class HybridInverse(UnitRule):
    """An SR1 and a BFGS inverse of the same pairs, one of them chosen for each g.

    Parameters
    ----------
    choose : {"angle", "descent"}, default "angle"
        ``"angle"`` takes the direction that makes the smaller angle with the line of g,
        SR1's also where it ascends, for a search along both signs; ``"descent"`` takes
        SR1's where it descends, else that of BFGS.
    units : {"auto", "same"}, default "auto"
        ``"auto"`` starts from multiples of ``diag(|x_i|^2)`` in place of the identity where x
        and g at the start show that the variables are in different units; ``"same"`` never does.
    skip : float, default 1e-12
        The SR1 update is skipped when ``|v'y| < skip ||v|| ||y||`` with ``v = s - Hy``.

    Notes
    -----
    1. The models are compared at every point, by the cosines of g with ``H g``, both in the
       units of the variables where they have any.  A nearly singular SR1 matrix shows in a
       direction almost orthogonal to g.
    2. The BFGS model is that of `BFGS` with ``h0="rescaled"``, the SR1 model that of `SR1`.
       A pair without positive curvature enters only the latter.

    What either model alone costs, and ``"descent"``: docs/defaults.md.

    **Guarantee**: the angle with the line of g is the smaller of the two, hence at most that
    of BFGS; both models satisfy ``H y = s`` for the newest pair kept
    (``tests/guarantees/test_dqn.py``).

    References
    ----------
    Conn, Gould and Toint (1991), Mathematical Programming 50, 177-195,
    doi:10.1007/BF01594934.  Liu and Nocedal (1989), Mathematical Programming 45, 503-528,
    doi:10.1007/BF01589116.
    """

    h0 = "rescaled"

    choose: str = field(
        default="angle", metadata={"doc": "'angle', or 'descent': SR1's direction if it descends"}
    )
    units: str = field(
        default="auto", metadata={"doc": "'auto': |x0| as units where these differ; or 'same'"}
    )
    skip: float = field(default=1e-12, metadata={"doc": "relative threshold that skips an update"})

    def __post_init__(self) -> None:
        check_choice("choose", self.choose, ("angle", "descent"))
        check_choice("units", self.units, ("auto", "same"))
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)

    def init(self, x0: Array) -> HybridMemory:
        """Return an empty memory."""
        return HybridMemory()

    def operator(self, memory: HybridMemory, objective: Any, iterate: Iterate) -> DenseInverse:
        """Return the operator of the model chosen for the gradient at `iterate`."""
        first = self.look(memory, iterate) if memory.free is None else 1.0
        positive, free, units, g = current(memory), memory.free, memory.units, iterate.g
        if positive is None or free is None:
            return DenseInverse(free if positive is None else positive, first, units)
        d, e = positive @ g, free @ g
        a, b = (d, e) if units is None else (d / units, e / units)
        gd, dd, ge, ee = scalars(dot(g, d), dot(a, a), dot(g, e), dot(b, b))
        if self.choose == "descent":
            take_free = ge > 0.0
        else:
            take_free = abs(ge) * math.sqrt(dd) > gd * math.sqrt(ee)
        matrix, image = (free, e) if take_free else (positive, d)
        return DenseInverse(matrix, first, units, (g, image))

    def update(
        self, memory: HybridMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Apply both updates; return False when neither changed its model."""
        products = pair_products(s, y, memory.units)
        if products is None:
            return False
        ss, yy, sy, inside_ss, inside_yy = products
        kept = False
        if sy > 2.2e-16 * math.sqrt(ss) * math.sqrt(yy):
            kept = positive_update(memory, s, y, sy, sy / inside_yy, self.h0)
        free = memory.free
        if free is None:
            scale = first_scale(inside_ss, inside_yy, sy)
            free = memory.free = diagonal(scale, memory.units, s)
        memory.free = sr1_update(free, s, y, ss, yy, self.skip)
        return kept or memory.free is not free

    def reset(self, memory: HybridMemory) -> bool:
        """Forget both matrices."""
        had = memory.free is not None
        memory.matrix = memory.rest = memory.free = memory.units = None
        memory.gamma = 0.0
        return had

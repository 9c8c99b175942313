"""Dense SR1 and BFGS side by side, and of their directions the one closer to the gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scipy.linalg.blas import ddot

from negopt.core.arrays import Array, inners, is_plain, to_host
from negopt.core.given import is_positive_definite
from negopt.core.options import check_choice, check_inverse, check_number, option
from negopt.core.types import Iterate, Outcome, saved
from negopt.curvature.bfgs import PositiveMemory, positive_update
from negopt.curvature.inverse import (
    DenseInverse,
    UnitRule,
    diagonal,
    given_inverse,
    image,
    pair_products,
    sr1_update,
    units_at,
)
from negopt.decisions import pairs

if TYPE_CHECKING:
    import numpy.typing as npt


@saved
@dataclass(slots=True)
class HybridMemory(PositiveMemory):
    """The BFGS model of `PositiveMemory`, and SR1's."""

    #: shape (n, n): the SR1 model, of any signature; None before the first pair
    free: Array | None = field(default=None, metadata={"symmetric": True})


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
    hess_inv0 : array_like, shape (n, n), optional
        Symmetric inverse Hessian to begin with; the BFGS model begins with it where it is
        positive definite: that of an earlier run
        (``res.hess_inv``), or one that is known.  SciPy's BFGS has it by the same name.

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

    choose: str = option("angle", "'angle', or 'descent': SR1's direction if it descends")
    units: str = option("auto", "'auto': |x0| as units where these differ; or 'same'")
    skip: float = option(1e-12, "relative threshold that skips an update")
    hess_inv0: npt.ArrayLike | None = option(
        None, "inverse Hessian to begin with, shape (n, n)", compare=False
    )

    def __post_init__(self) -> None:
        check_choice("choose", self.choose, ("angle", "descent"))
        check_choice("units", self.units, ("auto", "same"))
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)
        if self.hess_inv0 is not None:
            check_inverse("hess_inv0", self.hess_inv0, positive=False)

    def init(self, x0: Array) -> HybridMemory:
        """Return an empty memory, or one that begins with `hess_inv0`."""
        memory = HybridMemory()
        if self.hess_inv0 is not None:
            memory.free = given_inverse(self.hess_inv0, x0)
            if is_positive_definite(to_host(memory.free)):
                memory.matrix, memory.rest = 1.0 * memory.free, 0.0 * memory.free
        return memory

    def model(self, memory: HybridMemory, objective: object, iterate: Iterate) -> DenseInverse:
        """Return the operator of the model chosen for the gradient at `iterate`."""
        free, matrix, rest = memory.free, memory.matrix, memory.rest
        if free is None:
            return self.begin(iterate)
        g, gamma, units = iterate.g, memory.gamma, memory.units
        e = image(free, g)
        if matrix is None or rest is None:
            return DenseInverse(free, 1.0, units, (g, e))
        d = image(matrix, g, rest, gamma)
        if units is None and is_plain(g):
            gd, dd, ge, ee = ddot(g, d), ddot(d, d), ddot(g, e), ddot(e, e)
        else:
            a, b = (d, e) if units is None else (d / units, e / units)
            gd, dd, ge, ee = inners((g, a, g, b), (d, a, e, b))
        if pairs.takes_free(ge, ee, gd, dd, self.choose == "descent"):
            return DenseInverse(free, 1.0, units, (g, e))
        return DenseInverse(matrix, 1.0, units, (g, d), rest, gamma)

    def update(
        self, memory: HybridMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Apply both updates, in place; return False when neither changed its model."""
        free = memory.free
        if free is None and outcome is not None:
            memory.units = units_at(outcome.start, self.units)
        products = pair_products(s, y, memory.units)
        if products is None:
            return False
        ss, yy, sy, inside_ss, inside_yy = products
        positive = pairs.is_positive(ss, yy, sy, 2.2e-16)
        if positive:
            positive_update(memory, s, y, sy, pairs.bfgs_scale(inside_yy, sy), self.h0)
        if free is None:
            free = diagonal(pairs.sr1_scale(inside_ss, inside_yy, sy), memory.units, s)
        memory.free, used = sr1_update(free, s, y, ss, yy, self.skip)
        return positive or used

    def reset(self, memory: HybridMemory) -> bool:
        """Forget both matrices."""
        had = memory.free is not None
        memory.matrix = memory.rest = memory.free = memory.units = None
        memory.gamma = 0.0
        return had

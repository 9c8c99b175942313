"""Dense BFGS on the inverse Hessian: positive definite, whatever the function is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from negopt.core.arrays import Array
from negopt.core.options import check_choice, check_inverse, check_number, option
from negopt.core.types import Iterate, Outcome, saved
from negopt.curvature.inverse import (
    DenseInverse,
    UnitRule,
    bfgs_update,
    diagonal,
    given_inverse,
    pair_products,
    units_at,
)
from negopt.decisions import pairs

if TYPE_CHECKING:
    import numpy.typing as npt


@saved
@dataclass(slots=True)
class PositiveMemory:
    """The inverse model ``H = matrix + gamma rest``."""

    #: shape (n, n): what the pairs have contributed; None before the first
    matrix: Array | None = field(default=None, metadata={"symmetric": True})
    #: shape (n, n): what the updates have left of the initial matrix; None where that is inside
    #: `matrix`
    rest: Array | None = field(default=None, metadata={"symmetric": True})
    gamma: float = 0.0  #: today's scale of the initial matrix
    #: shape (n,): scale of each variable, where the start shows that they differ
    units: Array | None = None


@dataclass(frozen=True)
class BFGS(UnitRule):
    """The BFGS update of the dense inverse Hessian.

    Parameters
    ----------
    h0 : {"rescaled", "scaled", "identity"}, default "rescaled"
        Initial matrix, times the identity: ``s'y / y'y`` of the newest pair, so that H is
        what L-BFGS would make of all pairs; of the first pair (Nocedal and Wright, eq.
        6.20); or 1, which is what SciPy's BFGS and Shea and Schmidt take.
    units : {"auto", "same"}, default "auto"
        ``"auto"`` takes ``diag(|x_i|^2)`` in place of the identity where x and g at the start
        show that the variables are in different units; ``"same"`` never does.
    skip : float, default 2.2e-16
        A pair is skipped unless ``s'y > skip ||s|| ||y||``.
    hess_inv0 : array_like, shape (n, n), optional
        Symmetric inverse Hessian to begin with, positive definite, in place of what `h0`
        says: that of an earlier run
        (``res.hess_inv``), or one that is known.  SciPy's BFGS has it by the same name.

    Notes
    -----
    1. ``H+ = V'HV + s s'/s'y`` with ``V = I - y s'/s'y``, as a symmetric update of rank two
       in O(n^2).
    2. Two matrices keep the initial scale free: ``H = R + gamma G``, where G begins as the
       identity and becomes ``V'GV``, and R begins as zero and becomes ``V'RV + s s'/s'y``.
       Both leave ``H y = s`` whatever gamma is: ``G y = 0``.
    3. A Wolfe step has ``s'y > 0``.  Other pairs (of a search that ended at its limits, or of
       an escape from a saddle) would make H indefinite and are skipped: negative curvature is
       thrown away, as in every BFGS code.

    **Guarantee**: H is symmetric and positive definite, and ``H y = s`` for the newest pair
    kept (``tests/guarantees/test_bfgs.py``).

    References
    ----------
    Nocedal and Wright (2006), Numerical Optimization, section 6.1,
    doi:10.1007/978-0-387-40065-5.  Liu and Nocedal (1989), Mathematical Programming 45,
    503-528, doi:10.1007/BF01589116.
    """

    h0: str = option("rescaled", "initial matrix: 'rescaled', 'scaled' or 'identity'")
    units: str = option("auto", "'auto': |x0| as units where these differ; or 'same'")
    skip: float = option(2.2e-16, "least cosine of the angle of s and y")
    hess_inv0: npt.ArrayLike | None = option(
        None, "inverse Hessian to begin with, shape (n, n); None: see h0", compare=False
    )

    def __post_init__(self) -> None:
        check_choice("h0", self.h0, ("rescaled", "scaled", "identity"))
        check_choice("units", self.units, ("auto", "same"))
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)
        if self.hess_inv0 is not None:
            check_inverse("hess_inv0", self.hess_inv0, positive=True)

    def init(self, x0: Array) -> PositiveMemory:
        """Return an empty memory, or one that begins with `hess_inv0`."""
        memory = PositiveMemory()
        if self.hess_inv0 is not None:
            memory.matrix = given_inverse(self.hess_inv0, x0)
            memory.rest = 0.0 * memory.matrix if self.h0 == "rescaled" else None
        return memory

    def model(self, memory: PositiveMemory, objective: object, iterate: Iterate) -> DenseInverse:
        """Return the operator of the current inverse."""
        if memory.matrix is None:
            return self.begin(iterate)
        units, rest, gamma = memory.units, memory.rest, memory.gamma
        return DenseInverse(memory.matrix, 1.0, units, None, rest, gamma, positive=True)

    def update(
        self, memory: PositiveMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Apply the update, in place; return False when the pair was skipped."""
        if memory.matrix is None and outcome is not None:
            memory.units = units_at(outcome.start, self.units)
        products = pair_products(s, y, memory.units)
        if products is None:
            return False
        ss, yy, sy, _, inside_yy = products
        if not pairs.is_positive(ss, yy, sy, self.skip):
            return False
        positive_update(memory, s, y, sy, pairs.bfgs_scale(inside_yy, sy), self.h0)
        return True

    def reset(self, memory: PositiveMemory) -> bool:
        """Forget the matrix."""
        had = memory.matrix is not None
        memory.matrix = memory.rest = memory.units = None
        memory.gamma = 0.0
        return had


def positive_update(
    memory: PositiveMemory, s: Array, y: Array, sy: float, gamma: float, h0: str
) -> None:
    """Fold a pair of positive curvature into the two matrices of `memory`."""
    matrix, rest = memory.matrix, memory.rest
    if matrix is None:
        scale = {"rescaled": 0.0, "scaled": gamma, "identity": 1.0}[h0]
        matrix = diagonal(scale, memory.units, s)
        rest = diagonal(1.0, memory.units, s) if h0 == "rescaled" else None
    memory.matrix = bfgs_update(matrix, s, y, sy, 1.0)
    memory.rest = None if rest is None else bfgs_update(rest, s, y, sy, 0.0)
    memory.gamma = gamma

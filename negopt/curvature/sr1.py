"""Dense SR1 on the inverse Hessian, kept indefinite where it was measured so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from negopt.core.arrays import Array, inner
from negopt.core.options import check_choice, check_inverse, check_number, option
from negopt.core.types import Iterate, Outcome
from negopt.curvature.inverse import (
    DenseInverse,
    InverseMemory,
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


@dataclass(frozen=True)
class SR1(UnitRule):
    """Symmetric rank-one updates of the dense inverse Hessian.

    Parameters
    ----------
    h0 : {"scaled", "identity"}, default "scaled"
        After the first step H is set to ``0.9 s'y/y'y`` times the identity
        (``||s||/||y||`` when ``s'y <= 0``).  N.B. exactly ``s'y/y'y`` would make the
        first denominator zero.  ``"identity"`` is the setting of Shea and Schmidt.
    units : {"auto", "same"}, default "auto"
        ``"auto"`` starts from a multiple of ``diag(|x_i|^2)`` in place of the identity where x
        and g at the start show that the variables are in different units, as parameters of a
        fitted model often are (`natural_units` says when); ``"same"`` never does.
    skip : float, default 1e-12
        Skip when ``|v'y| < skip ||v|| ||y||`` with ``v = s - Hy``.  The customary 1e-8
        skips for ever on badly scaled problems (Powell's).
    on_ascent : {"mirror", "reset"}, default "mirror"
        ``"mirror"`` keeps H where ``-Hg`` ascends, for a search along both signs;
        ``"reset"`` forgets it and starts afresh from -g, as methods without negative steps do.
    hess_inv0 : array_like, shape (n, n), optional
        Symmetric inverse Hessian to begin with in place of what `h0` says: that of an earlier run
        (``res.hess_inv``), or one that is known.  SciPy's BFGS has it by the same name.

    References
    ----------
    Conn, Gould and Toint (1991), Mathematical Programming 50, 177-195,
    doi:10.1007/BF01594934.
    """

    h0: str = option("scaled", "'scaled' or 'identity'")
    units: str = option("auto", "'auto': |x0| as units where these differ; or 'same'")
    skip: float = option(1e-12, "relative threshold that skips an update")
    on_ascent: str = option("mirror", "'mirror', or 'reset': forget a model that ascends")
    hess_inv0: npt.ArrayLike | None = option(
        None, "inverse Hessian to begin with, shape (n, n); None: see h0", compare=False
    )

    def __post_init__(self) -> None:
        check_choice("h0", self.h0, ("scaled", "identity"))
        check_choice("units", self.units, ("auto", "same"))
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)
        check_choice("on_ascent", self.on_ascent, ("mirror", "reset"))
        if self.hess_inv0 is not None:
            check_inverse("hess_inv0", self.hess_inv0, positive=False)

    def init(self, x0: Array) -> InverseMemory:
        """Return an empty memory, or one that begins with `hess_inv0`."""
        given = self.hess_inv0
        return InverseMemory(None if given is None else given_inverse(given, x0))

    def model(self, memory: InverseMemory, objective: object, iterate: Iterate) -> DenseInverse:
        """Return the operator of the current inverse."""
        if memory.matrix is None or self._forgets(memory.matrix, iterate.g):
            return self.begin(iterate)
        return DenseInverse(memory.matrix, 1.0, memory.units)

    def _forgets(self, matrix: Array, g: Array) -> bool:
        return self.on_ascent == "reset" and not inner(g, image(matrix, g)) > 0.0

    def update(
        self, memory: InverseMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Apply the update ``H + v v' / v'y``, in place; return False when it was skipped."""
        start = None if outcome is None else outcome.start
        if start and (memory.matrix is None or self._forgets(memory.matrix, start.g)):
            memory.matrix, memory.units = None, units_at(start, self.units)
        products = pair_products(s, y, memory.units)
        if products is None:
            return False
        ss, yy, sy, inside_ss, inside_yy = products
        matrix = memory.matrix
        if matrix is None:
            scaled = self.h0 == "scaled"
            scale = pairs.sr1_scale(inside_ss, inside_yy, sy) if scaled else 1.0
            matrix = diagonal(scale, memory.units, s)
        memory.matrix, used = sr1_update(matrix, s, y, ss, yy, self.skip)
        return used

    def reset(self, memory: InverseMemory) -> bool:
        """Forget the matrix."""
        had = memory.matrix is not None
        memory.matrix = memory.units = None
        return had

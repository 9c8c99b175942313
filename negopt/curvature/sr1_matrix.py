"""Dense SR1 on the Hessian itself, for exact trust-region steps in few variables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from negopt.algebra.eigen import symmetric_eigen
from negopt.algebra.roots import DenseRoot
from negopt.core.arrays import Array, FloatArray, from_host, inners, to_host
from negopt.core.checks import UNITS, Entries
from negopt.core.options import check_choice, check_number, option
from negopt.core.types import Iterate, Outcome, Step, saved
from negopt.curvature.inverse import diagonal, sr1_update, symmetric, unit_step, units_at
from negopt.decisions import pairs
from negopt.models.spectrum import spectral_step


@saved
@dataclass(slots=True)
class MatrixMemory:
    """The model B and the units of the variables."""

    #: shape (n, n): ``D B D`` with ``D = diag(units)``, on the host, by its upper triangle; None
    #: before the first pair
    matrix: FloatArray | None = field(
        default=None, metadata={"host": True, "check": Entries(("n", "n"), dtype="float64")}
    )
    #: shape (n,): scale of each variable, where the start shows that they differ; else D is I
    units: Array | None = field(default=None, metadata={"check": UNITS})


class MatrixOperator:
    """A dense B as a compact model whose basis is the identity.

    Where the variables have units, model and step are those of ``s / units``, and `matrix` is B
    in these.  All algebra is O(n^3) on the host; of device vectors it copies n entries each way.
    """

    learns = True
    gamma = 0.0
    full = True

    def __init__(self, matrix: FloatArray, units: Array | None = None) -> None:
        self.small = matrix
        self.units = units
        self.n = self.k = int(matrix.shape[0])
        self._scale = 1.0 if units is None else to_host(units)
        self._eigen: tuple[FloatArray, FloatArray] | None = None

    @property
    def eigen(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues of the matrix, ascending, and their vectors."""
        if self._eigen is None:
            self._eigen = symmetric_eigen(self.small)
        return self._eigen

    def project(self, v: Array) -> FloatArray:
        """Return a gradient in the matrix's units on the host."""
        inside: FloatArray = self._scale * to_host(v)
        return inside

    def expand(self, w: FloatArray, scale: float, v: Array) -> Array:
        """Return ``scale v`` plus the step that is `w` in the matrix's units."""
        part = from_host(self._scale * w, v)
        return part if scale == 0.0 else scale * v + part

    def split(self, v: Array, vnorm: float) -> tuple[FloatArray, float, Array | None]:
        """Return `project` of v; nothing of it lies outside the basis."""
        return self.project(v), 0.0, None

    @property
    def spectrum(self) -> MatrixOperator:
        """The model itself: its basis is the identity."""
        return self

    def trust_step(self, iterate: Iterate, radius: float) -> Step:
        """Return the global minimiser of the model in the ball, in the matrix's units."""
        return spectral_step(iterate, self, radius)

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""
        return from_host((self.small @ (to_host(v) / self._scale)) / self._scale, v)

    def root(self, like: Array) -> DenseRoot:
        """Return L with ``L L' = |B|^-1``."""
        return DenseRoot(from_host(self.small, like), inverse=False, units=self.units)

    def solve(self, v: Array) -> Array:
        """Return ``B^-1 v``, |eigenvalues| kept above 1e-15 of the largest."""
        values, vectors = self.eigen
        size = np.abs(values)
        size = np.maximum(size, 1e-15 * float(np.max(size)))
        signed = np.where(values < 0.0, -size, size)
        return self.expand(vectors @ ((vectors.T @ self.project(v)) / signed), 0.0, v)


@dataclass(frozen=True)
class SR1Matrix:
    """Symmetric rank-one updates of the dense Hessian model.

    Every finite pair is used, those of rejected steps too.

    Parameters
    ----------
    b0 : {"scaled", "identity"}, default "scaled"
        After the first step B is set to ``y'y / 0.9 s'y`` times the identity
        (``||y|| / ||s||`` when ``s'y <= 0``).  N.B. exactly ``y'y / s'y`` would make B
        singular after the first update, ``s'y / s's`` would have the pair skipped.
    units : {"auto", "same"}, default "auto"
        ``"auto"`` measures steps by ``s_i / |x_i|`` where x and g at the start show that the
        variables are in different units; ``"same"`` never does.
    skip : float, default 1e-8
        Skip when ``|s'r| < skip ||s|| ||r||`` with ``r = y - Bs``.

    References
    ----------
    Conn, Gould and Toint (1991), Mathematical Programming 50, 177-195,
    doi:10.1007/BF01594934.
    """

    b0: str = option("scaled", "'scaled' or 'identity'")
    units: str = option("auto", "'auto': |x0| as units where these differ; or 'same'")
    skip: float = option(1e-8, "relative threshold that skips an update")

    def __post_init__(self) -> None:
        check_choice("b0", self.b0, ("scaled", "identity"))
        check_choice("units", self.units, ("auto", "same"))
        check_number("skip", self.skip, 0.0, 1.0, open_high=True)

    def init(self, x0: Array) -> MatrixMemory:
        """Return an empty memory."""
        return MatrixMemory()

    def model(self, memory: MatrixMemory, objective: object, iterate: Iterate) -> MatrixOperator:
        """Return the operator of the current matrix."""
        if memory.matrix is not None:
            return MatrixOperator(symmetric(memory.matrix), memory.units)
        units = units_at(iterate, self.units)
        # Without a pair, a step of length 1 whatever the scale of f.
        scale = 1.0 / unit_step(iterate, units) if self.b0 == "scaled" else 1.0
        return MatrixOperator(scale * np.eye(int(iterate.x.shape[0])), units)

    def update(
        self, memory: MatrixMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Apply the update ``B + r r' / r's``, in place; return False when it was skipped."""
        if memory.matrix is None and outcome is not None:
            memory.units = units_at(outcome.start, self.units)
        a, b = to_host(s), to_host(y)
        if memory.units is not None:
            scale = to_host(memory.units)
            a, b = a / scale, b * scale
        ss, yy, sy = inners((a, b, a), (a, b, b))
        if not pairs.is_usable(ss, yy, sy):
            return False
        matrix = memory.matrix
        if matrix is None:
            first = 1.0 / pairs.sr1_scale(ss, yy, sy) if self.b0 == "scaled" else 1.0
            matrix = diagonal(first, None, a)
        # SR1 is its own dual: B is updated as H is, with s and y exchanged.
        memory.matrix, used = sr1_update(matrix, b, a, yy, ss, self.skip)
        return used

    def reset(self, memory: MatrixMemory) -> bool:
        """Forget the matrix."""
        had = memory.matrix is not None
        memory.matrix = memory.units = None
        return had

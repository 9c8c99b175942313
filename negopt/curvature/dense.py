"""The Hessian as a matrix, with its eigenvalues."""

from __future__ import annotations

from dataclasses import dataclass, field

from negopt.algebra.eigen import eigen_of
from negopt.algebra.roots import DenseRoot
from negopt.core.arrays import Array, all_finite, namespace_of, scalars
from negopt.core.checks import MATRIX, NONNEGATIVE, SCALE
from negopt.core.options import check_number, option
from negopt.core.protocols import ProductSource
from negopt.core.types import Iterate, Outcome, saved


@saved
@dataclass(slots=True)
class HessianMemory:
    """What one point leaves behind for the next."""

    #: shape (n, n): the moving average of the Hessians; None when none is kept
    average: Array | None = field(default=None, metadata={"check": MATRIX})
    #: largest |eigenvalue| at the first point where it was not zero; 0 before
    scale: float = field(default=0.0, metadata={"check": SCALE})
    #: largest gradient norm met so far
    gnorm: float = field(default=0.0, metadata={"check": NONNEGATIVE})


class DenseOperator:
    """The Hessian at one point, `matrix`, and the average of it that steps are taken with.

    The eigenvalues are those of `model`: `matrix` itself, or the moving average.  `scale` and
    `gnorm` are those of the memory.
    """

    learns = False

    def __init__(self, matrix: Array, model: Array, scale: float = 0.0, gnorm: float = 0.0) -> None:
        self.matrix = matrix
        self.model = model
        self.scale, self.gnorm = scale, gnorm
        self.largest = 0.0  #: largest |eigenvalue| of the model; set by `eigen`
        self._eigen: tuple[Array, Array] | None = None
        self._current: tuple[Array, Array] | None = None

    @property
    def learnt(self) -> HessianMemory:
        """What goes with a step, for the rule to remember."""
        average = None if self.model is self.matrix else self.model
        return HessianMemory(average, self.scale or self.largest, self.gnorm)

    def matvec(self, v: Array) -> Array:
        """Return ``H v``, without a new product."""
        return self.matrix @ v

    def absolute_matvec(self, v: Array) -> Array:
        """Return ``|H| v`` with the Hessian of this point."""
        if self._current is None:
            same = self.model is self.matrix
            self._current = self.eigen() if same else _eigen(self.matrix)
        if self._current is None:
            return self.matvec(v)
        xp = namespace_of(v)
        values, vectors = self._current
        return vectors @ (xp.abs(values) * (xp.matrix_transpose(vectors) @ v))

    def eigen(self) -> tuple[Array, Array] | None:
        """Return eigenvalues, ascending, and eigenvectors of the model, formed once.

        None when an entry is not finite.
        """
        if self._eigen is None:
            self._eigen = _eigen(self.model)
            if self._eigen is not None:
                xp = namespace_of(self.model)
                self.largest = scalars(xp.max(xp.abs(self._eigen[0])))[0]
        return self._eigen

    def root(self, like: Array) -> DenseRoot | None:
        """Return L with ``L L' = |B|^-1`` of the model B; None where B is not finite."""
        return DenseRoot(self.model, inverse=False) if all_finite(self.model) else None

    def solve(self, v: Array, *, absolute: bool = False, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v`` or ``|B|^-1 v`` with the model B, using again its eigenvalues.

        Absolute eigenvalues are kept above `floor`, as a share of the largest.
        """
        found = self.eigen()
        if found is None or self.largest == 0.0:
            return 1.0 * v
        xp = namespace_of(v)
        values, vectors = found
        size, least = xp.abs(values), floor * self.largest
        size = xp.where(size > least, size, xp.full_like(size, least))
        if not absolute:
            size = xp.where(values < 0.0, -size, size)
        return vectors @ ((xp.matrix_transpose(vectors) @ v) / size)


def _eigen(matrix: Array) -> tuple[Array, Array] | None:
    return eigen_of(matrix) if all_finite(matrix) else None


@dataclass(frozen=True)
class DenseHessian:
    """The exact Hessian: `hess`, or n Hessian products at each point.

    Parameters
    ----------
    average : float or None, default None
        Weight of the new Hessian in a moving average that the steps are taken with; None
        keeps none.  It steadies mini-batches and slows the end of a smooth problem: the
        source has 0.05.

    Notes
    -----
    The average is that of the signed matrices, ``M <- (1 - average) M + average H``;
    absolute values are taken of its eigenvalues, so that noise of both signs cancels.
    A Hessian that is not finite leaves the average as it was.

    References
    ----------
    Oldewage, Clarke and Hernandez-Lobato (2024), Series of Hessian-Vector Products for
    Tractable Saddle-Free Newton Optimisation of Neural Networks, TMLR, eq. (6).
    """

    average: float | None = option(
        None, "weight of the new Hessian in a moving average; None: none"
    )

    def __post_init__(self) -> None:
        if self.average is not None:
            check_number("average", self.average, 0.0, 1.0, open_low=True)

    def init(self, x0: Array) -> HessianMemory:
        """Return an empty memory."""
        return HessianMemory()

    def model(
        self, memory: HessianMemory, objective: ProductSource, iterate: Iterate
    ) -> DenseOperator:
        """Return the Hessian at `iterate`, and the average with it."""
        matrix = objective.hessian(iterate)
        model, kept = matrix, memory.average
        if self.average is not None and not all_finite(matrix):
            model = matrix if kept is None else kept
        elif self.average is not None:
            model = (
                1.0 * matrix
                if kept is None
                else (1.0 - self.average) * kept + self.average * matrix
            )
        return DenseOperator(matrix, model, memory.scale, memory.gnorm)

    def update(
        self, memory: HessianMemory, s: Array, y: Array, outcome: Outcome | None = None
    ) -> bool:
        """Remember the average and the scales; the pair says nothing more."""
        if outcome is None or outcome.step is None or outcome.start is None:
            return True
        found = outcome.step.learnt
        if isinstance(found, HessianMemory):
            if self.average is not None and found.average is not None:
                memory.average = found.average
            memory.scale = found.scale
        memory.gnorm = max(memory.gnorm, outcome.start.gnorm)
        return True

    def reset(self, memory: HessianMemory) -> bool:
        """Forget the average; without one there is nothing to forget."""
        had = memory.average is not None
        memory.average = None
        memory.scale = memory.gnorm = 0.0
        return had

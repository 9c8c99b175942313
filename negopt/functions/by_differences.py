"""What an objective does where the user gives no gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from negopt.core.arrays import Array, scalars
from negopt.core.types import Counters, Given, Iterate
from negopt.functions.balance import Balanced
from negopt.functions.inputs import checked_value, complex_value
from negopt.functions.taken import Differences
from negopt.functions.workers import Call, Workers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def differences_for(
    scheme: str | None, n: int, relative: npt.ArrayLike | None, absolute: npt.ArrayLike | None
) -> Differences:
    """Return how gradients are taken: as the user wants it, else balanced."""
    if scheme is None and relative is None and absolute is None:
        return Balanced(n)
    return Differences(scheme or "2-point", n, relative, absolute)


class ByDifferences:
    """The part of `negopt.functions.objective.Objective` that takes differences of values."""

    n: int
    x0: Array
    args: tuple[object, ...]
    counters: Counters
    best: Iterate | None
    #: how gradients are taken by differences; None where the user gives them
    differences: Differences | None = None
    _value: Given
    _workers: Workers | None  #: what computes values that do not depend on each other
    _gradient_source: str

    if TYPE_CHECKING:  # what the objective does itself

        def at(self, x: Array) -> Iterate: ...  # noqa: D102
        def _require(self, calls: int) -> None: ...
        def spend(self, values: int, gradients: int) -> None: ...  # noqa: D102
        def _call_value(self, x: Array) -> float: ...
        def _measured(self, x: Array, value: Array, g: Array) -> Iterate: ...

    @property
    def gradient_source(self) -> str:
        """Where gradients come from by now, for results and messages."""
        return self._gradient_source if self.differences is None else self.differences.source

    @property
    def _order(self) -> str:
        """The scheme of differences that the gradient is as accurate as, "" for the user's own."""
        taken = self.differences
        if taken is None or not taken.adaptive:
            return "" if taken is None else taken.scheme
        return "3-point" if taken.central else "2-point"

    @property
    def evaluation_cost(self) -> int:
        """Calls of fun that one value with its gradient takes."""
        return 1 if self.differences is None else 1 + self.differences.cost

    def _values(self, points: Iterable[Array]) -> Iterable[complex]:
        """Return f at points of differences: the evaluations that could go side by side."""
        assert self.differences is not None
        if self._workers is None:
            return map(self._complex if self.differences.scheme == "cs" else self._real, points)
        points = list(points)
        self._require(len(points))
        self.spend(len(points), 0)
        found = self._workers.values(Call(self._value, self.args), points)
        return map(complex_value if self.differences.scheme == "cs" else self._as_value, found)

    def _as_value(self, raw: object) -> float:
        """Return what `fun` has returned as a float."""
        return scalars(checked_value(raw, self.x0))[0]

    def _real(self, x: Array) -> float:
        self._require(1)
        return self._call_value(x)

    def _complex(self, x: Array) -> complex:
        self._require(1)
        self.spend(1, 0)
        return complex_value(self._value(x, *self.args))

    def _near(self, x: Array, differences: Differences) -> Iterate:
        """Return a point that only products are taken with."""
        if not (isinstance(differences, Balanced) and differences.central):
            return self.at(x)
        self._require(1 + self.n)
        f = self._call_value(x)
        self.counters.njev += 1
        return self._measured(x, f, differences.near(self._values, x, f))

    def sharper(self, here: Iterate) -> Iterate | None:
        """Return a point with a better gradient by differences; None where there is none."""
        if self.differences is None:
            return None
        g = self.differences.sharper(self._values, here, self._require)
        if g is None:
            return None
        self.counters.njev += 1
        point = self._measured(here.x, here.f, g)
        if self.best is here:
            self.best = point
        return point

    def gradient_error(
        self, iterate: Iterate, *, constant: bool = True
    ) -> npt.NDArray[np.float64] | None:
        """Return the error of each component of g by differences, on the host; None without.

        It is an estimate, shape (n,): truncation, and the noise of f over the step.  Without the
        `constant` part, truncation, it is that of a difference of gradients at points close by.
        """
        if self.differences is None:
            return None
        return self.differences.errors(iterate, constant=constant)

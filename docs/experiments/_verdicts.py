"""One fit by negopt and by SciPy: where each ends, at what cost, and if the verdict is right."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from _fits import FITS, clients_hessian
from _stand_in import Call, StandIn
from _truth import Truth, truth

#: Relative difference of f below which two ends are as low as each other.
SAME = 1e-8


@dataclass(frozen=True)
class Duel:
    """The last minimisation of a fit by SciPy and by negopt, and the Hessian where negopt ends."""

    scipy: Call
    negopt: Call
    truth: Truth

    @property
    def f(self) -> tuple[float, float]:
        """Final f: SciPy's, negopt's."""
        return tuple(call.value(call.result.x) for call in (self.scipy, self.negopt))  # type: ignore[return-value]

    @property
    def as_low(self) -> bool:
        """Whether negopt ends as low as SciPy, which may have ended nowhere."""
        theirs, ours = self.f
        return not ours > theirs + SAME * max(1.0, abs(theirs))

    @property
    def to_the_end(self) -> bool:
        """Whether SciPy ended as low as negopt, by its own test: the whole runs are compared."""
        theirs, ours = self.f
        return bool(self.scipy.result.success) and theirs <= ours + SAME * max(1.0, abs(ours))

    @property
    def ratio(self) -> float:
        """Evaluations of negopt over SciPy's.

        Where SciPy gave up or ended higher: of those that negopt needs to be as low as that.
        """
        theirs = self.f[0]
        if not self.to_the_end and not np.isfinite(theirs):
            return 0.0
        spent = (
            self.negopt.evaluations
            if self.to_the_end
            else self.negopt.reached(theirs + SAME * max(1.0, abs(theirs)))
        )
        return spent / self.scipy.evaluations

    @property
    def verdict_is_right(self) -> bool:
        """Whether the verdict and `success` agree with the Hessian.

        Products from differences of f alone may be too coarse to tell a minimum.
        """
        res, kind = self.negopt.result, self.truth.kind
        if self.negopt.jac is None:
            return kind != "saddle" and res.curvature_status != "negative"
        right = {"minimum": {"positive"}, "singular": {"flat", "unsettled"}, "saddle": {"negative"}}
        return res.curvature_status in right[kind] and res.success == (kind != "saddle")


def run(name: str, solver: str) -> tuple[Any, Call]:
    """Make a fit, quietly; return the package's result and its last minimisation."""
    stand = StandIn(solver)
    with warnings.catch_warnings(), np.errstate(all="ignore"), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with stand.installed():
            result = FITS[name]()
    return result, stand.calls[-1]


def duel(name: str) -> Duel:
    """Make a fit by both."""
    _, theirs = run(name, "SciPy")
    result, ours = run(name, "negopt")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return Duel(theirs, ours, truth(ours, ours.result.x, clients_hessian(result, ours)))

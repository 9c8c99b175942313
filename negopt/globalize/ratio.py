"""The reduction ratio, formed in one place and guarded against rounding."""

from __future__ import annotations

import math

from negopt.core.arrays import Array, dot, eps_of, scalars
from negopt.core.protocols import Oracle
from negopt.core.types import Iterate, Outcome, Step
from negopt.decisions.noise import rounding
from negopt.decisions.pairs import is_unresolved
from negopt.decisions.region import is_blurred, ratio


def rounding_of(iterate: Iterate) -> float:
    """Return the change of f that is rounding noise at `iterate`, 450 eps |f|."""
    return rounding(iterate.f, eps_of(iterate.x))


def moves(iterate: Iterate, s: Array, length: float) -> bool:
    """Tell whether the displacement `s`, as x resolved it, is one at all.

    Only a step close to the spacing of x has to be looked at (one device read).
    """
    return not is_unresolved(length, iterate.xnorm) or scalars(dot(s, s))[0] > 0.0


def tried(out: Outcome, objective: Oracle, x: Array, s: Array, bar: float) -> Iterate:
    """Evaluate a trial and note it: valid where it is finite, or known to be above `bar`."""
    trial = objective.at(x, bar=bar)
    out.trials += 1
    out.trial, out.s = trial, s
    out.valid = trial.finite or (math.isfinite(trial.f) and trial.f > bar)
    return trial


def reduction_ratio(
    iterate: Iterate, trial: Iterate, step: Step, lowest: float = math.inf
) -> float:
    """Return actual over predicted decrease; nan when the model predicts none.

    Where the difference of two function values is mostly rounding, the actual
    decrease is taken from the gradients at both ends, ``-(g's + g_+'s)/2``, which
    keeps its digits; the two agree to third order in the step.  That holds only
    while f stays within rounding of `lowest`, the lowest value accepted so far: on the
    word of a wrong gradient alone f would creep up step by step.

    References
    ----------
    Conn, Gould and Toint (2000), Trust-Region Methods, section 17.4.2,
    doi:10.1137/1.9780898719857.
    """
    actual = iterate.f - trial.f
    if trial.gmax < math.inf and is_blurred(iterate.f, trial.f, rounding_of(iterate), lowest):
        actual = -0.5 * (step.slope + scalars(dot(trial.g, step.s))[0])
    return ratio(actual, step.predicted_decrease)

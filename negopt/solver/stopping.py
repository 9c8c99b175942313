"""Every stopping test, in order, in one function."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from negopt.core.arrays import eps_of, most_of, namespace_of, scalars
from negopt.core.messages import MINIMIZE, Words
from negopt.core.options import RunOptions
from negopt.core.types import Iterate, Outcome, State, Status
from negopt.decisions.endings import (
    CONVERGED,
    GOES_ON,
    LIMIT,
    TARGET,
    UNBOUNDED,
    bottom,
    why_over,
)
from negopt.functions.objective import Objective
from negopt.globalize.ratio import rounding_of
from negopt.solver.resolution import Resolution, told_at


def bound_on_gradient(gtol: float | None, eps: float) -> float:
    """Return the option ``gtol``, or its default: sqrt(eps), but no less than 1e-5."""
    return max(1e-5, math.sqrt(eps)) if gtol is None else float(gtol)


def most_iterations(maxiter: float | None, n: int) -> int:
    """Return the option ``maxiter``, or its default for n variables."""
    if maxiter is None:
        return max(1000, 200 * n)
    # A negative limit is a limit of none, as in SciPy.
    return int(min(max(maxiter, 0), 1e18))


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that the tests compare with.

    Attributes
    ----------
    gtol : float
        Already the larger of the absolute and the relative tolerance.
    order : float
        Order of the gradient norm.
    xrtol, ftarget : float
    maxiter : int
        Last iteration of this call, counted from the start of the run.
    f0 : float
        Value at the first point.
    first : int
        Iterations made before this call.
    most : float
        Largest number of the type of x.
    words : Words
        Of the messages.
    """

    gtol: float
    order: float
    xrtol: float
    ftarget: float
    maxiter: int
    f0: float
    first: int = 0
    most: float = sys.float_info.max
    words: Words = MINIMIZE

    @property
    def unbounded_below(self) -> float:
        """Value of f that is taken for minus infinity."""
        return bottom(self.f0, self.most)


def gradient_measure(iterate: Iterate, order: float) -> float:
    """Return the norm of the gradient that is compared with gtol."""
    if order == math.inf:
        return iterate.gmax
    if order == 2:
        return iterate.gnorm
    xp = namespace_of(iterate.g)
    if iterate.gmax == 0.0:
        return 0.0
    scaled = xp.abs(iterate.g) / iterate.gmax
    return float(iterate.gmax * scalars(xp.sum(scaled**order))[0] ** (1.0 / order))


def limits_of(run: RunOptions, state: State, words: Words) -> Limits:
    """Return the limits of a call that begins, or goes on, at a state."""
    x = state.iterate.x
    gtol = bound_on_gradient(run.gtol, eps_of(x))
    return Limits(
        gtol=max(gtol, run.grtol * state.measure0),
        order=float(run.norm),
        xrtol=run.xrtol,
        ftarget=float(run.ftarget),
        maxiter=state.k + most_iterations(run.maxiter, int(x.shape[0])),
        f0=state.f0,
        first=state.k,
        most=most_of(x),
        words=words,
    )


def size_of(objective: Objective, iterate: Iterate, order: float) -> float:
    """Return what of the gradient counts: where it is by differences, what is no error."""
    told = told_at(objective, iterate, order)
    return gradient_measure(iterate, order) if told is None else told.size


def verdict_on(
    objective: Objective,
    state: State,
    limits: Limits,
    outcome: Outcome | None = None,
    *,
    limited: bool = True,
) -> tuple[Status, str] | None:
    """Return what `stop` says of the iterate of a run, that of `maxiter` where it is `limited`."""
    here, k = state.iterate, state.k if limited else -1
    told = told_at(objective, here, limits.order, limits.gtol, state.measure0)
    return stop(here, limits, k, outcome, told, objective.best)


def stop(
    iterate: Iterate,
    limits: Limits,
    k: int,
    outcome: Outcome | None,
    told: Resolution | None = None,
    lowest: Iterate | None = None,
) -> tuple[Status, str] | None:
    """Return status and message when the run is over, else None.

    A stationary point is reported as ``CONVERGED`` here; the caller checks its curvature.  Of a
    gradient by differences `told` is what counts.  All other ends report `lowest`, the lowest
    point seen, by default the iterate: the message has its figures.
    """
    size = gradient_measure(iterate, limits.order) if told is None else told.size
    reason = why_over(
        iterate.f, size, k, limits.gtol, limits.ftarget, limits.unbounded_below, limits.maxiter
    )
    if reason in (GOES_ON, LIMIT) and limits.xrtol > 0.0 and outcome is not None:
        still = _stands_still(iterate, limits, outcome)
        if still is not None:
            return Status.CONVERGED, still
    if reason == GOES_ON:
        return None
    words = limits.words
    name = "max|g|" if limits.order == math.inf else f"|g|_{limits.order:g}"
    if lowest is not None and reason != CONVERGED:
        iterate, size = lowest, gradient_measure(lowest, limits.order)
    if reason == TARGET:
        return Status.TARGET, (
            f"Target reached: f = {iterate.f:.6g} <= {words['ftarget']} = {limits.ftarget:.6g}."
        )
    if reason == CONVERGED and told is not None:
        whole = gradient_measure(iterate, limits.order)
        if whole > limits.gtol and iterate.f > limits.f0 + rounding_of(iterate):
            told = replace(told, trusted=False)  # far out on a plateau, where nothing is resolved
        return told.judged(f"{name} = {whole:.3g}", whole, limits.gtol, words["gtol"])
    if reason == CONVERGED:
        return Status.CONVERGED, (
            f"Optimization terminated successfully: {name} = {size:.3g} <= {words['gtol']} = "
            f"{limits.gtol:.3g}"
        )
    if reason == UNBOUNDED:
        return Status.UNBOUNDED, unbounded_message(iterate, limits)
    return Status.LIMIT, (
        "Maximum number of iterations has been exceeded "
        f"({words['maxiter']} = {limits.maxiter - limits.first} in this call, {k} in all); "
        f"{name} = {size:.3g} > {words['gtol']} = {limits.gtol:.3g}. Raise "
        f"{words['maxiter']}{words.go_on}."
    )


def unbounded_message(iterate: Iterate, limits: Limits) -> str:
    """Say that f falls without end."""
    return (
        f"The objective seems unbounded below: f = {iterate.f:.3g} from f(x0) = "
        f"{limits.f0:.3g}; check its sign, or add a term that grows."
    )


def _stands_still(iterate: Iterate, limits: Limits, outcome: Outcome) -> str | None:
    """Return the message where an accepted step is at most xrtol of x, else None."""
    if not outcome.accepted or outcome.s is None:
        return None
    xp = namespace_of(iterate.x)
    step, x = scalars(xp.max(xp.abs(outcome.s)), xp.max(xp.abs(iterate.x)))
    if not step <= limits.xrtol * x:
        return None
    return (
        f"Optimization terminated successfully: the step {step:.3g} is at most "
        f"{limits.words['xrtol']} = {limits.xrtol:.3g} of max|x| = {x:.3g}"
    )


def precision_message(
    iterate: Iterate,
    limits: Limits,
    reason: str,
    told: Resolution | None = None,
    disagreement: str = "",
) -> str:
    """Say why no progress is possible, with the numbers and what to try."""
    size = gradient_measure(iterate, limits.order)
    eps, gtol = eps_of(iterate.x), limits.words["gtol"]
    hint = "If that is not small enough, check the gradient with scipy.optimize.check_grad"
    if disagreement:
        hint = f"{disagreement}: check the gradient with scipy.optimize.check_grad"
    elif told is not None:
        hint = f"If that is not small enough, pass jac: {told.known} here, no further"
    elif eps > 1e-10:
        hint = f"If that is not small enough, x0 is float32: pass float64, or {gtol}=1e-3"
    elif size < 1e3 * limits.gtol:
        resolved = f"f resolves about {eps * max(abs(iterate.f), 1e-300):.1g} here"
        hint = f"If that is not small enough, {resolved}: raise {gtol}"
    return (
        f"No further decrease is possible at this precision: {reason}; gradient norm {size:.3g} > "
        f"{gtol} = {limits.gtol:.3g}. {hint}."
    )

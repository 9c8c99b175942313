"""Every stopping test, in order, in one function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from negopt.core.arrays import eps_of, namespace_of, scalars, to_host
from negopt.core.messages import MINIMIZE, Words
from negopt.core.types import Iterate, Outcome, Status
from negopt.decisions.endings import CONVERGED, GOES_ON, LIMIT, TARGET, UNBOUNDED, why_over

class Taken(Protocol):
    """Differences, and what they are known to."""

    @property
    def adaptive(self) -> bool:
        """Whether the steps are chosen here."""

    @property
    def source(self) -> str:
        """What messages call them."""

    def errors(self, iterate: Iterate) -> np.ndarray:
        """Return the error of each component of the gradient."""


class Differing(Protocol):
    """An objective whose gradient may be by differences."""

    @property
    def differences(self) -> Taken | None:
        """How they are taken; None with a gradient."""


#: f below minus this multiple of max(1, |f0|) is taken for minus infinity.
BOTTOM = 1e30


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
    measure0 : float
        Norm of the gradient at the first point.
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
    words: Words = MINIMIZE
    measure0: float = 0.0

    @property
    def unbounded_below(self) -> float:
        """Value of f that is taken for minus infinity."""
        return -BOTTOM * max(1.0, abs(self.f0))


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


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a gradient by differences tells.

    Attributes
    ----------
    size : float
        Norm of the components that are larger than their error.
    error : float
        Largest error of a component.
    source : str
        What the differences are.
    fixed : bool
        Whether the user has chosen the steps.
    """

    size: float
    error: float
    source: str
    fixed: bool

    def trusted(self, gtol: float, first: float) -> bool:
        """Tell whether a gradient of zero would say that the point is stationary.

        Steps that were chosen for their balance are as good as any; those that the user has chosen
        may be of any length.  `first` is the gradient at the start.
        """
        return not self.fixed or self.error <= max(1e2 * gtol, 1e-6 * first)


def resolution(objective: Differing, iterate: Iterate, order: float) -> Resolution | None:
    """Return what the gradient at a point tells, None where it is not by differences."""
    taken = objective.differences
    if taken is None:
        return None
    errors, g = taken.errors(iterate), np.abs(to_host(iterate.g))
    told = np.where(g > errors, g, 0.0)
    size = float(np.linalg.norm(told, order)) if np.all(np.isfinite(g)) else math.inf
    return Resolution(size, float(np.max(errors)), taken.source, not taken.adaptive)


def stop(
    iterate: Iterate,
    limits: Limits,
    k: int,
    outcome: Outcome | None,
    told: Resolution | None = None,
) -> tuple[Status, str] | None:
    """Return status and message when the run is over, else None.

    A stationary point is reported as ``CONVERGED`` here; the caller checks its curvature.  Of a
    gradient by differences `told` is what counts.
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
    if reason == TARGET:
        return Status.TARGET, (
            f"Target reached: f = {iterate.f:.6g} <= {words['ftarget']} = {limits.ftarget:.6g}."
        )
    if reason == CONVERGED and told is not None:
        return _by_differences(iterate, limits, told, name)
    if reason == CONVERGED:
        return Status.CONVERGED, (
            f"Optimization terminated successfully: {name} = {size:.3g} <= {words['gtol']} = "
            f"{limits.gtol:.3g}"
        )
    if reason == UNBOUNDED:
        return Status.UNBOUNDED, (
            f"The objective seems unbounded below: f = {iterate.f:.3g} from f(x0) = "
            f"{limits.f0:.3g}; check its sign, or add a term that grows."
        )
    return Status.LIMIT, (
        "Maximum number of iterations has been exceeded "
        f"({words['maxiter']} = {limits.maxiter - limits.first} in this call, {k} in all); "
        f"{name} = {size:.3g} > {words['gtol']} = {limits.gtol:.3g}. Raise "
        f"{words['maxiter']}{words.go_on}."
    )


def _by_differences(
    iterate: Iterate, limits: Limits, told: Resolution, name: str
) -> tuple[Status, str]:
    """Return what a small gradient by differences means."""
    whole, gtol = gradient_measure(iterate, limits.order), limits.words["gtol"]
    known = f"{told.source} resolve it to {told.error:.2g}"
    if not told.trusted(limits.gtol, limits.measure0):
        return Status.PRECISION, (
            f"{name} = {whole:.3g}, but {known} alone, far above {gtol} = {limits.gtol:.3g}: it "
            "says nothing. Leave out jac, eps and finite_diff_rel_step for steps that are chosen "
            "by the noise and the curvature of fun, or pass jac."
        )
    if whole <= limits.gtol:
        return Status.CONVERGED, (
            f"Optimization terminated successfully: {name} = {whole:.3g} <= {gtol} = "
            f"{limits.gtol:.3g} ({known})"
        )
    return Status.CONVERGED, (
        f"Optimization terminated successfully: {name} = {whole:.3g} is zero as far as differences "
        f"tell ({known}; {gtol} = {limits.gtol:.3g} is below that)"
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
    iterate: Iterate, limits: Limits, reason: str, told: Resolution | None = None
) -> str:
    """Say why no progress is possible, with the numbers and what to try."""
    size = gradient_measure(iterate, limits.order)
    eps, gtol = eps_of(iterate.x), limits.words["gtol"]
    hint = "check the gradient with scipy.optimize.check_grad"
    if told is not None:
        hint = f"pass jac: {told.source} resolve the gradient to {told.error:.2g} here, no further"
    elif eps > 1e-10:
        hint = f"x0 is float32: pass float64, or {gtol}=1e-3"
    elif size < 1e3 * limits.gtol:
        hint = f"f resolves about {eps * max(abs(iterate.f), 1e-300):.1g} here: raise {gtol}"
    return (
        f"No further decrease is possible at this precision: {reason}; gradient norm {size:.3g} > "
        f"{gtol} = {limits.gtol:.3g}. If that is not small enough, {hint}."
    )

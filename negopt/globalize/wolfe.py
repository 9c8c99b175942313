"""Wolfe line search with positive and negative steps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from negopt import kernels
from negopt._array import (
    Array,
    as_vector,
    convert_like,
    dot,
    eps_of,
    namespace_of,
    norm,
    scalars,
)
from negopt._options import check_choice, check_integer, check_number
from negopt._types import Iterate, Oracle, Outcome, StepRule, saved
from negopt.globalize.ratio import moves

__all__ = ["SearchLength", "WolfeSearch", "line_search_wolfe_pm"]


def signed_search(
    evaluate: Callable[[float, float], tuple[float, float]],
    f0: float,
    slope: float,
    first: float,
    *,
    c1: float,
    c2: float,
    strong: bool,
    noise: float,
    limit: int,
    alpha_max: float,
) -> tuple[int, float]:
    """Search along ``sign(-slope) d`` and return (task, signed step).

    All conditions mirror exactly, so the kernel only ever sees a descent direction;
    `evaluate` receives the signed step, and the best one so far (0 for none: all others
    may be forgotten), and returns ``f(x + a d)`` and ``g(x + a d)'d``.
    """
    sign = -1.0 if slope > 0.0 else 1.0
    work = np.zeros(kernels.SEARCH_WORK)
    kernels.search_start(work, f0, -abs(slope), first, c1, c2, strong, noise, limit, alpha_max)
    task = kernels.EVALUATE
    while task == kernels.EVALUATE:
        f, d = evaluate(sign * float(work[kernels.ALPHA]), sign * float(work[kernels.BEST]))
        task = kernels.search_step(work, f, sign * d)
    at = kernels.ALPHA if task == kernels.WOLFE else kernels.BEST
    return int(task), sign * float(work[at])


@saved
@dataclass(slots=True)
class SearchLength:
    """State: the length of the last step (0 before the first) and the lowest f."""

    length: float = 0.0
    lowest: float = field(default=math.inf, metadata={"value": True})


@dataclass(frozen=True)
class WolfeSearch:
    """Line search along d when it descends, along -d when it ascends.

    Parameters
    ----------
    c1, c2 : float, default 1e-4, 0.9
        Sufficient decrease and curvature constants, ``0 < c1 < c2 < 1``.
    wolfe : {"weak", "strong"}, default "weak"
    maxls : int, default 30
        Most evaluations in one search.
    expand : float, default 10.0
        The first trial is at most this many times the last step's length: a nearly
        singular model proposes huge steps.

    Notes
    -----
    1. The first trial of a run has length 1 at most, later ones at most ``expand`` times
       that of the last step, in the units that the step is measured in.
    2. A non-finite trial shrinks the step tenfold; where f only changes by rounding,
       Hager and Zhang's approximate condition decides.
    3. When the conditions cannot be met, the best point with sufficient decrease is
       taken; when there is none the search has failed.

    **Guarantee**: unless the limits of point 3 were hit, an accepted signed step a satisfies
    ``f(x + a d) <= f + c1 a g'd`` (or the approximate condition) and ``g(x + a d)'d`` the
    curvature condition of the mirrored problem (``tests/guarantees/test_wolfe.py``).

    References
    ----------
    Lewis and Overton (2013), Mathematical Programming 141, 135-163,
    doi:10.1007/s10107-012-0514-2.  Hager and Zhang (2005), SIAM J. Optim. 16,
    170-192, doi:10.1137/030601880.
    """

    c1: float = field(default=1e-4, metadata={"doc": "sufficient decrease constant"})
    c2: float = field(default=0.9, metadata={"doc": "curvature constant"})
    wolfe: str = field(default="weak", metadata={"doc": "'weak' or 'strong' conditions"})
    maxls: int = field(default=30, metadata={"doc": "most evaluations in one search"})
    expand: float = field(default=10.0, metadata={"doc": "growth of the first trial's length"})

    def __post_init__(self) -> None:
        check_number("c1", self.c1, 0.0, 1.0, open_low=True, open_high=True)
        check_number("c2", self.c2, 0.0, 1.0, open_low=True, open_high=True)
        if not self.c1 < self.c2:
            raise ValueError(f"'c1' and 'c2' do not satisfy 0 < c1 < c2 < 1: {self.c1}, {self.c2}.")
        check_choice("wolfe", self.wolfe, ("weak", "strong"))
        check_integer("maxls", self.maxls)
        check_number("expand", self.expand, 1.0, open_low=True)

    #: Why a search is stuck.
    NOT_MOVED: ClassVar[str] = "the step no longer changes x"

    @staticmethod
    def no_decrease(trials: int) -> str:
        """Say that a search has failed."""
        return f"the line search found no decrease in {trials} evaluations"

    def init(self, iterate: Iterate) -> SearchLength:
        """Return the state before the first search."""
        return SearchLength()

    def escaped(self, state: SearchLength, iterate: Iterate, distance: float) -> None:
        """Let the next search reach at least as far as the escape."""
        state.length = max(state.length, distance)

    def advance(
        self,
        state: SearchLength,
        objective: Oracle,
        iterate: Iterate,
        operator: Any,
        step_rule: StepRule,
        rng: Generator,
    ) -> Outcome:
        """Search along the proposed direction."""
        step = step_rule.propose(iterate, operator, None, rng)
        d = step.s
        state.lowest = min(state.lowest, iterate.f)
        reach = self.expand * state.length if state.length > 0.0 else 1.0
        first = min(1.0, reach / step.norm)
        out = Outcome()
        trials: dict[float, Iterate] = {}
        known = {0.0: (math.inf, math.nan)}  # x itself is no trial
        near = 1e-8 * (iterate.xnorm if math.isfinite(iterate.xnorm) else norm(iterate.x))
        xp = namespace_of(d)

        def evaluate(alpha: float, best: float) -> tuple[float, float]:
            x = iterate.x + alpha * d
            for twin, value in known.items():
                if abs(twin - alpha) * step.length > near or bool(
                    xp.any(x != iterate.x + twin * d)
                ):
                    continue
                # x cannot resolve the two steps: the value is known already.
                if twin in trials:
                    trials[alpha] = trials[twin]
                return value
            trial = objective.at(x)
            out.trials += 1
            out.trial, out.valid = trial, trial.finite
            if not trial.finite:
                known[alpha] = math.inf, math.nan
                return known[alpha]
            for old in [a for a in trials if a != best]:
                del trials[old]
            trials[alpha] = trial
            known[alpha] = trial.f, scalars(dot(trial.g, d))[0]
            return known[alpha]

        task, alpha = signed_search(
            evaluate,
            iterate.f,
            step.slope,
            first,
            c1=self.c1,
            c2=self.c2,
            strong=self.wolfe == "strong",
            # Within rounding of the lowest value, lest f creep up on a wrong gradient's word.
            noise=max(_noise(iterate.x, iterate.f) - (iterate.f - state.lowest), 0.0),
            limit=self.maxls,
            alpha_max=1e20,
        )
        if task == kernels.FAILED or alpha not in trials:
            out.stuck = True
            out.reason = self.no_decrease(out.trials)
            return out
        trial = trials[alpha]
        out.trial, out.s, out.valid, out.accepted = trial, trial.x - iterate.x, True, True
        out.step_size = alpha
        state.length = abs(alpha) * step.norm
        out.step_norm = abs(alpha) * step.length
        if not moves(iterate, out.s, out.step_norm):
            out.accepted, out.stuck = False, True
            out.reason = self.NOT_MOVED
        return out


def _noise(x: Array, f: float) -> float:
    """Return the change of f below which only slopes are trusted (1e-13 |f| in float64)."""
    eps = eps_of(x)
    return (450.0 if eps < 1e-10 else 80.0) * eps * abs(f)


def line_search_wolfe_pm(
    f: Callable[..., float],
    myfprime: Callable[..., Array],
    xk: Array,
    pk: Array,
    gfk: Array | None = None,
    old_fval: float | None = None,
    old_old_fval: float | None = None,
    args: tuple[Any, ...] = (),
    c1: float = 1e-4,
    c2: float = 0.9,
    amax: float | None = None,
    extra_condition: Callable[[float, Array, float, Array], bool] | None = None,
    maxiter: int = 30,
    *,
    strong: bool = True,
) -> tuple[float | None, int, int, float | None, float, float | None]:
    """Find a signed step that satisfies the strong (or weak) Wolfe conditions.

    The signature is that of `scipy.optimize.line_search`; `pk` may be an ascent
    direction, and then the returned step is negative.

    Parameters
    ----------
    f, myfprime : callable
        Objective ``f(x, *args)`` and its gradient.
    xk, pk : array, shape (n,)
        Point and direction, of any supported array library.
    gfk : array, shape (n,), optional
        Gradient at `xk`; evaluated when not given.
    old_fval, old_old_fval : float, optional
        Values at `xk` and at the point before it; the latter gives the first trial.
    args : tuple, optional
        Extra arguments of `f` and `myfprime`.
    c1, c2 : float, default 1e-4, 0.9
        ``0 < c1 < c2 < 1``.
    amax : float, optional
        Largest absolute step.
    extra_condition : callable, optional
        ``extra_condition(alpha, x, f, g) -> bool`` must hold too; when it does not, the
        search gives up and returns None.
    maxiter : int, default 30
        Most trial steps.
    strong : bool, default True
        Ask for ``|g(x + a p)'p| <= c2 |g'p|``; False asks for the weak condition.

    Returns
    -------
    alpha : float or None
        Signed step, None when the conditions could not be met.
    fc, gc : int
        Evaluations of f and of the gradient.
    new_fval : float or None
        ``f(xk + alpha pk)``.
    old_fval : float
        ``f(xk)``.
    new_slope : float or None
        ``myfprime(xk + alpha pk)'pk`` (the slope, as SciPy returns it).

    Raises
    ------
    ValueError
        Constants out of range, shapes that differ, a zero slope, or a value or slope
        at `xk` that is not finite.

    Notes
    -----
    For an ascent direction all conditions are those of ``-pk`` with step ``-alpha``:
    ``f(x + a p) <= f(x) + c1 a g'p`` and, in the weak form, ``g(x + a p)'p <= c2 g'p``.

    **Guarantee**: the conditions hold for the returned step
    (``tests/guarantees/test_wolfe.py``).

    References
    ----------
    Wolfe (1969), SIAM Review 11, 226-235, doi:10.1137/1011036.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt import line_search_wolfe_pm
    >>> f, g = lambda x: float(x @ x), lambda x: 2 * x
    >>> alpha, *_ = line_search_wolfe_pm(f, g, np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    >>> round(alpha, 12)
    -1.0
    """
    if not 0.0 < c1 < c2 < 1.0:
        raise ValueError(f"'c1' and 'c2' do not satisfy 0 < c1 < c2 < 1: c1={c1!r}, c2={c2!r}.")
    x = as_vector(xk)
    p = convert_like(pk, x, "pk")
    if p.shape != x.shape:
        raise ValueError(f"pk has shape {tuple(p.shape)} but xk has {tuple(x.shape)}.")
    counts = [0, 0]

    def value(at: Array) -> float:
        counts[0] += 1
        return scalars(f(at, *args))[0]

    def gradient(at: Array) -> Array:
        counts[1] += 1
        return convert_like(myfprime(at, *args), x, "myfprime")

    f0 = value(x) if old_fval is None else float(old_fval)
    g0 = gradient(x) if gfk is None else convert_like(gfk, x, "gfk")
    slope = scalars(dot(g0, p))[0]
    if not (math.isfinite(f0) and math.isfinite(slope)):
        raise ValueError(f"f={f0!r} and slope g'p={slope!r} at xk must be finite.")
    if slope == 0.0:
        raise ValueError("the slope g'p at xk is zero: pk neither descends nor ascends.")
    first = 1.0
    if old_old_fval is not None and old_old_fval > f0:
        first = min(1.0, 1.01 * 2.0 * (float(old_old_fval) - f0) / abs(slope))
    seen: dict[float, tuple[float, float, Array, Array]] = {}

    def evaluate(alpha: float, _best: float) -> tuple[float, float]:
        at = x + alpha * p
        fa = value(at)
        if not math.isfinite(fa):
            return math.inf, math.nan
        ga = gradient(at)
        da = scalars(dot(ga, p))[0]
        seen.clear()
        seen[alpha] = (fa, da, at, ga)
        return fa, da

    task, alpha = signed_search(
        evaluate,
        f0,
        slope,
        first,
        c1=c1,
        c2=c2,
        strong=strong,
        noise=_noise(x, f0),
        limit=maxiter,
        alpha_max=1e20 if amax is None else float(amax),
    )
    if task == kernels.WOLFE:
        fa, da, at, ga = seen[alpha]
        if extra_condition is None or extra_condition(alpha, at, fa, ga):
            return alpha, counts[0], counts[1], fa, f0, da
    warnings.warn(
        f"The Wolfe conditions were not met in {maxiter} trial steps; "
        "raise maxiter or check the gradient.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None, counts[0], counts[1], None, f0, None

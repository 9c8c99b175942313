"""Wolfe line search with positive and negative steps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scipy.linalg.blas import ddot

from negopt.core.arrays import (
    EPS,
    Array,
    as_vector,
    convert_like,
    copy_of,
    eps_of,
    inner,
    is_plain,
    namespace_of,
    norm,
    scalars,
)
from negopt.core.checks import NONNEGATIVE
from negopt.core.options import check_choice, check_integer, check_number, option
from negopt.core.protocols import M, Oracle, StepRule
from negopt.core.types import Iterate, Outcome, saved
from negopt.decisions import pairs
from negopt.decisions.search import (
    ALPHA,
    BEST,
    ENDLESS,
    EVALUATE,
    SEARCH_WORK,
    WOLFE,
    is_wolfe,
    search_start,
    search_step,
)
from negopt.globalize.ratio import moves
from negopt.vectors.primitives import add_scaled

#: Most times that a first trial is exceeded: where f still falls in proportion, it has no minimum.
FARTHEST = 1e15


@saved
@dataclass(slots=True)
class SearchLength:
    """State: the length of the last step (0 before the first) and the lowest f."""

    length: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    lowest: float = field(default=math.inf, metadata={"value": True})


@dataclass(frozen=True)
class WolfeSearch:
    """Line search along d when it descends, along -d when it ascends.

    Parameters
    ----------
    c1, c2 : float, default 1e-4, 0.9
        Sufficient decrease and curvature constants, ``0 < c1 < c2 < 1``.
    wolfe : {"weak", "strong"}, default "weak"
    maxls : int, default 20
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
    4. Where f still falls at 1e15 times the direction it is unbounded below.

    **Guarantee**: unless the limits of point 3 were hit, an accepted signed step a satisfies
    ``f(x + a d) <= f + c1 a g'd`` (or the approximate condition) and ``g(x + a d)'d`` the
    curvature condition of the mirrored problem (``tests/guarantees/test_wolfe.py``).

    References
    ----------
    Lewis and Overton (2013), Mathematical Programming 141, 135-163,
    doi:10.1007/s10107-012-0514-2.  Hager and Zhang (2005), SIAM J. Optim. 16,
    170-192, doi:10.1137/030601880.
    """

    c1: float = option(1e-4, "sufficient decrease constant")
    c2: float = option(0.9, "curvature constant")
    wolfe: str = option("weak", "'weak' or 'strong' conditions")
    maxls: int = option(20, "most evaluations in one search")
    expand: float = option(10.0, "growth of the first trial's length")

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
        operator: M,
        step_rule: StepRule[M],
    ) -> Outcome:
        """Search along the proposed direction."""
        step = step_rule.propose(iterate, operator, None)
        out = Outcome(start=iterate, step=step)
        x, f, d, length = iterate.x, iterate.f, step.s, step.length
        plain = is_plain(x)
        xnorm = iterate.xnorm if iterate.xnorm < math.inf else norm(x)
        lowest = min(state.lowest, f)
        # All conditions mirror: the search only ever sees a direction of descent.
        sign = -1.0 if step.slope > 0.0 else 1.0
        d0, c1, c2, strong = -abs(step.slope), self.c1, self.c2, self.wolfe == "strong"
        size = pairs.first_trial(step.norm, state.length, self.expand)
        noise = pairs.search_noise(f, lowest, EPS if plain else eps_of(x))
        w: list[float] = []
        tried = [(0.0, math.inf, math.nan)]  # x itself is no trial
        points: dict[float, Iterate] = {}  # the best so far and the last
        task = EVALUATE
        while task == EVALUATE:
            alpha = sign * size
            at = moved(x, alpha, d)
            for twin, value, slope in tried:
                if pairs.is_unresolved(abs(twin - alpha) * length, xnorm) and _is_at(
                    at, x, twin, d
                ):  # x cannot resolve the two steps: the value is known already
                    if twin in points:
                        points[alpha] = points[twin]
                    elif out.trials == 0:  # too short: a first trial may go further
                        value, slope = f, step.slope
                    break
            else:
                out.trial = trial = objective.at(at)
                out.trials += 1
                out.valid = trial.finite
                value, slope = math.inf, math.nan
                if out.valid:
                    value = trial.f
                    slope = ddot(trial.g, d) if plain else inner(trial.g, d)
                    if points:
                        best = sign * w[BEST]
                        points = {a: p for a, p in points.items() if a == best}
                    points[alpha] = trial
                tried.append((alpha, value, slope))
            if not w:
                if is_wolfe(value, sign * slope, size, f, d0, c1, c2, strong, noise):
                    break
                w = [0.0] * SEARCH_WORK
                search_start(w, f, d0, size, c1, c2, strong, noise, self.maxls, FARTHEST)
            task = search_step(w, value, sign * slope)
            size = w[ALPHA] if task in (EVALUATE, WOLFE) else w[BEST]
        state.lowest = lowest
        found = points.get(sign * size)
        out.endless = task == ENDLESS
        if found is None:
            out.stuck = True
            out.endless = out.trial is not None and out.trial.f == -math.inf
            out.reason = self.no_decrease(out.trials)
            return out
        out.trial = found
        out.s = found.x - x
        out.valid = out.accepted = True
        out.step_size = sign * size
        out.step_norm = size * length
        state.length = size * step.norm
        if not moves(iterate, out.s, out.step_norm):
            out.accepted, out.stuck = False, True
            out.reason = self.NOT_MOVED
        return out


def moved(x: Array, alpha: float, d: Array) -> Array:
    """Return ``x + alpha d``."""
    if is_plain(x):
        at = alpha * d
        at += x
        return at
    return add_scaled(copy_of(x), alpha, d)


def _is_at(at: Array, x: Array, alpha: float, d: Array) -> bool:
    """Tell whether ``x + alpha d`` is the point `at`."""
    return not bool(namespace_of(x).any(at != moved(x, alpha, d)))


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
    slope = inner(g0, p)
    if not (math.isfinite(f0) and math.isfinite(slope)):
        raise ValueError(f"f={f0!r} and slope g'p={slope!r} at xk must be finite.")
    if slope == 0.0:
        raise ValueError("the slope g'p at xk is zero: pk neither descends nor ascends.")
    first = 1.0
    if old_old_fval is not None and old_old_fval > f0:
        first = min(1.0, 1.01 * 2.0 * (float(old_old_fval) - f0) / abs(slope))
    sign = -1.0 if slope > 0.0 else 1.0
    noise, alpha_max = pairs.search_noise(f0, f0, eps_of(x)), 1e20 if amax is None else float(amax)
    w = [0.0] * SEARCH_WORK
    search_start(w, f0, -abs(slope), first, c1, c2, strong, noise, maxiter, alpha_max)
    task = EVALUATE
    while task == EVALUATE:
        alpha = sign * w[ALPHA]
        at = x + alpha * p
        fa, da = value(at), math.nan
        if math.isfinite(fa):
            ga = gradient(at)
            da = inner(ga, p)
        task = search_step(w, fa, sign * da)
    if task == WOLFE and (extra_condition is None or extra_condition(alpha, at, fa, ga)):
        return alpha, counts[0], counts[1], fa, f0, da
    warnings.warn(
        f"The Wolfe conditions were not met in {maxiter} trial steps; "
        "raise maxiter or check the gradient.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None, counts[0], counts[1], None, f0, None

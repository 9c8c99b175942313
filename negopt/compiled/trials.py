"""The search of the compiled loop: its trials, and the figures of points."""

from __future__ import annotations

import math

from negopt.compiled import layout as k
from negopt.compiled import linear
from negopt.compiled._build import plain
from negopt.decisions import pairs as p
from negopt.decisions import search as s
from negopt.globalize.wolfe import FARTHEST


@plain
def free_point(w: k.Work) -> int:
    """Return a point that nothing refers to."""
    ints = w.ints
    for i in range(k.POINTS):
        if i != ints[k.ITERATE] and i != ints[k.BEST] and i != ints[k.KEPT]:
            return i
    return -1


@plain
def weigh(w: k.Work, point: int, f: float) -> float:
    """Write the figures of a point that was evaluated; return the slope along the direction.

    It is kept as the best one if it is the lowest so far.
    """
    figures, ints = w.figures, w.ints
    x, g = w.vectors[2 * point], w.vectors[2 * point + 1]
    gg, slope, xx = linear.sums(x, g, w.vectors[k.D])
    gmax = math.nan if math.isnan(gg) else linear.largest(g)
    gnorm = math.sqrt(gg)
    if not 1e-280 < gg < math.inf:
        gnorm = linear.scaled_norm(g, gmax) if 0.0 < gmax < math.inf else gmax
    figures[point, k.F] = f
    figures[point, k.GNORM] = gnorm
    figures[point, k.GMAX] = gmax
    figures[point, k.XNORM] = math.sqrt(xx)
    figures[point, k.SIZE] = gnorm if ints[k.EUCLIDEAN] == 1 else gmax
    ints[k.FINITE] = 0
    if not (math.isfinite(f) and math.isfinite(gmax)):
        ints[k.NONFINITE] += 1
        return math.nan
    ints[k.FINITE] = 1
    best = ints[k.BEST]
    if f < figures[best, k.F] or (f == figures[best, k.F] and gmax < figures[best, k.GMAX]):
        ints[k.BEST] = point
    return slope


@plain
def begin_search(w: k.Work) -> None:
    """Start a search along the direction, or along -g where it is none.

    One that is orthogonal to g is tilted, as `negopt.steps.signed.Signed.propose` does.
    """
    ints, reals, units = w.ints, w.reals, w.vectors[k.D if w.ints[k.PAIRS] > 0 else k.U]
    here, in_units = ints[k.ITERATE], ints[k.UNITS] == 1
    g, d = w.vectors[2 * here + 1], w.vectors[k.D]
    gnorm, angle = w.figures[here, k.GNORM], reals[k.ANGLE]
    slope, square, inside = linear.direction_sums(g, d, units, in_units)
    if not p.is_direction(slope, square, inside):
        linear.scale_to(-1.0, g, d)
        slope, square, inside = linear.direction_sums(g, d, units, in_units)
        if not p.is_direction(slope, square, inside):
            slope, square, inside = -gnorm * gnorm, gnorm * gnorm, gnorm * gnorm
    elif p.is_orthogonal(slope, gnorm, math.sqrt(square), angle):
        if slope > 0.0:
            linear.scale_to(-1.0, d, d)
        tilt = p.tilt(gnorm, math.sqrt(square), angle)
        linear.add_to(d, -tilt, g, d)
        tilted = linear.direction_sums(g, d, units, in_units)
        if p.is_direction(tilted[0], tilted[1], tilted[2]):
            slope, square, inside = tilted
        else:
            linear.add_to(d, tilt, g, d)
            slope = -abs(slope)
    reals[k.NORM], reals[k.LENGTH] = math.sqrt(inside), math.sqrt(square)
    ints[k.NEGATED] = 1 if slope > 0.0 else 0
    f = w.figures[here, k.F]
    c1, c2, strong, most = reals[k.C1], reals[k.C2], ints[k.STRONG] == 1, ints[k.MAXLS]
    first = p.first_trial(reals[k.NORM], reals[k.LAST_LENGTH], reals[k.EXPAND])
    noise = p.search_noise(f, min(reals[k.LOWEST], f), linear.EPS)
    s.search_start(reals, f, -abs(slope), first, c1, c2, strong, noise, most, FARTHEST)
    ints[k.TRIALS] = 0
    ints[k.KEPT] = -1
    ints[k.FINITE] = 1


@plain
def form_trial(w: k.Work) -> int:
    """Form the trial that the search asks for; ``EVALUATE``, or how the search has ended.

    A step that x cannot resolve from an end of the bracket has the value of that one.
    """
    ints, reals, v, here = w.ints, w.reals, w.vectors, w.ints[k.ITERATE]
    x, d, xnorm = v[2 * here], v[k.D], w.figures[here, k.XNORM]
    sign = -1.0 if ints[k.NEGATED] == 1 else 1.0
    while True:
        alpha = reals[s.ALPHA]
        trial = free_point(w)
        z = v[2 * trial]
        linear.add_to(x, sign * alpha, d, z)
        twin = -1
        for end in range(s.LO, s.HI + 1, s.HI - s.LO):
            near = p.is_unresolved(abs(reals[end] - alpha) * reals[k.LENGTH], xnorm)
            if near and linear.is_at(x, sign * reals[end], d, z):
                twin = end
        if twin < 0:
            ints[k.TRIAL] = trial
            w.figures[trial, k.STEP_OF] = alpha
            return s.EVALUATE
        value, slope = reals[twin + 1], reals[twin + 2]
        if reals[twin] == 0.0 and ints[k.TRIALS] > 0:  # x itself is no trial
            value, slope = math.inf, math.nan
        task = s.search_step(reals, value, slope)
        if task != s.EVALUATE:
            return task


@plain
def judge_trial(w: k.Work, slope: float) -> int:
    """Hand the trial's value and slope to the search; what it says."""
    ints, reals, trial = w.ints, w.reals, w.ints[k.TRIAL]
    ints[k.TRIALS] += 1
    alpha, finite = reals[s.ALPHA], ints[k.FINITE] == 1
    value = w.figures[trial, k.F] if finite else math.inf
    task = s.search_step(reals, value, -slope if ints[k.NEGATED] == 1 else slope)
    if finite and task == s.EVALUATE and reals[s.BEST] == alpha:
        ints[k.KEPT] = trial
    return task

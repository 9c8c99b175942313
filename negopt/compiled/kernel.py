"""The compiled loop: a jitted objective and a quasi-Newton method, without Python in between.

It serves `lbfgs-wolfe` and `dqn-wolfe-pm`, one problem or many.  All that decides is imported from
`negopt.decisions`, as the array code runs it; here are the loop itself, and what moves vectors.
One evaluation is made in a turn of the loop, so that it can stop before any of them and go on
from there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from negopt.compiled import linear
from negopt.compiled._build import Kernel, part, plain
from negopt.compiled.jitted import (
    GRADIENT_ONLY,
    GRADIENTS,
    HALT,
    HEAD,
    OK,
    ROW,
    STATUS,
    VALUES,
    call,
)
from negopt.compiled.linear import EPS, Floats
from negopt.decisions import endings as e
from negopt.decisions import pairs as p
from negopt.decisions import search as s

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Work(NamedTuple):
    """What a run works in.

    Attributes
    ----------
    vectors : array, shape (8 + e, n)
        Row 2i is x and row 2i+1 is g of point i (the iterate, the trial, the search's best, the
        run's best, in any order); then by the names below, and from row ``ints[HESSIAN]`` on
        three matrices of the second-order check: H, its eigenvalues, its eigenvectors.
    store : array, shape (2m, n) or (3n, n)
        Stored pairs, as in `negopt.models.pair_memory.PairMemory`; or three matrices: what the
        pairs contributed to BFGS, what they left of its first matrix, and SR1.
    gram : array, shape (2m + 4, 2m)
        Products of the rows; then by the names below.
    figures : array, shape (4, 5)
        Of each point.
    reals, ints : array
        Single figures, the first ones those of `negopt.decisions.search`.
    """

    vectors: Floats
    store: Floats
    gram: Floats
    figures: Floats
    reals: Floats
    ints: Ints


class Batch(NamedTuple):
    """Problems of a batch, one a row.

    Attributes
    ----------
    fresh, fresh_ints : array
        What `reals` and `ints` of each begin with.
    x : array, shape (k, n)
        Starts, and ends.
    f, g : array, shape (k,), (k, n)
    begun : array, shape (k, 2)
        Values at the start, and the bounds on the gradient.
    status : array, shape (k,)
        Why it is over, as in `negopt.decisions.endings`; 0 is left for `minimize`.
    counts : array, shape (k, 4)
        Iterations, evaluations of f and of g, kind of the curvature.
    lowest : array, shape (k,)
        Smallest curvature.
    """

    fresh: Floats
    fresh_ints: Ints
    x: Floats
    f: Floats
    g: Floats
    begun: Floats
    status: Ints
    counts: Ints
    lowest: Floats


# fmt: off
# Columns of `figures`; the step that led to a point in this search.
F, GNORM, GMAX, XNORM, STEP_OF = range(5)
POINTS, FIGURES = 4, 5
# Rows of `vectors` behind the points: the direction; scratch of the dense model, and its units.
D, S, Y, A, B, U = range(2 * POINTS, 2 * POINTS + 6)
# Rows of `gram` behind the products of the rows: those with the newest s and y, and with the
# gradient; weights of the rows.
WITH_S, WITH_Y, WITH_G, WEIGHTS = range(4)
# Matrices in `store`.
BFGS, REST, SR1 = range(3)

# Names in `ints`.  Points (KEPT is the search's best, -1 for none); the iteration, whose search
# runs along -d where it is NEGATED; an iterate that has not been judged is NEW; counts.  Limits and
# rules (PAIRS is 0 for the dense model; EUCLIDEAN: the norm of the gradient, not its largest entry;
# CHECK: minima are checked here).  Memory (the next pair goes to slot ``STORED % PAIRS``, products
# of NEWEST are not known yet).  The column of the HESSIAN to be formed next, and its first row.
(PHASE, ITERATE, BEST, TRIAL, KEPT, K, TRIALS, ACCEPTED, FINITE, NEGATED, NEW, REJECTED, NONFINITE,
 SKIPPED, NEGATIVE, STALLED, RESETS, PAUSE_AT, MAXITER, PAIRS, EUCLIDEAN, STRONG, MAXLS, AUTO_UNITS,
 DESCENT, CHECK, STORED, NEWEST, HAS_BFGS, HAS_SR1, UNITS, COLUMN, HESSIAN) = range(33)
INTS = 33

# Names in `reals`, behind those of the search.  Limits (BOTTOM stands for minus infinity); rules
# (SKIP is that of L-BFGS or SR1; DIFFERENCE the step and NOISE the error of a Hessian product); the
# iteration (LENGTH of the direction is Euclidean, NORM in its own norm); curvatures.
(GTOL, GRTOL, FTARGET, BOTTOM, C1, C2, EXPAND, ANGLE, SKIP, SKIP_BFGS, DIFFERENCE, NOISE, GAMMA,
 LAST_LENGTH, LOWEST, STALLED_GMAX, BEST_BEFORE, SLOPE, LENGTH, NORM, STEP_SIZE, STEP_NORM,
 SMALLEST, GREATEST) = range(s.SEARCH_WORK, s.SEARCH_WORK + 24)
REALS = s.SEARCH_WORK + 24

# Phases: the iterate's figures are to be formed; its products with the rows; a direction is
# wanted; the trial waits for its values; a column of the Hessian does.
START, ARRIVED, READY, SEARCHING, CHECKING = range(5)

# What the loop says.  SPENT: the next evaluation is not allowed.  RAISED: the objective
# raised or gave a gradient of the wrong length.  UNCERTAIN: the check found no minimum, or could
# not be made; what it has formed of the Hessian is there, COLUMN columns of it.
(GO, PAUSE, SPENT, RAISED, STOP, CHECK_IT, CERTAIN, UNCERTAIN, GAVE_UP, SEARCH_FAILED,
 NOT_MOVED) = range(11)

# Columns of the counts.
NIT, NFEV, NJEV, KIND = range(4)
# fmt: on


# --- points --------------------------------------------------------------------------------------


@part
def size_of(w: Work, point: int) -> float:
    """Return the norm of the gradient that is compared with gtol."""
    return w.figures[point, GNORM if w.ints[EUCLIDEAN] == 1 else GMAX]  # type: ignore[no-any-return]


@plain
def free_point(w: Work) -> int:
    """Return a point that nothing refers to."""
    ints = w.ints
    for i in range(POINTS):
        if i != ints[ITERATE] and i != ints[BEST] and i != ints[KEPT]:
            return i
    return -1


@plain
def weigh(w: Work, point: int, f: float) -> float:
    """Write the figures of a point that was evaluated; return the slope along the direction.

    It is kept as the best one if it is the lowest so far.
    """
    figures, ints = w.figures, w.ints
    x, g = w.vectors[2 * point], w.vectors[2 * point + 1]
    gg, slope, xx = linear.sums(x, g, w.vectors[D])
    gmax = math.nan if math.isnan(gg) else linear.largest(g)
    gnorm = math.sqrt(gg)
    if not 1e-280 < gg < math.inf:
        gnorm = linear.scaled_norm(g, gmax) if 0.0 < gmax < math.inf else gmax
    figures[point, F] = f
    figures[point, GNORM] = gnorm
    figures[point, GMAX] = gmax
    figures[point, XNORM] = math.sqrt(xx)
    ints[FINITE] = 0
    if not (math.isfinite(f) and math.isfinite(gmax)):
        ints[NONFINITE] += 1
        return math.nan
    ints[FINITE] = 1
    best = ints[BEST]
    if f < figures[best, F] or (f == figures[best, F] and gmax < figures[best, GMAX]):
        ints[BEST] = point
    return slope


# --- models --------------------------------------------------------------------------------------


@plain
def learn_rows(w: Work, here: int, new: int) -> bool:
    """Store the pair of two points in place of the oldest; tell whether it was usable."""
    ints, v = w.ints, w.vectors
    x_new, x, g_new, g = v[2 * new], v[2 * here], v[2 * new + 1], v[2 * here + 1]
    ss, yy, sy = linear.pair_sums(x_new, x, g_new, g)
    if not (p.is_storable(ss, yy, sy) and p.is_positive(ss, yy, sy, w.reals[SKIP])):
        return False
    m = ints[PAIRS]
    slot = ints[STORED] % m
    factor = p.balance(sy)
    linear.subtract(x_new, x, factor, w.store[slot])
    linear.subtract(g_new, g, factor, w.store[m + slot])
    ints[STORED] += 1
    ints[NEWEST] = slot
    return True


@plain
def multiply(w: Work) -> None:
    """Form the products of the stored rows with the newest pair and the gradient at the iterate."""
    ints, gram = w.ints, w.gram
    m, slot = ints[PAIRS], ints[NEWEST]
    last, at = 2 * m, max(slot, 0)
    g = w.vectors[2 * ints[ITERATE] + 1]
    linear.multiply_rows(w.store, min(ints[STORED], m), at, g, gram)
    if slot >= 0:
        for r in range(last):
            gram[r, slot] = gram[last + WITH_S, r]
            gram[slot, r] = gram[last + WITH_S, r]
            gram[r, m + slot] = gram[last + WITH_Y, r]
            gram[m + slot, r] = gram[last + WITH_Y, r]
    ints[NEWEST] = -1


@plain
def aim_rows(w: Work) -> None:
    """Write the direction of L-BFGS."""
    ints, m = w.ints, w.ints[PAIRS]
    here = ints[ITERATE]
    g, d = w.vectors[2 * here + 1], w.vectors[D]
    count = min(ints[STORED], m)
    if count == 0:
        linear.scale_to(-p.unit_scale(w.figures[here, GNORM]), g, d)
        return
    gram, newest = w.gram, (ints[STORED] - 1) % m
    scale = p.bfgs_scale(gram[m + newest, m + newest], gram[newest, m + newest])
    products, weights = gram[2 * m + WITH_G], gram[2 * m + WEIGHTS]
    for r in range(2 * m):
        products[r] = -products[r]
    linear.two_loops(gram, newest, count, scale, products, weights)
    linear.combine_rows(w.store, count, weights, -scale, g, d)


@plain
def learn_dense(w: Work, here: int, new: int) -> bool:
    """Update both models by the pair of two points; tell whether one changed."""
    ints, reals, v = w.ints, w.reals, w.vectors
    n, step, y, r, units = v.shape[1], v[S], v[Y], v[A], v[U]
    one = 1.0
    linear.subtract(v[2 * new], v[2 * here], one, step)
    linear.subtract(v[2 * new + 1], v[2 * here + 1], one, y)
    in_units = ints[UNITS] == 1
    sy, ss, inside_ss = linear.direction_sums(y, step, units, in_units)
    yy = linear.dot(y, y)
    inside_yy = linear.square_in(y, units) if in_units else yy
    if not (p.is_usable(ss, yy, sy) and p.is_usable(inside_ss, inside_yy, sy)):
        return False
    kept = False
    if p.is_positive(ss, yy, sy, reals[SKIP_BFGS]):
        for i in range(2):
            if ints[HAS_BFGS] == 0:
                linear.set_diagonal(w.store, i * n, float(i), units, in_units)
            linear.bfgs_update(w.store, i * n, step, y, sy, 1.0 - i, r)
        ints[HAS_BFGS] = 1
        reals[GAMMA] = p.bfgs_scale(inside_yy, sy)
        kept = True
    if ints[HAS_SR1] == 0:
        linear.set_diagonal(
            w.store, SR1 * n, p.sr1_scale(inside_ss, inside_yy, sy), units, in_units
        )
        ints[HAS_SR1] = 1
    linear.image(w.store, SR1 * n, y, r)
    linear.subtract(step, r, one, r)
    rr, ry = linear.dot(r, r), linear.dot(r, y)
    if not p.takes_sr1(rr, ry, yy, reals[SKIP], p.RESIDUAL * math.sqrt(ss)):
        return kept
    # One factor first: r r' / r'y would not be symmetric to the last bit.
    linear.scale_to(1.0 / math.sqrt(abs(ry)), r, r)
    linear.add_square(w.store, SR1 * n, r, 1.0 if ry > 0.0 else -1.0)
    return True


@plain
def aim_dense(w: Work) -> None:
    """Write the direction of the model that suits the gradient at the iterate."""
    ints, reals, v = w.ints, w.reals, w.vectors
    here, n, units = ints[ITERATE], v.shape[1], v[U]
    x, g, d = v[2 * here], v[2 * here + 1], v[D]
    if ints[HAS_SR1] == 0:
        in_units = False
        if ints[AUTO_UNITS] == 1:
            of_x, of_g, of_both = linear.log_variances(x, g)
            in_units = e.units_differ(of_x, of_g, of_both)
        ints[UNITS] = 1 if in_units else 0
        if in_units:
            for i in range(n):
                units[i] = abs(x[i])
            first = p.unit_scale(math.sqrt(linear.square_in(g, units)))
            for i in range(n):
                d[i] = -first * ((units[i] * units[i]) * g[i])
        else:
            linear.scale_to(-p.unit_scale(w.figures[here, GNORM]), g, d)
        return
    free = v[A]
    linear.image(w.store, SR1 * n, g, free)
    if ints[HAS_BFGS] == 1:
        positive = v[B]
        linear.image(w.store, BFGS * n, g, positive)
        linear.image(w.store, REST * n, g, d)
        linear.add_to(positive, reals[GAMMA], d, positive)
        in_units = ints[UNITS] == 1
        ge, _, ee = linear.direction_sums(g, free, units, in_units)
        gd, _, dd = linear.direction_sums(g, positive, units, in_units)
        if not p.takes_free(ge, ee, gd, dd, ints[DESCENT] == 1):
            linear.scale_to(-1.0, positive, d)
            return
    linear.scale_to(-1.0, free, d)


# --- the search ----------------------------------------------------------------------------------


@plain
def settle(w: Work) -> None:
    """Measure the direction; replace one that is none by -g, tilt one that is orthogonal to g.

    As `negopt.steps.signed.Signed.propose`.
    """
    ints, reals, units = w.ints, w.reals, w.vectors[D if w.ints[PAIRS] > 0 else U]
    here, in_units = ints[ITERATE], ints[UNITS] == 1
    g, d = w.vectors[2 * here + 1], w.vectors[D]
    gnorm, angle = w.figures[here, GNORM], reals[ANGLE]
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
    reals[SLOPE], reals[NORM], reals[LENGTH] = slope, math.sqrt(inside), math.sqrt(square)


@plain
def begin_search(w: Work) -> None:
    """Start a search along the direction."""
    ints, reals, figures = w.ints, w.reals, w.figures
    f, slope = figures[ints[ITERATE], F], reals[SLOPE]
    lowest = min(reals[LOWEST], f)
    ints[NEGATED] = 1 if slope > 0.0 else 0
    s.search_start(
        reals,
        f,
        -abs(slope),
        p.first_trial(reals[NORM], reals[LAST_LENGTH], reals[EXPAND]),
        reals[C1],
        reals[C2],
        ints[STRONG] == 1,
        p.search_noise(f, lowest, EPS),
        ints[MAXLS],
        1e20,
    )
    ints[TRIALS] = 0
    ints[KEPT] = -1
    ints[FINITE] = 1
    reals[BEST_BEFORE] = figures[ints[BEST], F]


@plain
def form_trial(w: Work) -> int:
    """Form the trial that the search asks for; ``EVALUATE``, or how the search has ended.

    A step that x cannot resolve from an end of the bracket has the value of that one.
    """
    ints, reals, v = w.ints, w.reals, w.vectors
    here = ints[ITERATE]
    x, d, xnorm = v[2 * here], v[D], w.figures[here, XNORM]
    sign = -1.0 if ints[NEGATED] == 1 else 1.0
    while True:
        alpha = reals[s.ALPHA]
        trial = free_point(w)
        z = v[2 * trial]
        linear.add_to(x, sign * alpha, d, z)
        twin = -1
        for end in range(s.LO, s.HI + 1, s.HI - s.LO):
            near = p.is_unresolved(abs(reals[end] - alpha) * reals[LENGTH], xnorm)
            if near and linear.is_at(x, sign * reals[end], d, z):
                twin = end
        if twin < 0:
            ints[TRIAL] = trial
            w.figures[trial, STEP_OF] = alpha
            return s.EVALUATE
        value, slope = reals[twin + 1], reals[twin + 2]
        if reals[twin] == 0.0:  # x itself is no trial
            value, slope = math.inf, math.nan
        task = s.search_step(reals, value, slope)
        if task != s.EVALUATE:
            return task


@plain
def judge_trial(w: Work, slope: float) -> int:
    """Hand the trial's value and slope to the search; what it says."""
    ints, figures = w.ints, w.figures
    trial, alpha = ints[TRIAL], w.reals[s.ALPHA]
    ints[TRIALS] += 1
    value = math.inf
    if ints[FINITE] == 1:
        value = figures[trial, F]
        slope = -slope if ints[NEGATED] == 1 else slope
    else:
        slope = math.nan
    task = s.search_step(w.reals, value, slope)
    if ints[FINITE] == 1 and task == s.EVALUATE and w.reals[s.BEST] == alpha:
        ints[KEPT] = trial
    return task


@plain
def found_point(w: Work, task: int, alpha: float) -> int:
    """Return the point that a search has ended at, -1 for none."""
    ints, v = w.ints, w.vectors
    x = v[2 * ints[ITERATE]]
    sign = -1.0 if ints[NEGATED] == 1 else 1.0
    for which in range(TRIAL, KEPT + 1):
        i = ints[which]
        if task != s.FAILED and i >= 0:  # it may have been tried as a step that x cannot resolve
            same = w.figures[i, STEP_OF] == alpha
            if same or linear.is_at(x, sign * alpha, v[D], v[2 * i]):
                return int(i)
    return -1


# --- iterations ----------------------------------------------------------------------------------


@part
def arrive(w: Work, task: int) -> int:
    """Move to the point that the search has found; GO, or why that cannot be."""
    ints, reals = w.ints, w.reals
    here = ints[ITERATE]
    alpha = reals[s.ALPHA] if task == s.WOLFE else reals[s.BEST]
    new = found_point(w, task, alpha)
    ints[K] += 1
    ints[REJECTED] += ints[TRIALS]
    ints[ACCEPTED] = 0
    reals[LOWEST] = min(reals[LOWEST], w.figures[here, F])
    if new < 0:
        return SEARCH_FAILED
    ints[FINITE] = 1
    reals[STEP_SIZE] = -alpha if ints[NEGATED] == 1 else alpha
    reals[LAST_LENGTH] = alpha * reals[NORM]
    reals[STEP_NORM] = alpha * reals[LENGTH]
    learnt = learn_rows(w, here, new) if ints[PAIRS] > 0 else learn_dense(w, here, new)
    if not learnt:
        ints[SKIPPED] += 1
    if linear.is_at(w.vectors[2 * here], 0.0, w.vectors[2 * here], w.vectors[2 * new]):
        return NOT_MOVED
    ints[ACCEPTED] = 1
    ints[REJECTED] -= 1
    ints[RESETS] = 0
    ints[NEGATIVE] += ints[NEGATED]
    ints[ITERATE] = new
    ints[KEPT] = -1
    return GO


@plain
def over(w: Work) -> int:
    """Tell whether the run ends at the iterate: see `negopt.decisions.endings.why_over`."""
    ints, reals = w.ints, w.reals
    here = ints[ITERATE]
    return e.why_over(
        w.figures[here, F],
        size_of(w, here),
        ints[K],
        reals[GTOL],
        reals[FTARGET],
        reals[BOTTOM],
        ints[MAXITER],
    )


@plain
def judge(w: Work) -> int:
    """Tell whether another iteration follows: GO, or why not."""
    ints, reals = w.ints, w.reals
    here = ints[ITERATE]
    ended = over(w)
    f, gmax = w.figures[here, F], w.figures[here, GMAX]
    if ints[ACCEPTED] == 1 and e.progresses(f, reals[BEST_BEFORE], gmax, reals[STALLED_GMAX]):
        ints[STALLED] = 0
        reals[STALLED_GMAX] = gmax
    else:
        ints[STALLED] += ints[TRIALS]
        if size_of(w, here) > reals[GTOL] and ints[STALLED] >= e.STALL:
            return GAVE_UP
    if ended == e.GOES_ON:
        return PAUSE if ints[K] >= ints[PAUSE_AT] else GO
    return CHECK_IT if ended == e.CONVERGED and ints[CHECK] == 1 else STOP


# --- the second-order check ----------------------------------------------------------------------


@plain
def form_column(w: Work, address: int, head: Ints) -> bool:
    """Form a column of the Hessian as `negopt.functions.differences` does; False for none.

    Its point is the trial; where g is not finite there, it is formed on the other side.
    """
    ints, v = w.ints, w.vectors
    here, i = ints[ITERATE], ints[COLUMN]
    n, column = v.shape[1], ints[HESSIAN] + i
    trial = free_point(w)
    x, g, z, ahead = v[2 * here], v[2 * here + 1], v[2 * trial], v[2 * trial + 1]
    step = w.reals[DIFFERENCE] * (1.0 + w.figures[here, XNORM])
    for _ in range(2):
        linear.scale_to(1.0, x, z)
        z[i] += step
        head[GRADIENT_ONLY] = 1  # where it is given by itself
        call(address, z, ahead, head)
        head[GRADIENT_ONLY] = 0
        if head[STATUS] != OK:
            return False
        total = 0.0
        for j in range(n):
            v[column, j] = (ahead[j] - g[j]) / step
            total += v[column, j]
        if math.isfinite(total):
            ints[COLUMN] = i + 1
            return True
        step = -step
    return False


@plain
def conclude(w: Work) -> bool:
    """Judge the Hessian; form the Newton step's point as the trial, where it is a minimum."""
    ints, reals, v = w.ints, w.reals, w.vectors
    n, h = v.shape[1], ints[HESSIAN]
    if not linear.eigen(v, h, n):
        return False
    reals[SMALLEST] = math.inf
    reals[GREATEST] = 0.0
    for i in range(n):
        value = v[h + n + i, i]
        reals[SMALLEST] = min(reals[SMALLEST], value)
        reals[GREATEST] = max(reals[GREATEST], abs(value))
    kind = e.kind_of_curvature(reals[SMALLEST], reals[GREATEST], reals[NOISE])
    if kind != e.POSITIVE:
        return False
    ints[KEPT] = -1
    ints[TRIAL] = free_point(w)
    g, z = v[2 * ints[ITERATE] + 1], v[2 * ints[TRIAL]]
    linear.scale_to(1.0, v[2 * ints[ITERATE]], z)
    for i in range(n):
        vector = v[h + 2 * n + i]
        linear.add_to(z, -linear.dot(vector, g) / v[h + n + i, i], vector, z)
    return True


@part
def check(w: Work, address: int, head: Ints, limit: int) -> int:
    """Make the second-order check, and take the Newton step where that improves on the iterate."""
    ints, figures, v = w.ints, w.figures, w.vectors
    here, n = ints[ITERATE], w.vectors.shape[1]
    begun = ints[COLUMN]
    while ints[COLUMN] < n:
        if head[VALUES] + ints[COLUMN] - begun >= limit or head[HALT] != 0:
            return SPENT
        if not form_column(w, address, head):
            return UNCERTAIN
        if ints[COLUMN] == n and not conclude(w):
            return UNCERTAIN
    trial = ints[TRIAL]
    if linear.is_at(v[2 * here], 0.0, v[2 * here], v[2 * trial]) or figures[here, GMAX] == 0.0:
        return CERTAIN
    if head[VALUES] >= limit or head[HALT] != 0:
        return SPENT
    f = call(address, v[2 * trial], v[2 * trial + 1], head)
    if head[STATUS] != OK:
        return UNCERTAIN
    weigh(w, trial, f)
    if e.improves(f, size_of(w, trial), figures[here, F], size_of(w, here), EPS):
        ints[ITERATE] = trial
    return CERTAIN


@part
def begin_run(w: Work) -> int:
    """Measure a start that has been evaluated; GO where a run begins at it."""
    ints, reals, here = w.ints, w.reals, w.ints[ITERATE]
    f = w.figures[here, F]
    weigh(w, here, f)
    reals[GTOL] = max(reals[GTOL], reals[GRTOL] * size_of(w, here))
    return GO if ints[FINITE] == 1 and over(w) == e.GOES_ON else STOP


@part
def go_on(w: Work, address: int, head: Ints, limit: int) -> int:
    """Make iterations until there is something to say; see `solve`."""
    ints = w.ints
    while True:
        if ints[PHASE] == START:
            ints[PHASE] = ARRIVED
            if begin_run(w) != GO:
                return STOP
        if ints[PHASE] == ARRIVED:
            if ints[STORED] > 0:
                multiply(w)
            ints[PHASE] = READY
            if ints[NEW] == 1:
                ints[NEW] = 0
                task = judge(w)
                if task == CHECK_IT:
                    ints[PHASE] = CHECKING
                    ints[COLUMN] = 0
                elif task != GO:
                    return task
        if ints[PHASE] == CHECKING:
            return check(w, address, head, limit)
        task = s.EVALUATE
        if ints[PHASE] == READY:
            if ints[PAIRS] > 0:
                aim_rows(w)
            else:
                aim_dense(w)
            settle(w)
            begin_search(w)
            ints[PHASE] = SEARCHING
        else:
            if head[VALUES] >= limit or head[HALT] != 0:
                return SPENT
            trial = ints[TRIAL]
            f = call(address, w.vectors[2 * trial], w.vectors[2 * trial + 1], head)
            if head[STATUS] != OK:
                return RAISED
            task = judge_trial(w, weigh(w, trial, f))
        if task == s.EVALUATE:
            task = form_trial(w)
        if task != s.EVALUATE:
            task = arrive(w, task)
            if task != GO:
                return task
            ints[PHASE] = ARRIVED
            ints[NEW] = 1


@plain
def begin_row(w: Work, b: Batch, i: int, address: int, head: Ints) -> bool:
    """Evaluate the start of problem i; False where it raises."""
    for j in range(b.fresh.shape[0]):
        w.reals[j] = b.fresh[j]
    for j in range(b.fresh_ints.shape[0]):
        w.ints[j] = b.fresh_ints[j]
    head[ROW] = i
    head[STATUS] = OK
    head[VALUES] = head[GRADIENTS] = 0
    linear.scale_to(1.0, b.x[i], w.vectors[0])
    f = call(address, w.vectors[0], w.vectors[1], head)
    w.figures[0, F] = f
    b.begun[i, 0] = f
    w.reals[BOTTOM] *= max(1.0, abs(f))
    return bool(head[STATUS] == OK)


@plain
def end_row(w: Work, b: Batch, i: int, head: Ints, task: int) -> None:
    """Write down how problem i has ended; leave it for `minimize` where that is rare."""
    ints, reals, figures = w.ints, w.reals, w.figures
    if not (task == CERTAIN or (task == STOP and ints[K] > 0)):
        b.status[i] = e.GOES_ON
        return
    here, point = ints[ITERATE], ints[BEST]
    ended = over(w)
    b.status[i] = ended
    if ended == e.CONVERGED:
        if not e.is_better_end(figures[point, F], size_of(w, point), figures[here, F], reals[GTOL]):
            point = here
    linear.scale_to(1.0, w.vectors[2 * point], b.x[i])
    linear.scale_to(1.0, w.vectors[2 * point + 1], b.g[i])
    b.f[i] = figures[point, F]
    b.begun[i, 1] = reals[GTOL]
    b.counts[i, NIT] = ints[K]
    b.counts[i, NFEV] = head[VALUES]
    b.counts[i, NJEV] = head[GRADIENTS]
    b.counts[i, KIND] = 0
    if task == CERTAIN:
        b.counts[i, KIND] = e.POSITIVE
        b.lowest[i] = reals[SMALLEST]


def solve(first: int, last: int, address: int, head: Ints, w: Work, b: Batch, limit: int) -> int:
    """Go on with a run, or solve problems `first` to `last` - 1 of a batch.

    Parameters
    ----------
    first, last : int
        0 and 1 for a run.
    address, head : int, array of int64
        The objective, as in `negopt.compiled.jitted`.
    w : Work
        A run as it was loaded or left; that of a thread, for a batch.
    b : Batch
        Of no problems, for a run.
    limit : int
        No evaluation is begun when ``head[VALUES]`` has come to it.

    Returns
    -------
    int
        What a run has come to.  Every problem of a batch has a status.
    """
    many = b.status.shape[0] > 0
    task = GO
    for i in range(first, last):
        if many:
            if head[HALT] != 0:
                break
            if not begin_row(w, b, i, address, head):
                b.status[i] = e.GOES_ON
                continue
        task = go_on(w, address, head, limit)
        if many:
            end_row(w, b, i, head, task)
    return task


def new_work(n: int, *, pairs: int = 0, check: int = 0) -> Work:
    """Return a workspace; `pairs` is 0 for the dense model, `check` the size of the Hessian."""
    reals, ints = np.zeros(REALS), np.zeros(INTS, dtype=np.int64)
    ints[PAIRS], ints[KEPT], ints[NEWEST] = pairs, -1, -1
    ints[HESSIAN] = D + 1 if pairs else U + 1
    return Work(
        np.empty((int(ints[HESSIAN]) + 3 * check, n)),
        np.zeros((2 * pairs, n)) if pairs else np.empty((3 * n, n)),
        np.zeros((2 * pairs + 4, 2 * pairs)),
        np.zeros((POINTS, FIGURES)),
        reals,
        ints,
    )


def new_batch(starts: Floats, w: Work) -> Batch:
    """Return the table of a batch whose problems begin with the figures of `w`."""
    k = int(starts.shape[0])
    return Batch(
        w.reals.copy(),
        w.ints.copy(),
        starts.copy(),
        np.full(k, math.nan),
        np.full(starts.shape, math.nan),
        np.full((k, 2), math.nan),
        np.zeros(k, dtype=np.int64),
        np.zeros((k, 4), dtype=np.int64),
        np.full(k, math.nan),
    )


#: What a run hands over in place of a batch.
NO_BATCH = new_batch(np.zeros((0, 1)), new_work(1))


def _example() -> tuple[object, ...]:
    return 0, 1, 0, np.zeros(HEAD + 2, dtype=np.int64), new_work(1), NO_BATCH, 0


#: `solve`, compiled when it is first wanted.
KERNEL = Kernel(solve, "the loop for jitted objectives", _example)

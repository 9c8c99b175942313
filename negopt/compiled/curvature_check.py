"""The second-order check in compiled code, on a Hessian that is formed in full."""

from __future__ import annotations

import math

from negopt.compiled import layout as k
from negopt.compiled import linear
from negopt.compiled._build import part, plain
from negopt.compiled.jitted import GRADIENT_ONLY, HALT, OK, STATUS, VALUES, call
from negopt.compiled.trials import free_point, weigh
from negopt.decisions import endings as e


@plain
def form_column(w: k.Work, address: int, head: k.Ints) -> bool:
    """Form a column of the Hessian as `negopt.functions.differences` does; False for none.

    Its point is the trial; where g is not finite there, it is formed on the other side.
    """
    ints, v = w.ints, w.vectors
    here, i = ints[k.ITERATE], ints[k.COLUMN]
    n, column = v.shape[1], ints[k.HESSIAN] + i
    trial = free_point(w)
    x, g, z, ahead = v[2 * here], v[2 * here + 1], v[2 * trial], v[2 * trial + 1]
    step = w.reals[k.DIFFERENCE] * (1.0 + w.figures[here, k.XNORM])
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
            ints[k.COLUMN] = i + 1
            return True
        step = -step
    return False


@plain
def conclude(w: k.Work) -> bool:
    """Judge the Hessian; form the Newton step's point as the trial, where it is a minimum."""
    ints, reals, v = w.ints, w.reals, w.vectors
    n, h = v.shape[1], ints[k.HESSIAN]
    if not linear.eigen(v, h, n):
        return False
    reals[k.SMALLEST] = math.inf
    reals[k.GREATEST] = 0.0
    for i in range(n):
        value = v[h + n + i, i]
        reals[k.SMALLEST] = min(reals[k.SMALLEST], value)
        reals[k.GREATEST] = max(reals[k.GREATEST], abs(value))
    lowest, largest = reals[k.SMALLEST], reals[k.GREATEST]
    if e.kind_of_curvature(lowest, largest, reals[k.NOISE]) != e.POSITIVE:
        return False
    ints[k.KEPT] = -1
    ints[k.TRIAL] = free_point(w)
    g, z = v[2 * ints[k.ITERATE] + 1], v[2 * ints[k.TRIAL]]
    linear.scale_to(1.0, v[2 * ints[k.ITERATE]], z)
    for i in range(n):
        vector = v[h + 2 * n + i]
        linear.add_to(z, -linear.dot(vector, g) / v[h + n + i, i], vector, z)
    return True


@part
def check(w: k.Work, address: int, head: k.Ints, limit: int) -> int:
    """Make the second-order check, and take the Newton step where that improves on the iterate."""
    ints, figures, v = w.ints, w.figures, w.vectors
    here, n = ints[k.ITERATE], w.vectors.shape[1]
    begun = ints[k.COLUMN]
    while ints[k.COLUMN] < n:
        if head[VALUES] + ints[k.COLUMN] - begun >= limit or head[HALT] != 0:
            return k.SPENT
        if not form_column(w, address, head):
            return k.UNCERTAIN
        if ints[k.COLUMN] == n and not conclude(w):
            return k.UNCERTAIN
    trial = ints[k.TRIAL]
    if linear.is_at(v[2 * here], 0.0, v[2 * here], v[2 * trial]) or figures[here, k.GMAX] == 0.0:
        return k.CERTAIN
    if head[VALUES] >= limit or head[HALT] != 0:
        return k.SPENT
    f = call(address, v[2 * trial], v[2 * trial + 1], head)
    if head[STATUS] != OK:
        return k.UNCERTAIN
    weigh(w, trial, f)
    before, size = figures[here, k.F], figures[here, k.SIZE]
    if e.improves(f, figures[trial, k.SIZE], before, size, linear.EPS):
        ints[k.ITERATE] = trial
    return k.CERTAIN

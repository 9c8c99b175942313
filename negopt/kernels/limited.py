"""Limited memories in the fused engine: pairs stored in place, models asked for a step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_inline, jit_lean
from negopt.kernels.compact import (
    Compact,
    compact_build,
    compact_inside,
    compact_solve,
    compact_trust,
    compact_weights,
)
from negopt.kernels.generators import cut_compact
from negopt.kernels.hybrid import LOST, all_convex, convex_step
from negopt.kernels.pairs import two_loops
from negopt.kernels.passes import pair_sums, scale_to
from negopt.kernels.rows import add_rows, combine, products, rows_times
from negopt.kernels.work import Work

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

# Rules for gamma, in the order of `negopt.curvature.lsr1.GAMMA_RULES`, and a given number.
LARGEST, MEAN, NEWEST, GIVEN = 0, 1, 2, 3
#: Entries per block of a pass, as in `negopt.kernels.passes`.
BLOCK = 2048


@jit_inline
def compact_arrays(work: Work) -> Compact:
    """Cut the scratch into the arrays of a compact model."""
    m = work.ints[w.PAIRS]
    return cut_compact(work.small, work.ints[w.ORDER + m :], m)


@jit_inline
def scaling(work: Work) -> float:
    """Return gamma: the counterpart of `negopt.curvature.lsr1.initial_scaling`."""
    ints = work.ints
    rule = ints[w.SCALING]
    if rule == GIVEN:
        return float(work.reals[w.FIXED_GAMMA])
    count = ints[w.CURVATURES]
    value = 0.0
    if count > 0:
        if rule == LARGEST:
            for i in range(count):
                value = max(value, work.curvatures[i])
        elif rule == MEAN:
            for i in range(count):
                value += math.log(work.curvatures[i])
            value = math.exp(value / count)
        else:
            value = 2.0 * work.curvatures[count - 1]
    elif ints[w.STORED] > 0:
        newest = 2 * work.order[ints[w.STORED] - 1]
        value = math.sqrt(work.gram[newest + 1, newest + 1] / work.gram[newest, newest])
    else:
        value = work.points[ints[w.ITERATE], w.GNORM]
    return value if 0.0 < value < math.inf else 1.0


@jit_inline
def keep_products(work: Work, used: int) -> None:
    """Take the last row of ``work.pair`` as the products with the gradient."""
    for r in range(used):
        work.along[r] = work.pair[2, r]


@jit_inline
def learn_pair(work: Work, here: int, trial: int, wanted: int) -> bool:
    """Store the pair of two points in place of the oldest; multiply the rows with a gradient.

    The counterpart of `negopt.curvature.compact.store_pair`.  `wanted` is the point whose
    gradient the next step starts from.
    """
    ints, vectors = work.ints, work.vectors
    x, g = vectors[2 * here], vectors[2 * here + 1]
    x_new, g_new = vectors[2 * trial], vectors[2 * trial + 1]
    g_wanted = vectors[2 * wanted + 1]
    _, ss, sy, yy, _ = pair_sums(x_new, x, g_new, g)
    count, capacity = ints[w.STORED], ints[w.PAIRS]
    usable = 1e-200 < ss < math.inf and yy < 1e160 * ss and math.isfinite(sy)
    if ints[w.MODEL] == w.BFGS_ROWS:
        usable = usable and sy > work.reals[w.SKIP] * math.sqrt(ss) * math.sqrt(yy)
    if not usable:
        if wanted != here:
            rows_times(work.rows, 2 * count, g_wanted, work.pair)
            keep_products(work, 2 * count)
        return False
    slot = count
    if count == capacity:
        slot = work.order[0]
        for i in range(capacity - 1):
            work.order[i] = work.order[i + 1]
        count -= 1
    work.order[count] = slot
    count += 1
    ints[w.STORED] = count
    out = work.pair
    products(work.rows, 2 * count, slot, x_new, x, g_new, g, g_wanted, out)
    for r in range(2 * count):
        for part in range(2):
            work.gram[r, 2 * slot + part] = out[part, r]
            work.gram[2 * slot + part, r] = out[part, r]
        work.along[r] = out[2, r]
    sy, yy = out[0, 2 * slot + 1], out[1, 2 * slot + 1]
    if sy > 0.0 and math.isfinite(yy / sy):
        last = ints[w.CURVATURES]
        if last == work.curvatures.shape[0]:
            last -= 1
            for i in range(last):
                work.curvatures[i] = work.curvatures[i + 1]
        work.curvatures[last] = yy / sy
        ints[w.CURVATURES] = last + 1
    return True


@jit_inline
def refresh_products(work: Work) -> None:
    """Multiply the stored rows with the gradient at the iterate, after a load."""
    g = work.vectors[2 * work.ints[w.ITERATE] + 1]
    used = 2 * work.ints[w.STORED]
    rows_times(work.rows, used, g, work.pair)
    keep_products(work, used)


@jit_inline
def newest_skipped(work: Work, used: Any) -> None:
    """Remember whether the newest pair taught the model nothing."""
    count = work.ints[w.STORED]
    work.ints[w.NEWEST_SKIPPED] = 1 if count > 0 and used[count - 1] == 0 else 0


@jit_lean
def add_step(
    x: FloatArray, g: FloatArray, step: FloatArray, out: FloatArray
) -> tuple[float, float]:
    """Write ``x + step`` to `out`; return s's and g's of s as it was rounded."""
    ss = 0.0
    gs = 0.0
    for i in range(x.shape[0]):
        out[i] = x[i] + step[i]
        s = out[i] - x[i]
        ss += s * s
        gs += g[i] * s
    return ss, gs


@jit_inline
def step_convex(work: Work, trial: int) -> tuple[int, float, float, float]:
    """Write the exact trust-region step of convex pairs; return (task, s's, g's, s'Bs).

    ``FOLD`` where some are not convex; ``RARE``: the reference has to form the model.
    """
    ints = work.ints
    here = ints[w.ITERATE]
    x, g = work.vectors[2 * here], work.vectors[2 * here + 1]
    count = ints[w.STORED]
    order = work.order[:count]
    gamma = scaling(work)
    ints[w.NEWEST_SKIPPED] = 0
    if not (gamma > 0.0 and all_convex(work.gram, order)):
        return w.FOLD, 0.0, 0.0, 0.0
    info = work.small[:5]
    route = convex_step(
        work.gram,
        order,
        gamma,
        ints[w.BLOCK],
        work.along,
        work.points[here, w.GNORM],
        work.reals[w.RADIUS],
        work.weights,
        info,
    )
    if route == LOST:
        return w.RARE, 0.0, 0.0, 0.0
    ss, gs, _ = combine(work.rows, work.weights, 2 * count, info[0], g, x, work.vectors[2 * trial])
    return w.EVALUATE if gs < 0.0 and ss < math.inf else w.RARE, ss, gs, info[2]


@jit_inline
def step_sr1(work: Work, trial: int) -> tuple[bool, float, float, float]:
    """Write the exact trust-region step of SR1 pairs; return (good, s's, g's, s'Bs)."""
    ints, reals = work.ints, work.reals
    here = ints[w.ITERATE]
    x, g = work.vectors[2 * here], work.vectors[2 * here + 1]
    count = ints[w.STORED]
    order = work.order[:count]
    gamma = scaling(work)
    c = compact_arrays(work)
    k, full = compact_build(work.rows, work.gram, order, gamma, reals[w.SKIP], c)
    newest_skipped(work, c.used)
    if full:
        for i in range(k):
            c.inside[i] = g[i]
    else:
        compact_inside(work.along, order, k, gamma, c)
    gnorm = work.points[here, w.GNORM]
    absolute = ints[w.ABSOLUTE] == 1
    case, a, _, quadratic, _ = compact_trust(k, full, gamma, absolute, gnorm, reals[w.RADIUS], c)
    if case < 0:
        return False, 0.0, 0.0, 0.0
    if full:
        ss, gs = add_step(x, g, c.step, work.vectors[2 * trial])
    else:
        compact_weights(order, k, gamma, c, c.step, work.weights)
        ss, gs, _ = combine(work.rows, work.weights, 2 * count, a, g, x, work.vectors[2 * trial])
    return math.isfinite(ss), ss, gs, quadratic


@jit_inline
def aim_rows(work: Work) -> bool:
    """Write the quasi-Newton direction of the stored pairs; False: the reference has to."""
    ints, reals = work.ints, work.reals
    here = ints[w.ITERATE]
    g = work.vectors[2 * here + 1]
    d = work.vectors[2 * work.points.shape[0]]
    count = ints[w.STORED]
    order = work.order[:count]
    gamma = scaling(work)
    weights = work.weights
    c = compact_arrays(work)
    k, full = compact_build(work.rows, work.gram, order, gamma, reals[w.SKIP], c)
    newest_skipped(work, c.used)
    if full:
        for i in range(k):
            c.inside[i] = g[i]
    else:
        compact_inside(work.along, order, k, gamma, c)
    gnorm = work.points[here, w.GNORM]
    good, a, _, _ = compact_solve(k, full, gamma, ints[w.FLIP] == 1, reals[w.FLOOR], gnorm, c)
    if not good:
        return False
    if full:
        for i in range(k):
            d[i] = c.step[i]
        return True
    compact_weights(order, k, gamma, c, c.step, weights)
    aim(work.rows, weights, 2 * count, a, g, d)
    return True


@jit_inline
def aim_bfgs(work: Work) -> None:
    """Write the direction ``-H g`` of L-BFGS."""
    here, count = work.ints[w.ITERATE], work.ints[w.STORED]
    g = work.vectors[2 * here + 1]
    d = work.vectors[2 * work.points.shape[0]]
    gnorm = work.points[here, w.GNORM]
    scale = 1.0 / gnorm if gnorm > 0.0 else 1.0
    weights = work.weights
    if count > 0:
        products = work.pair[0]
        for r in range(2 * count):
            products[r] = work.along[r]
        scale = two_loops(work.gram, work.order[:count], products, weights)
        for r in range(2 * count):
            weights[r] = -weights[r]
    aim(work.rows, weights, 2 * count, -scale, g, d)


@jit_lean
def aim(
    rows: FloatArray, weights: FloatArray, used: int, a: float, g: FloatArray, d: FloatArray
) -> None:
    """Write ``a g + sum_i weights_i rows_i`` to `d`."""
    n = d.shape[0]
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        out = d[start:end]
        scale_to(out, a, g[start:end])
        add_rows(rows, weights, used, start, end, out)

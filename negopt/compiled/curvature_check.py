"""The second-order check in compiled code, on a Hessian that is formed in full."""

from __future__ import annotations

import math

from negopt.compiled import layout as k
from negopt.compiled import linear
from negopt.compiled._build import part, plain
from negopt.compiled.jitted import GRADIENT_ONLY, HALT, OK, STATUS, VALUES, call
from negopt.compiled.trials import free_point
from negopt.decisions import curvature as decide


@plain
def begin_check(w: k.Work) -> None:
    """Write the length of a step along each variable into row D, and that of a difference.

    As in `negopt.solver.second_order.View`, with the diagonal of the dense model for its root.
    """
    ints, reals, v, store = w.ints, w.reals, w.vectors, w.store
    n, here = v.shape[1], ints[k.ITERATE]
    modelled = ints[k.HAS_BFGS] == 1 or ints[k.HAS_SR1] == 1
    x, scale, total = v[2 * here], v[k.D], 0.0
    for i in range(n):
        if ints[k.HAS_BFGS] == 1:
            size = store[k.BFGS * n + i, i] + reals[k.GAMMA] * store[k.REST * n + i, i]
        else:
            size = store[k.SR1 * n + i, i] if modelled else max(1.0, x[i] * x[i])
        scale[i] = math.sqrt(abs(size)) if size != 0.0 else 1.0
        total += (x[i] / scale[i]) * (x[i] / scale[i])
    reach, error = math.sqrt(total), reals[k.NOISE]
    if modelled:
        energy = decide.energy(w.figures[here, k.F], f_before(w), reach, linear.EPS)
        reals[k.DIFFERENCE] = decide.length_of_difference(error, energy, linear.EPS, reach, 0.0)
    else:
        reals[k.DIFFERENCE] = decide.length_without_model(error, reach)


@plain
def f_before(w: k.Work) -> float:
    """Return f at the start, where the iterate is another point."""
    return w.reals[k.F_START] if w.ints[k.K] > 0 else -math.inf


@plain
def form_column(w: k.Work, address: int, head: k.Ints) -> bool:
    """Form a column of the Hessian as `negopt.functions.differences` does; False for none.

    Its point is the trial; where g is not finite there, it is formed on the other side.
    """
    ints, v = w.ints, w.vectors
    here, i = ints[k.ITERATE], ints[k.COLUMN]
    n, column = v.shape[1], ints[k.HESSIAN] + i
    trial = free_point(w)
    x, g, z, ahead, scale = v[2 * here], v[2 * here + 1], v[2 * trial], v[2 * trial + 1], v[k.D]
    step = w.reals[k.DIFFERENCE]
    for _ in range(2):
        linear.scale_to(1.0, x, z)
        z[i] += step * scale[i]
        head[GRADIENT_ONLY] = 1  # where it is given by itself
        call(address, z, ahead, head)
        head[GRADIENT_ONLY] = 0
        if head[STATUS] != OK:
            return False
        total = 0.0
        for j in range(n):
            v[column, j] = scale[j] * (ahead[j] - g[j]) / step
            total += v[column, j]
        if math.isfinite(total):
            ints[k.COLUMN] = i + 1
            return True
        step = -step
    return False


@plain
def conclude(w: k.Work) -> bool:
    """Tell whether the iterate is a minimum, from the whole of the scaled Hessian."""
    ints, reals, v = w.ints, w.reals, w.vectors
    n, h, here = v.shape[1], ints[k.HESSIAN], ints[k.ITERATE]
    if not linear.eigen(v, h, n):
        return False
    at, largest, asymmetry, reach, slope = 0, 0.0, 0.0, 0.0, 0.0
    x, g, scale = v[2 * here], v[2 * here + 1], v[k.D]
    for i in range(n):
        value = v[h + n + i, i]
        at = i if value < v[h + n + at, at] else at
        largest = max(largest, abs(value))
        reach += (x[i] / scale[i]) * (x[i] / scale[i])
        slope += (g[i] * scale[i]) * (g[i] * scale[i])
        for j in range(i):
            asymmetry = max(asymmetry, abs(v[h + i, j] - v[h + j, i]))
    modelled = ints[k.HAS_BFGS] == 1 or ints[k.HAS_SR1] == 1
    unit = min(largest, 1.0) if modelled else largest
    reach, slope = math.sqrt(reach * unit), math.sqrt(slope)
    energy = decide.energy(w.figures[here, k.F], f_before(w), reach, linear.EPS)
    energy = energy if modelled else max(energy, unit)
    lowest = v[h + n + at, at]
    tolerance = decide.tolerance_of_curvature(
        reals[k.NOISE], largest, unit, energy, slope, asymmetry
    )
    tolerance = decide.along_direction(tolerance, linear.EPS, 1.0, largest)
    length = 0.0
    for i in range(n):
        length += (scale[i] * v[h + 2 * n + at, i]) * (scale[i] * v[h + 2 * n + at, i])
    reals[k.SMALLEST] = lowest / length
    reals[k.SHARE] = lowest / largest if largest > 0.0 else 0.0
    return decide.verdict(lowest, largest, 0.0, tolerance, n, n) == decide.POSITIVE


@part
def check(w: k.Work, address: int, head: k.Ints, limit: int) -> int:
    """Make the second-order check; what it finds no minimum in is left for the solver."""
    ints, n = w.ints, w.vectors.shape[1]
    begun = ints[k.COLUMN]
    if begun == 0:
        begin_check(w)
    while ints[k.COLUMN] < n:
        if head[VALUES] + ints[k.COLUMN] - begun >= limit or head[HALT] != 0:
            return k.SPENT
        if not form_column(w, address, head):
            return k.UNCERTAIN
    return k.CERTAIN if conclude(w) else k.UNCERTAIN

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
        energy = decide.energy(w.figures[here, k.F], w.reals[k.F_START], reach, linear.EPS)
        reals[k.DIFFERENCE] = decide.length_of_difference(error, energy, linear.EPS, reach, 0.0)
    else:
        reals[k.DIFFERENCE] = decide.length_without_model(error, reach)


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
    largest, asymmetry, reach, slope = 0.0, 0.0, 0.0, 0.0
    x, g, scale = v[2 * here], v[2 * here + 1], v[k.D]
    for i in range(n):
        reach += (x[i] / scale[i]) * (x[i] / scale[i])
        slope += (g[i] * scale[i]) * (g[i] * scale[i])
        for j in range(n):
            largest += v[h + i, j] * v[h + i, j]
            asymmetry = max(asymmetry, abs(v[h + i, j] - v[h + j, i]))
    largest = math.sqrt(largest)  # at least the largest eigenvalue, at most sqrt(n) times that
    modelled = ints[k.HAS_BFGS] == 1 or ints[k.HAS_SR1] == 1
    unit = min(largest, 1.0) if modelled else largest
    reach, slope = math.sqrt(reach * unit), math.sqrt(slope)
    energy = decide.energy(w.figures[here, k.F], w.reals[k.F_START], reach, linear.EPS)
    energy = energy if modelled else max(energy, unit)
    least = decide.tolerance_of_curvature(reals[k.NOISE], largest, unit, energy, slope, asymmetry)
    least = decide.along_direction(least, linear.EPS, 1.0, largest)
    if not linear.exceeds(v, h, n, least):
        return False
    z = v[2 * free_point(w)]  # by inverse iteration, the curvature that is reported
    for i in range(n):
        z[i] = 1.0 + i / n
    for _ in range(5):  # from a vector that favours no variable
        linear.scale_to(1.0 / math.sqrt(linear.dot(z, z)), z, z)
        linear.solve(v, h, n, z)
    size = math.sqrt(linear.dot(z, z))
    for i in range(n):
        z[i] *= scale[i]
    reals[k.SMALLEST] = (least + 1.0 / size) * size * size / linear.dot(z, z)
    return True


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

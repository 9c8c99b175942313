"""Dense SR1 and BFGS inverses in place: the counterpart of `negopt.curvature.dqn`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit_inline, jit_lean, jit_pass
from negopt.kernels.work import Work

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

# Scratch rows behind the points.
D, S, Y, FIRST_IMAGE = 0, 1, 2, 3


@jit_pass
def dot(a: FloatArray, b: FloatArray) -> float:
    """Return ``a'b``."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@jit_pass
def image(matrix: FloatArray, v: FloatArray, out: FloatArray) -> None:
    """Write ``matrix v`` to `out`."""
    n = v.shape[0]
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += matrix[i, j] * v[j]
        out[i] = total


@jit_pass
def square_in(v: FloatArray, units: FloatArray, divided: bool) -> float:
    """Return the square of the length of ``v / units``, or of ``v * units``."""
    total = 0.0
    if units.shape[0] == 0:
        for i in range(v.shape[0]):
            total += v[i] * v[i]
    elif divided:
        for i in range(v.shape[0]):
            total += (v[i] / units[i]) ** 2
    else:
        for i in range(v.shape[0]):
            total += (v[i] * units[i]) ** 2
    return total


@jit_lean
def add_symmetric(matrix: FloatArray, a: FloatArray, b: FloatArray) -> None:
    """Add ``a b' + b a'``; the same two products at (i, j) and (j, i) keep it symmetric."""
    n = a.shape[0]
    for i in range(n):
        p, q = a[i], b[i]
        row = matrix[i]
        for j in range(n):
            row[j] += p * b[j] + q * a[j]


@jit_lean
def add_square(matrix: FloatArray, a: FloatArray, negative: bool) -> None:
    """Add ``a a'``, or subtract it."""
    n = a.shape[0]
    for i in range(n):
        p = -a[i] if negative else a[i]
        row = matrix[i]
        for j in range(n):
            row[j] += p * a[j]


@jit_lean
def first_model(matrix: FloatArray, scale: float, units: FloatArray) -> None:
    """Write ``scale diag(units**2)``."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(n):
            matrix[i, j] = 0.0
        matrix[i, i] = scale if units.shape[0] == 0 else scale * (units[i] * units[i])


@jit_lean
def bfgs_in_place(
    matrix: FloatArray, s: FloatArray, y: FloatArray, sy: float, added: float, hy: FloatArray
) -> None:
    """Apply ``V'HV + added s s'/s'y`` with ``V = I - y s'/s'y``; `hy` is scratch."""
    image(matrix, y, hy)
    yhy = dot(y, hy)
    along = 0.5 * (added + yhy / sy) / sy
    for i in range(s.shape[0]):
        hy[i] = along * s[i] - hy[i] / sy
    add_symmetric(matrix, hy, s)


@jit_inline
def learn_dense(work: Work, here: int, point: int) -> bool:
    """Fold the pair of two points into the models; tell whether one changed."""
    base = 2 * work.points.shape[0]
    vectors = work.vectors
    for i in range(vectors.shape[1]):
        vectors[base + S, i] = vectors[2 * point, i] - vectors[2 * here, i]
        vectors[base + Y, i] = vectors[2 * point + 1, i] - vectors[2 * here + 1, i]
    s, y, v = work.vectors[base + S], work.vectors[base + Y], work.vectors[base + FIRST_IMAGE]
    units, ints = work.units, work.ints
    ss, yy, sy = dot(s, s), dot(y, y), dot(s, y)
    inside_ss, inside_yy = ss, yy
    if units.shape[0] > 0:
        inside_ss, inside_yy = square_in(s, units, True), square_in(y, units, False)
    if not (
        math.isfinite(sy)
        and 0.0 < ss < math.inf
        and 0.0 < yy < math.inf
        and 0.0 < inside_ss < math.inf
        and 0.0 < inside_yy < math.inf
    ):
        return False
    kept = False
    if sy > 2.2e-16 * math.sqrt(ss) * math.sqrt(yy):
        if ints[w.HAS_POSITIVE] == 0:
            first_model(work.matrices[0], 0.0, units)
            first_model(work.matrices[1], 1.0, units)
            ints[w.HAS_POSITIVE] = 1
        bfgs_in_place(work.matrices[0], s, y, sy, 1.0, v)
        bfgs_in_place(work.matrices[1], s, y, sy, 0.0, v)
        work.reals[w.GAMMA] = sy / inside_yy
        kept = True
    free = work.matrices[2]
    if ints[w.HAS_FREE] == 0:
        positive = sy > 1e-12 * math.sqrt(inside_ss) * math.sqrt(inside_yy)
        scale = 0.9 * sy / inside_yy if positive else math.sqrt(inside_ss / inside_yy)
        first_model(free, scale, units)
        ints[w.HAS_FREE] = 1
    image(free, y, v)
    for i in range(v.shape[0]):
        v[i] = s[i] - v[i]
    vv, vy = dot(v, v), dot(v, y)
    if abs(vy) < work.reals[w.SKIP] * math.sqrt(vv) * math.sqrt(yy) or vy == 0.0:
        return kept
    if math.sqrt(vv) <= 1e-12 * math.sqrt(ss) or not math.isfinite(vv / vy):
        return kept
    size = math.sqrt(abs(vy))
    for i in range(v.shape[0]):
        v[i] /= size
    add_square(free, v, vy < 0.0)
    return True


@jit_inline
def aim_dense(work: Work) -> None:
    """Write the direction ``-H g`` of the model chosen at the iterate."""
    base = 2 * work.points.shape[0]
    vectors, units, reals, ints = work.vectors, work.units, work.reals, work.ints
    g, d = vectors[2 * ints[w.ITERATE] + 1], vectors[base + D]
    n = g.shape[0]
    e = vectors[base + FIRST_IMAGE]
    p = vectors[base + FIRST_IMAGE + 1]
    if ints[w.HAS_FREE] == 0:
        for i in range(n):
            scaled = g[i] if units.shape[0] == 0 else (units[i] * units[i]) * g[i]
            d[i] = -(reals[w.FIRST] * scaled)
        return
    image(work.matrices[2], g, e)
    take_free = True
    if ints[w.HAS_POSITIVE] == 1:
        image(work.matrices[0], g, p)
        image(work.matrices[1], g, d)
        for i in range(n):
            p[i] += reals[w.GAMMA] * d[i]
        ge, gd = dot(g, e), dot(g, p)
        if ints[w.CHOICE] == 1:
            take_free = ge > 0.0
        else:
            dd, ee = square_in(p, units, True), square_in(e, units, True)
            take_free = abs(ge) * math.sqrt(dd) > gd * math.sqrt(ee)
    for i in range(n):
        d[i] = -e[i] if take_free else -p[i]


@jit_inline
def measure_direction(work: Work) -> bool:
    """Measure the direction; False for one that is zero or not finite."""
    base = 2 * work.points.shape[0]
    reals = work.reals
    g, d = work.vectors[2 * work.ints[w.ITERATE] + 1], work.vectors[base + D]
    slope, square = dot(g, d), dot(d, d)
    inside = square if work.units.shape[0] == 0 else square_in(d, work.units, True)
    if not (math.isfinite(slope) and 0.0 < square < math.inf and 0.0 < inside < math.inf):
        return False
    reals[w.SLOPE] = slope
    reals[w.NORM] = math.sqrt(inside)
    reals[w.LENGTH] = math.sqrt(square)
    return True


@jit_inline
def settle_direction(work: Work) -> None:
    """Replace a direction that is no use by -g; tilt one that is orthogonal to g.

    The counterpart of `negopt.steps.signed.Signed.propose`.
    """
    base = 2 * work.points.shape[0]
    reals = work.reals
    here = work.ints[w.ITERATE]
    g, d = work.vectors[2 * here + 1], work.vectors[base + D]
    gnorm = work.points[here, w.GNORM]
    if not measure_direction(work):
        for i in range(d.shape[0]):
            d[i] = -g[i]
        if not measure_direction(work):
            reals[w.SLOPE] = -gnorm * gnorm
            reals[w.NORM] = gnorm
            reals[w.LENGTH] = gnorm
        return
    slope, norm, length = reals[w.SLOPE], reals[w.NORM], reals[w.LENGTH]
    if abs(slope) <= reals[w.ANGLE] * gnorm * length:
        sign = -1.0 if slope > 0.0 else 1.0
        tilt = 2.0 * reals[w.ANGLE] * length / gnorm
        for i in range(d.shape[0]):
            d[i] = sign * d[i] - tilt * g[i]
        if not measure_direction(work):  # N.B. the figures of the direction before stay
            reals[w.SLOPE], reals[w.NORM], reals[w.LENGTH] = slope, norm, length
            for i in range(d.shape[0]):
                d[i] = sign * (d[i] + tilt * g[i])

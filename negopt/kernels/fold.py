"""Trust-region steps of hybrid pairs of which some are concave, for the fused engine.

A kernel of its own, called when it is needed: compiled into the engine it would double the
time that a first run takes, and many runs never meet a concave pair.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt.kernels import work as w
from negopt.kernels._jit import jit
from negopt.kernels.ball import matrix_step
from negopt.kernels.general import dense_pairs, folded_step
from negopt.kernels.limited import add_step, newest_skipped, scaling
from negopt.kernels.rows import combine
from negopt.kernels.shifted import LOST
from negopt.kernels.work import cut

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


@jit
def fold_pairs(buffer: FloatArray, rows: FloatArray, gram: FloatArray, ints: IntArray) -> None:
    """Write the step to the trial point; its figures, ``NORM`` infinite where it was lost.

    The counterpart of `negopt.curvature.hybrid.HybridOperator.trust_step`.  NORM takes the square
    of the length, which `advance` makes a length of.
    """
    work = cut(buffer, rows, gram, ints)
    reals = work.reals
    here, trial = ints[w.ITERATE], ints[w.TRIAL]
    x, g, out = work.vectors[2 * here], work.vectors[2 * here + 1], work.vectors[2 * trial]
    count, pairs, n = ints[w.STORED], ints[w.PAIRS], x.shape[0]
    order = work.order[:count]
    used = ints[w.ORDER + pairs : w.ORDER + pairs + count]
    gamma, skip, block = scaling(work), reals[w.SKIP], ints[w.BLOCK]
    info = np.zeros(5)
    ss, gs = math.inf, 0.0
    if n <= 2 * count:
        model = np.empty((n, n))
        dense_pairs(rows, order, gamma, skip, block, model, used)
        step = np.empty(n)
        if matrix_step(model, g.copy(), gamma, 0.0, reals[w.RADIUS], step, info) != LOST:
            ss, gs = add_step(x, g, step, out)
    else:
        gnorm = work.points[here, w.GNORM]
        given = gram, order, gamma, skip, block, work.along
        if folded_step(*given, gnorm, reals[w.RADIUS], work.weights, info, used) != LOST:
            ss, gs, _ = combine(rows, work.weights, 2 * count, info[0], g, x, out)
    newest_skipped(work, used)
    reals[w.SLOPE], reals[w.QUADRATIC] = gs, info[2]
    reals[w.NORM] = ss if gs < 0.0 else math.inf
    ints[w.PHASE] = 2

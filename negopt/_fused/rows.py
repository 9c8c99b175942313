"""Batches on the fused kernels: what every problem of a batch begins with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt._compiled import Compiled
from negopt._fused.models import DenseModel, Search, model_for
from negopt._method import Method
from negopt._options import RunOptions
from negopt._types import Iterate, State

__all__ = ["Rows", "rows_for"]

#: Up to here the Hessian of each problem is formed in full to check it.
MOST = 64


def rows_for(
    method: Method, run: RunOptions, target: Compiled, scheme: str, n: int
) -> Rows | None:
    """Return the runner of a batch, or None where each problem has to go through Python."""
    model = model_for(method)
    if not isinstance(model, DenseModel) or run.compiled is False or run.norm not in (2, math.inf):
        return None
    if run.xrtol > 0.0 or run.maxfun is not None or run.maxtime is not None:
        return None
    if run.certify and (n > MOST or n > run.certify_products > 0):
        return None
    return Rows(method, model, run, target, scheme, n)


class Rows:
    """Solves rows of a table in compiled code.

    Parameters
    ----------
    method : Method
    model : DenseModel
    run : RunOptions
    target : Compiled
        The objective.
    scheme : str
        Of its differences; "" with a gradient.
    n : int
    """

    def __init__(
        self,
        method: Method,
        model: DenseModel,
        run: RunOptions,
        target: Compiled,
        scheme: str,
        n: int,
    ) -> None:
        from negopt.kernels import batch as b
        from negopt.kernels import work as w

        self.target, self.n = target, n
        rule = Search(method.globalize)
        ones = np.ones(n)
        point = Iterate(ones, 0.0, ones, 1.0, 1.0, 1.0)
        memory, reach = method.curvature.init(ones), method.globalize.init(point)
        state = State(method.name, point, point, memory, reach)
        sizes = {"points": rule.points, "limit": rule.limit} | model.sizes(state)
        self.pairs = model.arrays(state)
        buffer, ints = w.allocate(n, **sizes)
        work = w.parts(buffer, *self.pairs, ints)
        ints[w.KEPT] = -1
        self.maxiter = max(1000, 200 * n)
        if run.maxiter is not None:
            self.maxiter = int(min(max(run.maxiter, 0), 1e18))
        ints[w.MAXITER], ints[w.PAUSE_AT] = self.maxiter, 2**62
        ints[w.EUCLIDEAN] = run.norm == 2
        reals = work.reals
        eps = float(np.finfo(np.float64).eps)
        self.gtol = max(1e-5, math.sqrt(eps)) if run.gtol is None else float(run.gtol)
        reals[w.STALLED_GMAX] = math.nan
        reals[w.GTOL], reals[w.FTARGET] = self.gtol, run.ftarget
        reals[w.UNBOUNDED_BELOW] = -1e30
        rule.load(reach, reals, ints)
        model.load(state, work)
        self.fresh, self.fresh_ints, self.length = reals.copy(), ints.copy(), buffer.size + n
        error = eps ** {"2-point": 1 / 4, "3-point": 1 / 3}.get(scheme, 1 / 2)
        self.settings = np.zeros(b.SETTINGS)
        self.settings[b.RELATIVE] = run.grtol
        self.settings[b.STEP] = 1.5 * max(error, 1e-6)
        self.settings[b.NOISE] = max(1e-5, 10.0 * error)
        self.settings[b.UNITS] = method.curvature.units == "auto"
        self.settings[b.CHECK] = run.certify and run.certify_products > 0

    def worker(self) -> tuple[Any, Any]:
        """Return ``(first, last, *columns) -> None`` with a workspace of its own, and its head."""
        from negopt.kernels.batch import solve_rows

        n, mine = self.n, self.target.copy()
        fixed = (
            mine.address,
            mine.head,
            np.zeros(self.length),
            *(a.copy() for a in self.pairs),
            self.fresh_ints.copy(),
            self.fresh,
            self.fresh_ints,
            self.settings,
            np.zeros((3 * n + 5, n + 2)),
        )

        def solve(first: int, last: int, *columns: Any) -> None:
            mine.head[0] = n  # keeps `mine` alive, and with it what the address points to
            solve_rows(first, last, *fixed, *columns)

        return solve, mine.head

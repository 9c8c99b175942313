"""Batches on the fused kernels: what every problem of a batch begins with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt._compiled import Compiled
from negopt._differences import product_error
from negopt._fused.models import DenseModel, Search, model_for
from negopt._method import Method
from negopt._options import RunOptions
from negopt._stopping import Limits, bound_on_gradient, most_iterations, stop
from negopt._types import Iterate, State, Status

__all__ = ["Rows", "rows_for"]

#: Up to here the Hessian of each problem is formed in full to check it.
MOST = 64


def rows_for(method: Method, run: RunOptions, target: Compiled, n: int) -> Rows | None:
    """Return the runner of a batch, or None where each problem has to go through Python."""
    model = model_for(method)
    if not isinstance(model, DenseModel) or run.compiled is False or run.norm not in (2, math.inf):
        return None
    if run.xrtol > 0.0 or run.maxfun is not None or run.maxtime is not None:
        return None
    if run.certify and (n > MOST or n > run.certify_products > 0):
        return None
    return Rows(method, model, run, target, n)


class Rows:
    """Solves rows of a table in compiled code.

    Parameters
    ----------
    method : Method
    model : DenseModel
    run : RunOptions
    target : Compiled
        The objective.
    n : int
    """

    def __init__(
        self,
        method: Method,
        model: DenseModel,
        run: RunOptions,
        target: Compiled,
        n: int,
    ) -> None:
        from negopt.kernels import batch as b
        from negopt.kernels import work as w

        self.target, self.run, self.n = target, run, n
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
        self.maxiter = most_iterations(run.maxiter, n)
        ints[w.MAXITER], ints[w.PAUSE_AT] = self.maxiter, 2**62
        ints[w.EUCLIDEAN] = run.norm == 2
        reals = work.reals
        eps = float(np.finfo(np.float64).eps)
        self.gtol = bound_on_gradient(run.gtol, eps)
        reals[w.STALLED_GMAX] = math.nan
        reals[w.GTOL], reals[w.FTARGET] = self.gtol, run.ftarget
        reals[w.UNBOUNDED_BELOW] = -1e30
        rule.load(reach, reals, ints)
        model.load(state, work)
        self.fresh, self.fresh_ints, self.length = reals.copy(), ints.copy(), buffer.size + n
        error = product_error(eps, target.scheme)
        self.settings = np.zeros(b.SETTINGS)
        self.settings[b.RELATIVE] = run.grtol
        self.settings[b.STEP] = 1.5 * max(error, 1e-6)
        self.settings[b.NOISE] = max(1e-5, 10.0 * error)
        self.settings[b.UNITS] = model.rule.units == "auto"
        self.settings[b.CHECK] = run.certify and run.certify_products > 0

    def prepare(self, starts: Any) -> None:
        """Set up the table of results."""
        k = int(starts.shape[0])
        self.x, self.g = starts.copy(), np.full(starts.shape, math.nan)
        self.f, self.lowest = np.full(k, math.nan), np.full(k, math.nan)
        self.status, self.counts = np.full(k, -1), np.zeros((k, 4), dtype=np.int64)
        self.begun = np.full((k, 2), math.nan)

    def worker(self) -> tuple[Any, Any]:
        """Return ``(first, last) -> None`` with a workspace of its own, and its head."""
        from negopt.kernels.batch import solve_rows

        n, mine = self.n, self.target.copy()
        rest = (
            mine.address,
            mine.head,
            np.zeros(self.length),
            *(a.copy() for a in self.pairs),
            self.fresh_ints.copy(),
            self.fresh,
            self.fresh_ints,
            self.settings,
            np.zeros((3 * n + 5, n + 2)),
            self.x,
            self.f,
            self.g,
            self.begun,
            self.status,
            self.counts,
            self.lowest,
        )
        return lambda first, last: solve_rows(first, last, *rest), mine.head

    def rest(self, i: int) -> tuple[Any, dict[str, Any]]:
        """Return where problem `i` stands, and the options to go on with."""
        left = max(self.maxiter - int(self.counts[i, 0]), 0)
        return self.x[i].copy(), {"maxiter": left, "gtol": float(self.begun[i, 1]), "grtol": 0.0}

    def message(self, i: int) -> str:
        """Say how problem `i` ended, as `negopt.minimize` does."""
        x, g, f = self.x[i], self.g[i], float(self.f[i])
        f0, gtol = self.begun[i].tolist()
        point = Iterate(x, f, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
        limits = Limits(gtol, float(self.run.norm), 0.0, float(self.run.ftarget), 2**62, f0)
        ended = stop(point, limits, 0, None)
        if self.status[i] == Status.LIMIT or ended is None:
            return (
                f"Maximum number of iterations has been exceeded (maxiter = {self.maxiter}); the "
                f"gradient is still larger than gtol = {gtol:.3g}. Raise maxiter."
            )
        text = ended[1]
        if self.counts[i, 3]:
            return f"{text}; smallest curvature found {self.lowest[i]:.3g} (positive)."
        if self.status[i] == Status.CONVERGED:
            return f"{text}; the curvature was not checked (certify=False)."
        return text

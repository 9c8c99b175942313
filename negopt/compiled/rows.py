"""Batches in the compiled loop: what their problems begin with, and how they ended."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negopt._array import eps_of
from negopt._method import Method
from negopt._objective import Objective
from negopt._options import RunOptions
from negopt._stopping import UNBOUNDED, Limits, bound_on_gradient, most_iterations, stop
from negopt._types import Iterate, Status
from negopt.compiled import kernel as k
from negopt.compiled.jitted import HALT, Target
from negopt.compiled.memory import Adapter
from negopt.compiled.run import ENDLESS, workspace

__all__ = ["Rows", "Worker"]


class Worker:
    """Solves problems on one thread, in a workspace of its own."""

    def __init__(self, target: Target, work: k.Work, batch: k.Batch) -> None:
        self.target, self.work, self.batch = target, work, batch

    def solve(self, first: int, last: int) -> None:
        """Solve problems `first` to `last` - 1."""
        address, head = self.target.address, self.target.head
        k.KERNEL.compile()(first, last, address, head, self.work, self.batch, ENDLESS)

    def halt(self) -> None:
        """Have the thread stop before its next evaluation."""
        self.target.head[HALT] = 1


class Rows:
    """The problems of a batch.

    Parameters
    ----------
    adapter : Adapter
    method : Method
    run : RunOptions
    objective : Objective
        That of one problem, for what is common to all.
    target : Target
        The objective.
    starts : array, shape (k, n)

    Attributes
    ----------
    table : Batch
        Starts and results; status below zero where `minimize` has to solve a problem.
    """

    def __init__(
        self,
        adapter: Adapter,
        method: Method,
        run: RunOptions,
        objective: Objective,
        target: Target,
        starts: Any,
    ) -> None:
        n = int(starts.shape[1])
        self.run, self.target, self.parallel = run, target, target.parallel
        self.maxiter = most_iterations(run.maxiter, n)
        self._fresh = lambda: workspace(adapter, method, run, objective, n, None)
        w = self._fresh()
        w.ints[k.MAXITER], w.ints[k.PAUSE_AT] = min(self.maxiter, ENDLESS), ENDLESS
        w.reals[k.GTOL], w.reals[k.GRTOL] = bound_on_gradient(run.gtol, eps_of(starts)), run.grtol
        w.reals[k.BOTTOM] = -UNBOUNDED
        self.table = k.new_batch(starts, w)

    def worker(self) -> Worker:
        """Return what solves problems on one more thread."""
        return Worker(self.target.copy(), self._fresh(), self.table)

    def message(self, i: int) -> str:
        """Say how problem `i` ended, as `negopt.minimize` does."""
        t = self.table
        x, g, (f0, gtol) = t.x[i], t.g[i], t.begun[i].tolist()
        point = Iterate(x, float(t.f[i]), g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))
        limits = Limits(gtol, float(self.run.norm), 0.0, float(self.run.ftarget), self.maxiter, f0)
        if t.status[i] == Status.LIMIT:  # N.B. the lowest point may be a stationary one
            limits = Limits(-1.0, limits.order, 0.0, -math.inf, self.maxiter, f0)
            text = stop(point, limits, self.maxiter, None)[1]  # type: ignore[index]
            return text.replace("gtol = -1", f"gtol = {gtol:.3g}")
        text = stop(point, limits, 0, None)[1]  # type: ignore[index]
        if t.counts[i, k.KIND]:
            return f"{text}; smallest curvature found {t.lowest[i]:.3g} (positive)."
        if t.status[i] == Status.CONVERGED:
            return f"{text}; the curvature was not checked (certify=False)."
        return text

"""Batches in the compiled loop: what their problems begin with, and how they ended."""

from __future__ import annotations

import numpy as np

from negopt.compiled import layout as k
from negopt.compiled.jitted import HALT, Target
from negopt.compiled.kernel import KERNEL
from negopt.compiled.run import ENDLESS, Setting
from negopt.core.arrays import FloatArray, eps_of
from negopt.core.messages import Words
from negopt.core.types import Certificate, Iterate, Status
from negopt.solver.second_order import finding
from negopt.solver.stopping import Limits, bound_on_gradient, most_iterations, stop

#: A problem of a batch has no state to go on from.
WORDS = Words(go_on="")
#: What `negopt.decisions.endings.why_over` says, in the same order.
ENDS = (Status.FAILED, Status.TARGET, Status.CONVERGED, Status.UNBOUNDED, Status.LIMIT)


class Worker:
    """Solves problems on one thread, in a workspace of its own."""

    def __init__(self, target: Target, work: k.Work, batch: k.Batch) -> None:
        self.target, self.work, self.batch = target, work, batch

    def solve(self, first: int, last: int) -> None:
        """Solve problems `first` to `last` - 1."""
        address, head = self.target.address, self.target.head
        KERNEL.compile()(first, last, address, head, self.work, self.batch, ENDLESS)

    def halt(self) -> None:
        """Have the thread stop before its next evaluation."""
        self.target.head[HALT] = 1


class Rows:
    """The problems of a batch, in a table."""

    def __init__(self, setting: Setting, starts: FloatArray) -> None:
        run = self.run = setting.run
        self.setting, self.parallel = setting, setting.target.parallel
        self.maxiter = most_iterations(run.maxiter, int(starts.shape[1]))
        w = setting.work(None)
        w.ints[k.MAXITER], w.ints[k.PAUSE_AT] = min(self.maxiter, ENDLESS), ENDLESS
        w.reals[k.GTOL], w.reals[k.GRTOL] = bound_on_gradient(run.gtol, eps_of(starts)), run.grtol
        self.table = k.new_batch(starts, w)

    def worker(self) -> Worker:
        """Return what solves problems on one more thread."""
        return Worker(self.setting.target.copy(), self.setting.work(None), self.table)

    @property
    def status(self) -> k.Ints:
        """How each has ended; ``FAILED`` where that is left to `minimize`."""
        return np.array([int(s) for s in ENDS])[self.table.counts[:, k.ENDED]]

    def message(self, i: int) -> str:
        """Say how problem `i` ended, as `negopt.minimize` does."""
        t, order = self.table, float(self.run.norm)
        g, (f, f0, gtol, lowest) = t.g[i], t.figures[i].tolist()
        point = Iterate(t.x[i], f, g, float(np.linalg.norm(g)), float(abs(g).max()))
        status, nit, target = ENDS[t.counts[i, k.ENDED]], int(t.counts[i, k.NIT]), self.run.ftarget
        limits = Limits(gtol, order, 0.0, float(target), self.maxiter, f0, words=WORDS)
        ended = stop(point, limits, nit, None)
        text = "" if ended is None else ended[1]
        if t.counts[i, k.KIND]:
            return text + finding(Certificate("positive", lowest))
        if status is Status.CONVERGED:
            return f"{text}; the curvature was not checked (certify=False)."
        return text

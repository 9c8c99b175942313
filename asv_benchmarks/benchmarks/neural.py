"""Training a small network on real data."""

from __future__ import annotations

import math

from negopt import neural

from .common import METHODS, Meter, solve

SEED = 0


class Ionosphere:
    """A tanh network with 8 hidden units, logistic loss, all 351 samples."""

    params = (list(METHODS),)
    param_names = ("method",)

    def setup(self, method: str) -> None:
        data = neural.load_ionosphere()
        network = neural.MLP([data.X.shape[1], 8, 1])
        self.objective = neural.MLPObjective(network, data.X, data.y, loss="logistic", l2=1e-4)
        self.x0 = self.objective.x0(rng=SEED)
        solve(Meter(self.objective), self.x0, method, maxiter=3)

    def time_100_iterations(self, method: str) -> None:
        solve(Meter(self.objective), self.x0, method, maxiter=100)

    def track_loss_after_300_evaluations(self, method: str) -> float:
        """Return the lowest loss within 300 evaluations, a Hessian product counting one."""
        best = math.inf
        budget = 300
        meter = Meter(self.objective)
        plain = meter.fun_and_grad

        def watched(x):
            nonlocal best
            f, g = plain(x)
            if meter.evaluations + meter.products <= budget:
                best = min(best, f)
            return f, g

        meter.fun_and_grad = watched
        solve(meter, self.x0, method, maxiter=budget)
        return best

    track_loss_after_300_evaluations.unit = "loss"

"""Many small fits at once, beside a loop over SciPy."""

from __future__ import annotations

import time

import numba
import numpy as np
import scipy.optimize

import negopt

#: Fits that SciPy makes, as a sample of all.
SAMPLE = 200


@numba.njit(cache=True)
def misfit(p, y, t):
    """Return the squared misfit of a Gaussian peak on a floor, and its gradient."""
    f, g = 0.0, np.zeros(4)
    for i in range(t.shape[0]):
        z = (t[i] - p[1]) / p[2]
        e = np.exp(-0.5 * z * z)
        r = p[0] * e + p[3] - y[i]
        f += 0.5 * r * r
        g[0] += r * e
        g[1] += r * p[0] * e * z / p[2]
        g[2] += r * p[0] * e * z * z / p[2]
        g[3] += r
    return f, g


class Batch:
    """Fits of four parameters to 21 samples each."""

    params = ([1_000, 10_000],)
    param_names = ("fits",)

    def setup(self, fits: int) -> None:
        rng = np.random.default_rng(0)
        self.t = np.linspace(-3.0, 3.0, 21)
        true = np.array([1.0, 0.0, 1.0, 0.2]) + 0.2 * rng.standard_normal((fits, 4))
        z = (self.t - true[:, 1:2]) / true[:, 2:3]
        clean = true[:, :1] * np.exp(-0.5 * z * z) + true[:, 3:]
        self.y = clean + 0.02 * rng.standard_normal(clean.shape)
        self.starts = np.tile([0.8, 0.3, 1.3, 0.0], (fits, 1))
        self.ours()

    def ours(self):
        return negopt.minimize_batch(misfit, self.starts, (self.y,), jac=True, common=(self.t,))

    def scipys(self):
        return [
            scipy.optimize.minimize(
                misfit, x0, args=(y, self.t), jac=True, method="L-BFGS-B", options={"gtol": 1e-5}
            )
            for x0, y in zip(self.starts[:SAMPLE], self.y[:SAMPLE], strict=True)
        ]

    def time_batch(self, fits: int) -> None:
        self.ours()

    def track_ratio_time(self, fits: int) -> float:
        turns = []
        for _ in range(3):
            begun = time.perf_counter()
            self.scipys()
            middle = time.perf_counter()
            self.ours()
            turns.append(((middle - begun) / SAMPLE, (time.perf_counter() - middle) / fits))
        theirs, ours = np.median(np.array(turns), axis=0)
        return float(theirs / ours)

    def track_ratio_evaluations(self, fits: int) -> float:
        ours = self.ours().nfev[:SAMPLE]
        return float(np.mean([r.nfev for r in self.scipys()]) / np.mean(ours))

    def track_share_solved(self, fits: int) -> float:
        return float(np.mean(self.ours().success))

"""Many small fits at once, beside a loop over SciPy."""

from __future__ import annotations

import time

import numba
import numpy as np
import scipy.optimize

import negopt

from .common import SMOKE

#: Fits that SciPy makes, as a sample of all.
SAMPLE = 20 if SMOKE else 200


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


def fits_of(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts, data and abscissae of k fits."""
    rng = np.random.default_rng(0)
    t = np.linspace(-3.0, 3.0, 21)
    true = np.array([1.0, 0.0, 1.0, 0.2]) + 0.2 * rng.standard_normal((k, 4))
    z = (t - true[:, 1:2]) / true[:, 2:3]
    clean = true[:, :1] * np.exp(-0.5 * z * z) + true[:, 3:]
    y = clean + 0.02 * rng.standard_normal(clean.shape)
    return np.tile([0.8, 0.3, 1.3, 0.0], (k, 1)), y, t


class Batch:
    """Fits of four parameters to 21 samples each."""

    params = ([SAMPLE] if SMOKE else [1_000, 10_000],)
    param_names = ("fits",)
    timeout = 120

    def setup_cache(self) -> dict[int, dict[str, float]]:
        """Measure all in one process: an objective is compiled anew in each."""
        return {k: self.measure(k) for k in self.params[0]}

    def measure(self, k: int) -> dict[str, float]:
        starts, y, t = fits_of(k)
        turns = []
        for _ in range(4):
            begun = time.perf_counter()
            theirs = [
                scipy.optimize.minimize(misfit, x0, (one, t), "L-BFGS-B", jac=True)
                for x0, one in zip(starts[:SAMPLE], y[:SAMPLE], strict=True)
            ]
            middle = time.perf_counter()
            ours = negopt.minimize_batch(misfit, starts, (y,), jac=True, common=(t,))
            turns.append(((middle - begun) / SAMPLE, (time.perf_counter() - middle) / k))
        a, b = np.median(np.array(turns[1:]), axis=0)
        return {
            "seconds": b * k,
            "time": a / b,
            "evaluations": float(np.mean([r.nfev for r in theirs]) / np.mean(ours.nfev[:SAMPLE])),
            "f": float(np.mean(ours.fun[:SAMPLE]) / np.mean([r.fun for r in theirs])),
            "solved": float(np.mean(ours.success)),
        }

    def track_seconds(self, cache, fits: int) -> float:
        return cache[fits]["seconds"]

    track_seconds.unit = "s"

    def track_ratio_time(self, cache, fits: int) -> float:
        return cache[fits]["time"]

    def track_ratio_evaluations(self, cache, fits: int) -> float:
        return cache[fits]["evaluations"]

    def track_ratio_final_value(self, cache, fits: int) -> float:
        """Return the mean f of ours over that of SciPy's: below 1 is better."""
        return cache[fits]["f"]

    def track_share_solved(self, cache, fits: int) -> float:
        return cache[fits]["solved"]

"""The noise of a function, from a table of its differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from negopt.core.arrays import Array, eps_of, from_host, to_host
from negopt.functions.differences import Values, Vector

#: Values on each side of the point.
SIDE = 3
#: Growth of the distance while f does not change from point to point, and how often.
WIDEN, TRIES = 100.0, 4


def noise_along(
    values: Values, x: Array, f: float, steps: Vector, require: Callable[[int], None]
) -> float:
    """Return the standard deviation of the noise of f around `x`; nan where it does not show.

    Six values are taken on a line through x, at distances of which `steps` are the entries.  In a
    table of differences those of a smooth function vanish from the third order on, and what is
    left of order k is noise, its variance times ``(2k)! / (k!)^2``.  Where f takes the same value
    at most of the points the distance is too short (f may be computed in single precision): it is
    widened a hundredfold, up to four times.

    References
    ----------
    More and Wild (2011), SIAM J. Sci. Comput. 33, 1292-1314, doi:10.1137/100786125.
    """
    host = to_host(x)
    signs = np.where(np.arange(host.shape[0]) % 2 == 0, 1.0, -1.0)
    u = 0.7 * signs * steps / math.sqrt(host.shape[0])
    eps = eps_of(x)
    where = [j for j in range(-SIDE, SIDE + 1) if j != 0]
    for _ in range(TRIES):
        require(len(where))
        # Whole units of the last place, so that the points are as far apart as they should be.
        last = eps * np.exp2(np.ceil(np.log2(np.abs(host) + 4.0 * np.abs(u))))
        u = last * np.where(np.rint(u / last) == 0.0, signs, np.rint(u / last))
        found = list(values(from_host(host + j * u, x) for j in where))
        table = np.asarray([*found[:SIDE], f, *found[SIDE:]], dtype=np.float64)
        if not np.all(np.isfinite(table)):
            return math.nan
        if len(np.unique(table)) > SIDE:
            return _deviation(table)
        u = WIDEN * u
    return math.nan


def _deviation(table: Vector) -> float:
    """Return the median over the orders from the third on."""
    found, scale = [], 1.0
    for k in range(1, len(table)):
        table = np.diff(table)
        scale *= 2.0 * (2.0 * k - 1.0) / k  # the binomial coefficient of 2k over k
        if k >= SIDE:
            found.append(math.sqrt(float(np.mean(table * table)) / scale))
    return float(np.median(found))

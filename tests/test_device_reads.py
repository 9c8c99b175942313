"""How often a run on a device waits for it: each read of a scalar is one."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

import negopt
from negopt.core import arrays as _array

DEVICE = array_api_strict.Device("device1")  # raises on every copy that is not asked for


@pytest.mark.parametrize(("method", "most"), [("lqn-tr", 6.5), ("lsr1-tr", 7.0)])
def test_reads_per_iteration(method, most, monkeypatch) -> None:
    """A trust-region iteration with fun and gradient together."""
    n = 300
    weights = array_api_strict.asarray(np.linspace(1.0, 100.0, n), device=DEVICE)
    reads = 0
    original = _array.to_host

    def counted(x):
        nonlocal reads
        reads += 1
        return original(x)

    def both(x):
        f = array_api_strict.sum(weights * x * x) / 2.0 + array_api_strict.sum(x**4) / 4.0
        return f, weights * x + x**3

    monkeypatch.setattr(_array, "to_host", counted)
    res = negopt.minimize(
        both,
        array_api_strict.ones(n, device=DEVICE),
        jac=True,
        method=method,
        options={"maxiter": 40, "certify": False, "gtol": 1e-10},
    )
    assert res.nit > 20
    assert res.x.device == DEVICE
    assert reads / res.nfev <= most

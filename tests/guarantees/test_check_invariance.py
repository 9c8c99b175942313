"""The second-order check does not depend on the units of the variables.

Theorem.  Let x be a point, B a dense model and D a positive diagonal matrix.  The check of
``f(D^-1 x)`` at Dx with the model ``D^-1 B D^-1`` gives the verdict, the number of products and D
times the step of the check of f at x with B, over 12 decades of D in float64 and 4 in float32.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negopt.algebra.roots import DenseRoot
from negopt.functions.objective import Objective
from negopt.solver.second_order import certify

LOWEST = (-1.0, -0.1, -1e-2, 1e-2, 0.1, 1.0)


def quartic(n, seed, lowest):
    """Return the Hessian at a stationary point c of a quartic, c and a model of the Hessian."""
    rng = np.random.default_rng([seed, n])
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    values = 10.0 ** rng.uniform(-1.0, 1.0, n)
    values[0] = lowest
    H = (q * values) @ q.T
    noise = rng.standard_normal((n, n))
    model = (q * np.abs(values)) @ q.T
    return 0.5 * (H + H.T), rng.standard_normal(n), model + 0.02 * (noise @ noise.T) / n


def look(H, c, model, d, dtype, inverse, exact):
    """Return the check in the units d."""
    Hd, cd = (H / d / d[:, None]).astype(dtype), (d * c).astype(dtype)
    B = model / d / d[:, None]
    matrix = np.linalg.inv(B) if inverse else B

    def slope(x):
        z = x - cd
        return Hd @ z + (z / d**2) * np.sum((z / d) ** 2, dtype=dtype)

    def fun(x):
        z = x - cd
        return float(1.0 + 0.5 * (z @ (Hd @ z)) + 0.25 * np.sum((z / d) ** 2) ** 2)

    o = Objective(fun, cd, jac=slope, hessp=(lambda x, p: Hd @ p) if exact else None)
    root = DenseRoot(matrix.astype(dtype), inverse=inverse)
    return certify(o, o.at(cd), np.random.default_rng(7), 20, root, 3.0)


@pytest.mark.parametrize(("dtype", "decades"), [("float64", 6.0), ("float32", 2.0)])
@settings(max_examples=80)
@given(
    n=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    lowest=st.sampled_from(LOWEST),
    inverse=st.booleans(),
    exact=st.booleans(),
)
def test_units_change_nothing(dtype, decades, n, seed, lowest, inverse, exact):
    H, c, model = quartic(n, seed, lowest)
    # Powers of two: what is compared is the rule, not the rounding of the scaled problem.
    d = 2.0 ** np.round(np.random.default_rng(seed).uniform(-decades, decades, n) * np.log2(10.0))
    first = look(H, c, model, np.ones(n), dtype, inverse, exact)
    second = look(H, c, model, d, dtype, inverse, exact)
    assert first.certificate.status == second.certificate.status
    assert first.certificate.products == second.certificate.products
    error = (1e-3 if dtype == "float32" else 1e-6) * np.linalg.norm(first.step)
    np.testing.assert_allclose(second.step / d, first.step, atol=error)
    assert second.length == pytest.approx(first.length, rel=1e-3)
    if lowest < -0.05 and n > 1:
        assert first.certificate.status in ("negative", "unsettled")

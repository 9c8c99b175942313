"""Verdicts of the second-order check on whole runs, beside the exact Hessian at the end."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import negopt
from negopt import problems
from negopt.neural import MLP, MLPObjective

#: Curvature that a verdict may miss, as a share of the largest.
SMALL = 1e-7


def networks():
    """Yield value, gradient, products and start of small regression networks."""
    for seed in range(24):
        rng = np.random.default_rng(seed)
        inputs, hidden = int(rng.integers(1, 6)), int(rng.integers(2, 10))
        X = rng.standard_normal((60, inputs))
        y = np.sin(2.0 * X[:, 0]) + 0.3 * rng.standard_normal(60)
        network = MLP([inputs, hidden, 1])
        o = MLPObjective(network, X, y, loss="squared", l2=(0.0, 1e-4, 1e-3)[seed % 3])
        yield f"network {seed}", o.fun, o.grad, o.hessp, o.x0(rng=seed)


@functools.cache
def ends(method):
    """Return name, result and relative lowest eigenvalues, raw and with a unit diagonal."""
    found = []
    tried = [(p.name, p.fun, p.grad, p.hessp, np.array(p.x0)) for p in problems.collection()]
    for name, fun, grad, hessp, x0 in [*tried, *networks()]:
        with np.errstate(all="ignore"):
            res = negopt.minimize(fun, x0, jac=grad, method=method, options={"maxiter": 1500})
            if res.curvature_status in ("not checked", "unknown"):
                continue
            product = hessp(res.x)
            H = np.stack([product(e) for e in np.eye(x0.size)])
        H = 0.5 * (H + H.T)
        size = np.sqrt(np.abs(np.diag(H)))
        size[size == 0.0] = 1.0
        shares = []
        for matrix in (H, H / size / size[:, None]):
            values = np.linalg.eigvalsh(matrix)
            shares.append(values[0] / np.max(np.abs(values), initial=1e-300))
        found.append((name, res, *shares))
    return found


@pytest.mark.parametrize("method", ["dqn-wolfe-pm", "lqn-tr"])
def test_verdicts_are_right(method) -> None:
    assert len(ends(method)) > 100
    for name, res, raw, balanced in ends(method):
        if res.curvature_status == "positive":
            assert min(raw, balanced) > -SMALL, name
        if res.curvature_status == "negative":
            assert min(raw, balanced) < 0.0, name
        assert res.success == (res.curvature_status != "negative"), name


@pytest.mark.parametrize("method", ["dqn-wolfe-pm", "lqn-tr"])
def test_what_the_check_costs(method) -> None:
    products = [res.state.certificate.products for _, res, _, _ in ends(method)]
    for (name, res, _, _), count in zip(ends(method), products, strict=True):
        assert count <= max(20, res.njev // 10), name
    assert np.median(products) <= (6 if method == "dqn-wolfe-pm" else 20)


@pytest.mark.parametrize(("name", "lowest"), [("nist_eckerle4", 1.47e-3), ("nist_mgh09", 3.08e-4)])
def test_a_plateau_is_left(name, lowest) -> None:
    """Where NIST's fits from afar are flat f has no curvature that differences could resolve."""
    problem = problems.get(name)
    res = negopt.minimize(problem.fun, np.array(problem.x0), jac=problem.grad)
    assert res.n_escapes > 0
    assert res.fun < lowest

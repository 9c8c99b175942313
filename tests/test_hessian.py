"""``res.hess`` and ``res.hess_inv``: the run's own model or products, as linear operators."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from scipy.optimize import BFGS, rosen, rosen_der, rosen_hess, rosen_hess_prod
from scipy.sparse.linalg import LinearOperator, eigsh

import negopt
from negopt import METHODS, problems

X0 = np.array([-1.2, 1.0, 0.5, -0.3])
MODELS = [name for name, row in METHODS.items() if row.needs == "jac" and not row.baseline]
EXACT = [name for name, row in METHODS.items() if row.needs == "hessp"]


def run(method: str, x0=X0, **options):
    given = {"hessp": rosen_hess_prod} if METHODS[method].needs == "hessp" else {}
    return negopt.minimize(rosen, x0, jac=rosen_der, method=method, options=options, **given)


def dense(operator):
    return operator if isinstance(operator, np.ndarray) else operator.toarray()


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method: str) -> None:
    """An operator with the size and type of x, symmetric, and what it says it is."""
    res = run(method, maxiter=30)
    if "hess" in res:
        assert isinstance(res.hess, LinearOperator)
        assert res.hess.shape == (4, 4)
        assert res.hess.dtype == np.float64
        assert res.hess.kind == ("exact" if METHODS[method].needs == "hessp" else "model")
        assert res.hess.source == ("hessp" if METHODS[method].needs == "hessp" else method)
        assert repr(res.hess) == f"<4x4 Hessian, {res.hess.kind} ({res.hess.source})>"
        full = res.hess.toarray()
        v = np.arange(4.0)
        scale = np.max(np.abs(full))
        for product in (res.hess @ v, res.hess.matvec(v), res.hess.T @ v, res.hess(v)):
            np.testing.assert_allclose(product, full @ v, atol=1e-10 * scale)
        np.testing.assert_allclose(res.hess @ np.eye(4), full, atol=1e-10 * scale)
        np.testing.assert_allclose(res.hess.rmatvec(v), full @ v, atol=1e-10 * scale)
        assert (res.hess @ v[:, None]).shape == (4, 1)
    if "hess" in res and "hess_inv" in res:
        inverse, full = dense(res.hess_inv), res.hess.toarray()
        condition = np.linalg.cond(full)
        np.testing.assert_allclose(full @ inverse, np.eye(4), atol=1e-13 * condition)
    assert ("hess" in res or "hess_inv" in res) is (method not in ("gd", "gd-armijo", "adam"))


@pytest.mark.parametrize("method", EXACT)
def test_products_are_those_of_the_hessian_at_the_point_returned(method: str) -> None:
    res = run(method, maxiter=3)
    np.testing.assert_allclose(res.hess.toarray(), rosen_hess(res.x), rtol=1e-12)
    assert "hess_inv" not in res


def test_where_products_come_from() -> None:
    problem = problems.get("chained_rosenbrock", 4)
    res = negopt.minimize(problem, problem.x0, method="newton-krylov")
    assert (res.hess.kind, res.hess.source) == ("exact", "object")
    res = negopt.minimize(rosen, X0, jac=rosen_der, hess=rosen_hess, method="newton-krylov")
    assert (res.hess.kind, res.hess.source) == ("exact", "hess")
    res = negopt.minimize(rosen, X0, jac=rosen_der, method="newton-krylov")
    assert (res.hess.kind, res.hess.source) == ("differences", "differences of the gradient")
    np.testing.assert_allclose(res.hess.toarray(), rosen_hess(res.x), rtol=1e-3, atol=1e-2)
    res = negopt.minimize(rosen, X0, jac=rosen_der, hess=BFGS(), method="newton-krylov")
    assert (res.hess.kind, res.hess.source) == ("model", "BFGS")


@pytest.mark.parametrize("method", ["lqn-tr", "lsr1-tr", "sr1-wolfe-pm"])
def test_a_quadratic_is_learned(method: str) -> None:
    """After n independent pairs an SR1-type model of a quadratic is its Hessian."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 5))
    h = a @ a.T + np.eye(5)
    res = negopt.minimize(
        lambda x: 0.5 * x @ h @ x, rng.standard_normal(5), jac=lambda x: h @ x, method=method
    )
    assert res.success
    np.testing.assert_allclose(res.hess.toarray(), h, atol=2e-2 * np.max(h))
    np.testing.assert_allclose(dense(res.hess_inv), np.linalg.inv(h), atol=0.1)


def test_a_dense_inverse_is_an_array_as_in_scipy() -> None:
    res = run("sr1-wolfe-pm")
    assert type(res.hess_inv) is np.ndarray
    before = pickle.dumps(res.state)
    res.hess_inv[:] = 0.0  # the caller's own
    assert pickle.dumps(res.state) == before
    res = run("sr1-wolfe-pm", maxiter=0)  # without a pair
    np.testing.assert_allclose(res.hess_inv, res.hess_inv[0, 0] * np.eye(4))
    np.testing.assert_allclose(res.hess.toarray() @ res.hess_inv, np.eye(4), atol=1e-12)


def test_nothing_is_called_before_it_is_used_nor_counted_after() -> None:
    calls = []

    def hessp(x, p):
        calls.append(1)
        return rosen_hess_prod(x, p)

    res = negopt.minimize(
        rosen, X0, jac=rosen_der, hessp=hessp, method="newton-krylov", options={"maxfun": 20}
    )
    assert len(calls) == res.nhev == res.state.counters.nhev
    for _ in range(30):  # beyond any budget of the run
        res.hess @ X0
    assert len(calls) == res.nhev + 30
    assert res.state.counters.nhev == res.nhev


def test_the_state_is_not_touched() -> None:
    for method in MODELS:
        res = run(method, maxiter=4)
        before = pickle.dumps(res.state)
        if "hess" in res:
            res.hess.toarray()
        if "hess_inv" in res:
            dense(res.hess_inv)
        assert pickle.dumps(res.state) == before


@pytest.mark.parametrize("method", MODELS)
def test_models_are_data(method: str) -> None:
    res = negopt.minimize(rosen, X0, jac=lambda x: rosen_der(x), method=method)  # no pickle of that
    for other in (copy.deepcopy(res), pickle.loads(pickle.dumps(res))):
        for name in ("hess", "hess_inv"):
            if name in res:
                np.testing.assert_array_equal(dense(other[name]), dense(res[name]))


def test_functions_are_copied_by_name_and_not_pickled() -> None:
    res = negopt.minimize(
        rosen, X0, jac=rosen_der, hessp=lambda x, p: rosen_hess_prod(x, p), method="newton-krylov"
    )
    np.testing.assert_array_equal(copy.deepcopy(res).hess.toarray(), res.hess.toarray())
    other = pickle.loads(pickle.dumps(res))
    assert other.hess.shape == (4, 4)
    with pytest.raises(RuntimeError, match="was pickled"):
        other.hess @ X0


def test_it_goes_on_to_scipy_and_to_the_diagnostics() -> None:
    res = run("newton-krylov")
    exact = np.linalg.eigvalsh(rosen_hess(res.x))
    assert eigsh(res.hess, k=1, which="SA")[0] == pytest.approx(exact[:1])
    pairs = negopt.leftmost_eigenpairs(res.hess, res.x)
    assert pairs.values == pytest.approx(exact[:1])
    errors = np.sqrt(np.diag(np.linalg.inv(res.hess.toarray())))
    assert errors == pytest.approx(np.sqrt(np.diag(np.linalg.inv(rosen_hess(res.x)))))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", ["lqn-tr", "sr1-wolfe-pm", "newton-krylov"])
def test_libraries(xp_case, method: str, dtype: str) -> None:
    problem = problems.get("chained_rosenbrock", 4)
    x0 = xp_case.asarray(problem.x0, dtype)
    res = negopt.minimize(problem, x0, method=method)
    assert res.hess.shape == (4, 4)
    assert res.hess.dtype == x0.dtype
    v = xp_case.asarray([1.0, -1.0, 0.5, 2.0], dtype)
    full = res.hess.toarray()
    matrix = xp_case.to_numpy(full)
    np.testing.assert_array_equal(matrix, matrix.T)
    for product in (res.hess @ v, res.hess.matvec(v), res.hess.T.dot(v)):
        assert xp_case.owns(product)
        assert product.dtype == x0.dtype
        want = matrix @ xp_case.to_numpy(v)
        np.testing.assert_allclose(xp_case.to_numpy(product), want, rtol=1e-3, atol=1e-2)
    assert xp_case.owns(res.hess @ full)
    if method != "newton-krylov":
        # A dense inverse is an array, any other an operator.
        inverse = res.hess_inv if method == "sr1-wolfe-pm" else res.hess_inv.toarray()
        assert xp_case.owns(inverse)
        product = matrix @ xp_case.to_numpy(inverse)
        np.testing.assert_allclose(product, np.eye(4), atol=1e-6 if dtype == "float64" else 0.1)

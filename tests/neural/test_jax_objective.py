"""JAX functions as objectives: the same numbers as the embedded network, and clear errors."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest

import negopt
from negopt.neural import MLP, MLPObjective, check_deterministic

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from negopt.neural.jax import JaxModelObjective, JaxObjective  # noqa: E402


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


class Affine(NamedTuple):
    weight: object
    bias: object


def network(params, inputs):
    *hidden, last = params["layers"]
    for layer in hidden:
        inputs = jnp.tanh(inputs @ layer["weight"].T + layer["bias"])
    return inputs @ last["weight"].T + last["bias"]


def half_squares(outputs, targets):
    return 0.5 * jnp.mean(jnp.sum((outputs - targets) ** 2, axis=1))


def logistic(outputs, targets):
    return jnp.mean(jnp.logaddexp(0.0, -targets * outputs))


def data(dtype="float64"):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3)).astype(dtype)
    y = np.sign(X[:, :1] * X[:, 1:2]).astype(dtype)
    return X, y


@lru_cache  # compilations are what these tests spend their time on
def pair(loss="squared", dtype="float64"):
    """Return the same objective twice, and the order of JAX's vector in the other's."""
    X, y = data(dtype)
    own = MLPObjective(MLP((3, 4, 1)), X, y, loss=loss)
    x = own.x0(rng=1)
    function = {"squared": half_squares, "logistic": logistic}[loss]
    tree = own.network.unflatten(x)
    theirs = JaxObjective.from_model(network, function, tree, X, y)
    order = theirs.flatten(own.network.unflatten(np.arange(x.size, dtype=dtype))).astype(int)
    return own, theirs, x, order


def odd_loss(params, scale):
    """Return a smooth loss of a nested tree, neither convex nor separable."""
    first, rest = params
    a = jnp.sin(first.weight @ rest["b"]) + first.bias
    return scale * jnp.sum(a**2) + jnp.cos(rest["a"]) * jnp.sum(rest["b"] ** 3)


def odd_tree(dtype="float64"):
    rng = np.random.default_rng(2)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), dtype)  # noqa: E731
    return [Affine(draw(2, 3), draw(2)), {"b": draw(3), "a": draw()}]


@lru_cache
def odd():
    return JaxObjective(odd_loss, odd_tree(), data=(0.7,))


def differences(fun, x, h=1e-6):
    columns = [(fun(x + h * e) - fun(x - h * e)) / (2 * h) for e in np.eye(x.size)]
    return np.stack(columns, axis=-1)


# --- the numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_it_agrees_with_the_embedded_network(loss):
    own, theirs, x, order = pair(loss)
    np.testing.assert_array_equal(theirs.x0, x[order])
    f, g = own.fun_and_grad(x)
    np.testing.assert_allclose(theirs.fun(theirs.x0), f, rtol=1e-14)
    np.testing.assert_allclose(theirs.grad(theirs.x0), g[order], rtol=1e-12, atol=1e-15)
    ours, product = own.hessp(x), theirs.hessp(theirs.x0)
    for p in np.random.default_rng(3).standard_normal((3, x.size)):
        np.testing.assert_allclose(product(p[order]), ours(p)[order], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_gauss_newton_products(loss):
    own, theirs, x, order = pair(loss)
    X, y = data()
    J = differences(lambda at: own.outputs(at)[:, 0], x)[:, order]
    z = own.outputs(x)
    np.testing.assert_allclose(theirs.outputs(theirs.x0), z, rtol=1e-13)
    curvature = np.ones_like(z) if loss == "squared" else 0.25 / np.cosh(0.5 * y * z) ** 2
    G = J.T @ (curvature * J) / len(X)
    product = theirs.gnp(theirs.x0)
    found = np.stack([product(e) for e in np.eye(x.size)])
    np.testing.assert_allclose(found, G, atol=1e-9)
    assert np.min(np.linalg.eigvalsh(0.5 * (found + found.T))) > -1e-12


def test_a_nested_tree_agrees_with_differences():
    objective = odd()
    x = objective.x0
    assert x.shape == (12,)
    np.testing.assert_allclose(objective.grad(x), differences(objective.fun, x), atol=1e-8)
    product = objective.hessp(x)
    H = np.stack([product(e) for e in np.eye(12)])
    np.testing.assert_allclose(H, H.T, atol=1e-13)
    np.testing.assert_allclose(H, differences(objective.grad, x), atol=1e-8)
    assert np.min(np.linalg.eigvalsh(H)) < 0.0


def test_trees_go_there_and_back():
    tree, objective = odd_tree(), odd()
    back = objective.unflatten(objective.x0)
    assert isinstance(back[0], Affine)
    jax.tree_util.tree_map(np.testing.assert_array_equal, back, tree)
    np.testing.assert_array_equal(objective.flatten(back), objective.x0)
    with pytest.raises(ValueError, match="structure"):
        objective.flatten(tree[1])
    with pytest.raises(ValueError, match=r"\['b'\].*\(4,\).*expected \(3,\)"):
        objective.flatten([tree[0], {"a": tree[1]["a"], "b": jnp.zeros(4)}])


def test_single_precision_stays_single():
    objective = pair("squared", "float32")[1]
    assert objective.x0.dtype == np.float32
    f, g = objective.fun_and_grad(objective.x0)
    assert f.dtype == g.dtype == objective.hessp(objective.x0)(g).dtype == np.float32
    assert objective.gnp(objective.x0)(g).dtype == np.float32
    options = {"maxiter": 10, "compiled": False}
    res = negopt.minimize(objective, objective.x0, method="lqn-tr", options=options)
    assert res.x.dtype == res.jac.dtype == np.float32
    assert res.fun < 0.5 * f


# --- the solver ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "compiled"), [("lqn-tr", True), ("lqn-tr", False), ("newton-krylov", False)]
)
def test_the_solver_takes_it(method, compiled):
    own, theirs, x, order = pair()
    options = {"maxiter": 5, "compiled": compiled}
    res = negopt.minimize(theirs, theirs.x0, method=method, options=options)
    assert res.jac_source == "grad"
    assert type(res.x) is np.ndarray
    assert isinstance(theirs.unflatten(res.x)["layers"][0]["weight"], jax.Array)
    # The run is that of the embedded network, as long as rounding has not grown.
    twin = negopt.minimize(own, x, method=method, options=options)
    assert res.fun < 0.5 * theirs.fun(theirs.x0)
    assert res.fun == pytest.approx(float(twin.fun), rel=1e-9)
    np.testing.assert_allclose(res.x, twin.x[order], rtol=1e-6, atol=1e-9)
    if method == "newton-krylov":
        assert res.nhev > 0
        assert res.hess_source == "object"


def test_it_is_deterministic():
    objective = pair()[1]
    check_deterministic(objective, objective.x0)

    def noisy(params, key):
        return jnp.sum(params**2) * (1.0 + jax.random.uniform(key))

    fixed = JaxObjective(noisy, jnp.ones(3), data=(jax.random.key(0),))
    check_deterministic(fixed, fixed.x0)  # randomness with a fixed key is none

    state = np.random.default_rng(0)

    def impure(params):
        shape = jax.ShapeDtypeStruct((), params.dtype)
        noise = jax.pure_callback(lambda: state.random(), shape)
        return (1.0 + jax.lax.stop_gradient(noise)) * jnp.sum(params**2)

    bad = JaxObjective(impure, jnp.ones(3))
    with pytest.raises(ValueError, match="not deterministic"):
        check_deterministic(bad, bad.x0)


# --- what it costs, and what it does not touch -----------------------------------------------


def test_one_compilation_for_each_shape():
    traces = []

    def loss(w, X):
        traces.append(X.shape)
        return jnp.mean((X @ w) ** 2)

    X = np.random.default_rng(0).standard_normal((12, 2))
    whole = JaxObjective(loss, np.ones(2), data=(X,))
    traces.clear()
    halves = [whole.on(X[:6]), whole.on(X[6:])]
    values = [half.fun(whole.x0) for half in halves]
    assert len(traces) == 1
    assert np.mean(values) == pytest.approx(float(whole.fun(whole.x0)), rel=1e-14)
    count = len(traces)
    for step in range(5):
        whole.fun_and_grad(whole.x0 + step)
        halves[0].grad(whole.x0 + step)
    assert len(traces) == count
    for objective in (whole, whole.on(X)):
        product = objective.hessp(whole.x0)
        product(whole.x0)
        product(whole.x0 + 1.0)
    assert len(traces) - count <= 2  # one product, traced once or twice by jvp of grad


def test_one_evaluation_for_each_point(monkeypatch):
    objective = odd().on(0.7)
    calls, both = [], objective._both
    monkeypatch.setattr(objective, "_both", lambda *args: calls.append(1) or both(*args))
    x = objective.x0.copy()
    f = objective.fun(x)
    assert objective.fun_and_grad(x)[0] == f
    objective.grad(x.copy())
    assert len(calls) == 1
    x[0] += 1.0  # found by content, not by identity
    assert objective.fun(x) != f
    assert len(calls) == 2


def test_vectors_may_change_afterwards():
    objective = odd()
    x = np.zeros(2048)[:12]
    x[:] = objective.x0
    product, tree = objective.hessp(x), objective.unflatten(x)
    f, p = objective.fun(x), np.ones(12)
    before, tree_before = np.array(product(p)), np.array(tree[0].weight)
    x[:] = 7.0
    np.testing.assert_array_equal(product(p), before)
    np.testing.assert_array_equal(tree[0].weight, tree_before)
    assert objective.fun(objective.x0) == f
    assert not objective.grad(x).flags.writeable


def test_products_are_no_views_of_their_argument():
    objective = JaxObjective(lambda w: 0.5 * jnp.sum(w * w), np.ones(4096))
    p = np.ones(4096)
    product = objective.hessp(objective.x0)(p)
    assert not np.shares_memory(product, p)
    p[:] = 3.0
    np.testing.assert_array_equal(product, 1.0)


def test_nothing_is_copied_on_the_way_out():
    objective = odd()
    from negopt.core.arrays import adopt

    value = jnp.arange(5.0)
    assert adopt(value).ctypes.data == value.unsafe_buffer_pointer()
    assert objective.grad(jnp.asarray(objective.x0)).shape == (12,)  # JAX's own vectors too


def test_a_start_of_jax_says_what_to_do():
    with pytest.raises(TypeError, match="JaxObjective"):
        negopt.minimize(square, jnp.ones(2), jac=jax.grad(square))
    objective = JaxObjective(square, jnp.ones(2))  # one array is a tree
    assert negopt.minimize(objective, objective.x0, options={"compiled": False}).success


def test_without_jax_the_module_says_what_to_install():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "try:\n    import negopt.neural.jax\n"
        "except ModuleNotFoundError as error:\n    print(error, error.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "negopt.neural.jax needs JAX: pip install 'negopt[jax]'. jax"


def test_neither_is_loaded_by_the_other():
    code = "import sys, negopt.neural; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- mistakes --------------------------------------------------------------------------------


def square(params, *data):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree_util.tree_leaves(params))


@pytest.mark.parametrize(
    ("params", "kind", "expected"),
    [
        ({}, ValueError, "no leaves"),
        ({"a": jnp.zeros((0,))}, ValueError, "no entries"),
        ({"a": 1.0}, TypeError, r"params\['a'\] is of type float"),
        ({"a": np.ones(2), "n": np.ones(2, int)}, ValueError, r"\['n'\] has type int64.*as data"),
        ([np.ones(2), np.ones(2, "float32")], ValueError, r"\[1\] has type float32.*one type"),
        ({"a": np.ones(2, "float16")}, ValueError, "float16"),
        ({"a": np.ones(2, complex)}, ValueError, "complex128"),
    ],
)
def test_parameters_that_do_not_fit(params, kind, expected):
    with pytest.raises(kind, match=expected):
        JaxObjective(square, params)


@pytest.mark.parametrize(
    ("loss", "kind", "expected"),
    [
        (3, TypeError, "'loss' is 3"),
        (lambda w: w**2, ValueError, r"shape \(2,\).*mean or sum"),
        (lambda w: jnp.sum(w) * 1j, ValueError, "complex128.*real"),
        (lambda w: (jnp.sum(w), 1), ValueError, "returned tuple"),
        (lambda w: {}["missing"], KeyError, "missing"),  # the user's own passes through
    ],
)
def test_losses_that_do_not_fit(loss, kind, expected):
    with pytest.raises(kind, match=expected):
        JaxObjective(loss, np.ones(2))


def test_double_parameters_in_32_bits():
    objective = JaxObjective(square, np.ones(2))
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="jax_enable_x64"):
            JaxObjective(square, np.ones(2))
        with pytest.raises(ValueError, match="jax_enable_x64"):
            objective.fun(objective.x0 + 1.0)
        single = JaxObjective(square, np.ones(2, "float32"))
        assert single.grad(single.x0).dtype == np.float32


@pytest.mark.parametrize(
    ("x", "kind", "expected"),
    [
        ([1.0, 1.0], TypeError, "'x' is a list"),
        (np.ones(3), ValueError, r"\(3,\).*2 parameters"),
        (np.ones(2, "float32"), ValueError, "float32.*float64"),
    ],
)
def test_vectors_that_do_not_fit(x, kind, expected):
    objective = JaxObjective(square, np.ones(2))
    for call in (objective.fun, objective.grad, objective.hessp, objective.unflatten):
        with pytest.raises(kind, match=expected):
            call(x)
    with pytest.raises(kind, match=expected.replace("'x'", "'p'")):
        objective.hessp(objective.x0)(x)


def test_data_are_counted():
    objective = odd()
    with pytest.raises(ValueError, match="2 arguments; this loss takes 1"):
        objective.on(1.0, 2.0)
    with pytest.raises(ValueError, match="1 arguments; this loss takes 2"):
        pair()[1].on(1.0)


def test_a_model_stays_one_on_other_data():
    objective = pair()[1]
    X, y = data()
    other = objective.on(X[:4], y[:4])
    np.testing.assert_array_equal(other.data[0], X[:4])
    assert isinstance(other, JaxModelObjective)
    assert other.outputs(objective.x0).shape == (4, 1)
    assert other.outputs(objective.x0, X).shape == (30, 1)
    p = np.ones(objective.x0.size)
    assert not np.allclose(other.gnp(objective.x0)(p), objective.gnp(objective.x0)(p))

"""Right derivatives are not called wrong; the usual mistakes are found and named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod

import negopt
from negopt import check_derivatives, neural, problems
from negopt.diagnostics.taylor import Trail, noise_level, order, step_range

X = np.array([0.7, -1.3, 0.4, 1.9, -0.2, 1.1])


def words(*arguments, **options) -> str:
    """Return what is found wrong, on one line."""
    found = check_derivatives(*arguments, **options)
    assert found.ok is (not found.problems) is bool(found)
    assert all(problem in str(found) for problem in found.problems)
    return "; ".join(found.problems)


def changed(i: int, factor: float = 1.0, added: float = 0.0):
    """Return rosen_der with one wrong entry."""

    def jac(x):
        g = rosen_der(x)
        g[i] = factor * g[i] + added
        return g

    return jac


# --- right ones ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, np.float64) for name in problems.names()]
    + [(name, np.float32) for name in problems.names()[::3]],
)
def test_right_derivatives_are_not_called_wrong(name: str, dtype: type) -> None:
    """All problems at a random point, steep and badly scaled ones among them."""
    problem = problems.get(name)
    rng = np.random.default_rng(len(name))
    x = problem.x0 * (1.0 + 0.3 * rng.standard_normal(problem.n))
    x = (x + 0.1 * rng.standard_normal(problem.n)).astype(dtype)
    found = check_derivatives(problem, None, None, x, directions=3, components=5)
    around = [problem.fun(dtype(1.0 + h) * x) for h in (-1e-5, 0.0, 1e-5)]
    if not (np.all(np.isfinite(around)) and np.all(np.isfinite(problem.grad(x)))):
        assert any("finite" in problem_ for problem_ in found.problems) or found.ok
    else:
        assert found.ok, str(found)


@settings(max_examples=40)
@given(
    n=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-8, 1.0, 1e8]),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
)
def test_right_derivatives_of_random_functions(n, seed, size, offset) -> None:
    """Sums of sines and quartics of any size, also far above zero."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, n)), rng.standard_normal(n)
    found = check_derivatives(
        lambda x: size * (np.sum(np.sin(a @ x)) + np.sum((x - b) ** 4) + offset),
        lambda x: size * (a.T @ np.cos(a @ x) + 4.0 * (x - b) ** 3),
        lambda x, p: size * (-a.T @ (np.sin(a @ x) * (a @ p)) + 12.0 * (x - b) ** 2 * p),
        rng.standard_normal(n),
        rng=seed,
    )
    assert found.ok, str(found)


def test_figures_of_right_derivatives() -> None:
    found = check_derivatives(rosen, rosen_der, rosen_hess_prod, X)
    assert found.ok
    assert found.gradient_error < 1e-9
    assert found.hessian_error < 1e-9
    assert found.gradient_orders.shape == found.hessian_orders.shape == (5,)
    assert np.all(np.abs(found.gradient_orders - 2.0) < 0.1)
    assert np.all(np.abs(found.hessian_orders - 3.0) < 0.1)
    assert found.asymmetry < 1e-14
    assert found.nonlinearity < 1e-14
    assert found.noise < 1e-13
    assert "right" in str(found)
    assert "order 2.0" in str(found)


def test_minima_flat_functions_and_one_variable() -> None:
    for fun, jac, hessp, x0 in (
        (rosen, rosen_der, rosen_hess_prod, np.ones(4)),
        (lambda x: 1.0, lambda x: 0.0 * x, lambda x, p: 0.0 * p, X),
        (np.sum, np.ones_like, lambda x, p: 0.0 * p, X),
        (lambda x: x[0] ** 3, lambda x: 3.0 * x**2, lambda x, p: 6.0 * x * p, [2.0]),
        (lambda x: math.log(x[0]), lambda x: 1.0 / x, lambda x, p: -p / x**2, [1e-3]),
        (lambda x: np.sum(x**2) / 2, lambda x: x, lambda x, p: p, np.zeros(3)),
    ):
        found = check_derivatives(fun, jac, hessp, x0)
        assert found.ok, str(found)


def test_a_network(xp_case) -> None:
    network = neural.MLP([4, 3, 1])
    rng = np.random.default_rng(0)
    data = xp_case.asarray(rng.standard_normal((30, 4)))
    labels = xp_case.asarray(np.sign(rng.standard_normal(30)))
    objective = neural.MLPObjective(network, data, labels, loss="logistic", l2=1e-3)
    x = xp_case.asarray(0.5 * rng.standard_normal(network.size))
    found = check_derivatives(objective, None, None, x, directions=2, components=3)
    assert found.ok, str(found)
    wrong = check_derivatives(
        objective, lambda x: -objective.grad(x), None, x, directions=2, components=3
    )
    assert "negative" in wrong.problems[0]


# --- wrong gradients ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_wrong_gradients_are_named(dtype: type) -> None:
    x = X.astype(dtype)
    assert words(rosen, lambda x: -rosen_der(x), None, x) == (
        "jac is the negative of what differences of fun say"
    )
    assert words(rosen, lambda x: 2.0 * rosen_der(x), None, x) == (
        "jac is 2 times what differences of fun say"
    )
    assert words(rosen, lambda x: rosen_der(x) / 3.0, None, x).startswith("jac is 1/3 times")
    assert words(rosen, lambda x: 0.0 * x, None, x).startswith("jac is zero, which is not")
    assert words(rosen, changed(3, -1.0), None, x).startswith("jac[3] is ")
    assert words(rosen, changed(3, -1.0), None, x).endswith("(the sign is wrong)")
    assert words(rosen, changed(1, 0.5), None, x).endswith("(a factor of 1/2)")
    text = words(rosen, lambda x: rosen_der(x)[[0, 4, 2, 3, 1, 5]], None, x)
    assert text.startswith("jac[1] and jac[4] are interchanged")


def test_the_wrong_entry_with_its_numbers() -> None:
    text = words(lambda x: np.sum(x), lambda x: np.array([1.0, 1.0, 2.0]), None, [3.0, 4.0, 5.0])
    assert text == "jac[2] is 2 where differences of fun say 1 (a factor of 2)"
    text = words(rosen, changed(2, 1.0, 1e-3), None, X)
    g = rosen_der(X)[2]
    assert text == f"jac[2] is {g + 1e-3:.6g} where differences of fun say {g:.6g}"
    text = words(lambda x: 7.0, np.ones_like, None, X)
    assert "is 1 where differences of fun say 0; 6 of 6" in text


def test_one_wrong_entry_among_many_is_found_by_halving() -> None:
    x = np.random.default_rng(5).standard_normal(3000)
    found = check_derivatives(rosen, changed(1234, 3.0), None, x)
    assert found.problems[0].startswith("jac[1234] is ")
    assert found.nfev < 1500


def test_several_points_of_view_agree() -> None:
    """jac=True, an object, args and hess are checked alike."""
    assert not words(lambda x: (rosen(x), rosen_der(x)), True, rosen_hess_prod, X)
    assert "negative" in words(lambda x: (rosen(x), -rosen_der(x)), True, None, X)
    assert not words(rosen, rosen_der, None, X, hess=rosen_hess)
    assert not words(rosen, rosen_der, None, X, hess=lambda x: rosen_hess(x).tolist())
    sparse = lambda x: scipy.sparse.csr_array(rosen_hess(x))  # noqa: E731
    assert not words(rosen, rosen_der, rosen_hess_prod, X, hess=sparse)

    def fun(x, a, b):
        return a * np.sum(x**2) + b

    assert not words(fun, lambda x, a, b: 2 * a * x, lambda x, p, a, b: 2 * a * p, X, args=(3, 1))
    assert "1/3 times" in words(fun, lambda x, a, b: 2 * x, None, X, args=(3, 1))

    class Wrong:
        x0, fun, grad = X, staticmethod(rosen), staticmethod(changed(0, 2.0))

    assert words(Wrong(), None, None, X).startswith("jac[0]")


# --- wrong products -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_wrong_products_are_named(dtype: type) -> None:
    x = X.astype(dtype)

    def found(hessp) -> str:
        return words(rosen, rosen_der, hessp, x)

    assert found(lambda x, p: 0.5 * rosen_hess_prod(x, p)) == (
        "hessp is 1/2 times what differences of jac say"
    )
    assert "negative of" in found(lambda x, p: -rosen_hess_prod(x, p))

    def lopsided(x, p):
        h = rosen_hess_prod(x, p)
        h[0] += 300.0 * p[4]
        return h

    text = found(lopsided)
    assert "hessp is not symmetric: p'Hq is" in text
    assert "entry (0, 4) of its Hessian is 300 where differences of jac say 0" in text
    text = found(lambda x, p: rosen_hess_prod(x, p / np.linalg.norm(p)))
    assert text.startswith("hessp is not linear in p")

    def diagonal(x, p):
        h = rosen_hess_prod(x, p)
        h[2] += 200.0 * p[2]
        return h

    assert "entry (2, 2) of its Hessian" in found(diagonal)
    text = words(rosen, rosen_der, diagonal, x, components=0)
    assert "entry 2 of its product with a random vector" in text
    text = words(rosen, rosen_der, rosen_hess_prod, x, hess=lambda x: 2.0 * rosen_hess(x))
    assert "hess and hessp disagree" in text
    text = words(rosen, rosen_der, None, x, hess=lambda x: np.triu(rosen_hess(x)))
    assert "hess is not symmetric" in text


def test_products_without_a_gradient() -> None:
    assert not words(rosen, None, rosen_hess_prod, X)
    text = words(rosen, None, lambda x, p: 2.0 * rosen_hess_prod(x, p), X)
    assert text == "hessp is 2 times what second differences of fun say"
    text = words(rosen, None, lambda x, p: rosen_hess_prod(x, p) + 90.0 * np.sum(p), X)
    assert "d'Hd along a random direction" in text


def test_a_wrong_gradient_is_not_blamed_on_hessp() -> None:
    found = check_derivatives(rosen, changed(2, 3.0), rosen_hess_prod, X)
    assert len(found.problems) == 1
    assert found.problems[0].startswith("jac[2]")
    assert any("hessp does not fit jac" in note for note in found.notes)


# --- noise, and what cannot be used ---------------------------------------------------------


def test_random_functions_are_told() -> None:
    rng = np.random.default_rng(1)
    text = words(lambda x: rosen(x) * (1 + 1e-6 * rng.standard_normal()), rosen_der, None, X)
    assert text.startswith("fun is not deterministic: two calls at x0 gave ")
    noisy = lambda x: rosen_der(x) + 1e-3 * rng.standard_normal(6)  # noqa: E731
    assert words(rosen, noisy, None, X).startswith("jac is not deterministic")
    noisy = lambda x, p: rosen_hess_prod(x, p) + rng.standard_normal(6)  # noqa: E731
    assert "hessp is not deterministic" in words(rosen, rosen_der, noisy, X)


def rough(x, size):
    """Return rosen with an error that depends on the last bits of x."""
    bits = np.sum(np.asarray(x, np.float64).view(np.uint64) * np.uint64(2654435761))
    return rosen(x) * (1.0 + size * (int(bits) % 10007 / 5003.5 - 1.0))


def test_a_rough_function_is_told_and_not_taken_for_a_wrong_gradient() -> None:
    for size in (1e-12, 1e-8, 1e-4):
        found = check_derivatives(lambda x, s=size: rough(x, s), rosen_der, None, X)
        assert found.ok, str(found)
        assert 0.1 * size < found.noise < 2.0 * size
        assert any("noisy" in note for note in found.notes) is (size > 1e-10)
        wrong = check_derivatives(lambda x, s=size: rough(x, s), lambda x: -rosen_der(x), None, X)
        assert "negative" in wrong.problems[0]
    text = words(lambda x: rough(x, 10.0), rosen_der, None, X)
    assert "jac cannot be checked, fun is too noisy" in text


def test_values_of_lower_precision_are_not_a_wrong_gradient() -> None:
    found = check_derivatives(
        lambda x: float(rosen(x.astype(np.float32))), rosen_der, rosen_hess_prod, X
    )
    assert found.ok, str(found)
    found = check_derivatives(rosen, lambda x: rosen_der(x).astype(np.float32), rosen_hess_prod, X)
    assert found.ok, str(found)


def test_a_kink_is_a_note() -> None:
    found = check_derivatives(lambda x: np.sum(np.abs(x)), np.sign, None, np.zeros(3))
    assert found.ok
    assert any("kink" in note for note in found.notes)


def test_what_cannot_be_used_ends_the_check() -> None:
    assert "fun(x0) is nan" in words(lambda x: math.nan, rosen_der, None, X)
    assert "jac(x0) has entries" in words(rosen, lambda x: math.nan * x, None, X)
    assert "hessp(x0, p) has" in words(rosen, rosen_der, lambda x, p: math.inf * p, X)
    assert "hess(x0) p has" in words(rosen, rosen_der, None, X, hess=lambda x: math.nan * np.eye(6))
    assert "shape (3,)" in words(rosen, lambda x: x[:3], None, X)
    assert "shape (2, 2)" in words(rosen, rosen_der, None, X, hess=lambda x: np.eye(2))
    assert "scalar" in words(lambda x: x, rosen_der, None, X)
    assert "pair" in words(lambda x: 1.0, True, None, X)
    assert "complex" in words(rosen, lambda x: 1j * x, None, X)
    point = lambda x: 0.0 if np.array_equal(x, X) else math.nan  # noqa: E731
    assert "not finite in the neighbourhood" in words(point, rosen_der, None, X)
    assert "not finite in the neighbourhood" in words(point, None, rosen_hess_prod, X)

    def domain(x):  # raises beyond its domain, which large steps leave
        return math.log(x[0])

    assert not words(domain, lambda x: 1.0 / x, None, [1e-4])
    with pytest.raises(ValueError, match="math domain"):  # but at x0 the caller hears of it
        check_derivatives(domain, lambda x: 1.0 / x, None, [-1.0])


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"fun": 3.0}, TypeError, "fun=3.0"),
        ({"jac": "2-point"}, TypeError, "jac='2-point'"),
        ({"hessp": 1}, TypeError, "hessp=1"),
        ({"x0": None}, ValueError, "x0 is missing"),
        ({"x0": []}, ValueError, "empty"),
        ({"jac": None}, ValueError, "nothing to check"),
        ({"directions": 0}, ValueError, "directions"),
        ({"components": -1}, ValueError, "components"),
        ({"rtol": -1.0}, ValueError, "rtol"),
        ({"rng": "x"}, ValueError, "rng"),
    ],
)
def test_bad_input_is_named(change, error, text) -> None:
    arguments = {"fun": rosen, "jac": rosen_der, "hessp": None, "x0": X, **change}
    with pytest.raises(error, match=text):
        check_derivatives(**arguments)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_libraries(xp_case, dtype: str) -> None:
    problem = problems.get("chained_rosenbrock", 6)
    x = xp_case.asarray(X, dtype)
    options = {"directions": 2, "components": 2}
    assert not words(problem, None, None, x, **options)
    hessp = lambda x, p: -problem.hessp(x)(p)  # noqa: E731
    assert "negative" in words(problem.fun, problem.grad, hessp, x, **options)
    assert "2 times" in words(problem.fun, lambda x: 2.0 * problem.grad(x), None, x, **options)


def test_repeatable_and_x0_is_left_alone() -> None:
    x = X.copy()
    x.flags.writeable = False
    first, again, other = (check_derivatives(rosen, rosen_der, None, x, rng=i) for i in (3, 3, 4))
    assert first.gradient_error == again.gradient_error != other.gradient_error
    assert negopt.check_derivatives is check_derivatives

    def careless(x):  # writes into what it is handed
        x *= 2.0
        return rosen(x / 2.0)

    assert not words(careless, rosen_der, None, x)


# --- the instruments ----------------------------------------------------------------------


def test_noise_level() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(8.0)
    smooth = 3.0 + 2.0 * t - t**2 + 0.1 * t**3
    assert noise_level(smooth) < 1e-13
    levels = [float(noise_level(smooth + 1e-3 * rng.standard_normal(8))) for _ in range(200)]
    assert 0.5e-3 < np.sqrt(np.mean(np.square(levels))) < 2e-3
    both = noise_level(np.stack([smooth, smooth + 1e-3 * rng.standard_normal(8)], axis=1))
    assert both.shape == (2,)
    assert both[0] < 1e-13 < both[1]


def test_order() -> None:
    steps = step_range(2.2e-16, 0.0)
    assert steps[0] > 1e4 * 2.2e-16 ** (1 / 3) > 1e-8 > steps[-1]
    for power in (1, 2, 3):
        found = order(steps, [5.0 * h**power for h in steps], [1e-14] * len(steps))
        assert found == pytest.approx(power)
    assert math.isnan(order(steps, [0.0] * len(steps), [1e-14] * len(steps)))


def trail(mismatch, noise=1e-16):
    out = Trail()
    for h in step_range(2.2e-16, 0.0):
        out.add(h, mismatch(h), noise / h, 1.0)
    return out


def test_verdicts() -> None:
    assert not trail(lambda h: 3.0 * h * h).verdict(0.0).wrong  # a true derivative
    wrong = trail(lambda h: 0.2 + 3.0 * h * h).verdict(0.0)
    assert wrong.wrong
    assert wrong.mismatch == pytest.approx(0.2)
    assert not trail(lambda h: 0.2 + 3.0 * h * h).verdict(0.3).wrong
    # Rough on a small scale: steady over the large steps, gone at the small ones.
    assert not trail(lambda h: 0.2 / (1.0 + (1e-6 / h) ** 2)).verdict(0.0).wrong
    # All of the mismatch may be noise.
    assert not trail(lambda h: 0.2, noise=1.0).verdict(0.0).wrong
    assert trail(lambda h: math.nan).verdict(0.0) is None

"""In its Krylov space a step of "sfn-lanczos" is the minimiser over a ball of the norm of |H|.

Theorem.  Let K be the space of g, H g, ... that was grown, P the projection on it, ``T = PHP``,
and M the matrix |T| with its eigenvalues kept above ``floor max|theta|``, divided by a constant c,
which is ``g'|T|g / g'g`` at the first point of a run.

1. The step s lies in K, ``sqrt(s'Ms) <= radius``, and there is sigma >= 0 with ``(T + sigma M) s =
   -P g``, ``T + sigma M`` positive semidefinite and ``sigma (radius - sqrt(s'Ms)) = 0``: it is a
   global minimiser of ``g's + s'Hs/2`` over the ball.  That is ``model="quadratic"``; with
   ``model="absolute"`` the same holds with |T| for T.
2. For ``model="absolute"`` and no eigenvalue below the floor, ``s = -t |T|^-1 g``, t <= 1.
3. Another radius at the same point takes no product.
4. In a run accepted values do not rise beyond rounding, and no step is longer than the radius.
5. Beside a saddle steps go away from it along the negative curvature in the space: to the
   boundary (``"quadratic"``), or twice as far each time.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS
from negopt.core.bounds import Radius
from negopt.core.types import Iterate
from negopt.curvature.exact_products import ProductOperator
from negopt.steps.sfn_lanczos import SaddleFreeLanczos

EPS = np.finfo(float).eps


def point(g):
    return Iterate(np.zeros_like(g), 0.0, g, float(np.linalg.norm(g)), float(np.max(np.abs(g))))


def hessian(n, seed, condition):
    rng = np.random.default_rng([seed, n])
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    values = condition ** -rng.uniform(0, 1, n) * rng.choice([-1.0, 1.0], n)
    values *= 10.0 ** rng.uniform(-2, 2)
    H = (Q * values) @ Q.T
    return (H + H.T) / 2, rng.standard_normal(n)


class Counted:
    """Products with H, counted."""

    def __init__(self, H):
        self.H, self.calls = H, 0

    def __call__(self, v):
        self.calls += 1
        return self.H @ v


def krylov(H, g, k):
    """An orthonormal basis of the Krylov space, by another way than Lanczos's recurrence."""
    columns = [g / np.linalg.norm(g)]
    for _ in range(k - 1):
        v = H @ columns[-1]
        for _ in range(3):
            Q = np.stack(columns, axis=1)
            v = v - Q @ (Q.T @ v)
        columns.append(v / np.linalg.norm(v))
    return np.stack(columns, axis=1)


def check_minimiser(H, g, Q, step, bound, rule):
    """Check 1 of the theorem with dense matrices."""
    T, inside = Q.T @ H @ Q, Q.T @ step.s
    np.testing.assert_allclose(Q @ inside, step.s, atol=1e-8 * np.linalg.norm(step.s))
    values, vectors = np.linalg.eigh(T)
    size = np.maximum(np.abs(values), rule.floor * np.max(np.abs(values)))
    along = vectors.T @ (Q.T @ g) / np.linalg.norm(g)
    M = (vectors * size) @ vectors.T / (along**2 @ size)
    model = T if rule.model == "quadratic" else (vectors * np.abs(values)) @ vectors.T
    length = np.sqrt(inside @ M @ inside)
    assert length <= bound * (1 + 1e-8)
    assert step.norm == pytest.approx(length, rel=1e-6)
    force = -(model @ inside + Q.T @ g)
    sigma = (inside @ force) / length**2
    scale = np.linalg.norm(g)
    assert sigma * length >= -1e-7 * scale
    np.testing.assert_allclose(force, sigma * (M @ inside), atol=1e-6 * scale)
    assert np.linalg.eigvalsh(model + sigma * M)[0] >= -1e-7 * np.max(size)
    if length < bound * (1 - 1e-6):
        assert abs(sigma) * length <= 1e-6 * scale
        assert not step.on_boundary


@pytest.mark.parametrize("model", ["quadratic", "absolute"])
@settings(max_examples=80)
@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 10**9),
    condition=st.sampled_from([1.0, 10.0, 1e3]),
    bound=st.floats(-3, 3).map(lambda e: 10.0**e),
    floor=st.sampled_from([1e-4, 1e-2, 0.5]),
    share=st.floats(0.2, 1.0),
)
def test_the_step_is_the_minimiser_in_its_space(model, n, seed, condition, bound, floor, share):
    H, g = hessian(n, seed, condition)
    k = max(1, round(share * n))
    rule = SaddleFreeLanczos(max_products=k, forcing=1e-15, floor=floor, model=model)
    products = Counted(H)
    operator = ProductOperator(products)
    step = rule.propose(point(g), operator, Radius(bound))
    assert products.calls == operator.basis.k <= k
    Q = krylov(H, g, operator.basis.k)
    check_minimiser(H, g, Q, step, bound, rule)
    assert step.slope == pytest.approx(g @ step.s, rel=1e-8)
    assert step.quadratic == pytest.approx(step.s @ H @ step.s, rel=1e-6, abs=1e-8 * -step.slope)
    assert step.euclidean == pytest.approx(np.linalg.norm(step.s))
    assert step.slope < 0.0 < step.predicted_decrease
    # A smaller radius: the same basis.
    again = rule.propose(point(g), operator, Radius(0.3 * step.norm))
    assert products.calls == operator.basis.k
    check_minimiser(H, g, Q, again, 0.3 * step.norm, rule)
    assert again.on_boundary


@settings(max_examples=60)
@given(n=st.integers(1, 15), seed=st.integers(0, 10**9), bound=st.floats(0.01, 100.0))
def test_the_absolute_model_is_the_saddle_free_step_cut_to_the_ball(n, seed, bound):
    H, g = hessian(n, seed, 10.0)
    rule = SaddleFreeLanczos(forcing=1e-15, model="absolute")
    step = rule.propose(point(g), ProductOperator(lambda v: H @ v), Radius(bound))
    values, vectors = np.linalg.eigh(H)
    newton = -vectors @ ((vectors.T @ g) / np.abs(values))
    unit = np.sum((vectors.T @ g) ** 2 * np.abs(values)) / (g @ g)
    length = np.sqrt(-g @ newton / unit)
    factor = min(1.0, bound / length)
    np.testing.assert_allclose(step.s, factor * newton, atol=1e-6 * np.linalg.norm(newton))


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1.0, 1e8, 1e100])
def test_a_unit_step_along_the_first_gradient_has_length_one(scale):
    """And it stays so: the unit is that of the first point."""
    H, g = scale * np.diag([3.0, -1.0, 0.2]), scale * np.array([1.0, 2.0, -2.0])
    rule = SaddleFreeLanczos(max_products=1)
    operator = ProductOperator(lambda v: H @ v)
    step = rule.propose(point(g), operator, Radius(1e-3))
    assert np.linalg.norm(step.s) == pytest.approx(1e-3)
    assert step.norm == pytest.approx(1e-3)
    later = ProductOperator(lambda v: 4.0 * H @ v, operator.scale)
    step = rule.propose(point(g), later, Radius(1e-3))
    assert step.norm == pytest.approx(1e-3)
    assert np.linalg.norm(step.s) == pytest.approx(0.5e-3)


@settings(max_examples=40)
@given(
    flat=st.integers(1, 5), seed=st.integers(0, 10**6), bound=st.floats(-2, 2).map(lambda e: 10**e)
)
def test_flat_directions_are_bounded(flat, seed, bound):
    """Zero eigenvalues: the floor bounds the Euclidean length; no curvature at all: a ball."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.zeros(flat), rng.uniform(0.5, 2.0, 3)])
    g = rng.standard_normal(flat + 3)
    rule = SaddleFreeLanczos()
    operator = ProductOperator(lambda v: values * v)
    step = rule.propose(point(g), operator, Radius(bound))
    assert step.norm <= bound * (1 + 1e-10)
    assert np.linalg.norm(step.s) <= bound * np.sqrt(2.0 / (rule.floor * 0.5)) * (1 + 1e-6)
    step = rule.propose(point(g), ProductOperator(lambda v: 0.0 * v), Radius(bound))
    np.testing.assert_allclose(step.s, -bound * g / np.linalg.norm(g))
    assert (step.norm, step.on_boundary) == (pytest.approx(bound), True)


@settings(max_examples=40)
@given(
    n=st.integers(2, 10),
    seed=st.integers(0, 10**6),
    offset=st.floats(-9, -2).map(lambda e: 10.0**e),
    model=st.sampled_from(["quadratic", "absolute"]),
)
def test_negative_curvature_is_gone_down(n, seed, offset, model):
    """Along an eigenvector of negative curvature the step goes away from the saddle."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 2.0, n)
    values[0] *= -1.0
    x = rng.standard_normal(n)
    x[0] = offset
    g = values * x
    rule = SaddleFreeLanczos(forcing=1e-15, model=model)
    step = rule.propose(point(g), ProductOperator(lambda v: values * v), Radius(10.0))
    assert step.s[0] * x[0] > 0.0
    if model == "quadratic":
        assert step.on_boundary
        assert step.norm == pytest.approx(10.0)
    else:  # twice as far away in each step
        assert step.s[0] == pytest.approx(x[0], rel=1e-3)


@dataclasses.dataclass(frozen=True)
class Watch:
    """The rule, with what it proposed for which radius."""

    inner: SaddleFreeLanczos
    log: list = dataclasses.field(default_factory=list)

    def propose(self, iterate, operator, bound):
        known = operator.basis.k if operator.basis is not None else None
        step = self.inner.propose(iterate, operator, bound)
        self.log.append((step, bound.value, known, operator.basis.k))
        return step


@settings(max_examples=40)
@given(
    family=st.sampled_from(["quartic", "logcosh", "sine", "net"]),
    n=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    model=st.sampled_from(["quadratic", "absolute"]),
    floor=st.sampled_from([1e-8, 1e-4, 0.1]),
)
def test_runs(random_function, family, n, seed, model, floor):
    function = random_function(family, n, seed)
    x0 = 3.0 * np.random.default_rng(seed).standard_normal(function.n)
    row = METHODS["sfn-lanczos"].with_options({"model": model, "floor": floor})
    watch = Watch(row.step)
    seen = []
    res = negopt.minimize(
        function.fun,
        x0,
        jac=function.grad,
        hessp=function.hessp,
        method=dataclasses.replace(row, step=watch),
        callback=lambda intermediate_result: seen.append(intermediate_result.fun),
        options={"maxfun": 5000},
    )
    assert res.success, res.message
    values = np.array([function.fun(x0), *seen])
    assert np.all(np.diff(values) <= 1e4 * EPS * np.abs(values[:-1]))
    for step, bound, known, used in watch.log:
        assert step.norm <= bound * (1 + 1e-12)
        assert known in (None, used)  # a rejected step took no product


@pytest.mark.parametrize(("model", "most"), [("absolute", 26), ("quadratic", 11)])
def test_it_leaves_a_saddle_without_the_check(model, most):
    """From 1e-6 beside the saddle of the stable manifold, by the space of g alone."""
    res = negopt.minimize(
        lambda x: float(x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1:] @ x[1:] / 2),
        [1e-6, 1.0, -1.0],
        jac=lambda x: np.concatenate([[x[0] ** 3 - x[0]], x[1:]]),
        hessp=lambda x, p: np.concatenate([[(3 * x[0] ** 2 - 1) * p[0]], p[1:]]),
        method="sfn-lanczos",
        options={"certify": False, "gtol": 1e-9, "model": model},
    )
    assert res.fun == pytest.approx(-0.25)
    assert res.n_escapes == 0
    assert res.nit <= most

"""The compiled space of the second-order check is the reference's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import negopt
from negopt._certify import certify
from negopt._fused.engine import Cold, engine_for
from negopt._fused.space import CompiledSpace
from negopt._objective import Objective
from negopt._options import RunOptions
from negopt._solver import Solver
from negopt._space import Space
from negopt.kernels import space as kernels
from negopt.kernels._jit import jit_disabled


def quadratic(n: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    spectrum = np.linspace(1.0, 30.0, n)
    spectrum[0] = -15.0
    return (q * spectrum) @ q.T, rng


@pytest.mark.parametrize("seed", range(4))
def test_both_spaces_grow_alike(seed: int) -> None:
    n, room = 25, 8
    h, rng = quadratic(n, seed)
    wanted = rng.standard_normal((room, n))
    spaces = Space(wanted[0], room), CompiledSpace(wanted[0], room)
    for v in wanted:
        for space in spaces:
            space.absorb(h @ space.open(v, rng))
        a, b = spaces
        assert a.k == b.k
        basis = b.basis[: b.k]
        np.testing.assert_allclose(basis @ basis.T, np.eye(b.k), atol=1e-14)
        np.testing.assert_allclose(basis, a.basis[: a.k], atol=1e-12)
        np.testing.assert_allclose(b.values, a.values, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(b.weights, a.weights, atol=1e-9)
        np.testing.assert_allclose(b.residual(), a.residual(), atol=1e-7)
        np.testing.assert_allclose(b.lowest(), a.lowest(), atol=1e-9)
        # Independent of both: the lowest Ritz pair by definition.
        z = b.lowest()
        np.testing.assert_allclose(b.residual(), h @ z - (z @ h @ z) * z, atol=1e-7)


@pytest.mark.parametrize("kind", [Space, CompiledSpace])
def test_a_direction_that_is_known_already_is_replaced(kind: type[Space]) -> None:
    h, rng = quadratic(6, 0)
    space = kind(np.zeros(6), 4)
    space.absorb(h @ space.open(None, rng))
    first = space.basis[0].copy()
    for useless in (first, 1e3 * first, np.zeros(6), np.full(6, np.nan)):
        direction = space.open(useless, rng)
        assert abs(direction @ first) < 1e-14
        assert np.linalg.norm(direction) == pytest.approx(1.0, abs=1e-14)


def test_a_restart_goes_on_from_the_lowest_pair() -> None:
    h, rng = quadratic(30, 1)
    space = Space(np.zeros(30), 3)
    lowest = []
    following = None
    for _ in range(40):
        if space.k == space.room:
            space.restart()
        space.absorb(h @ space.open(following, rng))
        following = space.residual()
        lowest.append(float(space.values[0]))
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(lowest))
    assert lowest[-1] == pytest.approx(np.linalg.eigvalsh(h)[0], rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_verdict_does_not_depend_on_who_computes_it(seed: int) -> None:
    h, _ = quadratic(40, seed)

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.5 * float(x @ h @ x), h @ x

    found = []
    for kind in (Space, CompiledSpace):
        objective = Objective(fun, np.zeros(40), (), True)
        here = objective.at(objective.x0)
        rng = np.random.default_rng(seed)
        certificate, _ = certify(objective, here, rng, 20, space=kind)
        found.append(certificate)
    one, two = found
    assert one.status == two.status == "negative"
    assert two.products == one.products
    assert two.min_curvature == pytest.approx(one.min_curvature, rel=1e-8)
    np.testing.assert_allclose(two.direction, one.direction, atol=1e-6)


def checked_with(**options: object) -> type[Space]:
    """Return the kind of space with which a run on 20 variables was checked."""
    problem = negopt.problems.get("extended_rosenbrock", n=20)
    objective = Objective(problem.fun_and_grad, np.full(20, 1.1), (), True)
    solver = Solver(negopt.METHODS["dqn-wolfe-pm"], objective, RunOptions(**options))
    state = solver.init()
    engine = engine_for(solver, state.iterate.x)
    while state.status is None:
        engine.step(state, 10)
    assert state.certificate.status == "positive"
    return solver.space


def test_the_engine_checks_with_kernels() -> None:
    assert checked_with(compiled=True) is CompiledSpace


@pytest.mark.skipif(jit_disabled(), reason="without Numba nothing is waited for")
def test_a_small_run_does_not_wait_for_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    cold = [kernels.place, kernels.ritz]
    real = Cold.waits
    monkeypatch.setattr(Cold, "waits", lambda kernel: kernel in cold or real(kernel))
    assert checked_with(compiled="auto") is Space

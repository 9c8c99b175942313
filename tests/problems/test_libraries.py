"""Every problem on every array library: same numbers, same device, same type."""

import numpy as np
import pytest

from negopt import problems

SMALL = 8


def _point(problem):
    rng = np.random.default_rng(11)
    return problem.x0 + 1e-2 * (1.0 + np.abs(problem.x0)) * rng.uniform(-1.0, 1.0, problem.n)


def _host(case, x):
    """Return a host copy of `x`; torch's own conversion warns under NumPy 2."""
    return x.numpy().copy() if case.name == "torch" else case.to_numpy(x)


def _scalar(case, value):
    return float(_host(case, value)) if case.name == "array_api_strict" else float(value)


def test_same_numbers_in_every_library(xp_case):
    for p in problems.collection(n=SMALL):
        x, d = _point(p), np.cos(np.arange(p.n))
        there, direction = xp_case.asarray(x), xp_case.asarray(d)
        f, g = p.fun_and_grad(there)
        h = p.hessp(there)(direction)
        assert g.dtype == h.dtype == there.dtype
        assert g.shape == h.shape == (p.n,)
        if not xp_case.name.startswith("numpy"):
            assert xp_case.owns(g)
            assert xp_case.owns(h)
            assert f.shape == ()
        want_f, want_g = p.fun_and_grad(x)
        want_h = p.hessp(x)(d)
        assert _scalar(xp_case, f) == pytest.approx(want_f, rel=1e-12), p.name
        assert _scalar(xp_case, p.fun(there)) == pytest.approx(want_f, rel=1e-12), p.name
        for got, want in ((g, want_g), (h, want_h)):
            np.testing.assert_allclose(
                _host(xp_case, got),
                want,
                rtol=0.0,
                atol=1e-11 * np.max(np.abs(want)),
                err_msg=p.name,
            )


def test_float32_stays_float32(xp_case):
    for p in problems.collection(n=SMALL):
        x = xp_case.asarray(p.x0, "float32")
        f, g = p.fun_and_grad(x)
        h = p.hessp(x)(g)
        assert g.dtype == h.dtype == x.dtype, p.name
        # NumPy's scalars carry their type too.
        assert f.dtype == p.fun(x).dtype == x.dtype, p.name


def test_results_are_fresh_arrays(xp_case):
    for p in problems.collection(n=SMALL):
        x = xp_case.asarray(_point(p))
        before = _host(xp_case, x).copy()
        g = p.grad(x)
        first = _host(xp_case, g).copy()
        product = p.hessp(x)
        product(g)
        p.grad(xp_case.asarray(p.x0))
        np.testing.assert_array_equal(_host(xp_case, x), before)
        np.testing.assert_array_equal(_host(xp_case, g), first)


def test_start_in_another_library(xp_case):
    p = problems.get("nist_misra1a")
    for dtype in ("float32", "float64"):
        x = p.start(xp_case.xp, getattr(xp_case.xp, dtype), xp_case.device, which=1)
        np.testing.assert_allclose(_host(xp_case, x), p.starts[0], rtol=1e-7)
        assert x.dtype == getattr(xp_case.xp, dtype)


@pytest.mark.parametrize("name", problems.names("chain"))
def test_chains_are_linear_in_n(name):
    # A dense n x n array at this n would take 80 GB.
    p = problems.get(name, 99_996)
    f, g = p.fun_and_grad(p.x0)
    assert np.isfinite(f)
    assert np.all(np.isfinite(p.hessp(p.x0)(g)))


def test_all_starts_are_finite_at_larger_n():
    for p in problems.collection("variable", n=600):
        f, g = p.fun_and_grad(p.x0)
        assert np.isfinite(f), p.name
        assert np.all(np.isfinite(p.hessp(p.x0)(g))), p.name

"""Finding and building problems, and the messages when that fails."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from negopt import problems


def test_names_and_tags():
    names = problems.names()
    assert len(names) == len(set(names)) >= 100
    assert len(problems.names("mgh")) == 35
    assert len(problems.names("nist")) == 27
    assert len(problems.names("chain")) >= 25
    assert set(problems.names("fixed")) | set(problems.names("variable")) == set(names)
    with pytest.raises(ValueError, match=r"'tag' 'sadle'.*saddle"):
        problems.names("sadle")


def test_unknown_name_gives_the_nearest():
    with pytest.raises(ValueError, match=r"'name' 'rosenbrok'.*'rosenbrock'"):
        problems.get("rosenbrok")
    with pytest.raises(ValueError, match=r"problems\.names\(\)"):
        problems.get("xyzzy")


@pytest.mark.parametrize(
    ("name", "n", "message"),
    [
        ("wood", 5, "'n' must be 4 .* got 5"),
        ("extended_rosenbrock", 7, "multiple of 2.* got 7. Use for example 6"),
        ("bdqrtic", 3, "at least 5.* got 3. Use for example 5"),
        ("genrose", 2.5, "positive integer; got 2.5"),
        ("genrose", True, "positive integer; got True"),
        ("watson", 40, "at most 31.* got 40"),
    ],
)
def test_wrong_dimension(name, n, message):
    with pytest.raises(ValueError, match=message):
        problems.get(name, n)


def test_parameters():
    assert problems.get("curly", 40, width=20).n == 40
    with pytest.raises(TypeError, match=r"no parameter 'widht'; its parameters are \['width'\]"):
        problems.get("curly", widht=20)
    with pytest.raises(TypeError, match="it has no parameters"):
        problems.get("wood", m=6)
    with pytest.raises(ValueError, match=r"'m' must be at least n = 10; got 5"):
        problems.get("linear_full_rank", 10, m=5)
    with pytest.raises(ValueError, match="'variant'"):
        problems.get("dixmaan", variant="z")
    again = [problems.get("phase_retrieval", seed=4).minimizer for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert np.any(again[0] != problems.get("phase_retrieval", seed=5).minimizer)


def test_collection():
    sizes = {p.name: p.n for p in problems.collection(n=50)}
    assert sizes["genrose"] == 50
    assert sizes["extended_powell_singular"] == 48
    assert sizes["wood"] == 4
    assert [p.name for p in problems.collection("nist")] == problems.names("nist")
    with pytest.raises(ValueError, match="'n' must be a positive integer"):
        problems.collection(n=0)


def test_collection_respects_the_largest_dimension():
    assert {p.name: p.n for p in problems.collection(n=1000)}["watson"] <= 31


def test_fields():
    for p in problems.collection():
        assert p.x0.shape == (p.n,)
        assert not p.x0.flags.writeable
        assert p.x0.dtype == np.float64
        assert p.reference
        assert p.formula
        for point in (*p.starts, *p.saddles):
            assert point.shape == (p.n,)
        assert p.minimizer is None or (p.minimizer.shape == (p.n,) and p.minimum is not None)
        assert all(v > p.minimum for v in p.local_minima)
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.n = 3


def test_wrong_shapes_are_refused():
    p = problems.get("wood")
    for call in (p.fun, p.grad, p.fun_and_grad, p.hessp, p.hessp(p.x0)):
        with pytest.raises(ValueError, match=r"shape \(3,\).*n = 4"):
            call(np.zeros(3))


def test_start_number_is_checked():
    p = problems.get("nist_rat42")
    np.testing.assert_array_equal(p.start(), p.x0)
    assert p.start().flags.writeable
    with pytest.raises(ValueError, match="'which' must lie between 0 and 1; got 2"):
        p.start(which=2)


def test_overflow_is_quiet():
    p = problems.get("jennrich_sampson")
    assert not math.isfinite(p.fun(np.array([1e3, 1e3])))
    assert not np.all(np.isfinite(p.hessp(np.array([1e3, 1e3]))(np.ones(2))))


def test_import_loads_no_heavy_library():
    code = (
        "import sys, negopt.problems\n"
        # N.B. not SciPy as a whole: its BLAS is what vectors are multiplied by.
        "heavy = {'numba', 'torch', 'matplotlib', 'pandas', 'cupy', 'scipy.optimize'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_problems_are_not_compared_by_value():
    assert problems.get("wood") != problems.get("wood")
    assert "model" not in repr(problems.get("wood"))

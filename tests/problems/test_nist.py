"""The NIST problems against the values that NIST certifies."""

import numpy as np
import pytest

from negopt import problems
from negopt.problems._nist_data import read

NIST = problems.names("nist")
# The residuals of these are rounding errors of the data or of the 11 certified digits.
EXACT_DATA = {"nist_lanczos1"}


def test_all_sets_are_here():
    assert len(NIST) == 27
    lengths = [read(p.reference.rsplit(" ", 1)[1]).y.size for p in problems.collection("nist")]
    # Observations as NIST lists them.
    listed = [154, 6, 214, 54, 6, 168, 35, 250, 250, 250, 236, 151, 24, 24, 24, 11, 16, 33]
    listed += [14, 14, 14, 14, 128, 9, 15, 25, 37]
    assert sorted(lengths) == sorted(listed)


@pytest.mark.parametrize("name", NIST)
def test_certified_parameters_give_the_certified_residual(name):
    p = problems.get(name)
    f = float(p.fun(p.minimizer))
    if name in EXACT_DATA:
        assert p.minimum < 1e-24
        assert f < 1e-20
    else:
        assert f == pytest.approx(p.minimum, rel=1e-9)


@pytest.mark.parametrize("name", NIST)
def test_certified_parameters_are_stationary(name):
    p = problems.get(name)
    x = p.minimizer
    h = p.hess(x)
    # The Newton step from the certified point, relative to the parameters; the
    # certified values have 11 digits.
    scale = np.sqrt(np.diag(h))
    step = np.linalg.solve(h / scale / scale[:, None], p.grad(x) / scale) / scale
    assert np.all(np.abs(step) <= 1e-10 * np.abs(x))
    assert np.linalg.eigvalsh(h / scale / scale[:, None])[0] > 0.0


@pytest.mark.parametrize("name", NIST)
def test_standard_deviations_follow_from_the_hessian(name):
    # sd^2 = RSS / (m - n) diag((J'J)^-1).  Half the Hessian is J'J plus a part of the size of
    # the residuals, hence the wide tolerance.
    p = problems.get(name)
    data = read(p.reference.rsplit(" ", 1)[1])
    h = 0.5 * p.hess(p.minimizer)
    scale = np.sqrt(np.diag(h))
    inverse = np.linalg.inv(h / scale / scale[:, None]) / scale / scale[:, None]
    sd = np.sqrt(np.diag(inverse) * p.minimum / (data.y.size - p.n))
    small = name in {"nist_lanczos1", "nist_lanczos2", "nist_lanczos3"}
    np.testing.assert_allclose(sd, data.deviations, rtol=0.05 if small else 0.25)


@pytest.mark.parametrize("name", NIST)
def test_both_starts_are_carried(name):
    p = problems.get(name)
    assert len(p.starts) == 1
    assert np.isfinite(p.fun(p.starts[0]))
    assert not np.array_equal(p.x0, p.starts[0])

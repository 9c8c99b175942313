"""Long vectors: entries that are equal stay equal, and the caller's library and type are kept."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.vectors.primitives import BLOCK, add_scaled, combine, put


@pytest.mark.parametrize(
    "n", [1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 1000, BLOCK - 1, BLOCK + 1, 40_001]
)
def test_variables_that_play_the_same_part_stay_equal(n) -> None:
    """BLAS' axpy fuses multiplication and addition, but not for the last entries."""
    rng = np.random.default_rng(n)
    for a, x, y in rng.standard_normal((20, 3)):
        out = add_scaled(np.full(n, y), a, np.full(n, x))
        assert np.unique(out).size == 1
        assert out[0] == y + a * x


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_library(xp_case, dtype) -> None:
    rng = np.random.default_rng(0)
    rows, v, weights = rng.standard_normal((4, 9)), rng.standard_normal(9), rng.standard_normal(4)
    theirs, vector = xp_case.asarray(rows, dtype), xp_case.asarray(v, dtype)
    scale = np.float64(0.3)  # N.B. NumPy's own number: it must not make float32 double
    out = combine(weights, theirs, scale, vector)
    assert xp_case.owns(out)
    assert out.dtype == vector.dtype
    np.testing.assert_allclose(xp_case.to_numpy(out), weights @ rows + 0.3 * v, rtol=1e-5)
    same = xp_case.asarray(v, dtype) + 0.0
    assert add_scaled(same, scale, vector) is same
    np.testing.assert_allclose(xp_case.to_numpy(same), 1.3 * v, rtol=1e-5)
    written = theirs + 0.0
    put(written, 2, scale, vector)
    np.testing.assert_allclose(xp_case.to_numpy(written)[2], 0.3 * v, rtol=1e-5)
    np.testing.assert_array_equal(xp_case.to_numpy(written)[1], xp_case.to_numpy(theirs)[1])

"""The QR drivers take over when divide and conquer reports no convergence."""

from __future__ import annotations

import numpy as np
import pytest

from negopt.algebra.eigen import singular_values, symmetric_eigen


@pytest.fixture(params=[False, True], ids=["first", "second"])
def drivers(request, monkeypatch):
    """Let NumPy's drivers fail, or leave them."""

    def fails(*args, **kwargs):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    if request.param:
        monkeypatch.setattr(np.linalg, "eigh", fails)
        monkeypatch.setattr(np.linalg, "svd", fails)


@pytest.mark.usefixtures("drivers")
def test_symmetric_eigen() -> None:
    a = np.random.default_rng(0).standard_normal((7, 7))
    a = a + a.T
    values, vectors = symmetric_eigen(a)
    assert np.all(np.diff(values) >= 0.0)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(7), atol=1e-13)
    np.testing.assert_allclose(vectors * values @ vectors.T, a, atol=1e-12)


@pytest.mark.usefixtures("drivers")
def test_singular_values() -> None:
    a = np.random.default_rng(1).standard_normal((6, 5))
    sizes, right = singular_values(a)
    assert np.all(np.diff(sizes) <= 0.0)
    np.testing.assert_allclose(right.T * sizes**2 @ right, a.T @ a, atol=1e-12)

"""The recipes of ``docs/clients.md`` run as they stand there, and end in minima."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import negopt

pytestmark = pytest.mark.clients

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"


def test_the_recipes_run() -> None:
    import lmfit
    import statsmodels.api as sm
    from _atoms import planar_gold
    from sklearn.datasets import load_diabetes
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    data = sm.datasets.spector.load_pandas()
    given = {"sm": sm, "negopt": negopt, "y": data.endog, "X": sm.add_constant(data.exog)}
    names = {}
    recipes = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(recipes) == 4

    exec(recipes[0], given, names)
    assert names["res"].mle_retvals["converged"]
    np.testing.assert_allclose(names["res"].params.iloc[1:], [2.826, 0.0952, 2.379], rtol=1e-3)

    X, y = load_diabetes(return_X_y=True)
    given = {"GaussianProcessRegressor": GaussianProcessRegressor, "negopt": negopt}
    given |= {"kernel": RBF() + WhiteKernel(), "X": X[:60, 2:3], "y": y[:60] - np.mean(y[:60])}
    exec(recipes[1], given)

    params, t = lmfit.create_params(a={"value": 1.0, "min": 0.0}, b=2.0), np.linspace(0.0, 1.0, 20)

    def residual(p):
        return p["a"] * np.exp(-p["b"] * t) - 3.0 * np.exp(-1.3 * t)

    exec(
        recipes[2],
        {"lmfit": lmfit, "negopt": negopt, "residual": residual, "params": params},
        names,
    )
    assert names["res"].success
    assert names["res"].params["b"].value == pytest.approx(1.3, abs=1e-4)

    atoms = planar_gold()
    names = {"atoms": atoms, "negopt": negopt}
    exec(recipes[3], names)
    assert names["res"].success
    assert np.ptp(atoms.positions[:, 2]) > 1.0  # it has left the plane

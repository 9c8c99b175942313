"""Fits that packages make on data that they bundle, each through the package's own call.

A fit takes no argument, and returns what the package returns.  SciPy's minimiser is the package's
default for the model where it has one, else BFGS.  Columns are as they come: not centred or scaled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from _fits_statsmodels import STATSMODELS, bundled
from _stand_in import Call

Fit = Callable[[], Any]

#: Name -> fit.  The name begins with the package.
FITS: dict[str, Fit] = dict(STATSMODELS)


def fit(name: str) -> Callable[[Fit], Fit]:
    """Enter a fit in the table."""

    def enter(function: Fit) -> Fit:
        FITS[name] = function
        return function

    return enter


# --- scikit-learn ----------------------------------------------------------------------------


def loaded(name: str) -> tuple[Any, Any]:
    """Return a data set of scikit-learn."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, y


def logistic(name: str, C: float) -> Any:
    """Fit a logistic regression of scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, tol=1e-6, max_iter=10_000).fit(*loaded(name))


@fit("scikit-learn LogisticRegression, iris")
def _() -> Any:
    return logistic("iris", 1.0)


@fit("scikit-learn LogisticRegression, breast cancer")
def _() -> Any:
    return logistic("breast_cancer", 1.0)


@fit("scikit-learn LogisticRegression, wine")
def _() -> Any:
    return logistic("wine", 100.0)


@fit("scikit-learn PoissonRegressor, diabetes")
def _() -> Any:
    from sklearn.linear_model import PoissonRegressor

    return PoissonRegressor(alpha=1e-4, tol=1e-6, max_iter=10_000).fit(*loaded("diabetes"))


@fit("scikit-learn GammaRegressor, diabetes")
def _() -> Any:
    from sklearn.linear_model import GammaRegressor

    return GammaRegressor(alpha=1e-3, tol=1e-6, max_iter=10_000).fit(*loaded("diabetes"))


@fit("scikit-learn MLPClassifier, iris")
def _() -> Any:
    from sklearn.neural_network import MLPClassifier

    X, y = loaded("iris")
    return MLPClassifier(
        (4,), "tanh", solver="lbfgs", alpha=0.1, max_iter=5000, tol=1e-7, random_state=0
    ).fit(X, y)


def without_bounds(objective: Any, theta: Any, bounds: Any) -> tuple[Any, float]:  # noqa: ARG001
    """Minimise for a Gaussian process of scikit-learn: ``optimizer=without_bounds``."""
    from scipy import optimize

    res = optimize.minimize(objective, theta, jac=True, method="L-BFGS-B")
    return res.x, res.fun


@fit("scikit-learn GaussianProcessRegressor, diabetes")
def _() -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    X, y = loaded("diabetes")
    kernel = ConstantKernel() * RBF([0.1] * 3) + WhiteKernel()
    rows = slice(None, None, 6)
    return GaussianProcessRegressor(kernel, optimizer=without_bounds, normalize_y=True).fit(
        X[rows][:, [2, 3, 8]], y[rows]
    )


@fit("scikit-learn GaussianProcessClassifier, iris")
def _() -> Any:
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    X, y = loaded("iris")
    kernel = ConstantKernel() * RBF([1.0] * 4)
    return GaussianProcessClassifier(kernel, optimizer=without_bounds).fit(X[50:], y[50:])


# --- lifelines -------------------------------------------------------------------------------


def regression(fitter: str, name: str, time: str, event: str, **given: Any) -> Any:
    """Fit a parametric survival model of lifelines, all its columns as they are."""
    import lifelines
    from lifelines import datasets

    d = getattr(datasets, f"load_{name}")()
    return getattr(lifelines, fitter)(**given).fit(d, time, event)


for fitter in ("WeibullAFTFitter", "LogNormalAFTFitter", "LogLogisticAFTFitter"):
    FITS[f"lifelines {fitter}, rossi"] = functools.partial(
        regression, fitter, "rossi", "week", "arrest"
    )
FITS["lifelines WeibullAFTFitter, larynx"] = functools.partial(
    regression, "WeibullAFTFitter", "larynx", "time", "death"
)
FITS["lifelines PiecewiseExponential, rossi"] = functools.partial(
    regression,
    "PiecewiseExponentialRegressionFitter",
    "rossi",
    "week",
    "arrest",
    breakpoints=[26],
    penalizer=1e-3,
)
FITS["lifelines CoxPH spline, rossi"] = functools.partial(
    regression,
    *("CoxPHFitter", "rossi", "week", "arrest"),
    baseline_estimation_method="spline",
    n_baseline_knots=3,
)

# --- lmfit -----------------------------------------------------------------------------------


def peaks(name: str, shape: str, centers: tuple[float, ...], method: str = "bfgs") -> Any:
    """Fit peaks on an exponential decay (NIST's data, which negopt bundles) by lmfit."""
    from lmfit import models

    from negopt.problems._nist_data import read

    table = read(name)
    y, t = table.y, table.x[0]
    model = models.ExponentialModel(prefix="decay_")
    start = {"decay_amplitude": 100.0, "decay_decay": 100.0}
    for i, center in enumerate(centers):
        model += getattr(models, f"{shape}Model")(prefix=f"p{i}_")
        start |= {f"p{i}_amplitude": 3000.0, f"p{i}_center": center, f"p{i}_sigma": 20.0}
    return model.fit(y, x=t, method=method, **start)


def cycle(shape: str) -> Any:
    """Fit one peak to the sunspots of 1755 to 1766 by lmfit."""
    from lmfit import models

    d = bundled("sunspots").iloc[55:67]
    model = getattr(models, f"{shape}Model")()
    return model.fit(
        d.SUNACTIVITY.to_numpy(),
        x=d.YEAR.to_numpy(),
        method="bfgs",
        amplitude=400.0,
        center=1761.0,
        sigma=2.0,
    )


for shape in ("Gaussian", "Lorentzian", "Voigt"):
    FITS[f"lmfit {shape}, sunspots"] = functools.partial(cycle, shape)
FITS["lmfit two Gaussians and a decay, Gauss1"] = functools.partial(
    peaks, "Gauss1", "Gaussian", (65.0, 180.0)
)
FITS["lmfit two Lorentzians and a decay, Gauss2"] = functools.partial(
    peaks, "Gauss2", "Lorentzian", (105.0, 150.0)
)


# --- ase -------------------------------------------------------------------------------------


def energy(atoms: Any) -> Callable[[Any], tuple[float, Any]]:
    """Return ``x -> (energy, gradient)`` over the coordinates of the atoms that are free."""
    fixed = [i for constraint in atoms.constraints for i in constraint.index]
    free = np.setdiff1d(np.arange(len(atoms)), fixed)

    def fun(x: Any) -> tuple[float, Any]:
        positions = atoms.positions.copy()
        positions[free] = x.reshape(-1, 3)
        atoms.set_positions(positions, apply_constraint=False)
        return float(atoms.get_potential_energy()), -atoms.get_forces()[free].ravel()

    return fun


def relax(atoms: Any, *, rattle: float = 0.05) -> Any:
    """Relax atoms by SciPy's BFGS."""
    from scipy import optimize

    atoms.rattle(rattle, seed=1)
    fixed = [i for constraint in atoms.constraints for i in constraint.index]
    x0 = np.delete(atoms.positions, fixed, axis=0).ravel()
    return optimize.minimize(energy(atoms), x0, jac=True, method="BFGS", options={"gtol": 1e-4})


@fit("ase EMT, Cu13 icosahedron")
def _() -> Any:
    from ase.calculators.emt import EMT
    from ase.cluster import Icosahedron

    atoms = Icosahedron("Cu", 2)
    atoms.calc = EMT()
    return relax(atoms)


@fit("ase Lennard-Jones, 13 atoms")
def _() -> Any:
    from ase.calculators.lj import LennardJones
    from ase.cluster import Icosahedron

    atoms = Icosahedron("Ar", 2, latticeconstant=1.6)
    atoms.calc = LennardJones(rc=20.0)
    return relax(atoms)


@fit("ase EMT, N2 on Cu(111)")
def _() -> Any:
    from ase import Atoms
    from ase.build import add_adsorbate, fcc111
    from ase.calculators.emt import EMT
    from ase.constraints import FixAtoms

    slab = fcc111("Cu", (2, 2, 2), vacuum=10.0)
    add_adsorbate(slab, Atoms("2N", positions=[(0, 0, 0), (0, 0, 1.1)]), 1.85, "ontop")
    slab.set_constraint(FixAtoms(mask=[atom.tag == 2 for atom in slab]))
    slab.calc = EMT()
    return relax(slab)


# --- exact Hessians that a client has ---------------------------------------------------------


def clients_hessian(result: Any, call: Call) -> Any:
    """Return the Hessian of the objective at the end of `call`, where the package computes it.

    scikit-learn does for its linear models, and statsmodels per observation, for time series in
    other parameters.
    """
    loss = getattr(call.fun, "__self__", None)
    if hasattr(loss, "gradient_hessian"):
        return loss.gradient_hessian(call.result.x, *call.args)[1]
    model = getattr(result, "model", None)
    params = getattr(result, "params", None)
    if not hasattr(model, "hessian") or np.shape(params) != call.x0.shape:
        return None
    params = np.asarray(params)
    f = -model.loglike(params) / model.endog.shape[0]
    if not np.isclose(f, call.value(params), rtol=1e-12, atol=0.0):
        return None
    return -np.asarray(model.hessian(params)) / model.endog.shape[0]

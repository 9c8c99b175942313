"""Random problems of every kind that a run may meet, and what has to hold for each result.

Run by itself it makes as many runs as it is told: ``python tests/fuzz.py 5000 [seed]``.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import negopt
from negopt.core.types import Status

PACKAGE = str(Path(negopt.__file__).parent)


@dataclasses.dataclass
class Case:
    """One run: a function, its gradient, and how they are called."""

    text: str
    fun: Callable[[Any], Any]
    jac: Callable[[Any], Any]
    x0: np.ndarray
    method: str
    options: dict[str, Any]
    form: str
    deterministic: bool = True


def _functions(rng: np.random.Generator, n: int) -> dict[str, tuple[Any, Any]]:
    a = np.exp(rng.uniform(-3, 3, n))
    signs = rng.choice([-1.0, 1.0, 1.0, 1.0], n)
    root = rng.standard_normal((n, n))
    q = root + root.T
    c = rng.standard_normal(n)
    wall = rng.uniform(0.1, 3.0)

    def rosenbrock(x):
        if n == 1:
            return (x[0] - 1.0) ** 2
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    def rosenbrock_grad(x):
        g = np.zeros_like(x)
        if n == 1:
            return 2.0 * (x - 1.0)
        t = x[1:] - x[:-1] ** 2
        g[:-1] = -400.0 * x[:-1] * t - 2.0 * (1.0 - x[:-1])
        g[1:] += 200.0 * t
        return g

    return {
        "rosenbrock": (rosenbrock, rosenbrock_grad),
        "convex": (lambda x: 0.5 * np.sum(a * x * x) - c @ x, lambda x: a * x - c),
        "indefinite": (lambda x: 0.5 * np.sum(signs * a * x * x), lambda x: signs * a * x),
        "dense": (lambda x: 0.5 * x @ (q @ x) + 0.1 * np.sum(x**4), lambda x: q @ x + 0.4 * x**3),
        "linear": (lambda x: c @ x, lambda x: c + 0.0 * x),
        "barrier": (lambda x: np.sum(x - np.log(x)), lambda x: 1.0 - 1.0 / x),
        "exponential": (lambda x: np.sum(np.exp(a * x) - x), lambda x: a * np.exp(a * x) - 1.0),
        "falling": (lambda x: -np.sum(np.exp(x)), lambda x: -np.exp(x)),
        "root": (lambda x: -np.sum(np.sqrt(1.0 + x * x)), lambda x: -x / np.sqrt(1.0 + x * x)),
        "well": (lambda x: np.sum(x**4 / 4 - x * x / 2), lambda x: x**3 - x),
        "kink": (lambda x: np.sum(np.abs(x - c)), lambda x: np.sign(x - c)),
        "flat": (lambda x: 0.0 * np.sum(x) + 1.0, lambda x: 0.0 * x),
        "quartic": (lambda x: np.sum((x - c) ** 4), lambda x: 4.0 * (x - c) ** 3),
        "cosine": (lambda x: np.sum(np.cos(x)) + 0.01 * x @ x, lambda x: 0.02 * x - np.sin(x)),
        "pole": (lambda x: np.sum(1.0 / x + x), lambda x: 1.0 - 1.0 / (x * x)),
        "logarithm": (lambda x: np.sum(np.log(x * x)), lambda x: 2.0 / x),
        "wall": (
            lambda x: np.sum(x * x) if np.max(np.abs(x)) < wall else math.nan,
            lambda x: 2.0 * x,
        ),
        "steep": (
            lambda x: np.sum(np.sinh(x - c)) ** 2,
            lambda x: 2 * np.sum(np.sinh(x - c)) * np.cosh(x - c),
        ),
    }


def make(seed: int, methods: list[str] | None = None) -> Case:
    """Return the problem of the number `seed`."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 3, 5, 13, 30], p=[0.15, 0.3, 0.2, 0.15, 0.15, 0.05]))
    kinds = _functions(rng, n)
    name = str(rng.choice(list(kinds)))
    base, slope = kinds[name]
    # Units of x and of f: mostly mild, now and then hostile.
    hostile = rng.random() < 0.3
    reach = 150.0 if hostile and rng.random() < 0.5 else 8.0 if hostile else 2.0
    units = 10.0 ** rng.uniform(-reach, reach, n) if rng.random() < 0.4 else np.ones(n)
    scale = 10.0 ** rng.uniform(-reach, reach) if rng.random() < 0.4 else 1.0
    dtype = np.float32 if rng.random() < 0.25 else np.float64
    if dtype is np.float32:
        units, scale = np.clip(units, 1e-30, 1e30), float(np.clip(scale, 1e-30, 1e30))
    fault = str(
        rng.choice(
            ["", "sign", "noise", "zero", "nan", "overflow", "minus"],
            p=[0.64, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06],
        )
    )
    threshold = 10.0 ** rng.uniform(-2, 2)

    def fun(x):
        with np.errstate(all="ignore"):
            z = np.asarray(x, dtype=np.float64) / units
            f = scale * base(z)
            if fault == "nan" and z[0] > threshold:
                return math.nan
            if fault == "overflow" and np.max(np.abs(z)) > threshold:
                return math.inf
            if fault == "minus" and z[-1] < -threshold:
                return -math.inf
            return float(dtype(f))

    def jac(x):
        with np.errstate(all="ignore"):
            z = np.asarray(x, dtype=np.float64) / units
            g = np.array(scale * slope(z) / units)
            if fault == "sign":
                g[0] *= -1.0
            elif fault == "zero":
                g[-1] = 0.0
            elif fault == "noise":
                noise = np.random.default_rng(abs(hash(z.tobytes())) % 2**32)
                g += 1e-2 * np.max(np.abs(g)) * noise.standard_normal(n)
            return g.astype(dtype)

    x0 = (rng.standard_normal(n) * 10.0 ** rng.uniform(-2, 1) * units).astype(dtype)
    if rng.random() < 0.1:
        x0 = np.zeros(n, dtype)
    if name in ("barrier", "pole"):
        x0 = np.abs(x0) + dtype(1e-3) * units.astype(dtype)
    method = str(rng.choice(methods or list(negopt.METHODS)))
    options: dict[str, Any] = {"maxiter": int(rng.choice([0, 1, 7, 60, 200]))}
    for key, values in {
        "gtol": (0.0, 1e-8, 1e-2, 10.0),
        "grtol": (1e-3,),
        "norm": (2, 1, 3),
        "xrtol": (1e-6,),
        "maxfun": (1, 5, 40),
        "ftarget": (0.0, -1.0, 1e3),
        "certify": (False,),
        "certify_products": (0, 2, 5),
        "max_escapes": (0, 1),
        "record": (True,),
        "return_all": (True,),
        "rng": (3,),
    }.items():
        if rng.random() < 0.15:
            options[key] = values[int(rng.integers(len(values)))]
    form = str(
        rng.choice(
            ["jac", "both", "object", "differences", "hessp", "hess"],
            p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1],
        )
    )
    text = (
        f"seed {seed}: {method} on {name} n={n} {dtype.__name__} {form} fault={fault!r} {options}"
    )
    return Case(text, fun, jac, x0, method, options, form)


class Both:
    """An objective object."""

    def __init__(self, fun, jac):
        self.fun, self.grad = fun, jac


def run(case: Case) -> Any:
    """Make the run, and check all that has to hold whatever it met."""
    values: list[float] = []
    points: list[np.ndarray] = []
    slopes: list[np.ndarray] = []
    products: list[int] = []

    def fun(x):
        values.append(case.fun(x))
        points.append(x.copy())
        return values[-1]

    def jac(x):
        slopes.append(x.copy())
        return case.jac(x)

    def both(x):
        return fun(x), jac(x)

    def hessp(x, p):
        products.append(1)
        return difference(x, p)

    def difference(x, p):
        with np.errstate(all="ignore"):
            size = np.linalg.norm(p.astype(np.float64))
            if not 0.0 < size < math.inf:
                return 0.0 * p
            step = 1e-4 * (1.0 + np.linalg.norm(x.astype(np.float64))) / size
            return ((case.jac(x + step * p) - case.jac(x - step * p)) / (2.0 * step)).astype(
                x.dtype
            )

    def hess(x):
        products.append(1)
        return np.stack([difference(x, e) for e in np.eye(x.size, dtype=x.dtype)], axis=1)

    x0 = case.x0.copy()
    seen: list[Any] = []
    kwargs: dict[str, Any] = {"method": case.method, "options": dict(case.options)}
    given: Any = fun
    if case.form == "both":
        given, kwargs["jac"] = both, True
    elif case.form == "object":
        given = Both(fun, jac)
    elif case.form != "differences":
        kwargs["jac"] = jac
    if case.form == "hessp":
        kwargs["hessp"] = hessp
    elif case.form == "hess":
        kwargs["hess"] = hess
    if case.options.get("rng"):
        kwargs["callback"] = lambda xk: seen.append(xk)
    f0 = case.fun(x0)
    g0 = case.jac(x0)
    sound = math.isfinite(f0) and bool(np.all(np.isfinite(g0)))
    if not sound and case.form != "differences":
        try:
            negopt.minimize(given, x0, **kwargs)
        except ValueError:
            return None
        raise AssertionError(f"{case.text}: a start that is not finite was taken")
    try:
        res = negopt.minimize(given, x0, **kwargs)
    except ValueError as error:
        if case.form == "differences" and "finite" in str(error):
            return None
        if "evaluation at x0" in str(error) or "is not finite at the start" in str(error):
            return None
        raise
    check(case, res, x0, f0, values, points, slopes, seen)
    return res


def check(case, res, x0, f0, values, points, slopes, seen) -> None:
    """Check a result."""
    assert np.array_equal(x0, case.x0), f"{case.text}: x0 was changed"
    assert res.x.dtype == case.x0.dtype
    assert res.jac.dtype == case.x0.dtype
    assert res.fun == case.fun(res.x), f"{case.text}: fun is not that of x"
    assert math.isfinite(res.fun)
    if case.form != "differences":
        assert np.array_equal(res.jac, case.jac(res.x)), f"{case.text}: jac is not that of x"
    else:
        assert np.all(np.isfinite(res.jac))
    descends = not negopt.METHODS[case.method].baseline
    noise = 1e3 * np.finfo(case.x0.dtype).eps * abs(f0)
    assert not descends or res.fun <= f0 + noise, f"{case.text}: above the start"
    assert res.nfev == len(values), f"{case.text}: nfev {res.nfev}, {len(values)} calls"
    if case.form != "differences":
        assert res.njev == len(slopes), f"{case.text}: njev {res.njev}, {len(slopes)} calls"
    o = case.options
    assert res.nfev <= o.get("maxfun", math.inf)
    assert res.nit <= o["maxiter"]
    status = Status(res.status)
    assert res.success == status.success
    asked = {x.tobytes() for x in slopes if np.all(np.isfinite(case.jac(x)))}
    lowest = min(
        (v for v, x in zip(values, points, strict=True) if x.tobytes() in asked and v > -math.inf),
        default=f0,
    )
    if status is Status.TARGET:
        assert res.fun <= o["ftarget"]
    elif status is Status.CONVERGED:
        assert not res.fun <= o.get("ftarget", -math.inf)
        order = o.get("norm", math.inf)
        with np.errstate(all="ignore"):
            size = np.linalg.norm(res.jac.astype(np.float64), order)
        eps = np.finfo(res.x.dtype).eps
        gtol = o.get("gtol", max(1e-5, math.sqrt(eps)))
        gtol = max(
            gtol, o.get("grtol", 0.0) * np.linalg.norm(case.jac(x0).astype(np.float64), order)
        )
        if "xrtol" not in o and case.form != "differences":
            assert size <= gtol * (1.0 + 1e-6), f"{case.text}: {size} > {gtol}"
    checked = res.curvature_status != "not checked" or res.n_escapes > 0  # no point of it counts
    if not checked and status is not Status.CONVERGED and case.form != "differences":
        rounding = 1e2 * np.finfo(case.x0.dtype).eps * abs(lowest)
        assert res.fun <= lowest + rounding, f"{case.text}: not the best"
    quoted(case, res)
    if seen:
        assert len(seen) == res.nit
    if "history" in res:
        assert len(res.history["nit"]) == res.nit + 1 or status is Status.LIMIT
    if "allvecs" in res:
        assert len(res.allvecs) == res.nit + 1 or status is Status.LIMIT


def quoted(case: Case, res) -> None:
    """The figures in the message are those of the result."""
    import re

    found = re.search(r"max\|g\| = ([^ ;]+)", res.message) or re.search(
        r"gradient norm ([^ ;]+) > ", res.message
    )
    if found and case.options.get("norm", math.inf) == math.inf:
        size = float(np.max(np.abs(res.jac)))
        assert found.group(1) == f"{size:.3g}", f"{case.text}: {res.message} but {size}"
    found = re.search(r"f = ([^ ;]+) from", res.message)
    if found:
        assert found.group(1) == f"{res.fun:.3g}", f"{case.text}: {res.message} but {res.fun}"


def main(count: int, first: int) -> None:
    """Make many runs, and print what is wrong."""
    bad = 0
    statuses: dict[int, int] = {}
    for seed in range(first, first + count):
        case = make(seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                res = run(case)
                if res is not None:
                    statuses[res.status] = statuses.get(res.status, 0) + 1
            except Exception as error:  # noqa: BLE001
                bad += 1
                where = traceback.extract_tb(error.__traceback__)
                ours = [f for f in where if f.filename.startswith(PACKAGE)]
                at = ours[-1] if ours else where[-1]
                place = f"{Path(at.filename).name}:{at.lineno}"
                said = f"{type(error).__name__}: {str(error)[:200]}"
                print(f"{said} | {place} | {case.text}", flush=True)
        for w in caught:
            if w.filename.startswith(PACKAGE) and issubclass(w.category, RuntimeWarning):
                print(
                    f"WARNING {Path(w.filename).name}:{w.lineno} {w.message} | {case.text[:90]}",
                    flush=True,
                )
    print(f"{count} runs, {bad} bad, statuses {dict(sorted(statuses.items()))}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)

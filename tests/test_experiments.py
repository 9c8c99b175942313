"""The published experiments run; their stored tables say what the pages say."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from negopt import METHODS, problems

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "docs" / "experiments"
RESULTS = ROOT / "docs" / "experiments" / "results"


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def share(row, key):
    return float(row[key])


def ratio(text):
    """Return the mean and both ends of the interval of a cell."""
    mean, low, high = text.replace("[", "").replace("]", "").replace(",", "").split()
    return float(mean), float(low), float(high)


# --- what a cost is --------------------------------------------------------------------------


def task_of(scripts, name, n=None):
    p = problems.get(name, n)
    return scripts("_runs").Task(p.name, p.x0, p.fun_and_grad, p.hessp)


def test_a_point_costs_one_and_a_hessian_n(scripts):
    counted = scripts("_runs").Counted(task_of(scripts, "wood"), cap=20, stop=False)
    x = counted.task.x0
    f, g = counted.fun(x), counted.grad(x)
    assert counted.fun_and_grad(x)[0] == f
    assert counted.run.cost == 1
    g[0] = math.nan  # what is handed out is a copy
    assert np.isfinite(counted.grad(x)).all()
    p = problems.get("wood")
    np.testing.assert_array_equal(counted.hess(x), p.hess(x).T)
    assert counted.run.cost == 5
    for i in range(15):
        counted.fun(x + i + 1.0)
    with pytest.raises(scripts("_runs").Finished):
        counted.fun(x - 1.0)
    assert counted.run.cost == 20


def test_costs_are_those_at_the_first_point_that_passes(scripts):
    """L-BFGS-B's own stopping test at the same tolerance ends after as many evaluations."""
    from scipy.optimize import minimize

    task = task_of(scripts, "wood")
    run = scripts("_runs").Solver("L-BFGS-B", "L-BFGS-B")(task)
    unit = max(1.0, np.max(np.abs(task.fun_and_grad(task.x0)[1])))
    for tol, (cost, f) in run.hits.items():
        options = {"gtol": tol * unit, "ftol": 0.0, "maxiter": 10**4}
        res = minimize(task.fun_and_grad, task.x0, jac=True, method="L-BFGS-B", options=options)
        assert (cost, f) == (res.nfev, res.fun)
    assert list(run.hits) == list(scripts("_runs").TOLERANCES)


def test_a_flat_point_high_up_solves_nothing(scripts):
    """f = -x exp(-x^2): flat where |x| is large, minimal at 1/sqrt(2)."""
    runs = scripts("_runs")

    def fun_and_grad(x):
        e = np.exp(-(x[0] ** 2))
        return -x[0] * e, np.array([(2.0 * x[0] ** 2 - 1.0) * e])

    counted = runs.Counted(runs.Task("bump", np.zeros(1), fun_and_grad, None), 100, stop=True)
    counted.fun(np.ones(1))
    counted.fun(np.array([-9.0]))
    assert counted.run.hits == {}
    with pytest.raises(runs.Finished):
        counted.fun(np.array([math.sqrt(0.5)]))


def test_unknown_options_are_refused(scripts):
    with pytest.raises(ValueError, match="no option"):
        scripts("_runs").check_options("lqn-tr", {"forcing": 0.1})
    with pytest.raises(ValueError, match="maxcor"):
        scripts("_runs").check_options("lqn-tr", {"maxcor": 0})


def test_intervals_hold_what_is_known(scripts):
    """Ratios that are all equal have no spread; few noisy ones have a wide one."""
    runs = scripts("_runs")
    names = {f"p{i}-{n}": f"p{i}" for i in range(30) for n in (2, 3)}
    ones = dict.fromkeys(names, 10.0)
    assert runs.mean_ratio(dict.fromkeys(names, 5.0), ones, names) == pytest.approx((0.5, 0.5, 0.5))
    rng = np.random.default_rng(0)
    noisy = {key: 10.0 * math.exp(rng.normal()) for key in names}
    mean, low, high = runs.mean_ratio(noisy, ones, names)
    assert low < mean < high
    assert 0.3 < math.log(high / low) < 1.5  # 4 / sqrt(60) = 0.5, more as the pairs go together
    noisy["p0-2"] = math.nan  # a failure is left out
    assert runs.mean_ratio(noisy, ones, names)[0] != mean


# --- the scripts -----------------------------------------------------------------------------


def test_every_default_is_taken_apart(scripts):
    ablation = scripts("ablation")
    assert ablation.defaults() == set(ablation.CHANGES)
    for method, changes in ablation.CHANGES.items():
        for change in changes:
            name, options = ablation.changed(method, change)
            scripts("_runs").check_options(name, options)
            parts = METHODS[name].with_options(options).parts
            assert parts != METHODS[method].parts, change  # it is one


def test_the_ablation_runs(scripts, tmp_path):
    ablation = scripts("ablation")
    ablation.main(["--sizes", "--first", "2", "--cap", "60", "--out", str(tmp_path)])
    for method, changes in ablation.CHANGES.items():
        rows = read(tmp_path / f"ablation-{method}.csv")
        assert [row["change"] for row in rows][1:-1] == list(changes)
        assert rows[0]["cost / unchanged at 1e-08"] == ""
    assert len(read(tmp_path / "ablation-costs.csv")) == 4
    rows = read(tmp_path / "methods.csv")
    assert [r["method"] for r in rows] == [k for k, row in METHODS.items() if not row.baseline]
    before = (tmp_path / "ablation-costs.csv").read_text()
    ablation.main(["methods", "--keep", "--sizes", "--first", "2", "--out", str(tmp_path)])
    assert read(tmp_path / "methods.csv") == rows
    assert (tmp_path / "ablation-costs.csv").read_text() == before


def test_the_saddles_run(scripts, tmp_path):
    saddles = scripts("saddles")
    small = ["--distances", "1e-2", "1e-8", "--seeds", "1", "--first", "1", "--cap", "100"]
    saddles.main([*small, "--out", str(tmp_path)])
    table = {row["solver"]: row for row in read(tmp_path / "saddles-summary.csv")}
    assert set(METHODS) < set(table)
    for name in scripts("ablation").defaults():
        assert share(table[name], "1e-08: minima, %") == 100.0
    assert share(table["SciPy's L-BFGS-B"], "1e-08: minima, %") == 0.0
    before = read(tmp_path / "saddles.csv")
    saddles.main([*small, "--out", str(tmp_path), "--solvers", "lqn-tr"])
    assert read(tmp_path / "saddles.csv") == before


def test_runs_without_a_gradient(scripts, tmp_path):
    scripts("no_gradient").main(["--first", "3", "--cap", "400", "--out", str(tmp_path)])
    rows = read(tmp_path / "no-gradient.csv")
    assert len(rows) == 3 * len(scripts("no_gradient").SOLVERS)
    assert all(int(row["calls"]) <= 400 for row in rows)
    table = read(tmp_path / "no-gradient-summary.csv")
    assert [row["problems"] for row in table] == ["moved by 0"] * 4 + ["all"] * 4


def test_starts_are_strict_saddles(scripts):
    """The gradient vanishes to rounding, and there is a direction downhill."""
    found = scripts("saddles").strict_saddles()
    assert any(saddle.family.startswith("network") for saddle in found)
    for saddle in found:
        values = np.linalg.eigvalsh(hessian(saddle.task))
        gmax = np.max(np.abs(saddle.task.fun_and_grad(saddle.task.x0)[1]))
        assert gmax < 1e-9 * np.max(np.abs(values))
        assert values[0] == pytest.approx(saddle.lowest)
        assert values[0] < 0.0
        assert not scripts("saddles").is_minimum(saddle.task, saddle.task.x0)


def hessian(task):
    product = task.hessp(task.x0)
    return np.stack([product(row) for row in np.eye(task.n)])


def test_the_profiles_run(scripts, tmp_path):
    scripts("profiles").main(["negopt", "--first", "5", "--cap", "60", "--out", str(tmp_path)])
    rows = read(tmp_path / "profiles-negopt-summary.csv")
    assert [row["solver"] for row in rows][:3] == [
        "negopt, gradients",
        "negopt, products",
        "L-BFGS-B",
    ]
    assert ratio(rows[2]["cost / L-BFGS-B at 1e-08"]) == (1.0, 1.0, 1.0)
    costs = read(tmp_path / "profiles-negopt-costs.csv")
    assert len(costs) == 4 * 5
    assert all(int(row["BFGS"] or 1) <= 60 for row in costs)
    figure = (tmp_path / "profiles-negopt.svg").read_text()
    assert figure.startswith("<?xml")
    summary = (tmp_path / "profiles-negopt-summary.csv").read_text()
    scripts("profiles").main(["negopt", "--again", "--out", str(tmp_path)])
    assert (tmp_path / "profiles-negopt-summary.csv").read_text() == summary
    assert (tmp_path / "profiles-negopt.svg").read_text() == figure


def test_cutest_is_optional(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts("profiles"), "s2mpj_folder", lambda: None)
    scripts("profiles").main(["cutest", "--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_problems_of_s2mpj_are_read(scripts, tmp_path, monkeypatch):
    """A problem as S2MPJ has them: columns in, a column or a row out, sizes by argument."""
    folder = tmp_path / "src"
    (folder / "python_problems").mkdir(parents=True)
    names = (SCRIPTS / "cutest.txt").read_text().split()
    sized = next(line for line in names if ":" in line)
    plain = next(line for line in names if ":" not in line)
    for name in {line.partition(":")[0] for line in (plain, sized)}:
        (folder / "python_problems" / f"{name}.py").write_text(
            f"import numpy as np\nclass {name}:\n"
            "    def __init__(self, n=3):\n"
            "        print('S2MPJ talks')\n"
            "        self.x0 = np.ones((n, 1))\n"
            "    def fgx(self, x):\n"
            "        x = np.reshape(x, (-1, 1))\n"
            "        return float((x**4).sum()), 4 * x**3\n"
            "    def fHxv(self, x, v):\n"
            "        return 12 * x**2 * v\n"
        )
    profiles = scripts("profiles")
    monkeypatch.setattr(profiles, "s2mpj_folder", lambda: folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    some = list(profiles.cutest(names.index(plain) + names.index(sized) + 1, {plain, sized}))
    by_name = {task.name: task for task in some}
    assert by_name[plain].n == 3
    assert by_name[sized.partition(":")[0]].n == int(sized.partition(":")[2])
    x = np.array([1.0, 2.0, 3.0])
    f, g = by_name[plain].fun_and_grad(x)
    assert f == 98.0
    np.testing.assert_array_equal(g, 4 * x**3)
    np.testing.assert_array_equal(by_name[plain].hessp(x)(x), 12 * x**3)


# --- what the pages say of the stored tables -------------------------------------------------


def test_stored_tables_are_of_these_methods(scripts):
    """A method that was added or renamed has to be measured."""
    assert {row["method"] for row in read(RESULTS / "methods.csv")} == {
        name for name, row in METHODS.items() if not row.baseline
    }
    assert set(METHODS) <= {row["solver"] for row in read(RESULTS / "saddles-summary.csv")}
    for method, changes in scripts("ablation").CHANGES.items():
        rows = read(RESULTS / f"ablation-{method}.csv")
        assert [row["change"] for row in rows][1:-1] == list(changes)


def test_stored_runs_without_a_gradient(scripts):
    """As the page says: solved at least as many, with fewer calls, ends no higher."""
    script = scripts("no_gradient")
    table = read(RESULTS / "no-gradient-summary.csv")
    rows = {(row["problems"], row["solver"]): row for row in table}
    for group in dict.fromkeys(row["problems"] for row in table):
        ours, theirs = rows[group, script.OURS], rows[group, script.REFERENCE]
        assert int(ours["solved"]) >= 1.15 * int(theirs["solved"])
        assert ratio(ours["calls / BFGS's"])[0] < 0.85
        assert ratio(rows[group, script.CHECKED]["calls / BFGS's"])[0] < 1.0
        assert int(ours["f above BFGS's"]) == 0


def test_stored_saddles(scripts):
    table = {row["solver"]: row for row in read(RESULTS / "saddles-summary.csv")}
    for distance in ("0.01", "0.0001", "1e-06", "1e-08"):
        for name in scripts("ablation").defaults():
            assert share(table[name], f"{distance}: minima, %") == 100.0
    for name in scripts("saddles").RIVALS:
        assert share(table[f"SciPy's {name}"], "1e-08: minima, %") < 10.0
    for name in scripts("ablation").defaults():
        assert share(table[f"{name}, no check"], "1e-08: minima, %") == 0.0


@pytest.mark.parametrize("what", ["negopt", "cutest"])
def test_stored_profiles(what):
    table = {row["solver"]: row for row in read(RESULTS / f"profiles-{what}-summary.csv")}
    ours = table["negopt, gradients"]
    for tol in ("1e-05", "1e-08"):
        assert ratio(ours[f"cost / L-BFGS-B at {tol}"])[2] < 1.0  # by more than the noise
        assert share(ours, f"solved, {tol}, %") >= share(table["L-BFGS-B"], f"solved, {tol}, %")
    newton = share(table["negopt, products"], "solved, 1e-08, %")
    for name in ("Newton-CG", "trust-krylov", "trust-exact"):
        assert newton > share(table[name], "solved, 1e-08, %")


def test_stored_costs_of_the_larger_instances():
    """The shares that the page on defaults names."""
    rows = [
        row
        for row in read(RESULTS / "profiles-cutest-costs.csv")
        if row["test"] == "1e-08" and int(row["n"]) > 20
    ]
    assert len(rows) == 105
    solved = {name: sum(row[name] != "" for row in rows) for name in rows[0]}
    assert round(100.0 * solved["negopt, gradients"] / 105) == 97
    assert round(100.0 * solved["L-BFGS-B"] / 105) == 77


def test_stored_ablations():
    """What lqn-tr's page calls worth having is dearer to be without by more than the noise."""
    rows = {row["change"]: row for row in read(RESULTS / "ablation-lqn-tr.csv")}
    for change in (
        "secant equations one after the other",
        "5 pairs",
        "10 pairs",
        "initial scaling: largest curvature",
        "initial scaling: last curvature",
    ):
        assert ratio(rows[change]["cost / unchanged at 1e-08"])[1] > 1.0

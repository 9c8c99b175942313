"""The experiment of docs/saddle-free-series.md runs; its stored tables say what the page says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "experiments" / "results"


@pytest.fixture(scope="module")
def series(scripts):
    return scripts("series")


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def curve(rows, setting, method, order=0):
    """Return products -> cosine of one curve."""
    wanted = (setting, method, str(order))
    return {
        int(r["products"]): float(r["cosine"])
        for r in rows
        if (r["setting"], r["method"], r["order"]) == wanted
    }


def test_the_accelerators_run(series, tmp_path):
    sizes = ["--dimension", "12", "--draws", "2", "--length", "30", "--out", str(tmp_path)]
    series.main(["accelerators", *sizes])
    rows = read(tmp_path / "series-accelerators.csv")
    assert {r["setting"] for r in rows} == {"heuristic", "bound", "damped"}
    own = curve(rows, "bound", "krylov")
    assert own[12] == pytest.approx(1.0, abs=1e-3)  # the space is complete
    for order in (1, 2):
        assert max(curve(rows, "bound", "sablonniere", order)) == 58
    assert len(read(tmp_path / "series-accelerators-summary.csv")) == 3 * 14
    assert (tmp_path / "series-accelerators.png").stat().st_size > 10_000


@pytest.mark.parametrize("part", ["terms", "variants"])
def test_training_runs_on_what_is_shipped(series, tmp_path, monkeypatch, part):
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    sizes = ["--terms", "1", "3", "--steps", "3", "--seeds", "2", "--out", str(tmp_path)]
    series.main([part, *sizes])
    rows = read(tmp_path / f"series-{part}-summary.csv")
    first = ["K = 1", "K = 3"] if part == "terms" else ["as run", "as printed"]
    assert [r["run"] for r in rows][:2] == first
    assert all(int(r["step"]) == 3 and float(r["train"]) > 0 for r in rows)
    assert all(np.isfinite(float(r["test"])) for r in rows)
    costs = {r["run"]: int(r["cost"]) for r in rows}
    if part == "terms":  # a value and a gradient at each point, 2 (K - 1) + 1 products a step
        assert costs["K = 1"] == 2 + 3 * (2 + 2 * 1)
        assert costs["K = 3"] == 2 + 3 * (2 + 2 * 5)
    else:
        assert costs["as run"] == 2 + 3 * (2 + 2 * 35)
        assert costs["adaptive"] == 2 + 3 * (2 + 2 * 17) + 2 * 2  # and one for the step before
    assert (tmp_path / f"series-{part}.png").stat().st_size > 5_000


def test_the_task_of_the_source(series, monkeypatch):
    import os

    folder = os.environ.get("NEGOPT_DATA")
    if not folder or not (Path(folder) / "uci" / "energy_data.txt").exists():
        pytest.skip("NEGOPT_DATA holds no uci/energy_data.txt")
    train, test = series.energy(Path(folder))
    assert (len(train.X), len(test.X)) == (588, 76)
    assert train.network.size == 1057
    assert abs(float(np.mean(train.target))) < 0.1
    assert float(np.mean(train.target**2)) == pytest.approx(1.0, abs=0.1)


def test_starts_are_normal_and_cut_off(series):
    network = series.MLP((50, 40, 1), "relu")
    x = series.start(network, 3)
    first = network.unflatten(x)["layers"][0]
    assert not np.any(first["bias"])
    scaled = first["weight"] * np.sqrt(50.0)
    assert np.max(np.abs(scaled)) <= 2.0
    assert np.std(scaled) == pytest.approx(0.88, abs=0.03)  # of a normal cut off at two
    np.testing.assert_array_equal(x, series.start(network, 3))


def test_unknown_words_are_refused(series, tmp_path, capsys):
    with pytest.raises(SystemExit):
        series.main(["figure"])
    assert "choose from accelerators, terms, variants" in capsys.readouterr().err


def test_what_the_page_says_of_the_accelerators():
    rows = read(RESULTS / "series-accelerators.csv")
    last = 1998
    plain = curve(rows, "bound", "series")[last]
    for method in ("wynn", "sablonniere", "shanks", "levin-t", "pade"):
        for order in (1, 2):
            assert curve(rows, "bound", method, order)[last] > plain
            assert curve(rows, "heuristic", method, order)[188] < 0.01
    for order in (1, 2):  # the factor is no detail
        gain = curve(rows, "bound", "sablonniere", order)[last]
        assert gain > curve(rows, "bound", "wynn", order)[last] + 0.04
    assert curve(rows, "bound", "krylov")[100] > 0.99
    best = max(
        curve(rows, "bound", m, n)[188]
        for m in ("wynn", "sablonniere", "shanks", "levin-t", "pade")
        for n in (1, 2)
    )
    assert best < 0.8


def test_what_the_page_says_of_the_training():
    loss = {r["run"]: float(r["train"]) for r in read(RESULTS / "series-terms-summary.csv")}
    few, many = ["K = 2", "K = 3", "K = 4", "K = 6"], ["K = 8", "K = 10"]
    assert max(loss[k] for k in few) < 1.2 * min(loss[k] for k in few)
    assert min(loss[k] for k in many) > 1.5 * max(loss[k] for k in few)
    own = [name for name in loss if name.startswith("krylov")]
    assert max(loss[name] for name in own) < min(loss[k] for k in few)
    assert loss["krylov, 18 products"] < 0.5 * loss["krylov, as it is"]
    first = {}
    for row in read(RESULTS / "series-terms.csv"):
        if float(row["train"]) < 1e-3:
            first.setdefault(row["run"], (int(row["step"]), int(row["cost"])))
    assert all(50 <= first[name][0] <= 520 for name in own)
    assert not set(many) & set(first)
    assert all(first[k][0] >= 1600 for k in few if k in first)
    assert min(first, key=lambda name: first[name][1]) == "krylov, as it is"
    loss = {r["run"]: float(r["train"]) for r in read(RESULTS / "series-variants-summary.csv")}
    assert loss["adaptive as run"] < loss["as run"] < loss["adaptive"] < loss["as printed"]
    assert loss["as run"] == pytest.approx(0.011, rel=0.05)
    assert loss["adaptive as run"] == pytest.approx(0.0016, rel=0.05)


def test_the_stored_files_are_small():
    files = [path for path in RESULTS.glob("series-*") if path.suffix in (".csv", ".png")]
    assert len(files) == 9
    assert all(path.stat().st_size < 100_000 for path in files)

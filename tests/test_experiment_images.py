"""The experiments of docs/images.md run; their stored tables say what the page says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "experiments" / "results"
PAGE = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script(scripts):
    pytest.importorskip("matplotlib")
    return scripts("images")


def read(path: Path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_fashion_mnist_runs_on_patterns(script, tmp_path, monkeypatch):
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    runs = ["Ours", "Ours (Adaptive), as meant", "Adam"]
    sizes = ["--images", "48", "--epochs", "2", "--seeds", "2"]
    script.main(["fashion-mnist", *sizes, "--runs", *runs, "--out", str(tmp_path)])
    rows = read(tmp_path / "images-runs.csv")
    assert [(r["run"], r["seed"]) for r in rows] == [(n, s) for s in ("0", "1") for n in runs]
    assert {r["data"] for r in rows} == {"patterns"}  # nothing that could pass for the source's
    curves = read(tmp_path / "images.csv")
    assert len(curves) == 2 * len(rows)
    summary = {r["run"]: r for r in read(tmp_path / "images-summary.csv")}
    for name in runs:
        ends = [float(r["test_loss"]) for r in rows if r["run"] == name]
        assert float(summary[name]["test_loss"]) == pytest.approx(np.median(ends), rel=1e-3)
    assert summary["Adam"]["source_test_loss"] == "0.3582"
    assert summary["Ours (Adaptive), as meant"]["source_test_loss"] == ""
    # 12 or 13 doubled products and one for the model, a gradient at each end.
    assert 49 < float(summary["Ours"]["passes"]) / 2 < 53
    assert (tmp_path / "images.png").stat().st_size > 1000


def test_the_split_is_the_sources(script):
    rng = np.random.default_rng(0)
    X, y = rng.random((60, 784)).astype(np.float32), rng.integers(10, size=60)
    data = script.Images(X, y, X[:7], y[:7], "patterns")
    (objective, measure), (other, _) = (script.fashion(data, seed) for seed in (0, 1))
    kept, _ = objective.data
    assert kept.shape == (50, 784)  # a sixth is kept apart
    assert kept.dtype == np.float32
    whole = (X - X.mean(axis=0)) / X.std(axis=0)  # pixel by pixel
    distances = np.abs(kept[:, None, :] - whole[None, :, :]).max(axis=2)
    found = distances.argmin(axis=1)
    assert len(set(found)) == 50
    assert distances.min(axis=1).max() < 1e-4
    assert not np.array_equal(kept, other.data[0])
    assert objective.x0(rng=0).size == 784 * 50 + 50 + 50 * 10 + 10
    assert set(measure(objective.x0(rng=0))) == {
        *("loss", "validation_loss", "test_loss", "test_accuracy")
    }


def test_the_residual_network_runs_on_patterns(script, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    runs = ["Ours (Adaptive)", "adam, 0.003"]
    sizes = ["--images", "8", "--passes", "2", "--seeds", "1"]
    script.main(["cifar10", *sizes, "--runs", *runs, "--out", str(tmp_path)])
    rows = {r["run"]: r for r in read(tmp_path / "images-runs.csv")}
    assert list(rows) == runs
    assert all(2 <= float(r["passes"]) < 25 for r in rows.values())
    assert all(np.isfinite(float(r["loss"])) for r in rows.values())
    assert {r["validation_loss"] for r in rows.values()} == {""}


def test_a_task_that_is_not_there_is_named(script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(["svhn", "--out", str(tmp_path)])
    assert "no task 'svhn'" in capsys.readouterr().err


# --- what the page says ----------------------------------------------------------------------


def end(task, run, key="test_loss"):
    """Return a median of the summary."""
    (row,) = (
        r for r in read(RESULTS / "images-summary.csv") if (r["task"], r["run"]) == (task, run)
    )
    return float(row[key])


def reached(run, loss, column):
    """Return, for each start, after how much of `column` the test loss was there first."""
    rows = [
        r
        for r in read(RESULTS / "images.csv")
        if (r["task"], r["run"]) == ("fashion-mnist", run) and float(r["test_loss"]) <= loss
    ]
    return [
        min(float(r[column]) for r in rows if r["seed"] == seed)
        for seed in {r["seed"] for r in rows}
    ]


FASHION = {
    "Ours": "0.366",
    "Ours (Adaptive)": "0.370",
    "SGD": "0.363",
    "Adam": "0.355",
    "Ours (Adaptive), as meant": "0.567",
    "gd, momentum 0.9, 0.01": "0.361",
    "lqn-tr": "0.402",
    "lqn-tr, 3200": "0.368",
    "lsr1-tr": "0.410",
    "tr-ellipsoid, 3200": "0.623",
}


def test_the_page_on_fashion_mnist():
    assert {
        r["data"] for r in read(RESULTS / "images-runs.csv") if r["task"] == "fashion-mnist"
    } == {"fashion-mnist"}
    for run, text in FASHION.items():
        assert f"{end('fashion-mnist', run):.3f}" == text
        assert text in PAGE
    source = ("Ours", "Ours (Adaptive)", "SGD", "Adam")
    for run in source:
        theirs = end("fashion-mnist", run, "source_test_loss")
        assert abs(end("fashion-mnist", run) - theirs) < 0.007
        assert f"{theirs:.4f}" in PAGE
    assert min(source, key=lambda run: end("fashion-mnist", run)) == "Adam"
    assert end("fashion-mnist", "Ours", "passes") == 520
    assert end("fashion-mnist", "Ours (Adaptive)", "passes") == 560
    assert {end("fashion-mnist", run, "passes") for run in ("lqn-tr", "lqn-tr, 3200")} == {20}
    for run in ("tr-ellipsoid", "sfn-series", "sfn-lanczos"):
        assert 0.70 < end("fashion-mnist", run) < 0.92
    assert 0.2 < end("fashion-mnist", "lsr1-tr", "rejected") < 0.3


def test_the_page_on_epochs_and_seconds():
    series = [e for run in ("Ours", "Ours (Adaptive)") for e in reached(run, 0.375, "epoch")]
    assert min(series) == 3
    assert max(series) == 7
    assert set(reached("SGD", 0.375, "epoch")) == {7}
    assert set(reached("Adam", 0.375, "epoch")) == {4, 5}
    slow = [e for run in ("Ours", "Ours (Adaptive)") for e in reached(run, 0.375, "seconds")]
    assert min(slow) >= 13
    assert np.median(reached("SGD", 0.375, "seconds")) == pytest.approx(5.5, abs=0.1)
    assert np.median(reached("Adam", 0.375, "seconds")) == pytest.approx(2.0, abs=0.2)


def test_the_page_on_cifar10():
    shown = {
        "adam, 0.01": ("lowest_test_loss", "1.34"),
        "gd, momentum 0.9, 0.03": ("lowest_test_loss", "1.42"),
        "lqn-tr": ("test_loss", "1.68"),
        "lsr1-tr": ("test_loss", "1.73"),
        "Ours": ("test_loss", "1.99"),
        "Ours (Adaptive)": ("test_loss", "2.15"),
    }
    rows = [r for r in read(RESULTS / "images-runs.csv") if r["task"] == "cifar10"]
    assert {r["run"] for r in rows} == {*shown, "adam, 0.003", "gd, momentum 0.9, 0.1"}
    assert all(end("cifar10", r["run"], "seeds") == 3 for r in rows)
    assert {r["data"] for r in rows} == {"CIFAR-10, subset"}
    for run, (key, text) in shown.items():
        assert f"{end('cifar10', run, key):.2f}" == text
        assert text in PAGE
    first = [run for run in {r["run"] for r in rows} if run.startswith(("adam", "gd"))]
    lowest = {run: end("cifar10", run, "lowest_test_loss") for run in first}
    assert min(first, key=lowest.__getitem__) == "adam, 0.01"
    assert lowest["gd, momentum 0.9, 0.03"] < lowest["gd, momentum 0.9, 0.1"]
    for run in first:
        assert end("cifar10", run, "test_accuracy") > 0.4
        assert end("cifar10", run) > 1.1 * end("cifar10", run, "lowest_test_loss")
    assert end("cifar10", "Ours", "steps") == 60
    assert end("cifar10", "Ours (Adaptive)", "steps") == 20

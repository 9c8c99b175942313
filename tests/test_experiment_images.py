"""The experiments of docs/images.md run; their stored tables say what the page says."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "docs" / "experiments"
RESULTS = SCRIPTS / "results"
PAGE = (ROOT / "docs" / "images.md").read_text(encoding="utf-8")
NAMES = ("_nets", "_nets_figures", "_networks_figures", "_runs", "images", "lenet", "series")


@pytest.fixture(scope="module")
def script():
    """Return the script as a module; it imports its neighbours as when it is run."""
    pytest.importorskip("matplotlib")
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("images")
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in NAMES:
            sys.modules.pop(name, None)


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

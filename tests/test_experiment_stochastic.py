"""The experiments of docs/training.md run; their stored tables say what the page says."""

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


@pytest.fixture(scope="module")
def stochastic():
    """Return the script as a module; it imports its neighbour as when it is run."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("stochastic")
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in ("stochastic", "series"):
            sys.modules.pop(name, None)


def read(path: Path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_energy_runs_on_what_is_shipped(stochastic, tmp_path, monkeypatch):
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    runs = ["Adam", "Ours", "Exact SFN", "lqn-tr"]
    stochastic.main(
        ["energy", "--runs", *runs, "--steps", "20", "--seeds", "2", "--out", str(tmp_path)]
    )
    rows = read(tmp_path / "stochastic-energy.csv")
    assert len(rows) == 8
    assert {r["task"] for r in rows} == {"ionosphere"}
    assert {r["steps"] for r in rows if r["run"] == "Exact SFN"} == {"1"}
    summary = {r["run"]: r for r in read(tmp_path / "stochastic-energy-summary.csv")}
    losses = [float(r["train"]) for r in rows if r["run"] == "lqn-tr"]
    assert float(summary["lqn-tr"]["train"]) == pytest.approx(np.median(losses), rel=1e-3)
    assert summary["Adam"]["source_train"] == "0.000657"
    assert int(summary["Ours"]["seeds"]) == 2


def test_energy_runs_on_the_sources_data(stochastic, tmp_path, monkeypatch, data_dir):
    monkeypatch.setenv("NEGOPT_DATA", str(data_dir))
    arguments = ["--runs", "lqn-tr", "--steps", "40", "--seeds", "1", "--out", str(tmp_path)]
    stochastic.main(["energy", *arguments])
    (row,) = read(tmp_path / "stochastic-energy.csv")
    assert row["task"] == "UCI Energy"
    assert float(row["train"]) < 0.2


def test_batches_run(stochastic, tmp_path):
    runs = ["adam, rate 0.01", "lsr1-tr, overlap 0.25", "tr-ellipsoid, products on a quarter"]
    arguments = ["--sizes", "60", "--seeds", "1", "--passes", "6", "--out", str(tmp_path)]
    stochastic.main(["batches", "--runs", *runs, *arguments])
    rows = read(tmp_path / "stochastic-batches-ionosphere-summary.csv")
    assert [r["run"] for r in rows] == runs
    assert all(float(r["train_20"]) < 0.69 for r in rows)

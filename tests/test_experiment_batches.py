"""The experiments of docs/batches.md run; their stored tables say what the page says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "experiments" / "results"
PAGE = (ROOT / "docs" / "batches.md").read_text(encoding="utf-8")


def read(path: Path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_ellipsoids_run_on_patterns(scripts, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    runs = ["TR, RMSProp", "Adam, 0.003"]
    sizes = ["--images", "40", "--passes", "9", "--seeds", "1", "--sets", "mnist"]
    scripts("ellipsoids").main([*sizes, "--runs", *runs, "--out", str(tmp_path)])
    rows = read(tmp_path / "ellipsoids-runs.csv")
    assert [(r["network"], r["run"]) for r in rows] == [
        (network, run) for network in ("MLP", "autoencoder") for run in runs
    ]
    assert {r["data"] for r in rows} == {"patterns"}
    curves = read(tmp_path / "ellipsoids.csv")
    for row in rows:
        curve = [r for r in curves if (r["network"], r["run"]) == (row["network"], row["run"])]
        assert len(curve) == int(row["epochs"])
        if row["run"].startswith("Adam"):
            assert float(curve[-1]["loss"]) < float(curve[0]["loss"])
        assert float(row["passes"]) >= 9
    assert (tmp_path / "ellipsoids.png").stat().st_size > 1000


def test_lenet_runs_on_patterns(scripts, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    sizes = ["--images", "24", "--passes", "2", "--sizes", "12", "--size", "12"]
    runs = ["lsr1-tr", "Adam, 0.001", "lsr1-tr, memory 2"]
    scripts("lenet").main([*sizes, "--runs", *runs, "--out", str(tmp_path)])
    rows = read(tmp_path / "lenet-runs.csv")
    assert [(r["norm"], r["run"]) for r in rows] == [
        *(("yes", run) for run in runs),
        *(("no", run) for run in runs[:2]),  # variants go with norms only
    ]
    assert all((r["skipped"] != "") == r["run"].startswith("lsr1") for r in rows)
    assert (tmp_path / "lenet.png").stat().st_size > 1000


def test_the_residual_network_runs(scripts, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    lenet = scripts("lenet")
    weights = sum(p.numel() for p in lenet.resnet().parameters())
    assert weights == 269_722  # He et al.: 0.27 million
    sizes = ["--images", "8", "--passes", "1", "--sizes", "4"]
    arguments = ["--network", "resnet-20", "--runs", "lsr1-tr", "--out", str(tmp_path)]
    lenet.main([*arguments, *sizes])
    (row,) = read(tmp_path / "resnet-20-runs.csv")
    assert np.isfinite(float(row["last_loss"]))


def test_a_run_that_is_made_again_is_there_once(scripts, tmp_path):
    for x in (1, 2):
        tables = scripts("_nets").Tables(tmp_path, "t", ["run"], ["x"])
        for seed in (0, x):
            row = {"run": "a", "seed": seed}
            tables.add({**row, "x": x}, [{**row, "epoch": e} for e in (1, 2)])
    assert [(r["seed"], r["x"]) for r in read(tmp_path / "t-runs.csv")] == [
        *(("1", "1"), ("0", "2"), ("2", "2"))
    ]
    assert len(read(tmp_path / "t.csv")) == 6
    assert read(tmp_path / "t-summary.csv") == [{"run": "a", "seeds": "3", "x": "2"}]


def test_medians_and_first_epochs(scripts):
    nets = scripts("_nets")
    rows = [{"run": "a", "seed": i, "x": v} for i, v in enumerate(["1", "", "3"])]
    assert nets.medians(rows, ["run"], ["x"]) == [{"run": "a", "seeds": 3, "x": "3"}]
    assert nets.medians(rows[:2], ["run"], ["x"])[0]["x"] == ""
    mixed = [{"batch": size, "x": 1} for size in ("12", 12)]
    assert [r["seeds"] for r in nets.medians(mixed, ["batch"], ["x"])] == [2]
    curve = [{"epoch": i, "passes": 2.0 * i, "seconds": 0.1 * i, "e": 1 / i} for i in (1, 2, 3)]
    assert nets.first(curve, "e", lambda v: v <= 0.5)["passes"] == "4"
    assert nets.first(curve, "e", lambda v: v <= 0.1)["passes"] == ""
    assert nets.within(curve, "passes", 4.0, "e") == "0.5"
    assert nets.within(curve, "passes", 1.0, "e") == ""


# --- what the page says ----------------------------------------------------------------------


def lowest(network, run, column="passes", limit=210.0):
    """Return the lowest training loss within a limit: the median over the starts."""
    rows = [
        r
        for r in read(RESULTS / "ellipsoids.csv")
        if (r["network"], r["run"]) == (network, run) and float(r[column]) <= limit
    ]
    seeds = {r["seed"] for r in rows}
    return np.median([min(float(r["loss"]) for r in rows if r["seed"] == s) for s in seeds])


def end(network, run, key):
    """Return a median of the summary."""
    (row,) = (
        r
        for r in read(RESULTS / "ellipsoids-summary.csv")
        if (r["network"], r["run"]) == (network, run)
    )
    return float(row[key]) if row[key] else np.inf


ADAM = [f"Adam, {rate}" for rate in ("0.001", "0.003", "0.01")]


def test_the_page_on_the_mlp():
    ball, shaped = "TR, sphere", "TR, RMSProp"
    assert lowest("MLP", shaped) < 0.75 * lowest("MLP", ball)
    assert lowest("MLP", shaped, limit=20) > 0.9 * lowest("MLP", ball, limit=20)
    first = [*ADAM, "SGD, 0.2"]
    assert max(lowest("MLP", run) for run in first) < lowest("MLP", shaped)
    for column, key in (("epoch", "epochs"), ("seconds", "seconds")):
        limit = end("MLP", shaped, key)
        ours = lowest("MLP", shaped)
        sgd = min(lowest("MLP", f"SGD, {rate}", column, limit) for rate in (0.05, 0.2))
        assert ours < sgd
        adam = min(lowest("MLP", run, column, limit) for run in ADAM)
        assert adam < 0.6 * ours if key == "seconds" else 0.8 < adam / ours < 1.25
    regions = [r["run"] for r in read(RESULTS / "ellipsoids-summary.csv") if "TR" in r["run"]]
    assert all(end("MLP", run, "epochs_99") == np.inf for run in regions)
    quarter = "TR, RMSProp, products on a quarter"
    for network in ("MLP", "autoencoder"):
        assert min(set(regions), key=lambda run: lowest(network, run)) == quarter


def test_the_page_on_the_autoencoder():
    shown = {
        "TR, sphere": "26.03",
        "TR, sphere, source's radii": "26.04",
        "TR, RMSProp": "14.7",
        "TR, Adagrad": "14.8",
        "TR, RMSProp, products on a quarter": "10.5",
        "lqn-tr": "26.06",
        "lsr1-tr": "13.8",
    }
    for run, text in shown.items():
        digits = len(text.split(".")[1])
        assert f"{lowest('autoencoder', run):.{digits}f}" == text
        assert text in PAGE
    epochs, seconds = (end("autoencoder", "TR, RMSProp", key) for key in ("epochs", "seconds"))
    assert epochs == 11
    assert f"{min(lowest('autoencoder', run, 'epoch', epochs) for run in ADAM):.1f}" == "22.3"
    assert f"{min(lowest('autoencoder', run, 'seconds', seconds) for run in ADAM):.1f}" == "9.7"
    assert f"{lowest('autoencoder', 'SGD, 0.05', 'seconds', seconds):.1f}" == "17.0"
    assert lowest("autoencoder", "SGD, 0.2") > 26


def convolutions(run, batch=512, norm="yes"):
    """Return the summary's row."""
    (row,) = (
        r
        for r in read(RESULTS / "lenet-summary.csv")
        if (r["run"], r["batch"], r["norm"]) == (run, str(batch), norm)
    )
    return {key: float(v) if v and key not in ("data", "network") else v for key, v in row.items()
            if key not in ("norm", "run")}  # fmt: skip


def test_the_page_on_l_sr1():
    sizes = (256, 512, 1024)
    told = {"lsr1-tr": [2, 3, 5], "SGD, 0.01": [4, 7, 11], "Adam, 0.001": [5, 8, 12]}
    for run, epochs in told.items():
        assert [convolutions(run, size)["epochs_10%"] for size in sizes] == epochs
    memories = ["lsr1-tr, memory 2", "lsr1-tr", "lsr1-tr, memory 10"]
    assert [convolutions(run)["epochs_7%"] for run in memories] == [4, 4, 4]
    rows = [r for r in read(RESULTS / "lenet-summary.csv") if r["run"].startswith("lsr1")]
    assert {float(r["skipped"]) for r in rows} == {0.0}
    for size in sizes:
        ours = convolutions("lsr1-tr", size)
        for run in ("SGD, 0.1", "Adam, 0.01"):
            for target in ("10%", "7%"):
                share = convolutions(run, size)[f"passes_{target}"] / ours[f"passes_{target}"]
                assert 0.4 < share < 0.8
        for run in ("SGD, 0.01", "Adam, 0.001"):
            share = convolutions(run, size)["passes_10%"] / ours["passes_10%"]
            assert 1.0 < share < 1.4
            far = convolutions(run, size)["passes_7%"]
            assert not far or far / ours["passes_7%"] > 1.6
    for grow in ("1.2", "2"):
        slow = convolutions(f"lsr1-tr, factors 0.8 and {grow}")
        half = convolutions("lsr1-tr" if grow == "2" else "lsr1-tr, factors 0.5 and 1.2")
        assert 1.4 < slow["epochs_7%"] / half["epochs_7%"] <= 2
        assert 0.2 <= slow["rejected"] <= 0.31
    for size in sizes:
        mixed, ours = (convolutions(run, size) for run in ("lqn-tr", "lsr1-tr"))
        assert mixed["last_error"] < ours["last_error"]
    assert mixed["epochs_7%"] < ours["epochs_7%"]  # of 1024
    plain = {
        "lsr1-tr": "13.8",
        "SGD, 0.1": "7.0",
        "Adam, 0.01": "4.9",
        "SGD, 0.01": "11.6",
        "Adam, 0.001": "8.8",
        "lqn-tr": "15.0",
    }
    for run, text in plain.items():
        assert f"{100 * convolutions(run, norm='no')['error']:.1f}" == text
        assert f"{text} %" in PAGE
    overlap = convolutions("lsr1-tr, overlap 0.25")
    assert overlap["passes_10%"] > 1.5 * convolutions("lsr1-tr")["passes_10%"]


def test_the_page_on_resnet():
    rows = read(RESULTS / "resnet-20-summary.csv")
    error = {(r["run"], r["batch"]): 100 * float(r["error"]) for r in rows}
    memories = ["lsr1-tr, memory 2", "lsr1-tr", "lsr1-tr, memory 10"]
    assert [round(error[run, "512"]) for run in memories] == [61, 60, 62]
    shown = {"SGD, 0.1": (45, 49), "Adam, 0.001": (46, 54), "lsr1-tr": (64, 60)}
    for run, pair in shown.items():
        assert tuple(round(error[run, size]) for size in ("128", "512")) == pair
    assert error["lqn-tr", "512"] < error["lqn-tr", "128"]
    ours = [r for r in rows if r["run"].startswith("lsr1")]
    assert {float(r["skipped"]) for r in ours} == {0.0}
    (slow,) = (r for r in ours if r["run"] == "lsr1-tr, factors 0.8 and 2")
    assert 0.45 < float(slow["rejected"]) < 0.5
    assert round(100 * float(slow["error"])) == 71
    assert {r["data"] for r in rows} == {"CIFAR-10, subset"}

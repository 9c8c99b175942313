"""The experiments of docs/networks.md and docs/plots.md run; what is stored says what they say."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "experiments" / "results"
NETWORKS = ("raw-10", "raw-20-20", "raw-50", "standardised-10")


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- the scripts -----------------------------------------------------------------------------


def test_a_positive_search_ends_where_the_direction_ascends(scripts):
    history = {
        "fun": np.array([5.0, 3.0, 4.0, 1.0]),
        "nit": np.arange(4.0),
        "nfev": np.array([1.0, 2.0, 5.0, 6.0]),
        "step_size": np.array([np.nan, 1.0, 0.5, -1.0]),
    }
    networks = scripts("networks")
    cut = networks.until_ascent(history)
    assert list(cut["fun"]) == [5.0, 3.0, 4.0]
    assert networks.lowest(history, "nfev", [1, 4, 6]) == [5.0, 3.0, 1.0]
    assert networks.lowest(cut, "nfev", [1, 4, 6]) == [5.0, 3.0, 3.0]
    positive = {**history, "step_size": np.abs(history["step_size"])}
    assert len(networks.until_ascent(positive)["fun"]) == 4


def test_the_depths_run(scripts, tmp_path):
    sizes = ["--depths", "1", "3", "--width", "3", "--steps", "6", "--seeds", "2"]
    scripts("networks").main(["depth", *sizes, "--out", str(tmp_path)])
    rows = read(tmp_path / "networks-depth-summary.csv")
    methods = {*scripts("networks").FULL, scripts("networks").POSITIVE}
    assert {(r["depth"], r["method"]) for r in rows} == {(d, m) for d in "13" for m in methods}
    curves = read(tmp_path / "networks-depth.csv")
    assert len(curves) == len(rows) * 7
    assert all(float(r["low"]) <= float(r["loss"]) <= float(r["high"]) for r in curves)
    for name in ("networks-depth.png", "networks-directions.png"):
        assert (tmp_path / name).stat().st_size > 5_000


def test_the_table_runs_on_what_is_shipped_and_is_kept(scripts, tmp_path, monkeypatch):
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    main = scripts("networks").main
    sizes = ["--evaluations", "12", "--starts", "2", "--out", str(tmp_path)]
    main(["table", "--networks", "3", *sizes])
    main(["table", "--networks", "2-2", "--scale", "standardised", *sizes])
    rows = read(tmp_path / "networks-table.csv")
    runs = {*scripts("networks").LIMITED, "L-SR1"}
    assert len(rows) == 2 * len(runs)
    assert {r["run"] for r in rows} == runs
    assert all(int(r["evaluations"]) <= 12 for r in rows)
    assert all(float(r["3"]) >= float(r["6"]) >= float(r["12"]) > 0.0 for r in rows)
    (line,) = read(tmp_path / "networks-raw-3.csv")
    assert line["set"] == "ionosphere"
    assert int(line["parameters"]) == 34 * 3 + 3 + 3 + 1
    best = min(float(r["12"]) for r in rows if r["run"].startswith("Adam") and r["network"] == "3")
    assert float(line["Adam"]) == pytest.approx(best, abs=6e-4)
    assert [r["hidden"] for r in read(tmp_path / "networks-counts.csv")] == ["3", "2-2"]
    assert (tmp_path / "networks-table.png").stat().st_size > 5_000
    kept = (tmp_path / "networks-raw-3.csv").read_bytes()
    main(["table", "--networks", "--out", str(tmp_path)])  # only draws
    assert (tmp_path / "networks-raw-3.csv").read_bytes() == kept
    part = ["table", "--networks", "3", "--methods", "GD", "--evaluations", "4"]
    main([*part, "--out", str(tmp_path)])  # another number of evaluations: the rest must go
    assert [r["run"] for r in read(tmp_path / "networks-table.csv")] == ["GD"]
    with pytest.raises(FileNotFoundError, match=r"heart: set NEGOPT_DATA.*libsvm/heart"):
        main(["table", "--sets", "heart", *sizes])


def test_unknown_words_are_refused(scripts, capsys):
    for words in (["figure"], ["--sets", "gisette"]):
        with pytest.raises(SystemExit):
            scripts("networks").main(words)
        assert "choose from" in capsys.readouterr().err


def test_the_sets_of_the_source(scripts, data_dir, monkeypatch):
    monkeypatch.setenv("NEGOPT_DATA", str(data_dir))
    networks = scripts("networks")
    for name, shape in (("heart", (270, 13)), ("svmguide3", (1243, 21)), ("a1a", (1605, 123))):
        X, y = networks.load(name, "raw")
        assert X.shape == shape
        assert set(y) == {-1.0, 1.0}
    X, _ = networks.load("heart", "standardised")
    np.testing.assert_allclose(X.std(axis=0), 1.0)
    assert all((data_dir / "libsvm" / file).exists() for file, _, _ in networks.SETS.values())


def test_the_figures_of_the_page_on_plots(scripts, tmp_path):
    scripts("plots").main(["--steps", "8", "--out", str(tmp_path)])
    for name in scripts("plots").DRAWN:
        assert (tmp_path / f"plots-{name}.png").stat().st_size > 4_000
        assert (RESULTS / f"plots-{name}.png").exists()


# --- what the page says ----------------------------------------------------------------------


def test_stored_depths():
    loss, rows = {}, read(RESULTS / "networks-depth-summary.csv")
    for row in rows:
        loss[int(row["depth"]), row["method"]] = float(row["loss"])
    for depth in range(1, 9):
        assert loss[depth, "SR1, signed"] <= loss[depth, "BFGS"]
        assert loss[depth, "SR1, positive"] > 5.0 * loss[depth, "SR1, signed"]
    positive = [r for r in rows if r["method"] == "SR1, positive"]
    assert all(2 <= int(r["iterations"]) <= 5 for r in positive)
    signed = [r for r in rows if r["method"] == "SR1, signed"]
    assert all(20 <= int(r["negative steps, %"]) <= 26 for r in signed)


def test_every_method_has_finished_on_every_set():
    rows = read(RESULTS / "networks-table.csv")
    kinds = {(r["scale"], r["network"]) for r in rows}
    assert {"-".join(kind) for kind in kinds} == set(NETWORKS)
    found = {(r["scale"], r["network"], r["set"], r["run"]): r for r in rows}
    sets, runs = {r["set"] for r in rows}, {r["run"] for r in rows}
    assert len(sets) == 13
    assert len(runs) == 11
    assert len(found) == len(rows) == len(kinds) * 13 * 11
    assert all(math.isfinite(float(r["200"])) for r in rows)
    for name in ("colon-cancer", "leukemia"):  # where the source's did not
        for kind in kinds:
            row = found[(*kind, name, "L-SR1 damped")]
            assert float(row["seconds"]) < 20.0
            assert float(row["200"]) < 0.01


def test_stored_tables():
    counts = {f"{r['features']}-{r['hidden']}": r for r in read(RESULTS / "networks-counts.csv")}
    assert set(counts) == set(NETWORKS)
    no_worse = {k: int(r["L-SR1 signed <= source, signed"]) for k, r in counts.items()}
    assert no_worse["raw-20-20"] >= 10
    assert no_worse["raw-50"] >= 10
    assert no_worse["standardised-10"] >= 10
    assert all(int(r["L-SR1 flipped <= source, signed"]) >= 11 for r in counts.values())
    assert all(int(r["L-SR1 signed <= L-SR1 damped"]) >= 10 for r in counts.values())
    assert all(int(r["L-SR1 signed <= L-BFGS"]) == 3 for r in counts.values())
    for name in NETWORKS:
        table = {r["set"]: r for r in read(RESULTS / f"networks-{name}.csv")}
        assert len(table) == 13
        ours = sum(float(r["L-SR1 signed"]) <= float(r["source, signed"]) for r in table.values())
        assert ours == no_worse[name]
        runs = [
            run
            for run in next(iter(table.values()))
            if run not in ("set", "parameters", "source, signed")
        ]
        best = sum(float(r["lqn-tr"]) <= min(float(r[run]) for run in runs) for r in table.values())
        assert best >= 11
    assert len(read(RESULTS / "networks-source.csv")) == 13


def test_the_stored_files_are_small():
    files = [*RESULTS.glob("networks-*"), *RESULTS.glob("plots-*")]
    assert len(files) == 17
    assert all(path.stat().st_size < 100_000 for path in files)

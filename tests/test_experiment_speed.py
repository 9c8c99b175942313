"""The measurements of speed run; their stored tables keep to what the page promises."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "experiments" / "results"


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_overhead_leaves_out_the_objective(scripts) -> None:
    """A slow objective costs the solver nothing."""
    timing = scripts("_timing")
    fun, x0 = timing.rosenbrock(2), timing.start(2)
    calls = []

    def slow(x):
        calls.append(1)
        begun = timing.time.perf_counter()
        while timing.time.perf_counter() - begun < 0.02:
            pass
        return fun(x)

    rival = timing.Rival("L-BFGS-B", "L-BFGS-B")
    seconds, evaluations = rival.overhead(slow, x0, 5)
    assert evaluations == len(calls)
    assert 0.0 < seconds < 0.02 * evaluations


def test_the_objectives_are_what_they_say(scripts) -> None:
    timing, x = scripts("_timing"), scripts("_timing").start(6)
    for build in (timing.rosenbrock, timing.convex):
        fun = build(6)
        f, g = fun(x)
        for i in range(6):
            ahead, behind = x.copy(), x.copy()
            ahead[i] += 1e-6
            behind[i] -= 1e-6
            assert (fun(ahead)[0] - fun(behind)[0]) / 2e-6 == pytest.approx(
                g[i], rel=1e-6, abs=1e-4
            )
        assert f > 0.0


def test_the_smallest_table(scripts, tmp_path, monkeypatch) -> None:
    speed = scripts("speed")
    monkeypatch.setattr(speed, "repeats_at", lambda n: 1)
    monkeypatch.setattr(speed, "RIVALS", speed.LATER)
    speed.overhead(tmp_path, 1)
    rows = read(tmp_path / "speed-overhead.csv")
    assert {row["n"] for row in rows} == {"2"}
    assert {row["objective"] for row in rows} == {"rosenbrock", "convex"}
    assert all(row["L-BFGS-B / it"] == "1.00" for row in rows if row["solver"] == "L-BFGS-B")
    assert read(tmp_path / "speed-ratios.csv")


def test_the_stored_peaks_keep_to_the_formula() -> None:
    rows = read(RESULTS / "speed-memory.csv")
    assert "10000000" in {row["n"] for row in rows}
    for row in rows:
        assert float(row["vectors held at the peak"]) < 2 * int(row["m"]) + 12
        assert row["second-order check"] == "positive"

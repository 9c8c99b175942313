"""The measurements of speed run; their stored tables keep to what the page promises."""

from __future__ import annotations

import csv
import math
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
    p = timing.np.cos(x)
    for make, product in (
        (timing.rosenbrock, timing.rosenbrock_product),
        (timing.convex, timing.convex_product),
    ):
        fun = make(6)
        difference = (fun(x + 1e-6 * p)[1] - fun(x - 1e-6 * p)[1]) / 2e-6
        assert product(x, p) == pytest.approx(difference, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(
    ("short", "long", "found"),
    [
        ([1.0, 1.1], [3.0, 3.2], 2.0),
        ([1.0, 1.5], [2.0, 2.0], math.nan),  # the difference is less than the noise, thrice
        ([2.0, 2.0], [1.0, 1.0], math.nan),  # and never negative
        ([2.0], [2.0], math.nan),
    ],
)
def test_what_is_within_the_noise_is_left_blank(scripts, short, long, found) -> None:
    timing = scripts("_timing")
    assert timing.margin(short, long) == pytest.approx(found, nan_ok=True)
    assert timing.shown(timing.margin(short, long)) == ("2" if found == 2.0 else "")


def test_the_smallest_tables(scripts, tmp_path, monkeypatch) -> None:
    speed = scripts("speed")
    monkeypatch.setattr(speed, "repeats_at", lambda n: 2)
    monkeypatch.setattr(speed, "RIVALS", speed.LATER)
    for part in ("overhead", "memory-size", "products", "cold"):
        speed.PARTS[part](tmp_path, 1)
    rows = read(tmp_path / "speed-overhead.csv")
    assert {row["n"] for row in rows} == {"2"}
    assert {row["objective"] for row in rows} == {"rosenbrock", "convex"}
    for row in rows:
        assert "-" not in row["us per evaluation"] + row["L-BFGS-B / it"]
        if row["solver"].startswith("L-BFGS-B"):
            assert row["L-BFGS-B / it"] in ("1.00", "")
    assert [row["solver; objective"] for row in read(tmp_path / "speed-ratios.csv")] == [
        f"{solver}; {name}"
        for name in ("rosenbrock", "convex")
        for solver in ("default", "lqn-tr, m=10")
    ]
    speed.draw(rows, read(tmp_path / "speed-memory-size.csv"))
    ours, theirs = read(tmp_path / "speed-products.csv")
    assert (ours["solver"], theirs["solver"]) == ("newton-krylov", "trust-krylov")
    assert float(ours["||g||"]) <= 1e-5 >= float(theirs["||g||"])
    ours, theirs = read(tmp_path / "speed-cold.csv")
    assert ours["solver"] == "default"
    assert theirs["solver"] == "L-BFGS-B"
    assert ours["Numba"] == ours["compilation"] == ""


def test_the_stored_peaks_keep_to_the_formula() -> None:
    rows = read(RESULTS / "speed-memory.csv")
    assert max(int(row["n"]) for row in rows) >= 1_000_000
    assert "newton-krylov" in {row["method"] for row in rows}
    for row in rows:
        assert float(row["vectors held at the peak"]) < float(row["bound"])
        assert row["second-order check"] == "positive"


def test_the_stored_first_solves_import_no_numba() -> None:
    for row in read(RESULTS / "speed-cold.csv"):
        assert (row["Numba"] != "") == (row["objective"] == "jitted")
        assert (row["compilation"] != "") == (row["objective"] == "jitted")

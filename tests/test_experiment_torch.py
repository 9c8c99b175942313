"""The comparison of docs/torch.md runs; its stored table says what the page says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
STORED = SCRIPTS / "results" / "torch-optimizer.csv"
BATCHES = SCRIPTS / "results" / "torch-batches.csv"
PAGE = (SCRIPTS.parent / "torch.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script(scripts):
    pytest.importorskip("torch")
    return scripts("torch_optimizer")


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def median(task, optimizer, calls, key="loss"):
    """Return the stored median over the starts."""
    wanted = (task, optimizer, str(calls))
    rows = [r for r in read(STORED) if (r["task"], r["optimizer"], r["calls"]) == wanted]
    return float(np.median([float(r[key]) for r in rows]))


def test_it_runs_on_what_is_there(script, tmp_path, monkeypatch):
    monkeypatch.delenv("NEGOPT_DATA", raising=False)
    sizes = ["--images", "12", "--lines", "4", "--calls", "2", "5", "--seeds", "1"]
    script.main([*sizes, "--out", str(tmp_path)])
    rows = read(tmp_path / "torch-optimizer.csv")
    assert len(rows) == 2 * len(script.OPTIMIZERS) * 2
    for early, late in zip(rows[::2], rows[1::2], strict=True):
        assert float(late["loss"]) <= float(early["loss"])
        assert (early["held out"], late["held out"] != "") == ("", True)
    batches = read(tmp_path / "torch-batches.csv")
    assert [r["optimizer"] for r in batches] == list(script.ON_BATCHES)
    assert all(5 <= int(r["calls"]) <= 8 for r in batches)
    starts = {(r["task"], r["seed"]): r["parameters"] for r in rows}
    assert set(starts) == {("images", "0"), ("spelling", "0")}


def test_the_images_of_the_folder(script, data_dir, monkeypatch):
    if not (data_dir / "fashion-mnist").is_dir():
        pytest.skip("no Fashion-MNIST")
    monkeypatch.setenv("NEGOPT_DATA", str(data_dir))
    net, (X, y), _ = script.images(20, 0)
    assert X.shape == (20, 1, 28, 28)
    assert abs(float(X.mean())) < 1e-5
    assert y.tolist()[:4] == [9, 0, 0, 3]  # a boot, two shirts, a dress
    assert net(X).shape == (20, 10)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (40, "forty"),
        (219, "two hundred nineteen"),
        (70_061, "seventy thousand sixty-one"),
        (999_000, "nine hundred ninety-nine thousand"),
    ],
)
def test_numbers_are_spelt(script, number, words):
    assert script.spelt(number) == words


def test_the_stored_tables_are_complete(script):
    rows = read(STORED)
    assert {r["optimizer"] for r in rows} == set(script.OPTIMIZERS)
    assert {r["task"] for r in rows} | {"batches"} == set(script.TASKS)
    assert {int(r["calls"]) for r in rows} == set(script.CALLS)
    assert {r["optimizer"] for r in read(BATCHES)} == set(script.ON_BATCHES)


def test_the_page_shows_the_stored_tables():
    calls = {"images": (25, 50, 100), "spelling": (25, 50, 100, 200)}
    for name in dict.fromkeys(r["optimizer"] for r in read(STORED)):
        cells = [f"{median(task, name, n):.2g}" for task in calls for n in calls[task]]
        assert f"| {name} | {' | '.join(cells)} |" in PAGE
    rows = read(BATCHES)
    for name in dict.fromkeys(r["optimizer"] for r in rows):
        loss, right = (
            np.median([float(r[key]) for r in rows if r["optimizer"] == name])
            for key in ("loss", "held out")
        )
        assert f"| {name} | {loss:.2g} | {right:.3f} |" in PAGE


def test_what_the_page_says_of_the_tables():
    rivals = ("torch LBFGS, strong_wolfe", "torch LBFGS")
    for task in ("images", "spelling"):
        for calls in (25, 50):
            ours = median(task, "negopt", calls)
            assert ours < min(median(task, rival, calls) for rival in rivals)
    names = {r["optimizer"] for r in read(STORED)}
    for calls in (50, 100, 200):
        best = min(names, key=lambda name: median("spelling", name, calls))
        assert best == "torch Adam, 1e-2"
    assert min(names, key=lambda name: median("images", name, 50)) == "negopt"
    loss = {r["optimizer"]: [] for r in read(BATCHES)}
    for r in read(BATCHES):
        loss[r["optimizer"]].append(float(r["loss"]))
    assert max(loss["torch Adam, 3e-3"]) < min(loss["negopt"])
    assert max(loss["negopt"]) < 0.6 * min(min(loss[rival]) for rival in rivals)
    middle = {name: np.median(values) for name, values in loss.items()}
    assert middle["negopt"] < min(middle[rival] for rival in rivals) / 3


def test_what_the_page_says_of_seconds():
    names = {r["optimizer"] for r in read(STORED)}
    for task, low, high in (("images", 1.75, 2.25), ("spelling", 0.85, 1.35)):
        assert all(low < median(task, name, 50, "seconds") < high for name in names)
    whole = [median("spelling", name, 200, "seconds") for name in ("negopt", "torch LBFGS")]
    assert [f"{seconds:.1f}" for seconds in whole] == ["6.6", "4.9"]

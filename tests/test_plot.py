"""The figures: what is drawn is what was given; files are real; no global state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import negopt
from negopt import plot, problems

pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


def run(method: str, **options: object) -> object:
    """Return a recorded run on a problem with negative curvature on the way."""
    problem = problems.get("chained_rosenbrock", 4)
    options = {"record": True, **options}
    return negopt.minimize(problem, problem.x0, method=method, options=options)


def saved(figure: object, tmp_path: Path) -> bytes:
    """Save a figure and return the file's content."""
    path = tmp_path / "figure.png"
    figure.savefig(path)
    return path.read_bytes()


def test_convergence_of_results(tmp_path: Path) -> None:
    results = {name: run(name) for name in ("lqn-tr", "sr1-wolfe-pm")}
    figure = plot.convergence(results, best=0.0)
    assert saved(figure, tmp_path)[:8] == PNG
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.get_lines()] == list(results)
    assert ax.get_yscale() == "log"
    for line, res in zip(ax.get_lines(), results.values(), strict=True):
        values = line.get_ydata()
        assert np.all(np.diff(values) <= 0.0)  # the lowest f so far
        assert values[0] == pytest.approx(res.history["fun"][0])
        assert np.array_equal(line.get_xdata(), res.history["nfev"])


def test_convergence_of_one_result_and_of_pairs() -> None:
    res = run("lqn-tr")
    assert len(plot.convergence(res).axes[0].get_lines()) == 1
    figure = plot.convergence([([1, 2, 3], [5.0, 7.0, 2.0]), ([1], [3.0])], labels=["a", "b"])
    first, second = figure.axes[0].get_lines()
    assert np.allclose(first.get_ydata(), [3.0, 3.0, 1.0])  # above the best, 2; never 0
    assert second.get_ydata() == pytest.approx([1.0])


def test_convergence_goes_below_a_wrong_best() -> None:
    figure = plot.convergence({"a": ([1, 2], [1.0, -1.0])}, best=0.0)
    assert "best = -1" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("results", "labels", "expected"),
    [
        ({}, None, "empty"),
        ([([1], [1.0])], ["a", "b"], "2 entries for 1"),
        ([([1, 2], [1.0])], None, "2,"),
        ([([1], [np.nan])], None, "no finite value"),
        (SimpleNamespace(nfev=3), None, "record"),
    ],
)
def test_convergence_mistakes(results: object, labels: list[str] | None, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        plot.convergence(results, labels=labels)


def test_step_sizes_show_their_sign(tmp_path: Path) -> None:
    res = run("sr1-wolfe-pm")
    sizes = res.history["step_size"]
    sizes = sizes[np.isfinite(sizes)]
    negative = int(np.sum(sizes < 0))
    assert negative > 0  # otherwise this test says nothing
    figure = plot.step_sizes(res)
    assert saved(figure, tmp_path)[:8] == PNG
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [f"positive ({sizes.size - negative})", f"negative ({negative})"]


def test_step_sizes_need_signed_steps() -> None:
    with pytest.raises(ValueError, match="no signed step sizes"):
        plot.step_sizes(run("lqn-tr"))
    with pytest.raises(ValueError, match="record"):
        plot.step_sizes(SimpleNamespace(nfev=1))


def test_density_of_a_spectrum(tmp_path: Path) -> None:
    values = np.linspace(-1.0, 3.0, 300)
    found = negopt.spectrum(np.diag(values), np.zeros(300), n_probes=2, n_steps=20)
    figure = plot.spectrum(found)
    assert saved(figure, tmp_path)[:8] == PNG
    (ax,) = figure.axes
    negative, positive = ax.collections
    assert negative.get_label().startswith("negative (2")  # a quarter, in per cent
    below, above = (part.get_paths()[0].vertices for part in (negative, positive))
    assert below[:, 0].max() <= 0.0 <= above[:, 0].min()
    height = found.density(above[:, 0])
    drawn = above[:, 1] > 1e-3
    assert np.max(np.abs(above[drawn, 1] - height[drawn])) < 1e-6
    assert ax.get_yscale() == "log"
    peak = max(below[:, 1].max(), above[:, 1].max())
    assert peak < ax.get_ylim()[1] < 10.0 * peak
    exact = negopt.spectrum(np.diag(values), np.zeros(300))
    assert plot.spectrum(exact).axes[0].get_ylabel() == "eigenvalue"  # these are known, one by one


def test_spectrum(tmp_path: Path) -> None:
    figure = plot.spectrum([3.0, -1.0, 0.0, 1e4, -1e-6])
    assert saved(figure, tmp_path)[:8] == PNG
    ax = figure.axes[0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["negative (2)", "zero or positive (3)"]
    assert np.array_equal(ax.get_lines()[0].get_ydata(), [-1.0, -1e-6])
    assert saved(plot.spectrum([0.0, 0.0]), tmp_path)[:8] == PNG
    for wrong in ([], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="'values' has shape"):
            plot.spectrum(wrong)


def test_performance_profile(tmp_path: Path) -> None:
    costs = [[1.0, 2.0], [4.0, 1.0], [np.inf, 3.0], [np.nan, np.inf]]
    figure = plot.performance_profile(costs, ["a", "b"])
    assert saved(figure, tmp_path)[:8] == PNG
    ax = figure.axes[0]
    shares = {}
    for line in ax.get_lines():
        x, y = line.get_xdata(), line.get_ydata()
        shares[line.get_label()] = [float(y[x <= tau][-1]) for tau in (1.0, 2.0, 4.0)]
    # Of four problems, the last unsolved by both: Dolan and More's rho at 1, 2 and 4.
    assert shares == {"a": [0.25, 0.25, 0.5], "b": [0.5, 0.75, 0.75]}


@pytest.mark.parametrize("costs", [[1.0, 2.0], [[1.0]], [[0.0, 1.0]], [[-1.0, 1.0]], []])
def test_performance_profile_mistakes(costs: object) -> None:
    with pytest.raises(ValueError, match="'costs' has"):
        plot.performance_profile(costs, ["a", "b"])


def test_draws_where_it_is_told() -> None:
    figure, (left, right) = plot.panels(["left", "right"])
    assert plot.spectrum([1.0], ax=left) is figure
    assert plot.convergence({"a": ([1], [1.0])}, ax=right) is figure
    assert left.get_title() == "left"
    assert len(plot.panels(list("abcd"))[1]) == 4
    with pytest.raises(ValueError, match="'titles' is empty"):
        plot.panels([])


def test_nothing_global() -> None:
    code = (
        "import sys, negopt.plot as plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plot.spectrum([1.0, -1.0])\n"
        "assert 'matplotlib' in sys.modules\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"negopt\[plot\]"):
        plot.spectrum([1.0])


def test_loss_is_drawn_as_it_is(tmp_path: Path) -> None:
    res = run("gd", learning_rate=1e-3, maxiter=20)
    figure = plot.loss({"gd": res, "pairs": ([0, 1, 2], [5.0, 7.0, 2.0])})
    assert saved(figure, tmp_path)[:8] == PNG
    first, second = figure.axes[0].get_lines()
    np.testing.assert_array_equal(first.get_ydata(), res.history["fun"])
    np.testing.assert_array_equal(second.get_ydata(), [5.0, 7.0, 2.0])  # up as well
    assert figure.axes[0].get_yscale() == "log"
    assert plot.loss([([0, 1], [1.0, -1.0])]).axes[0].get_yscale() == "linear"
    for x, label in (("nit", "iteration"), ("nfev", "evaluations of f"), ("time", "seconds")):
        ax = plot.loss(res, x=x).axes[0]
        assert ax.get_xlabel() == label
        np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), res.history[x])
    with pytest.raises(ValueError, match="'x' is 'epochs'"):
        plot.loss(res, x="epochs")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("flip", ["direction", "eigen"])
def test_cosines_are_those_of_the_directions(flip: str, compiled: bool, tmp_path: Path) -> None:
    problem = problems.get("chained_rosenbrock", 4)
    points = [(problem.x0, problem.fun_and_grad(problem.x0)[1])]
    sizes = []

    def watch(intermediate_result) -> None:
        points.append((intermediate_result.x, intermediate_result.jac))
        sizes.append(intermediate_result.step_size)

    res = negopt.minimize(
        problem,
        problem.x0,
        method="lsr1-wolfe-pm",
        callback=watch,
        options={"record": True, "flip": flip, "compiled": compiled, "maxiter": 30},
    )
    found = res.history["cosine"]
    assert np.isnan(found[0])
    for k, size in enumerate(sizes):
        (x, g), after = points[k], points[k + 1][0]
        d = (after - x) / size
        expected = -(g @ d) / (np.linalg.norm(g) * np.linalg.norm(d))
        assert found[k + 1] == pytest.approx(expected, rel=1e-6)
    negative = int(np.sum(found < 0.0))
    assert negative == res.n_negative_steps
    assert (negative > 0) == (flip == "direction")
    figure = plot.cosines(res)
    assert saved(figure, tmp_path)[:8] == PNG
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0] == f"descends ({len(sizes) - negative})"


def test_cosines_need_steps() -> None:
    with pytest.raises(ValueError, match="no step"):
        plot.cosines(run("lqn-tr", maxiter=0))


def test_a_trust_region_step_has_a_cosine_too() -> None:
    history = run("lqn-tr").history
    accepted = history["accepted"] == 1.0
    assert np.all(history["cosine"][accepted] > 0.0)
    assert np.all(np.isnan(history["cosine"][~accepted]))


def test_trust_radius_marks_what_was_rejected(tmp_path: Path) -> None:
    results = {name: run(name) for name in ("lqn-tr", "lsr1-tr")}
    figure = plot.trust_radius(results)
    assert saved(figure, tmp_path)[:8] == PNG
    lines = figure.axes[0].get_lines()
    total = 0
    for line, crosses, (name, res) in zip(lines[::2], lines[1::2], results.items(), strict=True):
        missed = int(np.sum(res.history["accepted"] == 0.0))
        total += missed
        assert line.get_label() == f"{name} ({missed} rejected)"
        assert crosses.get_xdata().size == missed
        known = np.isfinite(res.history["tr_radius"])
        np.testing.assert_array_equal(line.get_ydata(), res.history["tr_radius"][known])
    assert total > 0  # otherwise this test says nothing
    with pytest.raises(ValueError, match="no trust radius"):
        plot.trust_radius(run("gd-armijo"))


def test_an_older_record_goes_on_with_what_it_lacks() -> None:
    problem = problems.get("chained_rosenbrock", 4)
    options: dict[str, object] = {"record": True, "maxiter": 3}
    res = negopt.minimize(problem, problem.x0, method="lqn-tr", options=options)
    del res.state.history["cosine"]
    res = negopt.minimize(
        problem, problem.x0, method="lqn-tr", options={**options, "state": res.state}
    )
    assert np.isnan(res.history["cosine"][:4]).all()
    assert len(res.history["cosine"]) == len(res.history["fun"]) == 7

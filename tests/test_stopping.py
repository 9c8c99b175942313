"""Every stopping test, its order, and the numbers in its message."""

from __future__ import annotations

import math

import numpy as np
import pytest

from negopt.core.messages import Words
from negopt.core.types import Iterate, Outcome, Status
from negopt.solver.stopping import Limits, gradient_measure, precision_message, stop


def point(f=1.0, g=(3.0, -4.0), x=(1.0, 2.0), dtype=np.float64):
    g, x = np.array(g, dtype=dtype), np.array(x, dtype=dtype)
    gmax = float(np.max(np.abs(g)))
    size = gmax * float(np.linalg.norm(g / gmax)) if gmax else 0.0
    return Iterate(x, f, g, size, gmax)


def limits(**changes):
    values = dict(gtol=1e-5, order=math.inf, xrtol=0.0, ftarget=-math.inf, maxiter=10, f0=1.0)
    return Limits(**{**values, **changes})


def test_another_caller_has_words_of_its_own() -> None:
    words = Words({"maxiter": "max_iter", "gtol": "tolerance_grad"}, "; call step again")
    verdict = stop(point(), limits(words=words), 10, None)
    assert verdict is not None
    assert "(max_iter = 10 in this call, 10 in all)" in verdict[1]
    assert verdict[1].endswith("> tolerance_grad = 1e-05. Raise max_iter; call step again.")
    assert "raise tolerance_grad" in precision_message(
        point(g=(1e-4, 0.0)), limits(words=words), "reason"
    )
    assert words.used_up("maxfun", "3 evaluations are used up").endswith(
        "maxfun=3 evaluations are used up; raise maxfun; call step again"
    )


@pytest.mark.parametrize("order", [1, 1.5, 2, 3, math.inf])
def test_gradient_measure_is_the_norm(order) -> None:
    p = point()
    assert gradient_measure(p, order) == pytest.approx(np.linalg.norm(p.g, order))


def test_gradient_measure_at_the_ends_of_the_range() -> None:
    assert gradient_measure(point(g=(0.0, 0.0)), 3) == 0.0
    assert gradient_measure(point(g=(3e200, 4e200)), 3) == pytest.approx(
        1e200 * np.linalg.norm([3, 4], 3)
    )
    assert gradient_measure(point(g=(3e-200, 4e-200)), 1) == pytest.approx(7e-200)


def test_goes_on() -> None:
    assert stop(point(), limits(), 9, None) is None


@pytest.mark.parametrize(
    ("changes", "k", "status", "words"),
    [
        ({"gtol": 4.0}, 0, Status.CONVERGED, r"max\|g\| = 4 <= gtol = 4"),
        ({"gtol": 5.0, "order": 2}, 0, Status.CONVERGED, r"\|g\|_2 = 5 <= gtol = 5"),
        ({"ftarget": 1.0}, 0, Status.TARGET, "f = 1 <= ftarget = 1"),
        ({}, 10, Status.LIMIT, r"Maximum number of iterations.*maxiter = 10.*max\|g\| = 4 >"),
        # the order: target before convergence, convergence before the limit
        ({"gtol": 4.0, "ftarget": 2.0}, 10, Status.TARGET, "ftarget"),
        ({"gtol": 4.0}, 10, Status.CONVERGED, "gtol"),
    ],
)
def test_verdicts(changes, k, status, words) -> None:
    got = stop(point(), limits(**changes), k, None)
    assert got is not None
    assert got[0] is status
    import re

    assert re.search(words, got[1])


def test_just_outside_each_limit_goes_on() -> None:
    assert stop(point(), limits(gtol=math.nextafter(4.0, 0.0)), 0, None) is None
    assert stop(point(), limits(ftarget=math.nextafter(1.0, 0.0)), 0, None) is None
    assert stop(point(), limits(maxiter=11), 10, None) is None


def test_unbounded_below_is_relative_to_the_first_value() -> None:
    assert stop(point(f=-2e30), limits(), 0, None)[0] is Status.UNBOUNDED
    assert stop(point(f=-2e30), limits(f0=1e20), 0, None) is None


def test_small_steps_stop_only_when_accepted_and_asked_for() -> None:
    out = Outcome(s=np.array([1e-9, -2e-9]), accepted=True)
    assert stop(point(), limits(xrtol=1e-9), 0, out)[0] is Status.CONVERGED
    assert stop(point(), limits(xrtol=0.9e-9), 0, out) is None
    assert stop(point(), limits(), 0, out) is None
    out.accepted = False
    assert stop(point(), limits(xrtol=1.0), 0, out) is None


def test_the_precision_message_says_what_to_try() -> None:
    assert "float64" in precision_message(point(dtype=np.float32), limits(), "why")
    assert "check_grad" in precision_message(point(), limits(), "why")
    near = precision_message(point(g=(2e-5, 0.0)), limits(), "why")
    assert "raise gtol" in near
    assert "why" in near
    assert "2e-05 > gtol = 1e-05" in near

"""One row formatter for log, history and callback."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

import negopt
from negopt.core.types import Outcome
from negopt.solver.report import FIELDS, HEADER, format_row, logger, logging_to_screen, row

NAN = math.nan


@pytest.fixture
def state():
    """The state of a short run."""
    return negopt.minimize(
        rosen, [-1.2, 1.0], jac=rosen_der, method="lsr1-tr", options={"maxiter": 3}
    ).state


def test_a_row_has_every_field(state) -> None:
    figures = row(state, None, NAN)
    assert tuple(figures) == FIELDS
    assert figures["nit"] == 3
    assert figures["fun"] == state.iterate.f
    assert all(math.isnan(figures[name]) for name in ("rho", "step_size", "accepted"))
    out = Outcome(accepted=True, rho=0.5, step_size=-0.25, radius=2.0)
    figures = row(state, out, 0.125)
    assert [figures[n] for n in ("rho", "step_size", "tr_radius", "accepted", "step_norm")] == [
        0.5,
        -0.25,
        2.0,
        1.0,
        0.125,
    ]


@pytest.mark.parametrize("scale", [1.0, -1e-300, 1e300, NAN, math.inf])
def test_lines_are_aligned(state, scale) -> None:
    out = Outcome(rho=scale, step_size=-scale, radius=abs(scale))
    line = format_row(row(state, out, abs(scale)))
    assert len(line) == len(HEADER)
    if scale != scale:
        assert line.count(" -") == 4  # what a method does not have is a dash


def test_screen_only_while_wanted_and_when_nobody_listens(capsys) -> None:
    kept = logging.root.handlers[:]
    before = (logger.level, logger.handlers[:])
    logging.root.handlers[:] = []
    try:
        with logging_to_screen(wanted=True):
            logger.info("shown")
        with logging_to_screen(wanted=False):
            logger.info("hidden")
        with pytest.raises(KeyError), logging_to_screen(wanted=True):
            raise KeyError
    finally:
        logging.root.handlers[:] = kept
    assert capsys.readouterr().out == "shown\n"
    assert (logger.level, logger.handlers) == before


def test_a_handler_of_the_user_is_used_alone(capsys) -> None:
    lines: list[str] = []

    class Mine(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    mine = Mine()
    logger.addHandler(mine)
    try:
        res = negopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, options={"disp": True})
    finally:
        logger.removeHandler(mine)
    assert len(lines) == res.nit + 3  # title, start, iterations, message
    assert capsys.readouterr().out == ""
    assert np.isfinite(res.fun)

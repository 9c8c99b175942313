"""Fits of other packages, by their own calls: as low as SciPy, at its cost, with the right verdict.

Guarantee of ``docs/clients.md``; the fits are those of its table.
"""

from __future__ import annotations

import functools
import math

import pytest
from _fits import FITS
from _verdicts import duel

pytestmark = pytest.mark.clients

#: Evaluations over SciPy's that a fit may take, where that is more than 1.3, and why.
DEARER: dict[str, tuple[float, str]] = {}

once = functools.cache(duel)


def test_there_are_enough_fits_of_every_package() -> None:
    assert len(FITS) >= 25
    packages = {name.split()[0] for name in FITS}
    assert packages == {"statsmodels", "scikit-learn", "lifelines", "lmfit", "ase"}
    assert set(DEARER) <= set(FITS)


@pytest.mark.parametrize("name", list(FITS))
def test_a_fit_ends_as_low_as_scipys(name) -> None:
    found = once(name)
    assert found.as_low, found.f


@pytest.mark.parametrize("name", list(FITS))
def test_a_fit_costs_what_scipy_does(name) -> None:
    found = once(name)
    most, why = DEARER.get(name, (1.3, ""))
    assert found.ratio <= most, (found.negopt.evaluations, found.scipy.evaluations, why)


@pytest.mark.parametrize("name", list(FITS))
def test_the_verdict_is_that_of_the_exact_hessian(name) -> None:
    found = once(name)
    assert math.isfinite(found.truth.error)
    assert found.verdict_is_right, (found.truth, found.negopt.result.message)

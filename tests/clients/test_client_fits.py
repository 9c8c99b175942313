"""Fits of other packages, by their own calls: as low as SciPy, at its cost, with the right verdict.

Guarantee of ``docs/clients.md``; the fits are those of its table.
"""

from __future__ import annotations

import pytest
from _fits import FITS
from _verdicts import duel

pytestmark = pytest.mark.clients

#: Evaluations over SciPy's that a fit may take.
MOST = 1.3
#: Where it is more, and why: short runs, in which SciPy's BFGS gains by beginning with the
#: identity, which suits these columns. In brackets what L-BFGS-B takes for as small a gradient.
DEARER: dict[str, tuple[float, str]] = {
    "statsmodels Poisson, randhie": (1.6, "37 without the check, BFGS 27 (170)"),
    # Its gradients are differences: the check begins again with longer ones.
    "statsmodels OrderedModel logit, anes96": (1.7, "43 without the check, BFGS 33 (702)"),
    "statsmodels BetaModel, methylation": (1.7, "14 without the check, BFGS 11 (16)"),
    "statsmodels ConditionalLogit, modechoice": (1.8, "22 without the check, BFGS 15 (30)"),
    "lifelines WeibullAFTFitter, larynx": (1.4, "26 without the check, BFGS 22 (26)"),
}
#: Minima that the check leaves open, of many columns that depend on each other: after few
#: iterations the model takes f for far steeper there than it is.
OPEN = {"scikit-learn LogisticRegression, breast cancer"}


def test_there_are_enough_fits_of_every_package() -> None:
    assert len(FITS) >= 25
    packages = {name.split()[0] for name in FITS}
    assert packages == {"statsmodels", "scikit-learn", "lifelines", "lmfit", "ase"}
    assert set(DEARER) | OPEN <= set(FITS)


@pytest.mark.parametrize("name", list(FITS))
def test_a_fit_ends_low_at_its_cost_with_the_right_verdict(name) -> None:
    found = duel(name)
    most, why = DEARER.get(name, (MOST, ""))
    right = found.verdict_is_right
    if name in OPEN:
        right = found.negopt.result.success and found.negopt.result.curvature_status == "unsettled"
    faults = {
        "f of SciPy and of negopt": not found.as_low and found.f,
        f"evaluations over SciPy's, at most {most} {why}": found.ratio > most and found.ratio,
        f"{found.truth}": not right and found.negopt.result.message,
    }
    assert not any(faults.values()), {name: fault for name, fault in faults.items() if fault}

"""Atoms at symmetric saddles: every other optimiser stops there, and negopt leaves."""

from __future__ import annotations

import pytest
from _atoms import relaxations

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def rows():
    return list(relaxations())


def test_every_other_optimiser_ends_at_a_saddle(rows) -> None:
    others = [row for row in rows if not row["optimiser"].startswith("negopt")]
    assert len(others) == 24
    assert all(row["negative eigenvalues"] > 0 for row in others)


def test_negopt_ends_in_a_minimum_that_is_lower(rows) -> None:
    ours = [row for row in rows if row["optimiser"].startswith("negopt")]
    assert len(ours) == 8
    for row in ours:
        assert row["negative eigenvalues"] == 0, row
        assert float(row["max|g|"]) <= 1e-4
        beside = [r for r in rows if r["start"] == row["start"] and r not in ours]
        assert float(row["energy"]) < min(float(r["energy"]) for r in beside)

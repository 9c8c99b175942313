"""Fits of other packages, by negopt and by SciPy, and atoms at saddles.

``python docs/experiments/clients.py`` takes about a minute and writes ``clients.csv`` and
``atoms.csv`` to ``docs/experiments/results``; it needs the packages of the extra ``clients``.
"""

from __future__ import annotations

from pathlib import Path

from _atoms import relaxations
from _fits import FITS
from _runs import begin, log, parser, write_table
from _verdicts import duel


def fits(out: Path, first: int | None) -> None:
    """Write one row a fit."""
    rows = []
    for name in list(FITS)[:first]:
        found = duel(name)
        theirs, ours = found.f
        res = found.negopt.result
        rows.append(
            {
                "fit": name,
                "n": found.negopt.x0.size,
                "f, SciPy": f"{theirs:.10g}",
                "f, negopt": f"{ours:.10g}",
                "evaluations, SciPy": found.scipy.evaluations,
                "negopt": found.negopt.evaluations,
                "ratio": f"{found.ratio:.2f}" + ("" if found.to_the_end else " *"),
                "verdict": res.curvature_status,
                "lowest eigenvalue": f"{found.truth.eigenvalues[0]:.1e}",
                "so it is": found.truth.kind,
            }
        )
        log.info(
            "%s: %s against %s evaluations, %s",
            name,
            rows[-1]["negopt"],
            found.scipy.evaluations,
            res.message,
        )
    write_table(rows, out / "clients.csv")


if __name__ == "__main__":
    arguments = parser(__doc__).parse_args()
    begin(arguments.out)
    fits(arguments.out, arguments.first)
    write_table(list(relaxations()), arguments.out / "atoms.csv")

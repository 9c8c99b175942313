"""Reader of the NIST StRD nonlinear regression files shipped with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from negopt.problems._problem import Vector, frozen

_PARAMETER = re.compile(r"^\s*b\d+\s*=\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+)", re.MULTILINE)
_RESIDUAL = re.compile(r"^Residual Sum of Squares:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Regression:
    """One data set."""

    y: Vector  #: shape (m,): response
    x: tuple[Vector, ...]  #: shape (m,): predictors
    starts: tuple[Vector, Vector]  #: shape (k,): the two starting points, the first farther away
    #: shape (k,): certified parameters and their standard deviations, 11 digits
    parameters: Vector
    deviations: Vector
    residual_sum: float  #: certified residual sum of squares


@cache
def read(name: str) -> Regression:
    """Return the data set `name`, for example ``"Misra1a"``."""
    path = files("negopt.problems").joinpath("data", "nist", f"{name}.dat")
    text = path.read_text(encoding="ascii")
    table = np.array(_PARAMETER.findall(text), dtype=np.float64).T
    found = _RESIDUAL.search(text)
    if found is None or table.shape[0] != 4:
        raise ValueError(f"'name' {name!r}: {path} is not a NIST StRD nonlinear regression file.")
    # The header has a "Data:" line too; the numbers follow the last one.
    body = text[text.rindex("\nData:") + 1 :].splitlines()[1:]
    rows = np.array([line.split() for line in body if line.strip()], dtype=np.float64).T
    return Regression(
        y=frozen(rows[0]),
        x=tuple(frozen(row) for row in rows[1:]),
        starts=(frozen(table[0]), frozen(table[1])),
        parameters=frozen(table[2]),
        deviations=frozen(table[3]),
        residual_sum=float(found.group(1)),
    )

"""The 27 NIST StRD nonlinear regression problems: residual sum of squares of a model.

Both starting points of each file, the certified parameters (11 digits) and the
certified residual sum of squares are carried by the problem.
"""

from __future__ import annotations

import math

import numpy as np

from negopt.problems._jet import Value, arctan, cos, exp, sin
from negopt.problems._models import Phi, least_squares
from negopt.problems._nist_data import read
from negopt.problems._registry import Setup, problem

_NIST = (
    "National Institute of Standards and Technology, Statistical Reference Datasets: nonlinear "
    "regression, doi:10.18434/T43G6C, data set "
)


def _enso(*v: Value) -> Value:
    b, x = v[:9], v[9]
    year = (2.0 * math.pi / 12.0) * x
    first, second = 2.0 * math.pi * x / b[3], 2.0 * math.pi * x / b[6]
    return (
        b[0]
        + b[1] * cos(year)
        + b[2] * sin(year)
        + b[4] * cos(first)
        + b[5] * sin(first)
        + b[7] * cos(second)
        + b[8] * sin(second)
    )


def _gauss(*v: Value) -> Value:
    b, x = v[:8], v[8]
    left, right = ((x - b[3]) / b[4]) ** 2, ((x - b[6]) / b[7]) ** 2
    return b[0] * exp(-b[1] * x) + b[2] * exp(-left) + b[5] * exp(-right)


def _cubic_ratio(*v: Value) -> Value:
    b, x = v[:7], v[7]
    return (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1.0 + x * (b[4] + x * (b[5] + x * b[6])))


#: Data sets, number of parameters, the model in words, the model of parameters and predictors.
#: The numbers are written down so that listing the problems reads no file.
_MODELS: tuple[tuple[str, int, str, Phi], ...] = (
    ("BoxBOD", 2, "b1 (1 - exp(-b2 x))", lambda b1, b2, x: b1 * (1.0 - exp(-b2 * x))),
    ("DanWood", 2, "b1 x^b2", lambda b1, b2, x: b1 * x**b2),
    ("Misra1a", 2, "b1 (1 - exp(-b2 x))", lambda b1, b2, x: b1 * (1.0 - exp(-b2 * x))),
    (
        "Misra1b",
        2,
        "b1 (1 - (1 + b2 x / 2)^-2)",
        lambda b1, b2, x: b1 * (1.0 - (1.0 + 0.5 * b2 * x) ** -2),
    ),
    (
        "Misra1c",
        2,
        "b1 (1 - (1 + 2 b2 x)^(-1/2))",
        lambda b1, b2, x: b1 * (1.0 - (1.0 + 2.0 * b2 * x) ** -0.5),
    ),
    ("Misra1d", 2, "b1 b2 x / (1 + b2 x)", lambda b1, b2, x: b1 * b2 * x / (1.0 + b2 * x)),
    ("Bennett5", 3, "b1 (b2 + x)^(-1 / b3)", lambda b1, b2, b3, x: b1 * (b2 + x) ** (-1.0 / b3)),
    (
        "Chwirut1 Chwirut2",
        3,
        "exp(-b1 x) / (b2 + b3 x)",
        lambda b1, b2, b3, x: exp(-b1 * x) / (b2 + b3 * x),
    ),
    (
        "Eckerle4",
        3,
        "(b1 / b2) exp(-((x - b3) / b2)^2 / 2)",
        lambda b1, b2, b3, x: b1 / b2 * exp(-0.5 * ((x - b3) / b2) ** 2),
    ),
    ("MGH10", 3, "b1 exp(b2 / (x + b3))", lambda b1, b2, b3, x: b1 * exp(b2 / (x + b3))),
    (
        "Nelson",
        3,
        "b1 - b2 x1 exp(-b3 x2), fitted to log y",
        lambda b1, b2, b3, x1, x2: b1 - b2 * x1 * exp(-b3 * x2),
    ),
    ("Rat42", 3, "b1 / (1 + exp(b2 - b3 x))", lambda b1, b2, b3, x: b1 / (1.0 + exp(b2 - b3 * x))),
    (
        "MGH09",
        4,
        "b1 (x^2 + x b2) / (x^2 + x b3 + b4)",
        lambda b1, b2, b3, b4, x: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
    ),
    (
        "Rat43",
        4,
        "b1 / (1 + exp(b2 - b3 x))^(1 / b4)",
        lambda b1, b2, b3, b4, x: b1 / (1.0 + exp(b2 - b3 * x)) ** (1.0 / b4),
    ),
    (
        "Roszman1",
        4,
        "b1 - b2 x - arctan(b3 / (x - b4)) / pi",
        lambda b1, b2, b3, b4, x: b1 - b2 * x - arctan(b3 / (x - b4)) / math.pi,
    ),
    (
        "Kirby2",
        5,
        "(b1 + b2 x + b3 x^2) / (1 + b4 x + b5 x^2)",
        lambda b1, b2, b3, b4, b5, x: (b1 + x * (b2 + x * b3)) / (1.0 + x * (b4 + x * b5)),
    ),
    (
        "MGH17",
        5,
        "b1 + b2 exp(-x b4) + b3 exp(-x b5)",
        lambda b1, b2, b3, b4, b5, x: b1 + b2 * exp(-x * b4) + b3 * exp(-x * b5),
    ),
    (
        "Lanczos1 Lanczos2 Lanczos3",
        6,
        "b1 exp(-b2 x) + b3 exp(-b4 x) + b5 exp(-b6 x)",
        lambda b1, b2, b3, b4, b5, b6, x: b1 * exp(-b2 * x) + b3 * exp(-b4 * x) + b5 * exp(-b6 * x),
    ),
    (
        "Hahn1 Thurber",
        7,
        "(b1 + b2 x + b3 x^2 + b4 x^3) / (1 + b5 x + b6 x^2 + b7 x^3)",
        _cubic_ratio,
    ),
    (
        "Gauss1 Gauss2 Gauss3",
        8,
        "b1 exp(-b2 x) + b3 exp(-(x - b4)^2 / b5^2) + b6 exp(-(x - b7)^2 / b8^2)",
        _gauss,
    ),
    ("ENSO", 9, "b1 and three cycles: of 12 months, of b4 and of b7", _enso),
)


def _declare(name: str, n: int, formula: str, model: Phi) -> None:
    def build(n: int) -> Setup:
        data = read(name)
        y = np.log(data.y) if name == "Nelson" else data.y
        return Setup(
            least_squares(lambda *v: model(*v[:-1]) - v[-1], n, [*data.x, y]),
            data.starts[0],
            data.residual_sum,
            data.parameters,
            starts=(data.starts[1],),
        )

    build.__doc__ = f"Residual sum of squares of y = {formula}."
    problem(
        f"nist_{name.lower()}", n, fixed=True, tags="nist least-squares", reference=_NIST + name
    )(build)


for _row in _MODELS:
    for _name in _row[0].split():
        _declare(_name, *_row[1:])

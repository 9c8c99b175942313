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

__all__: list[str] = []

_NIST = (
    "National Institute of Standards and Technology, Statistical Reference Datasets: nonlinear "
    "regression, doi:10.18434/T43G6C, data set "
)


def _bennett5(b1: Value, b2: Value, b3: Value, x: Value) -> Value:
    """b1 (b2 + x)^(-1 / b3)."""
    return b1 * (b2 + x) ** (-1.0 / b3)


def _saturation(b1: Value, b2: Value, x: Value) -> Value:
    """b1 (1 - exp(-b2 x))."""
    return b1 * (1.0 - exp(-b2 * x))


def _chwirut(b1: Value, b2: Value, b3: Value, x: Value) -> Value:
    """exp(-b1 x) / (b2 + b3 x)."""
    return exp(-b1 * x) / (b2 + b3 * x)


def _danwood(b1: Value, b2: Value, x: Value) -> Value:
    """b1 x^b2."""
    return b1 * x**b2


def _enso(*v: Value) -> Value:
    """b1 and three cycles: of 12 months, of b4 and of b7."""
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


def _eckerle4(b1: Value, b2: Value, b3: Value, x: Value) -> Value:
    """(b1 / b2) exp(-((x - b3) / b2)^2 / 2)."""
    return b1 / b2 * exp(-0.5 * ((x - b3) / b2) ** 2)


def _gauss(*v: Value) -> Value:
    """b1 exp(-b2 x) + b3 exp(-(x - b4)^2 / b5^2) + b6 exp(-(x - b7)^2 / b8^2)."""
    b, x = v[:8], v[8]
    left, right = ((x - b[3]) / b[4]) ** 2, ((x - b[6]) / b[7]) ** 2
    return b[0] * exp(-b[1] * x) + b[2] * exp(-left) + b[5] * exp(-right)


def _cubic_ratio(*v: Value) -> Value:
    """(b1 + b2 x + b3 x^2 + b4 x^3) / (1 + b5 x + b6 x^2 + b7 x^3)."""
    b, x = v[:7], v[7]
    return (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1.0 + x * (b[4] + x * (b[5] + x * b[6])))


def _kirby2(b1: Value, b2: Value, b3: Value, b4: Value, b5: Value, x: Value) -> Value:
    """(b1 + b2 x + b3 x^2) / (1 + b4 x + b5 x^2)."""
    return (b1 + x * (b2 + x * b3)) / (1.0 + x * (b4 + x * b5))


def _lanczos(*v: Value) -> Value:
    """b1 exp(-b2 x) + b3 exp(-b4 x) + b5 exp(-b6 x)."""
    b, x = v[:6], v[6]
    return b[0] * exp(-b[1] * x) + b[2] * exp(-b[3] * x) + b[4] * exp(-b[5] * x)


def _mgh09(b1: Value, b2: Value, b3: Value, b4: Value, x: Value) -> Value:
    """b1 (x^2 + x b2) / (x^2 + x b3 + b4)."""
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def _mgh10(b1: Value, b2: Value, b3: Value, x: Value) -> Value:
    """b1 exp(b2 / (x + b3))."""
    return b1 * exp(b2 / (x + b3))


def _mgh17(b1: Value, b2: Value, b3: Value, b4: Value, b5: Value, x: Value) -> Value:
    """b1 + b2 exp(-x b4) + b3 exp(-x b5)."""
    return b1 + b2 * exp(-x * b4) + b3 * exp(-x * b5)


def _misra1b(b1: Value, b2: Value, x: Value) -> Value:
    """b1 (1 - (1 + b2 x / 2)^-2)."""
    return b1 * (1.0 - (1.0 + 0.5 * b2 * x) ** -2)


def _misra1c(b1: Value, b2: Value, x: Value) -> Value:
    """b1 (1 - (1 + 2 b2 x)^(-1/2))."""
    return b1 * (1.0 - (1.0 + 2.0 * b2 * x) ** -0.5)


def _misra1d(b1: Value, b2: Value, x: Value) -> Value:
    """b1 b2 x / (1 + b2 x)."""
    return b1 * b2 * x / (1.0 + b2 * x)


def _nelson(b1: Value, b2: Value, b3: Value, x1: Value, x2: Value) -> Value:
    """b1 - b2 x1 exp(-b3 x2), fitted to log y."""
    return b1 - b2 * x1 * exp(-b3 * x2)


def _rat42(b1: Value, b2: Value, b3: Value, x: Value) -> Value:
    """b1 / (1 + exp(b2 - b3 x))."""
    return b1 / (1.0 + exp(b2 - b3 * x))


def _rat43(b1: Value, b2: Value, b3: Value, b4: Value, x: Value) -> Value:
    """b1 / (1 + exp(b2 - b3 x))^(1 / b4)."""
    return b1 / (1.0 + exp(b2 - b3 * x)) ** (1.0 / b4)


def _roszman1(b1: Value, b2: Value, b3: Value, b4: Value, x: Value) -> Value:
    """b1 - b2 x - arctan(b3 / (x - b4)) / pi."""
    return b1 - b2 * x - arctan(b3 / (x - b4)) / math.pi


_REGRESSORS: dict[str, Phi] = {
    "Bennett5": _bennett5,
    "BoxBOD": _saturation,
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": _danwood,
    "ENSO": _enso,
    "Eckerle4": _eckerle4,
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubic_ratio,
    "Kirby2": _kirby2,
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": _mgh09,
    "MGH10": _mgh10,
    "MGH17": _mgh17,
    "Misra1a": _saturation,
    "Misra1b": _misra1b,
    "Misra1c": _misra1c,
    "Misra1d": _misra1d,
    "Nelson": _nelson,
    "Rat42": _rat42,
    "Rat43": _rat43,
    "Roszman1": _roszman1,
    "Thurber": _cubic_ratio,
}

_DIMENSIONS = {
    "BoxBOD DanWood Misra1a Misra1b Misra1c Misra1d": 2,
    "Bennett5 Chwirut1 Chwirut2 Eckerle4 MGH10 Nelson Rat42": 3,
    "MGH09 Rat43 Roszman1": 4,
    "Kirby2 MGH17": 5,
    "Lanczos1 Lanczos2 Lanczos3": 6,
    "Hahn1 Thurber": 7,
    "Gauss1 Gauss2 Gauss3": 8,
    "ENSO": 9,
}


def _declare(name: str, regressor: Phi, n: int) -> None:
    def build(n: int) -> Setup:
        data = read(name)
        y = np.log(data.y) if name == "Nelson" else data.y

        def residual(*v: Value) -> Value:
            return regressor(*v[:-1]) - v[-1]

        return Setup(
            least_squares(residual, n, [*data.x, y]),
            data.starts[0],
            data.residual_sum,
            data.parameters,
            starts=(data.starts[1],),
        )

    build.__doc__ = f"Residual sum of squares of y = {regressor.__doc__}"
    declare = problem(
        f"nist_{name.lower()}", n, fixed=True, tags="nist least-squares", reference=_NIST + name
    )
    declare(build)


# The dimensions are written down so that listing the problems reads no file.
for _names, _n in _DIMENSIONS.items():
    for _name in _names.split():
        _declare(_name, _REGRESSORS[_name], _n)

"""The arguments that are functions, or stand for one: told apart, and refused by name."""

from __future__ import annotations

import numbers

import numpy as np

from negopt.core.given import in_short
from negopt.core.types import Given
from negopt.functions import differences

#: What may be given for each derivative, and how what is constant is given.
_FORMS = {
    "jac": "use a callable, True (where fun returns the value and the gradient), '2-point', "
    "'3-point', 'cs' or None.",
    "hess": "use a callable, an object such as scipy.optimize.BFGS(), '2-point', '3-point', "
    "'cs' or None.",
    "hessp": "use a callable, hessp(x, p), or None.",
}
_CONSTANT = {"jac": "jac=lambda x: g", "hess": "hess=lambda x: H", "hessp": "hess=lambda x: H"}


def check_function(fun: object) -> None:
    """Raise TypeError unless `fun` can be called."""
    if not callable(fun):
        raise TypeError(
            f"fun={in_short(fun)} is neither callable nor an object with methods fun and grad."
        )


def is_strategy(given: object) -> bool:
    """Tell whether it is like SciPy's HessianUpdateStrategy, an object or a class."""
    return all(hasattr(given, name) for name in ("initialize", "update", "dot"))


def checked_derivative(name: str, given: Given) -> Given:
    """Return a derivative as it was given, None for what SciPy takes as none.

    A `given` that is neither a function nor one of the words for the argument `name` is a
    TypeError, a word that is none of these a ValueError; both say what to give.
    """
    if given is None:
        return None
    if isinstance(given, type) and is_strategy(given):
        raise TypeError(
            f"{name}={given.__name__} is a class; give an object of it, {given.__name__}()."
        )
    constant = hasattr(given, "shape")  # N.B. SciPy's LinearOperator can be called too
    if (callable(given) and not constant) or (name == "hess" and is_strategy(given)):
        return given
    if name == "jac" and isinstance(given, (bool, np.bool_)):
        return True if given else None
    if isinstance(given, str) and name != "hessp" and given in differences.SCHEMES:
        return given
    advice = _FORMS[name]
    if isinstance(given, (str, bool, numbers.Number)) and not constant:
        raise ValueError(f"{name}={given!r}: {advice}")
    if isinstance(given, (list, tuple)) and len(given) == 1 and callable(given[0]):
        advice = "give the function itself, without brackets."
    elif constant or isinstance(given, (list, tuple)):
        advice = f"give a function of x; for a constant one {_CONSTANT[name]}."
    raise TypeError(f"{name}={in_short(given)}: {advice}")

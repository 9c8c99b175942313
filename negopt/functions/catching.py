"""Exceptions of the user's function that mean no more than nan."""

from __future__ import annotations

import logging
import math
from typing import Any

from negopt.core.arrays import Array, namespace_of
from negopt.core.types import Given, NoSecondDerivatives, UserFunction

logger = logging.getLogger("negopt")


class Catching:
    """Gives nan where a function raises one of `kinds`, once it has given a value.

    Until then, at x0, the exception passes through: there is no other point to go on from.
    """

    def __init__(self, kinds: type[Exception] | tuple[type[Exception], ...]) -> None:
        self.kinds = kinds
        self._begun = False

    def around(
        self, fun: Given, jac: Given, hess: Given, hessp: Given
    ) -> tuple[Given, Given, Given, Given]:
        """Return what `negopt.functions.objective.Objective` is given, with nan for them."""
        hess, hessp = self.products(hess), self.products(hessp)
        if jac is None and hasattr(fun, "fun") and hasattr(fun, "grad"):
            return _Object(self, fun), None, hess, hessp
        if callable(fun):
            fun = self.guarded(fun, (math.nan, None) if jac is True else math.nan)
        if callable(jac):
            jac = self.guarded(jac, None)
        return fun, jac, hess, hessp

    def products(self, function: Given) -> Given:
        """Return `hess` or `hessp` that ends the run where it raises: no trial can be rejected."""
        if not callable(function):
            return function

        def product(*args: object) -> Any:
            try:
                return function(*args)
            except self.kinds as error:
                raise NoSecondDerivatives(f"they raised {error!r}") from error

        return product

    def guarded(self, function: UserFunction, nan: object) -> UserFunction:
        """Return `function` with `nan` in place of an exception; None is a vector of that."""
        return lambda x, *args: self._call(function, x, args, nan)

    def _call(self, function: UserFunction, x: Array, args: tuple[object, ...], nan: object) -> Any:
        try:
            result = function(x, *args)
        except self.kinds as error:
            if not self._begun:
                raise
            logger.info("the trial is rejected, as nan would be: %r", error)
            empty = namespace_of(x).full_like(x, math.nan)
            return empty if nan is None else (math.nan, empty) if type(nan) is tuple else nan
        self._begun = True
        return result


class _Object:
    """An objective object whose values and gradients are guarded."""

    def __init__(self, catching: Catching, given: Given) -> None:
        self._given = given
        self.fun = catching.guarded(given.fun, math.nan)
        self.grad = catching.guarded(given.grad, None)
        if hasattr(given, "fun_and_grad"):
            self.fun_and_grad = catching.guarded(given.fun_and_grad, (math.nan, None))
        if hasattr(given, "hessp"):
            linearise = catching.products(given.hessp)
            self.hessp = lambda x, *args: catching.products(linearise(x, *args))

    def __getattr__(self, name: str) -> Any:
        """Return what else the object has."""
        return getattr(self._given, name)

"""The user's functions, wrapped: counts, budgets, finiteness, the best point."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import (
    Array,
    all_finite,
    copy_of,
    device_of,
    eps_of,
    is_array,
    is_plain,
    namespace_of,
    norm,
)
from negopt.core.messages import MINIMIZE, Words
from negopt.core.types import BudgetExhausted, Counters, Given, Iterate, UserFunction
from negopt.decisions.curvature import length_without_model
from negopt.functions import differences, inputs
from negopt.functions.arguments import check_function, checked_derivative, is_strategy
from negopt.functions.by_differences import ByDifferences, differences_for
from negopt.functions.workers import Workers
from negopt.vectors.primitives import measure

if TYPE_CHECKING:
    import numpy.typing as npt

#: Variables above which a point of differences is kept only if it is lower by 1e-8 max(1, |f|).
MANY = 15_000


class Objective(ByDifferences):
    """The user's function and derivatives, counted and checked.

    Parameters
    ----------
    fun : callable or object
        ``fun(x, *args) -> float``, with ``jac=True`` ``-> (float, array)``; or an object
        with ``fun``, ``grad``, and optionally ``fun_and_grad`` and ``hessp(x) -> callable``.
    x0 : array, shape (n,)
        Gives library, device and type of everything that is handed out.
    args : tuple
    jac : callable, bool, {"2-point", "3-point", "cs"} or None
    hess : callable, HessianUpdateStrategy, str or None
    hessp : callable or None
        ``hessp(x, p, *args) -> array``.
    products_required : bool
        Whether steps are taken by products: then the first one has to be finite.
    workers : Workers or None
        What computes the values of difference gradients, where that is not done here.
    maxfun, maxtime : float
        Evaluations of `fun` and seconds of this call, checked before each evaluation.
    words : Words
        Of the messages of the run.

    Attributes
    ----------
    best : Iterate or None
        Lowest finite point evaluated so far; its value and gradient belong together.
    counters : Counters
    gradient_source, product_source : str
        Where gradients and Hessian products come from, for results and messages.
    """

    def __init__(
        self,
        fun: Given,
        x0: Array,
        args: tuple[object, ...] = (),
        jac: Given = None,
        hess: Given = None,
        hessp: Given = None,
        *,
        maxfun: float = math.inf,
        maxtime: float = math.inf,
        relative_step: npt.ArrayLike | None = None,
        absolute_step: npt.ArrayLike | None = None,
        products_required: bool = False,
        workers: Workers | None = None,
        words: Words = MINIMIZE,
    ) -> None:
        self.x0, self.n, self.args, self.words = x0, int(x0.shape[0]), args, words
        self._dtype = x0.dtype if type(x0) is np.ndarray else None
        self.counters, self._workers = Counters(), workers
        self.best: Iterate | None = None
        self.maxfun, self.maxtime = maxfun, maxtime
        self._limited = min(maxfun, maxtime) < math.inf
        self._spent, self._begin = 0, time.monotonic()
        self._steps = differences.checked_steps(relative_step, absolute_step, self.n)
        #: The last point that products were asked for at, and what is known of them there: no
        #: function that refers to this object, so that no reference cycle holds the pair.
        self._at: tuple[Iterate, list[Given]] | None = None
        self._set_function(fun, jac)
        self._set_products(fun, hess, hessp)
        self._unproven = products_required and self.exact_products

    def rebind(self, fun: Given) -> None:
        """Take values and derivatives from the object `fun`; counts and budgets continue."""
        self._set_function(fun, None)
        self._set_products(fun, None, None)
        self._at = self.best = None

    def forget_start(self) -> None:
        """Keep of x0 its library, device and type alone."""
        self.x0 = namespace_of(self.x0).asarray(self.x0[:0], copy=True)

    def _set_function(self, fun: Given, jac: Given) -> None:
        self._object: Given = None
        self.differences = None
        self._both: UserFunction | None = None
        self._gradient: UserFunction | None = None
        if hasattr(fun, "fun") and hasattr(fun, "grad") and jac is None:
            self._object = fun
            self._value = fun.fun
            self._gradient = fun.grad
            self._both = getattr(fun, "fun_and_grad", None)
            self._gradient_source = "grad"
            return
        check_function(fun)
        self._value = fun
        jac = checked_derivative("jac", jac)
        if jac is True:
            self._both = fun
            self._gradient_source = "fun"
        elif callable(jac):
            self._gradient = jac
            self._gradient_source = "jac"
        else:
            self.differences = differences_for(jac, self.n, *self._steps)

    def _set_products(self, fun: Given, hess: Given, hessp: Given) -> None:
        self._hess = self._hessp = self._strategy = None
        hess, hessp = checked_derivative("hess", hess), checked_derivative("hessp", hessp)
        if hessp is not None:
            self._hessp = hessp
            self.product_source = "hessp"
        elif callable(hess):
            self._hess = hess
            self.product_source = "hess"
        elif is_strategy(hess):
            # A copy for this call alone: nested and repeated solves must not share it.
            self._strategy = copy.deepcopy(hess)
            self._strategy.initialize(self.n, "hess")
            self.product_source = type(hess).__name__
        elif self._object is not None and hasattr(fun, "hessp"):
            self.product_source = "object"
        else:
            self.product_source = "differences of the gradient"

    @property
    def exact_products(self) -> bool:
        """Whether the user gave second derivatives."""
        return self.product_source in ("hessp", "hess", "object")

    @property
    def product_noise(self) -> float:
        """Relative error that a Hessian product may have from where it comes."""
        return eps_of(self.x0) if self.exact_products else self.product_error

    @property
    def product_error(self) -> float:
        """Relative error, and step, of a product by differences of the gradient."""
        return differences.product_error(eps_of(self.x0), self._order)

    def _require(self, calls: int) -> None:
        if self._spent + calls > self.maxfun:
            made = f"({self._spent} made, the next step needs {calls})"
            facts = f"{self.maxfun:g} evaluations are used up {made}"
            raise BudgetExhausted(self.words.used_up("maxfun", facts))
        elapsed = time.monotonic() - self._begin
        if elapsed > self.maxtime:
            facts = f"{self.maxtime:g} s is used up ({elapsed:.3g} s)"
            raise BudgetExhausted(self.words.used_up("maxtime", facts))

    def grant(self, seconds: float) -> None:
        """Leave so many seconds out of ``maxtime``."""
        self._begin += seconds

    def functions(self) -> tuple[UserFunction, UserFunction | None] | None:
        """Return what gives f or the pair (f, g), and what gives g.

        None where more than these is needed: differences, or pairs for a strategy.
        """
        if self._strategy is not None or self.differences is not None:
            return None
        return (self._value, self._gradient) if self._both is None else (self._both, None)

    def allowance(self) -> int:
        """Return n >= 1: an evaluation may begin while fewer than n calls of fun are made."""
        self._require(self.evaluation_cost)
        return int(min(self.maxfun - self._spent - self.evaluation_cost + 1, 2**62))

    def spend(self, values: int, gradients: int) -> None:
        """Count calls that compiled code has made."""
        self.counters.nfev += values
        self.counters.njev += gradients
        self._spent += values

    # --- values and gradients ------------------------------------------------------

    def at(self, x: Array, *, bar: float = math.inf) -> Iterate:
        """Evaluate f and g at `x`; where f exceeds `bar`, g may be left out (``gmax`` is nan).

        Raises BudgetExhausted, with nothing evaluated, when a budget does not allow it.
        """
        if self._limited:
            self._require(self.evaluation_cost)
        if self._both is not None:
            value, g = self._call_both(x)
        else:
            value = f = self._call_value(x)
            if not math.isfinite(f) or f > bar:
                self.counters.n_nonfinite += not math.isfinite(f)
                nan = namespace_of(x).full_like(x, math.nan)
                return Iterate(x, f, nan, math.nan, math.nan)
            g = self._call_gradient(x, f)
        return self._measured(x, value, g)

    def _measured(self, x: Array, value: Array, g: Array) -> Iterate:
        """Return the point with its figures; keep it when it is the lowest."""
        f, square, gmax, xx = measure(value, x, g)
        gnorm = math.sqrt(square) if 1e-280 < square < math.inf else norm(g)
        gmax = gmax if xx < math.inf or all_finite(x) else math.nan  # no run ends at infinity
        point, best = Iterate(x, f, g, gnorm, gmax, math.sqrt(xx)), self.best
        if not (-math.inf < f < math.inf and gmax < math.inf):
            self.counters.n_nonfinite += 1
        elif best is None or f < best.f or (f == best.f and gmax < best.gmax):
            self.best = point
        return point

    def gradient(self, x: Array) -> Array:
        """Evaluate the gradient alone (for differences of gradients)."""
        if self._gradient is not None:
            self._require(0)
            return self._call_gradient(x, math.nan)
        best = self.best
        if self._both is not None and best is not None and is_plain(x):
            self._require(1)
            value, g = self._call_both(x)
            if best.f < value < math.inf and math.isfinite(norm(g)):
                return g  # the usual end: nothing of it is kept
            point = self._measured(x, value, g)
        elif self.differences is not None:
            point = self._near(x, self.differences)
        else:
            point = self.at(x)
        if best is not None and self.n > MANY and point.f >= best.f - 1e-8 * max(1.0, abs(best.f)):
            self.best = best  # close to a stationary point: not worth two vectors that are held
        return point.g

    def _plain(self, g: object) -> bool:
        """Tell whether a gradient needs no more than a copy."""
        if self._dtype is None or type(g) is not np.ndarray:
            return False
        return bool(g.dtype == self._dtype and g.shape == (self.n,))

    def _call_both(self, x: Array) -> tuple[Array, Array]:
        """Return value and gradient of a function that gives both; either may be on a device."""
        assert self._both is not None
        counters = self.counters
        counters.nfev += 1
        counters.njev += 1
        self._spent += 1
        two = self._both(copy_of(x), *self.args)
        raw, gradient = two if type(two) is tuple and len(two) == 2 else inputs.checked_pair(two)
        value = raw if type(raw) is float else inputs.checked_value(raw, self.x0)
        return value, gradient.copy() if self._plain(gradient) else self._as_gradient(gradient)

    def _call_value(self, x: Array) -> float:
        if self._limited:
            self._require(0)  # a gradient by differences may outlast maxtime
        self.spend(1, 0)
        raw = self._value(copy_of(x), *self.args)
        return raw if type(raw) is float else self._as_value(raw)

    def _call_gradient(self, x: Array, f: float) -> Array:
        self.counters.njev += 1
        if self._gradient is not None:
            g = self._gradient(copy_of(x), *self.args)
            return g.copy() if self._plain(g) else self._as_gradient(g)
        assert self.differences is not None  # else _both gives the gradient
        return self.differences.gradient(self._values, x, f)

    def _as_gradient(self, value: Array) -> Array:
        name = "fun (jac=True)" if self.gradient_source == "fun" else self.gradient_source
        return self._as_vector(value, name)

    def _as_vector(self, value: Array, name: str) -> Array:
        return inputs.vector_like(value, self.x0, self.n, name)

    # --- Hessian products ------------------------------------------------------------

    def unlimited(self, *, whole: bool = False) -> Objective:
        """Return what products need, or the `whole`, with own counters and without budgets."""
        other = copy.copy(self)
        other.counters, other.best, other._at = Counters(), None, None
        other.maxfun, other.maxtime, other._limited = math.inf, math.inf, False
        derived = self.exact_products or self._gradient is not None
        if derived and self._object is None and not whole:
            other._value = other._both = None  # nothing else of the user's is kept alive
        return other

    def measured_products(self, iterate: Iterate) -> Callable[[Array, float], Array]:
        """Return ``v, h -> H v``: exact, or the difference of gradients over ``h v``.

        A HessianUpdateStrategy's guess is no evidence.
        """
        if self.exact_products:
            product = self.products(iterate)
            return lambda v, _: product(v)
        at = self.gradient, iterate.x, iterate.g
        return lambda v, h: differences.difference_product(*at, v, h * norm(v))

    def products(self, iterate: Iterate) -> Callable[[Array], Array]:
        """Return ``v -> H(x) v`` at `iterate`; the linearisation is shared by all v."""
        known = self._known(iterate)
        if self._hessp is not None:
            return lambda v: self._product(self._hessp, copy_of(iterate.x), copy_of(v), *self.args)
        if self._hess is not None:
            return lambda v: self._by(self._matrix_once(iterate), v)
        if self._strategy is not None:
            strategy = self._strategy
            return lambda v: self._as_vector(strategy.dot(v), "hess.dot")
        if self.product_source == "object":

            def product(v: Array) -> Array:
                if not known:
                    known.append(self._object.hessp(copy_of(iterate.x), *self.args))
                return self._product(known[0], copy_of(v))

            return product
        return self._differences(iterate, known)

    def _known(self, iterate: Iterate) -> list[Given]:
        if self._at is None or self._at[0] is not iterate:
            self._at = (iterate, [])
        return self._at[1]

    def _matrix_once(self, iterate: Iterate) -> Given:
        if not (known := self._known(iterate)):
            known.append(self._matrix(iterate))
        return known[0]

    def _differences(self, iterate: Iterate, known: list[Given]) -> Callable[[Array], Array]:
        if not known:
            known.append(length_without_model(self.product_error, norm(iterate.x)))
        at, step = (self.gradient, iterate.x, iterate.g), known[0]
        return lambda v: differences.difference_product(*at, v, step)

    def _by(self, h: Array, v: Array) -> Array:
        return self._proven(self._as_vector(inputs.matrix_times(h, v), "hess"), "hess")

    def _product(self, function: Given, *given: Array) -> Array:
        self.counters.nhev += 1
        value = function(*given)
        if self._limited:
            self._require(0)
        own = value.copy() if self._plain(value) else self._as_vector(value, "hessp")
        return self._proven(own, "hessp")

    def _proven(self, value: Array, name: str) -> Array:
        """Return a matrix or product; the first one that steps are taken by has to be finite."""
        if self._unproven:
            self._unproven = not inputs.is_proven(value, name)
        return value

    def _matrix(self, iterate: Iterate) -> Array:
        """Return what `hess` gives at `iterate`, checked: an array, sparse or an operator."""
        self._require(0)
        self.counters.nhev += 1
        h = self._hess(copy_of(iterate.x), *self.args)  # type: ignore[misc]
        return self._proven(inputs.matrix_like(h, iterate.x, self.n, "hess"), "hess")

    def hessian(self, iterate: Iterate) -> Array:
        """Return the symmetric matrix H(x), shape (n, n): from `hess`, or by n products."""
        xp = namespace_of(iterate.x)
        if self._hess is not None:
            h = self._matrix_once(iterate)
            h = h.toarray() if hasattr(h, "toarray") else h
            if is_array(h):
                h = xp.astype(xp.asarray(h), iterate.x.dtype)
                return 0.5 * (h + xp.matrix_transpose(h))
        product = self.products(iterate)
        eye = xp.eye(self.n, dtype=iterate.x.dtype, device=device_of(iterate.x))
        h = xp.stack([product(eye[i, :]) for i in range(self.n)], axis=0)
        return 0.5 * (h + xp.matrix_transpose(h))

    def learn(self, s: Array, y: Array) -> None:
        """Hand an accepted pair to a HessianUpdateStrategy, when the user gave one."""
        if self._strategy is not None:
            self._strategy.update(s, y)
            self._at = None

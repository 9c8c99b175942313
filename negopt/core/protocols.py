"""What the parts of a method ask of each other: models, the objective, the three rules.

A step rule or a globalisation says by its type which model it needs; `negopt.methods` puts the
three together in rows that a type checker verifies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from negopt.core.arrays import Array
from negopt.core.bounds import Bound
from negopt.core.types import Iterate, Outcome, Step

# --- models ------------------------------------------------------------------------------


class Model(Protocol):
    """A model of the Hessian at one point."""

    @property
    def learns(self) -> bool:
        """Whether a rejected trial updates the model: the same one is not asked twice."""


class Products(Model, Protocol):
    """A model that gives products."""

    def matvec(self, v: Array) -> Array:
        """Return ``B v``."""


class Inverse(Protocol):
    """A model that gives products with its inverse, and with that of its absolute value."""

    def solve(self, v: Array, *, absolute: bool = False, floor: float = 1e-15) -> Array:
        """Return ``B^-1 v``, or ``|B|^-1 v``.

        |Eigenvalues| are kept above `floor`, as a share of the largest.
        """


class Root(Protocol):
    """A linear map L with ``L L' = |B|^-1`` of a model: for ``x = L q`` the model is ``±I``."""

    @property
    def scale(self) -> Array:
        """Length of a step along each variable, shape (n,), or one for all of them."""

    def step(self, q: Array) -> Array:
        """Return ``L q``."""

    def slope(self, v: Array) -> Array:
        """Return ``L' v``."""


@runtime_checkable
class Rooted(Protocol):
    """A model that shows in which variables it is the identity."""

    def root(self, like: Array) -> Root | None:
        """Return the root, for arrays such as `like`; None while the model knows nothing.

        |Eigenvalues| are kept above ``sqrt(eps)`` of the largest.
        """


@runtime_checkable
class AbsoluteProducts(Protocol):
    """A model that knows its eigenvalues: ``|B|`` is at hand."""

    def absolute_matvec(self, v: Array) -> Array:
        """Return ``|B| v``."""


class KrylovModel(Products, Protocol):
    """The Hessian itself, and room for what a Krylov step rule has built from its products."""

    basis: object  #: None until a step rule built one here; a rejected step re-uses it
    #: what the points before have left behind
    scale: float
    first_gnorm: float

    @property
    def product(self) -> Callable[[Array], Array]:
        """``v -> H v`` (one product), which does not refer to this model."""


# --- the objective -----------------------------------------------------------------------


class Oracle(Protocol):
    """The objective as the globalisations see it."""

    def at(self, x: Array, *, bar: float = math.inf) -> Iterate:
        """Evaluate f and g at `x`; above `bar` the gradient may be left out (nan)."""


class ProductSource(Protocol):
    """The objective as curvature rules see it."""

    def products(self, iterate: Iterate) -> Callable[[Array], Array]:
        """Return ``v -> H(x) v`` at one point."""

    def hessian(self, iterate: Iterate) -> Array:
        """Return H(x), shape (n, n)."""


# --- the three rules ---------------------------------------------------------------------

Memory = TypeVar("Memory")
State = TypeVar("State")
M = TypeVar("M", bound=Model)
P = TypeVar("P", bound=Products)
M_co = TypeVar("M_co", bound=Model, covariant=True)
M_contra = TypeVar("M_contra", bound=Model, contravariant=True)


class Curvature(Protocol[Memory, M_co]):
    """A rule that makes a model of the Hessian from what its memory holds."""

    def init(self, x0: Array) -> Memory:
        """Return a fresh memory."""

    def model(self, memory: Memory, objective: ProductSource, iterate: Iterate) -> M_co:
        """Return the model at `iterate`; the memory is only read."""

    def update(self, memory: Memory, s: Array, y: Array, outcome: Outcome | None = None) -> bool:
        """Store a pair; return whether the model changed.

        `outcome` is that of the step whose pair this is, where there was one: what was
        measured on the way, and what the step rule has learnt (``outcome.step.learnt``).
        """

    def reset(self, memory: Memory) -> bool:
        """Forget everything; return False when there was nothing to forget."""


class StepRule(Protocol[M_contra]):
    """A rule that turns a model and a bound into a step."""

    def propose(self, iterate: Iterate, operator: M_contra, bound: Bound) -> Step:
        """Return the step from `iterate`."""


class Globalization(Protocol[State, M]):
    """A rule that says how far to go and whether a trial is accepted."""

    def init(self, iterate: Iterate) -> State:
        """Return a fresh state."""

    def advance(
        self,
        state: State,
        objective: Oracle,
        iterate: Iterate,
        operator: M,
        step_rule: StepRule[M],
    ) -> Outcome:
        """Try to move once; updates `state` in place, after the last evaluation."""

    def escaped(self, state: State, iterate: Iterate, distance: float) -> None:
        """Adapt `state` after a step of length `distance` along negative curvature."""


#: A rule of any method, where nothing is known of what its memory, model or state may be.
AnyCurvature = Curvature[Any, Any]
AnyStepRule = StepRule[Any]
AnyGlobalization = Globalization[Any, Any]

"""The data that travels between the parts: points, steps, outcomes, states, statuses.

Every type here is data only.  A state holds arrays, numbers and strings, never a
module, a callable or the objective, so that it can be copied, saved and resumed.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from negopt.core.arrays import Array
from negopt.core.checks import (
    FIGURE,
    FLOATS,
    NONNEGATIVE,
    SIZE,
    Columns,
    Entries,
    Instance,
    OneOf,
    refuse,
)
from negopt.core.randomness import RandomState

T = TypeVar("T")

#: The user's own: `fun`, `jac`, `hess`, `hessp`, `callback`.
UserFunction = Callable[..., Any]
#: Or what stands in place of a function: an object with methods, a scheme of differences.
Given = Any


class Status(enum.IntEnum):
    """Why a run ended; one list for all methods.

    The integer is ``res.status``; ``res.message`` adds the numbers that were
    compared and what to do.
    """

    #: ``max|g| <= gtol`` and, when it was checked, no negative curvature.
    CONVERGED = 0
    #: A budget of this call was used up: ``maxiter``, ``maxfun`` or ``maxtime``.
    LIMIT = 1
    #: No further decrease is possible at this precision.
    PRECISION = 2
    #: Only non-finite values around the best point.
    NONFINITE = 3
    #: Stationary point with negative curvature; the escapes did not lower f.
    SADDLE = 4
    #: ``fun <= ftarget``.
    TARGET = 5
    #: The objective falls without bound along the steps taken.
    UNBOUNDED = 6
    #: Only in training on batches: all epochs that were asked for have been run.
    EPOCHS = 7
    #: Only in training: the validation loss has not fallen for ``patience`` epochs.
    EARLY = 8
    #: Only in a batch: an exception ended this problem; the others went on.
    FAILED = -1
    #: A ``KeyboardInterrupt`` was raised in the callback.
    INTERRUPTED = 98
    #: The callback raised ``StopIteration``.
    CALLBACK = 99

    @property
    def success(self) -> bool:
        """Whether the run reached what it was asked for."""
        return self in (Status.CONVERGED, Status.TARGET, Status.EPOCHS, Status.EARLY)


#: Classes that a checkpoint may hold, by name.
SAVED: dict[str, type] = {}


def saved(cls: type[T]) -> type[T]:
    """Register a dataclass of arrays and numbers as part of a state that can be saved.

    Metadata of its fields: ``"host"``, an array that stays on the host; ``"value"``, what
    belongs to f itself and falls back to its default when f becomes that of another batch;
    ``"check"``, what it may hold (`negopt.core.checks`), where its default does not say so.
    """
    SAVED[cls.__name__] = cls
    return cls


class BudgetExhausted(BaseException):  # no error: nobody may take it for one
    """Raised by the objective before an evaluation that a budget forbids."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NoSecondDerivatives(RuntimeError):
    """Raised by an adapter whose library cannot differentiate the gradient of its function."""


@saved
@dataclass(slots=True, eq=False)
class Iterate:
    """A point with its value and gradient, always consistent with each other; never changed."""

    x: Array = field(
        metadata={"check": Entries(("n",), most=FLOATS, optional=False)}
    )  #: shape (n,)
    f: float = field(metadata={"check": FIGURE})
    #: shape (n,): gradient at `x`
    g: Array = field(metadata={"check": Entries(("n",), finite=False, optional=False)})
    gnorm: float = field(metadata={"check": SIZE})  #: Euclidean norm of `g`
    gmax: float = field(metadata={"check": SIZE})  #: largest absolute entry of `g`
    #: Euclidean norm of `x`, read together with the others; nan when it was not
    xnorm: float = field(default=math.nan, metadata={"check": SIZE})

    @property
    def finite(self) -> bool:
        """Whether f and every entry of g are finite."""
        return -math.inf < self.f < math.inf and self.gmax < math.inf


@dataclass(slots=True, eq=False)
class Step:
    """A proposed displacement and what the model says of it."""

    s: Array  #: shape (n,)
    slope: float  #: ``g's``
    quadratic: float  #: ``s'Bs``
    norm: float  #: length of `s` in the norm that bounds it
    on_boundary: bool = False  #: whether the bound was active
    euclidean: float = math.nan  #: Euclidean length of `s`, where that is not `norm`
    #: what the step rule has found out on the way (products, a basis), for the model
    learnt: object = None

    @property
    def length(self) -> float:
        """Euclidean length of `s`."""
        return self.norm if self.euclidean != self.euclidean else self.euclidean

    @property
    def predicted_decrease(self) -> float:
        """Decrease of the quadratic model, ``-(g's + s'Bs/2)``."""
        return -(self.slope + 0.5 * self.quadratic)


@dataclass(slots=True)
class Outcome:
    """What one globalised step came to: facts, no decisions."""

    start: Iterate | None = None  #: the point that the step was taken from
    step: Step | None = None  #: what the step rule proposed last
    trial: Iterate | None = None  #: the last point tried; None when not even one could be formed
    s: Array | None = None  #: ``trial.x - iterate.x`` as it was rounded
    #: an invalid trial (non-finite f or g) is not the same as a rejected one
    accepted: bool = False
    valid: bool = True
    #: whether the pair of the trial says something about the Hessian at hand
    informative: bool = True
    stuck: bool = False  #: the rule can make no progress from here with this model
    endless: bool = False  #: f falls without end along the step
    trials: int = 0
    step_norm: float = math.nan
    rho: float = math.nan
    step_size: float = math.nan
    radius: float = math.nan
    min_curvature: float = math.nan
    reason: str = ""


@saved
@dataclass(slots=True)
class Counters:
    """What a run has cost so far (totals, continued when a state is resumed)."""

    nfev: int = 0
    njev: int = 0
    nhev: int = 0
    n_nonfinite: int = 0
    n_skipped: int = 0
    n_rejected: int = 0
    n_negative_steps: int = 0
    n_escapes: int = 0


#: What a second-order check may find.
VERDICTS = ("not checked", "positive", "flat", "negative", "unsettled", "unknown")


@saved
@dataclass(slots=True)
class Certificate:
    """Result of the second-order check at a stationary point."""

    #: "positive": no negative curvature is left to find; "negative": confirmed; "flat": zero within
    #: the accuracy of the products; "unsettled": none was found, and some may be left; "unknown":
    #: the products failed; "not checked"
    status: str = field(default="not checked", metadata={"check": OneOf(VERDICTS)})
    #: curvature ``d'Hd / d'd`` along the lowest direction found; nan when not checked
    min_curvature: float = field(default=math.nan, metadata={"check": FIGURE})
    #: the same in the variables of the check, as a share of the largest curvature met
    relative_curvature: float = field(default=math.nan, metadata={"check": FIGURE})
    products: int = 0  #: Hessian products that the check used
    reason: str = ""  #: why it is "unknown"

    def check(self, n: int, name: str) -> None:
        """Raise ValueError where the verdict is not that of the number."""
        low = self.min_curvature
        if (self.status == "positive" and low < 0.0) or (self.status == "negative" and low > 0.0):
            refuse(f"{name}.min_curvature", low, f"of the sign that status {self.status!r} has")


@saved
@dataclass(slots=True, repr=False)
class State:
    """Everything that a run needs to go on: arrays and numbers, nothing else.

    `f0` and `measure0` are the value and the gradient measure at the start, which
    relative tests compare with; `k` counts iterations.

    ``res.state`` of a run is its last state; pass it back as
    ``options={"state": res.state}`` or keep it with `negopt.checkpoint`.
    """

    method: str
    iterate: Iterate
    best: Iterate
    memory: object
    globalize: object
    f0: float = math.nan
    measure0: float = field(default=math.nan, metadata={"check": SIZE})
    k: int = 0
    resets: int = 0
    stalled: int = 0
    #: value and gradient at the last progress
    stalled_f: float = field(default=math.nan, metadata={"check": FIGURE})
    stalled_gmax: float = field(default=math.nan, metadata={"check": SIZE})
    straight: int = 0  #: steps in a row along which f has not bent upwards
    counters: Counters = field(default_factory=Counters)
    certificate: Certificate = field(default_factory=Certificate)
    rng_state: dict[str, object] = field(default_factory=dict, metadata={"check": RandomState()})
    elapsed: float = field(default=0.0, metadata={"check": NONNEGATIVE})
    status: Status | None = field(default=None, metadata={"check": Instance(Status)})
    message: str = ""
    history: dict[str, list[float]] | None = field(default=None, metadata={"check": Columns()})
    #: what is known of the differences that stand for a gradient; None with one
    differences: object = field(default=None, metadata={"check": Instance()})

    def check(self, n: int, name: str) -> None:
        """Raise ValueError where the end contradicts the curvature found there."""
        found = self.certificate.status
        if self.status is Status.CONVERGED and found == "negative":
            refuse(f"{name}.status", self.status.name, f"another one: the curvature is {found}")

    def __repr__(self) -> str:
        """Return a short form: a result prints its state."""
        return f"<State of {self.method!r} after {self.k} iterations, f = {self.iterate.f:.6g}>"


def __getattr__(name: str) -> object:
    if name == "OptimizeResult":  # SciPy's own class, imported when it is first asked for
        from scipy.optimize import OptimizeResult

        return OptimizeResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""``options=`` to the fields of the rules; unknown names warn with the nearest ones."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeGuard, TypeVar

import numpy as np

from negopt.core.arrays import is_array, to_host_value
from negopt.core.given import dense, host_numbers, in_short, is_positive_definite
from negopt.core.scipy_names import INSTEAD, SAME

if TYPE_CHECKING:
    import numpy.typing as npt

    from negopt.core.randomness import Seed
    from negopt.core.types import State

T = TypeVar("T")

#: Options by name, as the user gave them.
Options = dict[str, Any]


#: A function like `map`: its values are in the order of the points.
WorkerMap = Callable[[Callable[[Any], object], list[Any]], Iterable[object]]

#: The option ``workers``.
Workforce = int | WorkerMap | None


class Rule(Protocol):
    """A part of a method: a frozen dataclass, whose fields are its options."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


#: What an integer has to be below, so that compiled code and array shapes can hold it.
MOST = 2**31

#: The same for pairs: the products among them, a matrix of twice the size, have to be kept.
MOST_PAIRS = 10_000


def check_integer(name: str, value: object, least: int = 1, most: int = MOST) -> None:
    """Raise ``ValueError`` unless `value` is an integer of at least `least`, and below `most`."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (integer and least <= value < most):  # type: ignore[operator] # an integer
        above = f", and below {most}" if integer and least <= value else ""  # type: ignore[operator]
        raise ValueError(f"{name}={in_short(value)}: must be an integer >= {least}{above}.")


def check_number(
    name: str,
    value: object,
    low: float = 0.0,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise ``ValueError`` unless `value` is a number between `low` and `high`."""
    good = _is_real(value) and low <= value <= high
    good = good and not (open_low and value == low) and not (open_high and value == high)
    if not good:
        left, right = "(" if open_low else "[", ")" if open_high or high == math.inf else "]"
        interval = f"{left}{low:g}, {high:g}{right}"
        raise ValueError(f"{name}={in_short(value)}: must be a number in {interval}.")


def check_tolerance(name: str, value: object) -> None:
    """Raise ``ValueError`` unless `value` is a finite number that is not negative."""
    check_number(name, value, open_high=True)


def check_step(name: str, value: object) -> None:
    """Raise ``ValueError`` unless `value` is a step of differences, or an array of them."""
    try:
        if is_array(value) and not isinstance(value, (np.ndarray, np.generic)):
            steps: npt.NDArray[Any] = to_host_value(value)  # a device is read once, before the run
        else:
            steps = host_numbers(value, "")
    except (TypeError, ValueError):
        steps = np.asarray(math.nan)
    real = steps.dtype.kind in "iuf" and steps.ndim <= 1
    if not (real and np.all(np.isfinite(steps) & (steps != 0.0))):
        raise ValueError(
            f"{name}={in_short(value)}: must be a finite number other than 0, or n of them; leave "
            "it out for a step that suits the precision."
        )


def check_workers(name: str, value: object) -> None:
    """Raise ``ValueError`` unless `value` is None, a number of processes or like `map`."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if value is None or callable(value) or (integer and value == -1):
        return
    if not integer or not 1 <= value < MOST:  # type: ignore[operator] # an integer
        raise ValueError(
            f"{name}={in_short(value)}: must be an integer >= 1, -1 for all processors, or a "
            "function like map, such as multiprocessing.Pool().map."
        )


def check_inverse(name: str, value: object, *, positive: bool) -> None:
    """Raise ``ValueError`` unless `value` is a symmetric matrix, positive definite if asked."""
    advice = "give a symmetric matrix of shape (n, n), such as res.hess_inv of an earlier run."
    try:
        h = dense(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={in_short(value)}: {advice}") from None
    if h.ndim != 2 or h.shape[0] != h.shape[1] or not np.isfinite(h).all():
        raise ValueError(f"{name}={in_short(value)}: {advice}")
    if np.abs(h - h.T).max(initial=0.0) > 1e-6 * np.abs(h).max(initial=0.0):
        raise ValueError(f"{name}: the matrix is not symmetric; {advice}")
    if positive and not is_positive_definite(h):
        raise ValueError(
            f"'{name}' matrix isn't positive definite: this method needs one that is; "
            "'dqn-wolfe-pm' and 'sr1-wolfe-pm' take any."
        )


def as_options(options: object) -> Options:
    """Return a copy of the caller's ``options=``."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(
            f"options={in_short(options)}: pass a dict, such as options={{'maxiter': 100}}; "
            "negopt.show_options lists the names."
        )
    return dict(options)


def own_options(options: object) -> Options:
    """Return a copy of the caller's ``options=``, with negopt's names for SciPy's."""
    found: Options = {}
    for name, value in as_options(options).items():
        if not isinstance(name, str):
            raise TypeError(
                f"options={{{name!r}: ...}}: the name of an option is a string; "
                "negopt.show_options lists them."
            )
        own = SAME.get(name, name)
        if own in found:
            raise ValueError(f"options[{name!r}] is given twice: {own!r} means the same.")
        number = isinstance(value, np.ndarray) and value.ndim == 0
        found[own] = value.item() if number else value
    return found


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ``ValueError`` unless `value` is one of `choices`."""
    # N.B. an array would be compared entry by entry.
    plain = value is None or isinstance(value, (str, bool, np.bool_, numbers.Number))
    if not plain or value not in choices:
        raise ValueError(f"{name}={in_short(value)}: use one of {', '.join(map(repr, choices))}.")


def check_exceptions(name: str, value: object) -> None:
    """Raise ``ValueError`` unless `value` is a class of exceptions, or a tuple of them."""
    for one in value if isinstance(value, tuple) else (value,):
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise ValueError(
                f"{name}={value!r}: use a class of exceptions, or a tuple of them, such as "
                "(numpy.linalg.LinAlgError,)."
            )


def option(default: T, doc: str, *, compare: bool = True) -> T:
    """Return the field of an option, which is described once, here.

    One that holds an array is left out of comparisons.
    """
    made: T = field(default=default, metadata={"doc": doc}, compare=compare)
    return made


@dataclass(frozen=True)
class RunOptions:
    """Options that every method has, with the same name and meaning.

    Each is described once, in the ``doc`` of its field; `negopt.show_options` prints them.
    """

    gtol: float | None = option(
        None, "stop when norm(g) <= gtol; None takes max(1e-5, sqrt(eps of the dtype))"
    )
    grtol: float = option(0.0, "also stop when norm(g) <= grtol * norm(g0)")
    norm: float = option(math.inf, "order of the norm in the gradient test")
    xrtol: float = option(0.0, "stop when ||s|| <= xrtol * ||x|| in an accepted step; 0: never")
    maxiter: int | None = option(None, "iterations of this call; None takes max(1000, 200 n)")
    maxfun: float | None = option(None, "evaluations of fun in this call, never exceeded")
    maxtime: float | None = option(None, "seconds of this call, checked between evaluations")
    ftarget: float = option(-math.inf, "stop with success when f <= ftarget")
    certify: bool = option(True, "look for negative curvature before reporting a minimum")
    certify_products: int | None = option(
        None,
        "most Hessian products of one check; None: 20, or a tenth of the run's gradients",
    )
    max_escapes: int = option(20, "most escapes from saddles in a run")
    rng: Seed = option(
        0, "seed or numpy Generator of the random probes; the same seed, the same run"
    )
    state: State | None = option(None, "res.state of an earlier run, to resume it")
    disp: int | None = option(False, "log one line an iteration ('negopt' logger)")
    record: bool = option(False, "keep res.history, arrays of scalars")
    return_all: bool = option(False, "keep res.allvecs, the iterates")
    catch: type[Exception] | tuple[type[Exception], ...] = option(
        (),
        "exceptions of fun and jac that reject a trial as nan would, such as "
        "(numpy.linalg.LinAlgError,), and of hess and hessp that end the run; at x0, and of "
        "all other kinds, they pass through",
    )
    compiled: bool | str = option(
        "auto",
        "objectives jitted by Numba run in the compiled loop, with the methods that it knows: "
        "'auto' and True; False calls them from Python",
    )
    eps: npt.ArrayLike | None = option(
        None, "absolute step of gradient differences; None and no jac: steps are chosen as they go"
    )
    finite_diff_rel_step: npt.ArrayLike | None = option(
        None, "relative step of gradient differences"
    )
    workers: Workforce = option(
        None,
        "difference gradients in parallel: a number of processes (-1: one a processor), or a "
        "function like map, workers(f, points)",
    )

    def __post_init__(self) -> None:
        if self.gtol is not None:
            check_tolerance("gtol", self.gtol)
        check_tolerance("grtol", self.grtol)
        check_tolerance("xrtol", self.xrtol)
        if self.maxiter is not None:
            check_number("maxiter", self.maxiter, -math.inf)  # as in SciPy less than 0 is 0
        if self.maxfun is not None:
            check_number("maxfun", self.maxfun, -math.inf)
            if self.maxfun < 1:
                raise ValueError(f"maxfun={self.maxfun!r}: at least one evaluation is needed.")
        if self.maxtime is not None:
            check_number("maxtime", self.maxtime)
        for name in ("certify", "record", "return_all"):
            check_choice(name, getattr(self, name), (True, False))
        if type(self.disp) is not int:  # SciPy takes any
            check_choice("disp", self.disp, (True, False, None))
        for name in ("eps", "finite_diff_rel_step"):
            if getattr(self, name) is not None:
                check_step(name, getattr(self, name))
        check_choice("compiled", self.compiled, ("auto", True, False))
        check_exceptions("catch", self.catch)
        check_number("norm", self.norm, open_low=True)
        check_number("ftarget", self.ftarget, -math.inf, open_high=True)
        if self.certify_products is not None:
            check_integer("certify_products", self.certify_products, 0)
        check_integer("max_escapes", self.max_escapes, 0)
        check_workers("workers", self.workers)
        if isinstance(self.rng, (bool, np.bool_)):
            raise ValueError(f"rng={self.rng!r}: pass a seed or a numpy Generator.")


def _is_real(value: object) -> TypeGuard[float]:
    """Tell whether it is a number: no truth value, not nan, and in the range of floats."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return not math.isnan(float(value))
    except OverflowError:
        return False


def collect(cls: type, options: Mapping[str, T]) -> dict[str, T]:
    """Return the entries of `options` that are fields of the dataclass `cls`."""
    if not options:
        return {}
    names = {f.name for f in dataclasses.fields(cls)}
    return {key: value for key, value in options.items() if key in names}


def user_level() -> int:
    """Return the ``stacklevel`` that makes the caller's warning point at the user's line."""
    frame, level = sys._getframe(1), 1
    while _package(frame) in ("negopt", "scipy", "torch") and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    return level


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def warn_unknown(options: Mapping[str, object], known: set[str], method: str) -> None:
    """Warn (SciPy's ``OptimizeWarning``) of each name that no rule owns."""
    for name in options:
        if name in known:
            continue
        from scipy.optimize import OptimizeWarning

        near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
        hint = f" {INSTEAD[name]}" if name in INSTEAD else hint
        warnings.warn(
            f"Unknown solver option {name!r} for method {method!r}.{hint} "
            f"negopt.show_options({method!r}) lists all.",
            OptimizeWarning,
            stacklevel=user_level(),
        )


def option_table(parts: Sequence[Rule | type[Rule]]) -> list[tuple[str, str, str]]:
    """Return rows (name, default, what it is) for rules and `RunOptions`."""
    rows = []
    for part in parts:
        for f in dataclasses.fields(part):
            default = getattr(part, f.name) if not isinstance(part, type) else f.default
            rows.append((f.name, repr(default), str(f.metadata.get("doc", ""))))
    return rows

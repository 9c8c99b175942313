"""Resume from the state of an earlier run, in the library of a new starting point.

A state comes from a user or a file: it is checked before anything of it is used.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import TypeVar, cast

import numpy as np

from negopt.core.arrays import (
    Array,
    eps_of,
    from_host,
    is_array,
    is_plain,
    largest,
    library_of,
    namespace_of,
    norm,
    scalars,
    to_host,
)
from negopt.core.checks import MISSING, check_tree, refuse
from negopt.core.protocols import AnyCurvature, AnyGlobalization
from negopt.core.types import Certificate, Counters, Iterate, State, Status
from negopt.decisions.noise import rounding
from negopt.functions.objective import Objective
from negopt.functions.taken import Differences
from negopt.solver.report import FIELDS
from negopt.solver.stopping import gradient_measure

T = TypeVar("T")

#: What a state is called in messages.
STATE = "options['state']"
#: Relative change of a norm that is rounding; relative error of a gradient by differences.
MEASURED, DIFFERENCES = 1e-5, 1e-2


def adopt(
    state: object,
    method: str,
    start: Array,
    rules: tuple[AnyCurvature, AnyGlobalization] | None = None,
) -> State:
    """Return a copy of `state`, checked, in the library, device and type of x0.

    With `rules`, what the state keeps for the two has to be of the kind that they make.
    """
    if not isinstance(state, State):
        # As every bad value of an option.
        raise ValueError(
            f"{STATE} is a {type(state).__name__}; pass res.state of an earlier run or "
            "negopt.checkpoint.load(path)."
        )
    if type(state.method) is not str or state.method != method:
        raise ValueError(
            f"{STATE} is from method {state.method!r}; resume with that method, not {method!r}."
        )
    n = check_state(state, STATE, rules)
    if n != start.shape[0]:
        raise ValueError(f"{STATE} has {n} variables but x0 has {start.shape[0]}.")
    moved = _like(state, start)
    there, here = state.iterate.x, moved.iterate.x
    if type(there) is not type(here) or there.dtype != here.dtype:  # a smaller type holds less
        check_state(moved, f"{STATE} in {start.dtype}", rules)
    return moved


def check_state(
    state: State, name: str, rules: tuple[AnyCurvature, AnyGlobalization] | None = None
) -> int:
    """Return the number of variables of `state`; ValueError, with what to do, where it is none.

    With `rules` its parts are compared with what these make at its point; without, they are only
    what their classes say.
    """
    try:
        n, here = _variables(state, name), state.iterate
        check_tree(here, MISSING, n, f"{name}.iterate")
        made = State(state.method, here, here, MISSING, MISSING)
        if rules is not None:
            curvature, globalize = rules
            made.memory, made.globalize = curvature.init(here.x), globalize.init(here)
            _same_kind("memory", state.method, state.memory, made.memory)
            _same_kind("globalize", state.method, state.globalize, made.globalize)
        check_tree(state, made, n, name)
        history = state.history
        if history is not None and not {"nit"} <= history.keys() <= set(FIELDS):
            wanted = f"columns among {', '.join(FIELDS)}, nit always"
            refuse(f"{name}.history", list(history), wanted)
    except RecursionError:
        raise ValueError(f"{name} refers to itself: it is no state of a run.") from None
    except ValueError as error:
        if "begin anew" in str(error):
            raise
        raise ValueError(
            f"{error} No run of negopt has left it so: pass a state as it was returned or saved, "
            "or begin anew from its point, x0 = state.iterate.x."
        ) from None
    return n


def _variables(state: State, name: str) -> int:
    """Return the number of variables of a state, of which nothing is known yet."""
    if type(state.iterate) is not Iterate:
        refuse(f"{name}.iterate", state.iterate, "an Iterate")
    x = state.iterate.x
    if not is_array(x) or isinstance(x, np.generic) or x.ndim != 1 or x.shape[0] == 0:
        refuse(f"{name}.iterate.x", x, "a vector, of shape (n,)")
    return int(x.shape[0])


def _same_kind(name: str, method: str, kept: object, made: object) -> None:
    """Refuse what another version, or another method of the same name, has kept."""
    if type(kept) is not type(made):
        raise ValueError(
            f"{STATE}.{name} is a {type(kept).__name__}, but {method!r} keeps a "
            f"{type(made).__name__}: the state is of another version of the method; begin "
            "anew from its point, x0 = state.iterate.x."
        )


def _like(value: T, start: Array) -> T:
    """Copy a tree of state, its device arrays moved to the library of `start`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        moved = {}
        for f in dataclasses.fields(value):
            part = getattr(value, f.name)
            # Small float64 arrays of the host stay there, whatever x0 is.
            stays = f.metadata.get("host") and part is not None
            moved[f.name] = np.array(part) if stays else _like(part, start)
            plain = is_plain(part) and is_plain(start)
            if f.metadata.get("symmetric") and part is not None and not plain:
                xp = namespace_of(start)  # only in float64 NumPy is a triangle enough
                upper = xp.triu(moved[f.name])
                moved[f.name] = upper + xp.matrix_transpose(xp.triu(upper, k=1))
        return dataclasses.replace(value, **moved)
    if not is_array(value):
        return copy.deepcopy(value)
    array: Array = value
    if library_of(array) == library_of(start):
        xp = namespace_of(start)
        array = xp.astype(xp.asarray(array, copy=True), start.dtype)
    else:
        array = from_host(to_host(array), start)
    return cast("T", array)


# --- another function -----------------------------------------------------------------------


def look_again(
    state: State, objective: Objective, globalize: AnyGlobalization, order: float, eps: float
) -> None:
    """Evaluate f and g where `state`, a copy, stands, and go by what is found; no count sees it.

    `eps` is that of the type in which the state was computed, `order` that of the gradient's norm.

    1. Where they are as they were, nothing changes.
    2. Where f is the same to within rounding (of another machine or type), the values are those
       found now.
    3. Else f is another function, or the state was changed: the run begins anew at its point, with
       the curvature learnt so far, and this was its first evaluation.

    A gradient by differences is formed too, for its n calls: one that was formed otherwise, to the
    accuracy that differences have, stays as it was.
    """
    if objective.differences is not None:  # steps and noise as the run has found them
        objective.differences.go_on(state)
    here, cost = look(objective, state.iterate.x)
    best, eps = here, max(eps, eps_of(here.x))
    same = _is_same(here, state.iterate, eps)
    if same and bool(namespace_of(here.x).any(state.best.x != here.x)):
        best, _ = look(objective, state.best.x)
        same = _is_same(best, state.best, eps)
    for point in (here, best):
        if not point.finite:
            raise ValueError(
                f"at the point of {STATE} f = {point.f} and max|g| = {point.gmax}: both must be "
                "finite there; look at fun and jac, or begin anew from another x0."
            )
    if same:
        state.iterate = agreed(state.iterate, here, objective.differences)
        state.best = agreed(state.best, best, objective.differences)
        return
    if cost.nfev > objective.maxfun:
        raise ValueError(
            f"{STATE} is of another function: f and its gradient at its point are {cost.nfev} "
            f"evaluations, maxfun={objective.maxfun:g}; raise it."
        )
    objective.counters = state.counters = Counters()
    objective.spend(cost.nfev, cost.njev)
    if state.status is not Status.LIMIT:  # the other function's last steps were tiny
        state.globalize = globalize.init(here)
    change_function(state, here)
    state.f0, state.measure0 = here.f, gradient_measure(here, order)
    state.k, state.elapsed, state.history = 0, 0.0, None


def look(objective: Objective, x: Array) -> tuple[Iterate, Counters]:
    """Evaluate at `x`, at no cost to counters and budgets, and say what it would have cost."""
    other = objective.unlimited(whole=True)
    return other.at(x), other.counters


def _is_same(now: Iterate, then: Iterate, eps: float) -> bool:
    """Tell whether f is what it was, but for rounding."""
    noise = rounding(then.f, eps)
    close = noise < math.inf and abs(now.f - then.f) <= noise
    return now.f == then.f or close or (now.f != now.f and then.f != then.f)


def agreed(then: Iterate, now: Iterate, differences: Differences | None = None) -> Iterate:
    """Return the point as it was kept, or, where that is not what it is, as it is now.

    With `differences` a gradient within their error is what it is.
    """
    error = 0.0
    if differences is not None:
        error = DIFFERENCES * now.gmax + math.sqrt(eps_of(now.x)) * max(1.0, abs(now.f))
        error += 4.0 * float(np.max(differences.errors(now)))
    kept = now.f == then.f and scalars(largest(now.g - then.g))[0] <= error
    size, gmax = norm(then.g), scalars(largest(then.g))[0]
    for a, b in ((size, then.gnorm), (gmax, then.gmax), (now.xnorm, then.xnorm)):
        kept = kept and abs(a - b) <= MEASURED * a
    return then if kept else now


def change_function(state: State, here: Iterate) -> None:
    """Put a run at a point with the values of another function: the curvature learnt stays.

    What depends on values of f is forgotten: the lowest so far, trials without progress, the end.
    """
    forget_values(state.globalize)
    forget_values(state.memory)
    state.iterate = state.best = here
    state.stalled, state.resets, state.straight = 0, 0, 0
    state.stalled_f = state.stalled_gmax = math.nan
    state.certificate = Certificate()
    state.status, state.message = None, ""


def forget_values(part: object) -> None:
    """Set what belongs to f itself (metadata ``"value"``) back to its default."""
    if not dataclasses.is_dataclass(part):  # the state of a user's own method may be anything
        return
    for f in dataclasses.fields(part):
        if f.metadata.get("value"):
            setattr(part, f.name, f.default)
        else:
            forget_values(getattr(part, f.name))

"""What `fit` is given, checked and put together; and what it returns."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from negopt._array import Array, convert_like, namespace_of, norm, scalars
from negopt._hessian import attach
from negopt._minimize import own_method
from negopt._objective import Objective
from negopt._options import (
    RunOptions,
    as_options,
    check_integer,
    check_number,
    collect,
    warn_unknown,
)
from negopt._result import wrap
from negopt._solver import Solver
from negopt._types import Iterate, State, Status
from negopt._words import Words
from negopt.methods import METHODS, Method, choose
from negopt.neural._batches import Feed, Plan, on
from negopt.neural._fit import Training
from negopt.neural._fit_state import EPOCH_FIELDS, STEP_FIELDS, FitState, new_columns
from negopt.neural._trees import libraries_in, number_of_samples
from negopt.neural._turn import BatchObjective

__all__ = [
    "Measures",
    "begin",
    "check_objective",
    "data_of",
    "feed_of",
    "measures_of",
    "method_of",
    "over",
    "result_of",
    "row_settings",
    "settings_of",
    "starting_point",
    "words_of",
]

#: Options of `minimize` that `fit` has a parameter for, or does by itself.
ELSEWHERE = {
    "state": "pass checkpoint= and resume= to fit",
    "rng": "pass rng= to fit",
    "record": "res.history is always there",
    "return_all": "keep the iterates in a callback",
    "disp": "pass progress=True to fit",
}
#: Those that judge a run by the loss at its points, which on batches nobody has seen.
JUDGES = ("gtol", "grtol", "norm", "xrtol", "ftarget", "certify", "certify_products", "max_escapes")
#: What ``method=None`` takes on batches (docs/training.md): no products, no rate to tune.
ON_BATCHES = "lqn-tr"
#: A share of the loss by which that of a checkpoint's point may differ when it is resumed:
#: what float32 sums in another order leave, on another device for one.
SAME = 1e-3

Metrics = Mapping[str, Callable[[Any, Array], Any]]


def check_objective(objective: Any) -> None:
    """Raise unless there are a value and a gradient, and say what there is instead."""
    if hasattr(objective, "fun") and hasattr(objective, "grad"):
        return
    kind = type(objective)
    if any(base.__module__.startswith("torch.nn.") for base in kind.__mro__):
        raise TypeError(
            f"objective is the module {kind.__name__}, without loss and data; pass "
            "TorchObjective(module, loss, inputs, targets), of negopt.neural.torch."
        )
    raise TypeError(
        f"objective is a {kind.__name__}; pass an object with fun(x) and grad(x), such as "
        "MLPObjective(network, X, y), or a TorchObjective or JaxObjective. A plain function is "
        "for negopt.minimize."
    )


def over(objective: Any, data: Any, name: str, **extra: Any) -> Any:
    """Return the objective of the same network over other data, which are checked."""
    if not hasattr(objective, "on"):
        raise TypeError(
            f"{name}= needs an objective with on(inputs, targets); a {type(objective).__name__} "
            "has none."
        )
    number_of_samples(data, name)
    other = on(objective, data, **extra)
    # Asked of the new objective, which may have converted what it was given.
    for here, there in zip(_libraries(objective), _libraries(other), strict=False):
        if here and there and not here & there:
            raise TypeError(
                f"{name} has {', '.join(sorted(there))} arrays where the objective has "
                f"{', '.join(sorted(here))} arrays: convert them."
            )
    return other


def _libraries(objective: Any) -> list[set[str]]:
    """Return the array libraries of each part of an objective's data, as far as it tells."""
    data = data_of(objective)
    return [libraries_in(part) for part in data] if isinstance(data, (tuple, list)) else []


def data_of(objective: Any) -> Any:
    """Return ``(inputs, targets)`` of an objective, None where it does not say."""
    if hasattr(objective, "data"):
        return objective.data
    if hasattr(objective, "inputs") and hasattr(objective, "targets"):
        return objective.inputs, objective.targets
    return None


def starting_point(objective: Any, rng: Any) -> Any:
    """Return the objective's own start."""
    x0 = getattr(objective, "x0", None)
    if x0 is None:
        raise ValueError(f"a {type(objective).__name__} has no start of its own; pass x0.")
    return x0(rng=rng) if callable(x0) else x0


def method_of(method: Any, start: Array, objective: Any, *, on_batches: bool) -> Method:
    """Return the row of the table that is meant."""
    method = ON_BATCHES if method is None and on_batches else method
    found = own_method(method, constrained=False)
    if found is None:
        raise ValueError(f"method={method!r}: fit takes negopt's methods, {', '.join(METHODS)}.")
    if isinstance(found, Method):
        return found
    n = int(start.shape[0])
    return METHODS[found or choose(n, has_products=hasattr(objective, "hessp"))]


def settings_of(
    method: Method, given: Any, epochs: int | None, rng: Any, *, on_batches: bool
) -> tuple[Method, RunOptions]:
    """Return the method with its options, and those of the run."""
    options = as_options(given)
    known = method.option_names() | {f.name for f in dataclasses.fields(RunOptions)}
    warn_unknown(options, known, method.name)
    for name, instead in ELSEWHERE.items():
        if name in options:
            raise ValueError(f"options[{name!r}] is none of fit: {instead}.")
    if epochs is not None:
        check_integer("epochs", epochs)
    if on_batches:
        for name in JUDGES:
            if name in options:
                raise ValueError(
                    f"options[{name!r}] would judge the run by the loss of one batch: on batches "
                    "a run ends after epochs=, by patience=, or by the options maxfun and maxtime."
                )
        options = {"maxiter": 10**18, **options, "gtol": 0.0, "certify": False}
    elif epochs is not None:
        if "maxiter" in options:
            raise ValueError("epochs= and options['maxiter'] are the same on all data: pass one.")
        options["maxiter"] = epochs
    return method.with_options(options), RunOptions(**{**collect(RunOptions, options), "rng": rng})


def words_of(path: Any, *, on_batches: bool) -> Words:
    """Return what messages call the options of `minimize`, and how the run goes on."""
    go_on = ", or go on from here with x0=res.x"
    if path is not None:
        go_on = f"; resume={os.fspath(path)!r} goes on from here"
    return Words({} if on_batches else {"maxiter": "epochs"}, go_on)


def row_settings(method: Method) -> dict[str, str]:
    """Return the value of every option of a method, in words: a run is gone on with as it was."""
    return {f"options[{name!r}]": value for name, value in method.described().items()}


def feed_of(
    whole: Any,
    data: Any,
    batch_size: int | None,
    hessian_batch_size: int | None,
    overlap: float,
    rng: Any,
) -> Feed:
    """Return the batches."""
    if not hasattr(whole, "take") and not hasattr(whole, "on"):
        raise TypeError(
            f"batch_size= needs an objective with on(inputs, targets); a {type(whole).__name__} "
            "has none."
        )
    data = data_of(whole) if data is None else data
    if data is None:
        raise ValueError(
            f"a {type(whole).__name__} does not say what its data are; pass data=(inputs, targets)."
        )
    samples = number_of_samples(data, "data")
    size = samples
    if batch_size is not None:
        check_integer("batch_size", batch_size)
        size = min(int(batch_size), samples)
    if hessian_batch_size is not None:
        check_integer("hessian_batch_size", hessian_batch_size)
        if hessian_batch_size > size:
            raise ValueError(
                f"hessian_batch_size={hessian_batch_size!r}: products are formed on some of a "
                f"batch, which has {size} samples."
            )
    check_number("overlap", overlap, 0.0, 0.5)
    shared = min(math.ceil(overlap * size), size // 2)
    if isinstance(rng, np.random.Generator):
        seed = int(rng.integers(2**63))
    else:  # not the stream that a start of this seed is drawn from, nor the solver's
        seed = int(np.random.default_rng(rng).spawn(2)[1].integers(2**63))
    plan = Plan(samples, size, shared, hessian_batch_size, seed)
    return Feed(whole, None if hasattr(whole, "take") else data, plan)


class Measures:
    """What is measured at the end of an epoch, ``x -> {name: value}``."""

    def __init__(self, objective: Any, metrics: Metrics, *, validates: bool) -> None:
        self.objective, self.metrics, self.validates = objective, metrics, validates

    def __call__(self, x: Array) -> dict[str, float]:
        """Return the validation loss, and each metric."""
        copy = namespace_of(x).asarray(x, copy=True)
        figures = {}
        if self.validates:
            figures["validation_loss"] = scalars(self.objective.fun(copy))[0]
        for name, metric in self.metrics.items():
            value = metric(self.objective, copy)
            try:
                figures[name] = float(value)
            except (TypeError, ValueError):
                raise TypeError(
                    f"metrics[{name!r}] returned {value!r}; it must return a number."
                ) from None
        return figures


def measures_of(whole: Any, validation: Any, metrics: Metrics, patience: int | None) -> Measures:
    """Return what is measured, over the validation data where there are any."""
    if patience is not None:
        check_integer("patience", patience)
        if validation is None:
            raise ValueError(f"patience={patience!r} watches a validation loss: give validation=.")
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics is a {type(metrics).__name__}; pass {{name: metric(objective, x) -> float}}."
        )
    for name, metric in metrics.items():
        if name in EPOCH_FIELDS:
            raise ValueError(f"metrics: {name!r} is a column of the history already; rename it.")
        if not callable(metric):
            raise TypeError(f"metrics[{name!r}] is not callable: metric(objective, x) -> float.")
    there = whole
    if validation is not None:  # dropout off, batch norm by its running statistics
        there = over(whole, validation, "validation", training=False)
    return Measures(there, dict(metrics), validates=validation is not None)


def begin(
    whole: Any,
    start: Array,
    method: Method,
    run: RunOptions,
    feed: Feed | None,
    kept: FitState | None,
    settings: dict[str, Any],
    epochs: int | None,
    words: Words,
) -> tuple[Solver, FitState]:
    """Return the solver and the state of a run, new or gone on with."""
    place = [0, 0]
    if kept is not None:
        place = kept.at
        if feed is not None:
            feed.plan = dataclasses.replace(feed.plan, seed=kept.seed)
        elif epochs is not None:  # in all, those before included
            run = dataclasses.replace(run, maxiter=epochs - kept.solver.k)
    first = whole if feed is None else feed.batch(*place)
    kind = Objective if feed is None else BatchObjective
    door = kind(
        first,
        start,
        maxfun=math.inf if run.maxfun is None else float(run.maxfun),
        maxtime=math.inf if run.maxtime is None else float(run.maxtime),
        relative_step=run.finite_diff_rel_step,
        absolute_step=run.eps,
        words=words,
    )
    solver = Solver(method, door, run)
    if kept is not None:
        _check_same(first, kept.solver.iterate)
        if kept.buffers is not None and hasattr(whole, "load_buffers"):
            whole.load_buffers(kept.buffers)
        state = solver.resume(kept.solver)
        if feed is None and epochs is not None and solver.limits is not None:
            solver.limits = dataclasses.replace(solver.limits, first=0)
            if state.status is Status.LIMIT:  # to be said of the whole run
                state.status = None
                solver.check_stop(state)
        return solver, kept
    state = solver.init()
    return solver, FitState(
        solver=state,
        settings=settings,
        seed=0 if feed is None else feed.plan.seed,
        steps=new_columns(STEP_FIELDS),
        epochs=new_columns((*EPOCH_FIELDS, *settings["metrics"])),
        passes=1.0 if feed is None else first.size / feed.plan.samples,
    )


def _check_same(objective: Any, point: Iterate) -> None:
    """Raise when the loss at the point of a checkpoint is no longer what it was."""
    f = scalars(objective.fun(namespace_of(point.x).asarray(point.x, copy=True)))[0]
    if abs(f - point.f) <= SAME * max(abs(f), abs(point.f)) or not math.isfinite(point.f):
        return
    raise ValueError(
        f"at the checkpoint's point the loss was {point.f:.6g} and is now {f:.6g}: the data, the "
        "network or the loss are not those of that run (or the loss is not deterministic)."
    )


def result_of(run: Training) -> Any:
    """Return what `fit` returns."""
    state, fit, solver, feed = run.state, run.fit, run.solver, run.feed
    last = state.iterate.x
    point = solver.finish(state) if feed is None else None
    x = last if point is None else point.x
    if fit.best_x is not None:
        x = fit.best_x
        if fit.best_buffers is not None and hasattr(run.objective, "load_buffers"):
            run.objective.load_buffers(fit.best_buffers)
    if point is None or not _same(point.x, x):
        point = _evaluate(run, x)
    result = wrap(state, point, solver.objective)
    if feed is None:
        attach(result, solver.method, state, point, solver.objective)
    else:
        state.rng_state = dict(solver.rng.bit_generator.state)
    result.history = {name: np.asarray(column) for name, column in fit.steps.items()}
    result.history["epochs"] = {name: np.asarray(column) for name, column in fit.epochs.items()}
    result.x_last = namespace_of(last).asarray(last, copy=True)
    result.best_epoch = fit.best_epoch if fit.best_x is not None else fit.epoch
    result.validation_loss = fit.best_loss if fit.best_x is not None else math.nan
    result.passes = fit.passes
    return result


def _same(x: Array, y: Array) -> bool:
    return bool(namespace_of(x).all(x == y))


def _evaluate(run: Training, x: Array) -> Iterate:
    """Return value and gradient over all data at `x`; counted nowhere, the run being over."""
    if run.feed is not None:
        f, g = run.feed.whole(x)
    else:
        copy = namespace_of(x).asarray(x, copy=True)
        f, g = scalars(run.objective.fun(copy))[0], run.objective.grad(copy)
    g = convert_like(g, x, "grad")
    (gmax,) = scalars(namespace_of(g).max(namespace_of(g).abs(g)))
    return Iterate(x, f, g, norm(g), gmax)

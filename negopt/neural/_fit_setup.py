"""The arguments of `fit`, checked and put together, and its result."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from negopt.core.arrays import Array, copy_of, largest, namespace_of, norm, scalars
from negopt.core.messages import Words
from negopt.core.options import (
    RunOptions,
    check_integer,
    check_number,
    collect,
    own_options,
    warn_unknown,
)
from negopt.core.randomness import Seed
from negopt.core.types import Iterate, Status
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.entry.minimize import own_method
from negopt.functions.objective import Objective
from negopt.methods import METHODS, Method, choose
from negopt.neural._batches import Feed, Plan, on, on_of, value_and_gradient
from negopt.neural._fit import Training
from negopt.neural._fit_progress import Measures, Metrics
from negopt.neural._fit_state import EPOCH_FIELDS, STEP_FIELDS, FitState, Settings
from negopt.neural._text import PathLike
from negopt.neural._trees import libraries_in, number_of_samples
from negopt.solver.hessian import attach
from negopt.solver.loop import Solver
from negopt.solver.result import wrap
from negopt.solver.resume import agreed, look

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

#: Options of `minimize` that `fit` has a parameter for, or does by itself.
ELSEWHERE = {
    "state": "pass checkpoint= and resume= to fit",
    "rng": "pass rng= to fit",
    "record": "res.history is always there",
    "return_all": "keep the iterates in a callback",
    "disp": "pass progress=True to fit",
    "catch": "have the loss return nan where it raises",
}
#: Those that test the loss over all data, which is not evaluated on batches.
TESTS = ("gtol", "grtol", "norm", "xrtol", "ftarget", "certify", "certify_products", "max_escapes")
#: The default method on batches (docs/training.md): no products, no rate to tune.
ON_BATCHES = "lqn-tr"
#: Relative change of the loss at a checkpoint's point that is accepted when it is resumed:
#: float32 sums in another order, as on another device, differ by as much.
SAME = 1e-3


def check_objective(objective: object) -> None:
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


def over(
    objective: ObjectiveLike, data: Sequence[object], name: str, **extra: object
) -> ObjectiveLike:
    """Return the objective of the same network over other data, which are checked."""
    method = on_of(objective, name)
    number_of_samples(data, name)
    other = on(method, data, **extra)
    # The data of the new objective, which may have converted what it was given.
    for here, there in zip(_libraries(objective), _libraries(other), strict=False):
        if here and there and not here & there:
            raise TypeError(
                f"{name} has {', '.join(sorted(there))} arrays where the objective has "
                f"{', '.join(sorted(here))} arrays: convert them."
            )
    return other


def _libraries(objective: object) -> list[set[str]]:
    """Return the array libraries of each part of an objective's data, where they are known."""
    data = data_of(objective)
    return [libraries_in(part) for part in data] if isinstance(data, (tuple, list)) else []


def data_of(objective: object) -> Sequence[object] | None:
    """Return ``(inputs, targets)`` of an objective, None where they are not known."""
    if hasattr(objective, "data"):
        data: Sequence[object] = objective.data
        return data
    if hasattr(objective, "inputs") and hasattr(objective, "targets"):
        return objective.inputs, objective.targets
    return None


def starting_point(objective: object, rng: Seed) -> Array:
    """Return the objective's own start."""
    x0 = getattr(objective, "x0", None)
    if x0 is None:
        raise ValueError(f"a {type(objective).__name__} has no start of its own; pass x0.")
    return x0(rng=rng) if callable(x0) else x0


def method_of(method: object, start: Array, objective: object, *, on_batches: bool) -> Method:
    """Return the row of the table that `method` names."""
    method = ON_BATCHES if method is None and on_batches else method
    found = own_method(method, constrained=False)
    if found is None:
        raise ValueError(f"method={method!r}: fit takes negopt's methods, {', '.join(METHODS)}.")
    if isinstance(found, Method):
        return found
    n = int(start.shape[0])
    return METHODS[found or choose(n, has_products=hasattr(objective, "hessp"))]


def settings_of(
    method: Method, given: object, epochs: int | None, rng: Seed, *, on_batches: bool
) -> tuple[Method, RunOptions]:
    """Return the method with its options, and those of the run."""
    options = own_options(given)
    known = method.option_names() | {f.name for f in dataclasses.fields(RunOptions)}
    warn_unknown(options, known, method.name)
    for name, instead in ELSEWHERE.items():
        if name in options:
            raise ValueError(f"options[{name!r}] is none of fit: {instead}.")
    if epochs is not None:
        check_integer("epochs", epochs)
    if on_batches:
        for name in TESTS:
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


def words_of(path: PathLike | None, *, on_batches: bool) -> Words:
    """Return the names of the options in messages, and how to resume."""
    resume = ", or continue from here with x0=res.x"
    if path is not None:
        resume = f"; resume={os.fspath(path)!r} continues from here"
    return Words({} if on_batches else {"maxiter": "epochs"}, resume)


def feed_of(
    whole: ObjectiveLike,
    data: Sequence[object] | None,
    batch_size: int | None,
    hessian_batch_size: int | None,
    overlap: float,
    rng: Seed,
) -> Feed:
    """Return the batches."""
    if not hasattr(whole, "take"):
        on_of(whole, "batch_size")
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
    return Feed(whole, data, Plan(samples, size, shared, hessian_batch_size, seed))


def measures_of(
    whole: ObjectiveLike,
    validation: Sequence[object] | None,
    metrics: Metrics,
    patience: int | None,
) -> Measures:
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
    if validation is not None:  # dropout off, batch norm by its running statistics
        whole = over(whole, validation, "validation", training=False)
    return Measures(whole, dict(metrics), validates=validation is not None)


def begin(
    whole: ObjectiveLike,
    start: Array,
    method: Method,
    run: RunOptions,
    feed: Feed | None,
    kept: FitState | None,
    settings: Settings,
    epochs: int | None,
    words: Words,
) -> tuple[Solver, FitState]:
    """Return the solver and the state of a run, new or resumed."""
    place = [0, 0]
    if kept is not None:
        place = kept.at
        if feed is not None:
            feed.plan = dataclasses.replace(feed.plan, seed=kept.seed)
            if max(kept.batch, place[1]) >= feed.plan.count:
                raise ValueError(
                    f"the checkpoint is of batch {max(kept.batch, place[1])} of an epoch that has "
                    f"{feed.plan.count}: it is damaged; begin anew."
                )
        elif epochs is not None:  # in all, those before included
            run = dataclasses.replace(run, maxiter=epochs - kept.solver.k)
    first = whole if feed is None else feed.batch(*place)
    objective = Objective(
        first,
        start,
        maxfun=math.inf if run.maxfun is None else float(run.maxfun),
        maxtime=math.inf if run.maxtime is None else float(run.maxtime),
        relative_step=run.finite_diff_rel_step,
        absolute_step=run.eps,
        words=words,
    )
    solver = Solver(method, objective, run)
    if kept is not None:
        _look_again(kept, objective, feed)
        if kept.buffers is not None and hasattr(whole, "load_buffers"):
            whole.load_buffers(kept.buffers)
        state = solver.resume(kept.solver)
        if feed is None and epochs is not None and solver.limits is not None:
            solver.limits = dataclasses.replace(solver.limits, first=0)
            if state.status is Status.LIMIT:  # its message is to be about the whole run
                state.status = None
                solver.check_stop(state)
        return solver, kept
    metrics = settings["metrics"]
    assert isinstance(metrics, list)
    new = FitState(solver.init(), settings, passes=1.0)
    if feed is not None:
        new.seed, new.passes = feed.plan.seed, feed.plan.batch(0, 0).size / feed.plan.samples
    new.steps = {name: [] for name in STEP_FIELDS}
    new.epochs = {name: [] for name in (*EPOCH_FIELDS, *metrics)}
    return solver, new


def _look_again(kept: FitState, objective: Objective, feed: Feed | None) -> None:
    """Take loss and gradient at the points of a checkpoint as they are now.

    It is a ValueError when the loss is no longer what it was.
    """
    state = kept.solver
    state.iterate = _looked(state.iterate, objective)
    other = feed is None and bool(namespace_of(state.best.x).any(state.best.x != state.iterate.x))
    state.best = _looked(state.best, objective) if other else state.iterate


def _looked(point: Iterate, objective: Objective) -> Iterate:
    now, _ = look(objective, point.x)
    f = now.f
    if abs(f - point.f) <= SAME * max(abs(f), abs(point.f)) or not math.isfinite(point.f):
        return agreed(point, now)
    raise ValueError(
        f"at the checkpoint's point the loss was {point.f:.6g} and is now {f:.6g}: the data, the "
        "network or the loss are not those of that run (or the loss is not deterministic)."
    )


def result_of(run: Training) -> OptimizeResult:
    """Return the result of a run."""
    state, fit, solver, feed = run.state, run.fit, run.solver, run.feed
    last = state.iterate.x
    point = solver.finish(state) if feed is None else None
    x = last if point is None else point.x
    if fit.best_x is not None:
        x = fit.best_x
        if fit.best_buffers is not None and hasattr(run.objective, "load_buffers"):
            run.objective.load_buffers(fit.best_buffers)
    if point is None or not bool(namespace_of(x).all(point.x == x)):
        # After the run, so not counted.
        f, g = feed.whole(x) if feed else value_and_gradient(run.objective, copy_of(x))
        point = Iterate(x, f, g, norm(g), *scalars(largest(g)))
    result = wrap(state, point, solver.objective)
    if feed is None:
        attach(result, solver.method, state, point, solver.objective)
    else:
        state.rng_state = solver.draws.state
    result.history = {name: np.asarray(column) for name, column in fit.steps.items()}
    result.history["epochs"] = {name: np.asarray(column) for name, column in fit.epochs.items()}
    result.x_last = copy_of(last)
    result.best_epoch = fit.best_epoch if fit.best_x is not None else fit.epoch
    result.validation_loss = fit.best_loss if fit.best_x is not None else math.nan
    result.passes = fit.passes
    return result

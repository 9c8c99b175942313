"""`fit`: train a network, on all data at once or on mini-batches, with any method of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from negopt._array import Array, as_vector
from negopt._options import check_integer
from negopt._random import generator
from negopt.methods import Method
from negopt.neural import _fit_state
from negopt.neural._fit import Training
from negopt.neural._fit_progress import Bar, Callback
from negopt.neural._fit_setup import (
    begin,
    check_objective,
    data_of,
    feed_of,
    measures_of,
    method_of,
    over,
    result_of,
    row_settings,
    settings_of,
    starting_point,
    words_of,
)
from negopt.neural._trees import fingerprint, type_of

__all__ = ["fit"]

#: Epochs on batches that are run by default.
EPOCHS = 10
#: Epochs between two checkpoints where every step is on all data.
EVERY = 20


def fit(
    objective: Any,
    x0: Any = None,
    *,
    data: tuple[Any, Any] | None = None,
    method: str | Callable[..., Any] | Method | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    hessian_batch_size: int | None = None,
    overlap: float = 0.0,
    validation: tuple[Any, Any] | None = None,
    metrics: Mapping[str, Callable[[Any, Array], float]] | None = None,
    patience: int | None = None,
    rng: Any = 0,
    progress: bool = False,
    callback: Callable[..., Any] | None = None,
    checkpoint: Any = None,
    checkpoint_every: int | None = None,
    resume: Any = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Train a network with any method of ``negopt.METHODS``.

    Parameters
    ----------
    objective : object
        A network's objective, such as `MLPObjective`: ``fun(x)`` and ``grad(x)``, optionally
        ``fun_and_grad(x)`` and ``hessp(x) -> callable``, and, for batches and validation,
        ``on(inputs, targets)``, which returns the objective of the same network and loss over
        other data.  The loss has to be a mean over the samples.
    x0 : array_like, shape (n,), optional
        Starting point; by default that of the objective.
    data : tuple, optional
        ``(inputs, targets)`` to train on, arrays (or tuples, lists or mappings of arrays)
        whose first axis counts the samples; by default those of the objective.  Numbers and
        arrays without an axis (a random key of JAX) belong to every batch.  Inputs must not be
        nan; they may be infinite, as attention masks are.
    method : str, callable or Method, optional
        As in `minimize`; on batches None takes ``"lqn-tr"``.
    epochs : int, optional
        Passes over the data, in all, those of a run that is resumed included.  With
        `batch_size` 10 by default; without, an epoch is one iteration and the default is
        that of ``maxiter``.
    batch_size : int, optional
        Samples of a batch.  None takes every step on all data.
    hessian_batch_size : int, optional
        Samples of each batch that Hessian products are formed on; by default all of them.
    overlap : float, default 0
        Share of a batch, in [0, 0.5], that it has in common with the next one.  Above 0 the
        pairs of quasi-Newton methods are formed on what two batches share.
    validation : tuple, optional
        ``(inputs, targets)`` that are not trained on.
    metrics : mapping, optional
        Name -> ``metric(objective, x) -> float``, evaluated at the end of each epoch on the
        objective over the validation data, or over the training data where there are none:
        ``{"accuracy": lambda objective, x: objective.accuracy(x)}``.
    patience : int, optional
        End the run when the validation loss has not fallen for as many epochs.
    rng : None, int or numpy Generator, default 0
        Source of the start (where `x0` is not given), of the order of the samples and of the
        solver's random vectors: the same seed, the same run.
    progress : bool, default False
        Show a bar (rich).
    callback : callable, optional
        ``callback(intermediate_result)`` or ``callback(xk)``, by SciPy's rule, at the end of
        each epoch; the former has the figures of the epoch too.  ``StopIteration`` ends the
        run.
    checkpoint : path-like, optional
        File that the run is saved in, so that it can go on after a crash.
    checkpoint_every : int, optional
        Steps between two checkpoints; by default an epoch, and without `batch_size` 20.
    resume : path-like or bool, optional
        A checkpoint to go on from.  True takes that of `checkpoint` if there is one; False
        overwrites it; None, the default, raises where it exists, and so does another path.
    options : mapping, optional
        Options of the method and of the run, as in `minimize`.

    Returns
    -------
    OptimizeResult
        That of `minimize`, with ``x`` the parameters of the lowest validation loss (without
        validation the last ones, or on all data the best ones), ``fun`` and ``jac`` the loss
        and its gradient over all training data there, and further

        ``history``
            One entry a step: the columns of `minimize` with ``record``, ``loss`` (the batch's
            before the step), ``epoch`` and ``passes`` (gradients per sample so far, a product
            counted as two); and in ``history["epochs"]`` one entry an epoch: ``loss`` (mean
            over the batches), ``validation_loss``, each metric, ``grad_norm``, ``accepted``
            steps, ``nit``, ``nfev``, ``njev``, ``nhev``, ``passes`` and ``time`` in seconds.
        ``x_last``, ``best_epoch``, ``validation_loss``, ``passes``
            The last parameters; the epoch of ``x``, from 1, and its validation loss; the work.

    Raises
    ------
    ValueError
        For an argument out of range, data that do not fit, a checkpoint that is damaged,
        foreign, or of a run with other settings or other data.
    TypeError
        When the objective lacks a method that is needed, or data are of another array
        library than the objective's.

    Notes
    -----
    Without `batch_size` this is `minimize`, with the same iterates, stopping tests, second-order
    check and escapes.  With batches:

    1. Each epoch goes through the samples in a random order of its own; the last batch has
       what is left, and a single sample that is left is added to the batch before it.
    2. On each batch the solver takes one step: f and g at the present point are evaluated on
       it, trials and line searches are judged on it, and a pair's s and y = g(x + s) - g(x)
       belong to it.  Curvature memory, radius, damping and search length are kept from batch
       to batch.  Where a step is rejected, the next batch begins at the same point.
    3. With `overlap` y is the change of the gradient on the samples that this batch and the
       next one have in common (two more gradients on those); the last pair of an epoch is of
       its own batch.
    4. Methods that compare no values (``gd``, ``adam``) evaluate each point once, on the
       batch that the next step is taken on: an epoch costs them one gradient a sample.
    5. Stopping tests, second-order check and escapes are off: they would be about one batch.
       The run ends after `epochs`, by `patience`, by a budget (``maxfun``, ``maxtime``, or
       ``maxiter`` steps in ``options``), or when an epoch has passed without a step.

    A network with weights of its own, such as a module of PyTorch, keeps those that it had:
    ``objective.load(res.x)`` puts the trained ones in.  Its buffers (running statistics of
    batch norm) advance with every accepted step; with `validation` they are at the end those
    of ``res.best_epoch``, so that the network loaded has ``res.validation_loss``.

    **Guarantee**: on all data the iterates are those of `minimize`, bit for bit; a run that
    is killed and resumed ends bit for bit where an uninterrupted one does, on a CPU
    (``tests/neural/test_fit.py``, ``tests/neural/test_fit_resume.py``); a pair is of one batch
    (``tests/neural/test_fit_batches.py``); data that have changed are refused, and buffers are
    those of the parameters returned (``tests/neural/test_fit_data.py``).

    References
    ----------
    Berahas, Nocedal and Takac (2016), A multi-batch L-BFGS method for machine learning,
    arXiv:1605.06049.
    Byrd, Chin, Neveitt and Nocedal (2011), On the use of stochastic Hessian information in
    optimization methods for machine learning, SIAM J. Optim. 21, 977-995,
    doi:10.1137/10079923X.

    Examples
    --------
    >>> from negopt.neural import MLP, MLPObjective, fit, load_ionosphere
    >>> data = load_ionosphere()
    >>> X, y = data.X, data.y
    >>> objective = MLPObjective(MLP([34, 8, 1]), X[:300], y[:300], loss="logistic", l2=1e-3)
    >>> kept = X[300:], y[300:]
    >>> res = fit(objective, method="lsr1-tr", epochs=3, batch_size=50, validation=kept)
    >>> res.nit, len(res.history["epochs"]["validation_loss"])
    (18, 3)
    """
    check_objective(objective)
    generator(rng)  # or a clear error, before anything is drawn
    whole = objective if data is None else over(objective, data, "data")
    start = as_vector(starting_point(whole, rng) if x0 is None else x0)
    on_batches = batch_size is not None or hessian_batch_size is not None
    row = method_of(method, start, whole, on_batches=on_batches)
    row, run = settings_of(row, options, epochs, rng, on_batches=on_batches)
    path, source = _fit_state.where(checkpoint, resume)
    feed = None
    if on_batches:
        feed = feed_of(whole, data, batch_size, hessian_batch_size, overlap, rng)
    elif overlap:
        raise ValueError(f"overlap={overlap!r} is a share of a batch: give batch_size= too.")
    measures = measures_of(whole, validation, metrics or {}, patience)
    if checkpoint_every is not None:
        check_integer("checkpoint_every", checkpoint_every)
        if path is None:
            raise ValueError(f"checkpoint_every={checkpoint_every!r}: give checkpoint= too.")
    settings = {
        "method": row.name,
        **row_settings(row),
        "batches": "all data" if feed is None else feed.plan.description,
        "parameters": f"{start.shape[0]} of {type_of(start)}",
        "validation": validation is not None,
        "metrics": list(metrics or {}),
    }
    if path is not None:
        settings["data"] = fingerprint(data_of(whole) if data is None else data)
        settings["validation"] = fingerprint(validation)
    kept = None if source is None else _fit_state.load(source, row, start, settings)
    words = words_of(path, on_batches=on_batches)
    solver, state = begin(whole, start, row, run, feed, kept, settings, epochs, words)
    training = Training(
        solver,
        whole,
        state,
        feed=feed,
        epochs=EPOCHS if epochs is None else epochs,
        patience=patience,
        measures=measures,
        watches=[],
        path=path,
        every=EVERY if feed is None and checkpoint_every is None else checkpoint_every,
    )
    if callback is not None:
        training.watches.append(Callback(callback))
    if not progress:
        training.run()
    else:
        with Bar(training) as bar:
            training.watches.append(bar)
            training.run()
    return result_of(training)

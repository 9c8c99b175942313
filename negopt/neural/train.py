"""`fit`: train a network, on all data at once or on mini-batches, with any method of the table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from negopt.core.arrays import Array, as_vector
from negopt.core.options import check_integer
from negopt.core.randomness import Seed, generator
from negopt.diagnostics.derivatives import ObjectiveLike
from negopt.methods import Method
from negopt.neural import _fit_setup as setup
from negopt.neural import _fit_state
from negopt.neural._fit import Training
from negopt.neural._fit_progress import Bar, Callback, Metrics
from negopt.neural._text import PathLike
from negopt.neural._trees import fingerprint, type_of

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

__all__ = ["fit"]

#: Epochs on batches that are run by default.
EPOCHS = 10
#: Epochs between two checkpoints where every step is on all data.
EVERY = 20


def fit(
    objective: ObjectiveLike,
    x0: Array | None = None,
    *,
    data: tuple[object, ...] | None = None,
    method: str | Callable[..., object] | Method | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    hessian_batch_size: int | None = None,
    overlap: float = 0.0,
    validation: tuple[object, ...] | None = None,
    metrics: Metrics | None = None,
    patience: int | None = None,
    rng: Seed = 0,
    progress: bool = False,
    callback: Callable[..., object] | None = None,
    checkpoint: PathLike | None = None,
    checkpoint_every: int | None = None,
    resume: PathLike | bool | None = None,
    options: Mapping[str, object] | None = None,
) -> OptimizeResult:
    """Train a network with any method of ``negopt.METHODS``.

    Parameters
    ----------
    objective : object
        Such as `MLPObjective`: ``fun(x)`` and ``grad(x)``, optionally ``fun_and_grad(x)`` and
        ``hessp(x) -> callable``, and, for batches and validation, ``on(inputs, targets)``,
        which returns the objective of the same network and loss over other data.  The loss is
        a mean over the samples.
    x0 : array_like, shape (n,), optional
        Starting point; by default that of the objective.
    data : tuple, optional
        ``(inputs, targets)`` to train on, arrays (or tuples, lists or mappings of arrays)
        whose first axis counts the samples; by default those of the objective.  Numbers and
        arrays without an axis (a random key of JAX) belong to every batch.  Inputs may be
        infinite (attention masks) but not nan.
    method : str, callable or Method, optional
        As in `minimize`; on batches None takes ``"lqn-tr"``.
    epochs : int, optional
        Passes over the data, in all, those before a resumed run included.  With `batch_size`
        10 by default; without, an epoch is one iteration and the default is that of ``maxiter``.
    batch_size : int, optional
        Samples of a batch.  None takes every step on all data.
    hessian_batch_size : int, optional
        Samples of each batch that Hessian products are formed on; by default all of them.
    overlap : float, default 0
        Share of a batch, in [0, 0.5], that it has in common with the next one (note 3).
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
        ``callback(intermediate_result)``, with the figures of the epoch too, or
        ``callback(xk)`` at the end of each epoch.  ``StopIteration`` ends the run.
    checkpoint : path-like, optional
        File that the run is saved in, so that it can be resumed after a crash.
    checkpoint_every : int, optional
        Steps between two checkpoints; by default an epoch, and without `batch_size` 20.
    resume : path-like or bool, optional
        A checkpoint to resume from.  True takes that of `checkpoint` if there is one; False
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
            One entry per step: the columns of `minimize` with ``record``, ``loss`` (the
            batch's before the step), ``epoch`` and ``passes`` (gradients per sample so far, a
            product counted as two); in ``history["epochs"]`` one entry per epoch: ``loss`` (mean
            over the batches), ``validation_loss``, each metric, ``grad_norm``, ``accepted``
            steps, ``nit``, ``nfev``, ``njev``, ``nhev``, ``passes`` and ``time`` in seconds.
        ``x_last``, ``best_epoch``, ``validation_loss``, ``passes``
            The last parameters; the epoch of ``x``, from 1, and its validation loss; the work.

    Raises
    ------
    ValueError
        For an argument out of range, data that do not fit, or a checkpoint that is damaged or
        of a run with other settings or other data.
    TypeError
        When the objective lacks a method that is needed, or data are of another array
        library than the objective's.

    Notes
    -----
    Without `batch_size` this is `minimize`.  With batches:

    1. Each epoch goes through the samples in a random order of its own; the last batch has
       what is left, and a single sample that is left is added to the batch before it.
    2. On each batch the solver takes one step: f and g at the present point, trials, line
       searches and the pair's y = g(x + s) - g(x) are evaluated on it.  Curvature memory,
       radius, damping and search length are kept from batch to batch.  Where a step is
       rejected, the next batch begins at the same point.
    3. With `overlap` y is the change of the gradient on the samples that this batch and the
       next one have in common (two more gradients on those); the last pair of an epoch is
       formed on its own batch.
    4. Methods that compare no values (``gd``, ``adam``) evaluate each point once, on the
       batch that the next step is taken on: an epoch costs them one gradient a sample.
    5. Stopping tests, second-order check and escapes, which would be about one batch, are off.
       The run ends after `epochs`, by `patience`, by a budget (``maxfun``, ``maxtime``, or
       ``maxiter`` steps in ``options``), or when an epoch has passed without a step.

    A PyTorch module keeps its own weights: ``objective.load(res.x)`` writes the trained ones
    into it.  Its buffers (running statistics of batch norm) advance with every accepted step;
    with `validation` they are at the end those of ``res.best_epoch``, so that the network
    loaded has ``res.validation_loss``.

    **Guarantee**: on all data the iterates are those of `minimize`, bit for bit; a run that
    is killed and resumed ends bit for bit where an uninterrupted one does, on a CPU
    (``tests/neural/test_fit.py``, ``tests/neural/test_fit_resume.py``); a pair is formed on one
    batch (``tests/neural/test_fit_batches.py``); data that have changed are refused, and buffers
    are those of the parameters returned (``tests/neural/test_fit_data.py``).

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
    setup.check_objective(objective)
    generator(rng)  # or a clear error, before anything is drawn
    whole = objective if data is None else setup.over(objective, data, "data")
    start = as_vector(setup.starting_point(whole, rng) if x0 is None else x0)
    on_batches = batch_size is not None or hessian_batch_size is not None
    row = setup.method_of(method, start, whole, on_batches=on_batches)
    row, run = setup.settings_of(row, options, epochs, rng, on_batches=on_batches)
    path, source = _fit_state.where(checkpoint, resume)
    feed = None
    if on_batches:
        feed = setup.feed_of(whole, data, batch_size, hessian_batch_size, overlap, rng)
    elif overlap:
        raise ValueError(f"overlap={overlap!r} is a share of a batch: give batch_size= too.")
    measures = setup.measures_of(whole, validation, metrics or {}, patience)
    if checkpoint_every is not None:
        check_integer("checkpoint_every", checkpoint_every)
        if path is None:
            raise ValueError(f"checkpoint_every={checkpoint_every!r}: give checkpoint= too.")
    settings: _fit_state.Settings = {
        "method": row.name,
        **{f"options[{name!r}]": value for name, value in row.described().items()},
        "batches": "all data" if feed is None else feed.plan.description,
        "parameters": f"{start.shape[0]} of {type_of(start)}",
        "validation": validation is not None,
        "metrics": list(metrics or {}),
    }
    if path is not None:
        settings["data"] = fingerprint(setup.data_of(whole) if data is None else data)
        settings["validation"] = fingerprint(validation)
    kept = None if source is None else _fit_state.load(source, row, start, settings)
    words = setup.words_of(path, on_batches=on_batches)
    solver, state = setup.begin(whole, start, row, run, feed, kept, settings, epochs, words)
    training = Training(
        solver,
        whole,
        state,
        feed,
        epochs=EPOCHS if epochs is None else epochs,
        patience=patience,
        measures=measures,
        path=path,
        every=EVERY if feed is None and checkpoint_every is None else checkpoint_every,
    )
    if callback is not None:
        training.watches.append(Callback(callback))
    with Bar(training) if progress else contextlib.nullcontext() as bar:
        if bar is not None:
            training.watches.append(bar)
        training.run()
    return setup.result_of(training)

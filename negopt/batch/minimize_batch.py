"""`minimize_batch`: many small problems of one form, each solved and checked by itself."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from negopt.batch.table import Table
from negopt.compiled import rows_for
from negopt.core.arrays import Array, as_vector, is_array, namespace_of
from negopt.core.given import host_numbers
from negopt.core.options import (
    Options,
    RunOptions,
    check_integer,
    collect,
    own_options,
    warn_unknown,
)
from negopt.core.types import Given, UserFunction
from negopt.entry.minimize import own_method, solve
from negopt.functions.objective import Objective
from negopt.methods import METHODS, Method, choose

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from negopt.compiled.rows import Rows, Worker

T = TypeVar("T")

#: Options that belong to one run.
_SINGLE = ("state", "disp", "record", "return_all", "hess_inv0", "workers")

#: Problems that a thread takes at a time.
BLOCK = 16


def minimize_batch(
    fun: Given,
    X0: Array,
    args: Sequence[Array] = (),
    method: str | UserFunction | Method | None = None,
    jac: Given = None,
    tol: float | None = None,
    options: Mapping[str, object] | None = None,
    workers: int | None = None,
    *,
    common: Sequence[object] = (),
) -> OptimizeResult:
    """Minimise k functions of one form, such as a fit for each pixel of an image.

    Problem i is ``minimize(fun, X0[i], (a[i], b[i], ..., *common))`` with ``args = (a, b,
    ...)``: solved by the same methods, checked in the same way, and by itself.  With `fun` (and
    `jac`) compiled by ``numba.njit`` the whole batch runs without Python.

    Parameters
    ----------
    fun : callable or object
        As in `minimize`: ``fun(x, *args)``, or an object with ``fun`` and ``grad``.
    X0 : array_like, shape (k, n)
        Starting points, one a row; never changed.
    args : sequence of arrays, shape (k, ...)
        Arguments that differ: their first axis counts the problems, and `fun` gets the
        entry of its problem, a number of a (k,) array and an (m,) array of a (k, m) one.
    method : str, callable or Method, optional
        One of negopt's.  None chooses as `minimize` does.
    jac : callable, True, {"2-point", "3-point", "cs"}, optional
        As in `minimize`.
    tol : float, optional
        Sets ``gtol``.
    options : dict, optional
        As in `minimize`; budgets are those of each problem.  ``state``, ``disp``,
        ``record`` and ``return_all`` belong to a single run and are refused.
    workers : int, optional
        Threads.  None takes all processors for a compiled objective, and one thread
        for any other: Python runs it one at a time, and it may not be fit for threads.
    common : sequence, optional
        Arguments that are the same for all, after those of `args`.

    Returns
    -------
    OptimizeResult
        Arrays with one entry per problem: ``x`` (k, n), ``fun`` (k,), ``jac`` (k, n), ``success``,
        ``status``, ``nit``, ``nfev``, ``njev``, ``nhev``, ``min_curvature``, ``curvature_status``;
        ``message`` is a sequence of k texts; ``method`` and ``jac_source`` are one for all.

    Raises
    ------
    ValueError
        Shapes that do not fit, an argument out of range, a method that is not negopt's.

    Notes
    -----
    A problem that fails, fails alone: an exception in its objective, or values that are not finite
    at its start, give it ``status`` -1 (`Status.FAILED`), with the exception in its
    ``message``, its start in ``x`` and nan in ``fun``.  A ``KeyboardInterrupt`` ends all.

    The result does not depend on `workers`.

    Examples
    --------
    >>> import numpy as np, negopt
    >>> def fun(x, target):
    ...     r = x - target
    ...     return r @ r, 2.0 * r
    >>> targets = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> res = negopt.minimize_batch(fun, np.zeros((3, 2)), (targets,), jac=True)
    >>> bool(res.success.all()), bool(np.allclose(res.x, targets))
    (True, True)
    """
    starts = _starts(X0)
    k, n = int(starts.shape[0]), int(starts.shape[1])
    each = _per_problem(args, k)
    if not isinstance(common, tuple):
        common = tuple(common) if isinstance(common, list) else (common,)
    if workers is not None:
        check_integer("workers", workers)
    own, run = _settings(fun, n, method, tol, own_options(options))
    table = Table(k, own.name)
    one = One(fun, jac, each, common, own, run, k)
    rows = None
    if k > 0:
        objective = Objective(fun, starts[0, :], (), jac)  # says what is wrong with fun or jac
        table.jac_source = objective.gradient_source
        rows = rows_for(own, RunOptions(**run), objective, starts, each, common)
    if rows is None:
        _in_python(range(k), starts, one, table, 1 if workers is None else workers)
    else:
        threads = processors() if workers is None else workers
        if rows.parallel:
            threads = 1  # it has threads of its own
        _in_kernel(rows, table, threads)
        # What is rare is solved again, as `minimize` solves it.
        unfinished = np.flatnonzero(table.status < 0)
        _in_python(unfinished.tolist(), starts, one, table, threads)
    return table.result(starts)


# --- what the caller gave ---------------------------------------------------------------


def _starts(X0: Array) -> Array:
    """Return a fresh floating-point copy of `X0`, shape (k, n)."""
    if not is_array(X0) or isinstance(X0, (np.ndarray, np.generic)):
        X0 = host_numbers(X0, "'X0' is")
    if X0.ndim != 2 or X0.shape[1] == 0:
        raise ValueError(
            f"'X0' must have shape (k, n), one starting point a row; got {tuple(X0.shape)}. "
            "For k problems of one variable reshape it to (-1, 1)."
        )
    shape = tuple(X0.shape)
    if shape[0] == 0:
        return np.zeros(shape)
    return namespace_of(X0).reshape(as_vector(namespace_of(X0).reshape(X0, (-1,))), shape)


def _per_problem(args: Sequence[Array], k: int) -> tuple[Array, ...]:
    """Return `args` as arrays whose first axis counts the problems."""
    if not isinstance(args, (tuple, list)):
        args = (args,)
    each = []
    for i, a in enumerate(args):
        array = a if is_array(a) else np.asarray(a)
        if array.ndim == 0 or array.shape[0] != k:
            raise ValueError(
                f"args[{i}] has shape {tuple(array.shape)}; its first axis must count the "
                f"{k} problems. What is the same for all goes to common=(...)."
            )
        each.append(array)
    return tuple(each)


def _settings(
    fun: Given, n: int, method: object, tol: float | None, options: Options
) -> tuple[Method, Options]:
    """Return the method with its options, and the options of a run; check both once."""
    row = own_method(method, False)
    if row is None:
        raise ValueError(
            f"method={method!r} is SciPy's; minimize_batch runs negopt's ({', '.join(METHODS)})."
        )
    for name in _SINGLE:
        value = options.get(name)
        if value is not None and value is not False:
            raise ValueError(
                f"options[{name!r}] belongs to a single run: call negopt.minimize for the problem "
                "in question."
            )
        options.pop(name, None)
    if tol is not None:
        options.setdefault("gtol", tol)
    if not isinstance(row, Method):
        row = METHODS[row or choose(n, has_products=hasattr(fun, "hessp"))]
    warn_unknown(
        options, row.option_names() | {f.name for f in dataclasses.fields(RunOptions)}, row.name
    )
    run = collect(RunOptions, options)
    RunOptions(**run)
    return row.with_options(options), run


class One:
    """Solves one problem of the batch by `negopt.minimize`'s own machinery."""

    def __init__(
        self,
        fun: Given,
        jac: Given,
        each: tuple[Array, ...],
        common: tuple[object, ...],
        method: Method,
        run: Options,
        k: int,
    ) -> None:
        self.fun, self.jac, self.each, self.common = fun, jac, each, common
        self.method, self.run = method, run
        rng = run.get("rng", 0)
        # A generator that all drew from would make the result depend on their order.
        self.rngs = rng.spawn(k) if isinstance(rng, np.random.Generator) else None

    def __call__(self, i: int, x: Array) -> OptimizeResult:
        """Solve problem i from x."""
        options = dict(self.run)
        if self.rngs is not None:
            options["rng"] = self.rngs[i]
        args = (*(a[i] for a in self.each), *self.common)
        return solve(self.fun, x, args, self.method, self.jac, None, None, None, None, options)


# --- running ------------------------------------------------------------------------------------


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_kernel(rows: Rows, table: Table, workers: int) -> None:
    """Solve all in compiled code, what is rare excepted; each thread takes what is next."""
    k = table.k
    threads = [rows.worker() for _ in range(min(workers, k))]
    blocks = Shared(range(0, k, BLOCK))

    def work(thread: Worker) -> None:
        for first in blocks:
            thread.solve(first, min(first + BLOCK, k))

    def halt() -> None:
        for thread in threads:
            thread.halt()

    together(work, threads, halt)
    table.adopt(rows)


def _in_python(which: Sequence[int], starts: Array, one: One, table: Table, workers: int) -> None:
    """Solve the problems `which` by the ordinary machinery."""
    stop = threading.Event()

    def work(indices: Iterator[int]) -> None:
        for i in indices:
            if stop.is_set():
                return
            try:
                res = one(i, starts[i, :])
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                table.fail(i, starts[i, :], error)
            except BaseException:
                stop.set()  # at once: the others need not wait until this thread is waited for
                raise
            else:
                table.write(i, res)

    if min(workers, len(which)) <= 1:
        work(iter(which))
        return
    shared = Shared(which)
    together(work, [iter(shared) for _ in range(min(workers, len(which)))], stop.set)


class Shared:
    """An iterable that several threads take from, a turn each."""

    def __init__(self, items: Sequence[int]) -> None:
        self._rest, self._lock = iter(items), threading.Lock()

    def __iter__(self) -> Iterator[int]:
        while True:
            with self._lock:
                item = next(self._rest, None)
            if item is None:
                return
            yield item


def together(work: Callable[[T], None], things: list[T], stop: Callable[[], None]) -> None:
    """Call `work` with each of `things`, a thread each; the first exception ends all."""
    with ThreadPoolExecutor(len(things)) as pool:
        futures = [pool.submit(work, thing) for thing in things]
        try:
            wait(futures, return_when="FIRST_EXCEPTION")
        finally:
            stop()  # at the end of all it changes nothing
        for future in futures:
            future.result()

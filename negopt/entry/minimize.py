"""`minimize`: validate, build the objective and the solver, loop, wrap the result."""

from __future__ import annotations

import dataclasses
import math
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from negopt.compiled import run_for
from negopt.core.arrays import Array, as_vector, eps_of, namespace_of
from negopt.core.options import (
    Options,
    RunOptions,
    as_options,
    check_tolerance,
    collect,
    own_options,
    user_level,
    warn_unknown,
)
from negopt.core.types import Given, NoSecondDerivatives, State, Status, UserFunction
from negopt.entry.box import bounds_nothing, told
from negopt.functions.catching import Catching
from negopt.functions.objective import Objective
from negopt.functions.workers import Workers
from negopt.methods import METHODS, Method, choose
from negopt.solver.loop import Solver
from negopt.solver.report import (
    FIELDS,
    HEADER,
    Heading,
    format_row,
    logger,
    logging_to_screen,
    record,
    row,
)
from negopt.solver.result import notifier, wrap
from negopt.solver.resume import adopt, look_again

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult


def minimize(
    fun: Given,
    x0: Array,
    args: tuple[object, ...] = (),
    method: str | UserFunction | Method | None = None,
    jac: Given = None,
    hess: Given = None,
    hessp: UserFunction | None = None,
    bounds: object = None,
    constraints: object = (),
    tol: float | None = None,
    callback: UserFunction | None = None,
    options: Mapping[str, object] | None = None,
) -> OptimizeResult:
    """Minimise a smooth function of one or more variables, and check that it is a minimum.

    A drop-in for `scipy.optimize.minimize`: same signature, same result class.

    Parameters
    ----------
    fun : callable or object
        ``fun(x, *args) -> float`` with x of shape (n,); or an objective object with
        ``fun(x)``, ``grad(x)`` and optionally ``fun_and_grad(x)`` and
        ``hessp(x) -> callable``, so that work is shared between them.
    x0 : array_like, shape (n,)
        Starting point, never changed.  Its library (NumPy, CuPy, torch ...), device
        and floating-point type are those of every array handed to `fun` and returned.
    args : tuple, optional
        Extra arguments of `fun`, `jac`, `hess` and `hessp`.
    method : str, callable or Method, optional
        One of negopt's (see ``negopt.METHODS``); any of SciPy's names or a callable
        goes to SciPy unchanged.  None takes ``"newton-krylov"`` when second
        derivatives are given, else ``"dqn-wolfe-pm"`` for n <= 300 and ``"lqn-tr"``
        above; with bounds or constraints it does what SciPy does.
    jac : callable, True, {"2-point", "3-point", "cs"}, optional
        Gradient ``jac(x, *args) -> (n,)``; True when `fun` returns ``(f, g)``.  None takes
        differences with steps that balance the noise of `fun` and its curvature, forward ones
        and, where these are exhausted, central ones; ``res.jac_source`` says which.  With the
        names of schemes, or the options `eps` and `finite_diff_rel_step`, the steps are SciPy's.
    hess : callable or HessianUpdateStrategy, optional
        ``hess(x, *args)`` -> array, sparse matrix or LinearOperator of shape (n, n).
    hessp : callable, optional
        ``hessp(x, p, *args) -> (n,)``.  With neither, gradient differences are used
        where a method or the second-order check needs products.
    bounds, constraints : optional
        Only with SciPy's methods; infinite bounds are none.
    tol : float, optional
        Sets ``gtol``, the bound on the gradient norm.
    callback : callable, optional
        ``callback(intermediate_result)`` or ``callback(xk)``, by SciPy's rule (the name of
        the parameter).  Raise ``StopIteration`` to stop; the best point is returned.
    options : dict, optional
        `negopt.show_options` lists them.  Common to all methods: ``gtol``, ``maxiter``,
        ``maxfun``, ``maxtime``, ``ftarget``, ``certify``, ``state``, ``record``, ``disp``.

    Returns
    -------
    OptimizeResult
        SciPy's class, with ``x``, ``fun``, ``jac`` of one and the same point, ``success``,
        ``status`` (`negopt.Status`), ``message``, ``nit``, ``nfev``, ``njev``, ``nhev``;
        further ``min_curvature`` and ``curvature_status`` of the second-order check,
        ``state`` to go on from, ``hess`` and ``hess_inv`` (what the run knows of the Hessian
        at x, as linear operators), ``method``, and counts of escapes, rejected and non-finite
        trials and negative steps.

    Raises
    ------
    ValueError
        f or g not finite at x0; an argument out of range; bounds or constraints with a
        method of negopt.
    TypeError
        Arrays of two libraries.

    Warns
    -----
    OptimizeWarning
        For an unknown option, with the nearest names.
    RuntimeWarning
        For derivatives that the method does not use.

    Notes
    -----
    **Guarantee**: ``success=True`` with ``curvature_status="positive"`` is never reported
    where the check found negative curvature (``tests/guarantees/test_saddle_escape.py``);
    the point returned is the one that was checked, and else the lowest finite one seen,
    whatever ended the run (``tests/test_minimize.py``), and the message has its figures
    (``tests/test_nothing_lost.py``).

    References
    ----------
    Nocedal and Wright (2006), Numerical Optimization, doi:10.1007/978-0-387-40065-5.

    Examples
    --------
    >>> import negopt
    >>> f = lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2
    >>> g = lambda x: [x[0] ** 3 - x[0], x[1]]
    >>> res = negopt.minimize(f, [0.0, 1.0], jac=g)  # starts on the saddle's stable manifold
    >>> res.success, res.curvature_status, round(float(res.fun), 6)
    (True, 'positive', -0.25)
    """
    options = as_options(options)
    constrained = not bounds_nothing(bounds) or has_constraints(constraints)
    row_ = own_method(method, constrained)
    if row_ is None:
        # N.B. not `scipy.optimize.minimize`: whoever puts this function there, as a drop-in,
        # would make it call itself.
        from scipy.optimize._minimize import minimize as scipy_minimize

        result = scipy_minimize(
            fun, x0, args, method, jac, hess, hessp, bounds, constraints, tol, callback, options
        )
        if method is None:
            told(result, "SLSQP" if has_constraints(constraints) else "L-BFGS-B")
        return result
    if constrained:
        raise ValueError(
            f"method {row_ if isinstance(row_, str) else row_.name!r} is unconstrained and cannot "
            "use bounds or constraints; take one of SciPy's methods ('L-BFGS-B', 'trust-constr', "
            "'SLSQP'), or substitute variables (softplus for x > 0, sigmoid for an interval)."
        )
    return solve(fun, x0, args, row_, jac, hess, hessp, tol, callback, options)


def has_constraints(constraints: object) -> bool:
    """Tell whether there is any: SciPy takes one object, a dict, or a sequence of them."""
    empty = isinstance(constraints, (list, tuple)) and len(constraints) == 0
    return constraints is not None and not empty


def own_method(method: object, constrained: bool) -> str | Method | None:
    """Return the own method that is meant ("" for the default), or None for SciPy's."""
    if method is None:
        return None if constrained else ""
    if isinstance(method, Method):
        return method
    if hasattr(method, "negopt_method"):
        return str(method.negopt_method)
    if isinstance(method, str) and method.lower().replace("_", "-") in METHODS:
        return method.lower().replace("_", "-")
    if callable(method) or (isinstance(method, str) and method.lower() in _SCIPY_METHODS):
        return None
    import difflib

    known = [*METHODS, *_SCIPY_METHODS]
    near = difflib.get_close_matches(str(method).lower(), known, n=3)
    hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
    raise ValueError(
        f"Unknown solver {method!r}.{hint} negopt's are {', '.join(METHODS)}; "
        "SciPy's names are passed on."
    )


# fmt: off
_SCIPY_METHODS = (
    "nelder-mead", "powell", "cg", "bfgs", "newton-cg", "l-bfgs-b", "tnc", "cobyla", "cobyqa",
    "slsqp", "trust-constr", "dogleg", "trust-ncg", "trust-exact", "trust-krylov",
)
# fmt: on


def solve(
    fun: Given,
    x0: Array,
    args: object,
    method: str | Method,
    jac: Given,
    hess: Given,
    hessp: UserFunction | None,
    tol: float | None,
    callback: UserFunction | None,
    options: Options,
) -> OptimizeResult:
    """Run one of negopt's methods."""
    from negopt.solver.hessian import (
        attach,  # SciPy's sparse operators are not needed to import this
    )

    start, options = as_vector(x0), own_options(options)
    if not isinstance(args, tuple):
        args = (args,)
    if tol is not None:
        check_tolerance("tol", tol)
        options.setdefault("gtol", tol)
    given = hess is not None or hessp is not None or hasattr(fun, "hessp")
    n, chosen = int(start.shape[0]), not method
    if not isinstance(method, Method):
        dense = options.get("hess_inv0") is not None
        method = METHODS[method or choose(n, has_products=given, dense=dense)]
    method, run = _settle(method, options)
    if method.needs == "jac" and (hess is not None or hessp is not None) and not run.certify:
        text = "does not use Hessian information (hess, hessp); with certify=True the check would."
        warnings.warn(f"Method {method.name} {text}", RuntimeWarning, stacklevel=user_level())
    if hess is not None and hessp is not None:
        hess = None  # products are what is needed
    if run.catch:
        fun, jac, hess, hessp = Catching(run.catch).around(fun, jac, hess, hessp)
    workers = Workers(run.workers)
    objective = Objective(
        fun,
        start,
        args,
        jac,
        hess,
        hessp,
        maxfun=math.inf if run.maxfun is None else float(run.maxfun),
        maxtime=math.inf if run.maxtime is None else float(run.maxtime),
        relative_step=run.finite_diff_rel_step,
        absolute_step=run.eps,
        products_required=method.needs == "hessp",
        workers=workers if workers.apart else None,
    )
    del start  # the objective's until the run has moved: a name here would keep it
    solver = Solver(method, objective, run)
    with workers, logging_to_screen(bool(run.disp)):
        if run.state is None:
            state = solver.init()
        else:
            if hasattr(hess, "initialize"):
                raise ValueError(
                    "options['state'] cannot go on with a HessianUpdateStrategy as hess: its "
                    "matrix is not part of the state. Use hessp, or a limited-memory method."
                )
            rules = method.curvature, method.globalize
            state = adopt(run.state, method.name, objective.x0, rules)
            eps = eps_of(run.state.iterate.x)
            look_again(state, objective, method.globalize, run.norm, eps)
            solver.resume(state)
        try:
            allvecs = _loop(solver, state, callback)
        except NoSecondDerivatives:
            if not chosen or state.k > 0 or run.state is not None:
                raise
            method, run = _settle(METHODS[choose(n, has_products=False)], options)
            solver = Solver(method, objective, run)
            allvecs = _loop(solver, state := solver.init(state.iterate), callback)
    point = solver.finish(state)
    result = wrap(state, point, objective)
    attach(result, method, state, point, objective)
    if allvecs is not None:
        result.allvecs = allvecs
    if run.disp and not result.success:
        from scipy.optimize import OptimizeWarning

        warnings.warn(result.message, OptimizeWarning, stacklevel=user_level())
    return result


#: Types of options that say all there is to say about them.
_PLAIN = frozenset((bool, int, float, str, type(None)))


def _settle(method: Method, options: Options) -> tuple[Method, RunOptions]:
    """Hand each option to whom it belongs.

    The same plain options of a method of the table are read once: this is a third of what
    a call costs besides its iterations.
    """
    if METHODS.get(method.name) is not method or not _PLAIN.issuperset(map(type, options.values())):
        return _read(method, options)
    # N.B. True, 1 and 1.0 are equal, and not the same.
    key = method.name, tuple((name, type(value), value) for name, value in options.items())
    found = _SETTLED.get(key)
    if found is not None and found[0] is method:
        return found[1]
    settled = _read(method, options)
    if options.keys() <= _known(method):  # else there is a warning to be given each time
        if len(_SETTLED) >= 256:
            _SETTLED.clear()
        _SETTLED[key] = method, settled
    return settled


_SETTLED: dict[object, tuple[Method, tuple[Method, RunOptions]]] = {}


def _known(method: Method) -> set[str]:
    return method.option_names() | {f.name for f in dataclasses.fields(RunOptions)}


def _read(method: Method, options: Options) -> tuple[Method, RunOptions]:
    if options.get("hess_inv0") is None:
        options.pop("hess_inv0", None)
    elif "hess_inv0" not in _known(method):
        having = [name for name, row in METHODS.items() if "hess_inv0" in row.option_names()]
        raise ValueError(
            f"options['hess_inv0']: {method.name!r} keeps no dense inverse Hessian to begin with; "
            f"take {', '.join(map(repr, having))}, or leave it out."
        )
    warn_unknown(options, _known(method), method.name)
    return method.with_options(options), RunOptions(**collect(RunOptions, options))


def _loop(solver: Solver, state: State, callback: UserFunction | None) -> list[Array] | None:
    """Step until a status is set; report each iteration."""
    run = solver.run
    notify = notifier(callback)
    loop = run_for(solver, state) if state.status is None else None
    xp = namespace_of(state.iterate.x)
    allvecs = [xp.asarray(state.iterate.x, copy=True)] if run.return_all else None
    recording = run.record or state.history is not None  # a resumed record goes on
    watched = notify is not None or recording or run.disp or run.return_all
    if recording and state.history is None:
        state.history = {name: [] for name in FIELDS}
        record(state.history, row(state, None, math.nan))
    if run.disp:
        logger.info("negopt %s, n = %d\n%s", solver.method.name, solver.objective.n, HEADER)
        logger.info(format_row(row(state, None, math.nan)))
    while state.status is None:
        before = state.k
        heading = Heading(state) if recording else None
        if loop is None:
            solver.step(state)
        else:
            loop.step(state, 1 if watched else sys.maxsize)
        if state.k == before:  # a budget ended the run before the iteration was complete
            break
        if run.disp or recording:
            cosine = heading.cosine(state, solver.outcome) if heading else math.nan
            figures = row(state, solver.outcome, solver.step_norm, cosine)
            if run.disp:
                logger.info(format_row(figures))
            if state.history is not None:
                record(state.history, figures)
        if allvecs is not None:
            allvecs.append(xp.asarray(state.iterate.x, copy=True))
        if notify is not None:
            try:
                notify(state, solver.outcome, solver.step_norm)
            except StopIteration:
                state.status = Status.CALLBACK
                state.message = "`callback` raised `StopIteration`."
            except KeyboardInterrupt:
                state.status = Status.INTERRUPTED
                state.message = (
                    "Interrupted in the callback; this is the best point so far. Go on from here "
                    "with options={'state': res.state}."
                )
    if loop is not None:
        loop.finish(state)
    if run.disp:
        logger.info("%s", state.message)
    return allvecs

"""Find out before a run whether an objective gives the same answer twice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from negopt._array import (
    Array,
    as_vector,
    convert_like,
    eps_of,
    from_host,
    namespace_of,
    norm,
    scalars,
)

__all__ = ["check_deterministic"]

#: Relative differences below this many rounding errors are what a sum in another order leaves.
ROUNDINGS = 100.0
#: Above this many the order of sums is no explanation any more.
REORDERED = 1e5
#: Above this relative difference it is not the only one, however coarse the type.
CHANGED = 1e-4


def check_deterministic(
    objective: Any, x: Any, *, rtol: float | None = None, products: bool = True
) -> None:
    """Evaluate f, g and one Hessian product twice at a point; raise when they differ.

    A search compares values at different points: an objective that changes by itself
    makes every comparison meaningless, and the run ends without a reason that could be
    seen.  This tells before the run.

    Parameters
    ----------
    objective : object
        With ``fun_and_grad(x) -> (f, g)`` (or ``fun`` and ``grad``) and optionally
        ``hessp(x) -> (p -> H p)``.
    x : array, shape (n,)
        The point, usually the start; not changed.
    rtol : float, optional
        Largest relative difference that is let pass, of norms for g and for the product.
        By default 100 rounding errors of the type of `x` (2e-14 for float64, 1e-5 for
        float32), which sums in varying order stay below; 0 asks for equality bit for bit.
    products : bool, default True
        False leaves the Hessian product out, for a method that takes none.

    Raises
    ------
    ValueError
        When one of the three differs: which, by how much, the likely cause and the fix.

    Notes
    -----
    Between the two evaluations there is one at another point close by, so that neither a
    cache nor a state that moves with every evaluation (running statistics) hides anything:
    f and g are evaluated three times, and three products are formed.  Values that are not
    finite both times count as equal: they are another fault, which a run reports.

    **Guarantee** (``tests/neural/test_determinism.py``): noise in any one of the three is
    found and named, in objectives that cache too, and a pure objective passes.

    Examples
    --------
    >>> import numpy as np
    >>> from negopt.neural import MLP, MLPObjective, check_deterministic
    >>> objective = MLPObjective(MLP([2, 3, 1]), np.eye(2), [0.0, 1.0])
    >>> check_deterministic(objective, objective.x0(rng=0))
    """
    x = as_vector(x)
    eps = eps_of(x)
    allowed = ROUNDINGS * eps if rtol is None else float(rtol)
    if not allowed >= 0.0:
        raise ValueError(f"rtol={rtol!r}: must be a number of at least 0, or None.")
    xp = namespace_of(x)
    # N.B. far enough for a cache by content to see another point, close enough to be no harm.
    elsewhere = x + 1e-3 * (1.0 + xp.abs(x))

    (f, g), (f2, g2) = _twice(lambda at: _value_and_gradient(objective, at), x, elsewhere)
    _compare("the value f", _apart(f, f2), allowed, eps)
    _compare("the gradient g", _distance(g, g2), allowed, eps)
    if products and hasattr(objective, "hessp"):
        v = from_host(np.random.default_rng(0).standard_normal(int(x.shape[0])), x)

        def product(at: Array) -> Array:
            return convert_like(objective.hessp(at)(xp.asarray(v, copy=True)), x, "hessp")

        first, second = _twice(product, x, elsewhere)
        _compare("the Hessian product H v", _distance(first, second), allowed, eps)


def _twice(evaluate: Callable[[Array], Any], x: Array, elsewhere: Array) -> tuple[Any, Any]:
    copy = namespace_of(x).asarray
    first = evaluate(copy(x, copy=True))
    evaluate(copy(elsewhere, copy=True))
    return first, evaluate(copy(x, copy=True))


def _value_and_gradient(objective: Any, x: Array) -> tuple[Any, Array]:
    if hasattr(objective, "fun_and_grad"):
        f, g = objective.fun_and_grad(x)
    else:
        f, g = objective.fun(x), objective.grad(x)
    # Copies, in case the objective hands out one buffer again and again.
    return scalars(f)[0], convert_like(g, x, "grad")


def _distance(first: Array, second: Array) -> float:
    """Return the distance of two vectors relative to the longer one."""
    xp = namespace_of(first, second)
    same = (first == second) | (xp.isnan(first) & xp.isnan(second))
    if bool(xp.all(same)):
        return 0.0
    return _relative(norm(first - second), norm(first), norm(second))


def _apart(first: float, second: float) -> float:
    """Return the distance of two numbers relative to the larger one."""
    if first == second or (math.isnan(first) and math.isnan(second)):
        return 0.0
    return _relative(abs(first - second), abs(first), abs(second))


def _relative(distance: float, *sizes: float) -> float:
    return distance / max(sizes) if all(map(math.isfinite, sizes)) else math.inf


def _compare(what: str, difference: float, allowed: float, eps: float) -> None:
    if difference > allowed:
        _differs(what, difference, allowed, eps)


def _differs(what: str, difference: float, allowed: float, eps: float) -> NoReturn:
    causes = []
    if difference <= REORDERED * eps:
        causes.append(
            "kernels that sum in varying order: ask for deterministic ones "
            "(torch.use_deterministic_algorithms(True); XLA's flag "
            "--xla_gpu_deterministic_ops=true), use float64, or pass a larger rtol if the run may "
            "live with it."
        )
    if difference > min(REORDERED * eps, CHANGED):
        causes.append(
            "dropout without a fixed mask (negopt.neural.torch keeps one; elsewhere switch to "
            "evaluation mode or fix the key), batch norm or other running statistics that advance "
            "with every evaluation (evaluation mode, or an objective that freezes them), or data "
            "drawn or augmented anew each time (draw the batch once and pass it with "
            "on(inputs, targets))."
        )
    raise ValueError(
        f"{what} differs between two evaluations at the same point, by {difference:.2g} relative "
        f"(allowed {allowed:.2g}): the objective is not deterministic. Likely causes: "
        f"{' Or '.join(causes)}"
    )

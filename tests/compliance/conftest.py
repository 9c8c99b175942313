"""The contract's instruments: small problems on any array library, and a spy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import negopt
from negopt.core.arrays import namespace_of


@dataclasses.dataclass(frozen=True)
class Problem:
    """A smooth function with its derivatives, written on array namespaces."""

    name: str
    fun: Callable[[Any], Any]
    grad: Callable[[Any], Any]
    hessp: Callable[[Any, Any], Any]
    x0: tuple[float, ...]
    fmin: float

    def hess(self, x: Any) -> np.ndarray:
        """Return the dense Hessian (NumPy only)."""
        return np.stack([self.hessp(x, e) for e in np.eye(len(x), dtype=x.dtype)])


def _rosenbrock(x: Any) -> Any:
    a, b = x[1:] - x[:-1] * x[:-1], 1.0 - x[:-1]
    return namespace_of(x).sum(100.0 * a * a + b * b)


def _rosenbrock_grad(x: Any) -> Any:
    a, b = x[1:] - x[:-1] * x[:-1], 1.0 - x[:-1]
    g = namespace_of(x).zeros_like(x)
    g[:-1] += -400.0 * a * x[:-1] - 2.0 * b
    g[1:] += 200.0 * a
    return g


def _rosenbrock_hessp(x: Any, p: Any) -> Any:
    a = x[1:] - x[:-1] * x[:-1]
    da = p[1:] - 2.0 * x[:-1] * p[:-1]
    h = namespace_of(x).zeros_like(x)
    h[:-1] += -400.0 * (a * p[:-1] + da * x[:-1]) + 2.0 * p[:-1]
    h[1:] += 200.0 * da
    return h


def _weights(x: Any) -> Any:
    xp = namespace_of(x)
    from negopt.core.arrays import device_of

    return xp.arange(1, x.shape[0] + 1, dtype=x.dtype, device=device_of(x))


def _first(x: Any, inside: Any, outside: Any) -> Any:
    out = namespace_of(x).asarray(outside, copy=True)
    out[:1] = inside
    return out


PROBLEMS = {
    p.name: p
    for p in (
        Problem("rosenbrock", _rosenbrock, _rosenbrock_grad, _rosenbrock_hessp, (-1.2, 1.0), 0.0),
        Problem(
            "rosenbrock-6",
            _rosenbrock,
            _rosenbrock_grad,
            _rosenbrock_hessp,
            (0.5, -0.3, 0.2, 1.5, -0.4, 0.9),
            0.0,
        ),
        # condition number 20, minimum value far from zero
        Problem(
            "quadratic",
            lambda x: namespace_of(x).sum(0.5 * _weights(x) * x * x - x) + 3.0,
            lambda x: _weights(x) * x - 1.0,
            lambda x, p: _weights(x) * p,
            (2.0,) * 20,
            3.0 - 0.5 * sum(1.0 / i for i in range(1, 21)),
        ),
        # x^4/4 - x^2/2 + |y|^2/2 from its saddle's stable manifold
        Problem(
            "saddle",
            lambda x: namespace_of(x).sum(0.5 * x * x) + 0.25 * x[0] ** 4 - x[0] ** 2,
            lambda x: _first(x, x[:1] ** 3 - x[:1], x),
            lambda x, p: _first(x, (3.0 * x[:1] ** 2 - 1.0) * p[:1], p),
            (0.0, 1.0, -1.0),
            -0.25,
        ),
        # every entry in a well of its own, coupled weakly: indefinite at the start
        Problem(
            "wells",
            lambda x: namespace_of(x).sum(0.25 * (x * x - 1.0) ** 2) + 0.1 * x[0] * x[1],
            lambda x: x * (x * x - 1.0) + 0.1 * _swap(x),
            lambda x, p: (3.0 * x * x - 1.0) * p + 0.1 * _swap(p),
            (0.1, -0.2),
            -0.105,
        ),
    )
}


def _swap(x: Any) -> Any:
    return namespace_of(x).flip(x)


class Spy:
    """Records every call of a problem's functions.

    Attributes
    ----------
    values, gradients : list of bytes
        The points given to `fun` and `jac`.
    products : list of (bytes, bytes)
        The pairs given to `hessp`.
    matrices : list of bytes
        The points given to `hess`.
    dtypes : set
        Types of all arrays that were handed out.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.values: list[bytes] = []
        self.gradients: list[bytes] = []
        self.products: list[tuple[bytes, bytes]] = []
        self.matrices: list[bytes] = []
        self.dtypes: set[Any] = set()

    def _see(self, x: Any) -> bytes:
        self.dtypes.add(x.dtype)
        return x.tobytes()

    def fun(self, x: Any) -> Any:
        self.values.append(self._see(x))
        return self.problem.fun(x)

    def jac(self, x: Any) -> Any:
        self.gradients.append(self._see(x))
        return self.problem.grad(x)

    def both(self, x: Any) -> Any:
        self.values.append(self._see(x))
        self.gradients.append(self._see(x))
        return self.problem.fun(x), self.problem.grad(x)

    def hessp(self, x: Any, p: Any) -> Any:
        self.products.append((self._see(x), self._see(p)))
        return self.problem.hessp(x, p)

    def hess(self, x: Any) -> Any:
        self.matrices.append(self._see(x))
        return self.problem.hess(x)


class SharedObjective:
    """The same as an object that shares work between value, gradient and products."""

    def __init__(self, spy: Spy) -> None:
        self.spy = spy

    def fun(self, x: Any) -> Any:
        return self.spy.fun(x)

    def grad(self, x: Any) -> Any:
        return self.spy.jac(x)

    def fun_and_grad(self, x: Any) -> Any:
        return self.spy.both(x)

    def hessp(self, x: Any) -> Callable[[Any], Any]:
        self.spy.matrices.append(x.tobytes())
        return lambda p: self.spy.hessp(x, p)


#: The rows that stand for all where a fact is one of the shell: of `minimize`, the objective's
#: counters and budgets, the solver's loop, the result, the checkpoint.  The shell sees a method
#: through its three parts only, so one of each kind is enough: a trust region on a
#: limited-memory model, a line search on a dense one, products, and a rule without either.
SHELL = ("lqn-tr", "dqn-wolfe-pm", "newton-krylov", "gd")
#: In place of the baseline where a run must converge: an adaptive damping.
CONVERGENT_SHELL = (*SHELL[:3], "sfn-series")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `method` every row of the table, or those that a marker leaves.

    A baseline need not converge with its default options: the marker ``converges`` leaves
    it out of a test that is about convergence, or must see a whole run.  The marker
    ``shell`` says that the fact does not depend on the method's parts; its rows are `SHELL`.
    """
    if "method" not in metafunc.fixturenames:
        return
    promised = metafunc.definition.get_closest_marker("converges") is not None
    if metafunc.definition.get_closest_marker("shell") is not None:
        rows = CONVERGENT_SHELL if promised else SHELL
    else:
        rows = [name for name, row in negopt.METHODS.items() if not (promised and row.baseline)]
    metafunc.parametrize("method", rows)


@pytest.fixture
def ended() -> Callable[[Any], bool]:
    """Return the test that a run has ended as its row promises.

    It has converged; a baseline may have used up its iterations.
    """
    return lambda res: (
        res.success or (negopt.METHODS[res.method].baseline and res.status == negopt.Status.LIMIT)
    )


@pytest.fixture
def brief(method: str) -> dict[str, Any]:
    """Options for a test that looks at a run of any length: a baseline's is cut short."""
    return {"maxiter": 40} if negopt.METHODS[method].baseline else {}


@pytest.fixture(params=list(PROBLEMS))
def problem(request: pytest.FixtureRequest) -> Problem:
    """Every small problem."""
    return PROBLEMS[request.param]


@pytest.fixture
def rosenbrock() -> Problem:
    """Two variables, from the customary start."""
    return PROBLEMS["rosenbrock"]


@pytest.fixture
def quadratic() -> Problem:
    """Twenty variables, eigenvalues 1 to 20."""
    return PROBLEMS["quadratic"]


@pytest.fixture
def saddle() -> Problem:
    """Starts on a saddle's stable manifold."""
    return PROBLEMS["saddle"]


@pytest.fixture
def spy() -> Callable[[Problem], Spy]:
    """Return the recorder's class."""
    return Spy


@pytest.fixture
def shared_objective() -> type[SharedObjective]:
    """Return the class of objective objects."""
    return SharedObjective

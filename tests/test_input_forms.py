"""What a caller's functions may return, and what they may not: every form that SciPy takes."""

from __future__ import annotations

import decimal
import fractions
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from hypothesis import given
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import negopt

#: ``numpy.matrix`` itself warns.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

X0 = [2.0, -1.0, 0.5]
TARGET = np.array([1.0, 2.0, 3.0])
SCALE = np.array([1.0, 4.0, 9.0])
H = np.diag(SCALE) + 0.25


def fun(x):
    d = np.asarray(x) - TARGET
    return float(0.5 * d @ H @ d)


def jac(x):
    return H @ (np.asarray(x) - TARGET)


class Table:
    """A table by its protocol: what pandas' Series and DataFrame have in common."""

    def __init__(self, values) -> None:
        self._values = np.asarray(values)

    @property
    def shape(self):
        return self._values.shape

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype=dtype)

    def __getitem__(self, key):
        raise KeyError(key)  # its columns have names

    def __bool__(self) -> bool:
        raise ValueError("the truth value of a table is ambiguous")

    def __float__(self) -> float:
        raise TypeError("not a float")


def frame(values):
    return pytest.importorskip("pandas").DataFrame(np.atleast_2d(values))


def series(values):
    return pytest.importorskip("pandas").Series(np.atleast_1d(values))


#: Ways to give one number.
NUMBERS = {
    "float": float,
    "float64": np.float64,
    "float32": np.float32,
    "longdouble": np.longdouble,
    "0-d": np.array,
    "one entry": lambda v: np.array([v]),
    "1 x 1": lambda v: np.array([[v]]),
    "matrix": lambda v: np.matrix([[v]]),
    "list": lambda v: [v],
    "tuple": lambda v: (v,),
    "nested": lambda v: [[v]],
    "object": lambda v: np.array(v, dtype=object),
    "objects": lambda v: np.array([[v]], dtype=object),
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "masked": lambda v: np.ma.masked_array([v], mask=[False]),
    "table": lambda v: Table([[v]]),
    "DataFrame": frame,
    "Series": series,
}

#: Ways to give a vector.
VECTORS = {
    "array": np.asarray,
    "list": list,
    "tuple": tuple,
    "list of arrays": lambda v: [np.array([a]) for a in v],
    "column": lambda v: v[:, None],
    "row": lambda v: v[None, :],
    "matrix": np.matrix,
    "matrix column": lambda v: np.matrix(v).T,
    "float32": lambda v: v.astype(np.float32),
    "objects": lambda v: v.astype(object),
    "Decimals": lambda v: [decimal.Decimal(a) for a in v.tolist()],
    "big-endian": lambda v: v.astype(">f8"),
    "read-only": lambda v: np.frombuffer(v.tobytes()),
    "strided": lambda v: np.repeat(v, 2)[::2],
    "masked": lambda v: np.ma.masked_array(v, mask=False),
    "table": Table,
    "Series": series,
    "DataFrame": lambda v: frame(v).T,
}


def solved(res) -> None:
    assert res.success, res.message
    np.testing.assert_allclose(res.x, TARGET, atol=1e-3)
    assert type(res.x) is np.ndarray
    assert type(res.fun) is float


@pytest.mark.parametrize("form", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("given_by", ["fun", "pair", "list", "triple", "object", "differences"])
def test_every_form_of_a_value(form, given_by) -> None:
    rough = form is np.float32 and given_by == "differences"
    if given_by == "pair":
        res = negopt.minimize(lambda x: (form(fun(x)), jac(x)), X0, jac=True)
    elif given_by == "list":
        res = negopt.minimize(lambda x: [form(fun(x)), jac(x)], X0, jac=True)
    elif given_by == "triple":  # as in SciPy what follows is not looked at
        res = negopt.minimize(lambda x: (form(fun(x)), jac(x), "more"), X0, jac=True)
    elif given_by == "differences":
        res = negopt.minimize(lambda x: form(fun(x)), X0, options={"eps": 1e-3 if rough else None})
    elif given_by == "fun":
        res = negopt.minimize(lambda x: form(fun(x)), X0, jac=jac)
    else:

        class Mine:
            def fun(self, x):
                return form(fun(x))

            grad = staticmethod(jac)

        res = negopt.minimize(Mine(), X0)
    if rough:  # a function of seven digits
        assert res.fun < 1e-3
    else:
        solved(res)


@pytest.mark.parametrize("form", VECTORS.values(), ids=VECTORS)
@pytest.mark.parametrize("place", ["jac", "pair", "hessp", "x0"])
def test_every_form_of_a_vector(form, place) -> None:
    if place == "jac":
        res = negopt.minimize(fun, X0, jac=lambda x: form(jac(x)))
    elif place == "pair":
        res = negopt.minimize(lambda x: (fun(x), form(jac(x))), X0, jac=True)
    elif place == "hessp":
        res = negopt.minimize(fun, X0, jac=jac, hessp=lambda x, p: form(H @ p))
    else:
        start = form(np.array(X0))
        if np.ndim(start) > 1 or (isinstance(start, list) and np.ndim(start[0])):
            with pytest.raises(ValueError, match="'x0' must only have one dimension"):
                negopt.minimize(fun, start, jac=jac)
            return
        before = np.array(start, copy=True)
        res = negopt.minimize(fun, start, jac=jac)
        np.testing.assert_array_equal(np.asarray(start), before)
    solved(res)


@pytest.mark.parametrize(
    "form",
    {
        "array": np.asarray,
        "list": lambda h: h.tolist(),
        "matrix": np.matrix,
        "objects": lambda h: h.astype(object),
        "float32": lambda h: h.astype(np.float32),
        "integers": lambda h: (4 * h).astype(int) / 4,
        "sparse array": scipy.sparse.csr_array,
        "sparse matrix": scipy.sparse.coo_matrix,
        "diagonal": lambda h: scipy.sparse.dia_array(h),
        "operator": aslinearoperator,
        "own operator": lambda h: LinearOperator(h.shape, matvec=lambda v: h @ v),
        "table": Table,
        "DataFrame": frame,
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("method", ["newton-krylov", "sfn-exact", "dqn-wolfe-pm"])
def test_every_form_of_a_hessian(form, method) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        res = negopt.minimize(fun, X0, jac=jac, hess=lambda x: form[1](H), method=method)
    solved(res)
    assert res.hess_source == "hess"


def test_the_hessian_of_one_variable_may_be_a_number() -> None:
    for form in (float, np.array, lambda v: [v], lambda v: [[v]], lambda v: np.array([v])):
        res = negopt.minimize(
            lambda x: float((x[0] - 3.0) ** 2),
            1,
            jac=lambda x: 2.0 * (x - 3.0),
            hess=lambda x, form=form: form(2.0),
        )
        assert res.success
        assert res.x == pytest.approx([3.0])


@pytest.mark.parametrize(
    "x0",
    [4, 4.0, np.float32(4), np.array(4), [4], (4,), range(4, 5), np.array([True]), "table"],
    ids=repr,
)
def test_every_form_of_a_start(x0) -> None:
    start = Table([4]) if isinstance(x0, str) else x0
    res = negopt.minimize(lambda x: float((x[0] - 3.0) ** 2), start, jac=lambda x: 2.0 * (x - 3.0))
    assert res.success
    assert res.x == pytest.approx([3.0], abs=1e-3)
    assert res.x.shape == (1,)


@pytest.mark.parametrize("strategy", [scipy.optimize.BFGS, scipy.optimize.SR1])
def test_a_strategy_is_an_object_not_its_class(strategy) -> None:
    solved(negopt.minimize(fun, X0, jac=jac, hess=strategy(), method="newton-krylov"))
    with pytest.raises(TypeError, match=rf"hess={strategy.__name__} is a class; give an object"):
        negopt.minimize(fun, X0, jac=jac, hess=strategy)


def test_a_value_of_numpy_beside_a_gradient_of_another_library() -> None:
    """``(cp.sum(x * x).get(), g)`` and ``((x @ x).numpy(), g)``."""
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device1")  # no hidden copies from there
    x0 = xp.asarray([3.0, -4.0], device=device)

    def on_host(x):
        return np.asarray(xp.asarray(xp.sum(x * x), device=xp.Device("CPU_DEVICE")))

    for form in (lambda v: v, np.float32, float, lambda v: v[None], lambda v: [float(v)]):
        res = negopt.minimize(lambda x, f=form: (f(on_host(x)), 2.0 * x), x0, jac=True)
        assert res.success
        assert type(res.fun) is float
        assert res.x.device == device
    res = negopt.minimize(  # and the other way round: a scalar of a device, vectors of NumPy
        lambda x: (xp.asarray(float(x @ x), device=device), 2.0 * x), [3.0, -4.0], jac=True
    )
    assert res.success


class Odd:
    """Nothing that a number could be made of."""

    def __repr__(self) -> str:
        return "<odd>"


#: What no function may return for a value; the message names `fun`.
NO_NUMBERS = {
    "None": None,
    "text": "1.0",
    "bytes": b"1",
    "complex": 1.0 + 2.0j,
    "complex array": np.array([1.0 + 0.0j]),
    "two": np.array([1.0, 2.0]),
    "none": [],
    "empty": np.zeros(0),
    "dict": {"f": 1.0},
    "set": {1.0},
    "function": len,
    "object": Odd(),
    "pair": (1.0, np.zeros(3)),
    "list of None": [None],
    "text in an array": np.array(["1"]),
    "date": np.datetime64("2020-01-01"),
    "sparse": scipy.sparse.csr_array([[1.0]]),
    "generator": (i for i in range(1)),
    "table of two": Table([1.0, 2.0]),
    "masked": np.ma.masked_array([1.0], mask=[True]),
}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("how", ["fun", "pair"])
def test_what_is_no_value_is_named(value, how) -> None:
    made = (lambda x: value) if how == "fun" else (lambda x: (value, jac(x)))
    with pytest.raises((TypeError, ValueError), match="fun returned"):
        negopt.minimize(made, X0, jac=jac if how == "fun" else True)


#: What no function may return for a vector of three.
NO_VECTORS = {
    "None": None,
    "text": "abc",
    "texts": ["1", "2", "3"],
    "complex": np.zeros(3) + 1.0j,
    "complex objects": [1.0j, 0.0, 0.0],
    "None within": [1.0, None, 2.0],
    "short": np.zeros(2),
    "long": np.zeros(4),
    "number": 1.0,
    "square": np.zeros((3, 3)),
    "ragged": [[1.0, 2.0], 3.0],
    "dict": {0: 1.0},
    "set": {1.0, 2.0, 3.0},
    "function": len,
    "object": Odd(),
    "dates": np.array(["2020-01-01"] * 3, dtype="M8[D]"),
    "durations": np.zeros(3, dtype="m8[s]"),
    "records": np.zeros(3, dtype=[("a", float)]),
    "sparse": scipy.sparse.csr_array(np.eye(1, 3)),
    "masked": np.ma.masked_array(np.zeros(3), mask=[0, 1, 0]),
    "generator": (i for i in range(3)),
}


@pytest.mark.parametrize("value", NO_VECTORS.values(), ids=NO_VECTORS)
@pytest.mark.parametrize("place", ["jac", "pair", "hessp", "object"])
def test_what_is_no_vector_is_named(value, place) -> None:
    class Mine:
        fun = staticmethod(fun)

        def grad(self, x):
            return value

    call, name = {
        "jac": (lambda: negopt.minimize(fun, X0, jac=lambda x: value), "jac"),
        "pair": (
            lambda: negopt.minimize(lambda x: (fun(x), value), X0, jac=True),
            r"fun \(jac=True\)",
        ),
        "hessp": (lambda: negopt.minimize(fun, X0, jac=jac, hessp=lambda x, p: value), "hessp"),
        "object": (lambda: negopt.minimize(Mine(), X0), "grad"),
    }[place]
    with pytest.raises((TypeError, ValueError), match=f"{name} returned"):
        call()


@pytest.mark.parametrize(
    "value",
    {
        "None": None,
        "number": 2.0,
        "vector": np.zeros(3),
        "other shape": np.zeros((3, 2)),
        "larger": np.eye(4),
        "text": "abc",
        "complex": np.eye(3) + 0.0j,
        "complex sparse": scipy.sparse.csr_array(np.eye(3) * 1.0j),
        "ragged": [[1.0, 0.0, 0.0], [0.0, 1.0], [0.0]],
        "texts": [["1"] * 3] * 3,
        "None within": [[None] * 3] * 3,
        "object": Odd(),
        "strategy": scipy.optimize.BFGS(),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("method", ["newton-krylov", "sfn-exact"])
def test_what_is_no_hessian_is_named(value, method) -> None:
    with pytest.raises((TypeError, ValueError), match="hess returned"):
        negopt.minimize(fun, X0, jac=jac, hess=lambda x: value[1], method=method)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", [k for k, m in negopt.METHODS.items() if m.needs == "hessp"])
def test_second_derivatives_that_are_never_finite_are_named(bad, method) -> None:
    """They are not a reason for a thousand iterations of steepest descent."""
    for name, extra in (
        ("hess", {"hess": lambda x: np.full((3, 3), bad)}),
        ("hess", {"hess": lambda x: scipy.sparse.csr_array(np.full((3, 3), bad))}),
        ("hess", {"hess": lambda x: aslinearoperator(np.full((3, 3), bad))}),
        ("hessp", {"hessp": lambda x, p: np.full(3, bad)}),
    ):
        with (
            np.errstate(invalid="ignore"),
            pytest.raises(ValueError, match=f"^{name} is not finite at the start; correct {name}"),
        ):
            negopt.minimize(fun, X0, jac=jac, method=method, **extra)


@pytest.mark.parametrize(
    ("x0", "words"),
    [
        (None, "'x0' is None"),
        ("abc", "'x0' is 'abc'"),
        (["1", "2"], "'x0' is"),
        ([1.0, None], "'x0' is"),
        ([[1.0], [2.0, 3.0]], "'x0' is .*ragged"),
        ([1j, 0], "'x0' has the complex type"),
        ([], "'x0' is empty"),
        (np.zeros((2, 2)), "'x0' must only have one dimension"),
        ({1, 2}, "'x0' is"),
        ({"a": 1}, "'x0' is"),
        ((i for i in range(2)), "'x0' is"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "'x0' is"),
        (np.ma.masked_array([1.0, 2.0], mask=[0, 1]), "'x0' .*masked entries"),
        (scipy.sparse.csr_array([[1.0]]), "'x0' is"),
        (len, "'x0' is"),
        ([np.nan, 0.0], r"fun\(x0\) = nan"),
        ([np.inf, 0.0], r"fun\(x0\) = (inf|nan)"),
    ],
    ids=lambda v: repr(v)[:20],
)
def test_what_is_no_start_is_named(x0, words) -> None:
    with np.errstate(invalid="ignore"), pytest.raises((TypeError, ValueError), match=words):
        negopt.minimize(lambda x: float(x @ x), x0, jac=lambda x: 2.0 * x)


#: Arguments that are no function: (argument, value, words of the message).
NO_FUNCTIONS = [
    ("jac", np.zeros(3), "jac=an array .*jac=lambda x: g"),
    ("jac", [jac], "give the function itself"),
    ("jac", [1.0, 2.0, 3.0], "jac=.*jac=lambda x: g"),
    ("jac", "4-point", "jac='4-point': use a callable, True"),
    ("jac", "hess", "jac='hess': use"),
    ("jac", 3, "jac=3: use"),
    ("jac", 1, "jac=1: use"),
    ("jac", {}, r"jac=\{\} \(dict\): use"),
    ("jac", Table(np.zeros(3)), "jac=a Table of shape"),
    ("hess", H, "hess=an array of shape .*hess=lambda x: H"),
    ("hess", H.tolist(), "hess=.*hess=lambda x: H"),
    ("hess", scipy.sparse.csr_array(H), "hess=a csr_array .*hess=lambda x: H"),
    ("hess", aslinearoperator(H), "hess=.*hess=lambda x: H"),
    ("hess", [lambda x: H], "give the function itself"),
    ("hess", "dense", "hess='dense': use"),
    ("hess", True, "hess=True: use"),
    ("hess", 2.0, "hess=2.0: use"),
    ("hess", scipy.optimize.BFGS, "hess=BFGS is a class; give an object of it, BFGS()"),
    ("hess", scipy.optimize.SR1, "hess=SR1 is a class"),
    ("hessp", H, "hessp=an array .*hess=lambda x: H"),
    ("hessp", aslinearoperator(H), "hessp=.*hess=lambda x: H"),
    ("hessp", "2-point", "hessp='2-point': use"),
    ("hessp", 1, "hessp=1: use"),
    ("hessp", scipy.optimize.BFGS(), "hessp=.*: use a callable"),
    ("fun", np.zeros(3), "fun=an array .* is neither callable nor an object"),
    ("fun", None, "fun=None is neither callable"),
    ("fun", "rosen", "fun='rosen' is neither callable"),
    ("callback", "print", "callback='print' is not callable"),
    ("callback", [print], "callback=.*is not callable"),
    ("tol", "small", "tol='small': must be a number"),
    ("tol", -1.0, "tol=-1.0: must be a number"),
    ("tol", np.nan, "tol=nan: must be a number"),
    ("tol", np.inf, "tol=inf: must be a number"),
    ("tol", True, "tol=True: must be a number"),
    ("method", ["lqn-tr"], "Unknown solver"),
    ("method", np.zeros(2), "Unknown solver"),
    ("options", [("gtol", 1.0)], "options=.*pass a dict"),
    ("options", {1: 2}, "options=.*the name of an option is a string"),
]


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    NO_FUNCTIONS,
    ids=[f"{a}-{i}" for i, (a, *_) in enumerate(NO_FUNCTIONS)],
)
def test_what_is_no_function_is_named(argument, value, words) -> None:
    call = {"fun": fun, "x0": X0, "jac": jac, argument: value}
    with pytest.raises((TypeError, ValueError), match=words.replace("()", r"\(\)")):
        negopt.minimize(**call)


@given(
    st.sampled_from(sorted(set(NUMBERS) - {"DataFrame", "Series", "float32", "longdouble"})),
    st.floats(-1e6, 1e6, allow_nan=False),
)
def test_a_value_is_read_exactly(name, value) -> None:
    """**Guarantee**: f is the number that was returned, whatever it was wrapped in."""
    res = negopt.minimize(lambda x: NUMBERS[name](value), [1.0], jac=lambda x: [0.0])
    assert res.fun == value


@given(
    st.recursive(
        st.none() | st.text(max_size=3) | st.booleans() | st.complex_numbers() | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text(max_size=2), inner, max_size=2)
        ),
        max_leaves=8,
    ),
    st.sampled_from(["fun", "jac", "pair", "hess", "hessp", "x0"]),
)
def test_whatever_is_returned_nothing_else_is_raised(value, place) -> None:
    """**Guarantee**: a run, or a ValueError or TypeError whose message begins in negopt."""
    call = {
        "fun": lambda: negopt.minimize(lambda x: value, X0, jac=jac),
        "jac": lambda: negopt.minimize(fun, X0, jac=lambda x: value, options={"maxiter": 3}),
        "pair": lambda: negopt.minimize(lambda x: value, X0, jac=True, options={"maxiter": 3}),
        "hess": lambda: negopt.minimize(fun, X0, jac=jac, hess=lambda x: value),
        "hessp": lambda: negopt.minimize(fun, X0, jac=jac, hessp=lambda x, p: value),
        "x0": lambda: negopt.minimize(lambda x: float(x @ x), value, jac=lambda x: 2.0 * x),
    }[place]
    known = "fun", "jac", "hess", "'x0'", "The user-provided", "with jac=True", "the gradient at x0"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            res = call()
    except (ValueError, TypeError) as error:
        right = str(error).startswith(known)
    else:
        right = type(res.fun) is float
    assert right

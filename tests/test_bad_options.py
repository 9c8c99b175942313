"""Every option of every method against values of every wrong kind: named, or taken."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.optimize import BFGS, OptimizeWarning, rosen, rosen_der, rosen_hess, rosen_hess_prod

import negopt
from negopt.core.options import RunOptions

X0 = [-1.2, 1.0, 0.5]

#: Values that no option takes but those named in TAKEN.
WRONG = {
    "text": "no such",
    "bytes": b"x",
    "object": object(),
    "array": np.array([1.0, 2.0]),
    "array of a truth": np.array([True]),
    "array of texts": np.array(["a"]),
    "list": [1.5, 2.5],
    "dict": {"a": 1},
    "set": {1},
    "complex": 1j,
    "nan": math.nan,
    "nan of NumPy": np.float64("nan"),
    "-inf": -math.inf,
    "class": int,
    "function": len,
    "beyond floats": -(10**400),
}

#: What is right for an option although it stands in `WRONG`.
TAKEN = {
    "ftarget": {"-inf"},
    "maxiter": {"-inf"},  # none, as in SciPy
    "disp": {"beyond floats"},  # SciPy takes any integer
}

#: Options of numbers, for which a truth value is none; all others of RunOptions are no numbers.
NO_NUMBERS = {
    "certify",
    "disp",
    "record",
    "return_all",
    "compiled",
    "state",
    "workers",
}


def options_of(method):
    """Return the names of the options of a method, and their defaults."""
    row = negopt.METHODS[method]
    rows = {f.name: getattr(p, f.name) for p in row.parts for f in dataclasses.fields(p)}
    return rows | ({"variant": None} if row.variants else {})


def run(method, options):
    row = negopt.METHODS[method]
    with contextlib.redirect_stdout(io.StringIO()):
        return negopt.minimize(
            rosen,
            X0,
            jac=rosen_der,
            hessp=rosen_hess_prod if row.needs == "hessp" else None,
            method=method,
            options={"maxiter": 2, **options},
        )


def refused(method, name, value) -> None:
    """Check that a value is refused, by a message that names the option."""
    with pytest.raises((ValueError, TypeError)) as caught:
        run(method, {name: value})
    assert name in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("method", negopt.METHODS)
def test_an_option_of_a_wrong_kind_is_named(method, wrong) -> None:
    for name in options_of(method):
        if wrong not in TAKEN.get(name, ()):
            refused(method, name, WRONG[wrong])


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(RunOptions)])
def test_an_option_of_every_method_of_a_wrong_kind_is_named(name, wrong) -> None:
    if wrong not in TAKEN.get(name, ()) and not (
        name == "workers" and wrong in ("class", "function")
    ):
        refused("dqn-wolfe-pm", name, WRONG[wrong])


@pytest.mark.parametrize("value", [True, False, np.True_])
def test_a_truth_value_is_no_number(value) -> None:
    for method in negopt.METHODS:
        for name, default in options_of(method).items():
            if not isinstance(default, (bool, str)) and name != "variant":
                refused(method, name, value)
    for name in {f.name for f in dataclasses.fields(RunOptions)} - NO_NUMBERS:
        refused("lqn-tr", name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(n, v) for n in ("gtol", "grtol", "xrtol") for v in (-1e-9, math.inf, -math.inf)],
        *[(n, None) for n in ("grtol", "xrtol", "norm", "ftarget", "certify", "record")],
        *[(n, v) for n in ("maxiter", "maxfun") for v in (math.nan, "10", [10], 10**400)],
        *[("maxfun", v) for v in (0, -1, 0.5, -math.inf)],
        ("maxtime", -1.0),
        ("norm", 0),
        ("norm", -math.inf),
        ("ftarget", math.inf),
        ("record", np.array([True, False])),
        ("record", []),
        ("certify", 2),
        ("disp", "yes"),
        ("disp", np.array([1, 2])),
        ("rng", "seed"),
        ("rng", -1),
        ("rng", 1.5),
        ("rng", True),
        ("state", "saved"),
        ("state", {}),
        ("certify_products", -1),
        ("max_escapes", 1.0),
        ("eps", 0.0),
        ("eps", "1e-8"),
        ("eps", [1e-8, 1e-8]),
        ("eps", np.full((3, 1), 1e-8)),
        ("eps", 1j),
        ("finite_diff_rel_step", [[1e-8] * 3]),
        ("compiled", "yes"),
        ("compiled", None),
    ],
)
def test_a_value_out_of_range_is_named(name, value) -> None:
    refused("dqn-wolfe-pm", name, value)


@pytest.mark.parametrize(
    "options",
    [
        {"gtol": np.array(1e-3)},
        {"gtol": np.float32(1e-3)},
        {"maxiter": 5.0},
        {"maxiter": 5.5},
        {"maxiter": np.array(5)},
        {"maxiter": math.inf, "ftarget": 10.0},
        {"maxfun": 1e3},
        {"maxfun": math.inf},
        {"maxtime": math.inf},
        {"disp": 1},
        {"disp": None},
        {"disp": np.int64(0)},
        {"record": np.True_},
        {"record": np.array(True)},
        {"record": 1},
        pytest.param({"rng": np.random.default_rng(3)}, id="rng: a Generator"),
        {"rng": None},
        {"rng": [1, 2]},
        {"ftarget": -math.inf},
        {"hess_inv0": None},
        {"eps": np.full(3, 1e-8)},
        {"eps": [1e-8] * 3},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::scipy.optimize.OptimizeWarning:negopt")
def test_what_is_taken(options) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        assert run("lqn-tr", options).fun < rosen(np.array(X0))


# --- SciPy's names ------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "ours"), [("maxfev", "maxfun"), ("f_target", "ftarget")])
@pytest.mark.parametrize("method", ["lqn-tr", "dqn-wolfe-pm", "newton-krylov"])
def test_scipys_name_of_an_option_is_the_same_option(theirs, ours, method) -> None:
    value = 7 if ours == "maxfun" else 1.0
    common = {"jac": rosen_der, "method": method}
    one = negopt.minimize(rosen, X0, options={theirs: value}, **common)
    two = negopt.minimize(rosen, X0, options={ours: value}, **common)
    assert (one.nfev, one.fun, one.status, one.message) == (
        two.nfev,
        two.fun,
        two.status,
        two.message,
    )
    assert one.nfev <= 7 if ours == "maxfun" else one.fun <= 1.0
    with pytest.raises(ValueError, match=f"'{theirs}'.* is given twice: '{ours}' means the same"):
        negopt.minimize(rosen, X0, options={ours: value, theirs: value}, **common)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("ftol", "negopt stops by the gradient: set 'gtol'"),
        ("xtol", "Set 'xrtol'"),
        ("iprint", "Set 'disp'"),
        ("epsilon", "Set 'eps'"),
        ("bounds", "an argument beside options="),
        ("jac", "an argument beside options="),
        ("gtoll", "Did you mean 'gtol'"),
        ("max_iter", "Did you mean 'maxiter'"),
        ("qqq", r"negopt\.show_options\('lqn-tr'\) lists all"),
    ],
)
def test_a_name_that_is_unknown_is_warned_about_with_what_to_use(name, advice) -> None:
    with pytest.warns(OptimizeWarning, match=f"Unknown solver option '{name}'.*{advice}"):
        negopt.minimize(rosen, X0, jac=rosen_der, method="lqn-tr", options={name: 1})


def test_scipys_methods_get_their_options_untouched() -> None:
    res = negopt.minimize(rosen, X0, method="Nelder-Mead", options={"maxfev": 20})
    assert res.nfev <= 20
    with pytest.warns(OptimizeWarning, match="Unknown solver options: maxfev"):
        negopt.minimize(rosen, X0, jac=rosen_der, method="BFGS", options={"maxfev": 20})


# --- hess_inv0 ----------------------------------------------------------------------------

DENSE = [name for name in negopt.METHODS if "hess_inv0" in options_of(name)]
H_INV = np.linalg.inv(rosen_hess(np.ones(3)))


def test_which_methods_begin_with_an_inverse() -> None:
    assert set(DENSE) == {"dqn-wolfe-pm", "bfgs-wolfe", "sr1-wolfe-pm"}


@pytest.mark.parametrize("method", DENSE)
def test_a_quadratic_takes_one_newton_step_with_its_inverse(method) -> None:
    a = np.diag([1.0, 1e3, 1e6]) + 0.5
    fun, jac = lambda x: 0.5 * x @ a @ x, lambda x: a @ x
    x0 = np.array([0.3, 2e-4, 1e-7])
    inverse = np.linalg.inv(a)
    for form in (inverse, inverse.tolist(), BFGSLike(inverse)):
        options = {"hess_inv0": form, "certify": False, "compiled": False, "gtol": 1e-9}
        res = negopt.minimize(fun, x0, jac=jac, method=method, options=options)
        assert res.success
        assert res.nit <= 2
        cold = negopt.minimize(
            fun, x0, jac=jac, method=method, options=options | {"hess_inv0": None}
        )
        assert res.nfev < cold.nfev
    np.testing.assert_allclose(res.hess_inv, inverse, rtol=1e-3, atol=1e-9)


class BFGSLike:
    """An operator that can be written out, as L-BFGS-B's ``hess_inv``."""

    def __init__(self, matrix) -> None:
        self.matrix = matrix

    def todense(self):
        return self.matrix


@pytest.mark.parametrize("method", DENSE)
def test_the_inverse_of_a_result_is_where_the_next_run_begins(method) -> None:
    first = negopt.minimize(rosen, X0, jac=rosen_der, method=method)
    given = first.hess_inv.copy()
    near = first.x + 1e-4
    cold = negopt.minimize(rosen, near, jac=rosen_der, method=method, options={"certify": False})
    warm = negopt.minimize(
        rosen, near, jac=rosen_der, method=method, options={"certify": False, "hess_inv0": given}
    )
    assert warm.success
    assert warm.nfev <= cold.nfev
    assert np.array_equal(given, first.hess_inv)  # the caller's matrix is his


@pytest.mark.parametrize("method", DENSE)
def test_no_iteration_leaves_the_inverse_as_it_was(method) -> None:
    res = negopt.minimize(
        rosen, X0, jac=rosen_der, method=method, options={"hess_inv0": H_INV, "maxiter": 0}
    )
    np.testing.assert_allclose(res.hess_inv, 0.5 * (H_INV + H_INV.T))


def test_other_libraries_and_types_begin_with_an_inverse_too() -> None:
    xp = pytest.importorskip("array_api_strict")
    x0 = xp.asarray(X0, dtype=xp.float64)

    def fun(x):
        v = np.asarray(x)
        return rosen(v), xp.asarray(rosen_der(v))

    for method in DENSE:
        ours = negopt.minimize(fun, x0, jac=True, method=method, options={"hess_inv0": np.eye(3)})
        numpys = negopt.minimize(
            lambda x: (rosen(x), rosen_der(x)),
            X0,
            jac=True,
            method=method,
            options={"hess_inv0": np.eye(3)},
        )
        assert ours.success
        assert abs(ours.nit - numpys.nit) <= 2


def test_the_default_is_a_dense_method_where_an_inverse_is_given() -> None:
    n = 301
    res = negopt.minimize(
        rosen, np.ones(n) * 1.01, jac=rosen_der, options={"hess_inv0": np.eye(n), "maxiter": 1}
    )
    assert res.method == "dqn-wolfe-pm"


@pytest.mark.parametrize("method", sorted(set(negopt.METHODS) - set(DENSE)))
def test_a_method_without_a_dense_inverse_says_which_have_one(method) -> None:
    with pytest.raises(ValueError, match=f"'hess_inv0'.*{method!r} keeps no dense.*'bfgs-wolfe'"):
        run(method, {"hess_inv0": np.eye(3)})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.eye(2), "hess_inv0 has shape .2, 2.; x0 has 3 entries"),
        (np.ones(3), "hess_inv0=an array of shape .* give a symmetric matrix"),
        (3.0, "hess_inv0=3.0: give a symmetric matrix"),
        (np.full((3, 3), np.nan), "hess_inv0=.* give a symmetric matrix"),
        (np.triu(np.ones((3, 3))), "hess_inv0: the matrix is not symmetric"),
        (np.eye(3) * 1j, "hess_inv0=.* give a symmetric matrix"),
        ("I", "hess_inv0='I': give a symmetric matrix"),
        ([[1.0], [2.0, 3.0]], "hess_inv0=.* give a symmetric matrix"),
    ],
    ids=lambda v: str(v)[:15],
)
@pytest.mark.parametrize("method", DENSE)
def test_what_is_no_inverse_is_named(method, value, words) -> None:
    with pytest.raises(ValueError, match=words):
        run(method, {"hess_inv0": value})


def test_an_indefinite_inverse_is_for_the_methods_that_have_one() -> None:
    indefinite = np.diag([1.0, -1.0, 2.0])
    for method in DENSE:
        if negopt.METHODS[method].positive:
            with pytest.raises(ValueError, match="'hess_inv0' matrix isn't positive definite"):
                run(method, {"hess_inv0": indefinite})
        else:
            res = run(method, {"hess_inv0": indefinite, "maxiter": 500})
            assert res.success


@given(
    st.sampled_from(sorted(negopt.METHODS)),
    st.data(),
    st.one_of(
        st.floats(),
        st.integers(),
        st.booleans(),
        st.none(),
        st.text(max_size=4),
        st.lists(st.floats(), max_size=3),
        st.complex_numbers(),
        st.sampled_from([BFGS, BFGS(), np.zeros(3), np.zeros((3, 3)), object()]),
    ),
)
def test_whatever_an_option_is_the_rules_take_it_or_name_it(method, data, value) -> None:
    """**Guarantee**: the rules are built, or it is a ValueError or TypeError with the name."""
    names = [*options_of(method), *[f.name for f in dataclasses.fields(RunOptions)]]
    name = data.draw(st.sampled_from(names))
    row = negopt.METHODS[method]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row.with_options({name: value})
            RunOptions(**({name: value} if name in RunOptions.__dataclass_fields__ else {}))
    except (ValueError, TypeError) as error:
        named = name in str(error)
    else:
        named = True
    assert named


# --- batches ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"record": np.array([1, 2])}}, r"options\['record'\] belongs to a single run"),
        ({"options": {"hess_inv0": np.eye(2)}}, r"options\['hess_inv0'\] belongs to a single run"),
        ({"options": {"workers": 2}}, r"options\['workers'\] belongs to a single run"),
        ({"options": {"gtol": "a"}}, "gtol='a': must be a number"),
        ({"options": {1: 2}}, "the name of an option is a string"),
        ({"tol": np.nan}, "gtol=nan: must be a number"),
        ({"workers": 1.5}, "workers=1.5: must be an integer"),
        ({"fun": np.zeros(2)}, "fun=an array .* is neither callable"),
        ({"jac": [len]}, "jac=.*give the function itself"),
        ({"X0": [["a", "b"]] * 3}, "'X0' is .*real numbers are needed"),
        ({"X0": [[1], [2, 3], [4]]}, "'X0' is .*ragged"),
        ({"X0": [[1, None]] * 3}, "'X0' is .*real numbers are needed"),
        ({"X0": None}, "'X0' is None; real numbers are needed"),
        ({"X0": np.zeros(3)}, "'X0' must have shape"),
    ],
)
def test_a_batch_names_what_is_wrong_too(changes, words) -> None:
    call = {
        "fun": lambda x, t: ((x - t) @ (x - t), 2.0 * (x - t)),
        "X0": np.zeros((3, 2)),
        "args": (np.ones((3, 2)),),
        "jac": True,
        **changes,
    }
    with pytest.raises((ValueError, TypeError), match=words):
        negopt.minimize_batch(**call)

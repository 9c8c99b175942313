"""Units do not matter: f -> c f and x -> c x give the same iterates.

Theorem.  Let c be a power of two, in 1 of four (a Cholesky factor takes its square root).

1. ``f -> c f`` with ``gtol -> c gtol``: the same points x_k, bit for bit, for every method with
   its defaults but these: the scaling of "lqn-tr" is a geometric mean, whose logarithms round
   (``gamma="max"`` is exact); the forcing sequence of "newton-krylov" knows the size of ||g||
   below ``forcing^2`` (a smaller ``forcing`` is exact), and its model is scaled as that of
   "lqn-tr" (``maxcor=0`` has none).
2. ``f(x) -> c^2 f(x/c)`` (so that H stays the same) with ``gtol -> c gtol``: the points c x_k, bit
   for bit, when the lengths that are absolute by default scale too: ``initial_trust_radius -> c
   initial_trust_radius``; the first model, which otherwise proposes a step of length 1, set by
   ``gamma=1`` or ``h0="identity"``, and for the searches a gradient so small that the first step
   is shorter than 1; ``certify=False``, since an escape begins with an absolute length.

For other c > 0 the same holds up to rounding.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import negopt
from negopt import METHODS
from negopt.globalize.wolfe import WolfeSearch

EXACT = {
    "lqn-tr": {"gamma": "max"},
    "newton-krylov": {"forcing": 1e-10, "maxcor": 0},
    "newton-cubic": {"forcing": 1e-10, "maxcor": 0},
    "lsr1-tr": {},
    "lsr1-wolfe-pm": {},
    "lsr1-damped": {},
    "sr1-wolfe-pm": {},
    "dqn-wolfe-pm": {},
    "sr1-tr": {},
    "bfgs-wolfe": {},
    "lbfgs-wolfe": {},
    "sfn-series": {},
    "sfn-lanczos": {"forcing": 1e-10},
    "tr-ellipsoid": {},
    "sfn-exact": {},
    "new-q-newton": {},
    "ogr": {},
    "gd-armijo": {},
}
LENGTHS = {
    "lqn-tr": {"initial_trust_radius": 0.5, "gamma": 1.0},
    "newton-krylov": {"initial_trust_radius": 0.5, "forcing": 1e-10, "maxcor": 0},
    "newton-cubic": None,  # its first weight makes a step of length 1
    "lsr1-tr": {"initial_trust_radius": 0.5, "gamma": 1.0},
    "lsr1-wolfe-pm": {"gamma": 1.0},
    "lsr1-damped": {"gamma": 1.0},
    "sr1-wolfe-pm": {"h0": "identity"},
    "dqn-wolfe-pm": None,  # their first steps have length 1
    "lbfgs-wolfe": None,
    "sr1-tr": {"initial_trust_radius": 0.5, "b0": "identity"},
    "bfgs-wolfe": {"h0": "identity"},
    "sfn-series": {},
    "sfn-lanczos": {"initial_trust_radius": 0.5, "forcing": 1e-10},
    "tr-ellipsoid": {"initial_trust_radius": 0.5},
    "sfn-exact": {},
    "new-q-newton": {},
    "ogr": None,  # its first step has length 1
    "gd-armijo": {"scaling": "none"},
}
#: The baselines have a rate in the units of 1 / f or of x.
NAMES = [name for name, row in METHODS.items() if not row.baseline]


def path(function, x0, name, options, *, f_factor=1.0, x_factor=1.0, steps=25):
    """Return the iterates of ``f_factor f(x / x_factor)`` from ``x_factor x0``."""
    options = dict(options)
    if "initial_trust_radius" in options:
        options["initial_trust_radius"] *= x_factor
    gtol = 1e-6 * f_factor / x_factor
    res = negopt.minimize(
        lambda x: f_factor * function.fun(x / x_factor),
        x_factor * x0,
        jac=lambda x: f_factor / x_factor * function.grad(x / x_factor),
        hessp=(lambda x, p: f_factor / x_factor**2 * function.hessp(x / x_factor, p))
        if METHODS[name].needs == "hessp"
        else None,
        method=name,
        options={"gtol": gtol, "maxiter": steps, "certify": False, "return_all": True, **options},
    )
    return [x / x_factor for x in res.allvecs]


functions = st.fixed_dictionaries(
    {
        "family": st.sampled_from(["quartic", "logcosh", "sine", "net"]),
        "n": st.integers(1, 9),
        "seed": st.integers(0, 10**6),
    }
)


def start(random_function, which):
    function = random_function(which["family"], which["n"], which["seed"])
    return function, np.random.default_rng(which["seed"]).standard_normal(function.n)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12)
@given(which=functions, power=st.integers(-15, 15))
def test_function_times_power_of_four(random_function, name, which, power):
    function, x0 = start(random_function, which)
    plain = path(function, x0, name, EXACT[name])
    scaled = path(function, x0, name, EXACT[name], f_factor=4.0**power)
    assert len(plain) == len(scaled)
    for a, b in zip(plain, scaled, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [name for name in NAMES if LENGTHS[name] is not None])
@settings(max_examples=12)
@given(which=functions, power=st.integers(-20, 20))
def test_variables_times_power_of_two(random_function, name, which, power):
    function, x0 = start(random_function, which)
    c = 2.0**power
    # The searches' first step is at most 1 long: make both gradients, g and c g, shorter.
    small = 1e-2 / (max(c, 1.0) * np.linalg.norm(function.grad(x0)))
    searches = isinstance(METHODS[name].globalize, WolfeSearch)
    small = 2.0 ** np.floor(np.log2(small)) if searches else 1.0
    plain = path(function, x0, name, LENGTHS[name], f_factor=small)
    scaled = path(function, x0, name, LENGTHS[name], f_factor=small * c * c, x_factor=c)
    assert len(plain) == len(scaled)
    for a, b in zip(plain, scaled, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(which=functions, factor=st.floats(-6, 6).map(lambda e: 10.0**e))
def test_any_factor_up_to_rounding(random_function, name, which, factor):
    """The first steps agree closely; later ones may part where f is chaotic."""
    function, x0 = start(random_function, which)
    plain = path(function, x0, name, {"gtol": 0.0} | EXACT[name], steps=4)
    scaled = path(function, x0, name, {"gtol": 0.0} | EXACT[name], f_factor=factor, steps=4)
    for a, b in zip(plain, scaled, strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

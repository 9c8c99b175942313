"""An objective that changes by itself is found before a run, and the message says why."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from negopt.neural import MLP, FlatObjective, MLPObjective, check_deterministic


class Quadratic:
    """``x'Ax/2`` with noise where a test asks for it, and a count of its evaluations."""

    def __init__(self, noisy=(), size=1e-3):
        self.noisy, self.size = noisy, size
        self.rng = np.random.default_rng(0)
        self.evaluations = 0

    def noise(self, what):
        return 1.0 + self.size * self.rng.standard_normal() * (what in self.noisy)

    def fun_and_grad(self, x):
        self.evaluations += 1
        return 0.5 * float(x @ x) * self.noise("f"), x * self.noise("g")

    def hessp(self, x):
        return lambda p: p * self.noise("H")


START = np.array([1.0, -2.0, 3.0])


@pytest.mark.parametrize(("what", "words"), [("f", "value f"), ("g", "gradient"), ("H", "product")])
def test_noise_is_named(what, words):
    with pytest.raises(ValueError, match=rf"the .*{words}.* differs .*not deterministic.*dropout"):
        check_deterministic(Quadratic(what), START)


def test_products_may_be_left_out():
    check_deterministic(Quadratic("H"), START, products=False)


def test_a_pure_objective_passes_and_is_left_alone():
    objective, x = Quadratic(), START.copy()
    assert check_deterministic(objective, x) is None
    assert objective.evaluations == 3
    np.testing.assert_array_equal(x, START)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_in_another_order_are_let_pass_unless_asked(dtype):
    x = START.astype(dtype)
    size = 3.0 * float(np.finfo(dtype).eps)

    def noisy():
        return Quadratic("g", size)

    check_deterministic(noisy(), x)
    with pytest.raises(ValueError, match=r"kernels that sum in varying order"):
        check_deterministic(noisy(), x, rtol=0.0)
    with pytest.raises(ValueError, match="rtol"):
        check_deterministic(noisy(), x, rtol=-1.0)


@pytest.mark.parametrize(
    ("dtype", "size", "kernels", "changes"),
    [
        ("float32", 3e-5, True, False),
        ("float32", 6e-3, True, True),  # augmentation, or sums with much cancellation
        ("float32", 0.1, False, True),
        ("float64", 1e-12, True, False),
        ("float64", 1e-9, False, True),
    ],
)
def test_the_causes_named_fit_the_size_of_the_difference(dtype, size, kernels, changes):
    with pytest.raises(ValueError, match="the value f") as raised:
        check_deterministic(Quadratic("f", size), START.astype(dtype))
    assert ("varying order" in str(raised.value)) == kernels
    assert ("augmented" in str(raised.value)) == ("dropout" in str(raised.value)) == changes


def test_a_cache_hides_nothing():
    """FlatObjective answers from its last point; MLPObjective does and is pure."""
    rng = np.random.default_rng(0)

    def loss(params):
        w = params["w"]
        return float(w @ w) * (1.0 + 0.01 * rng.standard_normal()), {"w": 2.0 * w}

    objective = FlatObjective({"w": START}, loss)
    assert objective.fun(START) == objective.fun(START)
    with pytest.raises(ValueError, match="the value f"):
        check_deterministic(objective, objective.x0)
    data = rng.standard_normal((6, 2))
    network = MLPObjective(MLP([2, 3, 1]), data, data[:, 0])
    check_deterministic(network, network.x0(rng=0), rtol=0.0)


def test_a_state_that_advances_is_found():
    """As running statistics do: no randomness, yet no two evaluations agree."""

    class Drifting(Quadratic):
        def fun_and_grad(self, x):
            f, g = super().fun_and_grad(x)
            return f + self.evaluations, g

    with pytest.raises(ValueError, match=r"the value f .*batch norm"):
        check_deterministic(Drifting(), START)


class OneBuffer:
    """``fun`` and ``grad`` apart; the gradient is the same array each time."""

    def __init__(self, noisy):
        self.out, self.noisy, self.calls = np.zeros(3), noisy, 0

    def fun(self, x):
        return float(x @ x)

    def grad(self, x):
        self.calls += 1
        self.out[:] = 2.0 * x + self.noisy * self.calls
        return self.out


def test_separate_methods_and_one_buffer():
    check_deterministic(OneBuffer(0.0), START)
    with pytest.raises(ValueError, match="the gradient"):
        check_deterministic(OneBuffer(1.0), START)


def test_not_finite_twice_is_another_fault():
    class Nowhere:
        def fun_and_grad(self, x):
            return np.nan, np.full(3, np.nan)

    check_deterministic(Nowhere(), START)

    class Sometimes(Quadratic):
        def fun_and_grad(self, x):
            f, g = super().fun_and_grad(x)
            return (np.inf if self.evaluations == 3 else f), g

    with pytest.raises(ValueError, match="by inf"):
        check_deterministic(Sometimes(), START)


def test_other_libraries(xp_case):
    x = xp_case.asarray([1.0, 2.0])

    class Pure:
        def fun_and_grad(self, x):
            return x @ x, 2 * x

        def hessp(self, x):
            return lambda p: 2 * p

    check_deterministic(Pure(), x, rtol=0.0)


def test_the_other_libraries_are_imported_by_their_own_modules_alone():
    code = (
        "import sys, negopt.neural\n"
        "assert not {'torch', 'jax'} & set(sys.modules)\n"
        "sys.modules['torch'] = None\n"
        "try:\n"
        "    import negopt.neural.torch\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "negopt.neural.torch needs PyTorch: pip install 'negopt[torch]'" in done.stdout

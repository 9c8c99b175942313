"""The objective object: shared work, predictions, checks, a drop-in for SciPy."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.optimize

import negopt
from negopt.neural import MLP, MLPObjective, binary_labels, load_ionosphere
from negopt.neural.losses import LOSSES


class CountingMLP(MLP):
    """A network that counts its passes."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "passes", {"forward": 0, "backward": 0, "product": 0})

    def forward(self, x, X):
        self.passes["forward"] += 1
        return super().forward(x, X)

    def trace(self, x, X):
        self.passes["forward"] += 1
        return super().trace(x, X)

    def backward(self, trace, dz):
        self.passes["backward"] += 1
        return super().backward(trace, dz)

    def hessian_product(self, *args):
        self.passes["product"] += 1
        return super().hessian_product(*args)


@pytest.fixture
def objective():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 2))
    return MLPObjective(CountingMLP([2, 4, 1]), X, X[:, 0] > 0, loss="logistic", l2=0.01)


def counts(objective):
    return tuple(objective.network.passes.values())


def test_one_forward_and_one_backward_pass_per_point(objective):
    x = objective.x0(rng=1)
    objective.fun(x)
    assert counts(objective) == (1, 0, 0)
    objective.grad(x)
    objective.fun_and_grad(x.copy())  # the same point in another array
    product = objective.hessp(x)
    for p in np.eye(x.size):
        product(p)
    objective.predict(x)
    assert counts(objective) == (1, 1, x.size)
    objective.fun(2 * x)
    assert counts(objective) == (2, 1, x.size)


def test_hessp_first(objective):
    x = objective.x0(rng=1)
    product = objective.hessp(x)
    product(x)
    product(x)
    objective.fun_and_grad(x)
    assert counts(objective) == (1, 1, 2)


def test_a_point_changed_in_place_is_another_point(objective):
    x = objective.x0(rng=1)
    fresh = MLPObjective(
        MLP([2, 4, 1]), objective.X, objective.X[:, 0] > 0, loss="logistic", l2=0.01
    )
    before = objective.fun_and_grad(x)
    product = objective.hessp(x)
    p = np.arange(x.size, dtype=float)
    hp = product(p)
    x += 0.5
    f, g = objective.fun_and_grad(x)
    assert f == fresh.fun(x)
    assert f != before[0]
    np.testing.assert_array_equal(g, fresh.grad(x))
    np.testing.assert_array_equal(product(p), hp)  # still the Hessian at the old point
    np.testing.assert_array_equal(objective.hessp(x)(p), fresh.hessp(x)(p))


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_what_is_returned_can_be_written_to(objective, l2):
    objective.l2 = l2
    x = objective.x0(rng=1)
    g = objective.grad(x)
    keep = g.copy()
    g *= 0.0
    np.testing.assert_array_equal(objective.grad(x), keep)
    z = objective.outputs(x)
    z *= 0.0
    assert objective.outputs(x).any()


def test_nan_is_not_taken_for_a_known_point(objective):
    x = np.full(objective.network.size, np.nan)
    assert np.isnan(objective.fun(x))
    assert np.isnan(objective.grad(x)).all()


def test_threads_share_an_objective(objective):
    points = [objective.x0(rng=seed) for seed in range(8)]
    expected = [float(objective.fun(x)) for x in points]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: float(objective.fun(points[i % 8])), range(80)))
    assert found == expected * 10


def test_pickle(objective):
    plain = MLPObjective(MLP([2, 1]), objective.X, objective.X[:, 0])
    x = plain.x0(rng=0)
    assert pickle.loads(pickle.dumps(plain)).fun(x) == plain.fun(x)


def test_predictions_keep_the_coding_of_the_labels():
    X = np.array([[-1.0], [2.0], [3.0]])
    x = np.array([1.0, 0.0])  # output = X
    for y in ([-1, 1, 1], [0, 1, 1]):
        objective = MLPObjective(MLP([1, 1]), X, y, loss="logistic")
        assert objective.predict(x).tolist() == y
        assert objective.accuracy(x) == 1.0
        assert objective.accuracy(x, X[:2], [1, 1]) == 0.5
    x = np.array([-1.0, 1.0, 0.0, 0.0])  # outputs = (-X, X)
    softmax = MLPObjective(MLP([1, 2]), X, [0, 1, 0], loss="softmax")
    assert softmax.predict(x).tolist() == [0, 1, 1]
    assert softmax.accuracy(x) == pytest.approx(2 / 3)
    squared = MLPObjective(MLP([1, 1]), X, [0.0, 0.0, 0.0])
    assert squared.predict(np.array([1.0, 0.5]), [[4.0]]).tolist() == [4.5]
    both = MLPObjective(MLP([1, 2]), X, np.zeros((3, 2)))
    assert both.predict(x).shape == (3, 2)


def test_accuracy_errors():
    X = np.ones((3, 1))
    x = np.zeros(2)
    with pytest.raises(ValueError, match="squared loss"):
        MLPObjective(MLP([1, 1]), X, [1, 0, 1]).accuracy(x)
    objective = MLPObjective(MLP([1, 1]), X, [1, 0, 1], loss="logistic")
    with pytest.raises(ValueError, match="give both"):
        objective.accuracy(x, X)
    with pytest.raises(ValueError, match="2 labels for 3 rows"):
        objective.accuracy(x, X, [1, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "hinge"}, "'loss' is 'hinge'; choose from"),
        ({"l2": -1.0}, "'l2' is -1.0"),
        ({"l2": np.inf}, "'l2' is inf"),
        ({"X": np.ones((3, 3))}, r"'X' has shape \(3, 3\); the network has 2 inputs"),
        ({"X": np.ones(2)}, r"'X' has shape \(2,\)"),
        ({"X": np.ones((0, 2))}, "at least one row"),
        ({"X": np.ones((3, 2), dtype=int)}, "'X' has type int64; convert"),
        ({"X": np.full((3, 2), np.nan)}, "not finite"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"X": np.ones((3, 2)), "y": [1.0, 0.0, 1.0], **change}
    with pytest.raises(ValueError, match=message):
        MLPObjective(MLP([2, 1]), **arguments)


def test_bad_points():
    strict = pytest.importorskip("array_api_strict")
    objective = MLPObjective(MLP([2, 1]), np.ones((3, 2)), [1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r"'x' has shape \(4,\); the network has 3 parameters"):
        objective.fun(np.ones(4))
    with pytest.raises(ValueError, match="'x' has type float32 but the data have float64"):
        objective.grad(np.ones(3, dtype=np.float32))
    with pytest.raises(ValueError, match="'p' has shape"):
        objective.hessp(np.ones(3))(np.ones(2))
    with pytest.raises(TypeError, match="'x' is a array_api_strict but the data are numpy"):
        objective.fun(strict.ones(3))
    with pytest.raises(TypeError, match="'x' is a list"):
        objective.fun([1.0, 2.0, 3.0])
    on_default = MLPObjective(MLP([2, 1]), strict.ones((3, 2)), [1.0, 0.0, 1.0])
    with pytest.raises(TypeError, match="'x' is on device"):
        on_default.fun(strict.ones(3, device=strict.Device("device1")))


def test_a_loss_of_ones_own():
    class Cubic:
        """Mean of the outputs cubed."""

        name = "cubic"

        def target(self, y, like, outputs):
            return like[:, :1] * 0

        def at(self, z, target):
            n = z.shape[0]
            return type(LOSSES["squared"].at(z, target))(
                (z**3).sum() / n, 3 * z**2 / n, lambda rz: 6 * z * rz / n
            )

        def predict(self, z, y):
            return z

    X = np.random.default_rng(0).standard_normal((5, 2))
    objective = MLPObjective(MLP([2, 3, 1]), X, [0] * 5, loss=Cubic())
    x = objective.x0(rng=0)
    p = np.linspace(-1, 1, x.size)
    change = (objective.grad(x + 1e-5 * p) - objective.grad(x - 1e-5 * p)) / 2e-5
    np.testing.assert_allclose(objective.hessp(x)(p), change, atol=1e-8)


def test_trains_with_scipy():
    data = load_ionosphere()
    network = MLP([34, 6, 1], "tanh")
    objective = MLPObjective(network, data.X, binary_labels(data.y), loss="logistic", l2=1e-3)
    x0 = objective.x0(rng=0)
    result = scipy.optimize.minimize(
        objective.fun_and_grad,
        x0,
        jac=True,
        hessp=lambda x, p: objective.hessp(x)(p),
        method="trust-krylov",
        options={"maxiter": 60},
    )
    assert result.fun < 0.5 * objective.fun(x0)
    assert objective.accuracy(result.x) > 0.95


@pytest.mark.parametrize("method", ["lqn-tr", "newton-krylov"])
def test_trains_with_negopt_and_shares_the_passes(method):
    data = load_ionosphere()
    network = CountingMLP([34, 4, 1])
    objective = MLPObjective(network, data.X, binary_labels(data.y), loss="logistic", l2=1e-2)
    result = negopt.minimize(objective, objective.x0(rng=0), method=method)
    assert result.success
    assert np.abs(objective.grad(result.x)).max() < 1e-4
    forward, backward, products = counts(objective)
    # A second pass is allowed only where the solver comes back to an older point: after a
    # rejected trial, or for the second-order check.
    assert forward <= result.nfev + result.n_rejected + 3
    assert backward <= forward
    assert products <= result.nhev


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_other_data_share_the_network(loss: str, xp_case) -> None:
    rng = np.random.default_rng(3)
    X, labels = rng.standard_normal((9, 2)), np.array([0, 1, 1, 0, 1, 0, 0, 1, 1])
    outputs = 2 if loss == "softmax" else 1
    network = MLP([2, 3, outputs])
    y = xp_case.asarray(labels)
    whole = MLPObjective(network, xp_case.asarray(X), y, loss=loss, l2=0.1)
    x = xp_case.asarray(rng.standard_normal(network.size))
    p = xp_case.asarray(rng.standard_normal(network.size))
    rows = np.array([4, 0, 7])
    ref = MLPObjective(
        network, xp_case.asarray(X[rows]), xp_case.asarray(labels[rows]), loss=loss, l2=0.1
    )
    given = whole.on(xp_case.asarray(X[rows]), xp_case.asarray(labels[rows]))
    for part in (given, whole.take(rows)):
        assert part.network is network
        assert float(part.fun(x)) == float(ref.fun(x))
        for name in ("grad", "outputs", "predict"):
            ours, theirs = getattr(part, name)(x), getattr(ref, name)(x)
            assert xp_case.owns(ours)
            np.testing.assert_array_equal(xp_case.to_numpy(ours), xp_case.to_numpy(theirs))
        ours, theirs = part.hessp(x)(p), ref.hessp(x)(p)
        np.testing.assert_array_equal(xp_case.to_numpy(ours), xp_case.to_numpy(theirs))
        if loss != "squared":
            assert part.accuracy(x) == ref.accuracy(x)
        assert tuple(part.data[0].shape) == (3, 2)
    assert tuple(whole.data[0].shape) == (9, 2)  # as it was


def test_other_data_are_checked() -> None:
    whole = MLPObjective(MLP([2, 3, 1]), np.eye(2), [0.0, 1.0])
    with pytest.raises(ValueError, match="2 inputs"):
        whole.on(np.eye(3), np.ones(3))
    with pytest.raises(ValueError, match="'y' has shape"):
        whole.on(np.eye(2), np.ones(3))
    with pytest.raises(ValueError, match="not finite"):
        whole.on(np.full((2, 2), np.nan), np.ones(2))

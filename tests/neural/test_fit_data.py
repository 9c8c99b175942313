"""Data of `negopt.neural.fit`: trees, what all samples share, what is refused, fingerprints."""

from __future__ import annotations

import math
from collections import UserDict, namedtuple
from typing import Any

import numpy as np
import pytest

from negopt.neural import MLP, MLPObjective, fit
from negopt.neural._trees import fingerprint, number_of_samples, rows_of

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((50, 4)), RNG.standard_normal(50)
Sequence = namedtuple("Sequence", ["tokens", "lengths"])  # noqa: PYI024 - as users have it


class Linear:
    """Least squares over any tree of data, given the function that reads ``A, b`` out of it."""

    def __init__(self, read: Any, inputs: Any, targets: Any) -> None:
        self.read, self.inputs, self.targets = read, inputs, targets
        self.x0 = np.ones(4)

    def on(self, inputs: Any, targets: Any) -> Linear:
        return Linear(self.read, inputs, targets)

    def fun_and_grad(self, x: Any) -> tuple[float, Any]:
        A, b = self.read(self.inputs, self.targets)
        r = A @ x - b
        return float(0.5 * np.mean(r**2)), A.T @ r / len(r)

    def fun(self, x: Any) -> float:
        return self.fun_and_grad(x)[0]

    def grad(self, x: Any) -> Any:
        return self.fun_and_grad(x)[1]


PLAIN = Linear(lambda inputs, targets: (inputs, targets), X, Y)
TREES = {
    "namedtuple": (Sequence(X, np.arange(50)), lambda inputs: inputs.tokens),
    "mapping": (UserDict(tokens=X, more=[np.arange(50), None]), lambda inputs: inputs["tokens"]),
    "nested": ({"a": Sequence(X, (np.arange(50),))}, lambda inputs: inputs["a"].tokens),
    "scalars": ((X, 1.0, np.asarray(0.0)), lambda inputs: inputs[1] * inputs[0] + inputs[2]),
}


@pytest.mark.parametrize("name", TREES)
def test_batches_of_trees(name: str) -> None:
    inputs, read = TREES[name]
    tree = Linear(lambda inputs, targets: (read(inputs), targets), inputs, Y)
    arguments: dict[str, Any] = {"method": "lqn-tr", "epochs": 3, "batch_size": 15}
    ours, plain = fit(tree, **arguments), fit(PLAIN, **arguments)
    assert np.array_equal(ours.x, plain.x)
    assert ours.fun == plain.fun


def test_rows_keep_the_shape_of_the_tree() -> None:
    rows = np.array([3, 1])
    found = rows_of(Sequence(X, [Y, None, 2.0]), rows)
    assert isinstance(found, Sequence)
    assert np.array_equal(found.tokens, X[rows])
    assert isinstance(found.lengths, list)
    assert np.array_equal(found.lengths[0], Y[rows])
    assert found.lengths[1:] == [None, 2.0]
    assert rows_of(UserDict(a=Y), rows)["a"].tolist() == Y[rows].tolist()


def test_masks_of_inputs_and_missing_targets_are_the_losss_affair() -> None:
    mask = np.where(RNG.random((50, 4)) < 0.2, -math.inf, 0.0)
    missing = Y.copy()
    missing[::7] = math.nan

    def read(inputs: Any, targets: Any) -> Any:
        A, mask = inputs
        known = np.isfinite(targets)
        return (A * np.exp(mask))[known], targets[known]

    objective = Linear(read, (X, mask), missing)
    data = (X, mask), missing
    res = fit(objective, method="lqn-tr", epochs=4, batch_size=25, validation=data)
    assert res.fun == pytest.approx(res.validation_loss, abs=0.05)
    assert res.fun < objective.fun(np.ones(4))
    lost = X.copy()
    lost[3, 1] = math.nan
    with pytest.raises(ValueError, match=r"data has inputs that are not finite numbers \(nan\)"):
        fit(objective, data=((lost, mask), missing), batch_size=25)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ((X, list(Y)), "holds a float"),
        ((X, list(map(float, Y))), "holds a float"),
        ((X, "labels"), "holds a str"),
        ((1.0, 2.0), "arrays of .. samples"),
        ((X, Y, np.zeros(2, dtype=np.uint32)), "Close over an array that belongs to all"),
    ],
)
def test_what_is_no_data(data: Any, match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        number_of_samples(data, "data")


def test_a_random_key_and_a_number_of_jax() -> None:
    jax = pytest.importorskip("jax")
    from negopt.neural.jax import JaxObjective

    def loss(w: Any, A: Any, b: Any, key: Any, rate: Any) -> Any:
        noise = jax.random.normal(key, w.shape, dtype=w.dtype)
        return jax.numpy.mean((A @ w - b) ** 2) + rate * jax.numpy.sum(noise * w)

    key = jax.random.key(3)
    A, b = X.astype(np.float32), Y.astype(np.float32)
    params = np.ones(4, dtype=np.float32)
    objective = JaxObjective(loss, params, data=(A, b, key, 0.1))
    arguments: dict[str, Any] = {"method": "lqn-tr", "epochs": 3, "batch_size": 25}
    res = fit(objective, **arguments, validation=(A, b, key, 0.1))
    closed = JaxObjective(lambda w, A, b: loss(w, A, b, key, 0.1), params, data=(A, b))
    ref = fit(closed, **arguments, validation=(A, b))
    np.testing.assert_allclose(res.x, ref.x, rtol=1e-4)
    old = JaxObjective(loss, params, data=(A, b, jax.random.PRNGKey(3), 0.1))
    with pytest.raises(ValueError, match="Close over"):
        fit(old, **arguments)


# --- what is no objective, or no data of it -----------------------------------------------------


def test_data_of_another_library_are_named() -> None:
    torch = pytest.importorskip("torch")
    from negopt.neural.torch import TorchObjective

    net = torch.nn.Linear(4, 1, dtype=torch.float64)
    A, b = torch.as_tensor(X), torch.as_tensor(Y)[:, None]
    objective = TorchObjective(net, torch.nn.functional.mse_loss, A, b)
    for name in ("validation", "data"):
        for data in ((X, Y[:, None]), (A, Y[:, None])):
            given: dict[str, Any] = {name: data}
            words = f"{name} has numpy arrays where the objective has torch arrays"
            with pytest.raises(TypeError, match=words):
                fit(objective, epochs=2, **given)
    assert fit(objective, epochs=2, validation=(A, b)).nit == 2


def test_what_is_no_objective() -> None:
    with pytest.raises(TypeError, match=r"is a function; pass an object with fun\(x\) and grad"):
        fit(lambda x: x @ x, np.ones(3))
    with pytest.raises(TypeError, match=r"is a MLP; pass .* MLPObjective\(network, X, y\)"):
        fit(MLP([3, 1]), epochs=1)
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc]
        pass

    for module in (Net(), torch.nn.Linear(3, 1)):
        with pytest.raises(TypeError, match=r"is the module .*pass TorchObjective\(module, loss"):
            fit(module, data=(X, Y))


# --- fingerprints -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_a_fingerprint_is_that_of_the_content(dtype: str, xp_case: Any) -> None:
    values = (RNG.random((33, 5, 2)) * (2 if dtype == "bool" else 100) // 1).astype(dtype)
    mine = fingerprint(xp_case.asarray(values, dtype))
    if xp_case.name != "array_api_strict":  # which knows no bits
        assert mine == fingerprint(values)
    assert mine.startswith(f"33 x 5 x 2 {dtype} ")
    for k in range(values.size):
        other = values.copy()
        other.reshape(-1)[k] = not other.reshape(-1)[k]
        assert fingerprint(xp_case.asarray(other, dtype)) != mine
    for other in (values[::-1], values[:, ::-1], values[:32]):
        assert fingerprint(xp_case.asarray(other, dtype)) != mine


@pytest.mark.parametrize(("count", "kinds"), [(150, 3), (100, 4), (1000, 10), (64, 8)])
def test_labels_that_change_places_have_another_fingerprint(count: int, kinds: int) -> None:
    labels = np.eye(kinds)[np.repeat(np.arange(kinds), count // kinds + 1)[:count]]
    own, rng = fingerprint(labels), np.random.default_rng(0)
    assert own == fingerprint(labels.copy())
    for shift in range(1, 30):
        assert fingerprint(np.roll(labels, shift, axis=0)) != own
    for _ in range(200):
        i, j = rng.integers(count, size=2)
        swapped = labels.copy()
        swapped[[i, j]] = labels[[j, i]]
        assert (fingerprint(swapped) == own) == np.array_equal(swapped, labels)
    y = np.array([0.0, 1.0, 1.0, 0.0])
    assert fingerprint(y) != fingerprint(1.0 - y)


def test_fingerprints_go_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((40, 50))
    whole = fingerprint(x[:, :3])
    monkeypatch.setattr("negopt.neural._trees.BLOCK", 7)
    x[30, 2] = np.nextafter(x[30, 2], 9.0)
    assert fingerprint(x[:, :3]) != whole
    assert fingerprint(np.float32(2)) == fingerprint(np.asarray(np.float32(2)))
    assert fingerprint(np.int64(2)) != fingerprint(np.int64(3))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_fingerprints_of_sparse_data() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.random_array((20, 5), density=0.3, rng=0)
    own = fingerprint(matrix)
    assert own == fingerprint(matrix.copy()) != fingerprint(2 * matrix)
    torch = pytest.importorskip("torch")
    tensor = torch.asarray(matrix.toarray())
    for kind in (tensor.to_sparse(), tensor.to_sparse_csr()):
        assert fingerprint(kind) == fingerprint(kind.clone()) != fingerprint(2 * kind)
    z = torch.complex(tensor, tensor.roll(1))
    assert fingerprint(z.conj()) == fingerprint(z.conj().clone()) != fingerprint(z)
    assert fingerprint(z.conj().imag) == fingerprint(-z.imag)


def test_fingerprints_of_signs_trees_and_other_types() -> None:
    signs = np.sign(Y)
    assert fingerprint(signs) != fingerprint(-signs)
    assert fingerprint(signs) != fingerprint(np.roll(signs, 1))
    tree = {"b": (X[:2], None, 0.5), "a": Y[:0]}
    found = fingerprint(tree)
    assert found == fingerprint(dict(reversed(tree.items())))
    assert found.startswith("{a: 0 float64 ")
    assert found.endswith(", None, 0.5)}")
    assert fingerprint(object()) == "object"
    assert fingerprint(np.array(["a", "b"])) == "2 <U1"
    assert fingerprint(X[:2] + 0j) != fingerprint(X[:2] + 1j)
    jax = pytest.importorskip("jax")
    keys = [jax.random.key(seed) for seed in (0, 1)]
    assert fingerprint(keys[0]) == fingerprint(jax.random.key(0)) != fingerprint(keys[1])
    single = X.astype(np.float32)
    assert fingerprint(jax.numpy.asarray(single)) == fingerprint(single)


# --- batch norm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 16])
def test_the_best_epoch_is_returned_with_its_buffers(batch_size: int | None, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    from negopt.neural.torch import TorchObjective

    rng = np.random.default_rng(2)
    A = torch.as_tensor(rng.standard_normal((80, 4)))
    b = torch.as_tensor(rng.standard_normal((80, 1)))
    mse = torch.nn.functional.mse_loss

    def new() -> Any:
        torch.manual_seed(0)
        layers = torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh()
        net = torch.nn.Sequential(*layers, torch.nn.Linear(8, 1)).double()
        return TorchObjective(net, mse, A[:40], b[:40])

    def loss_of(objective: Any, x: Any) -> float:
        objective.load(x)
        objective.module.eval()
        with torch.no_grad():
            return float(mse(objective.module(A[40:]), b[40:]))

    arguments: dict[str, Any] = {
        "method": "lqn-tr",
        "batch_size": batch_size,
        "validation": (A[40:], b[40:]),
    }
    objective = new()
    before = objective.x0
    res = fit(objective, epochs=8, **arguments)
    assert res.best_epoch < 8  # else nothing is shown
    assert torch.equal(objective.x0, before)  # `fit` leaves the weights to `load`
    assert loss_of(objective, res.x) == res.validation_loss
    best = objective.buffers()

    # A run that is resumed after its best epoch knows them too, and the file has the last ones.
    path, objective = tmp_path / "run.npz", new()
    fit(objective, epochs=res.best_epoch + 1, checkpoint=path, **arguments)
    objective = new()
    part = fit(objective, epochs=8, resume=path, **arguments)
    assert torch.equal(part.x, res.x)
    assert torch.equal(part.x_last, res.x_last)
    assert loss_of(objective, part.x) == part.validation_loss == res.validation_loss
    for name, value in objective.buffers().items():
        assert np.array_equal(value, best[name])
    again = new()
    more = fit(again, epochs=10, resume=path, **arguments)
    whole = fit(new(), epochs=10, **arguments)
    assert torch.equal(more.x_last, whole.x_last)
    history = more.history["epochs"]["validation_loss"]
    np.testing.assert_array_equal(history, whole.history["epochs"]["validation_loss"])


def test_a_fingerprint_is_made_for_files_alone(tmp_path: Any, monkeypatch: Any) -> None:
    def unwanted(tree: Any) -> str:
        raise AssertionError

    monkeypatch.setattr("negopt.neural.train.fingerprint", unwanted)
    objective = MLPObjective(MLP([4, 1]), X, Y)
    fit(objective, epochs=1, validation=(X, Y))
    with pytest.raises(AssertionError):
        fit(objective, epochs=1, checkpoint=tmp_path / "run.npz")

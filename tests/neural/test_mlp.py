"""The network: derivatives against differences and torch, all libraries alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from negopt.core.arrays import to_host
from negopt.neural import MLP, MLPObjective
from negopt.neural.activations import ACTIVATIONS

HIDDEN = [(), (5,), (4, 3), (3, 4, 3, 2)]
OUTPUTS = {"squared": 2, "logistic": 1, "softmax": 3}
CASES = list(itertools.product(ACTIVATIONS, OUTPUTS, HIDDEN))


def problem(activation, loss, hidden, *, bias=True, l2=0.0, dtype="float64", convert=None):
    """Return an objective and a point where no relu is near its kink."""
    rng = np.random.default_rng(7)
    k = OUTPUTS[loss]
    X = rng.standard_normal((11, 3)).astype(dtype)
    y = {
        "squared": rng.standard_normal((11, k)).astype(dtype),
        "logistic": np.where(rng.random(11) < 0.5, -1.0, 1.0),
        "softmax": rng.integers(0, k, 11),
    }[loss]
    network = MLP([3, *hidden, k], activation, bias)
    x = (0.5 * rng.standard_normal(network.size)).astype(dtype)
    if convert is not None:
        X, y, x = convert(X), convert(y), convert(x)
    return MLPObjective(network, X, y, loss=loss, l2=l2), x


@pytest.mark.parametrize(("activation", "loss", "hidden"), CASES)
def test_derivatives_agree_with_differences(activation, loss, hidden):
    variants = [(True, 0.0), (False, 0.3)] if len(hidden) < 3 else [(True, 0.3)]
    for bias, l2 in variants:
        objective, x = problem(activation, loss, hidden, bias=bias, l2=l2)
        rng = np.random.default_rng(1)
        g, product, h = objective.grad(x), objective.hessp(x), 1e-5
        for d in rng.standard_normal((3, x.size)):
            d /= np.linalg.norm(d)
            (f_up, g_up), (f_down, g_down) = (
                objective.fun_and_grad(x + h * d),
                objective.fun_and_grad(x - h * d),
            )
            assert (f_up - f_down) / (2 * h) == pytest.approx(g @ d, abs=2e-9)
            np.testing.assert_allclose(product(d), (g_up - g_down) / (2 * h), atol=2e-9)


@pytest.mark.parametrize(("activation", "loss", "hidden"), CASES)
def test_hessian_is_symmetric_and_linear(activation, loss, hidden):
    objective, x = problem(activation, loss, hidden, l2=0.1)
    product = objective.hessp(x)
    H = np.stack([product(e) for e in np.eye(x.size)], axis=1)
    np.testing.assert_allclose(H, H.T, atol=1e-14)
    p = np.random.default_rng(2).standard_normal(x.size)
    np.testing.assert_allclose(product(p), H @ p, atol=1e-13)


def torch_value(torch, objective, x, X, y):
    """Return the same loss in torch, written on its own functions."""
    functional = torch.nn.functional
    phi = {
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softplus": functional.softplus,
        "relu": torch.relu,
    }[objective.network.activation]
    sizes, start, a = objective.network.sizes, 0, X
    for index, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        weight = x[start : start + n_in * n_out].reshape(n_out, n_in)
        bias = x[start + n_in * n_out : start + n_in * n_out + n_out]
        start += n_in * n_out + n_out
        a = functional.linear(a, weight, bias)
        a = phi(a) if index < len(sizes) - 2 else a
    if objective.loss.name == "squared":
        value = functional.mse_loss(a, y) * a.shape[1] / 2
    elif objective.loss.name == "logistic":
        value = functional.binary_cross_entropy_with_logits(a[:, 0], (y + 1) / 2)
    else:
        value = functional.cross_entropy(a, y)
    return value + objective.l2 / 2 * (x @ x)


@pytest.mark.parametrize(("activation", "loss", "hidden"), CASES)
def test_same_as_torch_autograd(activation, loss, hidden):
    torch = pytest.importorskip("torch")
    objective, x = problem(activation, loss, hidden, l2=0.05, convert=torch.asarray)
    _, host = problem(activation, loss, hidden)
    y = problem(activation, loss, hidden)[0]._y
    p = torch.asarray(np.random.default_rng(3).standard_normal(x.shape[0]))
    leaf = x.clone().requires_grad_()
    value = torch_value(torch, objective, leaf, objective.X, torch.asarray(y))
    (g,) = torch.autograd.grad(value, leaf, create_graph=True)
    (hp,) = torch.autograd.grad(g @ p, leaf)
    f, gradient = objective.fun_and_grad(x)
    assert float(f) == pytest.approx(value.item(), rel=1e-14)
    np.testing.assert_allclose(gradient.numpy(), g.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(objective.hessp(x)(p).numpy(), hp.numpy(), rtol=1e-11, atol=1e-13)
    assert np.array_equal(x.numpy(), host)


def test_same_layout_as_torch_sequential():
    torch = pytest.importorskip("torch")
    network = MLP([3, 4, 2], "tanh")
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
    ).double()
    x = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    X = torch.asarray(np.random.default_rng(0).standard_normal((5, 3)))
    torch.testing.assert_close(network.forward(x, X), module(X).detach())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_library_gives_the_same(xp_case, activation, loss, dtype):
    reference, host = problem(activation, loss, (4, 3), l2=0.1)
    objective, x = problem(
        activation,
        loss,
        (4, 3),
        l2=0.1,
        dtype=dtype,
        convert=lambda a: xp_case.asarray(a, dtype if a.dtype.kind == "f" else "int64"),
    )
    p = xp_case.asarray(np.linspace(-1, 1, host.size), dtype)
    f, g = objective.fun_and_grad(x)
    hp = objective.hessp(x)(p)
    wanted = getattr(xp_case.xp, dtype)
    for vector in (g, hp, objective.outputs(x), objective.x0(rng=0)):
        assert xp_case.owns(vector)
        assert vector.dtype == wanted
    assert f.dtype == xp_case.xp.float64
    tol = 1e-5 if dtype == "float32" else 1e-13
    assert float(f) == pytest.approx(float(reference.fun(host)), rel=tol)
    np.testing.assert_allclose(to_host(g), reference.grad(host), atol=tol)
    expected = reference.hessp(host)(np.linspace(-1, 1, host.size))
    np.testing.assert_allclose(to_host(hp), expected, atol=5 * tol)
    predicted = to_host(objective.predict(x))
    np.testing.assert_allclose(predicted, reference.predict(host), rtol=1e-4, atol=1e-4)


def test_float32_loss_is_summed_in_float64():
    # One large term and many small ones: a running float32 sum loses the small ones.
    X = np.ones((200_000, 1), dtype=np.float32)
    y = np.zeros(200_000)
    y[0] = 1e3
    objective = MLPObjective(MLP([1, 1]), X, y)
    value = objective.fun(np.array([0.01, 0.0], dtype=np.float32))
    exact = (199_999 * np.float64(np.float32(0.01)) ** 2 + (1e3 - 0.01) ** 2) / 400_000
    assert float(value) == pytest.approx(exact, rel=1e-7)


def test_extreme_parameters_stay_finite():
    for activation, loss in itertools.product(ACTIVATIONS, ("logistic", "softmax")):
        objective, x = problem(activation, loss, (4,))
        for scale in (1e3, 1e-200):
            f, g = objective.fun_and_grad(scale * x)
            assert np.isfinite(f)
            assert np.isfinite(g).all()
            assert np.isfinite(objective.hessp(scale * x)(x)).all()


def test_names_and_views():
    network = MLP([3, 4, 2])
    assert network.layout.names == (
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
    )
    assert network.layout.shapes == ((4, 3), (4,), (2, 4), (2,))
    assert network.size == 26
    x = network.init(rng=0)
    assert np.shares_memory(network.unflatten(x)["layers"][0]["weight"], x)
    assert MLP([3, 4, 2], bias=False).size == 20
    # The network's layout takes any library and type, but only one at a time.
    np.testing.assert_array_equal(network.layout.flatten(network.unflatten(x)), x)
    mixed = network.unflatten(x)
    mixed["layers"][1]["bias"] = np.zeros(2, dtype=np.float32)
    with pytest.raises(ValueError, match=r"'layers\.1\.bias' has type float32; expected float64"):
        network.layout.flatten(mixed)


def test_init(xp_case):
    network = MLP([30, 20, 2])
    x = network.init(rng=5, xp=xp_case.xp, dtype="float32", device=xp_case.device)
    assert xp_case.owns(x)
    assert x.dtype == xp_case.xp.float32
    host = network.init(rng=np.random.default_rng(5))
    np.testing.assert_array_equal(to_host(x), host.astype(np.float32))
    first, last = network.unflatten(host)["layers"]
    assert not first["bias"].any()
    assert 0.9 * np.sqrt(6 / 50) < np.abs(first["weight"]).max() <= np.sqrt(6 / 50)
    assert np.abs(last["weight"]).max() <= np.sqrt(6 / 22)
    relu = MLP([30, 20, 2], "relu")
    first, last = relu.unflatten(relu.init(rng=5))["layers"]
    assert 0.9 * np.sqrt(6 / 30) < np.abs(first["weight"]).max() <= np.sqrt(6 / 30)
    assert np.abs(last["weight"]).max() <= np.sqrt(6 / 22)
    assert not np.array_equal(network.init(), network.init())


@pytest.mark.parametrize("sizes", [[3], [3, 0], []])
def test_bad_sizes(sizes):
    with pytest.raises(ValueError, match="'sizes'"):
        MLP(sizes)


def test_bad_activation():
    with pytest.raises(ValueError, match=r"'activation' is 'gelu'.*softplus"):
        MLP([1, 1], "gelu")

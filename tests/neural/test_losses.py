"""Losses and activations: values, derivatives, extreme arguments."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from negopt.neural.activations import ACTIVATIONS, log_sum_exp, sigmoid, softplus
from negopt.neural.losses import LOSSES

LABELS = {
    "squared": (np.array([[0.5, -1.0], [2.0, 0.0], [1.0, 1.0]]), 2),
    "logistic": (np.array([1.0, -1.0, 1.0]), 1),
    "softmax": (np.array([0, 2, 1]), 3),
}
EXTREME = np.array([-800.0, -100.0, -40.0, -1e-3, 0.0, 1e-3, 0.7, 40.0, 100.0, 800.0])


def outputs(name, scale=1.0):
    _, k = LABELS[name]
    return scale * np.random.default_rng(3).standard_normal((3, k))


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_agree_with_differences(name):
    y, k = LABELS[name]
    loss, z = LOSSES[name], outputs(name)
    target = loss.target(y, z, k)
    at, h = loss.at(z, target), 1e-5
    rng = np.random.default_rng(0)
    for _ in range(3):
        d = rng.standard_normal(z.shape)
        up, down = loss.at(z + h * d, target), loss.at(z - h * d, target)
        assert (up.value - down.value) / (2 * h) == pytest.approx(np.sum(at.gradient * d), abs=1e-9)
        change = (up.gradient - down.gradient) / (2 * h)
        np.testing.assert_allclose(at.hessian_product(d), change, atol=1e-9)


def test_values_by_hand():
    z = np.array([[1.0], [3.0]])
    squared = LOSSES["squared"]
    # half the mean over samples: (1 + 4) / (2 * 2)
    assert squared.at(z, squared.target([0.0, 1.0], z, 1)).value == 1.25
    two = np.array([[1.0, 3.0]])  # summed, not averaged, over the outputs
    assert squared.at(two, squared.target([[0.0, 1.0]], two, 2)).value == 2.5
    logistic = LOSSES["logistic"]
    expected = (np.log1p(np.exp(-1.0)) + np.log1p(np.exp(3.0))) / 2
    for y in ([1, -1], [1, 0], [True, False], [[1], [0]]):
        value = logistic.at(z, logistic.target(y, z, 1)).value
        assert value == pytest.approx(expected, rel=1e-15)
    softmax = LOSSES["softmax"]
    value = softmax.at(two, softmax.target([0], two, 2)).value
    assert value == pytest.approx(np.log1p(np.exp(2.0)), rel=1e-15)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_outputs_give_finite_numbers(name, dtype):
    y, k = LABELS[name]
    loss = LOSSES[name]
    for scale in (1e4, 1e-30):
        z = outputs(name, scale).astype(dtype)
        at = loss.at(z, loss.target(y, z, k))
        assert at.value.dtype == np.float64
        assert at.gradient.dtype == z.dtype
        product = at.hessian_product(np.ones_like(z))
        assert product.dtype == z.dtype
        assert np.isfinite(at.value)
        assert np.isfinite(at.gradient).all()
        assert np.isfinite(product).all()


def test_sigmoid_and_softplus_against_mpmath():
    for z, s, p in zip(EXTREME, sigmoid(EXTREME), softplus(EXTREME), strict=True):
        exact = 1 / (1 + mpmath.exp(-mpmath.mpf(float(z))))
        assert float(s) == pytest.approx(float(exact), rel=4e-16, abs=0)
        with mpmath.workdps(400):
            exact = mpmath.log1p(mpmath.exp(mpmath.mpf(float(z))))
        assert float(p) == pytest.approx(float(exact), rel=4e-16, abs=0)


def test_log_sum_exp_is_shifted():
    z = np.array([[1000.0, 1000.0], [-1000.0, -1001.0]])
    log_sum, p = log_sum_exp(z)
    np.testing.assert_allclose(log_sum[:, 0], [1000 + np.log(2), -1000 + np.log1p(np.exp(-1))])
    np.testing.assert_allclose(p.sum(axis=1), 1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivatives_in_terms_of_the_value(name):
    phi = ACTIVATIONS[name]
    z, h = np.linspace(-4, 4, 40), 1e-5  # 0 is not among them: relu has a kink there
    a = phi.value(z)
    slope = phi.slope(a)
    np.testing.assert_allclose(slope, (phi.value(z + h) - phi.value(z - h)) / (2 * h), atol=1e-9)
    bend = np.zeros_like(z) if phi.second is None else phi.second(a, slope)
    change = (phi.slope(phi.value(z + h)) - phi.slope(phi.value(z - h))) / (2 * h)
    np.testing.assert_allclose(bend, change, atol=1e-9)
    extreme = phi.value(EXTREME)
    assert np.isfinite(extreme).all()
    assert np.isfinite(phi.slope(extreme)).all()
    assert np.isnan(phi.value(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    ("name", "y", "outputs", "message"),
    [
        ("squared", [1.0, 2.0], 1, r"'y' has shape \(2,\)"),
        ("squared", [1.0, 2.0, 3.0], 2, r"need \(3, 2\)"),
        ("squared", [1.0, np.nan, 3.0], 1, "not finite"),
        ("logistic", [1, 2, 1], 1, "labels 1, 2;.*binary_labels"),
        ("logistic", [1, 0, -1], 1, "labels -1, 0, 1"),
        ("logistic", [1, 0, 1], 2, "one output, this one has 2"),
        ("logistic", [1, 0], 1, r"shape \(2,\)"),
        ("softmax", [0, 1, 3], 3, "from 0 to 2"),
        ("softmax", [0, 1, -1], 3, "labels -1, 0, 1"),
        ("softmax", [0, 0.5, 1], 3, "labels 0, 0.5, 1"),
        ("softmax", [0, 0, 0], 1, "one output per class"),
    ],
)
def test_bad_labels(name, y, outputs, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name].target(y, np.zeros((3, 1)), outputs)


def test_labels_of_another_library():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="'y' is a array_api_strict array"):
        LOSSES["squared"].target(strict.ones(3), np.zeros((3, 1)), 1)

"""Random smooth functions, bounded below, with exact derivatives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

FAMILIES = ("quartic", "logcosh", "sine", "net")


@dataclasses.dataclass
class RidgeSum:
    """``f(x) = x'Ax/2 + b'x + sum_i a_i phi(w_i'x + c_i)`` with phi, phi', phi'' given.

    ``lipschitz`` bounds the Hessian's norm everywhere; inf for the quartic family.
    """

    A: np.ndarray
    b: np.ndarray
    a: np.ndarray
    W: np.ndarray
    c: np.ndarray
    phi: tuple
    curvature: float

    @property
    def n(self):
        return self.b.shape[0]

    @property
    def lipschitz(self):
        ridges = np.sum(np.abs(self.a) * np.sum(self.W**2, axis=1))
        return np.linalg.norm(self.A, 2) + self.curvature * ridges

    def fun(self, x):
        return float(x @ self.A @ x / 2 + self.b @ x + self.a @ self.phi[0](self.W @ x + self.c))

    def grad(self, x):
        return self.A @ x + self.b + self.W.T @ (self.a * self.phi[1](self.W @ x + self.c))

    def hess(self, x):
        return self.A + self.W.T @ ((self.a * self.phi[2](self.W @ x + self.c))[:, None] * self.W)

    def hessp(self, x, p):
        return self.hess(x) @ p


@dataclasses.dataclass
class SmallNet:
    """Squared loss of ``v'tanh(W u)`` over random data, with weight decay."""

    U: np.ndarray
    t: np.ndarray
    hidden: int
    decay: float

    @property
    def n(self):
        return self.hidden * (self.U.shape[1] + 1)

    def _split(self, x):
        cut = self.hidden * self.U.shape[1]
        return x[:cut].reshape(self.hidden, -1), x[cut:]

    def fun(self, x):
        W, v = self._split(x)
        r = np.tanh(self.U @ W.T) @ v - self.t
        return float(r @ r / 2 / len(r) + self.decay * (x @ x) / 2)

    def grad(self, x):
        W, v = self._split(x)
        h = np.tanh(self.U @ W.T)
        r = (h @ v - self.t) / len(self.t)
        inner = (r[:, None] * v) * (1 - h * h)
        return np.concatenate([(inner.T @ self.U).ravel(), h.T @ r]) + self.decay * x

    def hessp(self, x, p):
        (W, v), (P, q) = self._split(x), self._split(p)
        h = np.tanh(self.U @ W.T)
        m = len(self.t)
        dh = (1 - h * h) * (self.U @ P.T)
        r, dr = (h @ v - self.t) / m, (dh @ v + h @ q) / m
        slope = 1 - h * h
        d_inner = (dr[:, None] * v + r[:, None] * q) * slope - 2 * r[:, None] * v * h * dh
        return np.concatenate([(d_inner.T @ self.U).ravel(), h.T @ dr + dh.T @ r]) + self.decay * p


def _logcosh(t):
    return np.abs(t) + np.log1p(np.exp(-2 * np.abs(t))) - np.log(2.0)


PHI = {
    "quartic": ((lambda t: t**4 / 4, lambda t: t**3, lambda t: 3 * t**2), np.inf),
    "logcosh": ((_logcosh, np.tanh, lambda t: 1 - np.tanh(t) ** 2), 1.0),
    "sine": ((np.sin, np.cos, lambda t: -np.sin(t)), 1.0),
}


def build(family, n, seed):
    """Return a random function of about n variables (exactly n but for nets)."""
    rng = np.random.default_rng([seed, n, FAMILIES.index(family)])
    if family == "net":
        inputs = 2
        hidden = max(1, n // (inputs + 1))
        U = rng.standard_normal((9, inputs))
        return SmallNet(U, np.sin(2 * U[:, 0]) + U[:, 1], hidden, 1e-2)
    phi, curvature = PHI[family]
    rotation = np.linalg.qr(rng.standard_normal((n, n)))[0]
    if family == "quartic":  # the Hessian at 0 is indefinite; the quartic part wins far out
        values = rng.uniform(-2.0, 4.0, n)
        A = (rotation * values) @ rotation.T
        W = np.linalg.qr(rng.standard_normal((n, n)))[0]
        a, c = rng.uniform(0.2, 2.0, n), np.zeros(n)
    else:
        A = 0.3 * np.eye(n)
        W = rng.standard_normal((n + 2, n)) * rng.uniform(0.5, 1.5, (n + 2, 1)) / np.sqrt(n)
        a, c = rng.uniform(-1.5, 1.5, n + 2), rng.uniform(-2, 2, n + 2)
    b = 0.3 * rng.standard_normal(n)
    return RidgeSum((A + A.T) / 2, b, a, W, c, phi, curvature)


@pytest.fixture(scope="session")
def random_function():
    """The builder ``(family, n, seed) -> function``."""
    return build

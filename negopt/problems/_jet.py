"""Second-order forward differentiation of element functions, exact to rounding.

A test problem is a sum of many copies of a few small functions.  Such an element
function is written once, as the formula of its paper; called with arrays it gives
values, called with `Jet` objects it gives values, gradients and Hessians with
respect to its few inputs by the rules of calculus (no differences are taken).

References
----------
A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM, 2008,
doi:10.1137/1.9780898717761 (chapters 3 and 13).
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from negopt.core.arrays import Array, namespace_of


def _plus(a: Array | None, b: Array | None) -> Array | None:
    """Add two derivative arrays, where None stands for zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _times(factor: Array, a: Array | None) -> Array | None:
    return None if a is None else factor * a


def _outer(a: Array, b: Array) -> Array:
    """Return ``a_i b_j`` for every element, shape (k, k, m)."""
    return a[:, None, :] * b[None, :, :]


class Jet:
    """A value with its first and second derivatives in k inputs.

    `value` has shape (m,), one entry per element (length one is broadcast); `first`, (k, m) or
    (k, 1), is None for a constant; `second`, (k, k, m), is None where it is zero or not asked for.
    `order` is 2 when second derivatives are carried, 1 when they are not, 0 for a constant.
    """

    __slots__ = ("first", "order", "second", "value")
    __array_ufunc__ = None  # NumPy must hand `array * jet` to Jet.__rmul__

    def __init__(
        self, value: Array, first: Array | None = None, second: Array | None = None, order: int = 0
    ) -> None:
        self.value, self.first, self.second, self.order = value, first, second, order

    def chain(self, value: Array, slope: Array, curvature: Callable[[], Array]) -> Jet:
        """Return phi(self) from phi, phi' and (when needed) phi''."""
        if self.first is None:
            return Jet(value)
        second = None
        if self.order == 2:
            bent = curvature() * _outer(self.first, self.first)
            second = _plus(bent, _times(slope, self.second))
        return Jet(value, slope * self.first, second, self.order)

    def __neg__(self) -> Jet:
        return self * -1.0

    def __add__(self, other: Jet | float) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.first, self.second, self.order)
        return Jet(
            self.value + other.value,
            _plus(self.first, other.first),
            _plus(self.second, other.second),
            max(self.order, other.order),
        )

    __radd__ = __add__

    def __sub__(self, other: Jet | float) -> Jet:
        return self + (-other)

    def __rsub__(self, other: float) -> Jet:
        return -self + other

    def __mul__(self, other: Jet | float) -> Jet:
        if not isinstance(other, Jet):
            first, second = _times(other, self.first), _times(other, self.second)
            return Jet(self.value * other, first, second, self.order)
        order = max(self.order, other.order)
        first = _plus(_times(other.value, self.first), _times(self.value, other.first))
        second = None
        if order == 2:
            second = _plus(_times(other.value, self.second), _times(self.value, other.second))
            if self.first is not None and other.first is not None:
                cross = _outer(self.first, other.first)
                second = _plus(second, cross + _outer(other.first, self.first))
        return Jet(self.value * other.value, first, second, order)

    __rmul__ = __mul__

    def __truediv__(self, other: Jet | float) -> Jet:
        return self * (1.0 / other)

    def __rtruediv__(self, other: float) -> Jet:
        inverse = 1.0 / self.value
        reciprocal = self.chain(inverse, -inverse * inverse, lambda: 2.0 * inverse**3)
        return reciprocal * other

    def __pow__(self, power: Jet | float) -> Jet:
        if isinstance(power, Jet):
            return exp(power * log(self))
        v, p = self.value, power
        if p == 2:
            return self.chain(v * v, 2.0 * v, lambda: 2.0)
        return self.chain(v**p, p * v ** (p - 1), lambda: p * (p - 1) * v ** (p - 2))


#: What an element function computes with: arrays, or jets over arrays.
Value = Jet | Array


def _elementary(
    name: str, slopes: Callable[[ModuleType, Array, Array], tuple[Array, Callable[[], Array]]]
) -> Callable[[Value], Value]:
    """Return the array API's function `name`, of arrays or jets.

    `slopes` takes the namespace, x and f(x), and returns f'(x) and a function that returns f''(x).
    """

    def function(z: Value) -> Value:
        if not isinstance(z, Jet):
            return getattr(namespace_of(z), name)(z)
        xp, x = namespace_of(z.value), z.value
        f = getattr(xp, name)(x)
        return z.chain(f, *slopes(xp, x, f))

    return function


exp = _elementary("exp", lambda _xp, _x, f: (f, lambda: f))
log = _elementary("log", lambda _xp, x, _f: (1.0 / x, lambda: -(1.0 / x) * (1.0 / x)))
sqrt = _elementary("sqrt", lambda _xp, x, f: (0.5 / f, lambda: -0.25 / (f * x)))
sin = _elementary("sin", lambda xp, x, f: (xp.cos(x), lambda: -f))
cos = _elementary("cos", lambda xp, x, f: (-xp.sin(x), lambda: -f))
tan = _elementary("tan", lambda _xp, _x, f: (1.0 + f * f, lambda: 2.0 * f * (1.0 + f * f)))
arctan = _elementary(
    "atan", lambda _xp, x, _f: (1.0 / (1.0 + x * x), lambda: -2.0 * x / (1.0 + x * x) ** 2)
)


def arctan2(y: Value, x: Value) -> Value:
    """Return the angle of the point (x, y), both arrays or both jets."""
    if not isinstance(y, Jet):
        return namespace_of(y, x).atan2(y, x)
    xp = namespace_of(y.value, x.value)
    angle = xp.atan2(y.value, x.value)
    # In coordinates turned by the present angle the point lies on the positive
    # axis, where atan2 is arctan(y/x) and no division by zero can happen.
    c, s = Jet(xp.cos(angle)), Jet(xp.sin(angle))
    turned = arctan((c * y - s * x) / (c * x + s * y))
    return Jet(angle, turned.first, turned.second, turned.order)

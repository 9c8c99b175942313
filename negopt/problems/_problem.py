"""The test problem: an objective object with what is known about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import Array, device_of, namespace_of
from negopt.problems._models import Model

#: A vector of host floats.
Vector = npt.NDArray[np.float64]


def frozen(values: npt.ArrayLike) -> Vector:
    """Return `values` as a new read-only float64 vector."""
    out = np.array(values, dtype=np.float64)
    out.flags.writeable = False
    return out


def steps(m: int, scale: float = 1.0) -> Vector:
    """Return `scale` times 1, ..., m."""
    return scale * np.arange(1.0, m + 1.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A smooth unconstrained minimisation problem with exact derivatives.

    The methods take vectors of any supported array library and return vectors of the
    same library, device and floating-point type.  A problem is an objective object:
    ``negopt.minimize(problem, problem.x0)`` uses its gradient and Hessian products.
    Where a formula overflows the result is inf or nan, without a warning.

    Parameters
    ----------
    name : str
        Name in the collection, for example ``"rosenbrock"``.
    n : int
        Number of variables.
    x0 : numpy.ndarray, shape (n,)
        Standard starting point, read-only.
    model : Model
        The function and its derivatives.
    minimum : float or None
        Global minimum value (for NIST problems the certified residual sum of
        squares), or None where it is not known in closed form or from the reference.
    local_minima : tuple of float
        Values of other known local minima.
    minimizer : numpy.ndarray, shape (n,), or None
        A point with value `minimum`, read-only.
    saddles : tuple of numpy.ndarray
        Known stationary points that are not minimisers.
    starts : tuple of numpy.ndarray
        Further standard starting points.
    reference : str
        Where the problem comes from, with a DOI where there is one.
    tags : frozenset of str
        Families the problem belongs to, for example ``{"mgh", "least-squares"}``.
    formula : str
        The objective in words and symbols.

    Notes
    -----
    Derivatives are formed by the rules of calculus on the element functions, exact to
    rounding; no differences are taken.

    **Guarantee**: gradients and Hessian products agree with complex or central
    differences, and known points with their values (``tests/problems``).

    References
    ----------
    J. J. More, B. S. Garbow and K. E. Hillstrom, Testing unconstrained optimization
    software, ACM Trans. Math. Softw. 7 (1981) 17-41, doi:10.1145/355934.355936.
    """

    name: str
    n: int
    x0: Vector
    model: Model = field(repr=False)
    minimum: float | None = None
    local_minima: tuple[float, ...] = ()
    minimizer: Vector | None = field(default=None, repr=False)
    saddles: tuple[Vector, ...] = field(default=(), repr=False)
    starts: tuple[Vector, ...] = field(default=(), repr=False)
    reference: str = field(default="", repr=False)
    tags: frozenset[str] = frozenset()
    formula: str = field(default="", repr=False)

    def fun(self, x: Array) -> Array:
        """Return the objective at `x`, shape (n,), as a zero-dimensional value."""
        self._check(x, "x")
        with np.errstate(all="ignore"):
            return self.model.value(x)

    def grad(self, x: Array) -> Array:
        """Return the gradient at `x`, shape (n,)."""
        return self.fun_and_grad(x)[1]

    def fun_and_grad(self, x: Array) -> tuple[Array, Array]:
        """Return the objective and the gradient at `x`, sharing work."""
        self._check(x, "x")
        with np.errstate(all="ignore"):
            return self.model.value_and_gradient(x)

    def hessp(self, x: Array) -> Callable[[Array], Array]:
        """Return the function ``p -> H(x) p``; what depends on `x` alone is done once."""
        self._check(x, "x")
        with np.errstate(all="ignore"):
            product = self.model.hessian_product(x)

        def checked(p: Array) -> Array:
            self._check(p, "p")
            with np.errstate(all="ignore"):
                return product(p)

        return checked

    def hess(self, x: Array) -> Array:
        """Return the dense Hessian at `x`, shape (n, n): n products, for small n."""
        xp = namespace_of(x)
        product = self.hessp(x)
        eye = xp.eye(self.n, dtype=x.dtype, device=device_of(x))
        return xp.stack([product(eye[i, :]) for i in range(self.n)], axis=1)

    def start(
        self,
        xp: ModuleType | None = None,
        dtype: object = None,
        device: object = None,
        which: int = 0,
    ) -> Array:
        """Return a starting point in another array library.

        Parameters
        ----------
        xp : module, default None
            Array namespace; None is NumPy.
        dtype : dtype of `xp`, default None
            Floating-point type; None is float64.
        device : device of `xp`, default None
            Where the array lives; None is the library's default device.
        which : int, default 0
            0 is `x0`; 1, 2, ... are `starts`.

        Returns
        -------
        array, shape (n,)
            A fresh, writeable array.

        Raises
        ------
        ValueError
            When there is no start number `which`.
        """
        points = (self.x0, *self.starts)
        if not 0 <= which < len(points):
            raise ValueError(
                f"'which' must lie between 0 and {len(points) - 1}; got {which}. "
                f"Problem '{self.name}' has {len(points)} starting point(s)."
            )
        if xp is None:
            host: npt.DTypeLike = np.float64 if dtype is None else dtype  # type: ignore[assignment]
            return np.array(points[which], dtype=host)
        dtype = xp.float64 if dtype is None else dtype
        return xp.asarray(points[which].tolist(), dtype=dtype, device=device)

    def _check(self, v: Array, name: str) -> None:
        if v.shape != (self.n,):
            raise ValueError(
                f"'{name}' has shape {tuple(v.shape)}, but problem '{self.name}' has "
                f"n = {self.n} variables; pass a vector of shape ({self.n},)."
            )

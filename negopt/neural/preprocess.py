"""Convert labels to the numbers that losses take, and scale features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import Array, FloatArray, namespace_of

__all__ = ["binary_labels", "class_labels", "standardize"]


def binary_labels(y: npt.ArrayLike) -> FloatArray:
    """Map two-valued labels to -1 and +1; the larger one becomes +1.

    Parameters
    ----------
    y : array_like, shape (N,)
        Such as {-1, 1}, {0, 1}, {1, 2}, or two words (in alphabetical order).

    Returns
    -------
    ndarray, shape (N,)
        Of float64.
    """
    indices, classes = class_labels(y)
    if classes.size != 2:
        some = ", ".join(str(c) for c in classes[:6])
        raise ValueError(
            f"'y' holds {classes.size} different labels ({some}); exactly two are needed. "
            "For more, use class_labels."
        )
    return np.where(indices == 1, 1.0, -1.0)


def class_labels(y: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.generic]]:
    """Map labels to the whole numbers 0 .. K-1, in rising order.

    Parameters
    ----------
    y : array_like, shape (N,)
        Numbers or words.

    Returns
    -------
    indices : ndarray, shape (N,)
        Of int64; ``classes[indices]`` is `y`.
    classes : ndarray, shape (K,)
        The different labels, sorted.

    Raises
    ------
    ValueError
        When `y` has more than one dimension, is empty, or holds NaN.
    """
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"'y' has shape {labels.shape}; expected (N,) with N > 0.")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError("'y' holds NaN; drop those samples.")
    classes, indices = np.unique(labels, return_inverse=True)
    return indices.astype(np.int64), classes


def standardize(
    X: Array, mean: Array | None = None, std: Array | None = None
) -> tuple[Array, Array, Array]:
    """Shift and scale every feature to mean 0 and standard deviation 1.

    Parameters
    ----------
    X : array, shape (N, d)
        Of any supported library.
    mean, std : array, shape (d,), optional
        Those of the training data, to treat test data alike.  By default those of
        `X`; the standard deviation divides by N.

    Returns
    -------
    scaled : array, shape (N, d)
        ``(X - mean) / std``, a new array.
    mean, std : array, shape (d,)
        What was used.  A feature that is constant in `X` has std 1, so it becomes 0.

    Raises
    ------
    ValueError
        When `X` is not two-dimensional, or shapes do not fit, or `std` has entries
        that are not positive.
    """
    xp = namespace_of(X)
    if X.ndim != 2 or X.shape[0] == 0:
        raise ValueError(f"'X' has shape {tuple(X.shape)}; expected (N, d) with N > 0.")
    if mean is None:
        mean = xp.mean(X, axis=0)
    if std is None:
        # Not by the deviation, which rounding may make 1e-17 for a constant column.
        constant = xp.max(X, axis=0) == xp.min(X, axis=0)
        deviation = xp.std(X, axis=0)
        std = xp.where(constant, xp.ones_like(deviation), deviation)
    for name, given in (("mean", mean), ("std", std)):
        if tuple(given.shape) != (X.shape[1],):
            raise ValueError(f"{name!r} has shape {tuple(given.shape)}; X needs ({X.shape[1]},).")
    if not bool(xp.all(std > 0)):
        raise ValueError("'std' has entries that are not positive; use 1 for constant features.")
    return (X - mean) / std, mean, std

"""Small dense factorisations on the host that do not give up.

LAPACK's divide-and-conquer drivers, which NumPy calls, now and then report that a
harmless matrix "did not converge"; the slower QR drivers then do.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dsyev, dsyevd

from negopt.core.arrays import Array, FloatArray, namespace_of


def symmetric_eigen(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues, ascending, and eigenvectors of a symmetric matrix."""
    values, vectors, failed = dsyevd(matrix)
    if failed:
        values, vectors, failed = dsyev(matrix)
    if failed:
        raise np.linalg.LinAlgError("eigenvalues did not converge")
    return values, vectors


def eigen_of(matrix: Array) -> tuple[Array, Array]:
    """Return the same for a matrix of any library, in its own type."""
    if not isinstance(matrix, np.ndarray):
        values, vectors = namespace_of(matrix).linalg.eigh(matrix)
        return values, vectors
    values, vectors = symmetric_eigen(matrix)  # in float64
    return values.astype(matrix.dtype, copy=False), vectors.astype(matrix.dtype, copy=False)


def singular_values(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return singular values, descending, and the right vectors' transpose."""
    try:
        _, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        from scipy.linalg import svd

        _, sizes, right = svd(matrix, full_matrices=False, lapack_driver="gesvd")
    return sizes, right

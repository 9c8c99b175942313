"""Small dense factorisations on the host that do not give up.

LAPACK's divide-and-conquer drivers, which NumPy calls, now and then report that a
harmless matrix "did not converge"; the slower QR drivers then do.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dsyev, dsyevd

from negopt._array import FloatArray


def symmetric_eigen(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues, ascending, and eigenvectors of a symmetric matrix."""
    values, vectors, failed = dsyevd(matrix)
    if failed:
        values, vectors, failed = dsyev(matrix)
    if failed:
        raise np.linalg.LinAlgError("eigenvalues did not converge")
    return values, vectors


def singular_values(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return singular values, descending, and the right vectors' transpose."""
    try:
        _, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        from scipy.linalg import svd

        _, sizes, right = svd(matrix, full_matrices=False, lapack_driver="gesvd")
    return sizes, right

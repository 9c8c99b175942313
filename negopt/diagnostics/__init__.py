"""What a Hessian looks like, and whether derivatives are right.

>>> import numpy as np
>>> from negopt import leftmost_eigenpairs, problems
>>> p = problems.get("chained_rosenbrock", 100)
>>> pairs = leftmost_eigenpairs(p, p.x0, k=2)
>>> bool(np.allclose(pairs.values, np.linalg.eigvalsh(p.hess(p.x0))[:2]))
True
"""

from negopt.diagnostics.check import DerivativeCheck, check_derivatives
from negopt.diagnostics.density import Spectrum, spectrum
from negopt.diagnostics.eigenpairs import Eigenpairs, leftmost_eigenpairs
from negopt.diagnostics.mass import DiagonalMass, diagonal_mass

__all__ = [
    "DerivativeCheck",
    "DiagonalMass",
    "Eigenpairs",
    "Spectrum",
    "check_derivatives",
    "diagonal_mass",
    "leftmost_eigenpairs",
    "spectrum",
]

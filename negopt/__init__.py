"""Smooth, non-convex, unconstrained minimisation that uses negative curvature.

The public names are listed in ``__init__.pyi`` and imported when they are first
used (SPEC 1), so ``import negopt`` stays light: no Numba, no SciPy, no torch.
"""

import lazy_loader

__version__ = "0.1.0.dev0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

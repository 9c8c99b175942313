"""Smooth, non-convex, unconstrained minimisation that uses negative curvature.

The public names are listed in ``__init__.pyi`` and imported when they are first
used (SPEC 1), so ``import negopt`` stays light: no Numba, no SciPy, no torch.
"""

import sys

import lazy_loader

__version__ = "0.1.0.dev0"

_listed, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    try:
        return _listed(name)
    except AttributeError:
        # It may be a method that `negopt.methods.register` has added.
        table = getattr(sys.modules.get("negopt.methods"), "METHODS", ())
        if name.replace("_", "-") not in table:
            raise
    from negopt.entry import callables as _callables

    return getattr(_callables, name)

"""Figures of runs: loss, signed steps and their angle, trust radius, spectra, profiles.

Matplotlib is imported when a figure is drawn (``pip install 'negopt[plot]'``); without it
every function raises ``ImportError``.  Figures are made without ``pyplot``, so there is
no global state, no window and no backend to choose: save one with
``figure.savefig("name.png")``, or pass your own ``ax``.
"""

from negopt.plot._base import file_formats, panels
from negopt.plot.profiles import performance_profile
from negopt.plot.runs import convergence, cosines, loss, step_sizes, trust_radius
from negopt.plot.spectra import spectrum

__all__ = [
    "convergence",
    "cosines",
    "file_formats",
    "loss",
    "panels",
    "performance_profile",
    "spectrum",
    "step_sizes",
    "trust_radius",
]

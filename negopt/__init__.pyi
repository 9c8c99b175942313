# The public names of negopt, each with the module that holds it.
# Type checkers read this file; at run time lazy_loader reads it too (SPEC 1).

from . import checkpoint, diagnostics, neural, problems
from ._batch import minimize_batch
from ._callables import (
    adam,
    bfgs_wolfe,
    dqn_wolfe_pm,
    gd,
    gd_armijo,
    lbfgs_wolfe,
    lqn_tr,
    lsr1_damped,
    lsr1_tr,
    lsr1_wolfe_pm,
    new_q_newton,
    newton_cubic,
    newton_krylov,
    ogr,
    sfn_exact,
    sfn_lanczos,
    sfn_series,
    show_options,
    sr1_tr,
    sr1_wolfe_pm,
    tr_ellipsoid,
)
from ._minimize import minimize
from ._types import OptimizeResult, Status
from .compiled.precompile import precompile
from .diagnostics.check import check_derivatives
from .diagnostics.density import spectrum
from .diagnostics.eigenpairs import leftmost_eigenpairs
from .diagnostics.mass import diagonal_mass
from .globalize.wolfe import line_search_wolfe_pm
from .methods import METHODS, Method

__version__: str

__all__ = [
    "METHODS",
    "Method",
    "OptimizeResult",
    "Status",
    "adam",
    "bfgs_wolfe",
    "check_derivatives",
    "checkpoint",
    "diagnostics",
    "diagonal_mass",
    "dqn_wolfe_pm",
    "gd",
    "gd_armijo",
    "lbfgs_wolfe",
    "leftmost_eigenpairs",
    "line_search_wolfe_pm",
    "lqn_tr",
    "lsr1_damped",
    "lsr1_tr",
    "lsr1_wolfe_pm",
    "minimize",
    "minimize_batch",
    "neural",
    "new_q_newton",
    "newton_cubic",
    "newton_krylov",
    "ogr",
    "precompile",
    "problems",
    "sfn_exact",
    "sfn_lanczos",
    "sfn_series",
    "show_options",
    "spectrum",
    "sr1_tr",
    "sr1_wolfe_pm",
    "tr_ellipsoid",
]

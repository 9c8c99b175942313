# The public names of negopt, each with the module that holds it.
# Type checkers read this file, where `as` means that a name is exported; at run time lazy_loader
# reads it too (SPEC 1).  `make table` writes the names of methods.

from . import (
    checkpoint as checkpoint,
    diagnostics as diagnostics,
    methods as methods,
    neural as neural,
    plot as plot,
    problems as problems,
)
from .batch.minimize_batch import minimize_batch as minimize_batch
from .entry.callables import (
    adam as adam,
    bfgs_wolfe as bfgs_wolfe,
    dqn_wolfe_pm as dqn_wolfe_pm,
    gd as gd,
    gd_armijo as gd_armijo,
    lbfgs_wolfe as lbfgs_wolfe,
    lqn_tr as lqn_tr,
    lsr1_damped as lsr1_damped,
    lsr1_tr as lsr1_tr,
    lsr1_wolfe_pm as lsr1_wolfe_pm,
    new_q_newton as new_q_newton,
    newton_cubic as newton_cubic,
    newton_krylov as newton_krylov,
    ogr as ogr,
    sfn_exact as sfn_exact,
    sfn_lanczos as sfn_lanczos,
    sfn_series as sfn_series,
    show_options as show_options,
    sr1_tr as sr1_tr,
    sr1_wolfe_pm as sr1_wolfe_pm,
    tr_ellipsoid as tr_ellipsoid,
)
from .entry.minimize import minimize as minimize
from .core.types import OptimizeResult as OptimizeResult, Status as Status
from .diagnostics.check import check_derivatives as check_derivatives
from .diagnostics.density import spectrum as spectrum
from .diagnostics.eigenpairs import leftmost_eigenpairs as leftmost_eigenpairs
from .diagnostics.mass import diagonal_mass as diagonal_mass
from .globalize.wolfe import line_search_wolfe_pm as line_search_wolfe_pm
from .methods import METHODS as METHODS, Method as Method

__version__: str
from .compiled.precompile import precompile as precompile

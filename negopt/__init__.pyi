# The public names of negopt, each with the module that holds it.
# Type checkers read this file; at run time lazy_loader reads it too (SPEC 1).

from . import checkpoint, neural, problems
from ._callables import (
    lqn_tr,
    lsr1_tr,
    lsr1_wolfe_pm,
    newton_krylov,
    sfn_series,
    show_options,
    sr1_wolfe_pm,
)
from ._minimize import minimize
from ._types import OptimizeResult, Status
from .globalize.wolfe import line_search_wolfe_pm
from .methods import METHODS, Method

__version__: str

__all__ = [
    "METHODS",
    "Method",
    "OptimizeResult",
    "Status",
    "checkpoint",
    "line_search_wolfe_pm",
    "lqn_tr",
    "lsr1_tr",
    "lsr1_wolfe_pm",
    "minimize",
    "neural",
    "newton_krylov",
    "problems",
    "sfn_series",
    "show_options",
    "sr1_wolfe_pm",
]

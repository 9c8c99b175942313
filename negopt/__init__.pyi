# The public names of negopt, each with the module that holds it.
# Type checkers read this file, where `as` means that a name is exported; at run time lazy_loader
# reads it too (SPEC 1).  `make table` writes the names of methods.

from . import (
    checkpoint as checkpoint,
)
from . import (
    diagnostics as diagnostics,
)
from . import (
    methods as methods,
)
from . import (
    neural as neural,
)
from . import (
    plot as plot,
)
from . import (
    problems as problems,
)
from ._batch import minimize_batch as minimize_batch
from ._callables import (
    adam as adam,
)
from ._callables import (
    bfgs_wolfe as bfgs_wolfe,
)
from ._callables import (
    dqn_wolfe_pm as dqn_wolfe_pm,
)
from ._callables import (
    gd as gd,
)
from ._callables import (
    gd_armijo as gd_armijo,
)
from ._callables import (
    lbfgs_wolfe as lbfgs_wolfe,
)
from ._callables import (
    lqn_tr as lqn_tr,
)
from ._callables import (
    lsr1_damped as lsr1_damped,
)
from ._callables import (
    lsr1_tr as lsr1_tr,
)
from ._callables import (
    lsr1_wolfe_pm as lsr1_wolfe_pm,
)
from ._callables import (
    new_q_newton as new_q_newton,
)
from ._callables import (
    newton_cubic as newton_cubic,
)
from ._callables import (
    newton_krylov as newton_krylov,
)
from ._callables import (
    ogr as ogr,
)
from ._callables import (
    sfn_exact as sfn_exact,
)
from ._callables import (
    sfn_lanczos as sfn_lanczos,
)
from ._callables import (
    sfn_series as sfn_series,
)
from ._callables import (
    show_options as show_options,
)
from ._callables import (
    sr1_tr as sr1_tr,
)
from ._callables import (
    sr1_wolfe_pm as sr1_wolfe_pm,
)
from ._callables import (
    tr_ellipsoid as tr_ellipsoid,
)
from ._minimize import minimize as minimize
from ._types import OptimizeResult as OptimizeResult
from ._types import Status as Status
from .compiled.precompile import precompile as precompile
from .diagnostics.check import check_derivatives as check_derivatives
from .diagnostics.density import spectrum as spectrum
from .diagnostics.eigenpairs import leftmost_eigenpairs as leftmost_eigenpairs
from .diagnostics.mass import diagonal_mass as diagonal_mass
from .globalize.wolfe import line_search_wolfe_pm as line_search_wolfe_pm
from .methods import METHODS as METHODS
from .methods import Method as Method

__version__: str

"""Classical test problems with exact gradients, Hessian products and known solutions.

>>> from negopt import problems
>>> p = problems.get("genrose", n=1000)
>>> p.fun_and_grad(p.x0)[1].shape
(1000,)
"""

# Importing a family declares its problems; the order here is that of names().
from negopt.problems import _mgh_fixed, _mgh_variable, _chains, _chains_more, _landscapes, _nist  # noqa: F401, I001
from negopt.problems._problem import Problem
from negopt.problems._registry import collection, get, names

__all__ = ["Problem", "collection", "get", "names"]

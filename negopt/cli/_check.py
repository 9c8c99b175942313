"""``negopt check``: an objective's derivatives against differences."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace

from rich.markup import escape

from negopt.cli._console import make_console
from negopt.cli._errors import UsageError
from negopt.cli._targets import built_in, from_module
from negopt.diagnostics import check_derivatives

#: Exit code when a derivative is wrong, so that a script can stop there.
WRONG = 1


def check(options: Namespace) -> int:
    """Check a gradient and Hessian products against differences, and say what is wrong."""
    own = ":" in options.objective
    if own and options.n is not None:
        raise UsageError("check: --n is for built-in problems; give --x0")
    if not own and options.x0 is not None:
        raise UsageError("check: --x0 is for module:object; a built-in problem has its own x0")
    if own:
        target = from_module(options.objective, options.x0)
    else:
        target = built_in(options.objective, options.n)
    if target.grad is None and target.hessp is None:
        raise UsageError(f"{options.objective} has neither grad nor hessp: nothing to check")
    claims = SimpleNamespace(fun=target.fun, grad=target.grad)
    if target.hessp is not None:
        claims.hessp = target.hessp
    found = check_derivatives(claims, None, None, target.x0, rng=options.seed)
    console = make_console()
    console.print(escape(target.title), soft_wrap=True)
    console.print(escape(str(found)), soft_wrap=True)
    return 0 if found.ok else WRONG

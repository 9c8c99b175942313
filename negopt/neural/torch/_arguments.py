"""Arguments with torch's names as a method with its options, and as those of a run."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from typing import Any, TypedDict

import torch

from negopt.core.options import RunOptions, check_integer, check_number, user_level
from negopt.core.randomness import generator
from negopt.entry.minimize import own_method
from negopt.methods import METHODS, Method, choose


class Group(TypedDict):
    """The numbers of a parameter group."""

    lr: float | torch.Tensor | None
    max_iter: int
    max_eval: int | None
    tolerance_grad: float
    tolerance_change: float


#: Options of a run that may be given here; the others have torch's names.
RUN = ("certify", "certify_products", "max_escapes", "rng", "ftarget", "maxtime", "norm", "grtol")
#: Pairs that torch's L-BFGS keeps, and these methods here.
HISTORY = 100
LONG = ("lqn-tr", "lbfgs-wolfe")
#: The keys of a parameter group beside the parameters.
GROUP = set(Group.__annotations__)
RENAMED = {
    "maxiter": "max_iter",
    "maxfun": "max_eval",
    "gtol": "tolerance_grad",
    "xrtol": "tolerance_change",
    "maxcor": "history_size",
    "learning_rate": "lr",
}


def method_of(method: object, n: int) -> Method:
    """Return the row of the table that `method` names."""
    row = own_method(method, constrained=False)
    if row is None and method is not None:
        raise ValueError(f"method={method!r} is SciPy's; take one of {', '.join(METHODS)}.")
    return row if isinstance(row, Method) else METHODS[row or choose(n, has_products=False)]


def settled(
    method: Method,
    options: Mapping[str, Any],
    lr: float | None,
    history_size: int | None,
    line_search_fn: str | None,
) -> tuple[Method, RunOptions]:
    """Return the method with its options, and those of a run; all that can be is checked."""
    known = method.option_names()
    for name, value in options.items():
        if name in RENAMED:
            raise ValueError(f"{name}={value!r}: here it is called {RENAMED[name]}.")
        if name not in known and name not in RUN:
            near = difflib.get_close_matches(name, sorted(known | set(RUN)), n=3)
            hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
            raise ValueError(
                f"Unknown option {name!r} for method {method.name!r}.{hint} "
                f"negopt.show_options({method.name!r}) lists all."
            )
    own = {name: value for name, value in options.items() if name not in RUN}
    if history_size is not None:
        check_integer("history_size", history_size)
        if "maxcor" not in known:
            raise ValueError(
                f"history_size={history_size}: {method.name!r} keeps no pairs; leave it out, or "
                "take a limited-memory method."
            )
        own["maxcor"] = history_size
    elif method.name in LONG:
        own["maxcor"] = HISTORY
    if line_search_fn is not None and "wolfe" in known:
        own.setdefault("wolfe", "strong")
    if lr is not None and lr != 1 and "learning_rate" not in known:
        warnings.warn(
            f"lr={lr} has no effect: {method.name!r} finds the length of its steps.",
            UserWarning,
            stacklevel=user_level(),
        )
    if "rng" in options:
        generator(options["rng"])
    run = RunOptions(**{"certify": False, **{k: v for k, v in options.items() if k in RUN}})
    return method.with_options(own), run


def fill(group: Group, method: Method) -> None:
    """Replace None by the method's own values: schedulers multiply numbers."""
    if group["lr"] is None:
        rates = (getattr(part, "learning_rate", None) for part in method.parts)
        group["lr"] = float(next((rate for rate in rates if rate is not None), 1.0))
    if group["max_eval"] is None and method.needs != "hessp":
        check_integer("max_iter", group["max_iter"])
        group["max_eval"] = max(group["max_iter"] * 5 // 4, 25)


def check(group: Group) -> None:
    """Check the numbers of a parameter group, which the user may have changed."""
    check_integer("max_iter", group["max_iter"])
    if group["max_eval"] is not None:
        check_integer("max_eval", group["max_eval"])
    rate = group["lr"]
    check_number("lr", rate.item() if isinstance(rate, torch.Tensor) else rate)
    check_number("tolerance_grad", group["tolerance_grad"])
    check_number("tolerance_change", group["tolerance_change"])

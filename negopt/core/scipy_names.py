"""SciPy's names of options: which of negopt's mean the same, and what to use in place of others."""

from __future__ import annotations

#: SciPy's name -> negopt's, of the same meaning.
SAME = {"maxfev": "maxfun", "f_target": "ftarget"}

_GRADIENT = "negopt stops by the gradient: set 'gtol', or 'ftarget' for a value that is enough."
_STEP = "Set 'xrtol', relative to x, or 'gtol'."
_ARGUMENT = "It is an argument beside options=, not an option."
_FINITE = "Set 'eps' (absolute) or 'finite_diff_rel_step'."

#: SciPy's names that no method of negopt has -> what to use.  They are warned about, and ignored.
INSTEAD = {
    "ftol": _GRADIENT,
    "fatol": _GRADIENT,
    "xtol": _STEP,
    "xatol": _STEP,
    "barrier_tol": "Set 'gtol'.",
    "final_tr_radius": "Set 'gtol'.",
    "iprint": "Set 'disp'.",
    "verbose": "Set 'disp'.",
    "epsilon": _FINITE,
    "fprime": "Give the gradient as jac=.",
    **dict.fromkeys(
        ("args", "jac", "hess", "hessp", "bounds", "constraints", "callback", "method", "tol"),
        _ARGUMENT,
    ),
}

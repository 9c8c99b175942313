"""Settings of publications, as variants of the rows of ``negopt.METHODS``."""

from __future__ import annotations

from collections.abc import Mapping

#: Oldewage, Clarke and Hernandez-Lobato (2024), tuned for UCI Energy (their Table 3).  What was
#: run differs from what is printed: docs/saddle-free-series.md.
_SERIES_AS_RUN: dict[str, object] = {
    "engine": "binomial",
    "accelerator": "wynn",
    "terms": 18,
    "order": 8,
    "scaling": "source",
    "damping": 0.0244,
    "damping_rule": "fixed",
    "damping_unit": "absolute",
    "learning_rate": 1.79,
    "momentum": 0.717,
    "reject": False,
}
_SERIES_ADAPTIVE: dict[str, object] = {
    **_SERIES_AS_RUN,
    "terms": 9,
    "order": 4,
    "damping": 1.46e-6,
    "damping_rule": "levenberg",
    "learning_rate": 1.0,
    "momentum": 0.0,
}
OLDEWAGE_SERIES = {
    "as run": _SERIES_AS_RUN,
    "as printed": {**_SERIES_AS_RUN, "accelerator": "sablonniere", "series": "shifted"},
    "adaptive as run": _SERIES_ADAPTIVE,
    "adaptive": {**_SERIES_ADAPTIVE, "adaptive": True},
}

#: The settings of the same document's exact method: constant, and with an average of 0.95.
OLDEWAGE_EXACT: Mapping[str, Mapping[str, object]] = {
    "as run": {
        "learning_rate": 0.0049,
        "momentum": 0.0638,
        "threshold": 5.2e-4,
        "replacement": 1.54e-4,
        "damping": 0.0,
        "damping_rule": "fixed",
        "reject": False,
    },
    "adaptive as run": {
        "average": 0.05,
        "adaptive": True,
        "damping": 0.0125,
        "damping_rule": "levenberg",
        "damping_unit": "absolute",
        "min_damping": 1e-8,
        "reject": False,
    },
}

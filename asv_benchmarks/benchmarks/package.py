"""The package itself: what an import costs."""

from __future__ import annotations


class Import:
    """Seconds in a fresh process; NumPy's own import is the yardstick."""

    def timeraw_import_negopt(self) -> str:
        return "import negopt"

    def timeraw_import_numpy(self) -> str:
        return "import numpy"

    def timeraw_import_minimize(self) -> str:
        return "from negopt import minimize"

    def timeraw_import_scipy_minimize(self) -> str:
        return "from scipy.optimize import minimize"

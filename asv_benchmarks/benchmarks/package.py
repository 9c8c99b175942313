"""The package itself: what an import costs, and what the first solve of a process."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

FIRST = "minimize(lambda x: (float(x @ x), 2.0 * x), numpy.ones(200), jac=True)"
OURS = f"import numpy; from negopt import minimize; {FIRST}"
SCIPYS = f"import numpy; from scipy.optimize import minimize; {FIRST}"


def seconds(code: str) -> float:
    """Return what a fresh process takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


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


class FirstSolve:
    """A fresh process that imports NumPy and the library and solves one small problem."""

    def track_seconds(self) -> float:
        return float(np.median([seconds(OURS) for _ in range(3)]))

    track_seconds.unit = "s"

    def track_ratio_seconds(self) -> float:
        turns = [(seconds(SCIPYS), seconds(OURS)) for _ in range(4)]
        theirs, ours = np.median(np.array(turns[1:]), axis=0)
        return float(theirs / ours)

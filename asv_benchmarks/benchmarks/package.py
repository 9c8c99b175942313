"""The package itself: what an import costs, and what the first solve of a process."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

FIRST = "minimize(lambda x: (float(x @ x), 2.0 * x), numpy.ones(200), jac=True)"
CODES = {
    "negopt": f"import numpy; from negopt import minimize; {FIRST}",
    "SciPy": f"import numpy; from scipy.optimize import minimize; {FIRST}",
}
#: Prints how many modules there are after a first solve, and whether Numba is among them.
COUNT = "; import sys; print(len(sys.modules), int('numba' in sys.modules))"


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
    """A fresh process that imports NumPy and a library and solves one small problem."""

    params = (list(CODES),)
    param_names = ("library",)

    def track_seconds(self, library: str) -> float:
        return float(np.min([seconds(CODES[library]) for _ in range(3)]))

    track_seconds.unit = "s"

    def counts(self, library: str) -> tuple[int, int, int]:
        """Return modules that are imported, whether Numba is, and files in its cache."""
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run(
                [sys.executable, "-c", CODES[library] + COUNT],
                check=True,
                capture_output=True,
                text=True,
                env={**os.environ, "NUMBA_CACHE_DIR": cache},
            )
            files = sum(1 for path in pathlib.Path(cache).rglob("*") if path.is_file())
        modules, numba = map(int, done.stdout.split())
        return modules, numba, files

    def track_modules_imported(self, library: str) -> int:
        return self.counts(library)[0]

    track_modules_imported.unit = "modules"

    def track_numba_imported(self, library: str) -> int:
        return self.counts(library)[1]

    def track_files_compiled(self, library: str) -> int:
        return self.counts(library)[2]

    track_files_compiled.unit = "files"


class FirstSolveBesideSciPy:
    """The same process for either library, taking turns."""

    def track_ratio_seconds(self) -> float:
        turns = [(seconds(CODES["SciPy"]), seconds(CODES["negopt"])) for _ in range(4)]
        theirs, ours = np.min(np.array(turns[1:]), axis=0)
        return float(theirs / ours)

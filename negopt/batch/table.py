"""The results of a batch as arrays, and its messages as a sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from negopt.core.arrays import Array, FloatArray, namespace_of
from negopt.core.types import VERDICTS, Status

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from negopt.compiled.rows import Rows

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Messages(Sequence[str]):
    """The messages of a batch; those that only state numbers are written when asked for."""

    def __init__(self, k: int, usual: Callable[[int], str] | None = None) -> None:
        self.k, self._usual = k, usual
        self.texts: dict[int, str] = {}

    def __len__(self) -> int:
        return self.k

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(self.k))]
        j = int(i) + self.k if i < 0 else int(i)
        if not 0 <= j < self.k:
            raise IndexError(f"there are {self.k} problems; got index {i}.")
        if j in self.texts:
            return self.texts[j]
        return "" if self._usual is None else self._usual(j)

    def __repr__(self) -> str:
        return f"<{self.k} messages>"


class Table:
    """The results of the batch, one row a problem, as they come in."""

    def __init__(self, k: int, method: str) -> None:
        self.k, self.method, self.jac_source = k, method, ""
        self.points: dict[int, tuple[Array, Array]] = {}  # of the problems solved in Python
        self.x: FloatArray | None = None
        self.jac: FloatArray | None = None
        self.fun: FloatArray = np.full(k, math.nan)
        self.status: IntArray = np.full(k, int(Status.FAILED))
        self.counts = np.zeros((k, 4), dtype=np.int64)  # nit, nfev, njev, nhev
        self.curvature: IntArray = np.zeros(k, dtype=np.int64)
        self.min_curvature: FloatArray = np.full(k, math.nan)
        self.message = Messages(k)

    def write(self, i: int, res: OptimizeResult) -> None:
        """Take the result of one problem."""
        self.points[i] = (res.x, res.jac)
        self.fun[i] = res.fun
        self.status[i] = res.status
        self.counts[i] = (res.nit, res.nfev, res.njev, res.nhev)
        self.curvature[i] = VERDICTS.index(res.curvature_status)
        self.min_curvature[i] = res.min_curvature
        self.message.texts[i] = res.message

    def adopt(self, rows: Rows) -> None:
        """Take over what compiled code has written."""
        done = rows.table
        self.x, self.jac = done.x, done.g
        self.fun, self.min_curvature = done.figures[:, 0].copy(), done.figures[:, 3].copy()
        self.status, self.curvature = rows.status, done.counts[:, 3].copy()
        self.counts[:, :3] = done.counts[:, :3]
        self.message = Messages(self.k, rows.message)

    def fail(self, i: int, x: Array, error: Exception) -> None:
        """Say why a problem could not be solved."""
        self.points[i] = (x, namespace_of(x).full_like(x, math.nan))
        self.message.texts[i] = f"The objective failed: {type(error).__name__}: {error}"

    def result(self, starts: Array) -> OptimizeResult:
        """Return SciPy's result class."""
        from scipy.optimize import OptimizeResult

        nit, nfev, njev, nhev = self.counts.T
        good = [int(s) for s in Status if s.success]
        x, jac = self._points(starts)
        return OptimizeResult(
            x=x,
            fun=self.fun,
            jac=jac,
            success=np.isin(self.status, good),
            status=self.status,
            message=self.message,
            nit=nit,
            nfev=nfev,
            njev=njev,
            nhev=nhev,
            curvature_status=np.asarray(VERDICTS)[self.curvature],
            min_curvature=self.min_curvature,
            method=self.method,
            jac_source=self.jac_source,
        )

    def _points(self, starts: Array) -> tuple[Array, Array]:
        if self.x is not None and self.jac is not None:
            for i, (x, g) in self.points.items():
                self.x[i], self.jac[i] = x, g
            return self.x, self.jac
        if self.k == 0:
            return starts, starts.copy()
        xp = namespace_of(starts)
        rows = [self.points[i] for i in range(self.k)]
        return xp.stack([x for x, _ in rows]), xp.stack([g for _, g in rows])

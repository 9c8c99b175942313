"""Evaluations that do not depend on each other, side by side: the points of differences."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Self

from negopt.core.arrays import Array
from negopt.core.options import WorkerMap, Workforce
from negopt.core.types import UserFunction

if TYPE_CHECKING:
    from multiprocessing.pool import Pool


class Call:
    """``fun(x, *args)`` as a function of x alone, which other processes can be sent."""

    def __init__(self, fun: UserFunction, args: tuple[object, ...]) -> None:
        self._fun, self._args = fun, args

    def __call__(self, x: Array) -> object:
        """Return what `fun` gives at x."""
        return self._fun(x, *self._args)


class Workers:
    """A map for one run: the caller's own, a pool of processes, or none.

    Parameters
    ----------
    given : int, map-like callable or None
        The option ``workers``, with SciPy's meaning: a number of processes, -1 for as many as
        there are processors; or ``given(f, points)``, which returns the values in the order of
        the points, such as the ``map`` of a pool.  None and 1: no map.

    Notes
    -----
    Processes are started when the first values are asked for, once a run, and ended with it; after
    that values are computed here.
    """

    def __init__(self, given: Workforce = None) -> None:
        self._map: WorkerMap | None = given if callable(given) else None
        self._processes = 1 if given is None or callable(given) else int(given)
        self._pool: Pool | None = None

    @property
    def apart(self) -> bool:
        """Whether values are computed elsewhere."""
        return self._map is not None or self._processes != 1

    def values(self, call: Callable[[Array], object], points: Iterable[Array]) -> list[object]:
        """Return ``call(x)`` of each point, in their order."""
        points = list(points)
        if self._map is None and self._processes != 1:
            self._map = self._start(call)
        if self._map is None:
            return [call(x) for x in points]
        found = list(self._map(call, points))
        if len(found) != len(points):
            raise ValueError(
                f"workers returned {len(found)} values for {len(points)} points; it must be like "
                "map: workers(f, points) returns the values in the order of the points."
            )
        return found

    def _start(self, call: Callable[[Array], object]) -> WorkerMap:
        import multiprocessing  # here: most runs need neither
        import pickle

        try:
            pickle.dumps(call)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"workers={self._processes}: fun and args cannot be sent to other processes "
                f"({error}); define fun at the top of a module, or pass the map of a pool of "
                "threads, workers=concurrent.futures.ThreadPoolExecutor().map."
            ) from error
        method = multiprocessing.get_start_method(allow_none=True) or ""
        if not method and os.name == "posix" and sys.version_info < (3, 14):
            method = "forkserver"  # the default from 3.14 on: a fork beside threads may hang
        count = None if self._processes == -1 else self._processes
        self._pool = multiprocessing.get_context(method or None).Pool(count)
        return self._pool.map

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()
        self._pool = self._map = None
        self._processes = 1

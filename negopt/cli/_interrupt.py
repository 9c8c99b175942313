"""Ctrl-C while a network is trained."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any, Self

__all__ = ["CtrlC"]


class CtrlC:
    """The first Ctrl-C lets the iteration or epoch end, to be saved; a second does not wait."""

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def _press(self, number: int, frame: Any) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

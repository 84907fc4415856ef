# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""End a piece of work that takes too long, a regular expression included: nothing else stops one once it runs."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator


class LateError(Exception):
    """The work took longer than it may."""


class Watch:
    """``with watch.on():`` around many pieces of work, ``with watch:`` around each.

    A piece that takes more than ``seconds`` to twice as many of a processor ends with LateError. The clock is set once
    for all of them, since a piece may be a word. Python delivers signals to its main thread alone: in other threads,
    and while the watch is not on, nothing is interrupted.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._working = False
        self._ticks = 0
        self._main = threading.main_thread().ident

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._ticks = 0
            self._working = True

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._main:
            self._working = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """The clock runs in the block."""
        if threading.get_ident() != self._main:
            yield
            return
        before = signal.signal(signal.SIGVTALRM, self._tick)
        signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds, self._seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    def _tick(self, *_: Any) -> None:
        self._ticks += 1
        if self._working and self._ticks > 1:
            self._working = False
            raise LateError

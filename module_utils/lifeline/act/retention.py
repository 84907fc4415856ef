# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which copies of a server's data may go, and whether a newer one holds all that an older one does."""

from __future__ import annotations

import calendar
import os
import shutil
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Iterator, Optional, Sequence

from ..common.folders import below, folders_in, inside, plain, regular

# A file of this name in a copy says that its jobs were compared with those of the live primary.
COMPARED = "lifeline-compared"

STAMP = "%Y%m%dT%H%M%SZ"

_PIECE = 1 << 20


@dataclass(frozen=True)
class Copy:
    """A copy that lies there. ``spare``: whether its jobs were compared, or a newer copy holds all that it does.

    That may take a look at all of it, so it is asked of copies only that would go.
    """

    name: str
    age_s: float
    size: int
    spare: Callable[[], bool]


@dataclass(frozen=True)
class Policy:
    """Which copies go: more than ``most``, older than ``days``, or where less than ``free_percent`` is free."""

    most: int
    days: float
    free_percent: float


def to_drop(copies: Sequence[Copy], policy: Policy, free: int, total: int) -> list[str]:
    """Copies that may go and should, oldest first. Never the newest, never one that may hold a job of its own."""
    by_age = sorted(copies, key=lambda copy: (-copy.age_s, copy.name))
    left, found = len(by_age), []
    for copy in by_age[:-1]:
        full = free * 100 < policy.free_percent * total
        if (left > policy.most or copy.age_s > policy.days * 86400 or full) and copy.spare():
            found.append(copy.name)
            left, free = left - 1, free + copy.size
    return found


def copies(preserved: int) -> list[str]:
    """The copies, oldest first."""
    return sorted(name for name in folders_in(preserved) if not name.startswith("."))


def files_of(preserved: int, name: str) -> dict[tuple[str, str], os.stat_result]:
    """The files of a copy, by the folder in it and their name."""
    with inside(preserved, name) as copy:
        found = {}
        for home in ["", *folders_in(copy)]:
            with below(copy, home) as place:
                for file in os.listdir(place):
                    state = os.stat(file, dir_fd=place, follow_symlinks=False)
                    if stat.S_ISREG(state.st_mode) and file != COMPARED:
                        found[home, file] = state
        return found


class Comparison:
    """Copies in the folder that ``preserved`` holds, compared with newer ones for so many seconds in all.

    ``too_much``: those of which nobody knows, since the time was over.
    """

    def __init__(self, preserved: int, seconds: float) -> None:
        self.preserved, self.until = preserved, time.monotonic() + seconds
        self.too_much: list[str] = []

    def copy(self, name: str, newer: Sequence[str], now: float) -> Copy:
        """A copy, and those that are newer."""
        with inside(self.preserved, name) as place:
            state, compared = os.fstat(place), COMPARED in os.listdir(place)
        size = sum(file.st_size for file in files_of(self.preserved, name).values() if file.st_nlink == 1)
        age = max(0.0, now - _made(name, state.st_mtime))
        return Copy(name, age, size, lambda: compared or self._held_twice(name, newer))

    def _held_twice(self, name: str, newer: Sequence[str]) -> bool:
        found = [self._contained(name, other) for other in newer]
        if None in found and True not in found:
            self.too_much.append(name)
        return True in found

    def _contained(self, old: str, new: str) -> Optional[bool]:
        """Whether a newer copy holds all that an older one does: the same files, append-only ones perhaps longer.

        None where that could not be seen in time.
        """
        mine, theirs = files_of(self.preserved, old), files_of(self.preserved, new)
        for place, state in mine.items():
            other = theirs.get(place)
            grows = place[1].endswith(".incr.aof")
            if other is None or other.st_size < state.st_size or (other.st_size != state.st_size and not grows):
                return False
        alike = (self._begins_alike((old, new), place) for place in mine)
        return bool(mine) and next((found for found in alike if not found), True)

    def _begins_alike(self, names: tuple[str, str], place: tuple[str, str]) -> Optional[bool]:
        with self._held(names[0], place) as first, self._held(names[1], place) as second:
            one, other = os.fstat(first), os.fstat(second)
            if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
                return True
            while piece := os.read(first, _PIECE):
                if os.read(second, len(piece)) != piece:
                    return False
                if time.monotonic() > self.until:
                    return None
            return True

    @contextmanager
    def _held(self, name: str, place: tuple[str, str]) -> Iterator[int]:
        """A file of a copy, for reading."""
        with inside(self.preserved, name) as copy, below(copy, place[0]) as home, regular(home, place[1]) as file:
            yield file


def _made(name: str, changed: float) -> float:
    """When a copy was made, by its name; a mark in it changes the time of its folder."""
    try:
        return float(calendar.timegm(time.strptime(name[:16], STAMP)))
    except ValueError:
        return changed


def remove(preserved: int, name: str) -> None:
    """A copy and all in it; its folder is held, so that no other can be meant."""
    shutil.rmtree(f"/proc/self/fd/{preserved}/{plain(name)}", ignore_errors=True)

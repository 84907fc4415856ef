# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies of a server's data, kept before anything drops it: made whole or not at all, out of the server's reach.

The data folder is the server account's, which is not trusted: it is held by a descriptor, and no link is followed. The
copies lie in a folder of root's beside the data, on the same file system, so that snapshots need no second copy.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence

from ..common.account import opened
from ..common.atomic import folder
from ..common.folders import below, folders_in, inside, plain, regular
from ..errors import LifelineError
from ..observe import checker
from ..observe.files import snapshot
from .retention import STAMP, Comparison, Policy, copies, files_of, remove, to_drop

PRESERVE_DIR = "lifeline-preserved"

# What is not finished yet is no copy. One that is older than any task may be is the remains of a run that was killed.
_PART = ".part-"
_REMAINS = re.compile(r"\.part-\d{8}T\d{6}Z")
REMAINS_S = 3600.0

# A data folder has a handful of files; one with more than this is not a server's.
MOST_FILES = 4096
_PIECE = 1 << 20

# What stays free beside a copy, in bytes: the server that starts next wants to write too.
SPARE_BYTES = 8 << 20


@dataclass(frozen=True)
class Source:
    """A file to keep: the folder that it lies in ("" for the data folder itself), its name, size and time."""

    within: str
    name: str
    size: int
    mtime_ns: int

    @property
    def linked(self) -> bool:
        """Whether the server replaces it by rename and never writes into it, so that a link is a copy."""
        return self.name.endswith(".rdb") or ".base." in self.name


class Keeper:
    """One server's data folder, and the copies in it. Raises LifelineError where it is not that server's."""

    def __init__(self, path: str, account: tuple[int, int]) -> None:
        self.path, self.account = path, account

    @contextmanager
    def _data(self) -> Iterator[int]:
        with self._told("opened"), folder(self.path) as place:
            owner = os.fstat(place).st_uid
            if owner != self.account[0] and self.account[0] != 0:
                raise OSError(errno.EPERM, f"it belongs to user {owner}, the server runs as {self.account[0]}")
            yield place

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = f" ({error.filename})" if isinstance(error.filename, str) else ""
            raise LifelineError(
                f"The data in {self.path} cannot be {what}: {error.strerror or error}{name}; nothing was changed."
            ) from error

    @contextmanager
    def _preserved(self, data: int) -> Iterator[int]:
        """The folder of the copies, made where it is not there yet, for root only."""
        with suppress(FileExistsError):
            os.mkdir(PRESERVE_DIR, 0o700, dir_fd=data)
        with inside(data, PRESERVE_DIR) as place:
            if os.fstat(place).st_uid != os.geteuid():
                raise OSError(errno.EPERM, f"{PRESERVE_DIR} does not belong to root")
            os.fchmod(place, 0o700)
            _clear(place, time.time())
            yield place

    def target(self, stamp: str) -> str:
        """The path of the copy of that name."""
        return os.path.join(self.path, PRESERVE_DIR, stamp)

    # --- making one ---------------------------------------------------------------------------------------------

    def keep_files(self, stamp: str) -> tuple[str, int]:
        """Keep what a stopped server would load: (path of the copy, bytes). One that is there already is kept as is."""
        with self._told("kept"), self._data() as data:
            sources = list(_sources(data))
            with self._preserved(data) as preserved:
                same = next((name for name in copies(preserved) if _holds(preserved, name, sources)), None)
                if same is None:
                    self._room(data, sum(source.size for source in sources if not source.linked))
                    wanted = [(source.within, source.name) for source in sources]
                    with closing(opened(self.account, data, wanted)) as files:
                        same = self._make(preserved, stamp, sources, files)
        return self.target(same), sum(source.size for source in sources)

    def has_data(self) -> bool:
        """Whether there is anything to keep."""
        with self._told("looked at"), self._data() as data:
            return any(source.size for source in _sources(data))

    def identity(self, name: str) -> Optional[tuple[int, int]]:
        """What tells a file from one that takes its place; None where there is none."""
        with self._told("looked at"), self._data() as data:
            try:
                with regular(data, name) as file:
                    state = os.fstat(file)
                    return state.st_ino, state.st_mtime_ns
            except FileNotFoundError:
                return None

    def keep_snapshot(self, stamp: str, name: str, unlike: Optional[tuple[int, int]]) -> tuple[str, int, Optional[int]]:
        """Keep the snapshot that a running server has just written, once it is checked: (path, bytes, its keys).

        ``unlike``: the ``identity`` of the one that was there before.
        """
        with self._told("kept"), self._data() as data, closing(opened(self.account, data, [("", name)])) as files:
            file = next(files)
            state = os.fstat(file)
            whole, keys, why = self._check(file, state.st_size)
            if (state.st_ino, state.st_mtime_ns) == unlike:
                whole, why = False, "the server did not write it again"
            if not whole:
                raise LifelineError(
                    f"{os.path.join(self.path, name)} is not a whole snapshot ({why}); nothing was changed. Look at "
                    "the disk and at the server's log."
                )
            with self._preserved(data) as preserved:
                made = self._make(preserved, stamp, [Source("", name, state.st_size, state.st_mtime_ns)], iter([file]))
        return self.target(made), state.st_size, keys

    def _check(self, file: int, size: int) -> tuple[Optional[bool], Optional[int], str]:
        path = f"/proc/self/fd/{file}"
        whole, keys, why = checker.rdb_keys(checker.run("rdb", path, self.account, checker.seconds_for(size), file))
        if whole is None:  # no checker, or too much to check in time: it begins and ends as one
            ends = snapshot(path) or {}
            whole = bool(ends.get("header")) and bool(ends.get("complete"))
        return whole, keys, why

    def _room(self, data: int, needed: int) -> None:
        free = _space(data)[0]
        if needed and free < needed + SPARE_BYTES:
            raise LifelineError(
                f"{self.path} has {free} bytes free and the copy needs {needed + SPARE_BYTES}; nothing was changed. "
                f"Free space on {self.path}, then run recover.yml again."
            )

    def _make(self, preserved: int, stamp: str, sources: Sequence[Source], files: Iterator[int]) -> str:
        """Make a copy under another name, which it gets rid of when it is whole. Nothing stays of one that fails.

        ``files``: the sources' descriptors.
        """
        part = f"{_PART}{stamp}"
        os.mkdir(part, 0o700, dir_fd=preserved)
        try:
            with inside(preserved, part) as target:
                for source, file in zip(sources, files):
                    _keep(file, source, target)
                os.fsync(target)
            name = _free_name(preserved, stamp)
            os.rename(part, name, src_dir_fd=preserved, dst_dir_fd=preserved)
            os.fsync(preserved)
            return name
        except BaseException:
            remove(preserved, part)
            raise

    def set_aside(self, stamp: str) -> str:
        """Move all that lies there out of the way."""
        with self._told("moved aside"), self._data() as data, self._preserved(data) as preserved:
            name = _free_name(preserved, stamp)
            os.mkdir(name, 0o700, dir_fd=preserved)
            with inside(preserved, name) as target:
                for entry in self.names(data):
                    os.rename(entry, entry, src_dir_fd=data, dst_dir_fd=target)
        return self.target(name)

    def names(self, data: Optional[int] = None) -> list[str]:
        """What lies in the data folder beside the copies."""
        if data is None:
            with self._told("looked at"), self._data() as place:
                return self.names(place)
        return sorted(name for name in os.listdir(data) if name != PRESERVE_DIR)

    # --- letting old ones go ------------------------------------------------------------------------------------

    def retain(self, policy: Policy, now: float, seconds: float) -> tuple[list[str], list[str]]:
        """Remove copies that the policy lets go: (their paths, those that it would let go and could not compare).

        ``seconds``: how long copies are compared with newer ones.
        """
        with self._told("looked through"), self._data() as data, self._preserved(data) as preserved:
            found, compared = copies(preserved), Comparison(preserved, seconds)
            rows = [compared.copy(name, found[place + 1 :], now) for place, name in enumerate(found)]
            gone = to_drop(rows, policy, *_space(data))
            for name in gone:
                remove(preserved, name)
        return [self.target(name) for name in gone], [self.target(name) for name in compared.too_much]


def stamp(now: float) -> str:
    """The name of a copy that is made now; later ones sort behind."""
    return time.strftime(STAMP, time.gmtime(now))


def _clear(preserved: int, now: float) -> None:
    """Remove what a killed run left half made: a folder of our own, so named, and that nobody can be working on."""
    for name in os.listdir(preserved):
        if not _REMAINS.fullmatch(name):
            continue
        found = os.stat(name, dir_fd=preserved, follow_symlinks=False)
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if ours and now - found.st_mtime > REMAINS_S:
            remove(preserved, name)


def _space(place: int) -> tuple[int, int]:
    state = os.fstatvfs(place)
    return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize


def _sources(data: int) -> Iterator[Source]:
    """Snapshots and append-only files in the data folder and in the folders right in it; no links, nothing half."""
    count = 0
    for within in ["", *sorted(name for name in folders_in(data) if name != PRESERVE_DIR)]:
        with below(data, within) as place:
            for name in sorted(os.listdir(place)):
                state = os.stat(name, dir_fd=place, follow_symlinks=False)
                wanted = (name.endswith(".rdb") or ".aof" in name) and not name.startswith("temp-")
                if wanted and stat.S_ISREG(state.st_mode):
                    count += 1
                    if count > MOST_FILES:
                        raise OSError(errno.E2BIG, f"more than {MOST_FILES} files of data")
                    yield Source(within, name, state.st_size, state.st_mtime_ns)


def _keep(file: int, source: Source, target: int) -> None:
    with suppress(FileExistsError):
        if source.within:
            os.mkdir(plain(source.within), 0o700, dir_fd=target)
    with below(target, source.within) as goal:
        _link_or_copy(file, goal, source)


def _link_or_copy(file: int, goal: int, source: Source) -> None:
    if source.linked:
        with suppress(OSError):  # another file system, or one without links
            # The very file that was opened, whatever bears its name by now.
            os.link(f"/proc/self/fd/{file}", source.name, dst_dir_fd=goal, follow_symlinks=True)
            return
    state = os.fstat(file)
    made = os.open(source.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=goal)
    try:
        os.lseek(file, 0, os.SEEK_SET)
        left = state.st_size
        while left > 0 and (piece := os.read(file, min(left, _PIECE))):
            left -= os.write(made, piece)
        os.utime(made, ns=(state.st_atime_ns, state.st_mtime_ns))
        os.fsync(made)
    finally:
        os.close(made)


def _free_name(preserved: int, wanted: str) -> str:
    """That name, or the next after it that nothing bears."""
    taken = set(os.listdir(preserved))
    return next(name for name in (wanted, *(f"{wanted}.{n}" for n in range(1, MOST_FILES))) if name not in taken)


def _holds(preserved: int, name: str, sources: Sequence[Source]) -> bool:
    """Whether a copy was made of just these files, and they have not been written to since."""
    held = {place: (state.st_size, state.st_mtime_ns) for place, state in files_of(preserved, name).items()}
    wanted = {(source.within, source.name): (source.size, source.mtime_ns) for source in sources}
    return bool(wanted) and held == wanted


def described(kept: Any) -> str:
    """A copy in words."""
    said = {
        "keys": "{} keys",
        "bytes": "{} bytes",
        "surplus_bytes": "of which the last {} bytes of writes are nowhere else",
    }
    words = [text.format(kept[what]) for what, text in said.items() if kept[what] is not None]
    return f"{kept['path']} ({', '.join(words)})" if words else str(kept["path"])

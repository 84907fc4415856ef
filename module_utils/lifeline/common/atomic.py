# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one way in which a file is written: whole or not at all, and nowhere but where its path says.

Root writes into folders that belong to other accounts (``/etc/redis``, a data folder, reports). Whoever owns such a
folder can swap anything in it at any time, so a path is never trusted twice: the folder is opened once, component by
component, and all that follows happens through its descriptor, on names of our own and on descriptors.
A symbolic link on the way is followed only where nobody but root or the user who runs this could have put it.
Errors of the system are OSError whose ``filename`` is the full path; refusals are LifelineError.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from dataclasses import dataclass
from typing import Iterator, Optional, TextIO, Union

from ..errors import LifelineError

PathLike = Union[str, "os.PathLike[str]"]

MAKERS = (-1, -1)  # an owner: whoever writes the file, and the group that its folder gives
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 40  # as many as the kernel follows


@dataclass(frozen=True)
class Rights:
    """Whom a file belongs to, and its mode."""

    uid: int
    gid: int
    mode: int


def write(
    path: PathLike,
    content: Union[str, bytes],
    mode: Optional[int] = None,
    owner: Optional[tuple[int, int]] = None,
    make: Optional[int] = None,
) -> None:
    """Replace or create a file in one step that survives a power cut.

    ``mode`` and ``owner`` (user, group) that are not given are kept from the regular file that is there; a new file is
    ours, 0600. ``make``: the mode of folders that are made on the way where they are missing; None makes none.
    """
    with folder(os.path.dirname(os.fspath(path)), make) as place:
        kept = None if mode is not None and owner is not None else rights(place, os.fspath(path))
        uid, gid = owner or ((kept.uid, kept.gid) if kept else MAKERS)
        if mode is None:
            mode = kept.mode if kept else 0o600
        staged = Staged(place, os.fspath(path), content, Rights(uid, gid, mode))
        try:
            staged.commit()
        finally:
            staged.discard()


class Staged:
    """A finished file beside its target, under a name that nobody can guess and that starts with a dot."""

    def __init__(self, place: int, path: str, content: Union[str, bytes], wanted: Rights) -> None:
        self.target = path
        self._place = place
        self._final = os.path.basename(path)
        self._name = f".{self._final[:100]}.lifeline-{secrets.token_hex(8)}"
        with _named(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._name, flags, 0o600, dir_fd=place)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
                    file.flush()
                    entitle(descriptor, wanted)
                    os.fsync(descriptor)
            except BaseException:
                self.discard()
                raise

    @property
    def path(self) -> str:
        """Where it lies, for a command that checks it."""
        return os.path.join(os.path.dirname(self.target), self._name)

    def commit(self) -> None:
        """Take the target's place; a link there is replaced, never followed."""
        with _named(self.target):
            os.rename(self._name, self._final, src_dir_fd=self._place, dst_dir_fd=self._place)
            self._name = ""
            os.fsync(self._place)

    def discard(self) -> None:
        """Remove what did not take its target's place."""
        if self._name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._place)
            self._name = ""


def rights(place: int, path: str) -> Optional[Rights]:
    """Owner and mode of the regular file that is there, None where there is nothing.

    Raises LifelineError for anything else. A second name may have been given to a file of somebody else's, whose rights
    would then be lent; set-id bits are never kept.
    """
    try:
        found = os.stat(os.path.basename(path), dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise LifelineError(f"{path} is not a regular file, so it was not replaced: look at it and move it away.")
    if found.st_nlink != 1:
        raise LifelineError(f"{path} has a second name (a hard link), so it was not replaced: remove one of the names.")
    return Rights(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode) & 0o777)


def entitle(descriptor: int, wanted: Rights) -> None:
    """Give an open file or folder its owner and mode, and nothing that it inherited beside them."""
    now = os.fstat(descriptor)
    if wanted.uid not in (-1, now.st_uid) or wanted.gid not in (-1, now.st_gid):
        os.fchown(descriptor, wanted.uid, wanted.gid)
    if stat.S_ISREG(now.st_mode):
        with contextlib.suppress(OSError):
            os.removexattr(descriptor, "system.posix_acl_access")  # the folder's owner may have put a default one
    os.fchmod(descriptor, wanted.mode)  # after fchown, which clears set-id bits


def remove(path: PathLike, is_folder: bool = False) -> None:
    """Remove a file, a link or an empty folder."""
    with folder(os.path.dirname(os.fspath(path))) as place, _named(os.fspath(path)):
        (os.rmdir if is_folder else os.unlink)(os.path.basename(os.fspath(path)), dir_fd=place)


@contextlib.contextmanager
def locked(path: PathLike, mode: int, make: Optional[int] = None) -> Iterator[TextIO]:
    """A text file that stays where it is, made where it is missing, open while nobody else has it locked."""
    where = os.fspath(path)
    with folder(os.path.dirname(where), make) as place, _named(where):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(os.path.basename(where), flags, mode, dir_fd=place)
    with open(descriptor, "r+", encoding="utf-8", errors="replace") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise LifelineError(f"{where} is not a plain file with one name, so it was not written: move it away.")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield file


@contextlib.contextmanager
def folder(path: PathLike, make: Optional[int] = None) -> Iterator[int]:
    """A descriptor of a folder that no other account could put in the place of the one that its path means.

    ``make``: the mode of folders that are made where they are missing.
    """
    descriptor = _walk(os.fspath(path), make)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(path: str, make: Optional[int]) -> int:
    """Open each component below the one before it; a link's target takes the place of its own component."""
    left = _components(os.path.abspath(path))
    links = 0
    place = os.open("/", _STEP)
    try:
        while left:
            name = left.pop(0)
            with _named(path):
                target = _target(place, name, path)
                if target is None:
                    opened = _enter(place, name, make)
                elif links >= _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                else:
                    links += 1
                    left = _components(target) + left
                    opened = os.open("/" if target.startswith("/") else ".", _STEP, dir_fd=place)
            os.close(place)
            place = opened
        with _named(path):
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _enter(place: int, name: str, make: Optional[int]) -> int:
    try:
        return os.open(name, _STEP, dir_fd=place)
    except FileNotFoundError:
        if make is None:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, make, dir_fd=place)
    return os.open(name, _STEP, dir_fd=place)


def _target(place: int, name: str, path: str) -> Optional[str]:
    """Where a link leads; None for what is none. Raises LifelineError where another account could have put it there."""
    try:
        found = os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(found.st_mode):
        return None
    around = os.fstat(place)
    ours = (0, os.geteuid())
    closed = around.st_uid in ours and (not around.st_mode & 0o022 or around.st_mode & stat.S_ISVTX)
    if found.st_uid not in ours or not closed:
        raise LifelineError(
            f"{path} was not touched: {name} on the way there is a symbolic link in a folder that another account can "
            "change, so it could lead anywhere. Put a real folder in its place."
        )
    return os.readlink(name, dir_fd=place)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors name the whole path: a call below a descriptor knows the last part only."""
    try:
        yield
    except OSError as error:
        error.filename = path
        error.filename2 = None
        raise

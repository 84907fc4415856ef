# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files and folders below a folder of an account that is not trusted (``atomic.folder`` opens that one).

Everything goes through descriptors: what was checked is what is used, whatever is renamed meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def plain(name: str) -> str:
    """A file's name that leads nowhere else. Raises OSError for any other."""
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise OSError(errno.EINVAL, f"{name!r} is not the name of a file in that folder")
    return name


@contextmanager
def inside(parent: int, name: str) -> Iterator[int]:
    """A descriptor of a folder in another one. Raises OSError, also where it is a link."""
    place = os.open(plain(name), _FOLDER, dir_fd=parent)
    try:
        yield place
    finally:
        os.close(place)


def folders_in(place: int) -> list[str]:
    """Names of the folders right in a folder; links are none."""
    with os.scandir(place) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


@contextmanager
def below(parent: int, name: str) -> Iterator[int]:
    """``inside``, or for "" the folder itself."""
    if not name:
        yield parent
        return
    with inside(parent, name) as place:
        yield place


@contextmanager
def regular(parent: int, name: str) -> Iterator[int]:
    """A descriptor for reading a regular file. Raises OSError, also where it is anything else, or a link."""
    place = os.open(plain(name), _FILE, dir_fd=parent)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(errno.EINVAL, f"{name!r} is not a regular file")
        yield place
    finally:
        os.close(place)

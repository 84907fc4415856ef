# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read files that an account of the host may have put there: of the right kind, in bounded time and memory.

A pipe in the place of a configuration file keeps whoever opens it waiting forever, a device never ends, and a link
makes root read a file that the account itself may not.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import BinaryIO, Iterator

# Bytes of a configuration, certificate or ACL file; those of Redis itself have some 100,000.
FILE_BYTES = 4 << 20
# Links in a row; the kernel's own limit is 40.
MOST_LINKS = 8

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def regular(path: str) -> Iterator[BinaryIO]:
    """A regular file, opened for reading. Raises OSError for anything else, and for somebody else's link."""
    with os.fdopen(_descriptor(str(path)), "rb") as file:
        yield file


def data(path: str, limit: int = FILE_BYTES) -> bytes:
    """A whole file. Raises OSError when it cannot be read or has more than ``limit`` bytes."""
    with regular(path) as file:
        found = file.read(limit + 1)
    if len(found) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", path)
    return found


def text(path: str, errors: str = "replace", limit: int = FILE_BYTES) -> str:
    """A whole file as text, its line ends as in any text file. Raises as ``data`` does."""
    return data(path, limit).decode("utf-8", errors).replace("\r\n", "\n").replace("\r", "\n")


def beginning(path: str, limit: int) -> str:
    """The first ``limit`` bytes of a file as text. Raises OSError when it cannot be read."""
    with regular(path) as file:
        return file.read(limit).decode("utf-8", "replace")


def _descriptor(path: str) -> int:
    for _link in range(MOST_LINKS):
        try:
            found = os.open(path, _FLAGS)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            path = os.path.join(os.path.dirname(path), _target(path))
            continue
        if stat.S_ISREG(os.fstat(found).st_mode):
            return found
        os.close(found)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _target(path: str) -> str:
    """Where a link leads that root or we made."""
    link = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(link).st_uid not in (0, os.geteuid()):
            raise OSError(errno.ELOOP, "it is a link of another account", path)
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)

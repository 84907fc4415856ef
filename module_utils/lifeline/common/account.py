# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files opened with the rights of the account that they belong to: root reads nothing for it that it may not read.

An account can put a second name of somebody else's file into its folder, or swap what lies there at any moment. Whether
it may read what is opened is therefore left to the kernel: a process with that account's rights opens it.
"""

from __future__ import annotations

import array
import errno
import os
import signal
import socket
import stat
from contextlib import suppress
from typing import Generator, NoReturn, Sequence

from .folders import below, regular

# A folder of its own, "" for the one that is held, and a name in it.
Place = tuple[str, str]

# Seconds for which one file may take to be opened, as on a network's file system.
SECONDS = 30.0
_TEXT = 500


def opened(account: tuple[int, int], place: int, wanted: Sequence[Place]) -> Generator[int, None, None]:
    """A descriptor for reading each of these regular files in turn, which is closed when the next is asked for.

    ``place`` holds the folder. Raises OSError for one that the account (uid, gid) may not read, or that is no file.
    """
    if os.geteuid() != 0 or account[0] == 0:
        for folder, name in wanted:
            with below(place, folder) as home, regular(home, name) as file:
                yield file
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _hand_over(theirs, account, place, wanted)
    try:
        theirs.close()
        ours.settimeout(SECONDS)
        for _folder, name in wanted:
            file = _received(ours, name)
            try:
                yield file
            finally:
                os.close(file)
    finally:
        ours.close()
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _hand_over(channel: socket.socket, account: tuple[int, int], place: int, wanted: Sequence[Place]) -> NoReturn:
    """In the child. Once it has changed its user, the kernel lets that user neither trace nor dump it."""
    try:
        os.setgroups([])
        os.setgid(account[1])
        os.setuid(account[0])
        for folder, name in wanted:
            with below(place, folder) as home, regular(home, name) as file:
                channel.sendmsg([b"0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))])
    except OSError as error:
        with suppress(OSError):
            channel.send(f"{error.errno or errno.EIO} {error.strerror}".encode()[:_TEXT])
    finally:
        os._exit(0)


def _received(channel: socket.socket, name: str) -> int:
    """The next descriptor. Raises OSError where there is none, or it is no regular file."""
    numbers = array.array("i")
    said, extra, _flags, _from = channel.recvmsg(_TEXT, socket.CMSG_SPACE(numbers.itemsize), socket.MSG_CMSG_CLOEXEC)
    for _level, _kind, data in extra:
        numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    if not numbers:
        code, _, why = said.decode("utf-8", "replace").partition(" ")
        raise OSError(int(code) if code.isdigit() else errno.EIO, why or "its account could not open it", name)
    if not stat.S_ISREG(os.fstat(numbers[0]).st_mode):
        os.close(numbers[0])
        raise OSError(errno.EINVAL, "it is not a regular file", name)
    return numbers[0]

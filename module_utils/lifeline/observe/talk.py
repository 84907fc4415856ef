# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A few commands put to very many servers at once, in one thread: non-blocking sockets, TLS where wanted.

A client of redis-py each costs a thread and, with TLS, reading all the system's certificate authorities once more:
a thousand endpoints took 25 s so, and cost one timeout each when they hung.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import ssl
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Generator, Iterator, Optional, Sequence, Union

from ..common.client import reason

Address = tuple[str, int]

READ, WRITE = select.POLLIN | select.POLLHUP | select.POLLERR, select.POLLOUT
# More than an INFO of the largest server; a server that says more is not Redis.
REPLY_BYTES = 1 << 20
# However busy this machine is: beyond the timeouts that the caller agreed to, seconds for its own work.
OWN_WORK_S = 10.0

# Files that stay free for whatever else this process opens.
_SPARE_FILES = 64
_WANTED_FILES = 4096


class RefusedError(Exception):
    """A server's error reply."""


Reply = Union[str, RefusedError]


@dataclass
class Question:
    """Commands for one address. ``context``: TLS. Filled in: ``replies``, ``error``, ``connect_s``, ``answer_s``."""

    address: Address
    commands: Sequence[Sequence[str]]
    context: Optional[ssl.SSLContext] = None
    server_name: Optional[str] = None
    replies: list[Reply] = field(default_factory=list)
    error: str = ""
    connect_s: Optional[float] = None
    answer_s: Optional[float] = None


def ask_all(questions: Sequence[Question], connect: float, command: float) -> None:
    """Fill in all questions' answers, or why there is none. A question without commands is a connection and no more.

    ``connect`` and ``command`` are how many seconds a connection may take, and how long nobody may say anything.
    """
    batch = files()
    for at in range(0, len(questions), batch):
        _ask(questions[at : at + batch], connect, command)


def files() -> int:
    """How many sockets may be open at once; raises the soft limit where that is needed and possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, (_WANTED_FILES if soft == resource.RLIM_INFINITY else min(soft, _WANTED_FILES)) - _SPARE_FILES)


def _ask(questions: Sequence[Question], connect: float, command: float) -> None:
    poll = select.poll()
    talks: dict[int, _Talk] = {}
    began = time.monotonic()
    for question in questions:
        talk = _dial(question)
        if talk is not None:
            talks[talk.socket.fileno()] = talk
            poll.register(talk.socket, WRITE)
    heard = began
    while talks:
        now = time.monotonic()
        dialing = any(talk.question.connect_s is None for talk in talks.values()) and now < began + connect
        patience = max(began + connect - now, command) if dialing else heard + command - now
        # A last look at what came while this process had to wait for a processor: that is no silence.
        ready = poll.poll(max(0.0, min(patience, 0.2)) * 1000)
        if (patience <= 0 and not ready) or now > began + connect + command + OWN_WORK_S:
            break
        for number, _event in ready:
            wanted = talks[number].advance()
            if talks[number].came_further:
                heard = time.monotonic()
            if wanted:
                poll.modify(number, wanted)
            else:
                poll.unregister(number)
                talks.pop(number).close()
    for talk in talks.values():
        talk.give_up(command)


def _dial(question: Question) -> Optional[_Talk]:
    """A conversation that has begun; None when not even that was possible."""
    family = socket.AF_INET6 if ":" in question.address[0] else socket.AF_INET
    peer = socket.socket(family, socket.SOCK_STREAM)
    peer.setblocking(False)
    try:
        status = peer.connect_ex(question.address)
    except OSError as error:
        status = error.errno or errno.EIO
    if status in (0, errno.EINPROGRESS):
        return _Talk(question, peer)
    question.error = reason(OSError(status, os.strerror(status)))
    peer.close()
    return None


class _Talk:
    """One conversation; ``advance`` does what can be done without waiting.

    ``came_further``: whether the last step brought it on. A byte does not: one that gets nothing but a byte now and
    then would keep all the others waiting.
    """

    def __init__(self, question: Question, peer: socket.socket) -> None:
        self.question = question
        self.socket = peer
        self.began = time.monotonic()
        self.heard = b""
        self.came_further = self.asked = False
        self.steps = self._converse()

    def advance(self) -> int:
        """What to wait for next; 0 when it is over."""
        before = self._stage()
        try:
            wanted = next(self.steps, 0)
        except (OSError, ValueError) as error:
            self.question.error = reason(error)
            wanted = 0
        self.came_further = not wanted or self._stage() != before
        return wanted

    def _stage(self) -> tuple[bool, bool, int]:
        return self.question.connect_s is None, self.asked, len(self.question.replies)

    def close(self) -> None:
        self.socket.close()

    def give_up(self, seconds: float) -> None:
        """The time is over."""
        silent = "no connection" if self.question.connect_s is None else f"no answer within {seconds:.0f} s"
        self.question.error = f"timeout: {silent}"
        self.close()

    def _converse(self) -> Iterator[int]:
        question = self.question
        status = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
        question.connect_s = time.monotonic() - self.began
        if question.context is not None:
            secured = question.context.wrap_socket(
                self.socket, server_hostname=question.server_name, do_handshake_on_connect=False
            )
            self.socket = secured
            yield from _patiently(secured.do_handshake, READ)
        asked = time.monotonic()
        self.asked = True
        unsent = b"".join(map(_request, question.commands))
        while unsent:
            sent = yield from _patiently(partial(self.socket.send, unsent), WRITE)
            unsent = unsent[sent:]
        while len(question.replies) < len(question.commands):
            self._take((yield from _patiently(partial(self.socket.recv, 65536), READ)))
        question.answer_s = time.monotonic() - asked

    def _take(self, data: bytes) -> None:
        self.heard += data
        found, rest = parse(self.heard)
        self.question.replies += found
        self.heard = rest
        # A server that is full answers nothing that it was asked, says why, and hangs up.
        if not data and len(self.question.replies) < len(self.question.commands):
            said = next((reply for reply in self.question.replies if isinstance(reply, RefusedError)), None)
            raise ConnectionResetError(str(said or "Connection closed by server"))
        if len(self.heard) > REPLY_BYTES:
            raise ValueError("it answers, but not as Redis does")


def _request(words: Sequence[str]) -> bytes:
    parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in words)]
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


def parse(data: bytes) -> tuple[list[Reply], bytes]:
    """(complete replies, what is left) of simple strings, errors and bulk strings. Raises ValueError for others."""
    replies: list[Reply] = []
    while b"\r\n" in data:
        head, _, rest = data.partition(b"\r\n")
        kind, text = head[:1], head[1:].decode("utf-8", "replace")
        if kind == b"$":
            size = int(text[:20])
            if size > REPLY_BYTES or len(rest) < size + 2:
                if size > REPLY_BYTES:
                    raise ValueError("it answers, but not as Redis does")
                break
            replies.append(rest[: max(0, size)].decode("utf-8", "replace"))
            data = rest[size + 2 :] if size >= 0 else rest
            continue
        if kind not in b"+-:" or not kind:
            raise ValueError("it answers, but not as Redis does")
        replies.append(RefusedError(text) if kind == b"-" else text)
        data = rest
    return replies, data


def _patiently(step: Callable[[], Any], otherwise: int) -> Generator[int, None, Any]:
    """What ``step`` returns, once it does not have to wait."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            yield READ
        except ssl.SSLWantWriteError:
            yield WRITE
        except BlockingIOError:
            yield otherwise


def info(text: Any) -> dict[str, Any]:
    """INFO's text as redis-py gives it: values by name, those of databases and replicas as dicts."""
    found: dict[str, Any] = {}
    for line in str(text).splitlines():
        name, colon, value = line.partition(":")
        if colon and not name.startswith("#"):
            parts = [part.partition("=") for part in value.split(",")]
            nested = {key: item for key, equals, item in parts if equals}
            found[name] = nested if len(nested) == len(parts) else value
    return found

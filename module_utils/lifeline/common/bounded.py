# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers of a server are bounded: in time from the command on, and in bytes.

A timeout of a socket begins again with each byte, so that a server which says one a second is never late, and redis-py
keeps what a server says however much it is. What is no answer of Redis becomes an error of redis-py here, whatever
redis-py makes of it, so that callers need no other ``except``.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Callable, Optional

try:
    from redis import Redis
    from redis.client import Pipeline
    from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
    from redis.exceptions import InvalidResponse, RedisError
except ImportError:  # client.require_library tells it

    class RedisError(Exception):  # type: ignore[no-redef]
        """Stands in for redis-py's."""

    class InvalidResponse(RedisError):  # type: ignore[no-redef] # noqa: N818 - its name there
        """Stands in for redis-py's."""

    class Redis:  # type: ignore[no-redef]
        """Stands in for redis-py's as a base class."""

    Pipeline = Connection = SSLConnection = UnixDomainSocketConnection = Redis  # type: ignore[misc,assignment]

# Bytes of the answers to what was sent at once. The longest that is asked for is CLIENT LIST, with some 400 a client.
REPLY_BYTES = 16 << 20
# An answer may be silent for one timeout, and take this many in all.
PATIENCE = 2

_NOT_REDIS = "it answers, but not as Redis does"
# What a parser that expects Redis makes of something else.
_PUZZLED = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


class BoundedSocket:
    """A connected socket whose answers end: ``seconds`` and ``limit`` bytes after each command that was sent."""

    def __init__(self, plain: socket.socket, seconds: Optional[float], limit: int) -> None:
        self._plain = plain
        self._seconds = seconds
        self._limit = limit
        self._timeout = plain.gettimeout()
        self._begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def settimeout(self, seconds: Optional[float]) -> None:
        """As that of a socket."""
        self._timeout = seconds
        self._plain.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """As that of a socket; what comes from now on is the answer to it."""
        self._plain.sendall(data)
        self._begin()

    def recv(self, size: int) -> bytes:
        """As that of a socket. Raises TimeoutError or OSError when the answer does not end."""
        data: bytes = self._within(self._plain.recv, size)
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any) -> int:
        """The same."""
        length: int = self._within(self._plain.recv_into, buffer)
        self._count(length)
        return length

    def _begin(self) -> None:
        self._heard = 0
        self._until = None if self._seconds is None else time.monotonic() + self._seconds

    def _count(self, length: int) -> None:
        self._heard += length
        if self._heard > self._limit:
            raise OSError(f"its answer is longer than {self._limit >> 20} MiB")

    def _within(self, receive: Any, argument: Any) -> Any:
        """What was received; a socket that does not wait (timeout 0) needs no deadline."""
        if self._until is None or self._timeout == 0:
            return receive(argument)
        left = self._until - time.monotonic()
        if left <= 0:
            raise socket.timeout(f"timed out: its answer did not end within {self._seconds:.0f} s")
        if self._timeout is not None and self._timeout <= left:
            return receive(argument)
        self._plain.settimeout(left)
        try:
            return receive(argument)
        finally:
            self._plain.settimeout(self._timeout)


def _checked(connection: Any, read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What ``read`` says; an answer that puzzles the library is half read, so that nothing more is read from there."""
    try:
        return read(*arguments, **options)
    except (RedisError, OSError):
        raise
    except _PUZZLED as error:
        connection.disconnect()
        raise InvalidResponse(_NOT_REDIS) from error


class _Bounded:
    """For a connection of redis-py: its socket is bounded."""

    def __init__(self, reply_bytes: int = REPLY_BYTES, **options: Any) -> None:
        super().__init__(**options)
        self._reply_bytes = reply_bytes

    def bounded(self, plain: socket.socket) -> BoundedSocket:
        """The socket, bounded by the connection's own timeout."""
        seconds: Optional[float] = self.socket_timeout  # type: ignore[attr-defined]
        return BoundedSocket(plain, seconds and seconds * PATIENCE, self._reply_bytes)

    def on_connect(self) -> Any:
        """As redis-py's: it logs in."""
        return _checked(self, super().on_connect)  # type: ignore[misc]

    def on_connect_check_health(self, check_health: bool = True) -> Any:
        """The same in newer versions, which call this one too."""
        return _checked(self, super().on_connect_check_health, check_health)  # type: ignore[misc]

    def _connect(self) -> BoundedSocket:
        return self.bounded(super()._connect())  # type: ignore[misc]


class TcpConnection(_Bounded, Connection):
    """A bounded connection to a port."""


class TlsBase(_Bounded, SSLConnection):
    """The same with TLS."""


class UnixConnection(_Bounded, UnixDomainSocketConnection):
    """The same to a socket."""


class _Checked:
    """For a client of redis-py: an answer that no Redis gives is an error of redis-py's kind."""

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """As redis-py's."""
        return _checked(connection, super().parse_response, connection, command_name, **options)  # type: ignore[misc]


class CheckedPipeline(_Checked, Pipeline):
    """Several commands at once."""


class Client(_Checked, Redis):
    """A client whose answers are checked."""

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> CheckedPipeline:
        """As redis-py's."""
        return CheckedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers of a server end: in time, and in bytes."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from lifeline.common.bounded import BoundedSocket
from lifeline.common.client import Credentials, Endpoint, connect, reason
from redis.exceptions import RedisError


def pair(seconds: float, limit: int) -> tuple[BoundedSocket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.settimeout(1.0)
    return BoundedSocket(ours, seconds, limit), theirs


def test_B9_each_byte_in_time_is_not_an_answer_in_time() -> None:
    """Before: the timeout of a command began anew with each byte of its answer.

    Now: an answer has twice the timeout from the command on.
    """
    ours, theirs = pair(0.3, 1000)
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.05):
            theirs.sendall(b"a")

    threading.Thread(target=trickle, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(socket.timeout):
        while True:
            ours.recv(10)
    over.set()
    assert 0.2 < time.monotonic() - started < 0.6
    ours.sendall(b"the next command")
    theirs.sendall(b"its answer")
    assert ours.recv(100)


def test_B11_more_than_an_answer_is_refused() -> None:
    """Before: an endless answer was kept until the memory was full.

    Now: it is refused at 16 MiB.
    """
    ours, theirs = pair(5, 10)
    theirs.sendall(b"123456")
    assert ours.recv(100) == b"123456"
    theirs.sendall(b"12345")
    with pytest.raises(OSError, match="longer than"):
        ours.recv(100)
    ours.sendall(b"")
    theirs.sendall(b"1")
    assert ours.recv(100) == b"1"


def test_B9_a_socket_that_does_not_wait_has_no_deadline() -> None:
    ours, _theirs = pair(0.0, 10)
    ours.settimeout(0)
    with pytest.raises(BlockingIOError):
        ours.recv(1)


@pytest.mark.parametrize(
    "said",
    [b"*1\r\n" * 5000, b":x\r\n", b"$x\r\n", b"*-9\r\n", b"HTTP/1.1 400\r\n\r\n", b":5\r\n", b"*2\r\n:1\r\n:2\r\n"],
)
def test_B11_what_is_not_redis_is_an_error_of_the_library(said: bytes) -> None:
    """INFO and pipelines: whatever the parser makes of it, callers catch one kind of error, or get what was said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            peer, _address = listening.accept()
            with peer:
                while peer.recv(1000):
                    peer.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        client = connect(Endpoint("127.0.0.1", listening.getsockname()[1]), Credentials(command_timeout=0.3))
        for ask in (client.info, lambda: client.pipeline(transaction=False).info().execute()):
            try:
                ask()
            except RedisError as error:
                assert reason(error)

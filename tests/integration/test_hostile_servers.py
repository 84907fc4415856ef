# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports that speak anything but Redis: a look ends in time, says why, and leaves the healthy ones as they are."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from lifeline.diagnose import diagnose
from modules import Modules
from servers import Servers

REPLIES = {
    "nothing": b"",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "binary": bytes(range(256)) * 20,
    "an endless line": b"+" + b"A" * 100_000,
    "a bulk that never comes": b"$5000000000\r\nabc",
    "an array that never comes": b"*1000000\r\n",
    "a negative length": b"$-7\r\n*-9\r\n:x\r\n",
    "integers": b":1\r\n" * 50,
    "statuses": b"+OK\r\n" * 50,
    "nulls": b"$-1\r\n" * 50,
    "info that is none": b"".join(
        b"$%d\r\n%s\r\n" % (len(text), text) for text in [b"role:\x00\xff\r\ndb0:keys\r\n:::"] * 50
    ),
    "nested arrays": b"*1\r\n" * 5000,
    "maps and pushes": b"%1\r\n+a\r\n>1\r\n+b\r\n" * 50,
    "terminal escapes": b"-ERR \x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\r\n" * 50,
}


@contextmanager
def speaker(reply: bytes) -> Iterator[int]:
    """A port that says the same to whatever it is sent, and then stays silent."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            peer.settimeout(10)
            while not over.is_set() and peer.recv(65536):
                peer.sendall(reply)

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _address = listening.accept()
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        over.set()
        listening.close()


@pytest.mark.parametrize("words", REPLIES)
def test_a_port_that_speaks_something_else_is_evidence(words: str, redis_server: Servers, run_module: Modules) -> None:
    healthy = redis_server()
    with speaker(REPLIES[words]) as port:
        nodes = [healthy.node("n1"), {"name": "n2", "host": "127.0.0.1", "port": port}]
        sentinels = [{"name": "n2", "host": "127.0.0.1", "port": port}]
        options = {
            "name": "n2", "service": "estate", "nodes": nodes, "sentinels": sentinels, "depth": "full",
            "connect_timeout": 1.0, "command_timeout": 1.0, "patience": 1.0,
        }  # fmt: skip
        started = time.monotonic()
        evidence: dict[str, Any] = run_module("redis_health", options)["evidence"]
        took = time.monotonic() - started
    assert evidence["took_s"] < 8 and took < 60
    assert evidence["nodes"]["n1"]["role"] == "master"
    assert len(json.dumps(evidence)) < 200_000
    alone = {**evidence, "host": "n1"}
    said = diagnose({"service": "estate", "evidence": [alone], "nodes": nodes, "sentinels": sentinels})
    assert said["unjudged"] == []
    assert said["primary"] is None or said["primary"]["name"] == "n1"


def look_at(server: Any, **options: Any) -> dict[str, Any]:
    """What redis_health is asked for a full look at one server from its own host."""
    return {
        "name": "n1", "service": "estate", "nodes": [server.node("n1")], "depth": "full", "patience": 1.0,
        "connect_timeout": 1.0, "command_timeout": 1.0, **options,
    }  # fmt: skip


def test_B1_a_refused_login_does_not_hang_the_look(redis_server: Servers, run_module: Modules) -> None:
    """Before: one unauthenticated `AUTH "user '>" + 60 backslashes` lay in ACL LOG and hung every look for ever.

    Now: the look takes as long as without it, and shows the refusal.
    """
    server = redis_server(users={"app": ("password", "~* +@all")})
    for name in ("user '>" + "\\" * 60, "user token-" + "token-" * 300 + " "):
        with closing(socket.create_connection(("127.0.0.1", server.port))) as stranger:
            words = ["AUTH", name, "x"]
            stranger.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
            assert b"WRONGPASS" in stranger.recv(1000)
    started = time.monotonic()
    evidence = run_module("redis_health", look_at(server, **server.credentials()), timeout=20)["evidence"]
    assert time.monotonic() - started < 10
    assert len(evidence["server"]["acl_log"]) == 2

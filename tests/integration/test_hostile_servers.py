# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ports that speak anything but Redis: a look ends in time, says why, and leaves the healthy ones as they are."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from lifeline.plan.diagnosis import diagnose
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
def listener(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A port on which each connection is talked to in a thread of its own, until it closes or the test is over."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            talk(peer, over)

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


@contextmanager
def speaker(reply: bytes) -> Iterator[int]:
    """A port that says the same to whatever it is sent, and then stays silent."""

    def talk(peer: socket.socket, over: threading.Event) -> None:
        peer.settimeout(10)
        while not over.is_set() and peer.recv(65536):
            peer.sendall(reply)

    with listener(talk) as port:
        yield port


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
    """Before: one unauthenticated `AUTH "user '>" + 60 backslashes` lay in ACL LOG and hung every look forever.

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


@contextmanager
def flood(first: bytes, again: bytes, pause: float) -> Iterator[int]:
    """A port that answers each connection with ``first``, then with ``again`` forever, a ``pause`` between two."""

    def talk(peer: socket.socket, over: threading.Event) -> None:
        peer.recv(65536)
        peer.sendall(first)
        while not over.wait(pause):
            peer.sendall(again)

    with listener(talk) as port:
        yield port


FLOODS = {
    "a byte a second": (b"$1000000\r\n", b"a", 0.2),
    "a line that goes on": (b"+", b"a", 0.2),
    "an endless bulk": (b"$9000000000\r\n", b"a" * 1_000_000, 0.0),
    "an endless array": (b"*1000000000\r\n", b":1\r\n" * 100_000, 0.0),
    "endless texts": (b"*1000000000\r\n", b"+abcdef\r\n" * 100_000, 0.0),
    "endless empty arrays": (b"*1000000000\r\n", b"*0\r\n" * 100_000, 0.0),
}
LOGIN = {"login_host": "127.0.0.1", "connect_timeout": 1.0, "command_timeout": 1.0}
# Modules that talk to one server, by the way that each of them talks.
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "repair": ("redis_repair", {**LOGIN, "what": "save", "timeout": 3}),
    "config": ("redis_config", {**LOGIN, "settings": {"maxmemory": "1gb"}, "wait_timeout": 1}),
    "rq": ("rq_info", {**LOGIN, "ready_timeout": 1}),
    "requeue": ("rq_requeue", {**LOGIN, "ready_timeout": 1}),
    "health": ("redis_health", {"name": "n1", "service": "estate", "depth": "full", "patience": 1.0,
                                "connect_timeout": 1.0, "command_timeout": 1.0}),
    "fleet": ("redis_health", {"endpoints": [{"name": "e", "host": "127.0.0.1"}], "connect_timeout": 1.0,
                               "command_timeout": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "words"),
    [("repair", words) for words in FLOODS]
    + [(module, words) for module in list(ASKED)[1:] for words in ("a byte a second", "an endless bulk")],
)
def test_B9_an_answer_ends(module: str, words: str, run_module: Modules) -> None:
    """Before: a server that says a byte a second held up repair, role, write probe and config for as long as it liked,
    and an endless one cost 1.6 GiB in 4 s.

    Now: an answer has twice the command's timeout and 16 MiB, on every path.
    """
    name, options = ASKED[module]
    with flood(*FLOODS[words]) as port:
        if "endpoints" in options:
            options = {**options, "endpoints": [{**options["endpoints"][0], "port": port}]}
        elif "login_host" in options:
            options = {**options, "login_port": port}
        else:
            options = {**options, "nodes": [{"name": "n1", "host": "127.0.0.1", "port": port}]}
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        started = time.monotonic()
        result = run_module(name, options, fails=None, timeout=30)
        took = time.monotonic() - started
    assert took < 15
    assert result.failed == ("login_host" in options)
    assert "Traceback" not in json.dumps(result.data)
    assert max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) < 500 << 10


def test_B16_error_codes_of_clients_hide_no_server_and_are_not_kept(redis_server: Servers, run_module: Modules) -> None:
    """Before: a client's error codes made INFO longer than a fleet's look reads ("unreachable"), and whatever a script
    wrote before the first blank of an error lay in evidence.json.

    Now: INFO is asked for by its sections; of error codes those of Redis are counted by name, all others together.
    """
    server = redis_server()
    script = "return redis.error_reply(ARGV[1] .. ' x')"
    with closing(server.client()) as client:
        digest = client.script_load(script)
        for start in range(0, 40_000, 10_000):
            pipe = client.pipeline(transaction=False)
            for number in range(start, start + 10_000):
                pipe.evalsha(digest, 0, f"CUSTOMER-0049-151-{number:08}")
            pipe.execute(raise_on_error=False)
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("HGET")
        pipe.execute(raise_on_error=False)
        assert len(client.execute_command("INFO", "errorstats")) > 30_000
    told = run_module("redis_health", {"endpoints": [server.node("e")], **server.credentials()})["endpoints"]
    assert told[0]["reachable"] and told[0]["role"] == "primary" and told[0]["version"], told
    started = time.monotonic()
    for depth in ("full", "posture"):
        evidence = run_module("redis_health", look_at(server, depth=depth, patience=4.0))["evidence"]
        assert evidence["nodes"]["n1"]["role"] == "master"
        assert "CUSTOMER" not in json.dumps(evidence)
        assert not evidence["errors"]
        said = (evidence["server"] if depth == "full" else evidence["posture"]["redis"])["info"]["errors"]
        assert said["other"] == 40_000 and said["ERR"] >= 1
    assert time.monotonic() - started < 20

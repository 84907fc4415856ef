# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family clients."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from base import LEFT, REFUSED, Expect, fault
from lab import Lab, wait_for

SOCKET = "/run/redis-main/redis.sock"
# Reads the clock until the time is over; KEYS[1], where given, is written first, which makes the script unkillable.
LOOP = """
if KEYS[1] then redis.call('SET', KEYS[1], 'x', 'EX', 60) end
local till = redis.call('TIME')[1] + ARGV[1]
while redis.call('TIME')[1] + 0 < till do end
"""
KEY = "rq:lifeline-fault"


class Session:
    """One connection of the operator, kept open: on a server that takes no others it is the way back."""

    def __init__(self, lab: Lab, host: str) -> None:
        secret = {**os.environ, "REDISCLI_AUTH": lab.variables["redis_password_operator"]}
        command = ["podman", "exec", "-i", "--env", "REDISCLI_AUTH", lab.container(host)]
        command += ["redis-cli", "-s", SOCKET, "--user", "operator", "--no-auth-warning"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=secret
        )

    def say(self, line: str, wait: bool = True) -> str:
        """One command and the first line of its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() if wait else ""

    def close(self) -> None:
        """End the connection."""
        self.process.kill()
        self.process.wait()


@contextmanager
def full(lab: Lab, host: str) -> Iterator[None]:
    """A server that takes no further connection."""
    session = Session(lab, host)
    before = lab.redis(host, "CONFIG", "GET", "maxclients").split()[1]
    session.say("CONFIG SET maxclients 3")
    try:
        yield
    finally:
        session.say(f"CONFIG SET maxclients {before}")
        session.close()


@contextmanager
def patient_sentinels(lab: Lab) -> Iterator[None]:
    """Sentinels that end no script and fail nobody over meanwhile."""
    hosts = [host for host in lab.addresses if host.startswith("redis")]
    before = lab.redis(hosts[0], "SENTINEL", "MASTER", "redis", port=26379).split("\n")
    held = before[before.index("down-after-milliseconds") + 1]

    def tell(value: str) -> None:
        for host in hosts:
            lab.redis(host, "SENTINEL", "SET", "redis", "down-after-milliseconds", value, port=26379)

    tell("90000")
    try:
        yield
    finally:
        tell(held)


@contextmanager
def looping(lab: Lab, host: str, threshold: int, seconds: int, key: str = "") -> Iterator[None]:
    """A script that runs for so long; after ``threshold`` milliseconds the server says that it is busy."""
    lab.redis(host, "CONFIG", "SET", "busy-reply-threshold", str(threshold))
    session = Session(lab, host)
    keys = f"1 {key}" if key else "0"
    script = " ".join(LOOP.split())
    session.say(f'EVAL "{script}" {keys} {seconds}', wait=False)
    try:
        yield
    finally:
        if not key:
            killer = Session(lab, host)
            killer.say("SCRIPT KILL", wait=False)
            wait_for(lambda: "PONG" in lab.redis(host, "PING"), "the end of the script", seconds + 5)
            killer.close()
        wait_for(lambda: "PONG" in lab.redis(host, "PING"), "the end of the script", seconds + 5)
        lab.redis(host, "CONFIG", "SET", "busy-reply-threshold", "5000")
        session.close()


@fault("maxclients_reached", "replica", quick=True, recovery=LEFT)
def replica_full(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with full(lab, replica):
        yield Expect(replica)


@fault("maxclients_reached", "primary", recovery=REFUSED)
def primary_full(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    with full(lab, primary):
        yield Expect(primary)


@fault("script_blocks", "replica", quick=True)
def replica_scripted(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with patient_sentinels(lab), looping(lab, replica, 100, 60):
        yield Expect(replica, within=40)


@fault("script_blocks", "unkillable")
def primary_scripted(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    with patient_sentinels(lab), looping(lab, primary, 100, 40, KEY):
        yield Expect(primary, within=30)


@fault("command_blocks", "replica", recovery=LEFT)
def replica_computes(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with patient_sentinels(lab), looping(lab, replica, 120000, 30):
        yield Expect(replica, within=25)


@fault("slow_command", "replica")
def replica_was_slow(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.redis(replica, "EVAL", " ".join(LOOP.split()), "0", "3")
    yield Expect(replica)
    lab.redis(replica, "SLOWLOG", "RESET")

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family sentinel. None of them may make the diagnosis doubt the data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from base import FIXTURES, LEFT, Expect, fault
from lab import SENTINEL_UNIT, Lab, wait_for

SERVERS = ("redis1", "redis2", "redis3")
CONF = "/etc/redis/sentinel.conf"
KEPT = "/var/tmp/sentinel.conf-kept-by-faults"

FIXTURES["sentinel_count"] = "It takes an inventory with another number of sentinels."


def ask(lab: Lab, host: str, *command: str) -> str:
    """A command to a host's sentinel."""
    return lab.redis(host, "SENTINEL", *command, port=26379)


def start(lab: Lab, host: str) -> None:
    """Start a sentinel again, whatever became of it."""
    lab.on(host, "systemctl", "reset-failed", SENTINEL_UNIT, check=False)
    lab.on(host, "systemctl", "start", SENTINEL_UNIT)


@contextmanager
def kept(lab: Lab, host: str) -> Iterator[None]:
    """A sentinel's own file, which goes back when the fault is over."""
    lab.on(host, "cp", "-a", CONF, KEPT)
    try:
        yield
    finally:
        lab.on(host, "systemctl", "stop", SENTINEL_UNIT)
        lab.on(host, "mv", KEPT, CONF)
        start(lab, host)


@fault("sentinel_dead", quick=True)
def killed(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    lab.kill_for_good(host, SENTINEL_UNIT)
    yield Expect(host)
    start(lab, host)


@fault("sentinel_stopped", recovery=LEFT)
def stopped(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    lab.on(host, "systemctl", "stop", SENTINEL_UNIT)
    yield Expect(host)
    start(lab, host)


@fault("no_quorum", quick=True, recovery=LEFT)
def most_of_them_stopped(lab: Lab) -> Iterator[Expect]:
    hosts = lab.replicas()
    for host in hosts:
        lab.on(host, "systemctl", "stop", SENTINEL_UNIT)
    yield Expect("redis")
    for host in hosts:
        start(lab, host)


@fault("sentinel_conf_unwritable", "running")
def file_of_a_running_sentinel(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    lab.on(host, "chmod", "0400", CONF)
    yield Expect(host)
    lab.on(host, "chmod", "0600", CONF)


@fault("sentinel_conf_unwritable", "started")
def file_of_a_sentinel_that_starts(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    lab.on(host, "systemctl", "stop", SENTINEL_UNIT)
    lab.on(host, "chmod", "0400", CONF)
    lab.on(host, "systemctl", "start", SENTINEL_UNIT, check=False)
    yield Expect(host)
    lab.on(host, "chmod", "0600", CONF)
    start(lab, host)


@fault("sentinel_login_refused")
def password_that_sentinel_was_not_told(lab: Lab) -> Iterator[Expect]:
    for host in SERVERS:
        lab.redis(host, "ACL", "SETUSER", "sentinel", "resetpass", ">not-what-sentinel-has")
        lab.redis(host, "CLIENT", "KILL", "USER", "sentinel")
    yield Expect("redis", within=40)
    for host in SERVERS:
        lab.redis(host, "ACL", "LOAD")
        lab.redis(host, "CLIENT", "KILL", "USER", "default")  # or it never logs in again


@fault("sentinel_tilt", recovery=LEFT)
def stood_still(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    lab.on(host, "systemctl", "kill", "--kill-whom=main", "--signal=STOP", SENTINEL_UNIT)
    time.sleep(3)  # the fault itself: more than two seconds between two of its ticks
    lab.on(host, "systemctl", "kill", "--kill-whom=main", "--signal=CONT", SENTINEL_UNIT)
    yield Expect(host)
    wait_for(lambda: "sentinel_tilt:0" in lab.redis(host, "INFO", "sentinel", port=26379), "the end of TILT", 60)


@fault("sentinel_astray")
def told_to_watch_a_replica(lab: Lab) -> Iterator[Expect]:
    """As when configuration is managed by who knows an old primary; one alone is put right by the others' greetings."""
    replica = lab.replicas()[0]
    secret = lab.variables["redis_password_sentinel"]
    with ExitStack() as stack:
        for host in SERVERS:
            stack.enter_context(kept(lab, host))
        for host in SERVERS:
            ask(lab, host, "REMOVE", "redis")
        for host in SERVERS:
            ask(lab, host, "MONITOR", "redis", lab.addresses[replica], "6379", "2")
            ask(lab, host, "SET", "redis", "auth-user", "sentinel", "auth-pass", secret)
        yield Expect(SERVERS[0], also=("sentinel_blind", "no_good_replica"))


@fault("sentinel_ignorant")
def told_to_watch_nothing(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    with kept(lab, host):
        ask(lab, host, "REMOVE", "redis")
        yield Expect(host)


@fault("sentinel_blind")
def forgot_its_peers(lab: Lab) -> Iterator[Expect]:
    """Nobody knows anybody, and greetings no longer come through the servers."""
    for server in SERVERS:
        lab.redis(server, "ACL", "SETUSER", "sentinel", "resetchannels")
        lab.on(server, "systemctl", "stop", SENTINEL_UNIT)
    for server in SERVERS:
        lab.on(server, "sed", "-i", "/^sentinel known-sentinel/d", CONF)
        start(lab, server)
    yield Expect(SERVERS[0], within=60, also=("no_quorum",))
    for server in SERVERS:
        lab.redis(server, "ACL", "LOAD")


@fault("no_good_replica", quick=True, recovery=LEFT)
def no_candidate(lab: Lab) -> Iterator[Expect]:
    replicas = lab.replicas()
    for replica in replicas:
        lab.redis(replica, "CONFIG", "SET", "replica-priority", "0")
    yield Expect("redis")
    for replica in replicas:
        lab.redis(replica, "CONFIG", "SET", "replica-priority", "100")


@fault("sentinel_quorum_wrong")
def another_quorum(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    ask(lab, host, "SET", "redis", "quorum", "3")
    yield Expect(host)
    ask(lab, host, "SET", "redis", "quorum", "2")


@fault("sentinel_ghosts")
def a_sentinel_that_is_gone(lab: Lab) -> Iterator[Expect]:
    host = lab.replicas()[0]
    with kept(lab, host):
        ghost = f"sentinel known-sentinel redis 192.0.2.99 26379 {'9' * 40}"
        lab.on(host, "systemctl", "stop", SENTINEL_UNIT)
        lab.on(host, "sh", "-c", f"echo '{ghost}' >> {CONF}")
        start(lab, host)
        yield Expect(host)

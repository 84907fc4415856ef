# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family replication."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

from base import FIXTURES, LEFT, Expect, fault
from clients import Session
from lab import UNIT, Lab, wait_for

FIXTURES["primary_foreign"] = "the lab's sentinels would move its servers back before anybody looked"

WRITING = "/run/faults-writing"
BURST = "for i = 1, {count} do redis.call('set', 'faults:burst', string.rep('x', 100000), 'EX', 600) end"


@contextmanager
def settings(lab: Lab, host: str, **wanted: str) -> Iterator[None]:
    """Settings of a running server, which become what they were when the fault is over."""
    before = {}
    for name, value in wanted.items():
        option = name.replace("_", "-")
        before[option] = ([*lab.redis(host, "CONFIG", "GET", option).splitlines(), ""])[1]
        lab.redis(host, "CONFIG", "SET", option, value)
    try:
        yield
    finally:
        for option, value in before.items():
            lab.redis(host, "CONFIG", "SET", option, value)


@contextmanager
def held_by_sentinel_only(lab: Lab, host: str) -> Iterator[None]:
    """Sentinel may not tell this server whom to follow, so it does not undo the fault."""
    lab.redis(host, "ACL", "SETUSER", "sentinel", "-slaveof", "-replicaof")
    try:
        yield
    finally:
        lab.redis(host, "ACL", "LOAD")


def follow(lab: Lab, host: str, primary: str) -> None:
    """REPLICAOF."""
    lab.redis(host, "REPLICAOF", lab.addresses[primary], "6379")


def state(lab: Lab, host: str) -> str:
    """INFO replication."""
    return lab.redis(host, "INFO", "replication")


def drop_from(lab: Lab, host: str, rule: str) -> None:
    """Packets that come to a host are dropped; ``nft delete table`` undoes it."""
    lines = f"table inet faults {{ chain ci {{ type filter hook input priority -100; policy accept; {rule}\n }}\n }}"
    lab.on(host, "sh", "-c", "printf '%s\\n' \"$0\" | nft -f -", lines)


@fault("split_brain", "partition", recovery=LEFT, destroys=True)
def partition(lab: Lab) -> Iterator[Expect]:
    old, others = lab.primary(), lab.replicas()
    drop_from(lab, old, f"ip saddr {{ {', '.join(lab.addresses[host] for host in others)} }} drop")
    wait_for(lambda: any("role:master" in state(lab, host) for host in others), "Sentinel's failover", 60)
    lab.redis(old, "SET", "faults:lost", "written to the side that loses", "EX", "600")
    yield Expect(old, also=("host_isolated", "peer_cut_off", "sentinel_cut_off", "clients_cut_off"))
    lab.on(old, "nft", "delete", "table", "inet", "faults")


@fault("split_brain", "promoted", quick=True)
def promoted_by_hand(lab: Lab) -> Iterator[Expect]:
    primary, replica = lab.primary(), lab.replicas()[0]
    with held_by_sentinel_only(lab, replica):
        lab.redis(replica, "REPLICAOF", "NO", "ONE")
        lab.redis(replica, "SET", "faults:lost", "written to the side that loses", "EX", "600")
        yield Expect(replica)
        follow(lab, replica, primary)


@fault("replica_astray", quick=True)
def follows_a_replica(lab: Lab) -> Iterator[Expect]:
    primary, (astray, other) = lab.primary(), lab.replicas()
    with held_by_sentinel_only(lab, astray):
        follow(lab, astray, other)
        yield Expect(astray)
        follow(lab, astray, primary)


@fault("replica_login_refused", quick=True)
def wrong_password(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.redis(replica, "CONFIG", "SET", "masterauth", "not-what-the-primary-has")
    lab.redis(replica, "CLIENT", "KILL", "TYPE", "master")
    yield Expect(replica)
    lab.on(replica, "systemctl", "restart", UNIT)


@fault("replica_buffer_loop")
def buffer_too_small(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    limits = {"client_output_buffer_limit": "replica 1mb 1mb 1", "repl_backlog_size": "16kb"}
    with settings(lab, primary, **limits):
        write(lab, primary, 200)
        yield Expect(primary, within=60)
        lab.on(primary, "rm", WRITING)


def write(lab: Lab, host: str, count: int) -> None:
    """Bursts of ``count`` times 100 kB, twice a second, until WRITING is removed, or for two minutes."""
    tool = f"redis-cli --tls --cacert /etc/redis/tls/ca.crt -h {lab.addresses[host]} --user operator --no-auth-warning"
    burst = BURST.format(count=count)
    loop = (
        f"touch {WRITING}; for turn in $(seq 240); do test -e {WRITING} || exit 0; "
        f'{tool} EVAL "{burst}" 0 > /dev/null; sleep 0.5; done; rm {WRITING}'
    )
    secret = {"REDISCLI_AUTH": lab.variables["redis_password_operator"]}
    lab.on(host, "sh", "-c", f"({loop}) > /dev/null 2>&1 & while ! test -e {WRITING}; do :; done", env=secret)


@fault("full_sync_storm")
def backlog_too_small(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    session = Session(lab, primary)
    with settings(lab, primary, repl_backlog_size="16kb", repl_diskless_sync_delay="0"), closing(session):
        for _turn in range(4):
            # In one go: a replica is back within milliseconds.
            session.say("CLIENT KILL TYPE replica", wait=False)
            session.say(f'EVAL "{BURST.format(count=4)}" 0')
            wait_for(lambda: len(re.findall("state=online", state(lab, primary))) == 2, "both replicas", 30)
        yield Expect(primary)


@fault("replica_copying")
def slow_copy(lab: Lab) -> Iterator[Expect]:
    primary, replica = lab.primary(), lab.replicas()[0]
    delay = str(int(40e6 / int(lab.redis(primary, "DBSIZE"))))  # microseconds a key: 40 s for all of them
    with settings(lab, primary, rdb_key_save_delay=delay, repl_backlog_size="16kb", repl_diskless_sync_delay="0"):
        lab.on(replica, "systemctl", "stop", UNIT)
        lab.redis(primary, "EVAL", BURST.format(count=4), "0")
        lab.on(replica, "systemctl", "start", UNIT)
        wait_for(lambda: "master_sync_in_progress:1" in state(lab, replica), "the copy's beginning", 20)
        yield Expect(replica)
        wait_for(lambda: "master_link_status:up" in state(lab, replica), "the copy's end", 120)


@fault("not_enough_replicas", quick=True)
def more_wanted_than_there_are(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    with settings(lab, primary, min_replicas_to_write="3"):
        yield Expect(primary)


@fault("replica_stale", "refuses")
def speaks_another_language(lab: Lab) -> Iterator[Expect]:
    """It talks plain to the primary's TLS port."""
    replica = lab.replicas()[0]
    with settings(lab, replica, replica_serve_stale_data="no", tls_replication="no"):
        lab.redis(replica, "CLIENT", "KILL", "TYPE", "master")
        yield Expect(replica)


@fault("replica_lagging")
def words_do_not_arrive(lab: Lab) -> Iterator[Expect]:
    """What the replica acknowledges does not reach the primary."""
    primary, replica = lab.primary(), lab.replicas()[0]
    rows = lab.redis(primary, "CLIENT", "LIST", "TYPE", "replica")
    port = re.search(rf" addr={re.escape(lab.addresses[replica])}:(\d+)", rows)
    assert port, rows
    drop_from(lab, primary, f"ip saddr {lab.addresses[replica]} tcp sport {port[1]} drop")
    yield Expect(replica, within=45)
    lab.on(primary, "nft", "delete", "table", "inet", "faults")

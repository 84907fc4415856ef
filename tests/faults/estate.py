# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of outages of a whole estate: variants of causes that are met alone elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from base import REFUSED, Expect, fault
from lab import SENTINEL_UNIT, UNIT, Lab, wait_for
from process import TRACES

HOSTS = ("redis1", "redis2", "redis3")

# What is true besides when nothing runs any more.
ALL_DOWN = (*TRACES, "sentinel_dead", "no_quorum", "no_primary", "no_good_replica")


def start(lab: Lab, *hosts: str, unit: str = UNIT) -> None:
    """Start units that are not running."""
    for host in hosts:
        lab.on(host, "systemctl", "reset-failed", unit, check=False)
        lab.on(host, "systemctl", "start", unit)


def kill_all(lab: Lab, unit: str, *hosts: str) -> None:
    """Kill a unit on some hosts, one after the other."""
    for host in hosts:
        lab.kill_for_good(host, unit)


@fault("process_dead", "everywhere")
def all_servers(lab: Lab) -> Iterator[Expect]:
    primary, replicas = lab.primary(), lab.replicas()
    kill_all(lab, UNIT, *replicas, primary)
    yield Expect(primary, also=ALL_DOWN)
    start(lab, primary, *replicas)


@fault("process_dead", "everything")
def all_servers_and_sentinels(lab: Lab) -> Iterator[Expect]:
    primary, replicas = lab.primary(), lab.replicas()
    kill_all(lab, SENTINEL_UNIT, *HOSTS)
    kill_all(lab, UNIT, *replicas, primary)
    yield Expect(primary, also=ALL_DOWN)
    start(lab, primary, *replicas)
    start(lab, *HOSTS, unit=SENTINEL_UNIT)


@fault("process_dead", "out_of_sight", recovery=REFUSED)
def all_servers_and_the_primarys_host(lab: Lab) -> Iterator[Expect]:
    """The newest copy may lie where nobody can look: only a person's word lets another go on."""
    primary, replicas = lab.primary(), lab.replicas()
    kill_all(lab, UNIT, *replicas, primary)
    lab.cut_power(primary)
    yield Expect(replicas[0], also=(*ALL_DOWN, "host_gone"))
    lab.power_on(primary)
    start(lab, *replicas)


@fault("process_dead", "old_copy")
def all_after_a_failover(lab: Lab) -> Iterator[Expect]:
    """The former primary's file still says that it is one, and its copy is old: it must not be the one to start."""
    former = lab.primary()
    lab.kill_for_good(former)
    wait_for(lambda: lab.primaries() not in ([], [former]), "a failover", 60)
    latest = lab.primary()
    (other,) = (host for host in HOSTS if host not in (former, latest))
    wait_for(lambda: f"master_host:{lab.addresses[latest]}" in lab.redis(other, "INFO", "replication"), "a replica", 30)
    lab.redis(latest, "SET", "faults:latest", "1", "EX", "3600")
    wait_for(lambda: lab.redis(other, "EXISTS", "faults:latest").strip() == "1", "its copy", 10)
    kill_all(lab, SENTINEL_UNIT, *HOSTS)
    kill_all(lab, UNIT, other, latest)
    yield Expect(latest, also=ALL_DOWN)
    start(lab, latest, other)
    if lab.redis(lab.primary(), "EXISTS", "faults:latest").strip() != "1":
        raise RuntimeError("the write after the failover is gone")
    lab.redis(lab.primary(), "DEL", "faults:latest")
    if not lab.running(former):
        address = lab.addresses[latest]
        lab.on(former, "sed", "-i", f"$a replicaof {address} 6379", "/etc/redis/redis-main.conf")
    start(lab, former)
    start(lab, *HOSTS, unit=SENTINEL_UNIT)


@fault("no_quorum", "all")
def all_sentinels(lab: Lab) -> Iterator[Expect]:
    kill_all(lab, SENTINEL_UNIT, *HOSTS)
    yield Expect("redis", also=ALL_DOWN)
    start(lab, *HOSTS, unit=SENTINEL_UNIT)


@fault("no_quorum", "and_primary")
def all_sentinels_and_the_primary(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    kill_all(lab, SENTINEL_UNIT, *HOSTS)
    lab.kill_for_good(primary)
    yield Expect("redis", also=(*ALL_DOWN, "process_dead"))
    start(lab, primary)
    start(lab, *HOSTS, unit=SENTINEL_UNIT)

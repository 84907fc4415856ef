# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family network. Each has a firewall table of its own, so that repairing is to drop the table."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from base import FIXTURES, LEFT, UNABLE, Expect, fault
from lab import Lab
from security import kept

FIXTURES["names_differ"] = "the lab's hosts know each other by address; names that differ need a second name server"
FIXTURES["url_astray"] = "no host of the lab is only a URL; tried on loopback (test_url_estate.py)"
FIXTURES["endpoint_unreachable"] = (
    "a managed server is no host of the lab; the words are those of a port that is closed"
)


@contextmanager
def rules(lab: Lab, host: str, *lines: str) -> Iterator[None]:
    """Rules for what comes in, before all others. A chain may not be called ``in``."""
    body = "\n".join(lines)
    table = f"table inet chaos {{\nchain ci {{\ntype filter hook input priority -100; policy accept;\n{body}\n}}\n}}\n"
    command = ["podman", "exec", "-i", lab.container(host), "nft", "-f", "-"]
    subprocess.run(command, input=table, text=True, check=True, capture_output=True)
    try:
        yield
    finally:
        lab.on(host, "nft", "delete", "table", "inet", "chaos")


def others(lab: Lab, host: str, applications: bool = True) -> str:
    """Addresses of the other hosts, as nft writes a set."""
    names = [name for name in lab.addresses if name != host and (applications or name.startswith("redis"))]
    return "{ " + ", ".join(lab.addresses[name] for name in names) + " }"


@contextmanager
def unlisted(lab: Lab, host: str, kind: str, stranger: str) -> Iterator[None]:
    """The host's own firewall does not know another host any more, as after somebody edited it."""
    element = ("inet", "lifeline_redis", f"redis_6379_{kind}_v4", f"{{ {lab.addresses[stranger]} }}")
    lab.on(host, "nft", "delete", "element", *element)
    try:
        yield
    finally:
        lab.on(host, "nft", "add", "element", *element)


@fault("clients_cut_off", "own_table", quick=True)
def application_unlisted(lab: Lab) -> Iterator[Expect]:
    with unlisted(lab, lab.primary(), "clients", "app1"):
        yield Expect("app1")


@fault("peer_cut_off", "own_table")
def replica_unlisted(lab: Lab) -> Iterator[Expect]:
    primary, replica = lab.primary(), lab.replicas()[0]
    with unlisted(lab, primary, "peers", replica):
        yield Expect(primary, also=("sentinel_cut_off", "replica_link_down"))


@fault("clients_cut_off", "primary", quick=True, recovery=UNABLE)
def application_dropped(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    with rules(lab, primary, f"ip saddr {lab.addresses['app1']} tcp dport 6379 drop"):
        yield Expect("app1")


@fault("sentinel_cut_off", quick=True, recovery=LEFT)
def sentinel_dropped(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with rules(lab, replica, f"ip saddr {others(lab, replica, False)} tcp dport 26379 drop"):
        yield Expect(replica)


@fault("peer_cut_off", recovery=LEFT)
def replica_dropped(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with rules(lab, replica, f"ip saddr {others(lab, replica, False)} tcp dport 6379 drop"):
        yield Expect(replica)


@fault("host_isolated", "replica", recovery=LEFT)
def replica_alone(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with rules(lab, replica, f"ip saddr {others(lab, replica)} drop"):
        yield Expect(replica)


@fault("packet_loss", recovery=LEFT)
def replica_lossy(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with rules(lab, replica, f"ip saddr {others(lab, replica)} numgen random mod 100 < 30 drop"):
        yield Expect(replica, within=40)


@fault("names_unresolved", quick=True, recovery=UNABLE)
def name_gone(lab: Lab) -> Iterator[Expect]:
    path = "/etc/rq/redis.env"
    with kept(lab, "app1", path):
        lab.on("app1", "sed", "-i", "s/@127.0.0.1:/@redis.lab.invalid:/", path)
        yield Expect("app1")


@fault("endpoint_down", quick=True)
def endpoint_stopped(lab: Lab) -> Iterator[Expect]:
    lab.on("app1", "systemctl", "stop", "redis-endpoint")
    yield Expect("app1")
    lab.on("app1", "systemctl", "start", "redis-endpoint")


@fault("endpoint_blind")
def endpoint_trusts_nobody(lab: Lab) -> Iterator[Expect]:
    path = "/etc/redis-endpoint/ca.crt"
    with kept(lab, "app1", path):
        lab.on("app1", "sh", "-c", f"cat /etc/ssl/certs/ca-certificates.crt > {path} || : > {path}")
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=other"
        lab.on("app1", "sh", "-c", f"{make} -out {path}")
        lab.on("app1", "systemctl", "restart", "redis-endpoint")
        yield Expect("app1")
    lab.on("app1", "systemctl", "restart", "redis-endpoint")

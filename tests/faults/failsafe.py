#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ten estates that look odd and are in service: recover.yml must leave every one of them exactly as it is.

None of them was made by Lifeline. Each is built by hand on real hosts, from the distribution's packages; then
``recover.yml`` runs on it without ``--check``, and roles, data, configuration, processes, units, rules, packages and
files are compared with before. Makes a lab of its own and removes it. ``failsafe.py [NAME ...]``; status 1 when
anything changed, or when the run did not say what is odd.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import ROOT, Lab, wait_for

HOSTS = ("redis1", "redis2", "redis3")
PASSWORD = "made-up-for-the-failsafe-suite"
USERS = "".join(f"user {name} on >{PASSWORD} ~* &* +@all\n" for name in ("operator", "observer", "application"))
OPEN = "user default on nopass ~* &* +@all\n"
LIBRARY = "python3-redis"
PACKAGES = "redis-server redis-sentinel"

# Everything that must be the same afterwards; left out is what changes by itself: logs, Sentinel's own state.
STATE = r"""
nft list ruleset; dpkg -l | sha256sum; systemctl list-unit-files --no-legend | sort
find /etc /srv /opt /usr/local /var/lib/redis -xdev -type f -not -name sentinel.conf -not -path '*/appendonlydir/*' \
  -printf '%p %s %m %u %T@\n' | sort
for pid in $(pgrep -x redis-server; pgrep -x redis-sentinel); do ps -o pid=,lstart=,args= -p "$pid"; done
for port in 6379 6380; do
  ask() { timeout 3 redis-cli -p "$port" --user operator --no-auth-warning "$@" 2>&1; }
  ask PING | grep -q . || continue
  ask ROLE | grep -E '^(master|slave)' ; ask INFO replication | grep -E '^(role|master_host|master_port|master_replid):'
  ask CONFIG GET '*' | sha256sum; ask ACL LIST | sha256sum
  ask --scan | grep -v canary | sort | sha256sum
done
timeout 3 redis-cli -p 26379 SENTINEL MASTERS 2>&1 | grep -A1 -E '^(name|ip|port|quorum|config-epoch)$'
true
"""


@dataclass
class Odd:
    """One estate. ``build`` starts it; ``says``: what the run's output must hold; ``options``: of the run."""

    build: Callable[[Lab], None]
    says: str
    members: tuple[str, ...] = HOSTS
    sentinels: tuple[str, ...] = ()
    variables: dict[str, Any] = field(default_factory=dict)
    url: str = ""


ODD: dict[str, Odd] = {}


def odd(says: str, **more: Any) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Registers the function that builds an estate, under its name."""

    def register(build: Callable[[Lab], None]) -> Callable[[Lab], None]:
        ODD[build.__name__] = Odd(build, says, **more)
        return build

    return register


def serve(lab: Lab, host: str, *lines: str, port: int = 6379, users: str = OPEN + USERS, follow: str = "") -> None:
    """A server by hand: its own folder, its own transient unit, nothing that Lifeline would call it."""
    config = [
        f"port {port}",
        "dir /srv/foreign",
        "aclfile /srv/foreign/users.acl",
        "protected-mode no",
        "appendonly yes",
        "repl-diskless-sync-delay 0",
        *lines,
    ]
    if follow:
        config += [f"replicaof {lab.addresses[follow]} {port}", "masteruser operator", f"masterauth {PASSWORD}"]
    put(lab, host, "/srv/foreign/users.acl", users)
    put(lab, host, "/srv/foreign/redis.conf", "\n".join([*config, ""]))
    lab.on(host, "chown", "-R", "redis:redis", "/srv/foreign")
    lab.on(host, "systemd-run", "--unit=foreign-redis", "--uid=redis", "--gid=redis", "redis-server",
           "/srv/foreign/redis.conf")  # fmt: skip
    wait_for(lambda: ask(lab, host, "PING", port=port) == "PONG", f"the server on {host}", 20)


def put(lab: Lab, host: str, path: str, text: str) -> None:
    """A file, its folder made with it."""
    lab.on(host, "sh", "-c", f'mkdir -p {Path(path).parent} && printf %s "$TEXT" > {path}', env={"TEXT": text})


def ask(lab: Lab, host: str, *command: str, port: int = 6379) -> str:
    """A command on a host's own server, as whoever may do everything there."""
    tool = ["redis-cli", "-p", str(port), "--user", "operator", "--no-auth-warning", *command]
    return lab.on(host, *tool, check=False, env={"REDISCLI_AUTH": PASSWORD}).strip()


def pair(lab: Lab, primary: str = "redis1", others: tuple[str, ...] = ("redis2",), port: int = 6379) -> None:
    """A primary with data and replicas that are in step with it."""
    serve(lab, primary, port=port)
    for count in range(44):
        ask(lab, primary, "SET", f"key:{count}", "x" * count, port=port)
    for host in others:
        serve(lab, host, port=port, follow=primary)
    linked(lab, others, port)


def linked(lab: Lab, hosts: tuple[str, ...], port: int = 6379) -> None:
    """Wait until these replicas have their link."""
    for host in hosts:
        wait_for(
            lambda host=host: "master_link_status:up" in ask(lab, host, "INFO", "replication", port=port),
            f"the link of {host}", 60,
        )  # fmt: skip


# Built first: the library is installed after it.
@odd(r"library", members=("redis1", "redis2"))
def no_library(lab: Lab) -> None:
    pair(lab)


@odd(r"WRONGPASS|rejects|refuse|login", members=("redis1", "redis2"))
def login_refused(lab: Lab) -> None:
    """As after a restart that lost ACL SETUSER: the primary serves, and only refuses Lifeline's own login."""
    pair(lab)
    ask(lab, "redis1", "ACL", "SETUSER", "operator", "resetpass", ">something-else")
    ask(lab, "redis1", "ACL", "DELUSER", "observer")


@odd(r"", members=("redis1", "redis2"))
def unit_unknown(lab: Lab) -> None:
    """Started by a shell: no unit of systemd's knows these servers."""
    pair(lab)
    for host in ("redis1", "redis2"):
        lab.on(host, "systemctl", "stop", "foreign-redis")
        lab.on(host, "sh", "-c", "cd / && runuser -u redis -- redis-server /srv/foreign/redis.conf --daemonize yes")
        wait_for(lambda host=host: ask(lab, host, "PING") == "PONG", f"the server on {host}", 20)
    linked(lab, ("redis2",))


@odd(r"not in the inventory", members=("redis1", "redis2"))
def foreign_primary(lab: Lab) -> None:
    """Whom both servers of the inventory follow is a host that the inventory does not have."""
    pair(lab, "redis3", ("redis1", "redis2"))


@odd(r"refused|6380|port", members=("redis1", "redis2"))
def other_port(lab: Lab) -> None:
    pair(lab, port=6380)


@odd(r"TLS|tls", members=("redis1", "redis2"), variables={"redis_tls_enabled": True})
def tls_on_one_side(lab: Lab) -> None:
    """The inventory wants TLS, and the servers do not know of it."""
    pair(lab)


@odd(r"replica", members=("redis2",), url="redis2")
def replica_by_url(lab: Lab) -> None:
    """The URL that stands for the estate leads to a replica."""
    pair(lab)


@odd(r"both say|all say|primary", members=("redis1", "redis2"))
def disputed(lab: Lab) -> None:
    """Two servers that both take writes, without a Sentinel that could tell which one counts."""
    pair(lab)
    ask(lab, "redis2", "REPLICAOF", "NO", "ONE")
    ask(lab, "redis2", "CONFIG", "REWRITE")
    for host in ("redis1", "redis2"):
        ask(lab, host, "SET", f"only-on-{host}", "1")


@odd(r"", sentinels=HOSTS)
def sentinel_of_another_name(lab: Lab) -> None:
    """Sentinel calls the estate mymaster, as most tutorials do; the inventory calls it redis."""
    pair(lab, "redis1", ("redis2", "redis3"))
    for host in HOSTS:
        lines = (f"sentinel monitor mymaster {lab.addresses['redis1']} 6379 2", "protected-mode no", "port 26379",
                 "sentinel auth-user mymaster operator", f"sentinel auth-pass mymaster {PASSWORD}", "dir /srv/sentinel",
                 "sentinel down-after-milliseconds mymaster 5000", "")  # fmt: skip
        put(lab, host, "/srv/sentinel/sentinel.conf", "\n".join(lines))
        lab.on(host, "chown", "-R", "redis:redis", "/srv/sentinel")
        lab.on(host, "systemd-run", "--unit=foreign-sentinel", "--uid=redis", "--gid=redis", "redis-sentinel",
               "/srv/sentinel/sentinel.conf")  # fmt: skip
    known = ["redis-cli", "-p", "26379", "SENTINEL", "CKQUORUM", "mymaster"]
    wait_for(
        lambda: lab.on("redis1", *known, check=False).startswith("OK 3"), "three sentinels that know each other", 30
    )


@odd(r"", members=("redis1", "redis2"))
def silent_host(lab: Lab) -> None:
    """The primary's host does not let Ansible in, and its server serves."""
    pair(lab)
    lab.on("redis1", "systemctl", "stop", "ssh.socket", "ssh.service", check=False)
    lab.on("redis1", "pkill", "-x", "sshd", check=False)


def cleared(lab: Lab) -> None:
    """No server is left of the estate before."""
    script = (
        "systemctl stop ssh.socket 2>/dev/null; systemctl start ssh; "
        "pkill -KILL -x redis-server; pkill -KILL -x redis-sentinel; "
        "systemctl stop foreign-redis foreign-sentinel 2>/dev/null; systemctl reset-failed; "
        "rm -rf /srv/foreign /srv/sentinel; while pgrep -x 'redis-server|redis-sentinel' >/dev/null; do :; done"
    )
    for host in HOSTS:
        lab.on(host, "timeout", "20", "sh", "-c", script, check=False)


def states(lab: Lab) -> dict[str, list[str]]:
    """What each host holds, line by line."""
    secret = {"REDISCLI_AUTH": PASSWORD}
    return {host: lab.on(host, "sh", "-c", STATE, check=False, env=secret).splitlines() for host in HOSTS}


def inventory(lab: Lab, estate: Odd, folder: Path) -> Path:
    """An inventory as the owner of such an estate would write it."""
    made = json.loads((lab.inventory / "generated" / "hosts.json").read_text())
    names = ("redis_password_application", "redis_password_observer", "redis_password_operator")
    common = {**made["lab_hosts"]["vars"], "redis_tls_enabled": False, **dict.fromkeys(names, PASSWORD)}
    hosts = {name: {"ansible_host": address} for name, address in lab.addresses.items() if name in estate.members}
    groups = {"redis": estate.members, "sentinel": estate.sentinels, "app": ()}
    every = {"hosts": hosts, "vars": {**common, **estate.variables}}
    rows = {"all": every, **{group: {"hosts": {name: {} for name in held}} for group, held in groups.items()}}
    path = folder / "hosts.json"
    path.write_text(json.dumps(rows))
    return path


def problems(lab: Lab, estate: Odd, folder: Path) -> list[str]:
    """What is wrong with the run on one estate."""
    estate.build(lab)
    before = states(lab)
    where = ROOT / "inventories" / "endpoint-only" if estate.url else inventory(lab, estate, folder)
    url = f"redis://operator:{PASSWORD}@{lab.addresses.get(estate.url, '')}:6379/0"
    os.environ["REDIS_URL"] = url if estate.url else ""
    reports = json.dumps({"redis_recovery_reports_dir": str(folder / "reports")})
    run = Lab(lab.name, where).playbook("recover.yml", "-e", reports, check=False)
    after = states(lab)
    wrong = [
        f"{host} changed: {sorted(set(before[host]) ^ set(after[host]))[:6]}"
        for host in HOSTS
        if before[host] != after[host]
    ]
    if re.search(r"changed=[1-9]", run.output) or not re.search(r"changed=0", run.output):
        wrong.append("the run does not say changed=0 of every host")
    if "Traceback" in run.output or "has no attribute" in run.output:
        wrong.append("a traceback")
    if not re.search(estate.says, run.output):
        wrong.append(f"{estate.says} is not said")
    print(f"  status {run.status}, {run.seconds:.1f} s")
    if wrong or os.environ.get("FAILSAFE_SHOW"):
        print(run.output)
    return wrong


def main(names: list[str]) -> int:
    """0 when nothing changed on any of them."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="failsafe-") as name:
        folder = Path(name)
        lab = Lab(f"failsafe-{os.getpid()}", folder)
        rows = json.dumps([{"name": host, "groups": ["redis"]} for host in HOSTS])
        where = ["-e", f"lab_hosts_name={lab.name}", "-e", f"lab_hosts_inventory_dir={folder / 'generated'}"]
        make = ["playbooks/lab.yml", *where, "-e", f'{{"lab_hosts_hosts": {rows}}}']
        maker = Lab(lab.name, ROOT / "inventories" / "lab")
        maker.playbook(*make)
        try:
            install(lab, PACKAGES)
            for which, estate in ODD.items():
                if names and which not in names:
                    continue
                if which != "no_library":
                    install(lab, LIBRARY)
                print(which, flush=True)
                wrong = problems(lab, estate, folder)
                print(*(f"  WRONG: {text}" for text in wrong), sep="\n") if wrong else None
                failed += [which] if wrong else []
                cleared(lab)
        finally:
            maker.playbook(*make, "-e", "lab_hosts_state=absent")
    count = len(names) or len(ODD)
    print(f"\n{count - len(failed)} passed, {len(failed)} failed")
    return int(bool(failed))


def install(lab: Lab, packages: str) -> None:
    """Packages of the distribution, whose own servers are not to run."""
    told = "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; "
    for host in HOSTS:
        get = f"DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends {packages} >/dev/null 2>&1"
        lab.on(host, "sh", "-c", f"{told} dpkg -s {packages} >/dev/null 2>&1 || {get}")
        lab.on(host, "sh", "-c", "pkill -x redis-server; pkill -x redis-sentinel; true")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

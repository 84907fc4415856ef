#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scaling up as mitigation, under the application's load: scale.yml, and one more replica from a host that is new.

Nothing may restart, fail over or lose a job. The lab has one host more when this ends; ``make lab-up`` takes it away,
and ``provision.yml`` makes the others forget it. Status 1 when something is not as it should be.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import Lab, wait_for
from load import Load

OLD, NEW = ("redis1", "redis2", "redis3"), "redis4"
MIB = 1024**2
HOSTS = [
    *({"name": name, "groups": ["redis", "sentinel"]} for name in OLD),
    {"name": NEW, "groups": ["redis"]},
    {"name": "app1", "groups": ["app"]},
]


def setting(lab: Lab, host: str, name: str) -> str:
    """CONFIG GET of one setting."""
    return lab.redis(host, "CONFIG", "GET", name).split("\n")[1]


def runs(lab: Lab) -> dict[str, str]:
    """By host, its server's run id and role: other ones tell of a restart or a failover."""
    told = {host: lab.redis(host, "INFO", "server") + lab.redis(host, "INFO", "replication") for host in OLD}
    return {host: " ".join(re.findall(r"(?m)^(?:run_id|role):(\S+)", text)) for host, text in told.items()}


def more_room(lab: Lab) -> Iterator[str]:
    """What is wrong with scale.yml."""
    servers = [host for host in (*OLD, NEW) if host in lab.addresses]  # alike, as it makes them
    before = {host: (int(setting(lab, host, "maxmemory")), int(setting(lab, host, "maxclients"))) for host in servers}
    memory, clients = max(room for room, _ in before.values()) - 16 * MIB, max(count for _, count in before.values())
    for host in servers:
        lab.redis(host, "CONFIG", "SET", "maxmemory", str(memory // 2))
    asked = ("-e", f"scale_maxmemory={memory}", "-e", f"scale_maxclients={clients + 1000}")
    lab.playbook("playbooks/scale.yml", "--check", *asked)
    if {setting(lab, host, "maxmemory") for host in servers} != {str(memory // 2)}:
        yield "scale.yml --check changed something"
    first, second = (lab.playbook("playbooks/scale.yml", *asked).output for _ in range(2))
    # A container's limit of open files cannot be raised by its root; then that has to be said.
    if re.search(rf"too\s+few\s+for\s+{clients + 1000}\s+clients", first):
        clients -= 1000
    for host in servers:
        room, count = setting(lab, host, "maxmemory"), setting(lab, host, "maxclients")
        file = lab.on(host, "grep", "-E", "^(maxmemory|maxclients) ", "/etc/redis/redis-main.conf")
        if (room, count) != (str(memory), str(clients + 1000)):
            yield f"{host} has maxmemory {room} and maxclients {count} instead of {memory} and {clients + 1000}"
        if str(clients + 1000) not in file:
            yield f"{host}: its file would take maxclients back: {file!r}"
    if "changed=1" not in first or re.search(r"changed=[1-9]", second):
        yield "scale.yml does not tell what it changed, or changes it again"


def one_more(lab: Lab) -> Iterator[str]:
    """What is wrong with a replica from a new host."""
    primary = lab.primary()
    lab.redis(primary, "SET", "scaling:seen", "1", "EX", "600")
    lab.playbook("playbooks/lab.yml", "-e", json.dumps({"lab_hosts_hosts": HOSTS}))
    lab.playbook("playbooks/provision.yml")
    wait_for(lambda: "master_link_status:up" in lab.redis(NEW, "INFO", "replication"), "the new replica's link", 20)
    if f"master_host:{lab.addresses[primary]}" not in lab.redis(NEW, "INFO", "replication"):
        yield f"{NEW} does not follow {primary}"
    if lab.redis(NEW, "EXISTS", "scaling:seen").strip() != "1":
        yield f"{NEW} has not got the data"
    if lab.addresses[NEW] not in lab.on("app1", "cat", "/etc/redis-endpoint/haproxy.cfg"):
        yield "the application's endpoint does not know it"
    for host in OLD:
        wait_for(lambda at=host: _known(lab, at) == 3, f"three replicas in the eyes of {host}'s sentinel", 30)
    again = lab.playbook("playbooks/provision.yml")
    if re.search(r"changed=[1-9]", again.output):
        yield "a second provision.yml changes something"


def _known(lab: Lab, host: str) -> int:
    """How many replicas a sentinel knows and sees."""
    rows = lab.redis(host, "SENTINEL", "REPLICAS", "redis", port=26379).split("\n")
    flags = [rows[at + 1] for at, word in enumerate(rows) if word == "flags"]
    return flags.count("slave")


def main() -> int:
    """0 when nothing is wrong."""
    lab = Lab()
    load = Load(lab)
    load.start()
    before = runs(lab)
    wrong = [*more_room(lab), *one_more(lab)]
    if runs(lab) != before:
        wrong.append(f"a server restarted or changed its role: {before} became {runs(lab)}")
    load.stop()
    counted = load.check()
    if counted["lost"] or counted["doubled"] or counted["pending"] or load.outage():
        wrong.append(f"jobs: {counted}, {load.outage():.1f} s without an accepted one")
    print(*wrong, f"{counted['acknowledged']} jobs acknowledged, {counted['executed']} executed", sep="\n")
    print(f"\n{int(not wrong)} passed, {int(bool(wrong))} failed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

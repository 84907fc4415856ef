#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server as the distribution installs it, which no role of ours ever touched, and which asks for no login.

compliance.yml must judge it all the same, find what is wrong with it, and leave it as it was: no command that writes,
no file that changes. Makes a lab of one host and removes it. Status 1 when the answer is another.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import ROOT, Lab, wait_for

HOST = "plain1"
# What a default installation does not keep; the rest passes, is for a person or has no meaning there.
FAILS = {"RDS-001", "RDS-005", "RDS-006", "RDS-024", "RDS-044", "RDS-049", "RDS-050", "HST-006"}
MANUAL = {"RDS-011", "RDS-031", "RDS-045", "HST-011"}
NO_LOGIN = {f"redis_password_{name}": "" for name in ("application", "replica", "sentinel", "observer", "operator")}
# Commands that a look may send; HELLO, CLIENT SETNAME and SELECT are a connection's own business.
READS = {"info", "ping", "config|get", "acl|list", "acl|log", "module|list", "role", "hello", "client|setinfo",
         "client|setname", "select", "ttl", "smembers", "hget", "zcount", "auth", "latency|latest"}  # fmt: skip
# Everything but what runs by itself: processes, logs, temporary files, and what Ansible and SSH leave behind.
CHANGED = (
    "find / -xdev -newer /run/marker -type f -not -path '/proc/*' -not -path '/sys/*' -not -path '/run/*' "
    "-not -path '/tmp/*' -not -path '/var/log/*' -not -path '*/.ansible/*' -not -path '/var/lib/systemd/*' "
    "-not -path '/var/cache/apt/*' -not -path '/var/lib/private/*'"
)


def cli(lab: Lab, *command: str) -> str:
    return lab.on(HOST, "redis-cli", *command)


def used(lab: Lab) -> dict[str, int]:
    """How often each command was called."""
    rows = (line.split(":", 1) for line in cli(lab, "INFO", "commandstats").splitlines() if line.startswith("cmdstat_"))
    return {name[len("cmdstat_") :]: int(text.split("calls=")[1].split(",")[0]) for name, text in rows}


def problems(lab: Lab, folder: Path) -> list[str]:
    """What was wrong with the judgement."""
    options = {"redis_tls_enabled": False, "compliance_fail_on": "never", "redis_compliance_patience": 15,
               "compliance_report_dir": str(folder / "reports"), **NO_LOGIN}  # fmt: skip
    lab.on(HOST, "touch", "/run/marker")
    before = used(lab)
    run = lab.playbook("playbooks/compliance.yml", "-e", json.dumps(options))
    after = used(lab)
    found = json.loads((folder / "reports" / "redis" / "compliance.json").read_text())["results"]
    status: dict[str, set[str]] = {}
    for row in found:
        status.setdefault(row["status"], set()).add(row["control"])
    wrong = [] if "changed=0" in run.output else ["the playbook says that it changed something"]
    for name, wanted in (("fail", FAILS), ("manual", MANUAL), ("error", set())):
        if status.get(name, set()) != wanted:
            wrong.append(f"{name}: {sorted(status.get(name, set()))} instead of {sorted(wanted)}")
    sent = {name for name in after if after[name] > before.get(name, 0)} - READS
    wrong += [f"sent {sorted(sent)}"] if sent else []
    files = lab.on(HOST, "sh", "-c", CHANGED).split()
    return wrong + ([f"changed {files}"] if files else [])


def main() -> int:
    """0 when the judgement is right and nothing changed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lab = Lab(f"{Lab().name}-plain", folder / "generated")
        hosts = json.dumps([{"name": HOST, "groups": ["redis"]}])
        where = ["-e", f"lab_hosts_name={lab.name}", "-e", f"lab_hosts_inventory_dir={lab.inventory}"]
        make = ["playbooks/lab.yml", *where, "-e", f'{{"lab_hosts_hosts": {hosts}}}']
        Lab(lab.name, ROOT / "inventories" / "lab").playbook(*make)
        try:
            install = "apt-get install -qy --no-install-recommends redis-server python3-redis"
            lab.on(HOST, "sh", "-c", f"DEBIAN_FRONTEND=noninteractive {install} >/dev/null 2>&1")
            wait_for(lambda: "PONG" in lab.on(HOST, "redis-cli", "PING", check=False), "the distribution's server", 30)
            wrong = problems(lab, folder)
        finally:
            Lab(lab.name, ROOT / "inventories" / "lab").playbook(*make, "-e", "lab_hosts_state=absent")
    print(*(wrong or [f"ok: {len(FAILS)} controls fail on a default installation, nothing was written"]), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that answer what a test has written for them, for whole playbooks: nothing is looked at, nothing is done.

Every module of library/ is replaced by one that writes down what it was told, and returns what the test wants of that
host. So a test sees what a playbook makes of hosts that lie, fall silent or fail half way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from estates import Estate
from lab import Run
from modules import ROOT, ansible
from repository import own_modules

# An answer is a file; of several, the n-th call gets the n-th, and the last one stays.
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, os, sys, time
name, host, place = "{name}", os.environ["SCRIPTED_HOST"], "{place}"
with open(sys.argv[1]) as file:
    told = {{key: value for key, value in json.load(file).items() if not key.startswith("_ansible")}}
with open(place + "/calls", "a") as calls:
    calls.write(json.dumps([host, name, told]) + "\\n")
with open(place + "/calls") as calls:
    number = sum(json.loads(line)[:2] == [host, name] for line in calls)
while os.path.exists(place + "/held." + name):
    time.sleep(0.02)
for at in range(number, 0, -1):
    answer = place + "/" + ".".join([host, name, str(at)])
    if os.path.exists(answer):
        with open(answer) as file:
            sys.stdout.write(file.read())
        break
else:
    lock = {{"held": True, "who": "a test"}} if name == "estate_lock" else {{}}
    sys.stdout.write(json.dumps({{"changed": False, **lock}}))
"""

SECRETS = {
    f"redis_password_{user}": "x" * 20 for user in ("application", "replica", "sentinel", "observer", "operator")
}


class Scripted:
    """The hosts of an estate in ``place``; each first says what the estate's evidence has of it."""

    def __init__(self, place: Path, estate: Estate, groups: Optional[Mapping[str, Sequence[str]]] = None) -> None:
        self.place, self.library, self.inventory = place, place / "library", place / "hosts.json"
        self.library.mkdir()
        for name in own_modules():
            (self.library / f"{name}.py").write_text(MODULE.format(name=name, place=place))
        members = groups or {"redis": estate.names, "sentinel": [str(peer["name"]) for peer in estate.sentinels]}
        hosts = {name: self._host(name) for name in dict.fromkeys(host for names in members.values() for host in names)}
        for node in estate.nodes:
            hosts[str(node["name"])]["ansible_host"] = node["host"]
        self.children = {group: {"hosts": {name: hosts[name] for name in names}} for group, names in members.items()}
        self.variables: dict[str, Any] = {"redis_tls_enabled": False, **SECRETS}
        for name, document in estate.evidence.items():
            self.says(name, document)

    def _host(self, name: str) -> dict[str, Any]:
        interpreter = self.place / f"python-{name}"
        interpreter.write_text(f'#!/bin/sh\nSCRIPTED_HOST={name} exec {sys.executable} "$@"\n')
        interpreter.chmod(0o755)
        return {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": str(interpreter)}

    def says(self, host: str, document: Mapping[str, Any], look: int = 1) -> None:
        """What the host's evidence is from that look on."""
        self.answers(host, "redis_health", json.dumps({"changed": False, "evidence": document}), look)

    def answers(self, host: str, module: str, text: str, call: int = 1) -> None:
        """What a module prints on that host from that call on, whatever it is."""
        (self.place / f"{host}.{module}.{call}").write_text(text)

    def lock_for_real(self) -> None:
        """Take and give back the lock with the real module: each host has a folder of its own for it."""
        option, module = '"directory": {"type": "path"}', (ROOT / "library" / "estate_lock.py").read_text()
        assert module.count(option) == 1
        folder = f'__import__("os").path.join({str(self.place)!r}, "lock." + __import__("os").environ["SCRIPTED_HOST"])'
        own = option.replace('"}', f'", "default": {folder}}}')
        (self.library / "estate_lock.py").write_text(module.replace(option, own))

    def lock(self, host: str) -> Path:
        """The host's lock file, of ``lock_for_real``."""
        return self.place / f"lock.{host}" / "redis.lock"

    def hold(self, module: str) -> Path:
        """Whoever runs this module waits, until the file is gone that is returned."""
        gate = self.place / f"held.{module}"
        gate.touch()
        return gate

    def playbook(self, playbook: str, *options: str) -> Run:
        """Run a playbook of the folder playbooks (the one above has library/ beside it, which would come first)."""
        self.inventory.write_text(json.dumps({"all": {"children": self.children, "vars": self.variables}}))
        reports = self.place / "reports"
        where = [f"{name}={reports}" for name in ("redis_recovery_reports_dir", "diagnose_report_dir")]
        where.append(f"compliance_report_dir={reports}/compliance")
        done = ansible(
            "ansible-playbook", "-i", str(self.inventory), playbook, *options,
            *(word for option in where for word in ("-e", option)),
            env={"ANSIBLE_LIBRARY": str(self.library)},
        )  # fmt: skip
        return Run(done.returncode, 0.0, done.stdout + done.stderr)

    def calls(self, module: str, host: str = "") -> list[dict[str, Any]]:
        """What a module was told, in order; of one host or of all."""
        calls = self.place / "calls"
        rows = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        return [told for where, name, told in rows if name == module and host in ("", where)]

#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long a diagnosis takes: of the lab, of a fleet of endpoints, and of a thousand hosts' evidence.

Prints progress on stderr and one line of JSON:

- ``lab_seconds``: diagnose.yml on the lab's four hosts, from the command to its end; the median of ``lab_runs``.
  ``look_seconds``: what the slowest host's look took of it. ``cpu_s``: the control node's processor time.
- ``endpoints_1000_s``: a playbook with one task of redis_health that looks at a thousand endpoints, which are real
  servers on loopback. ``endpoints_answered`` counts those that answered.
- ``pure_1000_hosts_s``: ``diagnose`` for the evidence of a thousand hosts, in processor time: 250 estates of four.
  ``pure_one_estate_s`` is one estate of three servers and 997 application hosts, ``pure_one_estate_down_s`` the same
  with its primary dead and every host reporting that, ``pure_mesh_s`` a hundred servers that each see all others.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lab import Lab, versions
from lifeline.diagnose.evidence import load
from lifeline.plan.diagnosis import diagnose
from servers import Servers

HOSTS, ENDPOINTS, SERVERS = 1000, 1000, 20
SAVED = Path(__file__).resolve().parents[1] / "data" / "lab-evidence.json"


def many(estate: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Estates like one, each with a name and documents of its own."""
    made = []
    for number in range(count):
        other = copy.deepcopy(estate)
        for part in (other, *other["evidence"]):
            part["service"] = f"estate{number}"
        made.append(other)
    return made


def large(estate: dict[str, Any], hosts: int) -> dict[str, Any]:
    """The estate with as many application hosts as it takes."""
    made = copy.deepcopy(estate)
    application = next(entry for entry in made["evidence"] if entry["host"] in made["applications"])
    for number in range(hosts - len(made["evidence"])):
        name = f"application{number}"
        made["evidence"].append({**copy.deepcopy(application), "host": name})
        made["applications"].append(name)
    return made


def without_primary(estate: dict[str, Any]) -> dict[str, Any]:
    """Nobody reaches the primary, and every application host says that it is cut off."""
    made = copy.deepcopy(estate)
    primary = str(diagnose(estate)["primary"]["name"])
    gone = {"reachable": False, "error": "timeout: no answer"}
    made["evidence"] = [entry for entry in made["evidence"] if entry["host"] != primary]
    for entry in made["evidence"]:
        entry["nodes"][primary] = dict(gone)
        for view in entry["nodes"].values():
            if view.get("primary"):
                view["primary"].update(link_up=False, link_down_s=30)
        if "application" in entry:
            entry["application"].update(gone)
    return made


def mesh(estate: dict[str, Any], servers: int) -> dict[str, Any]:
    """One primary, all others its replicas, and each host has asked every server."""
    primary = diagnose(estate)["primary"]
    views = next(entry for entry in estate["evidence"] if entry["host"] == primary["name"])["nodes"]
    first, other = views[primary["name"]], next(view for name, view in views.items() if name != primary["name"])
    names = [primary["name"], *(f"server{number}" for number in range(1, servers))]
    nodes = [
        {"name": name, "host": primary["host"] if not at else f"10.255.0.{at}", "port": 6379}
        for at, name in enumerate(names)
    ]
    template = next(
        entry for entry in estate["evidence"] if entry["host"] not in (primary["name"], *estate["applications"])
    )
    documents = [
        {**copy.deepcopy(template), "host": name, "sentinels": {},
         "nodes": {each: copy.deepcopy(other if at else first) for at, each in enumerate(names)}}
        for name in names
    ]  # fmt: skip
    return {**estate, "nodes": nodes, "sentinels": [], "applications": [], "evidence": documents}


def timed(work: Callable[[], Any]) -> float:
    """Processor time of the fastest of three, in seconds."""
    taken = []
    for _run in range(3):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return round(min(taken), 3)


def pure() -> dict[str, Any]:
    """The thinking alone."""
    (estate,) = load(str(SAVED))
    estates, one = many(estate, HOSTS // len(estate["evidence"])), large(estate, HOSTS)
    down, meshed = without_primary(one), mesh(estate, 100)
    return {
        "pure_1000_hosts_s": timed(lambda: [diagnose(each) for each in estates]),
        "pure_one_estate_s": timed(lambda: diagnose(one)),
        "pure_one_estate_down_s": timed(lambda: diagnose(down)),
        "pure_mesh_s": timed(lambda: diagnose(meshed)),
    }


def endpoints(lab: Lab) -> dict[str, Any]:
    """A thousand endpoints in one task on the control node."""

    def no_tls() -> Any:
        raise RuntimeError("nothing here has TLS")

    with tempfile.TemporaryDirectory(prefix="bench-diagnose-") as directory:
        servers = Servers(Path(directory), no_tls)
        try:
            ports = [servers().port for _number in range(SERVERS)]
            wanted = [
                {"name": f"e{number}", "host": "127.0.0.1", "port": ports[number % SERVERS]}
                for number in range(ENDPOINTS)
            ]
            told = Path(directory) / "answered"
            tasks = [
                {"name": "Look", "redis_health": {"endpoints": wanted}, "register": "seen"},
                {
                    "name": "Count",
                    "ansible.builtin.copy": {
                        "dest": str(told),
                        "content": "{{ seen.endpoints | selectattr('reachable') | length }}",
                        "mode": "0600",
                    },
                },
            ]
            playbook = Path(directory) / "fleet.yml"
            playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
            python = f"ansible_python_interpreter={sys.executable}"
            runs = [lab.playbook(str(playbook), "-e", python).seconds for _run in range(3)]
            return {
                "endpoints_1000_s": round(statistics.median(runs), 2),
                "endpoints_runs": [round(seconds, 2) for seconds in runs],
                "endpoints_answered": int(told.read_text()),
            }
        finally:
            servers.close()


def whole(lab: Lab, runs: int) -> dict[str, Any]:
    """The lab, from the command to the verdict."""
    for playbook in ("playbooks/lab.yml", "tests/lab_app/deploy.yml", "playbooks/provision.yml"):
        print(playbook, file=sys.stderr)
        lab.playbook(playbook)
    with tempfile.TemporaryDirectory(prefix="bench-diagnose-") as directory:
        seconds, cpu = [], []
        for number in range(runs):
            run = lab.playbook("playbooks/diagnose.yml", "-e", f"diagnose_report_dir={directory}")
            print(f"run {number + 1}: {run.seconds:.2f} s", file=sys.stderr)
            seconds.append(run.seconds)
            cpu.append(run.cpu)
        (estate,) = load(directory)
    return {
        "lab_seconds": round(statistics.median(seconds), 2),
        "lab_runs": [round(value, 2) for value in seconds],
        "look_seconds": max(entry["took_s"] for entry in estate["evidence"]),
        "evidence_bytes": max(len(json.dumps(entry)) for entry in estate["evidence"]),
        "cpu_s": round(statistics.median(cpu), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a diagnosis.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("lab", "endpoints", "pure"), help="leave the other parts out")
    arguments = parser.parse_args()
    lab = Lab()
    parts = {"lab": lambda: whole(lab, arguments.runs), "endpoints": lambda: endpoints(lab), "pure": pure}
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if arguments.only in (None, name):
            print(name, file=sys.stderr)
            found.update(part())
    print(json.dumps({**found, "load": round(os.getloadavg()[0], 1), **versions()}))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long a run of provision.yml takes that finds nothing to do: three Redis hosts with Sentinel, one with the
application.

Prints progress on stderr and one line of JSON: ``noop_seconds`` (median of the runs), ``runs``, ``tasks_per_host``
(tasks that ran on the busiest host), ``noop_cpu_s`` (the control node's processor time), ``first_seconds`` (the run
before, on the lab as it was found), ``load`` (the machine's, at the end), and the versions.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import Lab, versions

RUNS = 3
RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)", re.MULTILINE)


def main() -> None:
    lab = Lab()
    print("making the lab", file=sys.stderr)
    lab.playbook("playbooks/lab.yml")
    lab.playbook("tests/lab_app/deploy.yml")
    print("provisioning", file=sys.stderr)
    first = lab.playbook("playbooks/provision.yml")
    seconds, cpu, recaps = [], [], []
    for number in range(1, RUNS + 1):
        run = lab.playbook("playbooks/provision.yml")
        recap = {match["host"]: match for match in RECAP.finditer(run.output)}
        changed = [host for host, match in recap.items() if int(match["changed"])]
        if changed:
            raise SystemExit(f"run {number} changed something on {', '.join(changed)}; that is no no-op:\n{run.output}")
        print(f"run {number}: {run.seconds:.1f} s", file=sys.stderr)
        seconds.append(run.seconds)
        cpu.append(run.cpu)
        recaps.append({host: int(match["ok"]) for host, match in recap.items()})
    print(
        json.dumps(
            {
                "noop_seconds": round(statistics.median(seconds), 2),
                "noop_cpu_s": round(statistics.median(cpu), 2),
                "load": round(os.getloadavg()[0], 1),
                "runs": [round(value, 2) for value in seconds],
                "tasks_per_host": max(recaps[-1].values()),
                "tasks": recaps[-1],
                "first_seconds": round(first.seconds, 2),
                **versions(),
            }
        )
    )


if __name__ == "__main__":
    main()

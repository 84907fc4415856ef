#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A short run of the faults on a lab of its own: at least one of each family named, some recovered from under load.

With ``--ci``, what continuous integration has the time for; else all that are marked quick. The whole tables are
``make faults`` and ``make recover-faults``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import Lab

HERE = Path(__file__).resolve().parent

# Recovered from under load, one of a family: these are named too.
RECOVERED = ("process_dead:replica", "config_invalid", "data_denied:down", "sentinel_dead")

# Named only, of the other families.
NAMED = (
    "appendonly_drift",
    "replica_astray",
    "maxclients_reached:replica",
    "certificate_not_served",
    "workers_suspended",
    "endpoint_down",
    "memory_full",
)


def main() -> int:
    """0 when all faults were named and these were recovered from; the lab is gone then."""
    os.environ["LIFELINE_LAB"] = f"quick-{os.getpid()}"
    lab = Lab()
    for playbook in ("playbooks/lab.yml", "tests/lab_app/deploy.yml", "playbooks/provision.yml"):
        print(playbook, flush=True)
        lab.playbook(playbook)
    codes = [
        subprocess.run([sys.executable, HERE / name, *options], check=False).returncode
        for name, options in (("run.py", NAMED if "--ci" in sys.argv[1:] else ("--quick",)), ("recover.py", RECOVERED))
    ]
    lab.playbook("playbooks/lab.yml", "-e", "lab_hosts_state=absent")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A short run of the faults on a lab of its own, then two operators at once and scaling up on it; at the end the odd
estates that must be left alone, on another lab.

With ``--ci``, what continuous integration has the time for: at least one fault of each family, named and recovered from
under load, most of them some at a time. Else all that are marked quick are named, and the same are recovered from. The
whole tables are ``make faults`` and ``make recover-faults``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import Lab

HERE = Path(__file__).resolve().parent

# Recovered from, and before that named: families process, config, disk and sentinel; then the others, some at once.
ALONE = ("process_dead:replica", "config_invalid:value", "data_denied:down", "sentinel_dead")
AT_ONCE = (
    "appendonly_drift+replica_astray+memory_full+units_unwell:worker",
    "certificate_not_served+script_blocks:replica+endpoint_down",
)


def main() -> int:
    """0 when all were recovered from, nobody was in another's way, the estate grew, and odd estates were left alone."""
    os.environ["LIFELINE_LAB"] = f"quick-{os.getpid()}"
    lab = Lab()
    for playbook in ("playbooks/lab.yml", "tests/lab_app/deploy.yml", "playbooks/provision.yml"):
        print(playbook, flush=True)
        lab.playbook(playbook)
    steps: list[tuple[str, ...]] = [] if "--ci" in sys.argv[1:] else [("run.py", "--quick")]
    steps += [("recover.py", *ALONE), ("pairs.py", *AT_ONCE), ("operators.py",), ("scaling.py",)]
    codes = [
        subprocess.run([sys.executable, HERE / name, *options], check=False).returncode for name, *options in steps
    ]
    lab.playbook("playbooks/lab.yml", "-e", "lab_hosts_state=absent")
    codes.append(subprocess.run([sys.executable, HERE / "failsafe.py"], check=False).returncode)
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())

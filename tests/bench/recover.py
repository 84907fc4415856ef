#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast recover.yml gives an estate back whose primary was killed, with the application at work.

Each run kills the primary, with systemd not starting it again, and runs recover.yml at once. Prints progress on stderr
and one line of JSON: ``first_write_s`` (from the command to the first job acknowledged again), ``exit_s`` (to its
end), both medians with the runs beside them, ``lost`` and ``doubled`` jobs over all runs, ``cpu_s`` (the
control node's processor time), ``load`` (the machine's, at the end).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import Lab, versions
from load import Load


def main() -> None:
    parser = argparse.ArgumentParser(description="Time recover.yml on a killed primary.")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    lab = Lab()
    for playbook in ("playbooks/lab.yml", "tests/lab_app/deploy.yml", "playbooks/provision.yml"):
        print(playbook, file=sys.stderr)
        lab.playbook(playbook)
    first_write, ends, cpu, lost, doubled = [], [], [], 0, 0
    for number in range(1, arguments.runs + 1):
        load = Load(lab)
        load.start()
        primary = lab.primary()
        lab.kill_for_good(primary)
        asked = time.time()
        run = lab.playbook("recover.yml")
        first_write.append(load.first_accepted_after(asked) - asked)
        ends.append(run.seconds)
        cpu.append(run.cpu)
        load.stop()
        counted = load.check()
        lost += counted["lost"]
        doubled += counted["doubled"]
        print(f"run {number}: {first_write[-1]:.1f} s, {ends[-1]:.1f} s, {counted}", file=sys.stderr)
    print(
        json.dumps(
            {
                "first_write_s": round(statistics.median(first_write), 2),
                "exit_s": round(statistics.median(ends), 2),
                "lost": lost,
                "doubled": doubled,
                "cpu_s": round(statistics.median(cpu), 2),
                "load": round(os.getloadavg()[0], 1),
                "first_write_runs": [round(value, 2) for value in first_write],
                "exit_runs": [round(value, 2) for value in ends],
                **versions(),
            }
        )
    )


if __name__ == "__main__":
    main()

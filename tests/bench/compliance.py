#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long compliance takes: compliance.yml on the lab, from the command to the reports, and the judgement alone.

Prints progress on stderr and one line of JSON: ``lab_seconds`` (median of the runs; four hosts), ``runs``,
``pure_1000_hosts_s`` (the judgement of 1,000 hosts in 250 estates, without reading or writing), ``results`` (how many
that are), and the versions. ``--pure`` leaves the lab alone.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lab import Lab, versions
from lifeline.compliance.judge import assess
from postures import NOW, Posture

RUNS = 3
ESTATES = 250


def pure() -> tuple[float, int]:
    """(seconds, results) of 1,000 hosts: 250 estates of three Redis hosts and one application host each."""
    estates = [json.loads(json.dumps(Posture().options())) for _number in range(ESTATES)]
    started = time.perf_counter()
    results = sum(len(assess(estate, NOW)["results"]) for estate in estates)
    return time.perf_counter() - started, results


def on_lab() -> list[float]:
    """Seconds of some runs on the lab, which is made and provisioned first."""
    lab = Lab()
    print("making the lab", file=sys.stderr)
    lab.playbook("playbooks/lab.yml")
    lab.playbook("playbooks/provision.yml")
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, RUNS + 1):
            run = lab.playbook("playbooks/compliance.yml", "-e", f"compliance_report_dir={folder}")
            print(f"run {number}: {run.seconds:.1f} s", file=sys.stderr)
            seconds.append(run.seconds)
    return seconds


def main() -> None:
    best, results = min(pure() for _number in range(RUNS))
    print(f"1,000 hosts: {best:.2f} s", file=sys.stderr)
    runs = [] if "--pure" in sys.argv[1:] else on_lab()
    print(
        json.dumps(
            {
                "lab_seconds": round(statistics.median(runs), 2) if runs else None,
                "runs": [round(value, 2) for value in runs],
                "pure_1000_hosts_s": round(best, 3),
                "results": results,
                **versions(),
            }
        )
    )


if __name__ == "__main__":
    main()

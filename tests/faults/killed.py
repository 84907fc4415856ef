#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kill recover.yml at its task boundaries: nothing may be worse for it, and the next run must finish the work.

``killed.py [--every N] [--start N] [FAULT ...]``: for each fault and each N-th task, break the lab under load, run
recover.yml, kill it with all its children when it begins that task, run it again, and count jobs. Status 1 when a row
is bad.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

import recover
from base import RECOVERED, Fault, named
from lab import BIN, ROOT, Lab, end_run
from load import Load
from recoveries_page import record
from run import FAILURES, Doctor

# A dead primary, a configuration that does not load, an old primary beside the new one.
CAUSES = ("process_dead:primary", "config_invalid", "split_brain:promoted")


@dataclass
class Row:
    """What became of one killed run; ``task`` is the last that had begun, empty when the run ended before."""

    fault: str
    number: int
    task: str
    outcome: recover.Outcome

    @property
    def good(self) -> bool:
        done = self.outcome
        settled = (done.second_changed, done.pending) == (0, 0)
        return done.became == RECOVERED and not done.lost and settled and not done.error

    def told(self, doctor: Doctor) -> dict[str, Any]:
        """A row for the record."""
        return recover.told(self.outcome, self.good, doctor)

    def line(self) -> str:
        """For the terminal."""
        return f"{'ok  ' if self.good else 'FAIL'} task {self.number} ({self.task}) {self.outcome.line()[5:]}"


def run_until(lab: Lab, number: int) -> str:
    """Run recover.yml and kill its whole group when the task of that number begins; its name, empty when it ended."""
    command = [str(BIN / "ansible-playbook"), "-i", str(lab.inventory), "recover.yml"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        begun = 0
        for line in process.stdout:
            begun += line.startswith("TASK [")
            if begun == number:
                end_run(process.pid)
                return line[6:].partition("]")[0]
    return ""


def run(fault: Fault, number: int, lab: Lab, doctor: Doctor) -> Row:
    """Load, inject, kill a recovery, recover, count, undo."""
    outcome = recover.Outcome(fault.name, fault.cause, RECOVERED, named=True)
    row = Row(fault.name, number, "", outcome)
    injector, load = fault.inject(lab), Load(lab, rate=recover.RATE)
    try:
        doctor.begin()
        load.start()
        next(injector)
        row.task = run_until(lab, number)
        recover.recover(lab, outcome, load)
    except FAILURES as error:
        outcome.error = str(error)[-1500:]
    finally:
        recover.undo([injector], doctor, load, outcome)
    return row


def main() -> int:
    """0 when every row is as it should be."""
    parser = argparse.ArgumentParser(description="Kill recover.yml at its task boundaries, and run it again.")
    parser.add_argument("names", nargs="*", default=CAUSES)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th task")
    parser.add_argument("--start", type=int, metavar="N", help="the first of them; without it, N of --every")
    parser.add_argument("--record", action="store_true", help="put the outcomes into docs/recoveries.md")
    arguments = parser.parse_args()
    lab = Lab()
    doctor = Doctor(lab)
    rows: list[Row] = []
    for name in arguments.names:
        fault = named(name)
        number = arguments.start or arguments.every
        while not rows or rows[-1].fault != fault.name or rows[-1].task:
            rows.append(run(fault, number, lab, doctor))
            number += arguments.every
            print(rows[-1].line(), flush=True)
            if arguments.record:
                row = rows[-1]
                record("killed", f"{name}, task {row.number} ({row.task or 'it had ended'})", row.told(doctor))
    bad = sum(not row.good for row in rows)
    print(f"\n{len(rows) - bad} passed, {bad} failed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring faults about on the lab under the application's load, run recover.yml, and count: ``recover.py [NAME ...]``.

NAME is a cause's id, a family or cause:variant; none means all, ``--quick`` those that continuous integration runs.
For each: was it named right, is the estate back (or was it rightly refused or left to a person), how long to the first
write and to the end, jobs lost and doubled, and whether a second run changes nothing. Status 1 when a row is bad.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from base import FAULTS, LEFT, RECOVERED, REFUSED, UNABLE, Expect, Fault
from lab import Lab, versions
from load import Load
from recoveries_page import record, results
from run import FAILURES, Doctor, chosen, stamp

# What is left to a person, up to the end of its sentence; the terminal wraps that too.
FOR_YOU = re.compile(r"For you: (?!nothing\.)([^.]+)")

# Jobs a second: two labs at once leave the workers of a small machine no time for more.
RATE = 2.0

CHANGED = re.compile(r"changed=(\d+)")
# What a refusal that is about data tells a person to add; the terminal wraps it.
OPTIONS = re.compile(r"-e\s+recover_accept_data_loss=[\w,.-]+(?:\s+-e\s+recover_accept_data_loss_bytes=-?\d+)?")


@dataclass
class Outcome:
    """What became of one fault. Times are seconds from the start of recover.yml.

    ``accepted``: what became of it with the options that a refusal about data names; empty where none did.
    ``todo``: the first thing that was left to a person, where something was. ``remembered``: see ``base.Fault``.
    """

    fault: str
    cause: str
    wanted: str
    named: bool = False
    became: str = ""
    accepted: str = ""
    first_write_s: float = 0.0
    exit_s: float = 0.0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    pending: int = 0
    second_changed: int = -1
    destroys: bool = False
    remembered: bool = False
    todo: str = ""
    error: str = ""

    @property
    def keeps(self) -> bool:
        """Whether no acknowledged job was lost but to the fault itself, or by a person's word."""
        return not self.lost or self.destroys or bool(self.accepted)

    @property
    def good(self) -> bool:
        """Whether the row is as it should be."""
        settled = (self.second_changed, self.pending) == (0, 0) or self.became != RECOVERED
        lifted = self.accepted in ("", RECOVERED, LEFT)
        return self.named and self.became == self.wanted and lifted and self.keeps and settled and not self.error

    def line(self) -> str:
        """For the terminal."""
        figures = f"first write {self.first_write_s:.1f} s, end {self.exit_s:.1f} s"
        jobs = f"{self.acknowledged} acknowledged, {self.lost} lost, {self.doubled} doubled, {self.pending} pending"
        named = "named" if self.named else "NOT named"
        return (
            f"{'ok  ' if self.good else 'FAIL'} {self.fault}: {named}, {self.became or 'no outcome'}; {figures}; "
            f"{jobs}; "
            f"second run changed={self.second_changed}"
            f"{'; for a person: ' + self.todo if self.todo else ''}{'; ' + self.error if self.error else ''}"
        )


def recover(lab: Lab, outcome: Outcome, load: Load) -> None:
    """Run recover.yml twice, once more by its word where it refuses for data's sake; fill in what became of it."""
    outcome.became, told = attempt(lab, outcome, load)
    options = OPTIONS.search(told)
    if outcome.became == REFUSED and options:
        outcome.accepted, told = attempt(lab, outcome, load, *options[0].split())
    if "failed" in (outcome.became, outcome.accepted):
        outcome.error = told
    again = lab.playbook("recover.yml", check=False)
    outcome.second_changed = sum(int(count) for count in CHANGED.findall(again.output))


def attempt(lab: Lab, outcome: Outcome, load: Load, *options: str) -> tuple[str, str]:
    """Run recover.yml once; what became of the estate, and what was said about a run that failed."""
    asked = time.time()
    run = lab.playbook("recover.yml", *options, check=False)
    outcome.exit_s = round(run.seconds, 1)
    left = FOR_YOU.search(run.output)
    outcome.todo = " ".join(left[1].split()) if left else ""
    # A step that failed is no success, though the estate is in service and the rest is told to a person.
    if run.status == 0 or (left and "is in service, but not all is well" in " ".join(run.output.split())):
        if lab.running(load.host):
            outcome.first_write_s = round(load.first_accepted_after(asked) - asked, 1)
        return LEFT if left else RECOVERED, ""
    if "Nothing was changed" in run.output or "nothing was changed" in run.output:
        return REFUSED, run.output
    return UNABLE if "the service is not back" in run.why else "failed", run.why[-1500:]


def run(fault: Fault, lab: Lab, doctor: Doctor) -> Outcome:
    """Load, inject, diagnose, recover, count, undo."""
    outcome = Outcome(fault.name, fault.cause, fault.recovery, destroys=fault.destroys, remembered=fault.remembered)
    injector = fault.inject(lab)
    load = Load(lab, rate=RATE)
    try:
        doctor.begin()
        load.start()
        expect: Optional[Expect] = next(injector)
        assert expect is not None
        outcome.named = doctor.names(fault.cause, expect)
        recover(lab, outcome, load)
    except FAILURES as error:
        outcome.error = str(error)[-1500:]
    finally:
        undo([injector], doctor, load, outcome)
    return outcome


def told(outcome: Outcome, good: bool, doctor: Doctor) -> dict[str, Any]:
    """A row for the record."""
    return {**asdict(outcome), "error": outcome.error[:300], "good": good, **stamp(doctor)}


def undo(injectors: Sequence[Generator[Expect, None, None]], doctor: Doctor, load: Load, outcome: Outcome) -> None:
    """Count the jobs, and take the faults back, whatever a recovery left of them.

    What was recovered from is counted first: taking a fault back may hurt as well, as ACL LOAD closes connections.
    """
    settled = outcome.became == RECOVERED and not outcome.error
    if settled:
        count(doctor, load, outcome)
    for injector in reversed([one for one in injectors if inspect.getgeneratorstate(one) != inspect.GEN_CREATED]):
        try:
            next(injector, None)
        except FAILURES as error:
            outcome.error = f"{outcome.error} not undone: {str(error)[-600:]}".strip()
    if settled:
        _tidy(doctor)
    else:
        doctor.lab.playbook("recover.yml", check=False)
        doctor.lab.playbook("playbooks/requeue.yml", "-e", "requeue_all_jobs=true", check=False)
        count(doctor, load, outcome)


def _tidy(doctor: Doctor) -> None:
    """A well lab for the next row, which judges whether it is one."""
    doctor.well = False
    try:
        doctor.until_healthy()
    except FAILURES:
        doctor.lab.playbook("recover.yml", check=False)


def count(doctor: Doctor, load: Load, outcome: Outcome) -> None:
    """When the lab is well again, which of the acknowledged jobs ran how often."""
    try:
        doctor.until_healthy(but=outcome.cause if outcome.remembered else "")
        load.stop()
        # What a dead worker had taken, and nobody put back, is pending until RQ itself gives it up, minutes later.
        counted = load.check(180.0 if outcome.became == RECOVERED else 20.0)
        for what in ("acknowledged", "lost", "doubled", "pending"):
            setattr(outcome, what, counted[what])
    except (*FAILURES, KeyError) as error:
        outcome.error = f"{outcome.error} not healthy, or not counted: {str(error)[-600:]}".strip()
    finally:
        load.stop()


def judge() -> int:
    """Judge the recorded rows anew: an expectation may have been wrong where the outcome was right."""
    shape = {entry.name for entry in fields(Outcome)}
    injectors = {fault.name: fault for fault in FAULTS}
    for name, row in results()["faults"].items():
        now = {"wanted": injectors[name].recovery, "destroys": injectors[name].destroys}
        outcome = Outcome(**{**{key: value for key, value in row.items() if key in shape}, **now})
        record("faults", name, {**row, **now, "good": outcome.good})
    return 0


def main() -> int:
    """0 when every row is as it should be."""
    parser = argparse.ArgumentParser(description="Bring faults about under load and recover from them.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, help="write the outcomes here as well")
    parser.add_argument("--record", action="store_true", help="put the outcomes into docs/recoveries.md")
    parser.add_argument(
        "--judge", action="store_true", help="run nothing: judge what is recorded by what is expected now"
    )
    arguments = parser.parse_args()
    if arguments.judge:
        return judge()
    lab = Lab()
    doctor = Doctor(lab)
    outcomes = []
    for entry in chosen(arguments.names, arguments.quick):
        outcomes.append(run(entry, lab, doctor))
        print(outcomes[-1].line(), flush=True)
        if arguments.record:
            record("faults", entry.name, told(outcomes[-1], outcomes[-1].good, doctor))
        if arguments.json:
            rows = [asdict(outcome) for outcome in outcomes]
            arguments.json.write_text(json.dumps({**versions(), "rows": rows}, indent=1) + "\n")
    bad = sum(not outcome.good for outcome in outcomes)
    print(f"\n{len(outcomes) - bad} passed, {bad} failed")
    return int(bad > 0 or not outcomes)


if __name__ == "__main__":
    sys.exit(main())

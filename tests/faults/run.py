#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring faults about on the lab, one after the other, and see whether diagnose.yml names each: ``run.py [NAME ...]``.

NAME is a cause's id, a family or cause:variant; none means all, ``--quick`` those that continuous integration runs.
The lab must be healthy before and after each. Status 1 when one was not named, named wrong, or not repaired.

``--healthy N`` injects nothing: it diagnoses the lab N times while the application works, and fails when anything is
found.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from base import FAULTS, Expect, Fault, find
from faults_page import record
from lab import Lab, versions, wait_for
from load import Load

for module in sorted(Path(__file__).resolve().parent.glob("*.py")):
    if module.stem not in ("base", "killed", "pairs", "quick", "recover", "run", "ways"):
        importlib.import_module(module.stem)

# Forgets the lab queue's jobs, and not their entries alone: those would be orphans.
FORGET = """
local queue = 'orchestrator'
for _, list in ipairs({'rq:queue:' .. queue, 'rq:queue:' .. queue .. ':intermediate'}) do
  for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do redis.call('DEL', 'rq:job:' .. id) end
  redis.call('DEL', list)
end
for _, registry in ipairs({'wip', 'failed', 'scheduled', 'deferred'}) do
  local entries = 'rq:' .. registry .. ':' .. queue
  for _, id in ipairs(redis.call('ZRANGE', entries, 0, -1)) do redis.call('DEL', 'rq:job:' .. id) end
  redis.call('DEL', entries)
end
"""
# How an injector or a playbook fails.
FAILURES = (RuntimeError, SystemExit, subprocess.CalledProcessError)

# Seconds in which a lab heals after a fault was undone.
HEALING = 90.0


@dataclass
class Outcome:
    """What became of one fault. ``seconds``: of the run of diagnose.yml that named it."""

    fault: str
    cause: str
    named: bool = False
    seconds: float = 0.0
    severity: str = ""
    extra: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def good(self) -> bool:
        return self.named and not self.extra and not self.error

    def line(self) -> str:
        """For the terminal."""
        said = f"named in {self.seconds:.1f} s" if self.named else "NOT named"
        more = f"; also said: {', '.join(self.extra)}" if self.extra else ""
        return f"{'ok  ' if self.good else 'FAIL'} {self.fault}: {said}{more}{'; ' + self.error if self.error else ''}"


class Doctor:
    """Runs diagnose.yml on a lab and reads what it wrote."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.reports = Path(tempfile.mkdtemp(prefix="faults-"))
        self.seconds = 0.0
        self.well = False  # proven, and nothing broken since
        self.redis = ""

    def diagnose(self) -> dict[str, Any]:
        """The diagnosis of the lab's one estate."""
        run = self.lab.playbook(
            "playbooks/diagnose.yml", "-e", "diagnose_fail=false", "-e", f"diagnose_report_dir={self.reports}"
        )
        self.seconds = run.seconds
        (written,) = self.reports.glob("*/diagnosis.json")
        said: dict[str, Any] = json.loads(written.read_text())
        written.unlink()
        versions_seen = [node["view"].get("version") for node in said["topology"]["nodes"].values()]
        self.redis = next(filter(None, versions_seen), self.redis)
        return said

    def findings(self) -> list[dict[str, Any]]:
        """Findings that are worse than a note."""
        return worse_than_a_note(self.diagnose()["findings"])

    def until_healthy(self, but: str = "") -> None:
        """Raises RuntimeError with what is still wrong; ``but``: a cause that may still be told of."""
        left: list[Any] = []

        def healthy() -> bool:
            left[:] = [
                f"{finding['id']} ({finding['where']}): {finding['evidence'][:2]}"
                for finding in self.findings()
                if finding["id"] != but
            ]
            return not left

        try:
            wait_for(healthy, "a healthy lab", HEALING)
        except RuntimeError as error:
            raise RuntimeError(f"{error}; still there: {'; '.join(left)}") from error
        self.well = True

    def begin(self) -> None:
        """Called before something is broken: the lab must be healthy, and nothing be left of the jobs before.

        Raises RuntimeError with what is still wrong.
        """
        if not self.well:
            self.until_healthy()
        self.well = False
        # What a worker had taken when it died stays for minutes, and the next recovery would have to judge it.
        self.lab.redis(self.lab.primary(), "EVAL", FORGET, "0")

    def until_named(self, cause: str, expect: Expect, outcome: Outcome) -> None:
        """Fills in the outcome: named in time or not, and what else was said in that run."""
        deadline = time.monotonic() + expect.within
        while not outcome.named and time.monotonic() < deadline:
            found = self.diagnose()["findings"]
            right = [finding for finding in found if (finding["id"], finding["where"]) == (cause, expect.where)]
            allowed = (cause, *expect.also)
            worse = worse_than_a_note(found)
            outcome.extra = [f"{item['id']} ({item['where']})" for item in worse if item["id"] not in allowed]
            if right:
                outcome.named, outcome.seconds, outcome.severity = True, self.seconds, right[0]["severity"]

    def until_seen(self, wanted: set[tuple[str, str]], within: float) -> set[tuple[str, str]]:
        """Which of those (cause, where) one diagnosis shows, also as consequences; the last one when time is up."""
        deadline = time.monotonic() + within
        while True:
            findings = self.diagnose()["findings"]
            every = [item for finding in findings for item in (finding, *finding["consequences"])]
            seen = wanted & {(item["id"], item["where"]) for item in every}
            if seen == wanted or time.monotonic() > deadline:
                return seen

    def names(self, cause: str, expect: Expect) -> bool:
        """Whether the cause is named in its place before the time is up."""
        outcome = Outcome("", cause)
        self.until_named(cause, expect, outcome)
        return outcome.named


def worse_than_a_note(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that are only worth knowing."""
    return [finding for finding in findings if finding["severity"] != "info"]


def chosen(names: list[str], quick: bool) -> list[Fault]:
    """The faults that a command line asks for."""
    wanted = [entry for name in names or [None] for entry in find(name)]
    return [entry for entry in wanted if entry.quick or not quick]


def run(fault: Fault, lab: Lab, doctor: Doctor) -> Outcome:
    """Inject, diagnose, undo."""
    outcome = Outcome(fault.name, fault.cause)
    injector = fault.inject(lab)
    try:
        doctor.begin()
    except FAILURES as error:
        outcome.error = f"not injected: {str(error)[-600:]}"
        return outcome
    try:
        doctor.until_named(fault.cause, next(injector), outcome)
    except FAILURES as error:
        outcome.error = str(error)[-600:]
    finally:
        try:
            next(injector, None)
            doctor.until_healthy()
        except FAILURES as error:
            outcome.error = f"{outcome.error} not undone: {str(error)[-600:]}".strip()
    return outcome


def healthy(lab: Lab, doctor: Doctor, runs: int) -> dict[str, Any]:
    """False alarms of so many diagnoses of a healthy lab whose application works, each shown."""
    doctor.until_healthy()
    load = Load(lab, seconds=3600.0)
    load.start()
    alarms, taken = 0, []
    try:
        for number in range(1, runs + 1):
            found = doctor.findings()
            taken.append(doctor.seconds)
            alarms += bool(found)
            for finding in found:
                print(f"run {number}: {finding['id']} ({finding['where']}): {finding['evidence'][:3]}", flush=True)
    finally:
        load.stop()
    return {"runs": runs, "false_alarms": alarms, "seconds": round(sorted(taken)[len(taken) // 2], 1)}


def stamp(doctor: Doctor) -> dict[str, str]:
    """When and with what an outcome came about."""
    told = versions()
    return {"date": told["date"], "ansible_core": told["ansible_core"], "redis": doctor.redis}


def main() -> int:
    """0 when every fault was named, and nothing else."""
    parser = argparse.ArgumentParser(description="Bring faults about and see whether they are named.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json", type=Path, help="write the outcomes here as well")
    parser.add_argument("--record", action="store_true", help="put the outcomes into results.json and docs/faults.md")
    parser.add_argument("--healthy", type=int, metavar="N", help="diagnose the healthy lab N times under load instead")
    arguments = parser.parse_args()
    wanted = chosen(arguments.names, arguments.quick)
    if arguments.list or not wanted:
        print(*[entry.name for entry in (wanted or FAULTS)], sep="\n")
        return int(not arguments.list)
    lab = Lab()
    doctor = Doctor(lab)
    if arguments.healthy:
        seen = healthy(lab, doctor, arguments.healthy)
        if arguments.record:
            record({}, {**seen, **stamp(doctor)})
        print(f"{seen['false_alarms']} false alarms in {seen['runs']} runs, {seen['seconds']} s each")
        return int(seen["false_alarms"] > 0)
    outcomes = []
    for entry in wanted:
        outcomes.append(run(entry, lab, doctor))
        print(outcomes[-1].line(), flush=True)
        if arguments.record:
            row = {**asdict(outcomes[-1]), "seconds": round(outcomes[-1].seconds, 1), **stamp(doctor)}
            record({entry.name: row}, {})
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    bad = sum(not outcome.good for outcome in outcomes)
    print(f"\n{len(outcomes) - bad} passed, {bad} failed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

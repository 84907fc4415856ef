#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make controls fail on the lab, and see whether compliance.yml says so: ``run.py [CONTROL ...]``.

Each mutation: its control and no other may fail, and nothing may fail once it is taken back. ``--repair``: those
that ``compliance_remediate`` brings in order, a few at a time; after each such run nothing may fail. ``--quick``: the
subset for continuous integration. The lab must be provisioned. Status 1 when something was said too much or too little.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

import mutations  # noqa: F401 - registers them
from base import MUTATIONS, Expect, Mutation
from control_docs import record
from lab import Lab, versions

# A busy machine must not look like a host that does not answer.
PATIENT = ("-e", "redis_compliance_patience=15")
# Mutations that one run repairs; more of them would hide each other.
MENDED_AT_ONCE = 6


class Judge:
    """Runs compliance.yml on a lab and reads what it wrote."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.reports = Path(tempfile.mkdtemp(prefix="controls-"))
        self.seconds = 0.0

    def report(self, *options: str) -> dict[str, Any]:
        """The report on the lab's one estate."""
        run = self.lab.playbook(
            "playbooks/compliance.yml",
            *("-e", "compliance_fail_on=never", "-e", f"compliance_report_dir={self.reports}", *PATIENT, *options),
        )
        self.seconds = run.seconds
        said: dict[str, Any] = json.loads((self.reports / "redis" / "compliance.json").read_text())
        return said

    def failing(self, *options: str) -> dict[str, dict[str, str]]:
        """``{control: {where: evidence}}`` of what failed or could not be looked at."""
        found: dict[str, dict[str, str]] = {}
        for row in self.report(*options)["results"]:
            if row["status"] in ("fail", "error"):
                found.setdefault(row["control"], {})[row["where"]] = "; ".join(row["evidence"])
        return found


def together(entries: list[Mutation], judge: Judge, victim: str) -> dict[str, str]:
    """Some mutations at once, judged once and taken back; by control what was wrong with the answer."""
    generators: list[Iterator[Expect]] = []
    expected: dict[str, Expect] = {}
    wrong: dict[str, str] = {}
    try:
        for entry in entries:
            generators.append(entry.mutate(judge.lab, victim))
            expected[entry.control] = next(generators[-1])
        options = [word for expect in expected.values() for word in expect.options]
        wrong = _wrong(expected, judge.failing(*options))
    finally:
        for entry, generator in zip(entries, generators, strict=False):
            try:
                next(generator, None)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                wrong[entry.control] = f"{wrong.get(entry.control, '')} not taken back: {error}".strip()
    return wrong


def _wrong(expected: dict[str, Expect], found: dict[str, dict[str, str]]) -> dict[str, str]:
    also = {name for expect in expected.values() for name in expect.also}
    wrong = {}
    for control, expect in expected.items():
        where = set(found.get(control, {}))
        if not where >= set(expect.where) or (control not in also and where != set(expect.where)):
            wrong[control] = f"failed on {sorted(where) or 'no host'} instead of {sorted(expect.where)}"
    for control, where in found.items():
        if control not in expected and control not in also:
            wrong[control] = f"fails too: {where}"
    wrong.update({name: "not said" for name in also if name not in found})
    return wrong


def grouped(chosen: list[Mutation], size: int) -> list[list[Mutation]]:
    """Groups of at most ``size``; neighbours go to different groups, since they touch the same things."""
    free = [entry for entry in chosen if not entry.apart]
    count = max(1, -(-len(free) // size))
    groups = [free[at::count] for at in range(count)] + [[entry] for entry in chosen if entry.apart]
    return [group for group in groups if group]


def repair(entries: list[Mutation], judge: Judge, victim: str) -> dict[str, str]:
    """Some mutations at once, then one run that repairs; by control what was wrong. Nothing is taken back by hand."""
    expected: dict[str, Expect] = {}
    for entry in entries:
        expected[entry.control] = next(entry.mutate(judge.lab, victim))
    wrong = _wrong(expected, judge.failing())
    run = judge.lab.playbook(
        "playbooks/compliance.yml",
        *("-e", "compliance_remediate=true", "-e", "compliance_fail_on=low"),
        *("-e", f"compliance_report_dir={judge.reports}", *PATIENT),
        check=False,
    )
    for control, where in judge.failing().items():
        wrong[control] = f"not repaired: {where}"
    if run.status:
        wrong["compliance_remediate"] = f"status {run.status}: {run.why[-1500:]}"
    judge.seconds = run.seconds
    return wrong


def main() -> int:
    """0 when every mutation was seen, and nothing else."""
    parser = argparse.ArgumentParser(description="Make controls fail and see whether that is said.")
    parser.add_argument("controls", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--together", type=int, default=1, help="how many at once; their failures must be just theirs")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--record", action="store_true", help="put the outcomes into docs/compliance.md")
    arguments = parser.parse_args()
    chosen = [
        entry
        for entry in MUTATIONS
        if (not arguments.controls or entry.control in arguments.controls)
        and (entry.quick or not arguments.quick)
        and (entry.repaired or not arguments.repair)
    ]
    if arguments.list:
        print(*[entry.control for entry in chosen], sep="\n")
        return 0
    lab = Lab()
    judge = Judge(lab)
    before = judge.failing()
    if before:
        raise SystemExit(f"the lab is not in order before anything was broken: {before}")
    victim = lab.replicas()[-1]
    act, kind = (repair, "repaired") if arguments.repair else (together, "judged")
    server = lab.redis(victim, "INFO", "server").partition("redis_version:")[2].split()[0]
    told = {"date": versions()["date"], "redis": server}
    bad = 0
    for group in grouped(chosen, MENDED_AT_ONCE if arguments.repair else arguments.together):
        try:
            wrong = act(group, judge, victim)
        except (RuntimeError, SystemExit, subprocess.CalledProcessError) as error:
            text = f"{error} {getattr(error, 'stderr', '') or ''}"[-800:]
            wrong = dict.fromkeys((entry.control for entry in group), text)
        for control in dict.fromkeys([*(entry.control for entry in group), *wrong]):
            print(f"{'FAIL' if control in wrong else 'ok  '} {control} {wrong.get(control, '')}".rstrip(), flush=True)
        print(f"     {len(group)} {kind} in {judge.seconds:.1f} s", flush=True)
        if arguments.record:
            record(kind, {entry.control: {**told, "good": not wrong} for entry in group})
        bad += len(wrong)
    left = judge.failing()
    print(f"\n{len(chosen)} mutations, {bad} wrong answers; left behind: {left or 'nothing'}")
    return int(bad > 0 or bool(left))


if __name__ == "__main__":
    sys.exit(main())

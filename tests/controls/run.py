#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make controls fail on the lab, and see whether compliance.yml says so: ``run.py [CONTROL ...]``.

Each mutation alone: its control and no other may fail, and nothing may fail once it is taken back. ``--mend``: all
mutations that ``compliance_remediate`` brings in order, at once; after one such run nothing may fail. ``--quick``: the
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
from lab import Lab


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
            *("-e", "compliance_fail_on=never", "-e", f"compliance_report_dir={self.reports}", *options),
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


def alone(entry: Mutation, judge: Judge, victim: str) -> str:
    """One mutation by itself; what was wrong with the answer."""
    generator = entry.mutate(judge.lab, victim)
    try:
        expect = next(generator)
        found = judge.failing(*expect.options)
    finally:
        next(generator, None)
    return _wrong(entry, expect, found)


def _wrong(entry: Mutation, expect: Expect, found: dict[str, dict[str, str]]) -> str:
    if set(found.get(entry.control, {})) != set(expect.where):
        return (
            f"failed on {sorted(found.get(entry.control, {})) or 'no host'} instead of {sorted(expect.where)}: {found}"
        )
    extra = {name: where for name, where in found.items() if name not in (entry.control, *expect.also)}
    missing = set(expect.also) - set(found)
    return "; ".join([*([f"also said: {extra}"] if extra else []), *([f"not said: {missing}"] if missing else [])])


def mend(chosen: list[Mutation], judge: Judge, victim: str) -> int:
    """All at once, then one run that mends; how many controls fail still."""
    generators: list[Iterator[Expect]] = []
    for entry in chosen:
        generators.append(entry.mutate(judge.lab, victim))
        next(generators[-1])
    broken = judge.failing()
    unseen = sorted({entry.control for entry in chosen} - set(broken))
    print(f"{len(broken)} controls fail at once in {judge.seconds:.1f} s", *([f"not seen: {unseen}"] if unseen else []))
    run = judge.lab.playbook(
        "playbooks/compliance.yml",
        *(
            "-e",
            "compliance_remediate=true",
            "-e",
            "compliance_fail_on=low",
            "-e",
            f"compliance_report_dir={judge.reports}",
        ),
        check=False,
    )
    print(f"mended in {run.seconds:.1f} s, status {run.status}")
    left = judge.failing()
    for control, where in left.items():
        print(f"FAIL {control}: {where}")
    if run.status:
        print(run.output[-3000:])
    return len(left) + len(unseen) + (run.status != 0)


def main() -> int:
    """0 when every mutation was seen, and nothing else."""
    parser = argparse.ArgumentParser(description="Make controls fail and see whether that is said.")
    parser.add_argument("controls", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--mend", action="store_true")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    chosen = [
        entry
        for entry in MUTATIONS
        if (not arguments.controls or entry.control in arguments.controls)
        and (entry.quick or not arguments.quick)
        and (entry.mended or not arguments.mend)
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
    if arguments.mend:
        return int(mend(chosen, judge, victim) > 0)
    bad = 0
    for entry in chosen:
        try:
            wrong = alone(entry, judge, victim)
        except (RuntimeError, SystemExit, subprocess.CalledProcessError) as error:
            wrong = f"{error} {getattr(error, 'stderr', '') or ''}"[-800:]
        bad += bool(wrong)
        print(f"{'FAIL' if wrong else 'ok  '} {entry.control} in {judge.seconds:.1f} s {wrong}".rstrip(), flush=True)
    left = judge.failing()
    print(f"\n{len(chosen) - bad} passed, {bad} failed; left behind: {left or 'nothing'}")
    return int(bad > 0 or bool(left))


if __name__ == "__main__":
    sys.exit(main())

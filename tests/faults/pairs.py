#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults at once under the application's load: are all named, and does recover.yml bring the estate back?

Pairs are drawn at random (``--seed``), or ``A+B+C`` names some; of faults in different places: of two in one place, one
may hide the other, as a dead server does not show that its memory was full. Status 1 when a row is bad.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

import recover
from base import FAULTS, LEFT, RECOVERED, Expect, Fault, named
from lab import Lab
from load import Load
from recoveries_page import record
from run import FAILURES, Doctor


class Mirrored(Lab):
    """The lab as the second of several faults sees it: it takes the other replica, so that they are in two places."""

    def replicas(self) -> list[str]:
        """The primary's replicas, in reversed order."""
        return super().replicas()[::-1]


@dataclass
class Row:
    """What became of faults at once; ``named`` holds the names of those that were named."""

    faults: Sequence[Fault]
    named: list[str]
    outcome: recover.Outcome

    @property
    def good(self) -> bool:
        back = self.outcome.became == RECOVERED or any(fault.recovery != RECOVERED for fault in self.faults)
        return len(self.named) == len(self.faults) and back and self.outcome.keeps and not self.outcome.error

    def line(self) -> str:
        """For the terminal."""
        all_named = len(self.named) == len(self.faults)
        return f"{'ok  ' if self.good else 'FAIL'} all: {all_named} {self.outcome.line()[5:]}"


def drawn(seed: int, pairs: int) -> list[Sequence[Fault]]:
    """More pairs than are wanted, since some turn out to be in one place."""
    dice = random.Random(seed)
    fit = [entry for entry in FAULTS if entry.recovery in (RECOVERED, LEFT)]
    found = [dice.sample(fit, 2) for _ in range(pairs * 4)]
    return [pair for pair in found if pair[0].cause != pair[1].cause]


def run(faults: Sequence[Fault], lab: Lab, doctor: Doctor) -> Optional[Row]:
    """Inject all, diagnose, recover, count, undo; None when two are in one place."""
    names, destroys = " + ".join(entry.name for entry in faults), any(entry.destroys for entry in faults)
    outcome = recover.Outcome(names, "", RECOVERED, destroys=destroys)
    row = Row(faults, [], outcome)
    mirrored, load = Mirrored(lab.name, lab.inventory), Load(lab, rate=recover.RATE)
    injectors = [entry.inject(mirrored if number == 1 else lab) for number, entry in enumerate(faults)]
    expected: list[Expect] = []
    try:
        doctor.begin()
        load.start()
        for injector in injectors:
            expected.append(next(injector))
        if _apart(expected):
            row.named = _named(faults, expected, doctor)
            outcome.named = len(row.named) == len(faults)
            recover.recover(lab, outcome, load)
    except FAILURES as error:
        outcome.error = str(error)[-1500:]
    finally:
        recover.undo(injectors, doctor, load, outcome)
    if len(expected) < len(faults):
        print(f"left out: {outcome.fault}: they cannot be brought about together: {outcome.error}")
    return row if len(expected) == len(faults) and _apart(expected) else None


def _apart(expected: Sequence[Expect]) -> bool:
    return len({expect.where for expect in expected}) == len(expected)


def _named(faults: Sequence[Fault], expected: Sequence[Expect], doctor: Doctor) -> list[str]:
    """Those that one diagnosis, or its consequences, name before the longest time is up."""
    wanted = {(entry.cause, expect.where): entry.name for entry, expect in zip(faults, expected, strict=True)}
    found = doctor.until_seen(set(wanted), max(expect.within for expect in expected))
    return [name for key, name in wanted.items() if key in found]


def main() -> int:
    """0 when all were named and recovered from."""
    parser = argparse.ArgumentParser(description="Bring faults about at once and recover from them.")
    parser.add_argument("groups", nargs="*", metavar="A+B", help="faults to bring about at once; none: random pairs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--record", action="store_true", help="put the outcomes into docs/recoveries.md")
    arguments = parser.parse_args()
    groups = [[named(name) for name in group.split("+")] for group in arguments.groups]
    lab = Lab()
    doctor = Doctor(lab)
    rows: list[Row] = []
    for faults in groups or drawn(arguments.seed, arguments.pairs):
        row = run(faults, lab, doctor)
        if row is None:
            continue
        rows.append(row)
        print(row.line(), flush=True)
        if arguments.record:
            record("pairs", row.outcome.fault, recover.told(row.outcome, row.good, doctor))
        if not groups and len(rows) == arguments.pairs:
            break
    bad = sum(not row.good for row in rows) + max(0, len(groups) - len(rows))
    print(f"\n{sum(row.good for row in rows)} passed, {bad} failed")
    return int(bad > 0 or not rows)


if __name__ == "__main__":
    sys.exit(main())

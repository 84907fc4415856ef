#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two faults at once under the application's load: are both named, and does recover.yml bring the estate back?

Pairs are drawn at random (``--seed``), of faults in different places: of two in one place, one may hide the other, as a
dead server does not show that its memory was full. Status 1 when a row is bad.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

import recover
from base import FAULTS, LEFT, RECOVERED, Expect, Fault
from lab import Lab
from load import Load
from recoveries_page import record
from run import FAILURES, Doctor


class Mirrored(Lab):
    """The lab as the second fault of a pair sees it: it takes the other replica, so that they are in two places."""

    def replicas(self) -> list[str]:
        """The primary's replicas, in reversed order."""
        return super().replicas()[::-1]


@dataclass
class Row:
    """What became of a pair; ``named`` holds the names of those that were named."""

    pair: list[str]
    named: list[str]
    outcome: recover.Outcome

    @property
    def good(self) -> bool:
        return len(self.named) == len(self.pair) and self.outcome.keeps and not self.outcome.error

    def line(self) -> str:
        """For the terminal."""
        return f"{'ok  ' if self.good else 'FAIL'} both: {len(self.named) == len(self.pair)} {self.outcome.line()[5:]}"


def drawn(seed: int, pairs: int) -> list[tuple[Fault, Fault]]:
    """More pairs than are wanted, since some turn out to be in one place."""
    dice = random.Random(seed)
    fit = [entry for entry in FAULTS if entry.recovery in (RECOVERED, LEFT)]
    found = [tuple(dice.sample(fit, 2)) for _ in range(pairs * 4)]
    return [(first, second) for first, second in found if first.cause != second.cause]


def run(pair: tuple[Fault, Fault], lab: Lab, doctor: Doctor) -> Optional[Row]:
    """Inject both, diagnose, recover, count, undo; None when both are in one place."""
    names, destroys = " + ".join(entry.name for entry in pair), any(entry.destroys for entry in pair)
    outcome = recover.Outcome(names, "", RECOVERED, destroys=destroys)
    row = Row([entry.name for entry in pair], [], outcome)
    injectors, load = [pair[0].inject(lab), pair[1].inject(Mirrored(lab.name, lab.inventory))], Load(lab)
    expected: list[Expect] = []
    try:
        doctor.begin()
        load.start()
        expected += [next(injectors[0])]
        expected += [next(injectors[1])]
        if expected[0].where != expected[1].where:
            row.named = _named(pair, expected, doctor)
            outcome.named = len(row.named) == len(pair)
            recover.recover(lab, outcome, load)
    except FAILURES as error:
        outcome.error = str(error)[-1500:]
    finally:
        recover.undo(injectors, doctor, load, outcome)
    if len(expected) == 1:
        print(f"left out: {outcome.fault}: the second can not be brought about beside the first: {outcome.error}")
    return row if len(expected) == 2 and expected[0].where != expected[1].where else None


def _named(pair: tuple[Fault, Fault], expected: list[Expect], doctor: Doctor) -> list[str]:
    """Those of the two that one diagnosis, or its consequences, name before the longer time is up."""
    wanted = {(entry.cause, expect.where): entry.name for entry, expect in zip(pair, expected, strict=True)}
    found = doctor.until_seen(set(wanted), max(expect.within for expect in expected))
    return [name for key, name in wanted.items() if key in found]


def main() -> int:
    """0 when every pair was named and recovered from."""
    parser = argparse.ArgumentParser(description="Bring two faults about at once and recover from them.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--record", action="store_true", help="put the outcomes into docs/recoveries.md")
    arguments = parser.parse_args()
    lab = Lab()
    doctor = Doctor(lab)
    rows: list[Row] = []
    for pair in drawn(arguments.seed, arguments.pairs):
        row = run(pair, lab, doctor)
        if row is None:
            continue
        rows.append(row)
        print(row.line(), flush=True)
        if arguments.record:
            record("pairs", row.outcome.fault, recover.told(row.outcome, row.good, doctor))
        if len(rows) == arguments.pairs:
            break
    bad = sum(not row.good for row in rows)
    print(f"\n{len(rows) - bad} passed, {bad} failed")
    return int(bad > 0 or not rows)


if __name__ == "__main__":
    sys.exit(main())

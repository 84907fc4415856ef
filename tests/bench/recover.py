#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast recover.yml gives an estate back, with the application at work, beside a person who knows the cause already.

First a primary that is killed ``--runs`` times, systemd not starting it again. Then five common causes
(``scripts.py``), each broken twice: once repaired by the person's script, once by recover.yml. Prints progress on
stderr and one line of JSON: ``first_write_s`` (from the command to the first job acknowledged again), ``exit_s`` (to
its end), both medians with the runs beside them, ``lost`` and ``doubled`` jobs over all runs, ``cpu_s`` (the control
node's processor time), ``load`` (the machine's, at the end), ``causes``: ``{id: {first_write_s, exit_s,
script_first_write_s}}``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from base import Fault, find
from lab import Lab, versions
from load import Load
from run import Doctor  # registers all faults
from scripts import SCRIPTS, Broken


class Bench:
    """One lab; every outage's jobs are counted."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.doctor = Doctor(self.lab)
        self.lost = self.doubled = 0

    def killed(self) -> tuple[float, float, float]:
        """(first write, exit, processor) seconds of one killed primary."""
        load = Load(self.lab)
        load.start()
        self.lab.kill_for_good(self.lab.primary())
        asked = time.time()
        done = self.lab.playbook("recover.yml")
        first = load.first_accepted_after(asked) - asked
        self._count(load)
        print(f"killed primary: {first:.1f} s, {done.seconds:.1f} s", file=sys.stderr)
        return first, done.seconds, done.cpu

    def repaired(self, fault: Fault, repair: Callable[[Broken], Any]) -> tuple[float, float]:
        """Seconds to the first job and to the end when ``repair`` puts a fault right."""
        self.doctor.until_healthy()
        load = Load(self.lab)
        load.start()
        broken = Broken(self.lab, self.lab.primary(), tuple(self.lab.replicas()))
        injector = fault.inject(self.lab)
        next(injector)
        # Connections that were let in before the fault would go on.
        self.lab.redis(broken.primary, "CLIENT", "KILL", "USER", "application")
        asked = time.time()
        repair(broken)
        ended = time.time() - asked
        first = load.first_accepted_after(asked) - asked
        next(injector, None)
        self.lab.playbook("recover.yml")
        self._count(load)
        return first, ended

    def cause(self, name: str) -> dict[str, float]:
        """One cause, by script and by recover.yml."""
        (fault,) = find(name)
        script, _ = self.repaired(fault, SCRIPTS[name])
        first, ended = self.repaired(fault, lambda _: self.lab.playbook("recover.yml"))
        found = {"first_write_s": first, "exit_s": ended, "script_first_write_s": script}
        print(f"{name}: {found}", file=sys.stderr)
        return {key: round(value, 2) for key, value in found.items()}

    def _count(self, load: Load) -> None:
        load.stop()
        counted = load.check()
        self.lost += counted["lost"]
        self.doubled += counted["doubled"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time recover.yml, and a person's scripts beside it.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--causes", nargs="*", default=list(SCRIPTS))
    arguments = parser.parse_args()
    bench = Bench()
    for playbook in ("playbooks/lab.yml", "tests/lab_app/deploy.yml", "playbooks/provision.yml"):
        print(playbook, file=sys.stderr)
        bench.lab.playbook(playbook)
    first, ends, cpu = zip(*(bench.killed() for _ in range(arguments.runs)), strict=True)
    causes = {name: bench.cause(name) for name in arguments.causes}
    print(
        json.dumps(
            {
                "first_write_s": round(statistics.median(first), 2),
                "exit_s": round(statistics.median(ends), 2),
                "lost": bench.lost,
                "doubled": bench.doubled,
                "causes": causes,
                "cpu_s": round(statistics.median(cpu), 2),
                "load": round(os.getloadavg()[0], 1),
                "first_write_runs": [round(value, 2) for value in first],
                "exit_runs": [round(value, 2) for value in ends],
                **versions(),
            }
        )
    )


if __name__ == "__main__":
    main()

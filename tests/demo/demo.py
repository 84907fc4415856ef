#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The demo: real hosts, a real application, a dead primary, one command, and the count of lost jobs.

``--fault process`` (default) kills the primary, with systemd not starting it again; ``--fault host`` cuts its host's
power. Ends with status 1 when an acknowledged job was lost or the estate is not back.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import Lab
from load import Load

FAULTS = {
    "process": "kill the primary, with systemd not starting it again",
    "host": "cut the power of the primary's host",
}
PHASES: list[tuple[str, float]] = []


@contextmanager
def phase(title: str) -> Iterator[None]:
    """Say what begins, and remember how long it took."""
    print(f"\n== {title}", flush=True)
    started = time.monotonic()
    yield
    PHASES.append((title, time.monotonic() - started))


def main() -> int:
    parser = argparse.ArgumentParser(description="Provision, break, recover, count.")
    parser.add_argument("--fault", choices=list(FAULTS), default="process")
    arguments = parser.parse_args()
    lab = Lab()
    with phase("Make the lab: three Redis hosts, one application host"):
        lab.playbook("playbooks/lab.yml", show=True)
    with phase("Put the application on its host"):
        lab.playbook("tests/lab_app/deploy.yml", show=True)
    with phase("Heal what an earlier run of the demo left, then provision"):
        heal(lab)
        lab.playbook("playbooks/provision.yml", show=True)
    load = Load(lab)
    with phase("Start asking for 5 jobs a second"):
        load.start()
        before = lab.primary()
        print(f"   primary: {before}; {len(load.acknowledged())} jobs acknowledged so far")
    with phase(
        f"Break it: {'kill redis-server until systemd gives up' if arguments.fault == 'process' else 'power cut'}"
    ):
        if arguments.fault == "process":
            lab.kill_for_good(before)
        else:
            lab.cut_power(before)
    asked = time.time()
    with phase("ansible-playbook recover.yml"):
        run = lab.playbook("recover.yml", show=True, check=False)
    accepted = load.first_accepted_after(asked)
    with phase("Let the queue drain and count"):
        load.stop()
        counted = load.check()
    return tell(before, lab.primary(), run.status, accepted - asked, load.outage(), counted)


def heal(lab: Lab) -> None:
    """A second demo starts where the first ended, perhaps with a host whose power is off."""
    for host in lab.addresses:
        if not lab.running(host):
            print(f"   power on {host}")
            lab.power_on(host)
    if any(lab.redis(host, "PING") for host in lab.addresses if host.startswith("redis")):
        lab.playbook("recover.yml", show=True)


def tell(before: str, after: str, status: int, first_write: float, outage: float, counted: dict[str, object]) -> int:
    """The summary. Returns the exit status."""
    print("\n== What happened")
    print(f"   before: {before} was the primary      after: {after} is")
    print(f"   recover.yml ended with status {status}")
    print(f"   {first_write:.1f} s from starting it to the first job that the application could enqueue again")
    print(f"   {outage:.1f} s without an accepted job, as the application saw it")
    for title, seconds in PHASES:
        print(f"   {seconds:7.1f} s  {title}")
    words = ("acknowledged", "executed", "doubled", "failed", "pending", "lost")
    print("   jobs: " + ", ".join(f"{counted[word]} {word}" for word in words))
    if counted["lost"]:
        print(json.dumps({key: value for key, value in counted.items() if key.endswith("_ids")}))
    return 1 if status or counted["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())

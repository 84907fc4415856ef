#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two operators at once, under the application's load: the second is told who and since when, and changes nothing,
whichever playbook it runs.

First the one who holds the lock goes on. Then it is killed, and seen from another control node, which cannot tell that
it is dead: the option that the refusal names lets the second one finish. Status 1 when something is wrong.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from lab import BIN, ROOT, UNIT, Lab, Run, end_run, wait_for
from load import Load

LOCK = "/run/lifeline/redis.lock"
SERVERS = ("redis1", "redis2", "redis3")
MEMBERS = (*SERVERS, "app1")
TOLD = re.compile(r"by\s+another\s+run:\s+\S+\s.*?at\s+\d{4}-\d\d-\d\d\s+\d\d:\d\d:\d\d\s+UTC", re.DOTALL)
# provision.yml refuses an estate with a dead server before it comes to the lock.
SECOND = ("recover.yml", "playbooks/switchover.yml", "playbooks/scale.yml")
DEAD_RUN = re.compile(r"-e\s+redis_dead_run=([\w.:-]+)")

# The first operator's own step before the recovery: it holds the lock and waits until somebody lets it go on.
WAIT = """---
- name: Wait until we may go on
  ansible.builtin.wait_for:
    path: "{gate}"
    timeout: 300
  delegate_to: localhost
  become: false
"""


@contextmanager
def first_operator(lab: Lab, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that holds the estate's lock and waits for the file ``go`` in ``folder``."""
    (folder / "wait.yml").write_text(WAIT.format(gate=folder / "go"))
    command = [str(BIN / "ansible-playbook"), "-i", str(lab.inventory), "recover.yml"]
    with subprocess.Popen(
        [*command, "-e", f"redis_recovery_tasks_before={folder / 'wait.yml'}"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        stdout=(folder / "first.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            wait_for(lambda: all(map(held, locks(lab).values())), "the first operator's lock on every host", 60)
            yield process
        finally:
            if process.poll() is None:
                end_run(process.pid)


def locks(lab: Lab) -> dict[str, str]:
    """What the lock file on each host says."""
    return {host: lab.on(host, "cat", LOCK, check=False) for host in MEMBERS}


def held(said: str) -> bool:
    """Whether a lock file names a run that has not ended."""
    return bool(said) and not json.loads(said)["over"]


def states(lab: Lab) -> str:
    """Changes with every start, failover and change of lock."""
    units = [lab.on(host, "systemctl", "show", "--property=ActiveState,InvocationID", UNIT) for host in SERVERS]
    roles = [re.findall(r"(?m)^(?:role|master_host):(\S+)", lab.redis(host, "INFO", "replication")) for host in SERVERS]
    return f"{units} {roles} {locks(lab)}"


def refused(lab: Lab, playbook: str = "recover.yml") -> tuple[Run, list[str]]:
    """The second operator's run, and what is wrong with it: it has to be refused, and to change nothing."""
    before = states(lab)
    run = lab.playbook(playbook, check=False)
    wrong = []
    if not run.status or not TOLD.search(run.output):
        wrong.append(f"{playbook}: the second operator was not told who changes the estate: {run.why}")
    if states(lab) != before or re.search(r"changed=[1-9]", run.output):
        wrong.append(f"{playbook}: the second operator changed something: {before} became {states(lab)}")
    return run, wrong


def recovered(run: Run, who: str) -> list[str]:
    """What is wrong with a run that has to bring everything back."""
    return [] if run.status == 0 else [f"{who} did not recover the estate: {run.why}"]


def at_once(lab: Lab, folder: Path) -> Iterator[str]:
    """What is wrong when a second one comes while the first one works."""
    lab.kill_for_good(lab.replicas()[0])
    with first_operator(lab, folder) as process:
        for playbook in SECOND:
            yield from refused(lab, playbook)[1]
        (folder / "go").touch()
        if process.wait(120):
            yield f"the first operator did not recover the estate: {(folder / 'first.log').read_text()[-2000:]}"
    if any(held(said) for said in locks(lab).values()):
        yield f"a lock is left: {locks(lab)}"


def after_a_death(lab: Lab, folder: Path) -> Iterator[str]:
    """What is wrong when the first one's control node is permanently lost."""
    lab.kill_for_good(lab.primary())
    with first_operator(lab, folder) as process:
        end_run(process.pid)
    for host in MEMBERS:
        lab.on(host, "sed", "-i", 's/"process": "[^"]*"/"process": "another-control-node:1:1"/', LOCK)
    run, wrong = refused(lab)
    yield from wrong
    dead = DEAD_RUN.search(run.output)
    if not dead:
        yield "the refusal names no way on"
        return
    yield from recovered(lab.playbook("recover.yml", "-e", f"redis_dead_run={dead[1]}", check=False), "the second")


def main() -> int:
    """0 when nothing is wrong."""
    lab = Lab()
    load = Load(lab, rate=2.0)
    load.start()
    wrong: list[str] = []
    for story in (at_once, after_a_death):
        with tempfile.TemporaryDirectory(prefix="operators-") as folder:
            wrong += story(lab, Path(folder))
        again = lab.playbook("recover.yml", check=False)
        wrong += recovered(again, "one more run")
        if re.search(r"changed=[1-9]", again.output):
            wrong.append("one more run changes something")
    load.stop()
    counted = load.check()
    if counted["lost"] or counted["pending"]:
        wrong.append(f"jobs: {counted}")
    print(*wrong, f"{counted['acknowledged']} jobs acknowledged, {counted['executed']} executed", sep="\n")
    print(f"\n{int(not wrong)} passed, {int(bool(wrong))} failed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

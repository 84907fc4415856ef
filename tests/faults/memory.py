# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family memory. Settings of the kernel are the whole machine's in a lab, and held for seconds "
"only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base import FIXTURES, LEFT, Expect, fault
from lab import Lab, wait_for
from ways import info, memory_limit, prop, resident, save_fails, settings, shell, up_again

FIXTURES["disk_slow"] = "a disk that is slow but not stuck cannot be had here: there is no dm-delay"
FIXTURES["host_memory_low"] = "hosts of the lab share the machine's memory"
FIXTURES["swapping"] = "the lab's machine has no swap"


@contextmanager
def kernel(path: str, value: str) -> Iterator[None]:
    """Run with another setting of the kernel."""
    file = Path(path)
    said = file.read_text()
    before = next((word[1:-1] for word in said.split() if word.startswith("[")), said.strip())
    file.write_text(value)
    try:
        yield
    finally:
        file.write_text(before)


@fault("memory_full", quick=True)
def primary_full(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    with settings(lab, primary, maxmemory=int(info(lab, primary, "used_memory")) // 2):
        lab.redis(primary, "SET", "lab:refused", "1")
        yield Expect(primary)


@fault("memory_nearly_full")
def primary_nearly_full(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    used = int(info(lab, primary, "used_memory")) - int(info(lab, primary, "mem_not_counted_for_evict"))
    with settings(lab, primary, maxmemory=int(used / 0.94)):
        yield Expect(primary)


@fault("fork_failed", recovery=LEFT)
def replica_cannot_fork(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    pid = prop(lab, replica, "MainPID")
    before = shell(lab, replica, f"prlimit --pid {pid} --nproc --noheadings --output SOFT,HARD").split()
    with settings(lab, replica, replica_ignore_disk_write_errors="yes"):
        lab.on(replica, "prlimit", "--pid", pid, "--nproc=1:1")
        save_fails(lab, replica)
        yield Expect(replica)
        # It may have ended itself for it; the next process has the unit's own limits.
        lab.on(replica, "prlimit", "--pid", pid, f"--nproc={before[0]}:{before[1]}", check=False)
        up_again(lab, replica)
        lab.redis(replica, "BGSAVE")
        wait_for(lambda: info(lab, replica, "rdb_last_bgsave_status") == "ok", "a snapshot", 30)


@fault("fork_at_risk")
def no_overcommit(lab: Lab) -> Iterator[Expect]:
    with kernel("/proc/sys/vm/overcommit_memory", "0"):
        yield Expect(lab.replicas()[0])


@fault("huge_pages", recovery=LEFT)
def always_huge_pages(lab: Lab) -> Iterator[Expect]:
    with kernel("/sys/kernel/mm/transparent_hugepage/enabled", "always"):
        yield Expect(lab.replicas()[0])


@fault("memory_limit_near", recovery=LEFT)
def little_memory_in_the_group(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    limit = int(resident(lab, replica) * 1.06)
    with memory_limit(lab, replica, limit, limit):
        yield Expect(replica)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family disk. A replica's data is put on a small file system of its own, so no other disk suffers."""

from __future__ import annotations

from collections.abc import Iterator

from base import LEFT, Expect, fault
from lab import UNIT, Lab, wait_for
from ways import DATA, LOG, failed, fill, info, linked, save_fails, settings, shell, small_disk, up_again


@fault("disk_full_aof", quick=True, recovery=LEFT)
def no_room_for_the_append_only_file(lab: Lab) -> Iterator[Expect]:
    replica, primary = lab.replicas()[0], lab.primary()
    with small_disk(lab, replica), settings(lab, replica, replica_ignore_disk_write_errors="yes"):
        fill(lab, replica)
        for number in range(64):
            lab.redis(primary, "SET", "lab:full", f"{number}" * 2000)
            if info(lab, replica, "aof_last_write_status") == "err":
                break
        yield Expect(replica)
        lab.on(replica, "rm", f"{DATA}/fill")
        lab.redis(primary, "DEL", "lab:full")


def said(lab: Lab, host: str) -> int:
    """How often a replica has ended itself; each time with a report of some hundred lines."""
    return int(lab.on(host, "grep", "-c", "unable to write command to disk", LOG, check=False).strip() or 0)


@fault("disk_full_aof", "replica_ended", recovery=LEFT)
def replica_ends_itself(lab: Lab) -> Iterator[Expect]:
    replica, primary = lab.replicas()[0], lab.primary()
    with small_disk(lab, replica):
        fill(lab, replica)
        before = said(lab, replica)

        def ended() -> bool:
            lab.redis(primary, "SET", "lab:full", "x" * 4000)
            return said(lab, replica) > before

        wait_for(ended, "the replica ends itself", 60)
        yield Expect(replica, also=("full_sync_storm",))  # it starts again and again
        lab.redis(primary, "DEL", "lab:full")


@fault("disk_full_rdb", recovery=LEFT)
def no_room_for_a_snapshot(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with small_disk(lab, replica), settings(lab, replica, appendonly="no", replica_ignore_disk_write_errors="yes"):
        fill(lab, replica)
        save_fails(lab, replica)
        yield Expect(replica, also=("appendonly_drift",))
        lab.on(replica, "rm", f"{DATA}/fill")


@fault("inodes_gone", recovery=LEFT)
def no_inodes(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    many = f"for number in $(seq 64); do : > {DATA}/small.$number || break; done"
    few = "size=64m,nr_inodes=64"
    with small_disk(lab, replica, few), settings(lab, replica, replica_ignore_disk_write_errors="yes"):
        shell(lab, replica, many, check=False)
        save_fails(lab, replica)
        yield Expect(replica)
        shell(lab, replica, f"rm {DATA}/small.*")


@fault("disk_read_only", recovery=LEFT)
def read_only(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with small_disk(lab, replica), settings(lab, replica, appendonly="no", replica_ignore_disk_write_errors="yes"):
        lab.on(replica, "mount", "-o", "remount,ro", DATA)
        save_fails(lab, replica)
        yield Expect(replica, also=("appendonly_drift",))
        lab.on(replica, "mount", "-o", "remount,rw", DATA)


@fault("data_denied", "down", quick=True)
def folder_of_another(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    shell(lab, replica, f"chown root: {DATA}; chmod 700 {DATA}")
    lab.on(replica, "systemctl", "restart", UNIT, check=False)
    failed(lab, replica)
    yield Expect(replica)
    shell(lab, replica, f"chown redis: {DATA}; chmod 750 {DATA}")
    up_again(lab, replica)


@fault("data_denied", "running")
def folder_of_another_under_a_running_server(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with settings(lab, replica, replica_ignore_disk_write_errors="yes"):
        shell(lab, replica, f"chown root: {DATA}; chmod 755 {DATA}")
        save_fails(lab, replica)
        yield Expect(replica)
        shell(lab, replica, f"chown redis: {DATA}; chmod 750 {DATA}")
        lab.redis(replica, "BGSAVE")
        wait_for(lambda: info(lab, replica, "rdb_last_bgsave_status") == "ok", "a snapshot", 30)


@fault("disk_nearly_full", recovery=LEFT)
def little_room(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with small_disk(lab, replica):
        fill(lab, replica, leave_kib=2500)
        wait_for(lambda: linked(lab, replica), "the replica follows", 30)
        yield Expect(replica)

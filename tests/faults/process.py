# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from base import LEFT, Expect, fault
from lab import ROOT, UNIT, Lab, wait_for
from ways import DATA, MIB, config_with, linked, memory_limit, prop, resident, shell, unit_with, up_again

# What a failover leaves behind for some seconds when the old primary is back.
TRACES = ("split_brain", "replica_astray", "sentinel_astray")


@fault("process_dead", "replica", quick=True)
def replica_killed(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.kill_for_good(replica)
    yield Expect(replica)
    lab.on(replica, "systemctl", "reset-failed", UNIT)
    lab.on(replica, "systemctl", "start", UNIT)


@fault("process_dead", "primary")
def primary_killed(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    lab.kill_for_good(primary)
    yield Expect(primary, also=TRACES)
    # Not before another is primary, or this one would come back as one.
    wait_for(lambda: lab.primaries() not in ([], [primary]), "a failover", 60)
    up_again(lab, primary)


@fault("start_limit")
def replica_killed_again_and_again(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]

    def given_up() -> bool:
        lab.on(replica, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT, check=False)
        return prop(lab, replica, "ActiveState") == "failed"

    wait_for(given_up, "systemd gives up", 60)
    yield Expect(replica)
    up_again(lab, replica)


@fault("process_restarted")
def replica_killed_once(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    wait_for(lambda: prop(lab, replica, "NRestarts") == "1" and linked(lab, replica), "it is back", 30)
    yield Expect(replica)
    lab.on(replica, "systemctl", "reset-failed", UNIT)


@fault("server_crashed", "replica")
def replica_segfaults(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.kill_for_good(replica, signal="SEGV")
    yield Expect(replica)
    up_again(lab, replica)


@fault("server_crashed", "back", recovery=LEFT)
def replica_segfaults_and_comes_back(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "kill", "--kill-whom=main", "--signal=SEGV", UNIT)
    wait_for(lambda: prop(lab, replica, "NRestarts") == "1" and linked(lab, replica), "it is back", 30)
    yield Expect(replica)
    lab.on(replica, "systemctl", "reset-failed", UNIT)


@fault("oom_killed", recovery=LEFT)
def replica_out_of_memory(lab: Lab) -> Iterator[Expect]:
    replica, primary = lab.replicas()[0], lab.primary()
    pid = prop(lab, replica, "MainPID")
    fill = "for number = 0, 31 do redis.call('SET', 'lab:fill:' .. number, string.rep('x', 1048576)) end"
    with memory_limit(lab, replica, 8 * MIB, resident(lab, replica) + 8 * MIB):
        lab.redis(primary, "EVAL", fill, "0")
        wait_for(lambda: prop(lab, replica, "MainPID") != pid, "the kernel kills it", 30)
        yield Expect(replica)
    lab.redis(primary, "DEL", *(f"lab:fill:{number}" for number in range(32)))
    up_again(lab, replica)


@fault("start_timeout")
def replica_loads_too_slowly(lab: Lab) -> Iterator[Expect]:
    replica, primary = lab.replicas()[0], lab.primary()
    lab.redis(primary, "SET", "lab:slow", "1")
    # Six seconds in all, wherever its keys lie: in the snapshot or in the append-only file.
    delay = 6_000_000 // int(lab.redis(replica, "DBSIZE"))
    slow = (f"key-load-delay {delay}", "loading-process-events-interval-bytes 1024")
    with unit_with(lab, replica, "TimeoutStartSec=2"), config_with(lab, replica, *slow):
        lab.on(replica, "systemctl", "restart", "--no-block", UNIT)
        wait_for(lambda: prop(lab, replica, "Result") == "timeout", "its start times out", 30)
        yield Expect(replica)
        lab.on(replica, "systemctl", "kill", "--signal=KILL", UNIT, check=False)
    lab.redis(primary, "DEL", "lab:slow")
    up_again(lab, replica)


@fault("server_loading", recovery=LEFT)
def replica_loads(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with config_with(lab, replica, "key-load-delay 3000000"):
        lab.on(replica, "systemctl", "restart", "--no-block", UNIT)
        wait_for(lambda: "oading" in prop(lab, replica, "StatusText"), "it loads", 30)
        yield Expect(replica)
        lab.on(replica, "systemctl", "kill", "--signal=KILL", UNIT, check=False)
    up_again(lab, replica)


@fault("stopped_by_hand", recovery=LEFT)
def replica_stopped(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "stop", UNIT)
    yield Expect(replica)
    lab.on(replica, "systemctl", "start", UNIT)


@fault("stopped_by_hand", "masked", recovery=LEFT)
def replica_masked(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "mask", "--runtime", "--now", UNIT)
    yield Expect(replica)
    lab.on(replica, "systemctl", "unmask", "--runtime", UNIT)
    lab.on(replica, "systemctl", "start", UNIT)


@fault("process_frozen", "replica", quick=True)
def replica_stands_still(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT)
    yield Expect(replica)
    lab.on(replica, "systemctl", "kill", "--kill-whom=main", "--signal=CONT", UNIT)


@fault("process_frozen", "primary")
def primary_stands_still(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    lab.on(primary, "systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT)
    yield Expect(primary, also=TRACES)
    others = tuple(host for host in ("redis1", "redis2", "redis3") if host != primary)
    wait_for(lambda: lab.primaries(others), "a failover", 60)
    lab.kill_for_good(primary)
    up_again(lab, primary)


@fault("process_stuck", recovery=LEFT)
def replica_waits_for_its_disk(lab: Lab) -> Iterator[Expect]:
    replica, primary = lab.replicas()[0], lab.primary()
    image = "/var/tmp/fault.img"
    lab.on(replica, "systemctl", "stop", UNIT)
    make = f"truncate -s 64M {image} && mkfs.ext4 -q {image} && mount -o loop {image} {DATA}"
    shell(lab, replica, f"{make} && chown redis:redis {DATA} && chmod 750 {DATA}")
    up_again(lab, replica)
    lab.on(replica, "fsfreeze", "--freeze", DATA)
    lab.redis(primary, "SET", "lab:stuck", "1")
    yield Expect(replica)
    lab.on(replica, "fsfreeze", "--unfreeze", DATA)
    lab.redis(primary, "DEL", "lab:stuck")
    lab.on(replica, "systemctl", "stop", UNIT)
    shell(lab, replica, f"umount {DATA}; rm {image}")
    up_again(lab, replica)


@fault("host_gone", "replica", recovery=LEFT)
def replica_without_power(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.cut_power(replica)
    yield Expect(replica)
    lab.power_on(replica)


@fault("host_gone", "primary", recovery=LEFT)
def primary_without_power(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    lab.cut_power(primary)
    yield Expect(primary)
    lab.power_on(primary)


@fault("host_gone", "returns", recovery=LEFT)
def primary_that_is_back_during_the_run(lab: Lab) -> Iterator[Expect]:
    """An old primary whose host boots after recover.yml has looked, and left it out."""
    primary, looked = lab.primary(), ROOT / "reports" / "recovery" / "before" / "redis" / "diagnosis.json"
    before = looked.stat().st_mtime if looked.exists() else 0.0

    def boot() -> None:
        wait_for(lambda: looked.exists() and looked.stat().st_mtime > before, "the first look of recover.yml", 120)
        lab.power_on(primary)

    lab.cut_power(primary)
    booting = threading.Thread(target=boot)
    booting.start()
    yield Expect(primary)
    booting.join()


@fault("application_host_gone", recovery=LEFT)
def application_host_without_power(lab: Lab) -> Iterator[Expect]:
    lab.cut_power("app1")
    yield Expect("app1", also=("workers_gone", "queue_unattended", "jobs_abandoned"))
    lab.power_on("app1")


@fault("host_gone", "frozen", recovery=LEFT)
def replica_host_frozen(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.podman("pause", lab.container(replica))
    yield Expect(replica, within=60.0)
    lab.podman("unpause", lab.container(replica))

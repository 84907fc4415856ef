# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family data. What is done to a replica is repaired by a copy of the primary's data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from base import LEFT, Expect, fault
from lab import UNIT, Lab, wait_for

DATA = "/var/lib/redis/main"
AOF = f"{DATA}/appendonlydir"
KEPT = "/var/tmp/kept-by-faults"
CONFIG = "/etc/redis/redis-main.conf"
NEWEST = f"$(ls -t {AOF}/*.incr.aof | head -1)"

# Where a command begins, past the first: in the middle of a value anything would be as good.
SPOIL = (
    "import sys; path = sys.argv[1]; data = open(path, 'rb').read(); "
    "place = data.index(b'\\r\\n*', len(data) // 2) + 2; "
    "open(path, 'wb').write(data[:place] + b'garbage' + data[place + 7:])"
)


def shell(lab: Lab, host: str, script: str) -> str:
    """A script on a host, which stops at its first failure."""
    return lab.on(host, "sh", "-ec", script)


def start(lab: Lab, host: str) -> None:
    """Start a server, whether or not it comes up."""
    lab.on(host, "systemctl", "start", UNIT, check=False)


def start_over(lab: Lab, host: str) -> None:
    """A replica without data of its own: it copies its primary."""
    shell(
        lab,
        host,
        f"systemctl stop {UNIT}; rm -rf {DATA}/*; systemctl reset-failed {UNIT} || true; systemctl start {UNIT}",
    )


def fill(lab: Lab) -> None:
    """More than an empty server's bytes, in every copy."""
    primary = lab.primary()
    for number in range(8):
        lab.redis(primary, "SET", f"faults:filler:{number}", "x" * 100, "EX", "600")
    lab.redis(primary, "WAIT", "2", "2000")


def rewrite(lab: Lab, host: str) -> None:
    """A whole new append-only file out of memory."""
    lab.redis(host, "BGREWRITEAOF")
    wait_for(
        lambda: (
            "aof_rewrite_in_progress:0" in (info := lab.redis(host, "INFO", "persistence"))
            and "aof_rewrite_scheduled:0" in info
        ),
        "the append-only file's rewrite",
        30,
    )


@contextmanager
def patient(lab: Lab) -> Iterator[None]:
    """Sentinels that wait for a primary which is away for longer than a restart takes on a busy machine."""
    sentinels = ("redis1", "redis2", "redis3")
    for host in sentinels:
        lab.redis(host, "SENTINEL", "SET", "redis", "down-after-milliseconds", "600000", port=26379)
    try:
        yield
    finally:
        for host in sentinels:
            lab.redis(host, "SENTINEL", "SET", "redis", "down-after-milliseconds", "5000", port=26379)


@contextmanager
def kept(lab: Lab, host: str) -> Iterator[None]:
    """A copy of a primary's data, which goes back when the fault is over."""
    rewrite(lab, host)
    shell(lab, host, f"rm -rf {KEPT}; cp -a {AOF} {KEPT}")
    put_back = f"systemctl stop {UNIT}; rm -rf {DATA}/*; cp -a {KEPT} {AOF}; rm -r {KEPT}; systemctl start {UNIT}"
    with patient(lab):
        try:
            yield
        finally:
            shell(lab, host, put_back)


@fault("aof_corrupt", quick=True)
def garbage_in_the_middle(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    fill(lab)
    shell(lab, replica, f'systemctl stop {UNIT}; python3 -c "{SPOIL}" {NEWEST}')
    start(lab, replica)
    yield Expect(replica)
    start_over(lab, replica)


@fault("aof_truncated", "refused")
def cut_end_that_is_refused(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    fill(lab)
    shell(lab, replica, f"systemctl stop {UNIT}; truncate -s -7 {NEWEST}; echo aof-load-truncated no >> {CONFIG}")
    start(lab, replica)
    yield Expect(replica)
    shell(lab, replica, f"sed -i '/^aof-load-truncated/d' {CONFIG}")
    start_over(lab, replica)


@fault("aof_truncated", "loaded", remembered=True)
def cut_end_that_is_loaded(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    fill(lab)
    with patient(lab):
        shell(lab, primary, f"systemctl stop {UNIT}; truncate -s -7 {NEWEST}; systemctl start {UNIT}")
        yield Expect(primary)
        shell(lab, primary, f"systemctl restart {UNIT}")


@fault("aof_manifest_lost", "running")
def manifest_of_a_running_server(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    shell(lab, replica, f"rm {AOF}/*.manifest")
    yield Expect(replica)
    rewrite(lab, replica)


@fault("aof_manifest_lost", "started", recovery=LEFT, destroys=True)
def manifest_of_a_primary_that_starts(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    fill(lab)
    with kept(lab, primary):
        shell(lab, primary, f"systemctl stop {UNIT}; rm {AOF}/*.manifest {DATA}/dump.rdb; systemctl start {UNIT}")
        yield Expect(primary)


@fault("aof_base_missing", "running")
def base_of_a_running_server(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    shell(lab, replica, f"rm {AOF}/*.base.rdb")
    yield Expect(replica)
    rewrite(lab, replica)


@fault("aof_base_missing", "started")
def base_of_a_server_that_starts(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    shell(lab, replica, f"systemctl stop {UNIT}; rm {AOF}/*.base.rdb")
    start(lab, replica)
    yield Expect(replica)
    start_over(lab, replica)


@fault("appendonly_drift", quick=True)
def switched_off_in_the_server(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.redis(replica, "CONFIG", "SET", "appendonly", "no")
    yield Expect(replica)
    lab.redis(replica, "CONFIG", "SET", "appendonly", "yes")


@fault("aof_over_rdb", recovery=LEFT, destroys=True)
def switched_on_in_the_file(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    fill(lab)
    with kept(lab, primary):
        lab.redis(primary, "CONFIG", "SET", "appendonly", "no")
        lab.redis(primary, "SAVE")
        shell(lab, primary, f"rm -r {AOF}; systemctl kill --kill-whom=main --signal=KILL {UNIT}")
        wait_for(lambda: "loading:0" in lab.redis(primary, "INFO", "persistence"), "the primary's return", 10)
        yield Expect(primary)


@fault("primary_restarted_empty", recovery=LEFT, destroys=True)
def nothing_to_load(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    fill(lab)
    with kept(lab, primary):
        shell(lab, primary, f"rm -rf {DATA}/*; systemctl kill --kill-whom=main --signal=KILL {UNIT}")
        wait_for(lambda: "loading:0" in lab.redis(primary, "INFO", "persistence"), "the primary's return", 10)
        yield Expect(primary)


@fault("disk_empty")
def dead_with_nothing_to_load(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    with kept(lab, primary):
        shell(lab, primary, f"rm -rf {DATA}/*")
        lab.kill_for_good(primary)
        yield Expect(primary)
        lab.on(primary, "systemctl", "reset-failed", UNIT)


def snapshot_only(lab: Lab, host: str, harm: str) -> None:
    """A server that keeps its data in a snapshot only, stopped, harmed and started."""
    lab.redis(host, "SAVE")
    lab.redis(host, "CONFIG", "SET", "appendonly", "no", "save", "")
    shell(
        lab,
        host,
        f"systemctl stop {UNIT}; sed -i 's/^appendonly yes/appendonly no/' {CONFIG}; rm -r {AOF}; cd {DATA}; {harm}",
    )
    start(lab, host)


def persistent_again(lab: Lab, host: str) -> None:
    """Undoes ``snapshot_only``."""
    shell(lab, host, f"sed -i 's/^appendonly no/appendonly yes/' {CONFIG}")
    start_over(lab, host)


SNAPSHOTS = {
    ("rdb_broken", "truncated"): "truncate -s -20 dump.rdb",
    (
        "rdb_broken",
        "checksum",
    ): "printf checksum | dd of=dump.rdb bs=1 seek=$(($(stat -c %s dump.rdb) - 8)) conv=notrunc status=none",
    ("rdb_broken", "signature"): "printf NOTREDIS! | dd of=dump.rdb bs=1 conv=notrunc status=none",
    ("rdb_newer", ""): "printf REDIS0099 | dd of=dump.rdb bs=1 conv=notrunc status=none",
    ("rdb_unreadable", ""): "chown root:root dump.rdb; chmod 600 dump.rdb",
}


def harmed_snapshot(cause: str, variant: str, harm: str) -> None:
    """One injector a way to harm a snapshot."""

    @fault(cause, variant)
    def inject(lab: Lab) -> Iterator[Expect]:
        replica = lab.replicas()[0]
        fill(lab)
        snapshot_only(lab, replica, harm)
        yield Expect(replica)
        persistent_again(lab, replica)


for (_cause, _variant), _harm in SNAPSHOTS.items():
    harmed_snapshot(_cause, _variant, _harm)

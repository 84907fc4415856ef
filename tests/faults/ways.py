# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways to break a lab host that several injectors share, each with its undoing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab import UNIT, Lab, wait_for

CONFIG = "/etc/redis/redis-main.conf"
DATA = "/var/lib/redis/main"
MIB = 1 << 20
LOG = "/var/log/redis/redis-server-main.log"
SOCKET = "/run/redis-main/redis.sock"


def shell(lab: Lab, host: str, script: str, check: bool = True) -> str:
    """Run a shell script on a host as root and return what it printed."""
    return lab.on(host, "sh", "-c", script, check=check)


def prop(lab: Lab, host: str, name: str, unit: str = UNIT) -> str:
    """One property of a unit, as systemctl shows it."""
    return lab.on(host, "systemctl", "show", "-P", name, unit).strip()


def failed(lab: Lab, host: str) -> None:
    """Wait until systemd has given up on the server."""
    wait_for(lambda: prop(lab, host, "ActiveState") == "failed", f"{host}'s server failed", 60)


def linked(lab: Lab, host: str) -> bool:
    """Whether a replica has its primary's data."""
    return "master_link_status:up" in lab.redis(host, "INFO", "replication")


def up_again(lab: Lab, host: str, follows: bool = True) -> None:
    """Start the server afresh, with systemd's counters cleared, and wait until a replica is in step."""
    lab.on(host, "systemctl", "reset-failed", UNIT, check=False)
    lab.on(host, "systemctl", "restart", UNIT)
    if follows:
        wait_for(lambda: linked(lab, host), f"{host} follows its primary", 60)


def end(lab: Lab, host: str) -> None:
    """Stop a server that may not be able to save, and so would not stop: it is killed."""
    lab.on(host, "systemctl", "kill", "--signal=KILL", UNIT, check=False)
    lab.on(host, "systemctl", "stop", UNIT)


def info(lab: Lab, host: str, name: str) -> str:
    """One field of INFO; empty when the server does not say it."""
    lines = lab.redis(host, "INFO").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "")


def save_fails(lab: Lab, host: str) -> None:
    """Ask for a snapshot and wait until it has failed."""
    lab.redis(host, "BGSAVE")
    wait_for(lambda: info(lab, host, "rdb_last_bgsave_status") == "err", f"{host}'s snapshot fails", 30)


def inside(lab: Lab, host: str, *command: str) -> str:
    """A command over the server's unix socket, which no address, firewall or protected mode is in the way of."""
    secret = {"REDISCLI_AUTH": lab.variables["redis_password_operator"]}
    words = ("redis-cli", "-s", SOCKET, "--user", "operator", "--no-auth-warning", *command)
    return lab.on(host, *words, check=False, env=secret)


@contextmanager
def settings(lab: Lab, host: str, **wanted: Any) -> Iterator[None]:
    """Run with other settings of a live server, by CONFIG SET; names with underscores for dashes."""
    names = {name.replace("_", "-"): str(value) for name, value in wanted.items()}
    before = {name: lab.redis(host, "CONFIG", "GET", name).splitlines()[-1] for name in names}
    for name, value in names.items():
        lab.redis(host, "CONFIG", "SET", name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            lab.redis(host, "CONFIG", "SET", name, value)


@contextmanager
def config_with(lab: Lab, host: str, *lines: str) -> Iterator[None]:
    """Run with lines added to the configuration file. The server is neither restarted here nor told."""
    words = " ".join(f"'{line}'" for line in lines)
    shell(lab, host, f"cp -p {CONFIG} {CONFIG}.good; printf '%s\\n' {words} >> {CONFIG}")
    try:
        yield
    finally:
        lab.on(host, "mv", f"{CONFIG}.good", CONFIG)


@contextmanager
def unit_with(lab: Lab, host: str, *lines: str) -> Iterator[None]:
    """Run with lines added to the unit's section Service, until the host's next boot at most."""
    folder = f"/run/systemd/system/{UNIT}.d"
    words = " ".join(f"'{line}'" for line in ("[Service]", *lines))
    drop_in = f"{folder}/zz-fault.conf"  # after the role's own
    told = f"mkdir -p {folder}; printf '%s\\n' {words} > {drop_in}; systemctl daemon-reload"
    shell(lab, host, told)
    try:
        yield
    finally:
        shell(lab, host, f"rm -f {drop_in}; systemctl daemon-reload")


@contextmanager
def small_disk(lab: Lab, replica: str, options: str = "size=64m") -> Iterator[None]:
    """A replica whose data lies on a small file system of its own, in step with its primary. The old data comes "
    "back."""
    lab.on(replica, "systemctl", "stop", UNIT)
    mount = f"mount -t tmpfs -o {options},mode=0750,uid=$(id -u redis),gid=$(id -g redis) tmpfs {DATA}"
    shell(lab, replica, mount)
    try:
        up_again(lab, replica)
        yield
    finally:
        end(lab, replica)
        lab.on(replica, "umount", DATA)
        up_again(lab, replica)


def resident(lab: Lab, host: str) -> int:
    """Bytes of memory that the server's process holds."""
    pid = prop(lab, host, "MainPID")
    return int(shell(lab, host, f"awk '/VmRSS/ {{ print $2 }}' /proc/{pid}/status")) * 1024


@contextmanager
def memory_limit(lab: Lab, host: str, further: int, whole: int) -> Iterator[None]:
    """Run the server under a limit in bytes. Version 1 of control groups counts ``further``, what it takes from now on,
    version 2 ``whole``, all that it holds."""
    top = "/sys/fs/cgroup/memory"
    if shell(lab, host, f"test -e {top}/memory.limit_in_bytes && mkdir -p {top}/fault && echo made", check=False):
        pid = prop(lab, host, "MainPID")
        shell(lab, host, f"echo {further} > {top}/fault/memory.limit_in_bytes; echo {pid} > {top}/fault/cgroup.procs")
        undo = ["sh", "-c", f"for pid in $(cat {top}/fault/cgroup.procs); do echo $pid > {top}/cgroup.procs; done"]
        undo[-1] += f"; rmdir {top}/fault"
    else:
        told = ("systemctl", "set-property", "--runtime", UNIT)
        lab.on(host, *told, f"MemoryMax={whole}", "MemorySwapMax=0")
        undo = [*told, "MemoryMax=infinity", "MemorySwapMax=infinity"]
    try:
        yield
    finally:
        lab.on(host, *undo)


def fill(lab: Lab, host: str, leave_kib: int = 0) -> None:
    """Fill the data's file system but for some space."""
    free = int(lab.on(host, "df", "--output=avail", "-k", DATA).split()[-1])
    lab.on(host, "dd", "if=/dev/zero", f"of={DATA}/fill", "bs=1k", f"count={free - leave_kib}", check=False)

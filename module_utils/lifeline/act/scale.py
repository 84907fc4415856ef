# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give a running server more room: memory, clients, file descriptors, within what its host really has.

The module redis_scale. What to raise is decided by pure functions; amounts of memory are bytes.
"""

from __future__ import annotations

import os
import resource
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional

from ..common import atomic, memory, ownership
from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.shell import output, read
from ..errors import LifelineError
from ..formats.redis_conf import bytes_of

STEP = 16 * memory.MIB

# Descriptors that Redis keeps for itself, and room for replicas, saves and the odd file.
RESERVED_FILES = 32
SPARE_FILES = 1024

SYSTEMD = "/etc/systemd/system"


@dataclass(frozen=True)
class Room:
    """What a server has and uses, and what its host could give.

    ``ceiling``: bytes that its data may fill here, with forks and other servers of the host allowed for.
    ``files_ceiling``: the most file descriptors that the kernel gives one process.
    """

    maxmemory: int
    used_memory: int
    maxclients: int
    connected: int
    files: int
    ceiling: int
    files_ceiling: int


@dataclass
class Raise:
    """What to set; None leaves it. ``notes``: sentences about what cannot be given."""

    maxmemory: Optional[int] = None
    maxclients: Optional[int] = None
    files: Optional[int] = None
    notes: list[str] = field(default_factory=list)


def plan(room: Room, maxmemory: int, maxclients: int, factor: float, when_percent: float) -> Raise:
    """What to raise. 0 for ``maxmemory`` or ``maxclients`` means: by ``factor``, if ``when_percent`` of it is in use.

    Nothing is ever lowered, and nothing goes beyond what the host has: then a note says that only a bigger one helps.
    """
    result = Raise()
    _plan_memory(result, room, maxmemory, factor, when_percent)
    _plan_clients(result, room, maxclients, factor, when_percent)
    return result


def _plan_memory(result: Raise, room: Room, asked: int, factor: float, when_percent: float) -> None:
    # 0 is no limit at all.
    if room.maxmemory == 0 or (not asked and room.used_memory * 100 < room.maxmemory * when_percent):
        return
    # Rounded up, or a server of a few MiB would get nothing.
    wanted = asked or -int(-max(room.maxmemory, room.used_memory) * factor // STEP) * STEP
    given = min(wanted, room.ceiling // STEP * STEP)
    if given > room.maxmemory:
        result.maxmemory = given
    if wanted > room.ceiling and room.ceiling < max(asked, wanted):
        result.notes.append(
            f"The host has room for {room.ceiling // memory.MIB} MiB of data, and {wanted // memory.MIB} MiB would be "
            "good: only a machine with more memory helps, or fewer data."
        )


def _plan_clients(result: Raise, room: Room, asked: int, factor: float, when_percent: float) -> None:
    if not asked and room.connected * 100 < room.maxclients * when_percent:
        return
    wanted = asked or int(room.maxclients * factor)
    given = min(wanted, room.files_ceiling - RESERVED_FILES - SPARE_FILES)
    if given > room.maxclients:
        result.maxclients = given
        if room.files < given + RESERVED_FILES:
            result.files = given + RESERVED_FILES + SPARE_FILES
    if given < wanted:
        result.notes.append(
            f"The process can have {room.files_ceiling} open files on this host, too few for {wanted} clients: raise "
            "fs.nr_open and redis_server_maxclients and let provision.yml restart it, or find who leaks connections."
        )


def size(text: str) -> int:
    """Bytes of a size as redis.conf writes it (2gb, 512mb, 1000000); 0 for empty. Raises LifelineError."""
    word = text.strip()
    number = bytes_of(word) if word else 0
    if number < 0:
        raise LifelineError(f"maxmemory {text[:40]!r} is no size: write it as redis.conf does, such as 2gb.")
    return number


def drop_in(files: int) -> str:
    """What makes the limit last over a restart of the unit."""
    lines = ("# Written by scale.yml; keep it in the inventory, as redis_server_maxclients.", "[Service]")
    return "\n".join((*lines, f"LimitNOFILE={files}", ""))


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module ``redis_scale``; see its documentation. Raises LifelineError when the server does not answer."""
    endpoint = Endpoint.from_params(dict(params))
    try:
        with closing(connect(endpoint, Credentials.from_params(dict(params)))) as client:
            return _scale(client, endpoint, params, check)
    except CONNECTION_ERRORS as error:
        raise LifelineError(
            f"Redis at {endpoint} cannot be given more room: {reason(error)}; run diagnose.yml to see why."
        ) from error


def _scale(client: Any, endpoint: Endpoint, params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    info, config = client.info("all"), client.config_get("*")
    pid = int(info["process_id"])
    room = _room(info, config, pid, params["fork_percent"])
    todo = plan(room, size(params["maxmemory"]), params["maxclients"], params["factor"], params["when_percent"])
    before = {"maxmemory": room.maxmemory, "maxclients": room.maxclients, "files": room.files}
    after = {name: getattr(todo, name) or value for name, value in before.items()}
    result = {
        "changed": before != after,
        "before": before,
        "after": after,
        "notes": todo.notes,
        "diff": {"before": _lines(before), "after": _lines(after)},
    }
    if check or before == after:
        return result
    if todo.files:
        _raise_files(pid, todo.files, params["unit"])
    for name in ("maxmemory", "maxclients"):
        if getattr(todo, name):
            client.execute_command("CONFIG", "SET", name, getattr(todo, name))
    if info.get("config_file"):
        client.execute_command("CONFIG", "REWRITE")
    return result


def _lines(values: Mapping[str, int]) -> str:
    return "".join(f"{name} {value}\n" for name, value in values.items())


def _room(info: Mapping[str, Any], config: Mapping[str, Any], pid: int, fork_percent: int) -> Room:
    backlog = int(config.get("repl-backlog-size", 0))
    total = memory.available() - _other_servers(pid)
    try:
        ceiling = memory.maxmemory(total, 100, fork_percent, backlog)
    except LifelineError:
        ceiling = 0
    return Room(
        maxmemory=int(config.get("maxmemory", 0)),
        used_memory=int(info.get("used_memory", 0)),
        maxclients=int(config.get("maxclients", 0)),
        connected=int(info.get("connected_clients", 0)),
        files=resource.prlimit(pid, resource.RLIMIT_NOFILE)[0],
        ceiling=ceiling,
        files_ceiling=_files_ceiling(pid),
    )


def _files_ceiling(pid: int) -> int:
    """The most open files that this host gives the process as it runs.

    Its hard limit, where not even root may raise that (containers); tried out on ourselves.
    """
    kernel = int(read("/proc/sys/fs/nr_open").strip() or 1048576)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, kernel))
    except (OSError, ValueError):
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return kernel


def _other_servers(own: int) -> int:
    """Bytes that other Redis or Valkey processes of this host have in memory."""
    found = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        if read(f"{entry}/comm").strip() in ("redis-server", "valkey-server"):
            words = read(f"{entry}/statm").split()
            found += int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else 0
    return found


def _raise_files(pid: int, files: int, unit: Optional[str]) -> None:
    """For the process that runs, and for the next one. Raises LifelineError."""
    hard = max(files, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1])
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, hard))
        # A unit that Lifeline did not write is its owner's: there the limit lasts as long as the process.
        if unit and "server" in ownership.owned():
            path = Path(SYSTEMD) / f"{unit}.d" / "scaled.conf"  # after the role's own lifeline.conf
            atomic.write(path, drop_in(files), 0o644, (0, 0), make=0o755)
            output(["systemctl", "daemon-reload"], 20.0)
    except (OSError, ValueError) as error:
        raise LifelineError(
            f"The limit of open files of process {pid} cannot be raised to {files} on this host ({error}): "
            "run with become, or set LimitNOFILE in its unit and restart it when it is a replica."
        ) from error

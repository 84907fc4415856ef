# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which systemd units of an application host lost Redis, and in which order to restart them. Pure, no I/O.

What an RQ worker does in an outage, measured on RQ 1.16: idle, it backs off for 1, 2, 4 ... 60 s with no connection
at all, long after Redis is back; when Redis came back empty, it works on without being registered; busy for more than
30 s of outage, it exits. One whose primary lost its power waits up to 415 s on a connection that nobody answers.
All of these show in systemd, in /proc and in Redis; none shows in ``systemctl is-active`` alone.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Any, Iterable, Mapping, Optional, Sequence

from ..common.words import address

KINDS = ("worker", "scheduler", "web", "other")

# Seconds that a unit may take after its start until it has to be registered and connected.
GRACE = 15.0

SUSPENDED = "RQ is suspended: it works again when that is lifted"

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "EnvironmentFiles",
    "ExecMainStartTimestampMonotonic",
    "KillMode",
)

_ESTABLISHED = "01"


@dataclass(frozen=True)
class Unit:
    """A unit that depends on Redis. ``health_url`` answers 200 when it is well; ``watch`` are files that it reads."""

    name: str
    kind: str = "other"
    health_url: Optional[str] = None
    watch: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """What systemd says of a unit. ``started`` is in seconds of the monotonic clock, 0 when it never ran."""

    name: str
    load: str = "loaded"
    active: str = "active"
    sub: str = "running"
    enabled: str = "enabled"
    main_pid: int = 0
    need_reload: bool = False
    files: tuple[str, ...] = ()
    started: float = 0.0
    kill_mode: str = ""


@dataclass(frozen=True)
class Signs:
    """What else there is to see of a unit.

    ``connections``: addresses (``host:port``) that its main process has established connections to.
    ``sleeping``: its main thread sleeps; ``busy``: it has a child. ``registered``: Redis lists it as a worker; None
    when Redis was not asked or did not answer. ``health``: what its health URL said, 200 being well; None without one.
    """

    connections: tuple[str, ...] = ()
    sleeping: bool = False
    busy: bool = False
    registered: Optional[bool] = None
    health: Optional[str] = None


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a unit: nothing, wait, restart, or drain (restart when its job is done); and why."""

    unit: Unit
    action: str
    reason: str


def expand(params: Sequence[Mapping[str, Any]], order: Sequence[str]) -> tuple[list[Unit], list[str]]:
    """(units, names that must not run besides) from the module's ``units``, sorted by kind as ``order`` says.

    A name that ends in @ is a template and stands for its instances 1 to ``instances``; every other instance of it
    must not run. Of other units, ``instances`` is 1 or 0. A name without a suffix is a service.
    """
    wanted: list[Unit] = []
    unwanted: list[str] = []
    for item in params:
        name, count = item["name"], item.get("instances", 1)
        kind = item.get("kind") or "other"
        if name.endswith("@"):
            names = [f"{name}{number}" for number in range(1, count + 1)]
            unwanted.append(name)
        else:
            names = [name] if count else []
            unwanted += [] if count else [_full(name)]
        wanted += [Unit(_full(each), kind, item.get("health_url"), tuple(item.get("watch") or ())) for each in names]
    ranks = {kind: rank for rank, kind in enumerate(order)}
    return sorted(wanted, key=lambda unit: ranks.get(unit.kind, len(ranks))), unwanted


def _full(name: str) -> str:
    return name if name.rpartition(".")[2] in ("service", "target", "timer", "socket") else f"{name}.service"


def parse_show(text: str) -> list[State]:
    """From ``systemctl show --property=<PROPERTIES> UNIT...``: one state for each unit, in the order asked for."""
    states = []
    for block in text.strip().split("\n\n"):
        values: dict[str, list[str]] = {}
        for line in block.splitlines():
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
        if "Id" not in values:
            continue

        def first(key: str, default: str = "", values: Mapping[str, list[str]] = values) -> str:
            return values.get(key, [default])[0]

        files = [first("FragmentPath"), *first("DropInPaths").split()]
        files += [entry.split(" (ignore_errors")[0] for entry in values.get("EnvironmentFiles", [])]
        states.append(
            State(
                name=first("Id"),
                load=first("LoadState"),
                active=first("ActiveState"),
                sub=first("SubState"),
                enabled=first("UnitFileState"),
                main_pid=int(first("MainPID", "0") or 0),
                need_reload=first("NeedDaemonReload") == "yes",
                files=tuple(path for path in files if path),
                started=int(first("ExecMainStartTimestampMonotonic", "0") or 0) / 1e6,
                kill_mode=first("KillMode"),
            )
        )
    return states


def established(table: str, inodes: Iterable[str]) -> tuple[str, ...]:
    """Peers (``host:port``) of a process's established connections.

    ``table`` is the text of /proc/PID/net/tcp and tcp6; ``inodes`` those of the process's sockets.
    """
    wanted = set(inodes)
    peers = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[3] == _ESTABLISHED and fields[9] in wanted:
            peers.append(_peer(fields[2]))
    return tuple(sorted(peers))


def _peer(text: str) -> str:
    """``host:port`` from the kernel's hexadecimal form; IPv4 inside IPv6 comes out as IPv4."""
    host, _, port = text.partition(":")
    return address(peer_address(host), int(port, 16))


def peer_address(text: str) -> str:
    """An address from the kernel's hexadecimal form. Raises ValueError when it is none."""
    words = [bytes.fromhex(text[index : index + 8])[::-1] for index in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(words))
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(found)


def judge(
    unit: Unit, state: State, signs: Signs, endpoints: Sequence[str], age: float, suspended: bool = False
) -> Verdict:
    """Whether a unit lost Redis.

    ``endpoints`` (``host:port``) are where Redis is served now; empty when that is not known. ``age`` is for how many
    seconds the unit's main process has been running. ``suspended``: RQ is suspended. Then its worker ends as soon as it
    has started (RQ's command line does so), systemd starts it again and again, and one that runs sleeps: as it should.
    """
    idle = suspended and unit.kind == "worker"
    if idle and (state.active, state.sub) == ("activating", "auto-restart"):
        return Verdict(unit, "nothing", SUSPENDED)
    down = _down(state)
    if down:
        return Verdict(unit, *down)
    lost = _lost(unit, replace(signs, sleeping=signs.sleeping and not idle), endpoints)
    if not lost:
        return Verdict(unit, "nothing", "healthy")
    if age < GRACE:
        if idle:
            return Verdict(unit, "nothing", SUSPENDED)
        return Verdict(unit, "wait", f"started {age:.0f} s ago: {lost}")
    return Verdict(unit, "drain" if signs.busy and unit.kind == "worker" else "restart", lost)


def _down(state: State) -> Optional[tuple[str, str]]:
    """(action, reason) when systemd itself says that the unit does not run."""
    if state.active == "active" or (state.active, state.sub) == ("reloading", "reload"):
        return None
    if state.active == "activating" and state.sub != "auto-restart":
        return "wait", "it is starting"
    if state.active == "deactivating":
        return "wait", "it is stopping"
    return "restart", f"systemd says {state.active} ({state.sub})"


def _lost(unit: Unit, signs: Signs, endpoints: Sequence[str]) -> str:
    """Why a running unit is not well, or an empty string."""
    if unit.health_url and signs.health != "200":
        return f"{unit.health_url} says {signs.health}"
    if unit.kind not in ("worker", "scheduler"):
        return ""
    stale = sorted(set(signs.connections) - set(endpoints)) if endpoints else []
    ports = {endpoint.rpartition(":")[2] for endpoint in endpoints}
    stale = [peer for peer in stale if peer.rpartition(":")[2] in ports]
    if endpoints and not set(signs.connections) & set(endpoints):
        return f"it is connected to {', '.join(stale)}, which is not Redis any more" if stale else "it is not connected"
    if unit.kind == "worker" and signs.registered is False:
        return "Redis does not list it as a worker"
    if unit.kind == "worker" and signs.sleeping and not signs.busy:
        return "it waits before it tries Redis again"
    return ""


def older(state: State, unit: Unit, changed: Mapping[str, float]) -> str:
    """The file that a running unit has not read yet in its present form, or an empty string.

    ``changed`` has the time of each file's last change, in seconds of the monotonic clock.
    """
    if state.active != "active" or not state.started:
        return ""
    for path in (*state.files, *unit.watch):
        if changed.get(path, 0.0) > state.started:
            return path
    return ""


def surplus(states: Sequence[State], wanted: Sequence[Unit]) -> list[str]:
    """Of the units that must not run: those that do, or would at the next boot."""
    names = {unit.name for unit in wanted}
    return sorted(
        state.name
        for state in states
        if state.name not in names and (state.active not in ("inactive", "failed") or state.enabled == "enabled")
    )


def gone(
    rows: Mapping[str, tuple[Optional[str], Optional[str]]], hostname: str, processes: set[int], states: Sequence[State]
) -> list[str]:
    """Names of workers that Redis lists for this host and whose processes are all gone.

    ``rows`` has (hostname, pid) of each worker by name, ``processes`` the ids that live here, ``states`` the workers'
    units. A work horse outlives its worker, except where systemd ends what is left of a unit before it starts it again.
    """
    if not states or any(state.kill_mode not in ("control-group", "mixed") for state in states):
        return []
    return sorted(
        name
        for name, (host, pid) in rows.items()
        if host == hostname and pid and pid.isdigit() and int(pid) not in processes
    )


def workers_here(rows: Iterable[tuple[Optional[str], Optional[str]]], hostname: str) -> set[int]:
    """Process ids of workers that Redis lists for this host, from (hostname, pid) of each."""
    return {int(pid) for host, pid in rows if pid and pid.isdigit() and host in (None, hostname)}

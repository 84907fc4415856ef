# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What keeps a server from starting: its configuration, its port, its address, the rights to its files."""

from __future__ import annotations

import ipaddress
from typing import Iterator

from ...observe.server import SECRET_SETTINGS
from ..case import Case
from ..log_evidence import data_folder, down, last_words, sample, samples
from .base import CERTAIN, EVERYBODY, INFO, LIKELY, WARNING, Cause, Match
from .disk import denied_line
from .process import DEATHS, SYMPTOMS, grade, reach, unit_line

# Directives that CONFIG GET * hides, each of Redis or Valkey of some version: it answers who asks for one by its name.
HIDDEN = (
    "cluster-ping-interval", "enable-debug-assert", "key-load-delay", "lazyexpire-nested-arbitrary-keys",
    "loading-process-events-interval-bytes", "lua-enable-deprecated-api", "lua-enable-insecure-api",
    "rdb-key-save-delay", "use-exit-on-panic", "watchdog-period",
)  # fmt: skip
# Directives that CONFIG GET * does not list, or that evidence leaves out.
NOT_LISTED = frozenset(
    {"include", "loadmodule", "rename-command", "replicaof", "slaveof", "user", "sentinel", *SECRET_SETTINGS, *HIDDEN}
)

# Fewer settings than this are no whole list: the login may not see them all.
WHOLE_LIST = 100


def _invalid(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if down(server) and last_words(server, "config_fatal"):
            words = ("config_fatal", "config_line", "config_directive", "config_reason")
            lines = (*samples(server, *words), unit_line(server))
            yield Match(server.name, lines, reach(case, server), grade(case, server))


def _next_start_fails(case: Case) -> Iterator[Match]:
    for server in case.servers:
        known = {name.lower() for name in server.deep.sub("config").plain if isinstance(name, str)}
        if not server.alive or server.host is None or len(known) < WHOLE_LIST:
            continue
        unknown = [
            name
            for name in server.host.section("start").texts("directives")
            if name not in known | NOT_LISTED and "." not in name
        ]
        if unknown:
            file = server.files.text("config")
            line = f"{server.name} {file}: the server does not know {', '.join(unknown[:5])}"
            yield Match(server.name, (line,), sure=LIKELY)


def _port_taken(case: Case) -> Iterator[Match]:
    for server in case.servers:
        holder = server.host.section("start").sub("holders", str(server.node.port)) if server.host else None
        logged = last_words(server, "port_taken") if server.node.unit_down else None
        if not server.node.unit_down or server.node.stopped_on_purpose or not (holder or logged):
            continue
        lines = list(sample(server, logged))
        if holder:
            lines.append(
                f"{server.name} port {server.node.port}: held by {holder.text('command') or 'an unknown process'} "
                f"(process {holder.count('pid')}, {holder.text('unit') or 'no unit'})"
            )
        if server.alive:
            lines.append(f"{server.name}: what holds the port answers as {server.node.role}")
        sure = CERTAIN if holder else LIKELY
        severity = WARNING if server.alive else grade(case, server)
        yield Match(server.name, (*lines, unit_line(server)), reach(case, server), severity, sure)


def _address_missing(case: Case) -> Iterator[Match]:
    for server in case.servers:
        addresses = server.host.section("start").sub("addresses") if server.host else None
        missing = [str(name) for name, there in (addresses.plain.items() if addresses else ()) if there is False]
        logged = last_words(server, "address_missing") if down(server) else None
        if not missing and not logged:
            continue
        lines = [*sample(server, logged), *(f"{server.name}: no interface has {address}" for address in missing)]
        failing = down(server) or not server.alive
        yield Match(
            server.name,
            (*lines, unit_line(server)),
            reach(case, server) if failing else (),
            grade(case, server) if failing else WARNING,
            CERTAIN if missing else LIKELY,
            {"addresses": missing},
            # An address of the inventory is the host's to give back; one that has come late needs a start only.
            task="" if not missing or server.node.host in missing else None,
        )


def _bound_to_loopback(case: Case) -> Iterator[Match]:
    """Its host's sockets show that it listens on loopback only: that refuses, where a firewall drops."""
    for server in case.servers:
        addresses = server.host.section("connections").texts("listening") if server.host else []
        own = [_is_loopback(address) for address in addresses]
        if server.alive or not own or not all(own) or _is_loopback(server.node.host):
            continue
        lines = [f"{server.name}: its port {server.node.port} listens on {', '.join(addresses)} only"]
        lines += [f"{server.name}: the inventory reaches it at {server.node.host}"]
        if server.deep.text("config.bind"):
            lines.append(f"{server.name}: bind {server.deep.text('config.bind')}")
        yield Match(server.name, tuple(lines), (EVERYBODY,), grade(case, server))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _files_denied(case: Case) -> Iterator[Match]:
    for server in case.servers:
        start = server.host.section("start").named("denied") if server.host else ()
        folder = data_folder(server)
        # The data folder has a cause of its own (disk.data_denied), and so have files that are not there at all.
        lines = [
            denied_line(server, path, entry)
            for path, entry in start
            if not entry.text("error") and not (folder and f"{path}/".startswith(f"{folder}/"))
        ]
        said = [line for name in ("config_denied", "log_denied") for line in samples(server, name) if down(server)]
        if not lines and not said:
            continue
        failing = down(server)
        yield Match(
            server.name,
            (*said, *lines[:3], unit_line(server)),
            reach(case, server) if failing else (),
            grade(case, server) if failing else WARNING,
            CERTAIN if lines else LIKELY,
        )


def _not_at_boot(case: Case) -> Iterator[Match]:
    for server in case.servers:
        unit = server.unit
        lines = []
        if server.alive and unit.text("enabled") == "disabled":
            lines.append(f"{server.name} {unit.text('name')}: disabled, it does not start when the host boots")
        if unit.flag("reload_needed"):
            lines.append(f"{server.name} {unit.text('name')}: its files changed, and systemd has not read them again")
        if lines:
            yield Match(server.name, tuple(lines))


CAUSES = (
    Cause(
        id="config_invalid",
        fault="F12",
        title="The server's configuration is invalid",
        severity=WARNING,
        at_risk="Nothing on disk; the server does not start.",
        remedy=(
            "Put the last good configuration back (the copy beside it or provision.yml), then systemctl reset-failed "
            "and start."
        ),
        avoid=(
            "Do not delete lines until it starts: replicaof, save or the password may go with them, and a server "
            "without them comes up empty or open."
        ),
        detect=_invalid,
        explains=DEATHS,
        task="reseed_config",
    ),
    Cause(
        id="config_next_start",
        fault="F12",
        title="The configuration on disk would not start",
        severity=WARNING,
        at_risk="Nothing while the server runs; its next start fails.",
        remedy=(
            "Take the unknown directive out of the file, or put the last good file back, before anything restarts the "
            "server."
        ),
        avoid="Do not restart the server to find out: it would stay down.",
        detect=_next_start_fails,
        task="reseed_config",
    ),
    Cause(
        id="port_taken",
        fault="F14",
        title="Another process holds the server's port",
        severity=WARNING,
        at_risk="If it is a second Redis, clients may write to it, and those writes are in the wrong place.",
        remedy=(
            "Find out whose process it is. Where it is a Redis: which one has the data? Stop the wrong one, then "
            "systemctl reset-failed and start the unit."
        ),
        avoid="Do not kill the process before you know what it is: it may be the live primary, started by hand.",
        detect=_port_taken,
        explains=("address_missing", *DEATHS),
    ),
    Cause(
        id="address_missing",
        fault="F15",
        title="An address that the server binds is not on this host",
        severity=WARNING,
        at_risk="Clients and peers do not reach it there, and it does not start.",
        remedy=(
            "Give the host its address back, or correct redis_server_bind; where the address comes late at boot, let "
            "the unit wait for network-online.target."
        ),
        avoid="Do not bind 0.0.0.0: the server would be reachable from networks that it is meant to be closed to.",
        detect=_address_missing,
        explains=DEATHS,
        task="reseed_config",
    ),
    Cause(
        id="bound_to_loopback",
        fault="",
        title="The server listens on its own host's loopback address only",
        severity=WARNING,
        at_risk="Nothing on disk; neither clients nor peers can connect.",
        remedy=(
            "On its host, over its unix socket: CONFIG SET bind to the addresses that the inventory has, then CONFIG "
            "REWRITE."
        ),
        avoid="Do not change the firewall and do not fail over: the server runs, and refuses by its own setting.",
        detect=_bound_to_loopback,
        explains=(
            *SYMPTOMS,
            "clients_cut_off",
            "peer_cut_off",
            "host_isolated",
            "not_enough_replicas",
            "replica_stale",
        ),
    ),
    Cause(
        id="files_denied",
        fault="F11",
        title="The server's user may not read its configuration or write its log",
        severity=WARNING,
        at_risk="Nothing on disk; the server does not start, and says so in the journal only.",
        remedy=(
            "Give the files back: configuration redis:redis 0640 or tighter, log folder redis:adm 2750, TLS files "
            "readable by group redis (provision.yml does it); then systemctl reset-failed and start."
        ),
        avoid="Do not run the server as root and do not chmod 777.",
        detect=_files_denied,
        explains=("config_invalid", *DEATHS),
        task="restore_files",
    ),
    Cause(
        id="unit_drift",
        fault="",
        title="The unit would not come back as it runs now",
        severity=INFO,
        at_risk="Nothing while the host runs.",
        remedy="systemctl enable the unit, systemctl daemon-reload; provision.yml does both.",
        avoid="",
        detect=_not_at_boot,
    ),
)

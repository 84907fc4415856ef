# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server's process and its host: gone, dead, stopped, hung."""

from __future__ import annotations

from typing import Iterator

from .base import CERTAIN, CRITICAL, EVERYBODY, LIKELY, WARNING, Cause, Match
from .case import Case, Server

# What a server that is gone shows in elsewhere, up to the applications' jobs.
APPLICATIONS = ("application_cut_off", "units_unwell", "queue_unattended", "workers_gone", "endpoint_blind")
SYMPTOMS = ("server_silent", "server_down", "replica_link_down", "no_primary", "sentinel_silent", *APPLICATIONS)


def grade(case: Case, server: Server) -> str:
    """A fault of the only primary is critical, of a replica a warning."""
    last = case.last_primary
    return CRITICAL if last is not None and server.name == last.name else WARNING


def reach(case: Case, server: Server) -> tuple[str, ...]:
    """Whom a dead server troubles: everybody when it is the primary."""
    return (EVERYBODY,) if grade(case, server) == CRITICAL else ()


def unit_line(server: Server) -> str:
    """systemd's word about a server, as evidence."""
    unit = server.unit
    return (
        f"{server.name} {unit.text('name')}: {unit.text('active')}/{unit.text('sub')}, result {unit.text('result')}, "
        f"restarts {unit.count('restarts')}"
    )


def peers_say(case: Case, server: Server) -> list[str]:
    """What its replicas say of a primary: it is dead only if they agree."""
    return [
        f"{other.name}: link to {server.name} is {'up' if other.node.link_up else 'down'}"
        + (f" for {other.view.count('primary.link_down_s')} s" if not other.node.link_up else "")
        for other in case.followers(server.name)
    ]


def _host_gone(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.host is None and not server.alive and server.name not in case.unasked:
            lines = [case.silence(server.name)]
            lines += [f"{host}: {server.name} does not answer ({server.error})" for host in server.node.missed_by]
            sure = CERTAIN if server.node.missed_by else LIKELY
            yield Match(server.name, (*lines, *peers_say(case, server)), reach(case, server), grade(case, server), sure)


def _process_dead(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.node.unit_down and not server.node.stopped_on_purpose:
            yield Match(
                server.name, (unit_line(server), *peers_say(case, server)), reach(case, server), grade(case, server)
            )


def _stopped_by_hand(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.node.stopped_on_purpose:
            lines = (unit_line(server), f"{server.name} unit file: {server.unit.text('load')}")
            yield Match(server.name, lines, reach(case, server), grade(case, server))


CAUSES = (
    Cause(
        "host_gone",
        "",
        "process",
        "The server's host is gone",
        WARNING,
        "What the host had accepted and not yet replicated is only on its disk.",
        "Let Sentinel fail over, or promote the replica with most data; bring the host back, and it rejoins.",
        "Do not start another server under its address while it may still run: two primaries diverge.",
        _host_gone,
        SYMPTOMS,
        "failover",
    ),
    Cause(
        "process_dead",
        "F01",
        "process",
        "The server's process is dead",
        WARNING,
        "Writes since the last fsync (append-only file) or the last snapshot.",
        "Promote a replica where there is one, and start this server as its replica; else start it from its own disk.",
        "Do not start it as a primary beside a promoted one, nor when its disk holds less than a replica: its replicas "
        "would copy the emptiness.",
        _process_dead,
        SYMPTOMS,
        "follow",
    ),
    Cause(
        "stopped_by_hand",
        "F40",
        "process",
        "The server was stopped or masked by a person",
        WARNING,
        "Nothing by itself; somebody may be working on it.",
        "Ask who stopped it. When the work is done, unmask it and run recover.yml.",
        "Do not start it under somebody's hands.",
        _stopped_by_hand,
        SYMPTOMS,
    ),
)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Signs that something is wrong, whatever it is. A cause that explains them is named instead; alone, they are an
unknown fault, shown with its evidence and left to a person."""

from __future__ import annotations

from typing import Iterator

from ..case import Case
from ..log_evidence import saving_fails
from .base import CERTAIN, CRITICAL, EVERYBODY, WARNING, Cause, Match
from .process import APPLICATIONS, grade, peers_say, reach, unit_line
from .sentinel import flags_line

UNKNOWN = "Read the evidence; nothing is done automatically."
CAREFUL = "Do not restart anything before you know why: a restart may lose data and the traces."


def _server_down(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.node.unit_down:
            yield Match(server.name, (unit_line(server),), reach(case, server), grade(case, server))


def _server_silent(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if not server.alive and not server.node.unit_down:
            lines = [f"{host}: {server.name} does not answer ({server.error})" for host in server.node.missed_by]
            if server.unit:
                lines.append(unit_line(server))
            yield Match(
                server.name, (*lines, *peers_say(case, server)), reach(case, server), grade(case, server), CERTAIN
            )


def _link_down(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.alive and server.node.role == "replica" and not server.node.link_up:
            link = server.view.sub("primary")
            line = f"{server.name}: link to {server.node.follows} down for {link.count('link_down_s')} s"
            yield Match(server.name, (line,))


def _saving_fails(case: Case) -> Iterator[Match]:
    for server in case.servers:
        said = saving_fails(server)
        if said:
            yield Match(server.name, tuple(said), severity=grade(case, server))


def _no_primary(case: Case) -> Iterator[Match]:
    if case.topology.state in ("no_primary", "disputed"):
        yield Match(case.service, tuple(case.topology.reasons), (EVERYBODY,))


def _sentinel_silent(case: Case) -> Iterator[Match]:
    for watcher in case.watchers:
        if not watcher.alive:
            unit = watcher.unit
            state = f", {unit.text('name')} is {unit.text('active')}/{unit.text('sub')}" if unit else ""
            yield Match(watcher.name, (f"sentinel on {watcher.name}: {watcher.error or 'no answer'}{state}",))


def _sentinel_sees_down(case: Case) -> Iterator[Match]:
    """Data and replicas are fine: whatever it is, it is no reason to move the primary."""
    for watcher in case.watchers:
        server = case.server(watcher.node.names)
        if watcher.alive and watcher.view.flag("down") and server and server.alive and server.is_primary:
            yield Match(watcher.name, (flags_line(watcher),), stems_from=(server.name,))


def _application_cut_off(case: Case) -> Iterator[Match]:
    for host in case.application_hosts:
        service = host.section("application")
        if service.maybe_flag("reachable") is False:
            yield Match(host.name, (f"{host.name}: the application's URL does not answer ({service.text('error')})",))


CAUSES = (
    Cause("no_primary", "", "symptom", "The estate has no primary", CRITICAL, "Every write until there is one.",
          UNKNOWN, CAREFUL, _no_primary, ("replica_link_down", *APPLICATIONS)),
    Cause("server_down", "", "symptom", "A server does not run", WARNING, "One copy of the data less.",
          UNKNOWN, CAREFUL, _server_down, ("replica_link_down", "no_primary", *APPLICATIONS)),
    Cause("server_silent", "", "symptom", "A server does not answer", WARNING, "One copy of the data less.",
          UNKNOWN, CAREFUL, _server_silent, ("replica_link_down", "no_primary", *APPLICATIONS)),
    Cause("replica_link_down", "", "symptom", "A replica lost its primary", WARNING,
          "This copy of the data falls behind.", UNKNOWN, CAREFUL, _link_down),
    Cause("saving_fails", "", "symptom", "A server can not save its data", WARNING,
          "All since its last save is in memory only.", UNKNOWN, CAREFUL, _saving_fails, ("sentinel_sees_down",),
          "save"),
    Cause("sentinel_silent", "", "symptom", "A sentinel does not answer", WARNING,
          "One vote less; with half of them gone nobody can fail over.", UNKNOWN, CAREFUL, _sentinel_silent),
    Cause("sentinel_sees_down", "", "symptom", "A sentinel holds a live primary for dead", WARNING,
          "It may fail over without need, or not when it should.", UNKNOWN, CAREFUL, _sentinel_sees_down,
          like="server_silent"),
    Cause("application_cut_off", "", "symptom", "An application host can not reach Redis", CRITICAL,
          "Every request and job of that host.", UNKNOWN, CAREFUL, _application_cut_off),
)  # fmt: skip

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
    Cause(
        id="no_primary",
        fault="",
        title="The estate has no primary",
        severity=CRITICAL,
        at_risk="Every write until there is one.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_no_primary,
        explains=("replica_link_down", *APPLICATIONS),
    ),
    Cause(
        id="server_down",
        fault="",
        title="A server does not run",
        severity=WARNING,
        at_risk="One copy of the data less.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_server_down,
        explains=("replica_link_down", "no_primary", *APPLICATIONS),
    ),
    Cause(
        id="server_silent",
        fault="",
        title="A server does not answer",
        severity=WARNING,
        at_risk="One copy of the data less.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_server_silent,
        explains=("replica_link_down", "no_primary", *APPLICATIONS),
    ),
    Cause(
        id="replica_link_down",
        fault="",
        title="A replica lost its primary",
        severity=WARNING,
        at_risk="This copy of the data falls behind.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_link_down,
    ),
    Cause(
        id="saving_fails",
        fault="",
        title="A server cannot save its data",
        severity=WARNING,
        at_risk="All since its last save is in memory only.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_saving_fails,
        explains=("sentinel_sees_down",),
        task="save",
    ),
    Cause(
        id="sentinel_silent",
        fault="",
        title="A sentinel does not answer",
        severity=WARNING,
        at_risk="One vote less; with half of them gone nobody can fail over.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_sentinel_silent,
    ),
    Cause(
        id="sentinel_sees_down",
        fault="",
        title="A sentinel considers a live primary dead",
        severity=WARNING,
        at_risk="It may fail over without need, or not when it should.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_sentinel_sees_down,
        like="server_silent",
    ),
    Cause(
        id="application_cut_off",
        fault="",
        title="An application host cannot reach Redis",
        severity=CRITICAL,
        at_risk="Every request and job of that host.",
        remedy=UNKNOWN,
        avoid=CAREFUL,
        detect=_application_cut_off,
    ),
)  # fmt: skip

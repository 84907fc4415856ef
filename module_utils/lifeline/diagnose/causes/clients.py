# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers that run and serve nobody: no connection left, or one command that does not end."""

from __future__ import annotations

from typing import Iterator

from ..case import Case, Server
from .base import CRITICAL, INFO, LIKELY, WARNING, Cause, Match
from .process import SYMPTOMS, grade, reach, unit_line

# Share of maxclients from which there is no room left for an outage's reconnections.
NEARLY_FULL = 0.9
# A command that holds up all others for this long is seen by every client.
SLOW_MS = 1000


def says(server: Server, word: str) -> str:
    """The error that begins with this word of ``client.reason``, from whoever asked the server; empty without one."""
    for text in (*server.deep.text("error").split("; "), server.error):
        said = text.partition(": ")[2] if text.startswith(("tcp: ", "unix: ")) else text
        if said.startswith(f"{word}:"):
            return said
    return ""


def holders(server: Server) -> list[str]:
    """Who holds a server's connections: by CLIENT LIST where it could be asked, else by its host's kernel."""
    clients = [
        f"{server.name}: {row.count('count')} connections of {row.text('user') or 'default'} from {row.text('address')}"
        f" (longest idle {row.count('idle_s')} s)"
        for row in server.deep.rows("clients")[:4]
    ]
    if clients or server.host is None:
        return clients
    known = server.host.section("connections")
    counts = sorted(known.numbers("by_address"), key=lambda item: -item[1])[:4]
    return [
        f"{server.name}: {int(number)} of {known.count('total')} connections are from {peer}" for peer, number in counts
    ]


def _maxclients(case: Case) -> Iterator[Match]:
    for server in case.servers:
        refused = says(server, "maxclients")
        if refused:
            lines = (f"{server.name} refuses new connections ({refused})", *holders(server))
            yield Match(server.name, lines, reach(case, server), grade(case, server))
            continue
        limit = server.deep.count("config.maxclients")
        used = server.deep.count("info.connected_clients") + server.deep.count("info.connected_slaves")
        if limit and used >= limit * NEARLY_FULL:
            refusals = server.deep.count("info.rejected_connections")
            lines = (
                f"{server.name}: {used} of maxclients {limit} connections are in use, {refusals} were refused so far",
                *holders(server),
            )
            yield Match(server.name, lines, reach(case, server), WARNING)


def _script(case: Case) -> Iterator[Match]:
    for server in case.servers:
        busy = says(server, "busy")
        if busy:
            lines = (f"{server.name}: {busy}", *server.log_line("slow_script"))
            yield Match(server.name, lines, reach(case, server), grade(case, server))


def _command(case: Case) -> Iterator[Match]:
    for server in case.servers:
        silent = not server.alive and bool(says(server, "timeout")) and not server.deep.flag("reachable")
        if silent and server.process.text("state") == "R" and server.unit.text("active") == "active":
            lines = (
                f"{server.name}: the process computes (state R) and answers nobody",
                unit_line(server),
                *(f"{host}: {server.name} does not answer ({server.error})" for host in server.node.missed_by),
            )
            yield Match(server.name, lines, reach(case, server), grade(case, server), LIKELY)


def _slow(case: Case) -> Iterator[Match]:
    for server in case.servers:
        now = server.clock
        slow = [
            row for row in server.deep.rows("slowlog") if row.number("ms") >= SLOW_MS and now - row.number("time") < 900
        ]
        if slow:
            lines = [
                f"{server.name}: {row.text('command')} held up everybody for {row.number('ms') / 1000:.1f} s, "
                f"{max(0, int(now - row.number('time')))} s ago, from {row.text('address') or 'unknown'}"
                for row in slow[:3]
            ]
            yield Match(server.name, tuple(lines))


CAUSES = (
    Cause(
        id="maxclients_reached",
        fault="F05",
        title="The server has no connection left for clients",
        severity=CRITICAL,
        at_risk="Every client that is not connected yet, and all of them after the next reconnection.",
        remedy=(
            "Stop or repair the client that holds the connections; then raise maxclients and the open files: "
            "playbooks/scale.yml. Where nobody gets in, not through the socket either, `ss -K dst ADDRESS sport = "
            ":PORT` on its host closes that client's connections."
        ),
        avoid=(
            "Do not restart the server: all clients come back at once, and what is not on disk is lost. A "
            "failover moves the same clients to the next server."
        ),
        detect=_maxclients,
        explains=(*SYMPTOMS, "command_blocks"),
        task="scale",
    ),
    Cause(
        id="script_blocks",
        fault="F26",
        title="A script blocks the server",
        severity=CRITICAL,
        at_risk="Every command of every client until it ends; Sentinel fails over when it takes too long.",
        remedy=(
            "SCRIPT KILL (FUNCTION KILL for a function). If it answers UNKILLABLE the script has written: wait for its "
            "end, or let Sentinel fail over. The log names the script; find its caller and bound it."
        ),
        avoid=(
            "Do not run SHUTDOWN NOSAVE on the only copy: every write since the last save is lost. Do not kill -9 "
            "it while replicas lag."
        ),
        detect=_script,
        explains=(*SYMPTOMS, "command_blocks"),
        task="kill_script",
    ),
    Cause(
        id="command_blocks",
        fault="F26",
        title="One slow command blocks the server",
        severity=CRITICAL,
        at_risk="Every command of every client until it ends; Sentinel fails over when it takes too long.",
        remedy=(
            "Wait for its end, or let Sentinel fail over; then SLOWLOG GET names the command and its client. Replace "
            "KEYS, SMEMBERS, SORT or a long Lua script by SCAN and small steps."
        ),
        avoid=(
            "Do not restart the server to stop the command: what is not on disk is lost, and the client sends it again."
        ),
        detect=_command,
        explains=SYMPTOMS,
    ),
    Cause(
        id="slow_command",
        fault="F26",
        title="A command held up all others",
        severity=INFO,
        at_risk="Nothing now; the same command will do it again.",
        remedy="Find the client by its address, and replace the command by SCAN or by smaller steps.",
        avoid="Do not raise timeouts instead: all clients wait for one command.",
        detect=_slow,
    ),
)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finish, or clean up after, a switchover that was cut short: by its own end, by its guard, or by the next run."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Mapping, NoReturn, Optional

from ...common.client import CONNECTION_ERRORS
from ...diagnose.history import surplus_between
from ...diagnose.topology import AGREED, Topology
from ...errors import LifelineError
from ...plan.candidates import own_priority, raised
from ..replicate import replicaof
from . import sentinels
from .session import POLL_S, Session, wait

# How long a failover that was asked for may take until it shows, in seconds.
SETTLE_S = 20.0

# How long to wait after the death of the module before its guard acts, so that what it sent last has arrived.
BREATH_S = 0.05


@dataclass
class Leftovers:
    """What a switchover that was cut short left: nodes that should follow the primary, priorities to set back."""

    astray: list[str] = field(default_factory=list)
    priorities: dict[str, int] = field(default_factory=dict)

    def lines(self, primary: Optional[str]) -> list[str]:
        """What will be done about it, a line a step."""
        follow_lines = [f"{name}: follow {primary}, close its clients" for name in self.astray]
        return follow_lines + [f"{name}: replica-priority {value}" for name, value in self.priorities.items()]


def leftovers(topology: Topology) -> Leftovers:
    """A former primary that has no byte of its own may follow the new one; one that has is recover.yml's, which keeps a
    copy first. Without Sentinel nobody else points the other replicas at the new primary."""
    found = Leftovers(priorities=raised(topology))
    primary = topology.nodes.get(topology.primary or "")
    if topology.state != AGREED or primary is None:
        return found
    for node in topology.nodes.values():
        if node.name in topology.stale:
            if surplus_between(primary.view, node.view) == 0 or untouched(primary.view, node.view):
                found.astray.append(node.name)
        elif node.alive and node.role == "replica" and node.follows != primary.name and not topology.sentinels:
            found.astray.append(node.name)
    return found


def tidy(session: Session, topology: Topology, held: str = "") -> bool:
    """Bring an agreed estate to what a finished switchover leaves; False when there was nothing to do.

    ``held``: the old primary whose writers this switchover holds. One that another run left follows on the word of the
    sentinels' majority; without it that is recover.yml's, which keeps a copy first.
    """
    found = leftovers(topology)
    vouched = sum(watcher.names == topology.primary for watcher in topology.watchers_alive) * 2 > len(
        topology.sentinels
    )
    for name in found.astray:
        follow(session, name, str(topology.primary), handed_over=name == held or (vouched and name in topology.stale))
    restore_priorities(session, found.priorities)
    hurried = sentinels.hurried(session)
    sentinels.calm(session, hurried)
    if not (found.astray or found.priorities or hurried):
        return False
    for node in topology.nodes.values():
        if node.alive:
            release(session, node.name)
    return True


def untouched(primary: Mapping[str, Any], stale: Mapping[str, Any]) -> bool:
    """Whether a node that was promoted out of the primary's history has taken no write since (views as in the
    topology)."""
    same = stale.get("replid2") == primary.get("replid") and bool(stale.get("replid2"))
    return same and int(stale.get("offset", 0)) < int(stale.get("second_offset", -1))


def follow(session: Session, name: str, primary: str, handed_over: bool = False) -> bool:
    """Make a node follow another, remember it, and send its clients away. Whether it did.

    ``handed_over``: this switchover held the node's writers until the other had all that it has.
    """
    node, target = session.nodes[name], session.nodes[primary]
    for _attempt in (1, 2):
        try:
            with suppress(*CONNECTION_ERRORS):
                views = ({}, {}) if handed_over else (session.view(node), session.view(target))
                tell = partial(session.tell, node)
                replicaof(tell, (target.host, target.port), *views, kept=handed_over)
        except LifelineError as refusal:
            session.warnings.append(f"{name}: {refusal}; recover.yml keeps a copy first, then lets it follow.")
            return False
        role = session.role(node)
        if role != "master":
            break
    if role == "slave":
        send_away(session, name)
    return role == "slave"


def send_away(session: Session, name: str) -> None:
    """Close a former primary's clients, who then look for the new one, and write its role to its configuration."""
    node = session.nodes[name]
    for words in (
        ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
        ("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"),
        ("CONFIG", "REWRITE"),
    ):
        with suppress(*CONNECTION_ERRORS):
            session.tell(node, *words)


def release(session: Session, name: str) -> None:
    """Let writers go on. The pause ends by itself in any case."""
    with suppress(*CONNECTION_ERRORS):
        session.tell(session.nodes[name], "CLIENT", "UNPAUSE")


def restore_priorities(session: Session, wanted: dict[str, int]) -> None:
    """Set priorities back, in the configuration file too, where Sentinel may have written the raised ones."""
    for name, value in wanted.items():
        try:
            session.tell(session.nodes[name], "CONFIG", "SET", "replica-priority", own_priority(value))
            session.tell(session.nodes[name], "CONFIG", "REWRITE")
        except CONNECTION_ERRORS:
            session.warnings.append(
                f"replica-priority of {name} could not be set back to {own_priority(value)}: run this again."
            )


class Guard:
    """A process that outlives the module when it is killed, and then does what the next run would do.

    Without it, a module that dies between asking Sentinel and demoting the old primary leaves that one writable for
    seconds, and each write that it takes is lost.
    """

    def __init__(self, session: Session, held: str) -> None:
        self._session, self._held = session, held
        ours, self._end = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            self._watch(ours)
        os.close(ours)

    def dismiss(self) -> None:
        """The module got to its end: nothing to guard any more."""
        with suppress(OSError):  # somebody killed it
            os.write(self._end, b"done")
        os.close(self._end)
        os.waitpid(self._child, 0)

    def _watch(self, ours: int) -> NoReturn:
        """In the child."""
        try:
            os.setsid()
            os.close(self._end)
            void = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(void, stream)
            if os.read(ours, 4) == b"done":
                os._exit(0)
            time.sleep(BREATH_S)
            self._session.forget()
            self._session.deadline = time.monotonic() + SETTLE_S
            settle(self._session, self._held)
        finally:
            os._exit(0)


def settle(session: Session, held: str) -> None:
    """Without knowing how far the module came: let Sentinel finish what it was asked, then tidy."""

    def settled() -> Optional[Topology]:
        topology = session.look()
        busy = any(watcher.view.get("failover") for watcher in topology.watchers_alive)
        return None if busy or topology.state != AGREED else topology

    topology = wait(settled, SETTLE_S, POLL_S)
    if topology is not None:
        tidy(session, topology, held)
    release(session, held)
    restore_priorities(session, raised(session.look()))
    sentinels.calm(session, sentinels.hurried(session))

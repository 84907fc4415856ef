# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give an estate whose primary is dead a new one, through Sentinel where there is one, else by replication commands.

The replica with the most data wins; what may be missing is told, in bytes where any copy shows it, else in seconds.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ...common.client import CONNECTION_ERRORS, reason
from ...diagnose.liveness import PING_S
from ...diagnose.topology import AGREED, Node, Topology
from ...errors import LifelineError
from ...plan.candidates import (
    candidates,
    living,
    loss_bytes,
    own_priority,
    silent_seconds,
    to_raise,
    unplanned_refusals,
    unproven,
    why_none,
    why_not,
)
from ..replicate import at_stake, replicaof
from . import sentinels
from .session import POLL_S, Session, endpoint_of, wait
from .tidy import restore_priorities

# How long to leave a sentinel that refused before asking it again, in seconds.
ASK_AGAIN_S = 0.5

# After down-after, sentinels agree and vote within about 1.3 s (measurement N1); this leaves room for a slow host.
SENTINEL_GRACE_S = 15.0


class Promotion:
    """One promotion in place of a dead primary."""

    def __init__(self, session: Session, topology: Topology, params: Mapping[str, Any]) -> None:
        self.session, self.topology = session, topology
        self.wanted: Optional[str] = None if params["primary"] == "any" else params["primary"]
        self.confirmed_dead: bool = params["confirmed_dead"]
        self.most_loss: int = params["max_data_loss_bytes"]
        self.force: bool = params["force_data_loss"]
        self.accepted: list[str] = params["accept_unreachable"]
        self.refused: list[str] = []
        self.raise_to: dict[str, int] = {}

    def run(self, check: bool) -> dict[str, Any]:
        """Refuse, or say what would be done, or do it. Raises LifelineError."""
        by_hand = not self.session.sentinels
        found = self._living(by_hand)
        if found:
            raise self._refusal(found)
        best = self._best()
        found = unplanned_refusals(self.topology, best, self.most_loss, self.force, self.accepted, by_hand)
        found += unproven(self.topology, self.confirmed_dead, self.accepted) if by_hand else []
        if found:
            raise self._refusal(found)
        loss = {"loss_bytes": loss_bytes(self.topology, best), "loss": self._loss(best)}
        result = self.by_replication(best, check) if by_hand else self.through_sentinel(best, check)
        return {**loss, **result}

    def _refusal(self, found: Sequence[str]) -> LifelineError:
        return LifelineError(
            f"Estate {self.session.service}: nothing was promoted: {'; '.join(found)}.", refusals=list(found)
        )

    def _living(self, by_hand: bool) -> list[str]:
        """Why nobody may be promoted beside somebody who lives, whatever the caller holds for confirmed.

        What is only hearsay is waited for: links count as up for a while after a power cut. With Sentinel, the
        sentinels have to agree first that the primary is down, and then it is asked again.
        """
        found = living(self.topology)
        if not found:
            return []
        old = self.topology.nodes.get(self.topology.last_primary or "")
        if self.confirmed_dead and old is not None:
            self.session.proven = [old.name]
        elif old is not None and old.stuck:
            if not by_hand:
                return []
            wait(self._silent, min(PING_S + 1.0, self.session.left()))
        self.topology = self.session.look()
        return living(self.topology)

    def _silent(self) -> Optional[bool]:
        return None if living(self.session.look()) else True

    def _best(self) -> Node:
        """Whom to promote. Raises LifelineError when there is nobody."""
        fit = candidates(self.topology)
        if self.wanted:
            node = self.topology.nodes[self.wanted]
            why = why_not(self.topology, node)
            if why:
                raise LifelineError(f"Estate {self.session.service}: {why}, so it was not promoted.", refusals=[why])
            return node
        if not fit:
            raise LifelineError(
                f"Estate {self.session.service} has no replica fit to be promoted: {why_none(self.topology)}.",
                refusals=[why_none(self.topology)],
            )
        return fit[0]

    def _loss(self, best: Node) -> str:
        old, age = self.topology.last_primary or "the old primary", silent_seconds(best)
        return (
            f"Writes that {old} took and had not sent to {best.name} (last heard {age} s before) may be missing; "
            f"of what other copies hold, {loss_bytes(self.topology, best)} bytes are."
        )

    # --- with Sentinel ------------------------------------------------------------------------------------------

    def through_sentinel(self, best: Node, check: bool) -> dict[str, Any]:
        """Ask a sentinel to fail over now when the primary is known dead, else let them see it themselves first."""
        topology, session = self.topology, self.session
        if not topology.majority:
            raise LifelineError(
                f"Only {len(topology.watchers_alive)} of {len(session.sentinels)} sentinels of {session.service} "
                "answer; a failover by a minority makes a second primary, so nothing was done. Bring the sentinels "
                "back first."
            )
        command = f"SENTINEL FAILOVER {session.service}"
        if check:
            planned = endpoint_of(topology, self.wanted)
            return {"changed": True, "primary": planned, "commands": [command], "plan": [command], "state": "kept"}
        try:
            self._lead_to(best)
            primary = self._promoted(command)
        finally:
            restore_priorities(session, self.raise_to)
        if primary is None:
            why = "; ".join(self.refused) or "see their logs for -failover-abort lines"
            raise LifelineError(
                f"No node of {session.service} became primary within {session.timeout:.0f} s. The sentinels say: {why}."
                " Run recover.yml again, or see with SENTINEL REPLICAS why each replica is not good.",
                commands=session.sent,
            )
        return {"changed": True, "primary": primary, "commands": session.sent, "state": "switched"}

    def _lead_to(self, best: Node) -> None:
        """Sentinel goes by priority first, then by data: where that is not our order, it is told by priorities."""
        rivals = [node for node in candidates(self.topology) if node.name != best.name]
        least = min((own_priority(int(node.view.get("priority", 100))) for node in rivals), default=None)
        mine = own_priority(int(best.view.get("priority", 100)))
        if least is None or (not self.wanted and mine <= least):
            return
        self.raise_to = to_raise(self.topology, best.name)
        for name, value in self.raise_to.items():
            self.session.tell(self.session.nodes[name], "CONFIG", "SET", "replica-priority", value)
        sentinels.await_priorities(self.session, self.raise_to)

    def _promoted(self, command: str) -> Optional[dict[str, Any]]:
        topology = self.topology
        if not (self.confirmed_dead or self._agreed_down(topology)):
            down_after = max(watcher.view.get("down_after_ms", 0) for watcher in topology.watchers_alive) / 1000
            if wait(self._promoted_or_down, min(down_after + SENTINEL_GRACE_S, self.session.left())) is None:
                raise LifelineError(
                    f"The sentinels of {self.session.service} did not agree within {down_after + SENTINEL_GRACE_S:.0f} "
                    "s that the primary is down; nothing was done. Look at what they see with SENTINEL CKQUORUM, and "
                    "at the network between them.",
                    commands=self.session.sent,
                )
        return self._ask_until_promoted(command)

    def _agreed_down(self, topology: Topology) -> bool:
        down = [
            watcher for watcher in topology.watchers_alive if watcher.view.get("down") or watcher.view.get("failover")
        ]
        return len(down) * 2 > len(self.session.sentinels)

    def _promoted_or_down(self) -> Optional[bool]:
        return True if live_primary(self.session) is not None or self._agreed_down(self.session.look()) else None

    def _ask_until_promoted(self, command: str) -> Optional[dict[str, Any]]:
        """The new primary, or None when time runs out.

        A sentinel that has just seen the primary go answers NOGOODSLAVE until its view of the replicas is younger than
        5 s (Sentinel's source; seen in the tests), so it is asked again; meanwhile it may fail over by itself. Beside a
        primary that still gives a sign of life it is never asked: what it does then is its own decision.
        """
        next_ask = 0.0
        while self.session.left():
            primary = live_primary(self.session)
            if primary is not None:
                return primary
            if time.monotonic() >= next_ask:
                accepted = self._ask_failover(command)
                next_ask = time.monotonic() + (SENTINEL_GRACE_S if accepted else ASK_AGAIN_S)
            time.sleep(POLL_S)
        return None

    def _ask_failover(self, command: str) -> bool:
        """Whether a sentinel took it; one is enough, and a failover under way already is what we want."""
        self.refused = living(self.session.look())
        if self.refused:
            return False
        self.session.sent.append(command)
        for watcher in self.topology.watchers_alive:
            if not watcher.view.get("quorum_ok"):
                self.refused.append(f"{watcher.name}: {watcher.view.get('quorum_text')}")
                continue
            try:
                self.session.ask(self.session.sentinels[watcher.name], "SENTINEL", "FAILOVER", self.session.service)
                return True
            except CONNECTION_ERRORS as error:
                if "INPROG" in str(error):
                    return True
                self.refused.append(f"{watcher.name}: {reason(error)}")
        return False

    # --- without Sentinel ---------------------------------------------------------------------------------------

    def by_replication(self, best: Node, check: bool) -> dict[str, Any]:
        """No Sentinel: promote the replica with most data, point the other ones at it, and make both last a restart."""
        alive = [node for node in self.topology.nodes.values() if node.alive and node.name != best.name]
        stakes = {node.name: at_stake(node.view, best.view) for node in alive}
        others = [node for node in alive if not stakes[node.name]]
        self.session.warnings += [
            f"{name} was not pointed at {best.name}, since {why}: recover.yml keeps a copy first, then lets it follow."
            for name, why in stakes.items()
            if why
        ]
        commands = [f"{best.name}: REPLICAOF NO ONE"]
        commands += [f"{node.name}: REPLICAOF {best.host} {best.port}" for node in others]
        result = {"changed": True, "primary": endpoint_of(self.topology, best.name), "commands": commands}
        if check:
            return {**result, "plan": commands, "state": "kept"}
        with self._said(best, "REPLICAOF NO ONE") as tell:
            tell("REPLICAOF", "NO", "ONE")
        promoted = self.session.nodes[best.name]
        for node in others:
            with self._said(node, f"REPLICAOF {best.host} {best.port}") as tell:
                views = (self.session.view(self.session.nodes[node.name]), self.session.view(promoted))
                replicaof(tell, (best.host, best.port), *views)
        return {**result, "state": "switched"}

    @contextmanager
    def _said(self, node: Node, command: str) -> Iterator[Callable[..., Any]]:
        """Tell a server to change its role, and have it remember that."""
        tell = partial(self.session.tell, self.session.nodes[node.name])
        try:
            yield tell
            tell("CONFIG", "REWRITE")
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"{command} failed on {node.name} ({node.host}:{node.port}): {reason(error)}; "
                "run recover.yml again to go on from here."
            ) from error


def live_primary(session: Session) -> Optional[dict[str, Any]]:
    """The live primary if there is just one and (with Sentinel) their majority names it."""
    topology = session.look()
    if topology.state != AGREED:
        return None
    named: Sequence[Any] = [watcher for watcher in topology.watchers_alive if watcher.names == topology.primary]
    if session.sentinels and len(named) * 2 <= len(session.sentinels):
        return None
    return topology.endpoint

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move the primary of a healthy estate without losing a write, or leave it where it is.

Writers wait (CLIENT PAUSE) from before the offsets are compared until the old primary follows the new one, so there is
no moment at which both take writes. Every pause ends by itself.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import Any, Optional, Sequence

from ...common.client import CONNECTION_ERRORS, Endpoint, answered, reason
from ...diagnose.topology import Node, Topology
from ...errors import LifelineError
from ...plan.candidates import down_after_ms, may_pass, planned_refusals, raised, to_raise
from ..replicate import replicaof
from . import sentinels
from .session import QUICK_S, Session, endpoint_of, wait
from .tidy import Guard, follow, release, restore_priorities, send_away, tidy, untouched

# The two states that a run ends in.
KEPT = "kept"  # the primary is who it was, and takes writes
SWITCHED = "switched"  # the target is primary, and the old one does not take writes any more

# The longest pause for comparing offsets, and what Sentinel needs of down-after for itself, in milliseconds.
MOST_PAUSE_MS = 5000
SENTINEL_SHARE_MS = 1000

# Once Sentinel has the order, the old primary must not take writes again before it follows. Sentinel itself sees to
# that after 11 s at the latest (measured), if neither this process nor its guard lives to do it.
HOLD_MS = 15000

# What writers will notice, in milliseconds, by the way that is taken (measured on two cores).
EXPECTED_MS = {"sentinel": 500, "failover": 250, "replication": 50}

# How long replicas may take to follow the new primary before they are told again, in seconds.
URGE_S = 2.0

# How long the estate may take to finish what it is doing before we refuse, in seconds: a save, a resync, the end of a
# failover. Looking again costs one round of INFO.
CALM_S = 20.0
CALM_POLL_S = 0.5


class Switch:
    """One planned switch to ``target``."""

    def __init__(self, session: Session, topology: Topology, target: Node, stable: float) -> None:
        self.session, self.topology, self.stable = session, topology, stable
        self.target = target
        self.old = topology.nodes[str(topology.primary)]
        self.here, self.there = session.nodes[self.old.name], session.nodes[target.name]
        self.raise_to = to_raise(topology, target.name) if session.sentinels else {}
        self.state = KEPT
        self.paused_at: Optional[float] = None
        self.pause_ms: Optional[int] = None
        self.accepted = False
        self.leader: Optional[Endpoint] = None
        self.failover_timeout = ""
        budget = down_after_ms(topology) - SENTINEL_SHARE_MS if session.sentinels else MOST_PAUSE_MS
        self.budget_ms = max(0, min(MOST_PAUSE_MS, budget))

    def run(self, check: bool) -> dict[str, Any]:
        """Refuse, or say what would be done, or do it. Raises LifelineError, with ``state`` in its result."""
        way = self.way()
        refusals = self.refusals()
        if may_pass(refusals):
            wait(self._calm, min(CALM_S, self.session.left() / 2), CALM_POLL_S)
            refusals = self.refusals()
        if refusals:
            raise LifelineError(
                f"Estate {self.session.service}: {self.target.name} cannot take over from {self.old.name} now, and "
                f"nothing was changed: {'; '.join(refusals)}.",
                state=KEPT, refusals=refusals, primary=endpoint_of(self.topology, self.old.name),
            )  # fmt: skip
        plan = self.steps(way)
        if check:
            return {
                "changed": True, "state": KEPT, "primary": endpoint_of(self.topology, self.target.name),
                "commands": plan, "plan": plan, "expected_pause_ms": EXPECTED_MS[way],
            }  # fmt: skip
        before = self._resyncs()
        self.carry_out(way)
        self.verify()
        full, partial = (after - earlier for after, earlier in zip(self._resyncs(), before))
        return {
            "changed": True, "state": self.state, "primary": endpoint_of(self.topology, self.target.name),
            "commands": self.session.sent, "plan": plan, "expected_pause_ms": EXPECTED_MS[way],
            "pause_ms": self.pause_ms, "full_resyncs": full, "partial_resyncs": partial, "loss_bytes": 0,
        }  # fmt: skip

    def way(self) -> str:
        """sentinel, failover (the command) or replication (step by step).

        Valkey 9's SENTINEL FAILOVER ... COORDINATED is not used: it pauses writers longer (0.96 s, here 0.62), does
        nothing when Sentinel's user lacks a right, and sentinels of 9.1.0 crash in it.
        """
        if self.session.sentinels:
            return "sentinel"
        with suppress(*CONNECTION_ERRORS):
            if self.session.ask(self.here, "COMMAND INFO", "FAILOVER")[0]:
                return "failover"
        return "replication"

    def look_closer(self) -> dict[str, Any]:
        """What the topology does not say of the primary: ``{busy, links}``, see ``planned_refusals``."""
        busy, links = [], {}
        with suppress(*CONNECTION_ERRORS):
            info = self.session.info(self.here)
            words = {"rdb_bgsave_in_progress": "saving a snapshot", "aof_rewrite_in_progress": "rewriting its AOF"}
            busy = [text for field, text in words.items() if info.get(field)]
            ages = {entry.get("addr"): int(entry.get("age", 0)) for entry in self._replica_connections()}
            links = _link_ages(info, ages)
        return {"busy": busy, "links": links}

    def _replica_connections(self) -> list[dict[str, Any]]:
        found = self.session.ask(self.here, "CLIENT LIST", "TYPE", "replica")
        return found if isinstance(found, list) else []

    def refusals(self) -> list[str]:
        """What stands against it, by the topology as it was seen last."""
        return planned_refusals(self.topology, self.target, self.stable, self.look_closer())

    def _calm(self) -> Optional[bool]:
        """True once nothing stands against it, or something that waiting does not repair.

        Raises LifelineError when there is another primary by then.
        """
        found = self.session.look()
        if found.primary != self.old.name:
            raise LifelineError(
                f"Estate {self.session.service}: {self.old.name} was primary a moment ago, "
                f"and {found.primary or 'nobody'} is now; nothing was changed. Run this again."
            )
        self.topology, self.target = found, found.nodes[self.target.name]
        return None if may_pass(self.refusals()) else True

    def steps(self, way: str) -> list[str]:
        """The plan, a line a step."""
        old, target = self.old.name, self.target.name
        lines = [f"{name}: replica-priority {value}, until it is over" for name, value in sorted(self.raise_to.items())]
        hold = [f"{old}: pause writes for {self.budget_ms} ms at most, until {target} has all of them"]
        close = [f"{old}: follow {target}, close its clients, end the pause"]
        if way == "sentinel":
            lines += [*hold, f"SENTINEL FAILOVER {self.session.service}, until all sentinels name {target}", *close]
        elif way == "failover":
            lines += [f"{old}: FAILOVER TO {target}, writes wait for {self.budget_ms} ms at most"]
        else:
            lines += [*hold, f"{target}: stop following", *close]
        others = [name for name in self.session.nodes if name not in (old, target)]
        if others and not self.session.sentinels:
            lines.append(f"{', '.join(others)}: follow {target}")
        return lines

    def carry_out(self, way: str) -> None:
        """Do it. However it ends, writers go on and priorities are what they were."""
        guard = Guard(self.session, self.old.name)
        try:
            if self.session.sentinels:
                self.failover_timeout = sentinels.failover_timeout(
                    self.session, next(iter(self.session.sentinels.values()))
                )
            for name, value in self.raise_to.items():
                self.session.tell(self.session.nodes[name], "CONFIG", "SET", "replica-priority", value)
            sentinels.await_priorities(self.session, self.raise_to)
            {
                "sentinel": self.through_sentinel,
                "failover": self.by_command,
                "replication": self.by_replication,
            }[way]()
        except CONNECTION_ERRORS as error:
            raise self._failed(reason(error)) from error
        except LifelineError as error:
            raise self._failed(str(error)) from error
        finally:
            self._let_go()
            restore_priorities(self.session, {**self.raise_to, **raised(self.topology)})
            sentinels.calm(self.session, sentinels.hurried(self.session), self.failover_timeout)
            guard.dismiss()

    def _failed(self, why: str) -> LifelineError:
        primary = self.target if self.state == SWITCHED else self.old
        todo = (
            f"{self.target.name} is the primary now; run recover.yml to bring the others to it"
            if self.state == SWITCHED
            else f"{self.old.name} is still the primary; when the cause is gone, run this again"
        )
        return LifelineError(
            f"Estate {self.session.service}: the switch from {self.old.name} to {self.target.name} was cut short: "
            f"{why.rstrip('.')}. {todo}.",
            state=self.state, primary=endpoint_of(self.topology, primary.name), commands=self.session.sent,
        )  # fmt: skip

    def _let_go(self) -> None:
        if self.paused_at is None:
            return
        if self.accepted and self.state == KEPT and self.leader is not None:
            self._withdraw(self.leader)
        release(self.session, self.old.name)
        self.pause_ms = round((time.monotonic() - self.paused_at) * 1000)
        self.paused_at = None

    def _withdraw(self, leader: Endpoint) -> None:
        """The failover was not done in time: it must not be done later, when the old primary takes writes again."""
        if not sentinels.cancel(self.session, leader):
            self.session.warnings.append(
                f"Sentinel {leader.name} may still be failing over to {self.target.name}: look at its log."
            )
        if self.session.role(self.there) != "master":
            return
        if self._any_names((self.target.host, self.target.port)):
            self.close()
        else:  # the sentinel that promoted it died before it told the others, who would make it a replica again
            self._take_back()

    def _take_back(self) -> None:
        with suppress(*CONNECTION_ERRORS):
            if untouched(self.session.view(self.here), self.session.view(self.there)):
                follow(self.session, self.target.name, self.old.name, handed_over=True)
                return
        self.session.warnings.append(
            f"{self.target.name} is a primary too now, and has data of its own: run recover.yml."
        )

    # --- the ways ---------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Make writers wait until the target has every byte. Raises LifelineError when it has not in time."""
        self.paused_at = time.monotonic()
        self.session.tell(self.here, "CLIENT", "PAUSE", self.budget_ms, "WRITE")
        info = self.session.ask(self.here, "INFO", "replication")
        if info.get("role") != "master":
            raise LifelineError(f"{self.old.name} is no primary any more")
        history, offset = info["master_replid"], int(info["master_repl_offset"])
        behind = 0

        def equal() -> Optional[bool]:
            nonlocal behind
            theirs = self.session.ask(self.there, "INFO", "replication")
            behind = offset - int(theirs.get("slave_repl_offset", 0))
            return True if theirs["master_replid"] == history and behind <= 0 else None

        patience = self.budget_ms / 2000
        if wait(equal, patience, QUICK_S) is None:
            raise LifelineError(f"{self.target.name} was still {behind} bytes behind after {patience:.1f} s of pause")

    def _held_s(self) -> float:
        return time.monotonic() - (self.paused_at or time.monotonic())

    def through_sentinel(self) -> None:
        """Pause, compare, let Sentinel promote, then demote the old primary at once instead of 11 s later."""
        asked = sentinels.best_moment(self.session, self.there, self.session.left() / 2)
        self.hold()
        limit = (self.budget_ms + SENTINEL_SHARE_MS / 2) / 1000
        for self.leader in asked:
            if not self._order(self.leader, ("SENTINEL", "FAILOVER", self.session.service)):
                continue
            # A pause that ended before the old primary follows would let it take writes that are then lost.
            with suppress(*CONNECTION_ERRORS):
                self.session.tell(self.here, "CLIENT", "PAUSE", HOLD_MS, "WRITE")
            if self._handed_over(self.leader, limit):
                self.close()
                return
            if self._held_s() >= limit or self.session.role(self.there) == "silent":
                break
        raise LifelineError(
            f"no sentinel promoted {self.target.name} within {self._held_s():.1f} s "
            f"({'; '.join(self.session.warnings) or 'see their logs'})"
        )

    def _order(self, leader: Endpoint, words: Sequence[str]) -> bool:
        """Whether a sentinel took the order, or may have taken it."""
        try:
            self.session.tell(leader, *words)
        except CONNECTION_ERRORS as error:
            self.session.warnings.append(f"{leader.name}: {reason(error)}")
            if answered(error) or reason(error).startswith("refused"):
                return False
        self.accepted = True
        return True

    def _handed_over(self, leader: Endpoint, limit: float) -> bool:
        """Whether all sentinels that answer, a majority, name the target.

        False as soon as the target or the sentinel that was asked is dead: writers wait, and Sentinel must not take the
        pause for an outage.
        """
        wanted = (self.target.host, self.target.port)
        hurried = False
        while self._held_s() < limit:
            role = self.session.role(self.there)
            if role == "master":
                self._demote()
            if role == "master" and not hurried and sentinels.named(self.session, leader) == wanted:
                hurried = True
                sentinels.end_at_once(self.session, leader)
            names = {peer: sentinels.watched(self.session, peer) for peer in self.session.sentinels.values()}
            answers = [name for name in names.values() if name is not None]
            if len(answers) * 2 > len(names) and all(name == wanted for name in answers):
                return True
            if names[leader] is None and wanted not in answers:
                self.session.warnings.append(f"{leader.name} stopped answering after it was asked to fail over")
                return False
            if wanted not in answers and role == "silent":
                self.session.warnings.append(f"{self.target.name} stopped answering")
                return False
            time.sleep(QUICK_S)
        return self.session.role(self.there) == "master" and self._any_names(wanted)

    def _any_names(self, wanted: tuple[str, int]) -> bool:
        return any(sentinels.named(self.session, peer) == wanted for peer in self.session.sentinels.values())

    def _demote(self) -> None:
        """The old primary follows at once: it pings its replicas every 10 s, in a pause too, and a ping that the new
        primary has not got costs a full resync of everybody (seen in the benchmark)."""
        if self.state == KEPT:
            self.state = SWITCHED
            with suppress(*CONNECTION_ERRORS):
                tell = partial(self.session.tell, self.here)
                replicaof(tell, (self.there.host, self.there.port), {}, {}, kept=True)  # writers wait, nothing is left

    def close(self) -> None:
        """The target is primary: the old one follows it, and its clients go and look for the new one."""
        self.state = SWITCHED
        if self.session.role(self.here) == "slave":
            send_away(self.session, self.old.name)
        elif not follow(self.session, self.old.name, self.target.name, handed_over=True):
            self.session.warnings.append(
                f"{self.old.name} did not answer when it was told to follow {self.target.name}: keep it stopped, or "
                "run recover.yml when it is back."
            )

    def by_command(self) -> None:
        """FAILOVER: the primary pauses, waits for the target, demotes itself, hands over; or rolls back by itself."""
        words = ("FAILOVER", "TO", self.target.host, self.target.port, "TIMEOUT", self.budget_ms)
        self.paused_at = time.monotonic()
        self.session.tell(self.here, *words)
        if wait(self._taken_over, self.budget_ms / 1000 + 2.0, QUICK_S) is None:
            with suppress(*CONNECTION_ERRORS):
                self.session.tell(self.here, "FAILOVER", "ABORT")
            if wait(self._taken_over, 1.0, QUICK_S) is None:
                raise LifelineError(f"{self.target.name} did not take over within {self._held_s():.1f} s")
        if self.session.role(self.there) != "master":
            raise LifelineError(f"{self.old.name} gave the handover up, see its log")
        self.state = SWITCHED
        self.pause_ms = round(self._held_s() * 1000)
        send_away(self.session, self.old.name)
        self._bring_others()

    def _taken_over(self) -> Optional[bool]:
        """True once the handover is over, one way or the other."""
        try:
            info = self.session.ask(self.here, "INFO", "replication")
        except CONNECTION_ERRORS:
            return True if self.session.role(self.there) == "master" else None
        return True if info.get("master_failover_state", "no-failover") == "no-failover" else None

    def by_replication(self) -> None:
        """Servers without FAILOVER: the same steps by hand."""
        self.hold()
        self.session.tell(self.here, "CLIENT", "PAUSE", HOLD_MS, "WRITE")
        self.session.tell(self.there, "REPLICAOF", "NO", "ONE")
        self.close()
        self._bring_others()

    def _bring_others(self) -> None:
        """Without Sentinel nobody else tells the other replicas, nor writes down who is primary."""
        with suppress(*CONNECTION_ERRORS):
            self.session.tell(self.there, "CONFIG", "REWRITE")
        for name in self.session.nodes:
            if name not in (self.old.name, self.target.name):
                follow(self.session, name, self.target.name)

    # --- afterwards -------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Every node follows the target, with its link up. Raises LifelineError when one does not."""
        astray: list[str] = []
        patience = time.monotonic() + URGE_S

        def whole() -> Optional[bool]:
            topology = self.session.look()
            if self.old.name in topology.stale:
                tidy(self.session, topology, self.old.name)
            elif time.monotonic() > patience:
                self._urge(topology)
            astray[:] = [
                node.name
                for node in topology.nodes.values()
                if node.name != self.target.name and not (node.follows == self.target.name and node.link_up)
            ]
            return True if not astray and topology.primary == self.target.name else None

        if wait(whole, max(5.0, self.session.left())) is None:
            raise self._failed(f"{', '.join(astray) or 'nobody'} does not follow {self.target.name} yet")

    def _urge(self, topology: Topology) -> None:
        """Sentinel told the other replicas once; one that did not hear it would be told again minutes later."""
        for node in topology.nodes.values():
            if node.alive and node.role == "replica" and node.follows != self.target.name != node.name:
                follow(self.session, node.name, self.target.name)

    def _resyncs(self) -> tuple[int, int]:
        """Full and partial resynchronizations that the nodes have served since they started."""
        full = partial = 0
        for node in self.session.nodes.values():
            with suppress(*CONNECTION_ERRORS):
                info = self.session.ask(node, "INFO", "stats")
                full += int(info.get("sync_full", 0))
                partial += int(info.get("sync_partial_ok", 0))
        return full, partial


def _link_ages(info: dict[str, Any], ages: dict[Any, int]) -> dict[str, int]:
    """How long each replica has been connected, in seconds, by its address as the primary knows it.

    The connection's own address has another port than the replica; where one host runs several, the youngest counts.
    """
    found = {}
    for name, value in info.items():
        if name.startswith("slave") and isinstance(value, dict) and "ip" in value:
            mine = [age for address, age in ages.items() if str(address).rpartition(":")[0].strip("[]") == value["ip"]]
            found[f"{value['ip']}:{value['port']}"] = min(mine, default=0)
    return found

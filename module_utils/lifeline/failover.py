# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give an estate whose primary is dead a new one, through Sentinel where there is one, else by replication commands."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional, Sequence

from .client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from .errors import LifelineError
from .observe import collect, endpoints
from .plan import good_replicas
from .topology import AGREED, DISPUTED, Node, Topology, build

# How often a condition is looked at again, in seconds.
POLL_S = 0.05

# How long to leave a sentinel that refused before asking it again, in seconds.
ASK_AGAIN_S = 0.5

# After down-after, sentinels agree and vote within about 1.3 s (measurement N1); this leaves room for a slow host.
SENTINEL_GRACE_S = 15.0


def ensure_primary(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_failover``: see its documentation for ``params`` and for what is returned.

    Raises LifelineError when the estate is split, when no candidate is good, or when time runs out.
    """
    job = _Job(params)
    topology = job.look()
    if topology.state == AGREED:
        return job.settled(topology, check)
    if topology.state == DISPUTED:
        raise LifelineError(
            f"Estate {job.service} has no single primary: {'; '.join(topology.reasons)}; nothing was changed. "
            "Decide which node holds the truth and stop the other one."
        )
    candidates = good_replicas(topology)
    old = topology.last_primary
    if not candidates and not any(watcher.view.get("failover") for watcher in topology.watchers_alive):
        raise LifelineError(f"Estate {job.service} has no replica fit to be promoted: {why_no_candidate(topology)}")
    if job.sentinels:
        return job.through_sentinel(topology, check)
    return job.by_replication(topology, candidates, old, check)


def why_no_candidate(topology: Topology) -> str:
    """One clause a node: why it can not be promoted."""
    clauses = []
    for node in topology.nodes.values():
        if node.name == topology.last_primary:
            continue
        if not node.alive:
            clauses.append(f"{node.name} does not answer ({node.error or 'not asked'})")
        elif node.role != "replica":
            clauses.append(f"{node.name} is no replica")
        elif node.view.get("priority", 100) == 0:
            clauses.append(f"{node.name} has replica-priority 0")
        elif node.view.get("loading") or (node.view.get("primary") or {}).get("syncing"):
            clauses.append(f"{node.name} is still loading its data")
    return "; ".join(clauses) or "it has no replicas"


class _Job:
    """One run: whom to ask, as whom, until when."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.nodes = endpoints(params["nodes"])
        self.sentinels = endpoints(params["sentinels"] or [])
        self.service: str = params["service"]
        self.credentials = Credentials.from_params(params)
        self.confirmed_dead: bool = params["confirmed_dead"]
        self.deadline = time.monotonic() + float(params["timeout"])
        self.timeout = float(params["timeout"])
        self.refused: list[str] = []

    def look(self) -> Topology:
        """The live topology, from this host's vantage point."""
        evidence = collect("here", self.nodes, self.sentinels, self.service, self.credentials)
        return build([evidence], self._plain(self.nodes), self._plain(self.sentinels), self.service)

    @staticmethod
    def _plain(servers: Sequence[Endpoint]) -> list[dict[str, Any]]:
        return [{"name": server.name, "host": server.host, "port": server.port} for server in servers]

    def settled(self, topology: Topology, check: bool) -> dict[str, Any]:
        """There is a live primary; a failover that Sentinel has not finished is waited for, and nothing is sent."""
        primary = topology.endpoint
        if not check and any(watcher.view.get("failover") for watcher in topology.watchers_alive):
            primary = self._wait(self._primary, self._left())
            if primary is None:
                raise LifelineError(
                    f"Sentinel did not finish its failover of {self.service} within {self.timeout:.0f} s; "
                    "nothing was sent. "
                    "Look at the sentinels' logs, then run recover.yml again."
                )
        return {"changed": False, "primary": primary, "commands": []}

    def through_sentinel(self, topology: Topology, check: bool) -> dict[str, Any]:
        """Ask a sentinel to fail over now when the primary is known dead, else let them see it themselves first."""
        if not topology.majority:
            raise LifelineError(
                f"Only {len(topology.watchers_alive)} of {len(self.sentinels)} sentinels of {self.service} "
                "answer; a failover by "
                "a minority makes a second primary, so nothing was done. Bring the sentinels back first."
            )
        if check:
            return {"changed": True, "primary": None, "commands": [f"SENTINEL FAILOVER {self.service}"]}
        sent: list[str] = []
        if not (self.confirmed_dead or self._agreed_down(topology)):
            down_after = max(watcher.view.get("down_after_ms", 0) for watcher in topology.watchers_alive) / 1000
            found = self._wait(self._promoted_or_down, min(down_after + SENTINEL_GRACE_S, self._left()))
            if found is None:
                raise LifelineError(
                    f"The sentinels of {self.service} did not agree within {down_after + SENTINEL_GRACE_S:.0f} "
                    "s that the "
                    "primary is down; nothing was done. Look at what they see with SENTINEL CKQUORUM, and at "
                    "the network "
                    "between them.",
                    commands=sent,
                )
        primary = self._ask_until_promoted(topology, sent)
        if primary is None:
            why = "; ".join(self.refused) or "see their logs for -failover-abort lines"
            raise LifelineError(
                f"No node of {self.service} became primary within {self.timeout:.0f} s. The sentinels say: {why}. "
                "Run recover.yml again, or see with SENTINEL REPLICAS why each replica is not good.",
                commands=sent,
            )
        return {"changed": True, "primary": primary, "commands": sent}

    def _agreed_down(self, topology: Topology) -> bool:
        down = [
            watcher for watcher in topology.watchers_alive if watcher.view.get("down") or watcher.view.get("failover")
        ]
        return len(down) * 2 > len(self.sentinels)

    def _promoted_or_down(self) -> Optional[bool]:
        return True if self._primary() is not None or self._agreed_down(self.look()) else None

    def _ask_until_promoted(self, topology: Topology, sent: list[str]) -> Optional[dict[str, Any]]:
        """The new primary, or None when time runs out.

        A sentinel that has just seen the primary go answers NOGOODSLAVE until its view of the replicas is younger than
        5 s (Sentinel's source; seen in the tests), so it is asked again; meanwhile it may fail over by itself.
        """
        next_ask = 0.0
        while time.monotonic() < self.deadline:
            primary = self._primary()
            if primary is not None:
                return primary
            if time.monotonic() >= next_ask:
                sent.append(f"SENTINEL FAILOVER {self.service}")
                accepted = self._ask_failover(topology)
                next_ask = time.monotonic() + (SENTINEL_GRACE_S if accepted else ASK_AGAIN_S)
            time.sleep(POLL_S)
        return None

    def _ask_failover(self, topology: Topology) -> bool:
        """Whether a sentinel took it; one is enough, and a failover under way already is what we want."""
        self.refused = []
        for watcher in topology.watchers_alive:
            if not watcher.view.get("quorum_ok"):
                self.refused.append(f"{watcher.name}: {watcher.view.get('quorum_text')}")
                continue
            client = connect(Endpoint(watcher.host, watcher.port), self.credentials)
            try:
                client.execute_command("SENTINEL", "FAILOVER", self.service)
                return True
            except CONNECTION_ERRORS as error:
                if "INPROG" in str(error):
                    return True
                self.refused.append(f"{watcher.name}: {reason(error)}")
            finally:
                client.close()
        return False

    def by_replication(
        self, topology: Topology, candidates: Sequence[Node], old: Optional[str], check: bool
    ) -> dict[str, Any]:
        """No Sentinel: promote the replica with most data, point the other ones at it, and make both last a restart."""
        unknown = [n.name for n in topology.nodes.values() if not n.alive and n.name != old]
        if unknown:
            raise LifelineError(
                f"A newer copy may be on {', '.join(unknown)}, which does not answer; nothing was promoted. "
                "Bring it back, or take it out of the inventory if it is gone for good."
            )
        best = candidates[0]
        others = [node for node in topology.nodes.values() if node.alive and node.name != best.name]
        commands = [f"{best.name}: REPLICAOF NO ONE"]
        commands += [f"{node.name}: REPLICAOF {best.host} {best.port}" for node in others]
        primary = {"name": best.name, "host": best.host, "port": best.port}
        if check:
            return {"changed": True, "primary": primary, "commands": commands}
        self._replicaof(best, "NO", "ONE")
        for node in others:
            self._replicaof(node, best.host, str(best.port))
        return {"changed": True, "primary": primary, "commands": commands}

    def _replicaof(self, node: Node, host: str, port: str) -> None:
        client = connect(Endpoint(node.host, node.port), self.credentials)
        try:
            client.execute_command("REPLICAOF", host, port)
            client.execute_command("CONFIG", "REWRITE")
        except CONNECTION_ERRORS as error:
            raise LifelineError(
                f"REPLICAOF {host} {port} failed on {node.name} ({node.host}:{node.port}): {reason(error)}; "
                "run recover.yml again to go on from here."
            ) from error
        finally:
            client.close()

    def _primary(self) -> Optional[dict[str, Any]]:
        """The live primary if there is just one and (with Sentinel) their majority names it."""
        topology = self.look()
        if topology.state != AGREED:
            return None
        named = [watcher for watcher in topology.watchers_alive if watcher.names == topology.primary]
        if self.sentinels and len(named) * 2 <= len(self.sentinels):
            return None
        return topology.endpoint

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    @staticmethod
    def _wait(condition: Callable[[], Any], seconds: float) -> Any:
        """The first value of ``condition`` that is not None, or None when ``seconds`` have passed."""
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value is not None or time.monotonic() >= end:
                return value
            time.sleep(POLL_S)

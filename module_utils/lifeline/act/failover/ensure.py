# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is primary, as a desired state: move it, replace it, or finish what an earlier run began."""

from __future__ import annotations

from typing import Any, Optional

from ...diagnose.topology import AGREED, DISPUTED, NO_PRIMARY, Topology
from ...errors import LifelineError
from . import sentinels
from .planned import KEPT, SWITCHED, Switch
from .session import Session, wait
from .tidy import leftovers, tidy
from .unplanned import Promotion, live_primary


def ensure_primary(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_failover``: see its documentation for ``params`` and for what is returned.

    Raises LifelineError when the estate is split, when nobody may become primary, or when time runs out.
    """
    session = Session(params)
    try:
        result = _ensure(session, params, check)
    except LifelineError as error:
        if session.warnings:
            error.partial["warnings"] = session.warnings
        raise
    finally:
        session.close()
    return {**result, "warnings": session.warnings}


def _ensure(session: Session, params: dict[str, Any], check: bool) -> dict[str, Any]:
    wanted, mode = params["primary"], params["mode"]
    if wanted != "any" and wanted not in session.nodes:
        raise LifelineError(f"{wanted} is no node of estate {session.service}: {', '.join(session.nodes)} are.")
    topology = session.look()
    if topology.state == DISPUTED:
        raise LifelineError(
            f"Estate {session.service} has no single primary: {'; '.join(topology.reasons)}; nothing was changed. "
            "Decide which node holds the truth and stop the other one."
        )
    if topology.state not in (AGREED, NO_PRIMARY):
        why = "; ".join(topology.reasons) or f"it is {topology.state}"
        raise LifelineError(
            f"Estate {session.service}: nothing was promoted: {why}. Run diagnose.yml to see what stands against it.",
            refusals=topology.reasons,
        )
    if topology.state != AGREED:
        if mode == "planned":
            raise LifelineError(
                f"Estate {session.service} has no live primary ({'; '.join(topology.reasons)}), so this is no planned "
                "switch: run recover.yml."
            )
        return Promotion(session, topology, params).run(check)
    if not check and _failing_over(topology):
        topology = _finished(session)
    if wanted in ("any", topology.primary):
        return _settled(session, topology, wanted, check)
    if mode == "unplanned":
        raise LifelineError(
            f"{topology.primary} is alive and primary of {session.service}: move it with mode=planned, which loses "
            "nothing, or stop it first."
        )
    if not check and tidy(session, topology):
        topology = session.look()
    return Switch(session, topology, topology.nodes[wanted], params["min_stable_seconds"]).run(check)


def _settled(session: Session, topology: Topology, wanted: str, check: bool) -> dict[str, Any]:
    """There is the primary that was asked for. What a run that was killed left behind is tidied up."""
    plan = leftovers(topology).lines(topology.primary)
    plan += [f"{name}: failover-timeout as the others have it" for name in sentinels.hurried(session)]
    if not check:
        tidy(session, topology)
    state = KEPT if wanted == "any" else SWITCHED
    commands = plan if check else session.sent
    return {"changed": bool(plan), "primary": topology.endpoint, "commands": commands, "plan": plan, "state": state}


def _failing_over(topology: Topology) -> bool:
    return any(watcher.view.get("failover") for watcher in topology.watchers_alive)


def _finished(session: Session) -> Topology:
    """The topology once Sentinel's own failover is over. Raises LifelineError."""

    def done() -> Optional[Topology]:
        found = session.look()
        return found if live_primary(session) is not None and not _failing_over(found) else None

    found: Optional[Topology] = wait(done, session.left())
    if found is None:
        raise LifelineError(
            f"Sentinel did not finish its failover of {session.service} within {session.timeout:.0f} s; nothing was "
            "sent. Look at the sentinels' logs, then run recover.yml again."
        )
    return found

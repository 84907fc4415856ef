# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a switchover asks of the sentinels: whom they name, what they have seen, and when one of them is best asked."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Mapping, Optional, Sequence

from ...common.client import CONNECTION_ERRORS, Endpoint
from ...errors import LifelineError
from ...observe.estate import fields
from .session import Session, wait

# Sentinel asks replicas for INFO every 10 s, and a second after the last time while it fails over. It notices only by
# INFO that the replica which it promoted is a primary, and it promotes in its third tick (of 53 to 100 ms) after it was
# asked. So a sentinel whose last INFO is this many milliseconds old notices 0.3 to 0.4 s after it is asked; one whose
# last INFO is fresh, 1.0 to 1.2 s after (both measured).
BEST_AGE_MS = (560, 690)

# Longest time until a sentinel has asked a replica for INFO again, in seconds: every 10 s, later on a busy machine.
INFO_S = 30.0

# How long a sentinel may take to give a failover up, in seconds.
CANCEL_S = 2.0

# A failover-timeout that makes a sentinel end its failover in its next tick, in milliseconds. Nobody keeps it set, so
# whoever finds it knows that a run was killed.
AT_ONCE = "1"
USUAL_TIMEOUT = "60000"


def replicas(session: Session, sentinel: Endpoint) -> dict[tuple[str, int], dict[str, str]]:
    """SENTINEL REPLICAS of one sentinel, by address."""
    found = [fields(entry) for entry in session.ask(sentinel, "SENTINEL", "REPLICAS", session.service)]
    return {(entry.get("ip", ""), int(entry.get("port", 0))): entry for entry in found}


def named(session: Session, sentinel: Endpoint) -> Optional[tuple[str, int]]:
    """Whom one sentinel names as the primary; None when it does not answer."""
    try:
        found = session.ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", session.service)
    except CONNECTION_ERRORS:
        return None
    return (str(found[0]), int(found[1])) if found else None


def watched(session: Session, sentinel: Endpoint) -> Optional[tuple[str, int]]:
    """Whom one sentinel watches as the primary; None when it does not answer.

    The one that fails over names the new one earlier than it watches it, and clients such as redis-py go by the latter.
    """
    try:
        found = _master(session, sentinel)
    except CONNECTION_ERRORS:
        return None
    return found.get("ip", ""), int(found.get("port", 0))


def failover_timeout(session: Session, sentinel: Endpoint) -> str:
    """failover-timeout of one sentinel, in milliseconds; what another one has, where a killed run left its own."""
    for peer in (sentinel, *session.sentinels.values()):
        with suppress(*CONNECTION_ERRORS):
            found = _master(session, peer).get("failover-timeout", "")
            if found and found != AT_ONCE:
                return found
    return USUAL_TIMEOUT


def end_at_once(session: Session, sentinel: Endpoint) -> None:
    """The replica was promoted: let the sentinel tell the other replicas now and be done, instead of waiting for them
    for up to a second; until then it sends clients to the old primary."""
    with suppress(*CONNECTION_ERRORS):
        session.tell(sentinel, "SENTINEL", "SET", session.service, "failover-timeout", AT_ONCE)


def hurried(session: Session) -> list[str]:
    """Sentinels whose failover-timeout a killed run left so short that they could not fail over."""
    found = []
    for name, peer in session.sentinels.items():
        with suppress(*CONNECTION_ERRORS):
            if _master(session, peer).get("failover-timeout") == AT_ONCE:
                found.append(name)
    return found


def calm(session: Session, names: Sequence[str], usual: str = "") -> None:
    """Give sentinels their failover-timeout back."""
    for name in names:
        peer = session.sentinels[name]
        with suppress(*CONNECTION_ERRORS):
            value = usual or failover_timeout(session, peer)
            session.tell(peer, "SENTINEL", "SET", session.service, "failover-timeout", value)


def await_priorities(session: Session, wanted: Mapping[str, int]) -> None:
    """Return when every sentinel has seen these priorities. Raises LifelineError."""
    if not wanted:
        return
    addresses = {(session.nodes[name].host, session.nodes[name].port): value for name, value in wanted.items()}
    unseen: list[str] = []

    def seen() -> Optional[bool]:
        unseen[:] = [name for name, peer in session.sentinels.items() if not _shows(session, peer, addresses)]
        return None if unseen else True

    if wait(seen, min(INFO_S, session.left())) is None:
        raise LifelineError(
            f"{' and '.join(unseen)} did not take note of the replicas' priorities within {INFO_S:.0f} s; nothing was "
            "switched. Look at their logs, then run this again."
        )


def _shows(session: Session, peer: Endpoint, wanted: Mapping[tuple[str, int], int]) -> bool:
    try:
        found = replicas(session, peer)
    except CONNECTION_ERRORS:
        return False
    return all(found.get(address, {}).get("slave-priority") == str(value) for address, value in wanted.items())


def best_moment(session: Session, target: Endpoint, seconds: float) -> list[Endpoint]:
    """Wait for the moment at which a sentinel will soon notice that ``target`` was promoted; all sentinels, that one
    first. Gives up waiting after ``seconds``: it is a matter of half a second, not of safety."""
    low, high = BEST_AGE_MS
    end = time.monotonic() + min(seconds, INFO_S)
    while True:
        ages = {}
        for peer in session.sentinels.values():
            with suppress(*CONNECTION_ERRORS, ValueError):
                entry = replicas(session, peer).get((target.host, target.port), {})
                ages[peer] = int(entry.get("info-refresh", 0))
        ready = [peer for peer, age in ages.items() if low <= age <= high]
        if ready or time.monotonic() >= end:
            first = ready[0] if ready else next(iter(session.sentinels.values()))
            return [first, *(peer for peer in session.sentinels.values() if peer != first)]
        # INFO of 10 s ago tells how long nothing will happen; look closely only at the end.
        time.sleep(0.02)


def cancel(session: Session, sentinel: Endpoint) -> bool:
    """Make a sentinel give up a failover whose target does not answer, so that it cannot promote it minutes later.

    There is no command for that: it gives up when its failover-timeout is over. Returns whether it did.
    """
    with suppress(*CONNECTION_ERRORS):
        state = _master(session, sentinel)
        if "failover_in_progress" not in state.get("flags", ""):
            return True
        end_at_once(session, sentinel)
        return wait(lambda: _idle(session, sentinel), CANCEL_S) is not None
    return False


def _idle(session: Session, sentinel: Endpoint) -> Optional[bool]:
    return None if "failover_in_progress" in _master(session, sentinel).get("flags", "") else True


def _master(session: Session, sentinel: Endpoint) -> dict[str, str]:
    reply: Any = session.ask(sentinel, "SENTINEL", "MASTER", session.service)
    return fields(reply)

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a server is alive, dead or empty, or whether nobody can tell: one judge for every step that depends on it.

Pure. Whoever answers anything is alive. Death needs a proof from the server's own host. All else is unknown, and
unknown is never a reason to promote, demote, start, provision or overwrite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Mapping, Optional, Sequence


class Liveness(str, Enum):
    """What is known of a server."""

    ALIVE = "alive"  # it answered somebody, or somebody hears from it
    DEAD = "dead"  # its own host shows that no process of it is left
    EMPTY = "empty"  # dead, and its host holds no server and no data at all
    UNKNOWN = "unknown"

    @property
    def gone(self) -> bool:
        """Whether there is a proof that the server does not run."""
        return self in (Liveness.DEAD, Liveness.EMPTY)


# A primary says something to its replicas every 10 s at least; with a second for the way.
PING_S = 11

# A sentinel asks every second: an answer older than this, in milliseconds, is no sign of life any more.
FRESH_MS = 2000

# First words of client.reason that only a server that runs can have said. TLS that does not fit, and a connection that
# was taken and dropped, show that somebody is there.
ANSWERS = (
    "auth", "noperm", "loading", "maxclients", "busy", "misconf", "readonly", "masterdown", "oom", "noreplicas",
    "denied", "dropped", "tls",
)  # fmt: skip

# Any other error reply: a code in capitals, as ERR or CLUSTERDOWN.
_CODE = re.compile(r"error: -?[A-Z]{3,}( |$)")


def is_answer(error: Optional[str]) -> bool:
    """Whether an error (``client.reason``) is something that a server said, rather than the lack of an answer."""
    text = str(error or "")
    return text.partition(":")[0] in ANSWERS or bool(_CODE.match(text))


@dataclass(frozen=True)
class Traces:
    """What a server's own host shows of it in this round. ``port``: held, free or unknown; ``void``: see ``EMPTY``."""

    looked: bool = False
    port: str = "unknown"
    holder: str = ""
    process: bool = False
    void: bool = False

    @property
    def proof(self) -> bool:
        """Whether they prove that the server does not run."""
        return self.looked and self.port == "free" and not self.process


@dataclass(frozen=True)
class Signs:
    """All signs of one server's life and death.

    ``answered``: by vantage point, what the server said (empty for a proper answer). ``silent``: vantage points that
    asked in vain. ``heard``, ``deaf``: its replicas that hear from it, and those that do not. ``accepted``: most
    sentinels have had an answer from it just now.
    """

    answered: Mapping[str, str] = field(default_factory=dict)
    silent: Sequence[str] = ()
    heard: Sequence[str] = ()
    deaf: Sequence[str] = ()
    accepted: bool = False
    traces: Traces = Traces()


@dataclass(frozen=True)
class Verdict:
    """``answered``: it spoke itself, so that it is no hearsay that it lives."""

    liveness: Liveness
    why: str
    answered: bool = False


def judge(signs: Signs) -> Verdict:
    """The one judge. A sign of life counts against everything but the proof of the server's own host that most others
    confirm: so that one host that lies neither kills a live server nor keeps a dead one alive."""
    traces = signs.traces
    proof = traces.proof
    if signs.answered and not (proof and len(signs.silent) > len(signs.answered)):
        who, said = min(signs.answered.items(), key=lambda item: bool(item[1]))
        return Verdict(Liveness.ALIVE, f"it answers {who}" + (f" ({said})" if said else ""), True)
    doubters = {*signs.silent, *signs.deaf} - set(signs.heard)
    if signs.heard and not (proof and len(doubters) > len(signs.heard)):
        verb = "hears" if len(signs.heard) == 1 else "hear"
        return Verdict(Liveness.ALIVE, f"{' and '.join(signs.heard)} still {verb} from it")
    if proof:
        if traces.void:
            return Verdict(Liveness.EMPTY, "its host has no server and no data")
        return Verdict(Liveness.DEAD, "its host has no process of it, and nothing holds its port")
    if signs.accepted:
        return Verdict(Liveness.ALIVE, "most sentinels reach it")
    return Verdict(Liveness.UNKNOWN, _doubt(traces))


def _doubt(traces: Traces) -> str:
    if not traces.looked:
        return "its host shows nothing of it"
    if traces.port == "held":
        return f"{traces.holder or 'a process'} holds its port and does not answer"
    if traces.process:
        return "a server process still runs on its host"
    return "its host does not show who holds its port"


def traces(own: Optional[Mapping[str, Any]], port: int, unit: Mapping[str, Any], config: str) -> Traces:
    """What a host's evidence of this round shows of its own server, which should hold ``port`` and run as ``unit`` with
    ``config``. A host that did not look at its port and its processes proves nothing."""
    if own is None:
        return Traces()
    said, holdings = own.get("port") or {}, own.get("holdings") or {}
    state = str(said.get("state") or "unknown") if said.get("number") == port else "unknown"
    if state == "free" and not holdings:
        state = "unknown"
    servers = holdings.get("servers") or ()
    running = bool(unit.get("pid")) or any(_may_be(row, port, unit, config) for row in servers)
    return Traces(True, state, _holder(said), running, state == "free" and void(own))


def void(own: Optional[Mapping[str, Any]]) -> bool:
    """Whether a host looked everywhere and found no server, no data of one, and nothing that holds its port."""
    holdings = (own or {}).get("holdings") or {}
    held = ((own or {}).get("port") or {}).get("state", "free") != "free"
    return holdings.get("complete") is True and not holdings.get("servers") and not data(own) and not held


def data(own: Optional[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Snapshots and append-only files on a host that may hold keys."""
    rows = ((own or {}).get("holdings") or {}).get("data") or ()
    return [row for row in rows if row.get("empty") is not True]


def _may_be(row: Mapping[str, Any], port: int, unit: Mapping[str, Any], config: str) -> bool:
    """Whether a running server process may be the one in question: by its port, unit or configuration; and any process
    where the unit that was expected is not there, or where nobody knows what the process is."""
    known = unit.get("load", "not-found") != "not-found"
    mine = row.get("port") == port or (config and row.get("config") == config)
    nameless = not row.get("unit") and not row.get("config")
    return not known or bool(mine) or row.get("unit") == unit.get("name") or nameless


def _holder(said: Mapping[str, Any]) -> str:
    unit = f", {said['unit']}" if said.get("unit") else ""
    return f"{said.get('name') or 'a process'} (process {said.get('pid') or 'unknown'}{unit})" if said else ""

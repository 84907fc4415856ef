# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which copy on disk is the best, when no server of an estate runs. Told from files, before anything is started.

A server that starts as the primary makes all others copy it, so this is decided once and before (measurement N16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Collection, Mapping, Optional, Sequence

from .steps import option
from .topology import Node

# Copies written to within so many seconds of each other ended together; then the last primary's is the one with all.
TOGETHER_S = 2.0

# What a server writes that came up empty is smaller than this, for a while. Above it sizes say nothing: an append-only
# file holds what was overwritten too, until it is rewritten.
EMPTY_BYTES = 65536


@dataclass(frozen=True)
class Copy:
    """What one server that does not run would load. ``age_s``: seconds since it was last written to."""

    name: str
    what: str
    size: int
    age_s: float
    replid: str = ""
    offset: Optional[int] = None
    follower: bool = False

    def __str__(self) -> str:
        far = f", offset {self.offset}" if self.offset is not None else ""
        return f"{self.name} ({self.what} of {self.size} bytes, last written {self.age_s:.0f} s ago{far})"


@dataclass(frozen=True)
class Election:
    """``winner`` and ``why``; or, with no winner, ``refusal``."""

    winner: Optional[Copy] = None
    why: str = ""
    refusal: str = ""


def copy_of(node: Node) -> Optional[Copy]:
    """What a server would load; None where there is nothing, or where it would not load."""
    files = node.files
    follower = bool(files.get("replicaof"))
    if files.get("aof_configured"):
        aof: Mapping[str, Any] = files.get("aof") or {}
        if not aof.get("manifest") or not aof.get("size") or aof.get("missing"):
            return None
        return Copy(node.name, "append-only file", int(aof["size"]), _age(aof), follower=follower)
    rdb: Mapping[str, Any] = files.get("rdb") or {}
    if not rdb.get("size") or not rdb.get("header") or rdb.get("complete") is False:
        return None
    return Copy(
        node.name, "snapshot", int(rdb["size"]), _age(rdb), str(rdb.get("replid") or ""), rdb.get("offset"), follower
    )


def _age(found: Mapping[str, Any]) -> float:
    age = found.get("age_s")
    return float(age) if isinstance(age, (int, float)) else float("inf")


def elect(nodes: Sequence[Node], last_primary: Optional[str], given_up: Collection[str] = ()) -> Election:
    """The copy that the estate goes on with.

    ``given_up``: names of servers whose copy a person has said may be lost. A server whose host does not answer and
    that is not among them may hold a newer copy, and so may one that is set to start and would not load (refusal R4).
    """
    found = {node.name: copy for node in nodes for copy in [copy_of(node)] if copy and node.host_answered}
    copies = [copy for name, copy in found.items() if name not in given_up]
    if not copies:
        return Election(refusal="no copy of the data that would load was found")
    unknown = [node.name for node in nodes if not node.host_answered and node.name not in given_up]
    if unknown:
        return Election(refusal=_unseen(unknown))
    winner, why = _best(copies, last_primary)
    larger = [copy for copy in copies if winner.size < EMPTY_BYTES < copy.size]
    if larger:
        return Election(
            refusal=f"{winner} is {why}, but {' and '.join(map(str, larger))} holds far more, so the first seems to "
            f"have lost its data (R5): to go on without it: {option([winner.name])}; to go on with it: "
            f"{option([copy.name for copy in larger])}"
        )
    return Election(winner, why)


def _unseen(names: Sequence[str]) -> str:
    return (
        f"a newer copy may be on {' and '.join(names)}, which does not answer (R4): bring it back, or go on without "
        f"it: {option(names)}"
    )


def _best(copies: Sequence[Copy], last_primary: Optional[str]) -> tuple[Copy, str]:
    """Most of one history where all tell it; else the last primary's where it was written to the end; else the last."""
    histories = {copy.replid for copy in copies}
    if len(copies) > 1 and len(histories) == 1 and "" not in histories:
        furthest = max(copy.offset or 0 for copy in copies)
        first = [copy for copy in copies if (copy.offset or 0) == furthest]
        return _prefer(first, last_primary), "the furthest of one history"
    youngest = min(copy.age_s for copy in copies)
    last = [copy for copy in copies if copy.age_s <= youngest + TOGETHER_S]
    why = "the only copy" if len(copies) == 1 else "the last that was written to"
    return _prefer(last, last_primary), why


def _prefer(copies: Sequence[Copy], last_primary: Optional[str]) -> Copy:
    """Of copies as good as each other: the last primary's, then one that was set to be a primary, then the youngest."""
    return min(copies, key=lambda copy: (copy.name != last_primary, copy.follower, copy.age_s, copy.name))

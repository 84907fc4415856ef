# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which copy on disk is the best, when no server of an estate runs. Told from files, before anything is started.

A server that starts as the primary makes all others copy it, so this is decided once and before (measurement N16).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Collection, Iterable, Mapping, Optional, Sequence

from ..diagnose.findings import Finding
from ..diagnose.topology import Node
from .steps import NOTHING_ACCEPTED, Accepted, option

# Copies written to within so many seconds of each other ended together; then the last primary's is the one with all.
TOGETHER_S = 2.0

NOBODY: Mapping[str, str] = {}

# What a server writes that came up empty is smaller than this, for a while. Above it sizes say nothing: an append-only
# file holds what was overwritten too, until it is rewritten.
EMPTY_BYTES = 65536


@dataclass(frozen=True)
class Copy:
    """What one server that does not run would load. ``age_s``: seconds since it was last written to.

    ``broken``: why it would not load; empty where it would, or where nobody could tell (``unchecked``).
    ``lost``: bytes at its end that would be dropped. ``marks``: ``observe.copies.append_only_marks``.
    """

    name: str
    what: str
    size: int
    age_s: float
    replid: str = ""
    offset: Optional[int] = None
    follower: bool = False
    broken: str = ""
    unchecked: str = ""
    lost: int = 0
    records: int = 0
    marks: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        far = f", offset {self.offset}" if self.offset is not None else ""
        blind = f", not checked: {self.unchecked}" if self.unchecked else ""
        return f"{self.name} ({self.what} of {self.size} bytes, last written {self.age_s:.0f} s ago{far}{blind})"


@dataclass(frozen=True)
class Election:
    """``winner`` and ``why``, with ``loss``: what is given up by it; or, with no winner, ``refusal``."""

    winner: Optional[Copy] = None
    why: str = ""
    refusal: str = ""
    loss: str = ""


def copy_of(node: Node, unfit: Mapping[str, str] = NOBODY) -> Optional[Copy]:
    """What a server would load; None where there is nothing. ``unfit``: why some servers' copies do not load, as their
    logs or a start in vain have told."""
    found = _found(node)
    if found is None:
        return None
    check: Mapping[str, Any] = files_check(node)
    lost, records = (int(check.get(name) or 0) for name in ("lost_bytes", "lost_records"))
    broken = unfit.get(node.name, "")
    if check.get("loads") is False:
        broken = f"{check.get('why')}: {lost} bytes in {records} records are behind that" if records else check["why"]
    if not (check.get("ok") is False and check.get("loads")):
        lost = records = 0
    blind = str(check.get("why") or "") if check.get("ok") is None else ""
    marks = check.get("marks") or {}
    return replace(found, broken=str(broken), unchecked=blind, lost=lost, records=records, marks=marks)


# Causes that say of a server that it does not load what lies on its disk.
DAMAGED = ("aof_base_missing", "aof_corrupt", "aof_manifest_lost", "rdb_broken", "rdb_newer")


def unfit_copies(nodes: Iterable[Node], findings: Iterable[Finding], tried: Collection[str]) -> dict[str, str]:
    """Servers that do not load what they have, and why: by their logs, or by a start in this run that was in vain."""
    found = {one.where: one.title[:1].lower() + one.title[1:] for one in findings if one.id in DAMAGED}
    unfit = {}
    for node in nodes:
        if node.name in found and files_check(node).get("ok") is not True:
            unfit[node.name] = found[node.name]
        if f"start_primary@{node.name}" in tried:
            unfit[node.name] = "this run has started it from that in vain"
    return unfit


def files_check(node: Node) -> Mapping[str, Any]:
    """What the server's own checker said of what it would load; empty where it was not asked."""
    checks = node.files.get("check")
    said = checks.get("aof" if node.files.get("aof_configured") else "rdb") if isinstance(checks, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def would_load(node: Node, unfit: Mapping[str, str] = NOBODY) -> bool:
    """Whether there is something to load, and nothing says that it would not."""
    found = copy_of(node, unfit)
    return found is not None and not found.broken


def _found(node: Node) -> Optional[Copy]:
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


def elect(
    nodes: Sequence[Node],
    last_primary: Optional[str],
    accepted: Accepted = NOTHING_ACCEPTED,
    unfit: Mapping[str, str] = NOBODY,
) -> Election:
    """The copy that the estate goes on with.

    ``accepted``: servers whose copy a person has said may be lost. A server whose host does not answer and that is not
    among them may hold a newer copy, and so may one that is set to start and would not load (refusal R4).
    ``unfit``: ``copy_of``.
    """
    given_up = accepted.unmeasured
    found = {node.name: copy for node in nodes for copy in [copy_of(node, unfit)] if copy and node.host_answered}
    copies = [copy for name, copy in found.items() if name not in given_up]
    sound = [copy for copy in copies if not copy.broken]
    if not sound:
        return Election(refusal=_none_loads(copies))
    unknown = [node.name for node in nodes if not node.host_answered and node.name not in given_up]
    if unknown:
        return Election(refusal=_unseen(unknown))
    winner, why = _best(sound, last_primary)
    larger = [copy for copy in sound if winner.size < EMPTY_BYTES < copy.size]
    if larger:
        return Election(
            refusal=f"{winner} is {why}, but {' and '.join(map(str, larger))} holds far more, so the first seems to "
            f"have lost its data (R5): to go on without it: {option([winner.name])}; to go on with it: "
            f"{option([copy.name for copy in larger])}"
        )
    ideal = _best(copies, last_primary)[0]
    return _with_loss(winner, why, ideal if ideal.broken else winner, accepted)


def _with_loss(winner: Copy, why: str, ideal: Copy, accepted: Accepted) -> Election:
    """``winner``, unless more is given up by it than a person would take: at its end, or of a better copy that does not
    load."""
    loss = ""
    if winner.lost:
        loss = f"The last {winner.lost} bytes of {winner.name} ({winner.records} records) are dropped: cut off."
        if winner.lost > accepted.most >= 0:
            return Election(refusal=f"{loss} To go on: {option([winner.name], winner.lost)}")
    if ideal is winner:
        return Election(winner, why, loss=loss)
    lacks, later = lacking(winner, ideal), max(0.0, winner.age_s - ideal.age_s)
    much = f"{lacks} bytes" if lacks is not None else "nobody can tell how many bytes"
    passed = f"{ideal} is passed over, since {ideal.broken}"
    missing = f"what it wrote in its last {later:.0f} s and {winner.name} does not have is missing ({much})"
    enough = later <= TOGETHER_S or (lacks is not None and (lacks <= accepted.most or accepted.most < 0))
    if not enough:
        return Election(
            refusal=f"{passed}; with the next best, {winner}, {missing}: to go on with that one: "
            f"{option([ideal.name], lacks)}"
        )
    return Election(winner, f"{why}; {passed}", loss=f"{loss} {passed}; {missing}.".strip())


def lacking(winner: Copy, other: Copy) -> Optional[int]:
    """How many bytes of writes the other copy has and ``winner`` lacks; None where nobody can tell."""
    if winner.replid and winner.replid == other.replid and None not in (winner.offset, other.offset):
        return max(0, int(other.offset or 0) - int(winner.offset or 0))
    shared = set(winner.marks) & set(other.marks)
    return max((max(0, int(other.marks[mark]) - int(winner.marks[mark])) for mark in shared), default=None)


def _none_loads(copies: Sequence[Copy]) -> str:
    if not copies:
        return "no copy of the data that would load was found"
    said = "; ".join(f"{copy} does not load, since {copy.broken}" for copy in copies)
    return (
        f"{said}. Nothing was started. Keep a copy of each data folder first; only a person decides what is dropped "
        "(redis-check-aof --fix cuts an append-only file at the damage, on a copy of the folder)"
    )


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

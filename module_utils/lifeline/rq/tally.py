# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run counts, and how it judges the errors that it meets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .keys import text
from .page import Lane, Reply
from .payload import exception_name, probably_completed, traceback_text
from .selection import Selection

# Errors that are sent along with each page, so that the script moves jobs that failed alike without asking.
ERRORS_SENT = 64
ERRORS_KEPT = 20000
SHOWN_OF_A_REASON = 25
NO_ERROR = "(none recorded)"


@dataclass
class Tally:
    """What a run has done so far."""

    requeued: int = 0
    batches: int = 0
    max_batch_ms: float = 0.0
    pruned: int = 0
    deduped: int = 0
    replicas_acked: Optional[int] = None
    skipped: Counter[str] = field(default_factory=Counter)
    queues: Counter[bytes] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    taken: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    heads: Counter[str] = field(default_factory=Counter)
    ids: list[bytes] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)

    def moved(self, lane: Lane, queues: Mapping[bytes, int]) -> None:
        """Count jobs that went from a lane to queues."""
        count = sum(queues.values())
        self.requeued += count
        self.queues.update(queues)
        self.sources[lane.source] += count
        self.taken[lane.source, lane.queue] += count

    def leave(self, lane: Lane, entries: Sequence[tuple[bytes, str]], counts: Mapping[str, int]) -> None:
        """Count jobs that stay where they are, and keep the first of each reason for the report."""
        self.skipped.update(counts)
        for item, why in entries:
            if self._shown[why] < SHOWN_OF_A_REASON:
                self._shown[why] += 1
                found = {"id": text(item), "queue": text(lane.queue), "source": lane.source, "reason": why}
                self.left.append(found)

    def __post_init__(self) -> None:
        self._shown = Counter(entry["reason"] for entry in self.left)

    def state(self) -> dict[str, Any]:
        """For JSON, so that another call can go on; ids may be any bytes."""
        return {
            "requeued": self.requeued,
            "batches": self.batches,
            "max_batch_ms": self.max_batch_ms,
            "pruned": self.pruned,
            "replicas_acked": self.replicas_acked,
            "skipped": dict(self.skipped),
            "queues": {name.decode("latin-1"): count for name, count in self.queues.items()},
            "sources": dict(self.sources),
            "taken": [[source, name.decode("latin-1"), count] for (source, name), count in self.taken.items()],
            "errors": dict(self.errors),
            "heads": dict(self.heads),
            "ids": [job_id.decode("latin-1") for job_id in self.ids],
            "left": self.left,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Tally:
        """What ``state`` gave."""
        return cls(
            requeued=state["requeued"],
            batches=state["batches"],
            max_batch_ms=state["max_batch_ms"],
            pruned=state["pruned"],
            replicas_acked=state["replicas_acked"],
            skipped=Counter(state["skipped"]),
            queues=Counter({name.encode("latin-1"): count for name, count in state["queues"].items()}),
            sources=Counter(state["sources"]),
            taken=Counter({(source, name.encode("latin-1")): count for source, name, count in state["taken"]}),
            errors=Counter(state["errors"]),
            heads=Counter(state["heads"]),
            ids=[job_id.encode("latin-1") for job_id in state["ids"]],
            left=list(state["left"]),
        )


@dataclass(frozen=True)
class Failure:
    """One distinct traceback: its error's type, and why jobs that failed like this stay (None when they are meant)."""

    name: str
    why_not: Optional[str]


class Errors:
    """Judges each distinct traceback once."""

    def __init__(self, wanted: Selection) -> None:
        self._wanted = wanted
        self._known: dict[str, Failure] = {}

    def learn(self, reply: Reply) -> None:
        """Judge errors that were not seen before; the oldest are forgotten when there are very many."""
        for digest, stored in reply.texts.items():
            traceback = traceback_text(stored)
            why_not = None
            if not self._wanted.wants_error(traceback):
                why_not = "other_error"
            elif not self._wanted.completed and probably_completed(traceback):
                why_not = "completed"
            self._known[digest] = Failure(exception_name(traceback), why_not)
        while len(self._known) > ERRORS_KEPT:
            del self._known[next(iter(self._known))]

    def of(self, digest: str) -> Failure:
        """The judgement; for jobs without a traceback, whether the selection can do without."""
        if digest in self._known:
            return self._known[digest]
        return Failure(NO_ERROR, "other_error" if self._wanted.exception else None)

    def sent(self) -> dict[str, list[str]]:
        """The latest errors, as the script takes them."""
        if self._wanted.exception:
            return {"safe": [], "unsafe": []}
        latest = list(self._known)[-ERRORS_SENT:]
        return {
            "safe": [digest for digest in latest if not self._known[digest].why_not],
            "unsafe": [digest for digest in latest if self._known[digest].why_not],
        }

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Going through the registries of the queues that are meant, page by page."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Optional

from ..errors import LifelineError
from . import lua
from .batches import HOLD_SECONDS, Batches
from .keys import matching, text
from .page import Lane, Reply, Row, unpack
from .payload import function_name
from .scan import known_queues

# What RQ itself would write down for a job whose worker is gone.
ABANDONED = "rq.exceptions.AbandonedJobError"
REGISTRY = {
    "failed": "failed",
    "abandoned": "wip",
    "scheduled_overdue": "scheduled",
    "deferred_ready": "deferred",
    "ready": "ready",
}


class Walk:
    """The lanes of one run: each registry of each queue, and how far it has come there."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.server = batches.server
        self.params = batches.params
        self.check = batches.check
        self.keys = batches.keys
        self.lanes: list[Lane] = []

    def plan(self) -> None:
        """Find the lanes and their sizes; refuses keys of the wrong type before anything is changed."""
        self.lanes = []
        self.expect_type(self.keys.queues, "set")
        for queue in self.queues():
            self.expect_type(self.keys.queue(queue), "list")
            for source in self.params["sources"]:
                if source in REGISTRY:
                    self.lanes.append(self.lane(source, queue))
        if self.batches.dead.beats:  # what has to be waited for comes last
            self.lanes.sort(key=lambda lane: lane.source == "abandoned")

    def lane(self, source: str, queue: bytes) -> Lane:
        """One registry of one queue."""
        lane = Lane(source, queue, self.keys.registry(REGISTRY[source], queue))
        self.expect_type(lane.key, "zset")
        lane.total = self.size_of(lane)
        if self.params["position"] == "front":
            lane.high = lane.total - 1
        lane.done = lane.total == 0
        return lane

    def queues(self) -> list[bytes]:
        """The queues that are meant. One that RQ has forgotten (rq:queues lost) is found by its plain name."""
        plain = [name.encode() for name in self.batches.wanted.queues if not is_pattern(name)]
        return sorted({*matching(known_queues(self.server, self.keys), self.batches.wanted.queues), *plain})

    def unmatched(self) -> list[str]:
        """Patterns that no queue matches: mostly slips of the pen."""
        known = known_queues(self.server, self.keys)
        return [name for name in self.batches.wanted.queues if is_pattern(name) and not matching(known, [name])]

    def expect_type(self, key: bytes, wanted: str) -> None:
        """LifelineError unless ``key`` is of that type, or missing."""
        found = self.server.again(lambda: self.server.client.type(key)).decode()
        if found not in (wanted, "none"):
            raise LifelineError(
                f"Key {text(key)} on {self.server.endpoint} is a {found}, where RQ keeps a {wanted}: nothing was "
                "changed; check key_prefix and login_db, and what wrote that key."
            )

    def size_of(self, lane: Lane) -> int:
        """How many entries of a lane may be meant: an upper bound."""
        if self.batches.verb == "release":
            held = self.batches.now() + HOLD_SECONDS / 2
            return int(self.server.again(lambda: self.server.client.zcount(lane.key, held, "+inf")))
        by_time = lane.source in ("scheduled_overdue", "ready") or (
            lane.source == "abandoned" and not (self.params["workers_stopped"] or self.batches.dead.beats)
        )
        if by_time:
            limit = self.batches.now() - self.batches.grace()
            return int(self.server.again(lambda: self.server.client.zcount(lane.key, "-inf", limit)))
        return int(self.server.again(lambda: self.server.client.zcard(lane.key)))

    def counts(self, queue: bytes) -> dict[str, int]:
        """Lengths of a queue and its sources, for the diff."""
        sizes = {lane.source: lane.total for lane in self.lanes if lane.queue == queue}
        return {"queued": int(self.server.again(lambda: self.server.client.llen(self.keys.queue(queue)))), **sizes}

    def why_not(self, lane: Lane, row: Row) -> Optional[str]:
        """Why a job that is there is not meant: by its id, its function or its error."""
        wanted = self.batches.wanted
        if wanted.job_ids and not {row.item, row.item[:-33]}.intersection(wanted.job_ids):
            return "not_named"
        if wanted.by_function and not wanted.wants_function(function_name(row.head)):
            return "other_function"
        if lane.source == "abandoned":
            return None if wanted.wants_error(ABANDONED) else "other_error"
        return self.batches.errors.of(row.error).why_not

    def step(self, lane: Lane, room: int) -> None:
        """Work off one page of a lane; at most ``room`` jobs."""
        batches = self.batches
        size = min(batches.size, lane.left())
        reply = batches.look(lane, size) if batches.filtered() else batches.move(lane, size, min(room, size))
        moved = reply.moved + self.rows(lane, reply, room - reply.moved)
        batches.tally.leave(lane, reply.why, reply.skipped)
        pruned = self.prune(lane, [item for item, why in reply.why if why == "missing"])
        lane.passed(reply, size, 0 if self.check else moved + pruned)

    def rows(self, lane: Lane, reply: Reply, room: int) -> int:
        """Judge the jobs that the script only showed, and move those that are meant."""
        self.batches.errors.learn(reply)
        reasons = [(row, self.why_not(lane, row)) for row in reply.rows]
        chosen = [row for row, why in reasons if not why][: max(0, room)]
        stay = [(row.item, why) for row, why in reasons if why]
        self.batches.tally.leave(lane, stay, Counter(why for _, why in stay))
        if not chosen:
            return 0
        if lane.source == "failed":
            self.batches.tally.errors.update(self.batches.errors.of(row.error).name for row in chosen)
        if not self.check:
            moved = self.batches.move(lane, len(chosen), len(chosen), chosen)
            self.batches.tally.leave(lane, moved.why, moved.skipped)
            return moved.moved
        self.batches.tally.moved(lane, Counter(row.origin for row in chosen))
        self.batches.note_ids([row.item for row in chosen])
        return len(chosen)

    def prune(self, lane: Lane, items: Sequence[bytes]) -> int:
        """Remove entries whose job is gone, where that is wanted."""
        if not items or self.params["missing"] != "prune":
            return 0
        if self.check:
            self.batches.tally.pruned += len(items)
            return 0
        arguments = [self.keys.prefix, *items]
        count = int(unpack(self.server.again(lambda: self.server.run(lua.PRUNE, [lane.key], arguments))))
        self.batches.tally.pruned += count
        return count

    def given(self, lane: Lane, most: Optional[int]) -> None:
        """Work off the jobs that job_ids names, instead of the pages of a lane; stops at ``most`` of the whole run."""
        ids = self.batches.wanted.job_ids
        for start in range(0, len(ids), self.batches.size):
            page = ids[start : start + self.batches.size]
            scores = self.server.again(lambda page=page: self.scores(lane.key, page))  # type: ignore[misc]
            found = [Row(item, score, "", b"", b"") for item, score in zip(page, scores) if score is not None]
            self.given_rows(lane, found, most)
        lane.done = True

    def given_rows(self, lane: Lane, rows: Sequence[Row], most: Optional[int]) -> None:
        """Look at given jobs, then move those that are meant; stops at ``most`` of the whole run."""
        for start in range(0, len(rows), self.batches.size):
            page = rows[start : start + self.batches.size]
            room = len(page) if most is None else min(len(page), most - self.batches.tally.requeued)
            if room <= 0:
                return
            reply = self.batches.look(lane, len(page), page)
            self.batches.tally.leave(lane, reply.why, reply.skipped)
            self.rows(lane, reply, room)

    def scores(self, key: bytes, items: Sequence[bytes]) -> list[Optional[bytes]]:
        """Scores of entries, as the script's ZSCORE spells them; None for those that are not there."""
        pipeline = self.server.client.pipeline(transaction=False)
        for item in items:
            pipeline.zscore(key, item)
        return [None if score is None else spelled(float(score)) for score in pipeline.execute()]

    def work(self, most: Optional[int], deadline: Optional[float] = None) -> bool:
        """Go through the lanes; False when ``deadline`` (monotonic) came first. Stops at ``most`` jobs."""
        for lane in self.lanes:
            if lane.source == "abandoned" and not lane.done and not self.batches.dead.settle(deadline is not None):
                return False
            if self.batches.wanted.job_ids and lane.source != "abandoned" and not lane.done:
                self.given(lane, most)
            while not lane.done:
                room = self.batches.size if most is None else most - self.batches.tally.requeued
                if room <= 0:
                    return True
                self.step(lane, room)
                if deadline is not None and time.monotonic() > deadline:
                    return all(lane.done for lane in self.lanes)
        return True


def is_pattern(name: str) -> bool:
    """Whether a queue's name has signs of a pattern in it."""
    return any(sign in name for sign in "*?[")


def spelled(score: float) -> bytes:
    """A score as Redis prints it (%.17g)."""
    if math.isinf(score):
        return b"inf" if score > 0 else b"-inf"
    return f"{score:.17g}".encode()

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Putting lost jobs back into their queues: the run, from options to result."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..client import CONNECTION_ERRORS
from ..errors import LifelineError
from . import lua
from .keys import Keys, matching, text
from .page import Lane, Reply, Row, encode, pairs, parse
from .payload import exception_name, function_name, probably_completed, traceback_text
from .select import Selection, selection, stamp
from .server import Server, target

# RQ's DEFAULT_FAILURE_TTL, for jobs that carry none: a year.
FAILURE_TTL = 31536000
# Errors that are sent along with each page, so that the script moves jobs that failed alike without asking.
ERRORS_SENT = 64
ERRORS_KEPT = 20000
SKIPPED_SHOWN = 100
NO_ERROR = "(none recorded)"


@dataclass
class Tally:
    """What a run has done so far."""

    requeued: int = 0
    batches: int = 0
    max_batch_ms: float = 0.0
    skipped: Counter[str] = field(default_factory=Counter)
    queues: Counter[bytes] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    taken: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    heads: Counter[str] = field(default_factory=Counter)
    ids: list[bytes] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)


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

    def learn(self, texts: dict[str, bytes]) -> None:
        """Judge errors that were not seen before; the oldest are forgotten when there are very many."""
        for digest, stored in texts.items():
            traceback = traceback_text(stored)
            why_not = None
            if not self._wanted.wants_error(traceback):
                why_not = "filtered"
            elif not self._wanted.completed and probably_completed(traceback):
                why_not = "completed"
            self._known[digest] = Failure(exception_name(traceback), why_not)
        while len(self._known) > ERRORS_KEPT:
            del self._known[next(iter(self._known))]

    def of(self, digest: str) -> Failure:
        """The judgement; for jobs without a traceback, whether the selection can do without."""
        if digest in self._known:
            return self._known[digest]
        return Failure(NO_ERROR, "filtered" if self._wanted.exception else None)

    def sent(self) -> dict[str, list[str]]:
        """The latest errors, as the script takes them."""
        latest = list(self._known)[-ERRORS_SENT:]
        if self._wanted.exception:
            return {"safe": [], "unsafe": []}
        return {
            "safe": [digest for digest in latest if not self._known[digest].why_not],
            "unsafe": [digest for digest in latest if self._known[digest].why_not],
        }


class Run:
    """One run of rq_requeue against one primary."""

    def __init__(self, server: Server, params: dict[str, Any], check: bool) -> None:
        self.server = server
        self.params = params
        self.check = check
        self.keys = Keys(params["key_prefix"])
        self.started = server.again(server.seconds)
        self._clock = time.monotonic() - self.started
        self.wanted = selection(params, self.started)
        self.errors = Errors(self.wanted)
        self.tally = Tally()
        self.run_id = uuid.uuid4().hex[:12]
        self.batch = 0
        self.size = max(1, params["batch_size"])
        self.lanes: list[Lane] = []
        self.before: dict[str, dict[str, int]] = {}
        self.sample_every = 1.0
        self.retries = retries(params["retries"])

    def now(self) -> float:
        """The server's clock, in Unix seconds, without asking it each time."""
        return time.monotonic() - self._clock

    # What there is

    def plan(self) -> None:
        """Find the lanes and their sizes; refuses registries of the wrong type before anything is changed."""
        for queue in self.queues():
            for source in self.params["sources"]:
                kind = {"abandoned": "wip"}.get(source, source)
                lane = Lane(source, queue, self.keys.registry(kind, queue))
                self.expect_type(lane.key, "zset")
                lane.total = self.size_of(lane)
                if self.params["position"] == "front":
                    lane.high = lane.total - 1
                lane.done = lane.total == 0
                self.lanes.append(lane)
            self.expect_type(self.keys.queue(queue), "list")
        self.expect_type(self.keys.queues, "set")

    def queues(self) -> list[bytes]:
        """The queues that are meant. One that RQ has forgotten (rq:queues lost) is found by its plain name."""
        known = [self.keys.queue_name(key) for key in self.server.again(lambda: self.members(self.keys.queues))]
        plain = [name.encode() for name in self.wanted.queues if not any(sign in name for sign in "*?[")]
        return sorted({*matching([name for name in known if name], self.wanted.queues), *plain})

    def members(self, key: bytes) -> list[bytes]:
        """Members of a set; LifelineError when it is something else."""
        self.expect_type(key, "set")
        return sorted(self.server.client.smembers(key))

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
        if lane.source == "abandoned" and not self.params["workers_stopped"]:
            limit = self.now() - self.params["grace"]
            return int(self.server.again(lambda: self.server.client.zcount(lane.key, "-inf", limit)))
        return int(self.server.again(lambda: self.server.client.zcard(lane.key)))

    def counts(self, queue: bytes) -> dict[str, int]:
        """Lengths of a queue and its sources, for the diff."""
        sizes = {lane.source: lane.total for lane in self.lanes if lane.queue == queue}
        return {"queued": int(self.server.again(lambda: self.server.client.llen(self.keys.queue(queue)))), **sizes}

    # Looking and moving

    def filtered(self) -> bool:
        """Whether jobs must be looked at before they are moved."""
        wanted = self.wanted
        return self.check or wanted.by_function or wanted.exception is not None or bool(wanted.job_ids)

    def settings(self, lane: Lane, size: int, **extra: Any) -> dict[str, Any]:
        """What the script needs to know; see lua.py."""
        wanted, params, now = self.wanted, self.params, self.now()
        return {
            "source": lane.source,
            "size": size,
            "skip": lane.skip,
            "high": lane.high,
            "low": None if lane.high is None else max(0, lane.high - size + 1),
            "now": now,
            "stamp": stamp(now),
            "start": stamp(self.started) if wanted.before is None else None,
            "after": stamp(wanted.after) if wanted.after is not None else None,
            "after_s": wanted.after,
            "before": stamp(wanted.before) if wanted.before is not None else None,
            "before_s": wanted.before,
            "failure_ttl": FAILURE_TTL,
            "stopped": wanted.stopped,
            "workers": list(wanted.workers) or None,
            "max_requeues": params["max_requeues"],
            "persist": params["ttl_policy"] == "persist",
            "front": params["position"] == "front",
            "retries": self.retries,
            "grace": params["grace"],
            "workers_stopped": params["workers_stopped"],
            "dead_workers": params["dead_workers"] or None,
            "look_failure": wanted.by_error and lane.source == "failed",
            "look_data": wanted.by_function,
            **extra,
        }

    def arguments(self, lane: Lane, settings: dict[str, Any], rows: Sequence[Row]) -> list[Any]:
        """ARGV of the script."""
        return [
            encode(settings), self.keys.prefix, lane.queue, lane.last, self.keys.ledger(self.run_id), *pairs(rows)
        ]  # fmt: skip

    def look(self, lane: Lane, size: int, rows: Sequence[Row] = ()) -> Reply:
        """See a page, and change nothing."""
        arguments = self.arguments(lane, self.settings(lane, size, action="look", **self.errors.sent()), rows)
        return parse(self.server.again(lambda: self.server.run(lua.LOOK, [lane.key], arguments, read_only=True)))

    def move(self, lane: Lane, size: int, limit: int, rows: Sequence[Row] = ()) -> Reply:
        """Move a page, or the given rows, in one batch; its number makes sending it twice harmless."""
        self.batch += 1
        settings = self.settings(
            lane, size, action="move", batch=self.batch, judged=bool(rows), limit=limit,
            ids=self.ids_wanted(size), **self.errors.sent(),
        )  # fmt: skip
        arguments = self.arguments(lane, settings, rows)
        began = time.monotonic()
        reply = parse(self.server.again(lambda: self.server.run(lua.MOVE, [lane.key], arguments)))
        self.adapt((time.monotonic() - began) * 1000)
        self.count_moved(lane, reply)
        return reply

    def ids_wanted(self, size: int) -> int:
        """How many ids of a batch are worth knowing: for the result, and as a sample of what was moved."""
        if len(self.tally.ids) < self.params["return_ids"]:
            return size
        return math.ceil(size * self.sample_every)

    def adapt(self, took: float) -> None:
        """Keep the server's stalls short: halve the batch when one took too long, grow it slowly otherwise."""
        self.tally.batches += 1
        self.tally.max_batch_ms = max(self.tally.max_batch_ms, took)
        if took > self.params["max_stall_ms"]:
            self.size = max(10, self.size // 2)
        elif took < self.params["max_stall_ms"] / 2:
            self.size = min(self.params["batch_size"], self.size + 10)

    # Counting

    def count_moved(self, lane: Lane, reply: Reply) -> None:
        """Add a batch to the tally."""
        tally = self.tally
        tally.requeued += reply.moved
        tally.queues.update(reply.queues)
        tally.sources[lane.source] += reply.moved
        tally.taken[lane.source, lane.queue] += reply.moved
        for digest, count in reply.counts.items():
            tally.errors[self.errors.of(digest).name] += count
        self.note_ids(reply.ids)

    def note_ids(self, ids: Sequence[bytes]) -> None:
        """Remember the first ids, and what a sample of them calls."""
        room = self.params["return_ids"] - len(self.tally.ids)
        self.tally.ids.extend(ids[: max(0, room)])
        sample = ids[: math.ceil(len(ids) * self.sample_every)]
        if not sample:
            return
        keys = [self.keys.job(job_id) for job_id in sample]
        heads = parse_heads(self.server.again(lambda: self.server.run(lua.HEADS, keys, [], read_only=True)))
        self.tally.heads.update(function_name(head) for head in heads)

    def leave(self, lane: Lane, entries: Sequence[tuple[bytes, str]], counts: dict[str, int]) -> None:
        """Count jobs that stay where they are, and keep the first of them for the report."""
        self.tally.skipped.update(counts)
        room = SKIPPED_SHOWN - len(self.tally.left)
        self.tally.left.extend(
            {"id": text(item), "queue": text(lane.queue), "source": lane.source, "reason": why}
            for item, why in entries[: max(0, room)]
        )

    def why_not(self, row: Row) -> Optional[str]:
        """Why a job that is there is not meant: by its function or its error."""
        if self.wanted.job_ids and not {row.item, row.item[:-33]}.intersection(self.wanted.job_ids):
            return "filtered"
        if self.wanted.by_function and not self.wanted.wants_function(function_name(row.head)):
            return "filtered"
        return self.errors.of(row.error).why_not

    # The work

    def step(self, lane: Lane, room: int) -> int:
        """Work off one page of a lane; at most ``room`` jobs. Returns how many were (or would be) moved."""
        size = self.size
        reply = self.look(lane, size) if self.filtered() else self.move(lane, size, room)
        moved = reply.moved + self.rows(lane, reply, room - reply.moved)
        self.leave(lane, reply.why, reply.skipped)
        lane.passed(reply, size, 0 if self.check else moved)
        return moved

    def rows(self, lane: Lane, reply: Reply, room: int) -> int:
        """Judge the jobs that the script only showed, and move those that are meant."""
        self.errors.learn(reply.texts)
        reasons = [(row, self.why_not(row)) for row in reply.rows]
        chosen = [row for row, why in reasons if not why][: max(0, room)]
        stay = [(row.item, why) for row, why in reasons if why]
        self.leave(lane, stay, dict(Counter(why for _, why in stay)))
        if not chosen:
            return 0
        self.tally.errors.update(self.errors.of(row.error).name for row in chosen if lane.source == "failed")
        if not self.check:
            moved = self.move(lane, len(chosen), len(chosen), chosen)
            self.leave(lane, moved.why, moved.skipped)
            return moved.moved
        self.tally.requeued += len(chosen)
        self.tally.queues.update(row.origin for row in chosen)
        self.tally.sources[lane.source] += len(chosen)
        self.tally.taken[lane.source, lane.queue] += len(chosen)
        self.note_ids([row.item for row in chosen])
        return len(chosen)

    def given(self, lane: Lane) -> None:
        """Work off the jobs that job_ids names, instead of the pages of a lane."""
        ids = self.wanted.job_ids
        for start in range(0, len(ids), self.size):
            page = ids[start : start + self.size]
            scores = self.server.again(lambda page=page: self.scores(lane.key, page))  # type: ignore[misc]
            rows = [Row(item, score, "", b"", b"") for item, score in zip(page, scores) if score is not None]
            if rows:
                self.rows(lane, self.seen(lane, rows), len(rows))
        lane.done = True

    def seen(self, lane: Lane, rows: Sequence[Row]) -> Reply:
        """Look at given jobs."""
        reply = self.look(lane, len(rows), rows)
        self.leave(lane, reply.why, reply.skipped)
        return reply

    def scores(self, key: bytes, items: Sequence[bytes]) -> list[Optional[bytes]]:
        """Scores of entries, as the script's ZSCORE spells them; None for those that are not there."""
        pipeline = self.server.client.pipeline(transaction=False)
        for item in items:
            pipeline.zscore(key, item)
        return [None if score is None else spelled(float(score)) for score in pipeline.execute()]

    def work(self, most: Optional[int]) -> None:
        """Go through the lanes; stops at ``most`` jobs."""
        for lane in self.lanes:
            if self.wanted.job_ids and lane.source == "failed" and not lane.done:
                self.given(lane)
            while not lane.done:
                room = self.size if most is None else most - self.tally.requeued
                if room <= 0:
                    return
                self.step(lane, min(room, self.size))

    def counts_after(self, queue: bytes, before: dict[str, int]) -> dict[str, int]:
        """The lengths that ``counts`` found, as this run changes them."""
        after = {kind: size - self.tally.taken[kind, queue] for kind, size in before.items()}
        after["queued"] = before["queued"] + self.tally.queues[queue]
        return after

    def result(self, seconds: float) -> dict[str, Any]:
        """What the module returns."""
        tally = self.tally
        remaining = sum(lane.total for lane in self.lanes) - tally.requeued
        after = {name: self.counts_after(name.encode(), sizes) for name, sizes in self.before.items()}
        recorded = sum(tally.errors.values())
        if tally.sources["failed"] > recorded:
            tally.errors[NO_ERROR] += tally.sources["failed"] - recorded
        return {
            "changed": tally.requeued > 0,
            "requeued": tally.requeued,
            "remaining": max(0, remaining),
            "skipped": dict(tally.skipped),
            "skipped_jobs": tally.left,
            "queues": {text(name): count for name, count in sorted(tally.queues.items())},
            "sources": dict(tally.sources),
            "by_exception": dict(tally.errors.most_common(20)),
            "by_function": dict(tally.heads.most_common(20)),
            "by_function_sample": sum(tally.heads.values()),
            "job_ids": [text(job_id) for job_id in tally.ids],
            "batches": tally.batches,
            "duration": round(seconds, 3),
            "rate": round(tally.requeued / seconds) if seconds > 0 else 0,
            "max_batch_ms": round(tally.max_batch_ms, 2),
            "redis": {"host": self.server.endpoint.host, "port": self.server.endpoint.port, "role": "master"},
            "diff": {"before": self.before, "after": after},
        }

    def everything(self) -> dict[str, Any]:
        """Plan, check against max_jobs, work, report."""
        began = time.monotonic()
        self.plan()
        bound = sum(lane.total for lane in self.lanes)
        self.before = {text(queue): self.counts(queue) for queue in sorted({lane.queue for lane in self.lanes})}
        self.sample_every = min(1.0, self.params["sample"] / max(1, bound))
        most = self.params["max_jobs"]
        try:
            self.work(self.ceiling(bound, most))
            if not self.check and self.tally.batches:
                self.server.again(lambda: self.server.client.delete(self.keys.ledger(self.run_id)))
        except LifelineError as error:
            raise LifelineError(
                f"{error} {self.tally.requeued} jobs had been requeued by then; another run goes on with the rest.",
                **{**self.result(time.monotonic() - began), **error.partial},
            ) from error
        return self.result(time.monotonic() - began)

    def ceiling(self, bound: int, most: int) -> Optional[int]:
        """How many jobs this run may move; LifelineError when more are selected and that is not wanted."""
        if most <= 0 or bound <= most:
            return None
        if self.params["on_excess"] == "truncate":
            return most
        counted = Run(self.server, {**self.params, "return_ids": 0, "sample": 0, "max_jobs": 0}, check=True)
        counted.plan()
        counted.work(most + 1)
        if counted.tally.requeued > most:
            raise LifelineError(
                f"More than max_jobs={most} jobs are selected ({bound} entries in all): nothing was changed; narrow "
                "the selection, raise max_jobs, or set on_excess: truncate to take the oldest."
            )
        return None


def retries(given: str) -> Optional[int]:
    """None for ``keep``, else how many retries a job gets; LifelineError for anything else."""
    if given == "keep":
        return None
    if not given.isdigit():
        raise LifelineError(f"retries: {given!r} is neither keep nor a number of retries.")
    return int(given)


def parse_heads(raw: bytes) -> list[bytes]:
    """The first bytes of jobs' payloads."""
    found = json.loads(raw.decode("latin-1"))
    return [head.encode("latin-1") for head in found] if isinstance(found, list) else []


def spelled(score: float) -> bytes:
    """A score as Redis prints it (%.17g)."""
    if math.isinf(score):
        return b"inf" if score > 0 else b"-inf"
    return f"{score:.17g}".encode()


def work(params: dict[str, Any], check: bool, make: Callable[..., Server] = Server) -> dict[str, Any]:
    """The module rq_requeue."""
    server = make(target(params))
    try:
        return Run(server, params, check).everything()
    except CONNECTION_ERRORS as error:
        raise server.error(error) from error

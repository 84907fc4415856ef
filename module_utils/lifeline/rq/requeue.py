# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Putting lost jobs back into their queues: the run, from options to result."""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ..client import CONNECTION_ERRORS
from ..errors import LifelineError
from . import explain, lua
from .keys import Keys, matching, text
from .page import BehindError, Lane, Reply, Row, encode, pairs, parse, texts, unpack
from .payload import function_name
from .scan import Lost, known_queues, leased, lost_jobs, still_lost, waiting
from .selection import selection, stamp
from .server import Server, target
from .tally import NO_ERROR, Errors, Tally
from .warn import live_workers, warnings

# RQ's DEFAULT_FAILURE_TTL, for jobs that carry none: a year.
FAILURE_TTL = 31536000
# What holding adds to a failed job's score, which is when RQ forgets it: a hundred years.
HOLD_SECONDS = 3153600000
# What RQ itself would write down for a job whose worker is gone.
ABANDONED = "rq.exceptions.AbandonedJobError"
HEADS_AT_ONCE = 100
SMALLEST_BATCH = 25
BATCHES_TIMED = 8
REGISTRY = {
    "failed": "failed",
    "abandoned": "wip",
    "scheduled_overdue": "scheduled",
    "deferred_ready": "deferred",
    "ready": "ready",
}
# Sources that nothing tells apart from a job on its way, but a second look some time later.
TWICE = ("intermediate", "orphaned")
# Statuses of orphans that can be put back; of the others nobody knows when they are due, or what they wait for.
PUT_BACK = ("queued", "started", "failed")


class Run:
    """One run of rq_requeue against one primary."""

    def __init__(self, server: Server, params: dict[str, Any], check: bool, verb: Optional[str] = None) -> None:
        self.server = server
        self.verb = verb
        self.params = params
        self.check = check
        self.keys = Keys(params["key_prefix"])
        state = params.get("resume") or {}
        now = server.again(server.seconds)
        self.started: float = state.get("started", now)
        self._clock = time.monotonic() - now
        self._begun = time.monotonic()
        self.wanted = selection(params, self.started)
        self.retries = retries(params["retries"])
        self.errors = Errors(self.wanted)
        self.tally = Tally()
        self.run_id: str = state.get("run", uuid.uuid4().hex[:12])
        self.batch: int = state.get("batch", 0)
        self.size = max(1, params["batch_size"])
        self.lanes: list[Lane] = []
        self.before: dict[str, dict[str, int]] = {}
        self.sample_every = 1.0
        self._timed = (0, 0)
        self._done_before = 0
        self._probed = False
        self._most: Optional[int] = None
        self._sample: list[bytes] = []
        self.notices: list[str] = []
        self.first_look: list[tuple[Lane, list[Row]]] = []
        self.orphans: list[Lost] = []
        self.looked_at = 0.0

    def now(self) -> float:
        """The server's clock, in Unix seconds, without asking it each time."""
        return time.monotonic() - self._clock

    # What there is

    def plan(self) -> None:
        """Find the lanes and their sizes; refuses keys of the wrong type before anything is changed."""
        self.lanes = []
        self.expect_type(self.keys.queues, "set")
        for queue in self.queues():
            self.expect_type(self.keys.queue(queue), "list")
            for source in self.params["sources"]:
                if source in REGISTRY:
                    self.lanes.append(self.lane(source, queue))

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
        plain = [name.encode() for name in self.wanted.queues if not any(sign in name for sign in "*?[")]
        return sorted({*matching(known_queues(self.server, self.keys), self.wanted.queues), *plain})

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
        if self.verb == "release":
            held = self.now() + HOLD_SECONDS / 2
            return int(self.server.again(lambda: self.server.client.zcount(lane.key, held, "+inf")))
        by_time = lane.source in ("scheduled_overdue", "ready") or (
            lane.source == "abandoned" and not self.params["workers_stopped"]
        )
        if by_time:
            limit = self.now() - self.grace()
            return int(self.server.again(lambda: self.server.client.zcount(lane.key, "-inf", limit)))
        return int(self.server.again(lambda: self.server.client.zcard(lane.key)))

    def grace(self) -> float:
        """Seconds that a lease must have run out for, and between two looks."""
        return float(self.params["grace"])

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
            "start": stamp(self.started) if wanted.before is None and not self.verb else None,
            "after": stamp(wanted.after) if wanted.after is not None else None,
            "after_s": wanted.after,
            "before": stamp(wanted.before) if wanted.before is not None else None,
            "before_s": wanted.before,
            "failure_ttl": FAILURE_TTL,
            "verb": self.verb,
            "hold": HOLD_SECONDS,
            "held_from": now + HOLD_SECONDS / 2,
            "stopped": wanted.stopped,
            "workers": list(wanted.workers) or None,
            "max_requeues": params["max_requeues"],
            "persist": params["ttl_policy"] == "persist",
            "front": params["position"] == "front",
            "retries": self.retries,
            "grace": self.grace(),
            "workers_stopped": params["workers_stopped"],
            "dead_workers": params["dead_workers"] or None,
            "allow_missing_parents": params["allow_missing_parents"],
            "look_failure": wanted.by_error and lane.source == "failed",
            "look_data": wanted.by_function,
            **extra,
        }

    def arguments(self, lane: Lane, settings: dict[str, Any], rows: Sequence[Row]) -> list[Any]:
        """ARGV of the script."""
        ledger = self.keys.ledger(self.run_id)
        return [encode(settings), self.keys.prefix, lane.queue, lane.last, ledger, *pairs(rows)]

    def look(self, lane: Lane, size: int, rows: Sequence[Row] = ()) -> Reply:
        """See a page, or the given rows, and change nothing."""
        arguments = self.arguments(lane, self.settings(lane, size, action="look", **self.errors.sent()), rows)
        return parse(self.server.again(lambda: self.server.run(lua.LOOK, [lane.key], arguments, read_only=True)))

    def move(self, lane: Lane, size: int, limit: int, rows: Sequence[Row] = ()) -> Reply:
        """Move a page, or the given rows, in one batch; its number makes sending it twice harmless."""
        self.probe()
        settings = self.settings(
            lane, size, action="move", batch=self.batch + 1, judged=bool(rows), limit=limit,
            ids=self.ids_wanted(size), **self.errors.sent(),
        )  # fmt: skip
        arguments = self.arguments(lane, settings, rows)
        reply = parse(self.server.again(lambda: self.server.run(lua.MOVE, [lane.key], arguments)))
        self.batch += 1
        self.adapt()
        self.tally.moved(lane, reply.queues)
        for digest, count in reply.counts.items():
            self.tally.errors[self.errors.of(digest).name] += count
        self.note_ids(reply.ids)
        if reply.moved:
            self.hold_back()
        return reply

    def probe(self) -> None:
        """Before the first batch, make sure of every right that a batch needs; LifelineError names what is refused."""
        if self.batch or self._probed:
            return
        key = self.keys.ledger(self.run_id) + b":probe"
        refused = self.server.again(lambda: self.server.run(lua.PROBE, [key], [])).decode("utf-8", "replace")
        if refused:
            raise self.server.error(RuntimeError(refused))
        self._probed = True

    def hold_back(self) -> None:
        """Wait for replicas, and keep to the rate that was asked for."""
        wanted = self.params["wait_replicas"]
        if wanted:
            acked = self.server.again(lambda: self.server.wait_replicas(wanted, self.params["wait_timeout"]))
            least = self.tally.replicas_acked
            self.tally.replicas_acked = acked if least is None else min(least, acked)
            if acked < wanted:
                raise LifelineError(
                    f"Only {acked} of {wanted} replicas confirmed a batch within {self.params['wait_timeout']} ms: "
                    "bring them back, or give less for wait_replicas; until then a failover could undo the last batch."
                )
        if self.params["rate"] > 0:
            done = self.tally.requeued - self._done_before
            ahead = done / self.params["rate"] - (time.monotonic() - self._begun)
            if ahead > 0:
                time.sleep(ahead)

    def ids_wanted(self, size: int) -> int:
        """How many ids of a batch are worth knowing: for the result, and as a sample of what was moved."""
        if len(self.tally.ids) < self.params["return_ids"]:
            return size
        return math.ceil(size * self.sample_every)

    def adapt(self) -> None:
        """Keep the server's stalls short: fit the batches to the time that the last few took it."""
        self.tally.batches += 1
        if self.tally.batches % BATCHES_TIMED:
            return
        calls, spent = self.server.again(self.server.script_time)
        before_calls, before_spent = self._timed
        self._timed = (calls, spent)
        if not before_calls or calls <= before_calls:  # the first time, or another server
            return
        took = (spent - before_spent) / (calls - before_calls) / 1000
        self.tally.max_batch_ms = max(self.tally.max_batch_ms, took)
        self.size = fitting(self.size, took, self.params["max_stall_ms"], self.batch_size())

    def batch_size(self) -> int:
        """The largest batch: what was asked for, or a tenth of a second at a given rate."""
        most = max(1, int(self.params["batch_size"]))
        rate = self.params["rate"]
        return max(1, min(most, int(rate / 10))) if rate > 0 else most

    # Counting

    def note_ids(self, ids: Sequence[bytes]) -> None:
        """Remember the first ids, and what a sample of them calls."""
        room = self.params["return_ids"] - len(self.tally.ids)
        self.tally.ids.extend(ids[: max(0, room)])
        self._sample.extend(ids[: math.ceil(len(ids) * self.sample_every)])
        if len(self._sample) >= HEADS_AT_ONCE:
            self.note_functions()

    def note_functions(self) -> None:
        """Find out what the sampled jobs call; those that ran and vanished meanwhile do not count."""
        keys = [self.keys.job(job_id) for job_id in self._sample]
        self._sample.clear()
        if keys:
            heads = texts(self.server.again(lambda: self.server.run(lua.HEADS, keys, [], read_only=True)))
            self.tally.heads.update(function_name(head) for head in heads if head)

    def why_not(self, lane: Lane, row: Row) -> Optional[str]:
        """Why a job that is there is not meant: by its id, its function or its error."""
        if self.wanted.job_ids and not {row.item, row.item[:-33]}.intersection(self.wanted.job_ids):
            return "filtered"
        if self.wanted.by_function and not self.wanted.wants_function(function_name(row.head)):
            return "filtered"
        if lane.source == "abandoned":
            return None if self.wanted.wants_error(ABANDONED) else "filtered"
        return self.errors.of(row.error).why_not

    # The work

    def step(self, lane: Lane, room: int) -> None:
        """Work off one page of a lane; at most ``room`` jobs."""
        size = min(self.size, lane.left())
        reply = self.look(lane, size) if self.filtered() else self.move(lane, size, min(room, size))
        moved = reply.moved + self.rows(lane, reply, room - reply.moved)
        self.tally.leave(lane, reply.why[:100], reply.skipped)
        pruned = self.prune(lane, [item for item, why in reply.why if why == "missing"])
        lane.passed(reply, size, 0 if self.check else moved + pruned)

    def rows(self, lane: Lane, reply: Reply, room: int) -> int:
        """Judge the jobs that the script only showed, and move those that are meant."""
        self.errors.learn(reply)
        reasons = [(row, self.why_not(lane, row)) for row in reply.rows]
        chosen = [row for row, why in reasons if not why][: max(0, room)]
        stay = [(row.item, why) for row, why in reasons if why]
        self.tally.leave(lane, stay, Counter(why for _, why in stay))
        if not chosen:
            return 0
        if lane.source == "failed":
            self.tally.errors.update(self.errors.of(row.error).name for row in chosen)
        if not self.check:
            moved = self.move(lane, len(chosen), len(chosen), chosen)
            self.tally.leave(lane, moved.why, moved.skipped)
            return moved.moved
        self.tally.moved(lane, Counter(row.origin for row in chosen))
        self.note_ids([row.item for row in chosen])
        return len(chosen)

    def prune(self, lane: Lane, items: Sequence[bytes]) -> int:
        """Remove entries whose job is gone, where that is wanted."""
        if not items or self.params["missing"] != "prune":
            return 0
        if self.check:
            self.tally.pruned += len(items)
            return 0
        arguments = [self.keys.prefix, *items]
        count = int(unpack(self.server.again(lambda: self.server.run(lua.PRUNE, [lane.key], arguments))))
        self.tally.pruned += count
        return count

    def given(self, lane: Lane) -> None:
        """Work off the jobs that job_ids names, instead of the pages of a lane."""
        ids = self.wanted.job_ids
        for start in range(0, len(ids), self.size):
            page = ids[start : start + self.size]
            scores = self.server.again(lambda page=page: self.scores(lane.key, page))  # type: ignore[misc]
            found = [Row(item, score, "", b"", b"") for item, score in zip(page, scores) if score is not None]
            self.given_rows(lane, found)
        lane.done = True

    def given_rows(self, lane: Lane, rows: Sequence[Row]) -> None:
        """Look at given jobs, then move those that are meant."""
        for start in range(0, len(rows), self.size):
            page = rows[start : start + self.size]
            reply = self.look(lane, len(page), page)
            self.tally.leave(lane, reply.why, reply.skipped)
            self.rows(lane, reply, len(page))

    def scores(self, key: bytes, items: Sequence[bytes]) -> list[Optional[bytes]]:
        """Scores of entries, as the script's ZSCORE spells them; None for those that are not there."""
        pipeline = self.server.client.pipeline(transaction=False)
        for item in items:
            pipeline.zscore(key, item)
        return [None if score is None else spelled(float(score)) for score in pipeline.execute()]

    def look_first(self) -> None:
        """The first look at sources that need two."""
        sources = self.params["sources"]
        self.first_look = []
        if "intermediate" in sources:
            for queue in self.queues():
                lane = Lane("intermediate", queue, self.keys.intermediate(queue))
                self.expect_type(lane.key, "list")
                busy = leased(self.server, self.keys, [queue])  # those are abandoned, if anything
                ids = [job_id for page in waiting(self.server, lane.key) for job_id in page if job_id not in busy]
                rows = [Row(job_id, b"", "", b"", queue) for job_id in ids]
                seen = self.look(lane, len(rows), rows).rows if rows else []
                if seen:
                    lane.total = len(seen)
                    self.first_look.append((lane, seen))
        if "orphaned" in sources:
            meant = [job for job in lost_jobs(self.server, self.keys) if self.meant(job)]
            self.orphans = [job for job in meant if job.status in PUT_BACK]
            other = Counter(job.status for job in meant if job.status not in PUT_BACK)
            for status, count in other.items():
                self.notices.append(
                    f"{count} jobs say that they are {status} but are in no registry: nobody knows when they are due "
                    "or what they wait for, so they were left (rq_info lists them)."
                )
        self.looked_at = time.monotonic()

    def meant(self, job: Lost) -> bool:
        """Whether an orphan belongs to the queues that are meant."""
        return bool(matching([job.origin], self.wanted.queues))

    def look_again(self) -> None:
        """The second look, ``grace`` after the first, and the move of what did not budge."""
        unripe = any(row.error != "ripe" for _, rows in self.first_look for row in rows)
        if self.orphans or unripe:
            ahead = self.looked_at + self.grace() - time.monotonic()
            if ahead > 0 and not self.params["workers_stopped"]:
                time.sleep(ahead)
        for lane, rows in self.first_look:
            # Each is pushed to the front, so that the last pushed is next: as they were taken.
            again = [Row(row.item, row.expected, "", row.head, row.origin) for row in reversed(rows)]
            self.given_rows(lane, again)
        if self.orphans:
            self.put_back_orphans(still_lost(self.server, self.keys, self.orphans))

    def put_back_orphans(self, jobs: Sequence[Lost]) -> None:
        """Move orphans, queue by queue, in the order that they were enqueued."""
        by_queue: dict[bytes, list[Lost]] = {}
        for job in sorted(jobs, key=lambda job: job.enqueued_at):
            by_queue.setdefault(job.origin, []).append(job)
        for queue, found in by_queue.items():
            lane = Lane("orphaned", queue, self.keys.queue(queue), total=len(found))
            rows = [Row(job.job_id, job.expected, "", b"", queue) for job in found]
            self.given_rows(lane, rows[::-1] if self.params["position"] == "front" else rows)

    def work(self, most: Optional[int], deadline: Optional[float] = None) -> bool:
        """Go through the lanes; False when ``deadline`` (monotonic) came first. Stops at ``most`` jobs."""
        for lane in self.lanes:
            if self.wanted.job_ids and lane.source != "abandoned" and not lane.done:
                self.given(lane)
            while not lane.done:
                room = self.size if most is None else most - self.tally.requeued
                if room <= 0:
                    return True
                self.step(lane, room)
                if deadline is not None and time.monotonic() > deadline:
                    return all(lane.done for lane in self.lanes)
        return True

    def twice(self) -> None:
        """The sources that need two looks."""
        if any(source in TWICE for source in self.params["sources"]):
            self.look_first()
            self.look_again()

    def dedupe(self) -> None:
        """Remove second copies of what this run put into a queue."""
        if not self.params["dedupe"] or self.check:
            return
        for queue in self.tally.queues:
            key = self.keys.queue(queue)
            seen: set[int] = set()
            twice: set[bytes] = set()
            for page in waiting(self.server, key):
                for job_id in page:
                    (twice.add(job_id) if hash(job_id) in seen else seen.add(hash(job_id)))
            doubled = sorted(twice)
            for start in range(0, len(doubled), 10):
                arguments = [self.keys.prefix, stamp(self.started), *doubled[start : start + 10]]
                self.tally.deduped += int(unpack(self.server.run(lua.DEDUPE, [key], arguments)))

    def rewind(self, behind: BehindError) -> None:
        """Start over on a primary that lacks acknowledged batches; its ledger says what it does have."""
        had = self.tally.requeued
        self.batch = behind.batch
        ledger = self.server.again(lambda: self.server.client.hgetall(self.keys.ledger(self.run_id)))
        kept = Counter({name[6:]: int(count) for name, count in ledger.items() if name.startswith(b"queue:")})
        self.tally = Tally(requeued=sum(kept.values()), queues=kept, batches=self.tally.batches)
        self.notices.append(
            f"A failover to {self.server.endpoint} lost {had - self.tally.requeued} of {had} requeued jobs that no "
            "replica had yet: they were put back again. The counts by function, error and source begin there."
        )
        self.plan()

    # The whole

    def everything(self) -> dict[str, Any]:
        """Plan, check against max_jobs, work, report."""
        state = self.params.get("resume") or {}
        self.refuse_unsafe()
        if state:
            self.restore(state)
        else:
            self.plan()
            self.before = {text(queue): self.counts(queue) for queue in sorted({lane.queue for lane in self.lanes})}
        bound = sum(lane.total for lane in self.lanes)
        self.sample_every = min(1.0, self.params["sample"] / max(1, bound))
        self._done_before = self.tally.requeued
        try:
            finished = self.through(state, bound)
        except LifelineError as error:
            raise LifelineError(
                f"{error} {self.tally.requeued} jobs had been requeued by then; another run goes on with the rest.",
                **{**self.result(finished=False), **error.partial},
            ) from error
        return self.result(finished)

    def through(self, state: Mapping[str, Any], bound: int) -> bool:
        """All the work of one call; whether the run is finished."""
        most = state["most"] if state else self.ceiling(bound, self.params["max_jobs"])
        self._most = most
        limit = self.params["time_limit"]
        deadline = time.monotonic() + limit if limit > 0 else None
        self.size = min(self.size, self.batch_size())
        while True:
            try:
                finished = self.work(most, deadline)
                if finished:
                    self.twice()
                break
            except BehindError as behind:
                self.rewind(behind)
        self.note_functions()
        if finished:
            self.dedupe()
            if self.batch and not self.check:
                self.server.again(lambda: self.server.client.delete(self.keys.ledger(self.run_id)))
        return finished

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the call before stopped."""
        try:
            self.tally = Tally.restore(state["tally"])
            self.before = state["before_counts"]
            for source, queue, total, skip, gone, last, high, done in state["lanes"]:
                name = queue.encode("latin-1")
                key = self.keys.registry(REGISTRY[source], name)
                self.lanes.append(Lane(source, name, key, total, skip, gone, last.encode("latin-1"), high, done))
        except (KeyError, ValueError, TypeError, AttributeError):
            raise LifelineError(
                "resume is not what a call of rq_requeue returned: leave it out to start anew."
            ) from None

    def state(self) -> dict[str, Any]:
        """What the next call needs to go on."""
        return {
            "run": self.run_id,
            "batch": self.batch,
            "started": self.started,
            "most": self._most,
            "before_counts": self.before,
            "lanes": [lane.state() for lane in self.lanes],
            "tally": self.tally.state(),
        }

    def refuse_unsafe(self) -> None:
        """No grace needs stopped workers, and stopped workers leave no live keys."""
        if self.params["grace"] <= 0 and not self.params["workers_stopped"]:
            raise LifelineError(
                "grace: 0 would take jobs away from workers that are at them: stop the workers and say "
                "workers_stopped: true, or give a grace above 0."
            )
        if not self.params["workers_stopped"]:
            return
        live = live_workers(self.server, self.keys, self.wanted.queues)
        alive = [name for name in live if name not in self.params["dead_workers"]]
        if alive:
            raise LifelineError(
                f"workers_stopped was said, but {', '.join(alive[:5])} still has a live key: stop the workers, or name "
                "those that were killed in dead_workers (their keys vanish by themselves within 8 minutes)."
            )

    def ceiling(self, bound: int, most: int) -> Optional[int]:
        """How many jobs this run may move; LifelineError when more are selected and that is not wanted."""
        if self.params["missing"] == "fail" or 0 < most < bound:
            counted = Run(self.server, {**self.params, "return_ids": 0, "sample": 0, "missing": "ignore"}, check=True)
            counted.plan()
            counted.work(most + 1 if most > 0 else None)
            if self.params["missing"] == "fail" and counted.tally.skipped["missing"]:
                raise LifelineError(
                    f"{counted.tally.skipped['missing']} entries have no job any more (missing: fail): nothing was "
                    "changed; missing: prune removes them, ignore steps over them."
                )
            if counted.tally.requeued > most > 0 and self.params["on_excess"] == "fail":
                raise LifelineError(
                    f"More than max_jobs={most} jobs are selected ({bound} entries in all): nothing was changed; "
                    "narrow the selection, raise max_jobs, or set on_excess: truncate to take the oldest."
                )
        return most if most > 0 else None

    def counts_after(self, queue: bytes, before: dict[str, int]) -> dict[str, int]:
        """The lengths that ``counts`` found, as this run changes them."""
        after = {kind: size - self.tally.taken[kind, queue] for kind, size in before.items()}
        after["queued"] = before["queued"] + self.tally.queues[queue]
        return after

    def result(self, finished: bool) -> dict[str, Any]:
        """What the module returns."""
        tally, seconds = self.tally, time.monotonic() - self._begun
        errors = Counter(tally.errors)
        if tally.sources["failed"] > sum(errors.values()):
            errors[NO_ERROR] += tally.sources["failed"] - sum(errors.values())
        after = {name: self.counts_after(name.encode(), sizes) for name, sizes in self.before.items()}
        entries = sum(lane.total for lane in self.lanes)
        found: dict[str, Any] = {
            "changed": tally.requeued + tally.pruned + tally.deduped > 0,
            "finished": finished,
            "requeued": tally.requeued,
            "total": entries,
            "remaining": max(0, entries - sum(tally.taken[lane.source, lane.queue] for lane in self.lanes)),
            "to_look_at": sum(lane.left() for lane in self.lanes),
            "left": dict(tally.skipped),
            "left_jobs": tally.left,
            "queues": {text(name): count for name, count in sorted(tally.queues.items())},
            "sources": {source: count for source, count in tally.sources.items() if count},
            "by_exception": dict(errors.most_common(20)),
            "by_function": dict(tally.heads.most_common(20)),
            "by_function_sample": sum(tally.heads.values()),
            "job_ids": [text(job_id) for job_id in tally.ids],
            "notes": explain.notes(tally.sources, tally.skipped),
            "pruned": tally.pruned,
            "deduped": tally.deduped,
            "batches": tally.batches,
            "duration": round(seconds, 3),
            "rate": round((tally.requeued - self._done_before) / seconds) if seconds > 0 else 0,
            "max_batch_ms": round(tally.max_batch_ms, 2),
            "replicas_acked": tally.replicas_acked,
            "redis": {"host": self.server.endpoint.host, "port": self.server.endpoint.port, "role": "master"},
            "diff": {"before": self.before, "after": after},
        }
        found["advice"] = [*self.notices, *(warnings(self.server, self.keys, list(tally.queues)) if finished else ())]
        found["warnings"] = list(found["advice"])  # Ansible shows these, and takes them out of what it registers
        if not finished:
            found["resume"] = self.state()
        return found


def fitting(size: int, took: float, most_ms: float, largest: int) -> int:
    """The size of batches that take the server ``most_ms``, when those of ``size`` took it ``took`` milliseconds."""
    if took <= 0:
        return largest
    # At most by half at a time: a few slow batches may be somebody else's doing.
    wanted = size * min(1.5, max(0.5, most_ms / took))
    return max(min(SMALLEST_BATCH, largest), min(largest, int(wanted)))


def retries(given: str) -> Optional[int]:
    """None for ``keep``, else how many retries a job gets; LifelineError for anything else."""
    if given == "keep":
        return None
    if not given.isdigit():
        raise LifelineError(f"retries: {given!r} is neither keep nor a number of retries.")
    return int(given)


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

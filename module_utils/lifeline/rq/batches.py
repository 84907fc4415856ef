# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Batches of one run: what is asked of the script, in which size and at which pace, and what came of it."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Sequence
from typing import Any, Optional

from ..errors import LifelineError
from . import lua
from .dead import Dead
from .keys import Keys
from .page import Lane, Reply, Row, encode, pairs, parse, texts
from .payload import function_name
from .selection import selection, stamp
from .server import Server
from .tally import Errors, Tally

# RQ's DEFAULT_FAILURE_TTL, for jobs that carry none: a year.
FAILURE_TTL = 31536000
# What holding adds to a failed job's score, which is when RQ forgets it: a hundred years.
HOLD_SECONDS = 3153600000
HEADS_AT_ONCE = 100
SMALLEST_BATCH = 25
BATCHES_TIMED = 8


class Batches:
    """The script's side of a run. ``verb`` is ``hold`` or ``release`` for rq_hold, None for requeueing.

    ``state`` is what an earlier slice of the same run left; see ``requeue.Run.state``.
    """

    def __init__(
        self, server: Server, params: dict[str, Any], check: bool, verb: Optional[str], state: dict[str, Any]
    ) -> None:
        self.server = server
        self.verb = verb
        self.params = params
        self.check = check
        self.keys = Keys(params["key_prefix"])
        now = server.again(server.seconds)
        self.started: float = state.get("started", now)
        self._clock = time.monotonic() - now
        self.begun = time.monotonic()
        self.wanted = selection(params, self.started)
        self.dead = Dead(server, self.keys, params, state.get("dead") or {})
        self.retries = retries(params["retries"])
        self.errors = Errors(self.wanted)
        self.tally = Tally()
        self.run_id: str = state.get("run", uuid.uuid4().hex[:12])
        self.batch: int = state.get("batch", 0)
        self.size = max(1, params["batch_size"])
        self.sample_every = 1.0
        self.done_before = 0
        self._timed = (0, 0)
        self._probed = False
        self._sample: list[bytes] = []

    def now(self) -> float:
        """The server's clock, in Unix seconds, without asking it each time."""
        return time.monotonic() - self._clock

    def grace(self) -> float:
        """Seconds that a lease must have run out for, and between two looks."""
        return float(self.params["grace"])

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
            "dead_workers": self.dead.beats or None,
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
            done = self.tally.requeued - self.done_before
            ahead = done / self.params["rate"] - (time.monotonic() - self.begun)
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

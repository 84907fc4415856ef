# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Putting lost jobs back into their queues: the run, from options to result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ..common.client import CONNECTION_ERRORS
from ..errors import LifelineError
from . import explain, lua
from .batches import Batches
from .keys import text
from .page import BehindError, Lane, unpack
from .scan import waiting
from .selection import stamp
from .server import Server, target
from .tally import NO_ERROR, Tally
from .twice import Twice
from .walk import REGISTRY, Walk
from .warn import live_workers, unrecoverable, warnings


class Run:
    """One run of rq_requeue, or of rq_hold (``verb``), against one primary."""

    def __init__(self, server: Server, params: dict[str, Any], check: bool, verb: Optional[str] = None) -> None:
        self.server = server
        self.params = params
        self.check = check
        self.batches = Batches(server, params, check, verb, params.get("resume") or {})
        self.keys = self.batches.keys
        self.walk = Walk(self.batches)
        self.notices: list[str] = []
        self.twice = Twice(self.walk, self.notices)
        self.before: dict[str, dict[str, int]] = {}
        self._most: Optional[int] = None

    @property
    def tally(self) -> Tally:
        """What it has done so far."""
        return self.batches.tally

    def everything(self) -> dict[str, Any]:
        """Plan, check against max_jobs, work, report."""
        state = self.params.get("resume") or {}
        self.refuse_unsafe()
        if state:
            self.restore(state)
        else:
            self.walk.plan()
            queues = sorted({lane.queue for lane in self.walk.lanes})
            self.before = {text(queue): self.walk.counts(queue) for queue in queues}
            self.notices += [f"No queue matches {name}." for name in self.walk.unmatched() if name != "*"]
        bound = sum(lane.total for lane in self.walk.lanes)
        self.batches.sample_every = min(1.0, self.params["sample"] / max(1, bound))
        self.batches.done_before = self.tally.requeued
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
        looked = self.twice.wanted and not state
        if looked:
            self.twice.look_first()  # before anything is moved, since max_jobs counts these as well
        self._most = most = state["most"] if state else self.ceiling(bound, self.params["max_jobs"])
        limit = self.params["time_limit"]
        deadline = time.monotonic() + limit if limit > 0 else None
        self.batches.size = min(self.batches.size, self.batches.batch_size())
        while True:
            try:
                finished = self.walk.work(most, deadline)
                if finished and self.twice.wanted:
                    if not looked:
                        self.twice.look_first()
                    self.twice.look_again(most)
                break
            except BehindError as behind:
                self.rewind(behind)
        self.batches.note_functions()
        if finished:
            self.dedupe()
            if self.batches.batch and not self.check:
                self.server.again(lambda: self.server.client.delete(self.keys.ledger(self.batches.run_id)))
        return finished

    def ceiling(self, bound: int, most: int) -> Optional[int]:
        """How many jobs this run may move; LifelineError when more are selected and that is not wanted."""
        suspects = self.twice.suspects
        if self.params["missing"] == "fail" or 0 < most < bound + suspects:
            less = {"return_ids": 0, "sample": 0, "missing": "ignore", "dead_workers": []}
            counted = Run(self.server, {**self.params, **less}, check=True)
            counted.batches.dead = self.batches.dead
            counted.walk.plan()
            counted.walk.work(most + 1 if most > 0 else None)
            if self.params["missing"] == "fail" and counted.tally.skipped["missing"]:
                raise LifelineError(
                    f"{counted.tally.skipped['missing']} entries have no job any more (missing: fail): nothing was "
                    "changed; missing: prune removes them, ignore steps over them."
                )
            if counted.tally.requeued + suspects > most > 0 and self.params["on_excess"] == "fail":
                raise LifelineError(
                    f"More than max_jobs={most} jobs are selected ({bound + suspects} entries in all): nothing was "
                    "changed; narrow the selection, raise max_jobs, or set on_excess: truncate to take the oldest."
                )
        return most if most > 0 else None

    def refuse_unsafe(self) -> None:
        """No grace needs stopped workers, and stopped workers leave no live keys."""
        if self.params["grace"] <= 0 and not self.params["workers_stopped"]:
            raise LifelineError(
                "grace: 0 would take jobs away from workers that are at them: stop the workers and say "
                "workers_stopped: true, or give a grace above 0."
            )
        if not self.params["workers_stopped"]:
            return
        live = live_workers(self.server, self.keys, self.batches.wanted.queues)
        if live and self.batches.dead.beats:
            self.batches.dead.settle()
        gone = self.batches.dead.still() if live else set()
        alive = [name for name in live if name not in gone]
        if alive:
            raise LifelineError(
                f"workers_stopped was said, but {', '.join(alive[:5])} still has a live key: stop the workers, or name "
                "those that were killed in dead_workers (their keys vanish by themselves within 8 minutes)."
            )

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
                arguments = [self.keys.prefix, stamp(self.batches.started), *doubled[start : start + 10]]
                self.tally.deduped += int(unpack(self.server.run(lua.DEDUPE, [key], arguments)))

    def rewind(self, behind: BehindError) -> None:
        """Start over on a primary that lacks acknowledged batches; its ledger says what it does have."""
        had = self.tally.requeued
        self.batches.batch = behind.batch
        ledger = self.server.again(lambda: self.server.client.hgetall(self.keys.ledger(self.batches.run_id)))
        kept = Counter({name[6:]: int(count) for name, count in ledger.items() if name.startswith(b"queue:")})
        self.batches.tally = Tally(requeued=sum(kept.values()), queues=kept, batches=self.tally.batches)
        self.notices.append(
            f"A failover to {self.server.endpoint} lost {had - self.tally.requeued} of {had} requeued jobs that no "
            "replica had yet: they were put back again. The counts by function, error and source begin there."
        )
        self.walk.plan()

    # Slices of one run

    def state(self) -> dict[str, Any]:
        """What the next call needs to go on."""
        return {
            "run": self.batches.run_id,
            "batch": self.batches.batch,
            "started": self.batches.started,
            "most": self._most,
            "before_counts": self.before,
            "dead": self.batches.dead.state(),
            "lanes": [lane.state() for lane in self.walk.lanes],
            "tally": self.tally.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the call before stopped."""
        try:
            self.batches.tally = Tally.restore(state["tally"])
            self.before = state["before_counts"]
            for source, queue, total, skip, gone, last, high, done in state["lanes"]:
                name = queue.encode("latin-1")
                key = self.keys.registry(REGISTRY[source], name)
                self.walk.lanes.append(Lane(source, name, key, total, skip, gone, last.encode("latin-1"), high, done))
        except (KeyError, ValueError, TypeError, AttributeError):
            raise LifelineError(
                "resume is not what a call of rq_requeue returned: leave it out to start anew."
            ) from None

    # The result

    def counts_after(self, queue: bytes, before: dict[str, int]) -> dict[str, int]:
        """The lengths that ``Walk.counts`` found, as this run changes them."""
        after = {kind: size - self.tally.taken[kind, queue] for kind, size in before.items()}
        after["queued"] = before["queued"] + self.tally.queues[queue]
        return after

    def result(self, finished: bool) -> dict[str, Any]:
        """What the module returns."""
        tally, lanes, seconds = self.tally, self.walk.lanes, time.monotonic() - self.batches.begun
        errors = Counter(tally.errors)
        if tally.sources["failed"] > sum(errors.values()):
            errors[NO_ERROR] += tally.sources["failed"] - sum(errors.values())
        after = {name: self.counts_after(name.encode(), sizes) for name, sizes in self.before.items()}
        entries = sum(lane.total for lane in lanes)
        found: dict[str, Any] = {
            "changed": tally.requeued + tally.pruned + tally.deduped > 0,
            "finished": finished,
            "requeued": tally.requeued,
            "total": entries,
            "remaining": max(0, entries - sum(tally.taken[lane.source, lane.queue] for lane in lanes)),
            "to_look_at": sum(lane.left() for lane in lanes),
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
            "rate": round((tally.requeued - self.batches.done_before) / seconds) if seconds > 0 else 0,
            "max_batch_ms": round(tally.max_batch_ms, 2),
            "replicas_acked": tally.replicas_acked,
            "redis": {"host": self.server.endpoint.host, "port": self.server.endpoint.port, "role": "master"},
            "diff": {"before": self.before, "after": after},
            "unrecoverable": unrecoverable(self.server) if finished else [],
        }
        found["advice"] = [*self.notices, *(warnings(self.server, self.keys, list(tally.queues)) if finished else ())]
        found["warnings"] = list(found["advice"])  # Ansible shows these, and takes them out of what it registers
        if not finished:
            found["resume"] = self.state()
        return found


def work(params: dict[str, Any], check: bool, make: Callable[..., Server] = Server) -> dict[str, Any]:
    """The module rq_requeue."""
    server = make(target(params))
    try:
        return Run(server, params, check).everything()
    except CONNECTION_ERRORS as error:
        raise server.error(error) from error

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sources that nothing tells apart from a job on its way, but a second look some time later."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Optional

from .keys import matching
from .page import Lane, Row
from .scan import Lost, leased, lost_jobs, still_lost, waiting
from .walk import Walk

SOURCES = ("intermediate", "orphaned")
# Statuses of orphans that can be put back; of the others nobody knows when they are due, or what they wait for.
PUT_BACK = ("queued", "started", "failed")
# Seconds after which a job on its way has mostly arrived.
GLIMPSE = 1.0


class Twice:
    """The two looks of one run; ``notices`` is for people."""

    def __init__(self, walk: Walk, notices: list[str]) -> None:
        self.walk = walk
        self.batches = walk.batches
        self.server = walk.server
        self.params = walk.params
        self.keys = walk.keys
        self.notices = notices
        self.first_look: list[tuple[Lane, list[Row]]] = []
        self.orphans: list[Lost] = []
        self.looked_at = 0.0

    @property
    def wanted(self) -> bool:
        """Whether the run has such sources at all."""
        return any(source in SOURCES for source in self.params["sources"])

    @property
    def suspects(self) -> int:
        """How many jobs the first look found."""
        return len(self.orphans) + sum(len(rows) for _, rows in self.first_look)

    def look_first(self) -> None:
        """The first look, at which nothing is moved."""
        sources = self.params["sources"]
        if "intermediate" in sources:
            self.first_look = list(self.taken())
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

    def taken(self) -> Iterator[tuple[Lane, list[Row]]]:
        """Jobs that a worker of one queue took and has not started, queue by queue."""
        for queue in self.walk.queues():
            lane = Lane("intermediate", queue, self.keys.intermediate(queue))
            self.walk.expect_type(lane.key, "list")
            busy = leased(self.server, self.keys, [queue])  # those are abandoned, if anything
            ids = [job_id for page in waiting(self.server, lane.key) for job_id in page if job_id not in busy]
            rows = [Row(job_id, b"", "", b"", queue) for job_id in ids]
            seen = self.batches.look(lane, len(rows), rows).rows if rows else []
            if seen:
                lane.total = len(seen)
                yield lane, seen

    def meant(self, job: Lost) -> bool:
        """Whether an orphan belongs to the queues that are meant."""
        return bool(matching([job.origin], self.batches.wanted.queues))

    def look_again(self, most: Optional[int]) -> None:
        """The second look, ``grace`` after the first, and the move of what did not budge; at most ``most`` in the run.

        Most suspects are jobs on their way, which a short wait shows: only what is still there is worth a long one.
        """
        if self.unripe() and self.batches.grace() > GLIMPSE:
            self.wait(GLIMPSE)
            self.drop_those_that_moved()
        if self.unripe():
            self.wait(self.batches.grace())
        for lane, rows in self.first_look:
            # Each is pushed to the front, so that the last pushed is next: as they were taken.
            again = [Row(row.item, row.expected, "", row.head, row.origin) for row in reversed(rows)]
            self.walk.given_rows(lane, again, most)
        if self.orphans:
            self.put_back_orphans(still_lost(self.server, self.keys, self.orphans), most)

    def unripe(self) -> bool:
        """Whether any suspect needs time; RQ's own maintenance may have seen it long enough ago."""
        return bool(self.orphans) or any(row.error != "ripe" for _, rows in self.first_look for row in rows)

    def wait(self, seconds: float) -> None:
        """Until so long after the first look. Stopped workers take nothing, so that nobody need wait for them."""
        ahead = self.looked_at + seconds - time.monotonic()
        if ahead > 0 and not self.params["workers_stopped"]:
            time.sleep(ahead)

    def drop_those_that_moved(self) -> None:
        """Forget suspects that are somewhere now; both their lists are read anew."""
        lists = {lane.key: {job_id for page in waiting(self.server, lane.key) for job_id in page}
                 for lane, _ in self.first_look}  # fmt: skip
        kept = [(lane, [row for row in rows if row.item in lists[lane.key]]) for lane, rows in self.first_look]
        self.first_look = [(lane, rows) for lane, rows in kept if rows]
        if self.orphans:
            self.orphans = still_lost(self.server, self.keys, self.orphans)

    def put_back_orphans(self, jobs: Sequence[Lost], most: Optional[int]) -> None:
        """Move orphans, queue by queue, in the order that they were enqueued."""
        by_queue: dict[bytes, list[Lost]] = {}
        for job in sorted(jobs, key=lambda job: job.enqueued_at):
            by_queue.setdefault(job.origin, []).append(job)
        for queue, found in by_queue.items():
            lane = Lane("orphaned", queue, self.keys.queue(queue), total=len(found))
            rows = [Row(job.job_id, job.expected, "", b"", queue) for job in found]
            self.walk.given_rows(lane, rows[::-1] if self.params["position"] == "front" else rows, most)

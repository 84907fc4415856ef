# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of RQ's keys, as RQ 1.10 to 3.0 write them.

Job ids and queue names are bytes in here: RQ takes any text, and other writers put any bytes there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

# RQ's own, unless RQ 3's RQ_KEY_PREFIX says otherwise.
DEFAULT_PREFIX = "rq"
INTERMEDIATE = b":intermediate"


class Keys:
    """Key names under one prefix."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        self.prefix = prefix.encode()
        self.queues = self.prefix + b":queues"
        self.workers = self.prefix + b":workers"
        self.worker_prefix = self.prefix + b":worker:"
        self.suspended = self.prefix + b":suspended"
        self.job_prefix = self.prefix + b":job:"
        self.queue_prefix = self.prefix + b":queue:"

    def job(self, job_id: bytes) -> bytes:
        """Hash of a job."""
        return self.job_prefix + job_id

    def results(self, job_id: bytes) -> bytes:
        """Stream of a job's results (RQ 1.12 and later)."""
        return self.prefix + b":results:" + job_id

    def queue(self, name: bytes) -> bytes:
        """List of the ids that wait; its head is next."""
        return self.queue_prefix + name

    def intermediate(self, name: bytes) -> bytes:
        """List of ids that a worker of this one queue took and has not started yet (RQ 1.15 and later)."""
        return self.queue_prefix + name + INTERMEDIATE

    def registry(self, kind: str, name: bytes) -> bytes:
        """Sorted set of a queue: failed, wip, scheduled, deferred, ready, finished or canceled."""
        return b":".join((self.prefix, kind.encode(), name))

    def scheduler_lock(self, name: bytes) -> bytes:
        """Lease of the scheduler that moves this queue's scheduled jobs."""
        return self.prefix + b":scheduler-lock:" + name

    def worker_name(self, key: bytes) -> bytes:
        """Name of a worker from its key; the key itself where it is no worker's."""
        return key[len(self.worker_prefix) :] if key.startswith(self.worker_prefix) else key

    def own(self, purpose: str) -> bytes:
        """Beginning of keys that Lifeline writes itself, beside RQ's: gate, canary."""
        return self.prefix + b":lifeline:" + purpose.encode() + b":"

    def ledger(self, run: str) -> bytes:
        """What a run of rq_requeue has done so far; gone an hour after its last batch."""
        return self.own("requeue") + run.encode()

    def queue_name(self, key: bytes) -> bytes:
        """Name of a queue from its key; empty when the key is no queue's."""
        if not key.startswith(self.queue_prefix):
            return b""
        name = key[len(self.queue_prefix) :]
        return b"" if INTERMEDIATE + b":" in name or name.endswith(INTERMEDIATE) else name


# Where redis_write_probe writes, unless it is told another place.
CANARY = Keys().own("canary").decode()


def names(reply: Iterable[object]) -> list[bytes]:
    """The names in a set, sorted; a server may answer with numbers or nothing in their place, which are none."""
    return sorted(name for name in reply if isinstance(name, bytes))


def text(raw: bytes) -> str:
    """Bytes for people and JSON; what is not UTF-8 shows as \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def matching(names: Iterable[bytes], patterns: Iterable[str]) -> list[bytes]:
    """Those of ``names`` that equal or match (``*``, ``?``, ``[...]``) one of ``patterns``, sorted."""
    wanted = list(patterns)
    return sorted(name for name in set(names) if any(match(name, pattern) for pattern in wanted))


def match(name: bytes, pattern: str) -> bool:
    """Whether a name equals a pattern or is matched by it; letter case counts."""
    shown = text(name)
    return shown == pattern or fnmatch.fnmatchcase(shown, pattern)

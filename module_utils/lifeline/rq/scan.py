# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs that are nowhere: no index of RQ's leads to them, so the keyspace is gone through."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from ..errors import LifelineError
from . import lua
from .keys import Keys
from .keys import names as members
from .page import texts, unpack
from .server import Server

PAGE = 1000
# Keys that one SCAN looks at: about 2 ms of the server's time.
SCANNED = 500
# One look's seconds, entries of queues (some 70 bytes each) and lost jobs: a server may name more without end.
SECONDS, ENTRIES, LOST = 300.0, 5_000_000, 500_000


class Look:
    """What one look has taken so far. Raises LifelineError for what is more than a look may take."""

    def __init__(self, server: Server) -> None:
        self.where = server.endpoint
        self.until = time.monotonic() + SECONDS
        self.entries = 0

    def took(self, entries: int = 0, lost: int = 0) -> None:
        """After each page: so many entries more, and so many jobs lost by now."""
        self.entries += entries
        for much, most, what in ((self.entries, ENTRIES, "waiting jobs"), (lost, LOST, "lost jobs")):
            if much > most:
                raise LifelineError(
                    f"Redis at {self.where} names more than {most:,} {what}, which is more than one look takes in: "
                    "name fewer queues, and look at that server."
                )
        if time.monotonic() > self.until:
            raise LifelineError(
                f"Going through the jobs of Redis at {self.where} took more than {SECONDS:.0f} s: name fewer queues, "
                "or leave out orphans, and look at that server."
            )


@dataclass(frozen=True)
class Lost:
    """A job whose status says that it is somewhere where it is not."""

    job_id: bytes
    status: str
    enqueued_at: bytes
    origin: bytes

    @property
    def expected(self) -> bytes:
        """What it must still be when it is moved."""
        return self.status.encode() + b"|" + self.enqueued_at


def known_queues(server: Server, keys: Keys) -> list[bytes]:
    """Names of the queues that RQ knows of."""
    names = (keys.queue_name(key) for key in members(server.again(lambda: server.client.smembers(keys.queues))))
    return sorted(name for name in names if name)


def waiting(server: Server, key: bytes, look: Optional[Look] = None) -> Iterator[list[bytes]]:
    """A list's entries in pages, from its tail: workers take from its head, which then shifts nothing."""
    look = look or Look(server)
    end = -1
    while True:
        low = end - PAGE + 1

        def page(low: int = low, end: int = end) -> bytes:
            return server.run(lua.TAIL, [key], [low, end], read_only=True)

        found = texts(server.again(page))
        look.took(len(found))
        if found:
            yield found
        if len(found) < PAGE:
            return
        end = low - 1


def listed(server: Server, keys: Keys, queues: Iterable[bytes], look: Look) -> set[int]:
    """Hashes of all ids that wait in these queues or were just taken from them.

    Hashes, since a million ids would need twice the memory; two ids of one hash (1 in 10^7 at a million) would at worst
    hide an orphan from this run.
    """
    found: set[int] = set()
    for name in queues:
        for key in (keys.queue(name), keys.intermediate(name)):
            look.took()
            if server.again(lambda key=key: server.client.type(key)) == b"list":  # type: ignore[misc]
                for page in waiting(server, key, look):
                    found.update(map(hash, page))
    return found


def leased(server: Server, keys: Keys, queues: Iterable[bytes], look: Optional[Look] = None) -> set[bytes]:
    """Ids in wip, in both spellings (ID and ID:EXECUTION), expired ones too: those are abandoned, not orphaned."""
    look = look or Look(server)
    found: set[bytes] = set()
    for name in queues:
        key = keys.registry("wip", name)
        look.took()
        if server.again(lambda key=key: server.client.type(key)) == b"zset":  # type: ignore[misc]
            for member in server.again(lambda key=key: server.client.zrange(key, 0, -1)):  # type: ignore[misc]
                found.update((member, member.rpartition(b":")[0]))
    return found


def lost_jobs(server: Server, keys: Keys) -> list[Lost]:
    """One look at everything; what it finds may just be on its way and must be looked at twice."""
    queues, look = known_queues(server, keys), Look(server)
    there = listed(server, keys, queues, look)
    busy = leased(server, keys, queues, look)
    suspects: list[bytes] = []
    found: list[Lost] = []
    cursor = b"0"
    while True:

        def page(cursor: bytes = cursor) -> bytes:
            return server.run(lua.SCAN, [], [keys.prefix, cursor, SCANNED], read_only=True)

        following, queued, elsewhere = unpack(server.again(page))
        for name in queued or ():
            job_id = name.encode("latin-1")
            if hash(job_id) not in there and job_id not in busy:
                suspects.append(job_id)
        for row in elsewhere or ():
            job_id, status, enqueued_at, origin = (part.encode("latin-1") for part in row)
            if job_id not in busy:
                found.append(Lost(job_id, status.decode(), enqueued_at, origin))
        look.took(lost=len(suspects) + len(found))
        if following == "0":
            break
        cursor = following.encode("latin-1")
    found.extend(described(server, keys, suspects, look))
    return list({job.job_id: job for job in found}.values())


def described(server: Server, keys: Keys, suspects: Sequence[bytes], look: Look) -> Iterator[Lost]:
    """Those suspects that still say that they are queued."""
    for start in range(0, len(suspects), PAGE):
        page = suspects[start : start + PAGE]
        look.took()

        def ask(page: Sequence[bytes] = page) -> list[object]:
            pipeline = server.client.pipeline(transaction=False)
            for job_id in page:
                pipeline.hmget(keys.job(job_id), "status", "enqueued_at", "origin")
            found: list[object] = pipeline.execute(raise_on_error=False)
            return found

        for job_id, values in zip(page, server.again(ask)):
            if isinstance(values, list) and values[0] == b"queued" and values[2]:
                yield Lost(job_id, "queued", values[1] or b"", values[2])


def still_lost(server: Server, keys: Keys, jobs: Sequence[Lost]) -> list[Lost]:
    """The second look: those that no queue holds now, those that RQ has forgotten included."""
    queues, look = {*known_queues(server, keys), *(job.origin for job in jobs)}, Look(server)
    there = listed(server, keys, sorted(queues), look)
    busy = leased(server, keys, sorted(queues), look)
    return [job for job in jobs if hash(job.job_id) not in there and job.job_id not in busy]

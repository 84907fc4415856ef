# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One page of one lane: what is asked of the script, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..errors import LifelineError


@dataclass
class Lane:
    """One source of one queue, and how far a run has come in it.

    ``total`` entries are looked at, no more: what is added while the run works is not this run's. ``skip`` entries at
    the front were seen and left there, ``last`` is the last of them, ``gone`` were moved. Backwards (position front)
    the next page ends at rank ``high`` instead.
    """

    source: str
    queue: bytes
    key: bytes
    total: int = 0
    skip: int = 0
    gone: int = 0
    last: bytes = b""
    high: Optional[int] = None
    done: bool = False

    def left(self) -> int:
        """How many entries are still to be looked at."""
        if self.done:
            return 0
        return self.total - self.gone - self.skip if self.high is None else self.high + 1

    def passed(self, reply: Reply, size: int, gone: int) -> None:
        """Step over a page of which ``gone`` entries are not there any more."""
        if self.high is not None:
            self.high -= size
            self.done = self.high < 0
            return
        self.gone += gone
        self.skip = reply.skip + reply.seen - gone
        self.last = reply.last or self.last
        self.done = reply.seen < size or self.left() <= 0

    def state(self) -> list[Any]:
        """For JSON; ids may be any bytes."""
        last = self.last.decode("latin-1")
        return [self.source, self.queue.decode("latin-1"), self.total, self.skip, self.gone, last, self.high, self.done]


@dataclass(frozen=True)
class Row:
    """One job that may be moved: its entry, what the entry must still be, and what filters look at."""

    item: bytes
    expected: bytes
    error: str
    head: bytes
    origin: bytes


@dataclass(frozen=True)
class Reply:
    """What the script said of a page; ``why`` holds the entries that it left, each with its reason."""

    seen: int
    moved: int
    skip: int
    last: bytes
    skipped: dict[str, int]
    why: list[tuple[bytes, str]]
    queues: dict[bytes, int]
    rows: list[Row]
    texts: dict[str, bytes]
    counts: dict[str, int]
    ids: list[bytes] = field(default_factory=list)


class BehindError(Exception):
    """The primary does not have the batches after ``batch``: it took over without them."""

    def __init__(self, batch: int) -> None:
        super().__init__(batch)
        self.batch = batch


def parse(raw: bytes) -> Reply:
    """A reply of the script; BehindError when it refused to go on, LifelineError when it is unreadable."""
    data = unpack(raw)
    if "behind" in data:
        raise BehindError(int(data["behind"]))
    return Reply(
        seen=int(data["seen"]),
        moved=int(data["moved"]),
        skip=int(data["skip"]),
        last=_bytes(data["last"]),
        skipped={why: int(count) for why, count in _table(data["skipped"]).items()},
        why=[(_bytes(item), why) for item, why in data["why"] or ()],
        queues={_bytes(name): int(count) for name, count in _table(data["queues"]).items()},
        rows=[
            Row(_bytes(item), _bytes(expected), digest, _bytes(head), _bytes(origin))
            for item, expected, digest, head, origin in data["rows"] or ()
        ],
        texts={digest: _bytes(stored) for digest, stored in _table(data["texts"]).items()},
        counts={digest: int(count) for digest, count in _table(data["counts"]).items()},
        ids=[_bytes(job_id) for job_id in data.get("ids") or ()],
    )


def unpack(raw: bytes) -> Any:
    """JSON of the script, in latin-1; LifelineError when it is none."""
    try:
        return json.loads(raw.decode("latin-1"))
    except ValueError as error:
        raise LifelineError(f"The server's script answered something unreadable: {raw[:200]!r}.") from error


def texts(raw: bytes) -> list[bytes]:
    """A JSON list of the script; Lua cannot tell an empty list from an empty table."""
    found = unpack(raw)
    return [_bytes(entry) for entry in found] if isinstance(found, list) else []


def encode(settings: dict[str, Any]) -> bytes:
    """Settings for the script: no nulls, since Lua's JSON makes them something that counts as true."""
    return json.dumps({name: value for name, value in settings.items() if value is not None}).encode()


def pairs(rows: Sequence[Row]) -> list[bytes]:
    """Rows as the script takes them."""
    return [part for row in rows for part in (row.item, row.expected)]


def _bytes(value: str) -> bytes:
    return value.encode("latin-1")


def _table(value: Any) -> dict[str, Any]:
    """Lua cannot tell an empty list from an empty table."""
    return value if isinstance(value, dict) else {}

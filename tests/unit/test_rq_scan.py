# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Going through a keyspace ends, whatever the server says."""

from __future__ import annotations

import json
import time
from typing import Any, Callable

import pytest
from lifeline.errors import LifelineError
from lifeline.rq import scan
from lifeline.rq.keys import Keys


class Endless:
    """A server whose lists and whose keyspace have no end."""

    endpoint = "192.0.2.1:6379"

    def __init__(self, queues: int = 1, page: int = scan.PAGE, lost: int = 0) -> None:
        self.client = self
        self.names, self.page, self.lost = {b"rq:queue:%d" % number for number in range(queues)}, page, lost
        self.number = 0

    def again(self, ask: Callable[[], Any]) -> Any:
        return ask()

    def smembers(self, _key: bytes) -> set[bytes]:
        return self.names

    def type(self, key: bytes) -> bytes:
        return b"zset" if b"wip" in key else b"list"

    def zrange(self, *_range: Any) -> list[bytes]:
        return []

    def run(self, script: str, _keys: list[bytes], _arguments: list[Any], read_only: bool) -> bytes:
        assert read_only
        self.number += 1
        if script == scan.lua.SCAN:
            rows = [[f"{self.number}-{row}", "failed", "", "q"] for row in range(self.lost)]
            return json.dumps([str(self.number), [], rows]).encode()
        return json.dumps([f"job-{self.number}-{row}" for row in range(self.page)]).encode()


@pytest.mark.parametrize(
    ("server", "limits", "why"),
    [
        (Endless(), {"ENTRIES": 5000}, "more than 5,000 waiting jobs"),
        (Endless(), {"SECONDS": 0.1}, "took more than 0 s"),
        (Endless(page=1), {"SECONDS": 0.1}, "took more than 0 s"),
        (Endless(page=1, lost=50), {"LOST": 1000}, "more than 1,000 lost jobs"),
        (Endless(queues=10**5, page=0), {"SECONDS": 0.1}, "took more than 0 s"),
    ],
)
def test_B9_a_keyspace_without_end_is_left(
    monkeypatch: pytest.MonkeyPatch, server: Any, limits: dict[str, float], why: str
) -> None:
    """Before: a server whose SCAN or whose lists never end was asked until the task's timeout.

    Now: each look has its own seconds, entries and lost jobs, and says which of them was too much.
    """
    for name, value in limits.items():
        monkeypatch.setattr(scan, name, value)
    started = time.monotonic()
    with pytest.raises(LifelineError, match=why):
        scan.lost_jobs(server, Keys("rq"))
    assert time.monotonic() - started < 5


def test_B9_one_list_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "ENTRIES", 5000)
    with pytest.raises(LifelineError, match="names more than 5,000 waiting jobs"):
        sum(map(len, scan.waiting(Endless(), b"rq:queue:q")))  # type: ignore[arg-type]

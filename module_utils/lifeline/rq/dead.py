# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Workers that are said to be dead: believed for the host that says so, once their heart has stood still.

Whoever takes a job away from a worker that lives has it run twice, at the same time. So a claim counts only for workers
that are registered from the claiming host, and only while their heartbeat is the one that was seen at the start of the
run; the script compares it again in the moment in which it moves a job.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ..errors import LifelineError
from .keys import Keys, text
from .server import Server


def collect(results: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """``[{name, hostname}]`` out of what rq_services returned on each application host.

    Two hosts that call themselves the same say nothing of each other's workers, so neither of them counts.
    """
    told = [result for result in results if result.get("hostname") and isinstance(result.get("gone_workers"), Sequence)]
    times = Counter(str(result["hostname"]) for result in told)
    return [
        {"name": str(name), "hostname": str(result["hostname"])}
        for result in told
        if times[str(result["hostname"])] == 1
        for name in result["gone_workers"]
    ]


def claims(given: Sequence[Any]) -> dict[str, Optional[str]]:
    """By worker, the host that says that it is dead; None where a person says so. Of two that differ neither counts."""
    found: dict[str, set[Optional[str]]] = {}
    for entry in given:
        name, host = (entry.get("name"), entry.get("hostname")) if isinstance(entry, Mapping) else (entry, None)
        if not isinstance(name, str) or not name:
            raise LifelineError("dead_workers: each entry is a worker's name, or a dictionary with name and hostname.")
        found.setdefault(name, set()).add(str(host) if host else None)
    return {name: hosts.pop() for name, hosts in found.items() if len(hosts) == 1}


def credible(claimed: Optional[str], known: bool, hostname: str, beat: str) -> bool:
    """Whether a claim may be believed later, if the heartbeat stays what it is.

    ``known``: the worker's key is still there. Without one RQ itself holds it for dead.
    """
    if not known:
        return True
    return bool(beat) and claimed in (None, hostname)


class Dead:
    """The claims of one run. ``beats``: by worker its heartbeat at the start, empty where it has no key any more."""

    def __init__(self, server: Server, keys: Keys, params: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self.server = server
        self.keys = keys
        self.beats: dict[str, str] = dict(state.get("beats") or {})
        self.wait_s = float(state.get("wait_s") or 0.0)
        self._since = time.monotonic()
        self._first = not state
        claimed = claims(params["dead_workers"])
        if claimed and not state:
            seen = self._look(claimed)
            self.beats = {name: row[2] for name, row in seen.items() if credible(claimed[name], *row)}
            self.wait_s = float(params["worker_silence"]) if any(self.beats.values()) else 0.0

    def state(self) -> dict[str, Any]:
        """What the next slice of the same run needs."""
        return {"beats": self.beats, "wait_s": max(0.0, self.wait_s - (time.monotonic() - self._since))}

    def settle(self, sliced: bool = False) -> bool:
        """Wait until each heart has stood still for long enough, counted from the start of the run.

        False where the first slice of a run should end instead, so that somebody can say what the next one waits for.
        """
        ahead = self.wait_s - (time.monotonic() - self._since)
        if ahead > 0 and sliced and self._first:
            return False
        time.sleep(max(0.0, ahead))
        return True

    def still(self) -> set[str]:
        """Those whose heart has not beaten since the start."""
        seen = self._look(self.beats)
        return {name for name, beat in self.beats.items() if seen[name][2] == beat}

    def _look(self, names: Iterable[str]) -> dict[str, tuple[bool, str, str]]:
        """By name, (whether its key is there, its host, its last heartbeat)."""
        wanted = list(names)

        def ask() -> list[Any]:
            pipeline = self.server.client.pipeline(transaction=False)
            for name in wanted:
                pipeline.hmget(self.keys.worker_prefix + name.encode(), "hostname", "last_heartbeat", "birth")
            found: list[Any] = pipeline.execute()
            return found

        rows = self.server.again(ask) if wanted else []
        return {
            name: (any(value is not None for value in row), text(row[0] or b""), text(row[1] or b""))
            for name, row in zip(wanted, rows)
        }

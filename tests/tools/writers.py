# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients that write all the time through Sentinel, or to whoever is primary, and remember what was acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class Writers:
    """``count`` threads; each sets ``w:THREAD:NUMBER`` to its number, one after the other.

    ``find`` returns a redis client for the primary as a client would find it now, or raises a RedisError.
    """

    def __init__(self, find: Callable[[], Any], count: int = 3, pause: float = 0.005) -> None:
        self._find, self._pause = find, pause
        self._over = threading.Event()
        self.acknowledged: list[list[tuple[str, float]]] = [[] for _ in range(count)]
        self._threads = [threading.Thread(target=self._write, args=(index,), daemon=True) for index in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, index: int) -> None:
        client: Any = None
        number = 0
        while not self._over.is_set():
            try:
                client = client or self._find()
                number += 1
                key = f"w:{index}:{number}"
                client.set(key, number)
                self.acknowledged[index].append((key, time.monotonic()))
                time.sleep(self._pause)
            except (redis.exceptions.RedisError, OSError):
                client = None
                time.sleep(0.005)

    def count(self) -> int:
        """Writes acknowledged so far."""
        return sum(map(len, self.acknowledged))

    def stop(self) -> None:
        """No more writes."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def lost(self, client: Any) -> list[str]:
        """Acknowledged keys that are not there any more."""
        keys = [key for written in self.acknowledged for key, _ in written]
        found: list[str] = []
        for at in range(0, len(keys), 1000):
            page = keys[at : at + 1000]
            found += [key for key, value in zip(page, client.mget(page), strict=True) if value is None]
        return found

    def longest_gap_ms(self, since: float = 0.0) -> float:
        """The longest time that a writer was without an acknowledgement, from ``since`` (monotonic) on."""
        gaps = [0.0]
        for written in self.acknowledged:
            moments = [moment for _, moment in written if moment >= since]
            gaps += [later - earlier for earlier, later in pairwise(moments)]
        return max(gaps) * 1000


def through_sentinel(sentinels: list[Any], service: str) -> Callable[[], Any]:
    """Finds the primary as a Sentinel client does: the first sentinel that answers says where it is."""

    def find() -> Any:
        for sentinel in sentinels:
            try:
                host, port = sentinel.client(socket_timeout=1).sentinel_get_master_addr_by_name(service)
            except redis.exceptions.RedisError:
                continue
            return redis.Redis(host=host, port=port, socket_timeout=10, retry=Retry(NoBackoff(), 0))
        raise redis.exceptions.ConnectionError("no sentinel answers")

    return find


def who_takes_writes(nodes: list[Any]) -> Callable[[], Any]:
    """Finds the primary as an endpoint does: by asking each node for its role."""

    def find() -> Any:
        for node in nodes:
            try:
                if node.client(socket_timeout=1).execute_command("ROLE")[0] == "master":
                    return node.client(socket_timeout=10)
            except redis.exceptions.RedisError:
                continue
        raise redis.exceptions.ConnectionError("no primary")

    return find

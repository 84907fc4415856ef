#!/opt/lab-app/venv/bin/python
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write numbered keys to Redis one after the other, the way an application does, and remember what was acknowledged.

``--via endpoint`` goes through REDIS_URL, ``--via sentinel`` asks the sentinels. Each acknowledged write is a line
``NUMBER SECONDS`` in ``--output``. ``--check FILE`` instead counts which of those keys are there now, and removes them:
``{acknowledged, lost}``. Bounded by ``--seconds``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 2, "retry": Retry(NoBackoff(), 0)}
PAGE = 1000


def through_url(url: str) -> redis.Redis:
    """The one address that the application knows."""
    return redis.Redis.from_url(url, **OPTIONS)


def through_sentinel(url: str, sentinels: list[tuple[str, int]], service: str) -> redis.Redis:
    """As a client that knows Sentinel, with the login and CA of the URL."""
    parts = urlsplit(url)
    login: dict[str, Any] = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    if parts.scheme == "rediss":
        login.update(ssl=True, ssl_ca_certs=parts.query.partition("ssl_ca_certs=")[2], ssl_check_hostname=False)
    asking = {**login, "socket_timeout": 1, "socket_connect_timeout": 1}
    found: redis.Redis = Sentinel(sentinels, sentinel_kwargs=asking).master_for(service, **login, **OPTIONS)
    return found


def write(client: redis.Redis, prefix: str, seconds: float, pause: float, output: str) -> None:
    """Until the time is over; a write that fails is not tried again, as nobody knows what became of it."""
    end = time.monotonic() + seconds
    number = 0
    with open(output, "w", encoding="ascii", buffering=1) as file:
        while time.monotonic() < end:
            number += 1
            try:
                client.set(f"{prefix}{number}", number)
                file.write(f"{number} {time.time():.6f}\n")
                time.sleep(pause)
            except (redis.exceptions.RedisError, OSError):
                time.sleep(0.005)


def check(client: redis.Redis, prefix: str, path: str, since: float) -> dict[str, int]:
    """Count what was acknowledged after ``since`` and is not there; remove all of it."""
    with open(path, encoding="ascii") as file:
        rows = [line.split() for line in file if line.endswith("\n")]
    lost = counted = 0
    for at in range(0, len(rows), PAGE):
        page = rows[at : at + PAGE]
        keys = [prefix + number for number, _ in page]
        values = client.mget(keys)
        fresh = [value for (_, moment), value in zip(page, values, strict=True) if float(moment) >= since]
        counted += len(fresh)
        lost += sum(value is None for value in fresh)
        client.delete(*keys)
    return {"acknowledged": counted, "lost": lost}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write numbered keys and remember what was acknowledged.")
    parser.add_argument("--via", choices=["endpoint", "sentinel"], default="endpoint")
    parser.add_argument("--sentinels", default="", help="host:port,host:port,...")
    parser.add_argument("--service", default="redis")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0.005)
    parser.add_argument("--output", default="/tmp/write.txt")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--since", type=float, default=0.0)
    arguments = parser.parse_args()
    url = os.environ["REDIS_URL"]
    sentinels = [
        (host, int(port)) for host, _, port in (one.rpartition(":") for one in arguments.sentinels.split(",") if one)
    ]
    client = through_sentinel(url, sentinels, arguments.service) if arguments.via == "sentinel" else through_url(url)
    prefix = f"session:write:{arguments.via}:"
    if arguments.check:
        print(json.dumps(check(client, prefix, arguments.output, arguments.since)))
    else:
        write(client, prefix, arguments.seconds, arguments.pause, arguments.output)


if __name__ == "__main__":
    main()

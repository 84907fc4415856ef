# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the units of an application host are: by systemd, by their connections, by the workers that Redis lists."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional, Sequence

from ..common import client, commands
from ..common.url import parse_url, url_from_file
from ..common.words import address
from ..errors import LifelineError
from ..rq.keys import DEFAULT_PREFIX, Keys, text
from . import application_units
from .application_units import Signs, State, Unit, Verdict


class Redis:
    """Redis as the application reaches it: through the URL in its EnvironmentFile. May be nothing at all."""

    def __init__(self, url: Optional[str], prefix: str = DEFAULT_PREFIX) -> None:
        self.keys = Keys(prefix)
        self.error = ""
        self.suspended = False
        self.endpoints: list[str] = []
        self._client: Any = None
        if not url:
            return
        endpoint, credentials, database = parse_url(url)
        self._client = client.connect(endpoint, credentials.with_timeouts(2.0, 3.0), db=database)
        if not endpoint.unix_socket:
            with suppress(OSError):
                found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
                self.endpoints = [address(str(row[4][0]), endpoint.port) for row in found]

    def workers(self) -> Optional[set[int]]:
        """Process ids of the workers that are registered from this host; None without Redis."""
        rows = self.rows()
        return None if rows is None else application_units.workers_here(rows.values(), socket.gethostname())

    def rows(self) -> Optional[dict[str, tuple[Optional[str], Optional[str]]]]:
        """(hostname, pid) of each registered worker by its name; None without Redis."""
        if self._client is None:
            return None
        try:
            workers = sorted(self._client.smembers(self.keys.workers))
            pipeline = self._client.pipeline(transaction=False)
            pipeline.exists(self.keys.suspended)
            for key in workers:
                pipeline.hmget(key, "hostname", "pid")
            suspended, *rows = pipeline.execute()
        except client.CONNECTION_ERRORS as error:
            self.error = client.reason(error)
            return None
        self.error, self.suspended = "", bool(suspended)
        names = [text(self.keys.worker_name(key.encode())) for key in workers]
        return {name: (row[0], row[1]) for name, row in zip(names, rows)}


def judge_all(wanted: Sequence[Unit], redis: Redis) -> list[Verdict]:
    workers = redis.workers()
    states = show([unit.name for unit in wanted])
    missing = [state.name for state in states if state.load == "not-found"]
    if missing:
        raise LifelineError(
            f"This host has no unit {', '.join(missing)}: correct rq_services_units, "
            "or let the role rq_services create it."
        )
    return [judge(unit, state, redis, workers) for unit, state in zip(wanted, states)]


def judge(unit: Unit, state: State, redis: Redis, workers: Optional[set[int]]) -> Verdict:
    signs = signs_of(unit, state, workers) if state.active == "active" else Signs()
    return application_units.judge(
        unit, state, signs, redis.endpoints, time.monotonic() - state.started, redis.suspended
    )


def signs_of(unit: Unit, state: State, workers: Optional[set[int]]) -> Signs:
    """Everything to see of one running unit."""
    health = _health(unit.health_url) if unit.health_url else None
    if unit.kind not in ("worker", "scheduler") or not state.main_pid:
        return Signs(health=health)
    process = Path("/proc") / str(state.main_pid)
    inodes = []
    table = children = waits = ""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    inodes.append(target[8:-1])
        table = (process / "net" / "tcp").read_text(encoding="ascii") + (process / "net" / "tcp6").read_text(
            encoding="ascii"
        )
        waits = (process / "wchan").read_text(encoding="ascii")
        children = (process / "task" / str(state.main_pid) / "children").read_text(encoding="ascii")
    return Signs(
        connections=application_units.established(table, inodes),
        sleeping="nanosleep" in waits,
        busy=bool(children.strip()),
        registered=None if workers is None else state.main_pid in workers,
        health=health,
    )


def _health(url: str) -> str:
    """What a health URL says: its status, or why there is none."""
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - the operator's own URL
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def result_of(verdicts: Sequence[Verdict], redis: Redis) -> dict[str, Any]:
    rows = [
        {
            "name": v.unit.name,
            "kind": v.unit.kind,
            "healthy": v.action == "nothing",
            "action": v.action,
            "reason": v.reason,
        }
        for v in verdicts
    ]
    restarted = [row["name"] for row in rows if row["action"] == "restart"]
    draining = [row["name"] for row in rows if row["action"] == "drain"]
    return {
        "units": rows,
        "healthy": all(row["healthy"] for row in rows),
        "restarted": restarted,
        "draining": draining,
        "redis_error": redis.error,
        "diff": {
            "before": {row["name"]: row["reason"] for row in rows if row["action"] in ("restart", "drain")},
            "after": {name: "restarted" for name in [*restarted, *draining]},
        },
    }


def url_of(params: dict[str, Any], check: bool) -> Optional[str]:
    """The Redis URL from the application's EnvironmentFile; None when the module was given no file.

    In check mode an earlier task would have written the file.
    """
    path, variable = params["url_file"], params["url_variable"]
    if not path:
        return None
    if check and params["state"] == "started" and not Path(path).exists():
        return None
    return url_from_file(path, variable)


def reached(params: dict[str, Any], wanted: Sequence[Unit], check: bool) -> Redis:
    """Redis as these units' application reaches it, as the options of ``rq_services`` say. Raises LifelineError."""
    redis = Redis(url_of(params, check) if wanted else None, params["key_prefix"])
    if params["endpoints"]:
        redis.endpoints = list(params["endpoints"])
    return redis


def show(names: Sequence[str]) -> list[State]:
    if not names:
        return []
    return application_units.parse_show(
        systemctl("show", f"--property={','.join(application_units.PROPERTIES)}", *names)
    )


def systemctl(*arguments: str, may_fail: bool = False) -> str:
    argv = ["systemctl", "--no-pager", *arguments]
    try:
        done = commands.bounded(argv, 120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LifelineError(f"systemctl {arguments[0]} does not work on this host: {error}") from None
    if done.returncode != 0 and not may_fail:
        why = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise LifelineError(f"systemctl {' '.join(arguments[:3])} failed on this host: {why}")
    return done.stdout


def look(params: dict[str, Any]) -> dict[str, Any]:
    """What module ``rq_services`` finds: ``{units: [{name, kind, healthy, action, reason}], healthy, restarted,
    draining, redis_error, diff}``. Nothing is changed. Raises LifelineError.
    """
    wanted, _ = application_units.expand(params["units"], params["order"])
    redis = reached(params, wanted, True)
    return result_of(judge_all(wanted, redis), redis)

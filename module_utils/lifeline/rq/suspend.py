# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Suspend RQ's workers for a while, wait until they are idle, and resume them; somebody else's suspension is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..common.client import CONNECTION_ERRORS
from ..errors import LifelineError
from . import options
from .info import Info
from .server import Server, target

# RQ itself writes 1 (rq suspend). Workers only look whether the key is there.
MARK = b"lifeline"

POLL_S = 0.2

# A busy worker that has not beaten for so long is dead: four times RQ's interval.
SILENT_S = 120

# Takes a suspension away if it is ours. Another one may have come in its place.
RESUME = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


def specification() -> dict[str, Any]:
    """The options of the module rq_suspend."""
    return {
        **options.connection(),
        "state": {"type": "str", "choices": ["suspended", "resumed"], "default": "suspended"},
        "ttl": {"type": "int", "default": 600},
        "drain_timeout": {"type": "float", "default": 0.0},
    }


def work(params: dict[str, Any], check: bool, make: Callable[..., Server] = Server) -> dict[str, Any]:
    """The module rq_suspend. Raises LifelineError when workers are still busy after ``drain_timeout``."""
    server = make(target(params))
    info = Info(server, {**{name: option.get("default") for name, option in options.info().items()}, **params})
    try:
        if params["state"] == "resumed":
            return _resumed(server, info, check)
        return _suspended(server, info, params, check)
    except CONNECTION_ERRORS as error:
        raise server.error(error) from error


def _value(server: Server, info: Info) -> bytes:
    found = server.again(lambda: server.client.get(info.keys.suspended))
    return found.encode() if isinstance(found, str) else found or b""


def _resumed(server: Server, info: Info, check: bool) -> dict[str, Any]:
    before = _value(server, info)
    ours = before == MARK
    if ours and not check:
        # Doing it twice does no harm, so it may be asked again on a new primary.
        server.again(lambda: server.client.eval(RESUME, 1, info.keys.suspended, MARK))
    return {"changed": ours, "kept": bool(before) and not ours, "busy": []}


def _suspended(server: Server, info: Info, params: dict[str, Any], check: bool) -> dict[str, Any]:
    before = _value(server, info)
    result: dict[str, Any] = {"changed": not before, "kept": bool(before) and before != MARK, "busy": busy(info)}
    if check:
        return result
    if not result["kept"]:
        server.again(lambda: server.client.set(info.keys.suspended, MARK, ex=params["ttl"]))
    deadline = time.monotonic() + params["drain_timeout"]
    while True:
        result["busy"] = busy(info)
        if not result["busy"] or time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    if result["busy"] and params["drain_timeout"] > 0:
        raise LifelineError(
            f"After {params['drain_timeout']:.0f} s these workers are still busy: {', '.join(result['busy'])}. Wait "
            "until their jobs are done, or allow more time.",
            **result,
        )
    return result


def busy(info: Info) -> list[str]:
    """Names of the live workers that have a job.

    One that died just after it took a job stays listed as busy for up to eight minutes; it is told by its heartbeat,
    which a worker that forks renews every 30 s while a job runs (RQ's job_monitoring_interval).
    """
    return [
        worker["name"]
        for worker in info.workers()
        if worker["live"] and worker.get("state") == "busy" and (worker["heartbeat_age"] or 0) <= SILENT_S
    ]

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start, check and recover the systemd units of an application host that depend on Redis."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional, Sequence

from ..common import client
from ..errors import LifelineError
from ..observe import application_units
from ..observe.application_units import State, Unit, Verdict
from ..observe.applications import Redis, judge, judge_all, reached, result_of, show, signs_of, systemctl

# Seconds between two looks, and for how long an application that runs may say that it is not well.
POLL = 0.2
PATIENCE = 5.0
# Seconds that a unit which lost Redis, and has no job to finish, has to stop.
STOP = 5.0
# Longer than a stop may take by systemd's own default (90 s); one that has a longer limit is not waited for.
STOPPING = 120.0


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The module's work; ``params`` are the options of ``library/rq_services.py``. Returns its result."""
    wanted, unwanted = application_units.expand(params["units"], params["order"])
    if params["state"] == "started" and params["url_file"] and not client.HAS_REDIS:
        nothing = {"units": [], "healthy": False, "restarted": [], "draining": [], "enabled": [], "stopped": []}
        return {**nothing, "changed": True, "leftovers": [], "redis_error": "", "library": False}
    redis = reached(params, wanted, check)
    if params["state"] == "started":
        return _started(params, wanted, unwanted, redis, check)
    return _recovered(params, wanted, redis, check or params["state"] == "checked")


def _recovered(params: dict[str, Any], wanted: Sequence[Unit], redis: Redis, look_only: bool) -> dict[str, Any]:
    """Restart what lost Redis, one after the other; only say so with ``look_only``."""
    verdicts = judge_all(wanted, redis)
    if not look_only and not redis.error:
        verdicts = [_give_time(verdict, redis) for verdict in verdicts]
    result = result_of(verdicts, redis)
    recover = params["state"] == "recovered"
    result["changed"] = recover and bool(result["restarted"] or result["draining"])
    if look_only:
        return result
    if redis.error and any(verdict.action != "nothing" for verdict in verdicts):
        raise LifelineError(
            f"Redis does not answer the application on this host ({redis.error}), so restarting units would not help: "
            "bring Redis back first.",
            **result,
        )
    _roll(verdicts, redis, params["timeout"], result, STOP)
    result.update(gone_workers=_gone(wanted, redis), hostname=socket.gethostname())
    return result


def _gone(wanted: Sequence[Unit], redis: Redis) -> list[str]:
    """Workers of this host that Redis still lists and that are dead: nobody works on their jobs."""
    states = show([unit.name for unit in wanted if unit.kind == "worker"])
    rows = redis.rows() if states else None
    return application_units.gone(rows or {}, socket.gethostname(), _processes() if rows else set(), states)


def _processes() -> set[int]:
    """Ids of the processes that live here; zombies do not."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] not in "ZX":
                found.add(int(entry.parent.name))
    return found


def _give_time(verdict: Verdict, redis: Redis) -> Verdict:
    """A web application whose requests hung in the outage answers again by itself in moments; then it is left alone."""
    deadline = time.monotonic() + PATIENCE
    while verdict.unit.health_url and verdict.action == "restart" and time.monotonic() < deadline:
        state = show([verdict.unit.name])[0]
        if state.active != "active":
            break
        time.sleep(POLL)
        verdict = judge(verdict.unit, state, redis, redis.workers())
    return verdict


def _roll(
    verdicts: Sequence[Verdict], redis: Redis, timeout: float, result: dict[str, Any], stop: Optional[float] = None
) -> None:
    """Restart one unit after the other, each well before the next; a draining worker is not waited for.

    A unit that has not stopped after ``stop`` seconds is killed; None leaves that to systemd.
    """
    for found in verdicts:
        verdict = _settle(found, redis, timeout, result) if found.action == "wait" else found
        since = time.monotonic()
        if verdict.action in ("restart", "drain"):
            systemctl("reset-failed", verdict.unit.name, may_fail=True)
            systemctl("restart", "--no-block", verdict.unit.name)
        if verdict.action == "restart":
            _await_health(verdict.unit, redis, since, timeout, result, stop)


def _settle(verdict: Verdict, redis: Redis, timeout: float, result: dict[str, Any]) -> Verdict:
    """What becomes of a unit that is starting or stopping; adds to the result what has to be done after all."""
    now = time.monotonic()
    deadline, stopped_by = now + timeout, now + STOPPING
    while verdict.action == "wait":
        if now > deadline:
            raise _unwell(verdict, timeout, result)
        time.sleep(POLL)
        state = show([verdict.unit.name])[0]
        verdict = judge(verdict.unit, state, redis, redis.workers())
        now = time.monotonic()
        if state.active == "deactivating" and now < stopped_by:
            deadline = now + timeout
    if verdict.action in ("restart", "drain"):
        result["restarted" if verdict.action == "restart" else "draining"].append(verdict.unit.name)
        result["changed"] = True
    return verdict


def _unwell(verdict: Verdict, timeout: float, result: dict[str, Any]) -> LifelineError:
    name = verdict.unit.name
    return LifelineError(
        f"{name} is not well after {timeout:.0f} s: {verdict.reason}. See `journalctl -u {name}` on this host.",
        **result,
    )


def _started(
    params: dict[str, Any], wanted: Sequence[Unit], unwanted: Sequence[str], redis: Redis, check: bool
) -> dict[str, Any]:
    """Enable and start what should run, restart what has not read its files, stop what should not run."""
    states = {state.name: state for state in show([unit.name for unit in wanted])}
    extra = _surplus(wanted, unwanted)
    enable = [unit.name for unit in wanted if states[unit.name].enabled in ("disabled", "")]
    verdicts = [_to_start(unit, states[unit.name]) for unit in wanted]
    todo = [verdict for verdict in verdicts if verdict.action in ("restart", "drain")]
    result = result_of(verdicts, redis)
    gone = [item["name"] for item in params["units"] if not item["instances"]]
    leftovers = [path for path in (f"/etc/systemd/system/{name}.service" for name in gone) if os.path.exists(path)]
    result.update(
        changed=bool(extra or enable or todo), enabled=enable, stopped=extra, leftovers=leftovers, library=True
    )
    if check:
        return result
    if extra:
        systemctl("disable", "--now", *extra)
        systemctl("reset-failed", *extra, may_fail=True)
    if any(state.need_reload or state.load == "not-found" for state in states.values()):
        systemctl("daemon-reload")
    if enable:
        systemctl("enable", *enable)
    _roll(todo, redis, params["timeout"], result)
    return result


def _to_start(unit: Unit, state: State) -> Verdict:
    if state.active in ("inactive", "failed"):
        return Verdict(unit, "restart", f"systemd says {state.active} ({state.sub})")
    now, ago = time.monotonic(), time.time()
    changed = {}
    for path in (*state.files, *unit.watch):
        with suppress(OSError):
            changed[path] = os.stat(path).st_mtime - ago + now
    path = application_units.older(state, unit, changed)
    if path:
        busy = unit.kind == "worker" and signs_of(unit, state, None).busy
        return Verdict(unit, "drain" if busy else "restart", f"{path} changed since its start")
    return Verdict(unit, "nothing", f"systemd says {state.active} ({state.sub})")


def _surplus(wanted: Sequence[Unit], unwanted: Sequence[str]) -> list[str]:
    """Names of ``unwanted`` units and of instances of ``unwanted`` templates that run or are enabled."""
    names = {name for name in unwanted if not name.endswith("@")}
    patterns = [f"{name}*.service" for name in unwanted if name.endswith("@")]
    if patterns:
        listed = systemctl("list-units", "--all", "--plain", "--no-legend", *patterns)
        listed += systemctl("list-unit-files", "--plain", "--no-legend", *patterns, may_fail=True)
        names |= {line.split()[0] for line in listed.splitlines() if line.strip()}
    return application_units.surplus(show(sorted(name for name in names if not name.endswith("@.service"))), wanted)


def _await_health(
    unit: Unit, redis: Redis, since: float, timeout: float, result: dict[str, Any], stop: Optional[float] = None
) -> None:
    """Until a unit that started after ``since`` (seconds of the monotonic clock) is well.

    Raises LifelineError, with what was done so far, when it is not within ``timeout`` seconds after it stopped: a web
    server lets its last requests end, for as long as systemd has patience.
    """
    now = time.monotonic()
    deadline, kill_at = now + timeout, now + stop if stop is not None else None
    stopped_by = now + STOPPING
    while True:
        state = show([unit.name])[0]
        verdict = judge(unit, state, redis, redis.workers())
        if verdict.action == "nothing" and state.started >= since:
            return
        now = time.monotonic()
        if kill_at and now > kill_at and state.active == "deactivating":
            # RQ's worker can hang forever on its way out, in a thread that waits for a server that is gone.
            systemctl("kill", "--signal=SIGKILL", unit.name, may_fail=True)
            kill_at = None
        if state.active == "deactivating" and now < stopped_by:
            deadline = now + timeout
        if now > deadline:
            raise _unwell(verdict, timeout, result)
        time.sleep(POLL)

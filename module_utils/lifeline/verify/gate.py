# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an application host does as well as before: its errors, latency, queue age and workers over some seconds."""

from __future__ import annotations

import math
import socket
import time
import urllib.error
import urllib.request
from typing import Any, Mapping, Optional, Sequence

from ..common.client import CONNECTION_ERRORS, connect, reason
from ..common.spec import unlogged
from ..common.url import parse_url, url_from_file
from ..errors import LifelineError
from ..rq import options
from ..rq.info import Info
from ..rq.keys import DEFAULT_PREFIX, Keys
from ..rq.server import Server, target

# How long a write or a request may take before it counts as an error, in seconds.
PATIENCE_S = 3.0

# Most different complaints that a result names.
NAMED = 3


def specification() -> dict[str, Any]:
    """The options of the module application_gate."""
    return {
        "url_file": {"type": "path"},
        "url_variable": {"type": "str", "default": "REDIS_URL"},
        "health_urls": unlogged({"type": "list", "elements": "str", "default": []}),
        "soak": {"type": "float", "default": 10.0},
        "interval": {"type": "float", "default": 0.25},
        "before": {"type": "dict", "default": {}},
        "most_error_percent": {"type": "float", "default": 1.0},
        "most_latency_factor": {"type": "float", "default": 3.0},
        "least_latency_ms": {"type": "float", "default": 100.0},
        "most_queue_age": {"type": "float", "default": 60.0},
        "key_prefix": {"type": "str", "default": DEFAULT_PREFIX, "no_log": False},
    }


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The module application_gate: look for ``soak`` seconds, then compare. Writes one key that expires by itself.

    Raises LifelineError only when it cannot look at all.
    """
    url = url_from_file(params["url_file"], params["url_variable"]) if params["url_file"] else None
    if check:
        return {"changed": False, "seen": {}, "healthy": True, "reasons": []}
    seen = look(url, params)
    reasons = compare(seen, params["before"], params)
    return {"changed": False, "seen": seen, "healthy": not reasons, "reasons": reasons}


def look(url: Optional[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """``{tries, errors, p95_ms, complaints, queue_age, workers}``; the last two are null without RQ's data."""
    times: list[float] = []
    complaints: list[str] = []
    tries = 0
    end = time.monotonic() + params["soak"]
    while True:
        started = time.monotonic()
        for what in [*params["health_urls"], *([url] if url else [])]:
            tries += 1
            began = time.monotonic()
            complaint = _write(what, params["key_prefix"]) if what == url else _request(what)
            if complaint:
                complaints.append(complaint)
            else:
                times.append((time.monotonic() - began) * 1000)
        if time.monotonic() >= end:
            break
        time.sleep(max(0.0, params["interval"] - (time.monotonic() - started)))
    seen = {"tries": tries, "errors": len(complaints), "p95_ms": percentile(times, 95),
            "complaints": sorted(set(complaints))[:NAMED], "queue_age": None, "workers": None}  # fmt: skip
    if url:
        seen.update(_queues(url, params["key_prefix"]))
    return seen


def _write(url: str, prefix: str) -> str:
    """Why the application's own way to Redis does not take a write; empty if it does."""
    endpoint, credentials, database = parse_url(url)
    client = connect(endpoint, credentials.with_timeouts(PATIENCE_S, PATIENCE_S), db=database)
    try:
        client.set(Keys(prefix).own("gate") + socket.gethostname().encode(), time.time(), ex=60)
        return ""
    except CONNECTION_ERRORS as error:
        return f"a write failed: {reason(error)}"
    finally:
        client.close()


def _request(url: str) -> str:
    """Why a health URL does not answer 200; empty if it does."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S):  # noqa: S310 - the operator's own URL
            return ""
    except urllib.error.HTTPError as error:
        return f"{url} answered {error.code}"
    except (OSError, ValueError) as error:
        return f"{url}: {getattr(error, 'reason', error)}"


def _queues(url: str, prefix: str) -> dict[str, Any]:
    """The age of the oldest waiting job in seconds, and how many workers are alive."""
    defaults = {name: option.get("default") for name, option in options.info().items()}
    endpoint, credentials, _ = parse_url(url)
    params = {**defaults, "url": url, "key_prefix": prefix, "ready_timeout": PATIENCE_S, "tls": credentials.tls}
    if credentials.ca_certs:
        params["ca_certs"] = credentials.ca_certs
    try:
        info = Info(Server(target({**params, "login_host": endpoint.host, "login_port": endpoint.port})), params)
        ages = [row["oldest_age"] for row in info.queues().values() if row["oldest_age"] is not None]
        return {"queue_age": max(ages, default=0.0), "workers": sum(worker["live"] for worker in info.workers())}
    except (LifelineError, *CONNECTION_ERRORS):
        return {"queue_age": None, "workers": None}


def percentile(values: Sequence[float], percent: float) -> Optional[float]:
    """The value that so many percent of the values do not exceed; None of none."""
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 1) if ordered else None


def compare(seen: Mapping[str, Any], before: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    """What is worse than it may be, a sentence each. ``before`` may be empty: then only errors and queue age count."""
    found = []
    share = 100 * seen["errors"] / seen["tries"] if seen["tries"] else 0.0
    if share > limits["most_error_percent"]:
        found.append(f"{seen['errors']} of {seen['tries']} tries failed ({'; '.join(seen['complaints'])})")
    usual = before.get("p95_ms")
    if usual is not None and seen["p95_ms"] is not None:
        most = max(float(limits["least_latency_ms"]), float(usual) * limits["most_latency_factor"])
        if seen["p95_ms"] > most:
            found.append(f"95 % of tries took up to {seen['p95_ms']} ms, before it was {usual} ms")
    if seen["queue_age"] is not None:
        most_age = float(before.get("queue_age") or 0.0) + limits["most_queue_age"]
        if seen["queue_age"] > most_age:
            found.append(f"the oldest job has waited for {seen['queue_age']:.0f} s, more than {most_age:.0f} s")
    if before.get("workers") and seen["workers"] is not None and seen["workers"] < int(before["workers"]):
        found.append(f"{seen['workers']} workers are alive, before it was {before['workers']}")
    return found

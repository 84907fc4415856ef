# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All of one host's evidence, in one go and in bounded time: the work of the module ``redis_health``.

Sections are looked at side by side. One that fails or takes too long is left out and named in ``errors``.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Mapping

from ..client import Credentials, Endpoint
from . import application, estate, logs, processes, server, start, system
from .redact import Redactor

Section = Callable[[], Any]


def look(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_health``: ``{evidence}``; see its documentation for the options and for what is returned."""
    credentials = Credentials.from_params(dict(params))
    brief = estate.collect(
        params["name"],
        estate.endpoints(params["nodes"]),
        estate.endpoints(params["sentinels"]),
        params["service"],
        credentials,
        params["units"],
        params["config_file"],
    )
    if params["depth"] == "brief":
        return {"evidence": brief}
    started = time.monotonic()
    found, errors = side_by_side(_sections(params, brief, credentials), params["patience"] * 2)
    evidence = {**brief, **found, "errors": errors}
    evidence["took_s"] = round(brief["took_s"] + time.monotonic() - started, 3)
    return {"evidence": evidence}


def _sections(params: Mapping[str, Any], brief: Mapping[str, Any], credentials: Credentials) -> dict[str, Section]:
    since = logs.window_start(params["log_minutes"])
    redact = Redactor([params["login_password"] or ""])
    data_dir = str(brief["files"].get("dir") or "")
    paths = [*estate.DISK_PATHS, data_dir]
    sections: dict[str, Section] = {
        "system": lambda: system.look(paths),
        "processes": lambda: processes.of_units(brief["units"]),
        "logs": lambda: _logs(params, since, redact),
    }
    own = next((node for node in params["nodes"] if node["name"] == params["name"]), None)
    if own is not None and brief["library"]:
        endpoint = Endpoint(own["host"], own["port"], params["name"])
        sections["server"] = lambda: server.look(endpoint, params["unix_socket"], credentials)
    config = params["config_file"]
    if config and own is not None:
        sections["start"] = lambda: start.look(config, brief["units"])
    if params["url_file"] and brief["library"]:
        sections["application"] = lambda: application.look(
            params["url_file"], params["url_variable"], params["patience"]
        )
    return sections


def _logs(params: Mapping[str, Any], since: float, redact: Redactor) -> dict[str, Any]:
    units = list(params["units"])
    sentinels = [unit for unit in units if "sentinel" in unit]
    found = {
        "journal": logs.journal_groups([unit for unit in units if unit not in sentinels], since, redact),
        "sentinel_journal": logs.journal_groups(sentinels, since, redact),
        "kernel": logs.kernel_groups(since, redact),
    }
    if params["server_log"]:
        found["server"] = logs.file_groups(params["server_log"], since, redact)
    if params["sentinel_log"]:
        found["sentinel"] = logs.file_groups(params["sentinel_log"], since, redact)
    return found


def side_by_side(sections: Mapping[str, Section], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """(what each section found, why others found nothing). Does not wait for one that takes longer than ``seconds``."""
    pool = ThreadPoolExecutor(max_workers=max(1, len(sections)))
    futures: dict[str, Future[Any]] = {name: pool.submit(section) for name, section in sections.items()}
    wait(futures.values(), timeout=seconds)
    pool.shutdown(wait=False)
    found: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, future in futures.items():
        if not future.done():
            errors[name] = f"timeout: nothing within {seconds:.0f} s"
            continue
        error = future.exception()
        if error is None:
            found[name] = future.result()
        else:
            errors[name] = f"{type(error).__name__}: {error}"[:200]
    return found, errors

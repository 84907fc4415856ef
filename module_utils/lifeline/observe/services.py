# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application's own units on this host, and the endpoint that they reach Redis through."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from ..common.haproxy_socket import admin
from ..common.shell import output
from ..errors import LifelineError
from . import applications
from .redact import Redactor
from .units import unit_states

# Lines of the journal of a unit that does not run.
LINES = 3


def units(
    wanted: Sequence[Mapping[str, Any]], url_file: Optional[str], url_variable: str, prefix: str, redact: Redactor
) -> dict[str, Any]:
    """``{units: [{name, kind, healthy, action, reason, last}], redis_error, error}`` as module ``rq_services`` judges.

    ``action`` is what rq_services would do: nothing, wait, restart or drain. ``last``: the newest lines of the journal
    of one that is not well.
    """
    params = {
        "units": list(wanted),
        "order": ("web", "worker", "scheduler", "other"),
        "state": "checked",
        "url_file": url_file,
        "url_variable": url_variable,
        "endpoints": [],
        "key_prefix": prefix,
    }
    try:
        found = applications.look(params)
    except LifelineError as error:
        return {"units": list(error.partial.get("units") or []), "redis_error": "", "error": redact(str(error))}
    rows = [{**row, "last": [] if row["healthy"] else _last(row["name"], redact)} for row in found["units"]]
    return {"units": rows, "redis_error": found["redis_error"], "error": ""}


def _last(unit: str, redact: Redactor) -> list[str]:
    text = output(["journalctl", "--quiet", "--no-pager", "-o", "cat", f"-n{LINES}", "-u", unit])
    return [redact(line)[:300] for line in text.splitlines()]


def endpoint(name: str) -> dict[str, Any]:
    """``{unit, installed, state, servers}`` of the HAProxy that role redis_endpoint keeps; empty when there is none.

    ``state``: as ``observe.units``. ``servers``: by backend, each server's status as HAProxy sees it (UP, DOWN ...).
    """
    unit = f"{name}.service"
    state = unit_states([unit]).get(unit, {})
    if state.get("load") in (None, "", "not-found"):
        return {}
    return {"unit": unit, "state": state, "servers": parse_stat(admin(name, "show stat"))}


def parse_stat(text: str) -> dict[str, dict[str, str]]:
    """From HAProxy's ``show stat``: ``{backend: {server: status}}``, without the sums of frontends and backends."""
    lines = text.lstrip("# ").splitlines()
    columns = lines[0].split(",") if lines else []
    found: dict[str, dict[str, str]] = {}
    for line in lines[1:]:
        row = dict(zip(columns, line.split(",")))
        if row.get("svname") not in (None, "", "FRONTEND", "BACKEND"):
            found.setdefault(row.get("pxname", ""), {})[row["svname"]] = row.get("status", "")
    return found

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the host's own server tells its own host in detail: settings, statistics, slow commands, refusals, clients."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Mapping, Optional

from ..client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from .values import number

# Settings that hold secrets; they are left out of the evidence whole.
SECRET_SETTINGS = ("requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass")


def look(endpoint: Endpoint, socket: Optional[str], credentials: Credentials) -> dict[str, Any]:
    """``{reachable, via, error, info, config, latency, acl_log}``; ``via`` is tcp or unix.

    The socket is tried where the port does not do: certificates, addresses and firewalls are not in its way.
    """
    ways = [("tcp", endpoint)]
    if socket:
        ways.append(("unix", Endpoint(host=endpoint.host, port=endpoint.port, unix_socket=socket)))
    errors: list[str] = []
    for via, way in ways:
        try:
            with closing(connect(way, credentials)) as client:
                return {"reachable": True, "via": via, "error": "; ".join(errors), **_ask(client)}
        except CONNECTION_ERRORS as error:
            errors.append(f"{via}: {reason(error)}")
    return {"reachable": False, "via": "", "error": "; ".join(errors)}


def _ask(client: Any) -> dict[str, Any]:
    pipe = client.pipeline(transaction=False)
    pipe.info("all")
    pipe.execute_command("CONFIG", "GET", "*")
    pipe.execute_command("LATENCY", "LATEST")
    pipe.execute_command("ACL", "LOG", "10")
    info, config, latency, acl_log = pipe.execute(raise_on_error=False)
    if isinstance(info, CONNECTION_ERRORS):
        raise info
    return {
        "info": statistics(info) if isinstance(info, Mapping) else {},
        "config": settings(config),
        "latency": events(latency),
        "acl_log": refusals(acl_log),
    }


def statistics(info: Mapping[str, Any]) -> dict[str, Any]:
    """INFO's numbers and words by name, less those per command; ``errors`` has the errorstats by their word."""
    plain = {str(name): value for name, value in info.items() if isinstance(value, (int, float, str))}
    errors = {
        str(name)[len("errorstat_") :]: value for name, value in info.items() if str(name).startswith("errorstat_")
    }
    return {
        **{name: value for name, value in plain.items() if not name.startswith("errorstat_")},
        "errors": {name: number(value.get("count")) for name, value in errors.items() if isinstance(value, Mapping)},
    }


def settings(reply: Any) -> dict[str, str]:
    """CONFIG GET * without the secrets."""
    if isinstance(reply, Mapping):
        pairs = [(str(name), str(value)) for name, value in reply.items()]
    elif isinstance(reply, (list, tuple)):
        pairs = [(str(reply[i]), str(reply[i + 1])) for i in range(0, len(reply) - 1, 2)]
    else:
        return {}
    return {name: value for name, value in pairs if name not in SECRET_SETTINGS}


def events(reply: Any) -> list[dict[str, Any]]:
    """LATENCY LATEST: ``[{event, time, latest_ms, max_ms}]``."""
    rows = reply if isinstance(reply, (list, tuple)) else ()
    return [
        {"event": str(row[0]), "time": number(row[1]), "latest_ms": number(row[2]), "max_ms": number(row[3])}
        for row in rows
        if isinstance(row, (list, tuple)) and len(row) >= 4
    ]


def refusals(reply: Any) -> list[dict[str, Any]]:
    """ACL LOG: ``[{reason, object, user, count, age_s}]``."""
    found = []
    for row in reply if isinstance(reply, (list, tuple)) else ():
        entry = _pairs(row)
        if entry:
            found.append(
                {
                    "reason": str(entry.get("reason", "")),
                    "object": str(entry.get("object", ""))[:100],
                    "user": str(entry.get("username", ""))[:100],
                    "count": number(entry.get("count")),
                    "age_s": _age(entry.get("age-seconds")),
                }
            )
    return found


def _pairs(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    if isinstance(row, (list, tuple)):
        return {str(row[i]): row[i + 1] for i in range(0, len(row) - 1, 2)}
    return {}


def _age(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0

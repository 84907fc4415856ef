# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All of one host's evidence, in one go and in bounded time: the work of the module ``redis_health``.

Sections are looked at side by side. One that fails or takes too long is left out and named in ``errors``.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Mapping, Optional, Sequence

from ..common.client import Credentials, Endpoint
from ..common.url import NO_URL, parse_url
from ..common.url import secrets as url_secrets
from ..common.values import number
from ..errors import LifelineError
from . import (
    application,
    certificates,
    connections,
    copies,
    details,
    estate,
    files,
    fleet,
    holdings,
    jobs,
    logs,
    processes,
    reach,
    server,
    services,
    start,
    system,
    watched,
)
from .parallel import Section, side_by_side
from .posture import look as posture_look
from .redact import Redactor, secrets_of
from .units import silent

# Seconds that sections get beyond their own limits, before they are given up.
SPARE_S = 0.5

# How the sections of single logs are called, each by its source.
LOG = "logs."

# In the evidence of a URL: the machine that looked has nothing to do with the server.
_NO_HOST = {"managed": True, "disk": {}, "platform": {}}


def look(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_health``: ``{evidence, endpoints}``, each where it was asked for; see its documentation."""
    credentials = Credentials.from_params(dict(params))
    used = application.place(None, params["url_file"], params["url_variable"])
    redact = Redactor({*_secrets(params, used), *secrets_of(params["config_file"], params["sentinel_config_file"])})
    found: dict[str, Any] = {}
    if params["endpoints"]:
        found["endpoints"] = fleet.look(fleet.targets(params["endpoints"], credentials))
    if params["name"]:
        evidence = _managed(params, credentials) if params["url"] else _evidence(params, credentials, used, redact)
        found["evidence"] = redact.document(evidence)
    return found


def _evidence(params: Mapping[str, Any], credentials: Credentials, used: Any, redact: Redactor) -> dict[str, Any]:
    nodes, sentinels = estate.endpoints(params["nodes"]), estate.endpoints(params["sentinels"])
    name, service = params["name"], params["service"]
    if params["depth"] == "brief":
        units, config = params["units"], params["config_file"]
        brief = estate.collect(name, nodes, sentinels, service, credentials, units, config)
        return {**brief, **_holdings(params)}
    started = time.monotonic()
    known = estate.here(name, service, params["units"])
    # Posture looks in two rounds, so it may take twice as long.
    rounds = 2 if params["depth"] == "posture" else 1
    if params["depth"] == "posture":
        sections: dict[str, Section] = {"posture": lambda: posture_look.look(params, known, credentials, used)}
    else:
        sections = _sections(params, known, credentials, used, redact)
    if params["config_file"]:
        sections["files"] = lambda: files.data_files(params["config_file"])
    sections["holdings"] = lambda: _holdings(params)
    if known["library"]:
        sections["views"] = lambda: estate.views(nodes, sentinels, service, credentials)
    found = _with_sections(known, sections, params["patience"] * rounds, started)
    if silent(params["units"], known["units"]):
        found["errors"]["units"] = "timeout: systemd did not say how the units are"
    if rounds == 1 and found["files"] and _stopped(params, found):
        found["files"] = {**found["files"], "check": copies.look(found["files"])}
    return found


def _stopped(params: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether this host's own server does not run, so that what it would load is worth a closer look."""
    answered = (found["nodes"].get(params["name"]) or {}).get("reachable")
    runs = any(number(state.get("pid")) for unit, state in found["units"].items() if "sentinel" not in unit)
    held = (found.get("port") or {}).get("state") == "held"
    return _own(params, "nodes") is not None and not (answered or runs or held)


def _with_sections(
    known: dict[str, Any], sections: Mapping[str, Section], patience: float, started: float
) -> dict[str, Any]:
    """Each section waits for two answers in a row at most, and ends by itself then."""
    found, errors = side_by_side(sections, patience * 2 + SPARE_S)
    if any(name.startswith(LOG) for name in sections):
        found["logs"] = {name[len(LOG) :]: found.pop(name) for name in list(found) if name.startswith(LOG)}
    merged = {**found.pop("views", {}), **found.pop("holdings", {})}
    return {**known, **found, **merged, "errors": errors, "took_s": round(time.monotonic() - started, 3)}


def _managed(params: Mapping[str, Any], login: Credentials) -> dict[str, Any]:
    """The evidence of a server without a host of ours, such as a managed one: all that its URL gives.

    ``managed`` is true in it. Units, files and logs are left out, since this host's have nothing to do with the server.
    A URL that is none is evidence too: nothing is asked then.
    """
    try:
        endpoint, credentials, database = parse_url(params["url"])
    except LifelineError as error:
        view = {"host": "", "port": 0, "reachable": False, "error": f"{NO_URL} {error}"}
        return {**estate.here(params["name"], params["service"], []), **_NO_HOST, "nodes": {params["name"]: view}}
    started = time.monotonic()
    server_there = replace(endpoint, name=params["name"])
    credentials = credentials.with_timeouts(login.connect_timeout, login.command_timeout)
    brief = estate.collect(params["name"], [server_there], [], params["service"], credentials)
    brief.update(_NO_HOST)
    if params["depth"] == "brief":
        return brief
    if params["depth"] == "posture":
        looked = posture_look.of_url(params, server_there, credentials) if brief["library"] else {}
        return {**brief, "posture": looked}
    place = (endpoint.host, endpoint.port)
    sections: dict[str, Section] = {"paths": lambda: reach.paths({params["name"]: place})}
    if endpoint.unix_socket:
        sections = {}
    elif not reach.is_address(endpoint.host):
        sections["names"] = lambda: reach.resolve([endpoint.host], params["patience"])
    if credentials.tls:
        ports = {"server": endpoint}
        sections["tls"] = lambda: certificates.look(None, None, ports, params["patience"] / 2)
    if brief["library"]:
        sections["server"] = lambda: server.look(server_there, None, credentials)
        sections["jobs"] = lambda: _jobs(params, [server_there], credentials, database, closer=True)
    return _with_sections(brief, sections, params["patience"], started)


def _sections(
    params: Mapping[str, Any], brief: Mapping[str, Any], credentials: Credentials, used: Any, redact: Redactor
) -> dict[str, Section]:
    since = logs.window_start(params["log_minutes"])
    paths = [*estate.DISK_PATHS, files.data_folder(params["config_file"])]
    sections: dict[str, Section] = {
        "system": lambda: system.look(paths),
        "processes": lambda: processes.of_units(brief["units"]),
        **_logs(params, since, redact),
        **_network(params, used),
    }
    own = _own(params, "nodes")
    config = params["config_file"]
    if config and own is not None:
        sections["start"] = lambda: start.look(config, brief["units"])
    if own is not None:
        sections["connections"] = lambda: connections.look(own.port)
    if params["sentinel_config"]:
        sections["sentinel_config"] = lambda: watched.look(params["sentinel_config"], params["service"], brief["units"])
    if own is not None and brief["library"]:
        extra = details.login(params, credentials)
        sections["server"] = lambda: server.look(own, params["unix_socket"], credentials, extra)
        sections["jobs"] = lambda: _jobs(params, server.ways(own, params["unix_socket"]), credentials, 0)
    if isinstance(used, tuple) and brief["library"] and own is None:
        patient = used[1].with_timeouts(params["patience"], params["patience"])
        sections["jobs"] = lambda: _jobs(params, [used[0]], patient, used[2], closer=True)
    if used is not None and brief["library"]:
        sections["application"] = lambda: application.look(used, params["patience"])
    if params["services"]:
        sections["services"] = lambda: services.units(
            params["services"], params["url_file"], params["url_variable"], params["key_prefix"], redact
        )
    if params["endpoint_name"]:
        sections["endpoint"] = lambda: services.endpoint(params["endpoint_name"])
    return sections


def _secrets(params: Mapping[str, Any], used: Any) -> set[str]:
    """The passwords that this look itself was given."""
    told = {params["login_password"] or "", used[1].password or "" if isinstance(used, tuple) else ""}
    if params["url"]:
        with suppress(LifelineError):
            told |= url_secrets(params["url"])
    return told - {""}


def _own(params: Mapping[str, Any], kind: str) -> Optional[Endpoint]:
    """This host's own server or sentinel, as its peers address it."""
    return next((peer for peer in estate.endpoints(params[kind]) if peer.name == params["name"]), None)


def _holdings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Who holds the ports of this host's own members, and what the host holds."""
    own = {option: _own(params, option) for option in ("nodes", "sentinels")}
    ports = {option: peer.port if peer else None for option, peer in own.items()}
    return holdings.look(ports["nodes"], ports["sentinels"], params["binds"])


def _network(params: Mapping[str, Any], used: Any) -> dict[str, Section]:
    """Certificates, the ways to the other hosts, and the names that this host has to resolve."""
    nodes, sentinels = estate.endpoints(params["nodes"]), estate.endpoints(params["sentinels"])
    members = [*nodes, *sentinels]
    peers = {peer.name: (peer.host, peer.port) for peer in nodes if peer.name != params["name"]}
    peers.update({f"{peer.name} sentinel": (peer.host, peer.port) for peer in sentinels if peer.name != params["name"]})
    names = {peer.host for peer in members} | ({used[0].host} if isinstance(used, tuple) else set())
    names = {name for name in names if not reach.is_address(name)}
    ports = {kind: _own(params, option) for kind, option in (("server", "nodes"), ("sentinel", "sentinels"))}
    served = {kind: peer for kind, peer in ports.items() if peer is not None}
    sections: dict[str, Section] = {"paths": lambda: reach.paths(peers)}
    if names:
        sections["names"] = lambda: reach.resolve(sorted(names), params["patience"])
    if params["tls"] and served:
        sections["tls"] = lambda: certificates.look(
            params["cert_file"], params["key_file"], served, params["patience"] / 2
        )
    return sections


def _jobs(
    params: Mapping[str, Any], where: Sequence[Endpoint], login: Credentials, database: int, closer: bool = False
) -> dict[str, Any]:
    return jobs.look(where, login, database, params["key_prefix"], params["session_keys"], closer)


def _logs(params: Mapping[str, Any], since: float, redact: Redactor) -> dict[str, Section]:
    """Each log is a look of its own: one that takes too long is named, and costs none of the others."""
    units, patience = list(params["units"]), params["patience"]
    sentinels = [unit for unit in units if "sentinel" in unit]
    servers = [unit for unit in units if unit not in sentinels]
    sections: dict[str, Section] = {
        "journal": lambda: logs.journal_groups(servers, since, redact, patience),
        "sentinel_journal": lambda: logs.journal_groups(sentinels, since, redact, patience),
        "kernel": lambda: logs.kernel_groups(since, redact, patience),
    }
    if params["server_log"]:
        sections["server"] = lambda: logs.file_groups(params["server_log"], since, redact)
    if params["sentinel_log"]:
        sections["sentinel"] = lambda: logs.file_groups(params["sentinel_log"], since, redact)
    return {f"{LOG}{source}": section for source, section in sections.items()}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only the controls want to know of a host; a diagnosis does not pay for it. Reads only, and holds no secret."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional, Sequence

from ...common import memory
from ...common.client import Credentials, Endpoint
from ...common.shell import output, read
from .. import application, certificates, details
from ..parallel import Section, side_by_side
from ..running import unit_of
from . import config, host, nft, server, units
from .secrets import Digests

# Addresses of networks that are reserved for documentation: nobody's.
STRANGERS = ("203.0.113.77", "2001:db8:ffff::77")
CLUSTER_BUS = 10000


def look(
    params: Mapping[str, Any], brief: Mapping[str, Any], credentials: Credentials, used: Any = None
) -> dict[str, Any]:
    """A host's posture; ``params`` are redis_health's, ``brief`` is what it has seen already, ``used``: see
    ``application.place``.

    ``{container, memory_available, kernel, listening, units, unit, exposure, process, clock, services, packages, audit,
    journal, syslog_forwards, coredump, redis, config_file, sentinel, files, mount, space, log_space, firewall,
    certificates, swap, application, records, keyed, errors}``; each as the function of its name says. ``keyed``:
    whether digests of passwords may be compared with those of other hosts.
    """
    return _Posture(params, brief, credentials, used).look()


def of_url(params: Mapping[str, Any], there: Endpoint, credentials: Credentials) -> dict[str, Any]:
    """The posture of a server that is only a URL: what it says of itself through that, and nothing of this machine."""
    key = (params["posture"] or {}).get("key")
    asked = [("url", there, credentials)]
    redis = server.ask(asked, Digests(key or os.urandom(16).hex()), params["key_prefix"])
    return {"redis": redis, "keyed": bool(key), "errors": {}}


class _Posture:
    def __init__(
        self, params: Mapping[str, Any], brief: Mapping[str, Any], credentials: Credentials, used: Any
    ) -> None:
        self.used = used
        self.params = params
        self.wanted = params["posture"] or {}
        self.brief = brief
        self.credentials = credentials
        self.digests = Digests(self.wanted.get("key") or os.urandom(16).hex())
        self.node = _own(params["nodes"], params["name"])
        self.watcher = _own(params["sentinels"], params["name"])
        self.seconds = params["patience"] * 2

    def look(self) -> dict[str, Any]:
        """Two rounds: what the second asks about is known after the first."""
        first, errors = side_by_side(self._first(), self.seconds)
        second, more = side_by_side(self._second(first), self.seconds)
        return {**first, **second, "keyed": bool(self.wanted.get("key")), "errors": {**errors, **more}}

    def _first(self) -> dict[str, Section]:
        known = (*host.CLOCKS, *host.SHIPPERS, host.AUDIT, host.SYSLOG, *self._extra())
        sections: dict[str, Section] = {
            "container": host.container,
            "memory_available": memory.available,
            "kernel": host.kernel,
            "listening": host.listening,
            "clock": host.clock,
            "services": lambda: host.states(known, self.seconds),
            "audit": host.audit_watches,
            "journal": host.journal,
            "syslog_forwards": host.syslog_forwards,
            "coredump": lambda: host.settings_of(("Storage",), "/etc/systemd/coredump.conf"),
            "swap": lambda: read("/proc/swaps").count("\n") > 1,
            "records": lambda: {name: host.record(path) for name, path in (self.wanted.get("records") or {}).items()},
        }
        if self.node or self.watcher:
            sections["packages"] = lambda: host.packages(self.seconds)
        if self.wanted.get("baseline"):
            sections["baseline"] = lambda: host.baseline(self.wanted["baseline"])
        if self.watcher:
            sections["sentinel"] = lambda: config.sentinel_file(self.params["sentinel_config_file"] or "", self.digests)
        if self.node and self.brief["library"]:
            sections["redis"] = self._redis
        if self.used is not None and self.brief["library"]:
            sections["application"] = lambda: application.look(self.used, self.params["patience"])
        return sections

    def _extra(self) -> list[str]:
        return [self.wanted["log_shipper"]] if self.wanted.get("log_shipper") else []

    def _redis(self) -> dict[str, Any]:
        node = self.node or {}
        endpoint = Endpoint(node["host"], node["port"], self.params["name"])
        prefix = self.params["key_prefix"]
        extra = details.login(self.params, self.credentials)
        return server.look(endpoint, self.params["unix_socket"], self.credentials, self.digests, prefix, extra)

    def _firewall(self, running: Mapping[str, Any]) -> dict[str, Any]:
        known = [self.node["port"], self.node["port"] + CLUSTER_BUS] if self.node else []
        known += [self.watcher["port"]] if self.watcher else []
        said = {int(running[name]) for name in ("port", "tls-port") if str(running.get(name) or "").isdigit()}
        ports = sorted({*known, *said} - {0})
        members = sorted({str(member["host"]) for member in (*self.params["nodes"], *self.params["sentinels"])})
        rules = output(["nft", "-j", "list", "ruleset"], self.seconds) if ports else ""
        return nft.summary(rules, ports, members, STRANGERS) if ports else {}

    def _second(self, first: Mapping[str, Any]) -> dict[str, Section]:
        redis = first.get("redis") or {}
        running, info = redis.get("config") or {}, redis.get("info") or {}
        pid = int(info.get("process_id") or 0)
        unit = unit_of(read(f"/proc/{pid}/cgroup")) or self._unit(sentinel=False)
        named = [name for name in (unit, self._unit(sentinel=True), *(self.wanted.get("worker_units") or ())) if name]
        file = str(info.get("config_file") or self.params["config_file"] or "")
        sentinel = first.get("sentinel") or {}
        sections: dict[str, Section] = {
            "units": lambda: units.look(named, self.seconds),
            "firewall": lambda: self._firewall(running),
            "files": lambda: host.files(_paths(file, running, sentinel)),
        }
        if self.node:
            data, log = str(running.get("dir") or ""), str(running.get("logfile") or "")
            sections.update(
                unit=lambda: unit,
                exposure=lambda: units.exposure(unit, self.seconds) if unit else None,
                process=lambda: host.process(pid or self._pid(unit)),
                config_file=lambda: config.server_file(file, self.digests),
                mount=lambda: host.mount(data),
                space=lambda: host.space(data) if data else {},
                log_space=lambda: host.space(os.path.dirname(log) if log else "/var/log"),
            )
            if running.get("aclfile"):
                sections["acl_file"] = lambda: config.acl_file(str(running["aclfile"]), self.digests)
        if running.get("tls-cert-file") or (sentinel.get("settings") or {}).get("tls-cert-file"):
            sections["certificates"] = lambda: self._certificates(running, sentinel)
        return sections

    def _certificates(self, running: Mapping[str, Any], sentinel: Mapping[str, Any]) -> dict[str, Any]:
        own = running if running.get("tls-cert-file") else sentinel.get("settings") or {}
        ports = {}
        if self.node and str(running.get("tls-port") or "0") not in ("", "0"):
            ports["server"] = Endpoint(self.node["host"], int(running["tls-port"]))
        if self.watcher and (sentinel.get("settings") or {}).get("tls-port"):
            ports["sentinel"] = Endpoint(self.watcher["host"], int(sentinel["settings"]["tls-port"]))
        return certificates.look(
            str(own.get("tls-cert-file")), str(own.get("tls-key-file") or "") or None, ports, self.params["patience"]
        )

    def _unit(self, sentinel: bool) -> str:
        names = [unit for unit in self.params["units"] if ("sentinel" in unit) == sentinel]
        return str(names[0]) if names else ""

    def _pid(self, unit: str) -> int:
        state = self.brief["units"].get(unit) or {}
        return int(state.get("pid") or 0)


def _own(members: Sequence[Mapping[str, Any]], name: str) -> Optional[Mapping[str, Any]]:
    return next((member for member in members if (member.get("name") or member["host"]) == name), None)


def _paths(file: str, running: Mapping[str, Any], sentinel: Mapping[str, Any]) -> dict[str, str]:
    """Files whose modes matter, by what they are."""
    log = str(running.get("logfile") or "")
    settings = sentinel.get("settings") or {}
    sentinel_file = str(sentinel.get("path") or "") if sentinel.get("readable") else ""
    return {
        "config": file,
        "config_dir": os.path.dirname(file or sentinel_file),
        "acl": str(running.get("aclfile") or ""),
        "data": str(running.get("dir") or ""),
        "log": log,
        "log_dir": os.path.dirname(log),
        "tls_key": str(running.get("tls-key-file") or settings.get("tls-key-file") or ""),
        "sentinel_config": sentinel_file,
        "sentinel_acl": str(settings.get("aclfile") or ""),
    }

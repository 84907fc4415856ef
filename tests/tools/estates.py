# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence of whole estates for unit tests: healthy ones, and ways to break them. The shapes are redis_health's."""

from __future__ import annotations

import copy
from typing import Any, Optional

from lifeline.diagnose.survey import build
from lifeline.diagnose.topology import Topology
from lifeline.plan.diagnosis import diagnose

UNIT = "redis-server@main.service"
NOW, LONG = 1_790_000_000.0, 86_400  # when hosts are looked at, and how long everything has run
OLD, NEW, NONE = "a" * 40, "b" * 40, "0" * 40


class Estate:
    """Three hosts, redis1 to redis3, each with a server and (unless told otherwise) a sentinel."""

    def __init__(self, primary: str = "redis1", service: str = "redis", sentinels: bool = True, nodes: int = 3) -> None:
        self.service = service
        self.names = [f"redis{number}" for number in range(1, nodes + 1)]
        self.nodes = [{"name": name, "host": self._address(name), "port": 6379} for name in self.names]
        self.sentinels = [{**node, "port": 26379} for node in self.nodes] if sentinels else []
        views = {name: self._view(name, primary) for name in self.names}
        watchers = {peer["name"]: self._watcher(str(peer["name"]), primary) for peer in self.sentinels}
        self.evidence = {name: self._host(name, primary, views, watchers) for name in self.names}

    @staticmethod
    def _address(name: str) -> str:
        return f"192.0.2.{name[5:]}"

    def _view(self, name: str, primary: str) -> dict[str, Any]:
        view: dict[str, Any] = {
            "host": self._address(name),
            "port": 6379,
            "reachable": True,
            "error": None,
            "role": "master" if name == primary else "slave",
            "replid": OLD,
            "replid2": NONE,
            "offset": 1000,
            "second_offset": -1,
            "priority": 100,
            "loading": False,
            "keys": 10,
            "uptime_s": LONG,
            "replicas": [],
            "primary": None,
        }
        if name != primary:
            view["primary"] = {
                "host": self._address(primary),
                "port": 6379,
                "link_up": True,
                "link_down_s": 0,
                "last_io_s": 0,
                "syncing": False,
            }
        return view

    def _watcher(self, name: str, primary: str) -> dict[str, Any]:
        return {
            "host": self._address(name),
            "port": 26379,
            "reachable": True,
            "error": None,
            "known": True,
            "tilt": False,
            "primary": {"host": self._address(primary), "port": 6379},
            "flags": ["master"],
            "down": False,
            "last_ok_ms": 300,
            "failover": False,
            "quorum_ok": True,
            "quorum_text": "OK 3 usable Sentinels",
            "down_after_ms": 5000,
            "uptime_s": LONG,
            "epoch": 0,
            "quorum": len(self.sentinels) // 2 + 1,
            "replicas": [
                {
                    "host": node["host"],
                    "port": 6379,
                    "flags": ["slave"],
                    "link_up": True,
                    "link_down_ms": 0,
                    "priority": 100,
                }
                for node in self.nodes
                if node["name"] != primary
            ],
            "sentinels": len(self.sentinels) - 1,
            "peers": [
                {"host": peer["host"], "port": 26379, "flags": ["sentinel"]}
                for peer in self.sentinels
                if peer["name"] != name
            ],
        }

    def _host(self, name: str, primary: str, views: Any, watchers: Any) -> dict[str, Any]:
        unit = {"load": "loaded", "active": "active", "sub": "running", "result": "success", "pid": 7, "restarts": 0}
        replicaof = None if name == primary else [self._address(primary), "6379"]
        return {
            "version": 1,
            "host": name,
            "service": self.service,
            "library": True,
            "time": NOW,
            "nodes": copy.deepcopy(views),
            "sentinels": copy.deepcopy(watchers),
            "units": {UNIT: dict(unit), "redis-sentinel.service": dict(unit)},
            **self._held(),
            "owned": ["server", "sentinel", "firewall", "acl", "certificates"],
            "files": {
                "config": "/etc/redis/redis-main.conf",
                "dir": "/var/lib/redis/main",
                "aof_configured": True,
                "rdb_configured": True,
                "replicaof": replicaof,
                "rdb": {"size": 100, "mtime": 1.0},
                "aof": {"size": 1000, "manifest": True},
            },
        }

    @staticmethod
    def _held() -> dict[str, Any]:
        """What a host shows of its port and its processes while its server runs."""
        own = {"pid": 7, "name": "redis-server", "exe": "/usr/bin/redis-check-rdb", "unit": UNIT}
        folder = "/var/lib/redis/main"
        row = {**own, "port": 6379, "config": "/etc/redis/redis-main.conf", "dir": folder}
        data = [{"path": f"{folder}/dump.rdb", "kind": "rdb", "size": 100, "age_s": 60, "empty": False}]
        holdings = {"complete": True, "servers": [row], "data": data}
        return {"port": {"number": 6379, "state": "held", **own}, "holdings": holdings}

    @staticmethod
    def _freed(evidence: dict[str, Any], **holdings: Any) -> None:
        """No process of the host's server is left."""
        evidence["port"] = {"number": 6379, "state": "free", "pid": None, "name": "", "exe": "", "unit": ""}
        evidence["holdings"].update(servers=[], **holdings)

    def fresh(self, library: bool) -> Estate:
        """Hosts on which nothing was ever installed."""
        for evidence in self.evidence.values():
            for view in [*evidence["nodes"].values(), *evidence["sentinels"].values()]:
                self._silence(view, "refused")
            evidence.update(units={}, files={}, library=library)
            self._freed(evidence, data=[])
            if not library:
                evidence.update(nodes={}, sentinels={})
        return self

    def kill(self, name: str) -> Estate:
        """The server's process is dead and systemd has given up on it; the host lives."""
        for evidence in self.evidence.values():
            self._silence(evidence["nodes"][name], "refused")
            self._drop_links(evidence, name)
            self._miss(evidence, name)
        self.evidence[name]["units"][UNIT].update(active="failed", sub="failed", result="signal", pid=0)
        self._freed(self.evidence[name])
        return self

    def lose(self, name: str) -> Estate:
        """The host is gone: it says nothing, and nobody reaches its server or sentinel."""
        self.evidence.pop(name, None)
        for evidence in self.evidence.values():
            self._silence(evidence["nodes"][name], "unreachable")
            if name in evidence["sentinels"]:
                self._silence(evidence["sentinels"][name], "unreachable")
            self._drop_links(evidence, name)
            self._miss(evidence, name)
        return self

    def promote(self, name: str, at: int) -> Estate:
        """``name`` became primary at offset ``at``, the others follow it; the old primary came back as a primary."""
        address = self._address(name)
        for evidence in self.evidence.values():
            for node, view in evidence["nodes"].items():
                if node == name:
                    view.update(role="master", primary=None, replid=NEW, replid2=OLD, second_offset=at)
                elif view["role"] == "slave":
                    view["primary"]["host"] = address
                    view["replid"] = NEW
            for watcher in evidence["sentinels"].values():
                watcher["primary"]["host"] = address
        return self

    @staticmethod
    def _silence(view: dict[str, Any], why: str) -> None:
        kept = {"host": view["host"], "port": view["port"], "reachable": False, "error": f"{why}: no answer"}
        view.clear()
        view.update(kept)

    def _miss(self, evidence: dict[str, Any], primary: str) -> None:
        """The sentinels have had no answer from it for a while, and wait a little longer before they call it down."""
        for watcher in evidence["sentinels"].values():
            if watcher.get("primary") == {"host": self._address(primary), "port": 6379}:
                watcher["last_ok_ms"] = 4000

    def _drop_links(self, evidence: dict[str, Any], primary: str) -> None:
        for view in evidence["nodes"].values():
            followed: Optional[dict[str, Any]] = view.get("primary")
            if followed and followed["host"] == self._address(primary):
                followed.update(link_up=False, link_down_s=3, last_io_s=-1)

    def start(self, name: str, ago: int) -> Estate:
        """The server started that many seconds ago."""
        for evidence in self.evidence.values():
            evidence["nodes"][name]["uptime_s"] = ago
        return self.log(name, "ready", "Ready to accept connections", ago)

    def log(self, name: str, pattern: str, line: str, ago: float = 1, source: str = "server", count: int = 1) -> Estate:
        """A line in one of a host's logs, that many seconds old."""
        logs = self.evidence[name].setdefault("logs", {}).setdefault(source, {"groups": {}, "last": []})
        first = min(NOW - ago, logs["groups"].get(pattern, {}).get("first", NOW))
        logs["groups"][pattern] = {
            "count": count,
            "recent": count if ago < 60 else 0,
            "first": first,
            "last": NOW - ago,
            "sample": line,
        }
        return self

    def say(self, name: str, **said: Any) -> Estate:
        """What a server says of itself, whoever asks."""
        for evidence in self.evidence.values():
            evidence["nodes"][name].update(said)
        return self

    def watch(self, name: str, **said: Any) -> Estate:
        """What a sentinel says, whoever asks."""
        for evidence in self.evidence.values():
            evidence["sentinels"][name].update(said)
        return self

    def look(self, name: str, **sections: Any) -> Estate:
        """What a host's look found besides: sections of its evidence, laid over those that it has."""
        for section, found in sections.items():
            held = self.evidence[name].get(section)
            self.evidence[name][section] = {**held, **found} if isinstance(held, dict) else found
        return self

    def application(self, name: str = "app1", **sections: Any) -> Estate:
        """An application host that sees what redis1 sees, and whose application reaches the primary."""
        own = copy.deepcopy(self.evidence[self.names[0]])
        used = {"configured": True, "host": "127.0.0.1", "port": 6379, "user": "application", "reachable": True}
        self.evidence[name] = {**own, "host": name, "units": {}, "files": {}, "owned": ["endpoint", "units"]}
        self.evidence[name]["application"] = {**used, "role": "primary", "error": ""}
        return self.look(name, **sections)

    def cut(self, viewer: str, target: str, kind: str = "nodes", error: str = "timeout: timed out") -> Estate:
        """One host no longer reaches a server or sentinel; all others do."""
        view = self.evidence[viewer][kind][target]
        self._silence(view, error.partition(":")[0])
        view["error"] = error
        return self

    def refuse(self, name: str, error: str) -> Estate:
        """A server that answers everybody with the same error."""
        for evidence in self.evidence.values():
            self._silence(evidence["nodes"][name], "error")
            evidence["nodes"][name]["error"] = error
        return self

    def diagnose(self, **more: Any) -> dict[str, Any]:
        """The diagnosis that lifeline makes of it."""
        estate = {"service": self.service, "nodes": self.nodes, "sentinels": self.sentinels, **more}
        return diagnose({"evidence": list(self.evidence.values()), **estate})

    def findings(self, **more: Any) -> dict[tuple[str, str], dict[str, Any]]:
        """Root findings by cause and place."""
        return {(found["id"], found["where"]): found for found in self.diagnose(**more)["findings"]}

    def build(self, extra: Optional[list[dict[str, Any]]] = None) -> Topology:
        """The topology that lifeline makes of it."""
        evidence = [*self.evidence.values(), *(extra or [])]
        return build(evidence, self.nodes, self.sentinels, self.service)

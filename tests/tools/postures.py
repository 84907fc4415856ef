# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Posture of whole estates for unit tests: three hosts on which every control passes, in redis_health's shapes."""

from __future__ import annotations

import copy
from typing import Any

from estates import Estate

NOW = 1_790_000_000.0
DAY = 86400.0
WORKER = "rq-worker@1.service"


def user(
    *commands: str, keys: tuple[str, ...] = (), channels: tuple[str, ...] = (), digest: str = ""
) -> dict[str, Any]:
    """An ACL user that can log in."""
    return {
        "enabled": True,
        "nopass": False,
        "weak": False,
        "digests": [digest] if digest else [],
        "keys": list(keys),
        "channels": list(channels),
        "commands": ["-@all", *commands],
        "selectors": [],
    }


USERS = {
    "default": {**user("+@all", keys=("~*",), channels=("&*",)), "enabled": False},
    "application": user("+@read", "+@write", "+@transaction", "+@pubsub", "-@dangerous", "-@admin", "+eval", "+info",
                        keys=("~rq:*",), channels=("&rq:*",), digest="a1"),
    "replica": user("+psync", "+replconf", "+ping", digest="b2"),
    "sentinel": user("+multi", "+exec", "+ping", "+info", "+role", "+slaveof", "+publish", "+subscribe",
                     "+config|rewrite", "+client|setname", "+client|kill", "+script|kill",
                     channels=("&__sentinel__:hello",), digest="c3"),
    "observer": user("+@read", "-@dangerous", "+ping", "+info", "+role", "+client|list",
                     keys=("%R~rq:*",), digest="d4"),
    "operator": user("+@all", "-flushall", keys=("~*",), channels=("&*",), digest="e5"),
}  # fmt: skip

CONFIG = {
    "protected-mode": "yes", "port": "0", "tls-port": "6379", "tls-replication": "yes", "tls-cluster": "no",
    "tls-protocols": "TLSv1.2 TLSv1.3", "tls-cert-file": "/etc/redis/tls/server.crt", "cluster-enabled": "no",
    "enable-debug-command": "no", "enable-module-command": "no", "enable-protected-configs": "no",
    "maxclients": "10000", "maxmemory": "1000000000", "maxmemory-policy": "noeviction", "save": "3600 1",
    "appendonly": "yes", "appendfsync": "everysec", "aof-use-rdb-preamble": "yes", "stop-writes-on-bgsave-error": "yes",
    "min-replicas-to-write": "1", "min-replicas-max-lag": "10", "repl-backlog-size": "67108864",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 134217728 60 pubsub 33554432 8388608 60",
    "replica-read-only": "yes", "replica-priority": "100", "slowlog-log-slower-than": "10000",
    "latency-monitor-threshold": "100", "acllog-max-len": "128", "loglevel": "notice", "tcp-backlog": "511",
    "disable-thp": "yes", "masteruser": "replica", "aclfile": "/etc/redis/users-main.acl", "dir": "/var/lib/redis/main",
    "cluster-require-full-coverage": "yes", "cluster-replica-validity-factor": "10",
}  # fmt: skip


def file(path: str, mode: str, owner: str = "redis", group: str = "redis") -> dict[str, Any]:
    """One entry of ``files``."""
    return {"path": path, "exists": True, "mode": mode, "owner": owner, "group": group, "size": 1}


def redis(role: str, follows: str) -> dict[str, Any]:
    """What a server says of itself."""
    return {
        "reachable": True,
        "via": "tcp",
        "error": "",
        "errors": {},
        "info": {
            "role": "slave" if follows else "master", "master_host": follows, "master_port": 6379 if follows else 0,
            "connected_slaves": 0 if follows else 2, "instantaneous_output_repl_kbps": 10.0, "redis_version": "7.0.15",
            "used_memory": 2_000_000, "rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok",
            "aof_last_bgrewrite_status": "ok", "rdb_last_save_time": NOW - 3600, "rdb_changes_since_last_save": 5,
        },
        "config": dict(CONFIG),
        "secrets": {"masterauth": "b2", "requirepass": ""},
        "weak": [],
        "users": copy.deepcopy(USERS),
        "modules": [],
        "acl_log": [],
        "calls": {"eval": 10},
        **({"jobs": {"seen": True, "error": "", "suspended": False, "workers": 2, "silent": 0,
                     "oldest_heartbeat_s": 60.0, "leases_expired": 0}} if role == "master" else {}),
    }  # fmt: skip


def unit(**other: Any) -> dict[str, Any]:
    """One unit's properties."""
    return {
        "load": "loaded", "active": "active", "enabled": "enabled", "pid": 7, "user": "redis",
        "no_new_privileges": True, "protect_system": "strict", "limit_nofile": 11024, "limit_core": 0,
        "restart": "on-failure", "start_limit_burst": 5, "start_limit_interval_s": 60.0,
        "timeout_start_s": 300.0, "timeout_stop_s": 120.0,
        **other,
    }  # fmt: skip


def host(name: str, address: str, follows: str) -> dict[str, Any]:
    """The posture of a host with server and sentinel."""
    left = {"not_before": NOW - DAY, "not_after": NOW + 90 * DAY}
    ports = {str(port): {"strangers": "drop", "members": {address: "accept"}} for port in (6379, 16379, 26379)}
    return {
        "container": False, "memory_available": 2_000_000_000, "keyed": True, "errors": {},
        "kernel": {"overcommit_memory": "1", "somaxconn": "4096", "suid_dumpable": "0", "ptrace_scope": "1",
                   "core_pattern": "core", "conntrack_count": "10", "conntrack_max": "1000",
                   "thp": "always [madvise] never"},
        "listening": [{"address": one, "port": port} for port in (6379, 26379) for one in (address, "127.0.0.1")],
        "unit": "redis-server@main.service", "exposure": 1.1,
        "units": {"redis-server@main.service": unit(), "redis-sentinel.service": unit()},
        "process": {"pid": 7, "user": "redis", "no_new_privileges": True, "swap_kb": 0, "rss_kb": 20000,
                    "core_limit": 0, "files_limit": 11024},
        "clock": {"synchronized": True, "offset_ms": 0.4},
        "services": {"chrony.service": "active", "auditd.service": "active", "vector.service": "active"},
        "packages": {"lists_age_s": 3600.0, "installed": {
            "redis-server": {"version": "5:7.0.15-1", "candidate": "5:7.0.15-1", "security": False}}},
        "audit": ["/etc/redis", "/var/lib/redis"],
        "journal": {"storage": "auto", "folder": True, "max_use": "1G"},
        "syslog_forwards": False, "coredump": {}, "swap": True,
        "redis": redis("slave" if follows else "master", follows),
        "config_file": {"path": "/etc/redis/redis-main.conf", "readable": True,
                        "settings": {name: CONFIG[name] for name in ("appendonly", "loglevel", "maxclients")},
                        "secrets": {"masterauth": "b2"}, "weak": [], "includes": [], "renamed": [], "modules": [],
                        "plain_users": [], "replicaof": f"{follows} 6379" if follows else ""},
        "acl_file": {"path": "/etc/redis/users-main.acl", "readable": True, "error": "", "plain_users": [],
                     "users": {}},
        "sentinel": {"path": "/etc/redis/sentinel.conf", "readable": True,
                     "settings": {"port": "0", "tls-port": "26379"},
                     "secrets": {}, "weak": [], "deny_scripts_reconfig": True, "sentinel_user": "sentinel",
                     "sentinel_pass": "c3", "plain_users": [],
                     "users": {"default": {**user(), "enabled": False}, "sentinel": user(digest="c3")},
                     "monitors": {"redis": {"host": "192.0.2.1", "port": "6379", "quorum": "2", "auth_user": "sentinel",
                                            "auth_pass": "c3", "scripts": [], "down-after-milliseconds": "5000",
                                            "failover-timeout": "60000", "parallel-syncs": "1"}}},
        "files": {
            "config": file("/etc/redis/redis-main.conf", "0600"), "config_dir": file("/etc/redis", "2770"),
            "acl": file("/etc/redis/users-main.acl", "0640", "root"), "data": file("/var/lib/redis/main", "0750"),
            "log": file("/var/log/redis/redis.log", "0640", group="adm"),
            "log_dir": file("/var/log/redis", "2750", group="adm"),
            "tls_key": file("/etc/redis/tls/server.key", "0640", "root"),
            "sentinel_config": file("/etc/redis/sentinel.conf", "0600"),
            "sentinel_acl": file("/etc/redis/users-sentinel.acl", "0640", "root"),
        },
        "mount": {"point": "/var/lib/redis", "type": "ext4", "own": True,
                  "options": ["rw", "nodev", "nosuid", "noexec"]},
        "space": {"free": 10**10, "total": 2 * 10**10}, "log_space": {"free": 10**10, "total": 2 * 10**10},
        "firewall": {"readable": True, "ports": ports},
        "certificates": {"file": {"path": "/etc/redis/tls/server.crt", "error": "", "key_fits": True, **left},
                         "ports": {"server": {"port": 6379, "error": "", "same": True, **left},
                                   "sentinel": {"port": 26379, "error": "", "same": True, **left}}},
        "records": {"backup": {"path": "/var/lib/lifeline/backup.json", "found": True, "content": {
            "time": NOW - 3600, "copied_to": "backup.example.org", "verified": True, "restored_at": NOW - DAY}}},
        "baseline": {"path": "/var/lib/audit.json", "found": True, "tool": "goss", "failed": 0, "total": 90,
                     "age_s": 60.0},
    }  # fmt: skip


class Posture(Estate):  # type: ignore[misc] # mypy sees files of tests/tools one by one
    """An estate that keeps every control; change ``hosts``, ``policy``, ``intent`` to break one."""

    def __init__(self) -> None:
        super().__init__()
        for name, evidence in self.evidence.items():
            address = self._address(name)
            follows = "" if name == "redis1" else self._address("redis1")
            evidence.update(time=NOW, platform={"distribution": "debian", "release": "12"},
                            posture=host(name, address, follows))  # fmt: skip
            for watcher in evidence["sentinels"].values():
                replicas = [{"host": self._address(other), "port": 6379} for other in ("redis2", "redis3")]
                watcher.update(epoch=1, quorum=2, sentinels=2, replicas=replicas)
        application = {"configured": True, "host": "127.0.0.1", "port": 6379, "reachable": True}
        self.evidence["app1"] = {
            "version": 1, "host": "app1", "service": "redis", "time": NOW, "library": True,
            "posture": {"container": False, "application": application, "units": {WORKER: unit(restart="always")}},
        }  # fmt: skip
        self.policy: dict[str, Any] = {
            "tls": True, "users": ["application", "replica", "sentinel", "observer", "operator"],
            "admin_users": ["operator"], "watching_users": ["observer"], "script_users": ["application"],
            "password_lengths": dict.fromkeys(("application", "replica", "sentinel", "observer", "operator"), 40),
        }  # fmt: skip
        self.intent: dict[str, Any] = {
            name: {"addresses": [self._address(name)], "config_file": "/etc/redis/redis-main.conf",
                   "settings": {"loglevel": "notice"}, "priority": 100} for name in self.names
        }  # fmt: skip
        self.applications = ["app1"]
        self.waivers: list[Any] = []
        self.fail_on = "high"

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        """The hosts' postures."""
        return {name: evidence["posture"] for name, evidence in self.evidence.items()}

    def options(self) -> dict[str, Any]:
        """Options of redis_compliance."""
        return {
            "service": self.service, "evidence": list(self.evidence.values()), "nodes": self.nodes,
            "sentinels": self.sentinels, "applications": self.applications, "quorum": 2, "policy": self.policy,
            "intent": self.intent, "waivers": self.waivers, "fail_on": self.fail_on,
        }  # fmt: skip

    def cluster(self) -> Posture:
        """The same hosts as a cluster of three primaries, each with a replica on the next host."""
        names = self.names
        for name in names:
            nodes = [{"id": f"p{one}", "host": self._address(one), "primary": "", "slots": 1} for one in names]
            nodes += [{"id": f"r{one}", "host": self._address(names[at - 1]), "primary": f"p{one}", "slots": 0}
                      for at, one in enumerate(names)]  # fmt: skip
            said = self.hosts[name]["redis"]
            said["config"].update({"cluster-enabled": "yes", "tls-cluster": "yes"})
            said["cluster"] = {"state": "ok", "slots_ok": 16384, "slots_assigned": 16384, "nodes": nodes}
        return self

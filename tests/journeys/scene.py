# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The estates of a Molecule scenario, seen by commands on their hosts, never through Lifeline's own modules."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, TypeVar

import yaml
from lab import ROOT, Lab

T = TypeVar("T")
# Files with their content, owner and mode; rules; units; packages.
MANIFEST = """
find /etc /usr/local -xdev -type f ! -path /etc/resolv.conf -exec sha256sum {} + | sort -k2
find /etc /usr/local /var/lib/redis /var/log/redis -xdev -printf '%p %m %u %g %l\\n' 2>&1 | sort
nft list ruleset 2>&1; systemctl list-unit-files --no-pager --no-legend
systemctl is-active redis-firewall redis-endpoint redis-server@main redis-sentinel haproxy nftables
dpkg -l
true
"""
PROBE = Path(__file__).with_name("probe.py").read_text()


@dataclass(frozen=True)
class Estate:
    """Inventory names of an estate's hosts."""

    name: str
    flavour: str
    servers: tuple[str, ...]
    sentinels: tuple[str, ...]
    applications: tuple[str, ...]

    @property
    def unit(self) -> str:
        """The server's systemd unit."""
        return f"{self.flavour}-server@main.service"

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.servers, *self.sentinels, *self.applications)))

    def __str__(self) -> str:
        return self.name


class Scene(Lab):
    """The lab of one scenario."""

    def __init__(self, scenario: str) -> None:
        home = ROOT / "molecule" / scenario
        # As molecule/*/lab.yml names it.
        name = f"{scenario}-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:6]}"
        super().__init__(name, home / "inventory")
        self.cache = ROOT / ".cache" / "molecule"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.primaries_file = self.cache / f"{scenario}-primaries.json"
        self.log = self.cache / f"{scenario}.log"

    @cached_property
    def passwords(self) -> dict[str, str]:
        """The planted passwords by ACL user; no variable of the lab's own counts against them."""
        said = yaml.safe_load((self.inventory / "group_vars" / "lab_hosts.yml").read_text())
        return {name.removeprefix("redis_password_"): value for name, value in said.items()}

    @cached_property
    def estates(self) -> list[Estate]:
        """All estates of the inventory."""
        generated = json.loads((self.inventory / "generated" / "hosts.json").read_text())
        variables = generated["lab_hosts"]["hosts"]

        def members(group: str, estate: str) -> tuple[str, ...]:
            hosts = generated.get(group, {"hosts": {}})["hosts"]
            return tuple(host for host in hosts if variables[host]["redis_estate"] == estate)

        flavours = {
            variables[host]["redis_estate"]: variables[host].get("redis_flavour", "redis")
            for host in generated["redis"]["hosts"]
        }
        return [
            Estate(name, flavour, members("redis", name), members("sentinel", name), members("app", name))
            for name, flavour in flavours.items()
        ]

    def manifest(self, host: str) -> str:
        """All that provisioning could change on a host: files, the firewall, units, packages."""
        return self.on(host, "sh", "-c", MANIFEST)

    def probe(self, host: str, what: str, **options: Any) -> Any:
        """What function ``what`` of probe.py returns on a host. Secrets go through standard input."""
        done = self.podman(
            "exec", "-i", self.container(host), "python3", "-c", PROBE, input=json.dumps([what, options]), timeout=120
        )
        return json.loads(done.stdout)

    def ask(self, estate: Estate, host: str, *command: str, user: str = "operator", port: int = 6379) -> Any:
        """One command to a host's server or sentinel from that host itself, logged in as ``user``."""
        return self.probe(
            host, "talk", address=self.addresses[host], port=port, ca="/etc/redis/tls/ca.crt",
            commands=[["AUTH", user, self.passwords[user]], list(command)],
        )[-1]  # fmt: skip

    def info(self, estate: Estate, host: str) -> dict[str, str]:
        """INFO replication of a host's server; empty when it does not answer."""
        answer = self.ask(estate, host, "INFO", "replication")
        if not isinstance(answer, str):
            return {}
        return dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)

    def primaries(self, estate: Estate) -> list[str]:
        """Hosts whose server calls itself primary."""
        return [host for host in estate.servers if self.info(estate, host).get("role") == "master"]


def side_by_side(function: Callable[[Any], T], items: Any) -> list[T]:
    """``function`` of each item, in threads; the first exception is raised."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, items))

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts of an inventory make up an estate, and where they are reached."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

DEFAULT_ESTATE = "redis"


def members(hosts: Sequence[str], hostvars: Mapping[str, Any], name: str) -> list[str]:
    """Those of ``hosts`` whose ``redis_estate`` is ``name``, in the order given."""
    return [host for host in hosts if hostvars[host].get("redis_estate", DEFAULT_ESTATE) == name]


def address(variables: Mapping[str, Any], host: str) -> str:
    """Where peers reach a host: redis_address, else ansible_host, else its inventory name."""
    for key in ("redis_address", "ansible_host"):
        value = variables.get(key)
        if value:
            return str(value)
    return host


def endpoints(hosts: Sequence[str], hostvars: Mapping[str, Any], port: int) -> list[dict[str, Any]]:
    """``[{name, host, port}]`` for the modules; all members of an estate share the port."""
    return [{"name": host, "host": address(hostvars[host], host), "port": int(port)} for host in hosts]

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts of an inventory make up an estate, and where they are reached."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Mapping, Sequence

from ..errors import LifelineError

DEFAULT_ESTATE = "redis"

# The groups that playbooks work on where they are told no others.
GROUPS = ("redis", "sentinel", "app")


def play_hosts(groups: Mapping[str, Sequence[str]], asked: Any, option: str, names: Sequence[str] = GROUPS) -> str:
    """The pattern of the hosts that a playbook works on: what was ``asked`` for by ``option``, else the usual groups.

    Raises LifelineError where no host matches: Ansible itself would skip the play, and call that a success.
    """
    if asked:
        return _asked(str(asked), groups)
    if not any(groups.get(name) for name in names):
        raise LifelineError(
            f"Nothing was done, since no host matched: this inventory has none in {' or '.join(names)}. If that is the "
            f"right inventory (-i) and its groups have other names (redis_group_servers), say which: -e {option}=GROUP"
        )
    return ":".join(names)


def _asked(pattern: str, groups: Mapping[str, Sequence[str]]) -> str:
    """A pattern of Ansible's, if one of its parts names a host or group; regular expressions are left to it."""
    known = [*(name for name, members in groups.items() if members), *groups.get("all", ())]
    for part in (pattern, *pattern.replace(",", ":").split(":")):
        name = part.strip().partition("[")[0]
        if name[:1] == "~" or (name[:1] not in ("!", "&") and any(fnmatchcase(one, name) for one in known)):
            return pattern
    raise LifelineError(
        f"Nothing was done, since no host matched: this inventory has none that {pattern[:200]} names. Name a host or "
        "a group that it has."
    )


def without_servers(estate: str) -> str:
    """Why nothing can be said of an estate whose servers are in no group."""
    return (
        f"Estate {estate} has no server in this inventory: the group that redis_group_servers names has no host of it. "
        "Nothing was changed. Correct that variable, or put the servers into the group."
    )


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

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with an inventory, said before anything is changed.

Ansible's own validation checks the type of each variable and no more: a misspelt name passes silently, and nothing
compares hosts with each other. Everything here works on the inventory alone and opens no connection.
Each problem is one sentence that names the host, the variable and the next step. No secret's value is ever in it.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from .estate import DEFAULT_ESTATE, address, members
from .managed import refusal

# Variables that mean something only when all hosts of an estate agree on them.
SHARED = (
    "redis_flavour",
    "redis_port",
    "redis_sentinel_port",
    "redis_quorum",
    "redis_initial_primary",
    "redis_tls_enabled",
    "redis_password_application",
    "redis_password_replica",
    "redis_password_sentinel",
    "redis_password_observer",
    "redis_password_operator",
)
GROUPS = ("redis_group_servers", "redis_group_sentinels", "redis_group_applications")
# What role redis gives a host of another estate that says nothing itself; its own defaults are out of sight here.
DEFAULT_PORTS = {"redis_port": 6379, "redis_sentinel_port": 26379}
OLDEST_ANSIBLE = [2, 19]
# What is named after RQ rather than after a role, since every role is told of it.
SHARED_BY_ROLES = ("rq_key_prefix",)
SECRET = re.compile(r"password|secret|token")


def unknown_variables(
    host: str, defined: Iterable[str], known: Iterable[str], foreign: Sequence[str] = ()
) -> list[str]:
    """One sentence for each name in ``defined`` that no role knows.

    ``known``: names from all roles' argument specs. ``foreign``: names, or beginnings that end in ``*``, that belong to
    somebody else's roles.
    """
    names = {*known, *SHARED_BY_ROLES}
    exact = {entry for entry in foreign if not entry.endswith("*")}
    beginnings = tuple(entry[:-1] for entry in foreign if entry.endswith("*"))
    found = []
    for name in sorted(set(defined) - names - exact):
        if beginnings and name.startswith(beginnings):
            continue
        close = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.75)
        advice = f"did you mean {close[0]}?" if close else "see the tables in the roles' README.md for the names."
        found.append(
            f"{host}: no role knows the variable {name}; {advice} "
            "If it belongs to something else, name it in redis_foreign_variables."
        )
    return found


def estate_problems(
    host: str,
    own: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    exists: Callable[[str], bool] = os.path.isfile,
) -> list[str]:
    """What is wrong with the estate of ``host``; the same for each of its hosts, but for values that a host has alone.

    ``own``: the host's variables with all defaults in place (those of role redis); None stands for one that cannot be
    worked out because it refers to an undefined variable. ``hostvars``: what the inventory says of every host, so
    without any role's defaults, and None in the same sense. ``groups``: Ansible's. ``exists``: whether a file is on the
    control node.
    """
    undefined = [_undefined(host, name) for name in sorted(own) if own[name] is None]
    if undefined:
        return undefined
    if own.get("redis_url"):
        return [refusal(host)]
    estate = str(own["redis_estate"])
    servers, sentinels, applications = (members(groups.get(str(own[key]), ()), hostvars, estate) for key in GROUPS)
    everyone = list(dict.fromkeys([*servers, *sentinels, *applications]))
    return [
        *_membership(host, own, estate, servers, hostvars, groups),
        *_numbers(host, own),
        *_addresses(host, own, everyone, hostvars),
        *_collisions(own, estate, servers, sentinels, hostvars, groups),
        *_agreement(host, own, estate, everyone, hostvars),
        *_sentinels(host, own, estate, sentinels),
        *_secrets(host, own, servers, sentinels),
        *_tls(host, own, host in servers or host in sentinels, exists),
    ]


def _undefined(host: str, name: str) -> str:
    return (
        f"{host}: {name} refers to a variable that is not defined; define it for this host, "
        "or check that its vault file is loaded."
    )


def _membership(
    host: str,
    own: Mapping[str, Any],
    estate: str,
    servers: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
) -> list[str]:
    found = []
    group = str(own["redis_group_servers"])
    if not re.fullmatch(r"[A-Za-z0-9._-]+", estate):
        found.append(
            f"{host}: redis_estate is {estate!r}, and Sentinel takes that name too; "
            "make it of letters, digits, '.', '_' and '-'."
        )
    if not servers:
        others = sorted({str(hostvars[name].get("redis_estate", DEFAULT_ESTATE)) for name in groups.get(group, ())})
        advice = f"the group has {', '.join(others)}: correct redis_estate" if others else "put its Redis hosts there"
        return [
            *found,
            f"{host}: estate {estate} has no host in the inventory group {group} (redis_group_servers); {advice}.",
        ]
    primary = str(own["redis_initial_primary"])
    if primary not in servers:
        found.append(
            f"{host}: redis_initial_primary is {primary or 'empty'}, which is not a Redis host of estate {estate}; "
            f"use one of {', '.join(servers)}, or leave the variable out to take the first."
        )
    return found


def _numbers(host: str, own: Mapping[str, Any]) -> list[str]:
    found = []
    for name in ("redis_port", "redis_sentinel_port"):
        number = _integer(own[name])
        if number is None or not 0 < number < 65536:
            found.append(f"{host}: {name} is {own[name]!r}, which is no port; use a number from 1 to 65535.")
    return found


def _addresses(
    host: str, own: Mapping[str, Any], everyone: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    found = []
    for name in everyone:
        value = str(own["redis_address"]) if name == host else address(hostvars[name], name)
        parsed = _ip(value)
        if parsed is None:
            found.append(
                f"{name}: redis_address is {value}, which is no IP address; Sentinel, the firewall and peers need one, "
                f"so set redis_address for {name}."
            )
        elif parsed.is_unspecified or (parsed.is_loopback and len(everyone) > 1):
            found.append(
                f"{name}: redis_address is {value}, where no other host can reach it; "
                f"set redis_address to the address of {name} in the network that the estate's hosts share."
            )
    return found


def _collisions(
    own: Mapping[str, Any],
    estate: str,
    servers: Sequence[str],
    sentinels: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
) -> list[str]:
    """Two processes that would want one address and port, in this estate or in this and another one."""
    taken: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for group, port in (("servers", "redis_port"), ("sentinels", "redis_sentinel_port")):
        mine = servers if group == "servers" else sentinels
        for name in groups.get(str(own[f"redis_group_{group}"]), ()):
            number = own[port] if name in mine else hostvars[name].get(port, DEFAULT_PORTS[port])
            theirs = str(hostvars[name].get("redis_estate", DEFAULT_ESTATE))
            taken.setdefault((address(hostvars[name], name), str(number)), []).append((name, theirs, port))
    found = []
    for (where, number), users in taken.items():
        if len(users) > 1 and any(theirs == estate for _, theirs, _ in users):
            names = " and ".join(f"{name} ({port}, estate {theirs})" for name, theirs, port in users)
            found.append(
                f"{users[0][0]}: address {where} with port {number} is used more than once, by {names}; "
                "give each host its own redis_address, or each estate its own port."
            )
    return found


def _agreement(
    host: str, own: Mapping[str, Any], estate: str, everyone: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    found = [
        _undefined(peer, name)
        for peer in everyone
        for name in SHARED
        if peer != host and hostvars[peer].get(name, "") is None
    ]
    for name in SHARED:
        mine = str(own[name])
        # A host that the inventory says nothing about has the default, which this host knows only if it has it too.
        differing = [
            peer for peer in everyone if hostvars[peer].get(name) is not None and str(hostvars[peer][name]) != mine
        ]
        if differing:
            other = differing[0]
            values = "another value" if SECRET.search(name) else f"{hostvars[other][name]!r} instead of {own[name]!r}"
            found.append(
                f"{host}: {name} must be the same on all hosts of estate {estate}, but {other} has {values}; "
                "set it once, in group_vars of the estate."
            )
    return found


def _sentinels(host: str, own: Mapping[str, Any], estate: str, sentinels: Sequence[str]) -> list[str]:
    count = len(sentinels)
    group = own["redis_group_sentinels"]
    found = []
    if 0 < count < 3:
        found.append(
            f"{sentinels[0]}: estate {estate} has {count} of the 3 sentinels that a failover takes at least; "
            f"put 3 hosts into the group {group} (redis_group_sentinels), or none."
        )
    elif count % 2 == 0 and count:
        found.append(
            f"{sentinels[-1]}: estate {estate} has {count} sentinels, and an even number can split into halves that "
            f"decide nothing; put one host more or one less into the group {group} (redis_group_sentinels)."
        )
    quorum = _integer(own["redis_quorum"])
    if quorum is None or not 0 <= quorum <= count:
        rule = f"use a number from 1 to {count}, or 0 for the majority" if count else "leave it at 0"
        found.append(
            f"{host}: redis_quorum is {own['redis_quorum']!r}, but estate {estate} has {count or 'no'} sentinels; "
            f"{rule}."
        )
    return found


def too_old(version: str) -> list[str]:
    """A sentence where this ansible-core cannot be used."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    if numbers >= OLDEST_ANSIBLE:
        return []
    needed = ".".join(map(str, OLDEST_ANSIBLE))
    said = f"This is ansible-core {version}, and Lifeline needs {needed} or later, which does not take text from hosts "
    return [f"{said}for templates; install it, then run this again."]


def taken_for_templates(host: str, texts: Mapping[str, str]) -> list[str]:
    """One sentence for each password in which Ansible finds a template: it would be another one than was written, or
    hold what other variables say. ``texts``: passwords as they are written, by variable. One that only refers to other
    variables is meant so.
    """
    return [
        f"{host}: {name} holds {next(sign for sign in _SIGNS if sign in text)}, which Ansible takes for a template, so "
        "it would not be the password that was written; put !unsafe before it, or choose another password."
        for name, text in texts.items()
        if any(sign in text for sign in _SIGNS) and not _REFERENCES.fullmatch(text)
    ]


_SIGNS = ("{{", "{%", "{#")
_REFERENCES = re.compile(r"\s*(?:\{\{(?:(?!\{\{|\}\})[^#])*\}\}\s*)+")


def _secrets(host: str, own: Mapping[str, Any], servers: Sequence[str], sentinels: Sequence[str]) -> list[str]:
    needed = {
        "application": True,
        "replica": len(servers) > 1,
        "sentinel": bool(sentinels),
        "observer": True,
        "operator": True,
    }
    found = []
    for user, wanted in needed.items():
        name = f"redis_password_{user}"
        value = own[name]
        if not isinstance(value, str):
            found.append(f"{host}: {name} is not text; put it in quotes.")
        elif not value and wanted:
            found.append(
                f"{host}: {name} is empty, and the ACL user {user} needs a password; set it with Ansible Vault."
            )
        elif any(ord(character) < 32 or ord(character) == 127 for character in value):
            found.append(
                f"{host}: {name} holds a line break or another control character, which Redis' files cannot hold; "
                "choose another password (a vault file's text must not end in a line break)."
            )
    return found


def _tls(host: str, own: Mapping[str, Any], serves: bool, exists: Callable[[str], bool]) -> list[str]:
    if not own["redis_tls_enabled"]:
        return []
    found = []
    for kind, what in (("ca", "the CA's certificate"), ("cert", "its certificate"), ("key", "its private key")):
        if kind != "ca" and not serves:
            continue
        name = f"redis_tls_{kind}_src"
        path = str(own[name])
        if not path:
            found.append(
                f"{host}: redis_tls_enabled is true and {name} is empty; set it to the file with {what} "
                "on the control node, or switch TLS off."
            )
        elif path.startswith("/") and not exists(path):
            found.append(f"{host}: {name} is {path}, and the control node has no such file; correct the path.")
    return found


def _integer(value: Any) -> Optional[int]:
    try:
        return int(str(value))
    except ValueError:
        return None


def _ip(value: str) -> Any:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None

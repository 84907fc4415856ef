# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ACL users may do, told from their rules.

Servers show rules in a form of their own, so they are compared by what they allow: for the commands below, whose
categories are Redis 7.0's, as ACL CAT lists them there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Iterable, Mapping

from ...common.facts import Facts
from ...formats.acl import Rules

_CATEGORIES = {
    "acl|setuser": "admin slow dangerous",
    "acl|list": "admin slow dangerous",
    "bgrewriteaof": "admin slow dangerous",
    "client|kill": "admin slow dangerous connection",
    "client|list": "admin slow dangerous connection",
    "client|pause": "admin slow dangerous connection",
    "client|unpause": "admin slow dangerous connection",
    "client|setname": "slow connection",
    "cluster|reset": "admin slow dangerous",
    "config|get": "admin slow dangerous",
    "config|rewrite": "admin slow dangerous",
    "config|set": "admin slow dangerous",
    "debug": "admin slow dangerous",
    "del": "keyspace write slow",
    "eval": "slow scripting",
    "exec": "slow transaction",
    "failover": "admin slow dangerous",
    "flushall": "keyspace write slow dangerous",
    "flushdb": "keyspace write slow dangerous",
    "get": "read string fast",
    "info": "slow dangerous",
    "keys": "keyspace read slow dangerous",
    "migrate": "keyspace write slow dangerous",
    "module|load": "admin slow dangerous",
    "monitor": "admin slow dangerous",
    "multi": "fast transaction",
    "ping": "fast connection",
    "psync": "admin slow dangerous",
    "publish": "pubsub fast",
    "replconf": "admin slow dangerous",
    "replicaof": "admin slow dangerous",
    "role": "admin fast dangerous",
    "save": "admin slow dangerous",
    "script|kill": "slow scripting",
    "set": "write string slow",
    "shutdown": "admin slow dangerous",
    "slaveof": "admin slow dangerous",
    "subscribe": "pubsub slow",
    "swapdb": "keyspace write fast dangerous",
    "sync": "admin slow dangerous",
}
COMMANDS = frozenset(_CATEGORIES)
_BY_CATEGORY: dict[str, frozenset[str]] = {
    category: frozenset(name for name, words in _CATEGORIES.items() if category in words.split())
    for category in {word for words in _CATEGORIES.values() for word in words.split()}
}

# What changes, empties or stops a server; an application needs none of it.
ADMIN = frozenset(
    name for name, words in _CATEGORIES.items() if "admin" in words and name not in ("client|list", "role")
) | {"flushall", "flushdb", "keys", "migrate", "swapdb"}
# What only a few may do in any case.
DESTRUCTIVE = frozenset(
    (
        "acl|setuser",
        "config|set",
        "debug",
        "flushall",
        "flushdb",
        "keys",
        "module|load",
        "replicaof",
        "shutdown",
        "swapdb",
    )
)
REPLICA = frozenset(("psync", "replconf", "ping"))
HELLO = "__sentinel__:hello"


@lru_cache(maxsize=4096)
def _allowed(commands: tuple[str, ...]) -> frozenset[str]:
    return Rules(commands=list(commands)).allowed(_BY_CATEGORY) & COMMANDS


def allowed(user: Facts) -> frozenset[str]:
    """Those of ``COMMANDS`` that a user may run, by its own rules or by a selector's."""
    found = _allowed(tuple(user.texts("commands")))
    for selector in user.rows("selectors"):
        found |= _allowed(tuple(selector.texts("commands")))
    return found


def channels(user: Facts) -> set[str]:
    """Channel patterns that a user reaches, without the mark in front."""
    found = set(user.texts("channels"))
    for selector in user.rows("selectors"):
        found |= set(selector.texts("channels"))
    return {pattern[1:] for pattern in found}


def keys(user: Facts) -> set[str]:
    """Key patterns that a user reaches, with their mark."""
    found = set(user.texts("keys"))
    for selector in user.rows("selectors"):
        found |= set(selector.texts("keys"))
    return found


def publishes_hello(user: Facts) -> bool:
    """Whether a user could forge what sentinels tell each other."""
    hits = any(_covers(pattern, HELLO) for pattern in channels(user))
    return hits and "publish" in allowed(user)


def _covers(pattern: str, text: str) -> bool:
    head, star, _rest = pattern.partition("*")
    return text.startswith(head) if star else pattern == text


def live(users: Facts) -> dict[str, Facts]:
    """Users that can log in."""
    return {name: user for name, user in users.named() if user.flag("enabled")}


def listed(names: Iterable[str]) -> str:
    """For an evidence line."""
    return ", ".join(sorted(names)) or "none"


def shared_passwords(users: Mapping[str, Facts]) -> list[tuple[str, str]]:
    """Pairs of users that have a password in common."""
    seen: dict[str, str] = {}
    found = []
    for name, user in sorted(users.items()):
        for digest in user.texts("digests"):
            if digest in seen and seen[digest] != name:
                found.append((seen[digest], name))
            seen.setdefault(digest, name)
    return found

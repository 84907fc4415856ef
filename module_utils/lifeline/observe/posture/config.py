# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What redis.conf, sentinel.conf and the ACL files say, without secrets."""

from __future__ import annotations

from typing import Any, Optional

from ...common import reading
from ...errors import LifelineError
from ...formats.redis_conf import SECRETS, directives, file_values
from .secrets import Digests, hidden, plain_passwords, users, weak

LIMIT = 1_000_000
# Directives that are no settings, or that are shown in another form.
_LISTED = ("user", "include", "rename-command", "loadmodule")
# Defaults that Sentinel does not write into its file.
MONITOR = {"down-after-milliseconds": "30000", "failover-timeout": "180000", "parallel-syncs": "1"}


def text_of(path: Optional[str]) -> Optional[str]:
    """A file's text; None where it cannot be read."""
    if not path:
        return None
    try:
        return reading.beginning(path, LIMIT)
    except OSError:
        return None


def server_file(path: str, digests: Digests) -> dict[str, Any]:
    """``{path, readable, settings, secrets, weak, includes, renamed, modules, users, plain_users, replicaof}``.

    ``settings`` have the form of CONFIG GET; ``renamed`` are commands, ``plain_users`` those whose password stands
    there as it is.
    """
    text = text_of(path)
    if text is None:
        return {"path": path, "readable": False}
    rows = directives(text)
    values = file_values(text)
    shown, secrets = hidden({name: value for name, value in values.items() if name not in _LISTED}, SECRETS, digests)
    replicaof = shown.pop("replicaof", "")
    return {
        "path": path,
        "readable": True,
        "settings": shown,
        "secrets": secrets,
        "weak": sorted(name for name in SECRETS if values.get(name) and weak(values[name])),
        "replicaof": replicaof,
        "includes": [" ".join(words or []) for name, words in rows if name == "include"],
        "renamed": [words[0] for name, words in rows if name == "rename-command" and words],
        "modules": [words[0] for name, words in rows if name == "loadmodule" and words],
        "plain_users": plain_passwords(text),
    }


def acl_file(path: str, digests: Digests) -> dict[str, Any]:
    """``{path, readable, users, plain_users, error}`` of an ACL file; ``users`` as in ``secrets.users``."""
    text = text_of(path)
    if text is None:
        return {"path": path, "readable": False}
    found: dict[str, Any] = {"path": path, "readable": True, "error": "", "plain_users": plain_passwords(text)}
    try:
        found["users"] = users(text, digests)
    except LifelineError as error:
        found["error"] = str(error)
    return found


def sentinel_file(path: str, digests: Digests) -> dict[str, Any]:
    """``{path, readable, settings, secrets, weak, deny_scripts_reconfig, sentinel_user, sentinel_pass, monitors, users,
    plain_users}``.

    ``monitors``: by the estate's name ``{host, port, quorum, auth_user, auth_pass, scripts, down-after-milliseconds,
    failover-timeout, parallel-syncs}``. Passwords are digests. ``users``: those of the file, or of its ``aclfile``.
    """
    text = text_of(path)
    if text is None:
        return {"path": path, "readable": False}
    plain: list[tuple[str, list[str]]] = []
    words: list[tuple[str, list[str]]] = []
    for name, arguments in directives(text):
        (words if name == "sentinel" else plain).append((name, arguments or []))
    values = {name: " ".join(arguments) for name, arguments in plain if name not in _LISTED}
    shown, secrets = hidden(values, SECRETS, digests)
    found: dict[str, Any] = {
        "path": path,
        "readable": True,
        "settings": shown,
        "secrets": secrets,
        "weak": sorted(name for name in SECRETS if values.get(name) and weak(values[name])),
        "deny_scripts_reconfig": True,
        "sentinel_user": "",
        "sentinel_pass": "",
        "monitors": {},
        "plain_users": plain_passwords(text),
    }
    for _name, arguments in words:
        _sentinel_line(found, arguments, digests)
    source = acl_file(shown["aclfile"], digests) if shown.get("aclfile") else None
    try:
        found["users"] = source["users"] if source and "users" in source else users(_user_lines(text), digests)
        found["plain_users"] += source["plain_users"] if source and "plain_users" in source else []
    except LifelineError as error:
        found["error"] = str(error)
    return found


def _user_lines(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.split()[:1] == ["user"])


def _sentinel_line(found: dict[str, Any], arguments: list[str], digests: Digests) -> None:
    if len(arguments) < 2:
        return
    word, first, rest = arguments[0].lower(), arguments[1], arguments[2:]
    if word == "deny-scripts-reconfig":
        found["deny_scripts_reconfig"] = first.lower() == "yes"
    elif word == "sentinel-user":
        found["sentinel_user"] = first
    elif word == "sentinel-pass":
        found["sentinel_pass"] = digests.of_password(first)
        found["weak"] += ["sentinel-pass"] if weak(first) else []
    elif word == "monitor" and len(rest) >= 3:
        found["monitors"][first] = {
            "host": rest[0],
            "port": rest[1],
            "quorum": rest[2],
            "auth_user": "",
            "auth_pass": "",
            "scripts": [],
            **MONITOR,
        }
    elif first in found["monitors"] and rest:
        _monitor_line(found, found["monitors"][first], word, rest[0], digests)


def _monitor_line(found: dict[str, Any], monitor: dict[str, Any], word: str, value: str, digests: Digests) -> None:
    if word == "auth-pass":
        monitor["auth_pass"] = digests.of_password(value)
        found["weak"] += ["auth-pass"] if weak(value) else []
    elif word == "auth-user":
        monitor["auth_user"] = value
    elif word in ("notification-script", "client-reconfig-script"):
        monitor["scripts"].append(value)
    elif word in MONITOR:
        monitor[word] = value

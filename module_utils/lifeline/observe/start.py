# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What this host's server will meet when it starts next: its directives, addresses, ports, and rights to its files."""

from __future__ import annotations

import os
import socket
from typing import Any, Mapping, Sequence

from ..common import reading
from ..common.values import number
from . import access, processes

# A server has a handful of files; a folder full of strange ones is not looked through.
FILES = 16

# Directives whose values say what is needed; none of them is a secret.
_NEEDED = (
    "aclfile",
    "appenddirname",
    "bind",
    "dbfilename",
    "dir",
    "logfile",
    "port",
    "tls-ca-cert-file",
    "tls-cert-file",
    "tls-key-file",
    "tls-port",
)


def look(config_file: str, units: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``{directives, addresses, holders, denied}``.

    ``directives``: the names in the configuration file, without values. ``addresses``: ``{address: there}`` of those
    to bind, without those that may be missing. ``holders``: ``processes.holders`` of its ports. ``denied``:
    ``access.look`` for the user of the server's unit; empty where that is not known.
    """
    unit: Mapping[str, Any] = next((state for name, state in units.items() if "sentinel" not in name), {})
    names, values = parse(reading.text(config_file))
    ports = [number(word) for name in ("port", "tls-port") for word in values.get(name, [])[:1]]
    who = access.identity(str(unit.get("user") or "root"), str(unit.get("group") or ""))
    return {
        "directives": names,
        "addresses": {address: is_here(address) for address in addresses(values.get("bind", []))},
        "holders": processes.holders([port for port in ports if port], units),
        "denied": access.look(paths(config_file, values), who) if who else {},
    }


def parse(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """(names of all directives, words of those of ``_NEEDED``). The last line of a directive counts."""
    names: set[str] = set()
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name = words[0].lower()
        names.add(name[:64])
        if name in _NEEDED:
            values[name] = [word.strip("\"'") for word in words[1:]]
    return sorted(names), values


def addresses(words: Sequence[str]) -> list[str]:
    """Those that the server cannot start without: with a dash before it one may be missing, and a star is any."""
    return [word for word in words if word and not word.startswith("-") and "*" not in word]


def is_here(address: str) -> bool:
    """Whether one of this host's interfaces has the address; names are taken for granted."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):
        return True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def paths(config_file: str, values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What the server does with which path (``access.RIGHTS``)."""
    # Redis writes its configuration, and with it its role, through a file beside it.
    wanted = {config_file: "read", os.path.dirname(config_file): "keep"}
    for name in ("aclfile", "tls-ca-cert-file", "tls-cert-file", "tls-key-file"):
        wanted.update({path: "read" for path in values.get(name, [])[:1]})
    for log in values.get("logfile", [])[:1]:
        wanted.update({log: "append"} if os.path.exists(log) else {os.path.dirname(log): "keep"})
    folder = next(iter(values.get("dir", [])), "")
    if not folder:
        return wanted
    wanted[folder] = "keep"
    snapshot = os.path.join(folder, next(iter(values.get("dbfilename", [])), "dump.rdb"))
    if os.path.exists(snapshot):
        wanted[snapshot] = "read"
    log_folder = os.path.join(folder, next(iter(values.get("appenddirname", [])), "appendonlydir"))
    if os.path.isdir(log_folder):
        wanted[log_folder] = "keep"
        names = sorted(os.listdir(log_folder))[:FILES]
        wanted.update({os.path.join(log_folder, name): "read" if ".base." in name else "append" for name in names})
    return wanted

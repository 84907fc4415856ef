# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinel's own file, which it rewrites: what it watches according to it, and whether it may write it."""

from __future__ import annotations

import os
from typing import Any, Mapping

from ..common.shell import read
from ..common.values import number
from ..formats.sentinel_conf import of_master
from . import access


def look(path: str, service: str, units: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``{config, exists, denied, monitor, epoch}``.

    ``denied``: ``access.look`` of the file and its folder for the user of the sentinel's unit; empty where that is not
    known. ``monitor``: ``{host, port, quorum}`` of the estate ``service`` in the file, or null; ``epoch``: its
    config-epoch. Nothing else is kept of the file, since it holds passwords.
    """
    unit: Mapping[str, Any] = next((state for name, state in units.items() if "sentinel" in name), {})
    who = access.identity(str(unit.get("user") or "root"), str(unit.get("group") or ""))
    wanted = {path: "append", os.path.dirname(path): "keep"}
    return {
        "config": path,
        "exists": os.path.exists(path),
        "denied": access.look(wanted, who) if who else {},
        **parse(read(path), service),
    }


def parse(text: str, service: str) -> dict[str, Any]:
    """``{monitor, epoch}`` of one estate in the text of a sentinel.conf."""
    said = of_master(text, service)
    watched, epoch = said.get("monitor", ()), said.get("config-epoch", ())
    found: dict[str, Any] = {"monitor": None, "epoch": number(epoch[0]) if len(epoch) == 1 else 0}
    if len(watched) == 3:
        found["monitor"] = {"host": watched[0], "port": number(watched[1]), "quorum": number(watched[2])}
    return found

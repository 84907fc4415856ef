# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentinel's own troubles. None of them touches the data, and none is a reason to move the primary."""

from __future__ import annotations

from typing import Iterator

from .base import CRITICAL, WARNING, Cause, Match
from .case import Case


def _astray(case: Case) -> Iterator[Match]:
    primary = case.topology.primary
    for watcher in case.watchers:
        if primary and watcher.alive and watcher.view.flag("known") and watcher.node.names != primary:
            yield Match(watcher.name, (f"{watcher.name} names {watcher.node.names}, the live primary is {primary}",))


def _ignorant(case: Case) -> Iterator[Match]:
    for watcher in case.watchers:
        if watcher.alive and not watcher.view.flag("known"):
            yield Match(watcher.name, (f"{watcher.name} does not know the estate {case.service}",))


CAUSES = (
    Cause(
        "sentinel_astray",
        "F34",
        "sentinel",
        "A sentinel names the wrong primary",
        CRITICAL,
        "Clients that ask it write to a replica and are refused; a failover may promote old data.",
        "SENTINEL REMOVE, MONITOR the live primary, SET its settings again, on each sentinel that is wrong.",
        "Do not run SENTINEL RESET and do not install Sentinel again: it forgets its replicas and peers.",
        _astray,
        task="repoint_sentinel",
    ),
    Cause(
        "sentinel_ignorant",
        "F34",
        "sentinel",
        "A sentinel does not watch the estate",
        WARNING,
        "It has no vote in a failover.",
        "SENTINEL MONITOR the live primary and SET its settings: provision.yml does it.",
        "Do not copy another sentinel's file over: two would have one id.",
        _ignorant,
        task="repoint_sentinel",
    ),
)

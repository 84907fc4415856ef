# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Primary and replicas: who follows whom, and whether there are two of one kind."""

from __future__ import annotations

from typing import Iterator

from ..topology import DISPUTED
from .base import CRITICAL, EVERYBODY, WARNING, Cause, Match
from .case import Case


def claim_line(case: Case, name: str) -> str:
    """What a node that calls itself primary holds, as evidence."""
    view = case.topology.nodes[name].view
    return (
        f"{name}: role master, offset {view.get('offset')}, {view.get('keys')} keys, "
        f"{len(view.get('replicas') or [])} replicas, history {str(view.get('replid'))[:8]}"
    )


def _split_brain(case: Case) -> Iterator[Match]:
    claims = case.topology.claims
    if case.topology.state == DISPUTED and len(claims) > 1:
        lines = (*case.topology.reasons, *(claim_line(case, name) for name in claims))
        yield Match(case.service, lines, (EVERYBODY,))
    for name in case.topology.stale:
        lines = (claim_line(case, name), claim_line(case, str(case.topology.primary)))
        yield Match(name, lines, (name,))


def _astray(case: Case) -> Iterator[Match]:
    primary = case.topology.primary
    for server in case.servers:
        if primary and server.alive and not server.is_primary and server.node.follows != primary:
            yield Match(
                server.name, (f"{server.name} follows {server.node.follows or 'nobody'}, the primary is {primary}",)
            )


CAUSES = (
    Cause(
        "split_brain",
        "F27",
        "replication",
        "More than one primary",
        CRITICAL,
        "Every write that the losing side accepted since the split.",
        "Keep a copy of the losing side's data first, then let it follow the other; hand the copy over for replay.",
        "Do not restart one of them and do not merge by hand: clients may still write to the side that is lost.",
        _split_brain,
        ("replica_astray", "sentinel_astray", "no_primary", "application_cut_off", "replica_link_down"),
        "follow",
    ),
    Cause(
        "replica_astray",
        "",
        "replication",
        "A replica follows the wrong node",
        WARNING,
        "This copy of the data falls behind, and can not be promoted.",
        "Let it follow the live primary.",
        "Do not promote it: its data may be old.",
        _astray,
        ("replica_link_down",),
        "follow",
    ),
)

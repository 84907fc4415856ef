# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis Cluster: slots, majorities, and the file that each node knows the others by."""

from __future__ import annotations

from typing import Iterator, Optional

from ...common.facts import Facts
from ..case import Case, Server
from .base import CRITICAL, EVERYBODY, WARNING, Cause, Match
from .process import DEATHS, grade, reach, unit_line


def _views(case: Case) -> list[tuple[Server, Facts]]:
    """What each live node says of the cluster."""
    return [(server, server.deep.sub("cluster")) for server in case.servers if server.deep.sub("cluster")]


def _owners(view: Facts) -> tuple[list[Facts], list[Facts]]:
    """(primaries with slots that are well, those that have failed or are taken to have failed)."""
    rows = [row for row in view.rows("nodes") if "master" in row.texts("flags") and row.count("slots") > 0]
    bad = [row for row in rows if {"fail", "fail?"} & set(row.texts("flags"))]
    return [row for row in rows if row not in bad], bad


def _worst(case: Case) -> Optional[tuple[Server, Facts]]:
    """The view of a node for which the cluster is down; None when it is up for all."""
    down = [(server, view) for server, view in _views(case) if view.text("state") == "fail"]
    return max(down, key=lambda item: item[1].count("known_nodes"), default=None)


def _lines(server: Server, view: Facts) -> list[str]:
    _well, bad = _owners(view)
    said = f"{server.name}: cluster_state {view.text('state')}, {view.count('slots_ok')} of 16384 slots served"
    lines = [f"{said}, {view.count('slots_pfail')} in doubt, {view.count('slots_fail')} lost"]
    lines += [
        f"{row.text('host')}:{row.count('port')} owns {row.count('slots')} slots and is {','.join(row.texts('flags'))}"
        for row in bad[:6]
    ]
    return lines


def _majority(case: Case) -> Iterator[Match]:
    found = _worst(case)
    if found:
        well, bad = _owners(found[1])
        if bad and len(well) <= len(bad):
            yield Match(case.service, tuple(_lines(*found)), (EVERYBODY,))


def _range(case: Case) -> Iterator[Match]:
    found = _worst(case)
    if found:
        well, bad = _owners(found[1])
        unowned = 16384 - found[1].count("slots_assigned", 16384)
        if (bad and len(well) > len(bad)) or (not bad and unowned > 0):
            lines = _lines(*found) + ([f"{unowned} slots belong to nobody"] if unowned > 0 else [])
            yield Match(case.service, tuple(lines), (EVERYBODY,))


def _nodes_file(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.node.unit_down and server.logged("nodes_file"):
            lines = (unit_line(server), *server.log_line("nodes_file"))
            yield Match(server.name, lines, reach(case, server), grade(case, server))


def _open_slots(case: Case) -> Iterator[Match]:
    for server, view in _views(case):
        moving = view.rows("open")
        if moving:
            lines = [
                f"{server.name}: slot {row.count('slot')} is {row.text('way')} "
                f"{'from' if row.text('way') == 'importing' else 'to'} {row.text('node')[:8]}"
                for row in moving[:5]
            ]
            yield Match(server.name, tuple(lines))


CAUSES = (
    Cause(
        id="cluster_majority_lost",
        fault="F50",
        title="The cluster has lost the majority of its primaries",
        severity=CRITICAL,
        at_risk="Every command until there is a majority again: nobody can promote a replica.",
        remedy=(
            "Bring a primary back with its data. Else CLUSTER FAILOVER TAKEOVER on the replica of one that is surely "
            "dead, one only; with a majority the rest fails over alone."
        ),
        avoid="Do not take over everywhere, nor while an old primary may live: two nodes then own the same slots.",
        detect=_majority,
        explains=(*DEATHS, "cluster_slots_lost", "host_gone"),
    ),
    Cause(
        id="cluster_slots_lost",
        fault="F49",
        title="A part of the cluster's slots is served by nobody",
        severity=CRITICAL,
        at_risk="All keys in these slots; with cluster-require-full-coverage every other command as well.",
        remedy="Bring the node that owned them back with its data; the cluster is well again by itself.",
        avoid=(
            "Do not run --cluster fix with --cluster-fix-with-unreachable-masters: the slots come back empty. Do "
            "not start the old node without its data."
        ),
        detect=_range,
        explains=(*DEATHS, "host_gone"),
    ),
    Cause(
        id="cluster_nodes_file",
        fault="F51",
        title="A cluster node cannot read the file that it knows the others by",
        severity=WARNING,
        at_risk="This node does not start; its data is not touched.",
        remedy=(
            "Put back a copy of the file that cluster-config-file names. Without one, reset the node and add it as a "
            "replica; or end the other server that uses the same file."
        ),
        avoid="Do not delete it on a node that owns slots: it forgets them.",
        detect=_nodes_file,
        explains=DEATHS,
    ),
    Cause(
        id="cluster_slot_open",
        fault="F52",
        title="A slot was left half moved",
        severity=WARNING,
        at_risk="Keys of this slot are on two nodes; a second resharding refuses to start.",
        remedy="If no resharding runs: take a backup, then redis-cli --cluster fix, without further options.",
        avoid="Do not close it by hand with SETSLOT: keys on the other side are out of reach then.",
        detect=_open_slots,
    ),
)

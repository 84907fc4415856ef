# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis Cluster in the words of real nodes (tests/data/cluster.json, recorded by tests/tools/record_cluster.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from estates import Estate
from hypothesis import given
from hypothesis import strategies as st
from lifeline.observe import cluster
from lifeline.observe.logs import group

RECORD: dict[str, Any] = json.loads((Path(__file__).resolve().parents[1] / "data" / "cluster.json").read_text())


def estate(*views: str) -> Estate:
    """Primaries of a cluster; the first of them say what is recorded under a name."""
    made = Estate(sentinels=False)
    for name in made.names:
        made.say(name, role="master", primary=None, cluster=True, replid=name)
    for name, view in zip(made.names, views, strict=False):
        said = cluster.view(RECORD[view]["info"], RECORD[view]["nodes"])
        made.look(name, server={"reachable": True, "info": {"cluster_enabled": 1}, "cluster": said})
    return made


def test_many_primaries_are_right_in_a_cluster() -> None:
    diagnosis = estate("healthy").diagnose()
    assert (diagnosis["verdict"], diagnosis["findings"]) == ("healthy", [])
    assert diagnosis["plan"]["actions"] == []


@pytest.mark.parametrize(
    ("view", "cause"), [("range_lost", "cluster_slots_lost"), ("majority_lost", "cluster_majority_lost")]
)
def test_lost_slots_and_a_lost_majority(view: str, cause: str) -> None:
    broken = estate(view)
    assert [(found["id"], found["severity"]) for found in broken.diagnose()["findings"]] == [(cause, "critical")]


def test_a_slot_that_is_half_moved() -> None:
    findings = estate("open_migrating", "open_importing").findings()
    assert set(findings) == {("cluster_slot_open", "redis1"), ("cluster_slot_open", "redis2")}
    assert "slot 93 is migrating to" in findings["cluster_slot_open", "redis1"]["evidence"][0]
    assert "slot 93 is importing from" in findings["cluster_slot_open", "redis2"]["evidence"][0]


@pytest.mark.parametrize("words", ["nodes_file", "nodes_file_shared"])
def test_a_file_of_nodes_that_stops_the_start(words: str) -> None:
    line = RECORD[words]["log"].partition(" # ")[2]
    assert set(group([(5.0, line)], 0.0, str)["groups"]) == {"nodes_file"}
    broken = estate("healthy").kill("redis2").log("redis2", "nodes_file", line)
    assert set(broken.findings()) == {("cluster_nodes_file", "redis2")}


def test_what_a_node_says_is_counted() -> None:
    said = cluster.view(RECORD["healthy"]["info"], RECORD["healthy"]["nodes"])
    assert (said["state"], said["slots_assigned"], said["open"]) == ("ok", 16384, [])
    assert sum(node["slots"] for node in said["nodes"]) == 16384
    assert {node["primary"] for node in said["nodes"] if "slave" in node["flags"]} == {
        node["id"] for node in said["nodes"] if "master" in node["flags"]
    }


@given(st.text(), st.text())
def test_garbage_is_no_cluster(info: str, nodes: str) -> None:
    cluster.view(info, nodes)

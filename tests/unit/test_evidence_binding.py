# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose evidence it is and of which look; and that what a step acts upon never comes out of it."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from estates import UNIT, Estate
from hypothesis import given, settings
from hypothesis import strategies as st
from lifeline.diagnose import evidence
from lifeline.plan.diagnosis import diagnose
from lifeline.plan.steps import MODES, SWITCHES, bound

LOOK = "1"
MINE = evidence.stamp("redis1", LOOK)
NAMED = {"host": "redis1", "service": "redis"}


def results(estate: Estate, looked: str = LOOK) -> dict[str, dict[str, Any]]:
    """What the members of an estate registered."""
    return {
        host: {"changed": False, "evidence": document, "look": evidence.stamp(host, looked)}
        for host, document in estate.evidence.items()
    }


def planned(estate: Estate, said: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of the plan that is made of what was seen."""
    bundle = {"service": estate.service, "nodes": estate.nodes, "sentinels": estate.sentinels, **said}
    return list(diagnose(bundle)["plan"]["actions"])


def test_B3_a_document_counts_for_the_host_that_it_came_from() -> None:
    """Before: a document counted for the host that it named; of two for one host the first counted, whoever sent it.

    Now: a document that names another host than it came from is left out, and the report says so.
    """
    found = results(Estate())
    found["redis1"]["evidence"] = {**found["redis2"]["evidence"], "units": {"poweroff.target": {}}}
    said = evidence.seen(found, "redis", LOOK)
    assert [document["host"] for document in said["evidence"]] == ["redis2", "redis3"]
    assert "poweroff.target" not in json.dumps(said["evidence"])
    assert said["silent"] == {"redis1": "its evidence speaks of host redis2, so it was left out: look at that host"}


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"look": MINE, "evidence": NAMED}, ""),
        (
            {"look": {"host": "redis1", "round": "0"}, "evidence": NAMED},
            "in this look",
        ),
        (
            {"look": {"host": "redis2", "round": LOOK}, "evidence": NAMED},
            "in this look",
        ),
        ({"evidence": NAMED}, "in this look"),
        (
            {"look": MINE, "evidence": {"host": "redis1", "service": "b"}},
            "speaks of service",
        ),
        ({"look": MINE, "evidence": [1]}, "not a document"),
        ({"skipped": True, "look": {"host": "redis1", "round": LOOK}}, "it gave no evidence"),
        ({"unreachable": True, "msg": "Failed to connect to the host via over ssh: no route"}, "no route"),
    ],
)
def test_A9_only_evidence_of_this_look_counts(result: dict[str, Any], why: str) -> None:
    """Before: what a host had said in an earlier look stood for it for the rest of the run.

    Now: a host without evidence of this look is silent in its plan, and the reason is told.
    """
    said = evidence.seen({"redis1": result}, "redis", LOOK)
    assert len(said["evidence"]) == (not why)
    assert why in said["silent"].get("redis1", "")


def test_A9_a_host_that_left_the_play_is_silent() -> None:
    said = evidence.registered({"redis1": {"seen": results(Estate())["redis1"]}}, ["redis1"], [], "seen", "redis", LOOK)
    assert said["evidence"] == [] and "in this look" in said["silent"]["redis1"]


HOSTILE = st.sampled_from(["poweroff.target", "/etc/sudoers", "203.0.113.66", "redis2", 203, None, True, {"a": "/etc"}])
PLACES = st.sampled_from(["units", "files", "nodes", "sentinels", "data", "host", "platform", "errors", "logs", "acl"])


@settings(max_examples=60, deadline=None)
@given(lies=st.lists(st.tuples(PLACES, st.sampled_from(["host", "unit", "config", "name", "primary"]), HOSTILE)))
def test_B3_steps_are_told_switches_only_whatever_a_host_says(lies: list[tuple[str, str, Any]]) -> None:
    estate = Estate().kill("redis2")
    found = results(estate)
    said = found["redis1"]["evidence"] = copy.deepcopy(found["redis1"]["evidence"])
    for place, key, value in lies:
        section = said.setdefault(place, {})
        if isinstance(section, dict):
            section[key] = value
            said["units"] = {"poweroff.target": {"active": "failed", "pid": 0, "result": "signal"}}
    for step in planned(estate, evidence.seen(found, "redis", LOOK)):
        assert step["args"] == bound(step["args"])
        for name, value in step["args"].items():
            assert (name in SWITCHES and isinstance(value, bool)) or (name == "mode" and value in MODES), step


def test_B3_a_step_is_told_nothing_but_switches_and_addresses_to_leave_alone() -> None:
    told = {
        "unit": "poweroff.target",
        "config_file": "/etc/sudoers",
        "preserve": True,
        "fresh": "yes",
        "mode": "anything",
        "addresses": ["192.0.2.1", "$(reboot)", "2001:db8::1"],
    }
    assert bound(told) == {"preserve": True, "addresses": ["192.0.2.1", "2001:db8::1"]}


def test_B3_the_remedies_take_names_and_paths_from_the_inventory(root: Path) -> None:
    tasks = root / "roles" / "redis_recovery" / "tasks"
    used = {
        name
        for path in [*tasks.glob("*.yml"), *(tasks / "remedies").glob("*.yml")]
        for name in re.findall(r"action\.args\.(\w+)", path.read_text())
    }
    assert used <= {*SWITCHES, "mode", "addresses"}


def test_B3_the_plan_still_names_the_honest_hosts_fault() -> None:
    estate = Estate().kill("redis2")
    found = results(estate)
    found["redis1"]["evidence"] = {**found["redis1"]["evidence"], "host": "redis2"}
    (step,) = planned(estate, evidence.seen(found, "redis", LOOK))
    assert (step["remedy"], step["host"], UNIT in json.dumps(step["args"])) == ("follow", "redis2", False)

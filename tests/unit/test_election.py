# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All servers are down, or two want to be the primary: which copy the estate goes on with, and what a person says."""

from __future__ import annotations

from typing import Any

import pytest
from estates import NEW, OLD, UNIT, Estate
from lifeline.plan.diagnosis import diagnose
from lifeline.plan.primary import settle
from lifeline.plan.recovery import make_plan
from lifeline.plan.steps import Accepted, Plan

ANY = {name: Accepted(frozenset({name}), -1) for name in ("redis1", "redis2", "redis3")}


def down(**files: dict[str, Any]) -> Estate:
    """Three dead servers; by name, what is different on a server's disk."""
    estate = Estate()
    for name in estate.names:
        estate.kill(name)
        on_disk = estate.evidence[name]["files"]
        on_disk["aof"]["age_s"] = 60.0
        on_disk.update(files.get(name, {}))
    return estate


def aof(age_s: float, size: int = 1000, **more: Any) -> dict[str, Any]:
    return {"aof": {"size": size, "manifest": True, "age_s": age_s, **more}}


def rdb(offset: int, replid: str = OLD, age_s: float = 60.0, size: int = 1000) -> dict[str, Any]:
    found = {"size": size, "age_s": age_s, "header": "REDIS0010", "complete": True, "replid": replid, "offset": offset}
    return {"aof_configured": False, "aof": None, "rdb": found}


def started(plan: Plan) -> tuple[str, bool]:
    """Who is started as the primary, and whether against its own file."""
    (action,) = (action for action in plan.actions if action.remedy == "start_primary")
    return action.host, action.args["elected"]


def test_copies_that_ended_together_go_on_with_the_last_primary() -> None:
    assert started(make_plan(down(redis2=aof(59.0)).build())) == ("redis1", False)


def test_a_copy_that_was_written_to_later_wins_over_the_last_primary() -> None:
    plan = make_plan(down(redis3=aof(5.0)).build())
    assert started(plan) == ("redis3", True)
    assert "redis3 (append-only file of 1000 bytes, last written 5 s ago)" in plan.actions[0].why


def test_in_one_history_the_offset_decides_whatever_the_clocks_say() -> None:
    files = {"redis1": rdb(2115, age_s=1.0), "redis2": rdb(4244), "redis3": rdb(4207, age_s=2.0)}
    assert started(make_plan(down(**files).build())) == ("redis2", True)


def test_of_two_histories_the_later_one_wins() -> None:
    files = {"redis1": rdb(9000), "redis2": rdb(400, NEW, age_s=10.0), "redis3": rdb(300, NEW, age_s=30.0)}
    assert started(make_plan(down(**files).build()))[0] == "redis2"


@pytest.mark.parametrize("damage", [{"manifest": False}, {"missing": ["base"]}, {"size": 0}])
def test_a_copy_that_would_not_load_is_none(damage: dict[str, Any]) -> None:
    assert started(make_plan(down(redis1={"aof": {**aof(1.0)["aof"], **damage}}).build()))[0] != "redis1"


def test_a_newer_copy_that_is_nearly_empty_is_not_believed() -> None:
    estate = down(redis1=aof(1.0, size=90), redis2=aof(60.0, size=9_000_000))
    plan = make_plan(estate.build())
    assert plan.verdict == "refused"
    assert "seems to have lost its data (R5)" in str(plan.refusal)
    assert "recover_accept_data_loss=redis1 " in str(plan.refusal)
    assert started(make_plan(estate.build(), accepted=ANY["redis1"]))[0] == "redis2"


def test_a_host_out_of_sight_may_hold_more_unless_a_person_gives_it_up() -> None:
    estate = down()
    del estate.evidence["redis1"]
    built = estate.build()
    plan = make_plan(built)
    assert plan.verdict == "refused"
    assert "-e recover_accept_data_loss=redis1 -e recover_accept_data_loss_bytes=-1" in str(plan.refusal)
    assert make_plan(built, accepted=Accepted(frozenset({"redis1"}), 1 << 40)).verdict == "refused"
    assert started(make_plan(built, accepted=ANY["redis1"]))[0] in ("redis2", "redis3")


def test_a_server_that_a_person_stopped_is_not_started() -> None:
    estate = down(redis1=aof(1.0))
    estate.evidence["redis1"]["units"][UNIT].update(active="inactive", result="success")
    plan = make_plan(estate.build())
    assert plan.verdict == "refused"
    assert "was stopped by hand" in str(plan.refusal)


def test_a_server_that_still_starts_is_not_dead() -> None:
    estate = down()
    estate.evidence["redis2"]["units"][UNIT].update(active="activating", pid=99)
    assert started(make_plan(estate.build()))[0] == "redis1"


def test_dead_sentinels_are_started_before_somebody_promotes_by_hand() -> None:
    estate = Estate().lose("redis1")
    estate.evidence["redis2"]["units"]["redis-sentinel.service"].update(active="failed", pid=0)
    for evidence in estate.evidence.values():
        evidence["sentinels"]["redis2"].update(reachable=False, error="refused")
    plan = make_plan(estate.build())
    assert [(action.remedy, action.host) for action in plan.actions] == [("start_sentinel", "redis2")]


def test_a_minority_of_sentinels_promotes_only_on_a_persons_word() -> None:
    estate = Estate().lose("redis1").lose("redis3")
    assert make_plan(estate.build()).verdict == "refused"
    plan = make_plan(estate.build(), accepted=Accepted(frozenset({"redis1", "redis3"}), -1))
    assert [(action.remedy, action.args["mode"]) for action in plan.actions] == [("failover", "replication")]


def split() -> Estate:
    """redis1 and redis2 are primaries of histories that parted at 900, and the sentinels do not agree."""
    estate = Estate()
    for evidence in estate.evidence.values():
        evidence["nodes"]["redis2"].update(role="master", primary=None, replid=NEW, replid2=OLD, second_offset=900)
        evidence["nodes"]["redis3"]["primary"]["host"] = "192.0.2.9"
        evidence["nodes"]["redis1"].update(replid2=NEW)
        evidence["sentinels"].update(redis1=None, redis2=None, redis3=None)
    return estate


def test_of_two_primaries_the_one_that_a_person_gives_up_follows_with_a_copy() -> None:
    built = split().build()
    assert built.state == "disputed"
    refusal = str(make_plan(built).refusal)
    assert "to go on with redis2: -e recover_accept_data_loss=redis1 -e recover_accept_data_loss_bytes=101" in refusal
    settled = settle(built, Accepted(frozenset({"redis1"}), 101))
    plan = make_plan(settled)
    assert (settled.primary, plan.verdict) == ("redis2", "act")
    (action,) = (action for action in plan.actions if action.host == "redis1")
    assert (action.remedy, action.args) == ("follow", {"preserve": True})


@pytest.mark.parametrize(
    "accepted",
    [
        Accepted(frozenset({"redis1"}), 100),
        Accepted(frozenset({"redis3"}), -1),
        Accepted(frozenset({"redis1", "redis2"}), -1),
        Accepted(),
    ],
)
def test_a_dispute_stays_one_when_more_is_lost_or_nobody_is_left(accepted: Accepted) -> None:
    built = split().build()
    assert settle(built, accepted) is built


def test_the_word_of_a_person_reaches_the_plan() -> None:
    estate = split()
    parts = {
        "evidence": list(estate.evidence.values()),
        "nodes": estate.nodes,
        "sentinels": estate.sentinels,
        "service": "redis",
        "quorum": 2,
    }
    assert diagnose(parts)["plan"]["verdict"] == "refused"
    decided = diagnose({**parts, "accept_data_loss": ["redis1"], "accept_data_loss_bytes": 4096})
    assert (decided["plan"]["verdict"], decided["primary"]["name"]) == ("act", "redis2")


def ring(best: str) -> Estate:
    """redis1 was the primary by the sentinels' word, and came back as a replica of redis2."""
    estate = Estate()
    follows = {"redis1": "redis2", "redis2": "redis3", "redis3": "redis1"}
    for name, other in follows.items():
        link = {"host": f"192.0.2.{other[5:]}", "port": 6379, "link_up": False, "link_down_s": 9, "syncing": False}
        estate.say(name, role="slave", primary=link, offset=1200 if name == best else 1000)
    return estate


def test_A15_in_a_ring_of_replicas_the_newest_history_leads_again() -> None:
    """Before: three replicas in a ring were failed over by Sentinel, which never chooses the one it holds for the
    primary: 114 s and 4 acknowledged jobs lost.

    Now: the one that the sentinels name and that has the newest data is made the primary again, in one step.
    """
    plan = make_plan(ring("redis1").build())
    assert [(step.remedy, step.host, step.args["mode"]) for step in plan.actions] == [
        ("failover", "redis1", "replication")
    ]
    assert "redis1, which the sentinels name, has the newest data" in plan.actions[0].why


def test_where_another_one_has_the_newest_data_sentinel_decides() -> None:
    (step,) = make_plan(ring("redis2").build()).actions
    assert (step.remedy, step.args["mode"]) == ("failover", "sentinel")

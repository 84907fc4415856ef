# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The family replication: each cause is seen in an estate that shows it, and not in one that only looks like it."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from estates import NONE, OLD, Estate


def roots(estate: Estate) -> set[tuple[str, str]]:
    """Findings worse than a note."""
    return {key for key, found in estate.findings().items() if found["severity"] != "info"}


def link_lost(name: str = "redis2", **link: Any) -> Estate:
    """A replica without a link to its live primary."""
    estate = Estate()
    for evidence in estate.evidence.values():
        evidence["nodes"][name]["primary"].update(link_up=False, link_down_s=30, **link)
    return estate


def tells(estate: Estate, name: str, info: Optional[dict[str, Any]] = None, **config: str) -> Estate:
    """What a server says of itself to its own host, in detail."""
    settings = {key.replace("_", "-"): value for key, value in config.items()}
    estate.evidence[name]["server"] = {"reachable": True, "info": info or {}, "config": settings, "acl_log": []}
    return estate


def test_a_healthy_estate_shows_none_of_them() -> None:
    assert tells(Estate(), "redis1", min_replicas_to_write="0", min_replicas_max_lag="10").findings() == {}


def test_a_link_lost_for_no_known_reason_is_an_unknown_fault() -> None:
    found = link_lost().findings()
    assert set(found) == {("replica_link_down", "redis2")}
    assert found["replica_link_down", "redis2"]["unknown"]


def test_an_old_primary_that_came_back_says_how_much_only_it_has() -> None:
    estate = Estate().promote("redis2", at=900)
    found = estate.findings()["split_brain", "redis1"]
    assert found["severity"] == "critical"
    assert found["data"] == {"lost_bytes": 101}
    assert "redis1 has 101 bytes of writes that redis2 lacks" in found["evidence"]


def test_histories_that_are_not_related_are_not_counted() -> None:
    estate = Estate().promote("redis2", at=900).say("redis2", replid2=NONE)
    found = estate.findings()["split_brain", "redis1"]
    assert (found["data"], "cannot be told" in " ".join(found["evidence"])) == ({}, True)


def test_two_primaries_that_nobody_decides_between() -> None:
    estate = Estate(sentinels=False, nodes=2)
    estate.say("redis2", role="master", primary=None, replid2=OLD, second_offset=1, replid="c" * 40)
    estate.say("redis1", role="master", primary=None, replid="d" * 40)
    found = estate.findings()
    assert found["split_brain", "redis"]["severity"] == "critical"
    assert [entry["id"] for entry in found["split_brain", "redis"]["consequences"]] == ["no_primary"]


def test_a_replica_that_follows_another_replica() -> None:
    estate = Estate()
    for evidence in estate.evidence.values():
        evidence["nodes"]["redis3"]["primary"]["host"] = "192.0.2.2"
    assert roots(estate) == {("replica_astray", "redis3")}


LOGIN = "Unable to AUTH to MASTER: -WRONGPASS invalid username-password pair or user is disabled."


def test_a_login_that_the_primary_refuses() -> None:
    estate = tells(link_lost().log("redis2", "replica_login", LOGIN), "redis2", replica_serve_stale_data="yes")
    found = tells(estate, "redis1", {"errors": {"WRONGPASS": 17920}}).findings()
    assert set(found) == {("replica_login_refused", "redis2")}
    lines = found["replica_login_refused", "redis2"]["evidence"]
    assert lines[1:] == [f"redis2 log: {LOGIN}", "redis1: 17920 logins or commands refused with WRONGPASS"]


def test_a_login_that_was_refused_some_time_ago_or_over_a_link_that_is_up_is_history() -> None:
    assert roots(link_lost().log("redis2", "replica_login", LOGIN, ago=300)) == {("replica_link_down", "redis2")}
    assert roots(Estate().log("redis2", "replica_login", LOGIN)) == set()


DROPPED = "Client id=9 scheduled to be closed ASAP for overcoming of output buffer limits."
SYNC = "Full resync requested by replica 192.0.2.2:6379"


def test_a_copy_is_waited_for_once() -> None:
    estate = link_lost(syncing=True)
    plan = estate.diagnose()["plan"]
    assert [(step["remedy"], step["host"]) for step in plan["actions"]] == [("follow", "redis2")]
    again = estate.diagnose(tried=["follow@redis2"])["plan"]
    assert (again["verdict"], again["actions"]) == ("degraded", [])
    assert "Wait until it is done" in again["todo"][0]


def test_replicas_dropped_again_and_again() -> None:
    estate = link_lost(syncing=True).log("redis1", "replica_buffer", DROPPED, count=3)
    found = estate.log("redis1", "full_sync", SYNC, count=9).findings()
    assert set(found) == {("replica_buffer_loop", "redis1")}
    consequences = {entry["id"] for entry in found["replica_buffer_loop", "redis1"]["consequences"]}
    assert consequences == {"full_sync_storm", "replica_copying", "replica_link_down"}


def test_what_was_dropped_before_the_last_step_says_nothing_of_how_it_is_after_it() -> None:
    estate = Estate().log("redis1", "replica_buffer", DROPPED, count=3, ago=5)
    assert [step["remedy"] for step in estate.diagnose()["plan"]["actions"]] == ["configure_server"]
    assert estate.findings(fresh=3.0) == {}
    assert Estate().log("redis1", "full_sync", SYNC, count=9, ago=5).findings(fresh=3.0) == {}


def test_one_replica_dropped_or_several_some_time_ago_is_no_loop() -> None:
    assert roots(Estate().log("redis1", "replica_buffer", DROPPED, count=1)) == set()
    assert roots(Estate().log("redis1", "replica_buffer", DROPPED, count=9, ago=300)) == set()
    assert roots(Estate().log("redis2", "replica_buffer", DROPPED, count=9)) == set()


@pytest.mark.parametrize(("count", "ago", "seen"), [(5, 1, True), (4, 1, False), (50, 300, False)])
def test_full_copies_without_end(count: int, ago: float, seen: bool) -> None:
    estate = Estate().log("redis1", "full_sync", SYNC, count=count, ago=ago)
    assert (("full_sync_storm", "redis1") in roots(estate)) is seen


def test_a_replica_that_copies_everything() -> None:
    estate = tells(
        link_lost(syncing=True), "redis2", {"master_sync_left_bytes": 1 << 20}, replica_serve_stale_data="yes"
    )
    found = estate.findings()
    assert set(found) == {("replica_copying", "redis2")}
    assert found["replica_copying", "redis2"]["evidence"] == ["redis2 copies all data of redis1, 1.0 MiB left"]


@pytest.mark.parametrize(("serves", "what"), [("yes", "old data"), ("no", "MASTERDOWN")])
def test_a_replica_out_of_date(serves: str, what: str) -> None:
    found = tells(link_lost(), "redis2", replica_serve_stale_data=serves).findings()
    assert set(found) == {("replica_stale", "redis2")}
    assert what in found["replica_stale", "redis2"]["evidence"][1]
    assert tells(Estate(), "redis2", replica_serve_stale_data=serves).findings() == {}


@pytest.mark.parametrize(
    ("lag", "state", "seen"), [(12, "online", True), (2, "online", False), (30, "send_bulk", False)]
)
def test_a_replica_that_does_not_keep_up(lag: int, state: str, seen: bool) -> None:
    row = {"host": "192.0.2.2", "port": 6379, "state": state, "offset": 400, "lag_s": lag}
    found = Estate().say("redis1", replicas=[row]).findings()
    assert (("replica_lagging", "redis2") in found) is seen
    if seen:
        assert found["replica_lagging", "redis2"]["data"] == {"behind_bytes": 600}
        (step,) = Estate().say("redis1", replicas=[row]).diagnose()["plan"]["actions"]
        assert (step["remedy"], step["host"]) == ("relink", "redis2")
        assert Estate().say("redis1", replicas=[row, {**row, "lag_s": 0}]).findings() == {}, "it is back on a new link"


def short_of_replicas(estate: Estate, wanted: str, good: int) -> Estate:
    tells(estate, "redis1", min_replicas_to_write=wanted, min_replicas_max_lag="10")
    return estate.say("redis1", good_replicas=good)


def test_more_replicas_wanted_than_there_are() -> None:
    found = short_of_replicas(Estate(), "3", 2).findings()
    assert found["not_enough_replicas", "redis1"]["severity"] == "critical"
    assert "3 can never be there" in found["not_enough_replicas", "redis1"]["evidence"][2]
    assert found["not_enough_replicas", "redis1"]["task"] == "configure_server"
    assert short_of_replicas(Estate(), "2", 2).findings() == {}


def test_writes_refused_for_a_dead_replica_are_its_consequence() -> None:
    found = short_of_replicas(Estate().kill("redis2"), "2", 1).findings()
    assert set(found) == {("process_dead", "redis2")}
    assert found["process_dead", "redis2"]["severity"] == "critical"
    assert "not_enough_replicas" in {entry["id"] for entry in found["process_dead", "redis2"]["consequences"]}

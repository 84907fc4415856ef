# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is primary, according to whom: tables of estates as their hosts would describe them."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from estates import Estate
from hypothesis import given
from hypothesis import strategies as st
from lifeline.diagnose import survey, topology
from lifeline.diagnose.history import surplus_between
from lifeline.plan.diagnosis import plan_from_evidence
from lifeline.plan.recovery import make_plan
from lifeline.plan.steps import Accepted


def test_a_healthy_estate_has_one_primary_and_nothing_to_do() -> None:
    built = Estate().build()
    assert (built.state, built.primary, built.stale) == (topology.AGREED, "redis1", [])
    plan = make_plan(built)
    assert (plan.verdict, plan.actions, plan.findings, plan.todo) == ("healthy", [], [], [])


def test_a_primary_elsewhere_than_first_in_the_inventory_is_found() -> None:
    built = Estate(primary="redis3").build()
    assert built.endpoint == {"name": "redis3", "host": "192.0.2.3", "port": 6379}
    assert make_plan(built).verdict == "healthy"


@pytest.mark.parametrize("library", [True, False])
def test_hosts_that_have_nothing_are_an_empty_estate(library: bool) -> None:
    built = Estate().fresh(library).build()
    assert built.state == topology.EMPTY
    assert "provision.yml" in str(make_plan(built).refusal)


def test_an_empty_estate_with_a_silent_host_is_not_known_to_be_empty() -> None:
    estate = Estate().fresh(True)
    del estate.evidence["redis2"]
    assert estate.build().state == topology.NO_PRIMARY


def test_nobody_answering_is_blindness() -> None:
    estate = Estate()
    estate.evidence.clear()
    built = estate.build()
    assert built.state == topology.BLIND
    assert "no host of the estate answered" in str(make_plan(built).refusal)


def test_evidence_of_another_estate_is_ignored() -> None:
    estate = Estate()
    other = Estate(primary="redis2", service="other")
    built = estate.build(extra=list(other.evidence.values()))
    assert built.primary == "redis1"


def test_a_dead_process_on_a_live_host_is_failed_over_by_sentinel() -> None:
    plan = make_plan(Estate().kill("redis1").build())
    (action,) = plan.actions
    assert (action.remedy, action.args["mode"], action.args["confirmed_dead"]) == ("failover", "sentinel", True)
    assert action.host in ("redis2", "redis3")


def test_without_sentinel_a_dead_process_is_started_from_its_own_data_first() -> None:
    plan = make_plan(Estate(sentinels=False).kill("redis1").build())
    (action,) = plan.actions
    assert (action.remedy, action.host) == ("start_primary", "redis1")


def test_a_dead_primary_without_data_is_never_started() -> None:
    estate = Estate(sentinels=False).kill("redis1")
    estate.evidence["redis1"]["files"].update(aof=None)
    (action,) = make_plan(estate.build()).actions
    assert (action.remedy, action.args["mode"]) == ("failover", "replication")


def test_a_lost_host_is_failed_over_but_not_as_confirmed() -> None:
    plan = make_plan(Estate().lose("redis1").build())
    (action,) = plan.actions
    assert (action.remedy, action.args["confirmed_dead"]) == ("failover", False)
    assert any("redis1" in item for item in plan.todo)


def test_without_sentinel_the_replica_with_most_data_is_promoted_on_a_persons_word() -> None:
    estate = Estate(sentinels=False).lose("redis1")
    for evidence in estate.evidence.values():
        evidence["nodes"]["redis2"]["offset"] = 900
        evidence["nodes"]["redis3"]["offset"] = 1000
    refused = make_plan(estate.build())
    assert (refused.verdict, refused.actions) == ("refused", []), "a host that is silent is no dead server"
    assert "recover_accept_data_loss=redis1 -e recover_accept_data_loss_bytes=-1" in str(refused.refusal)
    (action,) = make_plan(estate.build(), accepted=Accepted(frozenset({"redis1"}), -1)).actions
    assert action.args["mode"] == "replication"
    assert "redis3 has the most data" in action.why


def test_without_sentinel_nothing_is_promoted_while_a_copy_is_out_of_sight() -> None:
    plan = make_plan(Estate(sentinels=False).lose("redis1").lose("redis3").build())
    assert plan.verdict == "refused"
    assert "newer data may be on redis1, redis3" in str(plan.refusal)
    assert "recover_accept_data_loss=redis1,redis3 -e recover_accept_data_loss_bytes=-1" in str(plan.refusal)


def test_a_minority_of_sentinels_may_not_fail_over() -> None:
    estate = Estate().lose("redis1").lose("redis2")
    plan = make_plan(estate.build())
    assert plan.verdict == "refused"
    assert "only 1 of 3 sentinels" in str(plan.refusal)


def test_a_primary_that_a_person_stopped_is_left_alone() -> None:
    estate = Estate(sentinels=False, nodes=1).kill("redis1")
    estate.evidence["redis1"]["units"]["redis-server@main.service"].update(active="inactive", result="success")
    plan = make_plan(estate.build())
    assert plan.verdict == "refused"
    assert "was stopped by hand" in str(plan.refusal)


def test_two_primaries_nobody_vouches_for_are_refused_with_both_offsets() -> None:
    estate = Estate(sentinels=False, nodes=2)
    for evidence in estate.evidence.values():
        evidence["nodes"]["redis2"].update(role="master", primary=None, replid="b" * 40, replid2="0" * 40, offset=77)
        evidence["nodes"]["redis1"]["replid2"] = "0" * 40
    plan = make_plan(estate.build())
    assert plan.verdict == "refused"
    assert "redis1 (offset 1000" in str(plan.refusal) and "redis2 (offset 77" in str(plan.refusal)


def test_the_heir_of_the_old_history_is_the_primary_where_another_replica_vouches_for_it() -> None:
    built = Estate(sentinels=False).promote("redis2", at=500).build()
    assert (built.primary, built.stale) == ("redis2", ["redis1"])
    alone = Estate(sentinels=False, nodes=2).promote("redis2", at=500).build()
    assert alone.state == topology.DISPUTED


@pytest.mark.parametrize(("stale_offset", "surplus", "preserve"), [(500, 1, True), (499, 0, False), (4096, 3597, True)])
def test_an_old_primary_that_returns_follows_and_its_surplus_is_kept(
    stale_offset: int, surplus: int, preserve: bool
) -> None:
    estate = Estate().promote("redis2", at=500)
    for evidence in estate.evidence.values():
        evidence["nodes"]["redis1"]["offset"] = stale_offset
    built = estate.build()
    assert (built.primary, built.stale) == ("redis2", ["redis1"])
    assert surplus_between(built.nodes["redis2"].view, built.nodes["redis1"].view) == surplus
    (action,) = make_plan(built).actions
    assert (action.remedy, action.host, action.args["preserve"]) == ("follow", "redis1", preserve)


def test_an_unrelated_history_is_an_unknown_surplus_and_an_empty_node_has_none() -> None:
    built = Estate().promote("redis2", at=500).build()
    stale = built.nodes["redis1"]
    stale.view["replid"] = "f" * 40
    assert surplus_between(built.nodes["redis2"].view, stale.view) is None
    stale.view["keys"] = 0
    assert surplus_between(built.nodes["redis2"].view, stale.view) == 0


def test_sentinels_that_name_a_replica_are_pointed_at_the_live_primary() -> None:
    estate = Estate()
    for evidence in estate.evidence.values():
        for view in evidence["sentinels"].values():
            view["primary"] = {"host": "192.0.2.2", "port": 6379}
    plan = make_plan(estate.build())
    assert [(action.remedy, action.host) for action in plan.actions] == [
        ("repoint_sentinel", name) for name in estate.names
    ]
    assert "the live primary is redis1" in plan.actions[0].why


def test_what_was_tried_twice_is_left_to_a_person() -> None:
    built = Estate().kill("redis3").build()
    assert [action.host for action in make_plan(built, tried=["follow@redis3"]).actions] == ["redis3"]
    plan = make_plan(built, tried=["follow@redis3", "follow@redis2", "follow@redis3"])
    assert (plan.actions, plan.verdict) == ([], "degraded")
    assert plan.todo[0].startswith("redis3: it was tried 2 times to bring the server back as a replica")
    # Without a primary nothing is given up: there is no service.
    gone = Estate().kill("redis1").kill("redis3").build()
    assert make_plan(gone, tried=["failover@redis2"] * 3).actions


def test_a_dead_replica_starts_following_and_a_stopped_one_is_left_alone() -> None:
    estate = Estate().kill("redis2").kill("redis3")
    estate.evidence["redis3"]["units"]["redis-server@main.service"].update(active="inactive", result="success")
    evidence = list(estate.evidence.values())
    plan = plan_from_evidence(evidence, estate.nodes, estate.sentinels, estate.service)["plan"]
    assert [(action["remedy"], action["host"]) for action in plan["actions"]] == [("follow", "redis2")]
    assert any("redis3" in item and "stopped or masked by a person" in item for item in plan["todo"])


def test_addresses_in_another_spelling_are_the_same_node() -> None:
    nodes = [{"name": "a", "host": "2001:db8::1", "port": 6379}, {"name": "b", "host": "2001:db8::2", "port": 6379}]
    view: dict[str, Any] = {"reachable": True, "role": "slave", "primary": {"host": "2001:0db8:0:0::1", "port": "6379"}}
    view["primary"]["link_up"] = True
    evidence = {"host": "b", "service": "s", "library": True, "nodes": {"b": view}, "sentinels": {}}
    built = survey.build([evidence], nodes, [], "s")
    assert built.nodes["b"].follows == "a"


@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["redis1", "redis2", "redis3"]),
            st.sampled_from(["redis1", "redis2", "redis3"]),
            st.sampled_from(["role", "offset", "replid", "keys", "error", "replicas", "loading", "priority"]),
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        ),
        max_size=6,
    )
)
def test_odd_values_never_make_the_plan_crash_nor_promote_without_a_dead_primary(
    changes: list[tuple[str, str, str, Optional[object]]],
) -> None:
    estate = Estate()
    for witness, node, field, value in changes:
        if field == "replicas" or (field == "offset" and not isinstance(value, int)):
            continue
        estate.evidence[witness]["nodes"][node][field] = value
    built = estate.build()
    plan = make_plan(built)
    if built.state == topology.AGREED:
        assert "failover" not in [action.remedy for action in plan.actions]


def test_a_failover_that_sentinel_has_not_finished_is_let_finish() -> None:
    estate = Estate().kill("redis1")
    for evidence in estate.evidence.values():
        evidence["nodes"]["redis3"].update(role="master", primary=None)
        evidence["sentinels"]["redis2"]["failover"] = True
    built = estate.build()
    assert built.primary == "redis3"
    assert [action.remedy for action in make_plan(built).actions] == ["failover"]


def test_a_server_that_nobody_could_ask_is_neither_dead_nor_missing() -> None:
    """Hosts without the library redis, whose servers run under a unit that the inventory does not name."""
    estate = Estate()
    for evidence in estate.evidence.values():
        evidence.update(library=False, nodes={}, sentinels={}, files={}, units={})
        evidence["holdings"]["data"] = [{"path": "/srv/x/dump.rdb", "kind": "rdb", "size": 100, "age_s": 1}]
    built = estate.build()
    plan = make_plan(built)
    assert (built.state, plan.verdict, plan.actions) == (topology.BLIND, "refused", [])
    assert "python3-redis" in str(plan.refusal) and "does not run" not in str(plan.refusal)

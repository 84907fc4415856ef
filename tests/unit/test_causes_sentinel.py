# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The family sentinel: each cause is seen in an estate that shows it, and not in one that only looks like it."""

from __future__ import annotations

from typing import Any

import pytest
from estates import NOW, Estate
from lifeline.plan.recovery import make_plan

SENTINEL_UNIT = "redis-sentinel.service"


def roots(estate: Estate) -> set[tuple[str, str]]:
    """Findings worse than a note."""
    return {key for key, found in estate.findings().items() if found["severity"] != "info"}


def stop(estate: Estate, name: str, active: str = "failed", result: str = "exit-code") -> Estate:
    """The sentinel does not run; its host answers."""
    for evidence in estate.evidence.values():
        estate._silence(evidence["sentinels"][name], "refused")
    estate.evidence[name]["units"][SENTINEL_UNIT].update(active=active, sub="dead", result=result, pid=0)
    return estate


def test_a_healthy_estate_shows_none_of_them() -> None:
    assert Estate().findings(quorum=2) == {}


def test_a_dead_and_a_stopped_sentinel() -> None:
    assert roots(stop(Estate(), "redis2")) == {("sentinel_dead", "redis2")}
    assert roots(stop(Estate(), "redis2", "inactive", "success")) == {("sentinel_stopped", "redis2")}


def test_the_death_of_the_primary_does_not_hide_a_dead_sentinel() -> None:
    assert roots(stop(Estate().kill("redis1"), "redis2")) == {("process_dead", "redis1"), ("sentinel_dead", "redis2")}


def test_a_majority_lost_leaves_the_data_alone() -> None:
    estate = stop(stop(Estate(), "redis2"), "redis3", "inactive", "success")
    diagnosis = estate.diagnose()
    assert [(found["id"], found["severity"]) for found in diagnosis["findings"]] == [("no_quorum", "warning")]
    assert (diagnosis["verdict"], diagnosis["plan"]["verdict"]) != ("down", "refused")
    consequences = {(entry["id"], entry["where"]) for entry in diagnosis["findings"][0]["consequences"]}
    assert consequences >= {("sentinel_dead", "redis2"), ("sentinel_stopped", "redis3")}


def test_without_a_primary_a_lost_majority_is_critical() -> None:
    found = stop(stop(Estate().kill("redis1"), "redis2"), "redis3").findings()
    assert set(found) == {("no_quorum", "redis"), ("process_dead", "redis1")}
    assert found["no_quorum", "redis"]["severity"] == "critical"


def test_one_sentinel_that_sees_no_quorum_is_no_majority() -> None:
    refused = {"quorum_ok": False, "quorum_text": "NOQUORUM 1 usable Sentinels"}
    assert roots(Estate().watch("redis1", **refused)) == set()
    assert ("no_quorum", "redis") in roots(Estate().watch("redis1", **refused).watch("redis2", **refused))


DENIED = {"need": "append", "blocked_by": "/etc/redis/sentinel.conf", "owner": "root:root", "mode": "0400", "error": ""}
UNWRITABLE = "Sentinel config file /etc/redis/sentinel.conf is not writable: Permission denied. Exiting..."


def test_a_file_that_sentinel_may_not_write() -> None:
    estate = Estate()
    estate.evidence["redis2"]["sentinel_config"] = {"denied": {"/etc/redis/sentinel.conf": DENIED}}
    found = estate.findings()
    assert set(found) == {("sentinel_conf_unwritable", "redis2")}
    assert "root:root 0400" in found["sentinel_conf_unwritable", "redis2"]["evidence"][0]
    dead = stop(Estate(), "redis2").log("redis2", "sentinel_unwritable", UNWRITABLE, ago=100, source="sentinel_journal")
    assert roots(dead) == {("sentinel_conf_unwritable", "redis2")}
    assert roots(Estate().log("redis2", "sentinel_unwritable", UNWRITABLE, ago=100, source="sentinel")) == set()


@pytest.mark.parametrize(("since", "seen"), [(60, True), (10, False)], ids=["by this process", "by the one before"])
def test_what_the_process_before_said_of_its_file_is_over(since: int, seen: bool) -> None:
    estate = Estate().log("redis2", "sentinel_unwritable", UNWRITABLE, ago=20, source="sentinel")
    estate.evidence["redis2"]["units"][SENTINEL_UNIT]["since"] = NOW - since
    assert (("sentinel_conf_unwritable", "redis2") in roots(estate)) is seen


def shut_out(*names: str, user: str = "sentinel", age: float = 2.0) -> Estate:
    """Sentinels that hold the live primary for dead, which refuses a login."""
    estate = Estate()
    for name in names:
        estate.watch(name, down=True, flags=["master", "s_down", "o_down", "disconnected"])
    row = {"reason": "auth", "object": "AUTH", "user": user, "address": "192.0.2.2", "count": 40, "age_s": age}
    estate.evidence["redis1"]["server"] = {"reachable": True, "acl_log": [row]}
    return estate


def test_a_login_that_sentinel_was_not_told() -> None:
    found = shut_out("redis1", "redis2", "redis3").findings()
    assert set(found) == {("sentinel_login_refused", "redis")}
    assert found["sentinel_login_refused", "redis"]["severity"] == "warning"
    assert "redis1 ACL LOG: auth refused to user sentinel" in found["sentinel_login_refused", "redis"]["evidence"]
    assert roots(shut_out("redis2")) == {("sentinel_login_refused", "redis2")}


def test_a_live_primary_held_for_dead_for_no_known_reason_is_unknown() -> None:
    found = shut_out("redis2", age=900).findings()
    assert set(found) == {("sentinel_sees_down", "redis2")}
    assert found["sentinel_sees_down", "redis2"]["unknown"]
    assert shut_out().findings() == {}


def test_tilt() -> None:
    found = Estate().watch("redis2", tilt=True, tilt_s=12).findings()
    assert set(found) == {("sentinel_tilt", "redis2")}
    assert "TILT for 12 s" in found["sentinel_tilt", "redis2"]["evidence"][0]


def test_nothing_is_done_while_sentinels_are_in_tilt() -> None:
    estate = Estate().kill("redis1").watch("redis2", tilt=True)
    assert make_plan(estate.build()).verdict == "act"
    plan = make_plan(estate.watch("redis3", tilt=True).build())
    assert (plan.verdict, plan.actions) == ("refused", [])
    assert "redis2 and redis3 are in TILT" in str(plan.refusal)
    assert make_plan(astray("redis3").watch("redis3", tilt=True).build()).actions == []


def astray(*names: str) -> Estate:
    estate = Estate()
    for name in names:
        estate.watch(name, primary={"host": "192.0.2.2", "port": 6379}, replicas=[], epoch=0)
    for name in set(estate.names) - set(names):
        estate.watch(name, epoch=3)
    return estate


def test_a_sentinel_that_names_another_primary() -> None:
    found = astray("redis3").findings()
    assert set(found) == {("sentinel_astray", "redis3")}
    root = found["sentinel_astray", "redis3"]
    assert root["severity"] == "warning"
    assert "config-epoch 0 is older than 3" in root["evidence"][0]
    assert [entry["id"] for entry in root["consequences"]] == ["sentinel_blind"]


def test_most_sentinels_astray_are_critical_unless_an_application_reaches_the_primary() -> None:
    estate = astray("redis1", "redis2", "redis3")
    assert {found["severity"] for found in estate.findings().values()} == {"critical"}
    application = {"configured": True, "reachable": True, "role": "primary"}
    estate.evidence["app1"] = {"host": "app1", "service": "redis", "application": application}
    assert {found["severity"] for found in estate.findings(applications=["app1"]).values()} == {"warning"}


def test_a_sentinel_that_does_not_watch_the_estate() -> None:
    assert roots(Estate().watch("redis2", known=False)) == {("sentinel_ignorant", "redis2")}


@pytest.mark.parametrize("said", [{"replicas": []}, {"sentinels": 0, "peers": []}])
def test_a_sentinel_that_does_not_see_all(said: dict[str, Any]) -> None:
    assert roots(Estate().watch("redis2", **said)) == {("sentinel_blind", "redis2")}
    two = Estate().watch("redis2", **said).watch("redis3", **said)
    steps = [(step["remedy"], step["host"]) for step in two.diagnose()["plan"]["actions"]]
    assert roots(two) == {("sentinel_blind", "redis2"), ("sentinel_blind", "redis3")}
    assert len(steps) == len(set(steps)) > 1, "what two causes ask for on one host is done once"
    young = Estate().watch("redis2", uptime_s=4, **said).findings()
    assert young["sentinel_blind", "redis2"]["severity"] == "info"


def test_sentinels_that_have_no_majority_because_they_see_nobody_are_let_in_at_once() -> None:
    alone = {"quorum_ok": False, "quorum_text": "NOQUORUM 1 usable Sentinels", "sentinels": 0, "uptime_s": 5}
    estate = Estate()
    for name in ("redis1", "redis2", "redis3"):
        estate = estate.watch(name, **alone)
    assert {cause for cause, _where in roots(estate)} == {"sentinel_blind"}
    plan = estate.diagnose()["plan"]
    assert {action["remedy"] for action in plan["actions"]} == {"renew_logins"} and plan["todo"] == []


def test_members_that_the_inventory_does_not_have() -> None:
    found = Estate().watch("redis2", sentinels=5).findings()
    assert {key: entry["severity"] for key, entry in found.items()} == {("sentinel_ghosts", "redis2"): "info"}


def test_no_replica_may_be_promoted() -> None:
    found = Estate().say("redis2", priority=0).say("redis3", priority=0).findings()
    assert {key: entry["severity"] for key, entry in found.items()} == {("no_good_replica", "redis"): "warning"}
    assert Estate().say("redis2", priority=0).findings() == {}


def no_primary(**row: Any) -> Estate:
    """The primary is dead, and so all sentinels see their replicas."""
    estate = Estate().kill("redis1")
    for name in estate.names:
        replicas = [{"host": f"192.0.2.{number}", "port": 6379, "flags": ["slave"], **row} for number in (2, 3)]
        estate.watch(name, down=True, down_ms=9000, replicas=replicas)
    return estate


@pytest.mark.parametrize(("row", "why"), [
    ({"link_down_ms": 80_000}, "its link was down for 80000 ms, more than 59000"),
    ({"flags": ["slave", "s_down", "disconnected"]}, "Sentinel flags it s_down,disconnected"),
])  # fmt: skip
def test_why_each_replica_is_not_good_is_said(row: dict[str, Any], why: str) -> None:
    found = no_primary(**row).findings()
    assert set(found) == {("no_good_replica", "redis"), ("process_dead", "redis1")}
    assert found["no_good_replica", "redis"]["severity"] == "critical"
    assert found["no_good_replica", "redis"]["evidence"][0] == f"redis2: {why}"


def test_good_replicas_of_a_dead_primary_are_good() -> None:
    assert roots(no_primary(link_down_ms=9000)) == {("process_dead", "redis1")}


@pytest.mark.parametrize(("quorum", "wanted", "seen"), [(2, 2, False), (3, 2, True), (9, 0, True), (3, 0, False)])
def test_a_quorum_that_is_not_the_wanted_one(quorum: int, wanted: int, seen: bool) -> None:
    found = Estate().watch("redis2", quorum=quorum).findings(quorum=wanted)
    assert (("sentinel_quorum_wrong", "redis2") in found) is seen


@pytest.mark.parametrize(("nodes", "seen"), [(1, True), (2, True), (3, False), (4, True), (5, False)])
def test_a_number_of_sentinels_that_gives_little_safety(nodes: int, seen: bool) -> None:
    found = Estate(nodes=nodes).findings()
    assert (("sentinel_count", "redis") in found) is seen
    assert all(entry["severity"] == "info" for entry in found.values())

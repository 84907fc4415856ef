# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may become primary and who not: every refusal, the loss in bytes, priorities, and what a killed run left."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from estates import Estate
from hypothesis import given
from hypothesis import strategies as st
from lifeline.act.failover.tidy import leftovers, untouched
from lifeline.diagnose.liveness import PING_S
from lifeline.diagnose.topology import Topology
from lifeline.observe import sentinel_rights
from lifeline.plan import candidates
from repository import load

Change = Callable[[Estate], Any]


def healthy() -> Estate:
    """Three nodes and sentinels as a switchover wants them."""
    estate = Estate()
    for evidence in estate.evidence.values():
        for name, view in evidence["nodes"].items():
            view.update(version="7.0.15", flavour="redis", rdb_ok=True, aof_ok=True, uptime_s=5000)
            if name == "redis1":
                view["replicas"] = [{"host": f"192.0.2.{n}", "port": 6379} for n in (2, 3)]
        for watcher in evidence["sentinels"].values():
            watcher.update(replicas=[{}, {}], sentinels=2)
    return estate


def views(estate: Estate, name: str, kind: str = "nodes") -> list[dict[str, Any]]:
    return [evidence[kind][name] for evidence in estate.evidence.values()]


def set_all(estate: Estate, name: str, kind: str = "nodes", **values: Any) -> None:
    for view in views(estate, name, kind):
        view.update(values)


def refusals(change: Optional[Change] = None, target: str = "redis2", **asked: Any) -> list[str]:
    estate = healthy()
    if change:
        change(estate)
    built = estate.build()
    extra = asked.pop("extra", {})
    return candidates.planned_refusals(built, built.nodes[target], asked.pop("stable", 0.0), extra)


def test_a_healthy_estate_may_be_switched() -> None:
    assert refusals() == []


def link_down(estate: Estate) -> None:
    for view in views(estate, "redis3"):
        view["primary"]["link_up"] = False


def a_stranger(estate: Estate) -> None:
    for view in views(estate, "redis1"):
        view["replicas"].append({"host": "198.51.100.9", "port": 6379})


CHANGES: dict[str, tuple[Change, str, str]] = {
    "priority 0": (lambda e: set_all(e, "redis2", priority=0), "redis2 has replica-priority 0", ""),
    "two primaries": (lambda e: e.promote("redis2", 900), "redis1 says that it is primary too", "R1"),
    "other history": (lambda e: set_all(e, "redis2", replid="c" * 40), "does not share the history", "R3"),
    "lag": (lambda e: set_all(e, "redis1", offset=10**8), "bytes behind", "R3"),
    "copy out of sight": (lambda e: e.lose("redis3"), "redis3 does not answer", "R4"),
    "loading": (lambda e: set_all(e, "redis2", loading=True), "still loading", "R6"),
    "tilt": (lambda e: set_all(e, "redis3", "sentinels", tilt=True), "redis3 is in TILT", "R6"),
    "failing over": (lambda e: set_all(e, "redis3", "sentinels", failover=True), "is failing over", "R6"),
    "link down": (link_down, "redis3 does not follow redis1", "R7"),
    "seen down": (lambda e: set_all(e, "redis3", "sentinels", down=True), "takes redis1 for down", "R7"),
    "blind sentinel": (lambda e: set_all(e, "redis3", "sentinels", replicas=[{}]), "does not see all replicas", "R9"),
    "lonely sentinel": (lambda e: set_all(e, "redis3", "sentinels", sentinels=1), "does not see all sentinels", "R9"),
    "no quorum": (
        lambda e: set_all(e, "redis3", "sentinels", quorum_ok=False, quorum_text="NOQUORUM"), "NOQUORUM", "R9"
    ),
    "silent sentinel": (
        lambda e: set_all(e, "redis3", "sentinels", reachable=False, error="refused"), "redis3 does not answer", "R9"
    ),
    "ignorant sentinel": (
        lambda e: set_all(e, "redis3", "sentinels", known=False), "redis3 does not answer for redis", "R9"
    ),
    "older": (lambda e: set_all(e, "redis2", version="6.2.9"), "older than 7.0.15", "R11"),
    "other flavour": (lambda e: set_all(e, "redis2", flavour="valkey"), "redis1 is not", "R11"),
    "login": (
        lambda e: set_all(e, "redis3", reachable=False, error="auth: WRONGPASS"), "does not accept our login", "R12"
    ),
    "disk": (lambda e: set_all(e, "redis2", rdb_ok=False), "failed to write its data to disk", "R13"),
    "stranger": (a_stranger, "198.51.100.9:6379 that the inventory does not know", "R15"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_each_thing_that_is_wrong_is_refused_with_its_rule(name: str) -> None:
    change, sentence, rule = CHANGES[name]
    target = "redis1" if name == "two primaries" else "redis2"
    found = refusals(change, target="redis3" if name == "two primaries" else target)
    assert [text for text in found if sentence in text and (not rule or text.endswith(f"({rule})"))], found


def test_only_what_a_healthy_estate_passes_through_is_worth_a_wait() -> None:
    passing = {"loading", "tilt", "failing over", "link down", "seen down", "blind sentinel", "lonely sentinel"}
    seen = {
        name: candidates.may_pass(refusals(change))
        for name, (change, *_) in CHANGES.items()
        if name != "two primaries"  # has another target
    }
    assert seen == {name: name in passing for name in seen}
    assert not candidates.may_pass([])
    assert not candidates.may_pass(["redis3 is in TILT (R6)", "redis2 has replica-priority 0"])


def test_a_primary_that_saves_and_a_short_down_after_are_refused() -> None:
    assert "redis1 is saving a snapshot (R6)" in refusals(extra={"busy": ["saving a snapshot"]})

    def short(estate: Estate) -> None:
        for name in ("redis1", "redis2", "redis3"):
            set_all(estate, name, "sentinels", down_after_ms=1500)

    assert "leaves no room for a pause" in refusals(short)[0]


def test_a_fresh_server_or_link_is_refused_when_a_healthy_period_is_asked_for() -> None:
    links = {"192.0.2.2:6379": 4000, "192.0.2.3:6379": 30}
    assert refusals(stable=600, extra={"links": {**links, "192.0.2.3:6379": 4000}}) == []
    assert refusals(stable=600, extra={"links": links}) == [
        "redis3 follows its primary for 30 s only, and 600 s are asked for (R10)"
    ]
    assert "redis1 runs for 10 s only" in refusals(lambda e: set_all(e, "redis1", uptime_s=10), stable=600)[0]


def dead(change: Optional[Change] = None) -> Topology:
    estate = healthy().kill("redis1")
    if change:
        change(estate)
    return estate.build()


def test_after_a_death_the_replica_with_most_data_is_first_and_loses_nothing_known() -> None:
    built = dead(lambda e: set_all(e, "redis3", offset=1200))
    assert [node.name for node in candidates.candidates(built)] == ["redis3", "redis2"]
    assert candidates.loss_bytes(built, built.nodes["redis3"]) == 0
    assert candidates.loss_bytes(built, built.nodes["redis2"]) == 200


@pytest.mark.parametrize(
    ("most", "force", "refused"), [(199, False, True), (200, False, False), (0, True, False), (0, False, True)]
)
def test_a_loss_beyond_what_was_allowed_is_refused(most: int, force: bool, refused: bool) -> None:
    built = dead(lambda e: set_all(e, "redis3", offset=1200))
    found = candidates.unplanned_refusals(built, built.nodes["redis2"], most, force, (), by_hand=False)
    assert bool(found) == refused
    assert not found or "lacks 200 bytes" in found[0]


def test_a_loss_that_cannot_be_told_is_refused_unless_forced() -> None:
    built = dead(lambda e: set_all(e, "redis3", replid="c" * 40))
    best = built.nodes["redis2"]
    assert candidates.loss_bytes(built, best) is None
    assert "no common history" in candidates.unplanned_refusals(built, best, 10**9, False, (), False)[0]
    assert candidates.unplanned_refusals(built, best, 10**9, True, (), False) == []


def test_without_sentinel_a_copy_out_of_sight_is_refused_unless_accepted() -> None:
    built = dead(lambda e: e.lose("redis3"))
    best = built.nodes["redis2"]
    assert "A newer copy may be on redis3" in candidates.unplanned_refusals(built, best, 0, False, (), True)[0]
    assert candidates.unplanned_refusals(built, best, 0, False, ("redis3",), True) == []
    assert candidates.unplanned_refusals(built, best, 0, False, (), False) == []


def test_replicas_that_still_hear_the_primary_say_that_it_lives() -> None:
    estate = healthy()
    set_all(estate, "redis1", reachable=False, error="timeout")
    for name in estate.names:
        set_all(estate, name, "sentinels", last_ok_ms=4000)
    (said,) = candidates.living(estate.build())
    assert "redis2 and redis3 still hear from it" in said
    assert candidates.living(dead()) == []
    for name in ("redis2", "redis3"):
        for view in views(estate, name):
            view["primary"]["last_io_s"] = PING_S + 1
    assert candidates.living(estate.build()) == [], "a power cut leaves links that count as up"


def test_each_node_that_cannot_be_promoted_is_told_why() -> None:
    def change(estate: Estate) -> None:
        set_all(estate, "redis2", priority=0)
        set_all(estate, "redis3", loading=True)

    assert candidates.why_none(dead(change)) == ("redis2 has replica-priority 0; redis3 is still loading its data (R6)")


def test_a_copy_that_lost_its_data_is_not_promoted() -> None:
    built = dead(lambda e: set_all(e, "redis2", keys=4, offset=5000))
    assert [node.name for node in candidates.candidates(built)] == ["redis3"]
    assert candidates.why_not(built, built.nodes["redis2"]).endswith("(R5)")


def test_sentinel_is_left_no_choice_but_the_target() -> None:
    built = healthy().build()
    assert candidates.to_raise(built, "redis2") == {"redis3": 100 + candidates.RAISED}
    never = healthy()
    set_all(never, "redis3", priority=0)
    assert candidates.to_raise(never.build(), "redis2") == {}


@given(st.integers(min_value=1, max_value=candidates.RAISED - 1))
def test_a_raised_priority_tells_what_it_was(priority: int) -> None:
    assert candidates.own_priority(priority) == priority
    assert candidates.own_priority(priority + candidates.RAISED) == priority
    estate = healthy()
    set_all(estate, "redis3", priority=priority + candidates.RAISED)
    assert leftovers(estate.build()).priorities == {"redis3": priority}
    assert candidates.to_raise(estate.build(), "redis2") == {"redis3": priority + candidates.RAISED}


@pytest.mark.parametrize(("offset", "left"), [(1000, []), (999, ["redis1"])])
def test_only_a_former_primary_without_a_byte_of_its_own_is_demoted(offset: int, left: list[str]) -> None:
    estate = healthy().promote("redis2", 1000)
    set_all(estate, "redis1", offset=offset)
    found = leftovers(estate.build())
    assert found.astray == left
    assert found.lines("redis2") == [f"{name}: follow redis2, close its clients" for name in left]


def test_without_sentinel_replicas_of_the_former_primary_are_brought_along() -> None:
    estate = Estate(sentinels=False).promote("redis2", 1000)
    for view in views(estate, "redis3"):
        view["primary"]["host"] = "192.0.2.1"
    set_all(estate, "redis1", role="slave", primary={"host": "192.0.2.2", "port": 6379, "link_up": True})
    assert leftovers(estate.build()).astray == ["redis3"]


def test_a_node_is_untouched_until_its_first_own_write() -> None:
    primary = {"replid": "a"}
    assert untouched(primary, {"replid2": "a", "offset": 1000, "second_offset": 1001})
    assert not untouched(primary, {"replid2": "a", "offset": 1001, "second_offset": 1001})
    assert not untouched(primary, {"replid2": "b", "offset": 1000, "second_offset": 1001})
    assert not untouched({"replid": ""}, {"replid2": "", "offset": 0, "second_offset": 1})


def test_A14_one_table_says_what_sentinels_user_needs(root: Path) -> None:
    """Before: on Valkey 9 `SENTINEL FAILOVER ... COORDINATED` was used, which Lifeline's ACL rules turn into nothing.

    Now: Lifeline's own sequence everywhere; roles and controls follow one table of rights by version.
    """
    code = "".join(path.read_text() for path in (root / "module_utils" / "lifeline" / "failover").glob("*.py"))
    assert '"COORDINATED"' not in code
    rules = load(root / "roles" / "redis_server" / "vars" / "main.yml")["__redis_server_acl_rules"]["sentinel"]
    assert " ".join(rules).split() == ["-@all", *(f"+{command}" for command in sentinel_rights.NEEDED)]
    assert "failover" in sentinel_rights.tolerated("9.1.2")
    assert sentinel_rights.tolerated("8.1.1") == sentinel_rights.tolerated("") == frozenset()


def test_commands_that_destroy_are_never_sent(root: Path) -> None:
    """Rule R14."""
    text = "".join(path.read_text() for path in (root / "module_utils/lifeline/act/failover").glob("*.py")).lower()
    for word in ('"reset"', "flushall", "flushdb", "--fix", "unreachable-masters", "stop-writes-on-bgsave-error"):
        assert word not in text, word

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The family data: each cause is seen in an estate that shows it, and not in one that only looks like it."""

from __future__ import annotations

from typing import Any

import pytest
from estates import NOW, UNIT, Estate

# Words of real servers (Redis 7.0 and 8.0) that did not start.
REFUSALS = {
    "aof_corrupt": (
        "aof_corrupt",
        "Bad file format reading the append only file appendonly.aof.1.incr.aof: make a backup of your AOF file",
    ),
    "aof_truncated": (
        "aof_unfinished",
        "Unexpected end of file reading the append only file appendonly.aof.1.incr.aof",
    ),
    "rdb_broken": ("rdb_broken", "Wrong RDB checksum expected: (8a6c) but got (1f2e). Aborting now."),
    "rdb_newer": ("rdb_version", "Can't handle RDB format version 99"),
    "rdb_unreadable": ("rdb_unreadable", "Fatal error loading the DB: Permission denied. Exiting."),
}


def roots(estate: Estate) -> set[tuple[str, str]]:
    """Findings worse than a note."""
    return {key for key, found in estate.findings().items() if found["severity"] != "info"}


def dead(name: str = "redis2") -> Estate:
    estate = Estate().kill(name)
    estate.evidence[name]["units"][UNIT].update(since=NOW - 10, result="exit-code")
    return estate


def test_a_healthy_estate_shows_none_of_them() -> None:
    assert Estate().findings() == {}


@pytest.mark.parametrize("cause", REFUSALS)
def test_a_server_that_refuses_its_data_is_named_by_its_last_words(cause: str) -> None:
    pattern, line = REFUSALS[cause]
    found = dead().log("redis2", pattern, line, ago=12).findings()
    assert set(found) == {(cause, "redis2")}
    root = found[cause, "redis2"]
    assert root["severity"] == "warning"
    assert line in root["evidence"][0]
    assert {entry["id"] for entry in root["consequences"]} >= {"process_dead", "server_down"}


@pytest.mark.parametrize("cause", REFUSALS)
def test_of_the_primary_it_is_critical(cause: str) -> None:
    pattern, line = REFUSALS[cause]
    found = dead("redis1").log("redis1", pattern, line, ago=12).findings()
    assert found[cause, "redis1"]["severity"] == "critical"
    assert not any(identifier == "process_dead" for identifier, _where in found)


@pytest.mark.parametrize("cause", REFUSALS)
def test_words_from_before_a_start_that_succeeded_are_history(cause: str) -> None:
    pattern, line = REFUSALS[cause]
    estate = dead().log("redis2", pattern, line, ago=30).log("redis2", "ready", "Ready to accept connections", ago=20)
    assert roots(estate) == {("process_dead", "redis2")}
    assert roots(Estate().log("redis2", pattern, line, ago=30)) == set()


def test_broken_data_of_one_server_does_not_hide_the_death_of_another() -> None:
    pattern, line = REFUSALS["aof_corrupt"]
    estate = dead("redis1").log("redis1", pattern, line, ago=12).kill("redis2")
    assert roots(estate) == {("aof_corrupt", "redis1"), ("process_dead", "redis2")}


def empty_primary() -> Estate:
    estate = Estate().start("redis1", ago=60)
    for name in estate.names:
        estate.say(name, keys=0)
    return estate


def test_a_primary_that_came_back_empty() -> None:
    found = empty_primary().log("redis2", "flushing_old", "MASTER <-> REPLICA sync: Flushing old data", 55).findings()
    assert set(found) == {("primary_restarted_empty", "redis1")}
    evidence = " ".join(found["primary_restarted_empty", "redis1"]["evidence"])
    assert "started 60 s ago, loaded nothing" in evidence
    assert "Flushing old data" in evidence


def test_sentinel_notices_the_restart_of_a_primary_without_replicas() -> None:
    estate = Estate(nodes=1).start("redis1", ago=60).say("redis1", keys=0)
    assert roots(estate) == set()
    estate.log("redis1", "rebooted", "+reboot master redis 192.0.2.1 6379", ago=50, source="sentinel")
    assert roots(estate) == {("primary_restarted_empty", "redis1")}


def test_a_primary_that_loaded_its_data_did_not_come_back_empty() -> None:
    estate = empty_primary().log("redis1", "loaded", "DB loaded from base file appendonly.aof.1.base.rdb", ago=60)
    assert roots(estate) == set()


def test_a_new_estate_did_not_come_back_empty() -> None:
    estate = Estate()
    for number, name in enumerate(estate.names):
        estate.start(name, ago=60 - number).say(name, keys=0)
    assert roots(estate) == set()


def created(estate: Estate, name: str = "redis1") -> Estate:
    return estate.log(name, "aof_created", "Creating AOF base file appendonly.aof.1.base.rdb on server start", ago=60)


def files(estate: Estate, name: str, **said: Any) -> Estate:
    estate.evidence[name]["files"].update(said)
    return estate


OLD_RDB = {"size": 5000, "mtime": NOW - 600, "header": "REDIS0010", "complete": True}


def test_a_snapshot_that_the_append_only_file_hid() -> None:
    estate = files(created(empty_primary()), "redis1", rdb=OLD_RDB)
    found = estate.findings()
    assert set(found) == {("aof_over_rdb", "redis1")}
    consequences = found["aof_over_rdb", "redis1"]["consequences"]
    assert [entry["id"] for entry in consequences] == ["primary_restarted_empty"]


@pytest.mark.parametrize("rdb", [{**OLD_RDB, "size": 89}, {**OLD_RDB, "mtime": NOW - 30}, None])
def test_no_snapshot_from_before_the_start_was_hidden(rdb: Any) -> None:
    assert roots(files(created(empty_primary()), "redis1", rdb=rdb)) == {("primary_restarted_empty", "redis1")}


def test_a_replica_that_copied_its_primary_lost_nothing_by_it() -> None:
    assert roots(files(created(Estate().start("redis2", ago=60), "redis2"), "redis2", rdb=OLD_RDB)) == set()


STRAY = {"size": 900, "manifest": False, "entries": [], "missing": [], "stray": ["appendonly.aof.2.incr.aof"]}


def test_a_manifest_lost_under_a_running_server() -> None:
    found = files(Estate(), "redis1", aof=STRAY).findings()
    assert found["aof_manifest_lost", "redis1"]["severity"] == "warning"
    assert len(found) == 1


def test_a_manifest_lost_before_the_start() -> None:
    found = files(created(empty_primary()), "redis1", aof={**STRAY, "manifest": True}, rdb=None).findings()
    assert found["aof_manifest_lost", "redis1"]["severity"] == "critical"
    assert len(found) == 1


def test_files_left_over_beside_a_manifest_and_files_nobody_uses_are_no_loss() -> None:
    assert roots(files(Estate(), "redis1", aof={**STRAY, "manifest": True})) == set()
    assert roots(files(Estate(), "redis1", aof=STRAY, aof_configured=False).say("redis1", aof_enabled=False)) == set()


def test_a_missing_part_of_the_append_only_file() -> None:
    parts = {"size": 9, "manifest": True, "missing": ["appendonly.aof.1.base.rdb"], "stray": []}
    assert roots(files(Estate(), "redis2", aof=parts)) == {("aof_base_missing", "redis2")}
    found = files(dead("redis1"), "redis1", aof=parts).findings()
    assert found["aof_base_missing", "redis1"]["severity"] == "critical"
    assert len(found) == 1
    assert roots(files(Estate(), "redis2", aof={**parts, "missing": []})) == set()


def test_an_end_that_was_cut_off_counts_where_nothing_replaced_it() -> None:
    line = "!!! Warning: short read while loading the AOF file!!! Truncating the AOF at offset 79"
    estate = Estate().start("redis1", ago=60).log("redis1", "loaded", "DB loaded from incr file", ago=60)
    assert roots(estate.log("redis1", "aof_truncated", line, ago=60)) == {("aof_truncated", "redis1")}
    again = Estate().start("redis1", ago=20).log("redis1", "loaded", "DB loaded from incr file", ago=20)
    assert roots(again.log("redis1", "aof_truncated", line, ago=60)) == set()
    assert roots(Estate().start("redis2", ago=60).log("redis2", "aof_truncated", line, ago=60)) == set()


@pytest.mark.parametrize(("written", "running", "keys", "seen"), [
    (True, False, 10, True),
    (True, False, 0, False),
    (False, True, 10, True),
    (True, True, 10, False),
    (False, False, 10, False),
])  # fmt: skip
def test_appendonly_in_the_file_and_in_the_server(written: bool, running: bool, keys: int, seen: bool) -> None:
    estate = files(Estate(), "redis1", aof_configured=written).say("redis1", aof_enabled=running, keys=keys)
    assert (("appendonly_drift", "redis1") in roots(estate)) is seen


def test_a_file_that_includes_others_may_say_appendonly_elsewhere() -> None:
    estate = files(Estate(), "redis1", aof_configured=True).say("redis1", aof_enabled=False)
    assert roots(estate) == {("appendonly_drift", "redis1")}
    estate.evidence["redis1"]["start"] = {"directives": ["appendonly", "include"]}
    assert roots(estate) == set()


def test_no_append_only_file_is_begun_where_saves_fail() -> None:
    estate = files(Estate(), "redis2", aof_configured=True).say("redis2", aof_enabled=False, keys=5)
    assert estate.findings()["appendonly_drift", "redis2"]["task"] == "configure_server"
    assert estate.say("redis2", rdb_ok=False).findings()["appendonly_drift", "redis2"]["task"] == ""


def test_a_replica_that_loads_has_its_append_only_file_closed() -> None:
    estate = files(Estate(), "redis2", aof_configured=True).say("redis2", aof_enabled=False, keys=5)
    assert ("appendonly_drift", "redis2") in roots(estate)
    assert ("appendonly_drift", "redis2") not in roots(estate.say("redis2", loading=True))


def test_a_dead_primary_with_nothing_on_its_disk() -> None:
    estate = files(dead("redis1"), "redis1", rdb=None, aof=None)
    assert roots(estate) == {("disk_empty", "redis1")}
    assert roots(files(dead("redis1"), "redis1", aof=None)) == {("process_dead", "redis1")}
    assert roots(files(dead("redis2"), "redis2", rdb=None, aof=None)) == {("process_dead", "redis2")}


def test_a_snapshot_on_disk_that_is_none() -> None:
    broken = {**OLD_RDB, "complete": False}
    estate = files(Estate(), "redis1", aof_configured=False, rdb=broken).say("redis1", aof_enabled=False)
    assert roots(estate) == {("rdb_broken", "redis1")}
    assert roots(files(Estate(), "redis1", rdb=broken)) == set()
    assert roots(files(Estate(), "redis1", aof_configured=False, rdb=OLD_RDB).say("redis1", aof_enabled=False)) == set()

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every control: an estate that keeps it, one that breaks it and nothing else, and one that nobody looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lifeline.compliance.controls.catalogue import CATALOGUE
from lifeline.compliance.judge import assess
from postures import DAY, NOW, WORKER, Posture

UNIT = "redis-server@main.service"
Break = Callable[[Posture], Any]


def config(name: str, value: str) -> Break:
    """Another value in the running server of redis2, and in its file where it is there."""

    def change(estate: Posture) -> None:
        host = estate.hosts["redis2"]
        host["redis"]["config"][name] = value
        if name in host["config_file"]["settings"]:
            host["config_file"]["settings"][name] = value

    return change


def put(path: str, value: Any, host: str = "redis2") -> Break:
    """Another value somewhere in a posture; keys are separated by slashes."""

    def change(estate: Posture) -> None:
        tree = estate.hosts[host]
        *above, last = path.split("/")
        for key in above:
            tree = tree[key]
        tree[last] = value

    return change


def acl(name: str, **values: Any) -> Break:
    def change(estate: Posture) -> None:
        estate.hosts["redis2"]["redis"]["users"][name].update(values)

    return change


def allow(name: str, *commands: str) -> Break:
    def change(estate: Posture) -> None:
        estate.hosts["redis2"]["redis"]["users"][name]["commands"] += commands

    return change


def watcher(**values: Any) -> Break:
    def change(estate: Posture) -> None:
        for evidence in estate.evidence.values():
            if evidence.get("sentinels"):
                evidence["sentinels"]["redis2"].update(values)

    return change


def drop(name: str) -> Break:
    def change(estate: Posture) -> None:
        del estate.hosts["redis2"]["redis"]["users"][name]

    return change


def priorities(estate: Posture) -> None:
    for name in ("redis2", "redis3"):
        estate.hosts[name]["redis"]["config"]["replica-priority"] = "0"
        estate.intent[name]["priority"] = 0


def few_sentinels(estate: Posture) -> None:
    estate.sentinels = estate.sentinels[:2]
    for evidence in estate.evidence.values():
        for view in (evidence.get("sentinels") or {}).values():
            view["sentinels"] = 1


def short_password(estate: Posture) -> None:
    estate.policy["password_lengths"]["replica"] = 12


def nothing_kept(estate: Posture) -> None:
    host = estate.hosts["redis2"]
    host["redis"]["config"].update(save="", appendonly="no")
    host["config_file"]["settings"]["appendonly"] = "no"


def huge_pages(estate: Posture) -> None:
    config("disable-thp", "no")(estate)
    put("kernel/thp", "[always] madvise never")(estate)


def lost_slots(estate: Posture) -> None:
    estate.cluster().hosts["redis2"]["redis"]["cluster"]["slots_ok"] = 10923


CASES: list[tuple[str, Break, set[str]]] = [
    # (control, what breaks it, others that it breaks of necessity)
    ("RDS-001", acl("default", enabled=True, nopass=True, keys=["~rq:*"], commands=["-@all"], channels=[]), set()),
    ("RDS-002", config("protected-mode", "no"), set()),
    ("RDS-003", put("listening", [{"address": "198.51.100.9", "port": 6379}]), set()),
    ("RDS-004", put("firewall/ports/6379/strangers", "accept"), set()),
    ("RDS-004", put("firewall/ports/26379/members", {"192.0.2.3": "drop"}), set()),
    ("RDS-005", drop("observer"), set()),
    ("RDS-005", acl("observer", digests=["a1"]), set()),
    ("RDS-006", allow("application", "+save"), set()),
    ("RDS-006", acl("application", keys=["~*"]), set()),
    ("RDS-007", allow("sentinel", "-publish"), set()),
    ("RDS-007", allow("sentinel", "+set"), set()),
    ("RDS-008", acl("application", channels=["&rq:*", "&__sentinel__:*"]), set()),
    ("RDS-009", allow("replica", "+get"), set()),
    ("RDS-010", put("acl_file/plain_users", ["application"]), set()),
    ("RDS-011", short_password, set()),
    ("RDS-011", acl("observer", weak=True), set()),
    ("RDS-012", put("sentinel/monitors/redis/auth_pass", "old"), set()),
    ("RDS-013", config("port", "6380"), set()),
    ("RDS-014", config("tls-protocols", "TLSv1 TLSv1.2"), set()),
    ("RDS-015", put("certificates/ports/server/same", False), set()),
    ("RDS-015", put("certificates/file/not_after", NOW + 5 * DAY), set()),
    ("RDS-016", put("files/tls_key/mode", "0644"), set()),
    ("RDS-017", config("enable-debug-command", "yes"), set()),
    ("RDS-018", put("redis/modules", [{"name": "evil", "path": "/srv/evil.so"}]), set()),
    ("RDS-019", put("config_file/renamed", ["CONFIG"]), set()),
    ("RDS-020", put("exposure", 6.3), set()),
    ("RDS-020", put("process/user", "root"), {"RDS-021"}),
    ("RDS-021", put("files/data/mode", "0755"), set()),
    ("RDS-022", put("packages/installed/redis-server/candidate", "5:7.0.15-2"), set()),
    ("RDS-023", put("process/files_limit", 1024), set()),
    ("RDS-024", config("maxmemory", "0"), set()),
    ("RDS-024", config("maxmemory", "1900000000"), set()),
    ("RDS-025", config("maxmemory-policy", "allkeys-lru"), set()),
    ("RDS-026", nothing_kept, set()),
    ("RDS-027", config("appendfsync", "no"), set()),
    ("RDS-028", config("stop-writes-on-bgsave-error", "no"), set()),
    ("RDS-029", put("redis/info/aof_last_write_status", "err"), set()),
    ("RDS-030", put("config_file/settings/appendonly", "no"), {"RDS-043"}),
    ("RDS-031", put("records/backup/content/time", NOW - 3 * DAY), set()),
    ("RDS-032", config("min-replicas-to-write", "0"), set()),
    ("RDS-033", config("repl-backlog-size", "1048576"), set()),
    ("RDS-034", config("client-output-buffer-limit", "slave 33554432 8388608 60"), set()),
    ("RDS-035", config("replica-read-only", "no"), set()),
    ("RDS-036", priorities, set()),
    ("RDS-037", few_sentinels, set()),
    ("RDS-037", watcher(quorum=1), set()),
    ("RDS-038", watcher(sentinels=3), set()),
    ("RDS-038", watcher(epoch=7), set()),
    ("RDS-039", watcher(primary={"host": "192.0.2.9", "port": 6379}), {"RDS-038"}),
    ("RDS-040", put("sentinel/monitors/redis/down-after-milliseconds", "1000"), set()),
    ("RDS-041", put("sentinel/monitors/redis/failover-timeout", "180000"), set()),
    ("RDS-042", put("sentinel/deny_scripts_reconfig", False), set()),
    ("RDS-043", put("config_file/settings/maxclients", "20000"), set()),
    ("RDS-043", put("config_file/replicaof", "192.0.2.3 6379"), set()),
    ("RDS-044", config("slowlog-log-slower-than", "-1"), set()),
    ("RDS-045", put("log_space/free", 10**9), set()),
    ("RDS-046", put("redis/acl_log", [{"reason": "auth", "object": "AUTH", "user": "x", "count": 3, "age_s": 9}]),
     set()),
    ("RDS-047", lost_slots, set()),
    ("RDS-048", put(f"units/{WORKER}/restart", "no", "app1"), set()),
    ("RDS-048", put("redis/jobs/silent", 1, "redis1"), set()),
    ("RDS-048", put("application/host", "192.0.2.1", "app1"), set()),
    ("RDS-049", put(f"units/{UNIT}/timeout_stop_s", -1.0), set()),
    ("RDS-050", allow("application", "+keys"), {"RDS-006"}),
    ("HST-001", put("kernel/overcommit_memory", "0"), set()),
    ("HST-002", huge_pages, set()),
    ("HST-003", put("kernel/somaxconn", "128"), set()),
    ("HST-004", put("process/swap_kb", 9000), set()),
    ("HST-005", put("services", {"vector.service": "active", "auditd.service": "active"}), set()),
    ("HST-006", put("mount/own", False), set()),
    ("HST-007", put("process/core_limit", -1), set()),
    ("HST-008", put("audit", ["/etc/redis"]), set()),
    ("HST-009", put("journal/folder", False), set()),
    ("HST-010", put("kernel/conntrack_count", "900"), set()),
    ("HST-011", put("baseline/failed", 4), set()),
]  # fmt: skip


def failing(estate: Posture) -> set[str]:
    """Controls that fail or cannot be looked at."""
    return {row["control"] for row in assess(estate.options(), NOW)["results"] if row["status"] in ("fail", "error")}


def statuses(estate: Posture, control: str) -> dict[str, str]:
    return {
        row["where"]: row["status"] for row in assess(estate.options(), NOW)["results"] if row["control"] == control
    }


def test_every_control_has_a_failing_case() -> None:
    assert {case[0] for case in CASES} == {control.id for control in CATALOGUE}
    assert len(CATALOGUE) == 61


def test_a_sound_estate_passes_everything() -> None:
    estate = Posture()
    rows = assess(estate.options(), NOW)["results"]
    assert {row["control"]: row["evidence"] for row in rows if row["status"] not in ("pass", "not_applicable")} == {}
    assert {row["control"] for row in rows if row["status"] == "not_applicable"} == {"RDS-047"}
    assert set(statuses(Posture().cluster(), "RDS-047").values()) == {"pass"}


@pytest.mark.parametrize(("control", "change", "also"), CASES, ids=[case[0] for case in CASES])
def test_a_control_fails_where_it_is_broken_and_only_it(control: str, change: Break, also: set[str]) -> None:
    estate = Posture()
    change(estate)
    assert "fail" in statuses(estate, control).values()
    assert failing(estate) == {control, *also}


@pytest.mark.parametrize("control", [control.id for control in CATALOGUE])
def test_nothing_passes_that_nobody_looked_at(control: str) -> None:
    """Hosts that did not answer, and hosts that answered nothing."""
    away, blank = Posture(), Posture()
    for name in list(away.evidence):
        del away.evidence[name]
    for evidence in blank.evidence.values():
        evidence["posture"] = {}
        evidence.update(nodes={}, sentinels={})
    for estate in (away, blank):
        assert "pass" not in statuses(estate, control).values(), control


def test_a_host_that_is_away_is_an_error_there_and_nowhere_else() -> None:
    estate = Posture()
    del estate.evidence["redis3"]
    assert statuses(estate, "RDS-002") == {"redis1": "pass", "redis2": "pass", "redis3": "error"}
    assert statuses(estate, "HST-001")["redis3"] == "error"


def test_a_server_that_does_not_answer_is_an_error() -> None:
    estate = Posture()
    estate.hosts["redis2"]["redis"] = {"reachable": False, "error": "tcp: refused"}
    assert statuses(estate, "RDS-001")["redis2"] == "error"
    assert statuses(estate, "RDS-012") == {"redis": "error"}


def test_a_container_has_no_clock_and_no_audit_of_its_own() -> None:
    estate = Posture()
    for posture in estate.hosts.values():
        posture["container"] = True
    for control in ("HST-005", "HST-008"):
        assert set(statuses(estate, control).values()) == {"not_applicable"}


def test_what_a_person_must_see_to_is_manual() -> None:
    estate = Posture()
    for posture in estate.hosts.values():
        posture["records"], posture["services"] = {}, {"chrony.service": "active", "auditd.service": "active"}
        posture.pop("baseline", None)
    for control in ("RDS-031", "RDS-045", "HST-011"):
        assert set(statuses(estate, control).values()) == {"manual"}


def test_passwords_without_the_runs_key_are_not_compared() -> None:
    estate = Posture()
    estate.hosts["redis3"]["keyed"] = False
    assert statuses(estate, "RDS-012") == {"redis": "error"}


def test_rules_that_are_not_understood_are_no_firewall() -> None:
    estate = Posture()
    estate.hosts["redis1"]["firewall"]["ports"]["6379"]["strangers"] = "unknown"
    assert statuses(estate, "RDS-004")["redis1"] == "error"


def test_an_estate_that_lifeline_did_not_set_up_is_not_held_to_the_inventorys_settings() -> None:
    estate = Posture()
    estate.intent["redis2"]["settings"]["loglevel"] = "debug"
    assert statuses(estate, "RDS-043")["redis2"] == "fail"
    estate.intent["redis2"]["config_file"] = "/etc/redis/redis.conf"
    assert statuses(estate, "RDS-043")["redis2"] == "pass"

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The families process, disk, config and memory: each cause is seen where it is, and not where it only seems to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from estates import NOW, UNIT, Estate
from lifeline.diagnose.causes.catalogue import CATALOGUE
from lifeline.observe import logs

DATA, MIB, GIB = "/var/lib/redis/main", 1 << 20, 1 << 30
CONFIG = {f"setting-{number}": "1" for number in range(200)}

# Words of real servers (Redis 7.0 and 8.0), of systemd and of the kernel, and the groups that they belong to.
WORDS = {
    "crash": "=== REDIS BUG REPORT START: Cut & paste starting from here ===",
    "ended_by_disk": "Guru Meditation: Replica was unable to write command to disk. #server.c:3793",
    "no_space": "Error writing to the AOF file: No space left on device",
    "read_only": "Failed opening the temp RDB file temp-99.rdb (in server root dir /data): Read-only file system",
    "config_fatal": "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***",
    "config_line": "Reading the configuration file, at line 46",
    "config_directive": ">>> 'foo bar'",
    "config_reason": "Bad directive or wrong number of arguments",
    "config_denied": "Fatal error, can't open config file '/etc/redis/redis-main.conf': Permission denied",
    "log_denied": "Can't open the log file: Permission denied",
    "port_taken": "Warning: Could not create server TCP listening socket 10.0.0.1:6379: bind: Address already in use",
    "address_missing": "Could not create server TCP listening socket 10.9.9.9:1: bind: Cannot assign requested address",
    "start_timeout": "redis-server@main.service: start operation timed out. Terminating.",
    "fork_failed": "Can't save in background: fork: Cannot allocate memory",
    "aof_fsync_slow": "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer anyway",
    "exited": "redis-server@main.service: Main process exited, code=exited, status=1/FAILURE",
    "killed": "redis-server@main.service: Main process exited, code=killed, status=9/KILL",
    "dumped": "redis-server@main.service: Main process exited, code=dumped, status=11/SEGV",
    "oom_unit": "redis-server@main.service: A process of this unit has been killed by the OOM killer.",
    "oom_server": "Memory cgroup out of memory: Killed process 4711 (redis-server) total-vm:90000kB, anon-rss:40000kB",
    "oom_other": "Out of memory: Killed process 4712 (python3) total-vm:90000kB, anon-rss:40000kB",
    "disk_error": "EXT4-fs error (device sdb1): ext4_journal_check_start:83: Detected aborted journal",
    "task_hung": "INFO: task redis-server:4711 blocked for more than 120 seconds.",
    "start_limit": "redis-server@main.service: Start request repeated too quickly.",
    "denied": "Failed opening the temp RDB file temp-99.rdb (in server root dir /data) for saving: Permission denied",
}


@pytest.mark.parametrize("name", WORDS)
def test_real_words_fall_into_their_group(name: str) -> None:
    said = logs.group([(NOW, WORDS[name])], NOW - 60, str)
    assert list(said["groups"]) == [name]


def estate(**host: Any) -> Estate:
    """A healthy estate, each of whose hosts has the sections of a full look."""
    made = Estate()
    for name, evidence in made.evidence.items():
        evidence["system"] = {
            "memory": {"total": 4 * GIB, "available": 3 * GIB, "swap_total": 0, "swap_free": 0},
            "kernel": {"overcommit_memory": "1", "thp": "always [madvise] never"},
            "pressure": {"io": 1.0, "memory": 0.0},
            "pages": {"swapped_in_per_s": 0.0},
            "disks": {path: space() for path in ("/etc", "/var/lib", "/var/log", DATA)},
        }
        process = {"pid": 7, "state": "S", "still": False, "rss_kb": 20_000, "swap_kb": 0, "thp": 0, "memory": {}}
        evidence["processes"] = {UNIT: process}
        evidence["start"] = {"directives": ["bind"], "addresses": {"127.0.0.1": True}, "holders": {}, "denied": {}}
        evidence["server"] = {
            "reachable": True,
            "info": {"maxmemory": 0, "errors": {}},
            "config": {**CONFIG, "bind": ""},
        }
        evidence["units"][UNIT].update(since=NOW - 1000, user="redis", enabled="enabled", start_timeout="30min")
        made.say(name, aof_ok=True, rdb_ok=True, used_memory=MIB, maxmemory=0)
    return made


def space(
    free: float = 5 * GIB, total: float = 10 * GIB, inodes: int = 10**6, read_only: bool = False
) -> dict[str, Any]:
    return {"free": free, "total": total, "inodes_free": inodes, "inodes_total": 10**6, "read_only": read_only}


def dead(*words: str, name: str = "redis2", ago: float = 10) -> Estate:
    """A server that systemd has given up on 10 s ago, with lines in its journal."""
    made = estate().kill(name)
    made.evidence[name]["units"][UNIT].update(since=NOW - 10, result="exit-code", restarts=4)
    made.evidence[name]["processes"] = {}
    made.evidence[name]["server"] = {"reachable": False}
    for word in words:
        made.log(name, word, WORDS[word], ago=ago, source="journal")
    return made


def silent(state: str, still: bool = True, name: str = "redis2") -> Estate:
    """A server whose process is there and answers nobody."""
    made = estate()
    for evidence in made.evidence.values():
        made._silence(evidence["nodes"][name], "timeout")
        made._drop_links(evidence, name)
    made.evidence[name]["server"] = {"reachable": False, "error": "unix: timeout: timed out"}
    made.evidence[name]["processes"][UNIT].update(state=state, still=still)
    return made


def back(*words: str, name: str = "redis2", restarts: int = 1, uptime: int = 60, ago: float = 62) -> Estate:
    """A server that systemd started again a minute ago."""
    made = estate().say(name, uptime_s=uptime)
    made.evidence[name]["units"][UNIT].update(restarts=restarts, since=NOW - uptime)
    for word in words:
        made.log(name, word, WORDS[word], ago=ago, source="journal")
    return made


def unsaved(*words: str, name: str = "redis2", **said: Any) -> Estate:
    """A live server whose last snapshot failed (or whatever ``said``), with lines in its log."""
    made = estate().say(name, **(said or {"rdb_ok": False}))
    for word in words:
        made.log(name, word, WORDS[word])
    return made


def said(word: str, ago: float = 1, count: int = 1) -> Estate:
    return estate().log("redis2", word, WORDS[word], ago=ago, count=count)


def on_disk(made: Estate, **disk: Any) -> Estate:
    made.evidence["redis2"]["system"]["disks"][DATA] = space(**disk)
    return made


def part(section: str, made: Estate | None = None, name: str = "redis2", **values: Any) -> Estate:
    """With other values in one section of a host."""
    made = made or estate()
    made.evidence[name][section].update(values)
    return made


def process(made: Estate | None = None, **values: Any) -> Estate:
    made = made or estate()
    made.evidence["redis2"]["processes"][UNIT].update(values)
    return made


def unit(made: Estate | None = None, **values: Any) -> Estate:
    made = made or estate()
    made.evidence["redis2"]["units"][UNIT].update(values)
    return made


def full(used: float, limit: float = 100 * MIB, policy: str = "noeviction", name: str = "redis1") -> Estate:
    info = {"maxmemory": limit, "used_memory": used, "maxmemory_policy": policy, "errors": {"OOM": 5}}
    return part("server", name=name, info=info)


def kernel(made: Estate, **values: str) -> Estate:
    made.evidence["redis2"]["system"]["kernel"].update(values)
    return made


def memory(made: Estate, **values: int) -> Estate:
    made.evidence["redis2"]["system"]["memory"].update(values)
    return made


def denied(path: str, made: Estate | None = None, error: str = "") -> Estate:
    entry = {"need": "read", "blocked_by": path, "owner": "" if error else "root:root", "mode": "0700", "error": error}
    return part("start", made, denied={path: entry})


def killed_by_the_kernel(apart: float) -> Estate:
    made = dead("killed")
    return made.log("redis2", "oom_server", WORDS["oom_server"], ago=10 + apart, source="kernel")


HELD = {"6379": {"pid": 99, "command": "python3", "unit": "squatter.service"}}


# Each cause: how it shows in redis2 (or where its finding says), and what only looks like it.
def listening(*addresses: str) -> Estate:
    """redis2 refuses everybody, and its host's sockets show where it listens."""
    refusing = estate().refuse("redis2", "refused: Error 111 connecting to 192.0.2.2:6379. Connection refused.")
    return refusing.look("redis2", connections={"total": 0, "by_address": {}, "listening": list(addresses)})


SHOWN: dict[str, tuple[Callable[[], Estate], Callable[[], Estate]]] = {
    "host_gone": (lambda: estate().lose("redis2"), dead),
    "server_crashed": (lambda: dead("crash"), lambda: dead("crash", ago=300)),
    "oom_killed": (lambda: killed_by_the_kernel(apart=1), lambda: killed_by_the_kernel(apart=60)),
    "start_timeout": (lambda: dead("start_timeout"), lambda: back("start_timeout")),
    "start_limit": (lambda: dead("start_limit"), lambda: unit(dead("start_limit"), active="activating")),
    "process_dead": (dead, lambda: unit(dead(), active="inactive", result="success")),
    "process_restarted": (lambda: back("killed"), lambda: back("killed", restarts=0)),
    "server_loading": (lambda: estate().say("redis2", loading=True), estate),
    "stopped_by_hand": (lambda: unit(dead(), active="inactive", result="success"), dead),
    "process_frozen": (lambda: silent("T"), lambda: silent("S")),
    "process_stuck": (lambda: silent("D"), lambda: silent("D", still=False)),
    "disk_full_aof": (
        lambda: on_disk(unsaved("no_space", aof_ok=False), free=0),
        lambda: on_disk(unsaved("no_space"), free=0),
    ),
    "disk_full_rdb": (lambda: unsaved("no_space"), lambda: unsaved("denied")),
    "inodes_gone": (lambda: on_disk(unsaved("no_space"), inodes=0), lambda: unsaved("no_space")),
    "disk_read_only": (lambda: on_disk(unsaved("read_only"), read_only=True), lambda: unsaved("read_only")),
    "data_denied": (lambda: denied(DATA, dead("config_fatal")), lambda: denied("/var/log/redis", dead())),
    "disk_nearly_full": (lambda: on_disk(estate(), free=400 * MIB), lambda: on_disk(estate(), free=900 * MIB)),
    "config_invalid": (lambda: dead("config_fatal", "config_directive"), lambda: dead("config_fatal", ago=300)),
    "config_next_start": (
        lambda: part("start", directives=["bind", "foo"]),
        lambda: part("start", directives=["bind", "replicaof", "masterauth", "user", "a.b", "key-load-delay"]),
    ),
    "port_taken": (lambda: part("start", dead(), holders=HELD), lambda: part("start", holders=HELD)),
    "address_missing": (
        lambda: part("start", dead("address_missing"), addresses={"192.0.2.9": False}),
        lambda: dead("address_missing", ago=300),
    ),
    "files_denied": (
        lambda: denied("/etc/redis/redis-main.conf"),
        lambda: denied("/etc/redis/x", error="gone"),
    ),
    "unit_drift": (lambda: unit(enabled="disabled"), lambda: unit(enabled="enabled-runtime")),
    "memory_full": (lambda: full(used=99 * MIB), lambda: full(used=99 * MIB, policy="allkeys-lru")),
    "memory_nearly_full": (lambda: full(used=95 * MIB), lambda: full(used=95 * MIB, name="redis2")),
    "fork_failed": (
        lambda: unsaved("fork_failed"),
        lambda: said("fork_failed"),
    ),
    "fork_at_risk": (lambda: kernel(estate(), overcommit_memory="0"), lambda: kernel(estate(), overcommit_memory="1")),
    "huge_pages": (
        lambda: kernel(process(thp=1), thp="[always] madvise never"),
        lambda: kernel(process(thp=0), thp="[always] madvise never"),
    ),
    "swapping": (lambda: process(swap_kb=5_000), lambda: process(swap_kb=100)),
    "disk_slow": (
        lambda: said("aof_fsync_slow", ago=20, count=4),
        lambda: said("aof_fsync_slow", ago=600, count=4),
    ),
    "memory_limit_near": (
        lambda: process(memory={"limit": 20_500 * 1024, "used": 0}),
        lambda: process(memory={"limit": 40_000 * 1024, "used": 40_000 * 1024}),
    ),
    "bound_to_loopback": (lambda: listening("127.0.0.1", "::1"), lambda: listening("127.0.0.1", "192.0.2.2")),
    "host_memory_low": (lambda: memory(estate(), available=100 * MIB), lambda: memory(estate(), available=GIB)),
}


def test_every_cause_of_these_families_is_in_the_table() -> None:
    families = ("process", "disk", "config", "memory")
    elsewhere = {"application_host_gone"}  # test_report_page.py
    assert set(SHOWN) | elsewhere == {cause.id for cause in CATALOGUE if cause.family in families}


@pytest.mark.parametrize("name", SHOWN)
def test_a_cause_is_seen_where_it_is_and_not_where_it_only_seems(name: str) -> None:
    shown, not_shown = SHOWN[name]
    where = "redis1" if name in ("memory_full", "memory_nearly_full") else "redis2"
    found = shown().findings()
    assert (name, where) in found
    assert all(found[name, where]["evidence"])
    assert name not in {cause for cause, _where in not_shown().findings()}


@pytest.mark.parametrize("name", SHOWN)
def test_it_is_the_only_finding_and_no_other_host_has_it(name: str) -> None:
    found = {key: item for key, item in SHOWN[name][0]().findings().items() if item["severity"] != "info"}
    assert set(found) <= {(name, "redis1"), (name, "redis2")}
    assert len(found) <= 1


def test_a_healthy_estate_shows_nothing() -> None:
    assert estate().findings() == {}


def test_a_fault_of_the_primary_is_critical_and_explains_what_the_others_see() -> None:
    for made in (dead("config_fatal", name="redis1"), silent("T", name="redis1"), dead("start_limit", name="redis1")):
        (finding,) = [item for item in made.findings().values() if item["severity"] != "info"]
        assert finding["severity"] == "critical"
        assert {"redis2", "redis3"} <= {other["where"] for other in finding["consequences"]}


def test_what_ended_the_server_explains_that_systemd_gave_up() -> None:
    made = dead("config_fatal", "config_line", "config_directive", "config_reason", "exited", "start_limit")
    (finding,) = made.findings().values()
    assert finding["id"] == "config_invalid"
    assert any("foo bar" in line for line in finding["evidence"])
    assert {"start_limit", "process_dead"} <= {other["id"] for other in finding["consequences"]}


def test_a_crash_that_systemd_has_repaired_is_still_told_and_the_restart_is_its_consequence() -> None:
    (finding,) = back("crash", "dumped").findings().values()
    assert (finding["id"], finding["severity"]) == ("server_crashed", "warning")
    assert "process_restarted" in {other["id"] for other in finding["consequences"]}
    assert back("crash", restarts=0).findings() == {}


def test_one_restart_is_a_note_and_a_loop_is_not() -> None:
    (once,) = back("killed").findings().values()
    made = back("killed", restarts=4)
    made.evidence["redis2"]["logs"]["journal"]["groups"]["killed"]["count"] = 4
    (loop,) = made.findings().values()
    assert (once["severity"], loop["severity"]) == ("info", "warning")
    made.evidence["redis2"]["units"][UNIT]["restarts"] = 1
    (noticed,) = made.findings().values()
    assert noticed["severity"] == "info", "somebody has started it since"
    assert back("killed", uptime=5000, ago=5002).findings() == {}


def test_a_full_disk_explains_a_replica_that_ended_itself() -> None:
    made = on_disk(dead("crash", "ended_by_disk", "no_space"), free=0)
    (finding,) = made.findings().values()
    assert finding["id"] == "disk_full_aof"
    assert {"server_crashed", "process_dead"} <= {other["id"] for other in finding["consequences"]}
    (finding,) = back("ended_by_disk", "no_space").findings().values()
    assert finding["id"] == "disk_full_aof", "systemd has started it again, and there is room"


def test_space_that_came_back_leaves_the_failed_save_to_be_told() -> None:
    (finding,) = unsaved("no_space").findings().values()
    assert (finding["id"], finding["sure"]) == ("disk_full_rdb", "likely")


def test_a_save_that_fails_for_no_known_reason_is_an_unknown_fault() -> None:
    (finding,) = unsaved().findings().values()
    assert (finding["id"], finding["unknown"]) == ("saving_fails", True)


def test_a_server_started_by_hand_is_alive_and_its_unit_is_what_failed() -> None:
    made = estate()
    made.evidence["redis2"]["units"][UNIT].update(active="failed", sub="failed", result="exit-code", pid=0)
    part("start", made, holders={"6379": {"pid": 99, "command": "redis-server", "unit": "by-hand.service"}})
    (finding,) = made.findings().values()
    assert (finding["id"], finding["severity"]) == ("port_taken", "warning")
    assert any("answers as replica" in line for line in finding["evidence"])


def test_a_replica_at_its_limit_is_no_finding_since_it_takes_what_its_primary_took() -> None:
    assert full(used=100 * MIB, name="redis2").findings() == {}


def test_next_start_says_nothing_without_the_whole_list_of_settings() -> None:
    assert part("server", part("start", directives=["foo"]), config={"bind": ""}).findings() == {}


def test_a_data_disk_that_the_next_rewrite_does_not_fit_on() -> None:
    made = on_disk(estate(), free=2 * GIB)
    made.evidence["redis2"]["files"]["aof"]["size"] = 3 * GIB
    (finding,) = made.findings().values()
    assert finding["id"] == "disk_nearly_full"


@pytest.mark.parametrize(
    ("missing", "task"), [("192.0.2.9", "reseed_config"), ("192.0.2.2", ""), ("", "")], ids=["drift", "own", "late"]
)
def test_only_an_address_that_the_inventory_does_not_give_is_taken_out_of_the_file(missing: str, task: str) -> None:
    made = part("start", dead("address_missing"), addresses={missing: False} if missing else {"127.0.0.1": True})
    assert made.findings()["address_missing", "redis2"]["task"] == task

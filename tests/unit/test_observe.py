# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading what servers, systemd and disks say."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.act.kept import Keeper
from lifeline.act.node import follow_in_text
from lifeline.common.client import CONNECTION_ERRORS
from lifeline.diagnose.findings import outage_began
from lifeline.observe import logs, platform, watched
from lifeline.observe import units as units_module
from lifeline.observe.estate import parse_info, parse_sentinel
from lifeline.observe.files import data_files, parse_manifest, snapshot
from lifeline.observe.units import parse_units, unit_states

SHOWN = """Id=redis-server@main.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=signal
NRestarts=5
MainPID=0
UnitFileState=enabled
StatusText=
StateChangeTimestamp=@1790000000

Id=redis-sentinel.service
LoadState=not-found
ActiveState=inactive
SubState=dead
Result=success
NRestarts=0
MainPID=0
UnitFileState=
StatusText=
StateChangeTimestamp=
"""


def test_units_are_told_apart_in_the_order_asked_for() -> None:
    units = parse_units(["redis-server@main.service", "redis-sentinel.service"], SHOWN)
    server, sentinel = units["redis-server@main.service"], units["redis-sentinel.service"]
    assert (server["active"], server["result"], server["restarts"], server["since"]) == (
        "failed",
        "signal",
        5,
        1790000000,
    )
    assert (sentinel["load"], sentinel["since"]) == ("not-found", 0)


def test_a_host_without_systemd_has_no_units() -> None:
    def missing(*_args: Any, **_options: Any) -> Any:
        raise FileNotFoundError("systemctl")

    def hangs(*_args: Any, **_options: Any) -> Any:
        raise subprocess.TimeoutExpired("systemctl", 5)

    assert unit_states(["a.service"], missing) == {}
    assert unit_states(["a.service"], hangs) == {}


def test_data_files_are_found_where_the_configuration_says(tmp_path: Path) -> None:
    config = tmp_path / "redis.conf"
    config.write_text(
        f'dir "{tmp_path}"\nappendonly yes\nappenddirname "aof"\nsave 900 1\nsave 300 10\n'
        "requirepass planted-secret\nreplicaof 192.0.2.1 6379\n"
    )
    (tmp_path / "aof").mkdir()
    manifest = "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    (tmp_path / "aof" / "appendonly.aof.manifest").write_text(manifest)
    (tmp_path / "aof" / "appendonly.aof.2.incr.aof").write_text("12345")
    (tmp_path / "aof" / "appendonly.aof.1.incr.aof").write_text("123")
    (tmp_path / "dump.rdb").write_text("rdb")
    files = data_files(str(config))
    assert 0 <= files["aof"].pop("age_s") < 60
    assert files["aof"] == {
        "size": len(manifest) + 8,
        "manifest": True,
        "entries": [
            {"name": "appendonly.aof.2.base.rdb", "type": "b", "size": None},
            {"name": "appendonly.aof.2.incr.aof", "type": "i", "size": 5},
        ],
        "missing": ["appendonly.aof.2.base.rdb"],
        "stray": ["appendonly.aof.1.incr.aof"],
        "base": None,
    }
    assert (files["rdb"]["size"], files["rdb"]["header"], files["rdb"]["complete"]) == (3, "", False)
    assert files["replicaof"] == ["192.0.2.1", "6379"]
    assert (files["aof_configured"], files["rdb_configured"]) == (True, True)
    assert "planted-secret" not in str(files)


def test_a_snapshot_is_judged_by_its_ends(tmp_path: Path) -> None:
    whole = b"REDIS0010" + b"x" * 1000 + b"\xff" + b"checksum"
    file = tmp_path / "dump.rdb"

    def seen(content: bytes) -> tuple[str, bool]:
        file.write_bytes(content)
        found = snapshot(str(file))
        assert found is not None
        assert found["size"] == len(content)
        return found["header"], found["complete"]

    assert seen(whole) == ("REDIS0010", True)
    assert seen(b"VALKEY080" + whole[9:]) == ("VALKEY080", True)
    assert seen(whole[:-7]) == ("REDIS0010", False)
    assert seen(b"NOTREDIS!" + whole[9:]) == ("", True)
    assert seen(b"") == ("", False)
    assert snapshot(str(tmp_path / "none.rdb")) is None


@given(st.text(max_size=300))
def test_any_manifest_is_read_without_a_traceback(text: str) -> None:
    assert all(set(entry) == {"name", "type"} for entry in parse_manifest(text))


SENTINEL_CONF = """port 26379
sentinel monitor orders 192.0.2.1 6379 2
sentinel monitor "other" 192.0.2.9 6379 3
sentinel auth-pass orders planted-secret
sentinel config-epoch orders 7
"""


def test_of_a_sentinels_file_only_what_it_watches_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "sentinel.conf"
    file.write_text(SENTINEL_CONF)
    file.chmod(0o440)
    me = pwd.getpwuid(os.getuid()).pw_name
    units = {"redis-sentinel.service": {"user": "daemon" if me == "root" else me}}
    seen = watched.look(str(file), "orders", units)
    assert seen["monitor"] == {"host": "192.0.2.1", "port": 6379, "quorum": 2}
    assert (seen["epoch"], seen["exists"], str(file) in seen["denied"]) == (7, True, True)
    assert "planted-secret" not in str(seen)
    assert watched.look(str(file), "orders", {})["denied"] == {}
    assert watched.parse(SENTINEL_CONF, "absent") == {"monitor": None, "epoch": 0}
    assert watched.look(str(tmp_path / "none"), "orders", {})["exists"] is False


# As Redis 7.0 and 8.0 and Valkey 8.1 spell them.
WORDS = [
    (
        "aof_truncated",
        "!!! Warning: short read while loading the AOF file!!! Truncating the AOF a.incr.aof at offset 79",
    ),
    ("aof_truncated", "AOF a.incr.aof loaded anyway because aof-load-truncated is enabled"),
    ("aof_unfinished", "Unexpected end of file reading the append only file a.incr.aof. You can: 1) Make a backup"),
    ("aof_corrupt", "Bad file format reading the append only file a.incr.aof: make a backup of your AOF file"),
    ("aof_missing", "Unable to obtain the AOF file a.base.rdb length. stat: No such file or directory"),
    ("ended_by_disk", "Guru Meditation: Replica was unable to write command to disk. #server.c:3890"),
    ("crash", "Guru Meditation: Out Of Memory allocating 1048592 bytes #zmalloc.c:97"),
    ("no_space", "Short write while writing to the AOF file: (nwritten=690, expected=1037)"),
    ("aof_created", "Creating AOF base file a.1.base.rdb on server start"),
    ("rdb_version", "Can't handle RDB format version 99"),
    ("rdb_unreadable", "Fatal error loading the DB: Permission denied. Exiting."),
    ("rdb_unreadable", "Fatal error: can't open the RDB file dump.rdb for reading: Permission denied"),
    ("rdb_broken", "Wrong RDB checksum expected: (1) but got (2). Aborting now."),
    ("rdb_broken", "Wrong signature trying to load DB from file"),
    ("rdb_broken", "Short read or OOM loading DB. Unrecoverable error, aborting now."),
    ("loaded", "DB loaded from disk: 0.000 seconds"),
    ("replica_login", "Unable to AUTH to MASTER: -WRONGPASS invalid username-password pair or user is disabled."),
    ("replica_login", "Dual channel replication: Unable to AUTH to Primary: -WRONGPASS"),
    ("replica_login", "MASTER aborted replication with an error: NOAUTH Authentication required."),
    ("replica_buffer", "Client id=7 addr=a scheduled to be closed ASAP for overcoming of output buffer limits."),
    ("full_sync", "Full resync requested by replica 192.0.2.2:6379"),
    ("flushing_old", "PRIMARY <-> REPLICA sync: Flushing old data"),
    ("sdown_primary", "+sdown master redis 192.0.2.1 6379"),
    ("no_good_replica", "-failover-abort-no-good-slave master redis 192.0.2.1 6379"),
    ("rebooted", "+reboot master redis 192.0.2.1 6379"),
    ("tilt", "+tilt #tilt mode entered"),
    (
        "sentinel_unwritable",
        "Sentinel config file /etc/redis/sentinel.conf is not writable: Permission denied. Exiting...",
    ),
    ("started", "oO0OoO0OoO0Oo Valkey is starting oO0OoO0OoO0Oo"),
    ("ready", "Ready to accept connections tls"),
]


def test_of_a_long_journal_the_newest_lines_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As journalctl of systemd 252 does it."""
    now = time.time()
    journal = [
        f"{now - 600 + number * 0.5:.6f} redis1 redis-server[7]: *** FATAL CONFIG FILE ERROR" for number in range(1200)
    ]

    def journalctl(argv: list[str], _seconds: float) -> subprocess.CompletedProcess[str]:
        most = int(next(word for word in argv if word.startswith("-n"))[2:])
        lines = (journal[::-1] if "--reverse" in argv else journal)[:most]
        return subprocess.CompletedProcess(argv, 0, "\n".join(lines), "")

    monkeypatch.setattr(logs.commands, "bounded", journalctl)
    found = logs.journal_groups(["redis-server.service"], now - 900, str, 2.0)
    group = found["groups"]["config_fatal"]
    assert group["count"] == logs.JOURNAL_LINES and now - group["last"] < 1
    assert group["first"] < group["last"]


def test_no_group_hides_another() -> None:
    patterns = [pattern for _name, pattern in logs.PATTERNS]
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(("name", "line"), WORDS)
def test_the_servers_own_words_are_grouped(name: str, line: str) -> None:
    now = time.time()
    groups = logs.group([(now, line), (now - 300, line), (now - 9000, line)], now - 900, str)["groups"]
    assert set(groups) == {name}
    assert (groups[name]["count"], groups[name]["recent"]) == (2, 1)


def test_no_persistence_and_no_files(tmp_path: Path) -> None:
    config = tmp_path / "redis.conf"
    config.write_text(f'dir {tmp_path}\nsave ""\nappendonly no\n')
    files = data_files(str(config))
    assert (files["aof"], files["rdb"], files["aof_configured"], files["rdb_configured"]) == (None, None, False, False)
    assert data_files(str(tmp_path / "nothing.conf")) == {}


def test_sentinel_that_does_not_know_the_service() -> None:
    error = CONNECTION_ERRORS[0]("No such master with that name")
    view = parse_sentinel([error, error, error, error, {"sentinel_tilt": 1}])
    assert view == {"known": False, "tilt": True, "tilt_s": -1, "uptime_s": -1}


@given(st.dictionaries(st.text(max_size=12), st.none() | st.integers() | st.text(max_size=12), max_size=20))
def test_any_info_is_read_without_a_traceback(info: dict[str, Any]) -> None:
    view = parse_info({**info, "role": info.get("role", "slave")})
    assert set(view) >= {"role", "offset", "replid", "primary", "keys"}


def test_a_stopped_server_is_told_to_follow_by_one_line() -> None:
    text = "port 6379\nreplicaof 192.0.2.9 6379\n  slaveof 192.0.2.8 1\n# replicaof in a comment\n\n"
    told = follow_in_text(text, "192.0.2.2", 6380)
    assert told == "port 6379\n# replicaof in a comment\nreplicaof 192.0.2.2 6380\n"
    assert follow_in_text(told, "192.0.2.2", 6380) == told


def test_a_copy_outlives_what_redis_does_to_the_originals(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    rdb, aof = tmp_path / "dump.rdb", tmp_path / "appendonlydir" / "a.aof.1.incr.aof"
    rdb.write_text("snapshot")
    aof.write_text("log")
    (tmp_path / "temp-12.rdb").write_text("half")
    keeper = Keeper(str(tmp_path), (tmp_path.stat().st_uid, tmp_path.stat().st_gid))
    target = Path(keeper.keep_files("now")[0])
    with aof.open("a") as grown:
        grown.write("more")
    (tmp_path / "new").write_text("other")
    (tmp_path / "new").replace(rdb)
    assert (target / "dump.rdb").read_text() == "snapshot"
    assert (target / "appendonlydir" / aof.name).read_text() == "log"
    assert not (target / "temp-12.rdb").exists()
    assert target.stat().st_mode & 0o777 == 0o700


def test_the_platform_is_what_os_release_says(tmp_path: Path) -> None:
    assert platform.platform(str(tmp_path)) == {"distribution": "", "release": ""}
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "os-release").write_text('# comment\nNAME="Alma"\nID="almalinux"\nVERSION_ID="9.4"\n')
    assert platform.platform(str(tmp_path)) == {"distribution": "almalinux", "release": "9"}
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    assert platform.platform(str(tmp_path)) == {"distribution": "debian", "release": "12"}


SID = 'PRETTY_NAME="Debian GNU/Linux forky/sid"\nNAME="Debian GNU/Linux"\nVERSION_CODENAME=forky\nID=debian\n'


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (SID, "sid"),
        (SID + 'VERSION_ID="14"\n', "14"),
        (SID.replace("forky/sid", "14 (forky)"), ""),
        (SID.replace("ID=debian", "ID=devuan"), ""),
        ("ID=debian\n", ""),
    ],
    ids=["sid", "a release names itself", "no sid", "not Debian", "says nothing"],
)
def test_debian_without_a_version_is_sid_where_its_name_says_so(tmp_path: Path, text: str, release: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text(text)
    assert platform.platform(str(tmp_path))["release"] == release


def test_the_outage_began_when_the_first_sign_of_it_showed() -> None:
    link = {"link_up": False, "link_down_s": 7}
    evidence = [
        {"time": 1000.0, "nodes": {"a": {"primary": link}, "b": {}}, "units": {}},
        {"time": 1000.5, "nodes": {}, "units": {"x": {"active": "failed", "since": 995}}},
    ]
    assert outage_began(evidence) == 993.0
    assert outage_began([{"time": 1.0, "nodes": {}, "units": {"x": {"active": "active", "since": 1}}}]) is None


@pytest.mark.parametrize(
    ("units", "states", "runs", "silent"),
    [
        (["a.service"], {}, True, True),
        (["a.service"], {}, False, False),  # a host without systemd
        (["a.service"], {"a.service": {}}, True, False),
        ([], {}, True, False),
    ],
)
def test_a_systemd_that_says_nothing_in_time_is_told_apart_from_none(
    tmp_path: Path, units: list[str], states: dict[str, Any], runs: bool, silent: bool
) -> None:
    folder = tmp_path / "system"
    if runs:
        folder.mkdir()
    assert units_module.silent(units, states, str(folder)) is silent

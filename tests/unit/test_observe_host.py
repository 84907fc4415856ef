# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading what the kernel says of a host and of its processes, and what a server will meet at its next start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.observe import access, cgroup, info, processes, start, system

STAT = "cpu  {user} 0 50 {idle} {iowait} 0 0 {steal} 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nctxt 5\n"

DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999999    100    0    0    0     0          0         0  9999999     100    0    0    0     0       0          0
  eth0: {rx}      30    1    2    0     0          0         0     {tx}      40    3    4    0     0       0          0
"""  # noqa: E501

SNMP = "Tcp: RtoAlgorithm OutSegs RetransSegs InErrs\nTcp: 1 {segments} {again} 7\nUdp: InDatagrams\nUdp: 5\n"
NETSTAT = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 3 4\nIpExt: InOctets\nIpExt: 1\n"


def counters(**numbers: int) -> dict[str, object]:
    wanted = {"user": 100, "idle": 800, "iowait": 40, "steal": 10, "rx": 1000, "tx": 500, "segments": 10, "again": 2}
    wanted.update(numbers)
    return {
        "cpu": system.parse_cpu(STAT.format(**wanted)),
        "devices": system.parse_devices(DEV.format(**wanted)),
        "tcp": {
            **system.parse_paired(SNMP.format(**wanted), "Tcp", system._TCP),
            **system.parse_paired(NETSTAT, "TcpExt", system._TCP_EXT),
        },
        "pages": system.parse_pages("nr_free_pages 5\npswpin 10\npswpout 20\noom_kill 1\n"),
    }


def test_rates_come_from_two_looks() -> None:
    after = counters(user=130, idle=850, iowait=50, steal=20, rx=3000, tx=700, segments=110, again=12)
    rated = system.rates(counters(), after, 0.5)
    assert rated["cpu"] == {"busy": 40.0, "iowait": 10.0, "steal": 10.0}
    eth0 = rated["network"]["interfaces"]["eth0"]
    assert (eth0["rx_bytes_per_s"], eth0["tx_bytes_per_s"]) == (4000.0, 400.0)
    assert (eth0["rx_errors"], eth0["rx_dropped"], eth0["tx_errors"], eth0["tx_dropped"]) == (1, 2, 3, 4)
    assert list(rated["network"]["interfaces"]) == ["eth0"]
    assert rated["network"]["tcp"] == {
        "segments_per_s": 200.0,
        "retransmits_per_s": 20.0,
        "listen_drops_per_s": 0.0,
        "retransmits": 12,
        "errors": 7,
        "listen_overflows": 3,
        "listen_drops": 4,
    }
    assert rated["pages"]["oom_kills"] == 1


def test_of_hundreds_of_interfaces_the_busiest_are_kept() -> None:
    lines = [f" veth{number}: {number} 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0" for number in range(100)]
    seen = {**counters(), "devices": system.parse_devices("\n".join(lines))}
    assert list(system.rates(seen, seen, 1.0)["network"]["interfaces"]) == [f"veth{n}" for n in range(99, 91, -1)]


@given(st.text(max_size=300))
def test_whatever_the_kernel_prints_is_read(text: str) -> None:
    seen = {
        "cpu": system.parse_cpu(text),
        "devices": system.parse_devices(text),
        "tcp": system.parse_paired(text, "Tcp", system._TCP),
        "pages": system.parse_pages(text),
    }
    assert set(system.rates(seen, seen, 0.3)) == {"cpu", "network", "pages"}
    assert system.parse_pressure(text) is None
    assert isinstance(processes.parse_listeners(text), dict)
    assert isinstance(cgroup.parse_mounts(text), list)
    assert isinstance(cgroup.parse_groups(text), dict)
    assert isinstance(start.parse(text), tuple)


def test_pressure_of_some_and_of_all() -> None:
    text = "some avg10=5.95 avg60=4.20 avg300=2.95 total=40087008\nfull avg10=1.50 avg60=0.00 avg300=0.00 total=7\n"
    assert (system.parse_pressure(text), system.parse_pressure(text, "full")) == (5.95, 1.5)


def test_a_look_at_this_machine_is_whole() -> None:
    seen = system.look(["/", "/nowhere/at/all"])
    assert 0 <= seen["cpu"]["busy"] <= 100
    assert seen["memory"]["total"] > seen["memory"]["available"] > 0
    assert seen["disks"]["/"]["total"] > 0
    assert "tcp" in seen["network"]
    assert 0 <= seen["late_s"] < 60


def test_a_stopped_process_is_told_from_a_sleeping_one() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        os.kill(child.pid, 19)
        os.waitpid(child.pid, os.WUNTRACED)
        seen = processes.of_units({"a.service": {"pid": child.pid}, "b.service": {"pid": 0}})
        assert list(seen) == ["a.service"]
        process = seen["a.service"]
        assert (process["state"], process["still"], process["cpu_percent"]) == ("T", True, 0.0)
        assert process["rss_kb"] > 0
        assert process["files_limit"] > 0
    finally:
        child.kill()
        child.wait()


def test_who_holds_a_port_is_found_and_the_expected_one_is_no_news() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (holder,) = processes.holders([port], {"a.service": {"pid": 0}}).values()
        assert holder["pid"] == os.getpid()
        assert holder["command"]
        assert processes.holders([port], {"a.service": {"pid": os.getpid()}}) == {}
    assert processes.holders([port], {}) == {}


CGROUPS = """12:hugetlb:/
9:name=systemd:/pod/a/system.slice/x.service
4:memory:/pod/a/squeeze
0::/pod/a/system.slice/x.service
"""


def test_the_memory_group_of_both_versions_is_found() -> None:
    assert cgroup.parse_groups(CGROUPS) == {1: "/pod/a/squeeze", 2: "/pod/a/system.slice/x.service"}
    mounts = (
        "44 43 0:38 /pod/a /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
        "45 43 0:39 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "46 43 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\nnonsense\n"
    )
    first, second = cgroup.parse_mounts(mounts)
    assert (first.version, second.version) == (1, 2)
    assert list(cgroup._folders(first, "/pod/a/squeeze")) == ["/sys/fs/cgroup/memory/squeeze", "/sys/fs/cgroup/memory"]


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, {"memory.limit_in_bytes": "5000\n", "memory.usage_in_bytes": "4000\n", "memory.oom_control": "oom_kill 3"}),
        (2, {"memory.max": "5000\n", "memory.current": "4000\n", "memory.events": "oom 9\noom_kill 3\n"}),
        (2, {"memory.max": "max\n", "memory.current": "4000\n", "memory.events": "oom_kill 3\n"}),
    ],
)
def test_limits_of_a_group(tmp_path: Path, version: int, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    limit = None if "max\n" in files.values() else 5000
    assert cgroup._group(str(tmp_path), version) == (limit, 4000, 3)


NOBODY = access.Identity(65534, frozenset({65534}))


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that everybody may pass through; pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_path_is_denied_by_itself_or_by_a_folder_above(passable: Path) -> None:
    open_folder, shut = passable / "open", passable / "shut"
    open_folder.mkdir(mode=0o777)
    shut.mkdir(mode=0o700)
    for path, mode in ((open_folder / "log", 0o644), (open_folder / "conf", 0o600), (shut / "data", 0o666)):
        path.write_text("x")
        path.chmod(mode)
    open_folder.chmod(0o777)
    wanted = {
        str(open_folder): "keep",
        str(open_folder / "log"): "append",
        str(open_folder / "conf"): "read",
        str(shut / "data"): "read",
        str(open_folder / "gone"): "read",
        "relative": "read",
    }
    denied = access.look(wanted, NOBODY)
    assert {path: entry["blocked_by"] for path, entry in denied.items()} == {
        str(open_folder / "log"): str(open_folder / "log"),
        str(open_folder / "conf"): str(open_folder / "conf"),
        str(shut / "data"): str(shut),
        str(open_folder / "gone"): str(open_folder / "gone"),
    }
    assert denied[str(open_folder / "conf")]["mode"] == "0600"
    assert denied[str(open_folder / "gone")]["error"] == "No such file or directory"
    me = access.Identity(os.getuid(), frozenset({os.getgid()}))
    assert list(access.look(wanted, me)) == [str(open_folder / "gone")]


def test_only_users_that_exist_have_an_identity() -> None:
    root = access.identity("root", "")
    assert root is not None
    assert root.uid == 0
    assert access.identity("no-such-user-here", "") is None
    assert access.identity("root", "no-such-group-here") is None


def test_what_a_start_needs(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    for name in ("appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"):
        (tmp_path / "appendonlydir" / name).write_text("x")
    config = tmp_path / "redis.conf"
    config.write_text(
        f'# comment\nBind 127.0.0.1 198.51.100.77 -::1 *\nport 0\ntls-port 1\ndir "{tmp_path}"\n'
        f"logfile {tmp_path}/log\n"
        "requirepass planted-secret\nuser x on >planted-secret\nappendonly yes\nno-such-directive 5\n"
    )
    seen = start.look(str(config), {"redis-sentinel.service": {}, "a.service": {"user": "root"}})
    assert "no-such-directive" in seen["directives"]
    assert "planted-secret" not in str(seen)
    assert seen["addresses"] == {"127.0.0.1": True, "198.51.100.77": False}
    assert (seen["denied"], seen["holders"]) == ({}, {})
    needs = start.paths(str(config), start.parse(config.read_text())[1])
    assert needs == {
        str(config): "read",
        str(tmp_path): "keep",
        str(tmp_path / "appendonlydir"): "keep",
        str(tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb"): "read",
        str(tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"): "append",
    }


@pytest.mark.parametrize("value", ["count=5", {"count": 5}])
def test_refused_commands_are_counted_as_any_redis_py_reads_them(value: object) -> None:
    assert info.counted({"errorstat_OOM": value, "errorstat_a_customer": value, "x": 1}) == {"OOM": 5, "other": 5}

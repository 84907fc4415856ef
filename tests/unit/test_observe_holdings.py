# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who holds a port and what data lies on a host, on trees that look like a host's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

import pytest
from lifeline.common import ownership
from lifeline.observe import holdings, running

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ANY4, LOOP4, ANY6 = "00000000", "0100007F", "0" * 32
KEYLESS = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0@\xff12345678"
WITH_KEYS = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfe\x00\xfb\x01\x00\x00\x01a\x01b\xff12345678"


class Host:
    """A host's files: as much of /proc and /etc as a look reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/net/tcp", HEADER)
        self.write("proc/net/tcp6", HEADER)
        self.process(1, "systemd", exe="/usr/lib/systemd/systemd")
        self.link("proc/self/ns/net", "net:[1]")

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def link(self, path: str, target: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, file)

    def process(self, pid: int, name: str, exe: str = "", unit: str = "", line: str = "", **more: Any) -> None:
        folder = f"proc/{pid}"
        self.write(f"{folder}/comm", name + "\n")
        self.write(f"{folder}/stat", f"{pid} ({name}) S {more.get('parent', 1)} 1 1")
        self.write(f"{folder}/cmdline", line or name)
        self.write(f"{folder}/cgroup", f"0::/system.slice/{unit}\n" if unit else "0::/init.scope\n")
        self.link(f"{folder}/exe", exe or f"/usr/bin/{name}")
        self.link(f"{folder}/ns/net", more.get("network", "net:[1]"))
        (self.root / folder / "fd").mkdir()
        if more.get("data"):
            self.link(f"{folder}/cwd", str(self.root / more["data"].lstrip("/")))

    def listens(self, pid: int, port: int, address: str = ANY4, table: str = "") -> None:
        """Gives a process (0: none that can be seen) a listening socket."""
        inode = 1000 + port
        table = table or ("proc/net/tcp6" if len(address) > 8 else "proc/net/tcp")
        row = f" 0: {address}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {inode} 1 x\n"
        before = (self.root / table).read_text() if (self.root / table).exists() else HEADER
        self.write(table, before + row)
        if pid:
            self.link(f"proc/{pid}/fd/{port}", f"socket:[{inode}]")

    def look(self, port: Optional[int] = 6379, sentinel: Optional[int] = None, **more: Any) -> dict[str, Any]:
        return holdings.look(port, sentinel, root=str(self.root), **more)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize("address", [ANY4, LOOP4, ANY6])
def test_A7_the_holder_of_the_port_is_told_whatever_it_is(host: Host, address: str) -> None:
    """Before: a port that answered with WRONGPASS, or was no Redis, counted as free.

    Now: the kernel tells which process and unit hold it, on any address.
    """
    host.process(40, "python3", unit="billing.service")
    host.listens(40, 6379, address)
    seen = host.look(6379, 26379)
    assert seen["port"] == {
        "number": 6379,
        "state": "held",
        "pid": 40,
        "name": "python3",
        "exe": "/usr/bin/python3",
        "unit": "billing.service",
    }
    assert (seen["sentinel_port"]["state"], seen["holdings"]["servers"]) == ("free", [])


def test_an_address_is_held_only_by_what_would_be_in_its_way(host: Host) -> None:
    host.process(40, "redis-server")
    host.listens(40, 6379, "0B0200C0")
    host.listens(40, 7000)
    binds = ["127.0.0.1:6379", "192.0.2.11:6379", "[::1]:7000", "*:6379", "unix@/run/x.sock"]
    held = {bind: port["state"] for bind, port in host.look(binds=binds)["binds"].items()}
    assert held == {
        "127.0.0.1:6379": "free",
        "192.0.2.11:6379": "held",
        "[::1]:7000": "held",
        "*:6379": "held",
    }


def test_a_port_is_free_only_where_the_kernel_says_so(host: Host) -> None:
    assert host.look()["port"]["state"] == "free"
    (host.root / "proc/net/tcp").unlink()
    seen = host.look()
    assert (seen["port"]["state"], seen["holdings"]["complete"]) == ("unknown", False)


def test_a_holder_that_cannot_be_seen_still_holds_the_port(host: Host) -> None:
    host.listens(0, 6379)
    port = host.look()["port"]
    assert (port["state"], port["pid"], port["unit"]) == ("held", None, "")


def test_hidden_processes_make_a_look_incomplete(host: Host) -> None:
    for file in sorted((host.root / "proc/1").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
    (host.root / "proc/1").rmdir()
    seen = host.look()
    assert not seen["holdings"]["complete"]
    assert seen["port"]["state"] == "unknown"


def test_a_server_in_a_container_is_seen_and_its_port_is_not_free(host: Host) -> None:
    host.process(50, "redis-server", network="net:[2]", data="srv/data")
    host.listens(50, 6379, table="proc/50/net/tcp")
    (host.root / "srv/data").mkdir(parents=True)
    host.write("srv/data/dump.rdb", WITH_KEYS)
    seen = host.look()
    assert (seen["port"]["state"], seen["port"]["pid"]) == ("unknown", 50)
    assert [one["ports"] for one in seen["holdings"]["servers"]] == [[6379]]
    assert [row["size"] for row in seen["holdings"]["data"]] == [len(WITH_KEYS)]


def test_servers_are_told_from_sentinels_children_and_clients(host: Host) -> None:
    host.process(60, "redis-server", exe="/usr/bin/redis-check-rdb", unit="redis-server.service", data="var/lib/redis")
    host.listens(60, 6379)
    host.process(61, "redis-server", parent=60)
    host.process(62, "redis-sentinel", exe="/usr/bin/redis-check-rdb")
    host.process(63, "redis-server", line="/usr/bin/redis-server *:26379 [sentinel]")
    host.process(64, "redis-cli")
    host.process(65, "valkey-server", line="/opt/valkey-server unixsocket:/run/v.sock")
    found = {one["pid"]: one["port"] for one in host.look()["holdings"]["servers"]}
    assert found == {60: 6379, 65: 0}


def test_A5_data_is_found_wherever_process_unit_or_distribution_name_it(host: Host) -> None:
    """Before: only the folder of Lifeline's own instance was looked at, so that an estate with dumps was "empty".

    Now: the folders that processes, units, configuration files and the distribution name are looked at.
    """
    host.write("var/lib/redis/dump.rdb", WITH_KEYS)
    host.write("var/lib/valkey/other/appendonlydir/appendonly.aof.1.incr.aof", "*1\r\n")
    host.write("etc/redis/redis.conf", 'dir "/data/a"\ndbfilename "queue.db"\ninclude /etc/redis/more/*.inc\n')
    host.write("etc/redis/more/x.inc", "appenddirname aof-here\n")
    host.write("data/a/queue.db", WITH_KEYS)
    host.write("data/a/aof-here/appendonly.aof.1.incr.aof", "*1\r\n")
    host.write("data/a/holiday/picture.rdb", WITH_KEYS)
    host.write("etc/systemd/system/my@.service", "[Service]\nExecStart=-/opt/bin/redis-server /opt/%i.conf\n")
    host.write("opt/one.conf", "dir /data/one\n")
    host.write("data/one/dump.rdb", KEYLESS)
    host.write("usr/lib/systemd/system/v.service", "[Service]\nExecStart=valkey-server --save 1\nWorkingDirectory=/w\n")
    host.write("w/dump.rdb", WITH_KEYS)
    seen = host.look()["holdings"]
    assert seen["complete"]
    assert {row["path"]: (row["kind"], row["empty"]) for row in seen["data"]} == {
        "/data/a/aof-here/appendonly.aof.1.incr.aof": ("aof", False),
        "/data/a/queue.db": ("rdb", False),
        "/data/one/dump.rdb": ("rdb", True),
        "/var/lib/redis/dump.rdb": ("rdb", False),
        "/var/lib/valkey/other/appendonlydir/appendonly.aof.1.incr.aof": ("aof", False),
        "/w/dump.rdb": ("rdb", False),
    }


def test_a_configuration_that_is_no_file_is_not_waited_for(host: Host) -> None:
    (host.root / "etc/redis").mkdir(parents=True)
    os.mkfifo(host.root / "etc/redis/redis.conf")
    host.write("etc/redis/long.conf", "dir /data\n" * 200_000)
    seen = host.look()["holdings"]
    assert not seen["complete"]


def test_more_data_than_can_be_told_is_not_complete(host: Host) -> None:
    for number in range(holdings.MOST_DATA + 1):
        host.write(f"var/lib/redis/{number}.rdb", WITH_KEYS)
    seen = host.look()["holdings"]
    assert (len(seen["data"]), seen["complete"]) == (holdings.MOST_DATA, False)


def test_the_config_of_a_running_server_comes_from_its_command_line_or_its_unit(host: Host) -> None:
    host.write("etc/redis/redis-main.conf", "dir /var/lib/redis/main\n")
    host.write("etc/redis/redis-side.conf", "dir /var/lib/redis/side\n")
    host.write("srv/own.conf", "dir /data\n")
    command = "[Service]\nExecStart=/usr/bin/redis-server /etc/redis/redis-%i.conf --daemonize no\n"
    host.write("usr/lib/systemd/system/redis-server@.service", command)
    host.process(70, "redis-server", unit="redis-server@main.service", line="/usr/bin/redis-server 127.0.0.1:6379")
    host.process(71, "redis-server", line="redis-server\0/srv/own.conf")
    found = {one["pid"]: one["config"] for one in host.look()["holdings"]["servers"]}
    assert found == {70: "/etc/redis/redis-main.conf", 71: "/srv/own.conf"}


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/redis-server.service\n", "redis-server.service"),
        ("0::/system.slice/system-redis\\x2dserver.slice/redis-server@main.service\n", "redis-server@main.service"),
        ("4:memory:/x\n1:name=systemd:/pod/system.slice/a.service\n", "a.service"),
        ("0::/system.slice/box.service/libpod-payload-1f\n", "box.service"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/run.scope\n", ""),
        ("0::/machine.slice/libpod-1f.scope\n", ""),
        ("", ""),
    ],
)
def test_the_unit_of_a_process_is_its_service(cgroup: str, unit: str) -> None:
    assert running.unit_of(cgroup) == unit


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's marks count")
def test_A8_only_what_root_alone_can_write_is_a_mark(host: Host) -> None:
    """Before: whatever was missing on a host was "restored", also what had never been there.

    Now: a mark that only root can have left tells what Lifeline made on a host.
    """
    assert host.look()["owned"] == []
    for thing in ("server", "firewall", "acl", "nonsense"):
        host.write(ownership.path_of(thing).lstrip("/"), "{}")
    assert host.look()["owned"] == ["server", "firewall", "acl"]
    os.chmod(host.root / ownership.path_of("acl").lstrip("/"), 0o664)
    os.chown(host.root / ownership.path_of("server").lstrip("/"), 12345, 0)
    assert host.look()["owned"] == ["firewall"]
    os.chmod(host.root / ownership.FOLDER.lstrip("/"), 0o777)
    assert host.look()["owned"] == []

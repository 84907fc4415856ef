# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server left on its disk is judged as the server itself judges it at its next start."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from lifeline.observe.copies import look
from lifeline.observe.files import data_files
from modules import Modules
from servers import Server, Servers, wait_for

CONFIG: dict[str, object] = {"appendonly": "yes", "appendfsync": "always"}


def written(servers: Servers, keys: int = 300) -> Server:
    """A dead server that had so many keys, in its append-only file."""
    server = servers(config=CONFIG)
    for number in range(keys):
        server.client().set(f"key:{number}", f"value {number} " + "x" * (number % 40))
    server.kill()
    return server


def copied(server: Server, name: str) -> Path:
    """Its folder once more, with its configuration."""
    home = server.directory.parent / name
    shutil.copytree(server.directory, home)
    text = (home / "redis.conf").read_text().replace(str(server.directory), str(home))
    (home / "redis.conf").write_text(text)
    return home


def log_of(home: Path) -> Path:
    return next((home / "appendonlydir").glob("*.incr.aof"))


def judged(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = look(data_files(str(home / "redis.conf")))["aof"]
    return found


def loads(servers: Servers, home: Path) -> int:
    """How many keys a server has that starts on it; -1 where it does not start."""
    try:
        server = servers(directory=home, config=CONFIG)
    except AssertionError:
        return -1
    wait_for(lambda: not server.client().info("persistence")["loading"], "loaded data")
    return int(server.client().dbsize())


@pytest.fixture
def server(redis_server: Servers) -> Server:
    return written(redis_server)


def test_A16_a_damaged_append_only_file_is_told_from_a_cut_one(redis_server: Servers, server: Server) -> None:
    """Before: only sizes and times were looked at, so a corrupt file that was written to last was elected.

    Now: the server's own checker reads it first; what it says is what a start would come to.
    """
    whole = copied(server, "whole")
    assert judged(whole)["ok"] is True and loads(redis_server, whole) == 300
    for cut in (1, 9, 30):
        home = copied(server, f"cut{cut}")
        size = log_of(home).stat().st_size
        os.truncate(log_of(home), size - cut)
        found = judged(home)
        assert (found["ok"], found["loads"], found["lost_records"]) == (False, True, 1)
        assert found["lost_bytes"] == size - cut - found["ok_up_to"] > 0
        assert loads(redis_server, home) == 299
    damaged = copied(server, "damaged")
    before = log_of(damaged).read_bytes()
    place = len(before) * 9 // 10
    log_of(damaged).write_bytes(before[:place] + b"\xff" * 24 + before[place + 24 :])
    found = judged(damaged)
    assert (found["ok"], found["loads"]) == (False, False)
    assert found["ok_up_to"] < place and 20 < found["lost_records"] < 40
    assert found["lost_bytes"] == len(before) - found["ok_up_to"]
    assert loads(redis_server, damaged) == -1
    assert (damaged / "appendonlydir").stat() and len(log_of(damaged).read_bytes()) == len(before), "only read"


def test_zeros_at_the_end_and_a_damaged_base_do_not_load(redis_server: Servers, server: Server) -> None:
    zeros = copied(server, "zeros")
    with log_of(zeros).open("ab") as file:
        file.write(b"\0" * 100)
    found = judged(zeros)
    assert (found["loads"], found["lost_bytes"]) == (False, 100) and loads(redis_server, zeros) == -1
    base = copied(server, "base")
    path = next((base / "appendonlydir").glob("*.base.rdb"))
    path.write_bytes(path.read_bytes()[:40] + b"\0" * 24 + path.read_bytes()[64:])
    assert judged(base)["loads"] is False and loads(redis_server, base) == -1


def test_a_cut_file_does_not_load_where_that_is_forbidden(server: Server) -> None:
    home = copied(server, "strict")
    os.truncate(log_of(home), log_of(home).stat().st_size - 9)
    with (home / "redis.conf").open("a") as file:
        file.write("aof-load-truncated no\n")
    assert judged(home)["loads"] is False


def test_a_snapshot_is_checked(redis_server: Servers) -> None:
    server = redis_server()
    server.client().mset({f"key:{number}": "x" * 100 for number in range(50)})
    server.save()
    server.kill()
    files = data_files(str(server.directory / "redis.conf"))
    assert look(files)["rdb"]["ok"] is True
    path = server.directory / "dump.rdb"
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + b"\xff" * 24 + whole[224:])
    assert look(files)["rdb"]["loads"] is False


def test_two_copies_of_one_history_tell_how_much_one_lacks(redis_server: Servers) -> None:
    primary = redis_server(config=CONFIG)
    replica = redis_server(config=CONFIG, replica_of=primary)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "a link")
    for number in range(200):
        primary.client().set(f"key:{number}", number)
    primary.client().wait(1, 5000)
    wait_for(lambda: not replica.client().info("persistence")["aof_rewrite_in_progress"], "its append-only file")
    replica.kill()
    size = log_of(primary.directory).stat().st_size
    for number in range(200, 300):
        primary.client().set(f"key:{number}", number)
    primary.kill()
    grown = log_of(primary.directory).stat().st_size - size
    mine, theirs = judged(replica.directory)["marks"], judged(primary.directory)["marks"]
    shared = set(mine) & set(theirs)
    assert shared and {theirs[mark] - mine[mark] for mark in shared} == {grown}


def test_only_a_server_that_does_not_run_has_its_copy_checked(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config=CONFIG)
    asked = {
        "name": "redis1", "service": "redis", "nodes": [server.node("redis1")], "depth": "full",
        "config_file": str(server.directory / "redis.conf"), "patience": 1.0,
    }  # fmt: skip
    assert "check" not in run_module("redis_health", asked)["evidence"]["files"]
    server.kill()
    assert run_module("redis_health", asked)["evidence"]["files"]["check"]["aof"]["ok"] is True


def test_a_checker_that_hangs_is_ended(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "redis-check-aof"
    slow.write_text("#!/bin/sh\nwhile :; do echo line; sleep 0.1; done\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("lifeline.observe.checker.LEAST_S", 0.5)
    found = judged(server.directory)
    assert (found["ok"], found["loads"]) == (None, None) and "did not finish within" in found["why"]

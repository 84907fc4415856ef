# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_role makes a server follow that was a primary of its own, and keeps what only that one has."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from modules import Modules
from servers import Server, Servers, find, wait_for


def follow(standby: Server, primary: Server, **more: Any) -> dict[str, Any]:
    return {
        **standby.login(),
        "role": "replica", "primary_host": primary.host, "primary_port": primary.port, "unit": "none.service",
        "config_file": str(standby.directory / "redis.conf"), "preserve": True, "timeout": 20, **more,
    }  # fmt: skip


def diverged(servers: Servers, config: dict[str, object]) -> tuple[Server, Server]:
    """A primary, and a replica of it that was promoted at the same time and has 5 keys of its own."""
    primary = servers(config=config)
    standby = servers(replica_of=primary, config=config)
    wait_for(lambda: standby.client().info("replication")["master_link_status"] == "up", "a link")
    primary.client().mset({f"common:{number}": "x" for number in range(10)})
    primary.client().wait(1, 5000)
    return primary, standby


@pytest.mark.parametrize("appendonly", ["no", "yes"])
def test_the_surplus_of_a_former_primary_is_kept_before_it_follows(
    redis_server: Servers, run_module: Modules, appendonly: str
) -> None:
    old, new = diverged(redis_server, {"appendonly": appendonly})
    new.client().execute_command("REPLICAOF", "NO", "ONE")
    offset = old.client().info("replication")["master_repl_offset"]
    old.client().mset({f"only:{number}": "x" for number in range(5)})
    surplus = old.client().info("replication")["master_repl_offset"] - offset
    planned = run_module("redis_role", follow(old, new), check=True)
    assert planned["changed"] and planned["quarantine"]["surplus_bytes"] == surplus > 0
    assert not (old.directory / "lifeline-preserved").exists() and old.client().dbsize() == 15
    done = run_module("redis_role", follow(old, new))
    kept = done["quarantine"]
    assert (kept["keys"], kept["surplus_bytes"], kept["path"]) == (15, surplus, done["preserved"])
    (copy,) = Path(kept["path"]).iterdir()
    assert kept["bytes"] == copy.stat().st_size and "15 keys" in kept["text"]
    assert old.client().dbsize() == new.client().dbsize() == 10
    again = run_module("redis_role", follow(old, new))
    assert (again["changed"], again["quarantine"]) == (False, None)
    back = redis_server(config={"dbfilename": "dump.rdb"}, directory=restored(copy, old.directory.parent / "back"))
    assert back.client().get("only:4") == "x", "what was kept can be had back"


def restored(copy: Path, home: Path) -> Path:
    home.mkdir()
    (home / "dump.rdb").write_bytes(copy.read_bytes())
    return home


def test_a_standby_with_another_history_is_kept_whole(redis_server: Servers, run_module: Modules) -> None:
    primary, standby = redis_server(), redis_server()
    primary.client().set("theirs", 1)
    standby.client().mset({"restored:1": 1, "restored:2": 2})
    kept = run_module("redis_role", follow(standby, primary))["quarantine"]
    assert (kept["keys"], kept["surplus_bytes"]) == (2, None)
    assert standby.client().keys() == ["theirs"]


def test_nothing_is_overwritten_when_the_copy_cannot_be_made(redis_server: Servers, run_module: Modules) -> None:
    primary, standby = redis_server(), redis_server()
    standby.client().set("mine", 1)
    (standby.directory / "lifeline-preserved").write_text("in the way")
    result = run_module("redis_role", follow(standby, primary), fails=True)
    assert "lifeline-preserved" in result["msg"]
    assert standby.client().info("replication")["role"] == "master" and standby.client().get("mine") == "1"
    standby.client(socket_timeout=2).set("mine", 2)


def test_a_damaged_copy_is_noticed(redis_server: Servers) -> None:
    server = redis_server()
    server.client().set("key", "value" * 100)
    server.save()
    path = server.directory / "dump.rdb"
    assert checked(path) == 0
    path.write_bytes(path.read_bytes()[:-20])
    assert checked(path) != 0


def checked(path: Path) -> int:
    return subprocess.run([find("redis-check-rdb"), str(path)], capture_output=True, check=False).returncode


def test_writes_go_on_after_the_run(redis_server: Servers, run_module: Modules) -> None:
    primary, standby = redis_server(), redis_server()
    standby.client().set("mine", 1)
    run_module("redis_role", follow(standby, primary))
    with pytest.raises(redis.exceptions.ReadOnlyError):
        standby.client(socket_timeout=2).set("mine", 2)


def test_a_link_that_can_not_come_is_not_waited_for(redis_server: Servers, run_module: Modules) -> None:
    """As a host that is cut off from the primary's: its server is told whom to follow, and that is all."""
    primary, standby = redis_server(), redis_server()
    standby.client().set("mine", 1)
    primary.kill()
    began = time.monotonic()
    failed = run_module("redis_role", follow(standby, primary, wait_link=True, timeout=120), fails=True)
    assert "could not open a connection there" in failed["msg"] and "links by itself" in failed["msg"]
    assert time.monotonic() - began < 60
    assert standby.client().info("replication")["master_port"] == primary.port

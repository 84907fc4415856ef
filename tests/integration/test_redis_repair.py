# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_repair on real servers: a check run changes nothing, the repair shows from outside, a second run is none."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import pytest
import redis
from modules import Modules
from servers import Server, Servers, wait_for
from wire import Wire

ENDLESS = "while true do end"


def repair(run_module: Modules, server: Server, what: str, check: bool = False, **more: Any) -> Any:
    return run_module("redis_repair", {**server.login("operator"), "what": what, "timeout": 10, **more}, check=check)


def users(server: Servers) -> Server:
    started = server(users={"operator": ("op", "~* &* +@all")})
    started.client("operator").execute_command("ACL", "SETUSER", "default", "off")
    return started


def busy(server: Server) -> bool:
    try:
        server.client("operator").ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


def test_a_script_that_blocks_is_ended(redis_server: Servers, run_module: Modules) -> None:
    server = users(redis_server)
    server.client("operator").config_set("busy-reply-threshold", 100)

    def block() -> None:
        with suppress(redis.RedisError):
            server.client("operator", socket_timeout=60).eval(ENDLESS, 0)

    thread = threading.Thread(target=block)
    thread.start()
    wait_for(lambda: busy(server), "a server that is busy")
    planned = repair(run_module, server, "kill_script", check=True)
    assert (planned["changed"], busy(server)) == (True, True)
    assert repair(run_module, server, "kill_script")["changed"] is True
    assert not busy(server)
    assert repair(run_module, server, "kill_script")["changed"] is False
    thread.join(10)


def test_a_save_that_failed_is_made_up_for(redis_server: Servers, run_module: Modules) -> None:
    server = users(redis_server)
    client = server.client("operator")
    client.set("a", "1")
    (server.directory / "dump.rdb").mkdir()  # nothing can be renamed over a folder
    client.bgsave()
    wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a failed save")
    assert "can still not save" in run_failing(run_module, server)
    (server.directory / "dump.rdb").rmdir()
    assert repair(run_module, server, "save", check=True)["changed"] is True
    assert not (server.directory / "dump.rdb").exists()
    assert repair(run_module, server, "save")["changed"] is True
    assert (server.directory / "dump.rdb").stat().st_size > 0
    assert repair(run_module, server, "save")["changed"] is False


def run_failing(run_module: Modules, server: Server) -> str:
    result = run_module("redis_repair", {**server.login("operator"), "what": "save", "timeout": 10}, fails=True)
    return str(result["msg"])


def test_who_was_refused_is_hung_up_on_and_nobody_else(redis_server: Servers, run_module: Modules) -> None:
    server = users(redis_server)
    inside = server.client("operator")
    inside.ping()
    stranger = socket.create_connection((server.host, server.port))

    def outside() -> list[dict[str, Any]]:
        return [row for row in inside.client_list() if row["user"] == "default"]

    wait_for(lambda: outside() and int(outside()[0]["age"]) >= 2, "a connection that is no handshake any more")
    assert repair(run_module, server, "hang_up", check=True)["changed"] is True
    assert len(outside()) == 1
    assert repair(run_module, server, "hang_up")["changed"] is True
    assert outside() == [] and inside.ping()
    assert repair(run_module, server, "hang_up")["changed"] is False
    stranger.close()


def test_where_everybody_is_the_default_user_nobody_is_hung_up_on(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    inside = server.client()
    inside.ping()
    assert run_module("redis_repair", {**server.login(), "what": "hang_up"})["changed"] is False
    assert len(inside.client_list()) >= 1


@pytest.mark.parametrize("lost", ["*.manifest", "*.base.rdb"])
def test_an_append_only_file_without_a_part_is_written_anew(
    redis_server: Servers, run_module: Modules, lost: str
) -> None:
    server = redis_server(users={"operator": ("op", "~* &* +@all")}, config={"appendonly": "yes"})
    server.client("operator").set("kept", "1")
    folder = server.directory / "appendonlydir"
    assert not repair(run_module, server, "rewrite_aof")["changed"]
    for path in folder.glob(lost):
        path.unlink()
    left = sorted(folder.iterdir())
    assert repair(run_module, server, "rewrite_aof", check=True)["commands"] == ["BGREWRITEAOF"]
    assert sorted(folder.iterdir()) == left
    assert repair(run_module, server, "rewrite_aof")["changed"]
    assert not repair(run_module, server, "rewrite_aof")["changed"]
    server.kill()
    again = redis_server(
        directory=server.directory, port=server.port, users={"operator": ("op", "~* &* +@all")},
        config={"appendonly": "yes"},
    )  # fmt: skip
    assert again.client("operator").get("kept") == "1"


def test_a_replica_that_is_not_heard_comes_back_on_a_new_link(redis_server: Servers, run_module: Modules) -> None:
    """Its connection is open, and nothing comes through, as after a gap in the network until TCP sends again."""
    primary, logins = users(redis_server), {"operator": ("op", "~* &* +@all")}
    gap = Wire(primary.port)
    login = {"masteruser": "operator", "masterauth": "op", "replicaof": f"127.0.0.1 {gap.port}"}
    replica = redis_server(users=logins, config=login)
    for server in (primary, replica):
        server.client("operator").config_set("repl-timeout", 60)  # neither gives the link up before the module comes

    def lag() -> int:
        """While there is something to send, as there always is in use."""
        primary.client("operator").incr("turns")
        row = primary.client("operator").info("replication").get("slave0", {})
        return int(row["lag"]) if row.get("state") == "online" else -1

    wait_for(lambda: lag() in (0, 1), "the replica", 20)
    assert not repair(run_module, replica, "relink")["changed"]
    assert not repair(run_module, primary, "relink")["changed"]
    gap.block()
    wait_for(lambda: lag() >= 5, "a replica that is not heard", 20)
    full = primary.client("operator").info("stats")["sync_full"]
    gap.open()
    assert repair(run_module, replica, "relink", check=True)["commands"] == ["CLIENT KILL TYPE master"]
    assert lag() >= 5
    assert repair(run_module, replica, "relink")["changed"]
    assert lag() in (0, 1)
    assert primary.client("operator").info("stats")["sync_full"] == full, "it went on where it was"
    assert not repair(run_module, replica, "relink")["changed"]


def test_A15_a_file_that_contradicts_the_role_is_written_again(redis_server: Servers, run_module: Modules) -> None:
    """Before: a live primary whose file said "replica of redis2" came back as a replica of its own replica.

    Now: its folder is named and repaired before the restart, and the server writes its role down.
    """
    server = users(redis_server)
    path = server.directory / "redis.conf"
    path.write_text(path.read_text() + "replicaof 192.0.2.2 6379\n")
    assert repair(run_module, server, "remember", check=True)["commands"] == ["CONFIG REWRITE"]
    assert "replicaof 192" in path.read_text()
    assert repair(run_module, server, "remember")["changed"] is True
    assert "replicaof 192" not in path.read_text()
    assert repair(run_module, server, "remember")["changed"] is False

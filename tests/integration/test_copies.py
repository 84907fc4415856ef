# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server that holds what no other does never follows before that is kept, whoever asks and whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from modules import Modules
from servers import Server, Servers, wait_for
from stepper import Stepper

KEYS = 50


def order(standby: Server, primary: Server, **more: Any) -> dict[str, Any]:
    return {
        **standby.login(), "role": "replica", "primary_host": primary.host, "primary_port": primary.port,
        "unit": "none.service", "config_file": str(standby.directory / "redis.conf"), "timeout": 20, **more,
    }  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("only root mounts file systems")
    yield place
    subprocess.run(["umount", "-l", place], check=False)


def two_primaries(servers: Servers, **options: Any) -> tuple[Server, Server]:
    """Two primaries; the first has 50 keys that only it has."""
    first, second = servers(**options), servers()
    second.client().set("theirs", 1)
    first.client().mset({f"only:{number}": "x" for number in range(KEYS)})
    return first, second


@pytest.mark.parametrize("more", [{}, {"wait_link": False}, {"preserve": True}, {"wait_only": True, "timeout": 2}])
def test_A17_without_room_for_a_copy_a_server_stays_what_it_is(
    redis_server: Servers, run_module: Modules, small_disk: Path, more: dict[str, Any]
) -> None:
    """Before: the task that waits for replicas sent REPLICAOF without a copy; 50 keys were gone on all hosts.

    Now: the module refuses and says which disk is full; a task that waits only waits.
    """
    first, second = two_primaries(redis_server, directory=small_disk)
    failed = run_module("redis_role", order(first, second, **more), fails=True)
    assert "wait_only" in more or f"Free space on {small_disk}" in failed["msg"]
    assert (first.client().role()[0], first.client().dbsize()) == ("master", KEYS)
    first.client(socket_timeout=2).set("still", "writable")


def test_a_persons_word_lets_it_follow_without_a_copy(
    redis_server: Servers, run_module: Modules, small_disk: Path
) -> None:
    first, second = two_primaries(redis_server, directory=small_disk)
    assert run_module("redis_role", order(first, second, accept_data_loss_bytes=1 << 30), fails=True)
    assert first.client().dbsize() == KEYS, "nobody can tell how many bytes, so a number does not cover it"
    run_module("redis_role", order(first, second, accept_data_loss_bytes=-1))
    assert first.client().keys() == ["theirs"]


def test_what_only_it_has_is_kept_though_nobody_asked_for_a_copy(redis_server: Servers, run_module: Modules) -> None:
    first, second = two_primaries(redis_server)
    done = run_module("redis_role", order(first, second, preserve=False))
    assert done["quarantine"]["keys"] == KEYS
    assert Path(done["preserved"]).stat().st_mode & 0o777 == 0o700
    assert first.client().keys() == ["theirs"]


def test_a_stopped_primary_is_kept_before_it_starts_as_a_replica(redis_server: Servers, run_module: Modules) -> None:
    first, second = two_primaries(redis_server, config={"appendonly": "yes"})
    first.stop()
    failed = run_module("redis_role", order(first, second, preserve=False, timeout=2), fails=True)
    assert "did not become a replica" in failed["msg"], "there is no unit to start"
    (copy,) = (first.directory / "lifeline-preserved").iterdir()
    assert failed["quarantine"]["path"] == str(copy) and len(list(copy.rglob("*.aof"))) == 1


STEPS = ("CLIENT PAUSE", "CONFIG GET", "BGSAVE", "INFO", "REPLICAOF", "CONFIG REWRITE", "CLIENT KILL")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_command_nothing_is_lost(redis_server: Servers, step: str, before: bool) -> None:
    first, second = two_primaries(redis_server)
    params = {**DEFAULTS, **order(first, second)}
    run = Stepper(params, step, before, "act.node:ensure_role")
    assert run.reached()
    run.kill()
    assert KEYS in (held(first), kept(redis_server, first)), step
    again = Stepper(params, "nothing", False, "act.node:ensure_role")
    assert not again.reached()
    again.process.wait(30)
    wait_for(lambda: first.client().keys() == ["theirs"], "the replica's data")
    assert kept(redis_server, first) == KEYS


DEFAULTS = {
    "preserve": False, "wait_link": True, "wait_only": False, "fresh": False, "kill": False, "elected": False,
    "accept_data_loss_bytes": None, "keep_copies": 5, "keep_copies_days": 30.0, "keep_copies_free": 20.0,
}  # fmt: skip


def held(server: Server) -> int:
    return len(server.client().keys("only:*"))


def kept(servers: Servers, server: Server) -> int:
    """Keys of its own in the copies, as a server loads them."""
    folder = server.directory / "lifeline-preserved"
    most = 0
    for copy in folder.glob("[0-9]*/dump.rdb"):
        home = server.directory.parent / f"back-{len(os.listdir(server.directory.parent))}"
        home.mkdir()
        (home / "dump.rdb").write_bytes(copy.read_bytes())
        back = servers(directory=home)
        most = max(most, held(back))
        back.kill()
    return most


def test_a_role_that_cannot_be_saved_is_said_and_took_effect(redis_server: Servers, run_module: Modules) -> None:
    """Redis writes its configuration through a file beside it; as root nothing stops it but that file's own name."""
    first, second = two_primaries(redis_server)
    (first.directory / "redis.conf").unlink()
    (first.directory / "redis.conf").mkdir()
    with pytest.raises(redis.exceptions.ResponseError):
        first.client().config_rewrite()
    kept_at = {"config_file": str(second.directory / "redis.conf")}
    failed = run_module("redis_role", order(first, second, **kept_at))
    assert "cannot save that" in str(failed["warnings"])
    assert first.client().keys() == ["theirs"]


def test_B5_a_link_at_the_drafts_name_is_not_written_through(
    redis_server: Servers, run_module: Modules, tmp_path: Path
) -> None:
    """Before: root wrote the new configuration through a link that the server's account had put at its draft's name.

    Now: the one atomic writer makes a file of its own beside it, under a name that nobody can guess.
    """
    first, second = two_primaries(redis_server)
    first.stop()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (first.directory / "redis.conf.lifeline").symlink_to(victim)
    run_module("redis_role", order(first, second, timeout=1), fails=True)
    assert victim.read_text() == "mine"
    assert f"replicaof {second.host} {second.port}" in (first.directory / "redis.conf").read_text()


def test_A15_a_ring_of_replicas_is_opened_where_the_newest_data_is(redis_server: Servers, run_module: Modules) -> None:
    """Before: a primary that restarted with an old file made a ring of replicas, which nothing opened for 114 s.

    Now: the module promotes the one with the newest history, by replication commands, and the others follow it.
    """
    first = redis_server()
    others = [redis_server(replica_of=first), redis_server(replica_of=first)]
    for other in others:
        wait_for(lambda one=other: one.client().info("replication")["master_link_status"] == "up", "a link")
    others[1].client().execute_command("REPLICAOF", others[0].host, others[0].port)
    wait_for(lambda: others[1].client().info("replication")["master_link_status"] == "up", "a chain")
    first.client().set("acknowledged", 1)
    first.client().wait(1, 5000)
    others[0].save()
    others[0].kill()
    first.client().set("newest", 1)
    first.save()
    first.kill()
    # Both come back with what their files say.
    first = redis_server(port=first.port, directory=first.directory, replica_of=others[1])
    others[0] = redis_server(port=others[0].port, directory=others[0].directory, replica_of=first)
    nodes = [server.node(f"redis{number}") for number, server in enumerate([first, *others], 1)]
    asked = {"nodes": nodes, "sentinels": [], "service": "redis", "mode": "unplanned", "timeout": 20}
    done = run_module("redis_failover", asked)
    assert done["primary"]["name"] == "redis1" and first.client().get("newest") == "1"
    for other in others:
        wait_for(lambda one=other: one.client().get("newest") == "1", "the newest data everywhere")

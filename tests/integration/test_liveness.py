# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real servers that live: redis_failover, called as a recovery calls it, promotes nobody beside them."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import redis
from live_estates import estate, known, options, roles
from modules import Modules
from servers import Server, Servers, wait_for

OPERATOR = {"operator": ("operator-password", "~* &* +@all"), "default": ("other-password", "~* &* +@all")}
LOGIN = {"login_user": "operator", "login_password": "operator-password"}


def called_dead(asked: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The arguments of a recovery that holds the primary for dead, and of a person who gives everything up."""
    return {**asked, "mode": "unplanned", "confirmed_dead": True, "accept_unreachable": ["n1"], "timeout": 20, **more}


def as_it_was(nodes: list[Server]) -> None:
    """Nobody was promoted, and the primary takes writes that its replica gets."""
    assert [node.client().execute_command("ROLE")[0] for node in nodes] == ["master"] + ["slave"] * (len(nodes) - 1)
    nodes[0].client().incr("counter")
    assert nodes[0].client().wait(len(nodes) - 1, 2000) == len(nodes) - 1


@pytest.mark.parametrize("sentinels", [0, 3])
def test_A1_a_primary_that_refuses_our_login_is_not_replaced(
    redis_server: Servers, run_module: Modules, sentinels: int
) -> None:
    """Before: REPLICAOF NO ONE went to the replica of a live primary that only refused the login: two primaries.

    Now: redis_failover refuses by itself, even where its caller confirms the death.
    """
    primary = redis_server(users=OPERATOR)
    replica = redis_server(users=OPERATOR, replica_of=primary)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the link")
    lines = ("sentinel auth-user estate default", "sentinel auth-pass estate other-password")
    users = {"operator": OPERATOR["operator"]}
    watchers = [redis_server.sentinel("estate", primary, 2, lines=lines, users=users) for _ in range(sentinels)]
    for watcher in watchers:
        wait_for(lambda w=watcher: known(w.client()) == (1, sentinels - 1), "every sentinel seeing everybody", 20)
    nodes = [primary, replica]
    primary.client().execute_command("ACL", "DELUSER", "operator")
    for more in ({"check": True}, {}):
        result = run_module("redis_failover", called_dead({**options(nodes, watchers), **LOGIN}), fails=True, **more)
        assert "nothing was promoted" in result["msg"] and "n1" in result["msg"] and "auth: " in result["msg"]
    as_it_was(nodes)


def test_A2_a_primary_outside_the_inventory_is_not_replaced(redis_server: Servers, run_module: Modules) -> None:
    """Before: with its live primary missing from the inventory an estate was failed over: two primaries.

    Now: redis_failover refuses, and names the address that the replicas follow.
    """
    nodes, _ = estate(redis_server)
    asked = called_dead(options(nodes[1:], []), accept_unreachable=["n1", "n2", nodes[0].node()["name"]])
    result = run_module("redis_failover", asked, fails=True)
    assert f"n1 and n2 follow 127.0.0.1:{nodes[0].port}, which is not in the inventory and answers" in result["msg"]
    as_it_was(nodes)
    nodes[0].kill()
    wait_for(lambda: nodes[1].client().info("replication")["master_link_status"] == "down", "the link's end")
    assert str(nodes[0].port) in run_module("redis_failover", asked, fails=True)["msg"]
    assert roles(nodes) == ["dead", "slave", "slave"]
    word = {**asked, "accept_unreachable": [f"127.0.0.1:{nodes[0].port}"]}
    assert run_module("redis_failover", word)["state"] == "switched", "a person's word names it"


def test_A2_sentinels_watch_one_outside_the_inventory(redis_server: Servers, run_module: Modules) -> None:
    nodes, watchers = estate(redis_server, 3)
    result = run_module("redis_failover", called_dead(options(nodes[1:], watchers)), fails=True)
    assert "not in the inventory and answers" in result["msg"]
    as_it_was(nodes)


def test_A1_a_dead_primary_is_still_replaced(redis_server: Servers, run_module: Modules) -> None:
    nodes, _ = estate(redis_server)
    nodes[0].kill()
    wait_for(lambda: nodes[1].client().info("replication")["master_link_status"] == "down", "the link's end")
    asked = {**options(nodes, []), "mode": "unplanned", "confirmed_dead": True, "timeout": 20}
    refused = run_module("redis_failover", {**asked, "confirmed_dead": False}, fails=True)
    assert "nothing proves that n1 is dead" in refused["msg"]
    assert run_module("redis_failover", asked)["state"] == "switched"


def test_A1_sentinel_is_not_asked_beside_a_primary_that_is_busy(redis_server: Servers, run_module: Modules) -> None:
    nodes, watchers = estate(redis_server, 3, 60_000)
    client = nodes[0].client(socket_timeout=30)
    client.config_set("busy-reply-threshold", 50)
    loop = "local till = redis.call('TIME')[1] + 4 while redis.call('TIME')[1] + 0 < till do end"
    script = threading.Thread(target=client.eval, args=(loop, 0))
    script.start()
    wait_for(lambda: busy(nodes[0]), "the script being at work")
    asked = {**options(nodes, watchers), "confirmed_dead": False, "timeout": 20}
    done = run_module("redis_failover", asked)
    script.join()
    assert (done["primary"]["name"], done["commands"]) == ("n1", []), "it came back, and nothing was sent"
    as_it_was(nodes)


def busy(server: Server) -> bool:
    """Whether a server answers BUSY."""
    try:
        server.client().get("key")
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


def test_B4_a_claimant_without_a_third_partys_word_is_not_followed(redis_server: Servers, run_module: Modules) -> None:
    """Before: of two primaries without Sentinel, the one that claimed to succeed the other was believed.

    Now: it is refused as a dispute, and both keep their data.
    """
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the link")
    for number in range(100):
        primary.client().set(f"key:{number}", "x")
    replica.client().execute_command("REPLICAOF", "NO", "ONE")
    result = run_module("redis_failover", called_dead(options([primary, replica], [])), fails=True)
    assert "no single primary" in result["msg"]
    assert primary.client().dbsize() == 100 and roles([primary, replica]) == ["master", "master"]


def test_A18_protected_mode_is_told_from_silence(redis_server: Servers, run_module: Modules) -> None:
    """Before: a server that answered DENIED was "dead"; refused, denied and dropped were one thing.

    Now: client.reason tells them apart on a real server.
    """
    from lifeline.common.client import Credentials, Endpoint
    from lifeline.diagnose.liveness import is_answer
    from lifeline.observe.estate import node_view

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address = str(probe.getsockname()[0])
        except OSError:
            pytest.skip("this machine has no address but loopback")
    server = redis_server(config={"bind": f"127.0.0.1 {address}", "protected-mode": "yes"})
    said = node_view(Endpoint(address, server.port, "n1"), Credentials(user="operator", password="x"))
    assert str(said["error"]).partition(":")[0] in ("denied", "dropped") and is_answer(said["error"])
    server.kill()
    gone = node_view(Endpoint(address, server.port, "n1"), Credentials())
    assert str(gone["error"]).startswith("refused") and not is_answer(gone["error"])

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole estates of real servers on loopback, with and without Sentinel."""

from __future__ import annotations

from typing import Any

from servers import Server, Servers, wait_for


def estate(
    servers: Servers, sentinels: int = 0, down_after_ms: int = 1000, sentinel_rules: str = ""
) -> tuple[list[Server], list[Server]]:
    """A primary with two replicas whose links are up, and sentinels that see all of them.

    ``sentinel_rules``: the rights of a user of their own that the sentinels log in as; without, they are ``default``.
    """
    user = (f"user sentinel on >secret resetchannels {sentinel_rules}",) if sentinel_rules else ()
    login = ("sentinel auth-user estate sentinel", "sentinel auth-pass estate secret") if sentinel_rules else ()
    primary = servers(config={"appendonly": "yes"}, lines=user)
    nodes = [primary, *(servers(replica_of=primary, config={"appendonly": "yes"}, lines=user) for _ in range(2))]
    for replica in nodes[1:]:
        wait_for(lambda r=replica: r.client().info("replication")["master_link_status"] == "up", "a link")
    watchers = [servers.sentinel("estate", primary, quorum=sentinels // 2 + 1, lines=login) for _ in range(sentinels)]
    for watcher in watchers:
        client = watcher.client()
        client.execute_command("SENTINEL", "SET", "estate", "down-after-milliseconds", down_after_ms)
        wait_for(lambda c=client: known(c) == (2, sentinels - 1), "every sentinel seeing everybody", 20)
    return nodes, watchers


def known(client: Any) -> tuple[int, int]:
    """How many replicas and other sentinels a sentinel knows."""
    state = client.sentinel_master("estate")
    return state["num-slaves"], state["num-other-sentinels"]


def options(nodes: list[Server], watchers: list[Server]) -> dict[str, Any]:
    """The module options that name this estate."""
    return {
        "nodes": [node.node(f"n{number}") for number, node in enumerate(nodes, 1)],
        "sentinels": [watcher.node(f"s{number}") for number, watcher in enumerate(watchers, 1)],
        "service": "estate",
    }


def roles(nodes: list[Server]) -> list[str]:
    """What each server says that it is; dead, when its process is gone."""
    return [node.client().info("replication")["role"] if node.running() else "dead" for node in nodes]

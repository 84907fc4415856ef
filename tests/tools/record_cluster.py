#!/usr/bin/env python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Record what nodes of a broken Redis Cluster say, from real processes on loopback, into tests/data/cluster.json."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from servers import Server, Servers, find, free_port, wait_for

RECORD = Path(__file__).resolve().parents[1] / "data" / "cluster.json"
SETTINGS = {"cluster-enabled": "yes", "cluster-node-timeout": "500"}


def words(server: Server) -> dict[str, str]:
    """CLUSTER INFO without its counters of messages, and CLUSTER NODES."""
    client = server.client()
    said = str(client.execute_command("CLUSTER", "INFO")).replace("\r", "")
    return {"info": said.partition("cluster_stats")[0], "nodes": str(client.execute_command("CLUSTER", "NODES"))}


def cluster(servers: Servers) -> list[Server]:
    """Three primaries with a replica each."""
    nodes = [servers(config=dict(SETTINGS)) for _ in range(6)]
    places = [f"127.0.0.1:{node.port}" for node in nodes]
    command = ["redis-cli", "--cluster", "create", *places, "--cluster-replicas", "1", "--cluster-yes"]
    subprocess.run(command, check=True, capture_output=True)
    wait_for(lambda: all("cluster_state:ok" in words(node)["info"] for node in nodes), "a cluster that is well", 20)
    return nodes


def open_slot(nodes: list[Server], record: dict[str, Any]) -> None:
    """A slot that is left half moved from the first node to the second."""
    first, second = nodes[0].client(), nodes[1].client()
    ids = [client.execute_command("CLUSTER", "MYID") for client in (first, second)]
    second.execute_command("CLUSTER", "SETSLOT", 93, "IMPORTING", ids[0])
    first.execute_command("CLUSTER", "SETSLOT", 93, "MIGRATING", ids[1])
    record["open_migrating"], record["open_importing"] = words(nodes[0]), words(nodes[1])
    for client in (first, second):
        client.execute_command("CLUSTER", "SETSLOT", 93, "STABLE")


def range_lost(nodes: list[Server], record: dict[str, Any]) -> None:
    """A primary and its only replica are dead."""
    mine = nodes[0].client().execute_command("CLUSTER", "MYID")
    rows = [line.split() for line in words(nodes[0])["nodes"].splitlines()]
    (place,) = [row[1] for row in rows if row[3] == mine]
    next(node for node in nodes if place.startswith(f"127.0.0.1:{node.port}@")).kill()
    nodes[0].kill()
    wait_for(lambda: "cluster_slots_fail:5461" in words(nodes[1])["info"], "the loss to be seen", 20)
    record["range_lost"] = words(nodes[1])


def majority_lost(nodes: list[Server], record: dict[str, Any]) -> None:
    """Two of three primaries are dead at once."""
    nodes[0].kill()
    nodes[1].kill()
    wait_for(lambda: "cluster_slots_pfail:10923" in words(nodes[2])["info"], "the loss to be seen", 20)
    record["majority_lost"] = words(nodes[2])


def nodes_file(nodes: list[Server], record: dict[str, Any]) -> None:
    """A node whose file is cut off, and a second server on another's file."""
    cut, shared = nodes[5], nodes[4]
    cut.stop()
    (cut.directory / "nodes.conf").write_text("half a li")
    server = find("redis-server")
    subprocess.run([server, str(cut.directory / "redis.conf")], cwd=cut.directory, timeout=10, check=False)
    record["nodes_file"] = {"log": cut.log.splitlines()[-1]}
    log = shared.directory / "second.log"
    second = [server, str(shared.directory / "redis.conf"), "--port", str(free_port()), "--logfile", str(log)]
    subprocess.run(second, cwd=shared.directory, timeout=10, check=False)
    record["nodes_file_shared"] = {"log": log.read_text().splitlines()[-1]}


def main() -> None:
    """Write the record."""
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        servers = Servers(Path(directory), lambda: None)
        try:
            nodes = cluster(servers)
            record["healthy"] = words(nodes[0])
            open_slot(nodes, record)
            range_lost(nodes, record)
            nodes = cluster(servers)
            majority_lost(nodes, record)
            nodes_file(nodes, record)
        finally:
            servers.close()
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

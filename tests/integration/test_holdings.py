# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who holds a port and what data there is, told without any login, of real servers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from modules import Modules
from servers import Servers, find, free_port, wait_for


def test_A7_whoever_holds_the_port_is_told_without_a_login(redis_server: Servers, run_module: Modules) -> None:
    """Before: a server that answered with WRONGPASS, and one that was killed, looked alike to provisioning.

    Now: the process that holds the port is named, with its data, whatever the login; a dead server's port is free.
    """
    server = redis_server(users={"default": ("secret", "~* &* +@all")}, config={"appendonly": "yes"})
    server.client().set("a", 1)
    node = {**server.node("one"), "port": server.port}
    options = {"name": "one", "nodes": [node], "service": "s", "login_user": "operator", "login_password": "wrong"}
    seen = run_module("redis_health", options)["evidence"]
    assert not seen["nodes"]["one"]["reachable"]
    assert (seen["port"]["state"], seen["port"]["pid"]) == ("held", server.process.pid)
    (own,) = [one for one in seen["holdings"]["servers"] if one["pid"] == server.process.pid]
    assert (own["port"], own["dir"]) == (server.port, str(server.directory))
    held = {os.path.basename(row["path"]) for row in seen["holdings"]["data"] if str(server.directory) in row["path"]}
    assert "appendonly.aof.1.incr.aof" in held
    server.kill()
    seen = run_module("redis_health", options)["evidence"]
    assert (seen["port"]["state"], seen["port"]["pid"]) == ("free", None)
    assert not [one for one in seen["holdings"]["servers"] if one["pid"] == server.process.pid]


def test_a_server_without_a_port_is_seen(tmp_path: Path, run_module: Modules) -> None:
    path = tmp_path / "redis.sock"
    command = [find("redis-server"), "--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path), "--save", ""]
    node = {"name": "one", "host": "127.0.0.1", "port": free_port()}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(path.exists, "the server's socket")
            options = {"name": "one", "nodes": [node], "service": "s", "depth": "full"}
            seen = run_module("redis_health", options)["evidence"]
        finally:
            process.kill()
    assert seen["port"]["state"] == "free"
    (own,) = [one for one in seen["holdings"]["servers"] if one["pid"] == process.pid]
    assert (own["port"], own["ports"], own["dir"]) == (0, [], str(tmp_path))

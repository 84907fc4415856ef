# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_scale on a real server: a check run, the real one, what the server and the kernel say, a second run."""

from __future__ import annotations

import resource
from typing import Any

from modules import Modules
from servers import Server, Servers

MIB = 1024**2


def limits(server: Server) -> tuple[int, int, int]:
    config = server.client().config_get("max*")
    files = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]
    return int(config["maxmemory"]), int(config["maxclients"]), files


def test_a_full_server_gets_room_and_a_second_run_changes_nothing(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"maxmemory": "32mb", "maxmemory-policy": "noeviction", "maxclients": 500})
    client = server.client()
    pipe = client.pipeline(transaction=False)
    for number in range(2000):
        pipe.set(f"key{number}", "x" * 14000)
    pipe.execute(raise_on_error=False)
    before = limits(server)
    checked: Any = run_module("redis_scale", server.login(), check=True)
    assert checked["changed"] and limits(server) == before
    real: Any = run_module("redis_scale", server.login())
    assert real["changed"] and real["after"] == checked["after"]
    assert limits(server)[0] == real["after"]["maxmemory"] > before[0]
    assert client.set("another", "x" * 14000)
    again: Any = run_module("redis_scale", server.login())
    assert not again["changed"]


def test_clients_bring_their_files_along(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"maxclients": 500})
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (700, 4096))
    real: Any = run_module("redis_scale", {**server.login(), "maxclients": 2000})
    assert real["changed"] and limits(server)[1] == 2000 and limits(server)[2] >= 2032
    assert not run_module("redis_scale", {**server.login(), "maxclients": 2000})["changed"]


def test_a_server_that_is_down_is_one_sentence(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    server.kill()
    failed: Any = run_module("redis_scale", server.login(), fails=True)
    assert "cannot be given more room" in failed["msg"] and "diagnose.yml" in failed["msg"]

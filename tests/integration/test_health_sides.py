# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What redis_health sees of servers that are full, busy, managed or many, and of certificates and jobs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from live_estates import options
from modules import Modules
from servers import Server, Servers, TlsFiles, make_tls, wait_for


def full(server: Server, **extra: Any) -> dict[str, Any]:
    """The options of a whole look at one server."""
    patient = {"patience": 1, "connect_timeout": 1, "command_timeout": 1, "log_minutes": 1}
    return {"name": "n1", **options([server], []), **server.credentials(), "depth": "full", **patient, **extra}


@contextmanager
def held(server: Server, count: int) -> Iterator[None]:
    """So many connections to a server."""
    clients = [server.client() for _ in range(count)]
    for client in clients:
        client.ping()
    yield
    for client in clients:
        client.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_full_server_says_so_through_its_socket(
    redis_server: Servers, run_module: Modules, tmp_path: Path, tls: bool
) -> None:
    socket = tmp_path / "s"
    server = redis_server(tls=tls, config={"maxclients": 10, "unixsocket": socket})
    with held(server, 10):
        evidence = run_module("redis_health", full(server, unix_socket=str(socket)))["evidence"]
    assert "unix: maxclients: " in evidence["server"]["error"]
    assert evidence["connections"]["by_address"]["127.0.0.1"] >= 10
    # Without TLS the refusal is read, unless it comes before the first command is sent.
    expected = ("dropped",) if tls else ("maxclients", "dropped")
    error = evidence["nodes"]["n1"]["error"]
    assert error.partition(":")[0] in expected, error


def test_a_nearly_full_server_names_its_clients(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"maxclients": 40})
    with held(server, 33):
        evidence = run_module("redis_health", full(server))["evidence"]
    most = evidence["server"]["clients"][0]
    assert (most["address"], most["user"]) == ("127.0.0.1", "default")
    assert most["count"] >= 33


def test_a_script_that_blocks_is_named_at_once(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"busy-reply-threshold": 50})

    def loop() -> None:
        with suppress(redis.RedisError):
            server.client(socket_timeout=30).eval("while true do end", 0)

    threading.Thread(target=loop, daemon=True).start()
    wait_for(lambda: "Slow script detected" in server.log, "the script to be slow")
    evidence = run_module("redis_health", full(server, server_log=str(server.directory / "log")))["evidence"]
    server.client().script_kill()
    assert evidence["nodes"]["n1"]["error"].startswith("busy")
    assert evidence["logs"]["server"]["groups"]["slow_script"]["count"] == 1


def test_a_journal_that_takes_too_long_is_named_and_costs_no_other_log(
    redis_server: Servers, run_module: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy host: nothing read is not nothing found."""
    slow = tmp_path / "journalctl"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    server = redis_server()
    wanted = full(server, units=["redis-server.service"], server_log=str(server.directory / "log"))
    evidence = run_module("redis_health", wanted)["evidence"]
    late = {"logs.journal", "logs.kernel"}
    assert {name for name in evidence["errors"] if name.startswith("logs")} == late
    assert all("journalctl did not end within 1 s" in evidence["errors"][name] for name in late)
    assert set(evidence["logs"]) == {"server", "sentinel_journal"}
    assert evidence["logs"]["server"]["groups"]["ready"]["count"] == 1


def test_slow_commands_and_refusals_keep_their_data_to_themselves(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(
        users={"default": ("secret-of-all", "~* &* +@all"), "weak": ("planted-pass", "~a +get")},
        config={"slowlog-log-slower-than": 0},
    )
    server.client().set("customer", "planted-name")
    for _ in range(3):
        with suppress(redis.RedisError):
            server.client("weak").get("planted-key")
    server.client().config_set("slowlog-log-slower-than", 1000000)
    login = {"login_user": "default", "login_password": "secret-of-all"}
    found = run_module("redis_health", full(server, **login))
    deep = found["evidence"]["server"]
    assert "SET" in {row["command"] for row in deep["slowlog"]}
    refused = deep["acl_log"][0]
    assert (refused["user"], refused["reason"], refused["address"]) == ("weak", "key", "127.0.0.1")
    said = str({name: value for name, value in found.data.items() if name != "invocation"})
    assert "planted-name" not in said and "planted-pass" not in said and "secret-of-all" not in said


def test_certificates_on_disk_and_on_the_wire(
    redis_server: Servers, run_module: Modules, tls_files: TlsFiles, tmp_path: Path
) -> None:
    server = redis_server(tls=True)
    files = {"cert_file": str(tls_files.cert), "key_file": str(tls_files.key)}
    seen = run_module("redis_health", full(server, **files))["evidence"]["tls"]
    assert (seen["file"]["key_fits"], seen["ports"]["server"]["same"]) == (True, True)
    assert 0 < seen["ports"]["server"]["not_after"] - time.time() < 90000
    other = make_tls(tmp_path / "renewed")
    files = {"cert_file": str(other.cert), "key_file": str(tls_files.key)}
    seen = run_module("redis_health", full(server, **files))["evidence"]["tls"]
    assert (seen["file"]["key_fits"], seen["ports"]["server"]["same"]) == (False, False)
    files = {"cert_file": str(tmp_path / "none.crt")}
    seen = run_module("redis_health", full(server, **files))["evidence"]["tls"]
    assert "cannot be read" in seen["file"]["error"]


def test_jobs_and_sessions_of_a_primary_and_of_its_replica(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    client = primary.client()
    client.sadd("rq:queues", "rq:queue:mail")
    client.rpush("rq:queue:mail", "a", "b")
    client.zadd("rq:wip:mail", {"c": time.time() - 900})
    client.sadd("rq:workers", "rq:worker:alive", "rq:worker:gone")
    client.hset("rq:worker:alive", mapping={"queues": "mail,other", "hostname": "app1", "state": "busy"})
    client.set("rq:suspended", 1, ex=60)
    for number in range(30):
        client.set(f"session:{number}", "x")
    replica = redis_server(replica_of=primary)
    wait_for(lambda: replica.client().dbsize() == client.dbsize(), "replication")
    for server, role in ((primary, "primary"), (replica, "replica")):
        jobs = run_module("redis_health", full(server, session_keys=["session:*"]))["evidence"]["jobs"]
        assert (jobs["role"], jobs["suspended"] is not None) == (role, True)
        assert (jobs["queues"]["mail"]["length"], jobs["queues"]["mail"]["lease_expired"]) == (2, 1)
        assert (jobs["workers"]["live"], jobs["workers"]["dead"], jobs["workers"]["busy"]) == (1, 1, 1)
        assert jobs["workers"]["by_queue"] == {"mail": 1, "other": 1}
        assert jobs["sessions"] == {"session:*": {"keys": 30, "exact": True}}


def test_a_managed_server_is_looked_at_by_its_url(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(users={"default": ("p%w d/planted", "~* &* +@all")})
    url = f"redis://:{quote('p%w d/planted', safe='')}@127.0.0.1:{server.port}/0"
    asked = {"name": "managed", "service": "orders", "url": url, "depth": "full", "patience": 1}
    found = run_module("redis_health", asked)
    evidence = found["evidence"]
    assert (evidence["managed"], evidence["nodes"]["managed"]["role"]) == (True, "master")
    assert evidence["jobs"]["reachable"] and evidence["units"] == {}
    assert "planted" not in str({name: value for name, value in found.data.items() if name != "invocation"})
    server.kill()
    evidence = run_module("redis_health", asked)["evidence"]
    assert evidence["nodes"]["managed"]["error"].startswith("refused")


def test_a_fleet_is_looked_at_side_by_side(redis_server: Servers, run_module: Modules, tls_files: TlsFiles) -> None:
    plain = redis_server()
    locked = redis_server(users={"default": ("planted-secret", "~* &* +@all")})
    hangs = redis_server()
    hangs.freeze()
    closed = redis_server()
    closed.kill()
    endpoints = [
        {"name": "plain", "host": "127.0.0.1", "port": plain.port},
        {"name": "login", "url": f"redis://:planted-secret@127.0.0.1:{locked.port}/0"},
        {"name": "locked", "host": "127.0.0.1", "port": locked.port},
        {"name": "hangs", "host": "127.0.0.1", "port": hangs.port},
        {"name": "closed", "host": "127.0.0.1", "port": closed.port},
        {"name": "unknown", "host": "no-such-host.invalid"},
        {"name": "bad", "url": "http://example.com"},
        {"name": "empty"},
    ]
    started = time.monotonic()
    found = run_module("redis_health", {"endpoints": endpoints, "connect_timeout": 1, "command_timeout": 1})
    assert time.monotonic() - started < 15
    rows = {row["name"]: row for row in found["endpoints"]}
    assert [row["name"] for row in found["endpoints"]] == [entry["name"] for entry in endpoints]
    assert (rows["plain"]["reachable"], rows["plain"]["role"], rows["login"]["reachable"]) == (True, "primary", True)
    assert rows["plain"]["version"] and rows["plain"]["latency_ms"] > 0
    words = {name: row["error"].partition(":")[0] for name, row in rows.items() if not row["reachable"]}
    assert words == {
        "locked": "auth", "hangs": "timeout", "closed": "refused", "unknown": "dns", "bad": "error", "empty": "error",
    }  # fmt: skip
    assert "planted-secret" not in str({name: value for name, value in found.data.items() if name != "invocation"})
    assert "evidence" not in found.data


def test_a_fleet_behind_tls(redis_server: Servers, run_module: Modules, tls_files: TlsFiles, other_ca: Path) -> None:
    server = redis_server(tls=True)
    asked = {"endpoints": [{"host": "127.0.0.1", "port": server.port}], "tls": True}
    (row,) = run_module("redis_health", {**asked, "ca_certs": str(tls_files.ca)})["endpoints"]
    assert (row["reachable"], row["error"]) == (True, "")
    (row,) = run_module("redis_health", {**asked, "ca_certs": str(other_ca)})["endpoints"]
    assert row["error"].startswith("tls")
    (row,) = run_module("redis_health", {**asked, "ca_certs": "/nowhere"})["endpoints"]
    assert row["error"].startswith("tls")
    (row,) = run_module("redis_health", {**asked, "tls": False})["endpoints"]
    assert not row["reachable"]

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_config against real servers: check mode, then the change, then nothing left to do."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifeline.diagnose.causes.config import HIDDEN
from lifeline.formats.redis_conf import quote, split
from modules import Modules
from servers import Server, Servers, TlsFiles, make_tls, wait_for

AWKWARD = "pa ss\"w'o\\r#d%s {{ x }} é"


def options(server: Server, **more: Any) -> dict[str, Any]:
    return {**server.login(), "config_file": str(server.directory / "redis.conf"), **more}


def conf(server: Server) -> str:
    return (server.directory / "redis.conf").read_text()


def test_live_setting_check_change_again(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"maxmemory": "100mb"})
    wanted = options(server, settings={"maxmemory": "1gb", "slowlog-max-len": 300, "replica-read-only": True})

    check = run_module("redis_config", wanted, check=True)
    assert check.changed
    assert check["diff"]["before"] == "maxmemory 104857600\nslowlog-max-len 128\n"
    assert check["diff"]["after"] == "maxmemory 1gb\nslowlog-max-len 300\n"
    assert server.client().config_get("maxmemory")["maxmemory"] == str(100 * 1024**2)
    assert "104857600" not in conf(server)

    done = run_module("redis_config", wanted)
    assert done.changed
    assert done["commands"] == check["commands"]
    assert done["diff"] == check["diff"]
    assert server.client().config_get("maxmemory")["maxmemory"] == str(1024**3)
    assert "maxmemory 1gb" in conf(server) or f"maxmemory {1024**3}" in conf(server)

    assert not run_module("redis_config", wanted).changed


def test_setting_that_needs_a_restart(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"databases": 4})
    wanted = options(server, settings={"databases": 8, "tcp-backlog": 600})

    check = run_module("redis_config", wanted, check=True)
    assert check["restart_required"] == ["databases", "tcp-backlog"]
    assert "databases 4" in conf(server)

    done = run_module("redis_config", wanted)
    assert done.changed
    assert done["restart_required"] == ["databases", "tcp-backlog"]
    assert "databases 8" in conf(server)
    assert "tcp-backlog 600" in conf(server)
    assert oct((server.directory / "redis.conf").stat().st_mode)[-3:] == "600"

    again = run_module("redis_config", wanted)
    assert not again.changed
    assert again["restart_required"] == ["databases", "tcp-backlog"]

    server.stop()
    started = redis_server(directory=server.directory, port=server.port, config={"databases": 8, "tcp-backlog": 600})
    assert run_module("redis_config", {**wanted, **started.login()})["restart_required"] == []


def test_a_server_that_learned_its_limits(redis_server: Servers, run_module: Modules) -> None:
    """A setting that CONFIG SET refuses for this process goes to the file."""
    server = redis_server()
    result = run_module("redis_config", options(server, settings={"maxclients": 5_000_000, "maxmemory": "64mb"}))
    assert result["restart_required"] == ["maxclients"]
    assert "maxclients 5000000" in conf(server)
    assert server.client().config_get("maxmemory")["maxmemory"] == str(64 * 1024**2)


def test_value_set_by_hand_is_kept_in_the_file(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"timeout": 10})
    server.client().config_set("timeout", 20)
    wanted = options(server, settings={"timeout": 20})
    check = run_module("redis_config", wanted, check=True)
    assert check.changed
    assert "timeout 10" in conf(server)
    assert run_module("redis_config", wanted)["commands"] == ["CONFIG REWRITE"]
    assert "timeout 20" in conf(server)
    assert not run_module("redis_config", wanted).changed


def test_awkward_secret_survives_the_rewrite(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    wanted = options(server, secret_settings={"masterauth": AWKWARD}, settings={"masteruser": "replica"})
    first = run_module("redis_config", wanted)
    assert first.changed
    assert "pa ss" not in str(first.data)
    assert not run_module("redis_config", wanted).changed

    other = {**wanted, "secret_settings": {"masterauth": AWKWARD + "2"}}
    check = run_module("redis_config", other, check=True)
    assert check["diff"] == {"before": "masterauth (hidden) old\n", "after": "masterauth (hidden) new\n"}

    line = next(line for line in conf(server).splitlines() if line.startswith("masterauth"))
    assert split(line)[1] == AWKWARD


def test_structured_values(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(config={"save": "3600 1"})
    wanted = options(
        server,
        settings={
            "save": [3600, 1, 300, 100],
            "client-output-buffer-limit": "replica 512mb 256mb 60",
            "notify-keyspace-events": "KEA",
            "bind": ["127.0.0.1", "-::1"],
        },
    )
    assert run_module("redis_config", wanted).changed
    assert not run_module("redis_config", wanted).changed
    assert "300 100" in conf(server)
    assert server.client().config_get("save")["save"] == "3600 1 300 100"
    off = options(server, settings={"save": ""})
    assert run_module("redis_config", off).changed
    assert not run_module("redis_config", off).changed


def test_refuses_what_it_does_not_know_or_must_not_touch(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    typo = run_module("redis_config", options(server, settings={"maxmemmory": "1gb"}), fails=True)
    assert typo["msg"] == f"Redis at 127.0.0.1:{server.port} has no setting maxmemmory: did you mean maxmemory?"
    topology = run_module("redis_config", options(server, settings={"slaveof": "h 1"}), fails=True)
    assert "live topology" in topology["msg"]
    wrong = run_module("redis_config", options(server, settings={"maxmemory-policy": "never"}), fails=True)
    assert "maxmemory-policy" in wrong["msg"]
    assert server.client().config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_appendonly_is_switched_on_without_losing_a_key(redis_server: Servers, run_module: Modules) -> None:
    """Fault F18: the same change made in the file and by a restart loses every key."""
    server = redis_server(config={"save": "3600 1"})
    client = server.client()
    for number in range(500):
        client.set(f"key:{number}", "x")
    wanted = options(server, settings={"appendonly": True})
    assert run_module("redis_config", wanted, check=True).changed
    assert client.config_get("appendonly")["appendonly"] == "no"
    assert run_module("redis_config", wanted).changed
    assert "appendonly yes" in conf(server)
    server.kill()
    again = redis_server(directory=server.directory, port=server.port, config={"save": "3600 1", "appendonly": "yes"})
    assert again.client().dbsize() == 500
    assert not run_module("redis_config", wanted).changed


def test_an_append_only_file_that_can_not_be_written_is_told_at_once(
    redis_server: Servers, run_module: Modules
) -> None:
    """Redis tries again forever; the module must not wait for that (seen on a full disk: 300 s)."""
    server = redis_server(config={"save": "3600 1", "rdb-key-save-delay": "1000000"})
    client = server.client()
    client.set("key", "x")
    pid = client.info("server")["process_id"]
    over = threading.Event()

    def hinder() -> None:
        while not over.wait(0.02):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)

    hindrance = threading.Thread(target=hinder)
    hindrance.start()
    started = time.monotonic()
    try:
        wanted = options(server, settings={"appendonly": True}, rewrite_timeout=200)
        result = run_module("redis_config", wanted, fails=True)
    finally:
        over.set()
        hindrance.join()
    assert "could not write its append only file" in result["msg"]
    assert time.monotonic() - started < 60
    assert "appendonly yes" not in conf(server)


def test_stopped_server_with_an_rdb_file_only_is_not_told_to_read_an_aof(
    redis_server: Servers, run_module: Modules
) -> None:
    server = redis_server(config={"save": "3600 1", "appendonly": "no"})
    server.client().set("kept", "1")
    server.save()
    server.kill()
    wanted = options(server, settings={"appendonly": True, "maxmemory": "1gb"}, allow_down=True, wait_timeout=0)
    check = run_module("redis_config", wanted, check=True)
    assert "maxmemory 1gb" not in conf(server)
    result = run_module("redis_config", wanted)
    assert check["diff"] == result["diff"]
    assert not result["reachable"]
    assert "appendonly no" in conf(server)
    assert "maxmemory 1gb" in conf(server)
    assert list(result["deferred"]) == ["appendonly"]
    assert not run_module("redis_config", wanted).changed


def test_server_that_is_down(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    server.kill()
    begun = time.monotonic()
    result = run_module("redis_config", options(server, settings={"maxmemory": "1gb"}, wait_timeout=0), fails=True)
    assert "refused" in result["msg"]
    assert str(server.port) in result["msg"]
    assert time.monotonic() - begun < 5


def test_wrong_password_is_one_sentence_without_it(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(users={"operator": ("right", "~* &* +@all"), "default": ("x", "+@all")})
    result = run_module("redis_config", options(server, login_user="operator", login_password="wr#ng"), fails=True)
    assert "refuses the login of operator" in result["msg"]
    assert "wr#ng" not in str(result.data)
    login = {"login_user": "operator", "login_password": "later#1", "login_password_previous": "right"}
    assert not run_module("redis_config", options(server, **login)).changed


def test_acl_file_is_loaded_when_users_differ(redis_server: Servers, run_module: Modules) -> None:
    operator = ("secret", "~* &* +@all")
    server = redis_server(users={"operator": operator, "reader": ("r", "%R~rq:* resetchannels -@all +get +info")})
    path = server.directory / "users.acl"
    login = {"acl_file": str(path), "login_user": "operator", "login_password": "secret"}
    wanted = options(server, **login)
    assert not run_module("redis_config", wanted).changed

    # Someone changes a user by hand: drift between server and file.
    server.client("operator").execute_command("ACL", "SETUSER", "reader", "+@all", "~*")
    check = run_module("redis_config", wanted, check=True)
    assert check["diff"]["before"] == "user reader on ~* (no channels) +@all\n"
    assert check["diff"]["after"] == "user reader on %R~rq:* (no channels) -@all +get +info\n"
    assert run_module("redis_config", wanted)["commands"] == ["ACL LOAD"]
    assert not run_module("redis_config", wanted).changed

    path.write_text(path.read_text() + "user extra on nopass ~x* -@all +@read -@dangerous +client|list\n")
    assert run_module("redis_config", wanted).changed
    assert not run_module("redis_config", wanted).changed

    good = path.read_text()
    path.write_text(good + "user broken on +nosuchcommand\n")
    refused = run_module("redis_config", wanted, fails=True)
    assert "users are as before" in refused["msg"]
    assert server.client("operator").ping()


def test_operator_password_changes_through_the_acl_file(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server(users={"operator": ("earlier", "~* &* +@all"), "default": ("x", "-@all")})
    path = server.directory / "users.acl"
    new = hashlib.sha256(b"later#1").hexdigest()
    path.write_text(f"user default off -@all\nuser operator on #{new} ~* &* +@all\n")
    login = {
        "login_user": "operator",
        "login_password": "later#1",
        "login_password_previous": "earlier",
        "acl_file": str(path),
    }
    result = run_module("redis_config", options(server, **login))
    assert "(new password)" in result["diff"]["after"]
    del login["login_password_previous"]
    assert not run_module("redis_config", options(server, **login)).changed


def test_changed_certificate_is_served_without_a_restart(
    redis_server: Servers, run_module: Modules, tls_files: TlsFiles, tmp_path: Path
) -> None:
    mine = TlsFiles(*(Path(shutil.copy(path, tmp_path)) for path in (tls_files.ca, tls_files.cert, tls_files.key)))
    server = redis_server(
        tls=True,
        config={"tls-ca-cert-file": mine.ca, "tls-cert-file": mine.cert, "tls-key-file": mine.key},
    )
    started = server.client().info()["run_id"]
    login = options(server, validate_certs=False)
    assert not run_module("redis_config", login).changed

    other = make_tls(tmp_path / "other", "second")
    for kind in ("ca", "cert", "key"):
        shutil.copy(getattr(other, kind), getattr(mine, kind))
    assert run_module("redis_config", login, check=True).changed
    assert run_module("redis_config", login).changed
    strict = options(server, ca_certs=str(other.ca))
    assert not run_module("redis_config", strict).changed
    assert server.client(ssl_ca_certs=str(other.ca)).info()["run_id"] == started


def test_empty_newcomer_follows_and_others_are_left_alone(redis_server: Servers, run_module: Modules) -> None:
    primary, newcomer, stray = redis_server(), redis_server(), redis_server()
    primary.client().set("a", "1")
    stray.client().set("b", "2")
    follow = {"follow_host": primary.host, "follow_port": primary.port}

    assert run_module("redis_config", options(newcomer, **follow), check=True).changed
    assert newcomer.client().info()["role"] == "master"
    assert run_module("redis_config", options(newcomer, **follow)).changed
    wait_for(lambda: newcomer.client().get("a") == "1", "the newcomer has the data")
    assert f"replicaof {primary.host} {primary.port}" in conf(newcomer)
    again = run_module("redis_config", options(newcomer, wait_link=True, **follow))
    assert not again.changed
    assert again["role"] == "replica"

    refused = run_module("redis_config", options(stray, **follow), fails=True)
    assert "second primary" in refused["msg"]
    assert stray.client().get("b") == "2"


def test_a_replica_without_a_primary_is_not_waited_for_as_long_as_one_that_copies(
    redis_server: Servers, run_module: Modules
) -> None:
    primary, replica = redis_server(), redis_server()
    replica.client().execute_command("REPLICAOF", primary.host, primary.port)
    wait_for(lambda: replica.client().info()["master_link_status"] == "up", "the link")
    primary.kill()
    wait_for(lambda: replica.client().info()["master_link_status"] == "down", "the broken link")
    began = time.monotonic()
    patient = {"wait_timeout": 300, "idle_timeout": 1}
    failed = run_module("redis_config", options(replica, wait_link=True, **patient), fails=True)
    assert f"no progress for 1 s: it has no link to its primary {primary.host}:{primary.port}" in failed["msg"]
    replica.kill()
    failed = run_module("redis_config", options(replica, **patient), fails=True)
    assert "no progress for 1 s: no process listens there" in failed["msg"]
    assert time.monotonic() - began < 60


def test_says_when_a_restart_would_lose_data(redis_server: Servers, run_module: Modules) -> None:
    server = redis_server()
    assert run_module("redis_config", options(server))["restart_objection"] == ""
    server.client().set("a", "1")
    assert "come back empty" in run_module("redis_config", options(server))["restart_objection"]
    assert run_module("redis_config", options(server, settings={"save": "60 1"})).changed
    assert run_module("redis_config", options(server))["restart_objection"] == ""


def test_a_unit_file_newer_than_the_process_needs_a_restart(
    redis_server: Servers, run_module: Modules, tmp_path: Path
) -> None:
    unit = tmp_path / "drop-in.conf"
    unit.write_text("x")
    os.utime(unit, (time.time() - 60, time.time() - 60))
    server = redis_server()
    wanted = options(server, start_files=[str(unit), str(tmp_path / "none")])
    assert run_module("redis_config", wanted)["restart_required"] == []
    os.utime(unit, (time.time() + 5, time.time() + 5))
    assert run_module("redis_config", wanted)["restart_required"] == [str(unit)]


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory, tls_files: Any) -> Any:
    servers = Servers(tmp_path_factory.mktemp("quoting"), lambda: tls_files)
    yield servers()
    servers.close()


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text)
def test_the_server_reads_back_every_quoted_value(plain_server: Server, value: str) -> None:
    """Ours -> the server's memory -> its own rewritten file -> ours, and our quoting is what the server would load."""
    client = plain_server.client()
    client.config_set("masterauth", value)
    client.config_rewrite()
    lines = [line for line in conf(plain_server).split("\n") if line.startswith("masterauth")]
    assert [split(line)[1:] for line in lines] == ([[value]] if value else [])
    assert split(f"masterauth {quote(value)}") == ["masterauth", value]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(text.filter(bool), min_size=2, max_size=2))
def test_the_server_starts_from_quoted_values(redis_server: Servers, values: list[str]) -> None:
    server = redis_server(config={"masterauth": quote(values[0]), "masteruser": quote(values[1])})
    got = server.client().config_get("*")
    assert (got["masterauth"], got["masteruser"]) == tuple(values)
    server.kill()


def test_directives_that_the_server_hides_are_known_all_the_same(redis_server: Servers) -> None:
    """A running server with ``key-load-delay`` in its file was said not to start again, and its file to be replaced."""
    client = redis_server().client()
    listed = client.config_get("*")
    answered = [name for name in HIDDEN if client.config_get(name)]
    assert answered, "this server hides none of them"
    assert not set(answered) & set(listed)

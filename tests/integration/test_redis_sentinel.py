# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_sentinel against real Sentinels."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

import redis
from lifeline.formats.redis_conf import stored_password
from lifeline.formats.sentinel_conf import stored_secrets
from modules import Modules
from servers import Server, Servers, wait_for

AWKWARD = "pa ss\"w'o\\r#d%s"
ESTATE = "estate"


def options(sentinel: Server, primary: Server, **more: Any) -> dict[str, Any]:
    return {
        **sentinel.login(),
        "name": ESTATE,
        "primary_host": primary.host,
        "primary_port": primary.port,
        "quorum": 1,
        "settings": {"down-after-milliseconds": 700, "failover-timeout": 3000, "parallel-syncs": 1},
        **more,
    }


def state(sentinel: Server) -> Any:
    return sentinel.client().execute_command("SENTINEL MASTERS").get(ESTATE)


def test_monitor_check_change_again(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    redis_server(replica_of=primary)
    sentinel = redis_server(sentinel=True)
    wanted = options(sentinel, primary, replicas=1)

    check = run_module("redis_sentinel", wanted, check=True)
    assert check.changed
    assert state(sentinel) is None

    done = run_module("redis_sentinel", wanted)
    assert done.changed
    assert done["commands"] == check["commands"]
    assert done["diff"] == check["diff"]
    assert done["replicas"] == 1  # it waited: Sentinel sees replicas only after its first INFO
    assert done["quorum"].startswith("OK 1 usable")
    assert state(sentinel)["down-after-milliseconds"] == 700

    assert not run_module("redis_sentinel", wanted).changed


def test_only_what_differs_is_set(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    sentinel = redis_server.sentinel(ESTATE, primary)
    before = sentinel.client().execute_command("SENTINEL", "MYID")
    # There is no second sentinel, however long it is waited for.
    wanted = options(sentinel, primary, quorum=2, wait_timeout=2)
    result = run_module("redis_sentinel", wanted, fails=None)
    assert result["commands"] == [f"SENTINEL SET {ESTATE} quorum 2 down-after-milliseconds 700"]
    assert "NOQUORUM" in result["msg"]
    assert not run_module("redis_sentinel", wanted, fails=None).changed
    assert sentinel.client().execute_command("SENTINEL", "MYID") == before


def test_what_counts_at_the_start_only_asks_for_a_restart(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    sentinel = redis_server.sentinel(ESTATE, primary)
    file = sentinel.directory / "redis.conf"
    wanted = options(sentinel, primary, config_file=str(file), start_settings={"port": sentinel.port})
    run_module("redis_sentinel", wanted)
    assert run_module("redis_sentinel", wanted)["restart_required"] == []
    before = file.read_text()
    moved = run_module("redis_sentinel", {**wanted, "start_settings": {"port": 1, "bind": ["127.0.0.1", "-::1"]}})
    assert not moved.changed
    assert "port" in moved["restart_required"]
    assert file.read_text() == before


def test_passwords_survive_a_restart_and_drift_is_found(redis_server: Servers, run_module: Modules) -> None:
    """Sentinel writes passwords without quotes; one with a blank would keep it from ever starting again."""
    wire = stored_password(AWKWARD)
    primary = redis_server(users={"sentinel": (wire, "~* &* +@all"), "default": ("x", "-@all")})
    sentinel = redis_server(sentinel=True)
    wanted = options(
        sentinel, primary, auth_user="sentinel", auth_pass=wire, sentinel_user="sentinel", sentinel_pass=wire
    )
    first = run_module("redis_sentinel", wanted)
    assert wire not in str(first.data)
    assert not run_module("redis_sentinel", wanted).changed
    assert stored_secrets((sentinel.directory / "redis.conf").read_text(), ESTATE) == {
        "auth-user": "sentinel",
        "auth-pass": wire,
    }
    sentinel.stop()
    again = redis_server(sentinel=True, directory=sentinel.directory, port=sentinel.port)
    wait_for(lambda: "disconnected" not in state(again)["flags"], "Sentinel logs in after its restart")
    assert not run_module("redis_sentinel", wanted).changed

    # Fault F30: the password was changed on one side only.
    again.client().execute_command("SENTINEL", "SET", ESTATE, "auth-pass", "other")
    check = run_module("redis_sentinel", wanted, check=True)
    assert check["diff"] == {"before": "auth-pass (hidden) old\n", "after": "auth-pass (hidden) new\n"}
    assert check["commands"] == [f"SENTINEL SET {ESTATE} auth-pass (hidden)"]
    assert run_module("redis_sentinel", wanted).changed
    assert not run_module("redis_sentinel", wanted).changed


def test_wrong_address_is_replaced_by_the_live_primary_only(redis_server: Servers, run_module: Modules) -> None:
    """Measurement N11: a Sentinel that was told an old primary never finds the new one by itself."""
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    stranger = redis_server()
    sentinel = redis_server.sentinel(ESTATE, replica)

    check = run_module("redis_sentinel", options(sentinel, primary, replicas=1), check=True)
    assert check["commands"][0] == f"SENTINEL REMOVE {ESTATE}"
    done = run_module("redis_sentinel", options(sentinel, primary, replicas=1))
    assert done["primary"] == {"host": primary.host, "port": primary.port}
    assert state(sentinel)["failover-timeout"] == 3000  # REMOVE forgets all settings
    assert not run_module("redis_sentinel", options(sentinel, primary, replicas=1)).changed

    two = run_module("redis_sentinel", options(sentinel, stranger), fails=True)
    assert "one live primary" in two["msg"]
    back = run_module("redis_sentinel", options(sentinel, replica), fails=True)
    assert "role slave" in back["msg"]
    assert state(sentinel)["port"] == primary.port


def test_a_sentinel_that_comes_back_does_not_bring_the_old_primary_back(
    redis_server: Servers, run_module: Modules
) -> None:
    """The old primary's host, with its server and its sentinel, was out of sight when the others were pointed away."""

    def role(server: Server) -> str:
        """Empty where Sentinel closes the connection, as it does on a server that it reconfigures."""
        try:
            return str(server.client().info("replication")["role"])
        except redis.exceptions.ConnectionError:
            return ""

    # Nobody is taken for dead while we take our time.
    patient = {"down-after-milliseconds": 60000, "failover-timeout": 3000, "parallel-syncs": 1}
    chosen = redis_server()
    old = redis_server(replica_of=chosen)
    watchers = [redis_server.sentinel(ESTATE, chosen, quorum=2) for _ in range(3)]
    for one in watchers:
        run_module("redis_sentinel", options(one, chosen, quorum=2, replicas=1, sentinels=3, settings=patient))
    watchers[0].client().execute_command("SENTINEL", "FAILOVER", ESTATE)
    for one in watchers:
        wait_for(lambda of=one: state(of)["port"] == old.port, "the failover that raises the epoch", 20)
    wait_for(lambda: role(chosen) == "slave", "the replica", 20)
    lost = watchers.pop()
    lost.stop()
    old.stop()
    # A sentinel turns whoever calls itself primary back into a replica, for two of its 10 s after it heard of its own.
    wait_for(lambda: all(state(one)["info-refresh"] > 20000 for one in watchers), "news of the old primary too old", 40)
    chosen.client().execute_command("REPLICAOF", "NO", "ONE")
    wanted = [options(one, chosen, quorum=2, wait_after_change=False, settings=patient) for one in watchers]
    check = run_module("redis_sentinel", wanted[0], check=True)
    done = run_module("redis_sentinel", wanted[0])
    assert done["commands"] == check["commands"]
    assert done["commands"][-1].startswith("PUBLISH __sentinel__:hello 127.0.0.1,")
    # The other one has heard that hello, or is told as well.
    told = run_module("redis_sentinel", wanted[1])
    assert told.changed or state(watchers[1])["port"] == chosen.port
    for one, asked in zip(watchers, wanted, strict=True):
        assert state(one)["config-epoch"] >= 2
        assert not run_module("redis_sentinel", asked).changed

    back = redis_server(sentinel=True, directory=lost.directory, port=lost.port)
    server = redis_server(directory=old.directory, port=old.port)
    wait_for(lambda: state(back)["port"] == chosen.port, "the view of the others", 20)
    wait_for(lambda: role(server) == "slave", "the old primary as a replica", 20)
    assert {state(one)["port"] for one in watchers} == {chosen.port}
    assert role(chosen) == "master"


def test_waits_for_the_other_sentinels_and_says_what_is_missing(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    sentinels = [redis_server.sentinel(ESTATE, primary, quorum=2) for _ in range(3)]
    for sentinel in sentinels:
        result = run_module("redis_sentinel", options(sentinel, primary, quorum=2, sentinels=3))
        assert result["sentinels"] == 3
    alone = options(sentinels[0], primary, quorum=2, sentinels=3, replicas=2, wait_timeout=0.5)
    result = run_module("redis_sentinel", alone, fails=True)
    assert "0 of 2 replicas of estate after 0.5 s" in result["msg"]


def test_after_a_failover_nothing_changes(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    sentinel = redis_server.sentinel(ESTATE, primary)
    wanted = options(sentinel, primary, replicas=1)
    assert run_module("redis_sentinel", wanted).changed
    primary.kill()
    wait_for(lambda: state(sentinel)["port"] == replica.port, "the failover", 20)
    wait_for(lambda: "failover_in_progress" not in state(sentinel)["flags"], "the end of it", 20)
    assert not run_module("redis_sentinel", options(sentinel, replica, replicas=1)).changed

    def stale() -> bool:
        """Sentinel may be at a failover again on a busy machine; what it is asked then is to wait."""
        said = run_module("redis_sentinel", wanted, fails=True)["msg"]
        assert "refused" in said or "is failing estate over" in said, said
        return "refused" in said

    wait_for(stale, "the refusal of the address that is gone", 20)
    assert state(sentinel)["port"] == replica.port


def test_users_of_a_sentinel(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    users = {"operator": ("secret#1", "&* +@all"), "default": ("x", "-@all")}
    sentinel = redis_server(sentinel=True, users=users)
    path = sentinel.directory / "users.acl"
    digest = hashlib.sha256(b"secret#1").hexdigest()
    path.write_text(
        f"user default off resetchannels -@all\nuser operator on #{digest} &* +@all\n"
        f"user application on #{digest} &* -@all +ping +sentinel|masters +sentinel|get-master-addr-by-name\n"
    )
    wanted = {**options(sentinel, primary), **sentinel.login("operator"), "acl_file": str(path)}
    check = run_module("redis_sentinel", wanted, check=True)
    assert "user application" in check["diff"]["after"]
    assert run_module("redis_sentinel", wanted)["commands"][-1] == "ACL LOAD"
    assert not run_module("redis_sentinel", wanted).changed
    client = sentinel.client("application", "secret#1")
    assert client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", ESTATE)[1] == str(primary.port)


def test_sentinels_hear_each_other_after_their_password_changed(redis_server: Servers, run_module: Modules) -> None:
    """One that reconnects before its peer knows the new password stays refused until somebody makes it try again."""
    old, new = "old#1", "new#1"
    rules = {"operator": "&* +@all", "sentinel": "&__sentinel__:hello +@all", "default": "-@all"}
    primary = redis_server()
    login = ("sentinel sentinel-user sentinel", f"sentinel sentinel-pass {old}")
    watchers = [
        redis_server.sentinel(
            ESTATE, primary, quorum=2, lines=login, users={name: (old, rule) for name, rule in rules.items()}
        )
        for _ in range(3)
    ]

    def wanted(one: Server, password: str, **more: Any) -> dict[str, Any]:
        path = one.directory / "users.acl"
        digests = {"operator": old, "sentinel": password, "default": old}
        path.write_text(
            "".join(
                f"user {name} on #{hashlib.sha256(digests[name].encode()).hexdigest()} {rule}\n"
                for name, rule in rules.items()
            )
        )
        login = {"sentinel_user": "sentinel", "sentinel_pass": password, "acl_file": str(path)}
        return {**options(one, primary, quorum=2, sentinels=3), **one.login("operator"), **login, **more}

    for one in watchers:
        assert run_module("redis_sentinel", wanted(one, old))["silent_sentinels"] == []
    for one in watchers:  # one after the other: the worst order there is
        result = run_module("redis_sentinel", wanted(one, new, wait_after_change=False))
        assert "ACL LOAD" in result["commands"]
    for one in watchers:
        result = run_module("redis_sentinel", wanted(one, new))
        assert not result.changed
        assert result["silent_sentinels"] == []
        assert result["quorum"].startswith("OK 3 usable")


def test_a_certificate_newer_than_the_process_needs_a_restart(
    redis_server: Servers, run_module: Modules, tmp_path: Any
) -> None:
    primary = redis_server()
    sentinel = redis_server.sentinel(ESTATE, primary)
    path = tmp_path / "server.crt"
    path.write_text("x")
    os.utime(path, (time.time() + 5, time.time() + 5))
    result = run_module("redis_sentinel", options(sentinel, primary, start_files=[str(path)]))
    assert result["restart_required"] == [str(path)]


def test_a_sentinel_that_is_down(redis_server: Servers, run_module: Modules) -> None:
    primary = redis_server()
    sentinel = redis_server.sentinel(ESTATE, primary)
    sentinel.kill()
    result = run_module("redis_sentinel", options(sentinel, primary, wait_timeout=0.2), fails=True)
    assert f"Sentinel at 127.0.0.1:{sentinel.port} does not let us in (refused" in result["msg"]

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACL users of the roles can do what they are for, and no more. The rules are read from the roles themselves.

Enough: the real thing runs as the user (RQ, replication, Sentinel), and ACL LOG stays empty. Not more: the commands
that the rules allow are counted with the server's own categories.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from lifeline.formats import acl
from modules import ROOT, RQ_USED, environment
from servers import Server, Servers, wait_for

PASSWORD = "secret#1"
REACH = {
    "application": "~rq:* ~session:* &rq:*",
    "replica": "",
    "sentinel": "&__sentinel__:hello",
    "observer": "%R~rq:*",
    "operator": "~* &*",
}
SENTINEL_REACH = {"application": "&*", "sentinel": "&__sentinel__:hello", "observer": "", "operator": "&*"}


def rules(role: str) -> dict[str, str]:
    """``{user: rules}`` as the role's template writes them for Redis 7.0."""
    variables = yaml.safe_load((ROOT / "roles" / role / "vars" / "main.yml").read_text())
    return {name: " ".join(words) for name, words in variables[f"__{role}_acl_rules"].items()}


def users(role: str = "redis_server") -> dict[str, tuple[str, str]]:
    reach = REACH if role == "redis_server" else SENTINEL_REACH
    found = {name: (PASSWORD, f"resetchannels {reach[name]} {words}") for name, words in rules(role).items()}
    return {"default": ("unused#1", "-@all"), **found}


@pytest.fixture
def server(redis_server: Servers) -> Server:
    # Any node may have to follow another one.
    return redis_server(users=users(), config={"masteruser": "replica", "masterauth": PASSWORD})


def denials(server: Server) -> list[Any]:
    """What ACL LOG holds, as ``user: object``, less the tests' own question whether the server is up."""
    entries = server.client("operator").execute_command("ACL LOG")
    found = [f"{entry['username']}: {entry['object']}" for entry in entries]
    return [one for one in found if one != "default: ping"]


def allowed(server: Server, user: str) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    client = server.client("operator")
    categories = acl.categories_of(client)
    return acl.in_force(client)[user].rules.allowed(categories), categories


def refused(server: Server, user: str, *command: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        server.client(user).execute_command(*command)


def run_rq(interpreter: Path, server: Server) -> None:
    done = subprocess.run(
        [interpreter, ROOT / "tests" / "tools" / "rq_journey.py", str(server.port), "application", PASSWORD],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "NOPERM" not in done.stderr
    assert "No permissions" not in done.stderr


@pytest.mark.parametrize("version", ["rq-1.16", "rq-newest"])
def test_application_runs_rq_and_sessions(server: Server, version: str) -> None:
    run_rq(environment(RQ_USED) if version == "rq-1.16" else Path(sys.executable), server)
    # Newer redis-py introduces itself with a command that Redis 7.0 has not got, and goes on when it is refused.
    assert [one for one in denials(server) if "setinfo" not in one] == []


def test_application_can_do_no_more(server: Server) -> None:
    can, categories = allowed(server, "application")
    assert can & (categories["dangerous"] | categories["admin"]) == {"info", "client|list", "role"}
    assert not can & {"keys", "sort", "function|load", "script|flush", "script|kill", "acl|list", "wait|never"}
    for command in (
        ("GET", "other:1"),
        ("SET", "other:1", "x"),
        ("PUBLISH", "__sentinel__:hello", "forged"),
        ("CONFIG", "GET", "*"),
        ("FLUSHALL",),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("EVAL", "return redis.call('SET', 'other:1', 'x')", "1", "other:1"),
    ):
        refused(server, "application", *command)


def test_a_script_of_the_application_stays_in_its_keys(server: Server) -> None:
    with pytest.raises(redis.exceptions.ResponseError, match="access at least one of the keys"):
        server.client("application").eval("return redis.call('SET', 'other:1', 'x')", 0)
    assert server.client("operator").exists("other:1") == 0


def test_replica_copies_and_can_do_no_more(redis_server: Servers, server: Server) -> None:
    copy = redis_server(replica_of=server, users=users())
    server.client("operator").set("rq:a", "1")
    wait_for(lambda: copy.client("operator").get("rq:a") == "1", "the copy")
    copy.client("operator").execute_command("CLIENT", "KILL", "TYPE", "master")
    wait_for(lambda: copy.client("operator").info()["master_link_status"] == "up", "the second link")
    assert denials(server) == []
    assert allowed(server, "replica")[0] == {"psync", "replconf", "ping"}


def test_sentinel_fails_over_and_can_do_no_more(redis_server: Servers, server: Server) -> None:
    copies = [redis_server(replica_of=server, users=users()) for _ in range(2)]
    watchers = [
        redis_server.sentinel(
            "estate",
            server,
            quorum=2,
            users=users("redis_sentinel"),
            lines=(
                "sentinel auth-user estate sentinel",
                f"sentinel auth-pass estate {PASSWORD}",
                "sentinel sentinel-user sentinel",
                f"sentinel sentinel-pass {PASSWORD}",
            ),
        )
        for _ in range(3)
    ]

    def state(user: str) -> Any:
        return watchers[0].client(user).execute_command("SENTINEL MASTERS")["estate"]

    def told(one: Server) -> dict[str, Any]:
        """INFO; nothing where Sentinel closes the connection, as it does on a server that it reconfigures."""
        try:
            found: dict[str, Any] = one.client("operator").info()
        except redis.exceptions.ConnectionError:
            return {}
        return found

    for user in ("operator", "observer", "application"):
        wait_for(lambda user=user: state(user)["num-other-sentinels"] == 2, "the sentinels see each other", 20)
        wait_for(lambda user=user: state(user)["num-slaves"] == 2, "the sentinels see the replicas", 20)
    assert watchers[0].client("observer").execute_command("SENTINEL", "CKQUORUM", "estate")
    server.freeze()
    wait_for(lambda: state("operator")["port"] != server.port, "the failover", 30)
    new = next(copy for copy in copies if copy.port == state("operator")["port"])
    server.thaw()
    wait_for(lambda: told(server).get("role") == "slave", "the old primary follows", 30)
    wait_for(lambda: told(new).get("connected_slaves") == 2, "both follow the new one", 30)
    for one in (server, *copies, *watchers):
        assert denials(one) == [], one.port
    documented = {
        "multi", "slaveof", "ping", "exec", "subscribe", "config|rewrite", "role", "publish", "info", "client|setname",
        "client|kill", "script|kill",
    }  # fmt: skip
    assert allowed(server, "sentinel")[0] == documented
    refused(server, "sentinel", "PUBLISH", "rq:pubsub:worker", "x")
    refused(watchers[0], "application", "SENTINEL", "FAILOVER", "estate")
    refused(watchers[0], "application", "PUBLISH", "__sentinel__:hello", "forged")
    refused(watchers[0], "observer", "SENTINEL", "SET", "estate", "quorum", "1")
    peer, _ = allowed(watchers[0], "sentinel")
    assert {one for one in peer if one.startswith("sentinel|")} == {"sentinel|is-master-down-by-addr"}


def test_observer_sees_the_state_and_changes_nothing(server: Server) -> None:
    server.client("operator").rpush("rq:queue:work", "a")
    client = server.client("observer")
    for command in (
        ("PING",), ("INFO", "all"), ("ROLE",), ("LATENCY", "LATEST"), ("SLOWLOG", "LEN"),
        ("CLIENT", "LIST"), ("ACL", "LOG"), ("LLEN", "rq:queue:work"), ("LRANGE", "rq:queue:work", "0", "-1"),
        ("SCAN", "0"), ("ZCARD", "rq:failed:work"), ("SMEMBERS", "rq:queues"), ("HGETALL", "rq:job:1"), ("DBSIZE",),
        ("MEMORY", "USAGE", "rq:queue:work"), ("TIME",), ("TTL", "rq:queues"), ("XREVRANGE", "rq:results:1", "+", "-"),
    ):  # fmt: skip
        client.execute_command(*command)
    assert denials(server) == []
    can, categories = allowed(server, "observer")
    assert not can & categories["write"]
    assert not can & categories["scripting"]
    assert can & categories["dangerous"] == {
        "info", "role", "lastsave", "latency|latest", "latency|history", "latency|histogram", "latency|doctor",
        "slowlog|len", "client|list", "acl|log", "module|list", "cluster|info", "cluster|nodes",
    } & categories["dangerous"]  # fmt: skip
    refused(server, "observer", "GET", "session:1")
    refused(server, "observer", "SET", "rq:a", "x")


# Words that a command may take after its name, so that what it tells comes back in one way or another.
SHAPES = (
    (), ("*",), ("0",), ("session:1",), ("session:list",), ("session:list", "0", "-1"), ("0", "COUNT", "999"),
    ("1", "session:1"), ("rq:a", "session:1"), ("session:1", "*"),
)  # fmt: skip


def everything_told(server: Server, user: str) -> str:
    """All replies to all commands that a user may run, each in several shapes."""
    told = []
    for name in sorted(allowed(server, user)[0]):
        for words in SHAPES:
            client = server.client(user, socket_timeout=1)
            client.response_callbacks.clear()  # replies as they are
            try:
                told.append(repr(client.execute_command(*name.split("|"), *words)))
            except redis.exceptions.RedisError as error:
                told.append(repr(error))
            client.close()
    return "\n".join(told)


def test_B8_no_way_leads_from_the_observer_to_data(redis_server: Servers) -> None:
    """Before: `observer` could ask for `masterauth`, log in as `replica` and copy all data.

    Now: nothing that it may ask tells a password, a digest of one, or a value outside the keys that it may read.
    """
    planted = {"masterauth": "planted-masterauth", "tls-key-file-pass": "planted-pass", "requirepass": "planted-req"}
    server = redis_server(users=users(), config={"slowlog-log-slower-than": 0})
    operator = server.client("operator")
    for name, value in planted.items():
        operator.config_set(name, value)
    operator.set("session:1", "planted-value")
    operator.rpush("session:list", "planted-value")
    secrets = [*planted.values(), "planted-value", hashlib.sha256(PASSWORD.encode()).hexdigest()]
    told = everything_told(server, "observer")
    assert len(told) > 10000
    assert [secret for secret in secrets if secret in told] == []
    assert [secret for secret in planted.values() if secret not in str(operator.config_get("*"))] == []
    assert not {"psync", "sync", "replicaof", "monitor"} & allowed(server, "observer")[0]


def test_operator_runs_everything_but_what_destroys(server: Server) -> None:
    can, categories = allowed(server, "operator")
    every = frozenset[str]().union(*categories.values())
    assert every - can == {
        one
        for one in every
        if one.split("|")[0] in ("debug", "flushall", "flushdb", "swapdb")
        or one in ("module|load", "module|loadex", "module|unload")
    }


def test_transactions_survive_a_restart_with_the_roles_default_user(redis_server: Servers, tmp_path: Path) -> None:
    """Redis 7.0 replays its append only file with the default user's rights, and RQ enqueues in transactions."""
    template = (ROOT / "roles" / "redis_server" / "templates" / "users.acl.j2").read_text()
    default = next(line for line in template.splitlines() if line.startswith("user default "))
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    path = tmp_path / "users.acl"
    path.write_text(f"{default}\nuser application on #{digest} {users()['application'][1]}\n")
    config = {"appendonly": "yes", "appendfsync": "always", "aclfile": path}
    server = redis_server(config=config)
    with pytest.raises(redis.exceptions.AuthenticationError):
        server.client().ping()
    with server.client("application", PASSWORD).pipeline(transaction=True) as batch:
        batch.hset("rq:job:1", "status", "queued")
        batch.rpush("rq:queue:work", "1")
        batch.execute()
    server.kill()
    again = redis_server(directory=server.directory, port=server.port, config=config)
    assert again.client("application", PASSWORD).lrange("rq:queue:work", 0, -1) == ["1"]


def test_nobody_gets_in_without_a_password(server: Server) -> None:
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(port=server.port).ping()

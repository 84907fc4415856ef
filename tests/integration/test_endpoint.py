# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_endpoint in a real HAProxy before real servers: where connections go and where they never do."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from servers import find, free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("redis/defaults", "redis/vars", "redis_endpoint/defaults", "redis_endpoint/vars")
PASSWORD = 'o b\'s "q" # \\ % é$x'
USERS = {
    "default": ("boss", "~* &* +@all"),
    "observer": (PASSWORD, "+info +role +ping"),
    "replica": ("copy", "+psync +replconf +ping"),
}

RENDER = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: {roles}
  tasks:
    - config_files:
        secret_files:
          - path: "{{{{ target }}}}"
            content: "{{{{ lookup('lifeline_template', template) }}}}"
"""


class Endpoint:
    """An HAProxy with the role's configuration for some servers, named s0, s1 and so on."""

    def __init__(self, directory, servers, **variables):
        self.directory, self.servers, self.port = directory, servers, free_port()
        self.config = directory / "haproxy.cfg"
        self._render(variables)
        check = subprocess.run(
            [find("haproxy"), "-c", "-dW", "-f", self.config], capture_output=True, text=True, check=False
        )
        assert check.returncode == 0, check.stdout + check.stderr
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen([find("haproxy"), "-f", self.config], stdout=log, stderr=log)
        wait_for(self.states, "HAProxy's socket")

    def _render(self, variables):
        playbook = self.directory / "render.yml"
        playbook.write_text(
            RENDER.format(roles=json.dumps([str(ROOT / "roles" / role / "main.yml") for role in ROLES]))
        )
        known = {
            "ansible_python_interpreter": sys.executable,
            "target": str(self.config),
            "template": str(ROOT / "roles/redis_endpoint/templates/haproxy.cfg.j2"),
            "__redis_nodes": [server.node(f"s{index}") for index, server in enumerate(self.servers)],
            "redis_password_observer": PASSWORD,
            "redis_tls_enabled": self.servers[0].tls is not None,
            "redis_tls_ca_src": str(self.servers[0].tls.ca) if self.servers[0].tls else "",
            "redis_endpoint_bind": [f"127.0.0.1:{self.port}"],
            **variables,
        }
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        argv = ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(known), playbook]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        text = self.config.read_text().replace("/run/redis-endpoint", str(self.directory))
        self.config.write_text(text.replace("/etc/redis-endpoint/ca.crt", known["redis_tls_ca_src"]))

    def states(self):
        """``{(backend, server): up}``, or {} while HAProxy does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(5)
                channel.connect(str(self.directory / "admin.sock"))
                channel.sendall(b"show servers state\n")
                text = b"".join(iter(lambda: channel.recv(65536), b"")).decode()
        except OSError:
            return {}
        rows = [line.split() for line in text.splitlines() if line and line[0].isdigit() and len(line.split()) > 6]
        return {(row[1], row[3]): row[5] == "2" for row in rows}

    def settled(self, *primaries, followed=()):
        """Wait until HAProxy sees just these (by index) as primaries and as followed."""

        def seen(backend, wanted):
            states = self.states()
            return all(states.get((backend, f"s{index}")) == (index in wanted) for index in range(len(self.servers)))

        wait_for(lambda: seen("primaries", primaries) and seen("followed", followed), f"primaries {primaries}", 30)

    def client(self, port=None):
        """A new client that goes through the endpoint."""
        return self.servers[0].client("default", "boss", port=port or self.port)

    def reached(self):
        """The port of the server that a new connection reaches, None when it is refused."""
        client = self.client()
        try:
            info = client.info("server")
        except (redis.ConnectionError, redis.TimeoutError):
            return None
        finally:
            client.close()
        return int(info["tcp_port"])

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def endpoint(tmp_path):
    """``endpoint(*servers, **role_variables)`` starts an HAProxy; it is gone after the test."""
    started = []

    def start(*servers, **variables):
        directory = tmp_path / f"endpoint-{len(started)}"
        directory.mkdir()
        started.append(Endpoint(directory, servers, **variables))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def trio(redis_server):
    """A primary with two replicas, with TLS and ACL users."""
    primary = redis_server(tls=True, users=USERS)
    return primary, *(redis_server(tls=True, users=USERS, replica_of=primary) for _ in range(2))


def test_the_primary_is_reached_through_tls_with_an_awkward_password(endpoint, trio):
    front = endpoint(*reversed(trio))
    front.settled(2, followed=[2])
    assert wait_for(front.reached, "a connection") == trio[0].port
    assert PASSWORD not in front.config.read_text()


def test_without_tls(endpoint, redis_server):
    primary = redis_server(users=USERS)
    replica = redis_server(users=USERS, replica_of=primary)
    front = endpoint(replica, primary)
    front.settled(1, followed=[1])
    assert wait_for(front.reached, "a connection") == primary.port


def test_traffic_follows_a_failover_and_not_the_stale_primary_that_returns(endpoint, redis_server, trio):
    old, new, other = trio
    front = endpoint(*trio)
    front.settled(0, followed=[0])
    client = front.client()
    client.set("before", 1)
    old.kill()
    new.client().replicaof("NO", "ONE")
    other.client().replicaof(new.host, new.port)
    assert wait_for(front.reached, "traffic on the new primary", 20) == new.port
    redis_server(tls=True, users=USERS, port=old.port)
    front.settled(0, 1, followed=[1])
    assert {front.reached() for _ in range(10)} == {new.port}


def test_connections_to_a_demoted_primary_end_though_it_is_up(endpoint, trio):
    old, new, other = trio
    front = endpoint(*trio)
    front.settled(0, followed=[0])
    waiting = front.client().pubsub()
    waiting.subscribe("channel")
    assert waiting.get_message(timeout=5)["type"] == "subscribe"
    new.client().replicaof("NO", "ONE")
    for server in (old, other):
        server.client().replicaof(new.host, new.port)
    with pytest.raises(redis.ConnectionError):
        wait_for(lambda: waiting.get_message(timeout=0.1), "the end of the connection", 20)
    assert wait_for(front.reached, "traffic on the new primary", 20) == new.port


def test_connections_end_when_another_primary_is_chosen_though_the_old_one_still_calls_itself_one(endpoint, trio):
    old, new, other = trio
    front = endpoint(*trio)
    front.settled(0, followed=[0])
    waiting = front.client().pubsub()
    waiting.subscribe("channel")
    assert waiting.get_message(timeout=5)["type"] == "subscribe"
    # As Sentinel does it: the old primary is told many seconds later.
    new.client().replicaof("NO", "ONE")
    other.client().replicaof(new.host, new.port)
    with pytest.raises(redis.ConnectionError):
        wait_for(lambda: waiting.get_message(timeout=0.1), "the end of the connection", 20)
    assert old.client().role()[0] == "master"
    assert wait_for(front.reached, "traffic on the new primary", 20) == new.port


def test_two_primaries_of_a_kind_are_both_refused_and_known_connections_stay(endpoint, redis_server):
    one = redis_server(tls=True, users=USERS)
    two = redis_server(tls=True, users=USERS, replica_of=one)
    front = endpoint(one, two)
    front.settled(0, followed=[0])
    kept = front.client()
    kept.set("known", 1)
    two.client().replicaof("NO", "ONE")
    front.settled(0, 1)
    assert {front.reached() for _ in range(3)} == {None}
    assert kept.connection_pool._available_connections
    kept.set("known", 2)
    assert one.client().get("known") == "2"


def test_a_lone_primary_is_reached_once_the_one_with_replicas_is_forgotten(endpoint, redis_server):
    one = redis_server(tls=True, users=USERS)
    two = redis_server(tls=True, users=USERS, replica_of=one)
    front = endpoint(one, two)
    front.settled(0, followed=[0])
    one.kill()
    two.client().replicaof("NO", "ONE")
    assert wait_for(front.reached, "traffic on the new primary", 20) == two.port


def test_a_primary_that_is_slow_to_answer_keeps_its_connections(endpoint, redis_server):
    primary = redis_server(tls=True, users=USERS, config={"enable-debug-command": "local"})
    front = endpoint(primary)
    front.settled(0)
    client = front.client()
    client.ping()
    # One answer takes a second and a half; a check may take three.
    start = time.monotonic()
    primary.client(socket_timeout=10).execute_command("DEBUG", "SLEEP", "1.5")
    assert time.monotonic() - start >= 1.4
    client.set("still", "here")
    assert client.connection_pool._created_connections == 1


def test_readers_go_to_replicas_by_weight(endpoint, trio):
    port = free_port()
    front = endpoint(*trio, redis_endpoint_replica_bind=[f"127.0.0.1:{port}"], redis_endpoint_replica_weights={"s1": 0})
    front.settled(0, followed=[0])
    wait_for(lambda: not front.states()[("replicas", "s0")], "the primary to be left out")
    for _ in range(5):
        client = front.client(port)
        assert int(client.info("server")["tcp_port"]) == trio[2].port
        client.close()


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="the module asks systemd for the unit")
def test_the_module_shows_no_configuration_whatever_the_verbosity(tmp_path):
    """In check mode, so that nothing of this machine is touched."""
    secret = "6f62736572766572"
    playbook, known = tmp_path / "play.yml", tmp_path / "known.json"
    task = {"redis_endpoint": {"name": "lifeline-test", "config": "{{ known }}", "unit": "[Unit]\n", "ca": ""}}
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    known.write_text(
        json.dumps({"known": f"global\n    frobnicate {secret}\n", "ansible_python_interpreter": sys.executable})
    )
    argv = [
        "ansible-playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"@{known}",
        "--check",
        "--diff",
        "-vvv",
        playbook,
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    # HAProxy's complaint about the line that holds the secret, without the secret.
    assert "haproxy.cfg:2" in done.stdout
    assert secret not in done.stdout + done.stderr
    assert not Path("/etc/lifeline-test").exists()

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_firewall against the kernel, in network namespaces of its own: no rule of this machine is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nftables, iproute2 and util-linux",
)

PEER, CLIENT, STRANGER = ("10.77.0.11", "fd77::11"), ("10.77.0.21", "fd77::21"), ("10.77.0.31", "fd77::31")
EVERYBODY = (*PEER, *CLIENT, *STRANGER)
PORTS = (22, 6379, 16379, 26379)
SERVICE = {
    "name": "redis_6379",
    "ports": [6379, 16379, 26379],
    "client_ports": [6379, 26379],
    "peers": list(PEER),
    "clients": list(CLIENT),
}

LISTEN = """
import select, socket, sys
kept = [socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) for port in sys.argv[1:]]
print("ready", flush=True)
while True:
    for one in select.select(kept, [], [])[0]:
        one.accept()[0].close()
"""

PROBE = """
import concurrent.futures, json, socket, sys
def reach(pair):
    source, port = pair
    target = "fd77::1" if ":" in source else "10.77.0.1"
    try:
        socket.create_connection((target, port), timeout=1, source_address=(source, 0)).close()
        return [source, port]
    except OSError:
        return None
pairs = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
    print(json.dumps([found for found in pool.map(reach, pairs) if found]))
"""

# The unit is systemd's and is proved on real hosts; files go to a directory of the test.
MODULE = """
import json, sys
root, params, check = sys.argv[1:4]
sys.path.insert(0, root)
from lifeline import errors
from lifeline.act import firewall
from lifeline.common import commands, ownership
params, place = {"only_owned": False, **json.loads(params)}, sys.argv[4]
firewall.RULES, firewall.UNIT_FILE = place + "/rules.nft", place + "/unit"
ownership.FOLDER = place + "/lifeline/owned"
present = params["state"] == "present"
firewall.ssh_ports = lambda: set()
commands.unit_state = lambda unit: commands.READY if present else commands.GONE
run = commands.run
commands.run = lambda *argv: None if argv[0] == "systemctl" else run(*argv)
try:
    print(json.dumps(firewall.work(params, check == "check")))
except errors.LifelineError as error:
    print(json.dumps({"msg": str(error)}))
"""


def inside(pid, *argv):
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", *argv], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wire():
    """Two namespaces joined by a wire: (server's process id, client's process id); the server listens on PORTS."""
    running = []
    try:
        for _ in range(2):
            keeper = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", "echo up; exec sleep 600"], stdout=subprocess.PIPE
            )
            running.append(keeper)
            keeper.stdout.readline()
        server, client = (one.pid for one in running)
        inside(server, "ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire0", "netns", str(client))
        for pid, addresses in ((server, ("10.77.0.1", "fd77::1")), (client, (*PEER, *CLIENT, *STRANGER))):
            for address in addresses:
                tail = ["/64", "nodad"] if ":" in address else ["/24"]
                inside(pid, "ip", "address", "add", address + tail[0], "dev", "wire0", *tail[1:])
            inside(pid, "ip", "link", "set", "wire0", "up")
            inside(pid, "ip", "link", "set", "lo", "up")
        listener = subprocess.Popen(
            ["nsenter", "-t", str(server), "-n", sys.executable, "-c", LISTEN, *map(str, PORTS)], stdout=subprocess.PIPE
        )
        running.append(listener)
        assert listener.stdout.readline() == b"ready\n"
        # Neighbour discovery on a link that has just come up takes a moment.
        deadline = time.monotonic() + 10
        while reached((server, client), EVERYBODY) != {source: set(PORTS) for source in EVERYBODY}:
            assert time.monotonic() < deadline, "the two namespaces do not reach each other"
        yield server, client
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def firewall(wire, tmp_path):
    """``firewall(services, check=False, state="present")`` runs the module's work in the server's namespace."""

    def call(services, check=False, state="present"):
        params = json.dumps({"state": state, "services": services, "ssh_port": 22})
        argv = [
            sys.executable,
            "-c",
            MODULE,
            str(ROOT / "module_utils"),
            params,
            "check" if check else "",
            str(tmp_path),
        ]
        return json.loads(inside(wire[0], *argv))

    yield call
    inside(wire[0], "nft", "flush", "ruleset")


def reached(wire, sources):
    pairs = [[source, port] for source in sources for port in PORTS]
    found = json.loads(inside(wire[1], sys.executable, "-c", PROBE, json.dumps(pairs)))
    return {source: {port for one, port in found if one == source} for source in sources}


def test_who_reaches_what(wire, firewall):
    assert firewall([SERVICE])["changed"] is True
    found = reached(wire, EVERYBODY)
    for version in (0, 1):
        assert found[PEER[version]] == set(PORTS)
        assert found[CLIENT[version]] == {22, 6379, 26379}
        assert found[STRANGER[version]] == {22}
    drops = inside(wire[0], "nft", "list", "chain", "inet", "lifeline_redis", "guard")
    for port in SERVICE["ports"]:
        (line,) = (one for one in drops.splitlines() if f"refused {port}" in one)
        assert "packets 0 " not in line


def test_check_run_again(wire, firewall, tmp_path):
    checked = firewall([SERVICE], check=True)
    assert checked["changes"][-1] == "load table inet lifeline_redis"
    assert inside(wire[0], "nft", "list", "ruleset") == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    done = firewall([SERVICE])
    assert (done["changes"], done["diff"]) == (checked["changes"], checked["diff"])
    again = firewall([SERVICE])
    assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet lifeline_redis",
        "insert rule inet lifeline_redis guard tcp dport 6379 accept",
        "add element inet lifeline_redis redis_6379_peers_v6 { fd77::31 }",
        "delete element inet lifeline_redis redis_6379_clients_v4 { 10.77.0.21 }",
        "flush chain inet lifeline_redis guard",
        "add table inet lifeline_redis { flags dormant; }",
    ],
)
def test_drift_of_the_live_table_is_found_and_repaired(wire, firewall, damage):
    firewall([SERVICE])
    good = inside(wire[0], "nft", "-s", "list", "ruleset")
    inside(wire[0], "nft", damage)
    assert firewall([SERVICE], check=True)["changes"] == ["load table inet lifeline_redis"]
    assert inside(wire[0], "nft", "-s", "list", "ruleset") != good
    firewall([SERVICE])
    assert inside(wire[0], "nft", "-s", "list", "ruleset") == good


def test_a_new_peer_is_one_line_of_the_diff_and_unchanged_rules_keep_their_counters(wire, firewall):
    firewall([SERVICE])
    reached(wire, STRANGER[:1])
    before = inside(wire[0], "nft", "list", "ruleset")
    firewall([SERVICE])
    assert inside(wire[0], "nft", "list", "ruleset") == before
    result = firewall([{**SERVICE, "peers": [*PEER, "10.77.0.12"]}])
    assert result["changes"] == [f"write {result['diff'][0]['after_header']}", "load table inet lifeline_redis"]
    for part in result["diff"]:
        assert set(part["after"].splitlines()) - set(part["before"].splitlines()) == {"\t\t\t10.77.0.12,"}


def test_other_tables_survive_and_absent_leaves_nothing(wire, firewall, tmp_path):
    inside(wire[0], "nft", "add table inet mine; add chain inet mine c; add rule inet mine c tcp dport 22 accept")
    mine = inside(wire[0], "nft", "list", "ruleset")
    firewall([SERVICE])
    assert inside(wire[0], "nft", "list", "table", "inet", "mine") == mine
    before = inside(wire[0], "nft", "list", "ruleset")
    assert firewall([SERVICE], check=True, state="absent")["changed"] is True
    assert inside(wire[0], "nft", "list", "ruleset") == before
    firewall([SERVICE], state="absent")
    assert inside(wire[0], "nft", "list", "ruleset") == mine
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert firewall([SERVICE], state="absent")["changed"] is False


def test_the_port_of_ssh_is_refused(wire, firewall):
    result = firewall([{**SERVICE, "ports": [6379, 22]}])
    assert "port 22 of redis_6379 is the port of this SSH connection" in result["msg"]
    assert inside(wire[0], "nft", "list", "ruleset") == ""


def test_a_bad_name_is_refused_before_anything_is_loaded(wire, firewall):
    result = firewall([{**SERVICE, "name": "no-such } name"}])
    assert "nothing was changed" in result["msg"]
    assert inside(wire[0], "nft", "list", "ruleset") == ""


def test_the_port_of_the_ssh_session_is_found_in_the_ancestors():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from lifeline.act.firewall import ssh_ports; print(ssh_ports())"
    )
    # env -i stands for sudo, which does not pass the variable on.
    argv = ["sh", "-c", f'env -i {sys.executable} -c "{code}" "$0"; :', str(ROOT / "module_utils")]
    environment = {**os.environ, "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 2222"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert 2222 in json.loads(done.stdout.replace("{", "[").replace("}", "]"))

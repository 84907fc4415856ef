# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Redis that is only a URL, beside somebody else's Redis on the machine that Lifeline runs on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modules import ansible
from servers import Server, Servers

# Where the roles' own servers keep their socket (/run/redis-main without the variable): on a control node it is another
# Redis' one. Tests may run side by side, so that each process has its own.
INSTANCE = f"stranger{os.getpid()}"
SOCKET = Path(f"/run/redis-{INSTANCE}/redis.sock")
LOCKS = Path("/run/lifeline")
# What a person's look at it costs; everything else in its statistics came from Lifeline.
OURS = {"config|get", "info", "ping", "hello", "client|setname", "client|setinfo", "select", "auth"}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the default socket's folder belongs to root")


@pytest.fixture
def stranger(redis_server: Servers) -> Iterator[Server]:
    """An unrelated server at the roles' default socket, nearly full, so that any remedy would find something to do."""
    SOCKET.parent.mkdir()
    try:
        server = redis_server(config={"unixsocket": SOCKET, "maxmemory": "4mb"})
        server.client().config_resetstat()
        yield server
    finally:
        shutil.rmtree(SOCKET.parent)


def seen_of(server: Server) -> dict[str, Any]:
    """All that would show that somebody was there: settings, connections, commands; taken by one connection each."""
    with server.client() as client:
        config = client.config_get("*")
        stats = client.info("all")
    calls = {name: said["calls"] for name, said in stats.items() if name.startswith("cmdstat_")}
    return {"config": config, "calls": calls, "connections": stats["total_connections_received"]}


def untouched(server: Server, before: dict[str, Any]) -> None:
    """Since ``before`` nobody connected but the two who looked."""
    after = seen_of(server)
    assert after["config"] == before["config"]
    assert after["connections"] == before["connections"] + 1
    strange = {
        name: count - before["calls"].get(name, 0)
        for name, count in after["calls"].items()
        if count != before["calls"].get(name, 0) and name.removeprefix("cmdstat_") not in OURS
    }
    assert not strange


def play(name: str, url: str, *extra: str) -> subprocess.CompletedProcess[str]:
    """A playbook against a URL, as an estate of a name of its own, since locks are by name and lie on this machine."""
    estate = f"url-{os.getpid()}"
    names = f"redis_estate={estate} redis_server_instance={INSTANCE}"
    try:
        return ansible(
            "ansible-playbook", "-i", "inventories/endpoint-only", name, "-e", names, *extra,
            env={"REDIS_URL": url},
        )  # fmt: skip
    finally:
        for left in LOCKS.glob(f"*{estate}*"):
            left.unlink()


@pytest.fixture
def managed(redis_server: Servers) -> Server:
    """What the URL leads to."""
    return redis_server(users={"default": ("pa#s/w?rd %1@:[x]", "~* &* +@all")}, config={"maxmemory": "64mb"})


URL = "redis://default:pa%23s%2Fw%3Frd%20%251%40%3A%5Bx%5D@127.0.0.1:{port}/0"


def url_of(server: Server) -> str:
    return URL.format(port=server.port)


def test_A4_recover_acts_through_the_url_alone(managed: Server, stranger: Server, tmp_path: Path) -> None:
    """Before: recover.yml with redis_url raised the maxmemory of another Redis, on the control node, or ended with 2.

    Now: a healthy URL ends with 0 and a write proven through it; of a full one every step is the provider's.
    """
    before = seen_of(stranger)
    reports = ["-e", f"redis_recovery_reports_dir={tmp_path}"]
    done = play("recover.yml", url_of(managed), *reports)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "in service" in done.stdout
    assert f"127.0.0.1:{managed.port}" in done.stdout
    untouched(stranger, before)
    before = seen_of(stranger)

    full = managed.client()
    full.config_set("maxmemory-policy", "noeviction")
    full.set("filler", b"x" * 2_000_000)
    full.config_set("maxmemory", 1_000_000)
    done = play("recover.yml", url_of(managed), *reports, "-e", "redis_recovery_canary_wait=1")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "step for its provider" in re.sub(r"\s+", " ", done.stdout)
    assert not re.search(r"step \d+:", done.stdout)
    assert full.config_get("maxmemory")["maxmemory"] == "1000000"
    untouched(stranger, before)


@pytest.mark.parametrize("playbook", ["scale.yml", "switchover.yml", "failback.yml", "provision.yml"])
def test_A4_what_needs_a_host_is_refused_for_a_url(playbook: str, managed: Server, stranger: Server) -> None:
    before, own = seen_of(stranger), managed.client().config_get("*")
    done = play(f"playbooks/{playbook}", url_of(managed))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "endpoint is a Redis that is only a URL" in re.sub(r"\s+", " ", done.stdout)
    assert "changed=0" in done.stdout
    assert managed.client().config_get("*") == own
    untouched(stranger, before)


def test_A4_diagnose_compliance_and_hold_look_at_the_url(managed: Server, stranger: Server, tmp_path: Path) -> None:
    before = seen_of(stranger)
    done = play("playbooks/diagnose.yml", url_of(managed), "-e", f"diagnose_report_dir={tmp_path}/diagnosis")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEALTHY" in done.stdout
    done = play("playbooks/hold.yml", url_of(managed))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 jobs held" in done.stdout
    done = play(
        "playbooks/compliance.yml", url_of(managed), "-e", f"compliance_report_dir={tmp_path}/compliance",
        "-e", "compliance_remediate=true",
    )  # fmt: skip
    said = re.sub(r"\s+", " ", done.stdout)
    assert "not looked at:" not in said, done.stdout
    assert "failed: RDS-" in said, done.stdout
    assert "endpoint is a Redis that is only a URL" in said
    untouched(stranger, before)


@pytest.mark.parametrize(
    ("url", "playbook"),
    [
        ("", "recover.yml"),
        ("", "playbooks/scale.yml"),
        ("redis://:12#3@127.0.0.1:1/0", "recover.yml"),
        ("redis://:12/3@127.0.0.1:1/0", "playbooks/requeue.yml"),
    ],
)
def test_A4_without_a_valid_url_nothing_on_this_machine_is_taken_for_the_server(
    url: str, playbook: str, stranger: Server, tmp_path: Path
) -> None:
    before = seen_of(stranger)
    done = play(playbook, url, "-e", f"redis_recovery_reports_dir={tmp_path}")
    assert done.returncode == 2, done.stdout + done.stderr
    said = re.sub(r"\s+", " ", done.stdout)
    assert "Redis URL is" in said or "only a URL" in said, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert ":12" not in done.stdout + done.stderr
    untouched(stranger, before)


def test_A3_a_url_of_a_replica_is_named_and_nothing_is_tried(redis_server: Servers, tmp_path: Path) -> None:
    """Before: REDIS_URL of a replica: "Fail over from the old primary to endpoint" was tried, then a Python error.

    Now: the diagnosis says that the URL is a replica's and where its primary is; recover.yml refuses with that.
    """
    primary = redis_server()
    replica = redis_server(replica_of=primary)
    url = f"redis://127.0.0.1:{replica.port}/0"
    sentence = f"this URL is a replica's; its primary is 127.0.0.1:{primary.port}"
    done = play("playbooks/diagnose.yml", url, "-e", f"diagnose_report_dir={tmp_path}")
    assert (done.returncode, sentence in re.sub(r"\s+", " ", done.stdout)) == (2, True), done.stdout
    done = play("recover.yml", url, "-e", f"redis_recovery_reports_dir={tmp_path}")
    assert (done.returncode, sentence in re.sub(r"\s+", " ", done.stdout)) == (2, True), done.stdout
    assert "has no attribute" not in done.stdout + done.stderr
    assert not re.search(r"step \d+:", done.stdout)
    assert replica.client().info("replication")["role"] == "slave"


def test_A3_a_url_of_a_sentinel_is_named(redis_server: Servers, tmp_path: Path) -> None:
    watcher = redis_server.sentinel("main", redis_server())
    done = play("recover.yml", f"redis://127.0.0.1:{watcher.port}/0", "-e", f"redis_recovery_reports_dir={tmp_path}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "this URL is a sentinel's" in re.sub(r"\s+", " ", done.stdout)

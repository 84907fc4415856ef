# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Broken estates in the inventory are told what is wrong in one sentence, and the healthy ones do not mind them.

One run of provision.yml on a healthy estate, on one with a full disk, on one whose hosts are in use already, and on
estates that exist in the inventory only.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab import wait_for
from modules import ansible
from scene import Estate, Scene

PASSWORDS = {f"redis_password_{who}": "x" for who in ("application", "replica", "sentinel", "observer", "operator")}

# 192.0.2.0/24 is nobody's, so a host that passes the check of its variables is unreachable.
BROKEN: dict[str, dict[str, Any]] = {
    "silent": {"redis_password_operator": ""},
    "misspelt": {"redis_maxmemroy": "1gb"},
    "doubled": {"redis_address": "192.0.2.250"},
    "gone": {"ansible_ssh_common_args": "-o ConnectTimeout=1"},
}

# A server and an application host that are in use: neither Redis nor its data is Lifeline's, nor is the listener.
IN_USE = {"taken1": "redis", "taken2": "app"}
FOREIGN_REDIS = """
export DEBIAN_FRONTEND=noninteractive
ln -s /dev/null /etc/systemd/system/redis-server.service
apt-get install -qq --no-install-recommends redis-server >/dev/null
mkdir -p /srv/queue /opt/queue
printf 'bind 0.0.0.0\\nprotected-mode no\\nrequirepass theirs\\ndir /srv/queue\\n' >/opt/queue/queue.conf
printf '[Service]\\nExecStart=/usr/bin/redis-server /opt/queue/queue.conf\\n' >/etc/systemd/system/queue.service
systemctl daemon-reload && systemctl start queue
until redis-cli -a theirs set job 1 2>/dev/null | grep -q OK; do sleep 0.1; done
redis-cli -a theirs save 2>/dev/null
"""
LISTENER = "systemd-run --unit=web python3 -m http.server 6379 --bind 127.0.0.1"

# A file of role redis_server that nothing misses for a while.
SYSCTL = "/etc/sysctl.d/50-lifeline-redis.conf"


@dataclass
class Outcome:
    """Exit status, output and the counts of the play recap by host."""

    status: int
    output: str
    counts: dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def healthy(scene: Scene) -> Estate:
    return next(estate for estate in scene.estates if estate.applications)


@pytest.fixture(scope="module")
def full(scene: Scene, healthy: Estate) -> Iterator[str]:
    """A server of another estate that has no space left for its logs, and a file to write."""
    host = next(estate for estate in scene.estates if len(estate.servers) > 1 and estate != healthy).servers[-1]
    scene.on(host, "rm", SYSCTL)
    scene.on(host, "mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", "/var/log")
    scene.on(host, "fallocate", "--length", "15MiB", "/var/log/full")
    yield host
    scene.on(host, "umount", "--lazy", "/var/log", check=False)  # the last test has done it, when all went well


@pytest.fixture(scope="module")
def in_use(scene: Scene) -> dict[str, str]:
    """What is on the hosts that are in use, before the run."""
    scene.on("taken1", "sh", "-c", FOREIGN_REDIS)
    scene.on("taken2", *LISTENER.split())
    wait_for(lambda: ":6379" in scene.on("taken2", "ss", "-Hltn"), "the listener", 10)
    return {host: scene.manifest(host) for host in IN_USE}


@pytest.fixture(scope="module")
def outcome(
    scene: Scene, healthy: Estate, full: str, in_use: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    hosts = {
        f"{name}{number}": {
            "ansible_host": f"192.0.2.{10 * index + number}", "redis_estate": name, "redis_tls_enabled": False,
            **PASSWORDS, **variables,
        }
        for index, (name, variables) in enumerate(BROKEN.items(), start=1)
        for number in (1, 2)
    }  # fmt: skip
    path = tmp_path_factory.mktemp("broken") / "broken.json"
    own = {"redis_estate": "taken", "redis_tls_enabled": False, **PASSWORDS}
    taken = {group: {"hosts": {name: own}} for name, group in IN_USE.items()}
    path.write_text(json.dumps({"redis": {"hosts": hosts | taken["redis"]["hosts"]}, "app": taken["app"]}))
    done = ansible(
        "ansible-playbook", "-i", str(scene.inventory), "-i", str(path), "playbooks/provision.yml",
        "--limit", ",".join([*healthy.hosts, *neighbours(scene, full), *hosts, *IN_USE]),
    )  # fmt: skip
    return told(done)


def neighbours(scene: Scene, host: str) -> tuple[str, ...]:
    """The hosts of its estate."""
    return next(estate.hosts for estate in scene.estates if host in estate.hosts)


def told(done: subprocess.CompletedProcess[str]) -> Outcome:
    """A finished ansible-playbook."""
    output = done.stdout + done.stderr
    lines = re.findall(r"^(\S+)\s+: (ok=.*)$", output, flags=re.MULTILINE)
    counts = {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)} for host, rest in lines}
    return Outcome(done.returncode, output, counts)


def test_the_healthy_estate_goes_on(healthy: Estate, outcome: Outcome) -> None:
    assert outcome.status != 0, "somebody has to learn of the broken ones"
    for host in healthy.hosts:
        counts = outcome.counts[host]
        assert (counts["failed"], counts["unreachable"], counts["changed"]) == (0, 0, 0), outcome.why
        assert counts["ok"] > 5


@pytest.mark.parametrize(
    ("estate_name", "sentence"),
    [
        ("silent", r"silent1: redis_password_operator is empty, .*; set it with Ansible Vault\."),
        ("misspelt", r"misspelt1: no role knows the variable redis_maxmemroy; .*redis_foreign_variables\."),
        ("doubled", r"doubled1: address 192\.0\.2\.250 with port 6379 is used more than once, .* its own port\."),
    ],
)
def test_a_broken_estate_is_told_why(outcome: Outcome, estate_name: str, sentence: str) -> None:
    assert re.search(sentence, outcome.output)
    counts = [outcome.counts[f"{estate_name}{number}"] for number in (1, 2)]
    assert [(count["failed"], count["unreachable"], count["changed"]) for count in counts] == [(1, 0, 0), (0, 0, 0)]


def test_A6_an_estate_in_use_is_refused_on_all_of_its_hosts(
    scene: Scene, in_use: dict[str, str], outcome: Outcome
) -> None:
    """Before: firewall and HAProxy were set up on all hosts, and then the estate was refused.

    Now: all that speaks against it is told at once, and no file, unit, rule or package changes on any host.
    """
    for sentence in (
        r"REFUSED: estate taken is left as it is\. Nothing was changed on any of its hosts\.",
        r"- taken1: port 6379 \(redis_port\) is held by redis-server \(process \d+, unit queue\.service\), which",
        r"- taken1: there is data of a server that Lifeline did not set up: /srv/queue/dump\.rdb \(\d+ bytes\)",
        r"- taken2: 127\.0\.0\.1:6379 \(redis_endpoint_bind\) is held by python3 \(process \d+, unit web\.service\)",
    ):
        assert re.search(sentence, outcome.output), sentence
    assert {host: outcome.counts[host]["changed"] for host in IN_USE} == dict.fromkeys(IN_USE, 0)
    for host, before in in_use.items():
        assert scene.manifest(host) == before, host
    assert scene.on("taken1", "redis-cli", "-a", "theirs", "get", "job").strip() == "1"


def test_unreachable_hosts_are_named(outcome: Outcome) -> None:
    for host in ("gone1", "gone2"):
        assert outcome.counts[host]["unreachable"] == 1
        assert re.search(rf"{host}\]: UNREACHABLE!(.*\n)*?.*192\.0\.2\.\d+", outcome.output)


def test_a_full_disk_is_refused_before_anything_is_changed(scene: Scene, full: str, outcome: Outcome) -> None:
    assert re.search(rf"- {full}: less than redis_free_disk_mb = 64 MiB is free in /var/log\.", outcome.output)
    assert scene.on(full, "ls", SYSCTL, check=False) == "", "written on a host that was refused"
    counts = [outcome.counts[host] for host in neighbours(scene, full)]
    assert [(count["failed"], count["changed"]) for count in counts] == [(1, 0), *[(0, 0)] * (len(counts) - 1)]


def test_with_space_again_the_host_is_configured(scene: Scene, full: str, outcome: Outcome) -> None:
    scene.on(full, "umount", "--lazy", "/var/log")
    limit = ",".join(neighbours(scene, full))
    again = told(ansible("ansible-playbook", "-i", str(scene.inventory), "playbooks/provision.yml", "--limit", limit))
    assert again.status == 0, again.why
    assert again.counts[full]["changed"] == 1
    assert scene.on(full, "ls", SYSCTL).strip() == SYSCTL

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Broken estates in the inventory are told what is wrong in one sentence, and the healthy ones do not mind them.

One run of provision.yml on a healthy estate, on one with a full disk, and on estates that exist in the inventory only.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
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
def outcome(scene: Scene, healthy: Estate, full: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    hosts = {
        f"{name}{number}": {
            "ansible_host": f"192.0.2.{10 * index + number}", "redis_estate": name, "redis_tls_enabled": False,
            **PASSWORDS, **variables,
        }
        for index, (name, variables) in enumerate(BROKEN.items(), start=1)
        for number in (1, 2)
    }  # fmt: skip
    path = tmp_path_factory.mktemp("broken") / "broken.json"
    path.write_text(json.dumps({"redis": {"hosts": hosts}}))
    done = ansible(
        "ansible-playbook", "-i", str(scene.inventory), "-i", str(path), "playbooks/provision.yml",
        "--limit", ",".join([*healthy.hosts, *neighbours(scene, full), *hosts]),
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
    for host in (f"{estate_name}1", f"{estate_name}2"):
        counts = outcome.counts[host]
        assert (counts["failed"], counts["unreachable"], counts["changed"]) == (1, 0, 0), host


def test_unreachable_hosts_are_named(outcome: Outcome) -> None:
    for host in ("gone1", "gone2"):
        assert outcome.counts[host]["unreachable"] == 1
        assert re.search(rf"{host}\]: UNREACHABLE!(.*\n)*?.*192\.0\.2\.\d+", outcome.output)


def test_a_full_disk_is_refused_before_anything_is_changed(scene: Scene, full: str, outcome: Outcome) -> None:
    assert re.search(
        rf"{full} has less than redis_free_disk_mb = 64 MiB free in /var/log\. Nothing was", outcome.output
    )
    counts = outcome.counts[full]
    assert (counts["failed"], counts["unreachable"], counts["changed"]) == (1, 0, 0)
    assert scene.on(full, "ls", SYSCTL, check=False) == "", "written on a host that was refused"
    for host in set(neighbours(scene, full)) - {full}:
        assert (outcome.counts[host]["failed"], outcome.counts[host]["changed"]) == (0, 0), host


def test_with_space_again_the_host_is_configured(scene: Scene, full: str, outcome: Outcome) -> None:
    scene.on(full, "umount", "--lazy", "/var/log")
    limit = ",".join(neighbours(scene, full))
    again = told(ansible("ansible-playbook", "-i", str(scene.inventory), "playbooks/provision.yml", "--limit", limit))
    assert again.status == 0, again.why
    assert again.counts[full]["changed"] == 1
    assert scene.on(full, "ls", SYSCTL).strip() == SYSCTL

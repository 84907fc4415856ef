# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A broken estate in the inventory is told what is wrong in one sentence, and the healthy ones do not mind it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from lab import ROOT, Run
from modules import ansible
from scene import Estate, Scene

PASSWORDS = {f"redis_password_{who}": "x" for who in ("application", "replica", "sentinel", "observer", "operator")}


def provision(scene: Scene, estate: Estate, directory: Path, broken: dict[str, Any], *options: str) -> Run:
    """provision.yml for one healthy estate and for estate ``broken``, whose hosts exist in the inventory only."""
    hosts = {
        f"broken{number}": {"ansible_host": f"192.0.2.{number}", "redis_estate": "broken", **PASSWORDS, **broken}
        for number in (1, 2)
    }
    path = directory / "broken.json"
    path.write_text(json.dumps({"redis": {"hosts": hosts}}))
    done = ansible(
        "ansible-playbook", "-i", str(scene.inventory), "-i", str(path), "playbooks/provision.yml",
        "--limit", ",".join([*estate.hosts, *hosts]), *options, cwd=ROOT,
    )  # fmt: skip
    return Run(done.returncode, 0, done.stdout + done.stderr)


def recap(run: Run) -> dict[str, dict[str, int]]:
    """Counts of each host from the play recap."""
    lines = re.findall(r"^(\S+)\s+: (ok=.*)$", run.output, flags=re.MULTILINE)
    return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"redis_tls_enabled": False, "redis_password_operator": ""}, "redis_password_operator is empty"),
        ({"redis_tls_enabled": False, "redis_maxmemroy": "1gb"}, "no role knows the variable redis_maxmemroy"),
    ],
)
def test_the_healthy_estate_goes_on(scene: Scene, tmp_path: Path, broken: dict[str, Any], sentence: str) -> None:
    estate = scene.estates[0]
    run = provision(scene, estate, tmp_path, broken)
    counts = recap(run)
    assert run.status != 0
    assert re.search(rf"broken[12]: .*{sentence}", run.output), run.output[-3000:]
    for host in estate.hosts:
        assert (counts[host]["failed"], counts[host]["unreachable"], counts[host]["changed"]) == (0, 0, 0), host
    for host in ("broken1", "broken2"):
        assert (counts[host]["failed"], counts[host]["changed"]) == (1, 0), host


def test_unreachable_hosts_are_named(scene: Scene, tmp_path: Path) -> None:
    """Nothing is wrong with this estate's variables, but 192.0.2.0/24 is nobody's."""
    estate = scene.estates[0]
    run = provision(
        scene, estate, tmp_path, {"redis_tls_enabled": False, "ansible_ssh_common_args": "-o ConnectTimeout=1"}
    )
    counts = recap(run)
    assert run.status != 0
    for host in ("broken1", "broken2"):
        assert counts[host]["unreachable"] == 1, host
        assert re.search(rf"{host}.*UNREACHABLE", run.output)
    for host in estate.hosts:
        assert (counts[host]["failed"], counts[host]["unreachable"], counts[host]["changed"]) == (0, 0, 0), host

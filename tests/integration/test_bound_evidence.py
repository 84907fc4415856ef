# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole playbooks over hosts that lie about who they are, answer nonsense, or fall silent between two looks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from estates import UNIT, Estate
from modules import ROOT, ansible
from scripted import Scripted

FOREIGN = ("poweroff.target", "/etc/sudoers", "203.0.113.66")


def liar(honest: dict[str, Any], name: str) -> dict[str, Any]:
    """Evidence that speaks in another host's name, and would have root do something else there."""
    said = copy.deepcopy(honest)
    said["host"] = name
    said["units"] = {FOREIGN[0]: {**said["units"][UNIT], "active": "failed", "result": "signal", "pid": 0}}
    said["files"].update(config=FOREIGN[1], dir="/etc")
    said["nodes"][name]["host"] = FOREIGN[2]
    return said


def test_B3_a_host_cannot_speak_in_anothers_name(tmp_path: Path) -> None:
    """Before: redis1 said that it was redis2, and recover.yml sent redis2 the unit and file that redis1 had named.

    Now: a document belongs to the host that it came from; what a step acts upon is the inventory's.
    """
    estate = Estate().kill("redis2")
    hosts = Scripted(tmp_path, estate)
    hosts.says("redis1", liar(estate.evidence["redis2"], "redis2"))
    run = hosts.playbook("playbooks/recover.yml", "-e", "redis_recovery_requeue=false")
    told = hosts.calls("redis_role", "redis2")
    assert told, run.output
    assert not [word for word in FOREIGN if word in json.dumps(told)], told
    assert {(row["unit"], row["config_file"]) for row in told} == {(UNIT, "/etc/redis/redis-main.conf")}
    assert "its evidence speaks of host redis2" in run.output


def test_A9_a_host_that_failed_between_two_looks_is_silent_in_the_second(tmp_path: Path) -> None:
    """Before: its evidence of the first look was mixed with the others' of the second, and findings came of it.

    Now: a plan is made of one look only; who gave no evidence in that one is silent in it.
    """
    estate = Estate().kill("redis2")
    hosts = Scripted(tmp_path, estate)
    hosts.answers("redis1", "redis_write_probe", json.dumps({"failed": True, "msg": "no write was taken"}))
    hosts.says("redis3", Estate().evidence["redis3"], look=2)
    run = hosts.playbook("playbooks/recover.yml")
    assert run.status != 0
    saved = json.loads((tmp_path / "reports" / "recovery" / "after" / "redis" / "evidence.json").read_text())
    (after,) = saved["estates"]
    assert "redis1" not in {document["host"] for document in after["evidence"]}
    assert "no evidence in this look" in after["silent"]["redis1"]


NONSENSE = {
    "lone surrogate": json.dumps({"changed": False, "evidence": {"host": "redis1", "units": {"\ud800": "\ud800"}}}),
    "nested lists": '{"changed": false, "evidence": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "nothing": "",
    "no document": json.dumps({"changed": False, "evidence": [1]}),
}


@pytest.mark.parametrize("said", NONSENSE)
def test_B10_one_hosts_nonsense_silences_nobody_else(tmp_path: Path, said: str) -> None:
    """Before: the first host spoke for the estate; where its answer could not be read, diagnose.yml said nothing.

    Now: an answer that cannot be read is that host's silence, and another host speaks.
    """
    hosts = Scripted(tmp_path, Estate())
    hosts.answers("redis1", "redis_health", NONSENSE[said])
    run = hosts.playbook("playbooks/diagnose.yml")
    assert "Estate redis is" in run.output, run.output
    assert "silent hosts: redis1" in run.output


def test_B10_compliance_speaks_without_its_first_host(tmp_path: Path) -> None:
    hosts = Scripted(tmp_path, Estate())
    hosts.answers("redis1", "redis_health", NONSENSE["lone surrogate"])
    run = hosts.playbook("playbooks/compliance.yml")
    assert "Estate redis is not compliant" in run.output, run.output
    assert (tmp_path / "reports" / "compliance" / "redis" / "compliance.json").exists()


def test_saved_evidence_is_diagnosed_without_an_inventory(tmp_path: Path) -> None:
    """Nobody is asked, so no host has to be known: the evidence of another site is diagnosed on any machine."""
    saved = ("-e", f"diagnose_evidence={ROOT / 'tests' / 'data' / 'lab-evidence.json'}")
    elsewhere = ("-e", f"diagnose_report_dir={tmp_path}", "-e", "diagnose_fail=false")
    done = ansible("ansible-playbook", "-i", "localhost,", "playbooks/diagnose.yml", *saved, *elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Estate redis is HEALTHY" in done.stdout

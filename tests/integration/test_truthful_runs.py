# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole playbooks over scripted hosts: they do what was shown, and their status says how it ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estates import Estate
from modules import ansible
from scripted import Scripted

PLAYBOOKS = ("compliance", "diagnose", "failback", "hold", "provision", "recover", "requeue", "scale", "switchover")
WRITTEN = json.dumps({"changed": False, "address": "redis1:6379", "waited_s": 0.1, "written_at": 1790000000.0})


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_A11_a_group_that_matches_nothing_is_an_error(tmp_path: Path, name: str) -> None:
    """Before: "skipping: no hosts matched", and status 0.

    Now: one sentence that says which groups were looked for, and a status that is not 0.
    """
    inventory = tmp_path / "hosts.json"
    inventory.write_text(
        json.dumps({"all": {"children": {"cache": {"hosts": {"h1": {"redis_group_servers": "cache"}}}}}})
    )
    done = ansible("ansible-playbook", "-i", str(inventory), f"playbooks/{name}.yml")
    assert done.returncode == 4
    assert "Nothing was done, since no host matched" in done.stdout + done.stderr
    assert f"-e {'requeue' if name == 'hold' else name}_hosts=GROUP" in done.stdout + done.stderr


def test_A11_hosts_that_were_asked_for_and_are_not_there_are_an_error() -> None:
    done = ansible("ansible-playbook", "-i", "localhost,", "playbooks/recover.yml", "-e", "recover_hosts=orders")
    assert done.returncode != 0
    assert "none that orders names" in done.stdout + done.stderr


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_A11_an_estate_whose_servers_are_in_no_group_is_refused(tmp_path: Path, name: str) -> None:
    """Before: requeue.yml and hold.yml did nothing and ended with 0; scale.yml raised servers that it was not told of.

    Now: every playbook refuses such an estate in one sentence, with status 2, before it asks any module.
    """
    hosts = Scripted(tmp_path, Estate())
    hosts.variables["redis_group_servers"] = "cache"
    run = hosts.playbook(f"playbooks/{name}.yml", "-e", "requeue_all_jobs=true")
    said = " ".join(run.output.split())
    assert run.status == 2 and "Traceback" not in said
    assert "redis_group_servers" in said and "Nothing was changed" in said and said.count("changed=0") == 3
    for module in ("redis_scale", "rq_requeue", "rq_hold", "redis_failover", "config_files"):
        assert hosts.calls(module) == []


def quiet(hosts: Scripted, *options: str) -> tuple[int, str]:
    """Run recover.yml; its status and what it said, in one line."""
    run = hosts.playbook("playbooks/recover.yml", *options)
    return run.status, " ".join(run.output.split())


def test_A10_without_a_proof_a_run_fails(tmp_path: Path) -> None:
    """Before: "NOT proven to be in service: no write was taken", and status 0.

    Now: the run fails with the reason, unless it was said that there is nothing to prove.
    """
    hosts = Scripted(tmp_path, Estate())
    for name in ("redis1", "redis2", "redis3"):
        hosts.answers(name, "redis_write_probe", json.dumps({"changed": False, "address": ""}))
    status, said = quiet(hosts)
    assert status == 2 and "no host could prove it with a write" in said
    status, said = quiet(hosts, "-e", "redis_recovery_prove=false")
    assert status == 0, said
    hosts.answers("redis1", "redis_write_probe", WRITTEN)
    status, said = quiet(hosts)
    assert status == 0 and "Proof: a write was taken" in said


def test_A19_a_step_that_did_not_help_is_left_to_a_person_by_the_next_run(tmp_path: Path) -> None:
    """Before: "Done" on every run, and the step again on every run.

    Now: it did not help, a failed one fails the run, and the next run leaves it alone until something changed.
    """
    estate = Estate().kill("redis2")
    hosts = Scripted(tmp_path, estate)
    hosts.answers("redis1", "redis_write_probe", WRITTEN)
    hosts.answers("redis2", "redis_role", json.dumps({"failed": True, "msg": "no space is left"}))
    status, said = quiet(hosts)
    assert status == 2 and "A step failed: bring the server back as a replica (on redis2): no space is left" in said
    assert "Done" not in said
    tried = len(hosts.calls("redis_role"))
    status, said = quiet(hosts)
    assert len(hosts.calls("redis_role")) == tried, said
    assert status == 0 and "-e recover_again=true" in said
    quiet(hosts, "-e", "recover_again=true")
    assert len(hosts.calls("redis_role")) > tried


def test_A8_what_a_later_look_finds_waits_for_the_next_run(tmp_path: Path) -> None:
    """Before: a later round did what the plan had not shown.

    Now: it is told of, with the command that does it, and done by the next run or where a person agreed.
    """
    hosts = Scripted(tmp_path, Estate().kill("redis2"))
    hosts.answers("redis1", "redis_write_probe", WRITTEN)
    blocked = Estate()
    for document in blocked.evidence.values():
        document["nodes"]["redis3"] = {
            "host": "192.0.2.3",
            "port": 6379,
            "reachable": False,
            "error": "busy: BUSY script",
        }
    for name, document in blocked.evidence.items():
        hosts.says(name, document, look=2)
    status, said = quiet(hosts)
    assert hosts.calls("redis_repair") == [], said
    assert "-e recover_steps=kill_script" in said and "afterwards, where needed: " in said
    assert status == 0
    quiet(hosts)
    assert {told["what"] for told in hosts.calls("redis_repair", "redis3")} == {"kill_script"}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run may do besides the plan that was shown, what became of its steps, and how it ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Optional

import pytest
from estates import Estate
from lifeline.plan import contract
from lifeline.plan.aftermath import path, recall
from lifeline.plan.ending import ENDINGS, FAILED, SUCCESS, failures, verdict
from lifeline.plan.remedies import REMEDIES, remedy
from lifeline.report.record import work
from lifeline.report.text import next_text, outcome_text, plan_text

IDS = [remedy.id for remedy in REMEDIES]


def dead_replica() -> Estate:
    return Estate().kill("redis2")


def test_A8_a_step_that_the_plan_did_not_show_waits() -> None:
    """Before: a later round did whatever it found, which the plan had not shown: a firewall where there was none.

    Now: a step of a kind that the plan neither showed nor announced waits, and the report says how to have it done.
    """
    plan = dead_replica().diagnose(announced=contract.announce(["start_sentinel"]))["plan"]
    assert [step["remedy"] for step in plan["actions"]] == ["follow"], "announced as what may follow"
    plan = dead_replica().diagnose(announced=contract.announce(["start_endpoint"]))["plan"]
    assert (plan["actions"], [step["remedy"] for step in plan["waiting"]]) == ([], ["follow"])
    assert plan["verdict"] == "degraded"
    assert any("Run recover.yml again" in item and "-e recover_steps=follow" in item for item in plan["todo"])


@pytest.mark.parametrize("kind", IDS)
def test_A8_no_step_leads_to_a_firewall_or_to_new_settings_unannounced(kind: str) -> None:
    follow = set(remedy(kind).followers)
    assert follow <= set(IDS)
    assert not follow & {"firewall", "scale", "restore_files", "reseed_config", "renew_logins", "start_endpoint"}


@pytest.mark.parametrize("agreed", [["follow"], ["all"], ["relink", "follow"]])
def test_A8_a_person_may_agree_beforehand(agreed: list[str]) -> None:
    shown = contract.announce(["start_endpoint"], agreed)
    assert [step["remedy"] for step in dead_replica().diagnose(announced=shown)["plan"]["actions"]] == ["follow"]


def test_A8_the_first_plan_says_what_may_follow() -> None:
    plan = Estate().kill("redis1").diagnose()["plan"]
    text = plan_text(plan, "redis")
    (line,) = [line for line in text if line.startswith("afterwards, where needed: ")]
    assert "bring the server back as a replica" in line and "firewall" not in line
    assert line.endswith("Any other step waits for the next run.")
    assert next_text(plan, "redis")[1].startswith("step: make a replica the primary")


def test_A8_where_a_primary_serves_no_other_one_is_announced() -> None:
    estate = Estate()
    for document in estate.evidence.values():
        document["sentinels"]["redis3"]["primary"]["host"] = "192.0.2.2"
    assert estate.diagnose()["plan"]["announced"] == ["repoint_sentinel", "start_sentinel", "configure_sentinel"]
    plan = dead_replica().diagnose()["plan"]
    assert "follow" in plan["announced"] and not {"failover", "start_primary"} & set(plan["announced"])
    assert {"failover", "start_primary"} <= set(Estate().kill("redis1").diagnose()["plan"]["announced"])


def test_A8_without_a_primary_an_unannounced_step_is_refused_with_the_command() -> None:
    plan = Estate().kill("redis1").diagnose(announced=["start_endpoint"])["plan"]
    assert (plan["verdict"], plan["actions"]) == ("refused", [])
    assert "Run recover.yml again" in plan["refusal"]


def taken(remedy: str, host: str, failed: str = "") -> dict[str, Any]:
    return {"remedy": remedy, "host": host, "why": "why", "began": 1.0, "ended": 2.0, "failed": failed}


def test_A19_a_step_whose_reason_is_still_there_did_not_help() -> None:
    """Before: "Done" of every step that ran, also where what it was for was still there after it.

    Now: each step's finding is looked at again after it; what did not help is said so and left to a person.
    """
    last = dead_replica().diagnose(tried=["follow@redis2", "save@redis1"])
    assert last["plan"]["unhelped"] == ["follow@redis2"]
    steps = [taken("follow", "redis2"), taken("save", "redis1")]
    lines = outcome_text("redis", last, last, 9.0, {"taken": steps, "write_through": "x"})
    assert [line.partition(":")[0] for line in lines if "(on redis" in line] == ["Did not help", "Done"]


@pytest.mark.parametrize(
    ("changed", "again", "tried_again"), [(False, False, False), (False, True, True), (True, False, True)]
)
def test_A19_the_next_run_does_not_try_in_vain(tmp_path: Path, changed: bool, again: bool, tried_again: bool) -> None:
    first = dead_replica().diagnose()
    last = dead_replica().diagnose(tried=["follow@redis2"], announced=first["plan"]["announced"])
    run = {"estate": "redis", "run": "r", "started": 1.0, "ended": 2.0, "looks_dir": str(tmp_path / "recovery")}
    run = {**run, "dir": str(tmp_path / "incidents"), "memory_dir": str(tmp_path / "recovery")}
    steps = [taken("follow", "redis2", "it did not start")]
    work({**run, "first": first, "last": last, "steps": steps}, False)
    kept = path(run["memory_dir"], "redis")
    assert kept.stat().st_mode & 0o777 == 0o640
    estate = dead_replica()
    if changed:
        estate.evidence["redis2"]["units"]["redis-server@main.service"]["result"] = "exit-code"
    plan = estate.diagnose(memory_dir=run["memory_dir"], again=again)["plan"]
    assert bool(plan["actions"]) == tried_again
    told = [item for item in plan["todo"] if "-e recover_again=true" in item]
    assert bool(told) != tried_again
    assert plan["verdict"] == ("act" if tried_again else "degraded")
    # What helped after all is forgotten.
    work({**run, "first": first, "last": Estate().diagnose(), "steps": [taken("follow", "redis2")]}, False)
    assert recall(run["memory_dir"], "redis") == {}


def test_A19_a_summary_counts_only_what_is_done() -> None:
    plan = dead_replica().diagnose()["plan"]
    assert plan["summary"] == "redis1 is the primary; 1 more step restores full redundancy."
    waiting = dead_replica().diagnose(announced=[])["plan"]
    assert waiting["summary"] == "redis1 is the primary and in service, but something is left to do."


@pytest.mark.parametrize("said", ["", "{", "[1]", '{"steps": [{"step": 1}]}', "[" * 100_000])
def test_A19_a_broken_memory_is_none(tmp_path: Path, said: str) -> None:
    file = path(str(tmp_path), "redis")
    file.parent.mkdir(parents=True)
    file.write_text(said)
    assert recall(str(tmp_path), "redis") == {}


def test_A19_without_a_primary_everything_is_tried_again(tmp_path: Path) -> None:
    estate = Estate().kill("redis1")
    last = estate.diagnose(tried=["failover@redis2"])
    assert last["plan"]["unhelped"] == ["failover@redis2"]
    run = {"estate": "redis", "run": "r", "started": 1.0, "ended": 2.0, "looks_dir": str(tmp_path), "first": last}
    work(
        {
            **run,
            "dir": str(tmp_path),
            "memory_dir": str(tmp_path),
            "last": last,
            "steps": [taken("failover", "redis2")],
        },
        False,
    )
    assert estate.diagnose(memory_dir=str(tmp_path))["plan"]["actions"]


IN_SERVICE = {"verdict": "healthy", "summary": "s", "unhelped": []}


@pytest.mark.parametrize(
    ("plan", "steps", "proof", "wanted", "ending", "status"),
    [
        ({}, [], "app1:6379", True, "healthy", SUCCESS),
        ({"verdict": "degraded"}, [], "app1:6379", True, "degraded", SUCCESS),
        ({}, [], "", False, "not asked to prove", SUCCESS),
        ({}, [], "", True, "not proven", FAILED),
        ({"verdict": "degraded"}, [], "", True, "not proven", FAILED),
        ({"verdict": "act"}, [], "app1:6379", True, "not back", FAILED),
        ({"verdict": "refused", "refusal": "Two primaries."}, [], "app1:6379", False, "not back", FAILED),
        ({"unhelped": ["follow@redis2"]}, [taken("follow", "redis2", "full")], "x", True, "step failed", FAILED),
        ({"unhelped": ["follow@redis2"]}, [taken("follow", "redis2")], "x", True, "healthy", SUCCESS),
        ({}, [taken("follow", "redis2", "full")], "x", True, "healthy", SUCCESS),
        ({"unhelped": ["save@a"]}, [taken("save", "a", "full"), taken("save", "a")], "x", True, "healthy", SUCCESS),
    ],
)
def test_A10_the_status_tells_the_truth(
    plan: dict[str, Any], steps: list[Any], proof: str, wanted: Optional[bool], ending: str, status: int
) -> None:
    """Before: "NOT proven to be in service: no write was taken", and status 0; also with a failed step.

    Now: status 0 only with a proven write, or where it was said that there is nothing to prove.
    """
    found = verdict("redis", {**IN_SERVICE, **plan}, steps, proof, bool(wanted))
    assert (found.ending, found.status) == (ending, status)
    assert bool(found.sentence) == (status != SUCCESS)


def test_A10_a_sentence_names_the_step_that_failed() -> None:
    plan = {**IN_SERVICE, "unhelped": ["follow@redis2"]}
    steps = [taken("follow", "redis2", "no space left")]
    assert failures(plan, steps) == steps
    assert "bring the server back as a replica (on redis2): no space left" in verdict("o", plan, steps, "x").sentence


def test_A10_the_documentation_has_the_table_of_endings(root: Path) -> None:
    rows = re.findall(r"^\| (\d) \| ([\w ]+): (.+) \|$", (root / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert {ending: (int(status), text) for status, ending, text in rows} == ENDINGS

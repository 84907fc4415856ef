# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of a recovery: what it tells, in which order, and that hostile words stay words."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, Optional

import pytest
from estates import NOW, Estate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifeline.plan.diagnosis import plan_from_evidence
from lifeline.plan.remedies import title
from lifeline.report.incident import incident, incident_markdown, incident_page
from lifeline.report.record import work
from lifeline.report.text import outcome_text

HOSTILE = "<script>alert(1)</script> [x](http://evil) \x1b[31m"


def a_run(**changes: Any) -> dict[str, Any]:
    broken, repaired = Estate().kill("redis2"), Estate()
    estates = [
        plan_from_evidence(list(estate.evidence.values()), estate.nodes, estate.sentinels, estate.service)
        for estate in (broken, repaired)
    ]
    step = {"remedy": "follow", "host": "redis2", "why": "its process is dead", "began": 105.0, "ended": 107.5}
    killed = {"count": 2, "first": 99.0, "sample": HOSTILE}
    logged = {"host": "redis2", "logs": {"server": {"groups": {"killed": killed}}}}
    return {
        "estate": "orders", "run": "r1", "who": "alice on control", "started": 103.0, "ended": 120.0,
        "proven_at": 110.0, "first": {**estates[0], "outage_began": 100.0}, "last": estates[1], "evidence": [logged],
        "steps": [{**step, "failed": ""}], "lines": ["Estate orders: in service."], **changes,
    }  # fmt: skip


def test_the_record_has_causes_steps_times_and_what_is_left() -> None:
    record = incident(a_run())
    assert record["rto_s"] == 10.0
    assert [cause["id"] for cause in record["causes"]] == ["process_dead"]
    assert [(step["remedy"], step["seconds"]) for step in record["steps"]] == [("follow", 2.5)]
    assert (record["verdict_before"], record["verdict_after"]) == ("impaired", "healthy")
    assert record["primary_after"] == "redis1"


def test_the_timeline_runs_from_the_first_sign_to_the_end() -> None:
    entries = incident(a_run())["timeline"]
    assert [entry["at"] for entry in entries] == [99.0, 100.0, 103.0, 105.0, 110.0, 120.0]
    assert "2 times" in entries[0]["what"]


@pytest.mark.parametrize(
    ("promoted_at", "told"), [(None, False), (40.0, False), (106.0, True)], ids=["never", "earlier", "in this outage"]
)
def test_writes_are_called_lost_where_a_primary_was_replaced_in_this_outage(
    promoted_at: Optional[float], told: bool
) -> None:
    run = a_run()
    first = {**run["first"], "promoted_at": promoted_at}
    gone = "Permanently lost: what it had acknowledged."
    lines = outcome_text("orders", first, run["last"], 9.0, {"jobs": {"gone": [gone], "todo": []}})
    assert (gone in lines) is told


def test_of_a_step_that_was_taken_again_the_last_try_is_told() -> None:
    def step(remedy: str, failed: str) -> dict[str, Any]:
        return {"remedy": remedy, "host": "redis2", "why": "dead", "began": 1.0, "ended": 2.0, "failed": failed}

    plan = {"verdict": "degraded", "findings": [], "todo": [], "loss": None, "actions": []}
    look = {"plan": plan, "topology": {"last_primary": "redis1"}, "primary": {"name": "redis1"}}
    taken = [step("follow", ""), step("follow", "no link"), step("scale", "no room"), step("scale", "")]
    lines = outcome_text("orders", look, look, 9.0, {"taken": taken, "unfinished": 1790000000.0})
    assert any(line.startswith("Before this: a run that began at 2026-09-21 14:13:20 UTC") for line in lines)
    said = [line.partition(" (")[0] for line in lines if line.startswith(("Done", "Failed"))]
    assert said == [f"Done: {title('scale')}", f"Failed: {title('follow')}"]


def test_a_failover_is_seen_in_the_log_of_the_new_primary() -> None:
    made = Estate().log("redis1", "promoted", "MASTER MODE enabled (user request from 'id=5 cmd=exec')", ago=20)
    assert made.diagnose()["promoted_at"] == NOW - 20
    assert Estate().diagnose()["promoted_at"] is None


def test_sentinels_tell_when_a_primary_went_that_they_have_replaced_and_that_is_still_gone() -> None:
    gone = "+sdown master redis 192.0.2.2 6379"
    estate = Estate("redis1").log("redis1", "sdown_primary", gone, ago=30, source="sentinel")
    assert estate.diagnose()["outage_began"] is None, "it is back"
    estate = Estate("redis1").lose("redis2").log("redis3", "sdown_primary", gone, ago=30, source="sentinel")
    assert estate.diagnose()["outage_began"] == NOW - 30


def test_a_recovery_without_a_proof_has_no_recovery_time() -> None:
    assert incident(a_run(proven_at=None))["rto_s"] is None


def test_a_step_that_failed_is_told_with_its_reason() -> None:
    step = {"remedy": "scale", "host": "redis1", "why": "full", "began": 104.0, "ended": 105.0, "failed": "no room"}
    assert "no room" in incident_markdown(incident(a_run(steps=[step])))


def test_hostile_words_are_shown_and_do_nothing() -> None:
    record = incident(a_run())
    page, text = incident_page(record), incident_markdown(record)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "<script>" not in text and "[x](" not in text and "http://" not in text
    assert "\x1b" not in page + text


SCALARS = st.none() | st.booleans() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
NAMES = ("first", "last", "evidence", "steps", "lines", "proven_at", "started")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_a_run_knew_there_is_a_record(garbage: dict[str, Any]) -> None:
    record = incident(a_run(**garbage))
    assert incident_page(record) and incident_markdown(record) and json.dumps(record)


def test_the_folder_is_for_its_owner_and_a_check_run_writes_none(tmp_path: Path) -> None:
    params = {**a_run(), "dir": str(tmp_path / "incidents"), "looks_dir": str(tmp_path)}
    assert work(params, check=True) == {"files": []} and not (tmp_path / "incidents").exists()
    written = [Path(path) for path in work(params, check=False)["files"]]
    assert [path.name for path in written] == ["incident.html", "incident.md", "incident.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o640}
    assert stat.S_IMODE(written[0].parent.stat().st_mode) == 0o750

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""compliance.yml on every estate of the scenario, as provision.yml left them: nothing fails, and nothing changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Run
from scene import Estate, Scene
from test_recovery import changed

# What no program can tell, until the inventory names the record of who looked.
MANUAL = {"RDS-011", "RDS-031", "RDS-045", "HST-011"}
# What the hosts of a scenario do without, and why.
WAIVED = {
    "HST-006": "containers with one filesystem each",
    "RDS-011": "short passwords with every odd character, to be found where they leak",
    "RDS-032": "a choice of the inventory's; the scenarios test what is lost without it",
}
WAIVERS = [
    {"control": control, "reason": reason, "owner": "the scenario", "expires": "2035-12-31"}
    for control, reason in WAIVED.items()
]


@pytest.fixture(scope="module")
def judged(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Path]]:
    reports = tmp_path_factory.mktemp("compliance")
    options = {
        "compliance_fail_on": "low",
        "compliance_waivers": WAIVERS,
        "compliance_report_dir": str(reports),
        "redis_compliance_patience": 15,
    }
    yield scene.playbook("playbooks/compliance.yml", "-e", json.dumps(options), check=False), reports


def report(judged: tuple[Run, Path], estate: Estate) -> dict[str, Any]:
    path = judged[1] / estate.name / "compliance.json"
    assert path.exists(), judged[0].why
    said: dict[str, Any] = json.loads(path.read_text())
    return said


def test_a_provisioned_estate_keeps_every_control(judged: tuple[Run, Path], estate: Estate) -> None:
    rows = report(judged, estate)["results"]
    bad = [(row["control"], row["where"], row["evidence"]) for row in rows if row["status"] in ("fail", "error")]
    assert not bad
    assert {row["control"] for row in rows if row["status"] == "manual"} <= MANUAL
    assert {row["control"] for row in rows if row["status"] == "waived"} <= set(WAIVED)
    assert {row["where"] for row in rows if row["status"] == "pass"} >= set(estate.servers)


def test_the_run_succeeds_and_changes_nothing(judged: tuple[Run, Path]) -> None:
    assert judged[0].status == 0, judged[0].why
    assert set(changed(judged[0]).values()) == {0}


def test_no_report_holds_a_password(scene: Scene, judged: tuple[Run, Path]) -> None:
    written = [path for path in judged[1].rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert not [name for name, word in scene.passwords.items() if word in path.read_text()], path

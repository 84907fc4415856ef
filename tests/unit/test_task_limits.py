# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every task ends: that of a look soon, any other at last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lifeline.rq import progress

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# A requeue of millions goes on in slices, which its plugin ends after a day.
LONG = {"Put the selected jobs back": 90000}


def tasks(rows: Any) -> Iterator[dict[str, Any]]:
    for row in rows or ():
        yield row
        for part in ("block", "rescue", "always", "tasks"):
            yield from tasks(row.get(part))


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_B9_no_task_of_a_playbook_goes_on_for_ever(playbook: Path) -> None:
    """Before: a host whose Python never answered held up its play, and with it all hosts, forever.

    Now: each look has a limit of seconds, each step one of minutes, and any other task one of an hour.
    """
    for play in yaml.safe_load(playbook.read_text()):
        assert "hosts" not in play or 0 < play["timeout"] <= 3600
        for task in tasks([play]):
            if task is not play and "timeout" in task:
                assert 0 < task["timeout"] <= LONG.get(task["name"], 3600), task["name"]


def test_B9_the_longest_task_ends_by_itself_before_its_limit() -> None:
    assert max(LONG.values()) >= progress.MOST * 5, "slices of 5 seconds"


def test_B9_every_look_has_a_limit_of_seconds() -> None:
    looks = [
        task
        for path in sorted((ROOT / "roles").glob("*/tasks/**/*.yml"))
        for task in tasks(yaml.safe_load(path.read_text()))
        if "redis_health" in task
    ]
    assert len(looks) >= 3
    assert all("redis_look_timeout" in str(task.get("timeout")) for task in looks)

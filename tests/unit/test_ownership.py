# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recovery rewrites only what Lifeline made on a host, by the mark that it left there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from estates import Estate
from lifeline.common import ownership
from lifeline.diagnose.findings import Finding
from lifeline.errors import LifelineError
from lifeline.plan.recovery import make_plan
from lifeline.plan.remedies import REMEDIES, remedy

TASKS = Path(__file__).resolve().parents[2] / "roles" / "redis_recovery" / "tasks" / "remedies"


def plan(task: str, host: str = "redis1", **said: Any) -> Any:
    estate = Estate().application()
    for name, value in said.items():
        estate.evidence[host].pop(name)
        if value is not None:
            estate.evidence[host][name] = value
    finding = Finding(
        "x", "The rules are missing", host, "warning", task=task, data={"host": host}, avoid="Do not guess."
    )
    return make_plan(estate.build(), [finding])


@pytest.mark.parametrize(
    ("task", "host", "thing"),
    [(remedy.id, "app1" if remedy.id == "start_endpoint" else "redis1", remedy.needs_mark)
     for remedy in REMEDIES if remedy.needs_mark],
)  # fmt: skip
def test_A8_what_lifeline_did_not_make_is_not_restored(task: str, host: str, thing: str) -> None:
    """Before: a default-drop table was written "back" on a host that never had one.

    Now: a step that rewrites files, rules or units needs the mark of its thing; without it, it is left to a person.
    """
    own = plan(task, host)
    assert [(step.remedy, step.host) for step in own.actions] == [(task, host)]
    others = [known for known in ownership.THINGS if known != thing]
    for owned in ([], others, None, "server", {"server": 1}):
        strange = plan(task, host, owned=owned)
        assert strange.actions == [], owned
        assert strange.verdict == "degraded"
        (todo,) = strange.todo
        assert todo.startswith(
            f"{host}: the rules are missing. Lifeline has no mark on this host that it set up its {thing}"
        )
        assert todo.endswith("Do not guess.") and "provision" not in todo


def test_A8_each_remedy_that_calls_a_role_which_writes_needs_a_mark() -> None:
    writes = ("redis_server", "redis_sentinel", "redis_firewall", "redis_endpoint", "ansible.builtin.copy")
    for file in sorted(TASKS.glob("*.yml")):
        text = file.read_text()
        calls = [
            line.split()[-1] for line in text.splitlines() if line.strip().startswith(("name: redis_", "ansible.b"))
        ]
        if file.stem != "repoint_sentinel" and any(call.rstrip(":") in writes for call in calls):
            assert remedy(file.stem).needs_mark, file.name


def test_A8_a_recovery_writes_nothing_without_the_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "FOLDER", str(tmp_path / "lifeline" / "owned"))
    with pytest.raises(
        LifelineError, match=r"did not set up the firewall of this host .*is missing\), so its rules are"
    ):
        ownership.require("firewall", "its rules are not brought back")
    home = tmp_path / "lifeline"
    wanted = [str(home), str(home / "owned"), str(home / "owned" / "firewall")]
    assert [entry["path"] for entry in ownership.entries(["firewall"])] == wanted
    assert ownership.entries(["firewall"], "absent") == [{"path": ownership.path_of("firewall"), "state": "absent"}]

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What RQ's keys begin with is said once, and reaches everybody."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lifeline.inventory.intent import unknown_variables
from modules import ROOT
from repository import load

CODE = [path for folder in ("library", "module_utils", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]
YAML = [path for folder in ("roles", "playbooks") for path in sorted((ROOT / folder).rglob("*.yml"))]
# A brief look asks nothing about jobs.
BRIEF = {"roles/redis/tasks/discover.yml"}
# Its values are defaults of the modules of the whole play.
PLAY_DEFAULTS = {"playbooks/requeue.yml"}


def takes_prefix(module: Path) -> bool:
    """Whether a module asks RQ's keys."""
    fragments = "rq_connection" in module.read_text()
    return module.stem != "redis_write_probe" and (fragments or "\n  key_prefix:\n" in module.read_text())


MODULES = {path.stem for path in (ROOT / "library").glob("*.py") if takes_prefix(path)}


def literals(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            yield node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value


def test_A12_no_module_builds_a_key_of_rq_by_hand() -> None:
    """Before: four places wrote "rq:" themselves, and so knew no other prefix.

    Now: rq/keys.py alone does, from one prefix.
    """
    known = ROOT / "module_utils" / "lifeline" / "rq" / "keys.py"
    found = {str(path): [text for text in literals(path) if text.startswith("rq:")] for path in CODE if path != known}
    assert not {path: texts for path, texts in found.items() if texts}


def test_A12_no_role_writes_a_key_of_rq() -> None:
    for path in YAML:
        lines = [line.partition(" #")[0] for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in lines if re.search(r"""["'\s]rq:[a-z*{]""", line)], path


def tasks(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, list):
        for entry in found:
            yield from tasks(entry)
    elif isinstance(found, dict):
        yield found
        for name in ("block", "rescue", "always", "tasks", "pre_tasks"):
            yield from tasks(found.get(name))


def test_A12_every_task_hands_the_prefix_on() -> None:
    assert {
        "rq_requeue",
        "rq_hold",
        "rq_info",
        "rq_suspend",
        "rq_services",
        "application_gate",
        "redis_health",
    } <= MODULES
    asked = 0
    for path in YAML:
        where = str(path.relative_to(ROOT))
        if not ("/tasks/" in where or where.startswith("playbooks/")) or where in BRIEF | PLAY_DEFAULTS:
            continue
        for task in tasks(load(path)):
            for name in MODULES & set(task):
                asked += 1
                given = task[name] if isinstance(task[name], dict) else variable(path, str(task[name]))
                assert "key_prefix" in given, f"{where}: {task['name']}"
    assert asked >= 10
    assert "__redis_key_prefix" in (ROOT / "playbooks" / "requeue.yml").read_text()
    assert not unknown_variables("host", ["rq_key_prefix"], [])


def variable(path: Path, template: str) -> dict[str, Any]:
    """The role's variable that a task's options are."""
    name = re.findall(r"\w+", template)[0]
    found = load(path.parents[1] / "vars" / "main.yml")[name]
    assert isinstance(found, dict)
    return found

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every playbook that changes an estate holds its lock around all that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modules import ROOT
from repository import BLOCKS, KEYWORDS, load

CHANGES = {"provision", "recover", "switchover", "failback", "scale", "requeue", "hold", "compliance"}
READS = {"diagnose"}
NO_ESTATE = {"lab", "compliance-schedule"}  # containers of this machine; a timer on the control node

# Modules that change nothing on a host of an estate, and Ansible's own that include, say or decide.
LOOK = {
    "redis_health", "redis_host_facts", "redis_diagnose", "redis_compliance", "application_gate", "rq_info",
    "incident_record", "debug", "fail", "assert", "set_fact", "include_vars", "meta", "uri",
}  # fmt: skip
INCLUDES = ("import_tasks", "include_tasks", "import_role", "include_role")


def task_file(role: Path, name: str) -> Path:
    return role / "tasks" / (name if name.endswith(".yml") else f"{name}.yml")


def module_of(task: dict[str, Any]) -> tuple[str, Any]:
    name = next(key for key in task if key not in KEYWORDS and not key.startswith("with_"))
    return name.rpartition(".")[2], task[name]


def target(task: dict[str, Any], role: Path) -> tuple[Path, Path] | None:
    """The role and the task file that a task includes; None for a file of the user's, whose name is a variable."""
    module, given = module_of(task)
    if module.endswith("_role"):
        other = ROOT / "roles" / given["name"]
        return other, task_file(other, given.get("tasks_from", "main"))
    name = given if isinstance(given, str) else given["file"]
    return None if "{{" in name else (role, task_file(role, name))


def is_lock(task: dict[str, Any], file: str) -> bool:
    module, given = module_of(task)
    return module == "import_role" and given == {"name": "redis", "tasks_from": file}


def unlocked(tasks: list[dict[str, Any]], role: Path, seen: tuple[Path, ...] = ()) -> Iterator[str]:
    """Tasks that change something and that no lock covers."""
    for task in tasks:
        if "block" in task:
            if is_lock(task["block"][0], "lock.yml"):
                last = task.get("always") or [{"meta": "noop"}]
                assert is_lock(last[0], "unlock.yml"), f"{task.get('name')}: the lock is not given back"
                continue
            for part in BLOCKS:
                yield from unlocked(task.get(part) or [], role, seen)
            continue
        module, _ = module_of(task)
        if module in INCLUDES:
            found = target(task, role)
            if found and found[1] not in seen:
                other, path = found
                yield from unlocked(load(path) or [], other, (*seen, path))
        elif module not in LOOK and task.get("check_mode") is not True:
            yield f"{role.name}: {task.get('name')} ({module})"


def of_playbook(path: Path) -> Iterator[str]:
    for play in load(path):
        if "hosts" not in play:
            imported = next(value for key, value in play.items() if key.endswith("import_playbook"))
            yield from of_playbook(path.parent / imported)
            continue
        for section in ("pre_tasks", "tasks", "post_tasks"):
            yield from unlocked(play.get(section) or [], path.parent)
        for entry in play.get("roles") or []:
            role = ROOT / "roles" / (entry if isinstance(entry, str) else entry["role"])
            yield from unlocked(load(task_file(role, "main")), role)


def playbooks() -> dict[str, Path]:
    return {path.stem: path for path in (ROOT / "playbooks").glob("*.yml")}


def test_A13_each_playbook_is_known_to_change_an_estate_or_not() -> None:
    """Before: only recover.yml took the estate's lock, so that two other runs could change an estate at once.

    Now: every playbook that changes an estate holds the lock around all that it changes.
    """
    assert set(playbooks()) == CHANGES | READS | NO_ESTATE


@pytest.mark.parametrize("name", sorted(CHANGES | READS))
def test_A13_nothing_changes_an_estate_without_its_lock(name: str) -> None:
    assert list(of_playbook(playbooks()[name])) == []


def test_A13_a_change_without_the_lock_would_be_found() -> None:
    change = {"name": "Write", "config_files": {"files": []}}
    lock = {"ansible.builtin.import_role": {"name": "redis", "tasks_from": "lock.yml"}}
    unlock = {"ansible.builtin.import_role": {"name": "redis", "tasks_from": "unlock.yml"}}
    role = ROOT / "roles" / "redis"
    assert list(unlocked([change], role))
    assert list(unlocked([{"block": [change, lock], "always": [unlock]}], role))
    assert list(unlocked([{"block": [lock, change], "always": [unlock]}, change], role))
    assert not list(unlocked([{"block": [lock, change], "always": [unlock]}], role))
    with pytest.raises(AssertionError, match="not given back"):
        list(unlocked([{"block": [lock, change]}], role))


@pytest.mark.parametrize(
    "path",
    [
        "playbooks/provision.yml", "roles/redis_compliance/tasks/repair.yml", "roles/redis_recovery/tasks/main.yml",
        "roles/redis_recovery/tasks/verify.yml", "roles/redis_switchover/tasks/batch.yml",
        "roles/redis_server/tasks/restart_one.yml",
        "roles/redis_switchover/tasks/main.yml", "roles/redis_switchover/tasks/read_step.yml",
    ],
)  # fmt: skip
def test_A13_what_may_take_long_renews_the_lock_between_its_steps(path: str) -> None:
    """Before: no run renewed its lock, so that another control node took it after an hour.

    Now: it is renewed between roles, after a round's steps, before each restart of a server and each batch of hosts.
    """
    text = (ROOT / path).read_text()
    steps = {"playbooks/provision.yml": 4, "roles/redis_compliance/tasks/repair.yml": 4}.get(path, 1)
    assert text.count("tasks_from: renew.yml") >= steps

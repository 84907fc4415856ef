# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading the project's own files: which there are, and what tasks the playbooks and roles hold."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.playbook.handler import Handler
from ansible.playbook.play import Play
from modules import ROOT, ansible

BLOCKS = ("block", "rescue", "always")
SECTIONS = ("pre_tasks", "tasks", "post_tasks", "handlers")


class Loader(yaml.SafeLoader):
    """Reads Ansible's own tags (``!vault``, ``!unsafe``) as plain text."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))


def load(path: Path) -> Any:
    """A YAML file's content."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)


@cache
def files() -> tuple[Path, ...]:
    """All files of the project, committed or about to be; none that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return tuple(sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file()))


def roles() -> list[Path]:
    """Directories of the roles that have files."""
    return sorted({ROOT / "roles" / path.relative_to(ROOT).parts[1] for path in files() if under(path, "roles")})


def own_modules() -> list[str]:
    """Names of the modules in library/."""
    return sorted(path.stem for path in files() if path.parent == ROOT / "library" and path.suffix == ".py")


def under(path: Path, directory: str) -> bool:
    """Whether a file lies below a directory of the project."""
    return path.is_relative_to(ROOT / directory)


@dataclass(frozen=True)
class Task:
    """One task, handler or block item: where it is, its keywords, its module and what it gives to that."""

    path: Path
    keywords: dict[str, Any]
    module: str
    arguments: Any

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.keywords.get('name', self.module)}"


KEYWORDS = (set(Handler.fattributes) | {"local_action", "action"}) - {"args"}


@cache
def tasks() -> tuple[Task, ...]:
    """Every task of every role, playbook and Molecule scenario."""
    found: list[Task] = []
    for path in files():
        if path.suffix not in (".yml", ".yaml"):
            continue
        parts = path.relative_to(ROOT).parts
        if parts[0] == "roles" and len(parts) > 3 and parts[2] in ("tasks", "handlers"):
            found += _tasks(path, load(path) or [])
        elif parts[0] in ("playbooks", "molecule") or len(parts) == 1 or parts[:2] == ("tests", "playbooks"):
            content = load(path)
            if isinstance(content, list):
                found += _plays(path, content)
    return tuple(found)


def _plays(path: Path, items: list[dict[str, Any]]) -> Iterator[Task]:
    for item in items:
        if "hosts" in item:
            for section in SECTIONS:
                yield from _tasks(path, item.get(section) or [])
        elif not set(item) & set(Play.fattributes) - {"name", "when", "tags", "vars"}:
            yield from _tasks(path, [item])


def _tasks(path: Path, items: list[dict[str, Any]]) -> Iterator[Task]:
    for item in items:
        if any(key in item for key in BLOCKS):
            for key in BLOCKS:
                yield from _tasks(path, item.get(key) or [])
            continue
        modules = [key for key in item if key not in KEYWORDS and not key.startswith("with_") and key != "args"]
        assert len(modules) == 1, f"{path}: one module a task, not {modules or 'none'}: {item.get('name')}"
        arguments = item[modules[0]]
        if isinstance(arguments, dict) and isinstance(item.get("args"), dict):
            arguments = {**arguments, **item["args"]}
        yield Task(path, item, modules[0], arguments)


def module_options(names: list[str]) -> dict[str, dict[str, Any]]:
    """Options of each module as ansible-doc knows them; a name that it does not know is left out."""
    done = ansible("ansible-doc", "--type", "module", "--json", *names)
    documented = json.loads(done.stdout) if done.stdout.strip() else {}
    return {name: entry["doc"].get("options") or {} for name, entry in documented.items()}

# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks an inventory before anything is changed; the checks are module_utils/lifeline/inventory/intent.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import yaml
from ansible.errors import AnsibleError
from jinja2.exceptions import UndefinedError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))

from lifeline.inventory import intent

ROLES = Path(__file__).resolve().parents[2] / "roles"


def known_variables(roles: Path) -> set[str]:
    """Names of all options of all entry points in ``roles``/*/meta/argument_specs.yml."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml
    names: set[str] = set()
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)["argument_specs"]  # noqa: S506 - safe, above
        for entry in specs.values():
            names.update(entry.get("options") or {})
    return names


def inventory(hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the inventory says of each host, as far as ``intent`` asks for it; None where that cannot be worked out."""
    said: dict[str, dict[str, Any]] = {}
    for host in hosts:
        variables = said[host] = {}
        for name in ("redis_estate", "redis_address", "ansible_host", *intent.SHARED):
            try:
                if name in hostvars[host]:
                    variables[name] = hostvars[host][name]
                    str(variables[name])  # only now is a reference to an undefined variable found out
            except (AnsibleError, UndefinedError):
                variables[name] = None
    return said


def problems(
    own: Mapping[str, Any],
    host: str,
    hostvars: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    defined: Sequence[str],
) -> list[str]:
    """All sentences about ``host`` and its estate; none when the inventory can work.

    ``own``: what ``intent.estate_problems`` takes. ``defined``: names of the host's variables that should be ours.
    """
    foreign = [str(name) for name in own.get("redis_foreign_variables") or ()]
    hosts = {name for key in intent.GROUPS for name in groups.get(str(own[key]), ())}
    return [
        *intent.unknown_variables(host, defined, known_variables(ROLES), foreign),
        *intent.estate_problems(host, own, inventory(hostvars, sorted(hosts)), groups),
    ]


class FilterModule:
    """The filter lifeline_intent."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"lifeline_intent": problems}

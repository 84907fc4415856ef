# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each role's defaults, argument specs and README speak of the same variables with the same defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from repository import load, roles

each_role = pytest.mark.parametrize("role", roles(), ids=lambda path: path.name)


def defaults(role: Path) -> dict[str, Any]:
    path = role / "defaults" / "main.yml"
    return (load(path) or {}) if path.exists() else {}


def options(role: Path) -> dict[str, Any]:
    path = role / "meta" / "argument_specs.yml"
    assert path.exists(), f"role {role.name} has no meta/argument_specs.yml"
    return load(path)["argument_specs"]["main"].get("options") or {}


@each_role
def test_the_specs_name_the_same_variables_as_the_defaults(role: Path) -> None:
    assert sorted(options(role)) == sorted(defaults(role))


@each_role
def test_the_specs_have_the_same_defaults(role: Path) -> None:
    for name, value in defaults(role).items():
        option = options(role)[name]
        if isinstance(value, str) and "{{" in value:
            assert "default" not in option, f"{name}: a computed default is told in the description, not as a value"
        elif "default" in option or not (isinstance(value, (list, dict)) and value):  # long examples need no repeating
            assert "default" in option, f"{name}: default: is missing"
            assert option["default"] == value and type(option["default"]) is type(value), name


@each_role
def test_variables_are_named_after_their_role(role: Path) -> None:
    for name in defaults(role):
        assert name.startswith(f"{role.name}_"), name


@each_role
def test_the_readme_has_a_row_for_each_variable(role: Path) -> None:
    rows = re.findall(rf"^\| `({role.name}_\w+)` \|", (role / "README.md").read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(defaults(role))


@each_role
def test_no_option_shows_a_secret_in_an_error(role: Path) -> None:
    """Ansible's message for a wrong choice or type repeats the value; a plain str has neither."""
    for name, option in options(role).items():
        if re.search(r"password|secret", name):
            assert option["type"] == "str", name
            assert "choices" not in option, name


@each_role
def test_no_role_needs_anything_but_roles_of_this_project(role: Path) -> None:
    meta = load(role / "meta" / "main.yml")
    known = {path.name for path in roles()}
    assert {entry["role"] for entry in meta.get("dependencies") or ()} <= known
    assert not meta.get("collections")

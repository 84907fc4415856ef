# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What developers type: the targets that make knows, and the hooks that call them."""

from __future__ import annotations

import re
import subprocess

import pytest
from modules import ROOT
from repository import load


def dry(*words: str) -> list[str]:
    """The commands that make would run; it takes the machine for set up."""
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/complete", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [line.strip() for line in done.stdout.splitlines() if not line.startswith("printf")]


def test_help_lists_what_a_developer_types_all_day() -> None:
    listed = re.findall(r"^  make (\S+)", subprocess.check_output(["make", "help"], cwd=ROOT, text=True), re.MULTILINE)
    assert {"setup", "test", "fast", "lint", "unit", "integration"} <= set(listed)


@pytest.mark.parametrize(
    ("given", "ran"),
    [
        ([], "tests/unit"),
        (["T=-k lock"], "tests/unit -k lock"),
        (["T=tests/unit/test_lock.py -x"], "tests/unit/test_lock.py -x"),
    ],
)
def test_unit_takes_pytests_arguments_and_stays_with_unit_tests(given: list[str], ran: str) -> None:
    (command,) = [line for line in dry("unit", *given) if line.startswith("pytest")]
    assert re.sub(r" --durations\S*", "", command).split() == ["pytest", *ran.split()]


def test_fast_is_style_types_and_unit_tests() -> None:
    programs = [line.split()[0] for line in dry("fast") if not line.startswith("make")]
    assert programs == ["ruff", "mypy", "mypy", "yamllint", "pytest"]


def test_git_hooks_are_local_and_call_what_make_lint_calls() -> None:
    repos = load(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repo["repo"] for repo in repos] == ["local"], "a repository elsewhere would be fetched"
    linted = set(dry("lint"))
    for hook in repos[0]["hooks"]:
        program, target = hook["entry"].split()
        assert (program, hook["language"]) == ("make", "system")
        assert set(dry(target)) <= linted, f"hook {hook['id']} runs what make lint does not"

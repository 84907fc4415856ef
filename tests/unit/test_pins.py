# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a development environment is made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import install
import pytest
from modules import ENVIRONMENTS, ROOT, locked

FILES = sorted((ROOT / "constraints").glob("*.txt"))
# A release, for which Pythons, and the digests of its files.
PIN = re.compile(r"^([\w.-]+==\S+?)(?: ; [^\\\n]+)?((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
OTHERS = {locked(requirements): requirements for requirements in ENVIRONMENTS}


def pinned(path: Path) -> set[str]:
    """The releases of a list in which everything has its digests."""
    text = path.read_text()
    found = [name for name, _digests in PIN.findall(text)]
    assert len(found) == len([line for line in text.splitlines() if not line.startswith(("#", " "))]) > 1
    return set(found)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_B14_environments_of_tests_are_pinned_with_digests_too(path: Path) -> None:
    """Before: redis-py and RQ of the tests' environments were installed by version, what they need in any version.

    Now: each has its list with digests, which `make lock` writes, as has the lab's application.
    """
    assert set(OTHERS[path]) <= pinned(path)


def test_no_list_of_an_environment_is_left_behind() -> None:
    assert set(OTHERS) == set((ROOT / "constraints" / "environments").iterdir())


def test_B14_the_labs_application_is_pinned_with_digests() -> None:
    home = ROOT / "tests" / "lab_app"
    wanted = re.findall(r"^([\w-]+)[><=]", (home / "requirements.txt").read_text(), re.MULTILINE)
    assert set(wanted) <= {name.partition("==")[0] for name in pinned(home / "locked.txt")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_B14_every_pin_has_the_digests_of_its_files(path: object) -> None:
    """Before: versions were pinned without hashes, so a mirror could hand out anything under their names.

    Now: pip takes only files whose digests are in the list, and nothing that is not in it.
    """
    text = path.read_text()  # type: ignore[attr-defined]
    pins = re.findall(r"^([\w.-]+)==\S+((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", text, flags=re.MULTILINE)
    lines = [line for line in text.splitlines() if not line.startswith(("#", " "))]
    assert len(pins) == len(lines) > 50
    names = {re.sub(r"[-_.]+", "-", name).lower() for name, _ in pins}
    assert {re.match(r"[\w.-]+", wanted)[0].lower() for wanted in install.requirements()} <= names


def test_a_list_is_installed_with_its_digests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(install.subprocess, "run", lambda command, **_: commands.append(command))
    install.install("python", "constraints/python3.11.txt")
    assert {"--require-hashes", "--no-deps"} <= set(commands[0])
    assert all("--no-index" in command or "check" in command for command in commands[1:])


def test_an_environment_behind_a_link_is_not_emptied(tmp_path: Path) -> None:
    """Before: setup.sh with a linked .venv, as in a second work tree, emptied the environment that the link led to."""
    (tmp_path / "theirs" / "bin").mkdir(parents=True)
    link = tmp_path / "venv"
    link.symlink_to(tmp_path / "theirs")
    # Should it go on all the same, then not to this machine's packages.
    environment = {"PATH": "/usr/bin:/bin", "LIFELINE_PYTHON": "/bin/false"}
    done = subprocess.run(
        ["bash", str(ROOT / "tests/tools/setup.sh"), str(link)],
        env=environment, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{link} is a symbolic link to {tmp_path / 'theirs'}" in done.stderr
    assert (tmp_path / "theirs" / "bin").is_dir() and link.is_symlink()
